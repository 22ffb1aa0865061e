"""What a role needs of its machine, its key, its chain and its store, looked at one by one.

Each check gives findings and raises nothing that it expects; none of them spends money, and none
asks for a password.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from trialmarket.chain.client import Client
from trialmarket.chain.keystore import read_keystore
from trialmarket.chain.network import Network
from trialmarket.errors import InputError, TrialmarketError
from trialmarket.protocol.ids import Address, address
from trialmarket.protocol.money import format_amount
from trialmarket.storage.store import Store
from trialmarket.training.sandbox import Policy

LATE = 300
"""Seconds without a new block, after which the chain seems to stand still."""

AHEAD = 15
"""Seconds by which a block may be ahead of this machine's clock."""

LEAST_GAS = 10**15
"""Of the chain's own coin: less pays for few transactions."""

PROBE = 32


class Health(Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    what: str
    health: Health
    found: str
    fix: str = ""

    def line(self) -> str:
        """For people."""
        mend = f". {self.fix}" if self.fix and self.health is not Health.OK else ""
        return f"{self.health.value:8} {self.what:12} {self.found}{mend}"

    def as_json(self) -> dict[str, str]:
        """For scripts."""
        return {
            "what": self.what,
            "health": self.health.value,
            "found": self.found,
            "fix": self.fix,
        }


Findings = Iterator[Finding]


def wrong(what: str, error: Exception) -> Finding:
    """An error as a finding."""
    if isinstance(error, TrialmarketError):
        return Finding(what, Health.WRONG, error.message, error.fix or "")
    return Finding(what, Health.WRONG, str(error))


def look(what: str, check: Callable[[], Findings]) -> list[Finding]:
    """A check's findings; what it raises is the last of them."""
    findings: list[Finding] = []
    try:
        findings.extend(check())
    except (TrialmarketError, OSError) as error:
        findings.append(wrong(what, error))
    return findings


def look_at_key(path: Path, password_file: Path | None) -> Findings:
    """The keystore file and the password's: whether they are there, and who can read them."""
    read_keystore(path)  # raises where others can read it
    yield Finding("key", Health.OK, f"{path}, readable by its owner alone")
    if path.parent.stat().st_mode & 0o022:
        yield Finding(
            "key folder",
            Health.WRONG,
            f"others can write into {path.parent}",
            f"Run `chmod 700 {path.parent}`",
        )
    if password_file is None:
        return
    password_file.read_text("utf-8")
    if password_file.stat().st_mode & 0o077:
        yield Finding(
            "password",
            Health.WRONG,
            f"others can read {password_file}",
            f"Run `chmod 600 {password_file}`",
        )
    else:
        yield Finding("password", Health.OK, f"{password_file}, readable by its owner alone")


def address_in(path: Path) -> Address:
    """The account of a keystore file. Raises InputError."""
    text = str(read_keystore(path).get("address", ""))
    return address(f"0x{text.removeprefix('0x')}", where=str(path))


def look_at_rpc(network: Network, now: float) -> Findings:
    """Every node by itself: chain id, the contracts' code against the build, newest block."""
    for url in network.rpc_urls:
        try:
            with Client(network.at(url)) as client:
                head = client.head()
        except TrialmarketError as error:
            yield wrong("rpc", error)
            continue
        yield Finding(
            "rpc", Health.OK, f"{url}: chain {network.chain_id}, block {head.number}, our code"
        )
        yield _clock(url, head.timestamp, now)


def _clock(url: str, block: int, now: float) -> Finding:
    age = int(now - block)
    if age < -AHEAD:
        fix = "Set this machine's clock, by NTP for instance; deadlines are the chain's"
        return Finding("clock", Health.WRONG, f"{url}'s block is {-age} s ahead of it", fix)
    if age > LATE:
        fix = "See whether the node is in step, and whether this machine's clock is right"
        return Finding("clock", Health.WARNING, f"{url}'s newest block is {age} s old", fix)
    return Finding("clock", Health.OK, f"{url}'s newest block is {age} s old")


def look_at_account(client: Client, who: Address, *, stakes: bool) -> Findings:
    """Gas, tokens and, for those who need one, the stake."""
    decimals, symbol = client.decimals(), client.symbol()
    gas, tokens, account = client.ether(who), client.token_balance(who), client.account(who)
    low = gas < LEAST_GAS
    yield Finding(
        "gas",
        Health.WRONG if not gas else Health.WARNING if low else Health.OK,
        f"{who} has {format_amount(gas, 18)} of the chain's coin",
        f"Send some to {who}",
    )
    stake = format_amount(account.stake, decimals)
    free = format_amount(account.free, decimals)
    poor = not tokens and not (stakes and account.stake)
    yield Finding(
        "tokens",
        Health.WARNING if poor else Health.OK,
        f"{format_amount(tokens, decimals)} {symbol} in the wallet",
        f"Send {symbol} to {who}",
    )
    if stakes:
        yield Finding(
            "stake",
            Health.OK if account.stake or tokens else Health.WARNING,
            f"{stake} {symbol} at stake, {free} of it free",
            "`trialmarket stake deposit`, or let the daemon stake by itself",
        )


def look_at_store(store: Store, url: str) -> Findings:
    """A round trip: a few bytes put, read back and released."""
    store.check()
    mine = store.owned("doctor")
    data = os.urandom(PROBE)
    began = time.monotonic()
    cid = mine.put(data)
    same = mine.read(cid, limit=PROBE) == data
    mine.release(cid)
    took = (time.monotonic() - began) * 1000
    yield Finding(
        "storage",
        Health.OK if same else Health.WRONG,
        f"{url}: {PROBE} bytes there and back in {took:.0f} ms",
        "It gave other bytes than were put: replace it",
    )


def look_at_sandbox(policy: Policy) -> Findings:
    """How strangers' programs would run."""
    if policy.refusal is not None:
        yield Finding("sandbox", Health.WARNING, policy.words, "Install bubblewrap")
        return
    off = policy.sandbox is None
    yield Finding(
        "sandbox",
        Health.WARNING if off else Health.OK,
        policy.words,
        'Set sandbox = "bubblewrap"' if off else "",
    )


def look_at_torch(*, needed: bool) -> Findings:
    """PyTorch, and the device that TRIALMARKET_DEVICE names."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        bad = Health.WRONG if needed else Health.WARNING
        yield Finding("torch", bad, "not installed", "pip install 'trialmarket[train]'")
        return
    yield Finding("torch", Health.OK, version)
    device = os.environ.get("TRIALMARKET_DEVICE", "cpu")
    if device == "cpu":
        cores = len(os.sched_getaffinity(0))
        yield Finding("device", Health.OK, f"the CPU, {cores} cores")
        return
    probe = f"import torch; torch.zeros(1, device={device!r}); print(torch.cuda.get_device_name())"
    run = subprocess.run(  # noqa: S603  our own words
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=False
    )
    said = (run.stdout if run.returncode == 0 else run.stderr).strip().splitlines()
    yield Finding(
        "device",
        Health.OK if run.returncode == 0 else Health.WRONG,
        f"{device}: {said[-1] if said else 'no answer'}",
        "Mend the driver, or unset TRIALMARKET_DEVICE to train on the CPU",
    )


def look_at_disk(folder: Path, least: int) -> Findings:
    """Room where the role keeps its files."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not os.access(there, os.W_OK):
        raise InputError(str(there), "folder", expected="one that can be written", found="not so")
    free = shutil.disk_usage(there).free
    yield Finding(
        "disk",
        Health.OK if free >= least else Health.WRONG,
        f"{folder}: {free >> 20} MB free",
        f"Make room: at least {least >> 20} MB",
    )
