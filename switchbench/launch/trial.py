"""A trial of a shape: real steps and a real evaluation, on random tokens and with fresh weights, for an estimate.

What is timed is what the training loop does in a step, its routing statistics included. Trials run side by side, as the
runs will; each goes on while the others are measured, so that all share the machine all the time.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from switchbench.data.batches import TrainBatches
from switchbench.data.tokenizers import token_dtype
from switchbench.device import resolve_device, synchronizer
from switchbench.launch.messages import StepTimes
from switchbench.spec import ExecutionSpec, RunSpec
from switchbench.train.evaluate import evaluate, ffn_rms_ratio
from switchbench.train.history import Path
from switchbench.train.provenance import dispatch_backend
from switchbench.train.run import touch_library
from switchbench.train.steps import start_training, take_step

WARM_UP_S, MAX_WARM_UP_STEPS = 0.2, 10
"""Steps before the measured ones: one at least, then until the time or the number is reached."""
STEPS_S, MIN_STEPS = 0.5, 3
"""Measured steps: at least so many, then until the time is reached."""
EVALUATIONS_S, MIN_EVALUATIONS = 0.15, 2
"""Measured evaluations, likewise."""
STREAM_BATCHES = 4
"""Length of the random text."""


class Trial:
    """A model of a shape in training.

    Args:
        shape: From ``shape_of``.
        execution: Device, threads and dispatch.
        start_time_s: Time that the process has taken so far.
        workers: Trials side by side.
    """

    def __init__(self, shape: RunSpec, execution: ExecutionSpec, *, start_time_s: float, workers: int) -> None:
        self._spec, self._workers = shape, workers
        self._device = resolve_device(execution.device)
        self._threads = execution.threads
        self._wait = synchronizer(self._device)
        torch.set_num_threads(execution.threads)
        began = time.perf_counter()
        touch_library(shape, device=self._device, dispatch=execution.dispatch)
        self._wait()
        self._start_time_s = start_time_s + time.perf_counter() - began
        batch, vocab_size = shape.train.batch_tokens, shape.vocab_size
        tokens = np.random.default_rng(0).integers(vocab_size, size=STREAM_BATCHES * batch + 1)
        self._tokens = tokens.astype(token_dtype(vocab_size))
        began = time.perf_counter()
        self._state = start_training(shape, device=self._device, dispatch=execution.dispatch)
        self._batches = TrainBatches(self._tokens, seq_len=shape.data.seq_len, batch_tokens=batch, seed=0)
        ffn_rms_ratio(self._state.model, self._batches.batch(0).inputs_BS.to(self._device))
        self._wait()
        self._build_time_s = time.perf_counter() - began
        self._backend = dispatch_backend(shape, execution.dispatch, device=self._device)
        self._path = Path()
        self._first_steps_s = self._repeat(self.step, seconds=WARM_UP_S, at_least=1, at_most=MAX_WARM_UP_STEPS)

    def step(self) -> None:
        """Take a step; the weights stay what they are."""
        outcome = take_step(self._state, self._batches.batch(self._path.step), learning_rate=0.0)
        self._path.add_routings(outcome.routings, seq_len=self._spec.data.seq_len, backend=self._backend)
        self._path.add_steps([float(outcome.nll)], gradient_norms=[float(outcome.gradient_norm)], time_s=0.0)

    def measure(self) -> StepTimes:
        """Measure steps and evaluations."""
        cpu_start_s, start_s = time.process_time(), time.perf_counter()
        steps_s = self._repeat(self.step, seconds=STEPS_S, at_least=MIN_STEPS)
        evaluations_s = self._repeat(self._evaluate, seconds=EVALUATIONS_S, at_least=MIN_EVALUATIONS)
        wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - cpu_start_s
        step_time_s = statistics.median(steps_s)
        excess_s = sum(self._first_steps_s) - len(self._first_steps_s) * step_time_s
        return StepTimes(
            step_time_s=step_time_s,
            eval_time_per_token_s=statistics.median(evaluations_s) / self._spec.train.batch_tokens,
            build_time_s=self._build_time_s + max(excess_s, 0.0),
            start_time_s=self._start_time_s,
            cpu_share=cpu_s / (wall_s * self._threads) if self._device.type == "cpu" else None,
            device="cuda" if self._device.type == "cuda" else "cpu",
            workers=self._workers,
            measured_at_s=time.time(),
        )

    def _evaluate(self) -> None:
        evaluate(self._state.model, self._tokens, spec=self._spec, max_tokens=self._spec.train.batch_tokens)

    def _repeat(
        self, action: Callable[[], None], *, seconds: float, at_least: int, at_most: int = 10**6
    ) -> list[float]:
        times_s: list[float] = []
        while len(times_s) < at_least or (sum(times_s) < seconds and len(times_s) < at_most):
            start_s = time.perf_counter()
            action()
            self._wait()
            times_s.append(time.perf_counter() - start_s)
        return times_s
