"""Finding a run by its id, or by the start of it, among what manifests name and results hold."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switchbench.errors import NothingToReportError, ResultsFolderError, UsageError
from switchbench.inspection.standing import sweeps_in
from switchbench.store import Manifest, ManifestCell, SweepFolder, parquet_files, read_manifest, read_spec

SHOWN_IDS = 8
"""Most ids that a message lists."""
_ID = re.compile(r"[0-9a-f]{1,12}(-a[0-9.]+)?")


@dataclass(frozen=True, kw_only=True)
class KnownRun:
    """A run that a manifest names, or whose result is there."""

    run_id: str
    """Its id."""
    folder: SweepFolder
    """The folder of its sweep."""
    manifest: Manifest
    """What the sweep asks for now."""
    cell: ManifestCell | None
    """Its cell in the manifest; None: the manifest no longer names it."""

    def spec(self) -> Mapping[str, Any] | None:
        """Its specification; None where its result cannot be read and no manifest names it."""
        return self.cell.spec if self.cell is not None else read_spec(self.folder, self.run_id)


def looks_like_id(word: str) -> bool:
    """Whether a word may be the id of a run or the start of one.

    >>> looks_like_id("0123456789ab"), looks_like_id("0123-a0.25"), looks_like_id("results")
    (True, True, False)
    """
    return _ID.fullmatch(word.lower()) is not None


def split_words(words: Sequence[str], *, default: Path) -> tuple[list[str], Path]:
    """Tell the ids of ``show ID [ID] [RESULTS]`` from the folder: the last word is one where it is no id.

    Args:
        words: The words.
        default: The folder where none is named.

    Raises:
        UsageError: there is no id, or there are more than two.
    """
    ids, results = list(words), default
    if len(ids) > 1 and (len(ids) > 2 or not looks_like_id(ids[-1])):
        results = Path(ids.pop())
    if len(ids) > 2:
        raise UsageError("show takes one run, or two to compare, and then a folder: switchbench show ID [ID] [RESULTS]")
    return ids, results


def known_runs(results: Path) -> list[KnownRun]:
    """List the runs that the manifests of a folder name, and those whose results are there.

    Args:
        results: A root of results, or the folder of one sweep.

    Raises:
        NothingToReportError: there is none; says what to run.
        ResultsFolderError: there is no such folder, or no manifest can be read.
    """
    found: list[KnownRun] = []
    problems: list[str] = []
    for folder in sweeps_in(results):
        try:
            manifest = read_manifest(folder)
        except ResultsFolderError as error:
            problems.append(str(error))
            continue
        cells: dict[str, ManifestCell | None] = {path.stem: None for path in parquet_files(folder.runs)}
        cells = {cell.run_id: cell for cell in manifest.cells} | {
            run_id: None for run_id in cells if run_id not in {cell.run_id for cell in manifest.cells}
        }
        found += [
            KnownRun(run_id=run_id, folder=folder, manifest=manifest, cell=cell) for run_id, cell in cells.items()
        ]
    if not found and problems:
        raise ResultsFolderError("\n".join(problems))
    if not found:
        raise NothingToReportError(f"The manifests in {results} name no run")
    return found


def find_run(text: str, *, among: Sequence[KnownRun]) -> KnownRun:
    """Find the run of an id, of the id of one of its rows, or of the start of one.

    Args:
        text: The id.
        among: The runs.

    Returns:
        The run; where several sweeps have it, that of the first one whose manifest names it.

    Raises:
        UsageError: there is none, or more than one; names those that may be meant.
    """
    wanted = text.lower().partition("-a")[0]
    matching = [run for run in among if run.run_id.startswith(wanted)]
    ids = list(dict.fromkeys(run.run_id for run in matching))
    if len(ids) == 1:
        return next((run for run in matching if run.cell is not None), matching[0])
    if ids:
        shown = ", ".join(f"{run_id} ({_where(run_id, among=matching)})" for run_id in ids[:SHOWN_IDS])
        more = f" and {len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else ""
        raise UsageError(f"{text!r} is the start of {len(ids)} runs: {shown}{more}. Give more of the id")
    of_configuration = [run for run in among if run.cell is not None and run.cell.config_id.startswith(wanted)]
    if of_configuration:
        shown = ", ".join(run.run_id for run in of_configuration[:SHOWN_IDS])
        raise UsageError(f"{text!r} is a configuration, not a run; its runs, one per seed: {shown}")
    every = list(dict.fromkeys(run.run_id for run in among))
    nearest = difflib.get_close_matches(wanted, every, n=3, cutoff=0.0)
    shown = ", ".join(f"{run_id} ({_where(run_id, among=among)})" for run_id in nearest)
    raise UsageError(f"There is no run {text!r} among {len(every)}. The nearest ids: {shown}")


def _where(run_id: str, *, among: Sequence[KnownRun]) -> str:
    return next(run.manifest.sweep for run in among if run.run_id == run_id)
