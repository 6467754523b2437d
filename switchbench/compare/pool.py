"""The configurations that the best under a budget is chosen from, and what each of them reaches for its cost."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, assert_never, get_args

from switchbench.compare.configurations import Configuration
from switchbench.compare.curves import Curve, CurvePoint, mean_curve
from switchbench.compare.reach import Reach, reach_of

Resource = Literal["provisioned_train_flops", "executed_train_flops", "train_time_s", "peak_memory_bytes"]
RESOURCES: tuple[Resource, ...] = get_args(Resource)
"""What a budget is of: training FLOPs, all slots of the experts counted or what was really computed; training time,
which is steps times the exclusive step time; and peak memory, the largest of the seeds."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A configuration that may be chosen, with what was worked out of it so far."""

    configuration: Configuration
    """The configuration."""
    curves: dict[int, Curve]
    """The annealed points of its runs, by seed."""
    known: dict[tuple[Resource, tuple[int, ...]], Reach | None] = field(default_factory=dict)
    """What it reaches for each resource, over some of its seeds: asked for again and again."""

    def reach(self, resource: Resource, *, seeds: Sequence[int]) -> Reach | None:
        """Give the best nll within each cost, of the mean over some seeds; None where the cost is not known."""
        key = (resource, tuple(seeds))
        if key not in self.known:
            self.known[key] = _reach(self, resource, seeds=seeds)
        return self.known[key]


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What may be chosen of a sweep."""

    dense: tuple[Member, ...]
    """The dense configurations."""
    sparse: tuple[Member, ...]
    """The sparse ones."""
    diverged: tuple[Configuration, ...]
    """Left out, since runs of theirs diverged: what is left of them are the lucky seeds."""
    has_other_data: bool
    """Whether the configurations were evaluated on different text: then nothing is chosen, and both sides are empty."""

    @property
    def members(self) -> tuple[Member, ...]:
        """Both sides."""
        return (*self.dense, *self.sparse)


def pool_of(configurations: Sequence[Configuration]) -> Pool:
    """Find what may be chosen: every configuration with an nll, none of whose runs diverged.

    Args:
        configurations: All configurations of a sweep.
    """
    usable = [configuration for configuration in configurations if configuration.curves]
    diverged = tuple(configuration for configuration in usable if configuration.diverged)
    members = [
        Member(configuration=configuration, curves=configuration.curves)
        for configuration in usable
        if not configuration.diverged
    ]
    has_other_data = len({text_of(member.configuration) for member in members}) > 1
    sides = {
        role: () if has_other_data else tuple(member for member in members if member.configuration.role == role)
        for role in ("dense", "sparse")
    }
    return Pool(dense=sides["dense"], sparse=sides["sparse"], diverged=diverged, has_other_data=has_other_data)


def text_of(configuration: Configuration) -> str:
    """Name the text that a configuration is evaluated on: its nll is comparable with that of others of the same."""
    spec = configuration.spec
    return json.dumps([spec.get("data_fingerprint"), spec.get("vocab_size"), spec.get("data", {}).get("seq_len")])


def batch_tokens_of(configuration: Configuration) -> int:
    """Give the tokens of a step."""
    return next(iter(configuration.finished.values())).batch_tokens


def _reach(member: Member, resource: Resource, *, seeds: Sequence[int]) -> Reach | None:
    curve = mean_curve([member.curves[seed] for seed in seeds])
    if resource == "peak_memory_bytes":
        peaks = [member.configuration.ends[seed].peak_memory_bytes for seed in seeds]
        known = [peak for peak in peaks if peak]
        if not curve or len(known) < len(peaks):
            return None
        return reach_of([(float(max(known)), min(point.nll for point in curve))])
    points = [(_cost(member.configuration, point, resource=resource), point.nll) for point in curve]
    return reach_of([(cost, nll) for cost, nll in points if cost is not None and cost > 0 and math.isfinite(cost)])


def _cost(configuration: Configuration, point: CurvePoint, *, resource: Resource) -> float | None:
    match resource:
        case "provisioned_train_flops":
            return point.provisioned_flops
        case "executed_train_flops":
            return point.executed_flops
        case "train_time_s":
            if configuration.timing is None:
                return None
            return point.tokens / batch_tokens_of(configuration) * configuration.timing.step_time_s
        case "peak_memory_bytes":
            return None
        case _:
            assert_never(resource)
