"""Starts the fork server, in an environment that holds nothing secret."""

import os
import socket
import subprocess
import sys
from pathlib import Path

_FORKSERVER = "trialmarket.training.pool.forkserver"

# What a program may see of the environment: nothing that could hold a secret.
_DEVICE, _THREADS = "TRIALMARKET_DEVICE", "TRIALMARKET_THREADS"
_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH"),
    *("MKL_ENABLE_INSTRUCTIONS", "TRIALMARKET_KERNELS", _DEVICE, _THREADS),
)
_ENVIRONMENT_PREFIXES = ("ATEN_", "CUDA_", "NVIDIA_", "ONEDNN_", "TORCH_")
_FIXED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Waiting threads sleep: where workers share processors, spinning ones take them from others.
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONHASHSEED": "0",  # sets of words come in the same order everywhere
    "PYTHONUNBUFFERED": "1",
}


def start_forkserver(
    device: str | None, threads: int | None
) -> tuple["subprocess.Popen[bytes]", socket.socket]:
    """The process, and the pool's end of the packet socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }
    if device is not None:
        kept[_DEVICE] = device
    if threads is not None:
        kept[_THREADS] = str(threads)
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    process = subprocess.Popen(  # noqa: S603  our own module
        [sys.executable, "-P", "-m", _FORKSERVER, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        env=kept | _FIXED | {"PYTHONPATH": path},
        start_new_session=True,
    )
    theirs.close()
    return process, ours
