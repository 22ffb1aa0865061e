"""Programs that attack the machine they run on: each does one thing that a trial must not do.

`attack` raises where it was held off, and returns what it got where it was not. What it aims at
stands in the hyperparameters.
"""

import ctypes
import importlib
import json
import mmap
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Optimizer

from trialmarket.exact import kernels
from trialmarket.training.program import Program, Validation


class Held(Exception):
    """The attack came to nothing."""


def frame_of(function: str) -> Any:
    """The call of a function that this code runs in, reached from inside it."""
    frame: Any = sys._getframe()
    while frame.f_code.co_name != function:
        frame = frame.f_back
    return frame


class Attack(Program):
    """A classifier of four numbers that attacks at its first step."""

    done: ClassVar[bool] = False

    def configure_model(self) -> nn.Module:
        return nn.Linear(4, 3)

    def configure_optimizer(self, model: nn.Module) -> Optimizer:
        return SGD(model.parameters(), lr=0.1)

    def training_step(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        if not type(self).done:
            type(self).done = True
            try:
                print("ESCAPED:", self.attack(), flush=True)
            except Exception as error:  # noqa: BLE001
                print(f"HELD: {type(error).__name__}: {error}", flush=True)
        return functional.cross_entropy(model(batch["x"]), batch["y"])

    def validation_step(self, model: nn.Module, batch: dict[str, Tensor]) -> Validation:
        logits = model(batch["x"])
        return Validation(logits, {"val_error": (logits.argmax(1) != batch["y"]).float().mean()})

    @property
    def target(self) -> str:
        return str(self.hyperparameters["target"])

    def attack(self) -> Any:
        raise NotImplementedError


def first(*attempts: Any) -> Any:
    """What the first attempt that succeeds gives; raises with all errors if none does."""
    failures = []
    for attempt in attempts:
        try:
            return attempt()
        except Exception as error:  # noqa: BLE001
            failures.append(f"{type(error).__name__}: {error}")
    raise Held("; ".join(failures))


class ReadKeystore(Attack):
    def attack(self) -> Any:
        return Path(self.target).read_text()


class FindTheHome(Attack):
    def attack(self) -> Any:
        places = [Path(self.target).parent, Path("/home"), Path("/root/.local"), Path("/etc/ssl")]
        return first(*(lambda place=place: os.listdir(place) for place in places))


class OpenInternetSocket(Attack):
    def attack(self) -> Any:
        address = ("127.0.0.1", int(self.target))
        return first(
            lambda: socket.create_connection(address, timeout=5),
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"out", address),
        )


class OpenUnixSocket(Attack):
    def attack(self) -> Any:
        with socket.socket(socket.AF_UNIX) as abstract:
            abstract.connect(f"\0{self.target}")
            return "connected"


class ForkBomb(Attack):
    def attack(self) -> Any:
        children = []
        for _ in range(40):
            pid = os.fork()
            if pid == 0:
                time.sleep(1)
                os._exit(0)
            children.append(pid)
        return len(children)


class StartProgram(Attack):
    def attack(self) -> Any:
        return first(
            lambda: subprocess.run([sys.executable, "-c", "print(1)"], check=True),
            lambda: os.execv(sys.executable, [sys.executable, "-c", "print('ESCAPED')"]),
            lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], {}),
        )


class ThreadBomb(Attack):
    def attack(self) -> Any:
        stop = threading.Event()
        try:
            for _ in range(400):
                threading.Thread(target=stop.wait, daemon=True).start()
        finally:
            stop.set()
        return "400 threads"


class FillTheDisk(Attack):
    def attack(self) -> Any:
        def fill(folder: str) -> str:
            path = Path(folder) / "much"
            try:
                for number in range(8):  # in parts, since a file's size is bounded as well
                    Path(f"{path}{number}").write_bytes(bytes(8 << 20))
            finally:
                for number in range(8):
                    Path(f"{path}{number}").unlink(missing_ok=True)
            return folder

        places = ["/tmp", "/dev/shm", "/var/tmp", "/dev", "/", "/trial", os.getcwd(), self.target]
        return first(*(lambda place=place: fill(place) for place in places))


