"""What changed of one configuration between two results: quality by seeds, step time, memory, FLOPs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal, assert_never, get_args

from switchbench.caveats import Caveat, in_order
from switchbench.compare.configurations import Configuration, mixture_caveats
from switchbench.compare.effects import Effects
from switchbench.compare.intervals import Contrast, jackknife
from switchbench.compare.judgements import Rules
from switchbench.compare.pairs import timing_caveats
from switchbench.compare.pool import text_of
from switchbench.compare.step_times import step_time_contrast
from switchbench.compare.verdicts import Evidence, Verdict, judge
from switchbench.record import RunRecord

ChangeMeasure = Literal[
    "nll", "perplexity", "bits_per_byte", "step_time_s", "peak_memory_bytes", "provisioned_train_flops",
    "executed_train_flops",
]  # fmt: skip
CHANGE_MEASURES: tuple[ChangeMeasure, ...] = get_args(ChangeMeasure)
"""What is compared: of all of them, less is better."""
QUALITIES: tuple[ChangeMeasure, ...] = CHANGE_MEASURES[:3]
"""Those of them that say how good a model is."""
ChangeVerdict = Literal["identical", "better", "worse", "equivalent", "unresolved"]
"""``identical``: the same to the bit; ``better``, ``worse``: now; ``equivalent``: the change, if there is any, is
smaller than what matters; ``unresolved``: the runs do not tell."""

_VERDICTS: dict[Verdict, ChangeVerdict] = {
    "sparse": "better", "dense": "worse", "equivalent": "equivalent", "unresolved": "unresolved",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Change:
    """One measure of one configuration, then and now."""

    measure: ChangeMeasure
    """What is measured."""
    then: float | None
    """Its mean over the shared seeds in the baseline, of step times the median of the steps; None: unknown."""
    now: float | None
    """The same in these results."""
    value: float | None
    """``now / then - 1``, of nll the mean difference over ``then``; None: unknown on one side, or not comparable."""
    ci95: tuple[float, float] | None
    """95% interval of ``value``; None: there is none."""
    p_value: float | None = None
    """Two-sided p-value of no change, not corrected; None: nothing was tested."""
    p_holm: float | None = None
    """The same, corrected for the number of configurations by Holm's method."""
    verdict: ChangeVerdict | None = None
    """Of nll and bits per byte; None: there is nothing to judge, and the caveats say why, or it is no quality."""
    caveats: tuple[str, ...] = ()
    """Codes of the reasons to distrust it."""
    contrast: Contrast | None = None
    """The difference now less then, of what is no quality the logarithm of the ratio; None: there is no interval."""


def differences_of(then: Configuration, now: Configuration, *, column: str) -> dict[int, float]:
    """Give how much a quality changed, now less then, by the seeds that have it on both sides.

    Args:
        then: The configuration in the baseline.
        now: The configuration here.
        column: ``nll`` or ``bits_per_byte``.
    """
    if _has_other_text(then, now):
        return {}
    values = {
        seed: (_number(then.finished[seed], column), _number(row, column))
        for seed, row in now.finished.items()
        if seed in then.finished
    }
    return {seed: b - a for seed, (a, b) in values.items() if a is not None and b is not None}


def changes_of(
    then: Configuration,
    now: Configuration,
    *,
    effects: Mapping[str, Effects],
    is_identical: bool,
    seeds: Sequence[int],
) -> tuple[Change, ...]:
    """Measure what changed of a configuration, in the order of ``CHANGE_MEASURES``.

    Args:
        then: The configuration in the baseline.
        now: The configuration here.
        effects: The differences in nll and bits per byte of all configurations that are not identical.
        is_identical: Whether this one is.
        seeds: The seeds that went well in both.
    """
    rows = [side.ends[seed] for side in (then, now) for seed in seeds]
    mixed = [code for code in mixture_caveats(rows) if code != Caveat.MIXED_CODE]  # which is what is compared

    def measure(name: ChangeMeasure) -> Change:
        match name:
            case "nll" | "perplexity" | "bits_per_byte":
                column: Literal["nll", "bits_per_byte"] = "bits_per_byte" if name == "bits_per_byte" else "nll"
                change = _quality(then, now, column=column, effects=effects[column], is_identical=is_identical)
                own = [code for code in mixed if code == Caveat.MIXED_EXECUTION]
                change = replace(change, caveats=in_order([*change.caveats, *own]))
                return change  # that of perplexity follows from the judged one
            case "step_time_s":
                return _step_time(then, now)
            case "peak_memory_bytes":
                return replace(_ratio(name, then, now, seeds=seeds), caveats=in_order(mixed))
            case "provisioned_train_flops" | "executed_train_flops":
                return replace(_ratio(name, then, now, seeds=seeds), ci95=None, contrast=None)
            case _:
                assert_never(name)

    return tuple(measure(name) for name in CHANGE_MEASURES)


