"""The layer and the training step against other people's, in turns on the same machine; run with `nox -s peers`.

Layer: transformers' SwitchTransformersSparseMLP with our weights, its capacity so large that it drops nothing (that it
gives our answers is checked first), and st-moe-pytorch, which sends every token to two experts. All in one process,
under the allocator setting that we start our workers with.
Step: transformers' Llama of the same shape and gated FFN, trained as its users train it, in a process with the
environment as it is; ours in a process as we start them. The two take turns.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from switchbench.bench import parse_shapes
from switchbench.bench.interleave import WARM_UP_ROUNDS, median_ratio, time_columns, time_in_turns
from switchbench.bench.layer import layer_case, run_layer
from switchbench.data.batches import Batch
from switchbench.device import machine_facts
from switchbench.launch.forkserver import end_processes, start_process, warm_server
from switchbench.model.ffn import SwitchFFN
from switchbench.spec import RunSpec
from switchbench.train.steps import start_training, take_step

CPU = torch.device("cpu")
SEQ_LEN, NUM_LAYERS, VOCAB_SIZE = 128, 4, 256


def transformers_layer(ours: SwitchFFN) -> torch.nn.Module:
    """Their layer with our weights."""
    from transformers import SwitchTransformersConfig
    from transformers.models.switch_transformers.modeling_switch_transformers import SwitchTransformersSparseMLP

    num_experts, d_model, d_ff = ours.w_in.shape
    config = SwitchTransformersConfig(
        d_model=d_model,
        d_ff=d_ff,
        num_experts=num_experts,
        expert_capacity=10**9,
        dropout_rate=0.0,
        router_jitter_noise=0.0,
        dense_act_fn="relu",
    )
    layer = SwitchTransformersSparseMLP(config)
    with torch.no_grad():
        layer.router.classifier.weight.copy_(ours.w_router.T)
        for index in range(num_experts):
            expert = layer.experts[f"expert_{index}"]
            expert.wi.weight.copy_(ours.w_in[index].T)
            expert.wo.weight.copy_(ours.w_out[index].T)
    return layer


def st_moe_layer(*, d_model: int, num_experts: int) -> torch.nn.Module:
    """st-moe-pytorch's layer, as wide as ours; two experts per token is the least that it offers."""
    from st_moe_pytorch import MoE

    return MoE(dim=d_model, num_experts=num_experts, expert_hidden_mult=4, gating_top_n=2)


