"""How cost grows with model size: cost = c · N^p over the configurations of a sweep, N all parameters.

An exponent p of 1 is growth in proportion, 0 none at all. A sparse model can grow in two ways that cost differently, by
its shape and by its experts, and a line through both is steered by how a sweep happens to mix them. So there is one
exponent for experts added to a shape that stays, and one for all sparse models together only where there are at least
three shapes.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, assert_never, get_args

from switchbench.caveats import Caveat, in_order
from switchbench.compare.configurations import Configuration, mixture_caveats
from switchbench.compare.intervals import t_quantile_975
from switchbench.compare.pairs import timing_caveats
from switchbench.cost import TRAIN_OVER_FORWARD
from switchbench.cost.activations import WIDE
from switchbench.cost.memory import MOMENTS
from switchbench.record import RunRecord

ScalingGroup = Literal["dense_by_size", "sparse_by_experts", "sparse_all"]
"""Which models are on one line; see ``Scaling``."""
ScalingCost = Literal[
    "useful_train_flops_per_token",
    "provisioned_train_flops_per_token",
    "step_time_s",
    "peak_memory_bytes",
    "training_state_bytes",
]
SCALING_COSTS: tuple[ScalingCost, ...] = get_args(ScalingCost)
"""What is fitted: FLOPs and the training state by arithmetic, step time and peak memory as measured."""

STATE_BYTES_PER_PARAM = WIDE * (2 + MOMENTS)
"""A weight, its gradient and AdamW's two moments, in float32, whether a token meets them or not."""
FEWEST_SIZES = 3
"""Different numbers of parameters that a fit takes: two always lie on a line."""
FLATTERED_BELOW = 0.95
"""Executed over useful FLOPs below which a measured time or memory is not that of the whole model."""
NARROW_BELOW = 4.0
"""A largest over smallest number of parameters below which an exponent says little."""

