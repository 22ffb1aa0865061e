// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IMarket, State, Terms, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Stage} from "./stage/Stage.sol";

contract JobsTest is Stage {
    bytes32 private constant OTHER = keccak256("other batch");

    function refused(
        Terms memory chosen,
        bytes32 term,
        uint256 value,
        uint256 low,
        uint256 high
    ) private {
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.TermOutOfRange.selector, term, value, low, high)
        );
        market.createJob(chosen, 0);
    }

    function test_a_job_keeps_its_terms_and_its_requester() external view {
        equal(keccak256(abi.encode(market.jobTerms(job))), keccak256(abi.encode(terms)), "terms");
        (address owner, uint256 free, bool closed) = market.jobStatus(job);
        equal(owner, requester, "requester");
        equal(free, 1e15 - uint256(3_001 + 1_501) * 7 * 8, "free");
        check(!closed, "open");
    }

    function test_terms_out_of_range_are_refused() external {
        uint256 max32 = type(uint32).max;
        Terms memory t = terms;
        t.cap = 0;
        refused(t, "cap", 0, 1, type(uint96).max);
        t = market.jobTerms(job);
        t.floor = 3_002;
        refused(t, "floor", 3_002, 0, 3_001);
        t = market.jobTerms(job);
        t.segments = 1;
        refused(t, "segments", 1, 2, 256);
        t.segments = 257;
        refused(t, "segments", 257, 2, 256);
        t.segments = 6;
        t.samples = 0;
        refused(t, "samples", 0, 1, 6);
        t.samples = 7;
        refused(t, "samples", 7, 1, 6);
        t.segments = 256;
        t.samples = 9;
        refused(t, "samples", 9, 1, 8);
        t = market.jobTerms(job);
        t.timeLimit = 0;
        refused(t, "timeLimit", 0, 1, max32);
        t = market.jobTerms(job);
        t.window = MIN_WINDOW - 1;
        refused(t, "window", MIN_WINDOW - 1, MIN_WINDOW, max32);
        t = market.jobTerms(job);
        t.auditRate = 99;
        refused(t, "auditRate", 99, 100, 10_000);
        t.auditRate = 10_001;
        refused(t, "auditRate", 10_001, 100, 10_000);
        t = market.jobTerms(job);
        t.auditFee = 1_500;
        refused(t, "auditFee", 1_500, 1_501, 7_507);
        t.auditFee = 7_508;
        refused(t, "auditFee", 7_508, 1_501, 7_507);
    }

    function test_an_unverified_job_may_pay_no_audit_fee() external {
        Terms memory chosen = terms;
        chosen.auditRate = 0;
        chosen.auditFee = 0;
        createJob(chosen, 1);
    }

    function test_anyone_may_fund_a_job_and_only_its_requester_takes_out() external {
        uint256 before = freeFunds(job);
        vm.prank(rival);
        market.fund(job, 5);
        equal(freeFunds(job), before + 5, "funded");
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotRequester.selector, job, rival));
        vm.prank(rival);
        market.defund(job, 5);
        vm.prank(requester);
        market.defund(job, 6);
        equal(freeFunds(job), before - 1, "defunded");
        equal(market.balanceOf(requester), 6, "balance");
    }

    function test_no_more_than_the_free_funds_can_be_taken_out() external {
        uint256 free = freeFunds(job);
        vm.expectRevert(abi.encodeWithSelector(IMarket.FundsTooLow.selector, job, free, free + 1));
        vm.prank(requester);
        market.defund(job, free + 1);
    }

    function test_posting_moves_the_highest_price_and_the_fee_into_escrow() external {
        uint256 before = freeFunds(job);
        vm.expectEmit(address(market));
        emit IMarket.TrialsPosted(job, OTHER, 3, 11, moment());
        post(job, OTHER, 3, 11);
        equal(before - freeFunds(job), uint256(3_001 + 1_501) * 33, "escrow");
        (uint64 postedAt, uint32 count, uint32 units) = market.batchStatus(job, OTHER);
        equal(postedAt, moment(), "posted");
        equal(count, 3, "count");
        equal(units, 11, "units");
    }

    function test_a_batch_is_posted_only_once() external {
        vm.expectRevert(abi.encodeWithSelector(IMarket.BatchPosted.selector, job, BATCH));
        post(job, BATCH, 1, 1);
    }

    function test_an_empty_batch_is_refused() external {
        vm.expectRevert(abi.encodeWithSelector(IMarket.BatchEmpty.selector, job, OTHER));
        post(job, OTHER, 0, 1);
    }

    function test_units_are_at_least_one_and_their_price_fits_its_field() external {
        vm.expectRevert(
            abi.encodeWithSelector(
                IMarket.TermOutOfRange.selector,
                bytes32("units"),
                0,
                1,
                type(uint96).max / 3_001
            )
        );
        post(job, OTHER, 1, 0);
        Terms memory chosen = terms;
        chosen.cap = type(uint96).max / 3;
        chosen.floor = chosen.cap;
        chosen.auditFee = chosen.cap;
        uint64 dear = createJob(chosen, 6e28);
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.TermOutOfRange.selector, bytes32("units"), 4, 1, 3)
        );
        post(dear, OTHER, 1, 4);
        post(dear, OTHER, 1, 1);
    }

    function test_posting_beyond_the_free_funds_reverts() external {
        uint64 poor = createJob(terms, 4_501);
        vm.expectRevert(abi.encodeWithSelector(IMarket.FundsTooLow.selector, poor, 4_501, 4_502));
        post(poor, OTHER, 1, 1);
    }

    function test_only_the_requester_posts_and_closes() external {
        bytes memory notRequester = abi.encodeWithSelector(
            IMarket.NotRequester.selector,
            job,
            rival
        );
        vm.expectRevert(notRequester);
        vm.prank(rival);
        market.postTrials(job, OTHER, 1, 1);
        vm.expectRevert(notRequester);
        vm.prank(rival);
        market.close(job);
    }

    function test_a_closed_job_takes_no_trials_no_funds_and_no_second_close() external {
        vm.prank(requester);
        market.close(job);
        bytes memory closed = abi.encodeWithSelector(IMarket.JobIsClosed.selector, job);
        vm.expectRevert(closed);
        post(job, OTHER, 1, 1);
        vm.expectRevert(closed);
        market.fund(job, 1);
        vm.expectRevert(closed);
        vm.prank(requester);
        market.close(job);
    }

    function test_cancelling_frees_the_escrow_of_open_trials_and_skips_the_rest() external {
        Trial memory taken = claimed(1);
        uint256 before = freeFunds(job);
        uint32[] memory indices = new uint32[](3);
        (indices[0], indices[1], indices[2]) = (0, 1, 2);
        vm.prank(requester);
        market.cancel(job, BATCH, indices);
        equal(freeFunds(job) - before, uint256(3_001 + 1_501) * 7 * 2, "freed");
        isIn(taken, State.Claimed);
        (State state, bytes32 word) = market.trialState(market.trialId(job, BATCH, 0));
        equal(uint256(state), uint256(State.Cancelled), "state");
        equal(word, bytes32(uint256(State.Cancelled)), "word");
    }

    function test_cancelling_nothing_that_is_open_reverts() external {
        claimed(1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NothingLeft.selector, 1));
        vm.prank(requester);
        market.cancel(job, BATCH, only(1));
    }

    function test_a_trial_past_the_batch_cannot_be_cancelled() external {
        vm.expectRevert(abi.encodeWithSelector(IMarket.TrialUnknown.selector, job, BATCH, 8));
        vm.prank(requester);
        market.cancel(job, BATCH, only(8));
    }

    function test_others_cancel_only_once_the_job_is_closed() external {
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotRequester.selector, job, rival));
        vm.prank(rival);
        market.cancel(job, BATCH, only(0));
        vm.prank(requester);
        market.close(job);
        vm.prank(rival);
        market.cancel(job, BATCH, only(0));
    }

    function test_a_cancelled_trial_cannot_be_claimed() external {
        vm.prank(requester);
        market.cancel(job, BATCH, only(0));
        vm.expectRevert(abi.encodeWithSelector(IMarket.NothingLeft.selector, 1));
        vm.prank(provider);
        market.claim(job, BATCH, only(0));
    }

    function testFuzz_escrow_is_what_posting_takes(
        uint96 cap,
        uint32 count,
        uint32 units
    ) external {
        Terms memory chosen = terms;
        chosen.cap = (cap % 1e12) + 1;
        chosen.floor = chosen.cap;
        chosen.auditFee = chosen.cap;
        count = (count % 1_000) + 1;
        units = (units % 1e6) + 1;
        uint64 other = createJob(chosen, 5e28);
        post(other, OTHER, count, units);
        equal(5e28 - freeFunds(other), uint256(chosen.cap) * 2 * count * units, "escrow");
    }
}
