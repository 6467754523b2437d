"""What a sweep says: its verdict, in a few sentences that say no more than its numbers support."""

from collections.abc import Sequence

from switchbench import units
from switchbench.caveats import Caveat
from switchbench.compare import Comparison, Configuration, Pair, SweepVerdict
from switchbench.report.aggregates import aggregate, describe, example_row, ratio_text
from switchbench.report.matches import equal_in
from switchbench.report.verdicts import interval_text, p_phrase, share_text

_DOUBTS_OF_TIME = {
    Caveat.BUSY_MACHINE, Caveat.TIMED_APART, Caveat.UNTRAINED_TIMING, Caveat.MIXED_CODE, Caveat.MIXED_EXECUTION,
}  # fmt: skip
"""Reasons to distrust the ratio of step times itself."""


def summarize_sweep(configurations: Sequence[Configuration], *, pairs: Sequence[Pair], verdict: SweepVerdict) -> str:
    """Say how a sparse configuration fares against its dense twin, how sure that is, and what it takes to tell more.

    It is the pair of the verdict: the one that the sweep file names, else the best of those of equal FLOPs (or, where
    there are none, of the next way to match), which is the one that gains most over its own twin: that with the lowest
    nll would be the largest model.

    Args:
        configurations: All configurations of the sweep.
        pairs: The pairs of twins among them, judged.
        verdict: The sweep's.
    """
    chosen = verdict.pair
    if chosen is None or verdict.verdict is None:
        why = _without_pairs(configurations, pairs=pairs)
        return f"No verdict: {why}" + _diverged_others(pairs, told=(), among=configurations)
    others = [
        pair for pair in pairs
        if pair.sparse is chosen.sparse and pair is not chosen and pair.measured("delta_nll").value is not None
    ]  # fmt: skip
    told = (chosen.sparse, chosen.dense, *(pair.dense for pair in others))
    confidence = verdict.rules.confidence
    sure = "" if verdict.verdict == "unresolved" else f", at {share_text(confidence)} confidence"
    name = describe(chosen.sparse, among=configurations)
    is_one_of_several = len([pair for pair in pairs if pair.measured("delta_nll").value is not None]) > 1
    is_worse = (chosen.measured("delta_nll").value or 0.0) >= 0
    if verdict.is_primary:
        subject = f"the {'primary ' if is_one_of_several else ''}sparse configuration ({name})"
    elif verdict.candidates > 1 and is_worse:
        subject = f"no sparse configuration is better than its dense twin: the closest ({name})"
    else:
        subject = f"the {'best ' if verdict.candidates > 1 else ''}sparse configuration ({name})"
    sentences = [
        f"Verdict: {verdict.verdict}{sure}: at {equal_in(chosen.matched_on)} {subject} "
        f"{_outcome(chosen, confidence=confidence)} ({_doubt(chosen, verdict)}){_speed(chosen)}."
    ]
    if verdict.rules.primary is not None and not verdict.is_primary:
        sentences.append("The sweep's primary pair shares no seed that went well, so it is not compared.")
    if verdict.candidates > 1 and not is_worse:
        sentences.append(
            f"It is the best of {verdict.candidates}, picked by the same runs that measure it, so expect a little less."
        )
    sentences += [_about_other_twin(pair, verdict) for pair in others]
    sentences += [_break_even(chosen), _power(chosen, verdict)]
    return " ".join(sentence for sentence in sentences if sentence) + _diverged_others(
        pairs, told=told, among=configurations
    )


def _about_other_twin(pair: Pair, verdict: SweepVerdict) -> str:
    compared = _compared(pair, confidence=verdict.rules.confidence)
    return (
        f"At {equal_in(pair.matched_on)} it is {compared}{_where(pair)} "
        f"({pair.measured('delta_nll').verdict}; {_doubt(pair, verdict)})."
    )


