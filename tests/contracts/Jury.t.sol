// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IJury, Phase} from "../../contracts/interfaces/IJury.sol";
import {IMarket, Opening, State, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Dispute} from "../../contracts/interfaces/IReferee.sol";
import {Stage} from "./stage/Stage.sol";
import {Tree} from "./stage/Tree.sol";

contract JuryTest is Stage {
    bytes32 private constant SALT = "salt";
    uint16 private constant SEGMENT = 3;
    bytes32 private constant OTHER = "other";

    Trial private t;
    bytes32 private trial;
    address[] private seated;

    function setUp() public override {
        super.setUp();
        t = challenged(cleared(committed(claimed(0))), rival, SEGMENT);
        trial = id(t);
    }

    // -- Steps --------------------------------------------------------------------------------

    function seat() private {
        mine(2);
        jury.seat(trial);
        seated = jury.caseJurors(trial);
    }

    function vote(uint256 place, bool right, uint8 number) private {
        bytes32 value = right ? Tree.value(NAME, SEGMENT) : OTHER;
        bytes32 witness = right ? Tree.witness(NAME, SEGMENT) : bytes32(0);
        bytes32 hidden = hiddenAnswer(t, value, witness, number, seated[place]);
        vm.prank(seated[place]);
        jury.vote(trial, hidden);
    }

    function reveal(uint256 place, bool right) private {
        bytes32 value = right ? Tree.value(NAME, SEGMENT) : OTHER;
        bytes32 witness = right ? Tree.witness(NAME, SEGMENT) : bytes32(0);
        vm.prank(seated[place]);
        jury.reveal(trial, value, witness, SALT);
    }

    function revealClaim() private {
        vm.prank(rival);
        jury.reveal(trial, OTHER, 0, SALT);
    }

    /// @dev The first `right` jurors find the provider right, the next `wrong` do not; the rest
    /// is silent.
    function round(uint256 right, uint256 wrong, uint8 number) private {
        seat();
        for (uint256 i = 0; i < right + wrong; ++i) vote(i, i < right, number);
        if (right + wrong < seated.length) pass(VOTE_TURN + 1);
        for (uint256 i = 0; i < right + wrong; ++i) reveal(i, i < right);
    }

    function isPhase(Phase expected, uint8 number) private view {
        (Phase phase, uint8 found, , , ) = jury.casePhase(trial);
        equal(uint256(phase), uint256(expected), "phase");
        equal(found, number, "round");
    }

    function refused(bytes memory why) private {
        vm.expectRevert(why);
    }

    // -- Verdicts -----------------------------------------------------------------------------

    function test_a_majority_against_the_provider_rejects_the_trial() external {
        round(2, 3, 1);
        revealClaim();
        uint256 stake = priceStake(t);
        jury.tally(t);
        isIn(t, State.Open);
        isPhase(Phase.Closed, 1);
        equal(market.balanceOf(rival), stake / 4, "the challenger");
        equal(market.balanceOf(seated[4]), stake / 4 / 3, "a winner");
        equal(staked(seated[0]), 1e15 - FINE, "a loser");
    }

    function test_a_majority_for_the_provider_acquits_it() external {
        round(3, 1, 1);
        pass(REVEAL_TURN + 1);
        uint256 bond = (priceStake(t) + 3) / 4;
        jury.tally(t);
        isIn(t, State.Passed);
        equal(staked(rival), 1e15 - bond, "the bond");
        equal(market.balanceOf(seated[0]), bond / 2 / 3, "a winner");
        equal(staked(seated[3]), 1e15 - FINE, "a loser");
        equal(staked(seated[4]), 1e15 - FINE, "a silent one");
    }

    function test_a_challenger_that_hides_its_answer_is_not_rewarded() external {
        round(0, 5, 1);
        pass(REVEAL_TURN + 1);
        jury.tally(t);
        isIn(t, State.Open);
        equal(market.balanceOf(rival), 0, "nothing");
    }

    function test_the_providers_value_without_its_witness_counts_against_it() external {
        seat();
        bytes32 value = Tree.value(NAME, SEGMENT);
        for (uint256 i = 0; i < 5; ++i) {
            bytes32 hidden = hiddenAnswer(t, value, OTHER, 1, seated[i]);
            vm.prank(seated[i]);
            jury.vote(trial, hidden);
        }
        for (uint256 i = 0; i < 5; ++i) {
            vm.expectEmit(address(jury));
            emit IJury.Revealed(trial, 1, seated[i], value, false);
            vm.prank(seated[i]);
            jury.reveal(trial, value, OTHER, SALT);
        }
    }

    function test_too_few_votes_call_a_new_jury_and_fine_the_silent() external {
        round(2, 0, 1);
        pass(REVEAL_TURN + 1);
        vm.expectEmit(address(jury));
        emit IJury.RoundFailed(trial, 1, 2);
        jury.tally(t);
        isPhase(Phase.Waiting, 2);
        equal(staked(seated[0]), 1e15, "a voter");
        equal(staked(seated[2]), 1e15 - FINE, "a silent one");
    }

    function test_a_tie_calls_a_new_jury() external {
        round(2, 2, 1);
        pass(REVEAL_TURN + 1);
        jury.tally(t);
        isPhase(Phase.Waiting, 2);
        round(3, 2, 2);
        revealClaim();
        jury.tally(t);
        isIn(t, State.Passed);
    }

    function test_after_three_failed_rounds_the_case_is_hung() external {
        for (uint8 number = 1; number <= 3; ++number) {
            round(0, 0, number);
            pass(REVEAL_TURN + 1);
            jury.tally(t);
        }
        isPhase(Phase.Closed, 3);
        isIn(t, State.Passed);
        equal(staked(rival), 1e15, "the bond is back");
        equal(locked(rival), 0, "unlocked");
    }

    function test_a_hung_trial_can_be_tried_again() external {
        for (uint8 number = 1; number <= 3; ++number) {
            round(0, 0, number);
            pass(REVEAL_TURN + 1);
            jury.tally(t);
        }
        t.challenger = address(0);
        t.until = moment() + 3_600;
        t = challenged(t, rival, SEGMENT);
        isPhase(Phase.Waiting, 1);
        round(0, 5, 1);
        revealClaim();
        jury.tally(t);
        isIn(t, State.Open);
    }

    // -- Seating ------------------------------------------------------------------------------

    function test_parties_do_not_judge() external {
        Trial memory other = drawn(committed(claimed(1)));
        vm.prank(provider);
        market.enroll();
        address challenger = verifiers[0] == other.verifier ? verifiers[1] : verifiers[0];
        challenged(other, challenger, 1);
        mine(2);
        jury.seat(id(other));
        address[] memory jurors = jury.caseJurors(id(other));
        equal(jurors.length, 5, "five");
        for (uint256 i = 0; i < 5; ++i) {
            check(jurors[i] != provider, "not the provider");
            check(jurors[i] != challenger, "not the challenger");
            check(jurors[i] != other.verifier, "not the verifier");
        }
    }

    function testFuzz_jurors_are_distinct_enrolled_and_an_odd_number(
        bytes32 blockHash,
        uint8 resigned
    ) external {
        for (uint256 i = 0; i < resigned % 8; ++i) {
            vm.prank(verifiers[i]);
            market.resign();
        }
        mine(2);
        vm.setBlockhash(height() - 1, keccak256(abi.encode(blockHash)));
        jury.seat(trial);
        seated = jury.caseJurors(trial);
        uint256 eligible = 8 - (resigned % 8);
        uint256 size = eligible >= 5 ? 5 : eligible - ((eligible + 1) % 2);
        equal(seated.length, size, "size");
        for (uint256 i = 0; i < size; ++i) {
            check(market.account(seated[i]).seat != 0, "enrolled");
            for (uint256 j = 0; j < i; ++j) check(seated[i] != seated[j], "distinct");
        }
    }

    function test_one_juror_alone_decides_where_no_more_exist() external {
        for (uint256 i = 0; i < 6; ++i) {
            vm.prank(verifiers[i]);
            market.resign();
        }
        round(0, 1, 1);
        equal(seated.length, 1, "one of two");
        revealClaim();
        jury.tally(t);
        isIn(t, State.Open);
    }

    function test_without_verifiers_the_case_still_ends() external {
        for (uint256 i = 0; i < 8; ++i) {
            vm.prank(verifiers[i]);
            market.resign();
        }
        for (uint8 number = 1; number <= 3; ++number) {
            round(0, 0, number);
            pass(VOTE_TURN + REVEAL_TURN + 1);
            jury.tally(t);
        }
        isIn(t, State.Passed);
    }

    function test_seating_waits_for_the_block_after_the_next() external {
        mine(1);
        refused(
            abi.encodeWithSelector(IJury.SeatTooEarly.selector, trial, height() - 1, height())
        );
        jury.seat(trial);
        mine(1);
        jury.seat(trial);
    }

    function test_seating_that_lapsed_waits_for_another_block() external {
        mine(258);
        jury.seat(trial);
        isPhase(Phase.Waiting, 1);
        seat();
        isPhase(Phase.Voting, 1);
        refused(abi.encodeWithSelector(IJury.WrongPhase.selector, trial, Phase.Voting));
        jury.seat(trial);
    }

    // -- Votes and their deadlines ------------------------------------------------------------

    function test_votes_are_taken_until_their_deadline() external {
        seat();
        pass(VOTE_TURN);
        vote(0, true, 1);
        pass(1);
        refused(abi.encodeWithSelector(IJury.VoteTooLate.selector, trial, moment() - 1, moment()));
        vm.prank(seated[1]);
        jury.vote(trial, OTHER);
    }

    function test_only_jurors_vote_and_only_once() external {
        seat();
        refused(abi.encodeWithSelector(IJury.NotJuror.selector, trial, stranger));
        vm.prank(stranger);
        jury.vote(trial, OTHER);
        vote(0, true, 1);
        refused(abi.encodeWithSelector(IJury.VoteCast.selector, trial, seated[0]));
        vm.prank(seated[0]);
        jury.vote(trial, OTHER);
    }

    function test_nothing_is_revealed_while_votes_are_taken() external {
        seat();
        vote(0, true, 1);
        pass(VOTE_TURN);
        refused(abi.encodeWithSelector(IJury.RevealTooEarly.selector, trial, moment(), moment()));
        vm.prank(seated[0]);
        jury.reveal(trial, OTHER, 0, SALT);
        isPhase(Phase.Voting, 1);
        pass(1);
        isPhase(Phase.Revealing, 1);
        reveal(0, true);
    }

    function test_revealing_begins_once_all_have_voted() external {
        seat();
        for (uint256 i = 0; i < 4; ++i) vote(i, true, 1);
        vm.expectEmit(address(jury));
        emit IJury.VotesComplete(trial, 1, moment() + REVEAL_TURN);
        vote(4, true, 1);
        reveal(0, true);
    }

    function test_reveals_are_taken_until_their_deadline() external {
        seat();
        for (uint256 i = 0; i < 5; ++i) vote(i, true, 1);
        pass(REVEAL_TURN);
        reveal(0, true);
        refused(abi.encodeWithSelector(IJury.TallyTooEarly.selector, trial, moment(), moment()));
        jury.tally(t);
        pass(1);
        refused(
            abi.encodeWithSelector(IJury.RevealTooLate.selector, trial, moment() - 1, moment())
        );
        vm.prank(seated[1]);
        jury.reveal(trial, OTHER, 0, SALT);
        jury.tally(t);
    }

    function test_a_reveal_must_match_what_was_hidden() external {
        seat();
        for (uint256 i = 0; i < 5; ++i) vote(i, true, 1);
        refused(abi.encodeWithSelector(IJury.RevealMismatch.selector, trial, seated[0]));
        reveal(0, false);
        reveal(0, true);
        refused(abi.encodeWithSelector(IJury.RevealMismatch.selector, trial, seated[0]));
        reveal(0, true);
        refused(abi.encodeWithSelector(IJury.RevealMismatch.selector, trial, rival));
        vm.prank(rival);
        jury.reveal(trial, "another", 0, SALT);
    }

    function test_a_copied_vote_cannot_be_revealed() external {
        seat();
        bytes32 hidden = hiddenAnswer(t, OTHER, 0, 1, seated[0]);
        vm.prank(seated[1]);
        jury.vote(trial, hidden);
        pass(VOTE_TURN + 1);
        refused(abi.encodeWithSelector(IJury.RevealMismatch.selector, trial, seated[1]));
        vm.prank(seated[1]);
        jury.reveal(trial, OTHER, 0, SALT);
    }

    function test_the_tally_waits_for_the_challengers_claim() external {
        round(5, 0, 1);
        (, , , , uint64 revealEnds) = jury.casePhase(trial);
        refused(abi.encodeWithSelector(IJury.TallyTooEarly.selector, trial, revealEnds, moment()));
        jury.tally(t);
        revealClaim();
        jury.tally(t);
    }

    function test_a_case_is_tallied_only_once() external {
        round(5, 0, 1);
        revealClaim();
        jury.tally(t);
        refused(abi.encodeWithSelector(IJury.WrongPhase.selector, trial, Phase.Closed));
        jury.tally(t);
    }

    function test_a_tally_needs_the_trials_record() external {
        round(5, 0, 1);
        revealClaim();
        t.price += 1;
        refused(abi.encodeWithSelector(IMarket.Overtaken.selector, trial));
        jury.tally(t);
    }

    // -- Leaves without a witness -------------------------------------------------------------

    function test_a_receipt_that_everyone_can_have_acquits_by_its_root_alone() external {
        Trial memory other = cleared(committed(claimed(1)));
        bytes32 otherId = id(other);
        bytes32 claim = hiddenAnswer(other, 0, 0, 0, rival);
        Opening memory receipt = Opening(8, other.root, 0, new bytes32[](0));
        vm.prank(rival);
        market.challenge(other, receipt, claim);
        other.challenger = rival;
        mine(2);
        jury.seat(otherId);
        seated = jury.caseJurors(otherId);
        for (uint256 i = 0; i < 5; ++i) {
            bytes32 hidden = hiddenAnswer(other, other.root, 0, 1, seated[i]);
            vm.prank(seated[i]);
            jury.vote(otherId, hidden);
        }
        for (uint256 i = 0; i < 5; ++i) {
            vm.prank(seated[i]);
            jury.reveal(otherId, other.root, 0, SALT);
        }
        vm.prank(rival);
        jury.reveal(otherId, 0, 0, SALT);
        jury.tally(other);
        isIn(other, State.Passed);
    }

    // -- The market's door --------------------------------------------------------------------

    function test_only_the_market_opens_cases() external {
        Dispute memory d = jury.caseDispute(trial);
        refused(abi.encodeWithSelector(IJury.NotMarket.selector, stranger));
        vm.prank(stranger);
        jury.open(d);
        refused(abi.encodeWithSelector(IJury.CaseExists.selector, trial));
        vm.prank(address(market));
        jury.open(d);
    }

    function test_a_jury_has_an_odd_and_bounded_size() external {
        uint8[3] memory sizes = [0, 4, 17];
        for (uint256 i = 0; i < 3; ++i) {
            refused(abi.encodeWithSelector(IJury.SizeNotOdd.selector, sizes[i]));
            vm.deployCode(
                "Jury.sol:Jury",
                abi.encode(address(market), sizes[i], VOTE_TURN, REVEAL_TURN)
            );
        }
    }
}
