"""Hypothesis strategies of models whose costs are compared."""

from hypothesis import strategies as st

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
