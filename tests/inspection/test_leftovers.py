"""`switchbench prune`, with the real command line."""

import errno
import fcntl
import json
import os
import re
import time
from pathlib import Path

import pytest

from switchbench.errors import ResultsFolderError
from switchbench.inspection.leftovers import find_leftovers, remove_leftovers
from switchbench.launch.claims import SILENT_S
from switchbench.store import SweepFolder, read_manifest, write_manifest
from tests.inspection.conftest import Command, claims_on, on_terminal, write_mixed

GONE, KEPT = 3, 8


def everything(folder: SweepFolder) -> set[str]:
    return {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file()}


def amend(folder: SweepFolder) -> tuple[set[str], set[str]]:
    """Take the first configuration out of the manifest; give the ids of its runs, and its own."""
    manifest = read_manifest(folder)
    config_id = manifest.cells[0].config_id
    gone = [cell for cell in manifest.cells if cell.config_id == config_id]
    kept = tuple(cell for cell in manifest.cells if cell.config_id != config_id)
    write_manifest(folder, manifest.model_copy(update={"cells": kept}))
    return {cell.run_id for cell in gone}, {config_id}


@pytest.fixture
def amended(mixed: SweepFolder) -> tuple[SweepFolder, set[str]]:
    """A sweep whose file has lost a configuration; and the files that belong to that."""
    first = read_manifest(mixed).cells[0].run_id
    for name in (f"{first}.safetensors", f"{first}.timing.safetensors", f"{first}.unfinished.safetensors"):
        (mixed.checkpoints / name).write_bytes(b"weights")
    run_ids, config_ids = amend(mixed)
    ids = run_ids | config_ids
    files = {path for path in everything(mixed) if any(each in path for each in ids)}
    assert len(files) == 4 * 3 + 3 + 1  # rows, curves and logs of four runs; three checkpoints; a step time
    return mixed, files


def test_what_the_manifest_no_longer_names_is_removed_and_nothing_else(
    command: Command, amended: tuple[SweepFolder, set[str]]
) -> None:
    folder, leftovers = amended
    notes = folder.logs / "notes.log"
    for path in (notes, folder.logs / "timing.log", folder.runs / "mine.parquet", folder.report / "index.html"):
        path.write_text("not ours, or not a run's", encoding="utf-8")
    before = everything(folder)
    assert "4 results are of runs no longer in the sweep file" in command("status").out
    answer = command("prune", "--yes")
    assert (answer.code, answer.err) == (0, "")
    assert before - everything(folder) == leftovers
    assert answer.out.splitlines()[-1].startswith("Removed 16 files, ")
    assert "no longer in the sweep file" not in command("status").out
    again = command("prune", "--yes")
    assert (again.code, again.out) == (0, "Nothing to remove.\n")


def test_it_shows_first_and_asks_for_yes(command: Command, amended: tuple[SweepFolder, set[str]]) -> None:
    folder, leftovers = amended
    before = everything(folder)
    answer = command("prune")
    assert answer.code == 2
    assert "needs --yes" in answer.err
    assert re.search(r"results/capacity: 16 files, [\d.]+ KiB", answer.out)
    assert "  checkpoint: 3 files, 21 B" in answer.out
    assert everything(folder) == before
    content = json.loads(command("prune", "--json").out)
    (sweep,) = content["sweeps"]
    assert {Path(file["path"]).relative_to("results/capacity").as_posix() for file in sweep["files"]} == leftovers
    assert sweep["bytes"] == sum((folder.path / name).stat().st_size for name in leftovers)
    assert (content["removed"], content["removed_bytes"]) == ([], 0)
    assert everything(folder) == before
    done = json.loads(command("prune", "--json", "--yes").out)
    assert len(done["removed"]) == 16
    assert done["removed_bytes"] == sweep["bytes"]
    assert before - everything(folder) == leftovers


@pytest.mark.parametrize(("reply", "is_removed"), [("n\n", False), ("y\n", True), ("\n", False)])
def test_on_a_terminal_it_asks(
    command: Command, amended: tuple[SweepFolder, set[str]], reply: str, is_removed: bool
) -> None:
    folder, leftovers = amended
    before = everything(folder)
    printed = on_terminal("prune", answer=reply)
    assert re.search(r"Remove 16 files, [\d.]+ KiB\? \[y/N\]", printed)
    assert before - everything(folder) == (leftovers if is_removed else set())
    assert ("Removed 16 files" in printed, "Nothing was removed." in printed) == (is_removed, not is_removed)


