"""A closed list of the reasons to distrust a number, each with the footnote that is printed under the table.

A caveat is stored next to the number it belongs to (a column of codes) and printed wherever that number is.
"""

from enum import StrEnum


class Caveat(StrEnum):
    """A reason to distrust a number; its value is the code stored in the records."""

    SINGLE_SEED = "SINGLE_SEED"
    NOT_REACHED = "NOT_REACHED"
    BOUND_ONLY = "BOUND_ONLY"
    CPU_TIMING = "CPU_TIMING"
    UNTRAINED_TIMING = "UNTRAINED_TIMING"
    NOT_TIMED = "NOT_TIMED"
    REPEATED_DATA = "REPEATED_DATA"
    HELD_OUT_OVERLAP = "HELD_OUT_OVERLAP"
    MISSING_RUNS = "MISSING_RUNS"
    DIVERGED_RUNS = "DIVERGED_RUNS"
    MIXED_CODE = "MIXED_CODE"
    MIXED_MACHINES = "MIXED_MACHINES"

    @property
    def footnote(self) -> str:
        """One sentence that tells a reader what the caveat means for the number."""
        return _FOOTNOTES[self]


_FOOTNOTES = {
    Caveat.SINGLE_SEED: "One seed: the spread between seeds is unknown, and may be larger than the difference shown.",
    Caveat.NOT_REACHED: "The target quality was not reached within the run; no value is extrapolated.",
    Caveat.BOUND_ONLY: "The target quality was passed before the first annealed point: the value is a lower bound.",
    Caveat.CPU_TIMING: "Timed on a CPU: the ratio of step times does not carry over to other hardware.",
    Caveat.UNTRAINED_TIMING: "Timed with fresh weights, since the trained ones were gone: expert load may differ.",
    Caveat.NOT_TIMED: "No exclusive timing of this configuration exists; run the sweep again to add it.",
    Caveat.REPEATED_DATA: "More training tokens than the corpus has: some text was seen more than once.",
    Caveat.HELD_OUT_OVERLAP: "More than 1% of the held-out 64-byte windows also occur in the training text, "
    "which favors the model with more parameters.",
    Caveat.MISSING_RUNS: "Some runs of this configuration failed or are missing; the rest is averaged.",
    Caveat.DIVERGED_RUNS: "Some runs of this configuration diverged; the mean is over those that did not.",
    Caveat.MIXED_CODE: "These runs come from different versions of the code or of PyTorch.",
    Caveat.MIXED_MACHINES: "These runs come from different machines; their times are not comparable.",
}
assert set(_FOOTNOTES) == set(Caveat), "every caveat has a footnote"
