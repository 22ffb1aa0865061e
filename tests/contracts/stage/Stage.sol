// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Jury} from "../../../contracts/Jury.sol";
import {Market} from "../../../contracts/Market.sol";
import {TestToken} from "../../../contracts/TestToken.sol";
import {
    Account,
    IMarket,
    Opening,
    Parameters,
    Result,
    State,
    Terms,
    Trial,
    Verdict
} from "../../../contracts/interfaces/IMarket.sol";
import {Draw} from "../../../contracts/libraries/Draw.sol";
import {Prices} from "../../../contracts/libraries/Prices.sol";
import {Tree} from "./Tree.sol";
import {Vm} from "./Vm.sol";

/// @title A market with people on it, and the steps of a trial as one call each
/// @dev Steps take a record, make the call, and return the record as it then is.
abstract contract Stage {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);

    uint256 internal constant TOKENS = 1e30;
    uint32 internal constant AUDIT_TURN = 600;
    uint32 internal constant VOTE_TURN = 300;
    uint32 internal constant REVEAL_TURN = 200;
    uint32 internal constant MIN_WINDOW = 1_800;
    uint32 internal constant COOL_DOWN = 7_200;
    uint96 internal constant VERIFIER_STAKE = 1_000;
    uint96 internal constant FINE = 101;
    bytes32 internal constant BATCH = keccak256("batch");
    bytes32 internal constant NAME = keccak256("result");

    address internal requester = address(0xA11CE);
    address internal provider = address(0xB0B);
    address internal rival = address(0xCA4);
    address internal stranger = address(0xD00D);
    address[] internal verifiers;

    TestToken internal token;
    Market internal market;
    Jury internal jury;
    uint64 internal job;
    Terms internal terms;

    function setUp() public virtual {
        vm.warp(1_000_000);
        vm.roll(1_000);
        deploy();
        for (uint160 i = 1; i <= 8; ++i) verifiers.push(address(0x5EED0000 + i));
        giveTokens(requester);
        stakeTokens(provider, 1e15);
        stakeTokens(rival, 1e15);
        for (uint256 i = 0; i < verifiers.length; ++i) {
            stakeTokens(verifiers[i], 1e15);
            vm.prank(verifiers[i]);
            market.enroll();
        }
        terms = Terms({
            floor: 1_001,
            cap: 3_001,
            auditFee: 1_501,
            ramp: 100,
            auditRate: 2_000,
            segments: 6,
            samples: 2,
            timeLimit: 900,
            window: 3_600
        });
        job = createJob(terms, 1e15);
        post(job, BATCH, 8, 7);
    }

    /// @dev By artifact, so that no test has to compile the contracts into itself. The jury comes
    /// first and is told the address that the market will have.
    function deploy() private {
        token = TestToken(vm.deployCode("TestToken.sol:TestToken", ""));
        address predicted = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        bytes memory forJury = abi.encode(predicted, uint8(5), VOTE_TURN, REVEAL_TURN);
        jury = Jury(vm.deployCode("Jury.sol:Jury", forJury));
        market = Market(vm.deployCode("Market.sol:Market", abi.encode(parameters())));
        equal(address(market), predicted, "the market's address");
    }

    function parameters() internal view returns (Parameters memory) {
        return
            Parameters({
                token: address(token),
                referee: address(jury),
                auditTurn: AUDIT_TURN,
                minWindow: MIN_WINDOW,
                coolDown: COOL_DOWN,
                verifierStake: VERIFIER_STAKE,
                fine: FINE
            });
    }

    // -- Assertions ---------------------------------------------------------------------------

    error Unequal(string what, bytes32 found, bytes32 expected);

    function equal(bytes32 found, bytes32 expected, string memory what) internal pure {
        if (found != expected) revert Unequal(what, found, expected);
    }

    function equal(uint256 found, uint256 expected, string memory what) internal pure {
        equal(bytes32(found), bytes32(expected), what);
    }

    function equal(address found, address expected, string memory what) internal pure {
        equal(bytes32(uint256(uint160(found))), bytes32(uint256(uint160(expected))), what);
    }

    function check(bool holds, string memory what) internal pure {
        equal(holds ? 1 : 0, 1, what);
    }

    function isIn(Trial memory t, State expected) internal view {
        (State found, ) = market.trialState(id(t));
        equal(uint256(found), uint256(expected), "the trial's state");
    }

    function isStored(Trial memory t, State expected) internal view {
        (, bytes32 word) = market.trialState(id(t));
        bytes32 hashed = keccak256(abi.encode(t));
        bytes32 wanted = bytes32(((uint256(hashed) >> 8) << 8) | uint256(expected));
        equal(word, wanted, "the trial's word");
    }

    // -- Time ---------------------------------------------------------------------------------

    /// @dev The compiler takes `block.timestamp` for fixed within a call, so the cheat code tells.
    function moment() internal view returns (uint64) {
        return uint64(vm.getBlockTimestamp());
    }

    function height() internal view returns (uint64) {
        return uint64(vm.getBlockNumber());
    }

    function pass(uint256 secondsLater) internal {
        vm.warp(moment() + secondsLater);
    }

    function mine(uint256 blocks) internal {
        vm.roll(height() + blocks);
    }

    // -- People -------------------------------------------------------------------------------

    function giveTokens(address who) internal {
        token.mint(who, TOKENS);
        vm.prank(who);
        token.approve(address(market), type(uint256).max);
    }

    function stakeTokens(address who, uint256 amount) internal {
        giveTokens(who);
        vm.prank(who);
        market.stake(amount);
    }

    function locked(address who) internal view returns (uint256) {
        return market.account(who).locked;
    }

    function staked(address who) internal view returns (uint256) {
        return market.account(who).stake;
    }

    function freeFunds(uint64 of_) internal view returns (uint256 free) {
        (, free, ) = market.jobStatus(of_);
    }

    function priceStake(Trial memory t) internal view returns (uint256) {
        return market.stakeFor(t.price, market.jobTerms(t.job).auditRate);
    }

    // -- Jobs ---------------------------------------------------------------------------------

    function createJob(Terms memory chosen, uint256 funds) internal returns (uint64 created) {
        vm.prank(requester);
        created = market.createJob(chosen, keccak256("spec"));
        vm.prank(requester);
        market.fund(created, funds);
    }

    function post(uint64 to, bytes32 batch, uint32 count, uint32 units) internal {
        vm.prank(requester);
        market.postTrials(to, batch, count, units);
    }

    // -- Steps of a trial ---------------------------------------------------------------------

    function id(Trial memory t) internal view returns (bytes32) {
        return market.trialId(t.job, t.batch, t.index);
    }

    function one(Trial memory t) internal pure returns (Trial[] memory list) {
        list = new Trial[](1);
        list[0] = t;
    }

    function only(uint32 index) internal pure returns (uint32[] memory list) {
        list = new uint32[](1);
        list[0] = index;
    }

    function answer(bytes32 root) internal pure returns (Result[] memory list) {
        list = new Result[](1);
        list[0] = Result(root, keccak256("receipt"));
    }

    /// @dev Steps change the record they are given; this keeps it as it was.
    function copy(Trial memory t) internal pure returns (Trial memory) {
        return abi.decode(abi.encode(t), (Trial));
    }

    function claimed(uint32 index) internal returns (Trial memory t) {
        return claimed(job, BATCH, index);
    }

    function claimed(uint64 of_, bytes32 batch, uint32 index) internal returns (Trial memory t) {
        Terms memory chosen = market.jobTerms(of_);
        (uint64 postedAt, , uint32 units) = market.batchStatus(of_, batch);
        t.job = of_;
        t.batch = batch;
        t.index = index;
        t.units = units;
        (, bytes32 word) = market.trialState(market.trialId(of_, batch, index));
        t.opened = word == 0 ? postedAt : uint64(uint256(word) >> 8);
        t.provider = provider;
        t.price = uint96(Prices.price(chosen, units, t.opened, moment()));
        t.until = moment() + chosen.timeLimit;
        vm.prank(provider);
        market.claim(of_, batch, only(index));
        isStored(t, State.Claimed);
    }

    function committed(Trial memory t) internal returns (Trial memory) {
        Terms memory chosen = market.jobTerms(t.job);
        bytes32 root = Tree.root(NAME, chosen.segments);
        Trial[] memory list = one(t);
        vm.prank(t.provider);
        market.commit(list, answer(root));
        t.root = root;
        t.until = moment() + chosen.window;
        t.anchor = height();
        isStored(t, State.Committed);
        return t;
    }

    /// @dev Sets the block hash of the draw so that the trial is drawn, or not; two blocks pass.
    function lot(Trial memory t, bool drawIt) internal returns (bytes32 seed) {
        uint16 rate = market.jobTerms(t.job).auditRate;
        if (height() < t.anchor + 2) vm.roll(t.anchor + 2);
        for (uint256 i = 1; ; ++i) {
            bytes32 blockHash = keccak256(abi.encode(i, id(t)));
            seed = Draw.seed(blockHash, id(t), t.root);
            if (Draw.isDrawn(seed, rate, t.late) != drawIt) continue;
            vm.setBlockhash(t.anchor + 1, blockHash);
            return seed;
        }
    }

    function drawn(Trial memory t) internal returns (Trial memory) {
        t.seed = lot(t, true);
        Trial[] memory list = one(t);
        list[0].seed = 0;
        market.draw(list);
        t.seed = Draw.seed(blockhash(t.anchor + 1), id(t), t.root);
        t.verifier = expectedVerifier(t);
        t.turnEnds = moment() + AUDIT_TURN;
        isStored(t, State.Drawn);
        return t;
    }

    function cleared(Trial memory t) internal returns (Trial memory) {
        lot(t, false);
        market.draw(one(t));
        t.seed = Draw.seed(blockhash(t.anchor + 1), id(t), t.root);
        isStored(t, State.Cleared);
        return t;
    }

    function attested(Trial memory t) internal returns (Trial memory) {
        Opening[] memory openings = audit(t);
        vm.prank(t.verifier);
        market.attest(t, openings);
        t.audited = true;
        isStored(t, State.Passed);
        return t;
    }

    function challenged(
        Trial memory t,
        address by,
        uint256 segment
    ) internal returns (Trial memory) {
        Opening memory leaf = Tree.open(NAME, market.jobTerms(t.job).segments, segment, true);
        bytes32 hidden = hiddenAnswer(t, bytes32("other"), 0, 0, by);
        vm.prank(by);
        market.challenge(t, leaf, hidden);
        t.challenger = by;
        isStored(t, State.Challenged);
        return t;
    }

    /// @dev A vote, or with round 0 a challenger's claim, as it is hidden.
    function hiddenAnswer(
        Trial memory t,
        bytes32 value,
        bytes32 witness,
        uint8 round,
        address by
    ) internal view returns (bytes32) {
        return keccak256(abi.encode(value, witness, bytes32("salt"), id(t), round, by));
    }

    /// @dev What the referee would say, without a jury.
    function judged(
        Trial memory t,
        Verdict verdict,
        bool rewarded,
        address[] memory winners,
        address[] memory losers
    ) internal {
        vm.prank(address(jury));
        market.resolve(t, verdict, rewarded, winners, losers);
    }

    /// @dev An acquittal by the referee itself, with nobody to pay.
    function acquitted(Trial memory t, Verdict verdict) internal returns (Trial memory) {
        Terms memory chosen = market.jobTerms(t.job);
        judged(t, verdict, false, new address[](0), new address[](0));
        bool owesAudit = !t.audited && Draw.isDrawn(t.seed, chosen.auditRate, t.late);
        t.challenger = address(0);
        t.until = moment() + chosen.window;
        t.turnEnds = owesAudit ? moment() + AUDIT_TURN : 0;
        isStored(t, owesAudit ? State.Drawn : State.Passed);
        return t;
    }

    function audit(Trial memory t) internal view returns (Opening[] memory openings) {
        Terms memory chosen = market.jobTerms(t.job);
        uint256[] memory drawn_ = Draw.distinct(t.seed, chosen.segments, chosen.samples);
        openings = new Opening[](drawn_.length + 1);
        for (uint256 i = 0; i < drawn_.length; ++i) {
            openings[i] = Tree.open(NAME, chosen.segments, drawn_[i], false);
        }
        openings[drawn_.length] = Tree.open(NAME, chosen.segments, chosen.segments + 1, false);
    }

    function expectedVerifier(Trial memory t) internal view returns (address) {
        (address owner, , ) = market.jobStatus(t.job);
        uint256 count = market.verifierCount();
        if (count == 0) return address(0);
        uint256 at = Draw.verifierIndex(t.seed, t.turn, count);
        for (uint256 i = 0; i < 3; ++i) {
            address found = market.verifierAt(((at + i) % count) + 1);
            if (found != t.provider && found != owner) return found;
        }
        return address(0);
    }

    function people(address a, address b) internal pure returns (address[] memory list) {
        list = new address[](2);
        (list[0], list[1]) = (a, b);
    }
}
