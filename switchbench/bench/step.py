"""Whole training steps: a dense model and its Switch twin, in float32 and bfloat16, with the parts of a step apart."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from switchbench.bench.interleave import WARM_UP_ROUNDS, in_order_of_round, median_ratio, time_columns
from switchbench.data.batches import Batch
from switchbench.device import synchronizer
from switchbench.spec import RunSpec
from switchbench.timing import Stopwatch, summarize
from switchbench.train.provenance import dispatch_backend
from switchbench.train.steps import start_training, take_step

NUM_LAYERS, SEQ_LEN, VOCAB_SIZE = 4, 128, 256


def step_spec(*, d_model: int, num_experts: int, num_tokens: int, precision: str) -> RunSpec:
    """Give the run whose steps are timed: 4 layers, sequences of 128, every other layer sparse.

    Args:
        d_model: Width, D; heads are 32 wide (16 below a width of 64).
        num_experts: Experts; 1: the dense twin.
        num_tokens: Tokens per step.
        precision: ``float32`` or ``bfloat16``.
    """
    d_head = 32 if d_model >= 64 else 16
    ffn: dict[str, Any] = {"kind": "dense"} if num_experts == 1 else {"kind": "sparse", "num_experts": num_experts}
    shape = {"d_model": d_model, "num_layers": NUM_LAYERS, "num_heads": max(d_model // d_head, 1), "d_head": d_head}
    return RunSpec.model_validate(
        {
            "data": {"seq_len": SEQ_LEN},
            "model": shape | {"ffn": ffn},
            "train": {"batch_tokens": num_tokens} | ({} if precision == "float32" else {"precision": precision}),
            "vocab_size": VOCAB_SIZE,
            "data_fingerprint": "0" * 12,
        }
    )


def measure_step(
    *,
    d_model: int,
    num_experts: int,
    num_tokens: int,
    precisions: tuple[str, ...],
    device: torch.device,
    rounds: int,
    on_progress: Callable[[float], None],
) -> list[dict[str, Any]]:
    """Measure the training steps of one width, the contestants in turns.

    Args:
        d_model: Width, D.
        num_experts: Experts of the sparse twin.
        num_tokens: Tokens per step.
        precisions: Each model is measured in each.
        device: Where.
        rounds: Counted rounds.
        on_progress: Called with the share of the rounds that are done.

    Returns:
        One row per model and precision; ``speed_over_dense`` is against dense in float32.
    """
    generator = torch.Generator().manual_seed(0)
    token_BS = torch.randint(0, VOCAB_SIZE, (num_tokens // SEQ_LEN, SEQ_LEN + 1), generator=generator)
    batch = Batch(inputs_BS=token_BS[:, :-1], targets_BS=token_BS[:, 1:])
    contestants = [(experts, precision) for precision in precisions for experts in (1, num_experts)]
    specs = [
        step_spec(d_model=d_model, num_experts=experts, num_tokens=num_tokens, precision=precision)
        for experts, precision in contestants
    ]
    states = [start_training(spec, device=device) for spec in specs]
    watches = [Stopwatch(synchronizer(device)) for _ in contestants]
    for index in range(WARM_UP_ROUNDS + rounds):
        keep = index >= WARM_UP_ROUNDS
        turns = list(zip(states, watches, strict=True))
        for state, watch in in_order_of_round(turns, round_index=index):
            with watch.part("step", keep=keep):
                take_step(state, batch, learning_rate=1e-4, part=partial(watch.part, keep=keep))
        on_progress((index + 1) / (WARM_UP_ROUNDS + rounds))
    dense_s = watches[0].times_s["step"]
    rows = []
    for (experts, precision), spec, watch in zip(contestants, specs, watches, strict=True):
        times_s = watch.times_s["step"]
        columns = time_columns(times_s)
        rows.append(
            {
                "d_model": d_model,
                "num_experts": experts,
                "num_tokens": num_tokens,
                "precision": precision,
                "backend": dispatch_backend(spec, "auto", device=device) or "dense",
                **columns,
                **{
                    f"{part}_s": summarize(watch.times_s[part]).median_s
                    for part in ("forward", "backward", "optimizer")
                },
                "tokens_per_second": num_tokens / columns["median_s"],
                "speed_over_dense": median_ratio(dense_s, times_s),
                "model": spec.model.model_dump(mode="json"),  # so that a report knows it again
                "seq_len": SEQ_LEN,
                "vocab_size": VOCAB_SIZE,
            }
        )
    return rows
