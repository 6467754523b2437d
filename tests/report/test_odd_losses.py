"""Reports of sweeps whose losses are not what losses are: never a traceback, never a number that pretends."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from switchbench.record import RunRecord
from switchbench.report.document import report_json
from switchbench.report.sweeps import build_report
from switchbench.store import read_manifest, read_runs, write_manifest, write_run
from tests.factories import Study, make_spec, with_seed, write_study

DENSE, SPARSE, WIDE = make_spec(), make_spec(num_experts=4), make_spec(num_experts=16)
PLAIN = [1.70, 1.72, 1.69]
ODD = {
    "nan": [1.70, math.nan, 1.69],
    "infinite": [math.inf, -math.inf, 1.69],
    "huge": [1.70, 1e300, 1.69],
    "all huge": [1e300, 2e300, 1e154],
    "negative": [-1.70, -1.71, -1.69],
    "zero": [0.0, 0.0, 0.0],
    "tiny": [5e-324, 1e-300, 1e-200],
    "equal": [1.7, 1.7, 1.7],
    "one": [1.7],
    "none": [],
}


def report_of(root: Path, dense: list[float], sparse: list[float], *, confidence: float) -> dict[str, Any]:
    """A sweep of a dense and two sparse configurations that ended with these losses."""
    losses = {DENSE.config_id: dense, SPARSE.config_id: sparse, WIDE.config_id: PLAIN}
    folder = write_study(
        root,
        [
            Study(spec, {seed: [2.0, 1.9, 1.8] for seed in range(len(losses[spec.config_id]))}, is_twin=spec is DENSE)
            for spec in (DENSE, SPARSE, WIDE)
        ],
    )
    ends = {row.run_id: row for row in read_runs(folder) if row.parent_run_id is None}
    for spec in (DENSE, SPARSE, WIDE):
        for seed, nll in enumerate(losses[spec.config_id]):
            one = with_seed(spec, seed)
            changed: RunRecord = ends[one.run_id].model_copy(update={"nll": nll, "bits_per_byte": nll / math.log(2)})
            others = [row for row in read_runs(folder) if row.parent_run_id == one.run_id]
            write_run(folder, runs=[*others, changed], steps=[], spec=one)
    write_manifest(folder, read_manifest(folder).model_copy(update={"confidence": confidence}))
    document: dict[str, Any] = json.loads(report_json(build_report(root)))
    return document


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("confidence", [0.95, 0.999999])
def test_odd_losses_end_in_no_traceback_and_in_no_bare_number(tmp_path: Path, odd: str, confidence: float) -> None:
    dense, sparse = (PLAIN, ODD[odd]) if confidence == 0.95 else (ODD[odd], ODD[odd])
    document = report_of(tmp_path, dense, sparse, confidence=confidence)
    assert document["sweeps"][0]["verdict"]["confidence"] == confidence
    for each in document["comparisons"]:
        if each["value"] is not None and each["measure"] not in ("flops_ratio_provisioned", "step_time_ratio"):
            assert each["ci95"] or each["bound"] or each["caveats"], each


@pytest.mark.parametrize("odd", ["nan", "huge"])
def test_a_run_that_says_it_went_well_with_an_impossible_loss_has_diverged(tmp_path: Path, odd: str) -> None:
    document = report_of(tmp_path, PLAIN, ODD[odd], confidence=0.95)
    (difference,) = (
        each for each in document["comparisons"]
        if each["measure"] == "delta_nll" and each["sparse"] == SPARSE.config_id and each["matched_on"] != "iso_time"
    )  # fmt: skip
    assert difference["seeds"] == [0, 2]
    assert "DIVERGED_RUNS" in difference["caveats"]
    assert difference["verdict"] != "sparse"


def test_a_negative_loss_is_none(tmp_path: Path) -> None:
    document = report_of(tmp_path, PLAIN, ODD["negative"], confidence=0.95)
    found = [each for each in document["comparisons"] if each["sparse"] == SPARSE.config_id]
    assert found
    assert all(each["value"] is None for each in found if each["measure"] == "delta_nll")
    assert all("MISSING_RUNS" in each["caveats"] for each in found if each["measure"] == "delta_nll")


def test_where_all_losses_are_equal_the_intervals_are_said_to_mean_nothing(tmp_path: Path) -> None:
    document = report_of(tmp_path, ODD["equal"], ODD["equal"], confidence=0.95)
    notes = [note for table in document["sweeps"][0]["tables"] if table["key"] == "verdicts" for note in table["notes"]]
    assert notes
    assert not any("no interval means anything" in note for note in notes)  # the third configuration does vary
    folder = tmp_path / "all"
    document = write_equal(folder)
    notes = [note for table in document["sweeps"][0]["tables"] if table["key"] == "verdicts" for note in table["notes"]]
    assert any("no interval means anything" in note for note in notes)


def write_equal(root: Path) -> dict[str, Any]:
    """Two configurations all of whose runs ended with the same loss."""
    equal = {seed: [2.0, 1.9, 1.7] for seed in range(3)}
    write_study(root, [Study(DENSE, equal, is_twin=True), Study(SPARSE, equal)])
    document: dict[str, Any] = json.loads(report_json(build_report(root)))
    return document
