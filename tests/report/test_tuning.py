"""The report of a sweep that tunes: tries stand in their own table and in nothing else."""

import json
from pathlib import Path

import pytest

from switchbench.caveats import Caveat
from switchbench.errors import NothingToReportError
from switchbench.fitting.files import read_table
from switchbench.report import build_report
from switchbench.report.document import report_document
from switchbench.report.tuning import tuning_table
from switchbench.spec import RunSpec
from switchbench.store import (
    ManifestCell,
    SweepFolder,
    TunedConfiguration,
    TuningTry,
    read_manifest,
    write_manifest,
    write_run,
)
from switchbench.store.frames import load_runs
from tests.factories import Study, make_runs, make_spec, with_seed, write_study

RATES = (0.005, 0.01, 0.02)
SEED = 1000
NLL = {0.005: 1.9, 0.01: 1.8, 0.02: 1.7}


def spec_with(rate: float, *, num_experts: int | None = None) -> RunSpec:
    return make_spec(num_experts=num_experts, train={"learning_rate": rate})


def write_tuned(root: Path, *, is_pending: bool = False) -> SweepFolder:
    """Dense is best in the middle, sparse at the edge; the dense try at 0.02 diverged."""
    dense, sparse = spec_with(0.01), spec_with(0.02, num_experts=4)
    nll = [2.0, 1.8, 1.7]
    folder = write_study(root, [Study(dense, {0: nll, 1: nll}, is_twin=True), Study(sparse, {0: nll, 1: nll})])
    cells, tuned = [], []
    for best, experts, edge in ((dense, None, ()), (sparse, 4, ("train.learning_rate",))):
        tries = []
        for rate in RATES:
            spec = with_seed(spec_with(rate, num_experts=experts), SEED)
            failed = experts is None and rate == 0.02
            rows = make_runs(spec, nll=[None if failed else NLL[rate]], status="diverged" if failed else "ok")
            write_run(folder, runs=rows, steps=[], spec=spec)
            cells.append(
                ManifestCell(
                    run_id=spec.run_id,
                    config_id=spec.config_id,
                    seed=SEED,
                    role="tuning",
                    settings={"train.learning_rate": rate, "seed": SEED},
                    spec=spec.model_dump(mode="json"),
                )
            )
            tries.append(
                TuningTry(
                    values={"train.learning_rate": rate},
                    run_ids=(spec.run_id,),
                    nll=None if failed else NLL[rate],
                    failed=failed,
                )
            )
        tuned.append(
            TunedConfiguration(
                kind="dense" if experts is None else "sparse",
                settings={} if experts is None else {"model.ffn.num_experts": experts},
                tries=tuple(tries),
                chosen={"train.learning_rate": best.train.learning_rate},
                at_edge=edge,
                config_id=best.config_id,
            )
        )
    manifest = read_manifest(folder)
    reported = () if is_pending else manifest.cells
    update = {"cells": (*cells, *reported), "tuning": tuple(tuned), "pending": 4 if is_pending else 0}
    write_manifest(folder, manifest.model_copy(update=update))
    return folder


def test_tries_are_in_no_other_table_count_or_comparison(tmp_path: Path) -> None:
    write_tuned(tmp_path / "tuned")
    (report,) = build_report(tmp_path / "tuned").sweeps
    nll = [2.0, 1.8, 1.7]
    studies = [
        Study(spec_with(0.01), {0: nll, 1: nll}, is_twin=True),
        Study(spec_with(0.02, num_experts=4), {0: nll, 1: nll}),
    ]
    write_study(tmp_path / "plain", studies)
    (plain,) = build_report(tmp_path / "plain").sweeps
    assert report.counts == plain.counts
    assert (report.runs, report.earlier, report.timings) == (plain.runs, plain.earlier, plain.timings)
    assert report.scaling == plain.scaling
    assert [table.key for table in report.tables] == [*(table.key for table in plain.tables), "tuning"]
    assert {comparison.value for comparison in report.comparisons} == {c.value for c in plain.comparisons}


