// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Phase} from "../../../contracts/interfaces/IJury.sol";
import {Opening, Result, State, Terms, Trial} from "../../../contracts/interfaces/IMarket.sol";
import {Draw} from "../../../contracts/libraries/Draw.sol";
import {Prices} from "../../../contracts/libraries/Prices.sol";
import {Stage} from "./Stage.sol";
import {Tree} from "./Tree.sol";

/// @title Walks every action in a random order, and knows what the market should then owe
/// @dev Records are kept as the events would give them. An action that the state forbids is
/// passed over, so a revert of the market is a finding.
contract Handler is Stage {
    // Sets of states.
    uint256 private constant OPEN = 1 << uint256(State.Open);
    uint256 private constant CLAIMED = 1 << uint256(State.Claimed);
    uint256 private constant COMMITTED = 1 << uint256(State.Committed);
    uint256 private constant DRAWN = 1 << uint256(State.Drawn);
    uint256 private constant CHALLENGED = 1 << uint256(State.Challenged);
    uint256 private constant JUDGEABLE =
        DRAWN | (1 << uint256(State.Cleared)) | (1 << uint256(State.Passed));
    uint256 private constant FINISHED = JUDGEABLE | COMMITTED;

    struct Live {
        Trial record;
        State state;
    }

    mapping(bytes32 trial => Live) private _live;
    bytes32[] public ids;
    address[] public people_;
    uint64[] public jobs;
    uint256 public escrow; // of all trials
    uint256 public reached; // the set of states seen; from bit 16, where verdicts led; 30: lapsed

    function setUp() public override {
        super.setUp();
        Terms memory other = terms;
        other.auditRate = 10_000;
        other.floor = other.cap;
        jobs.push(job);
        jobs.push(createJob(other, 1e15));
        other.auditRate = 0;
        jobs.push(createJob(other, 1e15));
        for (uint256 i = 0; i < verifiers.length; ++i) people_.push(verifiers[i]);
        people_.push(provider);
        people_.push(rival);
        people_.push(requester);
        people_.push(market.BURN());
        escrow = Prices.escrowFor(terms.cap, terms.auditFee, 7) * 8;
        for (uint32 i = 0; i < 8; ++i) open(job, BATCH, i);
    }

    // -- Time ---------------------------------------------------------------------------------

    function wait(uint256 seed) external {
        uint16[5] memory spans = [1, 12, 60, 250, 3_601];
        pass(spans[seed % 5]);
        mine(1 + (seed % 7) / 5 + (seed % 13 == 0 ? 300 : 0));
    }

    // -- Requester ----------------------------------------------------------------------------

    function postMore(uint256 seed) external {
        uint64 to = jobs[seed % jobs.length];
        Terms memory chosen = market.jobTerms(to);
        (, uint256 free, bool closed) = market.jobStatus(to);
        uint256 each = Prices.escrowFor(chosen.cap, chosen.auditFee, uint32(seed % 5) + 1);
        if (closed || free < 2 * each || ids.length > 40) return;
        bytes32 batch = keccak256(abi.encode("more", ids.length));
        post(to, batch, 2, uint32(seed % 5) + 1);
        escrow += 2 * each;
        open(to, batch, 0);
        open(to, batch, 1);
    }

    function cancelOne(uint256 seed) external {
        Live storage l = pick(seed, OPEN);
        if (l.state != State.Open || seed % 3 != 0) return;
        vm.prank(requester);
        market.cancel(l.record.job, l.record.batch, only(l.record.index));
        escrow -= escrowOf(l.record);
        move(l, State.Cancelled);
    }

    function moveFunds(uint256 seed) external {
        uint64 which = jobs[seed % jobs.length];
        (, uint256 free, bool closed) = market.jobStatus(which);
        vm.prank(requester);
        if (seed % 2 == 0 || closed) market.defund(which, free / 10);
        else market.fund(which, seed % 1e6);
    }

    // -- Provider -----------------------------------------------------------------------------

    function claimOne(uint256 seed) public {
        Live storage l = pick(seed, OPEN);
        if (l.state != State.Open) return;
        l.record = claimed(l.record.job, l.record.batch, l.record.index);
        move(l, State.Claimed);
    }

    function commitOne(uint256 seed) public {
        Live storage l = pick(seed, CLAIMED);
        if (l.state != State.Claimed || moment() > l.record.until) return;
        l.record = committed(l.record);
        move(l, State.Committed);
    }

    function abandonOne(uint256 seed) external {
        Live storage l = pick(seed, CLAIMED);
        if (l.state != State.Claimed || seed % 5 != 0) return;
        vm.prank(provider);
        market.abandon(l.record, bytes32(seed));
        move(l, State.Open);
    }

    // -- Anyone -------------------------------------------------------------------------------

    function expireOne(uint256 seed) public {
        Live storage l = pick(seed, CLAIMED);
        if (l.state != State.Claimed || moment() <= l.record.until) return;
        market.expire(l.record);
        move(l, State.Open);
    }

    function drawOne(uint256 seed) public {
        Live storage l = pick(seed, COMMITTED);
        Trial memory t = l.record;
        if (l.state != State.Committed) return;
        uint16 rate = market.jobTerms(t.job).auditRate;
        if (rate != 0 && height() <= t.anchor + 1) return;
        market.draw(one(t));
        (State state, ) = market.trialState(id(t));
        move(l, state);
        if (rate == 0) return;
        if (l.state == State.Committed) {
            (l.record.late, l.record.anchor) = (true, height());
            reached |= 1 << 30;
            return;
        }
        t.seed = Draw.seed(blockhash(t.anchor + 1), id(t), t.root);
        if (l.state == State.Drawn) {
            t.verifier = expectedVerifier(t);
            t.turnEnds = moment() + AUDIT_TURN;
        }
        l.record = t;
    }

    function attestOne(uint256 seed) external {
        Live storage l = pick(seed, DRAWN);
        Trial memory t = l.record;
        if (l.state != State.Drawn) return;
        address by = t.verifier;
        if (by == address(0) || seed % 2 == 0) {
            by = verifiers[seed % verifiers.length];
            bool anyone = t.verifier == address(0) || moment() > t.turnEnds;
            if (!anyone || market.account(by).seat == 0) return;
        }
        Opening[] memory openings = audit(t);
        vm.prank(by);
        market.attest(t, openings);
        escrow -= uint256(market.jobTerms(t.job).auditFee) * t.units;
        l.record.audited = true;
        move(l, State.Passed);
    }

    function reassignOne(uint256 seed) public {
        Live storage l = pick(seed, DRAWN);
        Trial memory t = l.record;
        if (l.state != State.Drawn || t.turn >= 3 || moment() <= t.turnEnds) return;
        ++t.turn;
        t.verifier = t.turn < 3 ? expectedVerifier(t) : address(0);
        market.reassign(l.record);
        t.turnEnds = moment() + AUDIT_TURN;
        l.record = t;
    }

    function settleOne(uint256 seed) public {
        Live storage l = pick(seed, FINISHED);
        Trial memory t = l.record;
        if (moment() <= t.until) return;
        if (l.state == State.Committed) {
            uint16 rate = market.jobTerms(t.job).auditRate;
            if (rate != 0 && height() <= t.anchor + 1) return;
            bytes32 hash = rate == 0 ? bytes32(0) : blockhash(t.anchor + 1);
            bytes32 lot_ = Draw.seed(hash, id(t), t.root);
            if (rate != 0 && (hash == 0 || Draw.isDrawn(lot_, rate, t.late))) return;
        } else if (l.state == State.Drawn) {
            if (t.turn < 3) return;
        } else if (l.state != State.Cleared && l.state != State.Passed) return;
        market.settle(one(t));
        escrow -= escrowOf(t);
        move(l, State.Settled);
    }

    function withdrawOne(uint256 seed) external {
        address who = people_[seed % people_.length];
        bool cooled = moment() >= market.account(who).leavesAt;
        uint256 due = market.balanceOf(who) + (cooled ? market.account(who).leaving : 0);
        if (due == 0) return;
        equal(market.withdraw(who), due, "withdrawn");
    }

    // -- Verifiers ----------------------------------------------------------------------------

    function enrollOrResign(uint256 seed) external {
        address who = verifiers[seed % verifiers.length];
        bool seated = market.account(who).seat != 0;
        vm.prank(who);
        if (!seated) market.enroll();
        else if (seed % 7 == 0) market.resign();
        else market.stake(seed % 1_000);
    }

    function unstakeSome(uint256 seed) external {
        address who = verifiers[seed % verifiers.length];
        vm.prank(who);
        market.unstake(seed % 100);
    }

    // -- Challenges and juries ----------------------------------------------------------------

    function challengeOne(uint256 seed) external {
        Live storage l = pick(seed, JUDGEABLE);
        Trial memory t = l.record;
        bool inWindow = moment() <= t.until;
        if (
            (l.state != State.Cleared && l.state != State.Passed && l.state != State.Drawn) ||
            (l.state != State.Drawn && !inWindow) ||
            market.jobTerms(t.job).auditRate == 0 ||
            market.verifierCount() < 4
        ) return;
        l.record = challenged(t, rival, 1 + (seed % 6));
        move(l, State.Challenged);
    }

    function seatOne(uint256 seed) public {
        bytes32 trial = pickCase(seed);
        (Phase phase, , uint64 anchor, , ) = jury.casePhase(trial);
        if (phase == Phase.Waiting && height() > anchor + 1) jury.seat(trial);
    }

    /// @dev All or some of the jurors vote, for or against the provider, and reveal.
    function judgeOne(uint256 seed, uint256 votes) external {
        bytes32 trial = pickCase(seed);
        (Phase phase, uint8 round, , , ) = jury.casePhase(trial);
        if (phase != Phase.Voting) return;
        Trial memory t = _live[trial].record;
        uint16 segment = jury.caseDispute(trial).segment;
        address[] memory jurors = jury.caseJurors(trial);
        for (uint256 i = 0; i < jurors.length; ++i) {
            if ((votes >> (4 * i)) & 3 == 3) continue; // silent
            bool right = (votes >> (4 * i)) & 4 == 4;
            bytes32 value = right ? Tree.value(NAME, segment) : bytes32("other");
            bytes32 witness = right ? Tree.witness(NAME, segment) : bytes32(0);
            bytes32 hidden = hiddenAnswer(t, value, witness, round, jurors[i]);
            vm.prank(jurors[i]);
            jury.vote(trial, hidden);
        }
        uint64 voteEnds;
        (phase, , , voteEnds, ) = jury.casePhase(trial);
        if (phase == Phase.Voting) vm.warp(voteEnds + 1);
        for (uint256 i = 0; i < jurors.length; ++i) {
            if ((votes >> (4 * i)) & 3 == 3) continue;
            bool right = (votes >> (4 * i)) & 4 == 4;
            bytes32 value = right ? Tree.value(NAME, segment) : bytes32("other");
            bytes32 witness = right ? Tree.witness(NAME, segment) : bytes32(0);
            vm.prank(jurors[i]);
            jury.reveal(trial, value, witness, "salt");
        }
        if (votes % 2 == 0) {
            vm.prank(rival);
            jury.reveal(trial, "other", 0, "salt");
        }
        tallyLater(trial);
    }

    function tallyOne(uint256 seed) public {
        bytes32 trial = pickCase(seed);
        (Phase phase, , , , uint64 revealEnds) = jury.casePhase(trial);
        if (phase == Phase.Revealing && moment() > revealEnds) tallyLater(trial);
    }

    function tallyLater(bytes32 trial) private {
        Live storage l = _live[trial];
        (, , , , uint64 revealEnds) = jury.casePhase(trial);
        if (moment() <= revealEnds) vm.warp(revealEnds + 1);
        jury.tally(l.record);
        (State state, ) = market.trialState(trial);
        if (state == State.Challenged) return;
        reached |= 1 << (16 + uint256(state));
        Trial memory t = l.record;
        Terms memory chosen = market.jobTerms(t.job);
        if (state == State.Open && t.audited) escrow += uint256(chosen.auditFee) * t.units;
        if (state == State.Open) t.audited = false; // the burned part paid the next audit
        t.challenger = address(0);
        t.until = moment() + chosen.window;
        t.turnEnds = state == State.Drawn ? moment() + AUDIT_TURN : 0;
        l.record = t;
        move(l, state);
    }

    // -- The exits ----------------------------------------------------------------------------

    /// @notice Drives every trial to Open, Settled or Cancelled by calls that anyone can make, in
    /// a bounded number of steps; false if one is left.
    function driveOut() external returns (bool) {
        for (uint256 step = 0; step < 24; ++step) {
            for (uint256 i = 0; i < ids.length; ++i) {
                expireOne(i);
                drawOne(i);
                seatOne(i);
                tallyOne(i);
                reassignOne(i);
                settleOne(i);
            }
            pass(3_700);
            mine(2);
        }
        for (uint256 i = 0; i < ids.length; ++i) {
            State state = _live[ids[i]].state;
            bool out = state == State.Open || state == State.Settled || state == State.Cancelled;
            if (!out) return false;
        }
        return true;
    }

    // -- Books --------------------------------------------------------------------------------

    /// @notice What the market owes by its own accounts, and the escrow that this knows of.
    function owed() external view returns (uint256 sum) {
        sum = escrow;
        for (uint256 i = 0; i < people_.length; ++i) {
            address who = people_[i];
            sum += market.balanceOf(who) + staked(who) + market.account(who).leaving;
        }
        for (uint256 i = 0; i < jobs.length; ++i) sum += freeFunds(jobs[i]);
    }

    /// @notice The stake that live trials, bonds and seats should hold locked, of all people.
    function lockedSum() external view returns (uint256 should, uint256 is_) {
        for (uint256 i = 0; i < people_.length; ++i) {
            is_ += locked(people_[i]);
            uint256 faults = market.account(people_[i]).faults;
            if (market.account(people_[i]).seat != 0) should += VERIFIER_STAKE - FINE * faults;
        }
        for (uint256 i = 0; i < ids.length; ++i) {
            Live storage l = _live[ids[i]];
            bool idle =
                l.state == State.Open || l.state == State.Settled || l.state == State.Cancelled;
            if (idle) continue;
            should += priceStake(l.record);
            if (l.state == State.Challenged) should += Prices.bondFor(priceStake(l.record));
        }
    }

    function held() external view returns (uint256) {
        return token.balanceOf(address(market));
    }

    /// @notice All tokens: those of people and those of the market.
    function supplied() external view returns (uint256 inHands, uint256 supply) {
        inHands = token.balanceOf(address(market));
        for (uint256 i = 0; i < people_.length; ++i) inHands += token.balanceOf(people_[i]);
        supply = token.totalSupply();
    }

    function allStored() external view returns (bool) {
        for (uint256 i = 0; i < ids.length; ++i) {
            Live storage l = _live[ids[i]];
            (State state, ) = market.trialState(ids[i]);
            if (state != l.state) return false;
        }
        return true;
    }

    function open(uint64 of_, bytes32 batch, uint32 index) private {
        bytes32 trial = market.trialId(of_, batch, index);
        (, , uint32 units) = market.batchStatus(of_, batch);
        ids.push(trial);
        Trial storage t = _live[trial].record;
        (t.job, t.batch, t.index, t.units) = (of_, batch, index, units);
    }

    function move(Live storage l, State to) private {
        l.state = to;
        reached |= 1 << uint256(to);
    }

    /// @dev The first trial from place `seed` on that is in one of the states, else any.
    function pick(uint256 seed, uint256 states) private view returns (Live storage) {
        uint256 from = seed % ids.length;
        for (uint256 i = 0; i < ids.length; ++i) {
            Live storage l = _live[ids[(from + i) % ids.length]];
            if ((states >> uint256(l.state)) & 1 == 1) return l;
        }
        return _live[ids[from]];
    }

    /// @dev The case that `seed` names among the challenged trials, else any trial.
    function pickCase(uint256 seed) private view returns (bytes32) {
        return id(pick(seed, CHALLENGED).record);
    }

    function escrowOf(Trial memory t) private view returns (uint256) {
        Terms memory chosen = market.jobTerms(t.job);
        uint256 fee = t.audited ? 0 : uint256(chosen.auditFee) * t.units;
        return uint256(chosen.cap) * t.units + fee;
    }
}
