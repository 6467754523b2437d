"""The law of a sweep in its report: a table, the whole answer for programs, and a sentence where there is none."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from factories import Study, make_runs, make_spec, write_study

from switchbench.fitting import backtest_words
from switchbench.fitting.sweeps import SweepFit, matmul_parameters
from switchbench.report import SweepReport, build_report, report_json
from switchbench.report.elements import Cell, Table
from switchbench.report.fits import fits_table


def write_sizes(root: Path, *, sizes: tuple[str, ...] = ("xxs", "xs", "s", "m")) -> SweepReport:
    """Dense and sparse runs of several sizes that follow ``routed`` with g = 0.5, two seeds each."""
    studies = []
    for size in sizes:
        for e in (1, 4, 8):
            spec = make_spec(size=size, num_experts=None if e == 1 else e)
            n = matmul_parameters(make_runs(spec, nll=[1.0])[0])
            nll = 1.2 + 9 * (n * e**0.5) ** -0.2
            outcomes = {seed: [nll * (1 + 0.001 * math.sin(n + 5 * e + 3 * seed))] for seed in (0, 1)}
            studies.append(Study(spec, outcomes, is_twin=e == 1))
    write_study(root, studies)
    (sweep,) = build_report(root).sweeps
    return sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepReport:
    return write_sizes(tmp_path_factory.mktemp("sizes"))


@pytest.fixture(scope="module")
def table(sweep: SweepReport) -> Table:
    return next(table for table in sweep.tables if table.key == "fits")


def values(table: Table, quantity: str) -> list[Cell]:
    return [row.cells[4] for row in table.rows if row.cells[0].value == quantity]


def test_the_numbers_are_those_of_the_answer(sweep: SweepReport, table: Table):
    (answer,) = sweep.fits
    assert answer["law"] == "routed"
    assert answer["formula"] in table.title
    for name, parameter in answer["parameters"].items():
        (cell,) = values(table, name)
        assert (cell.value, list(cell.ci95 or ())) == (parameter["value"], list(parameter["ci95"]))
    worth = values(table, "N_eff/N")
    assert [cell.value for cell in worth] == [each["value"] for each in answer["derived"]["n_eff_over_n"]]
    assert [cell.value for cell in worth] == pytest.approx([2, 8**0.5], rel=0.05)
    assert len(values(table, "dense-equivalent params")) == 2
    assert len(values(table, "predicted nll")) == 3
    goodness = answer["goodness"]
    for key, value in (("rms_ln", goodness["rms_ln"]), ("hold_out_mean_ln", goodness["hold_out"]["mean_ln"])):
        assert [cell.value for cell in values(table, key)] == [value]
    keys = [row.cells[0].value for row in table.rows]
    assert keys[-1] == "r2"
    assert keys.index("leave_one_size_out_rms_ln") < keys.index("aicc")


def test_doubt_stands_at_the_numbers_and_under_the_table(sweep: SweepReport, table: Table):
    (answer,) = sweep.fits
    whole = {code for code in answer["caveats"] if code not in ("UNIDENTIFIED", "AT_BOUND")}
    assert "FEW_SIZES" in whole
    for row in table.rows:
        assert whole <= set(row.cells[4].caveats)
    assert all("EXTRAPOLATED" in cell.caveats for cell in values(table, "dense-equivalent params"))
    assert not any("EXTRAPOLATED" in cell.caveats for cell in values(table, "predicted nll"))
    notes = " ".join(table.notes)
    assert "routed, as the runs differ in size and experts; fitted to 24 annealed points of 24." in notes
    assert backtest_words(answer["backtest"]) in table.notes
    assert answer["backtest"]["num_trials"] == 1
    assert "Gains over dense at the largest size" in notes
    assert "{" not in notes


def test_programs_get_the_whole_answer(tmp_path: Path):
    write_sizes(tmp_path)
    (written,) = json.loads(report_json(build_report(tmp_path)))["sweeps"]
    assert written["fits"][0]["parameters"]["g"]["value"] == pytest.approx(0.5, rel=0.1)
    assert {"backtest", "goodness", "derived", "rows", "caveats"} <= set(written["fits"][0])
    assert "fits" in [table["key"] for table in written["tables"]]


def test_where_there_are_too_few_sizes_one_sentence_says_so(tmp_path: Path):
    sweep = write_sizes(tmp_path, sizes=("xxs", "xs"))
    assert sweep.fits == ()
    assert "fits" not in [table.key for table in sweep.tables]
    (said,) = [note for note in sweep.notes if note.startswith("No law of loss is fitted")]
    assert "at least 3 sizes, and these are of 2" in said
    assert fits_table(SweepFit(answer=None, reason=said)) is None


def test_settings_that_the_law_ignores_are_a_caveat(sweep: SweepReport):
    rows = tuple(sweep.runs)
    (answer,) = sweep.fits
    found = SweepFit(answer=answer, reason="", rows=rows)
    mixed = replace(found, rows=(*rows, rows[0].model_copy(update={"config_id": "other"})))
    for each, expected in ((found, False), (mixed, True)):
        drawn = fits_table(each)
        assert drawn is not None
        assert all(("VARYING_SETTINGS" in row.cells[4].caveats) == expected for row in drawn.rows)


def test_runs_that_have_hardly_begun_are_no_evidence_of_what_a_size_is_good_for(sweep: SweepReport, table: Table):
    assert not any("how fast learning starts" in note for note in table.notes)
    rows = tuple(row.model_copy(update={"step": 20}) for row in sweep.runs)
    short = fits_table(SweepFit(answer=dict(sweep.fits[0]), reason="routed", rows=rows))
    assert short is not None
    assert any(note.startswith("These are runs of 20 steps") for note in short.notes)
    mixed = fits_table(SweepFit(answer=dict(sweep.fits[0]), reason="routed", rows=(*rows, *sweep.runs)))
    assert mixed is not None
    assert any(note.startswith("Some of these are runs of 20 steps") for note in mixed.notes)
