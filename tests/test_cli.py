import dataclasses
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from switchbench import __version__, cli
from switchbench.data.corpora import prepare_corpus
from switchbench.launch import plan, run
from switchbench.launch.estimates import estimate_plan
from switchbench.launch.plan import expand_sweep
from switchbench.launch.slots import Setup
from switchbench.launch.step_times import keep_step_times, shape_of
from switchbench.store import SweepFolder, read_runs, read_statuses, read_timings
from tests.launch.conftest import FUNCTIONS
from tests.launch.stand_ins import make_step_times
from tests.launch.text import write_sweep

HEAVY = {"torch", "pandas", "pyarrow", "scipy", "pydantic", "numpy", "rich.table"}


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where corpora are prepared once, and step times of a made-up machine are known: nothing has to be measured."""
    folder, cache = tmp_path_factory.mktemp("known"), tmp_path_factory.mktemp("cache")
    write_sweep(folder / "small.yaml", corpus=folder / "corpus")
    for cell in expand_sweep(folder / "small.yaml").cells:
        prepare_corpus(cell.spec.data, cache_root=cache)
        keep_step_times(shape_of(cell.spec), make_step_times(), setup=Setup(), cache_root=cache)
    return cache


@pytest.fixture
def place(
    tmp_path: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with a sweep file, which is where commands run; the workers are stand-ins."""
    write_sweep(tmp_path / "small.yaml", corpus=tmp_path / "corpus")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWITCHBENCH_CACHE", str(cache))
    monkeypatch.setitem(run.run_plan.__kwdefaults__, "functions", FUNCTIONS)
    monkeypatch.setitem(estimate_plan.__kwdefaults__, "functions", FUNCTIONS)
    # The machine's locks as well, so that nothing else on this machine makes a test wait.
    temporary = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    return tmp_path


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process."""

    def command(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["switchbench", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return command


def modules_after(*words: str) -> tuple[int, set[str]]:
    """Run a command in a fresh process: its exit code, and all modules that it imported."""
    script = (
        "import sys\n"
        "from switchbench.cli import main\n"
        f"sys.argv = ['switchbench', *{words!r}]\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    return ended.returncode, set(ended.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    for words, allowed in ((("--help",), set()), (("--version",), set()), (("sweep", "--help"), {"pydantic"})):
        code, modules = modules_after(*words)  # Typer looks into pydantic where a command has options of its own
        assert code == 0
        assert "typer" in modules
        assert not (modules & HEAVY) - allowed


def test_version(command: Command) -> None:
    assert command("--version") == Answer(0, f"switchbench {__version__}\n", "")


def test_the_plan_is_printed_and_nothing_is_touched(command: Command, place: Path) -> None:
    before = sorted(place.iterdir())
    answer = command("sweep", "small.yaml", "--dry-run")
    assert (answer.code, answer.err) == (0, "")
    rows = [line for line in answer.out.splitlines() if re.search(r"\b0-3\b", line)]
    assert len(rows) == 3  # one per configuration: its four seeds share their fate
    assert rows[0].split()[:3] == ["2", "experts", "0-3"]
    assert "12 runs of 3 configurations: 12 to run" in answer.out
    assert sorted(place.iterdir()) == before


def test_the_plan_as_json_is_alone_on_stdout(command: Command) -> None:
    answer = command("sweep", "small.yaml", "sweep.seeds=[7]", "--dry-run", "--json")
    content = json.loads(answer.out)
    assert answer.code == 0
    assert [cell["seed"] for cell in content["cells"]] == [7, 7, 7]
    expected = {"run_id", "settings", "action", "reason", "params_total", "params_active"}
    assert expected | {"useful_train_flops", "executed_train_flops"} <= set(content["cells"][0])
    assert content["totals"]["cells"] == 3


def test_the_plan_says_what_is_estimated(command: Command) -> None:
    content = json.loads(command("sweep", "small.yaml", "sweep.seeds=[7]", "--dry-run", "--json").out)
    for cell in content["cells"]:
        assert 0.1 < cell["estimated_seconds"] < 10  # 19 steps of 0.01 s
        assert cell["estimated_memory_bytes"] > 4 * cell["params_total"]
    totals = content["totals"]
    assert totals["estimated_seconds"] > max(cell["estimated_seconds"] for cell in content["cells"])
    assert totals["estimated_seconds_timing"] > 0
    largest = max(cell["estimated_memory_bytes"] for cell in content["cells"])
    assert largest == totals["estimated_memory_bytes"] <= totals["estimated_memory_bytes_side_by_side"]
    text = command("sweep", "small.yaml", "sweep.seeds=[7]", "--dry-run").out
    assert re.search(
        r"To run: .* of training, about [\d.]+ m?s( with 2 side by side)?; memory of the largest .*iB", text
    )
    assert re.search(r"Then 3 configurations to time: about ", text)


def test_when_all_step_times_are_known_a_plan_imports_no_torch_and_starts_nothing(place: Path) -> None:
    code, modules = modules_after("sweep", "small.yaml", "--dry-run")
    assert code == 0
    assert "switchbench.launch.estimates" in modules
    assert not modules & {"torch", "pandas", "scipy", "switchbench.launch.worker"}
    assert "multiprocessing.popen_forkserver" not in modules


def test_what_is_not_known_is_measured_first_and_one_line_says_so(
    command: Command, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHBENCH_CACHE", str(tmp_path_factory.mktemp("new")))
    answer = command("sweep", "small.yaml", "--dry-run", "--json")
    assert answer.code == 0
    assert answer.err == "[0:00] measuring step times for the estimate ...\n"
    assert all(cell["estimated_seconds"] for cell in json.loads(answer.out)["cells"])
    assert command("sweep", "small.yaml", "--dry-run").err == ""


def test_without_calibration_the_time_is_left_open(
    command: Command, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path_factory.mktemp("untouched")
    monkeypatch.setenv("SWITCHBENCH_CACHE", str(cache))
    answer = command("sweep", "small.yaml", "--dry-run", "--no-calibrate", "--json")
    content = json.loads(answer.out)
    assert (answer.code, answer.err) == (0, "")
    assert {cell["estimated_seconds"] for cell in content["cells"]} == {None}
    assert content["totals"]["estimated_seconds"] is content["totals"]["estimated_seconds_timing"] is None
    assert content["totals"]["estimated_memory_bytes"] > 0
    assert "time not estimated" in command("sweep", "small.yaml", "--dry-run", "--no-calibrate").out
    assert not list(cache.iterdir())
    refused = command("sweep", "small.yaml", "--no-calibrate", "--max-hours", "1")
    assert (refused.code, refused.out) == (2, "")
    assert "--no-calibrate" in refused.err


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (("--max-hours", "0.0001"), r"error: --max-hours 0\.0001: what is left .* takes about .* \([\d.]+%\) over"),
        (("--max-flops", "1 MFLOP"), r"error: --max-flops 1\.00 MFLOP: the runs to come take .* over"),
        (("--max-memory", "10KB"), r"error: --max-memory 9\.77 KiB: 12 of 12 runs to come may need more"),
    ],
)
def test_a_sweep_over_a_limit_is_refused_before_a_run_starts(
    command: Command, place: Path, limit: tuple[str, ...], message: str, more: tuple[str, ...]
) -> None:
    answer = command("sweep", "small.yaml", *limit, *more)
    assert answer.code == 2
    assert re.search(message, answer.err)
    assert "  4 experts: " in answer.err
    assert "Nothing was started" in answer.err
    assert "started  " not in answer.err
    assert not list((place / "results").rglob("*.parquet")) + list((place / "results").rglob("manifest.json"))


def test_a_sweep_within_its_limits_runs(command: Command) -> None:
    answer = command(
        "sweep", "small.yaml", "sweep.seeds=[0]", "--max-hours", "1", "--max-flops", "1e12", "--max-memory", "1GiB"
    )
    assert answer.code == 0
    assert "3 runs started" in answer.out
    assert re.search(r"3 runs to do on cpu: .*; about [\d.]+ m?s in all", answer.err)


def test_what_is_done_is_within_any_limit(command: Command) -> None:
    command("sweep", "small.yaml", "sweep.seeds=[0]")
    answer = command(
        "sweep", "small.yaml", "sweep.seeds=[0]", "--max-hours", "1e-9", "--max-flops", "1", "--max-memory", "1B"
    )
    assert answer.code == 0
    assert answer.out.startswith("Nothing to do")


def test_a_backend_that_cannot_compute_a_run_is_refused(command: Command, place: Path) -> None:
    answer = command("sweep", "small.yaml", "base.model.d_model=18", "--dispatch", "grouped_mm")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines() == [
        "error: --dispatch grouped_mm cannot compute every run: it takes rows of a multiple of 16 bytes",
        "  2 experts: d_model 18 and d_ff 72 in float32; possible: auto, loop, padded",
        "  4 experts: d_model 18 and d_ff 72 in float32; possible: auto, loop, padded",
        "Nothing was started.",
    ]
    assert not (place / "results").exists()
    assert command("sweep", "small.yaml", "--dispatch", "grouped_mm", "--dry-run").code == 0


def test_json_is_ascii_and_text_gives_way_where_letters_are_lacking(place: Path) -> None:
    (place / "größe.yaml").write_text((place / "small.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    words = [sys.executable, "-m", "switchbench", "sweep", "größe.yaml", "--dry-run", "--results", "Ergebnisse ä"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for more in ([], ["--json"]):
        ended = subprocess.run([*words, *more], capture_output=True, env=environment, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert ended.stdout.isascii()
    assert json.loads(ended.stdout)["results"] == "Ergebnisse ä/small"


@pytest.mark.parametrize("columns", ["40", "120"])
def test_the_plan_fits_the_terminal(command: Command, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    answer = command("sweep", "small.yaml", "--dry-run")
    assert max(map(len, answer.out.splitlines())) <= int(columns)
    assert "2 experts" in answer.out


def test_a_sweep_and_its_second_time(command: Command) -> None:
    first = command("sweep", "small.yaml", "sweep.seeds=[0]")
    assert first.code == 0
    assert first.out.splitlines() == [
        "3 runs started, 0 failed, 3 timed.",
        "Results: results/small",
        "Tables:  switchbench report --sweep small",
    ]
    lines = first.err.splitlines()
    assert sum("] started  " in line for line in lines) == sum("] done     " in line for line in lines) == 3
    again = command("sweep", "small.yaml", "sweep.seeds=[0]")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("Nothing to do: 3 runs done before.\n")


def test_when_nothing_is_to_do_no_torch_is_imported_and_nothing_started(command: Command) -> None:
    command("sweep", "small.yaml", "sweep.seeds=[0]")
    code, modules = modules_after("sweep", "small.yaml", "sweep.seeds=[0]")
    assert code == 0
    assert "switchbench.launch.run" in modules
    assert not modules & {"torch", "pandas", "scipy", "switchbench.launch.worker"}
    assert "multiprocessing.popen_forkserver" not in modules  # imported by the first process that is started


def test_failed_runs_are_listed_and_the_exit_code_says_so(command: Command, place: Path) -> None:
    answer = command("sweep", "small.yaml", "--json")  # seeds 1, 2 and 3 fail: see the stand-ins
    assert answer.code == 3
    content = json.loads(answer.out)
    assert content["schema_version"] == 1
    assert content["counts"] == {
        "runs": 12, "started": 12, "failed": 9, "timed": 3,
        "ok": 3, "diverged": 0, "oom": 0, "killed": 3, "crashed": 6, "timeout": 0,
    }  # fmt: skip
    statuses, _ = read_statuses(SweepFolder(place / "results" / "small"))
    assert {run["run_id"]: run["status"] for run in content["runs"]} == statuses
    listing = answer.err[answer.err.index("9 runs failed; the same command tries them again:") :].splitlines()
    assert len(listing) == 1 + 2 * 9
    for reason, log in zip(listing[1::2], listing[2::2], strict=True):
        assert re.search(r"\): (killed by SIGKILL|crashed: ended without a result)", reason)
        assert Path(log.removeprefix("    log: ")).is_file()
    assert not any(line.startswith("{") for line in answer.err.splitlines())


def test_results_elsewhere(command: Command, place: Path) -> None:
    answer = command("sweep", "small.yaml", "sweep.seeds=[0]", "--results", "my results/ä")
    assert answer.code == 0
    assert "Tables:  switchbench report 'my results/ä' --sweep small" in answer.out
    assert (place / "my results" / "ä" / "small" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sweep", "absent.yaml"), "absent.yaml"),
        (("sweep", "small.yaml", "base.train.tokns=5"), "base.train.tokns"),
        (("sweep", "small.yaml", "--workers", "0"), "error: --workers must be at least 1, got 0"),
        (("sweep", "small.yaml", "--workers", "-1"), "error: --workers must be at least 1, got -1"),
        (("sweep", "small.yaml", "--threads", "99999"), "error: --threads 99999 is more than can be used here"),
        (("sweep", "small.yaml", "--max-memory", "8"), "error: --max-memory must be a number of bytes with its unit"),
        (("sweep", "small.yaml", "--device", "tpu"), "'tpu' is not one of"),
        (("sweep", "small.yaml", "--results", "small.yaml"), "small.yaml is not a folder"),
        (("sweep",), "Missing argument 'FILE'"),
        (("swep",), "Did you mean 'sweep'?"),
    ],
)
def test_bad_requests_end_with_a_message_and_start_nothing(
    command: Command, place: Path, words: tuple[str, ...], message: str
) -> None:
    answer = command(*words)
    assert answer.code == 2
    assert message in answer.err
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert not (place / "results").exists()


def test_a_report_of_nothing(command: Command) -> None:
    answer = command("report", "absent")
    assert (answer.code, answer.out) == (4, "")
    assert answer.err.startswith("error: ")


def test_a_report_of_a_sweep(command: Command) -> None:
    command("sweep", "small.yaml", "sweep.seeds=[0]")
    assert "small" in command("report").out
    answer = command("report", "results", "--sweep", "small", "--json")
    assert answer.code == 0
    assert len(json.loads(answer.out)["runs"]) == 3


def test_problems_of_a_sweep_file_start_with_their_place(command: Command, place: Path) -> None:
    text = (place / "small.yaml").read_text(encoding="utf-8").replace("eval_points", "eval_pionts")
    (place / "wrong.yaml").write_text(text, encoding="utf-8")
    answer = command("sweep", "wrong.yaml")
    assert answer.code == 2
    assert re.match(r"wrong\.yaml:\d+:\d+: ", answer.err)


def test_a_corrupt_result_is_named_in_one_line_and_made_anew(command: Command, place: Path) -> None:
    command("sweep", "small.yaml", "sweep.seeds=[0]")
    path = next((place / "results" / "small" / "runs").glob("*.parquet"))
    path.write_bytes(b"")
    answer = command("sweep", "small.yaml", "sweep.seeds=[0]")
    assert answer.code == 0
    warnings = [line for line in answer.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert str(path.relative_to(place)) in warnings[0]
    assert "elete it" not in warnings[0]  # what for: it is made anew
    assert answer.out.startswith("1 run started, 0 failed")


def test_a_fault_of_ours_shows_where(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(plan, "make_plan", fail)
    answer = command("sweep", "small.yaml")
    assert answer.code == 1
    assert "ZeroDivisionError: on purpose" in answer.err
    assert "internal error: ZeroDivisionError" in answer.err.splitlines()[-1]


@pytest.mark.parametrize(
    "words", [("sweep", "small.yaml", "--dry-run"), ("sweep", "small.yaml", "--dry-run", "--json")]
)
def test_a_reader_that_goes_away_ends_it_quietly(place: Path, words: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "switchbench", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.mark.parametrize("module", ["typer", "switchbench.launch.run", "switchbench.data.corpora"])
def test_ctrl_c_during_the_imports_leaves_no_traceback(place: Path, module: str) -> None:
    script = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.argv = ['switchbench', 'sweep', 'small.yaml']\n"
        "from switchbench.__main__ import main\n"
        "main()"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_a_python_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    cli._show_warning(UserWarning("a file is corrupt"), UserWarning, "store.py", 12)
    assert capsys.readouterr().err == "warning: a file is corrupt\n"


def test_ctrl_c_says_how_to_go_on(command: Command, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    functions = dataclasses.replace(FUNCTIONS, run="tests.launch.stand_ins:run_and_interrupt_parent")
    monkeypatch.setitem(run.run_plan.__kwdefaults__, "functions", functions)
    answer = command("sweep", "small.yaml", "sweep.seeds=[0]", "--workers", "1")
    assert answer.code == 130
    assert answer.err.splitlines()[-2:] == [
        "Interrupted. 1 of 3 runs are done and kept in results/small. To go on:",
        "  switchbench sweep small.yaml 'sweep.seeds=[0]' --workers 1",
    ]
    assert len(read_runs(SweepFolder(place / "results" / "small"))) == 1


@pytest.fixture
def real_sweep(place: Path) -> Iterator[subprocess.Popen[str]]:
    """A real sweep of three runs that take seconds, two of them side by side where there are two cores."""
    words = ["sweep", "small.yaml", "sweep.seeds=[0]", "base.train.tokens=100000"]
    with subprocess.Popen(
        [sys.executable, "-m", "switchbench", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def trainers(parent: psutil.Process) -> list[psutil.Process]:
    """The processes that the fork server of a sweep has forked."""
    return [forked for child in parent.children() for forked in child.children()]


def test_a_real_worker_that_is_killed_is_tried_again(real_sweep: subprocess.Popen[str], place: Path) -> None:
    folder = SweepFolder(place / "results" / "small")
    assert real_sweep.stderr is not None
    seen = list(itertools.takewhile(lambda line: "] started  " not in line, real_sweep.stderr))
    assert real_sweep.poll() is None, seen
    workers = trainers(psutil.Process(real_sweep.pid))
    wait_until(lambda: all(len(worker.cpu_affinity()) == 1 for worker in workers))
    assert len({tuple(worker.cpu_affinity()) for worker in workers}) == len(workers)
    workers[0].send_signal(signal.SIGKILL)
    out, err = real_sweep.communicate(timeout=60)
    assert real_sweep.returncode == 0, err
    assert err.count("killed by SIGKILL") == err.count("tried again (2 of 3)") == 1
    rows = [row for row in read_runs(folder) if row.parent_run_id is None]
    assert sorted(row.status for row in rows) == ["ok", "ok", "ok"]
    assert all(row.nll is not None and row.allocator for row in rows)
    assert all(row.run_time_s for row in rows)
    assert all(row.estimated_time_s and row.estimated_peak_memory_bytes for row in rows)
    for name in ("machine", "machine_id", "device", "device_name", "threads", "switchbench_version", "torch_version"):
        assert len({getattr(row, name) for row in rows} - {None}) == 1, name
        assert all(getattr(row, name) is not None for row in rows), name
    assert all(row.started_at for row in rows)
    assert len({row.commit for row in rows}) == 1
    timings = read_timings(folder)
    assert len(timings) == 3
    assert all(timing.trained_weights and timing.cpu_share for timing in timings)
    assert "3 runs started, 0 failed, 3 timed." in out


def wait_until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
