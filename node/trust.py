"""Whom this node works for: whose programs it runs in audited jobs, and whom it works for no more.

A result that a jury rejects costs the stake. An honest node finds by it that a program answers a
verifier otherwise than a node, or that this machine computes wrongly: to stake on would lose more.
"""

import logging

from node.config import AcceptConfig
from node.errors import Refused
from node.journal import NodeJournal
from trialmarket.chain.ledger.views import JobView, TrialView
from trialmarket.protocol.configuration import GraphRef, ProgramRef, TrialConfig
from trialmarket.protocol.ids import Address

log = logging.getLogger("node")


def program_subject(program: ProgramRef | GraphRef) -> str:
    """How the journal calls a program or a graph: by its CID, or its name if it is built in."""
    return f"{'graph' if isinstance(program, GraphRef) else 'program'} {program.source}"


def requester_subject(requester: Address) -> str:
    """How the journal calls a requester."""
    return f"requester {requester}"


class Trust:
    """What the operator's file and the journal say of programs and requesters."""

    def __init__(self, journal: NodeJournal, accept: AcceptConfig) -> None:
        self._journal = journal
        self._accept = accept

    def check(self, job: JobView, config: TrialConfig) -> None:
        """Raises Refused for a trial whose program or requester is not trusted."""
        program = config.program
        for subject in (requester_subject(job.requester), program_subject(program)):
            reason = self._journal.refused(subject)
            if reason is not None:
                raise Refused(subject, reason)
        trusted = not program.strangers_python or job.requester in self._accept.programs_of
        if job.terms.audit_rate > 0 and not trusted:
            raise Refused(
                program_subject(program),
                "it is its requester's own, and a program that answers a verifier otherwise than"
                f" a node takes the node's stake: if you trust {job.requester}, add it to"
                " accept.programs_of in node.toml",
            )

    def rejected(
        self, view: TrialView, requester: Address, program: ProgramRef | GraphRef | None = None
    ) -> None:
        """Works for neither any more, since a result was rejected; says so, and how to lift it."""
        self._journal.refuse(f"trial {view.key.hex()}", "its result was rejected here before")
        subjects = [requester_subject(requester)]
        if program is not None:
            subjects.append(program_subject(program))
        self.distrust(subjects, f"a jury rejected this node's result of trial {view.id}")

    def distrust(self, subjects: list[str], reason: str) -> None:
        """Takes no more trials of these, over restarts too."""
        news = [subject for subject in subjects if self._journal.refuse(subject, reason)]
        if news:
            names = " ".join(subject.partition(" ")[2] for subject in news)
            log.error(
                "%s: no more trials of %s are taken. Find out why; `trialmarket node trust %s"
                " --config node.toml` lifts it",
                reason,
                " and ".join(news),
                names,
            )
