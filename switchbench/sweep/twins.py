"""Dense twins of sparse configurations: everything is inherited but the FFN."""

from typing import Literal, assert_never

from switchbench.spec import DenseFFNSpec, ModelSpec, RunSpec, SparseFFNSpec

Baseline = Literal["iso_flop"]
BASELINES: tuple[Baseline, ...] = ("iso_flop",)
"""The ways to match a dense configuration to a sparse one."""


def dense_twin(spec: RunSpec, *, baseline: Baseline) -> RunSpec:
    """The dense configuration that a sparse one is compared with: its tokens, batches, schedule, shape and seed.

    ``iso_flop``: d_ff = (top_k + shared experts) · (the experts' d_ff), so that one token meets as many FFN weights.
    The router and the padding of the experts' slots are not matched; they are counted, and stand in the tables.

    Source:
        Switch Transformer, section 2.1: FLOP-matched dense models.
    """
    ffn = spec.model.ffn
    assert isinstance(ffn, SparseFFNSpec), "only a sparse configuration has a dense twin"
    match baseline:
        case "iso_flop":
            d_ff = ffn.active_d_ff
        case _:
            assert_never(baseline)
    dense = DenseFFNSpec(kind="dense", d_ff=d_ff, activation=ffn.activation)
    model = ModelSpec.model_validate(spec.model.model_dump() | {"ffn": dense})
    return RunSpec.model_validate({name: getattr(spec, name) for name in RunSpec.model_fields} | {"model": model})
