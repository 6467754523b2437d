"""One run: a trunk at constant learning rate, and a cooldown that branches off for every annealed point."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path as FilePath

import numpy as np
import torch

from switchbench.data.batches import Batch, TrainBatches, open_train_batches
from switchbench.data.corpora import PreparedCorpus, read_tokens
from switchbench.device import MemoryMeter, machine_facts, resolve_device
from switchbench.record import Progress, RunResult
from switchbench.spec import AnnealPoint, Dispatch, ExecutionSpec, RunSpec
from switchbench.train.checkpoint import Position, load_checkpoint, save_checkpoint, write_tensors
from switchbench.train.evaluate import Evaluation, evaluate, ffn_rms_ratio, score_dropless
from switchbench.train.history import Path
from switchbench.train.provenance import provenance
from switchbench.train.recorder import Recorder
from switchbench.train.specialization import Tally, start_tally
from switchbench.train.steps import (
    TrainState,
    learning_rate_at,
    restore_state,
    save_state,
    start_training,
    take_step,
)

STEPS_BETWEEN_LOOKS = 16
"""Steps between two looks at the device: the loss is checked and the clock is read no more often than this."""


REPEATED_TEXT_TOKENS = 32768
"""Tokens of repeated text that are scored at an annealed point, where over-fitting is the question; else fewer are."""


class RunStoppedError(Exception):
    """The run was asked to stop, and has kept a checkpoint."""


class _DivergedError(Exception):
    """The nll is not finite any more."""


@dataclass(kw_only=True)
class _Keeper:
    """Keeps a checkpoint of the run, no more often than asked for, and a last one when it is to stop."""

    path: FilePath | None
    every_s: float
    should_stop: Callable[[], bool]
    saved_s: float = field(default_factory=time.monotonic)

    def keep(self, run: "_Run") -> None:
        """Write a checkpoint if it is time; between two steps, with every point of the curve up to here done."""
        if self.should_stop():
            self._save(run)
            raise RunStoppedError
        if time.monotonic() - self.saved_s >= self.every_s:
            self._save(run)

    def _save(self, run: "_Run") -> None:
        if self.path is None:
            return
        try:
            save_checkpoint(self.path, state=run.state, position=run.position, rows=run.recorder.as_json())
        except OSError as error:  # a full disk is no reason to end a run that may yet write its result
            print(f"warning: no checkpoint was written: {error}", flush=True)
        self.saved_s = time.monotonic()


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run under way."""

    state: TrainState
    batches: TrainBatches
    held_out_tokens: np.ndarray
    recorder: Recorder
    position: Position
    keeper: "_Keeper"
    micro_batch_tokens: int | None

    @property
    def spec(self) -> RunSpec:
        return self.state.spec


