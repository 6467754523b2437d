"""A sweep that is trained by real commands, in processes of their own, and what must be true of its results."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from switchbench.store import SweepFolder
from tests.launch.text import write_sweep

ROOT = Path(__file__).parents[2]
INJECTED = Path(__file__).parent / "injected"
PATIENCE_S = 120.0
"""Longest time of a command; whatever takes longer hangs."""
SHORT = ("sweep.seeds=[0,1]",)
"""Six runs of a fraction of a second."""
LONG = ("sweep.seeds=[0]", "base.train.tokens=2e5")
"""Three runs of some seconds."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command left."""

    code: int
    out: str
    err: str


@dataclass(kw_only=True)
class Started:
    """A command that is under way."""

    process: subprocess.Popen[str]
    out_path: Path
    err_path: Path

    @property
    def err(self) -> str:
        return self.err_path.read_text(encoding="utf-8")

    def wait_for(self, *texts: str, count: int = 1) -> None:
        """Wait until it has told of something so many times; fails where it ends before."""
        self.wait_until(lambda: sum(self.err.count(text) for text in texts) >= count)

    def wait_until(self, is_true: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not is_true():
            assert self.process.poll() is None, f"it ended early, with {self.process.returncode}:\n{self.err}"
            assert time.monotonic() < deadline_s, f"it hangs:\n{self.err}"
            time.sleep(0.01)

    def answer(self) -> Answer:
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it hangs:\n{self.err}") from None
        return Answer(code=code, out=self.out_path.read_text(encoding="utf-8"), err=self.err)

    def descendants(self) -> list[psutil.Process]:
        """All processes that it has started: the fork server, its children, and Python's own helper."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def worker_of(self, log: Path) -> psutil.Process | None:
        """The process that trains the run with this log; None: there is none now."""
        for process in self.descendants():
            try:
                if any(Path(file.path) == log.resolve() for file in process.open_files()):
                    return process
            except psutil.Error:  # it has just ended
                continue
        return None

    def some_worker(self, sweep: "Sweep") -> psutil.Process:
        """A process that trains a run now, and has told of a step."""
        found: list[psutil.Process] = []

        def look() -> bool:
            for log in sorted(sweep.folder.logs.glob("*.log")):
                if log.name != "timing.log" and log.stat().st_size > 0 and (worker := self.worker_of(log)):
                    found.append(worker)
            return bool(found)

        self.wait_until(look)
        return found[0]

    def kill_some_worker(self, sweep: "Sweep") -> None:
        """Kill a process that trains a run; another one, where it ended by itself first."""
        while True:
            try:
                self.some_worker(sweep).kill()
                return
            except psutil.NoSuchProcess:
                continue


@dataclass(kw_only=True)
class Sweep:
    """A sweep file, its corpus, and the command that trains it."""

    place: Path
    """Where the command runs."""
    cache: Path
    """Prepared corpora."""
    temporary: Path
    """Folder for temporary files, where the machine's locks lie."""
    words: tuple[str, ...] = SHORT
    """What stands after the file's name."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of all its commands."""
    results: str = "results"
    commands: list[Started] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        write_sweep(self.place / "small.yaml", corpus=self.place / "corpus")

    @property
    def folder(self) -> SweepFolder:
        return SweepFolder(self.place / self.results / "small")

    @property
    def line(self) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "switchbench", "sweep", "small.yaml", *self.words, "--results", self.results]

    def variables(self, fault: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a command, with the fault that is injected into it; None: none is."""
        path = [str(ROOT), *([str(INJECTED)] if fault else [])]
        own = {
            "SWITCHBENCH_CACHE": str(self.cache),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": os.pathsep.join(path),
        }
        return {**os.environ, **own, **self.environment, **(fault or {})}

    def start(self, *more: str, fault: Mapping[str, str] | None = None, **options: Any) -> Started:
        """Start the command.

        Args:
            *more: Further words; they change no run.
            fault: What is injected; variables that ``injected/sitecustomize.py`` knows.
            **options: For ``subprocess.Popen``.
        """
        number = len(self.commands)
        out_path, err_path = (self.place / f"{number}.{name}" for name in ("out", "err"))
        with out_path.open("w") as out, err_path.open("w") as err:
            process = subprocess.Popen(
                [*self.line, "--no-calibrate", *more],
                **{"stdout": out, "stderr": err, "stdin": subprocess.DEVNULL, **options},
                text=True,
                cwd=self.place,
                env=self.variables(fault),
            )
        started = Started(process=process, out_path=out_path, err_path=err_path)
        self.commands.append(started)
        return started

    def run(self, *more: str, fault: Mapping[str, str] | None = None, **options: Any) -> Answer:
        """Run the command to its end."""
        return self.start(*more, fault=fault, **options).answer()

    def planned(self) -> dict[str, str]:
        """What the plan says is done about each run, by its run_id."""
        answer = self.run("--dry-run", "--json")
        assert answer.code == 0, answer.err
        cells = json.loads(answer.out)["cells"]
        assert len({cell["run_id"] for cell in cells}) == len(cells)
        return {cell["run_id"]: cell["action"] for cell in cells}

    def results_by_run(self) -> dict[str, dict[str, Any]]:
        """The ends of all runs as the Parquet files tell them, read without any of our own code.

        Fails where a file cannot be read, a run stands in two places, or a result has no curve.
        """
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.folder.runs.glob("*.parquet")):
            rows = [row for row in pq.read_table(path).to_pylist() if row["parent_run_id"] is None]
            assert [row["run_id"] for row in rows] == [path.stem]
            assert path.stem not in found
            found[path.stem] = rows[0]
            steps = pq.read_table(self.folder.steps / path.name).to_pylist()
            assert rows[0]["status"] != "ok" or {row["run_id"] for row in steps} >= {path.stem}
        return found

    def files(self) -> dict[str, int]:
        """The result files and when they were written, to see that none is written again."""
        return {path.name: path.stat().st_mtime_ns for path in self.folder.runs.glob("*.parquet")}

    def leftovers(self) -> list[str]:
        """Files that nobody needs once all is done: temporary ones, claims, weights, checkpoints."""
        hidden = [path for path in self.folder.path.rglob(".*") if path.is_file()]
        kept = [*self.folder.claims.glob("*"), *self.folder.checkpoints.iterdir()]
        return sorted({str(path.relative_to(self.folder.path)) for path in [*hidden, *kept]})

    def end_all(self) -> None:
        """End what still runs."""
        for started in self.commands:
            if started.process.poll() is None:
                family = started.descendants()
                started.process.kill()
                started.process.wait()
                for process in family:
                    if process.is_running():
                        process.kill()


def assert_gone(processes: list[psutil.Process], *, within_s: float = 15.0) -> None:
    """Check that processes end by themselves."""
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    assert not alive


def started_runs(*answers: Answer) -> Counter[str]:
    """How often each run was started, by its label."""
    lines = [line for answer in answers for line in answer.err.splitlines()]
    return Counter(line.partition("] started  ")[2] for line in lines if "] started  " in line)
