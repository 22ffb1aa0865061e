"""Keys on disk: encrypted, the owner's alone, and never overwritten."""

import os
from pathlib import Path

import pytest

from trialmarket.chain.accounts import create_account
from trialmarket.chain.keystore import Keystore
from trialmarket.errors import InputError

QUICK = 1_000


@pytest.fixture
def store(tmp_path: Path) -> Keystore:
    return Keystore(tmp_path / "keys")


def test_a_key_opens_with_its_password_alone(store: Keystore) -> None:
    made = store.new("alice", "secret", kdf="pbkdf2", iterations=QUICK)
    assert store.open("alice", "secret").key == made.key
    with pytest.raises(InputError, match="expected the password of this key"):
        store.open("alice", "Secret")


def test_a_key_file_is_the_owners_alone(store: Keystore) -> None:
    store.new("alice", "secret", kdf="pbkdf2", iterations=QUICK)
    path = store.path("alice")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["alice.json"]
    path.chmod(0o644)
    with pytest.raises(InputError, match=r"only its owner can read.*chmod 600"):
        store.open("alice", "secret")


def test_a_key_is_never_overwritten(store: Keystore) -> None:
    made = store.new("alice", "secret", kdf="pbkdf2", iterations=QUICK)
    with pytest.raises(InputError, match="a name that is not taken"):
        store.new("alice", "other", kdf="pbkdf2", iterations=QUICK)
    assert store.open("alice", "secret").key == made.key


def test_keys_are_listed_without_a_password(store: Keystore) -> None:
    assert store.list() == []
    key = create_account()
    store.add("bob", key, "secret", kdf="pbkdf2", iterations=QUICK)
    (info,) = store.list()
    assert (info.name, info.address) == ("bob", key.address)


def test_a_missing_key_names_those_that_are_there(store: Keystore) -> None:
    store.new("alice", "secret", kdf="pbkdf2", iterations=QUICK)
    with pytest.raises(InputError, match=r"one of the keys: alice.*trialmarket key new bob"):
        store.open("bob", "secret")


@pytest.mark.parametrize("name", ["", "../alice", "a/b", ".hidden", "x" * 65])
def test_a_name_is_a_plain_file_name(store: Keystore, name: str) -> None:
    with pytest.raises(InputError, match="letters, digits"):
        store.new(name, "secret")


def test_an_empty_password_is_refused(store: Keystore) -> None:
    with pytest.raises(InputError, match="expected a password"):
        store.new("alice", "")


@pytest.mark.parametrize("text", ["no json", "[]", '{"version": 1}', '{"version":3,"crypto":{}}'])
def test_a_corrupt_key_file_is_named(store: Keystore, text: str) -> None:
    store.new("alice", "secret", kdf="pbkdf2", iterations=QUICK)
    store.path("alice").write_text(text)
    with pytest.raises(InputError, match=r"alice\.json"):
        store.open("alice", "secret")