def layer_rows(connection: Connection, shapes: tuple[tuple[int, int], ...], num_tokens: int, rounds: int) -> None:
    """Measure the layers and send the rows."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for d_model, num_experts in shapes:
        case = layer_case(
            d_model=d_model, num_experts=num_experts, num_tokens=num_tokens, device=CPU, dtype=torch.float32
        )
        ours = case.layers["loop"]
        assert isinstance(ours, SwitchFFN)
        theirs = transformers_layer(ours)
        x_1TD, grad_1TD = case.x_TD.detach()[None].clone().requires_grad_(), case.grad_TD[None]
        torch.testing.assert_close(theirs(x_1TD)[0], run_layer(ours, case.x_TD), rtol=1e-3, atol=1e-4)
        calls = case.contestants | {"transformers": _pass_of(theirs, x_1TD, grad_1TD, pick=lambda y: y)}
        try:
            st_moe = st_moe_layer(d_model=d_model, num_experts=num_experts)
            calls["st-moe-pytorch (top-2)"] = _pass_of(st_moe, x_1TD, grad_1TD, pick=lambda y: y[0])
        except ImportError as error:
            print(f"st-moe-pytorch is left out: {error}", file=sys.stderr)
        times_s = time_in_turns(calls, rounds=rounds, synchronize=lambda: None)
        rows += [
            {
                "d_model": d_model,
                "num_experts": num_experts,
                "backend": name,
                **time_columns(times),
                "over_dense": median_ratio(times, times_s["dense"]),
                "over_floor": median_ratio(times, times_s["floor"]),
                "over_transformers": median_ratio(times, times_s["transformers"]),
            }
            for name, times in times_s.items()
        ]
        print(f"layer {d_model}x{num_experts} done", file=sys.stderr)
    connection.send((rows, machine_facts(CPU).allocator))


def _pass_of(
    layer: torch.nn.Module, x: torch.Tensor, grad: torch.Tensor, *, pick: Callable[[Any], torch.Tensor]
) -> Callable[[], None]:
    def forward_and_backward() -> None:
        for tensor in (x, *layer.parameters()):
            tensor.grad = None
        pick(layer(x)).backward(grad)

    return forward_and_backward


def spec_of(d_model: int, *, num_tokens: int) -> RunSpec:
    """Our dense model with Llama's gated FFN."""
    d_head = 32 if d_model >= 64 else 16
    shape = {"d_model": d_model, "num_layers": NUM_LAYERS, "num_heads": d_model // d_head, "d_head": d_head}
    return RunSpec.model_validate(
        {
            "data": {"seq_len": SEQ_LEN},
            "model": shape | {"ffn": {"kind": "dense", "activation": "swiglu"}},
            "train": {"batch_tokens": num_tokens},
            "vocab_size": VOCAB_SIZE,
            "data_fingerprint": "0" * 12,
        }
    )


def our_step(spec: RunSpec) -> Callable[[], None]:
    """A training step of ours."""
    state = start_training(spec, device=CPU)
    tokens = _tokens(spec)
    batch = Batch(inputs_BS=tokens[:, :-1], targets_BS=tokens[:, 1:])
    return lambda: take_step(state, batch, learning_rate=1e-4) and None


def llama_step(spec: RunSpec) -> Callable[[], None]:
    """A training step of transformers' Llama: loss by labels, clipped gradients, fused AdamW, as its Trainer does."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=spec.model.d_model,
            intermediate_size=spec.model.ffn.d_ff,
            num_hidden_layers=NUM_LAYERS,
            num_attention_heads=spec.model.num_heads,
            num_key_value_heads=spec.model.num_heads,
            head_dim=spec.model.d_head,
            vocab_size=VOCAB_SIZE,
            max_position_embeddings=SEQ_LEN,
            tie_word_embeddings=True,
            use_cache=False,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    tokens = _tokens(spec)[:, :-1].contiguous()

    def step() -> None:
        model(input_ids=tokens, labels=tokens).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _tokens(spec: RunSpec) -> torch.Tensor:
    shape = (spec.train.batch_tokens // SEQ_LEN, SEQ_LEN + 1)
    return torch.randint(0, VOCAB_SIZE, shape, generator=torch.Generator().manual_seed(0))


def serve_steps(connection: Connection, d_model: int, num_tokens: int) -> None:
    """Take a step of ours for every message and send its time."""
    torch.set_num_threads(1)
    step = our_step(spec_of(d_model, num_tokens=num_tokens))
    while connection.recv():
        start = time.perf_counter()
        step()
        connection.send(time.perf_counter() - start)


def serve_llama(d_model: int, num_tokens: int) -> None:
    """Take a step of Llama's for every line on stdin and print its time."""
    torch.set_num_threads(1)
    step = llama_step(spec_of(d_model, num_tokens=num_tokens))
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


def step_rows(widths: list[int], *, num_tokens: int, rounds: int) -> list[dict[str, Any]]:
    """Measure the steps, the two processes in turns."""
    rows: list[dict[str, Any]] = []
    for d_model in widths:
        command = [sys.executable, "-m", "tests.benchmarks.peers", "--serve-llama", f"{d_model}", f"{num_tokens}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as llama:
            assert llama.stdin is not None
            assert llama.stdout is not None
            assert llama.stdout.readline().strip() == "ready"
            process, ours = start_process("tests.benchmarks.peers:serve_steps", d_model, num_tokens)
            times_s: dict[str, list[float]] = {"switchbench": [], "transformers": []}
            for index in range(WARM_UP_ROUNDS + rounds):
                ours.send(True)
                our_time_s = ours.recv()
                llama.stdin.write("step\n")
                llama.stdin.flush()
                llama_time_s = float(llama.stdout.readline())
                if index >= WARM_UP_ROUNDS:
                    times_s["switchbench"].append(our_time_s)
                    times_s["transformers"].append(llama_time_s)
            llama.stdin.close()
            end_processes([process])
        rows += [
            {
                "d_model": d_model,
                "model": name,
                **time_columns(times),
                "tokens_per_second": num_tokens / time_columns(times)["median_s"],
                "speed_over_transformers": median_ratio(times_s["transformers"], times),
            }
            for name, times in times_s.items()
        ]
        print(f"step {d_model} done", file=sys.stderr)
    return rows


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", nargs="*", default=["256x8", "256x32", "256x128", "512x32"])
    parser.add_argument("--d-model", nargs="*", type=int, default=[32, 64, 256])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--serve-llama", nargs=2, type=int)
    arguments = parser.parse_args()
    if arguments.serve_llama:
        serve_llama(*arguments.serve_llama)
        return
    import transformers

    with warm_server():
        process, connection = start_process(
            "tests.benchmarks.peers:layer_rows", parse_shapes(arguments.shape), arguments.tokens, arguments.rounds
        )
        rows, allocator = connection.recv()
        end_processes([process])
        steps = step_rows(arguments.d_model, num_tokens=arguments.tokens, rounds=arguments.rounds)
    facts = machine_facts(CPU)
    answer = {
        "schema_version": 1,
        "benchmark": "peers",
        "machine": facts.machine,
        "threads": 1,
        "allocator": allocator,
        "torch_version": facts.torch_version,
        "transformers_version": transformers.__version__,
        "rows": rows,
        "steps": steps,
    }
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
