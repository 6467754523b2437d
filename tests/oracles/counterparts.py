"""The models of transformers that an architecture of ours has for counterparts, from their configuration classes.

What an architecture does not say (weights of losses, dropout, lengths) stays at its default. Attention is computed by
matmuls, and experts in a loop over those that are hit, so that torch's counter sees everything.
"""

from collections.abc import Callable

import torch
from transformers import PreTrainedModel
from transformers.models.glm4_moe import Glm4MoeConfig, Glm4MoeForCausalLM
from transformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from transformers.models.llama import LlamaConfig, LlamaForCausalLM
from transformers.models.mixtral import MixtralConfig, MixtralForCausalLM
from transformers.models.olmoe import OlmoeConfig, OlmoeForCausalLM
from transformers.models.switch_transformers import SwitchTransformersConfig, SwitchTransformersForConditionalGeneration
from transformers.models.t5 import T5Config, T5ForConditionalGeneration

from switchbench.spec import Architecture

PLAIN = {"attn_implementation": "eager", "experts_implementation": "eager"}


def on_paper(build: Callable[[Architecture], PreTrainedModel], architecture: Architecture) -> PreTrainedModel:
    """Build a model without memory for its weights."""
    with torch.device("meta"):
        return build(architecture)


def t5(a: Architecture) -> PreTrainedModel:
    """T5, gated as version 1.1 is; transformers ties its output in any case."""
    config = T5Config(
        d_model=a.d_model,
        vocab_size=a.vocab_size,
        num_heads=a.num_heads,
        d_kv=a.d_head,
        d_ff=a.d_ff,
        feed_forward_proj="gated-gelu" if a.is_gated else "relu",
        num_layers=a.encoder_layers,
        num_decoder_layers=a.decoder_layers,
        **PLAIN,
    )
    return T5ForConditionalGeneration(config)


def switch_transformers(a: Architecture) -> PreTrainedModel:
    """Switch Transformers, tied; their experts are never gated, a token meets one, and none is ever full here."""
    config = SwitchTransformersConfig(
        d_model=a.d_model,
        vocab_size=a.vocab_size,
        num_heads=a.num_heads,
        d_kv=a.d_head,
        d_ff=a.expert_d_ff,
        num_layers=a.encoder_layers,
        num_decoder_layers=a.decoder_layers,
        num_sparse_encoder_layers=a.sparse_encoder_layers,
        num_sparse_decoder_layers=a.sparse_layers - a.sparse_encoder_layers,
        num_experts=a.num_experts,
        expert_capacity=10**9,
        **PLAIN,
    )
    return SwitchTransformersForConditionalGeneration(config)


def mixtral(a: Architecture) -> PreTrainedModel:
    """Mixtral, sparse in every layer."""
    config = MixtralConfig(
        **_decoder(a), intermediate_size=a.expert_d_ff, num_local_experts=a.num_experts, num_experts_per_tok=a.top_k
    )
    return MixtralForCausalLM(config)


def olmoe(a: Architecture) -> PreTrainedModel:
    """OLMoE, sparse in every layer, with norms over all queries and all keys of a token."""
    config = OlmoeConfig(
        **_decoder(a), intermediate_size=a.expert_d_ff, num_experts=a.num_experts, num_experts_per_tok=a.top_k
    )
    return OlmoeForCausalLM(config)


def llama(a: Architecture) -> PreTrainedModel:
    """Llama."""
    return LlamaForCausalLM(LlamaConfig(**_decoder(a), intermediate_size=a.d_ff))


def glm4_moe(a: Architecture) -> PreTrainedModel:
    """GLM-4.5: with plain keys and queries it has DeepSeekMoE's layout, which transformers has no class for.

    The first layers are dense, the others have routed and shared experts. (DeepseekV2 and V3 share that, but compress
    keys and values, which our architectures do not.)
    """
    config = Glm4MoeConfig(
        **_decoder(a),
        intermediate_size=a.d_ff,
        moe_intermediate_size=a.expert_d_ff,
        n_routed_experts=a.num_experts,
        num_experts_per_tok=a.top_k,
        n_shared_experts=a.shared_d_ff // a.expert_d_ff,
        first_k_dense_replace=a.decoder_layers - a.sparse_layers,
        use_qk_norm=False,
    )
    return Glm4MoeForCausalLM(config)


def gpt2(a: Architecture) -> PreTrainedModel:
    """GPT-2, with its biases and learned positions; its heads share out the width."""
    config = GPT2Config(
        n_embd=a.d_model,
        vocab_size=a.vocab_size,
        n_head=a.num_heads,
        n_layer=a.decoder_layers,
        n_inner=a.d_ff,
        tie_word_embeddings=a.is_output_tied,
        **PLAIN,
    )
    return GPT2LMHeadModel(config)


def _decoder(a: Architecture) -> dict[str, object]:
    return PLAIN | {
        "hidden_size": a.d_model,
        "vocab_size": a.vocab_size,
        "num_attention_heads": a.num_heads,
        "num_key_value_heads": a.num_kv_heads,
        "head_dim": a.d_head,
        "num_hidden_layers": a.decoder_layers,
        "tie_word_embeddings": a.is_output_tied,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
