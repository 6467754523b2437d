"""What a sweep file comes to: the cells of the sweep, in the order in which they run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from switchbench.cost import count_parameters
from switchbench.spec import RunSpec, SparseFFNSpec
from switchbench.sweep.controls import Control
from switchbench.sweep.fields import FIELDS, value_at
from switchbench.sweep.formulas import Dropped
from switchbench.sweep.pair import CONFIDENCE, MIN_EFFECT, Primary
from switchbench.sweep.shapes import TOLERANCE
from switchbench.sweep.source import Findings, Place
from switchbench.sweep.twins import Baseline, dense_twin


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a sweep."""

    spec: RunSpec
    """The run."""
    role: Literal["sparse", "dense", "tuning"]
    """The kind of its FFN; ``tuning``: a try, whose result is for the choice of a value alone and is not reported."""
    twin_of: tuple[str, ...]
    """The config_ids of the sparse configurations whose iso_flop twin this is, in the order of the cells; or ()."""
    twins: dict[Baseline, tuple[str, ...]] = field(default_factory=dict)
    """The same for every way in which it is a twin; or {}."""
    settings: dict[str, Any]
    """The swept and the tuned fields that this cell has, by path, with their resolved values; and its ``seed``."""

    @property
    def kind(self) -> Literal["sparse", "dense"]:
        """The kind of its FFN, whatever its role."""
        return self.spec.model.ffn.kind if self.role == "tuning" else self.role


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a file asks to tune."""

    grid: dict[str, tuple[Any, ...]]
    """The values to try of each tuned field, by path; they multiply."""
    seeds: tuple[int, ...]
    """The seeds of the tries; none is reported."""
    reported: tuple[Cell, ...]
    """The reported cells, in which the first value to try stands in for the best one. Identities are not theirs."""
    primary: Primary | None
    """The pair that the verdict is about, among those."""
    controls: tuple[Control, ...] = ()
    """The controls, among those."""


@dataclass(frozen=True, kw_only=True)
class Try:
    """Values that one configuration was tried with."""

    values: dict[str, Any]
    """The values, by path."""
    run_ids: tuple[str, ...]
    """Its runs, one per seed."""
    nll: float | None
    """Mean over the seeds, nats per token; None: not all of them have ended, or not all of them well."""
    failed: bool
    """Whether one of them diverged or failed, which counts as worst."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What tuning came to for one configuration."""

    kind: Literal["sparse", "dense"]
    """The kind of its FFN."""
    settings: dict[str, Any]
    """The swept fields that it has; without the tuned ones and the seed."""
    tries: tuple[Try, ...]
    """What was tried, or is to be."""
    chosen: dict[str, Any] | None
    """The best values; None: tries are still to come, or all of them failed."""
    at_edge: tuple[str, ...]
    """Tuned fields whose best value is at an edge of all that were tried: there may be better ones beyond."""
    config_id: str | None
    """The configuration with the best values."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep file, expanded and checked."""

    name: str
    """Name of the sweep; its results go into a folder of that name."""
    question: str
    """The question that it answers; may be empty."""
    file: str
    """The file's path as the user wrote it."""
    cells: tuple[Cell, ...]
    """The runs that are known, tries first; each run_id occurs once."""
    axes: tuple[str, ...]
    """Paths of the swept fields: those of the grid and then those of the zip, in the order of the file."""
    dropped: tuple[Dropped, ...] = ()
    """The configurations that constraints keep out, in the order of the axes."""
    primary: Primary | None = None
    """The pair that the verdict is about; None: the file names none, or its values are not tuned yet."""
    controls: tuple[Control, ...] = ()
    """Pairs whose outcome is known beforehand; none whose values are not tuned yet."""
    min_effect: float = MIN_EFFECT
    """The smallest difference in quality that matters, as a share of the dense twin's."""
    confidence: float = CONFIDENCE
    """How sure a verdict must be."""
    expected: str = ""
    """What was expected before the first run; may be empty."""
    tuning: Tuning | None = None
    """What is tuned; None: nothing."""
    pending: tuple[Cell, ...] = ()
    """Reported cells that are known once all tries have ended; the first value to try stands in for the best one."""
    choices: tuple[Choice, ...] = ()
    """How far tuning is, a configuration each, in the order of the reported cells."""


Twins = dict[str, dict[Baseline, RunSpec]]
"""The dense twins, by the ``config_id`` of their sparse configuration and by baseline."""


