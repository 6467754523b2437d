"""Hypothesis strategies of small architectures, one for each family of transformers."""

from dataclasses import replace

from hypothesis import strategies as st

from switchbench.spec import Architecture


@st.composite
def llama_shapes(draw: st.DrawFn) -> Architecture:
    """Dense decoders, gated, with any number of queries per key, tied or not."""
    kv_heads = draw(st.integers(1, 3))
    num_heads = kv_heads * draw(st.integers(1, 3))
    return Architecture(
        d_model=num_heads * draw(st.integers(1, 8)),
        vocab_size=draw(st.integers(2, 50)),
        num_heads=num_heads,
        num_kv_heads=kv_heads,
        d_head=2 * draw(st.integers(1, 4)),
        d_ff=draw(st.integers(1, 40)),
        is_gated=True,
        decoder_layers=draw(st.integers(1, 4)),
        is_output_tied=draw(st.booleans()),
    )


@st.composite
def mixtral_shapes(draw: st.DrawFn) -> Architecture:
    """The same with experts in every layer."""
    experts = draw(st.integers(2, 9))
    return replace(
        dense := draw(llama_shapes()),
        d_ff=0,
        sparse_layers=dense.decoder_layers,
        num_experts=experts,
        top_k=draw(st.integers(1, experts)),
        expert_d_ff=draw(st.integers(1, 40)),
    )


@st.composite
def olmoe_shapes(draw: st.DrawFn) -> Architecture:
    """The same with norms of queries and keys; heads share out the width."""
    sparse = draw(mixtral_shapes())
    width = sparse.num_heads * sparse.d_head
    return replace(sparse, d_model=width, qk_norm_scales=width + sparse.num_kv_heads * sparse.d_head)


@st.composite
def glm4_moe_shapes(draw: st.DrawFn) -> Architecture:
    """The same with shared experts, behind some dense layers."""
    sparse = draw(mixtral_shapes())
    return replace(
        sparse,
        d_ff=draw(st.integers(1, 40)),
        sparse_layers=draw(st.integers(1, sparse.decoder_layers)),
        shared_d_ff=draw(st.integers(1, 3)) * sparse.expert_d_ff,
    )


@st.composite
def t5_shapes(draw: st.DrawFn) -> Architecture:
    """Encoders and decoders of any depth each, gated or not; untied, theirs would have a table for each stack."""
    heads = draw(st.integers(1, 4))
    return Architecture(
        d_model=draw(st.integers(1, 24)),
        vocab_size=draw(st.integers(2, 50)),
        num_heads=heads,
        num_kv_heads=heads,
        d_head=draw(st.integers(1, 8)),
        d_ff=draw(st.integers(1, 40)),
        is_gated=draw(st.booleans()),
        decoder_layers=draw(st.integers(1, 4)),
        encoder_layers=draw(st.integers(1, 4)),
        is_output_tied=True,
        position_tables=2,
    )


@st.composite
def switch_shapes(draw: st.DrawFn) -> Architecture:
    """The same with one expert for each token in every first, second or third layer of each stack."""
    dense, (encoder, decoder) = draw(t5_shapes()), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return replace(
        dense,
        is_gated=False,
        encoder_layers=encoder * draw(st.integers(1, 3)),
        decoder_layers=decoder * draw(st.integers(1, 3)),
        sparse_layers=encoder + decoder,
        sparse_encoder_layers=encoder,
        num_experts=draw(st.integers(1, 9)),
        top_k=1,
        expert_d_ff=dense.d_ff,
    )


@st.composite
def gpt2_shapes(draw: st.DrawFn) -> Architecture:
    """Dense decoders, ungated."""
    dense = draw(llama_shapes())
    return replace(dense, is_gated=False, num_kv_heads=dense.num_heads, d_head=dense.d_model // dense.num_heads)
