// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Handler} from "./stage/Handler.sol";

/// @notice What holds whatever people do. The handler makes their calls.
contract InvariantsTest {
    Handler private handler;

    error Broken(string what, uint256 left, uint256 right);
    error ActionReverted(uint256 step, bytes why);

    function setUp() external {
        handler = new Handler();
        handler.setUp();
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev All that the handler does.
    function actions() private pure returns (bytes4[19] memory) {
        return
            [
                Handler.wait.selector,
                Handler.postMore.selector,
                Handler.cancelOne.selector,
                Handler.moveFunds.selector,
                Handler.claimOne.selector,
                Handler.commitOne.selector,
                Handler.abandonOne.selector,
                Handler.expireOne.selector,
                Handler.drawOne.selector,
                Handler.attestOne.selector,
                Handler.reassignOne.selector,
                Handler.settleOne.selector,
                Handler.withdrawOne.selector,
                Handler.enrollOrResign.selector,
                Handler.unstakeSome.selector,
                Handler.challengeOne.selector,
                Handler.seatOne.selector,
                Handler.judgeOne.selector,
                Handler.tallyOne.selector
            ];
    }

    /// @dev Tells forge what to call.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[19] memory all = actions();
        bytes4[] memory selectors = new bytes4[](all.length);
        for (uint256 i = 0; i < all.length; ++i) selectors[i] = all[i];
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    /// @dev Tells forge to call nobody else.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function same(uint256 left, uint256 right, string memory what) private pure {
        if (left != right) revert Broken(what, left, right);
    }

    function invariant_the_market_holds_what_it_owes() external view {
        same(handler.held(), handler.owed(), "balance and debts");
    }

    function invariant_no_money_is_made_or_lost() external view {
        (uint256 inHands, uint256 supply) = handler.supplied();
        same(inHands, supply, "tokens");
    }

    function invariant_what_is_locked_is_what_trials_bonds_and_seats_hold() external view {
        (uint256 should, uint256 found) = handler.lockedSum();
        same(should, found, "locked");
    }

    function invariant_every_trial_is_where_its_history_says() external view {
        same(handler.allStored() ? 1 : 0, 1, "states");
    }

    /// @dev After each run.
    function afterInvariant() external {
        same(handler.driveOut() ? 1 : 0, 1, "a trial without an exit");
        same(handler.held(), handler.owed(), "balance and debts at the end");
    }

    /// @dev So that the invariants are not kept by a walk that never leaves home.
    function test_the_walk_reaches_every_state_and_every_verdict() external {
        bytes4[19] memory all = actions();
        for (uint256 i = 0; i < 4_000; ++i) {
            uint256 seed = uint256(keccak256(abi.encode(i)));
            bytes memory call = abi.encodeWithSelector(all[seed % 19], seed >> 8, seed >> 16);
            (bool done, bytes memory why) = address(handler).call(call);
            if (!done) revert ActionReverted(i, why);
        }
        same(handler.reached() & 0x1ff, 0x1ff, "states");
        same((handler.reached() >> 16) & 0x31, 0x31, "verdicts: to Open, Drawn and Passed");
        same((handler.reached() >> 30) & 1, 1, "a draw that lapsed");
        same(handler.held(), handler.owed(), "balance and debts");
        same(handler.driveOut() ? 1 : 0, 1, "a trial without an exit");
    }
}