def test_a_sweep_that_is_running_is_left_alone(
    command: Command, amended: tuple[SweepFolder, set[str]], tmp_path: Path
) -> None:
    folder, _ = amended
    other = write_mixed(tmp_path / "results", name="zoo")
    amend(other)
    before = everything(folder), everything(other)
    with claims_on(folder) as claims:
        assert claims.try_claim(read_manifest(folder).cells[0].run_id)
        answer = command("prune", "--yes")
        running = everything(folder)
    assert answer.code == 0
    assert "results/capacity is left alone: a command is running a run of it; wait until it ends" in answer.err
    assert before[0] <= running
    assert everything(other) < before[1]


def test_a_command_that_began_after_the_question(amended: tuple[SweepFolder, set[str]]) -> None:
    folder, leftovers = amended
    found = find_leftovers(folder.path)
    with claims_on(folder) as claims:
        assert claims.try_claim(read_manifest(folder).cells[0].run_id)
        assert remove_leftovers(found) == []
        assert leftovers <= everything(folder)
    assert len(remove_leftovers(found)) == 16


def test_temporary_files_of_writes_that_never_ended(command: Command, mixed: SweepFolder) -> None:
    old, fresh = mixed.runs / ".0123456789ab.parquet.17-aa.tmp", mixed.path / ".manifest.json.18-bb.tmp"
    hour_ago_s = time.time() - 3600
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (hour_ago_s, hour_ago_s))
    answer = command("prune", "--yes")
    assert "temporary file: 1 file, 4 B" in answer.out
    assert not old.exists()
    assert fresh.exists()  # somebody may be writing it


def test_claims_of_commands_that_died(command: Command, mixed: SweepFolder) -> None:
    mixed.claims.mkdir()
    run_id = read_manifest(mixed).cells[0].run_id
    for suffix in ("lock", "json"):
        (mixed.claims / f"{run_id}.{suffix}").write_text("", encoding="ascii")
    answer = command("prune", "--yes")
    assert answer.code == 0
    assert "claim of a command that has died: 2 files, 0 B" in answer.out
    assert not list(mixed.claims.iterdir())


def test_what_jobs_left_whose_command_died(command: Command, mixed: SweepFolder) -> None:
    dead, alive, other = (mixed.path / name for name in (".slurm-00aa", ".slurm-00bb", ".slurm-mine"))
    hour_ago_s = time.time() - 3600
    for jobs in (dead, alive, other):
        jobs.mkdir()
        for name in ("12_submitted.pkl", "alive"):
            (jobs / name).write_bytes(b"bytes")
            os.utime(jobs / name, (hour_ago_s, hour_ago_s))
        os.utime(jobs, (hour_ago_s, hour_ago_s))
    os.utime(alive / "alive")
    answer = command("prune", "--yes")
    assert "file of jobs whose command has died: 2 files, 10 B" in answer.out
    assert not dead.exists()
    assert len(list(alive.iterdir())) == len(list(other.iterdir())) == 2


def test_without_locks_the_age_of_the_heartbeat_decides(
    command: Command, mixed: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    missing = next(
        cell.run_id for cell in read_manifest(mixed).cells if not (mixed.runs / f"{cell.run_id}.parquet").exists()
    )
    claims = claims_on(mixed)
    assert claims.try_claim(missing)
    counts = json.loads(command("status", "--json").out)["sweeps"][0]["counts"]
    assert (counts["running"], counts["missing"]) == (1, 0)
    assert "is left alone" in command("prune", "--yes").err
    beat = mixed.claims / f"{missing}.json"
    long_ago = json.loads(beat.read_text(encoding="ascii")) | {"beat_s": time.time() - SILENT_S - 1}
    beat.write_text(json.dumps(long_ago), encoding="ascii")
    counts = json.loads(command("status", "--json").out)["sweeps"][0]["counts"]
    assert (counts["running"], counts["missing"]) == (0, 1)
    answer = command("prune", "--yes")
    assert (answer.code, answer.err) == (0, "")
    assert not list(mixed.claims.iterdir())


def test_without_a_manifest_that_can_be_read_nothing_is_removed(
    command: Command, amended: tuple[SweepFolder, set[str]]
) -> None:
    folder, _ = amended
    folder.manifest_path.write_text("{}", encoding="utf-8")
    before = everything(folder)
    answer = command("prune", "--yes")
    assert (answer.code, answer.out) == (0, "Nothing to remove.\n")
    assert "is left alone" in answer.err
    assert "manifest.json is damaged" in answer.err
    assert everything(folder) == before


def test_a_file_that_cannot_be_removed(amended: tuple[SweepFolder, set[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = amended

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    found = find_leftovers(folder.path)
    monkeypatch.setattr(Path, "unlink", refuse)  # tests may run as root, who may remove anything
    with pytest.raises(ResultsFolderError, match=r"Cannot remove .*runs.*: Permission denied"):
        remove_leftovers(found)


def test_where_there_is_nothing(command: Command) -> None:
    assert command("prune", "--yes").code == 4
