"""The table of controls, the sentence about them, and their JSON."""

import json
from pathlib import Path

import pytest
from factories import Study, make_spec, write_study

from switchbench.report import SweepReport, Table, build_report
from switchbench.report.document import report_json
from switchbench.store import Control

WIDE, HALF, AGAIN = (
    make_spec(ffn={"d_ff": d_ff}, train={"replicate": replicate}) for d_ff, replicate in ((128, 0), (64, 0), (128, 1))
)
SPARSE = make_spec(num_experts=4, ffn={"d_ff": 128})
AXES = ("model.ffn.d_ff", "train.replicate")
NOISE = [0.012, -0.006, 0.002, -0.008]


def nlls(level: float, *, sign: float = 1.0) -> dict:
    return {seed: [2.0, 1.8, level + 0.01 * seed + sign * noise] for seed, noise in enumerate(NOISE)}


def studies(*, again: float = 1.60, half: float = 1.65) -> list[Study]:
    levels = ((WIDE, 1.60, 0.2), (HALF, half, -0.2), (AGAIN, again, 1.0))
    return [
        Study(spec, nlls(level, sign=sign), settings=dict.fromkeys(AXES))
        for spec, level, sign in levels
    ]  # fmt: skip


def control(name: str, a, b, expect=None) -> Control:
    return Control(name=name, a=a.config_id, b=b.config_id, expect=expect)


SAME = control("same", WIDE, AGAIN, "none")
LESS = control("half", WIDE, HALF, "a")


def report_of(tmp_path: Path, written: list[Study], *controls: Control) -> SweepReport:
    write_study(tmp_path, written, axes=AXES, controls=controls)
    return build_report(tmp_path).sweeps[0]


def table_of(sweep: SweepReport) -> Table:
    (table,) = [table for table in sweep.tables if table.key == "controls"]
    return table


def texts(table: Table) -> dict[str, list[str]]:
    return {column.key: [row.cells[i].text for row in table.rows] for i, column in enumerate(table.columns)}


def test_what_came_out_stands_in_a_table(tmp_path: Path):
    sweep = report_of(tmp_path, studies(), SAME, LESS)
    table = table_of(sweep)
    shown = texts(table)
    assert shown["control"] == ["same", "half"]
    assert shown["a"] == ["dense, d ff 128, replicate 0"] * 2
    assert shown["b"] == ["dense, d ff 128, replicate 1", "dense, d ff 64, replicate 0"]
    low, high = sweep.controls[1].interval
    assert shown["delta_nll"][1] == f"-0.050 [±{(high - low) / 2:.3f}]"
    assert shown["verdict"] == ["unresolved", "a better"]
    assert shown["expected"] == ["neither better", "a better"]
    assert shown["came_out"] == ["yes", "yes"]
    assert "corrected for the number of controls" in table.notes[0]
    assert "Repetitions share no random numbers" in table.notes[0]
    assert sweep.summary.endswith(" All of its 2 controls came out.")


def test_a_control_that_fails_is_in_the_summary(tmp_path: Path):
    sweep = report_of(tmp_path, studies(again=1.75, half=1.601), SAME, LESS)
    assert texts(table_of(sweep))["came_out"] == ["no", "no"]
    assert (
        "Control 'same' failed: neither side was to be better, and a is by 0.150 nats (p < 0.001). Either"
        in sweep.summary
    )
    assert "the noise is larger than it is taken to be: distrust the other verdicts." in sweep.summary
    assert "Control 'half' failed: a was to be better, and it is unresolved (p = 0.62): the sweep does" in sweep.summary


def test_a_side_that_wins_where_the_other_was_to(tmp_path: Path):
    sweep = report_of(tmp_path, studies(), control("half", WIDE, HALF, "b"))
    assert "Control 'half' failed: b was to be better, and a is by 0.050 nats (p < 0.001): the sweep" in sweep.summary


def test_what_has_not_run_has_not_come_out(tmp_path: Path):
    written = studies()
    written[1] = Study(HALF, dict.fromkeys(range(4)), step_time_s=None)
    sweep = report_of(tmp_path, written, SAME, LESS)
    shown = texts(table_of(sweep))
    assert (shown["b"][1], shown["delta_nll"][1], shown["verdict"][1], shown["came_out"][1]) == (
        "not run yet",
        "–",
        "–",
        "–",
    )
    assert "control" not in sweep.summary


def test_a_control_of_which_nothing_was_expected_is_only_shown(tmp_path: Path):
    sweep = report_of(tmp_path, studies(), control("half", WIDE, HALF))
    assert texts(table_of(sweep))["came_out"] == ["–"]
    assert "control" not in sweep.summary


def test_the_json_has_them_and_a_sweep_without_any_has_none(tmp_path: Path):
    write_study(tmp_path, studies(), axes=AXES, controls=[SAME, LESS])
    write_study(tmp_path, [*studies()[:1], Study(SPARSE, nlls(1.5))], name="other")
    document = json.loads(report_json(build_report(tmp_path)))
    capacity, other = document["sweeps"]
    assert other["controls"] == []
    assert "controls" not in [table["key"] for table in other["tables"]]
    same, half = capacity["controls"]
    assert (same["name"], same["a"], same["b"]) == ("same", WIDE.config_id, AGAIN.config_id)
    assert (same["expected"], same["verdict"], same["came_out"], same["is_paired"]) == (
        "none",
        "unresolved",
        True,
        False,
    )
    assert (half["expected"], half["verdict"], half["came_out"], half["is_paired"]) == ("a", "a better", True, True)
    assert half["value"] == pytest.approx(-0.05)
    assert half["ci95"][0] < half["value"] < half["ci95"][1] < 0


def test_runs_that_diverged_cannot_win(tmp_path: Path):
    written = studies()
    written[1] = Study(HALF, dict.fromkeys(range(4), "diverged"))
    sweep = report_of(tmp_path, written, LESS)
    assert texts(table_of(sweep))["verdict"] == ["a better"]
    assert sweep.controls[0].came_out
