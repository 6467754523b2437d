"""A closed list of the reasons to distrust a number, each with the footnote that is printed under the table.

A caveat is stored next to the number it belongs to (a column of codes) and printed wherever that number is.
"""

from collections.abc import Iterable
from enum import StrEnum


class Caveat(StrEnum):
    """A reason to distrust a number; its value is the code stored in the records."""

    SINGLE_SEED = "SINGLE_SEED"
    NOISE_OF_OTHERS = "NOISE_OF_OTHERS"
    MIXED_TOKENIZERS = "MIXED_TOKENIZERS"
    MIXED_TEXT = "MIXED_TEXT"
    NOT_REACHED = "NOT_REACHED"
    BOUND_ONLY = "BOUND_ONLY"
    CENSORED_SEEDS = "CENSORED_SEEDS"
    NOT_MONOTONE = "NOT_MONOTONE"
    NOT_ANNEALED = "NOT_ANNEALED"
    PICKED_BEST = "PICKED_BEST"
    PICK_VARIES = "PICK_VARIES"
    OUTSIDE_RANGE = "OUTSIDE_RANGE"
    ENDED_BEFORE = "ENDED_BEFORE"
    CROSSING_VARIES = "CROSSING_VARIES"
    NON_CAUSAL_ROUTING = "NON_CAUSAL_ROUTING"
    CPU_TIMING = "CPU_TIMING"
    UNTRAINED_TIMING = "UNTRAINED_TIMING"
    NOT_TIMED = "NOT_TIMED"
    BUSY_MACHINE = "BUSY_MACHINE"
    SHARED_GPU = "SHARED_GPU"
    TIMED_APART = "TIMED_APART"
    REPEATED_DATA = "REPEATED_DATA"
    HELD_OUT_OVERLAP = "HELD_OUT_OVERLAP"
    CUT_FILES = "CUT_FILES"
    EVALUATION_HEAVY = "EVALUATION_HEAVY"
    TUNED_AT_EDGE = "TUNED_AT_EDGE"
    MISSING_RUNS = "MISSING_RUNS"
    DIVERGED_RUNS = "DIVERGED_RUNS"
    MIXED_CODE = "MIXED_CODE"
    MIXED_MACHINES = "MIXED_MACHINES"
    MIXED_EXECUTION = "MIXED_EXECUTION"
    DROPPED_TOKENS = "DROPPED_TOKENS"
    FEW_POINTS = "FEW_POINTS"
    NARROW_RANGE = "NARROW_RANGE"
    FEW_SIZES = "FEW_SIZES"
    UNIDENTIFIED = "UNIDENTIFIED"
    AT_BOUND = "AT_BOUND"
    BIMODAL = "BIMODAL"
    EXTRAPOLATED = "EXTRAPOLATED"
    VARYING_SETTINGS = "VARYING_SETTINGS"
    ROWS_LEFT_OUT = "ROWS_LEFT_OUT"
    NOT_CONVERGED = "NOT_CONVERGED"

    @property
    def footnote(self) -> str:
        """One sentence that tells a reader what the caveat means for the number."""
        return _FOOTNOTES[self]


_CODES = tuple(caveat.value for caveat in Caveat)
OF_WALL_CLOCK = (Caveat.EVALUATION_HEAVY, Caveat.SHARED_GPU)
"""What runs bring along that concerns nothing but their wall-clock time."""


def in_order(codes: Iterable[str]) -> tuple[str, ...]:
    """Order the codes of caveats as the list above has them, each once; codes of a later version come last.

    >>> in_order(["CPU_TIMING", "SINGLE_SEED", "CPU_TIMING"])
    ('SINGLE_SEED', 'CPU_TIMING')
    """
    given = set(codes)
    if len(given) < 2:  # nearly always
        return tuple(map(str, given))
    known = [code for code in _CODES if code in given]
    return (*known, *sorted(given.difference(known)))


def footnote_of(code: str) -> str:
    """Give the footnote of a code that was read from a file: a later version may have written one unknown here."""
    return Caveat(code).footnote if code in _CODES else f"{code}: see the version of switchbench that wrote it."


