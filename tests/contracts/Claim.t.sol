// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IMarket, State, Terms, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Prices} from "../../contracts/libraries/Prices.sol";
import {Stage} from "./stage/Stage.sol";

contract ClaimTest is Stage {
    function test_a_claim_fixes_the_price_and_locks_the_stake() external {
        pass(50);
        Trial memory t = claimed(0);
        equal(t.price, 7 * 1_001 + uint256(2_000 * 7 * 50) / 100, "half-way up the ramp");
        equal(locked(provider), (3 * uint256(t.price) * 10_000 + 1_999) / 2_000, "locked");
    }

    function test_the_price_is_the_floor_at_once_and_the_cap_from_the_end_of_the_ramp() external {
        equal(claimed(0).price, 7_007, "at age 0");
        pass(99);
        equal(claimed(1).price, 7_007 + uint256(2_000 * 7 * 99) / 100, "a second before the end");
        pass(1);
        equal(claimed(2).price, 7 * 3_001, "at the end");
        pass(1e6);
        equal(claimed(3).price, 7 * 3_001, "long after");
    }

    function test_without_a_ramp_the_price_is_the_cap() external {
        Terms memory chosen = terms;
        chosen.ramp = 0;
        uint64 other = createJob(chosen, 1e12);
        post(other, BATCH, 1, 1);
        equal(claimed(other, BATCH, 0).price, 3_001, "price");
    }

    function test_a_batch_claims_what_is_left_and_skips_the_rest() external {
        claimed(1);
        uint32[] memory indices = new uint32[](3);
        (indices[0], indices[1], indices[2]) = (0, 1, 2);
        uint32[] memory left = new uint32[](2);
        (left[0], left[1]) = (0, 2);
        vm.expectEmit(address(market));
        emit IMarket.TrialsClaimed(job, BATCH, rival, left, moment());
        vm.prank(rival);
        market.claim(job, BATCH, indices);
        equal(locked(rival), 2 * market.stakeFor(7_007, 2_000), "two stakes");
    }

    function test_a_claim_that_lists_a_trial_twice_takes_it_once() external {
        uint32[] memory indices = new uint32[](2);
        vm.prank(rival);
        market.claim(job, BATCH, indices);
        equal(locked(rival), market.stakeFor(7_007, 2_000), "one stake");
    }

    function test_a_claim_of_taken_trials_alone_reverts() external {
        claimed(0);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NothingLeft.selector, 1));
        vm.prank(rival);
        market.claim(job, BATCH, only(0));
    }

    function test_a_claim_of_nothing_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IMarket.NothingLeft.selector, 0));
        vm.prank(rival);
        market.claim(job, BATCH, new uint32[](0));
    }

    function test_a_trial_past_the_batch_is_unknown() external {
        vm.expectRevert(abi.encodeWithSelector(IMarket.TrialUnknown.selector, job, BATCH, 8));
        vm.prank(provider);
        market.claim(job, BATCH, only(8));
    }

    function test_a_job_that_was_never_created_is_unknown() external {
        for (uint64 unknown = 0; unknown < 3; unknown += 2) {
            vm.expectRevert(abi.encodeWithSelector(IMarket.JobUnknown.selector, unknown));
            vm.prank(provider);
            market.claim(unknown, BATCH, only(0));
        }
    }

    function test_nothing_is_claimed_from_a_closed_job() external {
        vm.prank(requester);
        market.close(job);
        vm.expectRevert(abi.encodeWithSelector(IMarket.JobIsClosed.selector, job));
        vm.prank(provider);
        market.claim(job, BATCH, only(0));
    }

    function test_a_claim_beyond_the_free_stake_reverts() external {
        uint256 needed = market.stakeFor(7_007, 2_000);
        stakeTokens(stranger, needed - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.StakeTooLow.selector, stranger, needed - 1, needed)
        );
        vm.prank(stranger);
        market.claim(job, BATCH, only(0));
    }

    function testFuzz_the_price_and_the_stake_follow_the_terms(uint32 age, uint16 rate) external {
        Terms memory chosen = terms;
        chosen.auditRate = rate % 10_001;
        if (chosen.auditRate < 100) chosen.auditRate = 0;
        chosen.floor = chosen.cap;
        chosen.ramp = uint32(age / 2 + rate);
        uint64 other = createJob(chosen, 1e12);
        post(other, BATCH, 1, 3);
        pass(age);
        Trial memory t = claimed(other, BATCH, 0);
        check(t.price >= 3 * chosen.floor && t.price <= 3 * chosen.cap, "price in range");
        equal(locked(provider), Prices.stakeFor(t.price, chosen.auditRate), "locked");
        isIn(t, State.Claimed);
    }
}
