"""The exclusive timing pass: step times per configuration, alone on the machine, with trained weights and real batches.

Configurations are interleaved in rounds, so that a drift of the machine meets all of them alike. Within a round each
takes a few steps in a row, the first of them unmeasured, so that its own weights are in the caches as in training. The
CPU time of the measured steps is kept beside their wall-clock: it tells whether the machine really was free.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from switchbench.cost import computed_share, count_parameters, count_train_flops
from switchbench.data.batches import TrainBatches, open_train_batches
from switchbench.data.corpora import open_prepared_corpus
from switchbench.device import MachineFacts, machine_facts, measure_peak_flops, resolve_device, synchronizer
from switchbench.launch.messages import TimingItem
from switchbench.launch.rounds import FIRST_WARM_UP, ROUNDS, STEPS_PER_ROUND, WARM_UP
from switchbench.model.dispatch import computed_slots
from switchbench.record import TimingRecord
from switchbench.spec import Backend, ExecutionSpec, RunSpec
from switchbench.timing import Stopwatch, summarize
from switchbench.train.provenance import dispatch_backend, now, source_commit
from switchbench.train.steps import TrainState, learning_rate_at, start_training, take_step

LIVE_BYTES = 2 * 2**30
"""Weights, gradients and optimizer states that are kept in memory at once; larger sets of configurations are cut."""


@dataclass(kw_only=True)
class _Timed:
    """A configuration under measurement."""

    item: TimingItem
    state: TrainState
    batches: TrainBatches
    stopwatch: Stopwatch
    backend: Backend | None
    trained_weights: bool
    step: int
    computed: int = 0
    steps: int = 0
    cpu_time_s: float = 0.0


def measure_configurations(
    items: list[TimingItem],
    execution: ExecutionSpec,
    *,
    sweep: str,
    cache_root: Path | None,
    on_progress: Callable[[float], None],
) -> list[TimingRecord]:
    """Measure the step time of each configuration.

    Args:
        items: The configurations.
        execution: Device, threads and cores, as in the runs.
        sweep: Name of the sweep.
        cache_root: Folder of prepared corpora; None: the default.
        on_progress: Called with the share of the work that is done.

    Returns:
        One record per configuration, in the order given.
    """
    device = resolve_device(execution.device)
    torch.set_num_threads(execution.threads)
    facts = machine_facts(device)
    peak_flops = measure_peak_flops(device)
    records: list[TimingRecord] = []
    for group in _groups(items):
        timed = [_prepare(item, execution, device=device, cache_root=cache_root) for item in group]
        for round_index in range(ROUNDS):
            for index, one in enumerate(timed):
                _measure_round(one)
                done = len(records) + len(group) * (round_index + (index + 1) / len(group)) / ROUNDS
                on_progress(done / len(items))
        for one in timed:
            record = _summarize(one, execution, sweep=sweep, facts=facts, peak_flops=peak_flops)
            print(f"{record.config_id}: {record.step_time_s * 1e3:.2f} ms a step", flush=True)
            records.append(record)
    return records


def _groups(items: list[TimingItem]) -> list[list[TimingItem]]:
    """Cut the configurations so that the states of a group fit in memory; a very large one is alone."""
    groups: list[list[TimingItem]] = []
    room = 0
    for item in items:
        parameters = count_parameters(item.spec.model, vocab_size=item.spec.vocab_size)
        state_bytes = 16 * parameters.total  # float32 weights, gradients and two moments
        if not groups or state_bytes > room:
            groups.append([])
            room = LIVE_BYTES
        groups[-1].append(item)
        room -= state_bytes
    return groups


def _prepare(item: TimingItem, execution: ExecutionSpec, *, device: torch.device, cache_root: Path | None) -> _Timed:
    spec = item.spec
    state = start_training(spec, device=device, dispatch=execution.dispatch)
    has_weights = item.checkpoint is not None and Path(item.checkpoint).exists()
    if has_weights and item.checkpoint is not None:
        state.model.load_state_dict(load_file(item.checkpoint, device=str(device)))
    corpus = open_prepared_corpus(spec.data_fingerprint, cache_root=cache_root)
    batches = open_train_batches(spec, corpus=corpus)
    return _Timed(
        item=item,
        state=state,
        batches=batches,
        stopwatch=Stopwatch(synchronizer(device)),
        backend=dispatch_backend(spec, execution.dispatch, device=device),
        trained_weights=has_weights,
        step=spec.train.num_steps,
    )


def _measure_round(one: _Timed) -> None:
    """Take a round's steps, at the learning rate that the run ended with: the weights stay what they are."""
    spec, watch = one.item.spec, one.stopwatch
    last_rate = learning_rate_at(spec.train, step=spec.train.num_steps - 1, point=spec.train.anneal_points[-1])
    warm_up = WARM_UP if one.steps else FIRST_WARM_UP
    for index in range(warm_up + STEPS_PER_ROUND):
        keep = index >= warm_up
        cpu_start_s = time.process_time()  # of all threads
        with watch.part("step", keep=keep):
            with watch.part("batch", keep=keep):
                batch = one.batches.batch(one.step)
            outcome = take_step(one.state, batch, learning_rate=last_rate, part=partial(watch.part, keep=keep))
        if keep:
            one.cpu_time_s += time.process_time() - cpu_start_s
        one.step += 1
        one.computed += sum(computed_slots(routing, backend=one.backend or "loop") for routing in outcome.routings)
        one.steps += 1


def _summarize(
    one: _Timed, execution: ExecutionSpec, *, sweep: str, facts: MachineFacts, peak_flops: float
) -> TimingRecord:
    spec: RunSpec = one.item.spec
    step = summarize(one.stopwatch.times_s["step"])
    parts = {name: summarize(times_s).median_s for name, times_s in one.stopwatch.times_s.items()}
    share = computed_share(spec, computed_slots=one.computed, num_steps=one.steps)
    flops = count_train_flops(spec, num_steps=1, computed_share=share)
    return TimingRecord(
        sweep=sweep,
        config_id=spec.config_id,
        run_id=spec.run_id,
        machine_id=facts.machine_id,
        machine=facts.machine,
        device=facts.device,
        device_name=facts.device_name,
        threads=execution.threads,
        dispatch=one.backend,
        allocator=facts.allocator,
        torch_version=facts.torch_version,
        commit=source_commit(),
        trained_weights=one.trained_weights,
        timed_at=now(),
        num_steps=step.count,
        step_time_s=step.median_s,
        step_time_q25_s=step.q25_s,
        step_time_q75_s=step.q75_s,
        batch_time_s=parts["batch"],
        forward_time_s=parts["forward"],
        backward_time_s=parts["backward"],
        optimizer_time_s=parts["optimizer"],
        cpu_share=(
            one.cpu_time_s / (sum(one.stopwatch.times_s["step"]) * execution.threads) if facts.device == "cpu" else None
        ),
        tokens_per_second=spec.train.batch_tokens / step.median_s,
        peak_flops_per_second=peak_flops,
        mfu=flops.useful / step.median_s / peak_flops,
        hfu=flops.executed / step.median_s / peak_flops,
    )
