"""The benchmarks measure the same work, answer in one form, and say what was measured. No claim about speed."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from switchbench.bench import LayerRequest, StepRequest, measure, parse_shapes
from switchbench.bench.interleave import WARM_UP_ROUNDS, median_ratio, time_in_turns
from switchbench.bench.layer import bare_matmuls, layer_case, run_layer
from switchbench.bench.step import step_spec
from switchbench.cost import count_forward_flops
from switchbench.errors import UsageError
from switchbench.launch.forkserver import DEFAULT_ENVIRONMENT


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "switchbench", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "160"})


def test_layer_answers_with_one_object_measured_under_our_allocator() -> None:
    done = bench("layer", "--shape", "16x2", "--shape", "16x4", "--tokens", "64", "--rounds", "2", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["schema_version"] == 1
    assert (answer["device"], answer["threads"]) == ("cpu", 1)
    for setting in DEFAULT_ENVIRONMENT.items():
        assert "=".join(setting) in answer["allocator"]
    names = ["dense", "loop", "grouped_mm", "padded", "floor"]
    assert [(row["num_experts"], row["backend"]) for row in answer["rows"]] == [(e, n) for e in (2, 4) for n in names]
    for row in answer["rows"]:
        assert row["d_model"] == 16
        assert row["rounds"] == 2
        assert row["q25_s"] <= row["median_s"] <= row["q75_s"]
        assert row["over_dense"] > 0
        assert row["over_floor"] > 0
    assert [row["over_dense"] for row in answer["rows"] if row["backend"] == "dense"] == [1.0, 1.0]
    assert [row["over_floor"] for row in answer["rows"] if row["backend"] == "floor"] == [1.0, 1.0]
    assert {row["backend"] for row in answer["rows"] if row["is_auto"]} == {"loop"}


def test_step_answers_with_parts_that_make_up_the_step() -> None:
    seen: list[float] = []
    request = StepRequest(
        widths=(16,),
        num_experts=2,
        num_tokens=256,
        precisions=("float32", "bfloat16"),
        rounds=5,
        device="cpu",
        threads=1,
    )
    answer = measure(request, on_progress=lambda share, what: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    rows: list[dict[str, Any]] = answer["rows"]
    assert [(row["num_experts"], row["precision"], row["backend"]) for row in rows] == [
        (1, "float32", "dense"),
        (2, "float32", "loop"),
        (1, "bfloat16", "dense"),
        (2, "bfloat16", "loop"),
    ]
    for row in rows:
        parts = row["forward_s"] + row["backward_s"] + row["optimizer_s"]
        assert 0.5 * row["median_s"] < parts < 1.5 * row["median_s"]  # medians of parts need not add up
        assert row["tokens_per_second"] == pytest.approx(256 / row["median_s"])
        assert (row["model"]["d_model"], row["model"]["ffn"].get("num_experts", 1)) == (16, row["num_experts"])


def test_without_json_it_draws_a_table() -> None:
    done = bench("layer", "--shape", "16x2", "--tokens", "64", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "over floor" in done.stdout
    assert "loop (auto)" in done.stdout
    assert "1 CPU thread, PyTorch" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("text", ["256", "256x", "0x4", "256,8", "256x8x2"])
def test_a_shape_that_does_not_read_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match="such as 256x8"):
        parse_shapes([text])


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_a_usage_error() -> None:
    request = LayerRequest(shapes=((16, 2),), num_tokens=64, precision="float32", rounds=1, device="cuda", threads=1)
    with pytest.raises(UsageError, match="no GPU"):
        measure(request, on_progress=lambda share, what: None)


def test_contestants_have_the_same_weights_and_give_the_same_answers() -> None:
    case = layer_case(d_model=16, num_experts=4, num_tokens=64, device=torch.device("cpu"), dtype=torch.float32)
    answers, gradients = [], []
    for name in ("loop", "grouped_mm", "padded"):
        layer = case.layers[name]
        layer.zero_grad(set_to_none=True)
        y = run_layer(layer, case.x_TD)
        y.backward(case.grad_TD)
        answers.append(y.detach())
        gradients.append(layer.w_in.grad)
    for answer, gradient in zip(answers[1:], gradients[1:], strict=True):
        torch.testing.assert_close(answer, answers[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-4, atol=1e-4)


def test_the_floor_multiplies_what_the_layer_multiplies() -> None:
    """Its FLOPs, counted by PyTorch, are those of forward and backward of the experts: 3 x 2 x 2·D·F per token."""
    from torch.utils.flop_counter import FlopCounterMode

    weights = torch.randn(3, 8, 32), torch.randn(3, 32, 8)
    multiply = bare_matmuls(torch.randn(20, 8), torch.randn(20, 8), *weights, sizes=[12, 0, 8])
    with FlopCounterMode(display=False) as counter:
        multiply()
    assert counter.get_total_flops() == 20 * 3 * 2 * 2 * 8 * 32


def test_dense_and_switch_steps_do_equal_work_but_for_the_router() -> None:
    arguments = {"d_model": 64, "num_tokens": 256, "precision": "float32"}
    dense, switch = (step_spec(num_experts=experts, **arguments) for experts in (1, 8))
    counted = [count_forward_flops(spec.model, vocab_size=256, seq_len=128) for spec in (dense, switch)]
    assert counted[1].total - counted[1].router == counted[0].total


def test_rounds_are_interleaved_and_the_first_are_not_counted() -> None:
    calls: list[str] = []
    contestants = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    times = time_in_turns(contestants, rounds=20, synchronize=lambda: None)
    rounds = list(zip(calls[::2], calls[1::2], strict=True))
    assert len(rounds) == WARM_UP_ROUNDS + 20
    assert set(rounds) == {("a", "b"), ("b", "a")}  # each once per round, and neither always behind the same one
    assert [len(one) for one in times.values()] == [20, 20]


def test_ratios_are_paired() -> None:
    """A round that was slow for all says nothing: the ratio of medians would be 2."""
    assert median_ratio([1.1, 11.0, 2.2], [1.0, 10.0, 2.0]) == pytest.approx(1.1)
