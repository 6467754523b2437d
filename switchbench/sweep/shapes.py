"""A dense shape for a number of weights, in the proportions of the size ladder.

The ladder says how depth, width of a head and d_ff go with the width of a model; between its rungs depth and d_head are
interpolated along the logarithm of the width, and d_ff is 4·d_model (8/3 where gated). The solver tries widths around
the right one with both depths next to the ladder's, solves d_ff for the total, and takes the shape whose depth, heads
and d_ff are closest to the ladder's. So the total is met almost to the weight, and no layer is ever over-wide.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from switchbench.cost import parameters_of
from switchbench.spec import SIZES, Architecture, ModelSpec, architecture_of, default_d_ff, is_gated

TOLERANCE = 0.03
"""Largest deviation of the total, as a share of it."""
D_FF_STRETCH = 1.25
"""Most that d_ff may deviate from the ladder's, as a factor."""

_FINE_STEPS = 2000
"""Most widths that are tried one by one."""


def shape_of_total(model: ModelSpec, *, total: int, vocab_size: int) -> ModelSpec | None:
    """A dense model in the ladder's proportions with a given number of weights; None where there is none.

    Args:
        model: A dense model; all but its shape is kept.
        total: The weights wanted, embedding and all.
        vocab_size: Vocabulary, V.

    Returns:
        A model whose total is within 3% of the wanted one.
    """
    middle = _width_of(model, total=total, vocab_size=vocab_size)
    widest = max(math.ceil(middle * 1.3), 4)
    neat = 2 ** max(math.floor(math.log2(max(middle, 1) / 16)), 0)
    for step in (neat, max(widest // _FINE_STEPS, 1)):
        start = max(math.floor(middle / 1.3) // step * step, step, 2)
        shapes = [
            found
            for d_model in range(start, widest + 1, step)
            for found in _shapes(model, d_model=d_model, total=total, vocab_size=vocab_size)
        ]
        if shapes:
            return min(shapes, key=lambda found: found[0])[1]
    return None


def ladder_depth(d_model: float) -> float:
    """The ladder's depth at a width, on and between its rungs, and on along its ends.

    >>> ladder_depth(160), round(ladder_depth(48), 2)
    (8.0, 5.17)
    """
    return max(_interpolated([rung.num_layers for rung in SIZES.values()], d_model), 1.0)


def ladder_d_head(d_model: float) -> float:
    """The ladder's width of a head, likewise; from 16 at the lower end to 64 at the upper, and never above d_model."""
    widths = [rung.d_head for rung in SIZES.values()]
    return min(max(_interpolated(widths, d_model), widths[0]), widths[-1], d_model)


def _interpolated(values: list[int], d_model: float) -> float:
    rungs = [math.log(rung.d_model) for rung in SIZES.values()]
    x = math.log(d_model)
    after = next((i for i in range(1, len(rungs) - 1) if x < rungs[i]), len(rungs) - 1)
    share = (x - rungs[after - 1]) / (rungs[after] - rungs[after - 1])
    return values[after - 1] + share * (values[after] - values[after - 1])


def _shapes(model: ModelSpec, *, d_model: int, total: int, vocab_size: int) -> Iterator[tuple[float, ModelSpec]]:
    """The shapes of a width that meet the total, each with how far it is from the ladder's proportions."""
    depth, activation = ladder_depth(d_model), model.ffn.activation
    num_heads = max(round(d_model / ladder_d_head(d_model)), 1)
    d_head = max(2 * round(d_model / num_heads / 2), 2)
    wanted = default_d_ff(d_model, activation=activation)
    for num_layers in dict.fromkeys((max(math.floor(depth), 1), math.ceil(depth))):
        shape = {"d_model": d_model, "num_layers": num_layers, "num_heads": num_heads, "d_head": d_head}
        ffn = model.ffn.model_copy(update={"d_ff": wanted})
        spec = ModelSpec.model_validate(model.model_dump() | shape | {"size": _rung_name(shape), "ffn": ffn})
        without = parameters_of(replace(architecture_of(spec, vocab_size=vocab_size), d_ff=0)).total
        one_wider = _weights_per_d_ff(architecture_of(spec, vocab_size=vocab_size))
        d_ff = round((total - without) / one_wider)
        d_ff = min(max(d_ff, math.ceil(wanted / D_FF_STRETCH)), math.floor(wanted * D_FF_STRETCH))
        if abs(without + d_ff * one_wider - total) > TOLERANCE * total:
            continue
        parts = (d_ff / wanted, num_layers / depth, num_heads * d_head / d_model)
        distance = sum(abs(math.log(part)) for part in parts)
        yield distance, spec.model_copy(update={"ffn": ffn.model_copy(update={"d_ff": d_ff})})


def _rung_name(shape: dict[str, int]) -> str | None:
    return next((name for name, rung in SIZES.items() if rung._asdict() == shape), None)


def _weights_per_d_ff(architecture: Architecture) -> int:
    return architecture.decoder_layers * architecture.ffn_matrices * architecture.d_model


def _width_of(model: ModelSpec, *, total: int, vocab_size: int) -> float:
    """The width at which the ladder's proportions, as real numbers, come to a total; by bisection."""
    matrices = 3 if is_gated(model.ffn.activation) else 2
    tables = 1 if model.tied_output else 2

    def weights(d_model: float) -> float:
        d_ff = default_d_ff(1024, activation=model.ffn.activation) / 1024
        return tables * vocab_size * d_model + ladder_depth(d_model) * (4 + matrices * d_ff) * d_model**2

    low, high = 2.0, 4.0
    while weights(high) < total:
        high *= 2
    while high - low > 0.01 * low:
        middle = (low + high) / 2
        low, high = (middle, high) if weights(middle) < total else (low, middle)
    return (low + high) / 2
