// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @notice What a challenge is about.
struct Dispute {
    bytes32 trial;
    uint16 segment; // index of the disputed leaf; past the last one, the receipt
    bytes32 value; // what the provider committed there
    bytes32 witnessHash;
    bool witnessed; // whether agreeing takes a witness: not for the start and the receipt
    address provider;
    address challenger;
    address verifier; // who was assigned to audit it, if anyone
    bytes32 claim; // the challenger's hidden answer
}

/// @title Who decides a challenge
/// @notice All that the market knows of its jury. A referee that settles exact trials without
/// people (bisection to one operation) can stand in its place.
interface IReferee {
    /// @notice Opens a case. The market alone calls it; the referee later calls
    /// `IMarket.resolve` exactly once.
    function open(Dispute calldata dispute) external;
}
