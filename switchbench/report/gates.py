"""Conditions that a report is to fail by: ``nll > +1%`` against a baseline, ``nll > 1.7``, ``verdict != sparse``."""

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from switchbench import units
from switchbench.compare import Change, ChangeMeasure, ChangeVerdict, Configuration, Verdict
from switchbench.compare.changes import diverged_share
from switchbench.errors import GateFailedError, UsageError
from switchbench.quantities import parse_duration, parse_flops, parse_size
from switchbench.report.aggregates import aggregate
from switchbench.report.changes import labels_of, percent_text
from switchbench.report.elements import GateResult, Report, SweepReport
from switchbench.report.verdicts import p_phrase

_MEASURES: dict[str, ChangeMeasure] = {
    "nll": "nll",
    "perplexity": "perplexity",
    "bits_per_byte": "bits_per_byte",
    "step_time": "step_time_s",
    "peak_memory": "peak_memory_bytes",
    "provisioned_flops": "provisioned_train_flops",
    "executed_flops": "executed_train_flops",
}
_WORDS: dict[str, tuple[str, ...]] = {
    "verdict": (*get_args(Verdict), "withheld"),
    "change": (*get_args(ChangeVerdict), "withheld"),
}
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_GATE = re.compile(r"\s*([A-Za-z_]+)\s*(<=|>=|==|!=|<|>)\s*(\S.*?)\s*")
_PERCENT = re.compile(r"([+-]?)\s*(\d+\.?\d*|\.\d+)\s*%")
_QUALITIES = ("nll", "perplexity", "bits_per_byte")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A condition that a report is to fail by."""

    expression: str
    """As it was given."""
    name: str
    """What it asks for: a measure, ``verdict`` or ``change``."""
    sign: str
    """How that is compared."""
    limit: float = 0.0
    """With what: a number in the measure's unit, or a relative change."""
    word: str = ""
    """With what, where it is a word."""
    is_relative: bool = False
    """Whether it is of the change against the baseline."""

    @property
    def needs_baseline(self) -> bool:
        """Whether it says nothing without a baseline."""
        return self.is_relative or self.name == "change"

    def is_met(self, value: float) -> bool:
        """Whether a number meets it."""
        return _OPERATORS[self.sign](value, self.limit)


@dataclass(frozen=True)
class _Outcome:
    """How a condition is met: empty where it is not."""

    text: str
    is_sure: bool = True


def parse_gates(texts: Sequence[str], *, has_baseline: bool) -> tuple[Gate, ...]:
    """Read conditions.

    Args:
        texts: Such as ``nll > +1%``, ``step_time > 30 ms``, ``verdict != sparse``.
        has_baseline: Whether there is something to be relative to.

    Raises:
        UsageError: one cannot be read, or needs a baseline; says what is allowed.

    >>> gate, = parse_gates(["nll > +1%"], has_baseline=True)
    >>> gate.name, gate.sign, gate.limit, gate.is_relative
    ('nll', '>', 0.01, True)
    """
    gates = tuple(map(_parse, texts))
    for gate in gates:
        if gate.needs_baseline and not has_baseline:
            of_change = "change says how nll changed" if gate.name == "change" else "a change in percent is one"
            raise UsageError(
                f"--fail-if {gate.expression!r}: {of_change} against other results; give them with --baseline RESULTS"
            )
    return gates


def check_gates(report: Report, gates: Sequence[Gate]) -> tuple[GateResult, ...]:
    """Check the conditions, each for all sweeps and all their configurations that have a run.

    A relative condition is met where the measured change is beyond the limit and a change is sure: its p-value,
    corrected for the number of configurations, is at most 1 - confidence. The measured change alone decides where
    nothing could be tested (one seed, no noise to judge it by; FLOPs, which are arithmetic) and where no change at all
    would meet the condition. In absolute conditions the mean over seeds alone decides. Runs that diverged count as the
    worst.

    Args:
        report: The report.
        gates: The conditions.

    Returns:
        What came of each. One that nothing could be checked by counts as met: a gate that saw nothing must not pass.
    """
    return tuple(_check(gate, report.sweeps) for gate in gates)


def require_gates(results: Sequence[GateResult]) -> None:
    """Fail where one of the conditions is met.

    Args:
        results: What came of the conditions.

    Raises:
        GateFailedError: one is met; lists where and how.
    """
    failures = [f"{result.expression}: {line}" for result in results for line in result.failures]
    if failures:
        number = sum(bool(result.failures) for result in results)
        conditions = "a condition of --fail-if is" if number == 1 else f"{number} conditions of --fail-if are"
        raise GateFailedError("\n  ".join([f"{conditions} met:", *failures]))


def _parse(text: str) -> Gate:
    found = _GATE.fullmatch(text)
    if found is None:
        raise _unreadable(text, "is no condition")
    name, sign, limit = found.groups()
    known = [*_MEASURES, *_WORDS]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        raise _unreadable(text, f"asks for {name!r}.{meant}")
    if name in _WORDS:
        if sign not in ("==", "!=") or limit not in _WORDS[name]:
            raise _unreadable(text, f"{name} is compared by == or != with {', '.join(_WORDS[name])}")
        return Gate(expression=text, name=name, sign=sign, word=limit)
    if sign not in _OPERATORS:
        raise _unreadable(text, f"{name} is compared by >, >=, < or <=")
    percent = _PERCENT.fullmatch(limit)
    if percent is None:
        return Gate(expression=text, name=name, sign=sign, limit=_absolute(limit, name=name, text=text))
    if not percent[1]:
        raise _unreadable(text, f"a change has its sign: write +{limit} or -{limit}")
    share = float(percent[1] + percent[2]) / 100
    return Gate(expression=text, name=name, sign=sign, limit=share, is_relative=True)


