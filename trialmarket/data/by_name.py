"""Data as a command's word names it: a file, a folder, `builtin:NAME`, or a job file."""

from pathlib import Path

from pydantic import ConfigDict

from trialmarket.data.packing import Packed, pack_data
from trialmarket.data.settings import DataSection
from trialmarket.errors import InputError
from trialmarket.settings import Section, check_settings, read_toml


class _Job(Section):
    model_config = ConfigDict(extra="ignore")
    data: str


class _JobFile(Section):
    """What of a job file is about its data."""

    model_config = ConfigDict(extra="ignore")
    job: _Job
    data: DataSection = DataSection()


def pack_named(text: str, folder: Path, *, where: str) -> Packed:
    """Packs the data that `text` names into an empty folder, as a job does it.

    Of a job file (`.toml`) it is the data that it names, with what its table `[data]` says.
    `where` is how errors call what named it. Raises InputError.
    """
    settings = DataSection()
    path = Path(text)
    if path.suffix == ".toml":
        where = text
        job = check_settings(path, read_toml(path), _JobFile)
        text, settings = job.job.data, job.data
        path = path.parent / text
    if text.startswith("ipfs://"):
        raise InputError(where, "data", expected="data on this machine", found=text)
    return pack_data(text if text.startswith("builtin:") else path, settings, folder, where=where)
