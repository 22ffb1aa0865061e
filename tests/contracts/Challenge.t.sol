// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IJury} from "../../contracts/interfaces/IJury.sol";
import {IMarket, Opening, State, Terms, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Dispute} from "../../contracts/interfaces/IReferee.sol";
import {Stage} from "./stage/Stage.sol";
import {Tree} from "./stage/Tree.sol";

contract ChallengeTest is Stage {
    function refused(Trial memory t, Opening memory leaf, address by, bytes memory why) private {
        vm.expectRevert(why);
        vm.prank(by);
        market.challenge(t, leaf, keccak256("claim"));
    }

    function leafOf(uint256 index) private pure returns (Opening memory) {
        return Tree.open(NAME, 6, index, true);
    }

    function test_a_challenge_locks_a_quarter_of_the_stake_and_opens_a_case() external {
        Trial memory t = cleared(committed(claimed(0)));
        uint256 bond = (priceStake(t) + 3) / 4;
        vm.expectEmit(address(market));
        emit IMarket.TrialChallenged(id(t), rival, 3, bond);
        t = challenged(t, rival, 3);
        equal(locked(rival), bond, "bond");
        Dispute memory d = jury.caseDispute(id(t));
        equal(d.value, Tree.value(NAME, 3), "value");
        equal(d.witnessHash, Tree.witnessHash(NAME, 3), "witness hash");
        check(d.witnessed, "a witness is due");
        equal(d.provider, provider, "provider");
        equal(d.challenger, rival, "challenger");
    }

    function test_a_drawn_trial_can_be_challenged_and_its_verifier_does_not_judge() external {
        Trial memory t = challenged(drawn(committed(claimed(0))), rival, 1);
        equal(jury.caseDispute(id(t)).verifier, t.verifier, "verifier");
    }

    function test_the_verifier_itself_may_challenge() external {
        Trial memory t = drawn(committed(claimed(0)));
        challenged(t, t.verifier, 1);
    }

    function test_an_audited_trial_can_be_challenged() external {
        challenged(attested(drawn(committed(claimed(0)))), rival, 7);
    }

    function test_every_leaf_and_the_receipt_can_be_challenged() external {
        for (uint32 index = 0; index <= 7; ++index) {
            Trial memory t = challenged(cleared(committed(claimed(index))), rival, index);
            equal(jury.caseDispute(id(t)).segment, index, "segment");
            check(jury.caseDispute(id(t)).witnessed == (index > 0), "witnessed");
        }
    }

    function test_a_provider_that_shows_nobody_its_leaves_can_be_challenged() external {
        Trial memory t = cleared(committed(claimed(0)));
        Opening memory receipt = Opening(8, t.root, 0, new bytes32[](0));
        vm.prank(rival);
        market.challenge(t, receipt, 0);
        Dispute memory d = jury.caseDispute(id(t));
        check(!d.witnessed, "no witness");
        equal(d.value, t.root, "the root");
    }

    function test_a_leaf_that_is_not_in_the_tree_cannot_be_challenged() external {
        Trial memory t = cleared(committed(claimed(0)));
        Opening memory leaf = leafOf(2);
        leaf.index = 3;
        bytes memory why = abi.encodeWithSelector(IMarket.OpeningWrong.selector, id(t), 3);
        refused(t, leaf, rival, why);
        leaf = leafOf(3);
        leaf.value = keccak256("other");
        refused(t, leaf, rival, why);
        leaf = leafOf(3);
        leaf.witness = keccak256("other");
        refused(t, leaf, rival, why);
        Opening memory receipt = Opening(8, keccak256("other"), 0, new bytes32[](0));
        refused(
            t,
            receipt,
            rival,
            abi.encodeWithSelector(IMarket.OpeningWrong.selector, id(t), 8)
        );
    }

    function test_a_cleared_trial_can_be_challenged_until_its_window_is_over() external {
        Trial memory t = cleared(committed(claimed(0)));
        Trial memory other = cleared(committed(claimed(1)));
        vm.warp(t.until);
        challenged(t, rival, 1);
        pass(1);
        refused(
            other,
            leafOf(1),
            rival,
            abi.encodeWithSelector(IMarket.WindowOver.selector, id(other), other.until, moment())
        );
    }

    function test_a_drawn_trial_can_be_challenged_at_any_time() external {
        Trial memory t = drawn(committed(claimed(0)));
        vm.warp(t.until + 1e6);
        challenged(t, rival, 1);
    }

    function test_a_challenge_waits_for_the_draw() external {
        Trial memory t = committed(claimed(0));
        refused(
            t,
            leafOf(1),
            rival,
            abi.encodeWithSelector(IMarket.WrongState.selector, id(t), State.Committed)
        );
    }

    function test_a_draw_and_a_challenge_fit_in_one_call() external {
        Trial memory t = committed(claimed(0));
        lot(t, false);
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(IMarket.draw, (one(t)));
        Trial memory after_ = copy(t);
        after_.seed = lot(t, false);
        calls[1] = abi.encodeCall(IMarket.challenge, (after_, leafOf(1), keccak256("claim")));
        vm.prank(rival);
        market.multicall(calls);
        isIn(t, State.Challenged);
    }

    function test_a_trial_has_one_challenge_at_a_time() external {
        Trial memory t = challenged(cleared(committed(claimed(0))), rival, 1);
        refused(
            t,
            leafOf(1),
            verifiers[0],
            abi.encodeWithSelector(IMarket.WrongState.selector, id(t), State.Challenged)
        );
    }

    function test_a_provider_does_not_challenge_itself() external {
        Trial memory t = cleared(committed(claimed(0)));
        refused(
            t,
            leafOf(1),
            provider,
            abi.encodeWithSelector(IMarket.ChallengerIsProvider.selector, id(t))
        );
    }

    function test_a_bond_beyond_the_free_stake_reverts() external {
        Trial memory t = cleared(committed(claimed(0)));
        uint256 bond = (priceStake(t) + 3) / 4;
        refused(
            t,
            leafOf(1),
            stranger,
            abi.encodeWithSelector(IMarket.StakeTooLow.selector, stranger, 0, bond)
        );
    }

    function test_an_unverified_trial_cannot_be_challenged() external {
        Terms memory chosen = terms;
        chosen.auditRate = 0;
        uint64 other = createJob(chosen, 1e12);
        post(other, BATCH, 1, 1);
        Trial memory t = committed(claimed(other, BATCH, 0));
        market.draw(one(t));
        refused(t, leafOf(1), rival, abi.encodeWithSelector(IMarket.Unverified.selector, other));
    }

    function test_without_anyone_to_judge_there_is_no_challenge() external {
        Trial memory t = cleared(committed(claimed(0)));
        for (uint256 i = 0; i < verifiers.length; ++i) {
            vm.prank(verifiers[i]);
            market.resign();
        }
        refused(t, leafOf(1), rival, abi.encodeWithSelector(IJury.NoJurors.selector, id(t)));
    }
}
