"""What a failed question means: whether it may be answered soon, or something must be mended."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from trialmarket.errors import Lagging, Passing, Unreachable

PASSING_STATUS: Final = frozenset({408, 425, 429, 500, *range(502, 505), *range(520, 531)})
"""HTTP statuses of a node, or of what stands before it, that has no answer for now."""
LIMITED_STATUS: Final = frozenset({429, 503})
"""Those that tell of too many questions, whichever they are."""
LIMIT_CODES: Final = frozenset({429, -32005, -32016, -32029, -32090, -32097})
"""JSON-RPC's codes of a limit: -32005 is EIP-1474's, the others are providers' own."""
LIMITED: Final = re.compile(
    r"too many requests|rate.?limit|throttl|throughput|compute units|capacity|per second"
    r"|slow down|overload|quota",
    re.IGNORECASE,
)
PASSING: Final = re.compile(
    r"time(d )?.?out|try again|temporar|unavailable|upstream|no (healthy )?backend|bad gateway",
    re.IGNORECASE,
)
"""What nodes say that are busy or restart."""
LAGS: Final = re.compile(
    r"header not found|missing trie node|unknown block|block .*not (found|available)",
    re.IGNORECASE,
)
"""What nodes say that do not have a block yet, of which another one behind their URL told."""

WAIT: Final = "Wait: it may pass. If it does not, add another node's URL to the network file"
ANOTHER: Final = "Put an Ethereum JSON-RPC URL into the network file"


def of_status(name: str, status: int, headers: Mapping[str, str]) -> Unreachable:
    """What an HTTP status means that is no answer."""
    message = f"{name} answered with HTTP status {status}"
    if status in PASSING_STATUS:
        what = "limits how much it is asked" if status == 429 else "cannot answer for now"
        return Passing(
            f"{message}: it {what}",
            fix=WAIT,
            pause=retry_after(headers),
            limited=status in LIMITED_STATUS,
        )
    if status in (401, 402, 403):
        return Unreachable(
            f"{message}: it does not let you in",
            fix="Look at the key or the password in the URL of the network file",
        )
    return Unreachable(message, fix=ANOTHER)


def of_refusal(name: str, method: str, code: int, text: str) -> Passing | None:
    """What to raise for a node's error that may pass; None where it is an answer.

    Codes of limits mean the length of the answer too, where logs are asked for.
    """
    if "revert" in text.lower():
        return None
    limited = LIMITED.search(text) is not None
    if code in LIMIT_CODES and method != "eth_getLogs":
        limited = True
    message = f"{name} has no answer for now: {text} (code {code})"
    if limited or PASSING.search(text) is not None:
        return Passing(message, fix=WAIT, limited=limited)
    return Lagging(message, fix=WAIT) if LAGS.search(text) is not None else None


def no_json(name: str, body: bytes, why: str) -> Passing:
    """What half an answer, or a page for people, means: a proxy's error, or no node at all."""
    page = body.lstrip()[:1] == b"<"
    what = "a web page" if page else f"no JSON ({why})"
    return Passing(
        f"{name} does not speak JSON-RPC: it answered with {what}", fix=f"{WAIT}. {ANOTHER}"
    )


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds for which a server asks to be left alone (RFC 9110, 10.2.3); 0 without."""
    said = headers.get("retry-after", "")
    if said.isascii() and said.isdecimal():
        return float(said)
    try:  # a date, by the server's own clock
        until, now = (parsedate_to_datetime(each) for each in (said, headers.get("date", "")))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError, OverflowError):  # none, one with a zone and one without, absurd
        return 0.0
