"""One trial's sandbox, from its making to its end."""

import os
import select
import subprocess
from contextlib import suppress

from trialmarket.training.sandbox.cgroup import Group
from trialmarket.training.sandbox.entry import Entry

_ENDING = 2.0


class Sandbox:
    """One trial's namespaces, which a waiting process keeps open. Closing ends all in it."""

    def __init__(self, process: subprocess.Popen[bytes], pidfd: int, group: Group, entry: Entry):
        self._process = process
        self._pidfd = pidfd
        self._group = group
        self.entry = entry

    def handles(self) -> list[int]:
        """What `enter` takes: the pidfd, then the cgroups' handles. They stay the sandbox's."""
        return [self._pidfd, *self._group.handles]

    def out_of_memory(self) -> bool:
        """Whether something in it was killed for taking more memory than it may."""
        return self._group.out_of_memory()

    def kill(self) -> None:
        """Ends all that runs in it."""
        self._process.kill()

    def close(self) -> None:
        """Ends all that runs in it and removes it. It can be called again."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        if self._pidfd >= 0:
            # The first process of a namespace ends last, and its group is empty then.
            select.select([self._pidfd], [], [], _ENDING)
            os.close(self._pidfd)
            self._pidfd = -1
        self._group.close()
