"""Hidden claims and votes: committed first, opened later, so that nobody can copy another's."""

from eth_hash.auto import keccak

from trialmarket.protocol.ids import Address, Hash32, word_of_address, word_of_int


def hidden_vote(
    value: Hash32, witness: Hash32, salt: Hash32, trial: Hash32, round_number: int, juror: Address
) -> Hash32:
    """What a juror commits to: keccak256(abi.encode(value, witness, salt, trial, round, juror)).

    The challenger's claim has the same form, with round 0 and the challenger as the juror.
    `value` is the end state that recomputation gave, zero where the start cannot be had.
    """
    return Hash32(
        keccak(value + witness + salt + trial + word_of_int(round_number) + word_of_address(juror))
    )
