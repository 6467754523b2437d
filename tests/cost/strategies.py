"""Hypothesis strategies of models whose costs are compared."""

from typing import Any

from hypothesis import strategies as st

from switchbench.spec import RunSpec

activations = st.sampled_from(["relu", "gelu", "swiglu", "geglu"])
ffns = st.one_of(
    st.fixed_dictionaries({"kind": st.just("dense"), "activation": activations, "d_ff": st.integers(1, 40)}),
    st.fixed_dictionaries(
        {
            "kind": st.just("sparse"),
            "activation": activations,
            "d_ff": st.integers(1, 40),
            "num_experts": st.integers(1, 9),
            "switch_layer_frequency": st.sampled_from([0.25, 0.5, 0.75, 1.0]),
            "shared_experts": st.integers(0, 2),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("sparse"),
            "d_ff": st.integers(1, 40),
            "num_experts": st.integers(3, 9),
            "router": st.just("top_k"),
            "top_k": st.integers(2, 3),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("sparse"),
            "d_ff": st.integers(1, 40),
            "num_experts": st.integers(2, 9),
            "router": st.sampled_from(["hash", "expert_choice"]),
        }
    ),
)
models = st.fixed_dictionaries(
    {
        "d_model": st.integers(2, 24),
        "num_layers": st.integers(4, 6),
        "num_heads": st.integers(1, 4),
        "d_head": st.sampled_from([2, 4, 8]),
        "tied_output": st.booleans(),
        "ffn": ffns,
    }
)


@st.composite
def large_runs(draw: st.DrawFn) -> tuple[RunSpec, int | None]:
    """A run that may take hundreds of MB, and the tokens of its micro-batches (None: the whole batch at once)."""
    if draw(st.booleans()):
        model: dict[str, Any] = {"size": draw(st.sampled_from(["xs", "s", "m"]))}
    else:
        model = {
            "d_model": draw(st.integers(4, 32)) * 16,
            "num_layers": draw(st.integers(2, 10)),
            "num_heads": draw(st.integers(1, 8)),
            "d_head": draw(st.sampled_from([16, 32, 64])),
        }
    ffn: dict[str, Any] = {"kind": "dense", "activation": draw(activations)}
    if draw(st.booleans()):
        ffn |= {"kind": "sparse", "num_experts": draw(st.sampled_from([2, 8, 16, 64, 128]))}
        if draw(st.booleans()):
            ffn |= {"router": "top_k", "top_k": 2}
    tokens = draw(st.sampled_from([512, 1024, 2048, 4096, 8192]))
    micro_batches = draw(st.sampled_from([1, 1, 2, 4]))
    if ffn["kind"] == "sparse":
        ffn["routing_group_tokens"] = tokens // micro_batches
    spec = RunSpec.model_validate(
        {
            "data": {"seq_len": 128},
            "model": model | {"tied_output": draw(st.booleans()), "ffn": ffn},
            "train": {"batch_tokens": tokens, "precision": draw(st.sampled_from(["float32", "bfloat16"]))},
            "vocab_size": draw(st.sampled_from([256, 1000, 4096]) | st.integers(256, 50_000)),
            "data_fingerprint": "0123456789ab",
        }
    )
    return spec, None if micro_batches == 1 else tokens // micro_batches
