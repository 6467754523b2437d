"""The table of verdicts: which side of each pair wins, how sure that is, and what it would have taken to tell more."""

import math
from typing import Any

from switchbench.compare import Comparison, SweepVerdict
from switchbench.report.cells import ratio_cell, speedup_cell
from switchbench.report.contents import Contents, label_cells, label_columns
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.report.matches import MATCHED_ON_COLUMN, matched_on_cell, shows_matches
from switchbench.units import UNKNOWN

SMALLEST_P = 0.001
"""Smaller p-values are printed as smaller than this."""
NO_NOISE = 1e-9
"""Nats per token: less noise than this is rounding, not runs that differ."""


def verdicts_table(contents: Contents, verdict: SweepVerdict) -> Table | None:
    """Draw the verdicts of all pairs in nll; None where no pair has an interval, which the summary says.

    Args:
        contents: What is drawn from.
        verdict: That of the sweep.
    """
    there = {configuration.config_id for configuration in contents.configurations}
    pairs = [pair for pair in contents.pairs if pair.sparse.config_id in there]
    if not any(pair.measured("delta_nll").p_value is not None for pair in pairs):
        return None
    confidence = verdict.rules.confidence
    columns = (
        *label_columns(contents),
        *([MATCHED_ON_COLUMN] if shows_matches(contents.pairs) else []),
        Column(key="delta_nll", header="nll vs\ndense", unit="nats/token"),
        Column(key="p_holm", header="p"),
        Column(key="verdict", header="verdict"),
        Column(key="resolvable", header="resolv-\nable", unit="nats/token"),
        Column(key="break_even_step_time_ratio", header="break-even\nstep time"),
        Column(key="step_time_ratio", header="step time\nhere"),
    )
    rows = []
    for pair in pairs:
        difference = pair.measured("delta_nll")
        cells = (
            *label_cells(pair.sparse, contents),
            *([matched_on_cell(pair.matched_on)] if shows_matches(contents.pairs) else []),
            _difference_cell(difference, confidence=confidence),
            Cell(text=UNKNOWN if difference.p_holm is None else p_text(difference.p_holm), value=difference.p_holm),
            Cell(text=difference.verdict or "withheld", value=difference.verdict, caveats=_reasons(difference)),
            Cell(
                text=UNKNOWN if difference.resolvable is None else f"{difference.resolvable:.3f}",
                value=difference.resolvable,
            ),
            speedup_cell(pair.measured("break_even_step_time_ratio"), is_twin=False),
            ratio_cell(pair.measured("step_time_ratio")),
        )
        rows.append(Row(config_id=pair.sparse.config_id, cells=cells))
    return Table(
        key="verdicts",
        title=f"Verdicts, at {share_text(confidence)} confidence",
        columns=columns,
        rows=tuple(rows),
        notes=(_how_to_read(verdict),),
    )


def verdict_json(verdict: SweepVerdict) -> dict[str, Any]:
    """Give a sweep's verdict as plain values.

    Returns:
        ``verdict``; the pair, ``sparse``, ``dense``, ``matched_on``, with ``value``, ``ci95``, ``p_value``, ``p_holm``
        and ``resolvable`` of its difference in nll; ``is_primary``; ``candidates``, which it was picked from;
        ``tested``, which it is corrected for; ``confidence``; ``min_effect``; ``seeds_needed``; and of the noise
        ``noise_sd``, ``degrees_of_freedom``, ``homogeneity_p`` and ``prior_degrees_of_freedom`` (None: pooled).
    """
    difference = None if verdict.pair is None else verdict.pair.measured("delta_nll")
    noise = verdict.noise
    shared = ("sparse", "dense", "matched_on", "value", "ci95", "p_value", "p_holm", "resolvable")
    is_moderated = noise is not None and math.isfinite(noise.prior_degrees_of_freedom)
    return {
        "verdict": verdict.verdict,
        **{name: None if difference is None else getattr(difference, name) for name in shared},
        "is_primary": verdict.is_primary,
        "candidates": verdict.candidates,
        "tested": verdict.tested,
        "confidence": verdict.rules.confidence,
        "min_effect": verdict.rules.min_effect,
        "seeds_needed": verdict.seeds_needed,
        "noise_sd": None if noise is None else math.sqrt(noise.variance),
        "degrees_of_freedom": None if noise is None else noise.degrees_of_freedom,
        "homogeneity_p": None if noise is None else noise.homogeneity_p,
        "prior_degrees_of_freedom": noise.prior_degrees_of_freedom if noise is not None and is_moderated else None,
    }


