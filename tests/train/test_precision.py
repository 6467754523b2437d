"""Training in bfloat16: what it leaves in float32, and that it learns the same."""

from pathlib import Path

import pytest
import torch

from switchbench.data.batches import Batch
from switchbench.data.corpora import PreparedCorpus, prepare_corpus
from switchbench.model.ffn import SwitchFFN
from switchbench.model.norm import rms_norm
from switchbench.model.router import Routing
from switchbench.model.transformer import build_model
from switchbench.spec import ExecutionSpec
from switchbench.train import train_run
from switchbench.train.steps import mean_nll, start_training, take_step
from tests.specs import sparse, tiny_run

FFNS = [{"kind": "dense"}, sparse(), sparse(activation="swiglu", router="top_k", top_k=2, shared_experts=1)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    folder: Path = tmp_path_factory.mktemp("text")
    for index in range(40):
        (folder / f"{index}.txt").write_text(" ".join(f"word{(index * 7 + i * i) % 50}" for i in range(150)))
    data = tiny_run(data={"corpus": "text", "path": str(folder), "held_out_fraction": 0.1}).data
    return prepare_corpus(data, cache_root=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("ffn", FFNS)
def test_bfloat16_learns_the_same_to_within_a_percent(ffn: dict, corpus: PreparedCorpus) -> None:
    rows = {}
    for precision in ("float32", "bfloat16"):
        spec = tiny_run(ffn=ffn, train={"tokens": 16384, "precision": precision})
        rows[precision] = train_run(spec, ExecutionSpec(device="cpu"), sweep="test", corpus=corpus).runs[-1]
        assert rows[precision].precision == precision
    wide, narrow = rows["float32"], rows["bfloat16"]
    assert wide.nll < 4.5  # it has learned something: a fresh model has more than ln 256 = 5.5
    assert narrow.nll != wide.nll
    assert narrow.nll == pytest.approx(wide.nll, rel=0.01)
    assert narrow.config_id != wide.config_id


@pytest.mark.parametrize("ffn", FFNS)
def test_weights_gradients_loss_and_routing_stay_in_float32(ffn: dict) -> None:
    spec = tiny_run(ffn=ffn, train={"precision": "bfloat16"})
    state = start_training(spec, device=torch.device("cpu"))
    token_BS = torch.randint(0, 256, (8, 32), generator=torch.Generator().manual_seed(0))
    seen: list[torch.dtype] = []
    for block in state.model.blocks:
        block.ffn.register_forward_hook(lambda layer, args, output: seen.append(args[0].dtype))
    gradients: list[torch.dtype] = []
    for parameter in state.model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda parameter: gradients.append(parameter.grad.dtype))
    outcome = take_step(state, Batch(inputs_BS=token_BS, targets_BS=token_BS), learning_rate=1e-3)
    assert set(seen) == {torch.bfloat16}
    assert outcome.nll.dtype == torch.float32
    assert len(gradients) == len(list(state.model.parameters()))
    assert {*gradients, *(parameter.dtype for parameter in state.model.parameters())} == {torch.float32}
    for routing in outcome.routings:
        for value in (routing.gate_N, routing.aux_loss, routing.z_loss, routing.entropy, routing.mean_probs_E):
            assert value.dtype == torch.float32


def test_the_router_multiplies_in_float32_whatever_its_input() -> None:
    """Its gates are, to float32's rounding, those of the bfloat16 input times the float32 weights."""
    spec = tiny_run(ffn=sparse(), train={"precision": "bfloat16"})
    state = start_training(spec, device=torch.device("cpu"))
    seen: list[tuple[SwitchFFN, torch.Tensor, Routing]] = []
    for block in state.model.blocks:
        if isinstance(block.ffn, SwitchFFN):
            block.ffn.register_forward_hook(lambda layer, args, output: seen.append((layer, args[0], output[1])))
    state.model(torch.randint(0, 256, (8, 16), generator=torch.Generator().manual_seed(0)), capacity_factor=None)
    (layer, x_TD, routing), *_ = seen
    probabilities = (x_TD.double() @ layer.w_router.double()).softmax(dim=-1).amax(dim=-1)
    torch.testing.assert_close(routing.gate_N.double(), probabilities[routing.token_N], rtol=1e-5, atol=0)


LEARNED = [{}, {"router": "top_k", "top_k": 2}, {"router": "expert_choice"}, {"router_jitter": 0.1, "balance": "bias"}]


@pytest.mark.parametrize("fields", LEARNED)
def test_a_router_that_is_told_to_works_in_bfloat16_and_its_means_stay_in_float32(fields: dict) -> None:
    narrow = {"ffn": sparse(router_precision="bfloat16", **fields), "train": {"precision": "bfloat16"}}
    state = start_training(tiny_run(**narrow), device=torch.device("cpu"))
    token_BS = torch.randint(0, 256, (8, 32), generator=torch.Generator().manual_seed(0))
    outcome = take_step(state, Batch(inputs_BS=token_BS, targets_BS=token_BS), learning_rate=1e-3)
    assert outcome.nll.isfinite()
    for routing in outcome.routings:
        assert routing.gate_N.dtype == torch.bfloat16
        for value in (routing.aux_loss, routing.z_loss, routing.entropy, routing.confidence, routing.mean_probs_E):
            assert value.dtype == torch.float32
    routers = [block.ffn.w_router for block in state.model.blocks if isinstance(block.ffn, SwitchFFN)]
    assert {weight.dtype for weight in routers} == {torch.float32}  # what the optimizer changes is not rounded


def test_a_router_in_bfloat16_is_off_by_the_rounding_of_bfloat16() -> None:
    """Its logits, logsumexp and probabilities have 8 bits each; in float32 the same gates are right to 24."""
    gates = {}
    for precision in ("float32", "bfloat16"):
        spec = tiny_run(ffn=sparse(router_precision=precision), train={"precision": "bfloat16"})
        layer = next(block.ffn for block in build_model(spec).blocks if isinstance(block.ffn, SwitchFFN))
        x_TD = torch.randn(512, spec.model.d_model, generator=torch.Generator().manual_seed(0)).bfloat16()
        arguments = {"token_T": torch.zeros(512, dtype=torch.int64), "group_tokens": 512, "capacity_factor": None}
        _, routing = layer(x_TD, **arguments)
        probs_TE = (x_TD.double() @ layer.w_router.double()).softmax(dim=-1)
        expert_N = torch.arange(spec.model.ffn.num_experts).repeat_interleave(routing.kept_per_expert_E)
        gates[precision] = (routing.gate_N.double() / probs_TE[routing.token_N, expert_N] - 1).abs()
    assert gates["float32"].max() < 1e-5
    assert 2**-10 < gates["bfloat16"].mean() < gates["bfloat16"].max() < 2**-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_take_their_statistics_in_float32(dtype: torch.dtype) -> None:
    """A thousand equal squares do not add up in bfloat16, which has eight bits: it would stop at 256."""
    x = torch.full((2, 1024), 3.0, dtype=dtype)
    y = rms_norm(x, torch.ones(1024), dtype=torch.bfloat16)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, torch.ones(2, 1024, dtype=torch.bfloat16))


