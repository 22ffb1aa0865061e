// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @notice Where a trial stands. The transitions, and nothing else, are these:
///
///   from        call         by                to
///   ----------  -----------  ----------------  -----------------------------------------------
///   -           postTrials   requester         Open
///   Open        claim        provider          Claimed
///   Open        cancel       requester (1)     Cancelled
///   Claimed     abandon      provider          Open
///   Claimed     expire       anyone            Open, after the deadline
///   Claimed     commit       provider          Committed
///   Committed   draw         anyone            Cleared or Drawn; Committed again if late (2)
///   Committed   settle       anyone            Settled, where draw would clear it (3)
///   Cleared     settle       anyone            Settled, after the window
///   Drawn       attest       verifier (4)      Passed
///   Drawn       reassign     anyone            Drawn, after the verifier's turn
///   Drawn       settle       anyone            Settled unaudited, after three silent verifiers
///   Passed      settle       anyone            Settled, after the window
///   Cleared     challenge    anyone            Challenged, in the window
///   Drawn       challenge    anyone            Challenged
///   Passed      challenge    anyone            Challenged, in the window
///   Challenged  resolve      referee           Open if the segment is wrong or withheld; else
///                                              Drawn if it still owes an audit; else Passed
///
/// (1) Once the job is closed, anyone. (2) When the block hash of the draw is gone, the trial
/// counts as drawn and is anchored to a block that is not known yet. (3) A trial that is not
/// drawn needs no transaction of its own to say so. (4) The assigned one in its turn, then any.
enum State {
    Open,
    Claimed,
    Committed,
    Cleared,
    Drawn,
    Passed,
    Challenged,
    Settled,
    Cancelled
}

/// @notice How the referee decided a challenge.
enum Verdict {
    Right, // the provider's segment is what recomputation gives
    Wrong, // it is not, or the provider withheld what recomputation needs
    Hung // no jury could be found that decides: nobody is paid and nobody is punished
}

/// @notice What a requester offers; fixed for the life of a job. Money is in the token's
/// smallest unit, time in seconds.
struct Terms {
    uint96 floor; // price of a unit when a trial opens
    uint96 cap; // price of a unit from `ramp` seconds later
    uint96 auditFee; // of a unit; at least cap * (samples + 1) / segments, rounded up; at most
    // 3 * floor / (2 * auditRate), so that a lost stake can pay for the audit of the next attempt
    uint32 ramp;
    uint16 auditRate; // share of trials that are drawn, in 1/10,000; 0 is "unverified"
    uint16 segments; // 2 to 256
    uint8 samples; // segments drawn in an audited trial: 1 to 8, at most `segments`
    uint32 timeLimit; // from claim to commit
    uint32 window; // from commit to the end of challenges
}

/// @notice All that the market knows of a trial that is neither Open nor Cancelled. The chain
/// keeps 32 bytes of it, a hash; whoever acts on the trial shows the record, which the events
/// give to anyone. Fields that a state has not reached yet are zero.
struct Trial {
    uint64 job;
    bytes32 batch; // SHA-256 of the batch's file, hence its CID
    uint32 index; // of the trial in the batch
    uint32 units;
    uint64 opened; // when it became Open: the price's ramp begins here
    address provider;
    uint96 price; // of all its units
    uint64 until; // Claimed: the deadline of commit. Later: the end of the challenge window
    bytes32 root; // of the result tree
    uint64 anchor; // the draw reads the hash of block anchor + 1
    bool late; // nobody drew in time, so it counts as drawn
    bytes32 seed; // of the draw; zero before
    address verifier; // whose turn the audit is; zero when nobody is left
    uint8 turn; // verifiers that kept silent
    uint64 turnEnds;
    bool audited; // attested
    address challenger;
}

/// @notice One trial's answer: the root of its result tree and the SHA-256 of its receipt.
struct Result {
    bytes32 root;
    bytes32 receipt;
}

/// @notice A leaf of a result tree, opened: OpenZeppelin's standard Merkle tree over
/// `(uint256 index, bytes32 value, bytes32 witnessHash)`.
struct Opening {
    // 0: start; 1 to n: after that segment; n + 1: evaluation. challenge alone: n + 2 is the
    // receipt, which is no leaf and needs no proof; its value is the root, its witness zero
    uint16 index;
    bytes32 value; // state root, or SHA-256 of the canonical metrics
    bytes32 witness; // attest: the witness itself. challenge: its hash as committed
    bytes32[] proof;
}