def judge_changes(
    changes: Sequence[Sequence[Change]], *, sides: Sequence[tuple[Configuration, Configuration]], rules: Rules
) -> list[tuple[Change, ...]]:
    """Test the changes of all configurations, those of one measure together: see ``judge``, with now against then.

    Args:
        changes: Of each configuration, in the order of ``CHANGE_MEASURES``.
        sides: Each configuration then and now.
        rules: What it takes for a change to be one; there is no primary configuration.
    """
    judged = [list(each) for each in changes]
    for index, measure in enumerate(CHANGE_MEASURES):
        if measure == "perplexity":  # the same question again
            for each in judged:
                each[index] = _perplexity(each[CHANGE_MEASURES.index("nll")])
            continue
        tested: list[int] = []
        evidence: list[Evidence] = []
        for number, ((then, now), measured) in enumerate(zip(sides, changes, strict=True)):
            has_diverged = measure in QUALITIES and bool(then.diverged or now.diverged)
            if measured[index].verdict is not None or not (measured[index].contrast or has_diverged):
                continue
            tested.append(number)
            evidence.append(_evidence(measured[index], then=then, now=now, rules=rules))
        for number, judgement in zip(tested, judge(evidence, confidence=rules.confidence), strict=True):
            verdict = _VERDICTS[judgement.verdict] if measure in QUALITIES else None
            judged[number][index] = replace(
                judged[number][index], verdict=verdict, p_value=judgement.p_value, p_holm=judgement.p_holm
            )
    return [tuple(each) for each in judged]


def diverged_share(configuration: Configuration) -> tuple[int, int]:
    """How many runs of a configuration diverged, of how many that diverged or went well."""
    return len(configuration.diverged), len(configuration.diverged) + len(configuration.finished)


def _evidence(change: Change, *, then: Configuration, now: Configuration, rules: Rules) -> Evidence:
    is_quality, contrast = change.measure in QUALITIES, change.contrast
    return Evidence(
        hypothesis=now.config_id,
        is_primary=False,
        gain=None if contrast is None else replace(contrast, value=-contrast.value),
        margin=rules.min_effect * abs(change.then or 0.0) if is_quality else 0.0,
        diverged={"sparse": diverged_share(now), "dense": diverged_share(then)},
        counts_divergence=is_quality,
    )


def _quality(
    then: Configuration, now: Configuration, *, column: Literal["nll", "bits_per_byte"], effects: Effects,
    is_identical: bool,
) -> Change:  # fmt: skip
    differences = differences_of(then, now, column=column)
    caveats: list[str] = [code for row in now.finished.values() for code in row.caveats]
    caveats = [code for code in caveats if code == Caveat.NON_CAUSAL_ROUTING]
    caveats += [code for side in (then, now) for code in side.caveats if code != Caveat.SINGLE_SEED]
    if _has_other_text(then, now):
        caveats.append(Caveat.MIXED_TEXT)
    seeds = list(differences)
    sides = [_mean([_number(side.finished[seed], column) for seed in seeds]) for side in (then, now)]
    change = Change(
        measure=column, then=sides[0], now=sides[1], value=None, ci95=None, caveats=in_order(caveats)
    )  # fmt: skip
    if not seeds or not sides[0]:
        return change
    if not any(differences.values()):
        return replace(change, value=0.0, verdict="identical" if is_identical else "equivalent")
    contrast = _contrast(list(differences.values()), effects=effects, config_id=now.config_id)
    if len(seeds) == 1:
        caveats.append(Caveat.SINGLE_SEED if contrast is None else Caveat.NOISE_OF_OTHERS)
    return replace(
        change,
        value=fmean(differences.values()) / abs(sides[0]),
        ci95=None if contrast is None else _scaled(contrast.interval(), 1 / abs(sides[0])),
        caveats=in_order(caveats),
        contrast=contrast,
    )


