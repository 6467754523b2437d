"""Peak memory: the arithmetic is compared with PyTorch's own account of its tensors."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from switchbench.cost import Memory, cost_of, count_memory, memory_of
from switchbench.published import PUBLISHED
from switchbench.spec import Backend, RunSpec, architecture_of
from switchbench.train.steps import start_training
from tests.cost.live import peak_growth
from tests.cost.measured import step_on_noise
from tests.specs import sparse, tiny_run


def run_of(*, size: str = "xxs", batch_tokens: int, ffn: dict[str, Any] | None = None, **fields: Any) -> RunSpec:
    vocab_size = fields.pop("vocab_size", 256)
    tied_output = fields.pop("tied_output", True)
    return RunSpec.model_validate(
        {
            "data": {"seq_len": 128},
            "model": {"size": size, "tied_output": tied_output, "ffn": ffn or {"kind": "dense"}},
            "train": {"batch_tokens": batch_tokens} | fields,
            "vocab_size": vocab_size,
            "data_fingerprint": "0123456789ab",
        }
    )


def of_a_step(memory: Memory) -> int:
    """What a step takes beside what stays from one to the next."""
    return memory.peak - memory.allocator - memory.kernels - memory.weights - memory.optimizer


def grown(spec: RunSpec, *, folder: Path, backend: Backend = "loop", micro: int | None = None) -> tuple[int, list[int]]:
    """Bytes that a step's tensors take at the most, and the kept assignments of each sparse layer."""
    state = start_training(spec, device=torch.device("cpu"), dispatch=backend)
    step_on_noise(state, seed=0)
    outcomes = []
    peak = peak_growth(lambda: outcomes.append(step_on_noise(state, seed=1, micro_batch_tokens=micro)), folder=folder)
    return peak, [routing.token_N.shape[0] for routing in outcomes[0].routings]


few_tokens = {"batch_tokens": 128, "ffn": sparse(num_experts=128)}


@pytest.mark.parametrize(
    ("spec", "backend"),
    [
        (run_of(batch_tokens=1024), "loop"),
        (run_of(batch_tokens=256, vocab_size=8000), "loop"),
        (run_of(size="s", batch_tokens=128, vocab_size=4000), "loop"),
        (run_of(batch_tokens=256, vocab_size=8000, precision="bfloat16", tied_output=False), "loop"),
        (run_of(batch_tokens=1024, ffn={"kind": "dense", "d_ff": 512, "activation": "swiglu"}), "loop"),
        (run_of(batch_tokens=1024, ffn=sparse(num_experts=32)), "padded"),
        (run_of(batch_tokens=1024, ffn=sparse(num_experts=32), precision="bfloat16"), "loop"),
        (run_of(**few_tokens), "loop"),
        (run_of(**few_tokens), "grouped_mm"),
        (run_of(**few_tokens, precision="bfloat16"), "loop"),
        (run_of(batch_tokens=1024, ffn=sparse(num_experts=16, activation="geglu", shared_experts=1)), "loop"),
        (run_of(batch_tokens=1024, ffn=sparse(num_experts=16, router="top_k", top_k=4, d_ff=64)), "loop"),
    ],
)
def test_a_steps_peak_is_that_of_its_tensors(spec: RunSpec, backend: Backend, tmp_path: Path) -> None:
    """Within 2%: small short-lived tensors are not counted, nor when exactly each is given back."""
    peak, kept = grown(spec, folder=tmp_path, backend=backend)
    assert of_a_step(count_memory(spec, backend=backend, kept=kept)) == pytest.approx(peak, rel=0.02)


@pytest.mark.parametrize("ffn", [{"kind": "dense"}, sparse(num_experts=64, routing_group_tokens=256)])
def test_a_micro_batch_takes_its_own_activations_and_all_gradients(ffn: dict[str, Any], tmp_path: Path) -> None:
    spec = run_of(batch_tokens=1024, ffn=ffn)
    peak, _ = grown(spec, folder=tmp_path, micro=256)
    assert of_a_step(count_memory(spec, micro_batch_tokens=256)) == pytest.approx(peak, rel=0.04)


def test_memory_of_a_run_is_that_of_its_architecture() -> None:
    """For what an architecture says: balanced routing, every other layer."""
    for ffn in (None, sparse(), sparse(activation="swiglu", shared_experts=1)):
        spec = tiny_run(ffn=ffn)
        architecture = architecture_of(spec.model, vocab_size=spec.vocab_size)
        capacity_factor = None if ffn is None else 1.25
        assert count_memory(spec) == memory_of(
            architecture, sequences=8, source_len=0, target_len=32, capacity_factor=capacity_factor
        )


def test_state_by_hand() -> None:
    memory = cost_of(tiny_run()).memory
    weights = 4 * cost_of(tiny_run()).parameters.total
    assert (memory.weights, memory.gradients, memory.optimizer) == (weights, weights, 2 * weights)
    # Two layers, 256 tokens of 16, 2 heads of 8, 64 hidden values, 256 tokens in the vocabulary, a table of 32 x 8.
    assert asdict(memory.activations) == {
        "residual": 0,
        "norm": 5 * 256 * 4 * (16 + 1 + 16),
        "attention": 2 * 256 * 4 * (3 * 16 + 2 * 16 + 2 * (16 + 2) + 16 + 2) + 32 * 8 * 4,
        "dense_ffn": 2 * 256 * 64 * 4,
        "experts": 0,
        "router": 0,
        "dispatch": 0,
        "logits": 256 * 256 * 4,
        "weight_copies": 0,
    }


def test_a_published_model_of_two_stacks_by_hand() -> None:
    """T5-Base in float32: no norms of queries and keys, none of them rotated; 12 layers, 768 wide, 12 heads of 64."""
    memory = memory_of(PUBLISHED["t5-base"].architecture, sequences=1, source_len=512, target_len=114, device="cuda")
    source, target, width = 512, 114, 768
    assert memory.weights == 4 * 222_903_552
    norms = (2 * 12 + 1) * source + (3 * 12 + 1) * target
    assert memory.activations.norm == norms * 4 * (2 * width + 1)
    own = (source + target) * (4 * width + 12)  # queries, keys, values, result, logsumexp
    crossed = target * (2 * width + 12) + source * 2 * width
    assert memory.activations.attention == 12 * 4 * (own + crossed)
    assert memory.activations.logits == target * 32128 * 4
    assert memory.allocator == memory.kernels == 0
