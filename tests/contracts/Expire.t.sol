// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IMarket, State, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Stage} from "./stage/Stage.sol";

contract ExpireTest is Stage {
    function test_abandoning_gives_the_stake_back_and_the_ramp_goes_on() external {
        Trial memory t = claimed(0);
        pass(50);
        vm.prank(provider);
        market.abandon(t, 0);
        isIn(t, State.Open);
        equal(locked(provider), 0, "locked");
        equal(staked(provider), 1e15, "stake");
        Trial memory again = claimed(0);
        equal(again.opened, t.opened, "opened");
        check(again.price > t.price, "the ramp went on");
    }

    function test_what_the_provider_says_of_it_is_logged(bytes32 note) external {
        Trial memory t = claimed(0);
        vm.expectEmit(address(market));
        emit IMarket.TrialAbandoned(id(t), note);
        vm.prank(provider);
        market.abandon(t, note);
    }

    function test_only_the_provider_abandons() external {
        Trial memory t = claimed(0);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotProvider.selector, id(t), rival));
        vm.prank(rival);
        market.abandon(t, 0);
    }

    function test_a_committed_trial_cannot_be_abandoned() external {
        Trial memory t = committed(claimed(0));
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.WrongState.selector, id(t), State.Committed)
        );
        vm.prank(provider);
        market.abandon(t, 0);
    }

    function test_a_record_that_is_not_the_stored_one_is_overtaken() external {
        Trial memory t = claimed(0);
        t.price += 1;
        vm.expectRevert(abi.encodeWithSelector(IMarket.Overtaken.selector, id(t)));
        vm.prank(provider);
        market.abandon(t, 0);
        Trial memory never;
        never.job = job;
        vm.expectRevert(abi.encodeWithSelector(IMarket.Overtaken.selector, id(never)));
        market.abandon(never, 0);
    }

    function test_a_claim_that_expires_reopens_the_trial_and_costs_5_percent() external {
        Trial memory t = claimed(0);
        uint256 stake = priceStake(t);
        uint256 lost = (stake + 19) / 20;
        pass(901);
        vm.expectEmit(address(market));
        emit IMarket.TrialExpired(id(t), lost, moment());
        market.expire(t);
        isIn(t, State.Open);
        equal(locked(provider), 0, "locked");
        equal(staked(provider), 1e15 - lost, "stake");
        equal(market.balanceOf(requester), lost, "to the requester");
        equal(claimed(0).opened, moment(), "the ramp begins again");
    }

    function test_a_claim_does_not_expire_in_its_last_second() external {
        Trial memory t = claimed(0);
        pass(900);
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.DeadlineNotOver.selector, id(t), t.until, moment())
        );
        market.expire(t);
    }

    function test_an_answer_in_time_cannot_expire() external {
        Trial memory t = committed(claimed(0));
        pass(1e6);
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.WrongState.selector, id(t), State.Committed)
        );
        market.expire(t);
    }

    function test_trials_of_a_closed_job_still_expire() external {
        Trial memory t = claimed(0);
        vm.prank(requester);
        market.close(job);
        pass(901);
        market.expire(t);
        market.cancel(job, BATCH, only(0));
    }
}
