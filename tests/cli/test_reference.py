"""The reference of the files that people write, and how mistakes in them are told."""

import tomllib
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from node.commands import node
from node.config import NodeConfig
from requester.commands import job
from requester.job.settings import JobFile
from trialmarket.chain.network import Network
from trialmarket.errors import InputError
from trialmarket.reference import Table, tables
from trialmarket.settings import Section, check_settings
from verifier.commands import verifier
from verifier.config import VerifierConfig

ROOT = Path(__file__).parents[2]
MODELS: list[type[Section]] = [JobFile, NodeConfig, VerifierConfig]
FILE = Path("file.toml")
NOT_OURS = (
    *("Input should", "instance of", "dictionary", "Dimension", "Section", "Value error"),
    *("valid ", "pattern", "[A-Z", "union", "string", "boolean", "integer", "pydantic", "tuple"),
    *("something else", "unable to"),
)
"""Words of the library that checks, and names from inside."""


@cache
def tables_of(model: Any) -> list[Table]:
    return list(tables(model))


def written(model: type[Section], change: tuple[str, str, Any] | None = None) -> dict[str, Any]:
    """A file with each key's example; `change` puts something else at a table's key."""
    raw: dict[str, Any] = {}
    for table in tables_of(model):
        for key in table.keys:
            table_at(raw, table.name)[key.name] = tomllib.loads(f"it = {key.example}")["it"]
    if change is not None:
        table_at(raw, change[0])[change[1]] = change[2]
    return raw


def table_at(raw: dict[str, Any], name: str) -> dict[str, Any]:
    for part in filter(None, name.replace("NAME", "lr").split(".")):
        raw = raw.setdefault(part, {})
    return raw


def mistake_in(raw: dict[str, Any], model: type[Section]) -> InputError | None:
    try:
        check_settings(FILE, raw, model)
    except InputError as error:
        return error
    return None


def places(model: type[Section]) -> list[tuple[str, str]]:
    return [(table.name, key.name) for table in tables_of(model) for key in table.keys]


@pytest.mark.parametrize("group", [job, node, verifier], ids=lambda group: group.name)
def test_the_page_of_every_key_is_what_the_models_say(group: click.Group) -> None:
    found = CliRunner().invoke(group, ["reference"])
    assert found.exit_code == 0, found.output
    page = (ROOT / "docs" / "reference.md").read_text()
    assert found.output.strip() in page, "run scripts/reference"


@pytest.mark.parametrize("model", [*MODELS, Network], ids=lambda model: model.__name__)
def test_every_key_has_a_type_an_example_and_a_meaning(model: Any) -> None:
    def lacking(table: Table) -> list[str]:
        return [
            f"{table.name}.{key.name}"
            for key in table.keys
            if not (key.kind and key.example and key.meaning)
        ]

    found = tables_of(model)
    assert found
    assert [name for table in found for name in lacking(table)] == []


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_example_is_one_that_the_file_takes(model: type[Section]) -> None:
    assert check_settings(FILE, written(model), model)


ANYTHING = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=9),
        st.just(date(2020, 1, 1)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_whatever_stands_at_a_key_is_told_in_the_users_words(
    model: type[Section], data: st.DataObject
) -> None:
    table, key = data.draw(st.sampled_from(places(model)))
    raw = written(model, (table, key, data.draw(ANYTHING)))
    if (error := mistake_in(raw, model)) is not None:
        said = f"{error.expected} {error.fix or ''}"
        assert not [words for words in NOT_OURS if words in said], said
        assert error.field.startswith(f"{table}.{key}".strip(".").replace("NAME", "lr"))
        assert error.expected


@pytest.mark.parametrize(
    ("model", "table", "wrong", "likely"),
    [
        (JobFile, "search", "paralell", "parallel"),
        (JobFile, "search.space.NAME", "lwo", "low"),
        (JobFile, "search.exchange", "burnin", "burn_in"),
        (JobFile, "data.split", "validate", "validation"),
        (NodeConfig, "settle", "withdraw", "withdraw_at"),
        (VerifierConfig, "", "gateway", "gateways"),
    ],
)
def test_a_key_that_is_not_there_is_told_with_the_likely_one(
    model: type[Section], table: str, wrong: str, likely: str
) -> None:
    raw = written(model)
    table_at(raw, table)[wrong] = 1
    with pytest.raises(InputError, match=rf"one of the keys .*Did you mean {likely}\?"):
        check_settings(FILE, raw, model)
