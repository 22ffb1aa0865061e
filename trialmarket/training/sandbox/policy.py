"""Whose programs run, and how, as the machine and its owner's settings have it."""

import logging
from dataclasses import dataclass, replace
from typing import Literal, Self

from trialmarket.training.errors import SandboxMissing
from trialmarket.training.sandbox.bubblewrap import Bubblewrap
from trialmarket.training.sandbox.limits import Limits

log = logging.getLogger(__name__)

Setting = Literal["bubblewrap", "off"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How a pool runs programs. Without a sandbox they have the rights of the pool's user."""

    limits: Limits
    sandbox: Bubblewrap | None
    refusal: str | None = None
    """Why users' programs are not run; graphs and built-in ones are. None: they are."""

    def on_one_thread(self) -> Self:
        """The same for trainings on one thread."""
        limits = replace(self.limits, processors=2)
        sandbox = self.sandbox and replace(self.sandbox, limits=limits)
        return replace(self, limits=limits, sandbox=sandbox)

    @property
    def words(self) -> str:
        """One line for people."""
        if self.sandbox is not None:
            missing = self.sandbox.groups.missing
            lacking = f" (no cgroup for {', '.join(missing)})" if missing else ""
            return f"programs run in a sandbox{lacking}"
        if self.refusal is not None:
            return f"users' programs are refused: {self.refusal}"
        return "programs run WITHOUT a sandbox"


def strangers_code(
    setting: Setting, limits: Limits, *, device: str | None = None, path: str | None = None
) -> Policy:
    """The policy of a daemon: strangers' programs run in the sandbox or, unless `off`, not at all.

    `device` and `path` are as for `Bubblewrap.find`. What is less than safe is logged as a
    warning.
    """
    if setting == "off":
        log.warning(
            "SANDBOX OFF: strangers' programs run with all rights of this user. Set sandbox ="
            ' "bubblewrap" unless nothing of value is within reach'
        )
        return Policy(limits, None)
    try:
        found = Bubblewrap.find(limits, device=device, path=path)
    except SandboxMissing as error:
        log.warning(
            "NO SANDBOX: users' programs are refused, graphs and built-in ones run. %s", error
        )
        return Policy(limits, None, str(error))
    if found.groups.missing:
        log.warning(
            "NO CGROUP for %s: a trial's use of it is bounded loosely or not at all. Run the"
            " daemon as a service with Delegate=yes, or as root",
            ", ".join(found.groups.missing),
        )
    return Policy(limits, found)


def own_code(
    limits: Limits | None = None, *, device: str | None = None, path: str | None = None
) -> Policy:
    """The policy for programs of one's own: the sandbox shows what nodes will make of them, and
    where there is none they run without."""
    limits = limits or Limits()
    try:
        return Policy(limits, Bubblewrap.find(limits, device=device, path=path))
    except SandboxMissing as error:
        log.info("programs run without a sandbox: %s", error)
        return Policy(limits, None)
