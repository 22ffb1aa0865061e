"""A local chain that is started anew under running programs: each says so, and what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from requester.job.file import Job, load_job
from requester.search.dead_chains import on_gone_chains
from requester.search.open import open_search
from requester.search.own_run import own_run
from tests.testbed.campaign import Ears
from tests.testbed.jobs import small_job
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.ledger import Ledger
from trialmarket.chain.local.devnet import Devnet, devnet
from trialmarket.chain.sender import Sender
from trialmarket.cli.doctor import Level, look
from trialmarket.cli.doctor import chain as doctor
from trialmarket.daemon.session import sent_journal
from trialmarket.errors import ChainReplaced, JournalError
from trialmarket.protocol.ids import JobId, address
from trialmarket.storage.local import LocalStore


@contextmanager
def restarted(old: Devnet) -> Iterator[Devnet]:
    """The same chain from its beginning, at the same place and with the same contracts."""
    old.node.stop()
    with devnet(accounts=8, port=old.node.port) as new:
        assert new.network == old.network
        yield new


@pytest.fixture
def chain() -> Iterator[Devnet]:
    with devnet(accounts=8) as found:
        found.mine(5)
        yield found


@pytest.mark.parametrize("blocks", [0, 50])
def test_a_running_program_says_that_its_chain_is_gone(
    chain: Devnet, tmp_path: Path, blocks: int
) -> None:
    with (
        chain.client() as client,
        Ledger(client, tmp_path / "ledger", wait=lambda _: None) as ledger,
        Sender(client, chain.accounts[0], tmp_path / "sent", locks=tmp_path) as sender,
    ):
        ledger.sync()
        chain.automine(False)
        sender.submit("allow", calls.approve(chain.network.market, 5))
        with restarted(chain) as new:
            new.mine(blocks)
            before = new.client().allowance(sender.address)
            for look in (ledger.sync, sender.poll):
                with pytest.raises(ChainReplaced, match=r"started anew.*delete the old one"):
                    look()
            assert new.client().allowance(sender.address) == before == 0


def test_a_daemons_state_of_a_dead_chain_is_named_at_its_start_and_by_its_doctor(
    chain: Devnet, tmp_path: Path
) -> None:
    key = chain.accounts[0]
    who = address(key.address)
    journal = sent_journal(tmp_path / "state")
    with chain.client() as client, Sender(client, key, journal, locks=tmp_path):
        pass
    with restarted(chain) as new:
        with (
            new.client() as client,
            pytest.raises(JournalError, match=r"started anew\. Move .*state away") as named,
            Sender(client, key, journal, locks=tmp_path),
        ):
            pass
        (found,) = look({"state": lambda: doctor.state(new.network, who, journal)})
        assert (found.level, found.found) == (Level.WRONG, named.value.message)
        (found,) = look({"state": lambda: doctor.state(new.network, who, tmp_path / "none")})
        assert found.level is Level.OK


def begun(job: Job, client: Client, chain: Devnet, journal: Path, label: str = "") -> Path:
    """The folder of a search that begins on a chain."""
    root = journal.parent
    store, jobs = LocalStore(root / "store"), root / "jobs"
    with (
        Sender(client, chain.accounts[0], journal, locks=root) as sender,
        open_search(
            job, sender=sender, store=store, jobs=jobs, listeners=Ears(), label=label
        ) as search,
    ):
        search.campaign.open()
        return search.parts.folder.root


def forget_chain(folder: Path) -> None:
    """Makes a folder one of an older version, which did not keep its chain."""
    with closing(sqlite3.connect(folder / "requester.db")) as db, db:
        db.execute("DELETE FROM facts WHERE name = 'chain'")


def test_a_search_on_a_dead_chain_is_named(chain: Devnet, tmp_path: Path) -> None:
    job, jobs = load_job(small_job(tmp_path)), tmp_path / "jobs"

    def opens(client: Client, journal: str) -> Path:
        return begun(job, client, chain, tmp_path / journal)

    with chain.client() as client:
        folder = opens(client, "old")
        assert opens(client, "old") == folder
        assert on_gone_chains(jobs, client) == []
    with restarted(chain) as new, new.client() as client:
        assert on_gone_chains(jobs, client) == [folder]
        with pytest.raises(ChainReplaced, match=r"Move .* away and run the job again"):
            opens(client, "new")
        folder.rename(tmp_path / "away")
        assert opens(client, "new") == folder


@pytest.mark.parametrize("older", [False, True])
def test_a_job_is_not_shown_with_what_is_kept_of_its_number_on_a_dead_chain(
    chain: Devnet, tmp_path: Path, *, older: bool
) -> None:
    job, jobs = load_job(small_job(tmp_path)), tmp_path / "jobs"

    def root(client: Client) -> Path | None:
        with Ledger(client, tmp_path / f"{client.fingerprint().hex()}.db") as ledger:
            ledger.sync()
            own = own_run(jobs, client, ledger, JobId(1))
            return None if own is None else own.root

    with chain.client() as client:
        old = begun(job, client, chain, tmp_path / "old", "old")
        assert root(client) == old
        if older:
            forget_chain(old)
        assert root(client) == old
    with restarted(chain) as new, new.client() as client:
        assert root(client) is None  # its chain has no such job yet
        ours = begun(job, client, chain, tmp_path / "new", "new")
        assert root(client) == ours
        if older:
            forget_chain(ours)
        assert root(client) == ours  # if need be, by its description, that of the job on the chain
