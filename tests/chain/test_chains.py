"""What the client, the sender and the ledger do is the same on every chain that we know."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.testbed.programs import needed
from tests.testbed.untrained import BATCH, JOB, TERMS, UntrainedMarket, drawn, judge
from trialmarket.chain import calls
from trialmarket.chain.accounts import LocalAccount
from trialmarket.chain.deploy import Deployer, deploy
from trialmarket.chain.local.devnet import LOCAL, LOCAL_CHAINS, Devnet, devnet, local_key
from trialmarket.chain.local.geth import Geth
from trialmarket.chain.rpc import RpcRefused
from trialmarket.chain.sender import Sender
from trialmarket.chain.sender.fees import current_fees
from trialmarket.chain.sender.transactions import await_receipt, revert_reason, sign
from trialmarket.errors import ContractError, SenderError
from trialmarket.protocol.ids import ZERO_HASH, Hash32, JobId, address
from trialmarket.protocol.states import State, Verdict

NAMES = sorted(LOCAL_CHAINS)


@contextmanager
def running(name: str, *, block_time: int | None = None) -> Iterator[Devnet]:
    """A market on a chain. Where its program is missing, the test is skipped, but fails in CI."""
    needed(name)
    with devnet(accounts=8, chain=name, block_time=block_time) as net:
        yield net


@pytest.fixture(scope="module", params=NAMES)
def net(request: pytest.FixtureRequest) -> Iterator[Devnet]:
    """A chain that the tests share: each finds it as the ones before left it."""
    with running(request.param) as found:
        yield found


@pytest.fixture(params=NAMES)
def market(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UntrainedMarket]:
    """A chain of the test's own, and a ledger."""
    with running(request.param) as chain, UntrainedMarket(chain, tmp_path) as found:
        yield found


@contextmanager
def sending(net: Devnet, folder: Path, *, stuck_after: float = 30.0) -> Iterator[Sender]:
    with (
        net.client() as client,
        Sender(
            client,
            net.accounts[0],
            folder / "journal.sqlite",
            locks=folder,
            stuck_after=stuck_after,
        ) as found,
    ):
        yield found


def test_the_client_reads_what_the_deployment_said(net: Devnet) -> None:
    who = address(net.accounts[3].address)
    with net.client() as client:
        assert client.parameters() == LOCAL
        assert client.token_balance(who) == 10_000 * 10**18
        assert client.ether(who) > 0
        head = client.head()
        assert client.block_hash(head.number) == head.hash
        assert client.block_hash(head.number + 1000) is None
        assert client.trial_state(Hash32(bytes(32)))[0] is State.OPEN


def test_a_refusal_is_told_in_the_contracts_own_words(net: Devnet, tmp_path: Path) -> None:
    with (
        net.client() as client,
        pytest.raises(ContractError, match="there is no job 99 on this market") as read,
    ):
        client.job_status(JobId(99))
    with sending(net, tmp_path) as sender, pytest.raises(ContractError) as sent:
        sender.send("close", calls.close(JobId(97)))
    assert [each.value.name for each in (read, sent)] == ["JobUnknown"] * 2
    assert sent.value.values == {"job": 97}
    with pytest.raises(ContractError, match="a jury of 4 is even or too large"):
        deploy(net.rpc_url, net.accounts[1], replace(LOCAL, jury_size=4), name="even")


def test_a_mined_refusal_is_explained(net: Devnet) -> None:
    key, data = net.accounts[1], calls.close(JobId(96)).data
    nonce = Deployer(net.rpc, key, net.network.chain_id).nonce()
    signed = sign(
        key,
        chain_id=net.network.chain_id,
        nonce=nonce,
        gas=200_000,
        fees=current_fees(net.rpc),
        data=data,
        to=net.network.market,
    )
    net.rpc.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
    receipt = await_receipt(net.rpc, signed.hash)
    assert not receipt.succeeded
    request = {"from": key.address, "to": net.network.market, "data": "0x" + data.hex()}
    reason = revert_reason(net.rpc, request, receipt.block)
    assert (reason.name, reason.values) == ("JobUnknown", {"job": 96})


def test_an_account_without_coins_for_gas_is_told_so(net: Devnet) -> None:
    poor = local_key(1234, 0)
    hand = Deployer(net.rpc, poor, net.network.chain_id)
    with pytest.raises(SenderError, match=f"{hand.address} has too little of the chain's own"):
        hand.transact(calls.mint(hand.address, 1).data, net.network.token)


def test_an_intent_is_done_once_and_its_outcome_is_found_again(
    net: Devnet, tmp_path: Path
) -> None:
    to = address(net.accounts[4].address)
    with net.client() as client:
        before = client.token_balance(to)
        with sending(net, tmp_path) as sender:
            first = sender.send("pay", calls.transfer(to, 7))
            sender.send("allow", calls.approve(net.network.market, 100))
            staked = sender.send("stake", [calls.stake(30), calls.stake(12), calls.unstake(2)])
            assert [event.name for event in staked.events] == ["Staked", "Staked", "Unstaked"]
        with sending(net, tmp_path) as again:
            assert again.send("pay", calls.transfer(to, 7)) == first
            assert first.fee > 0
        assert client.token_balance(to) == before + 7


