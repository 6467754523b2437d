"""What a sweep says, in a sentence or two; no more than its numbers support."""

from collections.abc import Sequence

from switchbench import units
from switchbench.caveats import Caveat
from switchbench.compare import Comparison, Configuration, Pair
from switchbench.report.aggregates import aggregate, describe, example_row


def summarize_sweep(configurations: Sequence[Configuration], *, pairs: Sequence[Pair]) -> str:
    """Say how the best sparse configuration fares against its dense twin, honest where it loses or nothing is resolved.

    The best is the one that gains most over its own twin; the one with the lowest nll would be the largest model.

    Args:
        configurations: All configurations of the sweep.
        pairs: The pairs of twins among them.
    """
    compared = [pair for pair in pairs if pair.measured("delta_nll").value is not None]
    if not compared:
        return _without_pairs(configurations, pairs=pairs)
    best = min(compared, key=_difference)
    difference = best.measured("delta_nll")
    name = describe(best.sparse, among=configurations)
    tokens = units.count(example_row(best.sparse).tokens)
    number = len(compared)
    if _difference(best) < 0:
        subject = f"the {'best ' if number > 1 else ''}sparse configuration ({name})"
        outcome = f"is {_nats(difference)} better than its dense twin after {tokens} tokens"
    elif number > 1:
        subject = "no sparse configuration is better than its dense twin"
        outcome = f"after {tokens} tokens: the closest ({name}) is {_nats(difference)} worse"
    else:
        subject = f"the sparse configuration ({name})"
        outcome = f"is {_nats(difference)} worse than its dense twin after {tokens} tokens"
    sentence = f"At equal FLOPs per token {subject} {outcome}"
    sentence += f"{_doubt(difference)}{_speed(best)}."
    if number > 1 and _difference(best) < 0:
        sentence += f" It is the best of {number}, picked by the same runs that measure it, so expect a little less."
    return sentence


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


def _doubt(difference: Comparison) -> str:
    if difference.ci95 is None:
        return " (one seed, so the noise is unknown)"
    interval = f"95% interval over {len(difference.seeds)} seeds"
    if difference.ci95[0] <= 0 <= difference.ci95[1]:
        return f" ({interval}; it includes 0: this sweep does not tell the two apart)"
    return f" ({interval})"


def _speed(pair: Pair) -> str:
    """What it takes to reach the dense twin's quality, in steps and in time; nothing where it is not reached."""
    steps, time = pair.measured("step_speedup"), pair.measured("time_speedup")
    if steps.value is None:
        return ", and does not reach its quality" if Caveat.NOT_REACHED in steps.caveats else ""
    if steps.bound == "lower" and steps.value < 1.05:  # a single annealed point, or nearly so
        return "; how much sooner it reaches the twin's quality needs an earlier annealed point"
    bound = {"lower": "more than ", "upper": "less than ", None: ""}[steps.bound]
    sentence = f"; it needs {bound}{_times(steps.value)} fewer steps for the twin's quality"
    if time.value is None:
        return f"{sentence}, its time is not known for want of step times"
    where = " on this CPU" if Caveat.CPU_TIMING in time.caveats else ""
    if time.value >= 1:
        return f"{sentence} and {bound}{_times(time.value)} less time{where}"
    reversed_bound = {"lower": "less than ", "upper": "more than ", None: ""}[steps.bound]
    return f"{sentence}, but {reversed_bound}{_times(1 / time.value)} the time{where}"


def _times(ratio: float) -> str:
    return f"{units.significant(ratio, digits=2)}x"


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
