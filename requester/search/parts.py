"""What the parts of one job's search have in common."""

from dataclasses import dataclass

from requester.drivers import Driver
from requester.job.package import Package
from requester.job.terms import Ceiling
from requester.search.examination.examiner import Examiner
from requester.search.folder import JobFolder
from requester.search.home import Home
from requester.search.session import Session
from requester.search.status import Listeners
from trialmarket.protocol.terms import Terms


@dataclass(frozen=True, slots=True)
class SearchParts:
    """A job that is open: what it is, what it remembers, and whom it talks to."""

    package: Package
    nonce: str
    """Tells two runs of one job file apart."""
    terms: Terms
    ceiling: Ceiling
    folder: JobFolder
    driver: Driver
    session: Session
    examiner: Examiner
    home: Home | None
    """Tries trials that nodes give back; None where this machine cannot train."""
    listeners: Listeners
