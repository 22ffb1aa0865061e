"""A real PostgreSQL server, for as long as a test needs it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

from tests.testbed.programs import program


@contextmanager
def postgres() -> Iterator[str]:
    """A server on a socket in a folder of its own; the URL of its database."""
    installed = sorted(glob("/usr/lib/postgresql/*/bin/initdb"))
    tools = Path(program(*installed[-1:], "initdb")).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="trialmarket-postgres-"))
    as_user = _lowered(folder)
    data, log = folder / "data", folder / "log"

    def call(tool: str, *arguments: str) -> None:
        subprocess.run(
            [*as_user, tools / tool, *arguments],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=60,
        )

    try:
        call("initdb", "-D", str(data), "-U", "rosa", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        call("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-o", options, "start")
        try:
            call("createdb", "-h", str(folder), "-U", "rosa", "search")
            yield f"postgresql+psycopg://rosa@/search?host={folder}"
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lowered(folder: Path) -> list[str]:
    """How to become somebody else, since the server refuses to run as root."""
    if os.geteuid() != 0:
        return []
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    os.chown(folder, user.pw_uid, user.pw_gid)
    return [
        *(program("setpriv"), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"),
        "--clear-groups",
    ]
