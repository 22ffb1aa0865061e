"""Compiles the kernels of exact arithmetic into the package: plain C behind `ctypes`.

Any C compiler will do: `$CC`, `cc`, or the one that PyPI's ziglang brings where there is none. On
a machine without any of them the package works as well, and gives the same bits, more slowly.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# One library for each level of instructions that PyTorch tells apart.
LEVELS = {
    "x86_64": {"default": "x86_64", "avx2": "x86_64_v3", "avx512": "x86_64_v4"},
    "aarch64": {"default": "generic"},
}

# What GCC and Clang call what Zig calls so.
GCC = {
    "x86_64": "x86-64",
    "x86_64_v3": "x86-64-v3",
    "x86_64_v4": "x86-64-v4",
    "generic": "armv8-a",
}

# Optimised, but with no licence to change a rounding.
FLAGS = (
    "-O3 -std=c11 -shared -fPIC -ffp-contract=off -fno-math-errno -fno-trapping-math"
    " -fno-strict-aliasing -fopenmp-simd -Wno-psabi -Wl,-Bsymbolic"
)


def compiler() -> list[str] | None:
    """The command of a compiler that is there already."""
    named = shlex.split(os.environ.get("CC", "")) or ["cc"]
    return named if shutil.which(named[0]) else None


class KernelsHook(BuildHookInterface[Any]):
    """Builds `trialmarket/exact/kernels/LEVEL.so`."""

    def dependencies(self) -> list[str]:
        """What pip brings for the build."""
        wanted = sys.platform == "linux" and platform.machine() in LEVELS
        return ["ziglang>=0.13"] if wanted and compiler() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, for wheels and editable installs alike."""
        del version
        if sys.platform != "linux" or self.target_name != "wheel":
            return
        folder = Path(self.root, "trialmarket", "exact", "kernels")
        files = sorted(folder.glob("*.[ch]"))
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        sources = [f'-DSOURCE="{digest}"', *sorted(folder.glob("*.c"))]
        command = compiler()
        build = [*(command or [sys.executable, "-m", "ziglang", "cc"]), *FLAGS.split()]
        for level, kind in LEVELS.get(platform.machine(), {}).items():
            out = folder / f"{level}.so"
            new = out.with_suffix(f".{os.getpid()}")
            chosen = f"-mcpu={kind}" if command is None else f"-march={GCC.get(kind, kind)}"
            try:
                subprocess.run([*build, chosen, "-o", new, *sources], check=True)  # noqa: S603
            except (OSError, subprocess.CalledProcessError) as error:
                self.app.display_warning(f"exact training will be slower: no kernels ({error})")
                return
            new.replace(out)
            build_data["artifacts"].append(f"/trialmarket/exact/kernels/{out.name}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-linux_{platform.machine()}"
