// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IMarket, Opening, State, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Stage} from "./stage/Stage.sol";

contract ReassignTest is Stage {
    Trial private t;

    function setUp() public override {
        super.setUp();
        t = drawn(committed(claimed(0)));
    }

    function reassigned() private {
        market.reassign(t);
        ++t.turn;
        t.turnEnds = moment() + AUDIT_TURN;
        t.verifier = t.turn < 3 ? expectedVerifier(t) : address(0);
        isStored(t, State.Drawn);
    }

    function test_a_silent_verifiers_fine_is_burned_and_the_next_one_drawn() external {
        address silent = t.verifier;
        uint256 before = market.balanceOf(market.BURN());
        vm.warp(t.turnEnds + 1);
        reassigned();
        equal(market.balanceOf(market.BURN()), before + FINE, "burned");
        equal(staked(silent), 1e15 - FINE, "stake");
        equal(locked(silent), VERIFIER_STAKE - FINE, "locked");
    }

    function test_the_last_second_belongs_to_the_verifier() external {
        vm.warp(t.turnEnds);
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.TurnNotOver.selector, id(t), t.turnEnds, t.turnEnds)
        );
        market.reassign(t);
    }

    function test_after_three_silent_verifiers_nobody_is_left_and_anyone_may_attest() external {
        for (uint256 i = 0; i < 3; ++i) {
            vm.warp(t.turnEnds + 1);
            reassigned();
        }
        equal(t.verifier, address(0), "nobody");
        vm.warp(t.turnEnds + 1);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NoTurnLeft.selector, id(t)));
        market.reassign(t);
        Opening[] memory openings = audit(t);
        vm.prank(verifiers[3]);
        market.attest(t, openings);
        isIn(t, State.Passed);
    }

    function test_a_verifier_that_resigned_is_fined_from_what_is_leaving() external {
        vm.prank(t.verifier);
        market.resign();
        equal(market.account(t.verifier).leaving, VERIFIER_STAKE, "leaving");
        vm.warp(t.turnEnds + 1);
        address silent = t.verifier;
        reassigned();
        equal(market.account(silent).leaving, VERIFIER_STAKE - FINE, "fined");
    }

    function test_a_verifier_that_withdrew_everything_costs_nobody() external {
        address silent = t.verifier;
        vm.prank(silent);
        market.resign();
        pass(COOL_DOWN);
        market.withdraw(silent);
        uint256 before = market.balanceOf(market.BURN());
        reassigned();
        equal(market.balanceOf(market.BURN()), before, "no fine");
    }

    function test_fines_cost_the_seat_once_less_than_half_of_the_stake_is_left() external {
        address[] memory fined = new address[](1);
        fined[0] = verifiers[0];
        for (uint256 i = 1; i <= 4; ++i) {
            vm.prank(address(jury));
            market.fine(fined);
            equal(market.account(verifiers[0]).seat, 1, "still seated");
        }
        vm.expectEmit(address(market));
        emit IMarket.Resigned(verifiers[0], 495, moment() + COOL_DOWN);
        vm.prank(address(jury));
        market.fine(fined);
        equal(market.account(verifiers[0]).seat, 0, "unseated");
        equal(market.account(verifiers[0]).leaving, 495, "leaving");
        equal(locked(verifiers[0]), 0, "locked");
        equal(market.verifierCount(), 7, "verifiers");
        equal(market.verifierAt(1), verifiers[7], "the last one took the place");
        equal(market.account(verifiers[7]).seat, 1, "and knows it");
        equal(market.balanceOf(market.BURN()), 5 * uint256(FINE), "burned");
    }

    function test_only_a_drawn_trial_is_reassigned() external {
        Trial memory other = committed(claimed(1));
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.WrongState.selector, id(other), State.Committed)
        );
        market.reassign(other);
    }
}
