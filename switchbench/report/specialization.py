"""Expert specialization: what an expert says about the token it takes, and which class of tokens it prefers.

Axes: E experts, C classes of tokens.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from switchbench import units
from switchbench.caveats import in_order
from switchbench.compare import Configuration
from switchbench.data.token_classes import TOKEN_CLASSES
from switchbench.information import entropy, mutual_information
from switchbench.record import RunRecord
from switchbench.report.cells import seeds_cell, spread_text
from switchbench.report.contents import Contents, label_cells, label_columns
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.units import UNKNOWN

_HOW_TO_READ = (
    "On held-out text, with nothing dropped where tokens choose. Information on the class, or on the token itself, is "
    "the mutual information of either and the expert: how much less uncertain it is once the expert is known. It is 0 "
    "where experts do not care, and the whole entropy where the expert tells all; it is corrected for what counting "
    "alone brings (Miller-Madow), so that it may come out slightly below 0. Classes: " + ", ".join(TOKEN_CLASSES) + ".",
    "Most special: the class that stands out most in the expert that contributes most to the information on classes, "
    "its share of that expert's tokens, and of the text; where seeds differ, the class of most of them.",
)


@dataclass(frozen=True, kw_only=True)
class Preference:
    """What the expert of a layer that tells most about classes prefers."""

    token_class: str
    """The class that is more frequent among its tokens than in the text, by most."""
    share: float
    """Its share of the expert's tokens."""
    share_of_text: float
    """Its share of all tokens."""


def specialization_table(contents: Contents) -> Table | None:
    """Set out what experts specialize in, a row per sparse layer; None where no run has counted it.

    Args:
        contents: What is drawn from.
    """
    known = [configuration for configuration in contents.configurations if _num_layers(configuration)]
    if not known:
        return None
    caveats = contents.mixtures.quality
    rows = [
        Row(
            config_id=configuration.config_id,
            cells=(
                *label_cells(configuration, contents),
                Cell(text=str(layer + 1), value=layer + 1),
                *_cells(configuration, layer, caveats=caveats),
                seeds_cell(configuration),
            ),
            starts_group=layer == 0,
        )
        for configuration in known
        for layer in range(_num_layers(configuration))
    ]
    columns = (
        *label_columns(contents),
        Column(key="sparse_layer", header="sparse\nlayer", is_label=True),
        Column(key="class_information", header="information\non class", unit="nats"),
        Column(key="class_information_share", header="of its\nentropy"),
        Column(key="expert_token_information", header="information\non token", unit="nats"),
        Column(key="token_information_share", header="of its\nentropy"),
        Column(key="preferred_class", header="most special"),
        Column(key="seeds", header="seeds"),
    )
    return Table(
        key="specialization", title="Expert specialization", columns=columns, rows=tuple(rows), notes=_HOW_TO_READ
    )


def preference_of(counts_EC: Sequence[Sequence[int]]) -> Preference | None:
    """Find what the most special expert of a layer prefers; None where no token was counted.

    Every expert contributes p(e)·Σ p(c|e)·ln(p(c|e)/p(c)) to the mutual information: one with few tokens little.

    Args:
        counts_EC: Tokens of each class that each expert took.
    """
    counts = np.asarray(counts_EC, dtype=np.float64)
    total = counts.sum()
    if total == 0:
        return None
    share_C, load_E = counts.sum(axis=0) / total, counts.sum(axis=1)
    within_EC = counts / np.maximum(load_E, 1)[:, None]
    lift_EC = np.where(counts > 0, within_EC / np.where(share_C > 0, share_C, 1), 1)
    gain_EC = within_EC * np.log(lift_EC)
    expert = int((load_E / total * gain_EC.sum(axis=1)).argmax())
    chosen = int(gain_EC[expert].argmax())
    return Preference(
        token_class=TOKEN_CLASSES[chosen],
        share=float(within_EC[expert, chosen]),
        share_of_text=float(share_C[chosen]),
    )


def _num_layers(configuration: Configuration) -> int:
    """Sparse layers of which something was counted."""
    counted = [
        each
        for row in configuration.finished.values()
        for each in (row.token_classes_by_expert, row.expert_token_information)
    ]
    return max((len(each) for each in counted if each is not None), default=0)


def _cells(configuration: Configuration, layer: int, *, caveats: Sequence[str]) -> tuple[Cell, ...]:
    def mean(value_of: Callable[[RunRecord], float | None], format_: Callable[[float], str]) -> Cell:
        values = [value for row in configuration.finished.values() if (value := value_of(row)) is not None]
        if not values:
            return Cell(text=UNKNOWN)
        spread = statistics.stdev(values) if len(values) > 1 else None
        cell = Cell(text=UNKNOWN, value=statistics.fmean(values), spread=spread, caveats=in_order(caveats))
        return replace(cell, text=spread_text(cell, format_))

    def on_class(row: RunRecord) -> float | None:
        counts = _classes(row, layer)
        return None if counts is None else mutual_information(counts)

    def share_of_class(row: RunRecord) -> float | None:
        counts = _classes(row, layer)
        return None if counts is None else _share(mutual_information(counts), entropy(np.sum(counts, axis=0)))

    def on_token(row: RunRecord) -> float | None:
        return None if row.expert_token_information is None else row.expert_token_information[layer]

    def share_of_token(row: RunRecord) -> float | None:
        information = on_token(row)
        return None if information is None else _share(information, row.held_out_token_entropy)

    return (
        mean(on_class, lambda value: f"{value:.3f}"),
        mean(share_of_class, units.percent),
        mean(on_token, lambda value: f"{value:.3f}"),
        mean(share_of_token, units.percent),
        _preference_cell(configuration, layer, caveats=caveats),
    )


def _preference_cell(configuration: Configuration, layer: int, *, caveats: Sequence[str]) -> Cell:
    found = [
        preference
        for row in configuration.finished.values()
        if (counts := _classes(row, layer)) is not None and (preference := preference_of(counts)) is not None
    ]
    if not found:
        return Cell(text=UNKNOWN)
    (name, number), *_ = Counter(each.token_class for each in found).most_common(1)
    those = [each for each in found if each.token_class == name]
    share = statistics.fmean(each.share for each in those)
    share_of_text = statistics.fmean(each.share_of_text for each in those)
    seeds = f" ({number} of {len(found)} seeds)" if number < len(found) else ""
    text = f"{name} {units.percent(share)}, text {units.percent(share_of_text)}{seeds}"
    return Cell(text=text, value=name, caveats=in_order(caveats))


def _classes(row: RunRecord, layer: int) -> list[list[int]] | None:
    """Counts of a layer by expert and class; None where nothing was counted."""
    if row.token_classes_by_expert is None:
        return None
    counts = row.token_classes_by_expert[layer]
    return counts if any(map(any, counts)) else None


def _share(information: float, whole: float | None) -> float | None:
    return information / whole if whole else None
