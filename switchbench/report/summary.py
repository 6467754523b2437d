"""What a sweep says, in a sentence or two; no more than its numbers support."""

from collections.abc import Sequence

from switchbench import units
from switchbench.caveats import Caveat
from switchbench.compare import Comparison, Configuration, Pair, sort_kinds
from switchbench.report.aggregates import aggregate, describe, example_row, ratio_text
from switchbench.report.matches import equal_in
from switchbench.store import PrimaryPair

_DOUBTS_OF_TIME = {
    Caveat.BUSY_MACHINE, Caveat.TIMED_APART, Caveat.UNTRAINED_TIMING, Caveat.MIXED_CODE, Caveat.MIXED_EXECUTION,
}  # fmt: skip
"""Reasons to distrust the ratio of step times itself."""


def summarize_sweep(
    configurations: Sequence[Configuration], *, pairs: Sequence[Pair], primary: PrimaryPair | None = None
) -> str:
    """Say how a sparse configuration fares against its dense twin, honest where it loses or nothing is resolved.

    It is the pair that the sweep file names; else the best of those of equal FLOPs (or, where there are none, of the
    next way to match), which is the one that gains most over its own twin: that with the lowest nll would be the
    largest model. A pair with runs that diverged comes after all pairs without: what is left of it are its lucky seeds.

    Args:
        configurations: All configurations of the sweep.
        pairs: The pairs of twins among them.
        primary: The pair that the sweep file names.
    """
    compared = [pair for pair in pairs if pair.measured("delta_nll").value is not None]
    if not compared:
        return _without_pairs(configurations, pairs=pairs) + _diverged_others(pairs, told=(), among=configurations)
    chosen = None if primary is None else next((pair for pair in compared if _is_primary(pair, primary)), None)
    sentences = []
    if chosen is not None:
        sentences.append(_about_primary(chosen, among=configurations, is_one_of_several=len(compared) > 1))
    else:
        if primary is not None:
            sentences.append("The sweep's primary pair shares no seed that went well, so it is not compared.")
        first = sort_kinds({pair.matched_on[0] for pair in compared})[0]
        candidates = [pair for pair in compared if pair.matched_on[0] == first]
        chosen = min(
            candidates, key=lambda pair: (bool(pair.sparse.diverged or pair.dense.diverged), _difference(pair))
        )
        sentences.append(_about_best(chosen, number=len(candidates), among=configurations))
    others = [pair for pair in compared if pair.sparse is chosen.sparse and pair is not chosen]
    sentences += [_about_other_twin(pair) for pair in others]
    told = (chosen.sparse, chosen.dense, *(pair.dense for pair in others))
    return " ".join(sentences) + _diverged_others(pairs, told=told, among=configurations)


def _is_primary(pair: Pair, primary: PrimaryPair) -> bool:
    ids = (pair.sparse.config_id, pair.dense.config_id)
    return ids == (primary.sparse, primary.dense) and primary.matched_on in pair.matched_on


def _has_diverged(pair: Pair) -> bool:
    return bool(pair.sparse.diverged or pair.dense.diverged)


def _about_primary(pair: Pair, *, among: Sequence[Configuration], is_one_of_several: bool) -> str:
    subject = (
        f"the {'primary ' if is_one_of_several else ''}sparse configuration ({describe(pair.sparse, among=among)})"
    )
    return f"At {equal_in(pair.matched_on)} {subject} {_outcome(pair)} ({_doubt(pair)}){_speed(pair)}."


def _about_best(pair: Pair, *, number: int, among: Sequence[Configuration]) -> str:
    """Say of one of several pairs, picked by its result, that and how it was picked."""
    name = describe(pair.sparse, among=among)
    is_better = _difference(pair) < 0
    if is_better or number == 1:
        told = f"the {'best ' if number > 1 else ''}sparse configuration ({name}) {_outcome(pair)}"
    else:
        told = f"no sparse configuration is better than its dense twin {_when(pair)}: the closest ({name}) is "
        told += f"{_nats(pair.measured('delta_nll'))} worse{_where(pair)}"
    sentence = f"At {equal_in(pair.matched_on)} {told} ({_doubt(pair)}){_speed(pair)}."
    if number > 1 and is_better:
        sentence += f" It is the best of {number}, picked by the same runs that measure it, so expect a little less."
    return sentence


def _about_other_twin(pair: Pair) -> str:
    return f"At {equal_in(pair.matched_on)} it is {_compared(pair)}{_where(pair)} ({_doubt(pair)})."


def _outcome(pair: Pair) -> str:
    return f"is {_compared(pair)} {_when(pair)}{_where(pair)}"


def _compared(pair: Pair) -> str:
    better = "better" if _difference(pair) < 0 else "worse"
    return f"{_nats(pair.measured('delta_nll'))} {better} than its dense twin"


def _when(pair: Pair) -> str:
    return f"after {units.count(example_row(pair.sparse).tokens)} tokens"


def _where(pair: Pair) -> str:
    return " where it did not diverge" if pair.sparse.diverged else ""


def _difference(pair: Pair) -> float:
    value = pair.measured("delta_nll").value
    assert value is not None, "only pairs that could be compared"
    return value


def _nats(difference: Comparison) -> str:
    assert difference.value is not None
    text = f"{abs(difference.value):.3f}"
    if difference.ci95 is not None:
        text += f" ± {(difference.ci95[1] - difference.ci95[0]) / 2:.3f}"
    return f"{text} nats"


def _doubt(pair: Pair) -> str:
    """What the interval is over, which runs are not in it, and whether it decides anything."""
    difference = pair.measured("delta_nll")
    asked = len(pair.dense.run_ids.keys() | pair.sparse.run_ids.keys())
    number = str(len(pair.seeds)) if len(pair.seeds) == asked else f"{len(pair.seeds)} of {asked}"
    lost = ", ".join([*_lost_runs(pair.sparse, "sparse"), *_lost_runs(pair.dense, "dense")])
    reason = f": {lost}" if lost else ""
    if difference.ci95 is None:
        return f"{'one seed' if asked == 1 else f'{number} seeds'}, so the noise is unknown{reason}"
    text = f"95% interval over {number} seeds{reason}"
    if difference.ci95[0] <= 0 <= difference.ci95[1]:
        text += "; it includes 0: this sweep does not tell the two apart"
    return text


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
    if steps.bound == "lower" and steps.value < 1.05:  # a single annealed point, or nearly so
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
        why = "No sparse configuration shares a seed that went well with its dense twin, so nothing is compared"
    elif not any(configuration.role == "sparse" for configuration in configurations):
        why = "There are only dense configurations, so nothing is compared"
    else:
        why = "No sparse configuration has a dense twin, so nothing is compared"
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
