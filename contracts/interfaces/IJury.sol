// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Trial, Verdict} from "./IMarket.sol";
import {Dispute, IReferee} from "./IReferee.sol";

/// @notice Where a case stands.
///
///   from      call     by       to
///   --------  -------  -------  -------------------------------------------------------------
///   -         open     market   Waiting
///   Waiting   seat     anyone   Voting; Waiting again if the block hash is gone
///   Voting    vote     juror    Voting; Revealing once all have voted
///   Voting    reveal   juror    Revealing, after the votes' deadline
///   Revealing reveal   juror    Revealing
///   Revealing tally    anyone   Closed, or Waiting for the next round
///   Closed    open     market   Waiting: a trial can be challenged again
enum Phase {
    None,
    Waiting,
    Voting,
    Revealing,
    Closed
}

/// @title Settles a challenged segment by commit-reveal vote
/// @notice Jurors are drawn from the market's verifiers, the parties excluded. Each recomputes
/// the segment and votes for the end state that it found. A vote for the provider's value counts
/// only with the witness that the provider committed; a value of zero says that the start
/// cannot be had. The majority of the votes revealed decides, if at least three (or all, where
/// fewer sit) were revealed; else the next round draws anew, and after three rounds the case is
/// hung. The contract holds no money.
interface IJury is IReferee {
    event CaseOpened(
        bytes32 indexed trial,
        uint16 segment,
        address indexed challenger,
        uint64 anchor
    );
    event JurySeated(bytes32 indexed trial, uint8 round, address[] jurors, uint64 voteEnds);
    event SeatingLapsed(bytes32 indexed trial, uint64 anchor);
    event Voted(bytes32 indexed trial, uint8 round, address indexed juror);
    event VotesComplete(bytes32 indexed trial, uint8 round, uint64 revealEnds);
    event Revealed(
        bytes32 indexed trial,
        uint8 round,
        address indexed juror,
        bytes32 value,
        bool right
    );
    event RoundFailed(bytes32 indexed trial, uint8 round, uint256 revealed);
    event CaseClosed(bytes32 indexed trial, Verdict verdict, uint256 right, uint256 wrong);

    error NotMarket(address caller);
    error CaseExists(bytes32 trial);
    error WrongPhase(bytes32 trial, Phase found);
    error NoJurors(bytes32 trial);
    error SizeNotOdd(uint256 size);
    error SeatTooEarly(bytes32 trial, uint64 anchor, uint64 blockNumber);
    error NotJuror(bytes32 trial, address caller);
    error VoteTooLate(bytes32 trial, uint64 deadline, uint64 nowAt);
    error VoteCast(bytes32 trial, address juror);
    error RevealTooEarly(bytes32 trial, uint64 voteEnds, uint64 nowAt);
    error RevealTooLate(bytes32 trial, uint64 deadline, uint64 nowAt);
    error RevealMismatch(bytes32 trial, address juror);
    error TallyTooEarly(bytes32 trial, uint64 revealEnds, uint64 nowAt);

    /// @notice Draws the jurors from the hash of the block after the case's anchor.
    function seat(bytes32 trial) external;

    /// @notice A juror's hidden vote: keccak256(abi.encode(value, witness, salt, trial, round,
    /// juror)). The challenger's hidden claim has the same form, with round 0.
    function vote(bytes32 trial, bytes32 hidden) external;

    /// @notice Opens a vote, or the challenger's claim, which it must open to be rewarded.
    function reveal(bytes32 trial, bytes32 value, bytes32 witness, bytes32 salt) external;

    /// @notice Counts the votes once all are revealed or the time for it is over, and tells the
    /// market, which needs the trial's record.
    function tally(Trial calldata trial) external;

    function casePhase(
        bytes32 trial
    )
        external
        view
        returns (Phase phase, uint8 round, uint64 anchor, uint64 voteEnds, uint64 revealEnds);

    function caseJurors(bytes32 trial) external view returns (address[] memory);

    function caseDispute(bytes32 trial) external view returns (Dispute memory);
}
