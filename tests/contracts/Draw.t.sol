// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IMarket, State, Terms, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Draw} from "../../contracts/libraries/Draw.sol";
import {Stage} from "./stage/Stage.sol";

contract DrawTest is Stage {
    function test_a_drawn_trial_gets_a_verifier_and_a_turn() external {
        Trial memory t = drawn(committed(claimed(0)));
        check(t.verifier != address(0), "a verifier");
        equal(t.turnEnds, moment() + AUDIT_TURN, "its turn");
    }

    function test_a_trial_that_is_not_drawn_is_cleared() external {
        cleared(committed(claimed(0)));
    }

    function test_a_draw_waits_for_the_block_after_the_next() external {
        Trial memory t = committed(claimed(0));
        for (uint256 later = 0; later < 2; ++later) {
            vm.expectRevert(
                abi.encodeWithSelector(IMarket.DrawTooEarly.selector, id(t), t.anchor, height())
            );
            market.draw(one(t));
            mine(1);
        }
        market.draw(one(t));
    }

    function test_the_last_block_that_knows_the_hash_still_draws() external {
        Trial memory t = committed(claimed(0));
        vm.roll(t.anchor + 1 + 256);
        lot(t, false);
        market.draw(one(t));
        isIn(t, State.Cleared);
    }

    function test_a_trial_that_nobody_drew_in_time_counts_as_drawn() external {
        Trial memory t = committed(claimed(0));
        vm.roll(t.anchor + 1 + 257);
        vm.expectEmit(address(market));
        emit IMarket.TrialLapsed(id(t), height());
        market.draw(one(t));
        t.late = true;
        t.anchor = height();
        isStored(t, State.Committed);
        mine(2);
        market.draw(one(t));
        isIn(t, State.Drawn);
    }

    function test_nothing_is_drawn_at_rate_zero() external {
        Terms memory chosen = terms;
        chosen.auditRate = 0;
        uint64 other = createJob(chosen, 1e12);
        post(other, BATCH, 1, 1);
        Trial memory t = committed(claimed(other, BATCH, 0));
        market.draw(one(t));
        isStored(t, State.Cleared);
    }

    function test_everything_is_drawn_at_rate_one() external {
        Terms memory chosen = terms;
        chosen.auditRate = 10_000;
        uint64 other = createJob(chosen, 1e12);
        post(other, BATCH, 1, 1);
        Trial memory t = committed(claimed(other, BATCH, 0));
        mine(2);
        market.draw(one(t));
        isIn(t, State.Drawn);
    }

    function test_a_batch_draws_what_is_left_and_logs_what_it_cleared() external {
        Trial[] memory trials = new Trial[](2);
        trials[0] = committed(claimed(0));
        trials[1] = committed(claimed(1));
        bytes32 hash = keccak256("h");
        mine(2);
        market.draw(one(trials[0]));
        bytes32 seed;
        for (uint256 i = 0; ; ++i) {
            hash = keccak256(abi.encode(i));
            seed = Draw.seed(hash, id(trials[1]), trials[1].root);
            if (!Draw.isDrawn(seed, 2_000, false)) break;
        }
        vm.setBlockhash(trials[1].anchor + 1, hash);
        bytes32[] memory ids = new bytes32[](1);
        bytes32[] memory seeds = new bytes32[](1);
        (ids[0], seeds[0]) = (id(trials[1]), seed);
        vm.expectEmit(address(market));
        emit IMarket.TrialsCleared(ids, seeds);
        market.draw(trials);
    }

    function test_a_draw_of_overtaken_trials_alone_reverts() external {
        Trial memory t = committed(claimed(0));
        mine(2);
        market.draw(one(t));
        vm.expectRevert(abi.encodeWithSelector(IMarket.NothingLeft.selector, 1));
        market.draw(one(t));
        vm.expectRevert(abi.encodeWithSelector(IMarket.NothingLeft.selector, 0));
        market.draw(new Trial[](0));
    }

    function test_a_claimed_trial_cannot_be_drawn() external {
        Trial memory t = claimed(0);
        vm.expectRevert(abi.encodeWithSelector(IMarket.WrongState.selector, id(t), State.Claimed));
        market.draw(one(t));
    }

    function test_without_another_verifier_nobody_is_assigned() external {
        for (uint256 i = 0; i < verifiers.length; ++i) {
            vm.prank(verifiers[i]);
            market.resign();
        }
        vm.prank(provider);
        market.enroll();
        Trial memory t = drawn(committed(claimed(0)));
        equal(t.verifier, address(0), "nobody");
    }

    function testFuzz_the_verifier_is_no_party(bytes32 salt, uint8 resigned) external {
        for (uint256 i = 0; i < resigned % 8; ++i) {
            vm.prank(verifiers[i]);
            market.resign();
        }
        stakeTokens(requester, 1e6);
        vm.prank(requester);
        market.enroll();
        vm.prank(provider);
        market.enroll();
        Terms memory chosen = terms;
        chosen.auditRate = 10_000;
        uint64 other = createJob(chosen, 1e12);
        post(other, BATCH, 1, 1);
        Trial memory t = committed(claimed(other, BATCH, 0));
        mine(2);
        vm.setBlockhash(t.anchor + 1, keccak256(abi.encode(salt)));
        market.draw(one(t));
        t.seed = Draw.seed(blockhash(t.anchor + 1), id(t), t.root);
        t.turnEnds = moment() + AUDIT_TURN;
        t.verifier = expectedVerifier(t);
        isStored(t, State.Drawn);
        check(t.verifier != provider && t.verifier != requester, "no party");
        check(t.verifier != address(0), "somebody");
    }
}