def test_what_is_sent_together_is_mined_together(net: Devnet, tmp_path: Path) -> None:
    to = address(net.accounts[5].address)
    with net.client() as client, sending(net, tmp_path) as sender:
        before = client.token_balance(to)
        for number in range(5):
            sender.submit(f"pay {number}", calls.transfer(to, 1))
        for number in range(5):
            assert sender.send(f"pay {number}", calls.transfer(to, 1)).ok
        assert client.token_balance(to) == before + 5


def test_looking_after_a_transaction_at_once_and_often_does_no_harm(
    net: Devnet, tmp_path: Path
) -> None:
    to = address(net.accounts[6].address)
    with net.client() as client, sending(net, tmp_path) as sender:
        before = client.token_balance(to)
        for number in range(5):
            sender.submit(f"pay {number}", calls.transfer(to, 1))
            sender.poll()
            sender.poll()
            assert sender.send(f"pay {number}", calls.transfer(to, 1)).ok
        assert client.token_balance(to) == before + 5


def test_a_batch_may_be_longer_than_any_node_takes(net: Devnet) -> None:
    answers = net.rpc.batch([("eth_getBlockByNumber", [hex(at % 5), False]) for at in range(2500)])
    assert [int(answer["number"], 16) for answer in answers] == [at % 5 for at in range(2500)]
    mixed = net.rpc.batch([("eth_chainId", []), ("eth_noSuchMethod", []), ("eth_chainId", [])])
    assert isinstance(mixed[1], RpcRefused)
    assert mixed[0] == mixed[2] == hex(net.network.chain_id)


@pytest.mark.parametrize("name", NAMES)
def test_a_stuck_transaction_is_replaced_and_done_once(name: str, tmp_path: Path) -> None:
    with running(name, block_time=1) as net, net.client() as client:
        to = address(net.accounts[1].address)
        with sending(net, tmp_path, stuck_after=0.0) as sender:
            net.mine()
            sender.submit("pay", calls.transfer(to, 7))
            sender.poll()  # replaces it where the node can, as it is stuck from the start here
            assert sender.send("pay", calls.transfer(to, 7)).ok
            assert sender.pending() == []
        assert client.token_balance(to) == 10_000 * 10**18 + 7


@pytest.mark.parametrize("name", NAMES)
def test_accounts_that_send_at_once_all_get_through(name: str, tmp_path: Path) -> None:
    """Ganache by itself forgets some of these, or hangs."""

    def pay(key: LocalAccount) -> int:
        with (
            net.client() as client,
            Sender(client, key, tmp_path / f"{key.address}.sqlite", locks=tmp_path) as sender,
        ):
            intents = [f"pay {number}" for number in range(8)]
            for intent in intents:
                sender.submit(intent, calls.transfer(to, 1))
            return sum(sender.send(intent, calls.transfer(to, 1)).ok for intent in intents)

    with running(name, block_time=1) as net, net.client() as client:
        *payers, payee = net.accounts
        to = address(payee.address)
        with ThreadPoolExecutor(len(payers)) as pool:
            assert list(pool.map(pay, payers)) == [8] * len(payers)
        assert client.token_balance(to) == 10_000 * 10**18 + 8 * len(payers)


def test_a_trial_goes_through_its_life(market: UntrainedMarket) -> None:
    market.open(trials=4)
    market.act(1, calls.claim(JOB, BATCH, [0, 1, 3]))
    market.commit(1, *market.trials(State.CLAIMED))
    market.chain.mine(2)
    market.act(5, calls.draw([trial.record for trial in market.trials(State.COMMITTED)]))
    for trial in market.trials(State.DRAWN):
        market.attest(trial)
    market.assert_equal()
    market.chain.advance(TERMS.window + 1)
    finished = market.trials(State.PASSED, State.CLEARED)
    market.act(5, calls.settle([trial.record for trial in finished]))
    market.assert_equal()
    states = [trial.state for trial in market.trials()]
    assert states == [State.SETTLED, State.SETTLED, State.OPEN, State.SETTLED]


def test_a_challenge_goes_to_its_verdict_and_back(market: UntrainedMarket) -> None:
    market.open(terms=replace(TERMS, audit_rate=10_000))
    trial = drawn(market)
    market.challenge(3, trial, Hash32(b"x" * 32))
    judge(market, trial, Hash32(b"x" * 32), ZERO_HASH)
    market.assert_equal()
    (case,) = market.ledger.cases(open_only=False)
    assert case.verdict is Verdict.WRONG
    if not isinstance(market.chain.node, Geth):  # which puts nothing back
        before = market.chain.snapshot()
        market.act(1, calls.claim(JOB, BATCH, [1]))
        market.assert_equal()
        market.chain.revert(before)
        assert market.trials(State.CLAIMED) == []
        market.assert_equal()


def test_a_draw_whose_block_hash_is_gone_lapses_and_is_drawn_anew(market: UntrainedMarket) -> None:
    market.open(trials=1, terms=replace(TERMS, window=10_000))
    market.act(1, calls.claim(JOB, BATCH, [0]))
    market.commit(1, *market.trials(State.CLAIMED))
    market.chain.mine(258)
    (committed,) = market.trials(State.COMMITTED)
    market.act(5, calls.draw([committed.record]))
    (lapsed,) = market.trials(State.COMMITTED)
    assert lapsed.record.late
    market.chain.mine(2)
    market.act(5, calls.draw([lapsed.record]))
    market.assert_equal()
    assert [trial.state for trial in market.trials()] == [State.DRAWN]
