import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest
from factories import Study, make_runs, make_spec, with_seed, write_study

from switchbench.report import SweepReport, build_report, report_json
from switchbench.report.elements import Cell, Table
from switchbench.spec import RunSpec
from switchbench.store import write_run

DENSE, SPARSE = make_spec(), make_spec(num_experts=4)
MIB = 2**20
TIMES = {(DENSE, 0): (100, 80), (DENSE, 1): (100, 120), (SPARSE, 0): (90, 100)}
MEMORIES = {(DENSE, 0): (150, 200), (DENSE, 1): (150, 100), (SPARSE, 0): (330, 300)}
"""What was estimated and what was measured, in seconds and MiB."""


def write_estimated(root: Path, *, without: Sequence[str] = ()) -> SweepReport:
    studies = [Study(DENSE, {0: [1.7], 1: [1.7]}, is_twin=True), Study(SPARSE, {0: [1.6]})]
    folder = write_study(root, studies)
    for (spec, seed), (expected, took) in TIMES.items():
        estimated, measured = MEMORIES[spec, seed]
        columns = {
            "estimated_time_s": float(expected),
            "run_time_s": float(took),
            "estimated_peak_memory_bytes": estimated * MIB,
            "peak_memory_bytes": measured * MIB,
        }
        rows = make_runs(with_seed(spec, seed), nll=[1.7], **(columns | dict.fromkeys(without)))
        write_run(folder, runs=rows, steps=[], spec=with_seed(spec, seed))
    (sweep,) = build_report(root).sweeps
    return sweep


def estimates(sweep: SweepReport) -> Table:
    return next(table for table in sweep.tables if table.key == "estimates")


def cell(table: Table, spec: RunSpec, column: str) -> Cell:
    row = next(row for row in table.rows if row.config_id == spec.config_id)
    return row.cells[[column.key for column in table.columns].index(column)]


def test_estimated_and_measured_stand_side_by_side(tmp_path: Path):
    table = estimates(write_estimated(tmp_path))
    assert [row.config_id for row in table.rows] == [DENSE.config_id, SPARSE.config_id]
    dense, sparse = ([cell.text for cell in row.cells[3:]] for row in table.rows)
    assert dense == ["1 min 40 s", "1 min 40 s", "+0.0%", "150 MiB", "150 MiB", "+0.0%", "2"]
    assert sparse == ["1 min 30 s", "1 min 40 s", "-10.0%", "330 MiB", "300 MiB", "+10.0%", "1"]
    assert cell(table, SPARSE, "time_error").value == pytest.approx(-0.1)


def test_the_median_is_over_runs_not_over_configurations(tmp_path: Path):
    """Errors that cancel in a mean over seeds are errors all the same."""
    errors = write_estimated(tmp_path).estimates
    assert errors is not None
    for found, pairs in (
        (errors.median_absolute_time_error, TIMES),
        (errors.median_absolute_memory_error, MEMORIES),
    ):
        assert found == pytest.approx(statistics.median(abs(e - m) / m for e, m in pairs.values()))
        assert found > 0.1
    (note,) = estimates(build_report(tmp_path).sweeps[0]).notes
    assert "16.7% of the time over 3 runs and 25.0% of the memory over 3 runs" in note


@pytest.mark.parametrize(
    ("without", "is_timed", "is_sized"),
    [
        (["estimated_time_s"], False, True),
        (["run_time_s"], False, True),
        (["estimated_peak_memory_bytes"], True, False),
    ],
)
def test_what_was_not_estimated_or_not_measured_is_unknown(
    tmp_path: Path, without: list[str], is_timed: bool, is_sized: bool
):
    sweep = write_estimated(tmp_path, without=without)
    table, errors = estimates(sweep), sweep.estimates
    assert errors is not None
    assert (errors.time_runs > 0, errors.memory_runs > 0) == (is_timed, is_sized)
    assert (errors.median_absolute_time_error is not None) == is_timed
    assert (cell(table, DENSE, "time_error").text == "–") == (not is_timed)
    assert (cell(table, DENSE, "memory_error").text == "–") == (not is_sized)
    assert ("of the time" in table.notes[0], "of the memory" in table.notes[0]) == (is_timed, is_sized)


def test_without_estimates_there_is_no_table(tmp_path: Path):
    sweep = write_estimated(tmp_path, without=["estimated_time_s", "estimated_peak_memory_bytes"])
    assert sweep.estimates is None
    assert "estimates" not in [table.key for table in sweep.tables]
    assert json.loads(report_json(build_report(tmp_path)))["sweeps"][0]["estimates"] is None


def test_times_of_different_machines_are_said(tmp_path: Path):
    folder_of = write_estimated(tmp_path)
    assert cell(estimates(folder_of), DENSE, "run_time_s").caveats == ()
    columns = {"estimated_time_s": 10.0, "run_time_s": 9.0, "machine_id": "other"}
    study = Study(make_spec(num_experts=8), {0: [1.6]}, columns=columns)
    plain = {"estimated_time_s": 10.0, "run_time_s": 9.0}
    write_study(tmp_path / "mixed", [Study(DENSE, {0: [1.7]}, is_twin=True, columns=plain), study])
    (sweep,) = build_report(tmp_path / "mixed").sweeps
    assert cell(estimates(sweep), DENSE, "run_time_s").caveats == ("MIXED_MACHINES",)
    assert cell(estimates(sweep), DENSE, "estimated_time_s").caveats == ()


def test_for_programs(tmp_path: Path):
    write_estimated(tmp_path)
    (entry,) = json.loads(report_json(build_report(tmp_path)))["sweeps"]
    assert entry["estimates"] == {
        "time_runs": 3,
        "median_absolute_time_error": pytest.approx(20 / 120),
        "memory_runs": 3,
        "median_absolute_memory_error": pytest.approx(0.25),
    }
