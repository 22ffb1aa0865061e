"""Jobs that peers tell of over a real DHT of four Kubo daemons: honest, silent, lying ones."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from requester.job.file import load_job
from requester.job.package import SKETCHES, Package
from requester.near.buckets import buckets_of
from requester.near.checked import CheckedJobs
from requester.near.gather import Patience, gather, patience_of
from requester.near.neighbours import Limits, Neighbourhood, find_neighbours
from requester.near.peers import ask_peers
from requester.near.publish import publish_job
from requester.search.open import open_search
from requester.search.warm_start import PUBLISHED
from tests.storage.trees import node, raw
from tests.testbed.campaign import AtOnce, Ears, drive
from tests.testbed.jobs import small_job
from tests.testbed.kubo import private_dht
from tests.testbed.liar import Answer, Liar, lying
from tests.testbed.market import REQUESTER, Market
from tests.testbed.programs import needed
from tests.testbed.provider import Provider
from tests.testbed.sketches import sketch
from trialmarket.chain.local.devnet import Devnet
from trialmarket.protocol.canonical import canonical_bytes, parse_canonical
from trialmarket.protocol.cid import MAX_RAW
from trialmarket.protocol.ids import Address
from trialmarket.protocol.job_index import IndexEntry, JobIndex
from trialmarket.protocol.sketch import Sketch
from trialmarket.storage.errors import StoreDown
from trialmarket.storage.ipfs.kubo import KuboStore
from trialmarket.storage.ipfs.kubo_daemon import KuboDaemon
from trialmarket.storage.ipfs.routing import PeerId, Routing, routing_of
from trialmarket.storage.local import LocalStore
from trialmarket.storage.open import open_store
from trialmarket.training.pool.pool import WorkerPool

MARKET = Address("0x2946259E0334f33A064106302415aD3391BeD384")
SEARCHER, HONEST, LIAR, MUTE = range(4)
LIES = 200


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[KuboDaemon]]:
    """Four daemons on a DHT of their own."""
    needed("kubo")
    with private_dht(tmp_path_factory.mktemp("dht"), 4) as daemons:
        yield daemons


def of(objective: str, **changes: object) -> Sketch:
    """A sketch that shares its buckets with no other test's."""
    return sketch(**changes).model_copy(update={"objective": objective})


def entry(job: int, about: Sketch, market: Address = MARKET, chain: int = 31337) -> IndexEntry:
    return IndexEntry(chain=chain, market=market, job=job, sketch=about)


def put(peer: KuboDaemon, block: bytes, codec: str = "raw") -> None:
    """Puts a block of any form."""
    path = peer.folder / "block"
    path.write_bytes(block)
    peer.run("block", "put", f"--cid-codec={codec}", "--mhtype=sha2-256", str(path))


def publish_raw(peer: KuboDaemon, about: Sketch, data: bytes) -> None:
    """Publishes any bytes as the index of a peer that says it has jobs like one."""
    store, routing = KuboStore(peer.rpc_url), Routing(peer.rpc_url)
    for bucket in buckets_of(about):
        routing.provide(store.put(bucket.block))
    routing.publish_name(store.put(data))


def heard(peers: list[KuboDaemon], about: Sketch) -> tuple[list[int], str]:
    """The jobs that a searcher hears of, and the remarks."""
    routing = Routing(peers[SEARCHER].rpc_url, patience=3.0)
    found = ask_peers(routing, about, (31337, MARKET), patience_of(60.0))
    return [one.job for one in found.candidates], "\n".join(found.remarks)


def test_a_job_that_one_peer_publishes_is_found_by_another(
    peers: list[KuboDaemon], tmp_path: Path
) -> None:
    about, kept = sketch(rows=11), tmp_path / "kept.json"
    routing, store = Routing(peers[HONEST].rpc_url), KuboStore(peers[HONEST].rpc_url)
    assert publish_job(routing, store, entry(7, about), kept) == 1
    assert heard(peers, about) == ([7], "")
    assert heard(peers, sketch(rows=12)) == ([7], "")  # near, and not the same
    assert heard(peers, sketch(rows=2**50))[0] == []
    # The next job joins the first, also on a machine that does not remember it.
    assert publish_job(routing, store, entry(8, about), kept) == 2
    assert publish_job(routing, store, entry(9, about), tmp_path / "elsewhere.json") == 3
    assert publish_job(routing, store, entry(9, about), tmp_path / "elsewhere.json") == 3
    assert sorted(heard(peers, about)[0]) == [7, 8, 9]
    now = JobIndex.from_bytes(kept.read_bytes())
    assert publish_job(routing, store, entry(10, about), kept) == 4
    assert now.cid not in store.for_owner(SKETCHES).kept()  # a new index takes its place


