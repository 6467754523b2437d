"""What a report says beyond pairs: the best under budgets, equal time, and what it was asked in particular."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from switchbench.caveats import Caveat
from switchbench.compare import (
    MEASURES,
    BestUnderBudget,
    Comparison,
    Configuration,
    EqualTime,
    Frontier,
    Pair,
    best_under,
    compare_at_equal_time,
    find_frontiers,
    pool_of,
)
from switchbench.compare.elsewhere import StepTimeVerdict, judge_step_times
from switchbench.compare.judgements import Rules, judge_comparisons
from switchbench.report.aggregates import mixtures_of
from switchbench.report.contents import Contents
from switchbench.report.elements import Table
from switchbench.report.elsewhere import step_times_table
from switchbench.report.equal_time import equal_time_table
from switchbench.report.frontier import budget_sentence, budget_table, frontier_table
from switchbench.report.questions import Questions

_AT_TARGET = ("head_to_head", "break_even")
"""Tables whose speed-ups are measured at a target."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What is said of one sweep beyond its pairs."""

    first: tuple[Table, ...]
    """What was asked for, before all other tables."""
    last: tuple[Table, ...]
    """What is always said, after those of the pairs."""
    notes: tuple[str, ...]
    """How to read it, and what could not be answered."""
    comparisons: tuple[Comparison, ...]
    """All measures at equal time."""
    frontiers: tuple[Frontier, ...]
    """Which side is better under which budgets."""
    budget: BestUnderBudget | None
    """The best under the budgets that were asked for; None: none were."""
    budget_sentence: str
    """The same in a sentence; empty where nothing was asked."""
    step_times: tuple[StepTimeVerdict, ...]
    """Who is sooner on which machine; empty where no file was given."""


def answer_questions(
    configurations: Sequence[Configuration],
    *,
    pairs: Sequence[Pair],
    sweep: str,
    questions: Questions,
    rules: Rules | None = None,
) -> Answers:
    """Work out what is said of a sweep beyond its pairs.

    Args:
        configurations: All configurations of the sweep.
        pairs: The pairs of twins among them.
        sweep: Its name.
        questions: What the report was asked in particular.
        rules: What it takes to win; None: the usual.
    """
    finished = tuple(configuration for configuration in configurations if configuration.finished)
    contents = Contents(configurations=finished, pairs=tuple(pairs), mixtures=mixtures_of(finished))
    pool = pool_of(configurations)
    frontiers = find_frontiers(pool, sweep=sweep)
    equal_time = _judged(
        compare_at_equal_time(configurations, sweep=sweep, target_nll=questions.target_nll),
        configurations=configurations,
        rules=rules or Rules(),
    )
    first: list[Table] = []
    budget, sentence = None, ""
    if questions.budgets:
        budget = best_under(questions.budgets, pool, sweep=sweep)
        sentence = budget_sentence(budget, pool, among=finished)
        first.append(budget_table(budget, pool, among=finished))
    verdicts: tuple[StepTimeVerdict, ...] = ()
    if questions.step_times and pairs:
        verdicts = judge_step_times(pairs, questions.step_times, sweep=sweep)
        first.append(step_times_table(verdicts, questions.step_times, contents))
    last = (frontier_table(frontiers, pool, among=finished, sweep=sweep), equal_time_table(equal_time, contents))
    notes = []
    if questions.target_nll is not None:
        notes.append(
            f"Speed-ups, break-even and time to target are at an nll of {questions.target_nll:g} nats per token, as "
            "was asked for. A side that does not reach it costs more than its whole run: then the ratio is a bound."
        )
    if questions.step_times and not pairs:
        notes.append("There is no pair of twins whose step times could be judged.")
    if pool.has_other_data:
        notes.append("The configurations are evaluated on different text, so none of them is the best under a budget.")
    if any(Caveat.OUTSIDE_RANGE in each.measured("delta_nll").caveats for each in equal_time) and last[1] is None:
        notes.append(
            "At equal training time nothing is compared: no dense run was both stopped before and trained beyond the "
            "time that a sparse one took."
        )
    return Answers(
        first=tuple(first),
        last=tuple(table for table in last if table is not None),
        notes=tuple(notes),
        comparisons=tuple(comparison for each in equal_time for comparison in each.comparisons),
        frontiers=frontiers,
        budget=budget,
        budget_sentence=sentence,
        step_times=verdicts,
    )


def _judged(
    found: Sequence[EqualTime], *, configurations: Sequence[Configuration], rules: Rules
) -> tuple[EqualTime, ...]:
    """Give comparisons at equal time their verdicts, corrected for their own number."""
    sides = {configuration.config_id: configuration for configuration in configurations}
    judged = judge_comparisons([each for one in found for each in one.comparisons], sides=sides, rules=rules)
    size = len(MEASURES)
    return tuple(replace(each, comparisons=judged[i * size : (i + 1) * size]) for i, each in enumerate(found))


def name_target(tables: Sequence[Table], *, target_nll: float | None) -> tuple[Table, ...]:
    """Say in the titles of tables of speed-ups that they are at a target of the reader's own.

    Args:
        tables: All tables of a sweep.
        target_nll: The target; None: each dense twin's own.
    """
    if target_nll is None:
        return tuple(tables)
    return tuple(
        replace(table, title=f"{table.title}, speed-ups at an nll of {target_nll:g}")
        if table.key in _AT_TARGET
        else table
        for table in tables
    )
