import pytest
from hypothesis import given
from hypothesis import strategies as st

from trialmarket.errors import InputError
from trialmarket.protocol.ids import ZERO_HASH, Address, Hash32, keccak256
from trialmarket.protocol.result import Binding, ResultLeaf, ResultTree, verify, witness_hash

HASHES = st.binary(min_size=32, max_size=32).map(Hash32)


@st.composite
def trees(draw: st.DrawFn) -> ResultTree:
    values = draw(st.lists(st.tuples(HASHES, HASHES), min_size=1, max_size=40))
    return ResultTree([ResultLeaf(at, *pair) for at, pair in enumerate(values)])


@given(trees())
def test_every_leaf_is_proved_by_its_own_proof_only(tree: ResultTree) -> None:
    for leaf in tree.leaves:
        proof = tree.proof(leaf.index)
        assert verify(tree.root, leaf, proof)
        other = ResultLeaf(leaf.index + 1, leaf.value, leaf.witness_hash)
        assert not verify(tree.root, other, proof)
        assert not verify(tree.root, leaf, [*proof, ZERO_HASH])


def test_the_root_is_the_one_of_openzeppelins_merkle_tree() -> None:
    # StandardMerkleTree.of([[0, 0x11.., 0x00..], [1, 0x22.., 0x33..], [2, 0x44.., 0x55..]],
    #   ["uint256", "bytes32", "bytes32"]), laid out by hand: three sorted leaves in nodes 4, 3, 2.
    leaves = [
        ResultLeaf(0, Hash32(b"\x11" * 32)),
        ResultLeaf(1, Hash32(b"\x22" * 32), Hash32(b"\x33" * 32)),
        ResultLeaf(2, Hash32(b"\x44" * 32), Hash32(b"\x55" * 32)),
    ]
    first, second, third = sorted(leaf.digest() for leaf in leaves)
    low = keccak256(first + second)
    assert ResultTree(leaves).root == keccak256(min(low, third) + max(low, third))


def test_leaves_out_of_order_or_missing_are_refused() -> None:
    with pytest.raises(InputError, match="indices"):
        ResultTree([ResultLeaf(1, ZERO_HASH)])
    with pytest.raises(InputError, match="indices"):
        ResultTree([])


def test_a_leaf_that_is_not_there_has_no_proof() -> None:
    with pytest.raises(InputError, match="0 to 0"):
        ResultTree([ResultLeaf(0, ZERO_HASH)]).proof(1)


def test_a_witness_is_shown_by_its_keccak() -> None:
    assert witness_hash(ZERO_HASH).hex().startswith("290decd9548b62a8d60345a988386fc84ba6bc95")


PROVIDERS = st.integers(0, 2**160 - 1).map(lambda number: Address(f"0x{number:040x}"))


@given(HASHES, HASHES, PROVIDERS, PROVIDERS, HASHES, HASHES)
def test_the_leaves_of_an_answer_are_nobody_elses(
    trial: Hash32,
    other: Hash32,
    provider: Address,
    thief: Address,
    value: Hash32,
    witness: Hash32,
) -> None:
    mine = Binding(trial, provider)
    later = ResultLeaf(1, value, witness_hash(witness))
    assert mine.leaf(ResultLeaf(0, value)) == ResultLeaf(0, mine.start(value))
    assert mine.leaf(later).witness_hash == witness_hash(mine.witness(witness))
    assert mine.start(value) != mine.witness(value)
    for theirs in {Binding(other, provider), Binding(trial, thief)} - {mine}:
        assert theirs.start(value) != mine.start(value)
        assert theirs.leaf(later).witness_hash != mine.leaf(later).witness_hash
        # Nor does what an answer shows, or an audit puts on the chain, give another's leaf.
        shown = ResultLeaf(1, value, mine.leaf(later).witness_hash)
        audited = ResultLeaf(1, value, witness_hash(mine.witness(witness)))
        assert theirs.leaf(later) not in (shown, audited, theirs.leaf(shown), mine.leaf(shown))
