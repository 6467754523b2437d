"""Which dense configuration is the twin of which sparse one, and what the two have in common."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from switchbench.compare.configurations import Configuration

MATCHED_ON = ("iso_flop", "iso_active_params", "iso_total_params")
"""What twins can have in common, in the order in which a report has them: the FLOPs per token of the feed-forward
layers (router and padding aside), the weights that one token meets, all weights."""
ALIKE = ("iso_flop", "iso_active_params")
"""What a sparse model nearly always shares with one and the same dense model: one pair then says both."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """A sparse configuration and a dense twin of it."""

    dense: Configuration
    """The dense twin."""
    sparse: Configuration
    """The sparse configuration."""
    matched_on: tuple[str, ...]
    """What the two have in common: one thing, or the two of ``ALIKE``."""


def find_matches(configurations: Sequence[Configuration]) -> tuple[Match, ...]:
    """Find the dense twins of every sparse configuration, in the order of the sparse ones and then of ``MATCHED_ON``.

    A dense configuration that is a twin in more than one way is matched once for each, the two of ``ALIKE`` together.

    Args:
        configurations: All configurations of a sweep.
    """
    return tuple(
        Match(dense=dense, sparse=sparse, matched_on=reasons)
        for sparse in configurations
        if sparse.role == "sparse"
        for dense, reasons in sorted(_twins(sparse, configurations), key=lambda twin: _rank(twin[1][0]))
    )


def sort_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """Put ways to match into the order of ``MATCHED_ON``; those that a later version has written come last.

    >>> sort_kinds({"iso_later", "iso_total_params", "iso_flop"})
    ('iso_flop', 'iso_total_params', 'iso_later')
    """
    return tuple(sorted(kinds, key=_rank))


def _twins(
    sparse: Configuration, configurations: Sequence[Configuration]
) -> list[tuple[Configuration, tuple[str, ...]]]:
    twins: list[tuple[Configuration, tuple[str, ...]]] = []
    for dense in configurations:
        kinds = [kind for kind, served in dense.twins.items() if sparse.config_id in served]
        if set(ALIKE) <= set(kinds):
            twins.append((dense, ALIKE))
            kinds = [kind for kind in kinds if kind not in ALIKE]
        twins += [(dense, (kind,)) for kind in kinds]
    return twins


def _rank(kind: str) -> tuple[int, str]:
    return (MATCHED_ON.index(kind) if kind in MATCHED_ON else len(MATCHED_ON), kind)
