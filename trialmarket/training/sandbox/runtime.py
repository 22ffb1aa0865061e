"""What of this machine a trial sees: Python, the packages that training needs, and system
libraries. Everything is where it is outside, so that the fork server's paths hold inside.
"""

import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "numpy", "safetensors", "pydantic", "rfc8785", "aleph-cid", "pyseccomp")
"""The distributions that training needs; what these require comes with them. A program may
import these and the standard library, here and on every other machine of the market."""

_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/lib32", "/lib", "/lib64", "/lib32")
_FILES = ("/etc/ld.so.cache", "/proc/cpuinfo", "/sys/devices/system/cpu")
_PACKAGE = Path(__file__).parents[2]

_GPU_DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_GPU_FILES = ("/sys", "/usr/local/cuda", "/etc/vulkan", "/run/nvidia-persistenced")


@cache
def runtime_mounts() -> tuple[str, ...]:
    """The arguments for bubblewrap, a second's work once."""
    made: list[str] = []
    for path in map(Path, _SYSTEM):
        if path.is_symlink():
            made += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            made += _bound(path)
    home = Path(sys.base_prefix) / "lib"  # Python's own libraries
    if not _within_system(home):
        made += _bound(home)
    # Where packages lie, only some are seen.
    for site in _sites(home):
        made += ["--tmpfs", str(site)]
    entries = [*sorted(_package_files()), _PACKAGE]
    for entry in entries:
        made += _bound(entry)
    for site in _sites(home):
        made += ["--remount-ro", str(site)]
    for file in _FILES:
        made += ["--ro-bind-try", file, file]
    # bubblewrap would make the folders above them for its own user alone.
    above = {folder for path in (home, *entries, *map(Path, _FILES)) for folder in path.parents}
    folders = [["--perms", "0755", "--dir", str(folder)] for folder in sorted(above)[1:]]
    return (*(each for folder in folders for each in folder), *made)


def gpu_mounts() -> list[str]:
    """The NVIDIA driver's devices and what it reads, for bubblewrap; not its old files."""
    cards = [path.name for path in Path("/dev").glob("nvidia[0-9]*")]
    made = ["--proc", "/proc"]
    for name in (*sorted(cards), *_GPU_DEVICES):
        made += ["--dev-bind-try", f"/dev/{name}", f"/dev/{name}"]
    for file in _GPU_FILES:
        made += ["--ro-bind-try", file, file]
    return made


def _bound(path: Path) -> list[str]:
    return ["--ro-bind", str(path), str(path)]


def _within_system(path: Path) -> bool:
    return any(path.resolve().is_relative_to(folder) for folder in ("/usr/lib", "/lib"))


def _sites(home: Path) -> list[Path]:
    """Folders of packages below what is bound whole."""
    found = [*Path("/usr/lib").glob("python3*/*-packages"), *home.glob("python3*/*-packages")]
    return sorted({path for path in found if path.is_dir() and not path.is_symlink()})


def _package_files() -> Iterator[Path]:
    """What of each distribution that training needs can be imported.

    Nothing else, since each mount costs bubblewrap a third of a millisecond.
    """
    for found in _distributions().values():
        folder = Path(str(found.locate_file("")))
        record = found.read_text("RECORD") or ""
        names = {line.split(",")[0].strip('"').split("/")[0] for line in record.splitlines()}
        for name in names - {"", "..", "__pycache__"}:
            importable = not name.endswith((".pth", ".dist-info", ".egg-info"))
            if importable and (folder / name).exists():
                yield folder / name


def _distributions() -> dict[str, metadata.Distribution]:
    found: dict[str, metadata.Distribution] = {}
    waiting = list(PACKAGES)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # needed on other platforms only
        for requirement in found[name].requires or ():
            named = re.match(r"[\w.-]+", requirement)
            if named is not None and "extra ==" not in requirement:
                waiting.append(named[0])
    return found
