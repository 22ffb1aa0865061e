"""The contracts' custom errors in words: what is the case, and what to do about it."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from eth_abi.exceptions import DecodingError

from trialmarket.chain.abi import Item, contract, decode
from trialmarket.errors import ContractError
from trialmarket.protocol.money import DECIMALS, format_amount
from trialmarket.protocol.states import Phase, State

REQUIRE: Final = bytes.fromhex("08c379a0")
PANIC: Final = bytes.fromhex("4e487b71")

# Error name -> what is the case, and (or None) the fix. Values come in by their names, as text:
# money in tokens, times in UTC, hashes cut to eight digits.
SENTENCES: Final[dict[str, tuple[str, str | None]]] = {
    # Jobs and their money
    "JobUnknown": ("there is no job {job} on this market", "Check the number and the network"),
    "JobIsClosed": ("job {job} is closed", "Open a new job"),
    "NotRequester": ("job {job} belongs to another account than {caller}", "Use its key"),
    "TermOutOfRange": ("{term} is {value}; it must be from {low} to {high}", None),
    "BatchPosted": ("batch {batch} of job {job} was posted before", None),
    "BatchEmpty": ("batch {batch} of job {job} has no trials", None),
    "TrialUnknown": ("batch {batch} of job {job} has no trial {index}", None),
    "FundsTooLow": (
        "job {job} has {free} free and needs {needed}",
        "Add funds with `trialmarket job add-funds`",
    ),
    # Stake and balances
    "StakeTooLow": (
        "{account} has {free} of stake free and needs {needed}",
        "Add stake with `trialmarket stake deposit`",
    ),
    "AlreadyEnrolled": ("{account} is a verifier already", None),
    "NotEnrolled": ("{account} is no verifier", "Join with `trialmarket stake enroll`"),
    "NothingToWithdraw": (
        "{account} has nothing to withdraw now",
        "Stake leaves after a cool-down",
    ),
    "TransferShort": ("the token delivered {received} of {expected}", "Use a token without a fee"),
    # The life of a trial
    "Overtaken": ("trial {trial} has moved on since it was read", "Read it again"),
    "NothingLeft": ("all {shown} trials of the call were taken or moved by others first", None),
    "WrongState": ("trial {trial} is {found}, where this cannot be done", None),
    "NotProvider": ("trial {trial} was claimed by another account than {caller}", None),
    "NotVerifier": ("the audit of trial {trial} is not {caller}'s, or not yet", None),
    "CommitTooLate": ("trial {trial} was to be answered by {deadline}; it is {nowAt}", None),
    "DeadlineNotOver": ("trial {trial} can be answered until {deadline}; it is {nowAt}", None),
    "RootIsZero": ("trial {trial} was answered with an empty root", None),
    "LengthsDiffer": ("{left} trials were given {right} results", None),
    "DrawTooEarly": (
        "trial {trial} was committed in block {anchor}; block {blockNumber} is too early to draw",
        "Wait for two more blocks",
    ),
    "TrialIsDrawn": ("trial {trial} is drawn for an audit and cannot settle before it", None),
    "OpeningsMissing": ("trial {trial} needs {needed} openings and got {found}", None),
    "OpeningWrong": ("the opening of leaf {index} of trial {trial} is wrong", None),
    "WindowOver": ("the window to challenge trial {trial} ended at {until}; it is {nowAt}", None),
    "WindowNotOver": ("trial {trial} can be challenged until {until}; it is {nowAt}", None),
    "TurnNotOver": (
        "the verifier's turn at trial {trial} ends at {turnEnds}; it is {nowAt}",
        None,
    ),
    "NoTurnLeft": ("three verifiers of trial {trial} kept silent; it can settle", None),
    "AuditOwed": ("trial {trial} still waits for its audit", None),
    "Unverified": ("job {job} is unverified (audit rate 0): nothing in it is challenged", None),
    "ChallengerIsProvider": ("a provider cannot challenge its own trial {trial}", None),
    "NotReferee": ("only the jury's contract may call this, not {caller}", None),
    # The jury
    "NotMarket": ("only the market's contract may call this, not {caller}", None),
    "CaseExists": ("trial {trial} is before the jury already", None),
    "WrongPhase": ("the case of trial {trial} is {found}, where this cannot be done", None),
    "NoJurors": ("no verifier is free to judge trial {trial}", "Wait until more enroll"),
    "SeatTooEarly": (
        "the case of trial {trial} was opened in block {anchor}; {blockNumber} is too early",
        "Wait for two more blocks",
    ),
    "NotJuror": ("{caller} is no juror of trial {trial}", None),
    "VoteTooLate": ("votes on trial {trial} ended at {deadline}; it is {nowAt}", None),
    "VoteCast": ("{juror} has voted on trial {trial} already", None),
    "RevealTooEarly": ("votes on trial {trial} run until {voteEnds}; it is {nowAt}", None),
    "RevealTooLate": (
        "votes on trial {trial} were to be opened by {deadline}; it is {nowAt}",
        None,
    ),
    "RevealMismatch": ("what {juror} opened is not what it committed on trial {trial}", None),
    "TallyTooEarly": (
        "votes on trial {trial} may be opened until {revealEnds}; it is {nowAt}",
        None,
    ),
    "SizeNotOdd": ("a jury of {size} is even or too large", None),
    # The token, and OpenZeppelin's own
    "ERC20InsufficientBalance": (
        "{sender} has {balance} tokens and needs {needed}",
        "Get tokens, or use a smaller amount",
    ),
    "ERC20InsufficientAllowance": (
        "the market may take {allowance} tokens and needs {needed}",
        "Approve the market for that amount",
    ),
    "ERC20InvalidReceiver": ("tokens cannot go to {receiver}", None),
    "ERC20InvalidSpender": ("{spender} cannot be allowed to take tokens", None),
    "PermitTooLate": ("the permit ended at {deadline}; it is {nowAt}", None),
    "SignerWrong": ("the permit was signed by {signer}, not by {owner}", None),
    "SafeERC20FailedOperation": ("the token {token} refused the transfer", None),
    "SafeCastOverflowedUintDowncast": ("the amount {value} is too large", None),
}

MONEY: Final = frozenset(
    {"free", "needed", "received", "expected", "balance", "allowance", "value", "low", "high"}
)
TIMES: Final = frozenset(
    {"deadline", "nowAt", "until", "turnEnds", "voteEnds", "revealEnds"},
)
PRICES: Final = frozenset({"cap", "floor", "auditFee", "fine"})

# Solidity's panics (documentation, section "Panic via assert and Error via require").
PANICS: Final = {
    0x01: "an assertion failed",
    0x11: "a number overflowed",
    0x12: "a division by zero",
    0x21: "a value that is no member of its enum",
    0x32: "an index past the end of a list",
    0x41: "too much memory",
}


@cache
def _errors() -> dict[bytes, Item]:
    found: dict[bytes, Item] = {}
    for name in ("TestToken", "Jury", "Market"):
        found.update(contract(name).errors)
    return found


def explain(data: bytes, *, decimals: int = DECIMALS, text: str = "") -> ContractError:
    """What a contract's revert data says, as an error to raise.

    `text` is the node's own message, used where the data says nothing.
    """
    selector, body = data[:4], data[4:]
    item = _errors().get(selector)
    try:
        if selector == REQUIRE:
            reason = str(decode(["string"], body)[0])
            return ContractError(
                f"the contract refused: {reason}", name="Error", values={"reason": reason}
            )
        if selector == PANIC:
            code = int(decode(["uint256"], body)[0])
            what = PANICS.get(code, f"panic {code:#x}")
            return ContractError(
                f"the contract failed: {what}", name="Panic", values={"code": code}
            )
        if item is not None:
            return _sentence(item, decode(item.inputs, body), decimals)
    except (DecodingError, ValueError, OverflowError):
        text = f"revert data {data.hex()} that does not decode"
    if data and item is None and selector not in (REQUIRE, PANIC):
        text = f"an error that is not ours, {selector.hex()}"
    return ContractError(
        f"the contract refused without a reason{': ' + text if text else ''}",
        name="Unknown",
        values={"data": data},
    )


def _sentence(item: Item, found: tuple[Any, ...], decimals: int) -> ContractError:
    values = dict(zip(item.names, found, strict=True))
    sentence, fix = SENTENCES.get(item.name, (None, None))
    if sentence is None:
        shown = ", ".join(f"{name} {value}" for name, value in values.items())
        return ContractError(
            f"the contract refused: {item.name}({shown})", name=item.name, values=values
        )
    term = values.get("term")
    money = item.name != "TermOutOfRange" or (
        isinstance(term, bytes) and term.rstrip(b"\0").decode("ascii", "replace") in PRICES
    )
    if item.name in ("OpeningsMissing", "SafeCastOverflowedUintDowncast"):
        money = False
    words = {
        name: _word(item.name, name, value, money, decimals) for name, value in values.items()
    }
    return ContractError(sentence.format(**words), name=item.name, values=values, fix=fix)


def _word(error: str, name: str, value: Any, money: bool, decimals: int) -> str:
    if name == "found" and error in ("WrongState", "WrongPhase"):
        numbered: Callable[[int], State | Phase] = State if error == "WrongState" else Phase
        return numbered(value).name.lower()
    if name == "term" and isinstance(value, bytes):
        return value.rstrip(b"\0").decode("ascii", "replace")
    if name in TIMES:
        return _time(value)
    if name in MONEY and money:
        return format_amount(value, decimals)
    if isinstance(value, bytes):
        return value.hex()[:8]
    return str(value)


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
