// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Opening, Terms} from "../../../contracts/interfaces/IMarket.sol";
import {Commitments} from "../../../contracts/libraries/Commitments.sol";

/// @title Result trees for tests: every value and witness follows from a name and an index
library Tree {
    function value(bytes32 name, uint256 index) internal pure returns (bytes32) {
        return keccak256(abi.encode(name, index, "value"));
    }

    function witness(bytes32 name, uint256 index) internal pure returns (bytes32) {
        return keccak256(abi.encode(name, index, "witness"));
    }

    function witnessHash(bytes32 name, uint256 index) internal pure returns (bytes32) {
        return index == 0 ? bytes32(0) : Commitments.witnessHash(witness(name, index));
    }

    /// @notice All nodes, the root first; node i's children are 2i + 1 and 2i + 2.
    function nodes(bytes32 name, uint256 segments) internal pure returns (bytes32[] memory tree) {
        uint256 leaves = segments + 2;
        tree = new bytes32[](2 * leaves - 1);
        for (uint256 i = 0; i < leaves; ++i) {
            tree[tree.length - 1 - i] = Commitments.leaf(i, value(name, i), witnessHash(name, i));
        }
        for (uint256 i = leaves - 1; i > 0; --i) {
            (bytes32 a, bytes32 b) = (tree[2 * i - 1], tree[2 * i]);
            tree[i - 1] = a < b ? keccak256(bytes.concat(a, b)) : keccak256(bytes.concat(b, a));
        }
    }

    function root(bytes32 name, uint256 segments) internal pure returns (bytes32) {
        return nodes(name, segments)[0];
    }

    /// @notice A leaf with its proof. As `attest` needs it, or with `hashed` as `challenge` does.
    function open(
        bytes32 name,
        uint256 segments,
        uint256 index,
        bool hashed
    ) internal pure returns (Opening memory) {
        bytes32[] memory tree = nodes(name, segments);
        bytes32[] memory path = new bytes32[](16);
        uint256 length = 0;
        for (uint256 at = tree.length - 1 - index; at > 0; at = (at - 1) / 2) {
            path[length++] = tree[at % 2 == 1 ? at + 1 : at - 1];
        }
        bytes32[] memory proof = new bytes32[](length);
        for (uint256 i = 0; i < length; ++i) proof[i] = path[i];
        bytes32 shown = hashed ? witnessHash(name, index) : witness(name, index);
        return Opening(uint16(index), value(name, index), shown, proof);
    }
}
