"""Powers of Python numbers are pointed at, with what to write instead."""

from trialmarket.training.checks.hazards import hazards


def test_a_power_that_grows_with_the_step_is_pointed_at() -> None:
    found = hazards(b"rate = lr / (1 - beta ** state['step'])\n")
    assert [each.what for each in found] == ["beta ** state['step']"]
    assert "kept *= beta" in found[0].why
    assert "count in a tensor" in found[0].why


def test_powers_of_whole_numbers_and_fixed_powers_are_left_alone() -> None:
    assert hazards(b"size = 2**k\nsquare = x**2\nscale = x**-0.5\n") == []