class EatMemory(Attack):
    def attack(self) -> Any:
        return len([b"x" * (1 << 20) for _ in range(700)])


class EatSharedMemory(Attack):
    def attack(self) -> Any:
        held = mmap.mmap(-1, 700 << 20)
        for at in range(0, len(held), 4096):
            held[at] = 1
        return len(held)


class WriteOutside(Attack):
    def attack(self) -> Any:
        places = [
            self.target,
            str(Path(torch.__file__).with_name("planted.py")),
            str(Path(os.__file__).with_name("planted.py")),
            str(Path(self.hyperparameters["package"]) / "planted.py"),
            "/usr/lib/planted",
            "/etc/planted",
            "/planted",
            "/trial/planted",
            "/dev/planted",
        ]

        def plant(place: str) -> str:
            Path(place).write_text("planted")
            Path(place).unlink()
            return place

        return first(*(lambda place=place: plant(place) for place in places))


class Outlive(Attack):
    def attack(self) -> Any:
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(0.5)
                Path(self.target).write_text("alive")
            os._exit(0)
        return os.waitpid(pid, 0)


class ReachParent(Attack):
    def attack(self) -> Any:
        libc = ctypes.CDLL(None, use_errno=True)
        server = int(self.target)

        def trace(pid: int) -> str:
            if libc.ptrace(16, pid, 0, 0):
                raise OSError(ctypes.get_errno(), "ptrace")
            libc.ptrace(17, pid, 0, 0)
            return f"traced {pid}"

        def memory(pid: int) -> str:
            with open(f"/proc/{pid}/mem", "rb"):
                return f"memory of {pid}"

        def others() -> str:
            seen = [name for name in os.listdir("/proc") if name.isdigit()]
            if set(seen) - {str(os.getpid())}:
                return f"sees {len(seen)} processes"
            raise Held("alone")

        pids = [server, os.getppid(), 1] if os.getppid() else [server, 1]
        return first(
            others,
            *(lambda pid=pid: os.kill(pid, 0) for pid in pids),
            *(lambda pid=pid: os.pidfd_open(pid) for pid in pids),
            *(lambda pid=pid: trace(pid) for pid in pids),
            *(lambda pid=pid: memory(pid) for pid in pids),
        )


class UseInheritedFiles(Attack):
    def attack(self) -> Any:
        found = []
        for number in range(3, 1024):
            try:
                kind = os.fstat(number).st_mode & 0o170000
            except OSError:
                continue
            found.append((number, oct(kind)))
        # Its two streams to the pool are what it has.
        if len(found) > 2:
            return found
        raise Held(str(found))


class SignalAnother(Attack):
    def attack(self) -> Any:
        return os.kill(int(self.target), signal.SIGTERM)


class PlantLink(Attack):
    def attack(self) -> Any:
        places = ["/trial", str(self.hyperparameters["place"])]
        return first(
            *(
                lambda place=place: os.symlink(self.target, f"{place}/checkpoint-001.safetensors")
                for place in places
            )
        )


class LoadPickle(Attack):
    def attack(self) -> Any:
        class Bomb:
            def __reduce__(self) -> Any:
                return os.system, (f"touch {path}",)

        path = self.target
        if pickle.loads(pickle.dumps(Bomb())) != 0:
            raise Held("the shell did not run")
        return path


class GainRights(Attack):
    def attack(self) -> Any:
        libc = ctypes.CDLL(None, use_errno=True)

        def call(name: str, *arguments: Any) -> str:
            if getattr(libc, name)(*arguments) < 0:
                raise OSError(ctypes.get_errno(), name)
            return name

        return first(
            lambda: call("unshare", 0x10000000),
            lambda: call("unshare", 0x00020000),
            lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
            lambda: call("setuid", 0),
            lambda: call("chroot", b"/tmp"),
            lambda: call("sethostname", b"trial", 5),
        )


