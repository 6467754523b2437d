"""What a sweep file comes to: the cells of the sweep, in the order in which they run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from switchbench.spec import DenseFFNSpec, RunSpec
from switchbench.sweep.fields import FIELDS
from switchbench.sweep.twins import Baseline, dense_twin


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a sweep."""

    spec: RunSpec
    """The run."""
    role: Literal["sparse", "dense"]
    """The kind of its FFN."""
    twin_of: tuple[str, ...]
    """The config_ids of the sparse configurations whose dense twin this is, in the order of the cells; () otherwise."""
    settings: dict[str, Any]
    """The swept fields that this cell has, by path, with their resolved values; and its ``seed``."""


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
    """The runs; each run_id occurs once."""
    axes: tuple[str, ...]
    """Paths of the grid's axes, in the order of the file."""


@dataclass(frozen=True, kw_only=True)
class _Twin:
    spec: RunSpec
    serves: list[str]


def cells_of(
    configurations: Sequence[RunSpec], *, axes: Sequence[str], seeds: Sequence[int], baselines: Sequence[Baseline]
) -> tuple[Cell, ...]:
    """Add the dense twins and multiply by the seeds.

    The order is the one to run and to read in: configurations as the grid gives them, the last axis fastest, each with
    all its seeds; a generated twin right after the last sparse configuration that it serves, so that a comparison is
    complete as early as it can be. A dense configuration of the grid that is also a twin keeps its place in the grid.

    Args:
        configurations: The grid's configurations, each config_id once; their seeds do not matter.
        axes: Paths of the swept fields.
        seeds: Replicates of every configuration.
        baselines: The twins to generate for every sparse configuration.
    """
    ids = [spec.config_id for spec in configurations]
    twins: dict[str, _Twin] = {}
    last_served: dict[str, int] = {}
    for position, (config_id, spec) in enumerate(zip(ids, configurations, strict=True)):
        if isinstance(spec.model.ffn, DenseFFNSpec):
            continue
        for baseline in baselines:
            twin = dense_twin(spec, baseline=baseline)
            twin_id = twin.config_id
            serves = twins.setdefault(twin_id, _Twin(spec=twin, serves=[])).serves
            if config_id not in serves:
                serves.append(config_id)
            last_served[twin_id] = position
    generated: dict[int, list[_Twin]] = {}
    for twin_id, position in last_served.items():
        if twin_id not in ids:
            generated.setdefault(position, []).append(twins[twin_id])
    cells: list[Cell] = []
    for position, (config_id, spec) in enumerate(zip(ids, configurations, strict=True)):
        twin_of = twins[config_id].serves if config_id in twins else []
        cells += _replicates(spec, seeds=seeds, axes=axes, twin_of=twin_of)
        for added in generated.get(position, []):
            cells += _replicates(added.spec, seeds=seeds, axes=axes, twin_of=added.serves)
    return tuple(cells)


def describe_cell(cell: Cell) -> str:
    """Put a configuration into words: ``16 experts, capacity 2`` or ``dense``, and what else is swept.

    Args:
        cell: A cell of the sweep.
    """
    settings = {path.rpartition(".")[2]: value for path, value in cell.settings.items()}
    settings.pop("seed", None)
    settings.pop("kind", None)
    words = ["dense" if cell.role == "dense" else "sparse"]
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


def _replicates(spec: RunSpec, *, seeds: Sequence[int], axes: Sequence[str], twin_of: Sequence[str]) -> list[Cell]:
    kind = spec.model.ffn.kind
    swept = {path: _value_at(spec, path) for path in axes if kind in FIELDS[path].kinds}
    return [
        Cell(
            spec=spec.model_copy(update={"seed": seed}),
            role=kind,
            twin_of=tuple(twin_of),
            settings=swept | {"seed": seed},
        )
        for seed in seeds
    ]


def _value_at(spec: RunSpec, path: str) -> Any:
    value: Any = spec
    for name in path.split("."):
        value = getattr(value, name)
    return list(value) if isinstance(value, tuple) else value
