"""Clocks, memory, terminals, variables, paths and sweep files as they should not be."""

import fcntl
import os
import pty
import random
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

from switchbench.launch.claims import read_claims
from tests.faults.conftest import Fault
from tests.faults.place import Answer, Sweep

Completes = Callable[..., Answer]
Opens = Callable[[str], Fault]


def test_a_clock_that_jumps(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("a clock that jumps by two hours, to and fro, again and again")
    command = small.start("--timeout", "60s", fault={"FAULT": "clock"})
    ages: list[float] = []
    while command.process.poll() is None:
        ages += [heartbeat.age_s() for heartbeat in read_claims(small.folder).values()]
        time.sleep(0.05)
    answer = command.answer()
    assert answer.code == 0, answer.err
    assert "tried again" not in answer.err
    assert ages
    assert min(ages) >= 0
    for result in small.results_by_run().values():
        for name in ("wall_clock_s", "run_time_s", "eval_time_s", "step_time_s"):
            assert 0 <= result[name] < 60
    row.survived = "all: no time is negative or hours long, nothing hangs, exit 0"
    assert_completes(small, row, kept=small.files())


def test_a_run_that_leaks(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("a run that leaks memory, with --max-memory")
    leak = {"FAULT": "leak", "FAULT_SEED": "1"}
    answer = small.run("--max-memory", "600MiB", fault=leak)
    assert answer.code == 0, answer.err
    assert "the limit is 600 MiB" in answer.err
    assert "again in micro-batches of" in answer.err
    statuses = {(row["seed"], row["status"]) for row in small.results_by_run().values()}
    assert statuses == {(0, "ok"), (1, "oom")}
    assert set(small.planned().values()) == {"skip"}  # running out of memory is a result
    row.survived = "the 3 others; the leaking runs are ended, tried in smaller pieces, then rows with status oom"
    kept = {name: when for name, when in small.files().items() if small.results_by_run()[name[:-8]]["seed"] == 0}
    assert_completes(small, row, "--retry-failed", kept=kept)
    row.afterwards += " (with --retry-failed)"


def test_no_gpu_is_visible(
    tmp_path: Path, sweep_at: Callable[..., Sweep], fault: Opens, assert_completes: Completes
) -> None:
    row = fault('CUDA_VISIBLE_DEVICES=""')
    sweep = sweep_at(tmp_path / "place", environment={"CUDA_VISIBLE_DEVICES": ""})
    answer = sweep.run("--device", "cuda")
    assert answer.code == 2
    assert "Traceback" not in answer.err
    assert "no GPU" in answer.err
    row.survived = "--device cuda: exit 2, nothing started; without it: on cpu"
    answer = assert_completes(sweep, row, has_nlls=True)
    assert "6 runs to do on cpu" in answer.err


def test_spaces_and_letters(
    tmp_path: Path, sweep_at: Callable[..., Sweep], fault: Opens, assert_completes: Completes
) -> None:
    row = fault("paths with spaces and non-ASCII letters for all files, in a plain C locale")
    place = tmp_path / "größe und 実験 – 'a'"
    environment = {"LC_ALL": "C", "LANG": "C"}
    sweep = sweep_at(place, cache=place / "Zwischen speicher", results="Ergebnisse ä", environment=environment)
    answer = assert_completes(sweep, row)
    assert "Results: Ergebnisse ä/small" in answer.out
    assert "report 'Ergebnisse ä' --sweep small" in answer.out
    row.survived = "all"


def test_an_encoding_without_these_letters(
    tmp_path: Path, sweep_at: Callable[..., Sweep], fault: Opens, assert_completes: Completes
) -> None:
    row = fault("a results folder of non-ASCII letters where file names are ASCII; then a corpus of such a name")
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    sweep = sweep_at(tmp_path / "place", results="Ergebnisse ä", environment=ascii_alone)
    answer = sweep.run("base.data.path='größe'")
    assert answer.code == 2
    (tmp_path / "place" / "named.yaml").write_text(
        "extends: small.yaml\nname: named\nbase: {data: {path: größe}}\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "switchbench", "validate", "named.yaml"]
    done = subprocess.run(command, cwd=sweep.place, env=sweep.variables(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "named.yaml:3:" in done.stderr
    assert "encoding is ascii; set PYTHONUTF8=1" in done.stderr
    assert "Traceback" not in answer.err + done.stderr
    assert_completes(sweep, row, has_nlls=False)
    assert "Ergebnisse ä" in sweep.folder.manifest_path.read_text(encoding="utf-8")
    row.survived = "all; the corpus's name is refused, with its line, exit 2"


def test_no_terminal(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("no terminal: closed input, a session without one, NO_COLOR=1, COLUMNS=40")
    small.environment |= {"NO_COLOR": "1", "COLUMNS": "40", "TERM": "dumb"}
    answer = small.run(start_new_session=True)
    assert answer.code == 0, answer.err
    assert "\x1b" not in answer.out + answer.err
    plan = small.run("--dry-run", start_new_session=True).out
    assert max(map(len, plan.splitlines())) <= 40
    row.survived = "all: plain lines, no escape codes, a plan of 40 columns"
    assert_completes(small, row, kept=small.files())


def test_a_narrow_terminal_without_colors(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("a terminal of 40 columns with NO_COLOR=1")
    small.environment |= {"NO_COLOR": "1", "TERM": "xterm-256color"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 40, 0, 0))
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                content = os.read(ours, 65536)
            except OSError:  # the other end is closed
                return
            shown.extend(content)

    command = small.start(stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    reader = threading.Thread(target=read)
    reader.start()
    code = command.answer().code
    os.close(theirs)
    reader.join()
    os.close(ours)
    text = shown.decode()
    assert code == 0, text
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m", text)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split("[\r\n]+", text)]
    # What stays on the screen for copying, paths and commands, is never broken.
    assert not [line for line in lines if len(line) > 40 and not line.startswith(("Results: ", "Tables:  "))]
    assert "6 of 6" in text
    row.survived = "all: live bars without colors, no line wider"
    assert_completes(small, row, kept=small.files())


PIECES = [
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "-",
    "&a",
    "*a",
    "!!int",
    "|",
    '"',
    "\t",
    "null",
    ".nan",
    "1e999",
    "\0",
    "é",
    "=>",
]


def mutated(text: str, *, seed: int) -> str:
    """Insert, replace or delete some pieces of a text, change digits, shuffle or repeat lines."""
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 2)):
        start = draw.randrange(len(text))
        match draw.randrange(5):
            case 0:
                text = text[:start] + draw.choice(PIECES) + text[start:]
            case 1:
                text = text[:start] + draw.choice(PIECES) + text[start + draw.randint(1, 3) :]
            case 2:
                text = text[:start] + text[start + draw.randint(1, 12) :]
            case 3:
                start = draw.choice([match.start() for match in re.finditer(r"\d", text)] or [0])
                text = text[:start] + str(draw.randrange(10)) + text[start + 1 :]
            case 4:
                lines = text.splitlines(keepends=True)
                text = "".join([*lines, draw.choice(lines)] if start % 2 else draw.sample(lines, len(lines)))
    return text


def test_mutated_sweep_files(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("20 mutated sweep files")
    file = small.place / "small.yaml"
    text = file.read_text(encoding="utf-8")
    plans = 0
    for seed in range(20):
        file.write_bytes(mutated(text, seed=seed).encode())
        answer = small.run("--dry-run")
        assert "Traceback" not in answer.err, mutated(text, seed=seed)
        if answer.code == 0:
            plans += 1
            assert re.search(r"\d+ runs? of \d+ configurations?", answer.out)
            continue
        assert (answer.code, answer.out) == (2, ""), mutated(text, seed=seed)
        places = re.findall(r"^small\.yaml:(\d+):(\d+): ", answer.err, re.MULTILINE)
        assert places, answer.err
    assert 0 < plans < 20
    row.survived = f"{plans} plans, {20 - plans} answers with line and column; no traceback"
    file.write_text(text, encoding="utf-8")
    assert_completes(small, row)
