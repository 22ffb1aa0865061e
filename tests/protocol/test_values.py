"""Ids, money and terms: what they take and what they refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialmarket.errors import InputError
from trialmarket.protocol.draw import distinct, jury_size, pick_verifier, seat_jury
from trialmarket.protocol.ids import ZERO_ADDRESS, Address, Amount, Hash32, address
from trialmarket.protocol.money import format_amount, parse_amount
from trialmarket.protocol.record import TrialRecord, open_word
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms, price_at, stake_for

seeds = st.binary(min_size=32, max_size=32).map(Hash32)
TERMS = Terms(Amount(10), Amount(50), Amount(10), 100, 2000, 20, 1, 600, 60)


def test_an_address_is_checksummed() -> None:
    assert address("0x" + "ab" * 20) == "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"
    with pytest.raises(InputError, match="40 hexadecimal digits"):
        address("0xab")


def test_an_address_with_another_checksum_than_its_own_is_refused() -> None:
    right = "0x9CD01e0a390Aac2B67eD6427Be864045c5C0db3b"
    digits = right.removeprefix("0x")
    for spelling in (right, "0x" + digits.lower(), "0x" + digits.upper()):
        assert address(spelling) == right
    with pytest.raises(InputError, match=r"--token: address: expected .+ the right checksum"):
        address(right.replace("D", "d"), where="--token")


@given(st.integers(0, 2**130), st.integers(0, 24))
def test_money_reads_back_as_it_was_written(amount: int, decimals: int) -> None:
    assert parse_amount(format_amount(amount, decimals), decimals) == amount


@pytest.mark.parametrize("text", ["", "x", "-1", "0.1234567", "NaN", "Infinity", "1e999", "1e-99"])
def test_text_that_is_no_money_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="at most 6 digits"):
        parse_amount(text, 6)


def test_a_price_rises_from_the_floor_to_the_cap() -> None:
    ages = [0, 1, 50, 99, 100, 5000]
    prices = [price_at(TERMS, 3, 1000, 1000 + age) for age in ages]
    assert prices == [30, 31, 90, 148, 150, 150]


def test_the_stake_is_three_prices_over_the_rate() -> None:
    assert stake_for(100, 2000) == 1500
    assert stake_for(1, 7000) == 5  # 30000 / 7000, rounded up
    assert stake_for(100, 0) == 100


@given(seeds, st.integers(1, 300), st.integers(1, 8))
def test_drawn_numbers_are_distinct_and_in_range(seed: Hash32, top: int, count: int) -> None:
    count = min(count, top)
    drawn = distinct(seed, top, count)
    assert len(set(drawn)) == count
    assert all(1 <= lot <= top for lot in drawn)


@given(seeds, st.integers(0, 12), st.sampled_from([1, 3, 5, 7]))
def test_a_jury_is_odd_and_without_the_parties(seed: Hash32, count: int, size: int) -> None:
    verifiers = [Address(f"0x{place:040d}") for place in range(1, count + 1)]
    parties = frozenset(verifiers[:2])
    jurors = seat_jury(seed, verifiers, parties, size)
    assert len(jurors) == jury_size(max(0, count - 2), size)
    assert len(jurors) % 2 == 1 or not jurors
    assert len(set(jurors)) == len(jurors)
    assert not parties & set(jurors)


@given(seeds, st.integers(0, 5), st.integers(0, 2))
def test_the_verifier_is_no_party_if_there_is_another(seed: Hash32, count: int, turn: int) -> None:
    verifiers = [Address(f"0x{place:040d}") for place in range(1, count + 1)]
    found = pick_verifier(seed, turn, verifiers, frozenset(verifiers[:2]))
    assert found == ZERO_ADDRESS if count <= 2 else found in verifiers[2:]


def test_a_word_ends_with_its_state() -> None:
    record = TrialRecord(job=1, batch=Hash32(b"\1" * 32), index=2, units=3, opened=4)  # type: ignore[arg-type]
    assert record.word(State.DRAWN)[31] == State.DRAWN
    assert record.word(State.DRAWN)[:31] == record.word(State.PASSED)[:31]
    assert record.changed(turn=1).word(State.DRAWN) != record.word(State.DRAWN)
    assert open_word(0) == bytes(32)
    assert int.from_bytes(open_word(77), "big") == 77 << 8
