import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchbench.information import entropy, mutual_information

TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 30), min_size=width, max_size=width), min_size=1, max_size=4)
).filter(lambda table: sum(map(sum, table)) > 0)  # fmt: skip


@given(TABLES)
def test_mutual_information_is_the_sum_over_pairs_less_its_bias(table: list[list[int]]) -> None:
    total = sum(map(sum, table))
    rows, columns = [sum(row) for row in table], [sum(column) for column in zip(*table, strict=True)]
    plain = sum(
        count / total * math.log(count * total / (rows[x] * columns[y]))
        for x, row in enumerate(table)
        for y, count in enumerate(row)
        if count
    )
    seen = [sum(map(bool, counts)) for counts in (rows, columns, [count for row in table for count in row])]
    bias = (seen[2] - seen[0] - seen[1] + 1) / (2 * total)
    assert mutual_information(table) == pytest.approx(plain - bias, abs=1e-9)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any))
def test_what_decides_the_other_tells_all_of_it(counts: list[int]) -> None:
    assert mutual_information(np.diag(counts)) == pytest.approx(entropy(counts), abs=1e-9)


def test_what_has_nothing_to_do_with_the_other_tells_nothing_on_average() -> None:
    """The plain estimate of 4 x 8 cases from 500 draws is 21/1000 nats too high; the mean of 200 is within 4 errors."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(200):
        table = np.zeros((4, 8), dtype=np.int64)
        np.add.at(table, (random.integers(0, 4, 500), random.integers(0, 8, 500)), 1)
        found.append(mutual_information(table))
    error = np.std(found) / math.sqrt(200)
    assert abs(np.mean(found)) < 4 * error < 0.003
