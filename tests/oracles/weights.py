"""Weights of a model of transformers per component, told by the types of its modules alone."""

from collections import Counter

from torch import nn
from transformers import PreTrainedModel
from transformers.models.glm4_moe import modeling_glm4_moe as glm4_moe
from transformers.models.gpt2 import modeling_gpt2 as gpt2
from transformers.models.llama import modeling_llama as llama
from transformers.models.mixtral import modeling_mixtral as mixtral
from transformers.models.olmoe import modeling_olmoe as olmoe
from transformers.models.switch_transformers import modeling_switch_transformers as switch
from transformers.models.t5 import modeling_t5 as t5

NORMS = (
    nn.LayerNorm,
    t5.T5LayerNorm,
    switch.SwitchTransformersLayerNorm,
    mixtral.MixtralRMSNorm,
    olmoe.OlmoeRMSNorm,
    llama.LlamaRMSNorm,
    glm4_moe.Glm4MoeRMSNorm,
)
ROUTERS = (
    switch.SwitchTransformersTop1Router,
    mixtral.MixtralTopKRouter,
    olmoe.OlmoeTopKRouter,
    glm4_moe.Glm4MoeTopkRouter,
)
ATTENTIONS = (
    t5.T5Attention,
    switch.SwitchTransformersAttention,
    mixtral.MixtralAttention,
    olmoe.OlmoeAttention,
    llama.LlamaAttention,
    glm4_moe.Glm4MoeAttention,
    gpt2.GPT2Attention,
)
SPARSE = (
    switch.SwitchTransformersSparseMLP,
    mixtral.MixtralSparseMoeBlock,
    olmoe.OlmoeSparseMoeBlock,
    glm4_moe.Glm4MoeMoE,
)
DENSE = (
    t5.T5DenseActDense,
    t5.T5DenseGatedActDense,
    switch.SwitchTransformersDenseActDense,
    llama.LlamaMLP,
    glm4_moe.Glm4MoeMLP,
    gpt2.GPT2MLP,
)
ROUTED = (
    switch.SwitchTransformersExperts,
    mixtral.MixtralExperts,
    olmoe.OlmoeExperts,
    glm4_moe.Glm4MoeExperts,
)


def count_weights(model: PreTrainedModel) -> dict[str, int]:
    """Count every weight once, where it is met first; ``bias`` and ``positions`` are what ours have not."""
    found: Counter[str] = Counter()
    seen: set[int] = set()

    def visit(module: nn.Module, inside: str | None) -> None:
        component = _component_of(module, model, inside)
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) not in seen:
                seen.add(id(weight))
                found["bias" if name == "bias" else component or type(module).__name__] += weight.numel()
        for child in module.children():
            visit(child, component)

    visit(model, None)
    return dict(found)


def count_routed_experts(model: PreTrainedModel) -> int:
    """Weights of the routed experts alone."""
    return sum(weight.numel() for part in model.modules() if isinstance(part, ROUTED) for weight in part.parameters())


def _component_of(module: nn.Module, model: PreTrainedModel, inside: str | None) -> str | None:
    """Norms and routers are that anywhere; other parts of attention and of sparse layers belong to them."""
    if isinstance(module, NORMS):
        return "norm"
    if isinstance(module, ROUTERS):
        return "router"
    if inside is not None:
        return inside
    if isinstance(module, ATTENTIONS):
        return "attention"
    if isinstance(module, SPARSE):
        return "experts"
    if isinstance(module, DENSE):
        return "dense_ffn"
    if module is model.get_output_embeddings():
        return "output"
    if isinstance(module, nn.Embedding):
        return "embedding" if module.weight is model.get_input_embeddings().weight else "positions"
    return None
