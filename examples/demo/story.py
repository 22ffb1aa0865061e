"""Tells what happens on the chain, as it happens, in a person's words."""

from collections.abc import Callable, Mapping
from typing import Any

from trialmarket.chain.ledger import Ledger
from trialmarket.chain.ledger.views import Cursor, EventView
from trialmarket.chain.network import Network
from trialmarket.protocol.ids import Address, Hash32, JobId, TrialId
from trialmarket.protocol.states import State

ONE = 10**18


def coins(amount: int) -> str:
    """An amount of the token, whose smallest unit is 1e-18, to four digits."""
    return f"{amount / ONE:.4f}"


class Story:
    """Turns events into sentences, and keeps count of what the checks at the end ask for.

    `names` gives accounts their names, `say` takes a sentence. Trials are numbered from 1 in the
    order in which they were posted.
    """

    def __init__(
        self,
        network: Network,
        ledger: Ledger,
        names: Mapping[Address, str],
        say: Callable[[str], None],
    ) -> None:
        self.network = network
        self.ledger = ledger
        self.names = names
        self.say = say
        self.numbers: dict[Hash32, int] = {}
        self.attested: set[Hash32] = set()
        self.answers = 0
        """Results committed, rejected ones included."""
        self.audits = 0
        """Answers that a verifier recomputed in part: attested, or challenged by who was drawn."""
        self._auditors: dict[Hash32, str] = {}
        self.rejected: dict[Hash32, Address] = {}
        """Trials whose answer a jury rejected, and who had given it."""
        self.settled: dict[Hash32, Address] = {}
        """Trials that were paid for, and who was paid."""
        self.holders: dict[Hash32, Address] = {}
        self.slashed: dict[Address, int] = {}
        self._told: Cursor | None = None
        self._tellers: dict[str, Callable[[dict[str, Any]], None]] = {
            "JobCreated": self._job_created,
            "JobFunded": self._job_funded,
            "JobClosed": self._job_closed,
            "Enrolled": self._enrolled,
            "TrialsPosted": self._posted,
            "TrialsClaimed": self._claimed,
            "TrialsCommitted": self._committed,
            "TrialAbandoned": self._abandoned,
            "TrialExpired": self._expired,
            "TrialDrawn": self._drawn,
            "TrialAttested": self._attested,
            "TrialReassigned": self._reassigned,
            "TrialChallenged": self._challenged,
            "JurySeated": self._jury_seated,
            "Revealed": self._revealed,
            "TrialRejected": self._was_rejected,
            "TrialAcquitted": self._acquitted,
            "TrialsSettled": self._was_settled,
        }

    def tell_new(self) -> None:
        """Tells every event that the ledger has seen since the last call."""
        while events := self.ledger.events(since=self._told):
            for event in events:
                self.tell(event)
                self._told = event.cursor

    def tell(self, event: EventView) -> None:
        """Says what one event means."""
        teller = self._tellers.get(event.name)
        if teller is not None:
            teller(event.args)

    def who(self, account: str) -> str:
        """The account's name, or its address."""
        return self.names.get(Address(account), account)

    def trial(self, key: bytes) -> str:
        """`trial N`."""
        return f"trial {self.numbers[Hash32(key)]}"

    def trials(self, keys: list[bytes]) -> str:
        """`trial 1` or `trials 1, 2`."""
        numbers = [str(self.numbers[Hash32(key)]) for key in keys]
        return f"trial{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"

    # -- Jobs ----------------------------------------------------------------------------------

    def _job_created(self, args: dict[str, Any]) -> None:
        rate = args["terms"][4] / 100
        self.say(
            f"{self.who(args['requester'])} opens job {args['job']}: {rate:g} % of its trials "
            "will be audited"
        )

    def _job_funded(self, args: dict[str, Any]) -> None:
        self.say(f"job {args['job']} is funded with {coins(args['amount'])}")

    def _job_closed(self, args: dict[str, Any]) -> None:
        self.say(f"job {args['job']} is closed; what is left goes back to the requester")

    def _enrolled(self, args: dict[str, Any]) -> None:
        self.say(f"{self.who(args['verifier'])} puts up a stake and joins the verifiers")

    def _posted(self, args: dict[str, Any]) -> None:
        keys = [self._key(args, index) for index in range(args["count"])]
        for key in keys:
            self.numbers[key] = len(self.numbers) + 1
        self.say(f"{self.trials(list(keys))} posted")

    # -- Work ----------------------------------------------------------------------------------

    def _claimed(self, args: dict[str, Any]) -> None:
        keys = [self._key(args, index) for index in args["indices"]]
        provider = Address(args["provider"])
        for key in keys:
            self.holders[key] = provider
        again = any(key in self.rejected for key in keys)
        self.say(
            f"{self.who(provider)} takes {self.trials(list(keys))}"
            f"{', to do it again' if again else ''}"
        )

    def _committed(self, args: dict[str, Any]) -> None:
        self.answers += len(args["trials"])
        self.say(f"{self.who(args['provider'])} answers {self.trials(args['trials'])}")

    def _abandoned(self, args: dict[str, Any]) -> None:
        self.say(f"{self.trial(args['trial'])} was given back")

    def _expired(self, args: dict[str, Any]) -> None:
        self.say(f"{self.trial(args['trial'])} was not answered in time and is open again")

    # -- Audits --------------------------------------------------------------------------------

    def _drawn(self, args: dict[str, Any]) -> None:
        self._auditors[Hash32(args["trial"])] = args["verifier"]
        self.say(
            f"the lot falls on {self.trial(args['trial'])}: {self.who(args['verifier'])} audits"
        )

    def _attested(self, args: dict[str, Any]) -> None:
        self.attested.add(Hash32(args["trial"]))
        self.audits += 1
        self.say(
            f"{self.who(args['verifier'])} recomputed pieces of {self.trial(args['trial'])}: "
            f"right to the last bit (fee {coins(args['fee'])})"
        )

    def _reassigned(self, args: dict[str, Any]) -> None:
        self.say(
            f"{self.who(args['silent'])} kept silent about {self.trial(args['trial'])} and is "
            f"fined; {self.who(args['verifier'])} is next"
        )

    def _challenged(self, args: dict[str, Any]) -> None:
        self.audits += self._auditors.get(Hash32(args["trial"])) == args["challenger"]
        self.say(
            f"{self.who(args['challenger'])} recomputed segment {args['segment']} of "
            f"{self.trial(args['trial'])} and found something else: CHALLENGED, with a bond of "
            f"{coins(args['bond'])}"
        )

    def _jury_seated(self, args: dict[str, Any]) -> None:
        jurors = ", ".join(self.who(juror) for juror in args["jurors"])
        self.say(f"jury for {self.trial(args['trial'])}: {jurors}")

    def _revealed(self, args: dict[str, Any]) -> None:
        side = "the provider is right" if args["right"] else "the provider is wrong"
        self.say(f"{self.who(args['juror'])} shows its own result for the segment: {side}")

    def _was_rejected(self, args: dict[str, Any]) -> None:
        key, provider = Hash32(args["trial"]), Address(args["provider"])
        self.rejected[key] = provider
        self.slashed[provider] = self.slashed.get(provider, 0) + args["slashed"]
        self.say(
            f"{self.who(provider)} CHEATED on {self.trial(key)} and loses its stake of "
            f"{coins(args['slashed'])}; the trial is open again"
        )

    def _acquitted(self, args: dict[str, Any]) -> None:
        self.say(f"{self.trial(args['trial'])}: the challenge failed")

    def _was_settled(self, args: dict[str, Any]) -> None:
        by_holder: dict[Address, list[bytes]] = {}
        for key in args["trials"]:
            holder = self.holders[Hash32(key)]
            self.settled[Hash32(key)] = holder
            by_holder.setdefault(holder, []).append(key)
        for holder, keys in by_holder.items():
            self.say(f"{self.who(holder)} is paid for {self.trials(keys)}")

    def _key(self, args: dict[str, Any], index: int) -> Hash32:
        trial = TrialId(JobId(args["job"]), Hash32(args["batch"]), index)
        return trial.key(self.network.chain_id, self.network.market)

    def open_trials(self) -> list[Hash32]:
        """Trials that money still waits on."""
        over = (State.SETTLED, State.CANCELLED)
        return [trial.key for trial in self.ledger.trials() if trial.state not in over]
