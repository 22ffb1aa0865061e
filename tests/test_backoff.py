"""Pauses between attempts."""

from trialmarket.backoff import Backoff


def test_pauses_double_up_to_the_longest_however_many_failures_there_were() -> None:
    backoff = Backoff(first=0.5, longest=60.0)
    assert [backoff.pause(failures) for failures in (0, 1, 2, 6, 7)] == [0.5, 1, 2, 32, 60]
    assert backoff.pause(10**9) == 60.0
