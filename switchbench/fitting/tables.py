"""The answer in the terminal: the law, what follows from it, how good it is, and why to doubt it."""

import math
import string
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from switchbench import units
from switchbench.caveats import footnote_of
from switchbench.fitting.backtests import backtest_json, backtest_words, doubt_words
from switchbench.fitting.budgets import budget_title, budget_words
from switchbench.fitting.columns import ROLES
from switchbench.fitting.request import TableFit
from switchbench.laws import BudgetAnswer, FitStudy, Interval, Place, Rival
from switchbench.laws.derived import Measure
from switchbench.laws.study import Answer

METHODS = {
    "percentile": "percentiles of a bootstrap",
    "cluster_t": "cluster-robust (CR2), Student's t with Satterthwaite's degrees of freedom",
    "jackknife_t": "jackknife, Student's t",
}
TITLES: dict[Measure, str] = {
    "n_eff_over_n": "N_eff/N",
    "dense_equivalent_params": "dense-equivalent params",
    "compute_multiplier_fixed_tokens": "compute multiplier, fixed tokens",
    "compute_multiplier_optimal": "compute multiplier, optimal",
    "prediction": "loss",
    "crossover_params": "experts stop paying at N",
}
SHOWN: tuple[tuple[Measure, ...], ...] = (
    ("n_eff_over_n", "compute_multiplier_optimal"),
    ("dense_equivalent_params", "prediction"),
)
"""Columns of the two tables; the compute multiplier at fixed tokens is N_eff/N, and stands in the JSON."""


class _Marks:
    """Letters for footnotes, in the order in which a reader meets them."""

    def __init__(self) -> None:
        self.letters: dict[str, str] = {}

    def of(self, codes: Sequence[str]) -> str:
        for code in codes:
            self.letters.setdefault(code, string.ascii_lowercase[len(self.letters) % 26])
        marks = "".join(self.letters[code] for code in codes)
        return f" [{marks}]" if marks else ""


def print_fit(answer: TableFit, *, console: Console) -> None:
    """Print a fit.

    Args:
        answer: The fit.
        console: Where to.
    """
    marks = _Marks()
    for line in _head(answer, marks=marks):
        _say(console, line)
    console.print()
    _print_parameters(answer.study, console=console, marks=marks)
    console.print()
    _print_derived(answer.study.derived, console=console, marks=marks)
    for line in _goodness(answer.study):
        _say(console, line)
    backtest = backtest_json(answer.study.backtest)
    _say(console, backtest_words(backtest))
    if len(answer.study.rivals) > 1:
        console.print()
        _print_rivals(answer.study, console=console)
    if answer.budget is not None:
        console.print()
        _print_budget(answer.budget, doubt=doubt_words(backtest), console=console, marks=marks)
    console.print()
    for code, letter in marks.letters.items():
        _say(console, f"[{letter}] {footnote_of(code)}", style="dim")


def _head(answer: TableFit, *, marks: _Marks) -> list[str]:
    study, rows = answer.study, answer.rows
    fit = study.fit
    chosen = " (it predicts the largest size best)" if study.is_chosen else ""
    lines = [f"{fit.law.name}{chosen}: {fit.law.formula}{marks.of(answer.caveats)}"]
    used = [
        f"{role.upper() if role in ('n', 'e', 'd') else role} = {answer.columns[role].text}"
        for role in ROLES[:4]
        if role in answer.columns
    ]
    lines.append(f"{len(fit.observations)} of {rows.num_read} rows: {', '.join(used)}")
    if rows.left_out:
        lines.append("Left out: " + "; ".join(f"{each.count} ({each.reason})" for each in rows.left_out))
    minimized = f"Minimized: {fit.loss}, the sum is {fit.objective:.6g}."
    if study.beside is not None:
        beside = ", ".join(f"{name} {value:.4g}" for name, value in study.beside.values.items())
        minimized += f" With {study.beside.loss} instead: {beside}"
    lines.append(minimized)
    return [*lines, _intervals(study)]


def _intervals(study: FitStudy) -> str:
    grouping, drawn = study.grouping, study.resamples
    groups = {"size": "sizes", "seed": "seeds", "row": "rows", "column": "groups"}[grouping.by]
    text = f"95% intervals: {METHODS[study.method]}, over {grouping.number} {groups} ({grouping.reason})"
    if drawn is None:
        return text
    how = "whole groups are drawn" if drawn.method == "pairs" else "residuals of whole groups change sign"
    return f"{text}; {len(drawn.internal)} resamples ({how})"


def _print_parameters(study: FitStudy, *, console: Console, marks: _Marks) -> None:
    table = _table("parameter", "value", "95% interval", "std. error", "unit")
    for each in study.parameters:
        found = each.interval
        error = units.UNKNOWN if found.se is None else _number(found.se)
        name = each.quantity.name + marks.of(each.caveats)
        _add_row(table, [name, _number(found.value), _range(found), error, each.quantity.unit])
    console.print(table)


def _print_derived(answers: Sequence[Answer], *, console: Console, marks: _Marks) -> None:
    for measures in SHOWN:
        shown = [each for each in answers if each.quantity.measure in measures and each.quantity.place is not None]
        if shown:
            _print_places(shown, measures=measures, console=console, marks=marks)
            console.print()
    for each in answers:
        if each.quantity.place is None:
            _say(console, f"{TITLES[each.quantity.measure]}: {_value_with_range(each)}{marks.of(each.caveats)}")
            console.print()


