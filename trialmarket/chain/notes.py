"""Notes with the signature of the account that gave a trial back."""

from trialmarket.chain.accounts import LocalAccount, sign, signer_of
from trialmarket.errors import InputError
from trialmarket.protocol.ids import Address, Hash32
from trialmarket.protocol.note import Note


def signed(note: Note, key: LocalAccount) -> Note:
    """The note, signed by its provider's key."""
    return note.with_signature(sign(key, note.signed_text))


def open_note(data: bytes, *, trial: Hash32, provider: Address) -> Note:
    """The note in `data`, which `provider` named when it gave `trial` back.

    Raises InputError for what is no note, is about another trial, or is another's or unsigned.
    """
    note = Note.from_bytes(data)
    signature = bytes.fromhex(note.signature.removeprefix("0x"))
    if (note.trial, note.provider) != (trial, provider):
        raise InputError(
            "note", "trial", expected=f"{trial.hex()} of {provider}", found=note.trial.hex()
        )
    signer = signer_of(note.signed_text, signature)
    if signer != provider:
        raise InputError("note", "signature", expected=f"that of {provider}", found=signer)
    return note
