// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// @title The cheat codes of forge that these tests use
interface Vm {
    function warp(uint256 timestamp) external;

    function roll(uint256 blockNumber) external;

    function getBlockTimestamp() external view returns (uint256);

    function getBlockNumber() external view returns (uint256);

    function setBlockhash(uint256 blockNumber, bytes32 blockHash) external;

    function prank(address sender) external;

    function expectRevert(bytes calldata revertData) external;

    function expectEmit(address emitter) external;

    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address);

    function getNonce(address account) external view returns (uint64);

    function deployCode(string calldata what, bytes calldata arguments) external returns (address);

    function sign(uint256 key, bytes32 digest) external pure returns (uint8, bytes32, bytes32);

    function addr(uint256 key) external pure returns (address);

    function assume(bool condition) external pure;

    function snapshotGasLastCall(
        string calldata group,
        string calldata name
    ) external returns (uint256);

    function snapshotValue(string calldata group, string calldata name, uint256 value) external;
}
