"""Where a sweep's results lie, and how a file gets there: under a temporary name, synced, then renamed."""

import errno
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from switchbench.errors import ResultsFolderError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FILE_IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST)


@dataclass(frozen=True)
class SweepFolder:
    """The results of one sweep: ``<root>/<sweep name>``."""

    path: Path
    """The sweep's own folder."""

    @property
    def manifest_path(self) -> Path:
        """The cells of the sweep, as JSON."""
        return self.path / "manifest.json"

    @property
    def runs(self) -> Path:
        """One Parquet file per run: a row per annealed point."""
        return self.path / "runs"

    @property
    def steps(self) -> Path:
        """One Parquet file per run: a row per evaluation."""
        return self.path / "steps"

    @property
    def timings(self) -> Path:
        """One Parquet file per configuration and machine."""
        return self.path / "timings"

    @property
    def logs(self) -> Path:
        """What the runs printed."""
        return self.path / "logs"

    @property
    def checkpoints(self) -> Path:
        """Final weights that were kept."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """What the report wrote."""
        return self.path / "report"

    @property
    def claims(self) -> Path:
        """Which runs commands are running now."""
        return self.path / ".claims"

    def checkpoint_path(self, run_id: str) -> Path:
        """The final weights of a run, where they were asked for."""
        return self.checkpoints / f"{run_id}.safetensors"

    def timing_weights_path(self, run_id: str) -> Path:
        """The final weights of a run that are there for the timing pass alone, which removes them."""
        return self.checkpoints / f"{run_id}.timing.safetensors"

    def unfinished_path(self, run_id: str) -> Path:
        """The checkpoint of a run that has not ended."""
        return self.checkpoints / f"{run_id}.unfinished.safetensors"

    def log_path(self, run_id: str) -> Path:
        """The log of one run."""
        return self.logs / f"{run_id}.log"

    def create(self) -> None:
        """Make the folder and its parts, and prove that files can be written there.

        Raises:
            ResultsFolderError: that is not possible; says why and what to do.
        """
        try:
            os.fsencode(self.path).decode()
        except UnicodeDecodeError as error:
            raise ResultsFolderError(
                f"The results folder {self.path} has a name that is not UTF-8, and weights cannot be written there; "
                "choose another one with --results"
            ) from error
        for part in (self.runs, self.steps, self.timings, self.logs, self.checkpoints, self.report):
            try:
                part.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _folder_error(part, error) from error
        for part in (self.path, self.runs, self.steps, self.timings):
            _prove_writable(part)


def find_sweeps(results: Path, *, sweep: str | None = None) -> list[SweepFolder]:
    """Find the sweeps under a root (its direct children that hold a manifest), or take one sweep's folder as it is.

    Args:
        results: A root of results, or the folder of one sweep.
        sweep: Only the sweep of this name.

    Returns:
        The sweeps in the order of their names; none where the root has none.

    Raises:
        ResultsFolderError: there is no such folder, or it has no sweep of that name.
    """
    if not results.is_dir():
        raise ResultsFolderError(f"{results} is not a folder; --results takes a folder that `switchbench sweep` filled")
    itself = SweepFolder(results)
    if itself.manifest_path.is_file():
        found = [itself]
    else:
        children = sorted(child for child in results.iterdir() if not child.name.startswith("."))
        found = [SweepFolder(child) for child in children if SweepFolder(child).manifest_path.is_file()]
    if sweep is None:
        return found
    chosen = [folder for folder in found if folder.path.resolve().name == sweep]
    if not chosen:
        names = ", ".join(folder.path.resolve().name for folder in found) or "none"
        raise ResultsFolderError(f"{results} has no sweep named {sweep!r}; the sweeps there: {names}")
    return chosen


def as_utf8(text: str) -> bytes:
    """Encode text in which names of files may stand as the system gave them.

    Where the environment's encoding lacks their letters, each byte of those is a character of its own, which UTF-8 has
    none of: they become letters again, or where they are none the sign that replaces such.
    """
    return text.encode(errors="surrogateescape").decode(errors="replace").encode()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader, or a machine that loses power, never meets a part of it.

    The temporary file lies in the same folder. Its name starts with a dot and does not end like the file's, so that
    neither a reader of the folder nor a glob over ``*.parquet`` takes it for a result.

    Raises:
        ResultsFolderError: the file cannot be written; the temporary file is gone and a previous version is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise _folder_error(path, error) from error


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself durable, where the file system can do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)


def _prove_writable(folder: Path) -> None:
    probe = folder / f".probe.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        try:
            probe.write_bytes(b"x")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise _folder_error(folder, error) from error


def _folder_error(path: Path, error: OSError) -> ResultsFolderError:
    if error.errno in _NO_SPACE:
        remedy = "Free some space and run the same command again: what is finished is kept."
    elif error.errno in _NOT_ALLOWED:
        remedy = "Choose a folder that you may write to with --results."
    elif error.errno in _FILE_IN_THE_WAY:
        remedy = f"{_file_in_the_way(path.parents)} is not a folder; choose another place with --results."
    else:
        remedy = "Choose another place with --results, or mend this one and run the same command again."
    return ResultsFolderError(f"Cannot write {path}: {error.strerror or error}. {remedy}")


def _file_in_the_way(parents: Sequence[Path]) -> Path:
    return next((parent for parent in parents if parent.exists() and not parent.is_dir()), parents[0])
