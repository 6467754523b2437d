"""Dense twins of sparse configurations: everything is inherited but the FFN."""

from functools import lru_cache
from typing import Literal, assert_never

from switchbench.cost import count_parameters
from switchbench.spec import DenseFFNSpec, ModelSpec, RunSpec, SparseFFNSpec
from switchbench.sweep.shapes import shape_of_total

Baseline = Literal["iso_flop", "iso_active_params", "iso_total_params"]
BASELINES: tuple[Baseline, ...] = ("iso_flop", "iso_active_params", "iso_total_params")
"""The ways to match a dense configuration to a sparse one."""

SAME_WITHIN = 0.005
"""Where the iso_flop twin has as many active weights, within this share, it is the iso_active_params twin, too."""


def dense_twin(spec: RunSpec, *, baseline: Baseline) -> RunSpec | None:
    """The dense configuration that a sparse one is compared with: its tokens, batches, schedule and seed.

    ``iso_flop``: the same shape, and d_ff = (top_k + shared experts) · (the experts' d_ff), so that one token meets as
    many FFN weights. The router and the padding of the experts' slots are not matched; they are counted, and stand in
    the tables.

    ``iso_active_params``: the same shape, and d_ff solved to equal active weights, the router's among them; the
    iso_flop twin where that is within 0.5%.

    ``iso_total_params``: all weights equal within 3%, in a shape of the size ladder's own proportions.

    Returns:
        The twin; None where no shape has so many weights.

    Source:
        Switch Transformer, section 2.1: FLOP-matched dense models.
    """
    model = _dense_model(spec.model, vocab_size=spec.vocab_size, baseline=baseline)
    if model is None:
        return None
    return RunSpec.model_validate({name: getattr(spec, name) for name in RunSpec.model_fields} | {"model": model})


@lru_cache(maxsize=1024)  # a sweep has many configurations of few models
def _dense_model(sparse: ModelSpec, *, vocab_size: int, baseline: Baseline) -> ModelSpec | None:
    ffn = sparse.ffn
    assert isinstance(ffn, SparseFFNSpec), "only a sparse configuration has a dense twin"
    dense = DenseFFNSpec(kind="dense", d_ff=ffn.active_d_ff, activation=ffn.activation)
    model = ModelSpec.model_validate(sparse.model_dump() | {"ffn": dense})
    parameters = count_parameters(sparse, vocab_size=vocab_size)
    match baseline:
        case "iso_flop":
            return model
        case "iso_active_params":
            return _with_active(model, parameters.active, vocab_size=vocab_size)
        case "iso_total_params":
            return shape_of_total(model, total=parameters.total, vocab_size=vocab_size)
        case _:
            assert_never(baseline)


def _with_active(model: ModelSpec, active: int, *, vocab_size: int) -> ModelSpec:
    """A dense model, made as wide in its feed-forward layers as gives a number of active weights."""
    total = count_parameters(model, vocab_size=vocab_size).total
    if abs(total - active) <= SAME_WITHIN * active:
        return model
    ffn = model.ffn
    wider = model.model_copy(update={"ffn": ffn.model_copy(update={"d_ff": ffn.d_ff + 1})})
    per_d_ff = count_parameters(wider, vocab_size=vocab_size).total - total
    d_ff = max(ffn.d_ff + round((active - total) / per_d_ff), 1)
    return model.model_copy(update={"ffn": ffn.model_copy(update={"d_ff": d_ff})})
