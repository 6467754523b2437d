"""Disks that are full, folders that cannot be written, and result files that are damaged, older or newer."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from switchbench.record import RECORD_SCHEMA
from switchbench.store.schemas import SCHEMA_VERSION_KEY
from tests.faults.conftest import Fault
from tests.faults.place import Answer, Sweep

Completes = Callable[..., Answer]
Opens = Callable[[str], Fault]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(disk: Path, *, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{size}", str(disk)], check=True)


def whole_files(sweep: Sweep) -> int:
    """Number of results, each of which can be read to its end and is one."""
    results = sweep.results_by_run()
    assert all(row["status"] in ("ok", "killed", "crashed") for row in results.values())
    return sum(row["status"] == "ok" for row in results.values())


def test_a_disk_fills_up(
    disk: Path, tmp_path: Path, sweep_at: Callable[..., Sweep], fault: Opens, assert_completes: Completes
) -> None:
    row = fault("a disk (tmpfs) that fills up after some runs")
    sweep = sweep_at(tmp_path / "place", results=str(disk / "results"))
    resize(disk, size="size=256k")
    answer = sweep.run()
    assert answer.code in (2, 3), answer.err
    assert "No space left on device" in answer.err
    assert "Traceback" not in answer.err
    kept = whole_files(sweep)
    assert kept < 6
    assert not list(sweep.folder.path.rglob("*.tmp"))
    row.survived = f"{kept} of 6 runs, whole; no half file; exit {answer.code}, 'Free some space'"
    resize(disk, size="size=16m")
    done = {name: when for name, when in sweep.files().items() if sweep.results_by_run()[name[:-8]]["status"] == "ok"}
    assert_completes(sweep, row, kept=done)


@pytest.mark.parametrize(
    ("number", "advice"), [("ENOSPC", "Free some space"), ("EACCES", "Choose a folder that you may write to")]
)
def test_a_write_breaks_off_in_the_middle(
    number: str, advice: str, small: Sweep, fault: Opens, assert_completes: Completes
) -> None:
    row = fault(f"{number} in the middle of the third result file")
    answer = small.run(fault={"FAULT": "write", "FAULT_ERRNO": number, "FAULT_AFTER": "2", "FAULT_FOLDER": "runs"})
    assert answer.code == 2
    assert "Traceback" not in answer.err
    last = answer.err.splitlines()[-1]
    assert last.startswith("error: Cannot write results/small/runs/")
    assert advice in last
    assert whole_files(small) == len(small.files()) == 2
    assert not list(small.folder.path.rglob("*.tmp"))
    row.survived = "2 of 6 runs, whole; no half file; exit 2, says what to do"
    assert_completes(small, row, kept=small.files())


def test_files_may_not_grow(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("a limit on the size of files (RLIMIT_FSIZE of 20 KB)")
    resource = pytest.importorskip("resource")
    limits = (20_000, resource.RLIM_INFINITY)
    answer = small.run(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    assert "File too large" in answer.err
    assert small.files() == {}
    assert not list(small.folder.path.rglob("*.tmp"))
    row.survived = "nothing half: no file in runs/; exit 2"
    assert_completes(small, row)


def test_a_folder_beneath_a_file(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("a results folder beneath a regular file")
    (small.place / "results").write_text("a file", encoding="ascii")
    answer = small.run()
    assert (answer.code, answer.out) == (2, "")
    assert "results is not a folder; choose another place with --results" in answer.err
    assert (small.place / "results").read_text(encoding="ascii") == "a file"
    row.survived = "the file; exit 2, says which file is in the way"
    (small.place / "results").unlink()
    assert_completes(small, row)


def test_a_folder_that_may_not_be_written(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("EACCES for whatever is opened in the results folder")
    answer = small.run(fault={"FAULT": "write", "FAULT_ERRNO": "EACCES", "FAULT_AFTER": "0", "FAULT_FOLDER": "results"})
    assert (answer.code, answer.out) == (2, "")
    assert "Permission denied. Choose a folder that you may write to with --results." in answer.err
    assert "started  " not in answer.err
    assert not [path for path in (small.place / "results").rglob("*") if path.is_file()]
    row.survived = "nothing was started or left; exit 2"
    assert_completes(small, row)


def test_a_file_system_that_is_read_only(
    disk: Path, tmp_path: Path, sweep_at: Callable[..., Sweep], fault: Opens, assert_completes: Completes
) -> None:
    row = fault("a results folder on a read-only file system")
    sweep = sweep_at(tmp_path / "place", results=str(disk / "results"))
    resize(disk, size="ro")
    answer = sweep.run()
    assert (answer.code, answer.out) == (2, "")
    assert "Read-only file system. Choose a folder that you may write to with --results." in answer.err
    row.survived = "nothing was started; exit 2"
    resize(disk, size="rw")
    assert_completes(sweep, row)


def test_damaged_files(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("a truncated and two zero-byte Parquet files, and a temporary file left by a crash")
    assert small.run().code == 0
    one, two, three, *_ = sorted(small.folder.runs.glob("*.parquet"))
    one.write_bytes(one.read_bytes()[: one.stat().st_size // 2])
    two.write_bytes(b"")
    (small.folder.steps / three.name).write_bytes(b"")
    left = small.folder.runs / f".{one.name}.1-00000000.tmp"
    left.write_bytes(b"PAR1")
    planned = small.planned()
    damaged = {one.stem, two.stem, three.stem}
    assert {run_id for run_id, action in planned.items() if action == "run"} == damaged
    warnings = small.run("--dry-run").err
    assert all(name in warnings for name in damaged)
    assert "it is empty" in warnings
    assert left.exists()
    left.unlink()
    kept = {name: when for name, when in small.files().items() if name[:-8] not in damaged}
    row.survived = "the 3 other runs; the damaged ones are named and trained anew"
    answer = assert_completes(small, row, kept=kept)
    assert answer.out.startswith("3 runs started, 0 failed")


def rewrite(path: Path, *, version: int, without: list[str]) -> None:
    table = pq.read_table(path)
    table = table.drop_columns([name for name in without if name in table.column_names])
    table = table.replace_schema_metadata({**table.schema.metadata, SCHEMA_VERSION_KEY: str(version).encode()})
    pq.write_table(table, path)


def test_an_older_schema(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("a results folder of an older schema version, without some columns of today")
    assert small.run().code == 0
    for part in (small.folder.runs, small.folder.steps, small.folder.timings):
        for path in part.glob("*.parquet"):
            rewrite(path, version=RECORD_SCHEMA - 1, without=["num_resumes", "micro_batch_tokens", "estimated_time_s"])
    kept = small.files()
    row.survived = "all: read with what is missing left open"
    answer = assert_completes(small, row, kept=kept)
    assert answer.out.startswith("Nothing to do: 6 runs done before.")


def test_a_newer_schema(small: Sweep, fault: Opens, assert_completes: Completes) -> None:
    row = fault("result files of a newer schema version, then a manifest of one")
    assert small.run().code == 0
    newer = sorted(small.folder.runs.glob("*.parquet"))[:2]
    before = [path.read_bytes() for path in newer]
    for path in newer:
        rewrite(path, version=RECORD_SCHEMA + 1, without=[])
    rewritten = [path.read_bytes() for path in newer]
    answer = small.run()
    assert answer.code == 0
    for path in newer:
        assert (
            f"{path.relative_to(small.place)}: it has schema version {RECORD_SCHEMA + 1}, and this switchbench reads "
            f"up to {RECORD_SCHEMA}. Upgrade switchbench to read it."
        ) in answer.err
    assert [path.read_bytes() for path in newer] == rewritten
    assert answer.out.startswith("Nothing to do")
    manifest = small.folder.manifest_path.read_bytes()
    small.folder.manifest_path.write_bytes(manifest.replace(b'"schema_version": 1', b'"schema_version": 1000'))
    answer = small.run("--force")
    assert (answer.code, answer.out) == (2, "")
    assert "has schema version 1000, and this switchbench reads up to 1: upgrade switchbench" in answer.err
    assert "started  " not in answer.err
    small.folder.manifest_path.write_bytes(manifest)
    row.survived = "all: newer files are named, passed over and left as they are; a newer manifest: exit 2"
    for path, content in zip(newer, before, strict=True):
        path.write_bytes(content)
    assert_completes(small, row, kept=small.files())
