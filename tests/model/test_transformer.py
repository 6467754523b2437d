"""The whole model: causality, twins, initialization, and a step that equals one of plain modules."""

import math

import pytest
import torch
import torch.nn.functional as F

from switchbench.model.attention import Attention, rotate, rotation
from switchbench.model.norm import rms_norm
from switchbench.model.transformer import Transformer, build_model
from switchbench.spec import RunSpec
from tests.specs import sparse, tiny_run


def token_ids(batch: int, positions: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (batch, positions), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "ffn",
    [
        {"kind": "dense"},
        sparse(capacity_factor=0.5),
        sparse(activation="geglu"),
        sparse(router="top_k", top_k=2, capacity_factor=0.5),
        sparse(router="hash", capacity_factor=0.5),
        sparse(shared_experts=1, balance="bias"),
    ],
)
def test_a_later_token_changes_nothing_before_it(ffn: dict) -> None:
    """With routing groups of one sequence and with the whole batch as one group; dropped tokens included."""
    model = build_model(tiny_run(ffn=ffn)).double()
    capacity_factor = ffn.get("capacity_factor")
    before = token_ids(2, 12)
    for group_tokens in (12, 24):
        for position in (1, 5, 11):
            after = before.clone()
            after[1, position] = (after[1, position] + 1) % 256
            arguments = {"capacity_factor": capacity_factor, "group_tokens": group_tokens}
            old = model(before, **arguments).logits_BSV
            new = model(after, **arguments).logits_BSV
            torch.testing.assert_close(new[1, :position], old[1, :position], rtol=0, atol=1e-12)
            torch.testing.assert_close(new[0], old[0], rtol=0, atol=1e-12)
            assert not torch.allclose(new[1, position], old[1, position])


def test_expert_choice_sees_later_tokens() -> None:
    """The reason for its caveat: with half the slots, a later token can take an earlier one's place."""
    ffn = sparse(router="expert_choice", capacity_factor=0.5)
    model = build_model(tiny_run(ffn=ffn)).double()
    before = token_ids(1, 24)
    changed = False
    for token in range(40):
        after = before.clone()
        after[0, 23] = token
        old, new = (model(batch, capacity_factor=0.5).logits_BSV[0, :23] for batch in (before, after))
        changed |= not torch.allclose(old, new)
    assert changed


def test_evaluation_repeats_to_the_bit_and_does_not_depend_on_the_batchs_order() -> None:
    model = build_model(tiny_run(ffn=sparse()))
    batch = token_ids(4, 16)
    logits = model(batch, capacity_factor=None).logits_BSV
    assert torch.equal(logits, model(batch, capacity_factor=None).logits_BSV)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(batch[order], capacity_factor=None).logits_BSV, logits[order])


@pytest.mark.parametrize("activation", ["relu", "swiglu"])
def test_twins_share_attention_and_embedding_and_expert_0_is_the_dense_layer(activation: str) -> None:
    dense = dict(build_model(tiny_run(ffn={"kind": "dense", "activation": activation})).named_parameters())
    few = dict(build_model(tiny_run(ffn=sparse(activation=activation))).named_parameters())
    many = dict(build_model(tiny_run(ffn=sparse(activation=activation, num_experts=9))).named_parameters())
    for name, parameter in dense.items():
        if few[name].ndim == 3:
            assert torch.equal(few[name][0], parameter)
            assert torch.equal(few[name], many[name][:4])
        else:
            assert torch.equal(few[name], parameter)
    assert set(few) - set(dense) == {"blocks.1.ffn.w_router"}


def test_seeds_and_experts_differ() -> None:
    first, second = build_model(tiny_run(ffn=sparse())), build_model(tiny_run(ffn=sparse(), seed=1))
    w_in, other = first.blocks[1].ffn.w_in, second.blocks[1].ffn.w_in
    assert not torch.equal(w_in, other)
    assert not torch.equal(w_in[0], w_in[1])
    assert not torch.equal(first.blocks[0].ffn.w_in, w_in[0])


def test_init_is_the_papers_truncated_normal() -> None:
    spec = tiny_run(
        ffn=sparse(d_ff=400, num_experts=40, router_init_scale=0.25, switch_layer_frequency=1.0),
        model={"d_model": 64, "init_scale": 0.1, "num_heads": 8, "tied_output": False},
    )
    # The deviation of a standard normal cut at 2 is sqrt(1 - 4·φ(2)/(2Φ(2) - 1)).
    density, mass = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))
    shrink = math.sqrt(1 - 4 * density / mass)
    for name, parameter in build_model(spec).named_parameters():
        if parameter.ndim == 1:
            assert torch.equal(parameter, torch.ones_like(parameter))
            continue
        scale = 0.25 if name.endswith("w_router") else 0.1
        fan_in = parameter.shape[-1] if name == "embedding" else parameter.shape[-2]
        deviation = math.sqrt(scale / fan_in)
        assert parameter.abs().max() <= 2 * deviation
        samples = parameter.numel()
        assert parameter.std().item() == pytest.approx(shrink * deviation, rel=4 / math.sqrt(samples))