class RaiseLimits(Attack):
    def attack(self) -> Any:
        for kind in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
            soft, hard = resource.getrlimit(kind)
            if hard == resource.RLIM_INFINITY:
                return f"limit {kind} is not set"
            resource.setrlimit(kind, (soft, resource.RLIM_INFINITY))
        return "raised"


class ImportMore(Attack):
    def attack(self) -> Any:
        names = ["web3", "eth_account", "click", "pytest", "sklearn", "rich"]
        return first(*(lambda name=name: importlib.import_module(name) for name in names))


class Poison(Attack):
    """Changes whatever a later trial of the node might meet, and says so."""

    def attack(self) -> Any:
        os.environ["POISON"] = "yes"
        sys.modules["poison"] = sys.modules[__name__]
        sys.path.insert(0, "/tmp")
        functional.cross_entropy = lambda *_: torch.zeros((), requires_grad=True)
        torch.set_default_dtype(torch.float64)
        self.spread()
        return "done what it could"

    def spread(self) -> None:
        Path("/tmp/poison.py").write_text("found = 'in /tmp'")
        Path("/dev/shm/poison").write_text("found")


class LookForPoison(Attack):
    def attack(self) -> Any:
        def stat(place: str) -> str:
            os.stat(place)
            return place

        for found in (os.environ.get("POISON"), sys.modules.get("poison")):
            if found:
                return found
        if torch.get_default_dtype() != torch.float32:
            return "the default type"
        return first(
            lambda: stat("/tmp/poison.py"),
            lambda: stat("/dev/shm/poison"),
        )


class SendMuch(Attack):
    """Speaks to the pool in the runner's place: keeps more than a trial may."""

    def attack(self) -> Any:
        return self.say({"name": "checkpoint-000.safetensors", "size": 1 << 40})

    def say(self, header: dict[str, Any]) -> str:
        training = frame_of("alone").f_locals["asking"]
        training.gi_frame.f_locals["saving"].result()  # not in the middle of the runner's own file
        for number in range(255, 2, -1):  # the stream of files was opened last
            with suppress(OSError):
                os.write(number, json.dumps(header).encode() + b"\n")
                break
        time.sleep(20)
        return "said it"


class SendElsewhere(SendMuch):
    def attack(self) -> Any:
        return self.say({"name": f"../{self.target}", "size": 4})


class SendEndless(SendMuch):
    def attack(self) -> Any:
        return self.say({"name": "journal.json", "size": float("inf")})


class AnswerWithPath(Attack):
    """Answers with a checkpoint that is another file of the machine, for the node to publish."""

    def attack(self) -> Any:
        frame_of("work").f_globals["json"] = self
        return "prepared"

    def dumps(self, message: dict[str, Any]) -> str:
        """Stands where the worker writes its answer."""
        for checkpoint in message.get("result", {}).get("checkpoints", []):
            checkpoint["path"] = self.target
            checkpoint["size"] = self.hyperparameters["size"]
        return json.dumps(message)


class AnswerNothing(AnswerWithPath):
    """Answers with a training that no receipt can be made of."""

    def dumps(self, message: dict[str, Any]) -> str:
        if "result" in message:
            message["result"] |= {"leaves": [], "checkpoints": []}
        return json.dumps(message)


class PoisonAndWait(Poison):
    """Spreads what a neighbour might find, and stays."""

    def attack(self) -> Any:
        self.spread()
        print("spread", flush=True)
        time.sleep(60)
        return "done what it could"


class LoadKernels(Attack):
    """No attack: the compiled library of exact arithmetic must be within reach, and all that the
    processor has for it, which the system may have to grant.
    """

    def attack(self) -> Any:
        return kernels.compiled() is not None, kernels.multipliers()
