"""What lies below the nll: the known floor, and the nll of text that was trained on."""

from pathlib import Path

import pytest
from factories import Study, make_spec, write_study

from switchbench.report import build_report
from switchbench.report.elements import Cell, Table

DENSE, SPARSE = make_spec(), make_spec(num_experts=4)
GOOD = {0: [2.0, 1.8, 1.70], 1: [2.0, 1.8, 1.72]}
BETTER = {0: [1.9, 1.7, 1.62], 1: [1.9, 1.7, 1.65]}


def tables_of(tmp_path: Path, **columns: object) -> dict[str, Table]:
    studies = [Study(SPARSE, BETTER, columns=columns), Study(DENSE, GOOD, is_twin=True, columns=columns)]
    write_study(tmp_path, studies)
    (sweep,) = build_report(tmp_path).sweeps
    return {table.key: table for table in sweep.tables}


def cell(shown: Table, config_id: str, column: str) -> Cell:
    row = next(row for row in shown.rows if row.config_id == config_id)
    return row.cells[[column.key for column in shown.columns].index(column)]


def test_text_of_unknown_entropy_that_is_seen_once_has_neither_table(tmp_path: Path):
    assert not {"floor", "overfitting"} & set(tables_of(tmp_path, train_text_nll=1.5, epochs=0.9))


def test_the_excess_is_over_the_floor_of_the_same_text(tmp_path: Path):
    floor = tables_of(tmp_path, nll_floor=1.5)["floor"]
    excess = cell(floor, DENSE.config_id, "nll_excess")
    assert excess.value == pytest.approx(1.71 - 1.5)
    assert excess.spread == pytest.approx(0.02 / 2**0.5)
    assert excess.text == "0.210 ± 0.014"
    assert cell(floor, DENSE.config_id, "nll_floor").value == 1.5
    assert cell(floor, SPARSE.config_id, "nll_excess").value == pytest.approx(1.635 - 1.5)
    assert "favors sparse models by construction" in floor.notes[0]


def test_a_model_that_looks_better_than_the_floor_is_shown_so(tmp_path: Path):
    floor = tables_of(tmp_path, nll_floor=1.70)["floor"]
    assert cell(floor, SPARSE.config_id, "nll_excess").text == "-0.065 ± 0.021"


def test_the_gap_between_held_out_and_seen_text(tmp_path: Path):
    shown = tables_of(tmp_path, train_text_nll=1.5, epochs=4.0)["overfitting"]
    assert cell(shown, SPARSE.config_id, "overfitting").value == pytest.approx(1.635 - 1.5)
    assert cell(shown, SPARSE.config_id, "train_text_nll").value == 1.5
