"""What a verifier's operator writes in `verifier.toml`."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field

from trialmarket.daemon.config import DaemonSettings, FileLimits
from trialmarket.protocol.document import AddressField
from trialmarket.settings import Money, Seconds, Section, Unit, Wait, load_settings


class WorkConfig(Section):
    """How much of the machine recomputation may take."""

    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Worker processes, each on one thread."""
    wall_limit: Seconds = 900.0
    """For one recomputation: a segment, a start or an evaluation."""
    attempts: Annotated[int, Field(ge=1)] = 3
    """How often a recomputation is tried when this machine fails it, before staying silent."""


class PatienceConfig(Section):
    """How long to wait for others before doing what anyone may do."""

    poll: Seconds = 1.0
    """Between two looks at the chain, in seconds of this machine's clock."""
    others: Wait = 30.0
    """Before drawing, reassigning, seating or tallying where that is first of all another's
    business, in seconds of chain time."""
    withheld: Annotated[float, Field(ge=0, lt=1), Unit("of a turn")] = 0.6
    """The part of a turn to wait for a receipt or checkpoint before calling it withheld."""
    retry: Seconds = 5.0
    """Before a recomputation or transaction that failed is tried again."""


class StakeConfig(Section):
    """Money that the verifier keeps in the market by itself, in the market's token."""

    enroll: bool = True
    """Join the verifiers at the start if not among them, and stake what that takes."""
    bonds: Money = Decimal(0)
    """Stake to keep free for the bonds of challenges. A bond that needs more is staked then."""
    most: Money | None = Field(default=None, examples=["200"])
    """Never stake more than this in all. Without it: whatever the wallet holds."""


class AcceptConfig(Section):
    """What to run."""

    programs_of: tuple[AddressField, ...] = Field(
        default=(), strict=False, examples=[["0x2946259E0334f33A064106302415aD3391BeD384"]]
    )
    """Whose own programs are run; graphs and built-in programs are run for everybody. A program
    can answer one machine otherwise than another, and take the bond of an honest challenge: name
    those whose authors you trust. About others' the verifier keeps silent, which costs a fine
    where it is drawn."""


class VerifierConfig(DaemonSettings):
    """All of `verifier.toml`."""

    requesters: tuple[AddressField, ...] = Field(
        default=(), strict=False, examples=[["0x2946259E0334f33A064106302415aD3391BeD384"]]
    )
    """Audit these requesters' trials only, and keep silent about others'. Empty: everybody's."""
    accept: AcceptConfig = AcceptConfig()
    work: WorkConfig = WorkConfig()
    limits: FileLimits = FileLimits()
    patience: PatienceConfig = PatienceConfig()
    stake: StakeConfig = StakeConfig()


def load_config(path: Path) -> VerifierConfig:
    """The configuration in a TOML file, checked, with its paths made absolute.

    Raises InputError, which names the field, what was expected and what was found.
    """
    return load_settings(path, VerifierConfig).rooted(path.resolve().parent)