def test_one_expert_gives_the_dense_models_logits_to_the_bit() -> None:
    dense, single = build_model(tiny_run()), build_model(tiny_run(ffn=sparse(num_experts=1, capacity_factor=1.0)))
    batch = token_ids(2, 16)
    assert torch.equal(dense(batch, capacity_factor=None).logits_BSV, single(batch, capacity_factor=1.0).logits_BSV)


def test_micro_batches_of_whole_groups_change_nothing_but_rounding() -> None:
    model = build_model(tiny_run(ffn=sparse(capacity_factor=0.75))).double()
    batch = token_ids(8, 16)

    def objective(part: torch.Tensor) -> torch.Tensor:
        output = model(part, capacity_factor=0.75, group_tokens=32)
        nll = F.cross_entropy(output.logits_BSV.flatten(0, 1), part.flatten())
        return nll + 0.01 * sum(routing.aux_loss for routing in output.routings)

    whole = torch.autograd.grad(objective(batch), list(model.parameters()))
    parts = torch.autograd.grad(sum(objective(part) for part in batch.split(2)) / 4, list(model.parameters()))
    for got, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(got, expected)


def test_opposite_collapses_in_two_layers_do_not_cancel() -> None:
    spec = tiny_run(ffn=sparse(num_experts=2, switch_layer_frequency=1.0))
    model = build_model(spec)
    # One token repeated: each layer sends all of it to one expert, whichever that is.
    output = model(torch.full((2, 16), 7), capacity_factor=None)
    loads = [routing.tokens_per_expert_EG.sum(dim=1).max().item() for routing in output.routings]
    assert loads == [32, 32]
    for routing in output.routings:
        assert routing.aux_loss.item() > 1.0


def test_attention_equals_a_loop_over_positions() -> None:
    attention = Attention(d_model=12, num_heads=2, d_head=6).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    x = torch.randn(1, 5, 12, generator=generator, dtype=torch.float64)
    got = attention(x, rotation(5, d_head=6, device=torch.device("cpu")))[0]

    query, key, value = (x[0] @ attention.w_qkv).view(5, 3, 2, 6).unbind(1)
    rows = []
    for s in range(5):
        heads = []
        for h in range(2):
            q = turn(normalize(query[s, h]) * attention.query_scale, s)
            scores = [q @ turn(normalize(key[t, h]) * attention.key_scale, t) / math.sqrt(6) for t in range(s + 1)]
            weights = torch.stack(scores).softmax(0)
            heads.append(sum(weights[t] * value[t, h] for t in range(s + 1)))
        rows.append(torch.cat(heads) @ attention.w_out)
    torch.testing.assert_close(got, torch.stack(rows), rtol=1e-5, atol=1e-5)  # the rotation table is float32


def normalize(x: torch.Tensor) -> torch.Tensor:
    return x / (x.square().mean() + 1e-6).sqrt()


def turn(x: torch.Tensor, position: int) -> torch.Tensor:
    """Rotate the pairs (2i, 2i + 1) by plane rotations."""
    turned = torch.empty_like(x)
    for i in range(0, len(x), 2):
        angle = position * 10_000 ** (-i / len(x))
        turned[i] = math.cos(angle) * x[i] - math.sin(angle) * x[i + 1]
        turned[i + 1] = math.sin(angle) * x[i] + math.cos(angle) * x[i + 1]
    return turned


@pytest.mark.parametrize("shape", [(7,), (3, 6), (2, 3, 2, 8)])
def test_rms_norm_equals_the_formula_in_output_and_gradients(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, *shape, generator=generator, dtype=torch.float64, requires_grad=True)
    scale = torch.randn(shape[-1], generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    slow = x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * scale
    fast = rms_norm(x, scale)
    torch.testing.assert_close(fast, slow)
    expected = torch.autograd.grad((slow * weights).sum(), (x, scale))
    torch.testing.assert_close(torch.autograd.grad((fast * weights).sum(), (x, scale)), expected)


def test_rotation_turns_gradients_back() -> None:
    x = torch.randn(2, 5, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    table = rotation(5, d_head=6, device=torch.device("cpu")).to(torch.complex128)
    assert torch.autograd.gradcheck(lambda x: rotate(x, table), (x,))


def test_fresh_model_predicts_about_uniformly() -> None:
    """Logits of unit variance cost about half a nat over ln V."""
    spec: RunSpec = tiny_run(model={"d_model": 64, "d_head": 32})
    model: Transformer = build_model(spec)
    batch = token_ids(8, 32)
    logits = model(batch[:, :-1], capacity_factor=None).logits_BSV
    nll = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()).item()
    assert math.log(256) < nll < math.log(256) + 1