def _absolute(limit: str, *, name: str, text: str) -> float:
    where = f"the limit of --fail-if {text!r}"
    try:
        value = float(limit)
    except ValueError:
        if name == "step_time":
            ms = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*ms", limit)
            return float(ms[1]) / 1000 if ms else parse_duration(limit, name=where)
        if name == "peak_memory":
            return float(parse_size(limit, name=where))
        if name.endswith("_flops"):
            return parse_flops(limit, name=where)
        raise _unreadable(text, f"{limit!r} is no number, and no change such as +1%") from None
    if not math.isfinite(value):
        raise _unreadable(text, "the limit must be finite")
    return value


def _unreadable(text: str, problem: str) -> UsageError:
    return UsageError(
        f"--fail-if {text!r}: {problem}. A condition is a measure ({', '.join(_MEASURES)}), a sign (>, >=, <, <=) and "
        "a limit: +1% or -1% against --baseline, or a number such as 1.7, 30ms or 2GiB; or it is 'verdict != sparse' "
        "or 'change == worse'"
    )


def _check(gate: Gate, sweeps: Sequence[SweepReport]) -> GateResult:
    failures: list[str] = []
    doubtful: list[str] = []
    checked = unknown = 0
    for sweep in sweeps:
        for subject, outcome in _outcomes(gate, sweep):
            checked += 1
            unknown += outcome is None
            if outcome is not None and outcome.text:
                (failures if outcome.is_sure else doubtful).append(f"{sweep.name}: {subject}{outcome.text}")
    if checked == unknown:
        what = "no configuration is on both sides" if gate.needs_baseline and not checked else "it is known of nothing"
        failures.append(f"{what}, so that there is nothing to judge by")
    return GateResult(
        expression=gate.expression,
        failures=tuple(failures),
        doubtful=tuple(doubtful),
        checked=checked,
        unknown=unknown,
    )


def _outcomes(gate: Gate, sweep: SweepReport) -> Iterator[tuple[str, _Outcome | None]]:
    """What is checked, and what came of it; None where that is not known."""
    if gate.name == "verdict":
        found = sweep.verdict.verdict or "withheld"
        yield "", _Outcome(f"the verdict is {found}" if (found == gate.word) == (gate.sign == "==") else "")
    elif gate.needs_baseline:
        counterparts = () if sweep.changes is None else sweep.changes.counterparts
        labels = labels_of([each.now for each in counterparts])
        alpha = 1 - sweep.verdict.rules.confidence
        for each in counterparts:
            label = f"{labels[each.now.config_id]}: "
            if gate.name == "change":
                word = each.changed("nll").verdict or "withheld"
                yield label, _Outcome(f"the change is {word}" if (word == gate.word) == (gate.sign == "==") else "")
            elif (lost := _lost(gate, each.now, then=each.then)) is not None:
                yield label, lost
            else:
                yield label, _relative(gate, each.changed(_MEASURES[gate.name]), alpha=alpha)
    else:
        configurations = [each for each in sweep.configurations if each.ends]
        labels = labels_of(configurations)
        for configuration in configurations:
            lost = _lost(gate, configuration, then=None)
            outcome = _against_limit(gate, configuration) if lost is None else lost
            yield f"{labels[configuration.config_id]}: ", outcome


def _lost(gate: Gate, now: Configuration, *, then: Configuration | None) -> _Outcome | None:
    """That runs diverged, where that counts: of qualities, and more of them than before."""
    if gate.name not in _QUALITIES or not gate.sign.startswith(">"):
        return None
    (bad, ended), (other_bad, other_ended) = diverged_share(now), (0, 1) if then is None else diverged_share(then)
    if bad * max(1, other_ended) <= other_bad * max(1, ended):
        return None
    before = f", before {other_bad} of {other_ended}" if then is not None else ""
    return _Outcome(f"{bad} of {ended} runs diverged{before}")


def _relative(gate: Gate, change: Change, *, alpha: float) -> _Outcome | None:
    if change.value is None:
        return None
    if not gate.is_met(change.value):
        return _Outcome("")
    interval = ""
    if change.ci95 is not None:
        low, high = (percent_text(end, signed=True) for end in change.ci95)
        interval = f" [{low}, {high}]"
    sure = "" if change.p_holm is None else f", {p_phrase(change.p_holm)}"
    sides = " -> ".join(_text(gate.name, value) for value in (change.then, change.now) if value is not None)
    return _Outcome(
        f"{sides}, {percent_text(change.value, signed=True)}{interval}{sure}",
        is_sure=change.p_holm is None or change.p_holm <= alpha or gate.is_met(0.0),
    )


def _against_limit(gate: Gate, configuration: Configuration) -> _Outcome | None:
    value = _value(gate.name, configuration)
    if value is None:
        return None
    return _Outcome(_text(gate.name, value) if gate.is_met(value) else "")


def _value(name: str, configuration: Configuration) -> float | None:
    """A measure as the report's tables have it: a mean over seeds, the largest peak, the exclusive step time."""
    if name == "step_time":
        return None if configuration.timing is None else configuration.timing.step_time_s
    found = aggregate(configuration, "nll" if name == "perplexity" else _MEASURES[name])
    if found is None:
        return None
    if name == "perplexity":
        return math.exp(min(found.mean, 700.0))
    return found.largest if name == "peak_memory" else found.mean


def _text(name: str, value: float) -> str:
    if name == "step_time":
        return units.duration(value)
    if name == "peak_memory":
        return units.size(value)
    return units.flops(value) if name.endswith("_flops") else f"{value:.4f}"
