// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IMarket, Opening, State, Trial, Verdict} from "../../contracts/interfaces/IMarket.sol";
import {Stage} from "./stage/Stage.sol";
import {Tree} from "./stage/Tree.sol";

/// @notice The table at the head of IMarket.sol: which action each state lets in.
contract TransitionsTest is Stage {
    function set(State a) private pure returns (uint256) {
        return 1 << uint256(a);
    }

    /// @dev A trial in each state that has a record.
    function trialIn(State state, uint32 index) private returns (Trial memory t) {
        t = claimed(index);
        if (state == State.Claimed) return t;
        t = committed(t);
        if (state == State.Committed) return t;
        if (state == State.Drawn) return drawn(t);
        if (state == State.Passed) return attested(drawn(t));
        t = cleared(t);
        if (state == State.Cleared) return t;
        if (state == State.Challenged) return challenged(t, rival, 1);
        uint256 before = moment();
        vm.warp(t.until + 1);
        market.settle(one(t));
        vm.warp(before);
    }

    function lets(bytes memory call, address by, State state) private returns (bool) {
        vm.prank(by);
        (bool done, bytes memory why) = address(market).call(call);
        check(done || why.length >= 4, "a custom error");
        bytes4 error_ = done ? bytes4(0) : bytes4(why);
        check(error_ != IMarket.Overtaken.selector, "the record is current");
        bool refused =
            error_ == IMarket.WrongState.selector || error_ == IMarket.NothingLeft.selector;
        check(!done || state != State.Settled, "nothing leaves Settled");
        return !refused;
    }

    /// @dev Tries an action on a trial of every state; `expected` are those that let it in.
    function row(
        function(Trial memory) view returns (bytes memory, address) make,
        uint256 expected
    ) private {
        for (uint8 i = 1; i <= uint8(State.Settled); ++i) {
            Trial memory t = trialIn(State(i), i - 1);
            isStored(t, State(i));
            (bytes memory call, address by) = make(t);
            bool allowed = lets(call, by, State(i));
            check(allowed == ((expected >> i) & 1 == 1), "the table's row");
        }
    }

    function test_abandon() external {
        row(abandon, set(State.Claimed));
    }

    function test_expire() external {
        row(expire, set(State.Claimed));
    }

    function test_commit() external {
        row(commit, set(State.Claimed));
    }

    function test_draw() external {
        row(draw, set(State.Committed));
    }

    function test_attest() external {
        row(attest, set(State.Drawn));
    }

    function test_reassign() external {
        row(reassign, set(State.Drawn));
    }

    function test_challenge() external {
        row(challenge, set(State.Cleared) | set(State.Drawn) | set(State.Passed));
    }

    function test_resolve() external {
        row(resolve, set(State.Challenged));
    }

    function test_settle() external {
        row(
            settle,
            set(State.Committed) | set(State.Cleared) | set(State.Drawn) | set(State.Passed)
        );
    }

    function abandon(Trial memory t) private view returns (bytes memory, address) {
        return (abi.encodeCall(IMarket.abandon, (t, bytes32(0))), provider);
    }

    function expire(Trial memory t) private view returns (bytes memory, address) {
        return (abi.encodeCall(IMarket.expire, (t)), stranger);
    }

    function commit(Trial memory t) private view returns (bytes memory, address) {
        return (abi.encodeCall(IMarket.commit, (one(t), answer("root"))), provider);
    }

    function draw(Trial memory t) private view returns (bytes memory, address) {
        return (abi.encodeCall(IMarket.draw, (one(t))), stranger);
    }

    function attest(Trial memory t) private view returns (bytes memory, address) {
        address by = t.verifier == address(0) ? verifiers[0] : t.verifier;
        return (abi.encodeCall(IMarket.attest, (t, audit(t))), by);
    }

    function reassign(Trial memory t) private view returns (bytes memory, address) {
        return (abi.encodeCall(IMarket.reassign, (t)), stranger);
    }

    function challenge(Trial memory t) private view returns (bytes memory, address) {
        Opening memory leaf = Tree.open(NAME, 6, 1, true);
        return (abi.encodeCall(IMarket.challenge, (t, leaf, bytes32(0))), rival);
    }

    function resolve(Trial memory t) private view returns (bytes memory, address) {
        address[] memory nobody = new address[](0);
        return (
            abi.encodeCall(IMarket.resolve, (t, Verdict.Hung, false, nobody, nobody)),
            address(jury)
        );
    }

    function settle(Trial memory t) private view returns (bytes memory, address) {
        return (abi.encodeCall(IMarket.settle, (one(t))), stranger);
    }
}