def train_run(
    spec: RunSpec,
    execution: ExecutionSpec,
    *,
    sweep: str,
    corpus: PreparedCorpus,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Train one run to its end, or until it diverges or runs out of memory: both are results, recorded as such.

    Args:
        spec: The run.
        execution: Device, threads, and the file for the final weights.
        sweep: Name of the sweep, for the rows.
        corpus: The run's corpus.
        on_progress: Called every few steps.
        should_stop: Asked every few steps.

    Returns:
        The rows. On one machine, with the same number of CPU threads, equal runs give equal nll to the bit.

    Raises:
        UsageError: the device is not there.
        RunStoppedError: the run was asked to stop; it goes on from its checkpoint the next time.
    """
    device = resolve_device(execution.device)
    torch.set_num_threads(execution.threads)
    facts = machine_facts(device)
    touch_library(spec, device=device, dispatch=execution.dispatch)
    recorder = Recorder(
        spec=spec,
        sweep=sweep,
        corpus=corpus,
        provenance=provenance(spec, facts, execution=execution),
        meter=MemoryMeter(device),
        on_progress=on_progress,
        micro_batch_tokens=execution.micro_batch_tokens,
    )
    unfinished = None if execution.unfinished is None else FilePath(execution.unfinished)
    keeper = _Keeper(path=unfinished, every_s=execution.checkpoint_every_s, should_stop=should_stop)
    try:
        run = _Run(
            state=start_training(spec, device=device, dispatch=execution.dispatch),
            batches=open_train_batches(spec, corpus=corpus),
            held_out_tokens=read_tokens(corpus.held_out_tokens_path, vocab_size=corpus.vocab_size),
            recorder=recorder,
            position=Position(),
            keeper=keeper,
            micro_batch_tokens=execution.micro_batch_tokens,
        )
        if keeper.path is not None:
            _continue(run, keeper.path)
        _train(run)
        if execution.checkpoint is not None:
            save_weights(run.state, FilePath(execution.checkpoint))
    except _DivergedError as error:
        recorder.add_failure("diverged", reason=str(error))
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        recorder.add_failure("oom", reason=f"out of memory on {facts.device_name}: {error}")
    return recorder.result


def save_weights(state: TrainState, path: FilePath) -> None:
    """Write the weights as safetensors, atomically, with the run's id and specification in the header.

    Args:
        state: The trained model.
        path: The file; its folder must exist.
    """
    header = {"run_id": state.spec.run_id, "spec": state.spec.model_dump_json()}
    write_tensors(state.model.state_dict(), path, header=header)


def touch_library(spec: RunSpec, *, device: torch.device, dispatch: Dispatch) -> None:
    """Take a step of a toy of the same kind, so that the library's code and buffers are no part of the run's memory.

    Args:
        spec: The run.
        device: Where it is to live.
        dispatch: How experts are computed.
    """
    ffn = spec.model.ffn.model_copy(update={"d_ff": 8})
    shape = {"d_model": 8, "num_layers": spec.model.num_layers, "num_heads": 1, "d_head": 8}
    toy = spec.model.model_copy(update=shape | {"ffn": ffn})
    state = start_training(spec.model_copy(update={"model": toy}), device=device, dispatch=dispatch)
    token_BS = torch.zeros(spec.train.batch_tokens // spec.data.seq_len, spec.data.seq_len, dtype=torch.int64)
    take_step(state, Batch(inputs_BS=token_BS, targets_BS=token_BS), learning_rate=0.0)


def _continue(run: _Run, path: FilePath) -> None:
    """Go to where an earlier process left the run, if one did."""
    earlier = load_checkpoint(path, state=run.state)
    if earlier is None:
        return
    for name, value in vars(earlier.position).items():
        setattr(run.position, name, value)
    run.recorder.continue_from(earlier.rows)
    here = run.position.cooldown or run.position.trunk
    print(f"continued from step {here.step} of {run.spec.train.num_steps}", flush=True)


def _train(run: _Run) -> None:
    """Go along the trunk; at every annealed point branch off, cool down, record, and come back."""
    position = run.position
    if not run.recorder.result.steps:
        first_inputs_BS = run.batches.batch(0).inputs_BS.to(run.state.device)
        run.recorder.ffn_rms_ratio_at_init = ffn_rms_ratio(run.state.model, first_inputs_BS)
        _chart(run, position.trunk, point=None)
    points = run.spec.train.anneal_points
    for point in points[position.point_index :]:
        if position.cooldown is None:
            _advance(run, position.trunk, until=point.branch_step)
            if point is not points[-1]:
                run.recorder.freeze_peak_memory()
                position.trunk_state = save_state(run.state)
            position.cooldown = position.trunk.branch()
        _cool_down(run, position.cooldown, point=point)
        if position.trunk_state is not None:
            restore_state(run.state, position.trunk_state)
        position.cooldown = position.trunk_state = None
        position.point_index += 1


def _advance(run: _Run, trunk: Path, *, until: int) -> None:
    """Go along the trunk, with the regular points of the curve."""
    for step in _regular_steps(run, after=trunk.step, before=until + 1):
        _take_steps(run, trunk, until=step, point=None)
        _chart(run, trunk, point=None)
    _take_steps(run, trunk, until=until, point=None)


def _cool_down(run: _Run, path: Path, *, point: AnnealPoint) -> None:
    """Go along a cooldown to its annealed point; the last one continues the curve's regular points."""
    if point.fraction == 1.0:
        for step in _regular_steps(run, after=path.step, before=point.end_step):
            _take_steps(run, path, until=step, point=point)
            _chart(run, path, point=point)
    _take_steps(run, path, until=point.end_step, point=point)
    tally = None
    if point.fraction == 1.0:
        run.recorder.freeze_peak_memory()  # what counts tokens is no part of training
        tally = start_tally(run.spec, corpus=run.recorder.corpus, device=run.state.device)
    evaluation = _evaluate(run, max_tokens=None, tally=tally)
    run.recorder.add_point(path, evaluation, point=point, is_annealed=True)
    run.recorder.add_annealed_row(
        path,
        evaluation,
        point=point,
        train_text_nll=_score_seen_text(run, steps=path.step),
        specialization={} if tally is None else tally.columns(),
    )


def _regular_steps(run: _Run, *, after: int, before: int) -> list[int]:
    """Steps of the regular points of the curve within a stretch, both ends excluded."""
    train = run.spec.train
    steps = {round(i * train.num_steps / train.eval_points) for i in range(1, train.eval_points)}
    return sorted(step for step in steps if after < step < before)


def _take_steps(run: _Run, path: Path, *, until: int, point: AnnealPoint | None) -> None:
    """Take steps, with a look at the device every few."""
    micro_batch_tokens = run.micro_batch_tokens
    num_micro_batches = 1 if micro_batch_tokens is None else run.spec.train.batch_tokens // micro_batch_tokens
    while path.step < until:
        run.keeper.keep(run)
        start_s, first = time.perf_counter(), path.step
        num_steps = min(until - first, STEPS_BETWEEN_LOOKS)
        # Nothing that a step made is to outlive it: it would lie between what was large, and keep the allocator from
        # using that place whole for the next step.
        nlls_on_device, norms_on_device = run.state.model.embedding.new_empty(2, num_steps).unbind()
        for step in range(first, first + num_steps):
            rate = learning_rate_at(run.spec.train, step=step, point=point)
            batch = run.batches.batch(step)
            outcome = take_step(run.state, batch, learning_rate=rate, micro_batch_tokens=micro_batch_tokens)
            path.add_routings(
                outcome.routings,
                seq_len=run.spec.data.seq_len,
                backend=run.recorder.provenance["dispatch"],
                num_micro_batches=num_micro_batches,
            )
            nlls_on_device[step - first] = outcome.nll
            norms_on_device[step - first] = outcome.gradient_norm
            del outcome
        nlls = nlls_on_device.tolist()  # waits for the device
        norms = norms_on_device.tolist()
        path.add_steps(nlls, gradient_norms=norms, time_s=time.perf_counter() - start_s)
        run.recorder.note_steps(len(nlls), nll=nlls[-1])
        for step, nll in enumerate(nlls, start=first):
            if not math.isfinite(nll):
                raise _DivergedError(f"the training nll was {nll} at step {step} of {run.spec.train.num_steps}")


def _chart(run: _Run, path: Path, *, point: AnnealPoint | None) -> None:
    """Add a regular point to the curve."""
    evaluation = _evaluate(run, max_tokens=run.spec.train.regular_eval_tokens)
    run.recorder.add_point(path, evaluation, point=point, is_annealed=False)


def _evaluate(run: _Run, *, max_tokens: int | None, tally: Tally | None = None) -> Evaluation:
    """Evaluate, with its time kept apart from training; a nll that is not finite ends the run."""
    start_s = time.perf_counter()
    evaluation = evaluate(
        run.state.model,
        run.held_out_tokens,
        spec=run.spec,
        max_tokens=max_tokens,
        batch_tokens=run.micro_batch_tokens,
        tally=tally,
    )
    run.recorder.note_evaluation(evaluation, time_s=time.perf_counter() - start_s)
    for nll in (evaluation.nll, evaluation.nll_capacity):
        if nll is not None and not math.isfinite(nll):
            raise _DivergedError(f"the held-out nll was {nll}")
    return evaluation


def _score_seen_text(run: _Run, *, steps: int) -> float | None:
    """Score batches that were trained on, spread evenly over the steps, as the held-out text is scored."""
    start_s = time.perf_counter()
    train = run.spec.train
    wanted = train.regular_eval_tokens if run.spec.data.repeat is None else REPEATED_TEXT_TOKENS
    count = min(steps, max(1, wanted // train.batch_tokens))
    batches = (run.batches.batch(index * steps // count) for index in range(count))
    nll = score_dropless(run.state.model, batches, spec=run.spec, batch_tokens=run.micro_batch_tokens)
    run.recorder.eval_time_s += time.perf_counter() - start_s
    return nll


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
