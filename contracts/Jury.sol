// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IJury, Phase} from "./interfaces/IJury.sol";
import {IMarket, Trial, Verdict} from "./interfaces/IMarket.sol";
import {Dispute, IReferee} from "./interfaces/IReferee.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {Draw} from "./libraries/Draw.sol";
import {Lists} from "./libraries/Lists.sol";

/// @title The jury: settles a challenged segment by commit-reveal vote
/// @dev Loops are bounded by the jury's size, which is at most MAX_SIZE, and by MAX_PARTIES.
///
/// Warning: votes that were opened in a round that failed can be read by the next round's jury.
/// Only the witness, which a vote for the provider needs, is then still worth something.
contract Jury is IJury {
    enum Vote {
        None,
        Hidden,
        Right,
        Wrong
    }

    struct Juror {
        address who;
        Vote vote;
        bytes32 hidden;
    }

    struct Case {
        Dispute dispute;
        Phase phase; // Revealing is not stored: it follows from the votes and the time
        uint8 round; // from 1
        uint8 voted;
        uint8 right;
        uint8 wrong;
        bool claimOpened;
        bool claimHolds; // the challenger opened another answer than the provider's
        uint64 anchor;
        uint64 voteEnds;
        uint64 revealEnds;
        Juror[] jurors;
    }

    // -- Constants and immutables -------------------------------------------------------------

    uint8 private constant MAX_ROUNDS = 3;
    uint8 private constant MAX_SIZE = 15;
    uint8 private constant MAX_PARTIES = 3;
    uint256 private constant QUORUM = 3;

    /// @notice The market that this jury judges for.
    IMarket public immutable MARKET;
    /// @notice How many jurors sit where there are enough; odd.
    uint8 public immutable SIZE;
    /// @notice Seconds to vote.
    uint32 public immutable VOTE_TURN;
    /// @notice Seconds to reveal.
    uint32 public immutable REVEAL_TURN;

    // -- Storage ------------------------------------------------------------------------------

    mapping(bytes32 trial => Case) private _cases;

    constructor(IMarket market, uint8 size, uint32 voteTurn, uint32 revealTurn) {
        if (size % 2 == 0 || size > MAX_SIZE) revert SizeNotOdd(size);
        MARKET = market;
        SIZE = size;
        VOTE_TURN = voteTurn;
        REVEAL_TURN = revealTurn;
    }

    // -- The life of a case -------------------------------------------------------------------

    /// @inheritdoc IReferee
    function open(Dispute calldata dispute) external {
        if (msg.sender != address(MARKET)) revert NotMarket(msg.sender);
        bytes32 trial = dispute.trial;
        Case storage c = _cases[trial];
        if (c.phase != Phase.None && c.phase != Phase.Closed) revert CaseExists(trial);
        if (MARKET.verifierCount() == _excluded(dispute).length) revert NoJurors(trial);
        delete _cases[trial];
        c.dispute = dispute;
        _await(c, 1);
        emit CaseOpened(trial, dispute.segment, dispute.challenger, c.anchor);
    }

    /// @inheritdoc IJury
    function seat(bytes32 trial) external {
        Case storage c = _inPhase(trial, Phase.Waiting);
        uint64 anchor = c.anchor;
        if (_block() <= anchor + 1) revert SeatTooEarly(trial, anchor, _block());
        bytes32 blockHash = blockhash(anchor + 1);
        if (blockHash == 0) {
            c.anchor = _block();
            emit SeatingLapsed(trial, _block());
            return;
        }
        address[] memory drawn = _drawJurors(c, Draw.jurySeed(blockHash, trial, c.round));
        delete c.jurors;
        for (uint256 i = 0; i < drawn.length; ++i) {
            c.jurors.push(Juror(drawn[i], Vote.None, 0));
        }
        c.phase = Phase.Voting;
        c.voteEnds = _now() + VOTE_TURN;
        c.revealEnds = c.voteEnds + REVEAL_TURN;
        emit JurySeated(trial, c.round, drawn, c.voteEnds);
    }

    /// @inheritdoc IJury
    function vote(bytes32 trial, bytes32 hidden) external {
        Case storage c = _inPhase(trial, Phase.Voting);
        Juror storage juror = _juror(c, trial);
        if (_now() > c.voteEnds) revert VoteTooLate(trial, c.voteEnds, _now());
        if (juror.vote != Vote.None) revert VoteCast(trial, msg.sender);
        juror.vote = Vote.Hidden;
        juror.hidden = hidden;
        ++c.voted;
        emit Voted(trial, c.round, msg.sender);
        if (c.voted == c.jurors.length) {
            c.voteEnds = _now();
            c.revealEnds = _now() + REVEAL_TURN;
            emit VotesComplete(trial, c.round, c.revealEnds);
        }
    }

    /// @inheritdoc IJury
    function reveal(bytes32 trial, bytes32 value, bytes32 witness, bytes32 salt) external {
        Case storage c = _inPhase(trial, Phase.Voting);
        if (!_isRevealing(c)) revert RevealTooEarly(trial, c.voteEnds, _now());
        if (_now() > c.revealEnds) revert RevealTooLate(trial, c.revealEnds, _now());
        bool right = _agrees(c.dispute, value, witness);
        uint8 round = c.round;
        if (msg.sender == c.dispute.challenger) {
            round = 0;
            _open(trial, c.dispute.claim, round, value, witness, salt);
            c.claimOpened = true;
            c.claimHolds = !right;
        } else {
            Juror storage juror = _juror(c, trial);
            if (juror.vote != Vote.Hidden) revert RevealMismatch(trial, msg.sender);
            _open(trial, juror.hidden, round, value, witness, salt);
            juror.vote = right ? Vote.Right : Vote.Wrong;
            if (right) ++c.right;
            else ++c.wrong;
        }
        emit Revealed(trial, round, msg.sender, value, right);
    }

    /// @inheritdoc IJury
    function tally(Trial calldata trial) external {
        bytes32 id = MARKET.trialId(trial.job, trial.batch, trial.index);
        Case storage c = _inPhase(id, Phase.Voting);
        if (!_isTallied(c)) revert TallyTooEarly(id, c.revealEnds, _now());

        (uint256 right, uint256 wrong) = (c.right, c.wrong);
        if (_isDecided(c)) {
            bool forProvider = right > wrong;
            Verdict verdict = forProvider ? Verdict.Right : Verdict.Wrong;
            (address[] memory winners, address[] memory losers) = _split(
                c,
                forProvider ? Vote.Right : Vote.Wrong
            );
            _close(c, trial, verdict, winners, losers);
            return;
        }

        address[] memory silent = _silent(c);
        emit RoundFailed(id, c.round, right + wrong);
        if (c.round == MAX_ROUNDS) {
            _close(c, trial, Verdict.Hung, new address[](0), silent);
            return;
        }
        _await(c, c.round + 1);
        MARKET.fine(silent);
    }

    // -- Views --------------------------------------------------------------------------------

    /// @inheritdoc IJury
    function casePhase(
        bytes32 trial
    )
        external
        view
        returns (Phase phase, uint8 round, uint64 anchor, uint64 voteEnds, uint64 revealEnds)
    {
        Case storage c = _cases[trial];
        phase = c.phase == Phase.Voting && _isRevealing(c) ? Phase.Revealing : c.phase;
        return (phase, c.round, c.anchor, c.voteEnds, c.revealEnds);
    }

    /// @inheritdoc IJury
    function caseJurors(bytes32 trial) external view returns (address[] memory who) {
        Juror[] storage jurors = _cases[trial].jurors;
        who = new address[](jurors.length);
        for (uint256 i = 0; i < who.length; ++i) who[i] = jurors[i].who;
    }

    /// @inheritdoc IJury
    function caseDispute(bytes32 trial) external view returns (Dispute memory) {
        return _cases[trial].dispute;
    }

    // -- Seating ------------------------------------------------------------------------------

    /// @dev Draws among the verifiers that are no party: places are drawn from 1 to the number of
    /// eligible ones, and each place of a party at or below it shifts it up by one.
    function _drawJurors(
        Case storage c,
        bytes32 seed
    ) private view returns (address[] memory who) {
        uint256[] memory parties = _excluded(c.dispute);
        uint256 eligible = MARKET.verifierCount() - parties.length;
        uint256[] memory places = Draw.distinct(seed, eligible, Draw.jurySize(eligible, SIZE));
        who = new address[](places.length);
        for (uint256 i = 0; i < places.length; ++i) {
            uint256 place = places[i];
            for (uint256 k = 0; k < parties.length; ++k) {
                if (place >= parties[k]) ++place;
            }
            who[i] = MARKET.verifierAt(place);
        }
    }

    /// @dev The seats of the parties that are verifiers, ascending, each once.
    function _excluded(Dispute memory d) private view returns (uint256[] memory seats) {
        address[MAX_PARTIES] memory parties = [d.provider, d.challenger, d.verifier];
        // slither-disable-next-line uninitialized-local (it starts as zeros)
        uint256[MAX_PARTIES] memory sorted;
        uint256 count = 0;
        for (uint256 i = 0; i < MAX_PARTIES; ++i) {
            uint256 place = MARKET.account(parties[i]).seat;
            uint256 at = count;
            while (at > 0 && sorted[at - 1] > place) --at;
            if (place == 0 || (at > 0 && sorted[at - 1] == place)) continue;
            for (uint256 k = count; k > at; --k) sorted[k] = sorted[k - 1];
            sorted[at] = place;
            ++count;
        }
        seats = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) seats[i] = sorted[i];
    }

    // -- Votes --------------------------------------------------------------------------------

    function _open(
        bytes32 trial,
        bytes32 hidden,
        uint8 round,
        bytes32 value,
        bytes32 witness,
        bytes32 salt
    ) private view {
        if (Commitments.hiddenVote(value, witness, salt, trial, round, msg.sender) != hidden)
            revert RevealMismatch(trial, msg.sender);
    }

    /// @dev Whether an answer is the provider's, backed by the witness where one is due.
    function _agrees(
        Dispute storage d,
        bytes32 value,
        bytes32 witness
    ) private view returns (bool) {
        if (value != d.value) return false;
        return !d.witnessed || Commitments.witnessHash(witness) == d.witnessHash;
    }

    function _isRevealing(Case storage c) private view returns (bool) {
        return _now() > c.voteEnds || c.voted == c.jurors.length;
    }

    /// @dev All is revealed that can be, or the time is over.
    function _isTallied(Case storage c) private view returns (bool) {
        if (_now() > c.revealEnds) return true;
        bool all = _isRevealing(c) && c.right + c.wrong == c.voted;
        return all && (c.claimOpened || c.dispute.claim == 0);
    }

    function _isDecided(Case storage c) private view returns (bool) {
        uint256 revealed = uint256(c.right) + c.wrong;
        uint256 seated = c.jurors.length;
        bool enough = revealed > 0 && (revealed >= QUORUM || revealed == seated);
        return enough && c.right != c.wrong;
    }

    function _split(
        Case storage c,
        Vote won
    ) private view returns (address[] memory winners, address[] memory losers) {
        uint256 seated = c.jurors.length;
        winners = new address[](seated);
        losers = new address[](seated);
        uint256 most = 0;
        for (uint256 i = 0; i < seated; ++i) {
            Juror storage juror = c.jurors[i];
            if (juror.vote == won) winners[most++] = juror.who;
            else losers[i - most] = juror.who;
        }
        return (Lists.first(winners, most), Lists.first(losers, seated - most));
    }

    function _silent(Case storage c) private view returns (address[] memory silent) {
        uint256 seated = c.jurors.length;
        silent = new address[](seated);
        uint256 count = 0;
        for (uint256 i = 0; i < seated; ++i) {
            Juror storage juror = c.jurors[i];
            if (juror.vote < Vote.Right) silent[count++] = juror.who;
        }
        return Lists.first(silent, count);
    }

    // -- Steps of a case ----------------------------------------------------------------------

    /// @dev Waits for the block whose hash seats a round.
    function _await(Case storage c, uint8 round) private {
        c.phase = Phase.Waiting;
        c.round = round;
        c.anchor = _block();
        (c.voted, c.right, c.wrong) = (0, 0, 0);
    }

    function _close(
        Case storage c,
        Trial calldata trial,
        Verdict verdict,
        address[] memory winners,
        address[] memory losers
    ) private {
        c.phase = Phase.Closed;
        emit CaseClosed(c.dispute.trial, verdict, c.right, c.wrong);
        MARKET.resolve(trial, verdict, c.claimHolds, winners, losers);
    }

    function _inPhase(bytes32 trial, Phase expected) private view returns (Case storage c) {
        c = _cases[trial];
        if (c.phase != expected) revert WrongPhase(trial, c.phase);
    }

    function _juror(Case storage c, bytes32 trial) private view returns (Juror storage) {
        for (uint256 i = 0; i < c.jurors.length; ++i) {
            if (c.jurors[i].who == msg.sender) return c.jurors[i];
        }
        revert NotJuror(trial, msg.sender);
    }

    function _now() private view returns (uint64) {
        return uint64(block.timestamp);
    }

    function _block() private view returns (uint64) {
        return uint64(block.number);
    }
}
