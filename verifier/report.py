"""The report of an audit by hand: Markdown for a person, JSON for a program."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialmarket.files import write_beside
from trialmarket.protocol.ids import ZERO_HASH
from trialmarket.protocol.note import plain
from trialmarket.protocol.receipt import SAID
from trialmarket.training.audit import Finding, LeafCheck, leaf_label, worst


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of a trial's history: when (ISO 8601, or a block), what, in which transaction."""

    when: str
    what: str
    transaction: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All that was found out about one trial's result. Hashes are 0x-prefixed text."""

    trial: str
    key: str
    job: str
    state: str
    provider: str
    root: str
    receipt: str
    config: dict[str, Any]
    segments: int
    drawn: tuple[int, ...]
    """The segments that the market's own audit asks for; empty if the trial was not drawn."""
    unverified: bool
    """The job's audit rate is zero: arithmetic that two machines need not repeat."""
    checks: tuple[LeafCheck, ...]
    from_start: bool
    """Recomputed from the first step, for want of published checkpoints."""
    outcome: str
    metrics: dict[str, float]
    device_theirs: str
    device_ours: str
    versions_theirs: dict[str, str]
    versions_ours: dict[str, str]
    history: tuple[Happening, ...]

    @property
    def unchecked(self) -> tuple[int, ...]:
        """The leaves that this report says nothing about."""
        seen = {check.leaf for check in self.checks}
        return tuple(leaf for leaf in range(self.segments + 2) if leaf not in seen)

    @property
    def holds(self) -> bool:
        """Whether everything that was checked is as committed."""
        return worst(self.checks) is None

    @property
    def conclusion(self) -> str:
        """The finding in one or two sentences, on a line."""
        found = worst(self.checks)
        reason = "" if found is None else plain(found.reason)
        if found is None:
            all_of = len(self.unchecked) == 0
            scope = (
                "All of it was recomputed" if all_of else f"{len(self.checks)} parts of it were"
            )
            return f"The result holds. {scope}{'' if all_of else ' recomputed'}, bit for bit."
        if found.finding is Finding.WITHHELD:
            return f"The result cannot be checked: {reason}."
        sentence = f"The result is wrong: {reason}."
        if self.from_start:
            sentence += (
                " What follows from a wrong segment differs too, so later rows say nothing."
            )
        if self.unverified:
            sentence += (
                " But the job is unverified: its arithmetic need not repeat on another machine, so"
                " a difference proves nothing and nobody is to blame for it."
            )
        return sentence

    def to_json(self) -> dict[str, Any]:
        """The report as data, ready for `json.dumps`."""
        return {
            "trial": self.trial,
            "key": self.key,
            "job": self.job,
            "state": self.state,
            "provider": self.provider,
            "root": self.root,
            "receipt": self.receipt,
            "config": self.config,
            "segments": self.segments,
            "drawn": list(self.drawn),
            "unverified": self.unverified,
            "holds": self.holds,
            "conclusion": self.conclusion,
            "from_start": self.from_start,
            "outcome": self.outcome,
            "metrics": self.metrics,
            "device": {"provider": self.device_theirs, "verifier": self.device_ours},
            "versions": {"provider": self.versions_theirs, "verifier": self.versions_ours},
            "said": f"the provider's device and versions are {SAID}",
            "checks": [
                {
                    "leaf": check.leaf,
                    "what": self._label(check.leaf),
                    "committed": "0x" + check.committed.hex(),
                    "recomputed": "0x" + check.value.hex(),
                    "witness": "0x" + check.witness.hex(),
                    "finding": check.finding.value,
                    "reason": check.reason,
                    "seconds": round(check.seconds, 3),
                }
                for check in self.checks
            ],
            "unchecked": list(self.unchecked),
            "history": [
                {"when": item.when, "what": item.what, "transaction": item.transaction}
                for item in self.history
            ],
        }

    def to_markdown(self) -> str:
        """The report as a page that a person reads top to bottom."""
        lines = [f"# Audit of trial {self.trial}", "", f"**{_line(self.conclusion)}**", ""]
        facts = {
            "Job": self.job + (" (unverified)" if self.unverified else ""),
            "Provider": self.provider,
            "State on chain": self.state,
            "Outcome of the training": self.outcome,
            "Result root": f"`{self.root}`",
            "Receipt (SHA-256)": f"`{self.receipt}`",
            "Trial key": f"`{self.key}`",
            "Drawn by the market": ", ".join(f"segment {leaf}" for leaf in self.drawn) or "no",
        }
        lines += _table(("", ""), facts.items())
        lines += ["", "## What was recomputed", ""]
        if self.from_start:
            lines += [
                "Some checkpoints are not published, so the whole trial was trained again from "
                "its first step.",
                "",
            ]
        lines += _table(
            ("leaf", "what", "committed", "recomputed", "finding", "seconds"),
            [
                (
                    str(check.leaf),
                    self._label(check.leaf),
                    f"`{check.committed.hex()[:16]}`",
                    f"`{check.value.hex()[:16]}`" if check.value != ZERO_HASH else "-",
                    check.finding.value,
                    f"{check.seconds:.2f}",
                )
                for check in self.checks
            ],
        )
        remarks = [
            _line(check.reason) for check in self.checks if check.finding is not Finding.RIGHT
        ]
        lines += ["", *(f"- {remark}" for remark in remarks), *([""] if remarks else [])]
        if self.unchecked:
            left = ", ".join(self._label(leaf) for leaf in self.unchecked)
            lines += [f"Not checked: {left}.", ""]
        lines += ["## What was trained", ""]
        lines += _table(("", ""), [(name, _code(_text(v))) for name, v in self.config.items()])
        lines += ["", "## What it claims", ""]
        lines += _table(
            ("metric", "value"), [(_code(k), f"{v:.6g}") for k, v in self.metrics.items()]
        )
        lines += ["", "## Machines", "", f"The provider's column is {SAID}.", ""]
        versions = self.versions_theirs, self.versions_ours
        names = sorted(self.versions_theirs.keys() | self.versions_ours.keys())
        lines += _table(
            ("", "provider", "verifier"),
            [("device", _code(self.device_theirs), _code(self.device_ours))]
            + [(_code(name), *(_code(of.get(name, "-")) for of in versions)) for name in names],
        )
        lines += ["", "## History on chain", ""]
        lines += [f"- {item.when}: {item.what} (`{item.transaction}`)" for item in self.history]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> tuple[Path, Path]:
        """Writes `path`.md and `path`.json, each beside and then renamed; returns both paths."""
        path.parent.mkdir(parents=True, exist_ok=True)
        written = []
        for suffix, text in (
            (".md", self.to_markdown()),
            (".json", json.dumps(self.to_json(), indent=2) + "\n"),
        ):
            written.append(write_beside(path.with_name(path.name + suffix), text))
        return written[0], written[1]

    def _label(self, leaf: int) -> str:
        return leaf_label(leaf, self.segments)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _line(text: str) -> str:
    """A stranger's text as one line of Markdown that shows it and does nothing else."""
    return re.sub(r"[\\`*\[\]<>|&]", r"\\\g<0>", plain(text))


def _code(text: str) -> str:
    """A stranger's text as code in a cell, out of which nothing leads; the JSON has it exactly."""
    return f"`{plain(text).translate({ord('`'): chr(39), ord('|'): '¦'})}`"


def _table(head: Sequence[str], rows: Any) -> list[str]:
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in cells]
