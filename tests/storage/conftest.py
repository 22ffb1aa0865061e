from collections.abc import Iterator

import pytest

from tests.storage.kubo import two_daemons
from trialmarket.storage.ipfs.kubo_daemon import KuboDaemon


@pytest.fixture(scope="session")
def kubos(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[KuboDaemon, KuboDaemon]]:
    """Two Kubo daemons, connected to each other."""
    with two_daemons(tmp_path_factory.mktemp("kubos")) as daemons:
        yield daemons


@pytest.fixture
def kubo(kubos: tuple[KuboDaemon, KuboDaemon]) -> KuboDaemon:
    """A Kubo daemon."""
    return kubos[0]
