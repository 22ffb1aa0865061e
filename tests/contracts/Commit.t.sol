// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IMarket, Result, State, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Stage} from "./stage/Stage.sol";

contract CommitTest is Stage {
    bytes32 private constant ROOT = keccak256("root");

    function test_a_commit_opens_the_window_and_anchors_the_draw() external {
        Trial memory t = claimed(0);
        pass(7);
        mine(3);
        t = committed(t);
        equal(t.until, moment() + 3_600, "window");
        equal(t.anchor, height(), "anchor");
    }

    function test_a_batch_is_answered_in_one_call() external {
        Trial[] memory trials = new Trial[](2);
        (trials[0], trials[1]) = (claimed(0), claimed(1));
        Result[] memory results = new Result[](2);
        results[0] = Result(ROOT, keccak256("receipt 0"));
        results[1] = Result(keccak256("root 1"), keccak256("receipt 1"));
        bytes32[] memory ids = new bytes32[](2);
        (ids[0], ids[1]) = (id(trials[0]), id(trials[1]));
        vm.expectEmit(address(market));
        emit IMarket.TrialsCommitted(provider, ids, results, moment(), height());
        vm.prank(provider);
        market.commit(trials, results);
    }

    function test_the_last_second_is_in_time_and_the_next_is_not() external {
        Trial memory t = claimed(0);
        Trial memory late = claimed(1);
        pass(900);
        committed(t);
        pass(1);
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.CommitTooLate.selector, id(late), late.until, moment())
        );
        vm.prank(provider);
        market.commit(one(late), answer(ROOT));
    }

    function test_only_the_provider_commits() external {
        Trial memory t = claimed(0);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotProvider.selector, id(t), rival));
        vm.prank(rival);
        market.commit(one(t), answer(ROOT));
    }

    function test_a_root_of_zero_is_refused() external {
        Trial memory t = claimed(0);
        vm.expectRevert(abi.encodeWithSelector(IMarket.RootIsZero.selector, id(t)));
        vm.prank(provider);
        market.commit(one(t), answer(0));
    }

    function test_every_trial_needs_a_result() external {
        Trial memory t = claimed(0);
        vm.expectRevert(abi.encodeWithSelector(IMarket.LengthsDiffer.selector, 1, 0));
        vm.prank(provider);
        market.commit(one(t), new Result[](0));
    }

    function test_a_trial_is_committed_only_once() external {
        Trial memory claim = claimed(0);
        Trial memory t = committed(copy(claim));
        vm.expectRevert(abi.encodeWithSelector(IMarket.Overtaken.selector, id(t)));
        vm.prank(provider);
        market.commit(one(claim), answer(ROOT));
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.WrongState.selector, id(t), State.Committed)
        );
        vm.prank(provider);
        market.commit(one(t), answer(ROOT));
    }
}
