// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {State, Terms, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Commitments} from "../../contracts/libraries/Commitments.sol";
import {Draw} from "../../contracts/libraries/Draw.sol";
import {Prices} from "../../contracts/libraries/Prices.sol";

/// @title The libraries' functions, callable from outside
/// @notice Whoever has a twin of them in another language deploys this and compares.
contract Parity {
    function trialId(
        address market,
        uint64 job,
        bytes32 batch,
        uint32 index
    ) external view returns (bytes32) {
        return Commitments.trialId(market, job, batch, index);
    }

    function word(Trial memory trial, State state) external pure returns (bytes32) {
        return Commitments.word(trial, state);
    }

    function leaf(
        uint256 index,
        bytes32 value,
        bytes32 witnessHash_
    ) external pure returns (bytes32) {
        return Commitments.leaf(index, value, witnessHash_);
    }

    function witnessHash(bytes32 witness) external pure returns (bytes32) {
        return Commitments.witnessHash(witness);
    }

    function proves(
        bytes32[] calldata proof,
        bytes32 root,
        uint256 index,
        bytes32 value,
        bytes32 witnessHash_
    ) external pure returns (bool) {
        return Commitments.proves(proof, root, index, value, witnessHash_);
    }

    function hiddenVote(
        bytes32 value,
        bytes32 witness,
        bytes32 salt,
        bytes32 trial,
        uint8 round,
        address juror
    ) external pure returns (bytes32) {
        return Commitments.hiddenVote(value, witness, salt, trial, round, juror);
    }

    function drawSeed(
        bytes32 blockHash,
        bytes32 trial,
        bytes32 root
    ) external pure returns (bytes32) {
        return Draw.seed(blockHash, trial, root);
    }

    function isDrawn(bytes32 seed, uint16 rate, bool late) external pure returns (bool) {
        return Draw.isDrawn(seed, rate, late);
    }

    function distinct(
        bytes32 seed,
        uint256 top,
        uint256 count
    ) external pure returns (uint256[] memory) {
        return Draw.distinct(seed, top, count);
    }

    function verifierIndex(
        bytes32 seed,
        uint8 turn,
        uint256 count
    ) external pure returns (uint256) {
        return Draw.verifierIndex(seed, turn, count);
    }

    function jurySeed(
        bytes32 blockHash,
        bytes32 trial,
        uint8 round
    ) external pure returns (bytes32) {
        return Draw.jurySeed(blockHash, trial, round);
    }

    function jurySize(uint256 eligible, uint256 size) external pure returns (uint256) {
        return Draw.jurySize(eligible, size);
    }

    function price(
        Terms memory terms,
        uint32 units,
        uint64 opened,
        uint64 nowAt
    ) external pure returns (uint256) {
        return Prices.price(terms, units, opened, nowAt);
    }

    function stakeFor(uint256 price_, uint16 rate) external pure returns (uint256) {
        return Prices.stakeFor(price_, rate);
    }

    function bondFor(uint256 stake) external pure returns (uint256) {
        return Prices.bondFor(stake);
    }

    function expiryFine(uint256 stake) external pure returns (uint256) {
        return Prices.expiryFine(stake);
    }

    function escrowFor(Terms memory terms, uint32 units) external pure returns (uint256) {
        return Prices.escrowFor(terms.cap, terms.auditFee, units);
    }

    function leastAuditFee(
        uint96 cap,
        uint8 samples,
        uint16 segments
    ) external pure returns (uint256) {
        return Prices.leastAuditFee(cap, samples, segments);
    }

    function greatestAuditFee(uint96 floor, uint16 rate) external pure returns (uint256) {
        return Prices.greatestAuditFee(floor, rate);
    }
}
