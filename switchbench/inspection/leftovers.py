"""What a sweep's folder holds and its manifest no longer names: found, and removed when that is wanted."""

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switchbench.errors import ResultsFolderError
from switchbench.inspection.standing import sweeps_in
from switchbench.launch.claims import read_claims
from switchbench.launch.locks import Lock
from switchbench.store import Manifest, SweepFolder, read_manifest

LEFTOVERS_SCHEMA = 1
"""Version of the JSON object."""
OLD_S = 600.0
"""Age from which on a temporary file is left over: no write takes so long."""
_OURS = re.compile(r"([0-9a-f]{12})(-[0-9a-f]{12})?(\.unfinished|\.timing)?\.(parquet|log|safetensors)")
"""Names of files that belong to a run, or with a machine's id to a configuration."""
_TEMPORARY = re.compile(r"\..*\.tmp")
_JOBS = re.compile(r"\.slurm-[0-9a-f]+")
"""Names of folders through which a command and its jobs of Slurm talk."""
_CLAIM = re.compile(r"([0-9a-f]{12})\.(lock|json)")


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A file that is not needed any more."""

    path: Path
    """The file."""
    kind: str
    """What it is, in words."""
    num_bytes: int
    """Its size."""


@dataclass(frozen=True, kw_only=True)
class SweepLeftovers:
    """What is left over in one sweep's folder."""

    folder: SweepFolder
    """The folder."""
    files: tuple[Leftover, ...]
    """The files, results before what goes with them."""
    obstacle: str | None
    """Why nothing can be removed; None: nothing is in the way."""

    @property
    def num_bytes(self) -> int:
        """Their size."""
        return sum(file.num_bytes for file in self.files)

    def as_json(self) -> dict[str, Any]:
        """Give it as it stands in ``sweeps`` of the JSON object."""
        return {
            "results": str(self.folder.path),
            "obstacle": self.obstacle,
            "bytes": self.num_bytes,
            "files": [{"path": str(file.path), "kind": file.kind, "bytes": file.num_bytes} for file in self.files],
        }


def find_leftovers(results: Path, *, sweep: str | None = None) -> list[SweepLeftovers]:
    """Find the results that manifests no longer name, and temporary files of writes that never ended.

    Files that are not named as ours are left alone, whatever they are.

    Args:
        results: A root of results, or the folder of one sweep.
        sweep: Only the sweep of this name.

    Returns:
        The sweeps in which there is something, or in which nobody can look.

    Raises:
        NothingToReportError: there is no sweep.
        ResultsFolderError: there is none of that name, or ``results`` is a file.
    """
    found = [_leftovers_of(folder) for folder in sweeps_in(results, sweep=sweep)]
    return [each for each in found if each.files or each.obstacle]


def remove_leftovers(found: Sequence[SweepLeftovers]) -> list[Leftover]:
    """Remove what was found, where nothing is in the way, and nothing has come in the way since.

    Args:
        found: What was found, and shown.

    Returns:
        The files that were removed.

    Raises:
        ResultsFolderError: a file cannot be removed; those before it are gone.
    """
    removed = []
    for each in found:
        now = _leftovers_of(each.folder)  # a command may have begun since it was shown
        still = {file.path for file in now.files if now.obstacle is None}
        for file in each.files:
            if file.path in still and _remove(file):
                removed.append(file)
                if _JOBS.fullmatch(file.path.parent.name):
                    with contextlib.suppress(OSError):  # there is more in it
                        file.path.parent.rmdir()
    return removed


def leftovers_json(found: Sequence[SweepLeftovers], *, removed: Sequence[Leftover]) -> dict[str, Any]:
    """Give what was found and removed as one JSON object.

    Args:
        found: What was found.
        removed: What was removed of it.
    """
    return {
        "schema_version": LEFTOVERS_SCHEMA,
        "sweeps": [each.as_json() for each in found],
        "removed": [str(file.path) for file in removed],
        "removed_bytes": sum(file.num_bytes for file in removed),
    }