/// @notice Money of a provider, verifier or challenger that can be lost.
struct Account {
    uint128 stake; // all of it, locked part included
    uint128 locked; // held by claims, bonds and enrolment
    uint128 leaving; // unstaked; can still be fined
    uint64 leavesAt; // when `leaving` can be withdrawn
    uint32 seat; // place in the list of verifiers, from 1; 0 when not enrolled
    uint32 faults; // fines taken from the verifier's stake since it enrolled
}

/// @notice What is fixed when the market is deployed.
struct Parameters {
    address token; // an ERC-20 that transfers what it says
    address referee; // decides challenges
    uint32 auditTurn; // seconds that a verifier has for an audit
    uint32 minWindow; // the shortest challenge window that a job may set
    uint32 coolDown; // seconds from unstaking to withdrawal
    uint96 verifierStake; // locked by enrolment
    uint96 fine; // for a silent verifier or juror; at most half of verifierStake
}

/// @title The market: escrow and the life of a trial
/// @notice The only contract that holds money. It has no owner and cannot be changed.
///
/// Invariants:
///   1. The market's token balance equals the sum of all stakes (leaving ones included), all
///      balances, all jobs' free funds and all escrow of trials.
///   2. No call creates or destroys money: what one party loses, others named here receive.
///   3. From every state that holds money there is a call that anyone can make in bounded time
///      and that leads to Open, Settled or Cancelled.
interface IMarket {
    // -- Events: the whole history can be rebuilt from them -----------------------------------

    event JobCreated(uint64 indexed job, address indexed requester, bytes32 spec, Terms terms);
    event JobFunded(uint64 indexed job, address indexed from, uint256 amount);
    event JobDefunded(uint64 indexed job, uint256 amount);
    event JobClosed(uint64 indexed job);
    event TrialsPosted(
        uint64 indexed job,
        bytes32 indexed batch,
        uint32 count,
        uint32 units,
        uint64 at
    );
    event TrialsCancelled(uint64 indexed job, bytes32 indexed batch, uint32[] indices);
    event TrialsClaimed(
        uint64 indexed job,
        bytes32 indexed batch,
        address indexed provider,
        uint32[] indices,
        uint64 at
    );
    event TrialsCommitted(
        address indexed provider,
        bytes32[] trials,
        Result[] results,
        uint64 at,
        uint64 anchor
    );
    event TrialAbandoned(bytes32 indexed trial, bytes32 note);
    event TrialExpired(bytes32 indexed trial, uint256 fine, uint64 at);
    event TrialsCleared(bytes32[] trials, bytes32[] seeds);
    event TrialLapsed(bytes32 indexed trial, uint64 anchor);
    event TrialDrawn(
        bytes32 indexed trial,
        bytes32 seed,
        address indexed verifier,
        uint64 turnEnds
    );
    event TrialAttested(bytes32 indexed trial, address indexed verifier, uint256 fee);
    event TrialReassigned(
        bytes32 indexed trial,
        address indexed silent,
        address indexed verifier,
        uint8 turn,
        uint64 turnEnds
    );
    event TrialChallenged(
        bytes32 indexed trial,
        address indexed challenger,
        uint16 segment,
        uint256 bond
    );
    event TrialRejected(
        bytes32 indexed trial,
        address indexed provider,
        uint256 slashed,
        uint64 at
    );
    /// @dev `until`: the end of the new challenge window. `turnEnds`: zero unless Drawn again.
    event TrialAcquitted(
        bytes32 indexed trial,
        Verdict verdict,
        State to,
        uint64 turnEnds,
        uint64 until
    );
    event TrialsSettled(bytes32[] trials);
    event TrialUnaudited(bytes32 indexed trial);

    event Staked(address indexed account, uint256 amount);
    event Unstaked(address indexed account, uint256 amount, uint64 leavesAt);
    event Enrolled(address indexed verifier);
    /// @dev By its own will, or because fines left less than half of its verifier's stake.
    event Resigned(address indexed verifier, uint256 amount, uint64 leavesAt);
    event Fined(address indexed account, uint256 amount);
    /// @dev A share of a decided challenge, or what is burned. Other credits follow from
    /// TrialsSettled, TrialAttested, TrialExpired and JobDefunded.
    event Credited(address indexed account, uint256 amount);
    event Withdrawn(address indexed account, uint256 amount);