_FOOTNOTES = {
    Caveat.SINGLE_SEED: "One seed: the spread between seeds is unknown, and may be larger than the difference shown.",
    Caveat.NOISE_OF_OTHERS: "One seed: the interval takes the noise that the sweep's other configurations have.",
    Caveat.MIXED_TOKENIZERS: "Tokens of different tokenizers: nats per token are not comparable, bits per byte are.",
    Caveat.MIXED_TEXT: "Evaluated on other text, or in sequences of another length: quality is not comparable.",
    Caveat.NOT_REACHED: "The target quality was not reached within the run; no value is extrapolated.",
    Caveat.BOUND_ONLY: "The target quality was passed before the first annealed point: the value is only a bound.",
    Caveat.CENSORED_SEEDS: "With one of the seeds left out, the target quality is not crossed between annealed points, "
    "so there is no interval.",
    Caveat.NOT_MONOTONE: "Quality got worse from one annealed point to the next; the first crossing counts.",
    Caveat.NOT_ANNEALED: "Read off runs in mid-schedule, whose quality a cooldown would still improve: speed-ups are "
    "dragged toward 1.",
    Caveat.PICKED_BEST: "The best of several by the same runs that measure it: a little luck is in its quality.",
    Caveat.PICK_VARIES: "Which configuration is best depends on the seeds: left out one by one, they do not all "
    "pick this one. The quality is that of what the other seeds pick, on the seed that is left out.",
    Caveat.ENDED_BEFORE: "The dense configuration ended before that time; with as much, it would be better still.",
    Caveat.CROSSING_VARIES: "With one of the seeds left out, the better side changes at other places, or "
    "not at all, so that there is no interval.",
    Caveat.OUTSIDE_RANGE: "No dense configuration has annealed points both before and after this training time; "
    "nothing is extrapolated.",
    Caveat.NON_CAUSAL_ROUTING: "Experts choose their tokens with a look at later ones, which no text generator has: "
    "there is no dropless quality, and no comparison with other models.",
    Caveat.CPU_TIMING: "Timed on a CPU: the ratio of step times does not carry over to other hardware.",
    Caveat.UNTRAINED_TIMING: "Timed with fresh weights, since the trained ones were gone: expert load may differ.",
    Caveat.NOT_TIMED: "No exclusive timing of this configuration exists; run the sweep again to add it.",
    Caveat.BUSY_MACHINE: "Other work ran on the machine while this was timed: the step time is too long.",
    Caveat.SHARED_GPU: "Several runs shared a GPU: the time is that of a run among others, and not of one alone.",
    Caveat.TIMED_APART: "Not timed together: the machine may have been faster or slower in between.",
    Caveat.REPEATED_DATA: "More training tokens than there is training text: some was seen more than once.",
    Caveat.HELD_OUT_OVERLAP: "More than 1% of the held-out 64-byte windows also occur in the training text, "
    "which favors the model with more parameters.",
    Caveat.CUT_FILES: "The held-out part was cut from the ends of files, since there were too few whole files: "
    "it may resemble its training part.",
    Caveat.EVALUATION_HEAVY: "Evaluation took more than a tenth of the run's time.",
    Caveat.TUNED_AT_EDGE: "The best tuned value of this configuration is the smallest or largest that was tried: one "
    "further out may be better.",
    Caveat.MISSING_RUNS: "Some runs of this configuration failed or are missing; the rest is averaged.",
    Caveat.DIVERGED_RUNS: "Some runs of this configuration diverged; the mean is over those that did not.",
    Caveat.MIXED_CODE: "These runs come from different versions of the code or of PyTorch.",
    Caveat.MIXED_MACHINES: "These runs come from different machines; their times are not comparable.",
    Caveat.MIXED_EXECUTION: "These runs or timings differ in device, threads, precision or memory allocator.",
    Caveat.DROPPED_TOKENS: "Some of these models dropped tokens, which saved them more than 5% of their FLOPs: with "
    "all tokens they would take more time and memory.",
    Caveat.FEW_POINTS: "Too few points: a line takes three models that differ in size alone (three sizes of dense "
    "models, three numbers of experts of sparse ones), a law five runs per parameter.",
    Caveat.NARROW_RANGE: "The largest model has less than four times the parameters of the smallest that is like it, "
    "or the longest run less than four times the tokens: a wider range may give another exponent.",
    Caveat.FEW_SIZES: "Fewer than ten sizes: what the law gets wrong about a size is seen only that often. Intervals "
    "are Student's, with the degrees of freedom that this leaves.",
    Caveat.UNIDENTIFIED: "The data hardly pin this down: half or twice the value fits about as well, once the other "
    "parameters follow. What is made of all of them together can still be sure.",
    Caveat.AT_BOUND: "The fit, or more than a twentieth of its resamples, ended at the bound of a parameter.",
    Caveat.BIMODAL: "Two different sets of parameters fit about equally well; which one wins depends on chance.",
    Caveat.EXTRAPOLATED: "Beyond the sizes, experts or tokens of the runs that the law was fitted to.",
    Caveat.VARYING_SETTINGS: "The runs differ in experts, training tokens or other settings, on which this law does "
    "not depend.",
    Caveat.ROWS_LEFT_OUT: "Rows without a usable loss or size were left out: where these runs diverged, the law is "
    "that of the survivors.",
    Caveat.NOT_CONVERGED: "The fit ended before it was sure of the minimum.",
}
assert set(_FOOTNOTES) == set(Caveat), "every caveat has a footnote"
