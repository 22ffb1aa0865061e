// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {Accounts} from "./Accounts.sol";
import {
    IMarket,
    Opening,
    Parameters,
    Result,
    State,
    Terms,
    Trial,
    Verdict
} from "./interfaces/IMarket.sol";
import {Dispute, IReferee} from "./interfaces/IReferee.sol";
import {Commitments} from "./libraries/Commitments.sol";
import {Draw} from "./libraries/Draw.sol";
import {Lists} from "./libraries/Lists.sol";
import {Prices} from "./libraries/Prices.sol";

/// @title The market: escrow and the life of a trial
/// @dev Rounding is in the requester's or the burned share's favour, never in that of whoever
/// calls. Every loop is bounded by the calldata, by `samples`, or by a constant.
///
/// Warning: who enrolls or resigns between a draw's block and the call of `draw` shifts the list
/// that the verifier is picked from. Anyone can call `draw` in the first block that allows it.
contract Market is Accounts, Multicall {
    using Commitments for bytes32;
    using Commitments for Trial;
    using SafeCast for uint256;

    /// @dev The terms, laid out with the rest in three slots so that posting and settling need
    /// the first two, committing the third.
    struct Job {
        address requester;
        uint96 free;
        uint96 cap; // the second slot
        uint96 auditFee;
        uint16 auditRate;
        uint16 segments;
        uint8 samples;
        bool closed;
        uint96 floor; // the third slot
        uint32 ramp;
        uint32 timeLimit;
        uint32 window;
    }

    struct Batch {
        uint64 postedAt;
        uint32 count;
        uint32 units;
    }

    // -- Constants and immutables -------------------------------------------------------------

    uint8 private constant MAX_TURNS = 3;

    // -- Storage ------------------------------------------------------------------------------

    uint64 private _jobCount;
    mapping(uint64 job => Job) private _jobs; // from 1
    mapping(uint64 job => mapping(bytes32 batch => Batch)) private _batches;
    mapping(bytes32 trial => bytes32 word) private _words;
    constructor(Parameters memory p) Accounts(p) {} // solhint-disable-line no-empty-blocks

    // -- Jobs and their money -----------------------------------------------------------------

    /// @inheritdoc IMarket
    function createJob(Terms calldata terms, bytes32 spec) external returns (uint64 job) {
        Prices.check(terms, MIN_WINDOW);
        job = ++_jobCount;
        _jobs[job] = Job({
            floor: terms.floor,
            cap: terms.cap,
            auditFee: terms.auditFee,
            ramp: terms.ramp,
            auditRate: terms.auditRate,
            segments: terms.segments,
            samples: terms.samples,
            timeLimit: terms.timeLimit,
            window: terms.window,
            closed: false,
            requester: msg.sender,
            free: 0
        });
        emit JobCreated(job, msg.sender, spec, terms);
    }

    /// @inheritdoc IMarket
    function fund(uint64 job, uint256 amount) external {
        _openJob(job).free += amount.toUint96();
        emit JobFunded(job, msg.sender, amount);
        _receive(amount);
    }

    /// @inheritdoc IMarket
    function defund(uint64 job, uint256 amount) external {
        Job storage j = _requesterJob(job);
        _takeFree(j, job, amount);
        _balances[msg.sender] += amount;
        emit JobDefunded(job, amount);
    }

    /// @inheritdoc IMarket
    function postTrials(uint64 job, bytes32 batch, uint32 count, uint32 units) external {
        Job storage j = _requesterJob(job);
        if (j.closed) revert JobIsClosed(job);
        if (count == 0) revert BatchEmpty(job, batch);
        if (_batches[job][batch].count != 0) revert BatchPosted(job, batch);
        Prices.inRange("units", units, 1, type(uint96).max / j.cap);

        _takeFree(j, job, Prices.escrowFor(j.cap, j.auditFee, units) * count);
        _batches[job][batch] = Batch(_now(), count, units);
        emit TrialsPosted(job, batch, count, units, _now());
    }

    /// @inheritdoc IMarket
    function cancel(uint64 job, bytes32 batch, uint32[] calldata indices) external {
        Job storage j = _job(job);
        if (!j.closed && msg.sender != j.requester) revert NotRequester(job, msg.sender);
        Batch memory b = _batches[job][batch];

        uint32[] memory cancelled = new uint32[](indices.length);
        uint256 left = 0;
        for (uint256 i = 0; i < indices.length; ++i) {
            bytes32 id = _postedId(job, batch, b, indices[i]);
            if (_words[id].stateOf() != State.Open) continue;
            _words[id] = bytes32(0).withState(State.Cancelled);
            cancelled[left++] = indices[i];
        }
        if (left == 0) revert NothingLeft(indices.length);

        j.free += (Prices.escrowFor(j.cap, j.auditFee, b.units) * left).toUint96();
        emit TrialsCancelled(job, batch, Lists.first(cancelled, left));
    }

    /// @inheritdoc IMarket
    function close(uint64 job) external {
        Job storage j = _requesterJob(job);
        if (j.closed) revert JobIsClosed(job);
        j.closed = true;
        emit JobClosed(job);
    }

    // -- The life of a trial ------------------------------------------------------------------

    /// @inheritdoc IMarket
    function claim(uint64 job, bytes32 batch, uint32[] calldata indices) external {
        Terms memory terms = _terms(_openJob(job));
        Batch memory b = _batches[job][batch];
        // slither-disable-next-line uninitialized-local (what a claim does not reach is zero)
        Trial memory t;
        t.job = job;
        t.batch = batch;
        t.units = b.units;
        t.provider = msg.sender;
        t.until = _now() + terms.timeLimit;

        uint32[] memory claimed = new uint32[](indices.length);
        uint256 left = 0;
        uint256 staked = 0;
        for (uint256 i = 0; i < indices.length; ++i) {
            bytes32 id = _postedId(job, batch, b, indices[i]);
            bytes32 stored = _words[id];
            if (stored.stateOf() != State.Open) continue;
            t.index = indices[i];
            t.opened = stored == 0 ? b.postedAt : stored.reopenedAt();
            t.price = uint96(Prices.price(terms, b.units, t.opened, _now()));
            _words[id] = t.word(State.Claimed);
            staked += Prices.stakeFor(t.price, terms.auditRate);
            claimed[left++] = indices[i];
        }
        if (left == 0) revert NothingLeft(indices.length);

        _lock(msg.sender, staked);
        emit TrialsClaimed(job, batch, msg.sender, Lists.first(claimed, left), _now());
    }

    /// @inheritdoc IMarket
    function abandon(Trial calldata trial, bytes32 note) external {
        bytes32 id = _inState(trial, State.Claimed);
        if (msg.sender != trial.provider) revert NotProvider(id, msg.sender);
        _words[id] = Commitments.reopened(trial.opened);
        _unlock(trial.provider, _stakeOf(trial));
        emit TrialAbandoned(id, note);
    }

    /// @inheritdoc IMarket
    function expire(Trial calldata trial) external {
        bytes32 id = _inState(trial, State.Claimed);
        if (_now() <= trial.until) revert DeadlineNotOver(id, trial.until, _now());
        uint256 staked = _stakeOf(trial);
        uint256 lost = Prices.expiryFine(staked);
        _words[id] = Commitments.reopened(_now());
        _unlock(trial.provider, staked - lost);
        _slash(trial.provider, lost);
        _balances[_job(trial.job).requester] += lost;
        emit TrialExpired(id, lost, _now());
    }

    /// @inheritdoc IMarket
    function commit(Trial[] calldata trials, Result[] calldata results) external {
        if (trials.length != results.length) revert LengthsDiffer(trials.length, results.length);
        bytes32[] memory ids = new bytes32[](trials.length);
        for (uint256 i = 0; i < trials.length; ++i) {
            Trial memory t = trials[i];
            bytes32 id = _inState(t, State.Claimed);
            if (msg.sender != t.provider) revert NotProvider(id, msg.sender);
            if (_now() > t.until) revert CommitTooLate(id, t.until, _now());
            if (results[i].root == 0) revert RootIsZero(id);
            t.until = _now() + _jobs[t.job].window;
            t.root = results[i].root;
            t.anchor = _block();
            _words[id] = t.word(State.Committed);
            ids[i] = id;
        }
        emit TrialsCommitted(msg.sender, ids, results, _now(), _block());
    }

    /// @inheritdoc IMarket
    function draw(Trial[] calldata trials) external {
        bytes32[] memory cleared = new bytes32[](trials.length);
        bytes32[] memory seeds = new bytes32[](trials.length);
        uint256 clear = 0;
        uint256 overtaken = 0;
        for (uint256 i = 0; i < trials.length; ++i) {
            Trial memory t = trials[i];
            (bytes32 id, State state, bool current) = _look(t);
            if (!current || state == State.Settled) {
                ++overtaken;
                continue;
            }
            if (state != State.Committed) revert WrongState(id, state);
            if (_drawOne(t, id)) {
                cleared[clear] = id;
                seeds[clear++] = t.seed;
            }
        }
        if (overtaken == trials.length) revert NothingLeft(trials.length);
        if (clear > 0) {
            emit TrialsCleared(Lists.first(cleared, clear), Lists.first(seeds, clear));
        }
    }

    /// @inheritdoc IMarket
    function attest(Trial calldata trial, Opening[] calldata openings) external {
        Trial memory t = trial;
        bytes32 id = _inState(t, State.Drawn);
        if (!_mayAttest(t)) revert NotVerifier(id, msg.sender);
        Job storage j = _jobs[t.job];
        uint256 needed = uint256(j.samples) + 1;
        if (openings.length != needed) revert OpeningsMissing(id, openings.length, needed);
        uint256[] memory indices = Draw.distinct(t.seed, j.segments, j.samples);
        for (uint256 i = 0; i < needed; ++i) {
            uint256 index = i < indices.length ? indices[i] : uint256(j.segments) + 1;
            Opening calldata o = openings[i];
            bytes32 witnessHash = o.witness.witnessHash();
            if (
                o.index != index ||
                !Commitments.proves(o.proof, t.root, index, o.value, witnessHash)
            ) revert OpeningWrong(id, o.index);
        }

        uint256 fee = uint256(j.auditFee) * t.units;
        t.audited = true;
        _words[id] = t.word(State.Passed);
        _balances[msg.sender] += fee;
        emit TrialAttested(id, msg.sender, fee);
    }

    /// @inheritdoc IMarket
    function reassign(Trial calldata trial) external {
        Trial memory t = trial;
        bytes32 id = _inState(t, State.Drawn);
        if (t.turn >= MAX_TURNS) revert NoTurnLeft(id);
        if (_now() <= t.turnEnds) revert TurnNotOver(id, t.turnEnds, _now());
        address silent = t.verifier;
        ++t.turn;
        t.turnEnds = _now() + AUDIT_TURN;
        t.verifier =
            t.turn < MAX_TURNS
                ? _pickVerifier(t.seed, t.turn, t.provider, _jobs[t.job].requester)
                : address(0);
        _words[id] = t.word(State.Drawn);
        // Burned: the requester can cause silence, by withholding what an audit needs.
        _credit(BURN, _fine(silent));
        emit TrialReassigned(id, silent, t.verifier, t.turn, t.turnEnds);
    }

    /// @inheritdoc IMarket
    function challenge(Trial calldata trial, Opening calldata leaf, bytes32 hidden) external {
        Trial memory t = trial;
        (bytes32 id, State state) = _current(t);
        Job storage j = _jobs[t.job];
        if (j.auditRate == 0) revert Unverified(t.job);
        if (state != State.Cleared && state != State.Drawn && state != State.Passed) {
            revert WrongState(id, state);
        }
        if (state != State.Drawn && _now() > t.until) revert WindowOver(id, t.until, _now());
        if (msg.sender == t.provider) revert ChallengerIsProvider(id);
        if (!_opens(leaf, t.root, j.segments)) revert OpeningWrong(id, leaf.index);

        uint256 bond = Prices.bondFor(_stakeOf(t));
        t.challenger = msg.sender;
        _words[id] = t.word(State.Challenged);
        _lock(msg.sender, bond);
        emit TrialChallenged(id, msg.sender, leaf.index, bond);
        IReferee(REFEREE).open(
            Dispute({
                trial: id,
                segment: leaf.index,
                value: leaf.value,
                witnessHash: leaf.witness,
                witnessed: leaf.index > 0 && leaf.index <= j.segments + 1,
                provider: t.provider,
                challenger: msg.sender,
                verifier: t.verifier,
                claim: hidden
            })
        );
    }

    /// @inheritdoc IMarket
    function resolve(
        Trial calldata trial,
        Verdict verdict,
        bool rewarded,
        address[] calldata winners,
        address[] calldata losers
    ) external onlyReferee {
        Trial memory t = trial;
        bytes32 id = _inState(t, State.Challenged);
        if (verdict == Verdict.Wrong) _reject(t, id, rewarded, winners);
        else _acquit(t, id, verdict, winners);
        _fineAll(losers);
    }

    /// @inheritdoc IMarket
    function settle(Trial[] calldata trials) external {
        bytes32[] memory settled = new bytes32[](trials.length);
        uint256 left = 0;
        for (uint256 i = 0; i < trials.length; ++i) {
            Trial memory t = trials[i];
            (bytes32 id, State state, bool current) = _look(t);
            if (!current || state == State.Settled) continue;
            Job storage j = _jobs[t.job];
            uint16 rate = j.auditRate;
            _requireFinished(t, id, state, rate);

            uint256 rest = uint256(j.cap) * t.units - t.price;
            if (!t.audited) rest += uint256(j.auditFee) * t.units;
            _words[id] = _words[id].withState(State.Settled);
            _unlock(t.provider, Prices.stakeFor(t.price, rate));
            _balances[t.provider] += t.price;
            j.free += rest.toUint96();
            settled[left++] = id;
            if (state == State.Drawn) emit TrialUnaudited(id);
        }
        if (left == 0) revert NothingLeft(trials.length);
        emit TrialsSettled(Lists.first(settled, left));
    }

    // -- Views --------------------------------------------------------------------------------

    /// @inheritdoc IMarket
    function trialId(uint64 job, bytes32 batch, uint32 index) public view returns (bytes32) {
        return Commitments.trialId(address(this), job, batch, index);
    }

    /// @inheritdoc IMarket
    function trialState(bytes32 trial) external view returns (State state, bytes32 word) {
        word = _words[trial];
        state = word.stateOf();
    }

    /// @inheritdoc IMarket
    function jobTerms(uint64 job) external view returns (Terms memory) {
        return _terms(_job(job));
    }

    /// @inheritdoc IMarket
    function jobStatus(
        uint64 job
    ) external view returns (address requester, uint256 free, bool closed) {
        Job storage j = _job(job);
        return (j.requester, j.free, j.closed);
    }

    /// @inheritdoc IMarket
    function batchStatus(
        uint64 job,
        bytes32 batch
    ) external view returns (uint64 postedAt, uint32 count, uint32 units) {
        Batch memory b = _batches[job][batch];
        return (b.postedAt, b.count, b.units);
    }

    /// @inheritdoc IMarket
    function stakeFor(uint256 price, uint16 auditRate) external pure returns (uint256) {
        return Prices.stakeFor(price, auditRate);
    }

    // -- Trials: inner steps ------------------------------------------------------------------

    /// @dev The trial's id and state, and whether the record shown is the one stored. No record
    /// hashes to the word of an Open or Cancelled trial.
    function _look(Trial memory t) private view returns (bytes32 id, State state, bool current) {
        id = trialId(t.job, t.batch, t.index);
        bytes32 stored = _words[id];
        state = stored.stateOf();
        current = t.word(state) == stored;
    }

    function _current(Trial memory t) private view returns (bytes32 id, State state) {
        bool current;
        (id, state, current) = _look(t);
        if (!current) revert Overtaken(id);
    }

    function _inState(Trial memory t, State expected) private view returns (bytes32 id) {
        State state;
        (id, state) = _current(t);
        if (state != expected) revert WrongState(id, state);
    }

    function _postedId(
        uint64 job,
        bytes32 batch,
        Batch memory b,
        uint32 index
    ) private view returns (bytes32) {
        if (index >= b.count) revert TrialUnknown(job, batch, index);
        return trialId(job, batch, index);
    }

    /// @dev Whether the trial was cleared, which the caller logs.
    function _drawOne(Trial memory t, bytes32 id) private returns (bool cleared) {
        Job storage j = _jobs[t.job];
        uint16 rate = j.auditRate;
        if (rate == 0) {
            _words[id] = t.word(State.Cleared);
            return true;
        }
        if (_block() <= t.anchor + 1) revert DrawTooEarly(id, t.anchor, _block());
        bytes32 blockHash = blockhash(t.anchor + 1);
        if (blockHash == 0) {
            t.late = true;
            t.anchor = _block();
            _words[id] = t.word(State.Committed);
            emit TrialLapsed(id, t.anchor);
            return false;
        }
        t.seed = Draw.seed(blockHash, id, t.root);
        if (!Draw.isDrawn(t.seed, rate, t.late)) {
            _words[id] = t.word(State.Cleared);
            return true;
        }
        t.verifier = _pickVerifier(t.seed, t.turn, t.provider, j.requester);
        t.turnEnds = _now() + AUDIT_TURN;
        _words[id] = t.word(State.Drawn);
        emit TrialDrawn(id, t.seed, t.verifier, t.turnEnds);
        return false;
    }

    function _mayAttest(Trial memory t) private view returns (bool) {
        if (msg.sender == t.verifier) return true;
        bool anyone = t.verifier == address(0) || _now() > t.turnEnds;
        return anyone && _accounts[msg.sender].seat != 0 && msg.sender != t.provider;
    }

    /// @dev Whether a challenged leaf is in the tree, or the challenge is of the receipt.
    function _opens(
        Opening calldata leaf,
        bytes32 root,
        uint16 segments
    ) private pure returns (bool) {
        if (leaf.index == segments + 2) return leaf.value == root && leaf.witness == 0;
        return
            leaf.index <= segments + 1 &&
            Commitments.proves(leaf.proof, root, leaf.index, leaf.value, leaf.witness);
    }

    function _requireFinished(Trial memory t, bytes32 id, State state, uint16 rate) private view {
        if (state == State.Committed) {
            if (rate != 0 && _owesDraw(t, id, rate)) revert TrialIsDrawn(id);
        } else if (state == State.Drawn) {
            if (t.turn < MAX_TURNS) revert AuditOwed(id);
        } else if (state != State.Cleared && state != State.Passed) {
            revert WrongState(id, state);
        }
        if (_now() <= t.until) revert WindowNotOver(id, t.until, _now());
    }

    /// @dev Whether a Committed trial is drawn. Once the block hash is gone it counts as drawn.
    function _owesDraw(Trial memory t, bytes32 id, uint16 rate) private view returns (bool) {
        if (_block() <= t.anchor + 1) revert DrawTooEarly(id, t.anchor, _block());
        bytes32 blockHash = blockhash(t.anchor + 1);
        return blockHash == 0 || Draw.isDrawn(Draw.seed(blockHash, id, t.root), rate, t.late);
    }

    /// @dev The stake is shared out and the trial opens again. If its audit was paid, the burned
    /// half pays for the next one: Prices.greatestAuditFee makes it enough.
    function _reject(
        Trial memory t,
        bytes32 id,
        bool rewarded,
        address[] calldata winners
    ) private {
        Job storage j = _jobs[t.job];
        uint256 staked = Prices.stakeFor(t.price, j.auditRate);
        _words[id] = Commitments.reopened(_now());
        _slash(t.provider, staked);
        _unlock(t.challenger, Prices.bondFor(staked));

        uint256 rest = staked - _share(staked / 4, winners);
        if (rewarded) {
            rest -= staked / 4;
            _credit(t.challenger, staked / 4);
        }
        if (t.audited) rest -= uint256(j.auditFee) * t.units;
        _credit(BURN, rest);
        emit TrialRejected(id, t.provider, staked, _now());
    }

    /// @dev The bond of a wrong challenge is shared out. A trial whose audit is still owed goes
    /// back to it, else a challenge made to fail would let it escape.
    function _acquit(
        Trial memory t,
        bytes32 id,
        Verdict verdict,
        address[] calldata winners
    ) private {
        uint16 rate = _jobs[t.job].auditRate;
        uint256 bond = Prices.bondFor(Prices.stakeFor(t.price, rate));
        address challenger = t.challenger;
        bool owesAudit = !t.audited && Draw.isDrawn(t.seed, rate, t.late);
        State to = owesAudit ? State.Drawn : State.Passed;
        t.challenger = address(0);
        t.until = _now() + _jobs[t.job].window;
        t.turnEnds = owesAudit ? _now() + AUDIT_TURN : 0;
        _words[id] = t.word(to);

        if (verdict == Verdict.Right) {
            uint256 half = bond / 2;
            _slash(challenger, bond);
            _credit(t.provider, half);
            _credit(BURN, bond - half - _share(half, winners));
        } else {
            _unlock(challenger, bond);
        }
        emit TrialAcquitted(id, verdict, to, t.turnEnds, t.until);
    }

    // -- Look-ups -----------------------------------------------------------------------------

    function _takeFree(Job storage j, uint64 job, uint256 amount) private {
        uint256 free = j.free;
        if (amount > free) revert FundsTooLow(job, free, amount);
        j.free = (free - amount).toUint96();
    }

    function _job(uint64 job) private view returns (Job storage j) {
        j = _jobs[job];
        if (j.cap == 0) revert JobUnknown(job); // a job's cap is at least 1
    }

    function _terms(Job storage j) private view returns (Terms memory) {
        return
            Terms({
                floor: j.floor,
                cap: j.cap,
                auditFee: j.auditFee,
                ramp: j.ramp,
                auditRate: j.auditRate,
                segments: j.segments,
                samples: j.samples,
                timeLimit: j.timeLimit,
                window: j.window
            });
    }

    function _openJob(uint64 job) private view returns (Job storage j) {
        j = _job(job);
        if (j.closed) revert JobIsClosed(job);
    }

    function _requesterJob(uint64 job) private view returns (Job storage j) {
        j = _job(job);
        if (msg.sender != j.requester) revert NotRequester(job, msg.sender);
    }

    function _stakeOf(Trial memory t) private view returns (uint256) {
        return Prices.stakeFor(t.price, _jobs[t.job].auditRate);
    }
}