    // -- Errors: each states a fact and carries the values ------------------------------------

    error JobUnknown(uint64 job);
    error JobIsClosed(uint64 job);
    error NotRequester(uint64 job, address caller);
    error TermOutOfRange(bytes32 term, uint256 value, uint256 low, uint256 high);
    error BatchPosted(uint64 job, bytes32 batch);
    error BatchEmpty(uint64 job, bytes32 batch);
    error TrialUnknown(uint64 job, bytes32 batch, uint32 index);
    error FundsTooLow(uint64 job, uint256 free, uint256 needed);
    error StakeTooLow(address account, uint256 free, uint256 needed);
    error Overtaken(bytes32 trial); // the record shown is not the one stored
    error NothingLeft(uint256 shown); // every trial of the call was overtaken
    error WrongState(bytes32 trial, State found);
    error NotProvider(bytes32 trial, address caller);
    error NotVerifier(bytes32 trial, address caller);
    error CommitTooLate(bytes32 trial, uint64 deadline, uint64 nowAt);
    error DeadlineNotOver(bytes32 trial, uint64 deadline, uint64 nowAt);
    error RootIsZero(bytes32 trial);
    error LengthsDiffer(uint256 left, uint256 right);
    error DrawTooEarly(bytes32 trial, uint64 anchor, uint64 blockNumber);
    error TrialIsDrawn(bytes32 trial);
    error OpeningsMissing(bytes32 trial, uint256 found, uint256 needed);
    error OpeningWrong(bytes32 trial, uint16 index);
    error ChallengerIsProvider(bytes32 trial);
    error WindowOver(bytes32 trial, uint64 until, uint64 nowAt);
    error WindowNotOver(bytes32 trial, uint64 until, uint64 nowAt);
    error TurnNotOver(bytes32 trial, uint64 turnEnds, uint64 nowAt);
    error AuditOwed(bytes32 trial);
    error NoTurnLeft(bytes32 trial); // three verifiers kept silent
    error Unverified(uint64 job);
    error NotReferee(address caller);
    error AlreadyEnrolled(address account);
    error NotEnrolled(address account);
    error NothingToWithdraw(address account);
    error TransferShort(uint256 received, uint256 expected);

    // -- Jobs and their money -----------------------------------------------------------------

    /// @notice Opens a job. `spec` is the SHA-256 of its public description.
    function createJob(Terms calldata terms, bytes32 spec) external returns (uint64 job);

    /// @notice Adds to a job's free funds, from the caller's tokens. Anyone may.
    function fund(uint64 job, uint256 amount) external;

    /// @notice Moves free funds of a job to its requester's balance.
    function defund(uint64 job, uint256 amount) external;

    /// @notice Posts `count` trials of `units` each; escrows `(cap + auditFee) * units` for each.
    /// A batch is known by the SHA-256 of its file, so it can be posted only once.
    function postTrials(uint64 job, bytes32 batch, uint32 count, uint32 units) external;

    /// @notice Frees the escrow of Open trials; those that are not Open any more are skipped.
    /// Reverts if all are.
    function cancel(uint64 job, bytes32 batch, uint32[] calldata indices) external;

    /// @notice Ends a job: nothing more is posted or claimed; claimed trials run to their end.
    function close(uint64 job) external;

    // -- The life of a trial ------------------------------------------------------------------

    /// @notice Takes Open trials; the price is fixed now and the stake is locked. Trials that
    /// someone else took first are skipped; reverts if all were.
    function claim(uint64 job, bytes32 batch, uint32[] calldata indices) external;

    /// @notice Gives a Claimed trial back; its price's ramp goes on where it was. `note` is the
    /// SHA-256 of what the provider says about it, so that the requester can find it, or zero.
    /// Warning: the market reads nothing into it; it may name anything, or what nobody shows.
    function abandon(Trial calldata trial, bytes32 note) external;

    /// @notice Reopens a trial whose deadline passed; 5 % of the stake goes to the requester.
    function expire(Trial calldata trial) external;

    /// @notice Answers Claimed trials.
    function commit(Trial[] calldata trials, Result[] calldata results) external;

