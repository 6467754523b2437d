"""The answer as a page opens with it: one sentence, what else is to be said, and why to doubt it."""

import re
from dataclasses import dataclass

from switchbench.caveats import footnote_of, in_order
from switchbench.compare import Measure
from switchbench.report.elements import SweepReport, footnote_marks
from switchbench.report.page.tables import Footnote, Mark

_SENTENCE_END = re.compile(r"(?<=\.)\s+(?=[A-Z0-9])")
_NAMED = re.compile(r"Verdict: ([^:]+)(: .*)", flags=re.DOTALL)
_SAID: tuple[Measure, ...] = ("delta_nll", "step_speedup", "time_speedup")
"""The measures that the sentence gives."""


@dataclass(frozen=True, kw_only=True)
class VerdictView:
    """The answer of a sweep."""

    side: str
    """``sparse``, ``dense``, ``equivalent`` or ``unresolved``; empty: nothing was compared."""
    answer: str
    """The side and how sure that is, in words; may be empty."""
    sentence: str
    """The rest of the sentence, with the interval and what the two have in common."""
    remarks: tuple[str, ...]
    """What else is to be said, in paragraphs."""
    marks: tuple[Mark, ...]
    """Its footnotes, as marks."""
    footnotes: tuple[Footnote, ...]
    """Its footnotes."""


def view_verdict(sweep: SweepReport) -> VerdictView:
    """Take the answer of a sweep apart.

    Args:
        sweep: The report.
    """
    first, _, further = _SENTENCE_END.sub("\n", sweep.summary, count=1).partition("\n")
    named = _NAMED.fullmatch(first)
    pair = sweep.verdict.pair
    codes = () if pair is None else in_order(code for measure in _SAID for code in pair.measured(measure).caveats)
    marks = tuple(
        Mark(letter=letter, id=f"verdict-{letter}", note_id=f"verdict-note-{letter}")
        for letter in footnote_marks(len(codes))
    )
    return VerdictView(
        side=sweep.verdict.verdict or "",
        answer=named[1].capitalize() if named else "",
        sentence=named[2] if named else first,
        remarks=tuple(text for text in (further, sweep.budget_sentence) if text),
        marks=marks,
        footnotes=tuple(
            Footnote(letter=mark.letter, id=mark.note_id, sentence=footnote_of(code), back_ids=(mark.id,))
            for mark, code in zip(marks, codes, strict=True)
        ),
    )