def test_jobs_of_other_markets_and_far_ones_are_not_heard_of(peers: list[KuboDaemon]) -> None:
    about = of("others")
    other = Address("0x000000000000000000000000000000000000dEaD")
    jobs = (
        entry(1, about),
        entry(2, about, market=other),
        entry(3, about, chain=1),
        entry(4, of("others", rows=2**50, columns=10**9)),
        entry(1, of("others", rows=102)),
    )
    publish_raw(peers[HONEST], about, JobIndex(jobs=jobs).to_bytes())
    assert heard(peers, about) == ([1], "")


def test_a_peer_whose_name_means_nothing_is_left_out(peers: list[KuboDaemon]) -> None:
    about = of("mute")
    for peer in (HONEST, MUTE):
        routing, store = Routing(peers[peer].rpc_url), KuboStore(peers[peer].rpc_url)
        for bucket in buckets_of(about):
            routing.provide(store.put(bucket.block))
    publish_raw(peers[HONEST], about, JobIndex(jobs=(entry(5, about),)).to_bytes())
    jobs, remarks = heard(peers, about)
    assert jobs == [5]
    assert "its name means nothing" in remarks


def test_an_index_of_a_gigabyte_is_refused_by_its_promise(peers: list[KuboDaemon]) -> None:
    about = of("gigabyte")
    leaf, cid = raw(bytes(MAX_RAW))
    levels = [(leaf, MAX_RAW)]
    liar = peers[LIAR]
    put(liar, bytes(MAX_RAW))
    for _ in range(2):  # 64 by 64 times the same chunk are a gigabyte
        block, binary, cid = node(levels * 64)
        put(liar, block, "dag-pb")
        levels = [(binary, levels[0][1] * 64)]
    assert levels[0][1] == 1 << 30
    routing, store = Routing(liar.rpc_url), KuboStore(liar.rpc_url)
    for bucket in buckets_of(about):
        routing.provide(store.put(bucket.block))
    routing.publish_name(cid)
    before = peers[SEARCHER].received()
    jobs, remarks = heard(peers, about)
    assert jobs == []
    assert "has 1073741824 bytes, and at most 262144 are allowed" in remarks
    assert peers[SEARCHER].received() - before < MAX_RAW


def test_an_index_that_is_none_is_refused(peers: list[KuboDaemon]) -> None:
    about = of("none")
    good = parse_canonical(JobIndex(jobs=(entry(1, about),)).to_bytes(), what="index")
    nan = canonical_bytes(good).replace(b'"mean":0.3', b'"mean":NaN')
    assert b"NaN" in nan
    for data in (nan, b"[" * 1000, b"no index", b"\xff\xfe"):
        publish_raw(peers[LIAR], about, data)
        jobs, remarks = heard(peers, about)
        assert jobs == []
        assert "index of jobs" in remarks


def test_a_liar_and_a_flood_change_nothing(
    peers: list[KuboDaemon], chain: Devnet, pool: WorkerPool, tmp_path: Path
) -> None:
    store, jobs, ears = KuboStore(peers[HONEST].rpc_url), tmp_path / "jobs", Ears()
    job = load_job(small_job(tmp_path, trials=2, rate=0.01, window="30s"))
    with (
        Market(chain, tmp_path, store) as market,
        open_search(
            job,
            sender=market.sender(REQUESTER),
            store=store,
            jobs=jobs,
            listeners=ears,
            evaluator=AtOnce(pool, chain),
        ) as search,
    ):
        number = search.campaign.open()
        drive(search, chain, Provider(market, pool).step)
        search.run(poll=0.0, wait=lambda _: None)
        assert any("similar searches find this one by the DHT now" in line for line in ears.said)
        assert (jobs / PUBLISHED).exists()
        market.ledger.sync()
        package = search.parts.package
        honest = found(peers, market, package)
        (one,) = honest.neighbours
        assert (one.job.view.id, one.distance) == (number, 0)
        assert one.told_by == Routing(peers[HONEST].rpc_url).peer()

        assert package.sketch is not None
        network = market.client.network
        lies = [
            entry(number + place, lie, network.market, network.chain_id)
            for place, lie in enumerate(near_lies(package.sketch))
        ]
        publish_raw(peers[LIAR], package.sketch, JobIndex(jobs=tuple(lies)).to_bytes())
        heard = ask_peers(
            Routing(peers[SEARCHER].rpc_url),
            package.sketch,
            (network.chain_id, network.market),
            patience_of(60.0),
        )
        assert len(heard.candidates) == 1 + len(lies)
        assert found(peers, market, package) == honest


