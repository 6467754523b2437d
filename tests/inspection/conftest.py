"""Results of a made-up sweep in every state, and the command line."""

import os
import pty
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchbench import cli
from switchbench.launch.claims import Claims
from switchbench.store import SweepFolder
from tests.factories import Study, make_spec, write_study


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in a folder of its own, in this process."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["switchbench", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return command


def write_mixed(root: Path, *, name: str = "capacity") -> SweepFolder:
    """A sweep of eleven runs: five done, one of each way to fail, one diverged, one out of memory, one missing."""
    folder = write_study(
        root,
        [
            Study(
                spec=make_spec(num_experts=16),
                outcomes={0: (2.1, 2.0, 1.9), 1: "crashed", 2: "killed", 3: "timeout"},
                settings={"model.ffn.num_experts": 16},
            ),
            Study(
                spec=make_spec(num_experts=4),
                outcomes={0: (2.2, 2.1, 2.0), 1: (2.2, 2.1, 2.0), 2: "diverged", 3: "oom"},
                settings={"model.ffn.num_experts": 4},
                step_time_s=None,
            ),
            Study(spec=make_spec(), outcomes={0: (2.3, 2.2, 2.1), 1: (2.3, 2.2, 2.1), 2: None}, is_twin=True),
        ],
        name=name,
        axes=["model.ffn.num_experts"],
    )
    for path in folder.runs.iterdir():
        folder.log_path(path.stem).write_text("what it said\n", encoding="utf-8")
    return folder


@pytest.fixture
def mixed(tmp_path: Path) -> SweepFolder:
    """The sweep of eleven runs, in the default folder of results."""
    return write_mixed(tmp_path / "results")


def claims_on(folder: SweepFolder) -> Claims:
    """Claims as a command that runs the sweep has them; here, that command is the test."""
    return Claims(folder, on_event=lambda event: None)


def on_terminal(*words: str, answer: str = "", **variables: str) -> str:
    """What a command prints on a terminal of 80 columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"} | variables
        os.execve(sys.executable, [sys.executable, "-m", "switchbench", *words], environment)
    if answer:
        os.write(terminal, answer.encode())
    printed = b""
    try:
        while part := os.read(terminal, 65536):
            printed += part
    except OSError:  # the other end is closed
        pass
    os.waitpid(pid, 0)
    os.close(terminal)
    return printed.decode()
