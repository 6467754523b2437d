"""The arithmetic is compared with torch's own counter: double entry."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from switchbench.cost import computed_share, count_forward_flops, count_train_flops
from switchbench.model.transformer import build_model
from tests.cost.strategies import models
from tests.specs import tiny_run


@settings(deadline=None, max_examples=15)
@given(model=models, dropless=st.booleans())
def test_flops_equal_torchs_counter(model: dict, dropless: bool) -> None:
    """Forward and backward, under math attention and the matmul loop, kept assignments only."""
    spec = tiny_run(ffn=model["ffn"], model=model, data={"seq_len": 8}, train={"batch_tokens": 32})
    is_limited = model["ffn"].get("router") == "expert_choice" or not dropless
    capacity_factor = 0.5 if is_limited and model["ffn"]["kind"] == "sparse" else None
    built = build_model(spec)
    token_BS = torch.randint(0, 256, (4, 8), generator=torch.Generator().manual_seed(0))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = built(token_BS, capacity_factor=capacity_factor)
        forward = counter.get_total_flops()
        loss = F.cross_entropy(output.logits_BSV.flatten(0, 1), token_BS.flatten())
        (loss + sum(routing.aux_loss for routing in output.routings)).backward()
        total = counter.get_total_flops()
    counted = count_forward_flops(spec.model, vocab_size=256, seq_len=8)
    filled = sum(routing.token_N.shape[0] for routing in output.routings)
    share = computed_share(spec, computed_slots=filled, num_steps=1)
    assert forward == round(32 * (counted.total - counted.routed_experts * (1 - share)))
    train = count_train_flops(spec, num_steps=1, computed_share=share)
    assert total == round(train.executed)
