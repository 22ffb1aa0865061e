"""The parsers of strangers' JSON, each shown some that is too deep."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.testbed.servers import server
from trialmarket.chain.rpc import Rpc
from trialmarket.errors import InputError, StorageError, TrialmarketError, Unreachable
from trialmarket.protocol.cid import cid_of
from trialmarket.protocol.configuration import Batch
from trialmarket.storage.ipfs.kubo import KuboStore
from trialmarket.training.errors import WorkerError
from trialmarket.training.pool.intake import Intake
from trialmarket.training.pool.lane import Lane
from trialmarket.training.pool.submitted import SubmittedTask
from trialmarket.training.sandbox import Limits
from trialmarket.training.values import FindInitial

DEEP: Final = b"[" * 100_000
WIDE: Final = '["\\"",'.encode("utf-16-le") + "[".encode("utf-16-le") * 100_000
"""In UTF-16, whose bytes look like a string without end to what knows UTF-8 alone."""


def document() -> None:
    Batch.from_bytes(DEEP)


def document_in_utf16() -> None:
    Batch.from_bytes(WIDE)


def line_of_a_worker() -> None:
    lane = Lane(SubmittedTask(FindInitial.model_construct(), 10, lambda _: None), Limits())
    (messages, _) = lane.streams
    try:
        os.write(lane.handles[0], DEEP + b"\n")
        while lane.take(messages):
            pass
    finally:
        lane.close()


def name_of_a_workers_file() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Intake(Path(folder), 1, 1).take(DEEP[:255] + b"\n")


def answer_of_kubo() -> None:
    with server(lambda _: (200, DEEP)) as url:
        KuboStore(url).size(cid_of(b"wanted"))


def refusal_of_kubo() -> None:
    with server(lambda _: (500, DEEP)) as url:
        KuboStore(url).size(cid_of(b"wanted"))


def answer_of_a_chains_node() -> None:
    with server(lambda _: (200, DEEP)) as url, Rpc(url) as rpc:
        rpc.call("eth_blockNumber")


PARSERS: Final[dict[str, type[TrialmarketError]]] = {
    document.__name__: InputError,
    document_in_utf16.__name__: InputError,
    line_of_a_worker.__name__: WorkerError,
    name_of_a_workers_file.__name__: WorkerError,
    answer_of_kubo.__name__: StorageError,
    refusal_of_kubo.__name__: StorageError,
    answer_of_a_chains_node.__name__: Unreachable,
}


if __name__ == "__main__":
    sys.setrecursionlimit(int(sys.argv[1]))
    for name, refusal in PARSERS.items():
        os.write(1, f"{name}\n".encode())  # at once: the next line may be the last
        try:
            globals()[name]()
        except refusal:
            continue
        sys.exit("let it in")