def p_text(p_value: float) -> str:
    """Write a p-value.

    >>> p_text(0.0004), p_text(0.0213), p_text(0.6), p_text(1.0)
    ('<0.001', '0.021', '0.60', '1.00')
    """
    if p_value < SMALLEST_P:
        return f"<{SMALLEST_P:g}"
    return f"{p_value:.3f}" if p_value < 0.1 else f"{p_value:.2f}"


def p_phrase(p_value: float) -> str:
    """Write a p-value in a sentence.

    >>> p_phrase(0.0004), p_phrase(0.0213)
    ('p < 0.001', 'p = 0.021')
    """
    text = p_text(p_value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def share_text(share: float) -> str:
    """Write a share that somebody chose, as chosen.

    >>> share_text(0.95), share_text(0.005)
    ('95%', '0.5%')
    """
    return f"{100 * share:g}%"


def interval_text(difference: Comparison, *, confidence: float, sign: int = 1) -> str:
    """Write the interval of a difference, in square brackets; nothing where there is none.

    Args:
        difference: The difference.
        confidence: Of the interval.
        sign: -1 turns it around.
    """
    found = difference.interval(confidence)
    if found is None:
        return ""
    low, high = sorted(sign * end for end in found)
    return f" [{low:.3f}, {high:.3f}]"


def _difference_cell(difference: Comparison, *, confidence: float) -> Cell:
    if difference.value is None:
        return Cell(text=UNKNOWN, caveats=difference.caveats)
    interval = difference.interval(confidence)
    half_width = "" if interval is None else f" [±{(interval[1] - interval[0]) / 2:.3f}]"
    return Cell(
        text=f"{difference.value:+.3f}{half_width}",
        value=difference.value,
        ci95=difference.ci95,
        caveats=difference.caveats,
    )


def _reasons(difference: Comparison) -> tuple[str, ...]:
    return () if difference.verdict is not None else difference.caveats


def _how_to_read(verdict: SweepVerdict) -> str:
    rules, noise = verdict.rules, verdict.noise
    of_pairs = "p: of no difference"
    if verdict.is_primary:
        of_pairs += ", of all pairs but the primary one corrected for their number (Holm)"
    elif verdict.tested > 1:
        of_pairs += ", corrected for the number of pairs (Holm)"
    sentences = [
        f"{of_pairs}; equivalent: the interval is within {share_text(rules.min_effect)} of the dense nll; "
        "resolvable: what would have been told in four of five sweeps like this."
    ]
    if noise is not None:
        deviation = f"{math.sqrt(noise.variance):.4f} nats, {noise.degrees_of_freedom} degrees of freedom"
        tested = "" if noise.homogeneity_p is None else f" (Bartlett {p_phrase(noise.homogeneity_p)})"
        if math.isfinite(noise.prior_degrees_of_freedom):
            alike = f"; as configurations differ in it{tested}, each has its own, drawn toward the others'"
        else:
            alike = f", and does not differ between configurations{tested}" if tested else ""
        sentences.append(
            f"The noise is that of the whole sweep beside configuration and seed: {deviation}{alike}. A pair whose own "
            "seeds scatter more is judged by those."
        )
        if noise.variance <= NO_NOISE**2:
            sentences.append("Real runs have some: where all are alike to the last digits, no interval means anything.")
    return " ".join(sentences)
