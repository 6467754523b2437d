"""Controls: pairs whose outcome is known beforehand, judged as any pair is, by which a sweep's verdicts are checked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from switchbench.caveats import OF_WALL_CLOCK, Caveat, in_order
from switchbench.compare.configurations import Configuration, mixture_caveats
from switchbench.compare.effects import Effects, Observation, fit_effects
from switchbench.compare.intervals import Contrast
from switchbench.compare.judgements import Rules
from switchbench.compare.pairs import observe_qualities
from switchbench.compare.verdicts import Evidence, Judgement, Verdict, judge
from switchbench.store import Control

ControlVerdict = Literal["a better", "b better", "equivalent", "unresolved"]
"""``a better``, ``b better``: this side is; the others as of pairs."""
Expected = Literal["none", "a", "b"]
"""Which side is to be better; ``none``: neither."""
_VERDICTS: dict[Verdict, ControlVerdict] = {
    "sparse": "a better",
    "dense": "b better",
    "equivalent": "equivalent",
    "unresolved": "unresolved",
}
_OUTCOMES: dict[Expected, tuple[ControlVerdict, ...]] = {
    "none": ("equivalent", "unresolved"),
    "a": ("a better",),
    "b": ("b better",),
}
"""The verdicts that are as expected."""


@dataclass(frozen=True, kw_only=True)
class ControlResult:
    """What came of a control."""

    name: str
    """What it is called."""
    a: str
    """``config_id`` of the one."""
    b: str
    """``config_id`` of the other."""
    expected: Expected | None
    """Which side is to be better; None: nothing was said."""
    value: float | None
    """nll of a less that of b, nats per token: below 0, a is better; None: one of them has none."""
    interval: tuple[float, float] | None
    """Interval of the difference at ``confidence``; None: nothing tells the noise."""
    ci95: tuple[float, float] | None
    """The same at 95%."""
    confidence: float
    """The sweep's."""
    is_paired: bool
    """Whether the two share the random numbers of their seeds, so that these drop out of the difference."""
    p_value: float | None
    """Two-sided p-value of no difference; None: nothing was tested."""
    p_holm: float | None
    """The same, corrected for the number of controls by Holm's method."""
    resolvable: float | None
    """The smallest difference that would have been told with a power of 80%; None: there is no interval."""
    verdict: ControlVerdict | None
    """Which side is better; None: there is nothing to judge."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""

    @property
    def came_out(self) -> bool | None:
        """Whether the verdict is as expected; None: there is none, or nothing was expected."""
        if self.verdict is None or self.expected is None:
            return None
        return self.verdict in _OUTCOMES[self.expected]


@dataclass(frozen=True, kw_only=True)
class NoiseModels:
    """The noise of nll over a sweep, with and without the part that runs share."""

    together: Effects
    """nll ~ configuration + seed: what a comparison within the same seeds has to beat."""
    apart: Effects
    """nll ~ configuration: what one between different random numbers has to beat."""
    runs_per_block: float
    """Runs that share their random numbers, on average."""

    def contrast(self, a: str, b: str) -> tuple[Contrast | None, bool]:
        """Compare two configurations: a less b, and whether seeds that both share drop out of it.

        Repetitions share no random numbers, so no seed leads from one to the other. Their difference is one of two
        means, whose variance is that of runs within a configuration: that of the noise and of the seed's effect.

        Args:
            a: ``config_id`` of the one.
            b: ``config_id`` of the other.
        """
        found = self.together.contrast(a, b)
        if found is not None:
            return found, True
        found = self.apart.contrast(a, b)
        if found is None:
            return None, False
        rows = [self.apart.values[self.apart.rows[side]] for side in (a, b)]
        found = replace(
            found, degrees_of_freedom=max(1.0, min(found.degrees_of_freedom, self.degrees_of_freedom_apart))
        )
        if min(map(len, rows)) > 1:
            own = sum(float(values.var(ddof=1)) / len(values) for values in rows)
            if own > found.standard_error**2:
                degrees = min(found.degrees_of_freedom, sum(map(len, rows)) - 2.0)
                found = replace(found, standard_error=own**0.5, degrees_of_freedom=degrees)
        return found, False

    @property
    def degrees_of_freedom_apart(self) -> float:
        """Of the variance within configurations, what that is really known by.

        Where m runs share a seed whose effect is a share ρ of their variance, their squares correlate by ρ²: the
        degrees of freedom are divided by ``1 + (m - 1)·ρ²``.

        Source:
            The design effect of cluster samples (Kish 1965), of squares.
        """
        within, beside = self.apart.noise, self.together.noise
        if within is None:
            return 0.0
        share = 1.0  # of a seed that nothing can be told apart from
        if beside is not None and within.variance > 0:
            share = min(1.0, max(0.0, 1 - beside.variance / within.variance))
        return within.degrees_of_freedom / (1 + (max(1.0, self.runs_per_block) - 1) * share**2)


def fit_noise(observations: Sequence[Observation]) -> NoiseModels:
    """Fit both models of the noise.

    Args:
        observations: The quality of all runs that went well; a block is what runs share their random numbers in.
    """
    blocks = {each.block for each in observations}
    return NoiseModels(
        together=fit_effects(observations),
        apart=fit_effects([replace(each, block="") for each in observations]),
        runs_per_block=len(observations) / max(1, len(blocks)),
    )


def compare_controls(
    controls: Sequence[Control], *, configurations: Sequence[Configuration], rules: Rules
) -> tuple[ControlResult, ...]:
    """Judge the controls of a sweep, by the noise of all its runs and corrected for their own number.

    Args:
        controls: The controls; those of configurations that are not there (any longer) are left out.
        configurations: All configurations of the sweep.
        rules: What it takes to win; a share of the nll of b is what matters.
    """
    sides = {each.config_id: each for each in configurations}
    known = [control for control in controls if control.a in sides and control.b in sides]
    observations = observe_qualities(configurations, "nll")
    models = fit_noise(observations)
    means = {
        config_id: fmean(each.value for each in observations if each.config_id == config_id)
        for config_id in models.together.rows
    }
    found = [models.contrast(control.a, control.b) for control in known]
    judged: dict[str, Judgement] = {}
    evidence = {
        control.name: _evidence(control, contrast, means=means, sides=sides, rules=rules)
        for control, (contrast, _) in zip(known, found, strict=True)
        if _is_judged(control, means=means, sides=sides)
    }
    for name, judgement in zip(evidence, judge(list(evidence.values()), confidence=rules.confidence), strict=True):
        judged[name] = judgement
    return tuple(
        _result(control, contrast, judged.get(control.name), is_paired=is_paired, means=means, sides=sides, rules=rules)
        for control, (contrast, is_paired) in zip(known, found, strict=True)
    )


def _is_judged(control: Control, *, means: dict[str, float], sides: dict[str, Configuration]) -> bool:
    """Whether both have an nll, or that runs diverged decides without one."""
    ends = [sides[side] for side in (control.a, control.b)]
    if control.a in means and control.b in means:
        return True
    return any(side.diverged for side in ends) and all(side.diverged or side.config_id in means for side in ends)


def _evidence(
    control: Control,
    contrast: Contrast | None,
    *,
    means: dict[str, float],
    sides: dict[str, Configuration],
    rules: Rules,
) -> Evidence:
    a, b = sides[control.a], sides[control.b]
    return Evidence(
        hypothesis=frozenset((control.a, control.b)),
        is_primary=False,
        gain=None if contrast is None else replace(contrast, value=-contrast.value),
        margin=rules.min_effect * abs(means.get(control.b, 0.0)),
        diverged={
            "sparse": (len(a.diverged), len(a.diverged) + len(a.finished)),
            "dense": (len(b.diverged), len(b.diverged) + len(b.finished)),
        },
        counts_divergence=True,
    )


def _result(
    control: Control,
    contrast: Contrast | None,
    judgement: Judgement | None,
    *,
    is_paired: bool,
    means: dict[str, float],
    sides: dict[str, Configuration],
    rules: Rules,
) -> ControlResult:
    value = None if contrast is None else contrast.value
    if value is None and control.a in means and control.b in means:
        value = means[control.a] - means[control.b]
    return ControlResult(
        name=control.name,
        a=control.a,
        b=control.b,
        expected=control.expect,
        value=value,
        interval=None if contrast is None else contrast.interval(rules.confidence),
        ci95=None if contrast is None else contrast.interval(),
        confidence=rules.confidence,
        is_paired=is_paired,
        p_value=None if judgement is None else judgement.p_value,
        p_holm=None if judgement is None else judgement.p_holm,
        resolvable=None if judgement is None else judgement.resolvable,
        verdict=None if judgement is None else _VERDICTS[judgement.verdict],
        caveats=_caveats([sides[control.a], sides[control.b]], has_noise=contrast is not None),
    )


def _caveats(ends: Sequence[Configuration], *, has_noise: bool) -> tuple[str, ...]:
    rows = [row for side in ends for row in side.finished.values()]
    caveats: list[str] = [*mixture_caveats(rows), *(code for row in rows for code in row.caveats)]
    caveats += [code for side in ends for code in side.caveats]
    if has_noise:
        caveats = [Caveat.NOISE_OF_OTHERS if code == Caveat.SINGLE_SEED else code for code in caveats]
    return in_order(code for code in caveats if code not in OF_WALL_CLOCK and code != Caveat.MIXED_MACHINES)