def _outcome(pair: Pair, *, confidence: float) -> str:
    if pair.measured("delta_nll").value is None:
        sides = [f"{len(side.diverged)} of {len(side.run_ids)} runs" for side in (pair.sparse, pair.dense)]
        return f"diverged in {sides[0]}, its dense twin in {sides[1]}"
    return f"is {_compared(pair, confidence=confidence)} {_when(pair)}{_where(pair)}"


def _compared(pair: Pair, *, confidence: float) -> str:
    difference = pair.measured("delta_nll")
    assert difference.value is not None, "only pairs that could be compared"
    better, sign = ("better", -1) if difference.value < 0 else ("worse", 1)
    interval = interval_text(difference, confidence=confidence, sign=sign)
    return f"{abs(difference.value):.3f}{interval} nats {better} than its dense twin"


def _when(pair: Pair) -> str:
    return f"after {units.count(example_row(pair.sparse).tokens)} tokens"


def _where(pair: Pair) -> str:
    return " where it did not diverge" if pair.sparse.diverged else ""


def _doubt(pair: Pair, verdict: SweepVerdict) -> str:
    """What the interval is over, which runs are not in it, and what it means."""
    difference = pair.measured("delta_nll")
    asked = len(pair.dense.run_ids.keys() | pair.sparse.run_ids.keys())
    number = str(len(pair.seeds)) if len(pair.seeds) == asked else f"{len(pair.seeds)} of {asked}"
    lost = ", ".join([*_lost_runs(pair.sparse, "sparse"), *_lost_runs(pair.dense, "dense")])
    text = "one seed" if asked == 1 else f"{number} seeds"
    if difference.ci95 is None and difference.value is not None:
        text += ", so the noise is unknown"
    text += f": {lost}" if lost else ""
    if difference.p_holm is not None and (difference.value is None or difference.ci95 is not None):
        text += f"; {p_phrase(difference.p_holm)}"
        if verdict.tested > 1 and not verdict.rules.is_primary(difference):
            text += f" corrected for {verdict.tested} pairs"
    return text


def _break_even(pair: Pair) -> str:
    """What a sparse step may cost, and what it does cost here."""
    break_even, here = pair.measured("break_even_step_time_ratio"), pair.measured("step_time_ratio")
    if break_even.value is None or _says_nothing(break_even):
        return ""
    text = f"Break-even step-time ratio: {_ratio(break_even)}"
    return f"{text}; measured here: {_ratio(here)}." if here.value is not None else f"{text}."


def _power(pair: Pair, verdict: SweepVerdict) -> str:
    """What could have been told, and how many seeds it would take to tell what matters."""
    difference = pair.measured("delta_nll")
    if difference.resolvable is None:
        return ""
    smallest = "less than 0.001" if difference.resolvable < 0.0005 else f"{difference.resolvable:.3f}"
    needed = "more seeds than anybody has" if verdict.seeds_needed is None else f"{verdict.seeds_needed} seeds"
    return (
        f"Smallest difference that such a sweep tells in four of five cases: {smallest} nats; "
        f"{share_text(verdict.rules.min_effect)} of the dense nll takes {needed}."
    )


def _lost_runs(side: Configuration, name: str) -> list[str]:
    """The runs of one side that are not in its mean, in words."""
    diverged = len(side.diverged)
    gone = len(side.run_ids) - len(side.finished) - diverged
    words = []
    if diverged:
        words.append(f"{diverged} {name} {'run' if diverged == 1 else 'runs'} diverged")
    if gone:
        words.append(f"{gone} {name} {'run' if gone == 1 else 'runs'} failed or {'is' if gone == 1 else 'are'} missing")
    return words


def _diverged_others(pairs: Sequence[Pair], *, told: Sequence[Configuration], among: Sequence[Configuration]) -> str:
    """Name the other configurations with runs that diverged: they must not drop out of sight."""
    known = {side.config_id for side in told}
    others = {
        side.config_id: f"{len(side.diverged)} of {len(side.run_ids)} runs ({describe(side, among=among)})"
        for pair in pairs
        for side in (pair.sparse, pair.dense)
        if side.diverged and side.config_id not in known
    }
    if not others:
        return ""
    return f" {', '.join(others.values())} diverged, which counts as the worst."


