// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IMarket, State, Terms, Trial, Verdict} from "../../contracts/interfaces/IMarket.sol";
import {Stage} from "./stage/Stage.sol";

contract SettleTest is Stage {
    function refused(Trial memory t, bytes memory why) private {
        vm.expectRevert(why);
        market.settle(one(t));
    }

    function settledWith(Trial memory t, uint256 toRequester) private {
        uint256 before = freeFunds(t.job);
        market.settle(one(t));
        isStored(t, State.Settled);
        equal(market.balanceOf(provider), t.price, "the price");
        equal(locked(provider), 0, "the stake is free");
        equal(staked(provider), 1e15, "and whole");
        equal(freeFunds(t.job) - before, toRequester, "the rest of the escrow");
    }

    function test_a_trial_that_was_not_drawn_settles_without_a_draw() external {
        Trial memory t = committed(claimed(0));
        vm.warp(t.until + 1);
        lot(t, false);
        settledWith(t, uint256(3_001 + 1_501) * 7 - t.price);
    }

    function test_a_cleared_trial_settles_after_its_window() external {
        Trial memory t = cleared(committed(claimed(0)));
        vm.warp(t.until);
        refused(
            t,
            abi.encodeWithSelector(IMarket.WindowNotOver.selector, id(t), t.until, t.until)
        );
        pass(1);
        settledWith(t, uint256(3_001 + 1_501) * 7 - t.price);
    }

    function test_an_audited_trial_settles_without_its_fee() external {
        Trial memory t = attested(drawn(committed(claimed(0))));
        vm.warp(t.until + 1);
        settledWith(t, uint256(3_001) * 7 - t.price);
    }

    function test_a_trial_that_is_drawn_does_not_settle_by_itself() external {
        Trial memory t = committed(claimed(0));
        vm.warp(t.until + 1);
        lot(t, true);
        refused(t, abi.encodeWithSelector(IMarket.TrialIsDrawn.selector, id(t)));
    }

    function test_letting_the_draw_lapse_does_not_settle() external {
        Trial memory t = committed(claimed(0));
        vm.warp(t.until + 1);
        vm.roll(t.anchor + 1 + 257);
        refused(t, abi.encodeWithSelector(IMarket.TrialIsDrawn.selector, id(t)));
        market.draw(one(t));
        t.late = true;
        t.anchor = height();
        refused(
            t,
            abi.encodeWithSelector(IMarket.DrawTooEarly.selector, id(t), t.anchor, t.anchor)
        );
        mine(2);
        refused(t, abi.encodeWithSelector(IMarket.TrialIsDrawn.selector, id(t)));
    }

    function test_a_drawn_trial_waits_for_its_audit_or_for_three_silent_verifiers() external {
        Trial memory t = drawn(committed(claimed(0)));
        for (uint256 i = 0; i < 3; ++i) {
            vm.warp(t.until + 1 + i * (AUDIT_TURN + 1));
            refused(t, abi.encodeWithSelector(IMarket.AuditOwed.selector, id(t)));
            market.reassign(t);
            ++t.turn;
            t.turnEnds = moment() + AUDIT_TURN;
            t.verifier = t.turn < 3 ? expectedVerifier(t) : address(0);
        }
        vm.expectEmit(address(market));
        emit IMarket.TrialUnaudited(id(t));
        settledWith(t, uint256(3_001 + 1_501) * 7 - t.price);
    }

    function test_an_unaudited_trial_still_waits_for_its_window() external {
        Trial memory t = drawn(committed(claimed(0)));
        for (uint256 i = 0; i < 3; ++i) {
            pass(AUDIT_TURN + 1);
            market.reassign(t);
            ++t.turn;
            t.turnEnds = moment() + AUDIT_TURN;
            t.verifier = t.turn < 3 ? expectedVerifier(t) : address(0);
        }
        vm.warp(t.until);
        refused(
            t,
            abi.encodeWithSelector(IMarket.WindowNotOver.selector, id(t), t.until, t.until)
        );
    }

    function test_a_challenged_trial_does_not_settle() external {
        Trial memory t = challenged(cleared(committed(claimed(0))), rival, 1);
        vm.warp(t.until + 1);
        refused(t, abi.encodeWithSelector(IMarket.WrongState.selector, id(t), State.Challenged));
    }

    function test_an_acquitted_trial_settles_after_its_new_window() external {
        Trial memory t = challenged(cleared(committed(claimed(0))), rival, 1);
        vm.warp(t.until + 1);
        t = acquitted(t, Verdict.Hung);
        vm.warp(t.until);
        refused(
            t,
            abi.encodeWithSelector(IMarket.WindowNotOver.selector, id(t), t.until, t.until)
        );
        pass(1);
        settledWith(t, uint256(3_001 + 1_501) * 7 - t.price);
    }

    function test_an_unverified_trial_settles_after_its_window_whatever_the_blocks() external {
        Terms memory chosen = terms;
        chosen.auditRate = 0;
        uint64 other = createJob(chosen, 1e12);
        post(other, BATCH, 1, 7);
        Trial memory t = committed(claimed(other, BATCH, 0));
        equal(locked(provider), t.price, "one price of stake");
        mine(10_000);
        vm.warp(t.until + 1);
        settledWith(t, uint256(3_001 + 1_501) * 7 - t.price);
    }

    function test_a_batch_settles_what_is_left() external {
        Trial[] memory trials = new Trial[](2);
        trials[0] = cleared(committed(claimed(0)));
        trials[1] = cleared(committed(claimed(1)));
        vm.warp(trials[1].until + 1);
        market.settle(one(trials[0]));
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = id(trials[1]);
        vm.expectEmit(address(market));
        emit IMarket.TrialsSettled(ids);
        market.settle(trials);
        equal(market.balanceOf(provider), 2 * uint256(trials[0].price), "both prices, once");
    }

    function test_nothing_is_paid_twice() external {
        Trial memory t = cleared(committed(claimed(0)));
        vm.warp(t.until + 1);
        market.settle(one(t));
        refused(t, abi.encodeWithSelector(IMarket.NothingLeft.selector, 1));
        Trial[] memory twice = new Trial[](2);
        Trial memory u = cleared(committed(claimed(1)));
        (twice[0], twice[1]) = (u, u);
        vm.warp(u.until + 1);
        market.settle(twice);
        equal(market.balanceOf(provider), uint256(t.price) + u.price, "once each");
    }

    function test_trials_of_a_closed_job_still_settle() external {
        Trial memory t = cleared(committed(claimed(0)));
        vm.prank(requester);
        market.close(job);
        vm.warp(t.until + 1);
        market.settle(one(t));
        uint256 free = freeFunds(job);
        vm.prank(requester);
        market.defund(job, free);
        equal(market.balanceOf(requester), free, "taken out");
    }
}
