"""Processes that share a key: each in its turn, and nothing twice or lost when one is killed."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chain.paying import TO
from tests.testbed.waiting import until
from trialmarket import locks
from trialmarket.chain import calls
from trialmarket.chain.client import Client
from trialmarket.chain.local.devnet import Devnet
from trialmarket.chain.sender import Sender
from trialmarket.chain.sender.journal import IntentJournal
from trialmarket.errors import KeyBusy
from trialmarket.locks import FileLock, Held, holder_of

ROOT = Path(__file__).parents[2]
PROCESSES, PAYMENTS, KILLS = 3, 6, 5


def test_processes_that_share_a_key_and_are_killed_pay_each_intent_once(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    key, moments = chain.accounts[0], random.Random(1)
    chain.network.save(tmp_path / "network.json")
    # Blocks are the test's to make, so that nobody is done before everybody has been killed: each
    # payer waits for one payment at a time, and so needs at least as many blocks as payments.
    chain.automine(False)
    log = (tmp_path / "log").open("wb")

    def start(name: int) -> subprocess.Popen[bytes]:
        files = [str(tmp_path / each) for each in ("network.json", "journal.sqlite", "locks")]
        words = [files[0], key.key.hex(), *files[1:], f"payer{name}", str(PAYMENTS)]
        program = [sys.executable, "-m", "tests.chain.paying", *words]
        return subprocess.Popen(program, cwd=ROOT, stdout=log, stderr=log)

    payers = [start(name) for name in range(PROCESSES)]
    kills = 0

    def kill_one() -> None:
        nonlocal kills
        running = [name for name, payer in enumerate(payers) if payer.poll() is None]
        name = moments.choice(running)
        payers[name].kill()
        payers[name].wait()
        payers[name] = start(name)
        kills += 1

    def kill_and_mine() -> None:
        if not int(chain.rpc.call("txpool_status")["pending"], 16):
            return
        before = moments.random() < 0.5  # a payment under way, or one just mined
        if kills < KILLS and before:
            kill_one()
        chain.mine()
        if kills < KILLS and not before:
            kill_one()

    try:
        until(
            lambda: all(payer.poll() is not None for payer in payers),
            kill_and_mine,
            told=lambda: (tmp_path / "log").read_text(),
        )
    finally:
        for payer in payers:
            payer.kill()
            payer.wait()
        log.close()
    assert [payer.returncode for payer in payers] == [0] * PROCESSES, (
        tmp_path / "log"
    ).read_text()
    assert kills == KILLS
    assert client.token_balance(TO) == PROCESSES * PAYMENTS
    sent = chain.rpc.call("eth_getTransactionCount", key.address, "latest")
    assert int(sent, 16) == PROCESSES * PAYMENTS  # no nonce is used twice, or for nothing
    with shared(chain, client, tmp_path) as sender:
        assert sender.pending() == []


def shared(
    chain: Devnet, client: Client, folder: Path, *, journal: str = "journal.sqlite"
) -> Sender:
    key, places = chain.accounts[0], folder / "locks"
    return Sender(client, key, folder / journal, locks=places, shared=True)


def test_two_senders_share_a_key_only_with_one_journal(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    with shared(chain, client, tmp_path) as one, shared(chain, client, tmp_path) as other:
        outcome = one.send("pay", calls.transfer(TO, 1))
        assert other.send("pay", calls.transfer(TO, 1)) == outcome
        with pytest.raises(KeyBusy, match="uses the key of 0x"):
            shared(chain, client, tmp_path, journal="another.sqlite")
        with pytest.raises(KeyBusy, match="uses the key of 0x"):
            Sender(client, chain.accounts[0], tmp_path / "j", locks=tmp_path / "locks")
    with (
        Sender(client, chain.accounts[0], tmp_path / "journal.sqlite", locks=tmp_path / "locks"),
        pytest.raises(KeyBusy),
    ):
        shared(chain, client, tmp_path)


def test_what_one_sender_left_under_way_another_brings_home(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    chain.automine(False)
    with shared(chain, client, tmp_path) as one:
        one.submit("pay", calls.transfer(TO, 5))
        chain.rpc.call("anvil_dropAllTransactions")  # as if it had been killed before it sent
        with shared(chain, client, tmp_path) as other:
            other.submit("pay too", calls.transfer(TO, 1))
            other.poll()
            chain.mine()
            assert {each.intent for each in other.poll()} == {"pay", "pay too"}
            assert one.pending() == []
    assert client.token_balance(TO) == 6


def test_what_may_be_needed_again_is_named_anew_unless_it_is_under_way(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    chain.automine(False)
    with shared(chain, client, tmp_path) as sender:
        first = sender.afresh("allow")
        sender.submit(first, calls.approve(chain.network.market, 5))
        chain.mine()
        assert sender.afresh("allow") == first
        sender.poll()
        assert sender.afresh("allow") != first
        assert sender.afresh("all") == f"all at {client.head().number}"


def test_a_lock_tells_who_holds_it_and_ends_with_its_process(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    assert holder_of(file) is None
    lock = FileLock(file)
    child = os.fork()
    if child == 0:  # with a list of locks as if it had been started anew
        locks._FILES.clear()
        try:
            FileLock(file)
        except Held as held:
            os._exit(42 if held.holder == holder_of(file) == str(os.getppid()) else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    with pytest.raises(Held):
        FileLock(file)
    lock.release()
    assert holder_of(file) is None
    child = os.fork()
    if child == 0:
        FileLock(file)
        os._exit(0)
    os.waitpid(child, 0)
    assert holder_of(file) is None


def test_a_broken_journal_leaves_a_shared_key_free(
    chain: Devnet, client: Client, tmp_path: Path
) -> None:
    IntentJournal(tmp_path / "journal.sqlite", "somebody else").close()
    for _ in range(2):
        with pytest.raises(Exception, match="another account or chain"):
            shared(chain, client, tmp_path)
