import math
from pathlib import Path

import pytest
from factories import Study, make_spec, write_study
from hypothesis import given
from hypothesis import strategies as st

from switchbench import units
from switchbench.report import SweepReport, Table, build_report
from switchbench.report.aggregates import ratio_text
from switchbench.report.cells import REFERENCE, speedup_cell, spread_text
from switchbench.report.elements import Cell, place_footnotes
from tests.compare.made_up import make_pair

DENSE, SPARSE = make_spec(), make_spec(num_experts=4, capacity_factor=2.0)
GOOD = {0: [2.0, 1.8, 1.70], 1: [2.0, 1.8, 1.72]}
BETTER = {0: [1.9, 1.7, 1.62], 1: [1.9, 1.7, 1.65]}


def report_of(tmp_path: Path, *studies: Study) -> SweepReport:
    write_study(tmp_path, studies)
    (sweep,) = build_report(tmp_path).sweeps
    return sweep


def cell(sweep: SweepReport, key: str, config_id: str, column: str) -> Cell:
    shown: Table = next(table for table in sweep.tables if table.key == key)
    row = next(row for row in shown.rows if row.config_id == config_id)
    return row.cells[[column.key for column in shown.columns].index(column)]


# Spreads and intervals


@pytest.mark.parametrize(
    ("value", "spread", "format_", "text"),
    [
        (28.62, 0.44, units.duration, "28.6 ± 0.4 s"),
        (0.0264, 0.00021, units.duration, "26.4 ± 0.2 ms"),
        (75.0, 3.2, units.duration, "1 min 15 s ± 3.20 s"),
        (0.0912, 0.0117, units.percent, "9.12 ± 1.17%"),
        (0.00248, 0.00069, units.percent, "0.248 ± 0.069%"),
        (70.9 * 2**20, 3.2 * 2**20, units.size, "70.9 ± 3.2 MiB"),
        (0.0411, 0.0138, units.significant, "0.0411 ± 0.0138"),
        (-1.6462, 0.0081, lambda value: f"{value:.3f}", "-1.646 ± 0.008"),
        (0.0, 0.0, units.percent, "0%"),
        (1234.0, None, units.significant, "1234"),
    ],
)
def test_a_spread_takes_unit_and_decimals_of_its_number(value, spread, format_, text):
    assert spread_text(Cell(text="", value=value, spread=spread), format_) == text


@given(center=st.floats(0.2, 5.0), width=st.floats(0, 0.5))
def test_the_ends_of_an_interval_stand_on_their_own_side_of_1(center: float, width: float):
    """Unless they are closer to it than a twenty-thousandth."""
    ends = center * math.exp(-width), center * math.exp(width)
    text = ratio_text(center, ci95=ends)
    for end, shown in zip(ends, text.partition("[")[2].rstrip("]").split(", "), strict=True):
        assert float(shown) == pytest.approx(end, rel=0.006)
        assert (float(shown) < 1, float(shown) > 1) == (end < 1, end > 1) or abs(end - 1) < 6e-5


def test_an_interval_has_three_digits():
    assert ratio_text(1.0117, ci95=(0.9863, 1.0377)) == "1.01x [0.986, 1.04]"


# Numbers for programs


def test_a_bound_and_an_interval_are_there_for_programs():
    bound = make_pair({0: [2.0, 1.8, 1.7]}, {0: [1.5, 1.4, 1.3]}).measured("step_speedup")
    assert speedup_cell(bound, is_twin=False).bound == "lower"
    exact = make_pair(GOOD, BETTER).measured("step_speedup")
    assert exact.ci95 is not None
    assert speedup_cell(exact, is_twin=False).ci95 == exact.ci95
    assert speedup_cell(None, is_twin=True) == REFERENCE
    assert REFERENCE.value == 1.0


def test_flops_speedups_stand_beside_the_others(tmp_path: Path):
    sweep = report_of(tmp_path, Study(DENSE, GOOD, is_twin=True), Study(SPARSE, BETTER))
    found = {comparison.measure: comparison.value for comparison in sweep.comparisons}
    for measure in ("flops_speedup_provisioned", "flops_speedup_executed"):
        assert cell(sweep, "head_to_head", SPARSE.config_id, measure).value == found[measure]
        assert cell(sweep, "head_to_head", DENSE.config_id, measure) == REFERENCE


# Doubts of a single column


@pytest.mark.parametrize("caveat", ["EVALUATION_HEAVY", "SHARED_GPU"])
def test_a_doubt_of_the_wall_clock_alone(tmp_path: Path, caveat: str):
    sweep = report_of(tmp_path, Study(DENSE, GOOD, is_twin=True), Study(SPARSE, BETTER, columns={"caveats": [caveat]}))
    doubted = {
        (column.key, row.config_id)
        for table in sweep.tables
        for row in table.rows
        for column, found in zip(table.columns, row.cells, strict=True)
        if caveat in found.caveats
    }
    assert doubted == {("wall_clock_s", SPARSE.config_id)}


def test_a_held_out_part_cut_from_files_is_a_doubt_of_quality(tmp_path: Path):
    cut = {"caveats": ["CUT_FILES"]}
    sweep = report_of(tmp_path, Study(DENSE, GOOD, is_twin=True, columns=cut), Study(SPARSE, BETTER, columns=cut))
    for column in ("neg_log_perplexity", "perplexity", "bits_per_byte"):
        assert cell(sweep, "head_to_head", DENSE.config_id, column).caveats == ("CUT_FILES",)
    assert cell(sweep, "cost", DENSE.config_id, "wall_clock_s").caveats == ()


def test_a_busy_machine_is_a_doubt_of_all_that_is_made_of_step_times(tmp_path: Path):
    busy = {"cpu_share": 0.5}
    sweep = report_of(
        tmp_path,
        Study(DENSE, GOOD, is_twin=True, timing_columns={"cpu_share": 1.0}),
        Study(SPARSE, BETTER, timing_columns=busy),
    )
    for key, column in (
        ("head_to_head", "time_to_quality_s"),
        ("head_to_head", "tokens_per_second"),
        ("head_to_head", "time_speedup"),
        ("cost", "step_time_s"),
        ("capacity", "step_time_s"),
    ):
        assert "BUSY_MACHINE" in cell(sweep, key, SPARSE.config_id, column).caveats
    assert "BUSY_MACHINE" not in cell(sweep, "cost", DENSE.config_id, "step_time_s").caveats
    assert "BUSY_MACHINE" not in cell(sweep, "head_to_head", SPARSE.config_id, "step_speedup").caveats


def test_step_times_of_two_passes_are_a_doubt_of_their_ratio_alone(tmp_path: Path):
    later = {"timed_at": "2026-01-02T00:00:00+00:00"}
    sweep = report_of(tmp_path, Study(DENSE, GOOD, is_twin=True), Study(SPARSE, BETTER, timing_columns=later))
    assert "TIMED_APART" in cell(sweep, "head_to_head", SPARSE.config_id, "time_speedup").caveats
    assert "TIMED_APART" not in cell(sweep, "head_to_head", SPARSE.config_id, "time_to_quality_s").caveats
    sentences = place_footnotes(sweep.tables[0]).sentences.values()
    assert sum(sentence.startswith("Not timed together") for sentence in sentences) == 1
