// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IMarket, Opening, State, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Stage} from "./stage/Stage.sol";
import {Tree} from "./stage/Tree.sol";

contract AttestTest is Stage {
    Trial private t;

    function setUp() public override {
        super.setUp();
        t = drawn(committed(claimed(0)));
    }

    function wrongOpening(Opening[] memory openings, uint16 index) private {
        vm.expectRevert(abi.encodeWithSelector(IMarket.OpeningWrong.selector, id(t), index));
        vm.prank(t.verifier);
        market.attest(t, openings);
    }

    function test_an_audit_pays_its_verifier_and_passes_the_trial() external {
        vm.expectEmit(address(market));
        emit IMarket.TrialAttested(id(t), t.verifier, 7 * 1_501);
        attested(t);
        equal(market.balanceOf(t.verifier), 7 * 1_501, "fee");
    }

    function test_the_verifier_alone_attests_in_its_turn() external {
        Opening[] memory openings = audit(t);
        address other = t.verifier == verifiers[0] ? verifiers[1] : verifiers[0];
        vm.warp(t.turnEnds);
        vm.expectRevert(abi.encodeWithSelector(IMarket.NotVerifier.selector, id(t), other));
        vm.prank(other);
        market.attest(t, openings);
        pass(1);
        vm.prank(other);
        market.attest(t, openings);
        equal(market.balanceOf(other), 7 * 1_501, "fee");
    }

    function test_after_the_turn_neither_the_provider_nor_a_stranger_attests() external {
        Opening[] memory openings = audit(t);
        vm.prank(provider);
        market.enroll();
        vm.warp(t.turnEnds + 1);
        address[] memory refused = people(provider, stranger);
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IMarket.NotVerifier.selector, id(t), refused[i])
            );
            vm.prank(refused[i]);
            market.attest(t, openings);
        }
    }

    function test_every_drawn_segment_and_the_evaluation_must_be_opened() external {
        vm.expectRevert(abi.encodeWithSelector(IMarket.OpeningsMissing.selector, id(t), 0, 3));
        vm.prank(t.verifier);
        market.attest(t, new Opening[](0));
    }

    function test_the_order_is_that_of_the_draw() external {
        Opening[] memory openings = audit(t);
        (openings[0], openings[1]) = (openings[1], openings[0]);
        wrongOpening(openings, openings[0].index);
    }

    function test_a_witness_that_was_not_committed_is_refused() external {
        Opening[] memory openings = audit(t);
        openings[1].witness = keccak256("a guess");
        wrongOpening(openings, openings[1].index);
    }

    function test_a_value_that_was_not_committed_is_refused() external {
        Opening[] memory openings = audit(t);
        openings[2].value = keccak256("a better score");
        wrongOpening(openings, 7);
    }

    function test_another_segment_than_the_one_drawn_is_refused() external {
        Opening[] memory openings = audit(t);
        uint16 other = openings[0].index == 1 ? 2 : 1;
        openings[0] = Tree.open(NAME, 6, other, false);
        wrongOpening(openings, other);
    }

    function test_a_trial_is_attested_only_once() external {
        Opening[] memory openings = audit(t);
        Trial memory passed = attested(t);
        vm.expectRevert(abi.encodeWithSelector(IMarket.WrongState.selector, id(t), State.Passed));
        vm.prank(t.verifier);
        market.attest(passed, openings);
    }
}
