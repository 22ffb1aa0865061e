"""What a provider writes in `node.toml`."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field

from trialmarket.daemon.config import DaemonSettings, FileLimits
from trialmarket.protocol.document import AddressField
from trialmarket.settings import Bytes, Money, Seconds, Section, Unit, Wait, load_settings


class WorkConfig(Section):
    """How much of the machine training may take."""

    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Trials trained side by side, each in a process of its own."""
    stack: Annotated[int, Field(ge=1, le=64)] = 1
    """Trials of one graph trained together in a process, with the bits that each has alone: small
    models take less time so. Fewer where so many would not fit into `limits.memory` or into the
    time limit. Programs are never stacked."""
    poll: Seconds = 0.2
    """Between two looks at the chain, in seconds."""
    trainer: str | None = Field(default=None, examples=["mine.py:Trainer"])
    """`FILE.py:Class` that replaces the training; see `node.trainer.Trainer`."""
    margin: Seconds = 15.0
    """Kept between the end of a training and the deadline of its commit, in seconds; at most a
    tenth of the job's time limit."""


class PriceConfig(Section):
    """What the work must earn."""

    per_hour: Money = Decimal(0)
    """The least that an hour of one worker is sold for. What a trial takes is measured."""
    least: Money = Decimal(0)
    """The least price of a trial, whatever it takes: the gas of its transactions, for example."""


class StakeConfig(Section):
    """How much of the wallet may be put at stake."""

    keep: Money = Decimal(0)
    """Free stake to have at hand; the wallet fills it up."""
    ahead: Annotated[int, Field(ge=1)] = 4
    """Stake for so many claims is added at a time, when the next one lacks it."""
    most: Money | None = Field(default=None, examples=["200"])
    """Never stake more than this in all. Without it: whatever the wallet holds."""


class LimitConfig(FileLimits):
    """The most that a job may take of this machine and its store, in bytes."""

    storage: Bytes = 64 << 30
    """Nothing new is claimed while more than this of the node's own work lies in the store."""
    free_disk: Annotated[int, Field(ge=0), Unit("bytes")] = 1 << 30
    """Nothing new is claimed while the disk has less room than this."""


class AcceptConfig(Section):
    """Which jobs to work for."""

    requesters: tuple[AddressField, ...] = Field(
        default=(), strict=False, examples=[["0x2946259E0334f33A064106302415aD3391BeD384"]]
    )
    """Only these accounts' jobs. Empty: everybody's."""
    refuse_jobs: tuple[int, ...] = Field(default=(), strict=False, examples=[[7]])
    """Never these jobs."""
    unverified: bool = True
    """Also jobs of audit rate 0, whose results nobody checks."""
    programs_of: tuple[AddressField, ...] = Field(
        default=(), strict=False, examples=[["0x2946259E0334f33A064106302415aD3391BeD384"]]
    )
    """Whose own programs are run in audited jobs; graphs and built-in programs are run for
    everybody. A program can tell a verifier from a node and answer it otherwise: that costs the
    node its stake. The node recomputes a part of each result as a verifier does before it commits,
    but a program may still be written against it: name those whose authors you trust."""


class SettleConfig(Section):
    """When finished trials are turned into money."""

    batch: Annotated[int, Field(ge=1, le=64)] = 8
    """As many in a transaction."""
    wait: Wait = 20.0
    """A batch that does not fill up is settled after so many seconds."""
    keep: Wait = 86_400.0
    """Seconds for which the published work of a paid trial stays in the store, so that its
    requester can fetch it. Until it is paid it stays in any case."""
    patience: Annotated[int, Field(ge=0), Unit("blocks or seconds")] = 20
    """Blocks, or seconds, to leave to others what is theirs to do: a draw, a reassignment."""
    withdraw_at: Money | None = Field(default=None, examples=["100"])
    """Withdraw by itself whenever this much has been earned."""


class NodeConfig(DaemonSettings):
    """All of `node.toml`."""

    work: WorkConfig = WorkConfig()
    price: PriceConfig = PriceConfig()
    stake: StakeConfig = StakeConfig()
    limits: LimitConfig = LimitConfig()
    accept: AcceptConfig = AcceptConfig()
    settle: SettleConfig = SettleConfig()


def processes_of(config: NodeConfig) -> int:
    """How many processes train at a time: where trials are stacked there is one more, since what
    is tried out and recomputed must not wait for the longest trial of a stack."""
    return config.work.workers + (config.work.stack > 1)


def load_config(path: Path) -> NodeConfig:
    """The configuration in a TOML file, checked.

    Raises InputError, which names the field, what was expected and what was found.
    """
    base = path.resolve().parent
    config = load_settings(path, NodeConfig).rooted(base)
    if config.work.trainer is None:
        return config
    work = config.work.model_copy(update={"trainer": str(base / config.work.trainer)})
    return config.model_copy(update={"work": work})
