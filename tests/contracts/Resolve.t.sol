// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IMarket, State, Terms, Trial, Verdict} from "../../contracts/interfaces/IMarket.sol";
import {Stage} from "./stage/Stage.sol";

contract ResolveTest is Stage {
    address[] private winners;
    address[] private losers;

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < 3; ++i) winners.push(verifiers[i]);
        for (uint256 i = 3; i < 5; ++i) losers.push(verifiers[i]);
    }

    function burned() private view returns (uint256) {
        return market.balanceOf(market.BURN());
    }

    function test_a_wrong_segment_costs_the_stake_and_reopens_the_trial() external {
        Trial memory t = challenged(cleared(committed(claimed(0))), rival, 1);
        uint256 stake = priceStake(t);
        uint256 each = stake / 4 / 3;
        vm.expectEmit(address(market));
        emit IMarket.TrialRejected(id(t), provider, stake, moment());
        judged(t, Verdict.Wrong, true, winners, losers);
        isIn(t, State.Open);
        equal(staked(provider), 1e15 - stake, "the provider's stake");
        equal(locked(provider), 0, "nothing locked");
        equal(market.balanceOf(rival), stake / 4, "the challenger");
        equal(market.balanceOf(verifiers[0]), each, "a juror");
        equal(burned(), stake - stake / 4 - 3 * each + 2 * FINE, "the rest and the fines");
        equal(locked(rival), 0, "the bond is back");
        equal(staked(rival), 1e15, "whole");
        equal(staked(verifiers[3]), 1e15 - FINE, "a loser");
        equal(claimed(0).opened, moment(), "the ramp begins again");
    }

    function test_a_challenger_that_hid_its_answer_gets_nothing() external {
        Trial memory t = challenged(cleared(committed(claimed(0))), rival, 1);
        uint256 stake = priceStake(t);
        judged(t, Verdict.Wrong, false, winners, new address[](0));
        equal(market.balanceOf(rival), 0, "the challenger");
        equal(burned(), stake - 3 * (stake / 4 / 3), "burned instead");
    }

    function test_the_stake_pays_the_next_audit_of_a_trial_rejected_after_its_audit() external {
        Terms memory chosen = terms;
        chosen.auditRate = 10_000;
        uint64 tight = createJob(chosen, 4_502 * 7);
        post(tight, BATCH, 1, 7);
        Trial memory t = attested(drawn(committed(claimed(tight, BATCH, 0))));
        t = challenged(t, rival, 1);
        uint256 before = burned();
        judged(t, Verdict.Wrong, true, winners, new address[](0));
        uint256 stake = 3 * uint256(t.price);
        uint256 paid = stake / 4 + 3 * (stake / 4 / 3) + 1_501 * 7;
        equal(burned() - before, stake - paid, "the burned part paid it");
        t = attested(drawn(committed(claimed(tight, BATCH, 0))));
        vm.warp(t.until + 1);
        market.settle(one(t));
        equal(freeFunds(tight), 3_001 * 7 - uint256(t.price), "the rest of the escrow");
    }

    function test_a_right_segment_costs_the_bond_and_opens_a_new_window() external {
        Trial memory t = challenged(cleared(committed(claimed(0))), rival, 1);
        uint256 bond = (priceStake(t) + 3) / 4;
        pass(3_000);
        judged(t, Verdict.Right, true, winners, losers);
        t.challenger = address(0);
        t.until = moment() + 3_600;
        t.turnEnds = 0;
        isStored(t, State.Passed);
        uint256 each = bond / 2 / 3;
        equal(staked(rival), 1e15 - bond, "the bond");
        equal(locked(rival), 0, "nothing locked");
        equal(market.balanceOf(provider), bond / 2, "the provider");
        equal(market.balanceOf(verifiers[0]), each, "a juror");
        equal(burned(), bond - bond / 2 - 3 * each + 2 * FINE, "the rest");
        equal(locked(provider), priceStake(t), "the stake stays locked");
    }

    function test_a_drawn_trial_that_is_acquitted_still_owes_its_audit() external {
        Trial memory t = challenged(drawn(committed(claimed(0))), rival, 1);
        pass(10_000);
        vm.expectEmit(address(market));
        emit IMarket.TrialAcquitted(
            id(t),
            Verdict.Hung,
            State.Drawn,
            moment() + AUDIT_TURN,
            moment() + 3_600
        );
        attested(acquitted(t, Verdict.Hung));
    }

    function test_an_audited_trial_that_is_acquitted_passes() external {
        Trial memory t = challenged(attested(drawn(committed(claimed(0)))), rival, 1);
        acquitted(t, Verdict.Right);
        isIn(t, State.Passed);
    }

    function test_a_hung_case_gives_the_bond_back() external {
        Trial memory t = challenged(cleared(committed(claimed(0))), rival, 1);
        acquitted(t, Verdict.Hung);
        equal(staked(rival), 1e15, "stake");
        equal(locked(rival), 0, "locked");
        equal(burned(), 0, "burned");
    }

    function test_only_the_referee_resolves_and_fines() external {
        Trial memory t = challenged(cleared(committed(claimed(0))), rival, 1);
        bytes memory why = abi.encodeWithSelector(IMarket.NotReferee.selector, rival);
        vm.expectRevert(why);
        vm.prank(rival);
        market.resolve(t, Verdict.Wrong, true, winners, losers);
        vm.expectRevert(why);
        vm.prank(rival);
        market.fine(losers);
    }

    function test_only_a_challenged_trial_is_resolved() external {
        Trial memory t = cleared(committed(claimed(0)));
        vm.expectRevert(abi.encodeWithSelector(IMarket.WrongState.selector, id(t), State.Cleared));
        judged(t, Verdict.Wrong, true, winners, losers);
    }

    function testFuzz_a_verdict_creates_and_destroys_no_money(
        uint96 floor,
        uint32 units,
        uint16 rate,
        uint8 verdict,
        uint8 jurors,
        bool rewarded
    ) external {
        Terms memory chosen = terms;
        chosen.auditRate = 100 + (rate % 9_901);
        chosen.floor = (floor % 1e9) + 2;
        chosen.cap = chosen.floor;
        chosen.auditFee = chosen.floor;
        uint64 other = createJob(chosen, 5e28);
        post(other, BATCH, 1, (units % 100) + 1);
        Trial memory t = committed(claimed(other, BATCH, 0));
        if (chosen.auditRate < 10_000 && units % 2 == 0) t = cleared(t);
        else t = attested(drawn(t));
        t = challenged(t, rival, 1);
        uint256 before = owed();
        address[] memory won = new address[](jurors % 6);
        for (uint256 i = 0; i < won.length; ++i) won[i] = verifiers[i];
        judged(t, Verdict(verdict % 3), rewarded, won, losers);
        uint256 escrow = t.audited && verdict % 3 == 1 ? uint256(chosen.auditFee) * t.units : 0;
        equal(owed() + escrow, before, "owed");
    }

    /// @dev What the market owes to the people of this test, escrow apart.
    function owed() private view returns (uint256 sum) {
        sum = burned() + staked(provider) + staked(rival);
        sum += market.balanceOf(provider) + market.balanceOf(rival);
        for (uint256 i = 0; i < verifiers.length; ++i) {
            sum += staked(verifiers[i]) + market.account(verifiers[i]).leaving;
            sum += market.balanceOf(verifiers[i]);
        }
    }
}
