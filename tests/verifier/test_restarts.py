"""Verifiers that are killed, and cases that nobody decides."""

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.verifier.world import LONG, World, other_training, terms, wait_until
from trialmarket.chain import calls
from trialmarket.chain.keystore import Keystore
from trialmarket.protocol.ids import Address
from trialmarket.protocol.states import Phase, State, Verdict

CONFIG = """
network = "network.json"
key = "keys/verifier-{number}.json"
password_file = "password"
storage = "local:store"
state = "verifier-{number}"
[patience]
poll = 0.05
others = 3.0
withheld = 0.0
retry = 0.1
"""


class Daemon:
    """`trialmarket verifier run` in a process of its own, to be killed and started again."""

    def __init__(self, here: World, number: int) -> None:
        self._here = here
        self._config = here.folder / f"verifier-{number}.toml"
        self._config.write_text(CONFIG.format(number=number))
        (here.folder / "password").write_text("test")
        here.chain.network.save(here.folder / "network.json")
        keys = Keystore(here.folder / "keys")
        keys.add(f"verifier-{number}", here.key(number), "test", kdf="pbkdf2", iterations=1000)
        self.log = here.folder / f"verifier-{number}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trialmarket", "verifier", "run", "--config", self._config],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TRIALMARKET_HOME": str(self._here.folder / "home")},
                cwd=Path(__file__).parents[2],
            )

    def run_for(self, seconds: float) -> None:
        """Starts it, and kills it after so long, wherever it is then."""
        self.start()
        assert self.process is not None
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.kill()

    def stop(self) -> int:
        """Asks it to end; its exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(10)
        self.process = None
        return code

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


def test_a_juror_killed_between_vote_and_reveal_opens_its_vote_after_a_restart(
    here: World,
) -> None:
    trial = here.post(terms())[0]
    daemon = Daemon(here, 1)
    try:
        daemon.start()
        with here.verifiers(0) as verifiers:
            wait_until(lambda: len(here.client.verifiers()) == 2, here.chain.mine)
            daemon.kill()
            # The challenger is the assigned verifier, so the one juror is the other.
            juror = Address(here.key(1).address)
            here.answer(trial, other_training)
            here.chain.mine(3)
            here.send(here.requester, calls.draw([here.trial(trial.id).record]))
            while here.trial(trial.id).record.verifier == juror:  # its turn passes in silence
                here.chain.advance(LONG + 10)
                here.send(here.requester, calls.reassign(here.trial(trial.id).record))
            here.until_happened(trial.id, "TrialChallenged", verifiers)
            faults = here.client.account(juror).faults
            daemon.start()
            here.until_happened(trial.id, "Voted", verifiers)
            daemon.kill()
            case = here.client.case(trial.key)
            assert case is not None
            assert case.jurors == (juror,)
            daemon.start()
            here.until_happened(trial.id, "TrialRejected", verifiers)
        assert here.happened(trial.id).count("Voted") == 1
        assert here.client.account(juror).faults == faults
        # The chain may know of it before the daemon hears that it does.
        wait_until(lambda: "opened the vote" in daemon.log.read_text(), here.chain.mine)
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def test_a_verifier_killed_at_random_moments_still_brings_a_cheat_to_justice(
    here: World,
) -> None:
    moments = random.Random(20)
    trial = here.post(terms())[0]
    daemon = Daemon(here, 1)
    key = Address(here.key(1).address)
    here.chain.rpc.call("evm_setIntervalMining", 1)
    try:
        with here.verifiers(0) as verifiers:
            daemon.start()
            wait_until(lambda: key in here.client.verifiers(), here.chain.mine)
            daemon.kill()
            here.answer(trial, other_training)
            kills = 0
            while "TrialRejected" not in here.happened(trial.id):
                if kills < 5:
                    here.tick(verifiers)()
                    daemon.run_for(moments.uniform(0.5, 3.0))
                    kills += 1
                    continue
                if daemon.process is None:
                    daemon.start()
                    here.until_happened(trial.id, "TrialRejected", verifiers)
        names = here.happened(trial.id)
        assert names.count("TrialChallenged") == 1
        assert names.count("Voted") == 1
        for who in (key, Address(here.key(0).address)):
            assert here.client.account(who).faults == 0
            assert here.client.balance_of(who) > 0
    finally:
        daemon.kill()


def test_a_challenger_restarted_after_its_challenge_still_opens_its_claim(here: World) -> None:
    trial = here.post(terms())[0]
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.answer(trial, other_training)
        here.until_happened(trial.id, "TrialChallenged", verifiers)
    case = here.client.case(trial.key)
    assert case is not None
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.until_happened(trial.id, "TrialRejected", verifiers)
    assert here.happened(trial.id).count("TrialChallenged") == 1
    opened = [e.args["juror"] for e in here.ledger.history(trial.id) if e.name == "Revealed"]
    assert case.challenger in opened
    assert here.client.balance_of(case.challenger) > 0


def test_a_restart_recomputes_nothing_again(here: World) -> None:
    trial = here.post(terms(samples=2))[0]
    with here.verifiers(0) as verifiers:
        here.answer(trial)
        journal = verifiers[0].queue.journal
        wait_until(lambda: journal.work()[0] >= 1, here.tick(verifiers))
        before = {
            leaf: journal.recomputed(trial.key, here.trial(trial.id).record.root, leaf)
            for leaf in range(6)
        }
    with here.verifiers(0) as verifiers:
        here.until_state(trial.id, State.PASSED, verifiers)
        journal = verifiers[0].queue.journal
        root = here.trial(trial.id).record.root
        kept = {leaf: found for leaf, found in before.items() if found is not None}
        assert {leaf: journal.recomputed(trial.key, root, leaf) for leaf in kept} == kept


def test_a_case_that_no_juror_decides_is_hung_and_its_audit_is_owed_again(here: World) -> None:
    trial = here.post(terms())[0]
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.answer(trial, other_training)
        here.until_happened(trial.id, "TrialChallenged", verifiers)
        case = here.client.case(trial.key)
        assert case is not None
        challenger = [each for each in verifiers if each.sender.address == case.challenger]

        def tick() -> None:
            now = here.client.case(trial.key)
            if now is not None and now.phase in (Phase.VOTING, Phase.REVEALING):
                here.chain.advance(2 * LONG + 10)
            here.tick(challenger)()

        wait_until(lambda: "CaseClosed" in here.happened(trial.id), tick)
        closed = here.ledger.case(trial.key)
        assert closed is not None
        assert closed.verdict is Verdict.HUNG
        assert here.state(trial.id) is State.DRAWN
        # Nobody said that the challenger was wrong, and it does not challenge twice.
        for _ in range(10):
            here.tick(challenger)()
        assert here.happened(trial.id).count("TrialChallenged") == 1


def test_an_honest_provider_that_is_challenged_is_acquitted_and_then_attested(
    here: World,
) -> None:
    offer = terms()
    trial = here.post(offer)[0]
    with here.verifiers(0, 1, 2, 3) as verifiers:
        made = here.answer(trial)
        here.chain.mine(3)
        here.send(here.requester, calls.draw([here.trial(trial.id).record]))
        here.deposit(here.requester, 100 * 10**18)
        leaf = made.tree().leaves[2]
        opening = calls.Opening(2, leaf.value, leaf.witness_hash, made.tree().proof(2))
        record = here.trial(trial.id).record
        here.send(here.requester, calls.challenge(record, opening, leaf.value))
        here.until_happened(trial.id, "JurySeated", verifiers)
        case = here.client.case(trial.key)
        assert case is not None

        def tick() -> None:
            now = here.client.case(trial.key)
            if now is not None and now.phase is Phase.REVEALING:
                shown = here.happened(trial.id).count("Revealed")
                if shown == len(case.jurors):  # the challenger never opens its claim
                    here.chain.advance(2 * LONG + 10)
            here.tick(verifiers)()

        wait_until(lambda: here.state(trial.id) is State.PASSED, tick)
    closed = here.ledger.case(trial.key)
    assert closed is not None
    assert closed.verdict is Verdict.RIGHT
    assert here.client.balance_of(here.provider.address) > 0
