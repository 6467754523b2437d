"""Configurations in numbers and words: means over seeds with their spread, and what tells them apart."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from switchbench import units
from switchbench.caveats import OF_WALL_CLOCK, Caveat, in_order
from switchbench.compare import Configuration, sort_kinds
from switchbench.compare.configurations import mixture_caveats
from switchbench.record import RunRecord
from switchbench.report.matches import equal_in
from switchbench.units import UNKNOWN

_SHOWN_ANYWAY = frozenset(
    {
        "seed",
        "model.size",
        "model.d_model",
        "model.num_layers",
        "model.ffn.kind",
        "model.ffn.num_experts",
        "model.ffn.capacity_factor",
    }
)
"""Settings that the columns model, experts and capacity factor show."""


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A column of the runs, over the seeds of a configuration that went well."""

    mean: float
    """Mean."""
    sd: float | None
    """Standard deviation (n - 1); None from one seed."""
    largest: float
    """Largest value."""


def aggregate(configuration: Configuration, column: str) -> Aggregate | None:
    """Aggregate a column over seeds; None where no run has a value.

    Args:
        configuration: The configuration.
        column: A numeric field of ``RunRecord``.
    """
    values = [getattr(row, column) for row in configuration.finished.values()]
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    sd = statistics.stdev(known) if len(known) > 1 else None
    return Aggregate(mean=statistics.fmean(known), sd=sd, largest=max(known))


def quality_caveats(configuration: Configuration) -> tuple[str, ...]:
    """The caveats of quality that the runs themselves brought along."""
    return in_order(code for code in _row_caveats(configuration) if code not in OF_WALL_CLOCK)


def wall_clock_caveats(configuration: Configuration) -> tuple[str, ...]:
    """The caveats of wall-clock time that the runs themselves brought along."""
    return in_order(code for code in _row_caveats(configuration) if code in OF_WALL_CLOCK)


def ratio_text(ratio: float, *, ci95: tuple[float, float] | None) -> str:
    """Write a speed-up with its interval, whose ends stand on the side of 1 that they are on.

    >>> ratio_text(1.013, ci95=(0.9897, 1.0371)), ratio_text(0.98, ci95=(0.961, 0.9996)), ratio_text(2.0, ci95=None)
    ('1.01x [0.990, 1.04]', '0.980x [0.961, 0.9996]', '2.00x')
    """
    text = f"{units.significant(ratio)}x"
    return text if ci95 is None else f"{text} [{_end_text(ci95[0])}, {_end_text(ci95[1])}]"


def _end_text(end: float) -> str:
    """At least three digits, and as many as it takes (up to five) to tell it from 1."""
    texts = [units.significant(end, digits=digits) for digits in (3, 4, 5)]
    return next((text for text in texts if float(text) != 1), texts[0])


def _row_caveats(configuration: Configuration) -> list[str]:
    return [code for row in configuration.finished.values() for code in row.caveats]


@dataclass(frozen=True, kw_only=True)
class Mixtures:
    """What the finished runs of a sweep have not in common, and which numbers that concerns."""

    quality: tuple[str, ...]
    """Caveats of quality and routing."""
    time: tuple[str, ...]
    """Caveats of wall-clock time and memory."""


def mixtures_of(configurations: Sequence[Configuration]) -> Mixtures:
    """Find out whether the finished runs of a sweep come from one version of the code and one kind of machine."""
    caveats = mixture_caveats([row for configuration in configurations for row in configuration.finished.values()])
    return Mixtures(
        quality=in_order(caveat for caveat in caveats if caveat != Caveat.MIXED_MACHINES),
        time=in_order(caveats),
    )


def swept_paths(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """The swept settings, by their path, that vary among the configurations and have no column of their own."""
    paths = dict.fromkeys(path for configuration in configurations for path in configuration.settings)
    return tuple(path for path in paths if path not in _SHOWN_ANYWAY and _varies(path, configurations))


def setting_text(configuration: Configuration, path: str) -> str:
    """Format a setting as it was resolved; a dense twin has those that it shares with the sparse configuration."""
    found, value = _setting(configuration, path)
    if not found:
        return UNKNOWN
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def setting_value(configuration: Configuration, path: str) -> float | str | None:
    """Give a setting as it was resolved, where it is a number or a word; None where it is neither, or not there."""
    value = _setting(configuration, path)[1]
    return value if isinstance(value, (int, float, str)) else None


def setting_name(path: str) -> str:
    """The last part of a setting's path, in words."""
    return path.rpartition(".")[2].replace("_", " ")


def example_row(configuration: Configuration) -> RunRecord:
    """Some row of a configuration that has one: all of them share the specification."""
    return next(iter(configuration.finished.values()), None) or next(iter(configuration.ends.values()))


def model_name(configuration: Configuration) -> str:
    """``dense xxs``, ``Switch xxs``, ``top-2 xxs``, ``hash xxs`` or ``expert choice xxs``."""
    row = example_row(configuration)
    names = {None: "dense", "switch": "Switch", "top_k": f"top-{row.top_k}"}
    return f"{names.get(row.router) or str(row.router).replace('_', ' ')} {row.model_size}"


def capacity_text(row: RunRecord) -> str:
    """The capacity factor as it was chosen; ``dropless`` where there is none to choose."""
    if row.ffn_kind == "dense":
        return UNKNOWN
    return "dropless" if row.capacity_factor is None else f"{row.capacity_factor:g}"


def describe(configuration: Configuration, *, among: Sequence[Configuration]) -> str:
    """Put into words what tells a configuration from the others.

    Args:
        configuration: The configuration; it has a row.
        among: All configurations of the sweep.
    """
    return describe_all([configuration], among=among)[configuration.config_id]


def describe_all(configurations: Sequence[Configuration], *, among: Sequence[Configuration]) -> dict[str, str]:
    """Put into words what tells each of several configurations from the others, by their ``config_id``.

    Args:
        configurations: The configurations; each has a row.
        among: All configurations of the sweep.
    """
    has_sizes = len({example_row(other).model_size for other in among if other.ends}) > 1
    has_other_twins = any(kind != "iso_flop" for other in among for kind in other.twins)
    paths = swept_paths(among)
    described = {}
    for configuration in configurations:
        row = example_row(configuration)
        words = [row.model_size] if has_sizes else []
        if configuration.role == "dense":
            kinds = sort_kinds(configuration.twins)
            words.append(f"dense of {equal_in(kinds)}" if has_other_twins and kinds else "dense")
        else:
            words.append("1 expert" if row.num_experts == 1 else f"{row.num_experts} experts")
            words.append("dropless" if row.capacity_factor is None else f"capacity factor {row.capacity_factor:g}")
        for path in paths:
            if _setting(configuration, path)[0]:
                words.append(f"{setting_name(path)} {setting_text(configuration, path)}")
        described[configuration.config_id] = ", ".join(words)
    return described


def _setting(configuration: Configuration, path: str) -> tuple[bool, Any]:
    """Whether a configuration's resolved specification has a setting, and its value."""
    value: Any = configuration.spec
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return False, None
        value = value[part]
    return True, value


def _varies(path: str, configurations: Iterable[Configuration]) -> bool:
    values = (_setting(configuration, path) for configuration in configurations)
    return len({json.dumps(value, sort_keys=True, default=str) for found, value in values if found}) > 1