def _contrast(differences: Sequence[float], *, effects: Effects, config_id: str) -> Contrast | None:
    """The mean difference with its error, by the scatter of all configurations' differences about their means.

    As in ``Effects.contrast``: where the configuration's own differences scatter more, their own error counts.
    """
    noise, number = effects.noise, len(differences)
    if noise is None:
        return None
    error2 = noise.variances[config_id] / number
    degrees = noise.prior_degrees_of_freedom + noise.own_degrees_of_freedom[config_id]
    degrees = min(degrees, float(noise.degrees_of_freedom))
    mean = fmean(differences)
    if number > 1:
        own = math.fsum((value - mean) ** 2 for value in differences) / (number - 1) / number
        if own > error2:
            error2, degrees = own, min(degrees, number - 1.0)
    return Contrast(value=mean, standard_error=math.sqrt(error2), degrees_of_freedom=max(1.0, degrees))


def _perplexity(nll: Change) -> Change:
    """The same change in perplexity: its ratio is the exponential of the difference in nll."""
    sides = [None if value is None else math.exp(min(value, 700.0)) for value in (nll.then, nll.now)]
    change = replace(nll, measure="perplexity", then=sides[0], now=sides[1])
    if nll.value is None or nll.then is None:
        return change
    ends = None if nll.ci95 is None else _scaled(nll.ci95, abs(nll.then))
    return replace(
        change,
        value=math.expm1(nll.value * abs(nll.then)),
        ci95=None if ends is None else (math.expm1(ends[0]), math.expm1(ends[1])),
    )


def _step_time(then: Configuration, now: Configuration) -> Change:
    contrast = step_time_contrast(then.timing, now.timing)
    is_same = then.timing is not None and then.timing == now.timing  # a copy, which has not been timed again
    caveats = [code for code in timing_caveats([then.timing, now.timing]) if code != Caveat.MIXED_CODE]
    if then.timing and now.timing and then.timing.machine_id != now.timing.machine_id:
        caveats.append(Caveat.MIXED_MACHINES)
    return Change(
        measure="step_time_s",
        then=None if then.timing is None else then.timing.step_time_s,
        now=None if now.timing is None else now.timing.step_time_s,
        value=None if contrast is None else math.expm1(contrast.value),
        ci95=None if is_same else _ratio_interval(contrast),
        caveats=in_order(caveats),
        contrast=None if is_same else contrast,
    )


def _ratio(measure: ChangeMeasure, then: Configuration, now: Configuration, *, seeds: Sequence[int]) -> Change:
    """The ratio of two means over the seeds that both have, with the jackknife's error."""
    known = [
        (a, b) for seed in seeds if (a := _number(then.ends[seed], measure)) and (b := _number(now.ends[seed], measure))
    ]
    if not known or len(known) < len(seeds):
        return Change(measure=measure, then=None, now=None, value=None, ci95=None)

    def log_ratio(pairs: Sequence[tuple[float, float]]) -> float:
        return math.log(math.fsum(b for _, b in pairs) / math.fsum(a for a, _ in pairs))

    whole = log_ratio(known)
    parts = [log_ratio([*known[:i], *known[i + 1 :]]) for i in range(len(known))] if len(known) > 1 else []
    is_same = all(a == b for a, b in known)
    contrast = None if is_same else jackknife(whole, leave_one_out=parts)
    return Change(
        measure=measure,
        then=fmean(a for a, _ in known),
        now=fmean(b for _, b in known),
        value=math.expm1(whole),
        ci95=_ratio_interval(contrast),
        contrast=contrast,
    )


def _ratio_interval(contrast: Contrast | None) -> tuple[float, float] | None:
    if contrast is None:
        return None
    low, high = contrast.interval()
    return math.expm1(low), math.expm1(high)


def _has_other_text(then: Configuration, now: Configuration) -> bool:
    return then.config_id != now.config_id and text_of(then) != text_of(now)


def _number(row: RunRecord, column: str) -> float | None:
    value: float | None = getattr(row, column)
    return value if value is not None and math.isfinite(value) else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _scaled(interval: tuple[float, float], factor: float) -> tuple[float, float]:
    return interval[0] * factor, interval[1] * factor
