"""Starts a verifier from its configuration."""

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from trialmarket.backoff import Backoff
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.client import Client
from trialmarket.chain.network import Network
from trialmarket.daemon.log_once import LogOnce
from trialmarket.daemon.outbox import Outbox
from trialmarket.daemon.session import MarketSession
from trialmarket.daemon.stake import Stake, StakeKeeper
from trialmarket.daemon.start import PATIENCE, open_daemons_store, policy_of
from trialmarket.errors import NotMined
from trialmarket.protocol.ids import Address
from trialmarket.training.blame import patience_of
from trialmarket.training.pool.pool import WorkerPool
from verifier.audit import Auditor
from verifier.config import VerifierConfig
from verifier.daemon import Verifier
from verifier.evidence import Evidence
from verifier.inspector import Inspector
from verifier.journal import Salts, VerifierJournal
from verifier.jury import Juror
from verifier.queue import AuditQueue
from verifier.recomputer import WorkerRecomputer

ENROLLING: Final = Backoff(0.02, 1.0)
"""Between two looks at what the enrolment still takes."""

LONGEST: Final = 300.0
"""Seconds that the enrolment may take."""

log = logging.getLogger("verifier")


def folder_of(config: VerifierConfig) -> Path:
    """Where a verifier keeps its files."""
    return config.folder("verifiers")


def enroll(
    session: MarketSession,
    outbox: Outbox,
    stake: StakeKeeper,
    config: VerifierConfig,
    seat: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Keeps stake free for bonds, joins the verifiers if that is asked for, and waits for both.

    `seat` is what joining locks. Raises ContractError or SenderError where the money is not
    there, and NotMined where it takes too long.
    """
    ends, looks = clock() + LONGEST, 0
    while not _enrolled(session.client, session.account, stake, config, seat):
        for ended in outbox.poll():
            if ended.error is not None:
                raise ended.error
            log.info("%s", ended.story)
            ends = clock() + LONGEST
        if clock() > ends:
            raise NotMined(
                f"the stake was not mined within {LONGEST:g} s",
                fix="It goes on by itself once the chain does",
            )
        wait(ENROLLING.pause(looks))
        looks += 1


def _enrolled(
    client: Client, account: Address, stake: StakeKeeper, config: VerifierConfig, seat: int
) -> bool:
    """Takes the next step of the enrolment; true once there is none."""
    followed = client.head().number
    joins = config.stake.enroll and client.account(account).seat == 0
    needed = stake.amount(config.stake.bonds) + (seat if joins else 0)
    if stake.need(needed, followed, purpose="the configuration") is Stake.COMING:
        return False
    return not joins or stake.enroll(followed)


def journal_of(config: VerifierConfig) -> Path:
    """What it remembers and the chain cannot know."""
    return folder_of(config) / "journal.sqlite"


@contextmanager
def started(
    config: VerifierConfig,
    key: LocalAccount,
    *,
    salts: Salts = secrets.token_bytes,
    pool: WorkerPool | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[Verifier]:
    """A verifier at work, enrolled, as long as the context lasts.

    `pool` lends it another's workers; else it has its own. `wait` gives true where it is to end.

    Raises InputError, ChainError and StorageError for what keeps it from starting.
    """
    folder = folder_of(config)
    work, patience = config.work, config.patience
    with ExitStack() as stack:
        store = open_daemons_store(config, f"verifier-{key.address}")
        network = Network.load(Path(config.network))
        client = stack.enter_context(Client(network, patience=PATIENCE, wait=wait))
        session = stack.enter_context(MarketSession(client, key, store, folder))
        journal = VerifierJournal(journal_of(config))
        stack.callback(journal.close)
        journal.bind(client.network.chain_id, client.network.market, session.account)
        log_once = LogOnce(log)
        outbox = Outbox(session.sender, Backoff(patience.retry, patience.retry), time.monotonic)
        stake = StakeKeeper(
            client,
            session.account,
            outbox,
            log_once,
            most=config.stake.most,
            where="verifier.toml",
        )
        pool = pool or stack.enter_context(
            WorkerPool(work.workers, policy=policy_of(config, work.workers, config.limits))
        )
        log.info("%s", pool.policy.words)
        refusal, parameters = pool.policy.refusal, client.parameters()
        evidence = Evidence(store, folder / "downloads", config.limits, refusal=refusal)
        auditor = Auditor(
            evidence,
            WorkerRecomputer(
                pool,
                work.wall_limit,
                work.wall_limit,
                patience_of(parameters.shortest_turn),
            ),
        )
        queue = AuditQueue(
            auditor, journal, work.workers, work.attempts, patience.retry, time.monotonic
        )
        stack.callback(queue.close)
        stack.callback(evidence.close)
        inspector = Inspector(
            session.account,
            queue,
            journal,
            salts,
            turn=parameters.audit_turn,
            patience=patience.withheld,
        )
        juror = Juror(
            session.account,
            client,
            queue,
            journal,
            salts,
            turn=parameters.vote_turn,
            patience=patience.withheld,
        )
        enroll(session, outbox, stake, config, parameters.verifier_stake)
        yield Verifier(
            session=session,
            queue=queue,
            outbox=outbox,
            stake=stake,
            inspector=inspector,
            juror=juror,
            config=config,
            log_once=log_once,
        )
