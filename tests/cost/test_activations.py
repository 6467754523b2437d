"""What the backward pass keeps: the arithmetic is compared with what PyTorch really stores, to the last byte."""

from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from switchbench.cost import count_memory
from switchbench.model.transformer import Transformer, build_model
from switchbench.spec import Backend, RunSpec, SparseFFNSpec
from switchbench.train.steps import mean_nll
from tests.cost.kept import kept_storages, num_bytes
from tests.cost.strategies import activations
from tests.specs import tiny_run

shared = {
    "kind": st.just("sparse"),
    "activation": activations,
    "d_ff": st.integers(1, 10).map(lambda count: 8 * count),
    "num_experts": st.integers(3, 9),
    "capacity_factor": st.sampled_from([0.5, 1.0, 1.25]),
    "shared_experts": st.integers(0, 2),
    "expert_dropout": st.sampled_from([0.0, 0.25]),
    "routing_group_tokens": st.sampled_from([None, 32]),
}
learned = {
    "router_jitter": st.sampled_from([0.0, 0.1]),
    "router_z_loss_weight": st.sampled_from([0.0, 0.001]),
    "router_precision": st.sampled_from(["float32", "bfloat16"]),
}
ffns = st.one_of(
    st.fixed_dictionaries({"kind": st.just("dense"), "activation": activations, "d_ff": st.integers(1, 40)}),
    st.fixed_dictionaries(
        shared
        | learned
        | {
            "capacity_factor": st.sampled_from([None, 0.5, 1.25]),
            "switch_layer_frequency": st.sampled_from([0.25, 0.5, 0.75, 1.0]),
            "balance": st.sampled_from(["aux_loss", "bias", "none"]),
            "gate_scale": st.sampled_from(["paper", "unit_at_init"]),
        }
    ),
    st.fixed_dictionaries(
        shared
        | learned
        | {"router": st.just("top_k"), "top_k": st.integers(2, 3), "normalize_gates": st.booleans()}
        | {"capacity_factor": st.sampled_from([None, 0.5, 1.25])}
    ),
    st.fixed_dictionaries(shared | learned | {"router": st.just("expert_choice")}),
    st.fixed_dictionaries(shared | {"router": st.just("hash")}),
)
models = st.fixed_dictionaries(
    {
        "d_model": st.integers(1, 3).map(lambda count: 8 * count),
        "num_layers": st.integers(4, 6),
        "num_heads": st.integers(1, 4),
        "d_head": st.sampled_from([2, 4, 8]),
        "tied_output": st.booleans(),
        "ffn": ffns,
    }
)


@settings(deadline=None, max_examples=80)
@given(
    model=models,
    precision=st.sampled_from(["float32", "bfloat16"]),
    backend=st.sampled_from(["loop", "loop", "grouped_mm", "padded"]),
    seed=st.integers(0, 9),
)
def test_kept_bytes_equal_what_is_stored(model: dict[str, Any], precision: str, backend: Backend, seed: int) -> None:
    # Padded and dropless, every expert has as many slots as the fullest needs, which nothing but the router knows.
    assume(backend != "padded" or model["ffn"].get("capacity_factor", 1.0) is not None)
    if model["ffn"].get("router_precision") == "bfloat16":
        precision = "bfloat16"
    train = {"batch_tokens": 64, "precision": precision}
    spec = tiny_run(ffn=model["ffn"], model=model, data={"seq_len": 16}, train=train, seed=seed)
    stored, kept = forward(build_model(spec, dispatch=backend), spec)
    assert count_memory(spec, backend=backend, kept=kept).activations.total == stored


def forward(model: Transformer, spec: RunSpec) -> tuple[int, list[int]]:
    """Bytes that are stored after a training step's forward pass, and the kept assignments of each sparse layer."""
    shape = (spec.train.batch_tokens // spec.data.seq_len, spec.data.seq_len)
    token_BS = torch.randint(0, spec.vocab_size, shape, generator=torch.Generator().manual_seed(spec.seed))
    outputs = []

    def compute() -> torch.Tensor:
        ffn = spec.model.ffn
        output = model(
            token_BS,
            capacity_factor=ffn.capacity_factor if isinstance(ffn, SparseFFNSpec) else None,
            group_tokens=spec.routing_group_tokens,
            noise=torch.Generator().manual_seed(spec.seed),
        )
        outputs.append(output)
        return mean_nll(output.logits_BSV.flatten(0, 1), token_BS.flatten())

    storages = kept_storages(compute, given=[*model.parameters(), *model.buffers(), token_BS])
    return num_bytes(storages), [routing.token_N.shape[0] for routing in outputs[0].routings]
