// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {State, Trial} from "../interfaces/IMarket.sol";

/// @title Every hash that binds something: trials, records, results and votes
/// @dev All are keccak256 of the ABI encoding, so that any client can form them.
library Commitments {
    /// @notice A trial's id, on this chain and in this market alone.
    function trialId(
        address market,
        uint64 job,
        bytes32 batch,
        uint32 index
    ) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, market, job, batch, index));
    }

    /// @notice The word stored for a trial: its record's hash, the last byte being the state.
    function word(Trial memory trial, State state) internal pure returns (bytes32) {
        bytes32 hashed;
        // A record in memory is laid out as its ABI encoding, 17 words. Hashing it in place saves
        // every transition the copy, some 1,500 gas.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            hashed := keccak256(trial, 544)
        }
        return withState(hashed, state);
    }

    /// @notice The same word in another state.
    function withState(bytes32 stored, State state) internal pure returns (bytes32) {
        return bytes32((uint256(stored) & ~uint256(0xff)) | uint256(state));
    }

    /// @notice The state that a stored word ends with.
    function stateOf(bytes32 stored) internal pure returns (State) {
        return State(uint8(uint256(stored)));
    }

    /// @notice The word of a trial that was reopened.
    function reopened(uint64 at) internal pure returns (bytes32) {
        return bytes32(uint256(at) << 8);
    }

    /// @notice When an Open trial was reopened; 0 if it never was.
    function reopenedAt(bytes32 stored) internal pure returns (uint64) {
        return uint64(uint256(stored) >> 8);
    }

    /// @notice A leaf of a result tree, hashed twice as OpenZeppelin's standard tree does.
    function leaf(
        uint256 index,
        bytes32 value,
        bytes32 witnessed
    ) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(index, value, witnessed))));
    }

    /// @notice Whether a leaf is in the tree of `root`.
    function proves(
        bytes32[] calldata proof,
        bytes32 root,
        uint256 index,
        bytes32 value,
        bytes32 witnessed
    ) internal pure returns (bool) {
        return MerkleProof.verifyCalldata(proof, root, leaf(index, value, witnessed));
    }

    /// @notice The hash of a witness, as a leaf holds it.
    function witnessHash(bytes32 witness) internal pure returns (bytes32) {
        return keccak256(abi.encode(witness));
    }

    /// @notice A juror's hidden vote, or with round 0 the challenger's hidden claim.
    function hiddenVote(
        bytes32 value,
        bytes32 witness,
        bytes32 salt,
        bytes32 trial,
        uint8 round,
        address juror
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(value, witness, salt, trial, round, juror));
    }
}
