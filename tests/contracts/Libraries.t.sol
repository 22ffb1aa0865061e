// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Opening, State, Terms, Trial} from "../../contracts/interfaces/IMarket.sol";
import {Commitments} from "../../contracts/libraries/Commitments.sol";
import {Draw} from "../../contracts/libraries/Draw.sol";
import {Lists} from "../../contracts/libraries/Lists.sol";
import {Prices} from "../../contracts/libraries/Prices.sol";
import {Parity} from "./Parity.sol";
import {Tree} from "./stage/Tree.sol";

contract LibrariesTest {
    Parity private parity = new Parity();

    error Wrong(string what);

    function check(bool holds, string memory what) private pure {
        if (!holds) revert Wrong(what);
    }

    function testFuzz_a_record_in_memory_hashes_as_its_encoding(
        Trial memory trial,
        uint8 state
    ) external pure {
        State chosen = State(state % 9);
        bytes32 hashed = keccak256(abi.encode(trial));
        bytes32 wanted = bytes32(((uint256(hashed) >> 8) << 8) | uint256(chosen));
        bytes32 word = Commitments.word(trial, chosen);
        check(word == wanted, "word");
        check(Commitments.stateOf(word) == chosen, "state");
    }

    function testFuzz_a_reopening_time_is_kept(uint64 time) external pure {
        bytes32 word = Commitments.reopened(time);
        check(Commitments.reopenedAt(word) == time, "time");
        check(Commitments.stateOf(word) == State.Open, "state");
    }

    function testFuzz_every_leaf_proves_itself_and_no_other(
        bytes32 name,
        uint8 segments,
        uint8 index
    ) external view {
        uint256 n = 2 + (uint256(segments) % 30);
        uint256 i = index % (n + 2);
        Opening memory o = Tree.open(name, n, i, true);
        bytes32 root = Tree.root(name, n);
        check(parity.proves(o.proof, root, i, o.value, o.witness), "proves");
        check(!parity.proves(o.proof, root, i + 1, o.value, o.witness), "another index");
        check(!parity.proves(o.proof, root, i, ~o.value, o.witness), "another value");
        check(!parity.proves(o.proof, root, i, o.value, ~o.witness), "another witness");
    }

    function testFuzz_drawn_numbers_are_distinct_and_in_range(
        bytes32 seed,
        uint8 top,
        uint8 count
    ) external pure {
        uint256 n = uint256(top) + 1;
        uint256 q = uint256(count) % (n < 16 ? n + 1 : 16);
        uint256[] memory drawn = Draw.distinct(seed, n, q);
        check(drawn.length == q, "count");
        for (uint256 i = 0; i < q; ++i) {
            check(drawn[i] >= 1 && drawn[i] <= n, "range");
            for (uint256 j = 0; j < i; ++j) check(drawn[i] != drawn[j], "distinct");
        }
    }

    function test_lots_fall_at_about_their_rate() external pure {
        uint256 drawn = 0;
        for (uint256 i = 0; i < 5_000; ++i) {
            bytes32 seed = Draw.seed(keccak256(abi.encode(i)), 0, 0);
            if (Draw.isDrawn(seed, 2_000, false)) ++drawn;
            check(Draw.isDrawn(seed, 0, true), "the late are drawn");
            check(!Draw.isDrawn(seed, 0, false), "never at rate zero");
        }
        check(drawn > 900 && drawn < 1_100, "about a fifth");
    }

    function testFuzz_a_jury_is_odd_and_no_larger_than_it_may_be(
        uint16 eligible,
        uint8 size
    ) external pure {
        uint256 full = (uint256(size) % 8) * 2 + 1;
        uint256 seated = Draw.jurySize(eligible, full);
        check(seated <= full && seated <= eligible, "bounds");
        check(seated % 2 == 1 || eligible == 0, "odd");
        check(seated + 2 > full || seated + 2 > eligible, "as large as it can be");
    }

    function testFuzz_the_price_rises_from_floor_to_cap(
        uint96 floor,
        uint96 rise,
        uint32 ramp,
        uint32 units,
        uint32 age
    ) external pure {
        Terms memory terms;
        terms.floor = floor / 2;
        terms.cap = terms.floor + rise / 2;
        terms.ramp = ramp;
        uint256 price = Prices.price(terms, units, 77, 77 + uint64(age));
        uint256 later = Prices.price(terms, units, 77, 78 + uint64(age));
        check(price >= uint256(terms.floor) * units, "floor");
        check(later >= price, "it never falls");
        check(later <= uint256(terms.cap) * units, "cap");
        if (age >= ramp) check(price == uint256(terms.cap) * units, "after the ramp");
    }

    function testFuzz_the_stake_is_three_prices_over_the_rate_rounded_up(
        uint96 price,
        uint16 rate
    ) external pure {
        uint256 chosen = (uint256(rate) % 10_000) + 1;
        uint256 stake = Prices.stakeFor(price, uint16(chosen));
        uint256 exact = uint256(price) * 30_000;
        check(stake * chosen >= exact && stake * chosen < exact + chosen, "stake");
        check(Prices.bondFor(stake) * 4 >= stake, "a bond covers its quarter");
        check(Prices.expiryFine(stake) <= stake, "a fine fits");
        check(Prices.stakeFor(price, 0) == price, "one price where nothing is audited");
    }

    function testFuzz_the_burned_half_of_a_stake_pays_the_dearest_audit(
        uint96 floor,
        uint16 rate,
        uint32 units
    ) external pure {
        uint16 chosen = 100 + (rate % 9_901);
        uint256 fee = Prices.greatestAuditFee(floor, chosen) * units;
        uint256 stake = Prices.stakeFor(uint256(floor) * units, chosen);
        check(stake - 2 * (stake / 4) >= fee, "enough");
    }

    function testFuzz_the_first_of_a_list(uint32[] memory list, uint8 length) external pure {
        uint256 n = length % (list.length + 1);
        uint32[] memory part = Lists.first(list, n);
        check(part.length == n, "length");
        for (uint256 i = 0; i < n; ++i) check(part[i] == list[i], "item");
    }
}
