"""Tables with one row per configuration: what they are drawn from, and the settings that stand first in each row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from switchbench.caveats import Caveat, in_order
from switchbench.compare import Configuration, Pair, sort_kinds
from switchbench.record import RunRecord
from switchbench.report.aggregates import (
    Mixtures,
    capacity_text,
    describe_all,
    example_row,
    model_name,
    setting_name,
    setting_text,
    setting_value,
    swept_paths,
)
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.report.matches import MATCHED_ON_COLUMN, matched_on_cell, shows_matches
from switchbench.units import UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the tables of a sweep are drawn from."""

    configurations: tuple[Configuration, ...]
    """Those with at least one run that went well, in the manifest's order."""
    pairs: tuple[Pair, ...]
    """The pairs of twins."""
    mixtures: Mixtures
    """What the runs have not in common."""
    target_nll: float | None = None
    """The quality that speed-ups are measured at; None: each dense twin's own at its end."""

    @cached_property
    def swept(self) -> tuple[str, ...]:
        """The swept settings that have a column of their own: found once, not for every row."""
        return swept_paths(self.configurations)

    @cached_property
    def names(self) -> dict[str, str]:
        """What tells each configuration from the others, by ``config_id``."""
        return describe_all(self.configurations, among=self.configurations)


def groups_of(contents: Contents) -> list[list[Configuration]]:
    """Each dense configuration followed by the sparse ones it is the twin of; those without a twin come last.

    A sparse configuration with several twins stands below the first of them, in the order of what they are matched on;
    twins whose sparse configurations all stand elsewhere share a group.
    """
    order = sort_kinds({kind for c in contents.configurations for kind in c.twins})
    groups: list[list[Configuration]] = []
    placed: set[str] = set()
    dense = [c for c in contents.configurations if c.role == "dense"]
    was_alone = False
    for twin in sorted(dense, key=lambda c: min((order.index(kind) for kind in c.twins), default=0)):
        served = {config_id for ids in twin.twins.values() for config_id in ids} - placed
        members = [c for c in contents.configurations if c.config_id in served]
        placed |= served
        is_alone = bool(twin.twins) and not members
        if is_alone and was_alone:
            groups[-1].append(twin)
        else:
            groups.append([twin, *members])
        was_alone = is_alone
    rest = [c for c in contents.configurations if c.role == "sparse" and c.config_id not in placed]
    return [*groups, rest] if rest else groups


def configuration_table(
    key: str,
    title: str,
    columns: Sequence[Column],
    contents: Contents,
    *,
    groups: Sequence[Sequence[Configuration]],
    cells: Callable[[Configuration], tuple[Cell, ...]],
    notes: tuple[str, ...] = (),
) -> Table:
    """Build a table with a row per configuration, its settings first.

    Args:
        key: Name of the table.
        title: What it shows.
        columns: Its columns, without those of the settings.
        contents: What is drawn from.
        groups: The configurations, in the order of their rows.
        cells: The cells of a configuration, one per column.
        notes: What is said under the table.
    """
    has_matches = shows_matches(contents.pairs) and any(c.role == "dense" for group in groups for c in group)

    def row(configuration: Configuration, *, starts_group: bool) -> Row:
        matches = (matched_on_cell(sort_kinds(configuration.twins)),) if has_matches else ()
        named = label_cells(configuration, contents) + matches
        return Row(config_id=configuration.config_id, cells=named + cells(configuration), starts_group=starts_group)

    labels = label_columns(contents) + ((MATCHED_ON_COLUMN,) if has_matches else ())
    rows = (row(configuration, starts_group=i == 0) for group in groups for i, configuration in enumerate(group))
    return Table(key=key, title=title, columns=(*labels, *columns), rows=tuple(rows), notes=notes)


def label_columns(contents: Contents) -> tuple[Column, ...]:
    """Give the columns that tell configurations apart."""
    return (
        Column(key="model", header="model", is_label=True),
        Column(key="num_experts", header="experts", is_label=True),
        Column(key="capacity_factor", header="capacity\nfactor", is_label=True),
        *(Column(key=path, header=setting_name(path).replace(" ", "\n", 1), is_label=True) for path in contents.swept),
    )


def label_cells(configuration: Configuration, contents: Contents) -> tuple[Cell, ...]:
    """Give the cells of a configuration under ``label_columns``."""
    record = example_row(configuration)
    is_sparse = configuration.role == "sparse"
    return (
        Cell(text=model_name(configuration), value=record.model_size, caveats=_model_caveats(record)),
        Cell(text=str(record.num_experts), value=record.num_experts) if is_sparse else Cell(text=UNKNOWN),
        Cell(text=capacity_text(record), value=record.capacity_factor),
        *(
            Cell(text=setting_text(configuration, path), value=setting_value(configuration, path))
            for path in contents.swept
        ),
    )


def _model_caveats(row: RunRecord) -> tuple[str, ...]:
    """What holds of a model whatever is said of it."""
    return in_order(caveat for caveat in row.caveats if caveat == Caveat.NON_CAUSAL_ROUTING)