def _print_places(answers: Sequence[Answer], *, measures: Sequence[Measure], console: Console, marks: _Marks) -> None:
    by_place: dict[Place, dict[Measure, Answer]] = {}
    for each in answers:
        assert each.quantity.place is not None
        by_place.setdefault(each.quantity.place, {})[each.quantity.measure] = each
    present = [measure for measure in measures if any(measure in row for row in by_place.values())]
    has_experts = any(place.e != 1 for place in by_place)
    has_tokens = any(place.d is not None for place in by_place)
    labels = ["N", *(["E"] if has_experts else []), *(["D"] if has_tokens else [])]
    table = _table(*labels, *(TITLES[measure] for measure in present))
    for place in sorted(by_place, key=lambda place: (place.n, place.d or 0.0, place.e)):
        cells = [units.count(place.n)]
        cells += [f"{place.e:g}"] if has_experts else []
        cells += [units.count(place.d)] if has_tokens else []
        for measure in present:
            found = by_place[place].get(measure)
            cells.append(units.UNKNOWN if found is None else _value_with_range(found) + marks.of(found.caveats))
        _add_row(table, cells)
    console.print(table)


def _goodness(study: FitStudy) -> list[str]:
    good = study.goodness
    seeds = "no configuration was run twice" if good.seed_sd_ln is None else f"{good.seed_sd_ln:.4f} between seeds"
    lines = [f"Deviation of ln L: {good.rms_ln:.6f} rms ({seeds})."]
    if good.leave_one_size_out_rms_ln is not None:
        lines.append(f"Each size predicted without it: {good.leave_one_size_out_rms_ln:.4f} rms.")
    held = good.hold_out
    if held is not None:
        direction = "too high" if held.mean_ln > 0 else "too low"
        lines.append(
            f"The largest size, {units.count(held.n)}, predicted without it: {held.rms_ln:.4f} rms, on average "
            f"{abs(held.mean_ln):.4f} {direction}."
        )
        if held.gains:
            gains = ", ".join(f"E={gain.e:g}: {gain.predicted:.3f} ({gain.observed:.3f})" for gain in held.gains)
            lines.append(f"Its gains over dense in nats, predicted (observed): {gains}.")
    lines.append(f"R² {good.r2:.5f}.")
    return lines


def _print_rivals(study: FitStudy, *, console: Console) -> None:
    table = _table("law", "parameters", "largest size held out", "each size held out", "rms of ln L", "ΔAICc")
    least = min((each.goodness.aicc for each in study.rivals if each.goodness.aicc is not None), default=None)
    for each in study.rivals:
        _add_row(table, _rival(each, least=least, is_this=each.law == study.fit.law))
    console.print(table)


def _rival(rival: Rival, *, least: float | None, is_this: bool) -> list[str]:
    good = rival.goodness
    plain = ", Ê = E" if rival.law.formula.endswith("Ê = E") else ""
    return [
        f"{rival.law.name}{plain}{' (this)' if is_this else ''}",
        str(rival.num_parameters),
        units.UNKNOWN if good.hold_out is None else f"{good.hold_out.rms_ln:.4f}",
        units.UNKNOWN if good.leave_one_size_out_rms_ln is None else f"{good.leave_one_size_out_rms_ln:.4f}",
        f"{good.rms_ln:.4f}",
        units.UNKNOWN if good.aicc is None or least is None else f"{good.aicc - least:.1f}",
    ]


def _print_budget(answer: BudgetAnswer, *, doubt: str, console: Console, marks: _Marks) -> None:
    _say(console, budget_title(answer))
    table = _table("E", "N", "D", "all params", "memory", "loss", "best in")
    for each in answer.options:
        bound = " (limit)" if each.is_memory_bound else ""
        cells = [
            f"{each.e:g}{' (best)' if each is answer.best else ''}",
            _interval_text(each.n, text=units.count),
            _interval_text(each.d, text=units.count),
            units.count(each.total_params),
            f"{units.size(each.memory_bytes)}{bound}",
            _interval_text(each.loss, text=_number) + marks.of(each.caveats),
            units.UNKNOWN if each.best_share is None else f"{100 * each.best_share:.0f}%",
        ]
        _add_row(table, cells)
    console.print(table)
    for line in budget_words(answer, doubt=doubt):
        _say(console, line)


def _value_with_range(answer: Answer) -> str:
    return _interval_text(answer.interval, text=units.count if answer.quantity.unit == "parameters" else _number)


def _interval_text(found: Interval, *, text: Callable[[float], str]) -> str:
    if not math.isfinite(found.value):
        return units.UNKNOWN
    if found.ci95 is None:
        return text(found.value)
    return f"{text(found.value)} [{text(found.ci95[0])}, {text(found.ci95[1])}]"


def _range(interval: Interval) -> str:
    if interval.ci95 is None:
        return units.UNKNOWN
    return f"[{_number(interval.ci95[0])}, {_number(interval.ci95[1])}]"


def _number(value: float) -> str:
    """Four digits; an exponent where a number would be long."""
    if not math.isfinite(value):
        return units.UNKNOWN
    return units.significant(value, digits=4) if 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, header in enumerate(headers):
        table.add_column(header, justify="left" if i == 0 or header == "unit" else "right", no_wrap=i > 0)
    return table


def _add_row(table: Table, cells: Sequence[str]) -> None:
    table.add_row(*(Text(cell) for cell in cells))  # as text: rich would read a mark in brackets as a style


def _say(console: Console, text: str, *, style: str = "") -> None:
    console.print(Text(text, style=style))
