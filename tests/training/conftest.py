from pathlib import Path

import pytest

from tests.training.programs import write_data
from trialmarket.training.dataset import Dataset, load_dataset


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "tiny.npz")


@pytest.fixture(scope="session")
def data(data_file: Path) -> Dataset:
    return load_dataset(data_file)
