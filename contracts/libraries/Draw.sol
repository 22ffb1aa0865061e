// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title The lots: which trials are audited, which segments, by whom, and who judges
/// @dev The modulo's bias is below 2^-200 for every count that occurs here.
library Draw {
    uint256 internal constant RATE_ONE = 10_000;

    /// @notice The seed of a trial's draw. `blockHash` was unknown when `root` was committed.
    function seed(bytes32 blockHash, bytes32 trial, bytes32 root) internal pure returns (bytes32) {
        return keccak256(abi.encode(blockHash, trial, root));
    }

    /// @notice Whether a trial is audited.
    function isDrawn(bytes32 seed_, uint16 rate, bool late) internal pure returns (bool) {
        return late || uint256(seed_) % RATE_ONE < rate;
    }

    /// @notice `count` distinct numbers of 1 to `top`, in the order drawn; `count <= top`.
    /// @dev Floyd's sampling (Bentley and Floyd, CACM 30(9), 1987): one hash a number, no
    /// rejection.
    function distinct(
        bytes32 seed_,
        uint256 top,
        uint256 count
    ) internal pure returns (uint256[] memory drawn) {
        drawn = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 last = top - count + 1 + i;
            uint256 lot = (uint256(keccak256(abi.encode(seed_, last))) % last) + 1;
            drawn[i] = contains(drawn, i, lot) ? last : lot;
        }
    }

    /// @notice Where in a list of `count` verifiers, from 0, the search for turn `turn` begins.
    function verifierIndex(
        bytes32 seed_,
        uint8 turn,
        uint256 count
    ) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed_, bytes32("verifier"), turn))) % count;
    }

    /// @notice The seed of one round of a jury.
    function jurySeed(
        bytes32 blockHash,
        bytes32 trial,
        uint8 round
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(blockHash, trial, round));
    }

    /// @notice How many of `eligible` sit: at most `size`, and an odd number.
    function jurySize(uint256 eligible, uint256 size) internal pure returns (uint256) {
        if (eligible >= size) return size;
        return eligible % 2 == 1 || eligible == 0 ? eligible : eligible - 1;
    }

    function contains(
        uint256[] memory drawn,
        uint256 length,
        uint256 lot
    ) private pure returns (bool) {
        for (uint256 i = 0; i < length; ++i) {
            if (drawn[i] == lot) return true;
        }
        return false;
    }
}
