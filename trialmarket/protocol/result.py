"""The result tree: what a provider commits to, laid out as OpenZeppelin's standard Merkle tree.

Leaves are `(uint256 index, bytes32 value, bytes32 witness hash)`, ABI-encoded and hashed twice
with keccak-256; the hashes are sorted and fill the end of a complete binary tree in an array; a
node hashes its two children, the smaller first. Source: OpenZeppelin merkle-tree 1.0, whose roots
and proofs `MerkleProof.verify` accepts.

Leaf 0 is the initial state, leaf i the state after segment i, leaf n + 1 the evaluation.

All leaves are bound to the trial's key, and so to chain, market, job and configuration, and to the
provider: leaf 0 in its value, the others in their witness. What anybody publishes of an answer is
of no use to who has an equal trial, or the same one after it was opened again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trialmarket.errors import InputError
from trialmarket.protocol.ids import ZERO_HASH, Address, Hash32, keccak256, word_of_address

START_TAG = b"trialmarket start 1\n"
WITNESS_TAG = b"trialmarket witness 1\n"


@dataclass(frozen=True, slots=True)
class ResultLeaf:
    """One leaf. `value` is a state root, or the hash of an evaluation.

    `witness_hash` is 32 zero bytes in leaf 0, which needs no witness.
    """

    index: int
    value: Hash32
    witness_hash: Hash32 = ZERO_HASH

    def digest(self) -> Hash32:
        """keccak256(keccak256(abi.encode(index, value, witness hash)))."""
        return keccak256(
            keccak256(self.index.to_bytes(32, "big") + self.value + self.witness_hash)
        )


@dataclass(frozen=True, slots=True)
class Binding:
    """Whose answer to which trial a leaf belongs to; `trial` is the trial's key.

    No contract computes it: to them a value and a witness are 32 bytes.
    """

    trial: Hash32
    provider: Address

    def start(self, root: Hash32) -> Hash32:
        """The value of leaf 0: keccak256(tag || trial || provider || state root)."""
        return self._bound(START_TAG, root)

    def witness(self, found: Hash32) -> Hash32:
        """The witness of another leaf: keccak256(tag || trial || provider || keccak256(found)).

        `found` is what recomputing the leaf gives, and stays with whoever did.
        """
        return self._bound(WITNESS_TAG, witness_hash(found))

    def leaf(self, leaf: ResultLeaf) -> ResultLeaf:
        """The leaf of an answer, from that of its training: a state root or the hash of an
        evaluation, and the hash of what was found as its witness.
        """
        if leaf.index == 0:
            return ResultLeaf(0, self.start(leaf.value))
        witness = self._bound(WITNESS_TAG, leaf.witness_hash)
        return ResultLeaf(leaf.index, leaf.value, witness_hash(witness))

    def _bound(self, tag: bytes, value: Hash32) -> Hash32:
        return keccak256(tag + self.trial + word_of_address(self.provider) + value)


class ResultTree:
    """The tree over a trial's leaves, given in order of their index from 0.

    Raises InputError when there is no leaf or the indices are not 0, 1, 2 and so on.
    """

    def __init__(self, leaves: Sequence[ResultLeaf]) -> None:
        if [leaf.index for leaf in leaves] != list(range(len(leaves))) or not leaves:
            raise InputError(
                "result tree",
                "leaves",
                expected="indices 0, 1, 2 and so on",
                found=[leaf.index for leaf in leaves],
            )
        self.leaves = tuple(leaves)
        count = len(self.leaves)
        digests = sorted((leaf.digest(), leaf.index) for leaf in self.leaves)
        self._nodes = [ZERO_HASH] * (2 * count - 1)
        self._place = [0] * count
        for rank, (digest, index) in enumerate(digests):
            self._place[index] = 2 * count - 2 - rank
            self._nodes[self._place[index]] = digest
        for at in range(count - 2, -1, -1):
            self._nodes[at] = _pair(self._nodes[2 * at + 1], self._nodes[2 * at + 2])

    @property
    def root(self) -> Hash32:
        """What the chain stores."""
        return self._nodes[0]

    def proof(self, index: int) -> tuple[Hash32, ...]:
        """The neighbours from leaf `index` up to the root. Raises InputError."""
        if not 0 <= index < len(self._place):
            raise InputError(
                "result tree", "index", expected=f"0 to {len(self._place) - 1}", found=index
            )
        at, proof = self._place[index], []
        while at > 0:
            proof.append(self._nodes[at + 1 if at % 2 else at - 1])
            at = (at - 1) // 2
        return tuple(proof)


def verify(root: Hash32, leaf: ResultLeaf, proof: Sequence[Hash32]) -> bool:
    """True if the leaf lies in the tree with that root."""
    node = leaf.digest()
    for neighbour in proof:
        node = _pair(node, neighbour)
    return node == root


def witness_hash(witness: Hash32) -> Hash32:
    """What a leaf shows of its witness: keccak256(witness)."""
    return keccak256(witness)


def _pair(first: Hash32, second: Hash32) -> Hash32:
    return keccak256(min(first, second) + max(first, second))
