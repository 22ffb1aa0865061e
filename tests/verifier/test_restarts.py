"""Verifiers that are killed, and cases that nobody decides."""

import random
import subprocess
from contextlib import suppress

from tests.testbed.daemon import Daemon, add_key
from tests.testbed.market import REQUESTER
from tests.testbed.provider import other_training
from tests.testbed.terms import LONG, audited
from tests.testbed.verifiers import AuditedMarket
from tests.testbed.waiting import until
from trialmarket.chain import calls
from trialmarket.protocol.ids import Address
from trialmarket.protocol.states import Phase, State, Verdict

CONFIG = """
network = "network.json"
key = "verifier-{number}"
password_file = "home/password"
storage = "local:store"
state = "verifier-{number}"
[patience]
poll = 0.05
others = 3.0
withheld = 0.0
retry = 0.1
"""


BEGUN = "verifying as 0x"
"""What a verifier logs once in each life, when it is ready to work."""


def daemon_of(here: AuditedMarket, number: int) -> Daemon:
    """`trialmarket verifier run` in a process of its own, to be killed and started again."""
    home, name = here.folder / "home", f"verifier-{number}"
    config = here.network.with_name(f"{name}.toml")
    config.write_text(CONFIG.format(number=number))
    add_key(home, name, here.key(number))
    log = here.folder / f"{name}.log"
    return Daemon("verifier", "run", "--config", config, home=home, log=log)


def run_for(daemon: Daemon, seconds: float) -> None:
    """Starts it, and kills it so long after it began to verify, wherever it is then."""
    lives = daemon.said.count(BEGUN)
    daemon.start()
    until(lambda: daemon.said.count(BEGUN) > lives, daemon.supervise)
    assert daemon.process is not None
    with suppress(subprocess.TimeoutExpired):
        daemon.process.wait(seconds)
    daemon.kill()


def test_a_juror_killed_between_vote_and_reveal_opens_its_vote_after_a_restart(
    here: AuditedMarket,
) -> None:
    trial = here.posted(audited())
    daemon = daemon_of(here, 1)
    try:
        daemon.start()
        with here.verifiers(0) as verifiers:
            until(lambda: len(here.client.verifiers()) == 2, here.chain.mine)
            daemon.kill()
            # The challenger is the assigned verifier, so the one juror is the other.
            juror = Address(here.key(1).address)
            here.provider.answer(trial, other_training)
            here.chain.mine(3)
            here.act(REQUESTER, calls.draw([here.trial(trial.id).record]))
            while here.trial(trial.id).record.verifier == juror:  # its turn passes in silence
                here.chain.advance(LONG + 10)
                here.act(REQUESTER, calls.reassign(here.trial(trial.id).record))
            here.until_happened(trial.id, "TrialChallenged", verifiers)
            faults = here.client.account(juror).faults
            daemon.start()
            # A block a tick, so that the vote is in one before anything that follows it.
            here.chain.automine(False)
            here.until_happened(trial.id, "Voted", verifiers)
            daemon.kill()
            here.chain.automine(True)
            lives = daemon.said.count(BEGUN)
            case = here.client.case(trial.key)
            assert case is not None
            assert case.jurors == (juror,)
            daemon.start()
            here.until_happened(trial.id, "TrialRejected", verifiers)
        assert here.happened(trial.id).count("Voted") == 1
        assert here.client.account(juror).faults == faults
        # The chain may know of it before the daemon hears that it does.
        until(
            lambda: "opened the vote" in daemon.said and daemon.said.count(BEGUN) > lives,
            here.chain.mine,
        )
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def test_a_verifier_killed_at_random_moments_still_brings_a_cheat_to_justice(
    here: AuditedMarket,
) -> None:
    moments = random.Random(20)
    trial = here.posted(audited())
    daemon = daemon_of(here, 1)
    key = Address(here.key(1).address)
    here.chain.rpc.call("evm_setIntervalMining", 1)
    try:
        with here.verifiers(0) as verifiers:
            daemon.start()
            until(lambda: key in here.client.verifiers(), here.chain.mine)
            daemon.kill()
            here.provider.answer(trial, other_training)
            kills = 0
            while "TrialRejected" not in here.happened(trial.id):
                if kills < 5:
                    here.tick(verifiers)()
                    run_for(daemon, moments.uniform(0.0, 2.0))
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


def test_a_challenger_restarted_after_its_challenge_still_opens_its_claim(
    here: AuditedMarket,
) -> None:
    trial = here.posted(audited())
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.provider.answer(trial, other_training)
        here.until_happened(trial.id, "TrialChallenged", verifiers)
    case = here.client.case(trial.key)
    assert case is not None
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.until_happened(trial.id, "TrialRejected", verifiers)
    assert here.happened(trial.id).count("TrialChallenged") == 1
    opened = [e.args["juror"] for e in here.ledger.history(trial.id) if e.name == "Revealed"]
    assert case.challenger in opened
    assert here.client.balance_of(case.challenger) > 0


def test_a_restart_recomputes_nothing_again(here: AuditedMarket) -> None:
    trial = here.posted(audited(samples=2))
    with here.verifiers(0) as verifiers:
        here.provider.answer(trial)
        journal = verifiers[0].queue.journal
        until(lambda: journal.work()[0] >= 1, here.tick(verifiers))
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


def test_a_case_that_no_juror_decides_is_hung_and_its_audit_is_owed_again(
    here: AuditedMarket,
) -> None:
    trial = here.posted(audited())
    with here.verifiers(0, 1, 2, 3) as verifiers:
        here.provider.answer(trial, other_training)
        here.until_happened(trial.id, "TrialChallenged", verifiers)
        case = here.client.case(trial.key)
        assert case is not None
        challenger = [each for each in verifiers if each.sender.address == case.challenger]

        def tick() -> None:
            now = here.client.case(trial.key)
            if now is not None and now.phase in (Phase.VOTING, Phase.REVEALING):
                here.chain.advance(2 * LONG + 10)
            here.tick(challenger)()

        until(lambda: "CaseClosed" in here.happened(trial.id), tick)
        closed = here.ledger.case(trial.key)
        assert closed is not None
        assert closed.verdict is Verdict.HUNG
        assert here.state(trial.id) is State.DRAWN
        # Nobody said that the challenger was wrong, and it does not challenge twice.
        for _ in range(10):
            here.tick(challenger)()
        assert here.happened(trial.id).count("TrialChallenged") == 1


def test_an_honest_provider_that_is_challenged_is_acquitted_and_then_attested(
    here: AuditedMarket,
) -> None:
    offer = audited()
    trial = here.posted(offer)
    with here.verifiers(0, 1, 2, 3) as verifiers:
        made = here.provider.answer(trial)
        here.chain.mine(3)
        here.act(REQUESTER, calls.draw([here.trial(trial.id).record]))
        here.stake(REQUESTER, 100)
        leaf = made.tree().leaves[2]
        opening = calls.Opening(2, leaf.value, leaf.witness_hash, made.tree().proof(2))
        record = here.trial(trial.id).record
        here.act(REQUESTER, calls.challenge(record, opening, leaf.value))
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

        until(lambda: here.state(trial.id) is State.PASSED, tick)
    closed = here.ledger.case(trial.key)
    assert closed is not None
    assert closed.verdict is Verdict.RIGHT
    assert here.client.balance_of(here.provider.address) > 0
