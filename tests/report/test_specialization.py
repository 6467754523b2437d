import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchbench.data.token_classes import TOKEN_CLASSES
from switchbench.information import entropy, mutual_information
from switchbench.report import build_report
from switchbench.report.elements import Row, Table
from switchbench.report.specialization import preference_of
from switchbench.store import read_run, write_run
from tests.factories import Study, make_spec, with_seed, write_study

LETTERS_OR_DIGITS = [[90, 10, 0, 0, 0, 0, 0, 0], [10, 90, 0, 0, 0, 0, 0, 0]]
CARELESS = [[50, 50, 0, 0, 0, 0, 0, 0], [50, 50, 0, 0, 0, 0, 0, 0]]
SPACES = [[0, 0, 99, 1, 0, 0, 0, 0], [100, 50, 1, 0, 0, 0, 0, 0]]


def specialization_of(root: Path) -> Table | None:
    (sweep,) = build_report(root).sweeps
    return next((table for table in sweep.tables if table.key == "specialization"), None)


def cells_of(table: Table, row: Row) -> dict[str, Any]:
    return {column.key: cell for column, cell in zip(table.columns, row.cells, strict=True)}


def study(counts: list[list[list[int]]] | None, information: list[float] | None, *, num_experts: int = 2) -> Study:
    columns = {
        "token_classes_by_expert": counts,
        "expert_token_information": information,
        "held_out_token_entropy": None if information is None else 2.0,
    }
    return Study(make_spec(num_experts=num_experts), {0: [1.7], 1: [1.7]}, columns=columns)


def test_a_row_per_sparse_layer(tmp_path: Path) -> None:
    write_study(
        tmp_path,
        [
            Study(make_spec(), {0: [1.7], 1: [1.7]}, is_twin=True),
            study([LETTERS_OR_DIGITS, CARELESS], [0.5, -0.001]),
            study([SPACES], [1.0], num_experts=4),
        ],
    )
    table = specialization_of(tmp_path)
    assert table is not None
    rows = [cells_of(table, row) for row in table.rows]
    assert [(row["num_experts"].text, row["sparse_layer"].text) for row in rows] == [("2", "1"), ("2", "2"), ("4", "1")]
    assert [row.starts_group for row in table.rows] == [True, False, True]
    for row, counts in zip(rows, (LETTERS_OR_DIGITS, CARELESS, SPACES), strict=True):
        information = mutual_information(counts)
        assert row["class_information"].value == pytest.approx(information)
        share = information / entropy([sum(column) for column in zip(*counts, strict=True)])
        assert row["class_information_share"].value == pytest.approx(share)
    assert rows[0]["preferred_class"].text in ("letters 90.0%, text 50.0%", "digits 90.0%, text 50.0%")
    assert rows[2]["preferred_class"].text == "whitespace 99.0%, text 39.8%"
    assert [row["expert_token_information"].value for row in rows] == pytest.approx([0.5, -0.001, 1.0])
    assert [row["token_information_share"].value for row in rows] == pytest.approx([0.25, -0.0005, 0.5])


def test_what_was_not_counted_is_unknown(tmp_path: Path) -> None:
    """Symbols have no classes, and the tokens of a large vocabulary are not counted one by one."""
    write_study(tmp_path, [study(None, [0.5]), study([SPACES], None, num_experts=4)])
    table = specialization_of(tmp_path)
    assert table is not None
    symbols, large = (cells_of(table, row) for row in table.rows)
    assert (symbols["class_information"].text, symbols["preferred_class"].text) == ("–", "–")
    assert symbols["expert_token_information"].value == 0.5
    assert large["class_information"].value > 0.5
    assert (large["expert_token_information"].text, large["token_information_share"].text) == ("–", "–")


def test_runs_of_before_and_dense_ones_have_no_such_table(tmp_path: Path) -> None:
    write_study(tmp_path, [study(None, None), Study(make_spec(), {0: [1.7]}, is_twin=True)])
    assert specialization_of(tmp_path) is None


def test_the_published_results_have_been_read_without_these_columns() -> None:
    """They were written before there were any."""
    root = Path(__file__).parents[2] / "results" / "reference"
    (sweep,) = build_report(root, sweep="capacity").sweeps
    assert "routing" in {table.key for table in sweep.tables}


@given(st.lists(st.lists(st.integers(0, 40), min_size=8, max_size=8), min_size=1, max_size=5))
def test_the_preference_is_that_of_the_expert_that_contributes_most(counts: list[list[int]]) -> None:
    found = preference_of(counts)
    total = sum(map(sum, counts))
    if total == 0:
        assert found is None
        return
    text = [sum(column) / total for column in zip(*counts, strict=True)]
    contributions = {}
    for expert, row in enumerate(counts):
        within = [count / max(sum(row), 1) for count in row]
        gains = [p * math.log(p / q) if p else 0.0 for p, q in zip(within, text, strict=True)]
        contributions[expert] = (sum(row) / total * sum(gains), gains, within)
    best = max(contribution for contribution, _, _ in contributions.values())
    assert found is not None
    place = TOKEN_CLASSES.index(found.token_class)
    assert any(
        contribution == pytest.approx(best, abs=1e-12)
        and gains[place] == pytest.approx(max(gains), abs=1e-12)
        and within[place] == pytest.approx(found.share)
        for contribution, gains, within in contributions.values()
    )
    assert found.share_of_text == pytest.approx(text[place])


def test_seeds_that_differ(tmp_path: Path) -> None:
    """Two seeds of one configuration, the second of which knows letters where the first knows spaces."""

    folder = write_study(tmp_path, [study([SPACES], [1.0])])
    spec = with_seed(make_spec(num_experts=2), 1)
    rows = [
        row.model_copy(update={"token_classes_by_expert": [LETTERS_OR_DIGITS]}) for row in read_run(folder, spec.run_id)
    ]
    write_run(folder, runs=rows, steps=[], spec=spec)
    table = specialization_of(tmp_path)
    assert table is not None
    (row,) = (cells_of(table, row) for row in table.rows)
    informations = [mutual_information(SPACES), mutual_information(LETTERS_OR_DIGITS)]
    assert row["class_information"].value == pytest.approx(statistics.fmean(informations))
    assert row["class_information"].spread == pytest.approx(statistics.stdev(informations))
    assert row["preferred_class"].text == "whitespace 99.0%, text 39.8% (1 of 2 seeds)"