def twins_of(specs: Sequence[RunSpec], *, baselines: Mapping[Baseline, Place], findings: Findings) -> Twins:
    """Make the dense twins of all sparse configurations.

    Args:
        specs: The configurations.
        baselines: The twins to make of each sparse one, and where the file asks for them.
        findings: Takes the problems: baselines that do nothing, and twins that there are none of.
    """
    sparse = [spec for spec in specs if isinstance(spec.model.ffn, SparseFFNSpec)]
    twins: Twins = {spec.config_id: {} for spec in sparse}
    for baseline, place in baselines.items():
        if not sparse:
            findings.add(place, f"{baseline} makes dense twins of sparse configurations, and this sweep has none")
        for spec in sparse:
            twin = dense_twin(spec, baseline=baseline)
            if twin is not None:
                twins[spec.config_id][baseline] = twin
                continue
            total = count_parameters(spec.model, vocab_size=spec.vocab_size).total
            message = f"no dense shape in the size ladder's proportions has {total:,} weights within {TOLERANCE:.0%}"
            findings.add(place, f"{baseline}: {message}, which one of the sparse configurations has")
            break
    return twins


def cells_of(
    configurations: Sequence[RunSpec], *, axes: Sequence[str], seeds: Sequence[int], twins: Twins
) -> tuple[Cell, ...]:
    """Put the dense twins in their places, each once, and multiply by the seeds.

    The order is the one to run and to read in: configurations as the axes give them, the last axis fastest, each with
    all its seeds; a generated twin right after the last sparse configuration that it serves, so that a comparison is
    complete as early as it can be. A dense configuration of the axes that is also a twin keeps its place among them.

    Args:
        configurations: The configurations of the axes, each config_id once; their seeds do not matter.
        axes: Paths of the swept fields.
        seeds: Replicates of every configuration.
        twins: The dense twins; one of them may serve several configurations, and one configuration in several ways.
    """
    ids = [spec.config_id for spec in configurations]
    specs: dict[str, RunSpec] = {}
    serves: dict[str, dict[Baseline, list[str]]] = {}
    last_served: dict[str, int] = {}
    for position, config_id in enumerate(ids):
        for baseline, twin in twins.get(config_id, {}).items():
            twin_id = twin.config_id
            specs.setdefault(twin_id, twin)
            served = serves.setdefault(twin_id, {}).setdefault(baseline, [])
            if config_id not in served:
                served.append(config_id)
            last_served[twin_id] = position
    generated: dict[int, list[str]] = {}
    for twin_id, position in last_served.items():
        if twin_id not in ids:
            generated.setdefault(position, []).append(twin_id)
    cells: list[Cell] = []
    for position, (config_id, spec) in enumerate(zip(ids, configurations, strict=True)):
        cells += _replicates(spec, seeds=seeds, axes=axes, serves=serves.get(config_id, {}))
        for twin_id in generated.get(position, []):
            cells += _replicates(specs[twin_id], seeds=seeds, axes=axes, serves=serves[twin_id])
    return tuple(cells)


def describe_cell(cell: Cell) -> str:
    """Put a configuration into words: ``16 experts, capacity 2`` or ``dense``, and what else is swept.

    Args:
        cell: A cell of the sweep.
    """
    words = describe_settings(cell.settings, role=cell.kind)
    return f"try of {words}" if cell.role == "tuning" else words


def describe_settings(swept: Mapping[str, Any], *, role: str) -> str:
    """Put swept settings into words, as :func:`describe_cell` does.

    Args:
        swept: The swept fields, by path, with their values.
        role: The kind of the FFN.

    >>> describe_settings({"model.ffn.num_experts": 16, "train.learning_rate": 0.01, "seed": 3}, role="sparse")
    '16 experts, learning_rate 0.01'
    """
    settings = {path.rpartition(".")[2]: value for path, value in swept.items()}
    settings.pop("seed", None)
    settings.pop("kind", None)
    words = [role]
    for name, value in settings.items():
        match name:
            case "num_experts":
                words.append("1 expert" if value == 1 else f"{value} experts")
            case "capacity_factor":
                words.append("dropless" if value is None else f"capacity {value:g}")
            case _:
                words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    if len(words) > 1 and "num_experts" in settings:
        words.pop(0)  # only a sparse model has experts
    return ", ".join(words)


def _replicates(
    spec: RunSpec, *, seeds: Sequence[int], axes: Sequence[str], serves: Mapping[Baseline, Sequence[str]]
) -> list[Cell]:
    kind = spec.model.ffn.kind
    swept = {path: value_at(spec, path) for path in axes if kind in FIELDS[path].kinds}
    if swept.get("model.size", "") is None:  # a twin of another shape, or one that other fields than this give
        swept["model.size"] = spec.model.size_name
    return [
        Cell(
            spec=spec.model_copy(update={"seed": seed}),
            role=kind,
            twin_of=tuple(serves.get("iso_flop", ())),
            twins={baseline: tuple(config_ids) for baseline, config_ids in serves.items()},
            settings=swept | {"seed": seed},
        )
        for seed in seeds
    ]