def _speed(pair: Pair) -> str:
    """What it takes to reach the dense twin's quality, in steps and in time; nothing where it is not reached."""
    steps, time = pair.measured("step_speedup"), pair.measured("time_speedup")
    if steps.value is None:
        return ", and does not reach its quality" if Caveat.NOT_REACHED in steps.caveats else ""
    if _says_nothing(steps):
        return "; how much sooner it reaches the twin's quality needs an earlier annealed point"
    if _is_undecided(steps):
        sentence = (
            "; it needs neither fewer nor more steps for the twin's quality as far as this sweep can tell "
            f"({_ratio(steps)})"
        )
    elif steps.value >= 1:
        sentence = f"; it needs {_ratio(steps)} fewer steps for the twin's quality"
    else:
        sentence = f"; it needs {_ratio(steps, inverted=True)} the steps for the twin's quality"
    if time.value is None:
        return f"{sentence}, its time is not known for want of step times"
    where = " on this CPU" if Caveat.CPU_TIMING in time.caveats else ""
    where += " (in doubt: see the footnotes)" if _DOUBTS_OF_TIME.intersection(time.caveats) else ""
    if _is_undecided(time):
        return f"{sentence}, and is no faster or slower{where} as far as this sweep can tell ({_ratio(time)})"
    if time.value >= 1:
        return f"{sentence} and {_ratio(time)} less time{where}"
    return f"{sentence}, but {_ratio(time, inverted=True)} the time{where}"


def _says_nothing(speedup: Comparison) -> bool:
    """Whether it is a lower bound of about 1: of a single annealed point, or nearly so."""
    return speedup.value is not None and speedup.bound == "lower" and speedup.value < 1.05


def _is_undecided(speedup: Comparison) -> bool:
    """Whether the interval includes 1; without an interval, whether it is printed as 1."""
    assert speedup.value is not None
    if speedup.ci95 is not None:
        return speedup.ci95[0] <= 1 <= speedup.ci95[1]
    return speedup.bound is None and float(units.significant(speedup.value)) == 1


def _ratio(speedup: Comparison, *, inverted: bool = False) -> str:
    """A speed-up, or its inverse, with its interval."""
    value, ci95 = speedup.value, speedup.ci95
    assert value is not None
    bounds = {"lower": "more than ", "upper": "less than ", None: ""}
    if inverted:
        value, ci95 = 1 / value, ci95 and (1 / ci95[1], 1 / ci95[0])
        bounds |= {"lower": bounds["upper"], "upper": bounds["lower"]}
    has_no_interval = ci95 is None and speedup.bound is None and len(speedup.seeds) > 1
    return bounds[speedup.bound] + ratio_text(value, ci95=ci95) + (" (no interval)" if has_no_interval else "")


def _without_pairs(configurations: Sequence[Configuration], *, pairs: Sequence[Pair]) -> str:
    if pairs:
        why = "no sparse configuration shares a seed that went well with its dense twin, so nothing is compared"
    elif not any(configuration.role == "sparse" for configuration in configurations):
        why = "there are only dense configurations, so nothing is compared"
    else:
        why = "no sparse configuration has a dense twin, so nothing is compared"
    best = None
    for configuration in configurations:
        found = aggregate(configuration, "nll")
        if found is not None and (best is None or found.mean < best[0].mean):
            best = (found, configuration)
    if best is None:
        return f"{why}."
    found, configuration = best
    spread = "one seed" if found.sd is None else f"standard deviation over seeds {found.sd:.3f}"
    return f"{why}; the lowest nll is {found.mean:.3f} ({spread}), of {describe(configuration, among=configurations)}."
