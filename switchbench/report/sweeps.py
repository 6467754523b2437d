"""The report of a folder of results: every sweep in it, read, compared and put into tables."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from switchbench import units
from switchbench.compare import (
    Configuration,
    Rules,
    Scaling,
    compare_controls,
    compare_pairs,
    fit_scaling,
    gather_configurations,
    judge_pairs,
    judge_sweep,
)
from switchbench.errors import NothingToReportError, ResultsFolderError
from switchbench.record import RunRecord, TimingRecord
from switchbench.report.aggregates import describe_all
from switchbench.report.answers import answer_questions, name_target
from switchbench.report.baseline import compare_reports
from switchbench.report.controls import controls_sentence, controls_table
from switchbench.report.elements import Counts, Report, RunProblem, SweepReport
from switchbench.report.estimates import estimate_errors
from switchbench.report.fits import fit_law_of, fits_table
from switchbench.report.gates import Gate, check_gates
from switchbench.report.questions import Questions
from switchbench.report.scaling import how_to_read
from switchbench.report.summary import summarize_sweep
from switchbench.report.tables import build_tables
from switchbench.report.tuning import tuning_table, untuned_notes
from switchbench.store import (
    Manifest,
    ResultsFileWarning,
    SweepFolder,
    find_sweeps,
    read_manifest,
    read_runs,
    read_timings,
)

NO_QUESTIONS = Questions()
"""What a report is usually asked: nothing in particular."""
_EXAMPLE = "switchbench sweep experiments/capacity.yaml"


def build_report(
    results: Path, *, sweep: str | None = None, questions: Questions = NO_QUESTIONS, gates: Sequence[Gate] = ()
) -> Report:
    """Read the results and put them into tables.

    Args:
        results: A root of results (its direct children are the sweeps), or the folder of one sweep.
        sweep: Only the sweep of this name.
        questions: What it is asked in particular.
        gates: Conditions that it is to fail by; they are checked here, and ``require_gates`` fails by them.

    Returns:
        The sweeps with at least one run that went well, in the order of their names.

    Raises:
        NothingToReportError: there is no such run; says what to run.
        ResultsFolderError: there is no sweep of that name, ``results`` is a file, or a baseline cannot be used.

    Warns:
        ResultsFileWarning: a file or a sweep is passed over; the rest is reported.
    """
    if results.is_file():
        raise ResultsFolderError(f"{results} is a file; a report is of a folder that `switchbench sweep` filled")
    if not results.exists():
        raise NothingToReportError(f"There are no results at {results}. Run a sweep first: `{_EXAMPLE}`")
    reports: list[SweepReport] = []
    unusable: list[SweepReport] = []
    for folder in find_sweeps(results, sweep=sweep):
        try:
            manifest = read_manifest(folder)
        except ResultsFolderError as error:
            warnings.warn(f"The sweep in {folder.path} is passed over: {error}", ResultsFileWarning, stacklevel=2)
            continue
        report = _report_of(folder, manifest, questions=questions)
        (reports if report.counts.ok else unusable).append(report)
    if reports:
        for report in unusable:
            warnings.warn(f"Sweep {report.name} is passed over: {_unusable(report)}", ResultsFileWarning, stacklevel=2)
        if questions.baseline is not None:
            reports = compare_reports(reports, baseline=questions.baseline, sweep=sweep)
        built = Report(sweeps=tuple(reports))
        return replace(built, gates=check_gates(built, gates))
    if unusable:
        raise NothingToReportError("\n".join(f"Sweep {report.name}: {_unusable(report)}" for report in unusable))
    raise NothingToReportError(f"There is no sweep in {results}. Run one first: `{_EXAMPLE}`")


def _report_of(folder: SweepFolder, manifest: Manifest, *, questions: Questions) -> SweepReport:
    runs, timings = read_runs(folder), read_timings(folder)
    configurations = gather_configurations(manifest, runs=runs, timings=timings)
    rules = Rules(primary=manifest.primary, confidence=manifest.confidence, min_effect=manifest.min_effect)
    own = judge_pairs(compare_pairs(configurations, sweep=manifest.sweep), rules=rules)
    verdict = judge_sweep(own, configurations=configurations, rules=rules)
    target_nll, pairs = questions.target_nll, own
    if target_nll is not None:
        pairs = judge_pairs(compare_pairs(configurations, sweep=manifest.sweep, target_nll=target_nll), rules=rules)
    answers = answer_questions(configurations, pairs=pairs, sweep=manifest.sweep, questions=questions, rules=rules)
    scaling = fit_scaling(configurations)
    asked = {run_id for configuration in configurations for run_id in configuration.run_ids.values()}
    ends = [end for configuration in configurations for end in configuration.ends.values()]
    listed = {cell.run_id for cell in manifest.cells}
    strangers = {row.run_id for row in runs if row.parent_run_id is None} - listed
    statuses = [end.status for end in ends]
    counts = Counts(
        cells=len(asked) + manifest.pending,
        ok=statuses.count("ok"),
        diverged=statuses.count("diverged"),
        failed=len(statuses) - statuses.count("ok") - statuses.count("diverged"),
        missing=len(asked) - len(ends) + manifest.pending,
        not_in_manifest=len(strangers),
    )
    reference = {c.config_id: c.timing for c in configurations if c.timing is not None}
    law = fit_law_of(folder, configurations)
    controls = compare_controls(manifest.controls, configurations=configurations, rules=rules)
    checked = controls_table(controls, configurations=configurations, min_effect=rules.min_effect)
    further = (fits_table(law), tuning_table(manifest.tuning))
    return SweepReport(
        name=manifest.sweep,
        question=manifest.question,
        expected=manifest.expected,
        folder=folder,
        file=manifest.file,
        command=manifest.command,
        summary=f"{summarize_sweep(configurations, pairs=own, verdict=verdict)} {controls_sentence(controls)}".strip(),
        counts=counts,
        tables=(
            *answers.first,
            *([] if checked is None else [checked]),
            *name_target(
                build_tables(configurations, pairs=pairs, scaling=scaling, target_nll=target_nll, verdict=verdict),
                target_nll=target_nll,
            ),
            *answers.last,
            *(table for table in further if table is not None),
        ),
        problems=tuple(_problems(configurations, folder=folder)),
        notes=tuple(
            [
                *untuned_notes(manifest.tuning),
                *answers.notes,
                *_notes(counts, timings=list(reference.values()), has_pairs=bool(pairs), ends=ends, scaling=scaling),
                *([law.reason] if law.answer is None else []),
            ]
        ),
        configurations=configurations,
        pairs=tuple(pairs),
        primary=manifest.primary,
        verdict=verdict,
        controls=controls,
        comparisons=(*(each for pair in pairs for each in pair.comparisons), *answers.comparisons),
        frontiers=answers.frontiers,
        budget=answers.budget,
        budget_sentence=answers.budget_sentence,
        step_times=answers.step_times,
        asked=repr(questions) if questions.is_any else "",
        scaling=scaling,
        fits=() if law.answer is None else (law.answer,),
        estimates=estimate_errors(configurations),
        runs=tuple(ends),
        earlier=tuple(row for c in configurations for rows in c.earlier.values() for row in rows),
        timings=tuple(timing for timing in timings if timing.config_id in {c.config_id for c in configurations}),
    )


def _problems(configurations: Sequence[Configuration], *, folder: SweepFolder) -> list[RunProblem]:
    failed = [configuration for configuration in configurations if configuration.failed]
    labels = describe_all(failed, among=configurations)
    return [
        RunProblem(
            run_id=row.run_id,
            label=labels[configuration.config_id],
            seed=seed,
            status=row.status,
            reason=(row.reason or "no reason was recorded").strip(),
            log_path=folder.log_path(row.run_id),
        )
        for configuration in failed
        for seed, row in configuration.failed.items()
    ]


def _notes(
    counts: Counts,
    *,
    timings: Sequence[TimingRecord],
    has_pairs: bool,
    ends: Sequence[RunRecord],
    scaling: Sequence[Scaling],
) -> list[str]:
    notes = ["± is the standard deviation over seeds."]
    if has_pairs:
        notes[0] = (
            "± is the standard deviation over seeds, [ ] a 95% interval: of differences in nll (nats per token) by the "
            "noise of all runs, of speed-ups over the seeds that both sides have and, where time is in it, over steps."
        )
        notes.append(
            "Speed-ups are dense over sparse: above 1x, sparse wins. All are read where the mean over seeds first "
            "reaches the target, the dense twin's quality at its end, between annealed points."
        )
    if timings:
        threads = "1 thread" if timings[0].threads == 1 else f"{timings[0].threads} threads"
        steps = min(timing.num_steps for timing in timings)
        notes.append(
            f"Step time, tokens/s, time to target: the configurations in turns, apart from the runs, on "
            f"{timings[0].machine}, {threads}; median of {steps} steps or more, the middle half of which lies within "
            f"{units.percent(max(map(_quartile_distance, timings)))} of it."
        )
    if any(end.wall_clock_s is not None for end in ends):
        notes.append(
            "Wall-clock is the training time of the runs, which may have shared the machine with each other. Peak "
            "memory is the largest of the seeds."
        )
    notes.append(
        "FLOPs are those of training up to the end: useful (nothing dropped, no padding), provisioned (all slots of "
        "the experts computed), executed (what was really computed)."
    )
    notes.append(how_to_read(scaling))
    if counts.not_in_manifest:
        runs = "1 stored run is" if counts.not_in_manifest == 1 else f"{counts.not_in_manifest} stored runs are"
        notes.append(f"{runs} no longer asked for by the sweep file, and left out.")
    return notes


def _quartile_distance(timing: TimingRecord) -> float:
    """How far the quartiles of a step time are from its median, at most, as a share of it."""
    median = timing.step_time_s
    return max(timing.step_time_q75_s - median, median - timing.step_time_q25_s) / median


def _unusable(report: SweepReport) -> str:
    """Say why a sweep has nothing to report, and what to do."""
    counts = report.counts
    if not counts.cells:
        lines = [f"none of its tries ended well, so that there is no run to report. Change what {report.file} tunes"]
    elif report.has_open_runs:
        lines = [f"none of its {counts.cells} runs went well. Run `{report.command}`"]
    else:
        ways = {"diverged": counts.diverged, "ran out of memory": counts.failed}
        ends = " or ".join(way for way, number in ways.items() if number)
        remedy = "a smaller model or batch" if counts.failed else "a lower learning rate"
        runs = "its only run" if counts.cells == 1 else f"all of its {counts.cells} runs"
        lines = [f"{runs} {ends}, and would do so again. Change {report.file}: {remedy} may help"]
    for problem in report.problems:
        reason = problem.reason.splitlines()[0]
        lines.append(f"  {problem.label}, seed {problem.seed}: {problem.status}: {reason} (log: {problem.log_path})")
    return "\n".join(lines)
