"""Other results of the same sweeps, which a report is compared with: read, chosen, and compared."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from switchbench.compare import BaselineSweep, compare_with_baseline, gather_configurations
from switchbench.errors import ResultsFolderError
from switchbench.report.aggregates import mixtures_of
from switchbench.report.changes import baseline_table, changes_sentence
from switchbench.report.contents import Contents
from switchbench.report.elements import SweepReport
from switchbench.report.places import states_of
from switchbench.store import ResultsFileWarning, SweepFolder, find_sweeps, read_manifest, read_runs, read_timings


def read_baseline(results: Path, *, sweep: str | None = None) -> tuple[BaselineSweep, ...]:
    """Read the sweeps that a report is compared with.

    Args:
        results: A root of results, or the folder of one sweep.
        sweep: Only the sweep of this name, where ``results`` is a root.

    Raises:
        ResultsFolderError: there is none.

    Warns:
        ResultsFileWarning: a file or a sweep is passed over.
    """
    if not results.is_dir():
        raise ResultsFolderError(f"--baseline {results} is not a folder; give one that `switchbench sweep` filled")
    folders = find_sweeps(results)
    if sweep is not None and len(folders) > 1:
        folders = [folder for folder in folders if folder.path.resolve().name == sweep]
    found = []
    for folder in folders:
        try:
            manifest = read_manifest(folder)
        except ResultsFolderError as error:
            warnings.warn(f"The baseline in {folder.path} is passed over: {error}", ResultsFileWarning, stacklevel=2)
            continue
        configurations = gather_configurations(manifest, runs=read_runs(folder), timings=read_timings(folder))
        if any(configuration.finished for configuration in configurations):
            found.append(BaselineSweep(folder=folder.path, name=manifest.sweep, configurations=configurations))
    if not found:
        raise ResultsFolderError(
            f"--baseline {results} holds no sweep with a run that went well: nothing to compare with"
        )
    return tuple(found)


def choose_baseline(baselines: Sequence[BaselineSweep], *, sweep: str, is_alone: bool) -> BaselineSweep | None:
    """Choose what a sweep is compared with: the sweep of its name or, where either side has but one, that one.

    Args:
        baselines: The sweeps that are compared with.
        sweep: Name of the sweep.
        is_alone: Whether the report is of this sweep alone.
    """
    named = next((each for each in baselines if each.name == sweep), None)
    return baselines[0] if named is None and is_alone and len(baselines) == 1 else named


def compare_reports(reports: Sequence[SweepReport], *, baseline: Path, sweep: str | None) -> list[SweepReport]:
    """Compare the reports of sweeps with other results of theirs, and say of each what changed.

    Args:
        reports: The reports.
        baseline: A root of results, or the folder of one sweep.
        sweep: Only the sweep of this name.

    Raises:
        ResultsFolderError: nothing there can be compared with any of them.

    Warns:
        ResultsFileWarning: a file or a sweep is passed over, or there is a sweep that only the baseline has.
    """
    baselines = read_baseline(baseline, sweep=sweep)
    chosen = [choose_baseline(baselines, sweep=each.name, is_alone=len(reports) == 1) for each in reports]
    if not any(chosen):
        ours, theirs = (", ".join(each.name for each in sweeps) for sweeps in (reports, baselines))
        raise ResultsFolderError(
            f"--baseline {baseline} has no sweep of the names that are reported ({ours}); the sweeps there: {theirs}. "
            "Give the folder of one sweep on both sides to compare sweeps of different names."
        )
    used = {each.folder for each in chosen if each is not None}
    lost = [each.name for each in baselines if each.folder not in used]
    if lost:
        warnings.warn(f"Only the baseline has the sweeps {', '.join(lost)}.", ResultsFileWarning, stacklevel=2)
    return [_compare(report, found, place=baseline) for report, found in zip(reports, chosen, strict=True)]


def _compare(report: SweepReport, baseline: BaselineSweep | None, *, place: Path) -> SweepReport:
    if baseline is None:
        return replace(report, notes=(f"The baseline {place} has no sweep {report.name}.", *report.notes))
    rules = report.verdict.rules
    changes = compare_with_baseline(report.configurations, baseline=baseline, rules=rules)
    finished = tuple(configuration for configuration in report.configurations if configuration.finished)
    contents = Contents(configurations=finished, pairs=report.pairs, mixtures=mixtures_of(finished))
    table = baseline_table(changes, contents, rules=rules)
    state = "\n".join([report.asked, str(place), *states_of(SweepFolder(baseline.folder))])
    shown = replace(report, changes=changes, asked=state)
    if table is None:
        return replace(shown, notes=(changes_sentence(changes), *report.notes))
    return replace(shown, tables=(table, *report.tables))
