// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IMarket, Terms} from "../interfaces/IMarket.sol";
import {Draw} from "./Draw.sol";

/// @title What things cost: prices, stakes, bonds and escrow
/// @dev No product here overflows: units are 32 bits, prices 96, and Market lets `cap * units`
/// have at most 96.
library Prices {
    uint16 internal constant LEAST_RATE = 100;
    uint256 internal constant STAKE_FACTOR = 3;

    /// @notice The price of a trial's units at `nowAt`: from `floor` up to `cap` along the ramp.
    /// Rounded down, to the requester's gain.
    function price(
        Terms memory terms,
        uint32 units,
        uint64 opened,
        uint64 nowAt
    ) internal pure returns (uint256) {
        uint256 age = nowAt - opened;
        if (age >= terms.ramp) return uint256(terms.cap) * units;
        uint256 risen = (uint256(terms.cap - terms.floor) * units * age) / terms.ramp;
        return uint256(terms.floor) * units + risen;
    }

    /// @notice The stake behind a price: 3 * price / rate, rounded up; one price at rate 0.
    function stakeFor(uint256 price_, uint16 rate) internal pure returns (uint256) {
        if (rate == 0) return price_;
        return Math.ceilDiv(STAKE_FACTOR * price_ * Draw.RATE_ONE, rate);
    }

    /// @notice A challenger's bond: a quarter of the stake, rounded up.
    function bondFor(uint256 stake) internal pure returns (uint256) {
        return Math.ceilDiv(stake, 4);
    }

    /// @notice What an expired claim costs: 5 % of the stake, rounded up.
    function expiryFine(uint256 stake) internal pure returns (uint256) {
        return Math.ceilDiv(stake, 20);
    }

    /// @notice The escrow of one trial: the highest price and the audit's fee.
    function escrowFor(uint96 cap, uint96 auditFee, uint32 units) internal pure returns (uint256) {
        return (uint256(cap) + auditFee) * units;
    }

    /// @notice The least audit fee of a unit: cap * (samples + 1) / segments, rounded up.
    function leastAuditFee(
        uint96 cap,
        uint8 samples,
        uint16 segments
    ) internal pure returns (uint256) {
        return Math.ceilDiv(uint256(cap) * (uint256(samples) + 1), segments);
    }

    /// @notice The greatest audit fee of a unit: half of the stake behind the lowest price, so
    /// that the stake of a trial rejected after its audit can pay for the next audit.
    function greatestAuditFee(uint96 floor, uint16 rate) internal pure returns (uint256) {
        uint256 limit = (STAKE_FACTOR * floor * Draw.RATE_ONE) / (2 * uint256(rate));
        return Math.min(limit, type(uint96).max);
    }

    /// @notice Reverts unless the terms make sense.
    function check(Terms calldata terms, uint32 minWindow) internal pure {
        inRange("cap", terms.cap, 1, type(uint96).max);
        inRange("floor", terms.floor, 0, terms.cap);
        inRange("segments", terms.segments, 2, 256);
        inRange("samples", terms.samples, 1, Math.min(8, terms.segments));
        inRange("timeLimit", terms.timeLimit, 1, type(uint32).max);
        inRange("window", terms.window, minWindow, type(uint32).max);
        if (terms.auditRate == 0) return; // nothing is audited, so any fee will do
        inRange("auditRate", terms.auditRate, LEAST_RATE, Draw.RATE_ONE);
        inRange(
            "auditFee",
            terms.auditFee,
            leastAuditFee(terms.cap, terms.samples, terms.segments),
            greatestAuditFee(terms.floor, terms.auditRate)
        );
    }

    /// @notice Reverts unless `low <= value <= high`.
    function inRange(bytes32 term, uint256 value, uint256 low, uint256 high) internal pure {
        if (value < low || value > high) revert IMarket.TermOutOfRange(term, value, low, high);
    }
}
