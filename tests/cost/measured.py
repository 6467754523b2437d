"""Measures the peak memory of training steps, in a process of its own: started as those of a sweep are."""

from multiprocessing.connection import Connection

import torch

from switchbench.data.batches import Batch
from switchbench.device import MemoryMeter
from switchbench.spec import Dispatch, RunSpec
from switchbench.train.evaluate import ffn_rms_ratio, score_dropless
from switchbench.train.run import touch_library
from switchbench.train.steps import StepOutcome, TrainState, start_training, take_step


def send_peak(
    connection: Connection, spec: RunSpec, *, device: str, dispatch: Dispatch, micro_batch_tokens: int | None = None
) -> None:
    """Send the peak over the level before the model was built, in what a run does: it evaluates, too."""
    where = torch.device(device)
    torch.set_num_threads(1)
    touch_library(spec, device=where, dispatch=dispatch)
    meter = MemoryMeter(where)
    state = start_training(spec, device=where, dispatch=dispatch)
    first = noise_batch(spec, seed=0)
    ffn_rms_ratio(state.model, first.inputs_BS.to(where))
    for step in range(3):
        score_dropless(state.model, [first], spec=spec, batch_tokens=micro_batch_tokens)
        step_on_noise(state, seed=step, micro_batch_tokens=micro_batch_tokens)
    score_dropless(state.model, [first], spec=spec, batch_tokens=micro_batch_tokens)
    connection.send(meter.peak_bytes())


def step_on_noise(state: TrainState, *, seed: int, micro_batch_tokens: int | None = None) -> StepOutcome:
    """Take a step on random tokens."""
    batch = noise_batch(state.spec, seed=seed)
    return take_step(state, batch, learning_rate=1e-3, micro_batch_tokens=micro_batch_tokens)


def noise_batch(spec: RunSpec, *, seed: int) -> Batch:
    """A batch of random tokens."""
    shape = (spec.train.batch_tokens // spec.data.seq_len, spec.data.seq_len)
    token_BS = torch.randint(0, spec.vocab_size, shape, generator=torch.Generator().manual_seed(seed))
    return Batch(inputs_BS=token_BS, targets_BS=token_BS)
