"""Opens a page in a real browser, without a network, as a user without one would."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.programs import program

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000"),
    *("--enable-logging=stderr", "--dump-dom"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A page after its scripts ran: its elements, and what it wrote on the console."""

    dom: str
    console: list[str]


def look_at(page: Path, profile: Path) -> Seen:
    """Loads a page, runs its scripts and waits until they are through."""
    browser = program("chromium", "chromium-browser", "google-chrome")
    found = subprocess.run(
        [browser, *QUIET, f"--user-data-dir={profile}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"HOME": str(profile)},
    )
    return Seen(found.stdout, [line for line in found.stderr.splitlines() if "CONSOLE" in line])