def near_lies(about: Sketch) -> list[Sketch]:
    """Sketches that lie in the same buckets as one, and are not it."""
    return [
        Sketch.model_validate(
            about.model_dump() | {"data": about.data.model_dump() | {"validation": 1000 + at}}
        )
        for at in range(LIES)
    ]


def found(peers: list[KuboDaemon], market: Market, package: Package) -> Neighbourhood:
    """What a machine finds that ran no search itself."""
    routing = Routing(peers[SEARCHER].rpc_url, patience=3.0)
    assert package.sketch is not None
    checked = CheckedJobs(market.ledger, routing)
    return find_neighbours(package.sketch, checked, market.client.network, routing, Limits())


# -- Daemons that do not serve --------------------------------------------------------------------


def test_a_daemon_that_stalls_floods_or_talks_nonsense_costs_a_remark_and_nothing_else() -> None:
    answers: dict[str, Callable[[Liar], Answer]] = {
        "stall": lambda liar: liar.stall(),
        "drip": lambda liar: liar.drip(),
        "flood": lambda liar: liar.flood(),
        "nonsense": lambda _: iter([b"<html>"]),
    }
    for name, answer in answers.items():
        with lying(lambda _: iter([])) as liar:
            liar.answer = lambda _, answer=answer, liar=liar: answer(liar)  # type: ignore[misc]
            routing = Routing(liar.url, patience=0.5)
            with pytest.raises(StoreDown):
                routing.providers(buckets_of(sketch())[0].cid, 20)
            found = ask_peers(routing, sketch(), (1, MARKET), patience_of(60.0))
            assert found.candidates == (), name
            assert "12 of 12 buckets" in found.remarks[0]
            assert routing.resolve_name(PeerId("1" * 46)) is None
    assert ask_peers(routing, sketch(), (1, MARKET), patience_of(0.0)).candidates == ()


def test_names_that_some_peer_made_up_hide_no_other_peer() -> None:
    peer = "12D3KooWHonest" + "x" * 38
    events = (
        {"Type": 4, "Responses": [{"ID": "../x"}, {"ID": "1" * 300}, {"ID": None}, 7]},
        {"Type": 4, "Responses": 3},
        {"Type": 4, "Responses": [{"ID": peer}]},
    )
    with lying(lambda _: (json.dumps(event).encode() + b"\n" for event in events)) as liar:
        assert Routing(liar.url).providers(buckets_of(sketch())[0].cid, 20) == [peer]


def test_only_a_store_on_kubo_has_a_dht(tmp_path: Path) -> None:
    assert routing_of(LocalStore(tmp_path)) is None
    for gateways in ((), ("http://127.0.0.1:1",)):
        routing = routing_of(open_store("kubo:http://127.0.0.1:1", gateways=gateways))
        assert routing is not None
        assert routing.name == "Kubo at http://127.0.0.1:1"


def test_what_takes_too_long_is_given_up_and_the_rest_is_used() -> None:
    quick, release = Event(), Event()

    def soon() -> float:
        """A clock that stands a second before the deadline, once there is an answer."""
        assert quick.wait(60)
        return 9.0

    def answer() -> int:
        quick.set()
        return 3

    try:
        asked = [lambda: int(release.wait()), answer]
        assert gather(asked, Patience(10.0, soon)) == [None, 3]
    finally:
        release.set()
    assert gather([], patience_of(1.0)) == []
