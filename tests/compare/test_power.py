import math

import numpy as np
import pytest

from switchbench.compare.intervals import Contrast
from switchbench.compare.power import MOST_SEEDS, seeds_needed, smallest_resolvable


@pytest.mark.parametrize(("degrees", "alpha"), [(1, 0.05), (3, 0.05), (12, 0.0125), (40, 0.001)])
def test_a_difference_of_that_size_is_told_in_four_of_five_cases(degrees: int, alpha: float):
    """In 20,000 draws; chance alone makes 0.3%."""
    generator = np.random.default_rng(1)
    resolvable = smallest_resolvable(Contrast(value=0, standard_error=0.2, degrees_of_freedom=degrees), alpha=alpha)
    values = generator.normal(resolvable, 0.2, size=20_000)
    errors = 0.2 * np.sqrt(generator.chisquare(degrees, size=20_000) / degrees)
    told = sum(
        Contrast(value=value, standard_error=error, degrees_of_freedom=degrees).p_difference() <= alpha
        for value, error in zip(values.tolist(), errors.tolist(), strict=True)
    )
    assert told / 20_000 == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("margin", [0.05, 0.02, 0.005])
def test_the_seeds_that_are_needed_are_the_fewest_that_do(margin: float):
    contrast = Contrast(value=0, standard_error=0.01, degrees_of_freedom=12)
    needed = seeds_needed(contrast, margin=margin, alpha=0.05, seeds=4, sweep_seeds=4)
    assert needed is not None

    def resolvable(number: int) -> float:
        error = 0.01 * math.sqrt(4 / number)
        with_them = Contrast(value=0, standard_error=error, degrees_of_freedom=4 * (number - 1))
        return smallest_resolvable(with_them, alpha=0.05)

    assert resolvable(needed) <= margin
    assert needed == 2 or resolvable(needed - 1) > margin


def test_too_many_seeds_are_not_counted():
    contrast = Contrast(value=0, standard_error=1.0, degrees_of_freedom=12)
    assert seeds_needed(contrast, margin=1e-3, alpha=0.05, seeds=4, sweep_seeds=4) is None
    assert seeds_needed(contrast, margin=0, alpha=0.05, seeds=4, sweep_seeds=4) is None
    assert MOST_SEEDS < (2.8 * 2 / 1e-3) ** 2
