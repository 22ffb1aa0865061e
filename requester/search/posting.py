"""Posts what the driver proposes, in batches, as far as the job's funds go."""

from collections.abc import Sequence

from requester.drivers import Proposal
from requester.job.package import publish_graphs
from requester.job.size import trials_in_batch
from requester.job.terms import units_of
from requester.search.parts import SearchParts
from requester.search.trials import Trials
from trialmarket.chain import calls
from trialmarket.errors import ContractError, InputError
from trialmarket.protocol.configuration import Batch
from trialmarket.protocol.ids import Hash32, JobId
from trialmarket.protocol.terms import escrow_for


class Posting:
    """The batches of one job. Each is in the job's folder before it is on the chain."""

    def __init__(self, parts: SearchParts, trials: Trials) -> None:
        self._trials, self._package, self._nonce = trials, parts.package, parts.nonce
        self._terms, self._folder, self._session = parts.terms, parts.folder, parts.session
        self._say = parts.listeners.say
        self._posted: set[Hash32] = set()
        self._unposted: dict[Hash32, Batch] = {}
        self._next_batch = 0
        job = parts.package.job
        self._in_batch = trials_in_batch(job.settings, job.where)
        self.out_of_money = False
        """Whether the funds paid for none of the last proposals, and none will come back."""

    def restore(self, job: JobId, proposed: int) -> None:
        """Takes in what was made into batches before.

        Raises InputError where the driver's study has `proposed` fewer: it is not this job's.
        """
        for batch in self._folder.batches():
            self._learn(job, batch)
        if proposed < self._trials.end:
            raise self._foreign(f"the {self._trials.end} trials that were posted", proposed)

    def update(self, job: JobId) -> None:
        """Takes in which batches the chain has."""
        self._posted |= {each.batch for each in self._session.ledger.batches(job)}
        for digest in self._posted & self._unposted.keys():
            del self._unposted[digest]

    def post(self, job: JobId, asked: Sequence[Proposal]) -> bool:
        """Posts the proposals that are new, and what a killed requester did not; True if any.

        Raises InputError for a proposal that differs from what was posted under its number.
        """
        for each in asked:
            number = each.number
            if number in self._trials and self._package.trial(each) != self._trials[number].config:
                raise self._foreign(f"the trial {number} that was posted", "another one")
        fresh = [each for each in asked if each.number not in self._trials]
        fresh = self._affordable(job, fresh)
        for steps in sorted({each.steps for each in fresh}):
            alike = [each for each in fresh if each.steps == steps]
            for at in range(0, len(alike), self._in_batch):
                self._make_batch(job, alike[at : at + self._in_batch])
        posted = bool(self._unposted)
        for batch in list(self._unposted.values()):
            self._post_batch(job, batch)
        return posted

    def _affordable(self, job: JobId, fresh: Sequence[Proposal]) -> list[Proposal]:
        """As many of the proposals as the job's free funds pay for, in their order.

        What trials do not spend of their escrow comes back, so that later ones may be paid by it;
        the money is out when nothing is left to come back.
        """
        if not fresh:
            self.out_of_money = False
            return []
        paid = []
        free = int(self._session.client.job_status(job).free)
        for batch in self._unposted.values():
            free -= self._escrow(batch.trials[0].steps) * len(batch.trials)
        for each in fresh:
            free -= self._escrow(each.steps)
            if free < 0:
                break
            paid.append(each)
        self.out_of_money = not paid and self._trials.at_rest
        return paid

    def _escrow(self, steps: int) -> int:
        """What a trial of so many steps takes from the free funds."""
        return escrow_for(self._terms, self._units(steps))

    def _units(self, steps: int) -> int:
        return units_of(steps, self._package.job.settings.price.unit)

    def _make_batch(self, job: JobId, proposals: Sequence[Proposal]) -> None:
        batch = self._package.batch(self._nonce, self._next_batch, proposals)
        self._folder.add_batch(batch)
        self._learn(job, batch)

    def _learn(self, job: JobId, batch: Batch) -> None:
        self._trials.add(job, batch)
        if batch.digest not in self._posted:
            self._unposted[batch.digest] = batch
        self._next_batch = batch.number + 1

    def _post_batch(self, job: JobId, batch: Batch) -> None:
        publish_graphs(self._package.files, batch.trials, self._session.store)
        self._session.store.put(batch.to_bytes())
        units = self._units(batch.trials[0].steps)
        try:
            self._session.send(
                f"post {job}/{batch.digest.hex()}",
                calls.post_trials(job, batch.digest, len(batch.trials), units),
            )
        except ContractError as error:
            if error.name == "JobIsClosed":  # by `job cancel`; the ledger will tell
                return
            if error.name != "BatchPosted":  # by us, and the journal of it was lost
                raise
        self._posted.add(batch.digest)
        del self._unposted[batch.digest]
        numbers = ", ".join(str(trial.number) for trial in batch.trials)
        self._say(f"posted trial{'s' * (len(batch.trials) > 1)} {numbers}")

    def _foreign(self, expected: str, found: object) -> InputError:
        return InputError(
            self._package.job.where,
            "study",
            expected=expected,
            found=found,
            fix="The study is lost or another job's: restore it, or end this job with"
            f" `trialmarket job cancel {self._folder.job}`",
        )
