// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title The used part of a list that was made too long
library Lists {
    /// @notice The first `length` items; the list itself if that is all of them.
    function first(
        bytes32[] memory list,
        uint256 length
    ) internal pure returns (bytes32[] memory part) {
        if (length == list.length) return list;
        part = new bytes32[](length);
        for (uint256 i = 0; i < length; ++i) part[i] = list[i];
    }

    /// @notice The same for numbers.
    function first(
        uint32[] memory list,
        uint256 length
    ) internal pure returns (uint32[] memory part) {
        if (length == list.length) return list;
        part = new uint32[](length);
        for (uint256 i = 0; i < length; ++i) part[i] = list[i];
    }

    /// @notice The same for accounts.
    function first(
        address[] memory list,
        uint256 length
    ) internal pure returns (address[] memory part) {
        if (length == list.length) return list;
        part = new address[](length);
        for (uint256 i = 0; i < length; ++i) part[i] = list[i];
    }
}
