"""`switchbench status`, with the real command line."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from switchbench.inspection.standing import STATES
from switchbench.launch import claims as claims_module
from switchbench.record import Progress
from switchbench.store import SweepFolder, read_manifest, read_runs
from tests.inspection.conftest import Command, claims_on, on_terminal, write_mixed
from tests.launch.text import write_sweep

HEAVY = {"torch", "pandas", "scipy", "seaborn", "matplotlib"}


def only_sweep(content: dict[str, Any]) -> dict[str, Any]:
    (sweep,) = content["sweeps"]
    assert isinstance(sweep, dict)
    return sweep


def test_every_run_is_in_one_state_and_they_add_up(command: Command, mixed: SweepFolder) -> None:
    answer = command("status", "--json")
    assert (answer.code, answer.err) == (0, "")
    sweep = only_sweep(json.loads(answer.out))
    counts = sweep["counts"]
    assert {state: counts[state] for state in STATES} == {
        "done": 5, "running": 0, "failed": 3, "diverged": 1, "oom": 1, "missing": 1,
    }  # fmt: skip
    assert sum(counts[state] for state in STATES) == counts["cells"] == len(sweep["runs"]) == 11
    assert (counts["timed"], counts["configurations"]) == (2, 3)
    # The slow and obvious way: each row of each file, against the manifest.
    ends = {row.run_id: row.status for row in read_runs(mixed) if row.parent_run_id is None}
    states = {"ok": "done", "diverged": "diverged", "oom": "oom", None: "missing"}
    expected = {cell.run_id: states.get(ends.get(cell.run_id), "failed") for cell in read_manifest(mixed).cells}
    assert {run["run_id"]: run["state"] for run in sweep["runs"]} == expected


def test_what_failed_says_why_and_where_its_log_is(command: Command, mixed: SweepFolder) -> None:
    runs = only_sweep(json.loads(command("status", "--json").out))["runs"]
    failed = [run for run in runs if run["state"] == "failed"]
    assert {run["status"] for run in failed} == {"crashed", "killed", "timeout"}
    assert {run["reason"] for run in failed} == {"the worker was killed by signal 9"}
    assert all(Path(run["log"]).read_text(encoding="utf-8") == "what it said\n" for run in failed)
    text = command("status").out
    assert "11 runs: 5 done, 3 failed, 1 diverged, 1 out of memory, 1 missing; 2 of 3 configurations timed" in text
    for run in failed:
        assert f"16 experts, seed {run['seed']} ({run['run_id']}): {run['status']}: the worker was killed" in text
        assert f"    log: {run['log']}" in text
    assert text.rstrip().endswith("To complete it:\n  switchbench sweep experiments/capacity.yaml")


def test_a_claimed_run_is_running_whatever_it_was_before(
    command: Command, mixed: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims_module, "BEAT_S", 0.0)
    missing = next(
        cell.run_id for cell in read_manifest(mixed).cells if not (mixed.runs / f"{cell.run_id}.parquet").exists()
    )
    failed = next(row.run_id for row in read_runs(mixed) if row.status == "crashed")
    with claims_on(mixed) as claims:
        assert claims.try_claim(missing)
        assert claims.try_claim(failed)
        claims.beat(failed, progress=Progress(tokens_done=30, tokens_total=120, nll=2.5))
        sweep = only_sweep(json.loads(command("status", "--json").out))
        text = command("status").out
    running = {run["run_id"]: run["heartbeat"] for run in sweep["runs"] if run["state"] == "running"}
    assert running.keys() == {missing, failed}
    assert (running[missing]["fraction"], running[missing]["nll"]) == (None, None)
    assert (running[failed]["fraction"], running[failed]["nll"], running[failed]["pid"]) == (0.25, 2.5, os.getpid())
    assert 0 <= running[failed]["age_s"] < 60
    assert sum(sweep["counts"][state] for state in STATES) == 11
    assert re.search(rf"\({failed}\): 25\.0%, nll 2\.500, heard of \d+ .*s ago \(.*:{os.getpid()}\)", text)
    assert f"({missing}): starting, heard of" in text
    assert "To complete it" not in text
    assert only_sweep(json.loads(command("status", "--json").out))["counts"]["running"] == 0


def test_a_run_that_is_silent_for_long(command: Command, mixed: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = read_manifest(mixed).cells[0]
    with claims_on(mixed) as claims:
        claims.try_claim(cell.run_id)
        now_s = time.time()
        monkeypatch.setattr(time, "time", lambda: now_s + 300)
        text = command("status").out
        monkeypatch.setattr(time, "time", lambda: now_s - 300)  # a clock that has jumped back
        early = command("status").out
    assert "heard of 5 min 00 s ago; it may hang" in text
    assert "heard of 0" in early


def test_a_command_that_runs_what_is_no_longer_in_the_file(command: Command, mixed: SweepFolder) -> None:
    with claims_on(mixed) as claims:
        claims.try_claim("0123456789ab")
        counts = only_sweep(json.loads(command("status", "--json").out))["counts"]
        text = command("status").out
    assert (counts["running"], counts["running_not_in_manifest"]) == (0, 1)
    assert "also running 1 run of an earlier version of the sweep file" in text


def test_files_that_cannot_be_read_are_listed_and_their_runs_missing(command: Command, mixed: SweepFolder) -> None:
    broken = mixed.runs / f"{read_manifest(mixed).cells[0].run_id}.parquet"
    broken.write_bytes(b"")
    sweep = only_sweep(json.loads(command("status", "--json").out))
    assert [(file["path"], file["reason"]) for file in sweep["unreadable"]] == [
        (f"results/capacity/runs/{broken.name}", "it is empty")
    ]
    assert sweep["runs"][0]["state"] == "missing"
    stranger = mixed.runs / "mine.parquet"
    stranger.write_text("no table", encoding="utf-8")
    assert "No run of this sweep needs it." in command("status").out.replace("\n", " ")
    assert f"Not readable: results/capacity/runs/{broken.name}: it is empty" in command("status").out


def test_a_damaged_manifest_hides_no_other_sweep(command: Command, mixed: SweepFolder, tmp_path: Path) -> None:
    other = write_mixed(tmp_path / "results", name="zoo")
    other.manifest_path.write_text("{", encoding="utf-8")
    content = json.loads(command("status", "--json").out)
    assert [sweep["sweep"] for sweep in content["sweeps"]] == ["capacity"]
    assert list(content["damaged"]) == ["results/zoo"]
    assert "results/zoo/manifest.json is damaged" in command("status").out.replace("\n", " ")
    alone = command("status", "--sweep", "zoo")
    assert alone.code == 2
    assert "is damaged" in alone.err


def test_where_there_is_nothing(command: Command, tmp_path: Path) -> None:
    for folder in ("results", "empty"):
        answer = command("status", folder)
        assert (answer.code, answer.out) == (4, "")
        assert "`switchbench sweep FILE`" in answer.err
        (tmp_path / "empty").mkdir(exist_ok=True)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert command("status", "file").code == 2


def test_only_one_sweep(command: Command, mixed: SweepFolder, tmp_path: Path) -> None:
    write_mixed(tmp_path / "results", name="zoo")
    assert [each["sweep"] for each in json.loads(command("status", "--json").out)["sweeps"]] == ["capacity", "zoo"]
    assert [each["sweep"] for each in json.loads(command("status", "--sweep", "zoo", "--json").out)["sweeps"]] == [
        "zoo"
    ]
    assert json.loads(command("status", "results/zoo", "--json").out)["sweeps"][0]["sweep"] == "zoo"
    unknown = command("status", "--sweep", "zebra")
    assert (unknown.code, "capacity, zoo" in unknown.err) == (2, True)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_it_fits_the_terminal(
    command: Command, mixed: SweepFolder, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = command("status").out.splitlines()
    copied = re.compile(r"    log: results/|  switchbench sweep ")  # these are not wrapped, so that they can be copied
    assert max(len(line.rstrip()) for line in lines if not copied.match(line)) <= columns
    assert any(line.startswith("16 experts") for line in lines)


def test_colors_are_for_terminals_that_want_them(
    command: Command, mixed: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    color = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    assert color.search(on_terminal("status"))
    assert not color.search(on_terminal("status", NO_COLOR="1"))
    assert "\x1b" not in command("status").out


@pytest.mark.parametrize("words", [("status",), ("status", "--json"), ("prune",), ("prune", "--json")])
def test_nothing_heavy_is_imported(command: Command, mixed: SweepFolder, words: tuple[str, ...]) -> None:
    script = (
        "import sys\nfrom switchbench.cli import main\n"
        f"sys.argv = ['switchbench', *{words!r}]\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert not set(ended.stderr.split()) & HEAVY


@pytest.fixture
def real_sweep(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A sweep command in another process, with runs that are too long to end while anybody looks."""
    write_sweep(tmp_path / "small.yaml", corpus=tmp_path / "corpus")
    words = ["small.yaml", "base.train.tokens=5e8", "sweep.seeds=[0]", "--workers", "1", "--no-calibrate"]
    environment = os.environ | {"SWITCHBENCH_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "switchbench", "sweep", *words], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    yield process
    process.kill()
    process.wait()


def test_a_sweep_in_another_terminal(command: Command, real_sweep: subprocess.Popen[bytes], tmp_path: Path) -> None:
    deadline_s = time.monotonic() + 60
    counts: dict[str, int] = {}
    while not counts.get("running"):
        assert time.monotonic() < deadline_s
        assert real_sweep.poll() is None
        answer = command("status", "--json")  # also before there is a folder, while it is made, and while it fills
        assert answer.code in (0, 4), answer
        counts = only_sweep(json.loads(answer.out))["counts"] if answer.code == 0 else {}
        time.sleep(0.1)
    assert {state: counts[state] for state in STATES if counts[state]} == {"running": 1, "missing": 2}
    (run,) = [each for each in only_sweep(json.loads(answer.out))["runs"] if each["state"] == "running"]
    assert run["heartbeat"]["pid"] == real_sweep.pid
    assert f":{real_sweep.pid})" in command("status").out
    before = sorted((tmp_path / "results").rglob("*.safetensors"))
    left_alone = command("prune", "--yes")
    assert (left_alone.code, left_alone.out) == (0, "Nothing to remove.\n")
    assert "results/small is left alone: a command is running a run of it" in left_alone.err
    assert sorted((tmp_path / "results").rglob("*.safetensors")) == before
    real_sweep.kill()
    real_sweep.wait()
    after = only_sweep(json.loads(command("status", "--json").out))["counts"]
    assert {state: after[state] for state in STATES if after[state]} == {"missing": 3}