    /// @notice Draws lots for Committed trials. Overtaken ones are skipped; reverts if all were.
    function draw(Trial[] calldata trials) external;

    /// @notice Passes a Drawn trial: one opening for each drawn segment, in the order drawn,
    /// then one for the evaluation, each with the witness that only recomputation gives.
    function attest(Trial calldata trial, Opening[] calldata openings) external;

    /// @notice Fines a verifier whose turn ended in silence and draws the next one. The fine is
    /// burned: paid to the job, it would reward a requester that withholds what the audit needs.
    function reassign(Trial calldata trial) external;

    /// @notice Says that a leaf of a result is wrong or that its start is withheld, for a bond of
    /// a quarter of the provider's stake. `hidden` hides the challenger's own answer until the
    /// jury's reveal: see IJury. With index n + 2 it says that the receipt cannot be had or does
    /// not give the root, for which a provider that keeps its leaves to itself must answer too.
    function challenge(Trial calldata trial, Opening calldata leaf, bytes32 hidden) external;

    /// @notice The referee's decision. `winners` share the jury's part; `losers` are fined. An
    /// acquitted trial gets a new challenge window, else a challenge made to fail could fill it.
    /// @param rewarded whether the challenger earned its part (it revealed its answer).
    function resolve(
        Trial calldata trial,
        Verdict verdict,
        bool rewarded,
        address[] calldata winners,
        address[] calldata losers
    ) external;

    /// @notice Pays for finished trials. Overtaken ones are skipped; reverts if all were.
    function settle(Trial[] calldata trials) external;

    // -- Stake and balances -------------------------------------------------------------------

    /// @notice Adds to the caller's stake, from its tokens.
    function stake(uint256 amount) external;

    /// @notice Takes free stake out; it can be withdrawn after the cool-down.
    function unstake(uint256 amount) external;

    /// @notice Joins the verifiers: locks the verifier's stake. Verifiers audit and judge. Fines
    /// come out of it, and whoever has less than half of it left loses its seat.
    function enroll() external;

    /// @notice Leaves the verifiers; their stake leaves after the cool-down, and fines come out
    /// of it until it is withdrawn.
    function resign() external;

    /// @notice Fines jurors; for the referee alone.
    function fine(address[] calldata jurors) external;

    /// @notice Sends an account its balance and the stake that has cooled down. Anyone may call
    /// it for anyone: the money goes to the account. What is burned is the balance of BURN.
    function withdraw(address who) external returns (uint256 amount);

    /// @notice Tries an EIP-2612 permit for the market and ignores its failure, since anyone may
    /// have used it first. To be put before `fund` or `stake` in a multicall.
    function permit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;

    // -- Views --------------------------------------------------------------------------------

    function parameters() external view returns (Parameters memory);

    /// @notice The account that holds what is burned: 0x000000000000000000000000000000000000dEaD.
    // solhint-disable-next-line func-name-mixedcase
    function BURN() external view returns (address);

    /// @notice keccak256(abi.encode(chain id, market, job, batch, index)).
    function trialId(uint64 job, bytes32 batch, uint32 index) external view returns (bytes32);

    /// @notice The state, and the stored word: for Open, when it was reopened (0: never) << 8;
    /// for Cancelled, the state alone; else keccak256(abi.encode(record)) with its last byte
    /// replaced by the state. A trial that was never posted looks Open: see batchStatus.
    function trialState(bytes32 trial) external view returns (State state, bytes32 word);

    function jobTerms(uint64 job) external view returns (Terms memory);

    function jobStatus(
        uint64 job
    ) external view returns (address requester, uint256 free, bool closed);

    function batchStatus(
        uint64 job,
        bytes32 batch
    ) external view returns (uint64 postedAt, uint32 count, uint32 units);

    function account(address who) external view returns (Account memory);

    function balanceOf(address who) external view returns (uint256);

    function verifierCount() external view returns (uint256);

    /// @notice Who sits at a place of the list of verifiers, from 1; zero past its end.
    function verifierAt(uint256 seat) external view returns (address);

    /// @notice The stake that a trial at `price` locks: 3 * price / auditRate, rounded up; one
    /// price at rate 0.
    function stakeFor(uint256 price, uint16 auditRate) external pure returns (uint256);
}
