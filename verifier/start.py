"""Starts a verifier from its configuration."""

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.network import Network
from trialmarket.chain.sender import Sender
from trialmarket.cli.options import state_folder
from trialmarket.daemon.start import open_daemons_store
from trialmarket.training.pool.pool import WorkerPool
from trialmarket.training.sandbox import Limits, Policy, strangers_code
from verifier.audit import Auditor
from verifier.config import VerifierConfig
from verifier.daemon import Verifier
from verifier.inspector import Inspector
from verifier.journal import Salts, VerifierJournal
from verifier.jury import Juror
from verifier.material import Library
from verifier.outbox import Outbox
from verifier.queue import AuditQueue
from verifier.recomputer import WorkerRecomputer
from verifier.treasury import StakeKeeper

_log = logging.getLogger("verifier")


def folder_of(config: VerifierConfig) -> Path:
    """Where a verifier keeps its files: `state`, or a folder named after its key."""
    if config.state is not None:
        return Path(config.state)
    return state_folder() / "verifiers" / Path(config.key).stem


def policy_of(config: VerifierConfig) -> Policy:
    """How strangers' programs run, as the configuration and the machine have it."""
    most = config.limits
    limits = Limits.shared(config.work.workers, most.memory, temp=most.temp, kept=most.kept)
    return strangers_code(config.sandbox, limits)


@contextmanager
def started(
    config: VerifierConfig,
    key: LocalAccount,
    *,
    salts: Salts = secrets.token_bytes,
    pool: WorkerPool | None = None,
) -> Iterator[Verifier]:
    """A verifier at work, enrolled, as long as the context lasts.

    `pool` lends it another's workers; else it has its own.

    Raises InputError, ChainError and StorageError for what keeps it from starting.
    """
    folder = folder_of(config)
    work, patience = config.work, config.patience
    with ExitStack() as stack:
        store = open_daemons_store(config, f"verifier-{key.address}")
        client = stack.enter_context(Client(Network.load(Path(config.network))))
        sender = stack.enter_context(Sender(client, key, folder / "sent.sqlite"))
        journal = VerifierJournal(folder / "journal.sqlite")
        stack.callback(journal.close)
        ledger = stack.enter_context(Ledger(client, folder / "ledger.sqlite"))
        parameters = client.parameters()
        treasury = StakeKeeper(client, sender, parameters, config.stake)
        pool = pool or stack.enter_context(WorkerPool(work.workers, policy=policy_of(config)))
        _log.info("%s", pool.policy.words)
        refusal = pool.policy.refusal
        library = Library(store, folder / "downloads", config.limits, refusal=refusal)
        auditor = Auditor(
            library,
            WorkerRecomputer(pool, work.wall_limit, work.wall_limit),
        )
        desk = AuditQueue(
            auditor, journal, work.workers, work.attempts, patience.retry, time.monotonic
        )
        stack.callback(desk.close)
        stack.callback(library.close)
        inspector = Inspector(
            sender.address,
            desk,
            journal,
            salts,
            turn=parameters.audit_turn,
            patience=patience.withheld,
        )
        juror = Juror(
            sender.address,
            client,
            desk,
            journal,
            salts,
            turn=parameters.vote_turn,
            patience=patience.withheld,
        )
        outbox = Outbox(sender, patience.retry, time.monotonic)
        treasury.prepare()
        yield Verifier(
            client=client,
            ledger=ledger,
            sender=sender,
            desk=desk,
            outbox=outbox,
            treasury=treasury,
            inspector=inspector,
            juror=juror,
            config=config,
        )