def _leftovers_of(folder: SweepFolder) -> SweepLeftovers:
    try:
        manifest = read_manifest(folder)
    except ResultsFolderError as error:
        return SweepLeftovers(folder=folder, files=(), obstacle=str(error))
    running = len(read_claims(folder))
    if running:
        runs = "a run" if running == 1 else f"{running} runs"
        return SweepLeftovers(
            folder=folder, files=(), obstacle=f"a command is running {runs} of it; wait until it ends"
        )
    files = [*_results(folder, manifest), *_temporary(folder), *_dead_claims(folder), *_dead_jobs(folder)]
    return SweepLeftovers(folder=folder, files=tuple(files), obstacle=None)


def _results(folder: SweepFolder, manifest: Manifest) -> Iterator[Leftover]:
    """Files of runs and configurations that the manifest does not name; a row goes before its curve."""
    run_ids = {cell.run_id for cell in manifest.cells}
    config_ids = {cell.config_id for cell in manifest.cells}
    for part, kind in (
        (folder.runs, "result"),
        (folder.steps, "curve"),
        (folder.logs, "log"),
        (folder.checkpoints, "checkpoint"),
        (folder.timings, "step time"),
    ):
        wanted = config_ids if part == folder.timings else run_ids
        for path in _files(part):
            name = _OURS.fullmatch(path.name)
            if name is not None and (name[2] is not None) == (part == folder.timings) and name[1] not in wanted:
                yield Leftover(path=path, kind=kind, num_bytes=_size(path))


def _temporary(folder: SweepFolder) -> Iterator[Leftover]:
    now_s = time.time()
    parts = (folder.runs, folder.steps, folder.timings, folder.logs, folder.checkpoints, folder.report, folder.claims)
    for part in (folder.path, *parts):
        for path in _files(part):
            if _TEMPORARY.fullmatch(path.name) and now_s - _changed_s(path, default=now_s) > OLD_S:
                yield Leftover(path=path, kind="temporary file", num_bytes=_size(path))


def _dead_claims(folder: SweepFolder) -> Iterator[Leftover]:
    """Claims of commands that have died: nobody holds any here, or there would be nothing to remove."""
    for path in _files(folder.claims):
        if _CLAIM.fullmatch(path.name):
            yield Leftover(path=path, kind="claim of a command that has died", num_bytes=_size(path))


def _dead_jobs(folder: SweepFolder) -> Iterator[Leftover]:
    """What commands and their jobs of Slurm told each other, of commands that have died: they give signs of life."""
    now_s = time.time()
    for jobs in _entries(folder.path):
        if _JOBS.fullmatch(jobs.name) is None or not jobs.is_dir() or jobs.is_symlink():
            continue
        files = _files(jobs)
        if all(now_s - _changed_s(path, default=now_s) > OLD_S for path in (jobs, *files)):
            for path in files:
                yield Leftover(path=path, kind="file of jobs whose command has died", num_bytes=_size(path))


def _remove(file: Leftover) -> bool:
    """Remove a file; says whether it was there, and no command has claimed its run meanwhile."""
    claim = _CLAIM.fullmatch(file.path.name)
    path = file.path.with_name(f"{claim[1]}.lock") if claim else None
    lock = Lock(path) if path is not None and path.exists() else None
    try:
        if lock is not None and not _is_ours(lock):
            return False
        file.path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ResultsFolderError(f"Cannot remove {file.path}: {error.strerror or error}") from error
    finally:
        if lock is not None:
            lock.release()
    return True


def _is_ours(lock: Lock) -> bool:
    try:
        return lock.try_acquire()
    except OSError:  # no locks here: the age of its heartbeat has said that nobody has it
        return True


def _files(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_file() and not path.is_symlink()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _changed_s(path: Path, *, default: float) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return default
