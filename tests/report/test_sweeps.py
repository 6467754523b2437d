import re
import subprocess
import sys
from pathlib import Path

import pytest
from factories import COMMAND, Study, make_runs, make_spec, write_study

from switchbench.errors import NothingToReportError, ResultsFolderError
from switchbench.report import build_report
from switchbench.store import ResultsFileWarning, write_run

DENSE, SPARSE = make_spec(), make_spec(num_experts=4)
NLLS = {0: [2.0, 1.8, 1.7]}


def studies() -> list[Study]:
    return [Study(DENSE, NLLS, is_twin=True), Study(SPARSE, NLLS)]


def test_sweeps_come_in_name_order_and_only_direct_children(tmp_path: Path):
    for name in ("zeta", "alpha beta", "reference/old"):
        write_study(tmp_path, studies(), name=name)
    assert [sweep.name for sweep in build_report(tmp_path).sweeps] == ["alpha beta", "zeta"]
    assert [sweep.name for sweep in build_report(tmp_path, sweep="zeta").sweeps] == ["zeta"]
    assert [sweep.name for sweep in build_report(tmp_path / "zeta").sweeps] == ["zeta"]
    assert len(build_report(tmp_path / "reference").sweeps) == 1
    with pytest.raises(ResultsFolderError, match="no sweep named 'eta'"):
        build_report(tmp_path, sweep="eta")


def test_nothing_there_says_what_to_run(tmp_path: Path):
    for results in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NothingToReportError, match=r"switchbench sweep experiments/capacity\.yaml") as caught:
            build_report(results)
        assert caught.value.exit_code == 4


def test_a_sweep_without_a_usable_run_says_why_and_what_to_run(tmp_path: Path):
    folder = write_study(tmp_path, [Study(DENSE, {0: "crashed", 1: None})])
    with pytest.raises(NothingToReportError) as caught:
        build_report(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"Sweep capacity: none of its 2 runs went well. Run `{COMMAND}`")
    assert "dense, seed 0: crashed: the worker was killed by signal 9" in message
    assert str(folder.log_path(DENSE.run_id)) in message


def test_a_sweep_that_diverged_throughout_is_not_sent_to_run_again(tmp_path: Path):
    """A run that diverged is a result: the command would have nothing to do."""
    write_study(tmp_path, [Study(DENSE, {0: "diverged", 1: "diverged"})])
    with pytest.raises(NothingToReportError) as caught:
        build_report(tmp_path)
    message = str(caught.value)
    assert message.startswith("Sweep capacity: all of its 2 runs diverged, and would do so again.")
    assert "Change experiments/capacity.yaml" in message
    assert COMMAND not in message
    write_study(tmp_path / "mixed", [Study(DENSE, {0: "diverged", 1: "oom"})])
    with pytest.raises(NothingToReportError, match="all of its 2 runs diverged or ran out of memory"):
        build_report(tmp_path / "mixed")
    write_study(tmp_path / "large", [Study(DENSE, {0: "oom"})])
    with pytest.raises(NothingToReportError, match=r"its only run ran out of memory, .*: a smaller model or batch"):
        build_report(tmp_path / "large")
    write_study(tmp_path / "open", [Study(DENSE, {0: "diverged", 1: "killed"})])
    with pytest.raises(NothingToReportError, match=f"none of its 2 runs went well. Run `{COMMAND}`"):
        build_report(tmp_path / "open")


def test_a_file_is_no_folder_of_results(tmp_path: Path):
    path = tmp_path / "runs.parquet"
    path.touch()
    with pytest.raises(ResultsFolderError, match="is a file; a report is of a folder") as caught:
        build_report(path)
    assert "--results" not in str(caught.value)


def test_the_notes_tell_how_sure_the_step_times_are(tmp_path: Path):
    """The quartiles of a made-up timing lie 2% from its median; here one does 5%."""
    spread = {"step_time_q25_s": 0.019, "step_time_q75_s": 0.0205}
    write_study(tmp_path, [Study(DENSE, NLLS, is_twin=True), Study(SPARSE, NLLS, timing_columns=spread)])
    notes = build_report(tmp_path).sweeps[0].notes
    assert any("the middle half of which lies within 5.00% of it" in note for note in notes)
    assert any("and, where time is in it, over steps" in note for note in notes)
    assert not any("alone" in note for note in notes)
    assert any("Peak memory is the largest of the seeds." in note for note in notes)


def test_an_unusable_sweep_beside_a_usable_one_is_named(tmp_path: Path):
    write_study(tmp_path, studies(), name="good")
    write_study(tmp_path, [Study(DENSE, {0: None})], name="bad")
    with pytest.warns(ResultsFileWarning, match="Sweep bad is passed over: none of its 1 runs went well"):
        assert [sweep.name for sweep in build_report(tmp_path).sweeps] == ["good"]


def test_a_damaged_manifest_is_named_and_the_rest_is_reported(tmp_path: Path):
    write_study(tmp_path, studies(), name="good")
    write_study(tmp_path, studies(), name="bad").manifest_path.write_text("{")
    with pytest.warns(ResultsFileWarning, match=r"bad is passed over: .*manifest\.json is damaged"):
        assert [sweep.name for sweep in build_report(tmp_path).sweeps] == ["good"]


def test_a_corrupt_file_is_named_and_its_run_counts_as_missing(tmp_path: Path):
    folder = write_study(tmp_path, [Study(DENSE, NLLS | {1: [2.0, 1.8, 1.6]}, is_twin=True), Study(SPARSE, NLLS)])
    path = folder.runs / f"{DENSE.run_id}.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(ResultsFileWarning, match=re.escape(str(path))):
        (sweep,) = build_report(tmp_path).sweeps
    assert (sweep.counts.ok, sweep.counts.missing) == (2, 1)
    assert len(sweep.tables[0].rows) == 2


def test_runs_are_counted(tmp_path: Path):
    outcomes = {0: [2.0, 1.8, 1.7], 1: "diverged", 2: "timeout", 3: None, 4: None}
    folder = write_study(tmp_path, [Study(DENSE, outcomes)])
    write_run(folder, runs=make_runs(SPARSE, nll=[1.7]), steps=[], spec=SPARSE)
    (sweep,) = build_report(tmp_path).sweeps
    counts = sweep.counts
    assert (counts.cells, counts.ok, counts.diverged, counts.failed, counts.missing) == (5, 1, 1, 1, 2)
    assert counts.not_in_manifest == 1
    assert "1 stored run is no longer asked for by the sweep file, and left out." in sweep.notes
    assert SPARSE.run_id not in [row.run_id for row in sweep.runs]
    assert [problem.log_path for problem in sweep.problems] == [folder.log_path(p.run_id) for p in sweep.problems]


def test_neither_torch_nor_pandas_nor_matplotlib_is_imported(tmp_path: Path):
    write_study(tmp_path, studies())
    program = f"""
import io, sys
from pathlib import Path
from rich.console import Console
from switchbench.report import build_report, render_report, report_json
report = build_report(Path({str(tmp_path)!r}))
render_report(report, console=Console(file=io.StringIO()))
report_json(report)
print([name for name in ("torch", "pandas", "matplotlib", "seaborn", "scipy.stats", "duckdb") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"