SHAPE = ("model.d_model", "model.num_layers", "model.num_heads", "model.d_head", "model.ffn.d_ff")
"""The settings that a dense model grows by."""
EXPERTS = ("model.ffn.num_experts",)
"""The setting that a sparse model grows by at a shape that stays."""
COSTLESS = (
    "seed", "data_fingerprint", "data.corpus", "data.path", "data.held_out_fraction", "model.size", "model.init_scale",
    "model.ffn.aux_loss_weight", "model.ffn.balance_bias_rate", "model.ffn.router_init_scale", "model.ffn.gate_scale",
    "model.ffn.eval_capacity_factor", "train.tokens", "train.learning_rate", "train.warmup_fraction", "train.anneal_at",
    "train.betas", "train.adam_epsilon", "train.weight_decay", "train.gradient_clip", "train.replicate",
    "train.eval_points", "train.eval_tokens",
)  # fmt: skip
"""Settings that change what is learned, or how long, but not what a token or a step costs. Configurations that differ
in nothing else are one model, measured more than once: as points of their own they would feign certainty."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How one cost grows with all parameters N along one group of models, cost = c · N^exponent.

    * ``dense_by_size``: dense models of different shape, all else equal;
    * ``sparse_by_experts``: sparse models that differ in the number of experts alone;
    * ``sparse_all``: sparse models of different shape and number of experts, all else equal.

    Models that differ otherwise too (in batch, router or, in the second group, shape) share the exponent, but each set
    of equal ones has a c of its own. Ordinary least squares in logarithms; a model's cost is the mean over its runs.
    """

    group: ScalingGroup
    """The models."""
    cost: ScalingCost
    """The cost, per token, per step or of the whole training process."""
    exponent: float | None
    """The exponent; None: there are too few models of different size."""
    ci95: tuple[float, float] | None
    """95% interval by Student's t from the scatter about the line: noise of the measurement and growth that is no power
    law; the latter alone where the cost is arithmetic."""
    per_added_param: float | None
    """What one more parameter adds to the cost: the difference between the largest and the smallest model of each set
    over that of their parameters, all sets together. Where much of a cost is the same for all sizes, its exponent is
    small however much this is."""
    configurations: int
    """Models on the line; those that differ in nothing that costs count as one."""
    n_min: int | None
    """Fewest parameters; None: no models."""
    n_max: int | None
    """Most parameters."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""

    @property
    def is_exact(self) -> bool:
        """Whether the cost is arithmetic, so that the scatter about the line is no noise."""
        return self.cost not in ("step_time_s", "peak_memory_bytes")


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """One model on a line."""

    line: str
    """Models with the same text share the factor c."""
    params: int
    """All parameters."""
    cost: float
    """What it costs."""


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """A fitted exponent."""

    exponent: float
    """The exponent."""
    ci95: tuple[float, float]
    """Its 95% interval."""


def fit_scaling(configurations: Sequence[Configuration]) -> tuple[Scaling, ...]:
    """Fit how each cost grows along each group of models that a sweep has.

    Args:
        configurations: All configurations of a sweep; those without a run that went well are left out.
    """
    finished = [configuration for configuration in configurations if configuration.finished]
    dense = [configuration for configuration in finished if configuration.role == "dense"]
    sparse = [configuration for configuration in finished if configuration.role == "sparse"]
    groups: list[tuple[ScalingGroup, list[Configuration], tuple[str, ...]]] = []
    if dense:
        groups.append(("dense_by_size", dense, SHAPE))
    if sparse:
        groups.append(("sparse_by_experts", sparse, EXPERTS))
    if len({_only(configuration.spec, SHAPE) for configuration in sparse}) >= FEWEST_SIZES:
        groups.append(("sparse_all", sparse, SHAPE + EXPERTS))
    return tuple(
        _fit(group, cost, members, grows_by=grows_by) for group, members, grows_by in groups for cost in SCALING_COSTS
    )


def fit_power_law(points: Sequence[CostPoint]) -> PowerLaw:
    """Fit one exponent to several lines: ``ln cost = a_line + p · ln N``.

    With x and y the logarithms less their means along the line, ``p = Σ xy / Σ x²`` and
    ``p ± t(n - lines - 1) · sqrt(Σ (y - px)² / (n - lines - 1) / Σ x²)``.

    Args:
        points: At least two more than there are lines, not all of the same size along each line.
    """
    lines: dict[str, list[CostPoint]] = {}
    for point in points:
        lines.setdefault(point.line, []).append(point)
    x, y = [], []
    for members in lines.values():
        logs_n = [math.log(point.params) for point in members]
        logs_cost = [math.log(point.cost) for point in members]
        x += [value - fmean(logs_n) for value in logs_n]
        y += [value - fmean(logs_cost) for value in logs_cost]
    spread = math.fsum(value**2 for value in x)
    exponent = math.fsum(a * b for a, b in zip(x, y, strict=True)) / spread
    degrees_of_freedom = len(points) - len(lines) - 1
    misfit = math.fsum((b - exponent * a) ** 2 for a, b in zip(x, y, strict=True))
    half_width = t_quantile_975(degrees_of_freedom) * math.sqrt(misfit / degrees_of_freedom / spread)
    return PowerLaw(exponent=exponent, ci95=(exponent - half_width, exponent + half_width))


def cost_lines(
    cost: ScalingCost, members: Sequence[Configuration], *, grows_by: tuple[str, ...]
) -> dict[str, list[CostPoint]]:
    """Put models on lines: those with points of at least two sizes, by what the models on a line have in common.

    Args:
        cost: What they cost.
        members: Configurations with a run that went well.
        grows_by: The settings that may differ along a line, ``SHAPE`` or ``EXPERTS`` or both.
    """
    models: dict[str, list[Configuration]] = {}
    for configuration in members:
        if _cost_of(configuration, cost) is not None:
            models.setdefault(_all_but(configuration.spec, COSTLESS), []).append(configuration)
    lines: dict[str, list[CostPoint]] = {}
    for alike in models.values():
        line = _all_but(alike[0].spec, COSTLESS + grows_by)
        value = fmean(value for each in alike if (value := _cost_of(each, cost)) is not None)
        lines.setdefault(line, []).append(CostPoint(line=line, params=_params(alike[0]), cost=value))
    return {line: points for line, points in lines.items() if len({point.params for point in points}) > 1}


def _fit(
    group: ScalingGroup, cost: ScalingCost, members: Sequence[Configuration], *, grows_by: tuple[str, ...]
) -> Scaling:
    lines = cost_lines(cost, members, grows_by=grows_by)
    points = [point for line in lines.values() for point in line]
    sizes = {point.params for point in points}
    caveats = _caveats_of_cost(cost, members)
    if len(sizes) < FEWEST_SIZES:
        law, caveats = None, [*caveats, Caveat.FEW_POINTS]
    else:
        law = fit_power_law(points)
        if max(_largest(line).params / _smallest(line).params for line in lines.values()) < NARROW_BELOW:
            caveats = [*caveats, Caveat.NARROW_RANGE]
    added = math.fsum(_largest(line).cost - _smallest(line).cost for line in lines.values())
    return Scaling(
        group=group,
        cost=cost,
        exponent=None if law is None else law.exponent,
        ci95=None if law is None else law.ci95,
        per_added_param=added / sum(_largest(line).params - _smallest(line).params for line in lines.values())
        if lines
        else None,
        configurations=len(points),
        n_min=min(sizes, default=None),
        n_max=max(sizes, default=None),
        caveats=in_order(caveats),
    )


def _smallest(line: Sequence[CostPoint]) -> CostPoint:
    return min(line, key=lambda point: point.params)


def _largest(line: Sequence[CostPoint]) -> CostPoint:
    return max(line, key=lambda point: point.params)


def _caveats_of_cost(cost: ScalingCost, members: Sequence[Configuration]) -> list[Caveat]:
    """What is to be said of the values of a cost together."""
    rows = [row for configuration in members for row in configuration.finished.values()]
    dropped = [Caveat.DROPPED_TOKENS] if any(map(_is_flattered, rows)) else []
    match cost:
        case "step_time_s":
            return [*timing_caveats([configuration.timing for configuration in members]), *dropped]
        case "peak_memory_bytes":
            return [*mixture_caveats(rows), *dropped]
        case "useful_train_flops_per_token" | "provisioned_train_flops_per_token" | "training_state_bytes":
            return []
        case _:
            assert_never(cost)


def _is_flattered(row: RunRecord) -> bool:
    """Whether a run computed clearly less than its model is meant to, since tokens were dropped."""
    executed, useful = row.executed_train_flops, row.useful_train_flops
    return bool(executed and useful and executed < FLATTERED_BELOW * useful)


def _cost_of(configuration: Configuration, cost: ScalingCost) -> float | None:
    """What a configuration costs, a mean over its seeds; None: not known."""
    rows = list(configuration.finished.values())
    match cost:
        case "useful_train_flops_per_token":
            return TRAIN_OVER_FORWARD * rows[0].forward_flops_per_token
        case "provisioned_train_flops_per_token":
            per_token = [
                row.provisioned_train_flops / row.tokens_seen
                for row in rows
                if row.provisioned_train_flops and row.tokens_seen
            ]
            return fmean(per_token) if per_token else None
        case "step_time_s":
            return None if configuration.timing is None else configuration.timing.step_time_s
        case "peak_memory_bytes":
            known = [row.peak_memory_bytes for row in rows if row.peak_memory_bytes]
            return fmean(known) if known else None
        case "training_state_bytes":
            return float(STATE_BYTES_PER_PARAM * _params(configuration))
        case _:
            assert_never(cost)


def _params(configuration: Configuration) -> int:
    return next(iter(configuration.finished.values())).params_total


def _only(spec: dict[str, Any], paths: Sequence[str]) -> str:
    """Some settings of a resolved specification, as a text."""
    settings = _flat(spec)
    return json.dumps([settings.get(path) for path in paths])


def _all_but(spec: dict[str, Any], paths: Sequence[str]) -> str:
    """All settings of a resolved specification but some, as a text."""
    return json.dumps({path: value for path, value in _flat(spec).items() if path not in paths}, sort_keys=True)


def _flat(settings: dict[str, Any], *, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, prefix=f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