def test_the_table_shows_the_tries_the_choice_and_the_edge(tmp_path: Path) -> None:
    write_tuned(tmp_path)
    document = json.loads(json.dumps(report_document(build_report(tmp_path))))
    (table,) = [table for table in document["sweeps"][0]["tables"] if table["key"] == "tuning"]
    rows = [row["cells"] for row in table["rows"]]
    assert [
        (row["configuration"]["text"], row["train.learning_rate"]["value"], row["nll"]["text"], row["choice"]["text"])
        for row in rows
    ] == [
        ("dense", 0.005, "1.900", ""),
        ("dense", 0.01, "1.800", "chosen of 3"),
        ("dense", 0.02, "failed", ""),
        ("4 experts", 0.005, "1.900", ""),
        ("4 experts", 0.01, "1.800", ""),
        ("4 experts", 0.02, "1.700", "chosen of 3, at the edge"),
    ]
    assert [row["choice"]["caveats"] for row in rows] == [[]] * 5 + [["TUNED_AT_EDGE"]]


def test_where_configurations_lack_a_tuned_field_its_column_is_empty_for_them() -> None:
    rate, weight = "train.learning_rate", "model.ffn.aux_loss_weight"
    values = {"dense": [{rate: 0.02}, {rate: 0.01}], "sparse": [{weight: 0.1, rate: 0.01}, {weight: 0.0, rate: 0.01}]}
    tuned = [
        TunedConfiguration(
            kind=kind,
            settings={},
            tries=tuple(TuningTry(values=each, run_ids=("0",), nll=1.0, failed=False) for each in tries),
            chosen=None,
            config_id=None,
        )
        for kind, tries in values.items()
    ]
    table = tuning_table(tuned)
    assert table is not None
    assert [column.key for column in table.columns][1:3] == [rate, weight]
    assert [[cell.text for cell in row.cells[:3]] for row in table.rows] == [
        ["dense", "0.01", ""], ["dense", "0.02", ""], ["sparse", "0.01", "0"], ["sparse", "0.01", "0.1"],
    ]  # fmt: skip
    assert "as many of them, 2;" in table.notes[0]
    assert len(table.notes) == 2


def test_what_is_reported_with_a_value_at_the_edge_says_so(tmp_path: Path) -> None:
    write_tuned(tmp_path)
    (report,) = build_report(tmp_path).sweeps
    pairs = [comparison for comparison in report.comparisons if comparison.matched_on == "iso_flop"]
    assert all(Caveat.TUNED_AT_EDGE in comparison.caveats for comparison in pairs)
    table = report.tables[0]
    seeds = [column.key for column in table.columns].index("seeds")
    marked = {row.config_id: Caveat.TUNED_AT_EDGE in row.cells[seeds].caveats for row in table.rows}
    sparse, dense = spec_with(0.02, num_experts=4).config_id, spec_with(0.01).config_id
    assert marked == {dense: False, sparse: True}


def test_frames_keep_tries_and_tell_them(tmp_path: Path) -> None:
    write_tuned(tmp_path)
    frame = load_runs(tmp_path)
    assert set(frame[frame.is_tuning].seed) == {SEED}
    assert set(frame[~frame.is_tuning].seed) == {0, 1}


def test_laws_are_fitted_without_tries(tmp_path: Path) -> None:
    folder = write_tuned(tmp_path)
    assert set(read_table(folder.path).column("seed").to_pylist()) == {0, 1}


def test_while_tries_are_to_come_the_command_is_named(tmp_path: Path) -> None:
    write_tuned(tmp_path, is_pending=True)
    with pytest.raises(NothingToReportError, match=r"none of its 4 runs went well\. Run `switchbench sweep"):
        build_report(tmp_path)


def test_a_configuration_without_a_good_try_is_named(tmp_path: Path) -> None:
    folder = write_tuned(tmp_path)
    manifest = read_manifest(folder)
    dense, sparse = manifest.tuning
    failed = tuple(each.model_copy(update={"nll": None, "failed": True}) for each in sparse.tries)
    sparse = sparse.model_copy(update={"tries": failed, "chosen": None, "config_id": None, "at_edge": ()})
    cells = tuple(cell for cell in manifest.cells if cell.role != "sparse")
    write_manifest(folder, manifest.model_copy(update={"cells": cells, "tuning": (dense, sparse)}))
    (report,) = build_report(tmp_path).sweeps
    assert report.notes[0].startswith("4 experts: none of its 3 tries ended well")
    tries = tuple(cell for cell in cells if cell.role == "tuning")
    write_manifest(folder, manifest.model_copy(update={"cells": tries, "tuning": (sparse,)}))
    with pytest.raises(NothingToReportError, match="none of its tries ended well"):
        build_report(tmp_path)
