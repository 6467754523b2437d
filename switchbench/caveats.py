"""A closed list of the reasons to distrust a number, each with the footnote that is printed under the table.

A caveat is stored next to the number it belongs to (a column of codes) and printed wherever that number is.
"""

from collections.abc import Iterable
from enum import StrEnum


class Caveat(StrEnum):
    """A reason to distrust a number; its value is the code stored in the records."""

    SINGLE_SEED = "SINGLE_SEED"
    NOT_REACHED = "NOT_REACHED"
    BOUND_ONLY = "BOUND_ONLY"
    CENSORED_SEEDS = "CENSORED_SEEDS"
    NOT_MONOTONE = "NOT_MONOTONE"
    NON_CAUSAL_ROUTING = "NON_CAUSAL_ROUTING"
    CPU_TIMING = "CPU_TIMING"
    UNTRAINED_TIMING = "UNTRAINED_TIMING"
    NOT_TIMED = "NOT_TIMED"
    BUSY_MACHINE = "BUSY_MACHINE"
    TIMED_APART = "TIMED_APART"
    REPEATED_DATA = "REPEATED_DATA"
    HELD_OUT_OVERLAP = "HELD_OUT_OVERLAP"
    CUT_FILES = "CUT_FILES"
    EVALUATION_HEAVY = "EVALUATION_HEAVY"
    MISSING_RUNS = "MISSING_RUNS"
    DIVERGED_RUNS = "DIVERGED_RUNS"
    MIXED_CODE = "MIXED_CODE"
    MIXED_MACHINES = "MIXED_MACHINES"
    MIXED_EXECUTION = "MIXED_EXECUTION"
    FEW_POINTS = "FEW_POINTS"
    NARROW_RANGE = "NARROW_RANGE"

    @property
    def footnote(self) -> str:
        """One sentence that tells a reader what the caveat means for the number."""
        return _FOOTNOTES[self]


def in_order(codes: Iterable[str]) -> tuple[str, ...]:
    """Order the codes of caveats as the list above has them, each once; codes of a later version come last.

    >>> in_order(["CPU_TIMING", "SINGLE_SEED", "CPU_TIMING"])
    ('SINGLE_SEED', 'CPU_TIMING')
    """
    given = set(codes)
    known = [caveat.value for caveat in Caveat if caveat in given]
    return (*known, *sorted(given.difference(known)))


def footnote_of(code: str) -> str:
    """Give the footnote of a code that was read from a file: a later version may have written one unknown here."""
    return Caveat(code).footnote if code in set(Caveat) else f"{code}: see the version of switchbench that wrote it."


_FOOTNOTES = {
    Caveat.SINGLE_SEED: "One seed: the spread between seeds is unknown, and may be larger than the difference shown.",
    Caveat.NOT_REACHED: "The target quality was not reached within the run; no value is extrapolated.",
    Caveat.BOUND_ONLY: "The target quality was passed before the first annealed point: the value is only a bound.",
    Caveat.CENSORED_SEEDS: "With one of the seeds left out, the target quality is not crossed between annealed points, "
    "so there is no interval.",
    Caveat.NOT_MONOTONE: "Quality got worse from one annealed point to the next; the first crossing counts.",
    Caveat.NON_CAUSAL_ROUTING: "Experts choose their tokens with a look at later ones, which no text generator has: "
    "there is no dropless quality, and no comparison with other models.",
    Caveat.CPU_TIMING: "Timed on a CPU: the ratio of step times does not carry over to other hardware.",
    Caveat.UNTRAINED_TIMING: "Timed with fresh weights, since the trained ones were gone: expert load may differ.",
    Caveat.NOT_TIMED: "No exclusive timing of this configuration exists; run the sweep again to add it.",
    Caveat.BUSY_MACHINE: "Other work ran on the machine while this was timed: the step time is too long.",
    Caveat.TIMED_APART: "Not timed together: the machine may have been faster or slower in between.",
    Caveat.REPEATED_DATA: "More training tokens than the corpus has: some text was seen more than once.",
    Caveat.HELD_OUT_OVERLAP: "More than 1% of the held-out 64-byte windows also occur in the training text, "
    "which favors the model with more parameters.",
    Caveat.CUT_FILES: "The held-out part was cut from the ends of files, since there were too few whole files: "
    "it may resemble its training part.",
    Caveat.EVALUATION_HEAVY: "Evaluation took more than a tenth of the run's time.",
    Caveat.MISSING_RUNS: "Some runs of this configuration failed or are missing; the rest is averaged.",
    Caveat.DIVERGED_RUNS: "Some runs of this configuration diverged; the mean is over those that did not.",
    Caveat.MIXED_CODE: "These runs come from different versions of the code or of PyTorch.",
    Caveat.MIXED_MACHINES: "These runs come from different machines; their times are not comparable.",
    Caveat.MIXED_EXECUTION: "These runs or timings differ in device, threads, precision or memory allocator.",
    Caveat.FEW_POINTS: "Fewer than three models that differ in size alone: no line is fitted. Sweep three sizes for "
    "dense models, three numbers of experts for sparse ones.",
    Caveat.NARROW_RANGE: "The largest model has less than four times the parameters of the smallest that is like it: "
    "a wider range may give another exponent.",
}
assert set(_FOOTNOTES) == set(Caveat), "every caveat has a footnote"
