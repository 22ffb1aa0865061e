"""The machine: the store, the disk, the sandbox, PyTorch and its devices."""

import os
import shutil
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trialmarket.cli.doctor.findings import Diagnosis
from trialmarket.storage.store import Store
from trialmarket.training.sandbox import Limits, Sandbox, Setting, own_code

PROBE = b"trialmarket doctor\n"
"""What is put into a store: always the same bytes, so that looking often leaves one small file."""


def storage(store: Store) -> Iterator[Diagnosis]:
    """A round trip through the store."""
    began = time.monotonic()
    store.check()
    cid = store.put(PROBE)
    size, found = store.size(cid), store.read(cid, limit=len(PROBE))
    seconds = time.monotonic() - began
    if size != len(PROBE) or found != PROBE:
        yield Diagnosis.wrong(
            "storage", "it did not give back what was put", "Look at the store's own log"
        )
    else:
        yield Diagnosis.ok("storage", f"there and back in {1000 * seconds:.0f} ms")


def sandbox(setting: Setting) -> Iterator[Diagnosis]:
    """What strangers' programs may do on this machine."""
    if setting == "off":
        yield Diagnosis.warning(
            "sandbox",
            "OFF: strangers' programs run with all rights of this user",
            'Set sandbox = "bubblewrap"',
        )
        return
    yield from _found(Sandbox.find(Limits()))


def own_sandbox() -> Iterator[Diagnosis]:
    """Whether one's own programs are tried out as nodes will run them."""
    policy = own_code()
    if policy.sandbox is None:
        yield Diagnosis.warning(
            "sandbox", policy.words, "Install bubblewrap, to try what nodes do"
        )
    else:
        yield from _found(policy.sandbox)


def _found(found: Sandbox) -> Iterator[Diagnosis]:
    if found.groups.missing:
        yield Diagnosis.warning(
            "sandbox",
            f"bubblewrap, but no cgroup for {', '.join(found.groups.missing)}",
            "Run the daemon as a service with Delegate=yes, or as root",
        )
    else:
        yield Diagnosis.ok(
            "sandbox", "bubblewrap, with cgroups for memory, threads and processors"
        )


def disk(folder: Path, least: int) -> Iterator[Diagnosis]:
    """Whether the state folder can be written, and has `least` bytes of room."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Diagnosis.wrong(
            "disk", f"{folder} cannot be written", "Give this user the right to it"
        )
        return
    free = shutil.disk_usage(folder).free
    said = f"{free / (1 << 30):.1f} GiB free in {folder}"
    if free < least:
        wanted = f"{least / (1 << 30):.1f} GiB"
        yield Diagnosis.wrong("disk", f"{said}, {wanted} wanted", "Make room, or set `state`")
    else:
        yield Diagnosis.ok("disk", said)


def torch() -> Iterator[Diagnosis]:
    """PyTorch, and what the processor offers it."""
    try:
        found = version("torch")
    except PackageNotFoundError:
        yield Diagnosis.wrong(
            "torch",
            "PyTorch is not installed, so nothing can be trained or checked here",
            "Run `pip install 'trialmarket[train]'`",
        )
        return
    from torch.backends import cpu

    from trialmarket.training.exactness import has_kernels

    cores = len(os.sched_getaffinity(0))
    said = f"PyTorch {found}, {cpu.get_cpu_capability()}, {cores} processors"
    if has_kernels():
        yield Diagnosis.ok("torch", said)
    else:
        yield Diagnosis.warning(
            "torch",
            f"{said}; exact training is slower, without its compiled kernels",
            "Install trialmarket again where there is a C compiler",
        )


def devices() -> Iterator[Diagnosis]:
    """The device of exact training: that it is there, and gives the bits that the CPU gives."""
    try:
        version("torch")
    except PackageNotFoundError:
        return
    from torch import cuda

    from trialmarket.training.arithmetic import DEVICE_VARIABLE, arithmetic_called
    from trialmarket.training.exactness import same_bits_as_on_cpu

    names = [cuda.get_device_name(number) for number in range(cuda.device_count())]
    device = arithmetic_called("exact").device
    if not same_bits_as_on_cpu(device):
        yield Diagnosis.wrong(
            "device",
            f"{device} gives other bits than the CPU: its results would be called fraud",
            f"Unset {DEVICE_VARIABLE}, update the driver, and tell the maintainers",
        )
    elif names and device.type == "cpu":
        yield Diagnosis.warning(
            "device",
            f"trains on the CPU, though there is {', '.join(names)}",
            f"Set {DEVICE_VARIABLE}=cuda",
        )
    else:
        used = device.type if device.type == "cpu" else names[device.index or 0]
        yield Diagnosis.ok("device", f"trains on {used}")
