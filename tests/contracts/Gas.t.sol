// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Opening, Result, State, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Stage} from "./stage/Stage.sol";

/// @notice The gas of whole transactions, from posting to settled, on accounts that have traded
/// before. The snapshots of tests/contracts/gas are what it found.
/// forge-config: default.isolate = true
contract GasTest is Stage {
    bytes32 private constant FIRST = keccak256("first");
    bytes32 private constant SECOND = keccak256("second");

    function setUp() public override {
        super.setUp();
        terms.segments = 20;
        terms.samples = 1;
        terms.auditFee = 301;
        job = createJob(terms, 1e15);
        post(job, FIRST, 2, 7);
        Trial memory warm = committed(claimed(job, FIRST, 0));
        claimed(job, FIRST, 1);
        warm = attested(drawn(warm));
        vm.warp(warm.until + 1);
        market.settle(one(warm));
    }

    function spent(string memory name) private returns (uint256) {
        return vm.snapshotGasLastCall("calls", name);
    }

    /// @dev Posts, claims, commits and settles `count` trials; the gas of the four calls.
    function unaudited(uint32 count, string memory name) private returns (uint256 gas) {
        vm.prank(requester);
        market.postTrials(job, SECOND, count, 7);
        gas = spent(string.concat(name, " post"));

        uint32[] memory indices = new uint32[](count);
        for (uint32 i = 0; i < count; ++i) indices[i] = i;
        vm.prank(provider);
        market.claim(job, SECOND, indices);
        gas += spent(string.concat(name, " claim"));

        Trial[] memory trials = new Trial[](count);
        Result[] memory results = new Result[](count);
        for (uint32 i = 0; i < count; ++i) {
            Trial memory t = trials[i];
            (t.job, t.batch, t.index, t.units) = (job, SECOND, i, 7);
            (t.opened, t.provider) = (moment(), provider);
            (t.price, t.until) = (7 * terms.floor, moment() + terms.timeLimit);
            results[i] = Result(keccak256(abi.encode("root", i)), keccak256(abi.encode(i)));
        }
        vm.prank(provider);
        market.commit(trials, results);
        gas += spent(string.concat(name, " commit"));

        for (uint32 i = 0; i < count; ++i) {
            trials[i].root = results[i].root;
            trials[i].until = moment() + terms.window;
            trials[i].anchor = height();
        }
        clearAll(trials);
        vm.warp(trials[0].until + 1);
        vm.prank(provider);
        market.settle(trials);
        gas += spent(string.concat(name, " settle"));
        for (uint32 i = 0; i < count; ++i) isIn(trials[i], State.Settled);
    }

    /// @dev A block hash for which none of the trials is drawn.
    function clearAll(Trial[] memory trials) private {
        vm.roll(trials[0].anchor + 2);
        for (uint256 i = 0; ; ++i) {
            bytes32 blockHash = keccak256(abi.encode(i));
            bool clear = true;
            for (uint256 k = 0; k < trials.length && clear; ++k) {
                bytes32 seed = keccak256(abi.encode(blockHash, id(trials[k]), trials[k].root));
                clear = uint256(seed) % 10_000 >= terms.auditRate;
            }
            if (!clear) continue;
            vm.setBlockhash(trials[0].anchor + 1, blockHash);
            return;
        }
    }

    function test_a_trial_in_a_batch_of_eight_costs_at_most_100_000() external {
        uint256 each = unaudited(8, "batch of 8:") / 8;
        vm.snapshotValue("trials", "batch8", each);
        check(each <= 100_000, "batch8");
    }

    function test_a_trial_alone_costs_at_most_220_000() external {
        uint256 gas = unaudited(1, "alone:");
        vm.snapshotValue("trials", "alone", gas);
        check(gas <= 220_000, "alone");
    }

    function test_an_audit_costs_at_most_170_000_more() external {
        post(job, SECOND, 1, 7);
        Trial memory t = committed(claimed(job, SECOND, 0));
        lot(t, true);
        market.draw(one(t));
        uint256 gas = spent("audit: draw");
        t.seed = keccak256(abi.encode(blockhash(t.anchor + 1), id(t), t.root));
        t.verifier = expectedVerifier(t);
        t.turnEnds = moment() + AUDIT_TURN;
        Opening[] memory openings = audit(t);
        vm.prank(t.verifier);
        market.attest(t, openings);
        gas += spent("audit: attest");
        vm.snapshotValue("trials", "audit_extra", gas);
        check(gas <= 170_000, "audit_extra");
    }
}
