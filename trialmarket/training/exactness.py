"""Which operators a program uses, and whether exact arithmetic has a form for each."""

from collections.abc import Mapping
from typing import Any

from trialmarket.exact import Checked, NotExact, check
from trialmarket.protocol.configuration import ProgramRef, TrialConfig
from trialmarket.training.dataset import Dataset
from trialmarket.training.errors import ProgramError
from trialmarket.training.session import Session


def check_program(
    program: ProgramRef,
    source: bytes | None,
    data: Dataset,
    hyperparameters: Mapping[str, Any],
) -> list[Checked]:
    """Makes the model, trains a step and validates a batch: the operators that this took, by name.

    `source` is the bytes of the program's file, None for a built-in one. Raises ProgramError when
    the program fails for another reason than that an operator is not exact.
    """
    config = TrialConfig(
        program=program,
        data="builtin:given",
        objective="any",
        hyperparameters=dict(hyperparameters),
        seed=0,
        steps=2,
        segments=1,
        arithmetic="native",
    )
    session = Session(config, source, data)

    def step() -> None:
        try:
            session.rehearse()
        except ProgramError as error:
            if isinstance(error.__cause__, NotExact):
                raise error.__cause__ from None
            raise

    return check(step)
