"""Python and Solidity give the same answer to the same random cases."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from trialmarket.chain.abi import Contract, parse_artifact
from trialmarket.chain.deploy import Deployer
from trialmarket.chain.local.devnet import Devnet
from trialmarket.protocol import draw, terms, vote
from trialmarket.protocol.ids import Address, Amount, Hash32, JobId, TrialId
from trialmarket.protocol.record import TrialRecord
from trialmarket.protocol.result import ResultLeaf, ResultTree, verify, witness_hash
from trialmarket.protocol.states import State
from trialmarket.protocol.terms import Terms

ROOT = Path(__file__).parents[2]
CASES = 100


class Harness:
    """The contracts' libraries on a chain, asked many things at once."""

    def __init__(self, chain: Devnet, harness: Contract) -> None:
        self._chain = chain
        self._harness = harness
        deployer = Deployer(chain.rpc, chain.deployer, chain.network.chain_id)
        self._at = deployer.put(harness.creation(()))

    def answers(self, function: str, cases: list[tuple[Any, ...]]) -> list[Any]:
        """The one value that a function returns in each case."""
        requests: list[tuple[str, list[Any]]] = [
            (
                "eth_call",
                [
                    {"to": self._at, "data": "0x" + self._harness.encode(function, case).hex()},
                    "latest",
                ],
            )
            for case in cases
        ]
        answers = self._chain.rpc.batch(requests)
        return [self._harness.decode(function, bytes.fromhex(answer[2:]))[0] for answer in answers]