def test_precision_is_no_part_of_an_identity_that_leaves_it_at_its_default() -> None:
    assert tiny_run().run_id == tiny_run(train={"precision": "float32"}).run_id
    narrow = {"precision": "bfloat16"}
    assert tiny_run().run_id != tiny_run(train=narrow).run_id
    selective = tiny_run(ffn=sparse(router_precision="float32"), train=narrow)
    assert selective.run_id == tiny_run(ffn=sparse(), train=narrow).run_id
    assert selective.run_id != tiny_run(ffn=sparse(router_precision="bfloat16"), train=narrow).run_id


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("tokens", "vocab_size"), [(40, 7), (3, 7), (250, 1000)])
def test_mean_nll_is_cross_entropy_in_value_and_gradient(dtype: torch.dtype, tokens: int, vocab_size: int) -> None:
    """The value to the bit, although it is taken in slices and in place."""
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(tokens, vocab_size, generator=generator, dtype=dtype)).requires_grad_()
    targets = torch.randint(0, vocab_size, (tokens,), generator=generator)
    expected = torch.nn.functional.cross_entropy(logits, targets)
    got = mean_nll(logits.clone(), targets)
    assert torch.equal(got, expected)
    (gradient,) = torch.autograd.grad(3 * got, logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(3 * expected, logits)[0])
