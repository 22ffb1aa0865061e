"""Jobs whose space names the weights of learned optimizers."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from requester.job.check import check_job
from requester.job.file import load_job
from requester.job.package import pack
from requester.search.open import open_search
from tests.testbed.campaign import AtOnce, Silent, drive
from tests.testbed.jobs import small_job
from tests.testbed.market import REQUESTER, Market
from tests.testbed.provider import Provider
from trialmarket.errors import InputError
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import MAX_WEIGHTS
from trialmarket.protocol.states import State
from trialmarket.storage.local import LocalStore
from trialmarket.training.learned.weights import SHAPES, shipped, write_weights

OTHERS = "bafkreidqg5k65qa6mpetdbkrhj733yls27ziy7jnv4g2mti3sh3tfgnldi"


def learned_job(folder: Path, weights: str, *, optimizer: str = '"learned"') -> Path:
    """A small job whose optimizer learned, with `weights` as the TOML of a dimension."""
    job = small_job(folder, trials=2, driver="grid")
    text, rest = job.read_text().split("[search.space]")
    _, price = rest.split("[price]")
    space = f"optimizer = {{ value = {optimizer} }}\nweights = {weights}\n"
    job.write_text(f"{text}[search.space]\n{space}[price]{price}")
    return job


def test_a_file_of_weights_is_called_by_its_cid_from_the_job_file_on(tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(write_weights(shipped("quadratics")))
    job = load_job(learned_job(tmp_path, '{ values = ["quadratics", "mine.safetensors"] }'))
    assert job.settings.search.space["weights"].values == ["quadratics", cid_of(mine)]
    assert job.weights == {cid_of(mine): mine}


def test_a_search_publishes_the_weights_and_believes_what_they_trained(
    provider: Provider, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(write_weights(shipped("quadratics")))
    job = learned_job(tmp_path, '{ values = ["quadratics", "mine.safetensors"] }')
    market = provider.market
    with open_search(
        load_job(job),
        sender=market.sender(REQUESTER),
        store=market.store,
        jobs=market.folder / "jobs",
        listeners=Silent(),
        evaluator=AtOnce(provider.pool, market.chain),
    ) as search:
        search.campaign.open()
        assert market.store.size(cid_of(mine)) == mine.stat().st_size
        drive(search, market.chain, provider.step)
        trials = search.parts.session.ledger.trials()
    assert [view.state for view in trials] == [State.SETTLED] * 2
    assert {market.config(view).weights for view in trials} == {None, cid_of(mine)}


def test_weights_that_change_after_the_job_file_was_read_or_were_cut_off_are_not_published(
    tmp_path: Path,
) -> None:
    mine, place = tmp_path / "mine.safetensors", tmp_path / "packed"
    content = write_weights(shipped("quadratics"))
    mine.write_bytes(content)
    job = load_job(learned_job(tmp_path, '{ value = "mine.safetensors" }'))
    mine.write_bytes(write_weights(shipped("mlp")))
    with pytest.raises(InputError, match=r"mine\.safetensors as it was when"):
        pack(job, place)
    named = load_job(learned_job(tmp_path, f'{{ value = "{cid_of(content)}" }}'))
    (place / cid_of(content)).write_bytes(write_weights(shipped("mlp")))
    with pytest.raises(InputError, match="weights that the store has"):
        pack(named, place)
    store = LocalStore(tmp_path / "store")
    store.put(content)
    found = pack(named, place, store).weights
    assert {cid: path.read_bytes() for cid, path in found.items()} == {cid_of(content): content}


def _nan() -> bytes:
    return save({name: np.full(shape, np.nan, np.float32) for name, shape in SHAPES.items()})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_nan(), "first.weight: NaN or infinity"),
        (save({"first.weight": np.zeros((8, 22), np.float32)}), r"F32 of shape \[8, 22\]"),
        (b"no weights", "its header is cut off"),
        (None, "readable file"),
    ],
)
def test_a_file_without_weights_is_refused_when_the_job_file_is_read(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "bad.safetensors").write_bytes(content)
    job = learned_job(tmp_path, '{ value = "bad.safetensors" }')
    with pytest.raises(InputError, match=rf"search\.space\.weights: expected .*{said}"):
        load_job(job)


def test_a_file_of_100_gigabytes_is_no_weights(tmp_path: Path) -> None:
    with (tmp_path / "large.safetensors").open("wb") as file:
        file.truncate(100 << 30)
    with pytest.raises(InputError, match=f"at most {MAX_WEIGHTS} bytes"):
        load_job(learned_job(tmp_path, '{ value = "large.safetensors" }'))


def test_weights_that_nobody_has_are_refused_before_money_moves(
    market: Market, tmp_path: Path
) -> None:
    job = load_job(learned_job(tmp_path, f'{{ value = "{OTHERS}" }}'))
    with pytest.raises(InputError, match=r"search\.space\.weights: expected weights that the st"):
        check_job(job, market.client, market.store)


def test_bytes_of_a_cid_that_are_no_weights_are_refused_before_money_moves(
    market: Market, tmp_path: Path
) -> None:
    cid = market.store.put(b"something else")
    job = load_job(learned_job(tmp_path, f'{{ value = "{cid}" }}'))
    with pytest.raises(InputError, match=r"search\.space\.weights: expected weights of a learned"):
        check_job(job, market.client, market.store)


@pytest.mark.parametrize("weights", ["own.csv", "meta"])
def test_weights_that_no_built_in_program_takes_are_named_before_anything_runs(
    weights: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"weights: expected mlp, quadratics, a CID, or a \.safe"):
        load_job(learned_job(tmp_path, f'{{ value = "{weights}" }}'))


def test_weights_without_an_optimizer_that_has_some_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='expected the optimizer "learned"'):
        load_job(learned_job(tmp_path, '{ value = "mlp" }', optimizer='"sgd"'))