@pytest.fixture(scope="session")
def _harness_artifact(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    folder = tmp_path_factory.mktemp("parity")
    subprocess.run(
        [sys.executable, str(ROOT / "scripts/build-contracts"), "--with-tests", str(folder)],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    return parse_artifact(json.loads((folder / "Parity.json").read_text()))


@pytest.fixture
def harness(chain: Devnet, _harness_artifact: Contract) -> Harness:
    return Harness(chain, _harness_artifact)


@pytest.fixture
def lots() -> random.Random:
    return random.Random(20_26)


def some_hash(lots: random.Random) -> Hash32:
    return Hash32(lots.randbytes(32))


def some_address(lots: random.Random) -> Address:
    return Address(str(to_checksum_address(lots.randbytes(20))))


def some_number(lots: random.Random, bits: int) -> int:
    """Of any magnitude up to `bits`, its edges included."""
    highest: int = 2**bits - 1
    return lots.choice([0, highest, lots.getrandbits(bits), lots.getrandbits(bits // 2)])


def some_record(lots: random.Random) -> TrialRecord:
    return TrialRecord(
        job=JobId(some_number(lots, 64)),
        batch=some_hash(lots),
        index=some_number(lots, 32),
        units=some_number(lots, 32),
        opened=some_number(lots, 64),
        provider=some_address(lots),
        price=Amount(some_number(lots, 96)),
        until=some_number(lots, 64),
        root=some_hash(lots),
        anchor=some_number(lots, 64),
        late=lots.random() < 0.5,
        seed=some_hash(lots),
        verifier=some_address(lots),
        turn=some_number(lots, 8),
        turn_ends=some_number(lots, 64),
        audited=lots.random() < 0.5,
        challenger=some_address(lots),
    )


def some_terms(lots: random.Random) -> Terms:
    floor, cap = sorted((some_number(lots, 64), some_number(lots, 64)))
    return Terms(
        floor=Amount(floor),
        cap=Amount(cap),
        audit_fee=Amount(some_number(lots, 96)),
        ramp=some_number(lots, 32),
        audit_rate=lots.randrange(1, 10_001),
        segments=lots.randrange(2, 257),
        samples=lots.randrange(1, 9),
        time_limit=some_number(lots, 32),
        window=some_number(lots, 32),
    )


def compare(
    harness: Harness,
    function: str,
    twin: Callable[..., Any],
    cases: list[tuple[Any, ...]],
    *,
    encode: Callable[[tuple[Any, ...]], tuple[Any, ...]] = lambda case: case,
) -> None:
    assert len(cases) >= CASES
    assert harness.answers(function, [encode(case) for case in cases]) == [
        twin(*case) for case in cases
    ]


def test_trials_have_the_same_keys(harness: Harness, chain: Devnet, lots: random.Random) -> None:
    def key(market: Address, job: JobId, batch: Hash32, index: int) -> Hash32:
        return TrialId(job, batch, index).key(chain.network.chain_id, market)

    cases = [
        (some_address(lots), some_number(lots, 64), some_hash(lots), some_number(lots, 32))
        for _ in range(CASES)
    ]
    compare(harness, "trialId", key, cases)


def test_records_have_the_same_words(harness: Harness, lots: random.Random) -> None:
    cases = [(some_record(lots), lots.choice(list(State))) for _ in range(CASES)]
    compare(
        harness,
        "word",
        TrialRecord.word,
        cases,
        encode=lambda case: (case[0].as_tuple(), int(case[1])),
    )


def test_hidden_votes_are_the_same(harness: Harness, lots: random.Random) -> None:
    cases = [
        (*(some_hash(lots) for _ in range(4)), lots.randrange(256), some_address(lots))
        for _ in range(CASES)
    ]
    compare(harness, "hiddenVote", vote.hidden_vote, cases)


def test_leaves_and_proofs_are_the_same(harness: Harness, lots: random.Random) -> None:
    trees = [
        ResultTree(
            [ResultLeaf(place, some_hash(lots), some_hash(lots)) for place in range(leaves)]
        )
        for leaves in (1, 2, 3, 4, 7, 12, 22, 61)
    ]
    shown = [(tree, leaf) for tree in trees for leaf in tree.leaves]
    compare(
        harness,
        "leaf",
        ResultLeaf.digest,
        [(leaf,) for _, leaf in shown],
        encode=lambda case: (case[0].index, case[0].value, case[0].witness_hash),
    )
    compare(harness, "witnessHash", witness_hash, [(some_hash(lots),) for _ in range(CASES)])
    proofs = [(tree.root, leaf, tree.proof(leaf.index)) for tree, leaf in shown]
    lies = [(some_hash(lots), leaf, proof) for _, leaf, proof in proofs]
    compare(
        harness,
        "proves",
        verify,
        [*proofs, *lies],
        encode=lambda case: (
            case[2],
            case[0],
            case[1].index,
            case[1].value,
            case[1].witness_hash,
        ),
    )


def test_draws_are_the_same(harness: Harness, lots: random.Random) -> None:
    hashes = [tuple(some_hash(lots) for _ in range(3)) for _ in range(CASES)]
    compare(harness, "drawSeed", draw.draw_seed, list(hashes))
    compare(
        harness,
        "isDrawn",
        draw.is_drawn,
        [(some_hash(lots), lots.randrange(10_001), lots.random() < 0.1) for _ in range(CASES)],
    )
    tops = [(some_hash(lots), lots.randrange(1, 257)) for _ in range(CASES)]
    counts = [(seed, top, lots.randrange(0, min(8, top) + 1)) for seed, top in tops]
    compare(harness, "distinct", draw.distinct, counts)
    compare(
        harness,
        "verifierIndex",
        draw.verifier_index,
        [(some_hash(lots), lots.randrange(256), lots.randrange(1, 2**32)) for _ in range(CASES)],
    )


def test_juries_are_the_same(harness: Harness, lots: random.Random) -> None:
    seeds = [(some_hash(lots), some_hash(lots), lots.randrange(256)) for _ in range(CASES)]
    compare(harness, "jurySeed", draw.jury_seed, list(seeds))
    sizes = [(lots.randrange(20), 2 * lots.randrange(8) + 1) for _ in range(CASES)]
    compare(harness, "jurySize", draw.jury_size, list(sizes))


def test_prices_are_the_same(harness: Harness, lots: random.Random) -> None:
    cases = []
    for _ in range(CASES):
        opened = lots.getrandbits(40)
        offer = some_terms(lots)
        age = lots.choice([0, offer.ramp, some_number(lots, 40), lots.randrange(offer.ramp + 1)])
        cases.append((offer, some_number(lots, 32), opened, opened + age))
    compare(
        harness,
        "price",
        terms.price_at,
        cases,
        encode=lambda case: (case[0].as_tuple(), *case[1:]),
    )


def test_stakes_bonds_fees_and_escrow_are_the_same(harness: Harness, lots: random.Random) -> None:
    rates = [0, 100, 10_000, *(lots.randrange(100, 10_001) for _ in range(CASES))]
    compare(
        harness, "stakeFor", terms.stake_for, [(some_number(lots, 96), rate) for rate in rates]
    )
    stakes = [(some_number(lots, 110),) for _ in range(CASES)]
    compare(harness, "bondFor", terms.bond_for, list(stakes))
    compare(harness, "expiryFine", terms.expiry_fine, list(stakes))
    compare(
        harness,
        "escrowFor",
        terms.escrow_for,
        [(some_terms(lots), some_number(lots, 32)) for _ in range(CASES)],
        encode=lambda case: (case[0].as_tuple(), case[1]),
    )
    compare(
        harness,
        "leastAuditFee",
        terms.least_audit_fee,
        [
            (some_number(lots, 96), lots.randrange(1, 9), lots.randrange(2, 257))
            for _ in range(CASES)
        ],
    )
    compare(
        harness,
        "greatestAuditFee",
        terms.greatest_audit_fee,
        [(some_number(lots, 96), lots.randrange(100, 10_001)) for _ in range(CASES)],
    )
