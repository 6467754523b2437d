"""Step times that were measured for estimates, kept per machine and shape: ``<cache root>/step-times/<machine>/``.

A shape is everything of a run that decides how long a step takes: not its seed, learning rate or number of tokens. The
machine here is more than its hardware: whatever else decides the time is part of its key, such as the runs side by side
(which share caches and memory bandwidth), the allocator's settings and the code that is timed.

The step times of a sweep's own timing pass do not serve here: they are those of a run that is alone on the machine.
"""

import functools
import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from switchbench.data.cache import default_cache_root
from switchbench.errors import ResultsFolderError
from switchbench.launch.forkserver import DEFAULT_ENVIRONMENT
from switchbench.launch.messages import STEP_TIMES_SCHEMA, StepTimes
from switchbench.launch.slots import Setup, resolve_workers, usable_cores
from switchbench.machine import allocator_settings, machine_in_words
from switchbench.spec import DataSpec, RunSpec, SparseFFNSpec, TrainSpec
from switchbench.store import write_atomically

BUSY_SHARE = 0.9
"""Share of its cores below which a measurement shared them with something else."""
BUSY_LIFETIME_S = 3600.0
"""How long such a measurement is used; others are used until something in their key changes."""
TIMED_CODE = ("model/*.py", "data/batches.py", "train/steps.py", "train/history.py", "train/evaluate.py")
"""Source files whose change makes every measurement a new one."""


def shape_of(spec: RunSpec) -> RunSpec:
    """Give the run that stands for all runs of one shape: they differ in what does not decide the time of a step.

    Its ``config_id`` is the identity of the shape.

    Args:
        spec: A run.
    """
    ffn = spec.model.ffn
    if isinstance(ffn, SparseFFNSpec):
        fields = SparseFFNSpec.model_fields
        ffn = ffn.model_copy(update={name: fields[name].default for name in ("router_init_scale", "balance_bias_rate")})
    train = TrainSpec(
        tokens=100 * spec.train.batch_tokens, batch_tokens=spec.train.batch_tokens, precision=spec.train.precision
    )
    return RunSpec(
        data=DataSpec(seq_len=spec.data.seq_len),
        model=spec.model.model_copy(update={"size": None, "init_scale": 1.0, "ffn": ffn}),
        train=train,
        vocab_size=spec.vocab_size,
        data_fingerprint="0" * 12,
    )


def read_step_times(shapes: Iterable[RunSpec], *, setup: Setup, cache_root: Path | None) -> dict[str, StepTimes]:
    """Read what is kept of shapes, by their ``config_id``; a file that is corrupt or older counts as missing.

    Args:
        shapes: From ``shape_of``.
        setup: How the runs are to be executed.
        cache_root: Where it is kept; None: the default place.
    """
    folder = _folder(setup, cache_root=cache_root)
    known = {}
    for shape in shapes:
        shape_id = shape.config_id
        with suppress(OSError, ValidationError):
            times = StepTimes.model_validate_json((folder / f"{shape_id}.json").read_bytes())
            if _is_usable(times):
                known[shape_id] = times
    return known


def keep_step_times(shape: RunSpec, times: StepTimes, *, setup: Setup, cache_root: Path | None) -> None:
    """Keep what was measured; where that is not possible the next command measures again.

    Args:
        shape: From ``shape_of``.
        times: What was measured.
        setup: How the runs are to be executed.
        cache_root: Where it is kept; None: the default place.
    """
    folder = _folder(setup, cache_root=cache_root)
    with suppress(OSError, ResultsFolderError):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{shape.config_id}.json", times.model_dump_json(indent=1).encode())


def _is_usable(times: StepTimes) -> bool:
    """Whether a measurement may still be used: one of a busy machine is not for long."""
    is_busy = times.cpu_share is not None and times.cpu_share < BUSY_SHARE
    return not is_busy or 0 <= time.time() - times.measured_at_s < BUSY_LIFETIME_S


def _folder(setup: Setup, *, cache_root: Path | None) -> Path:
    return (cache_root or default_cache_root()) / "step-times" / _machine_key(setup)


def _machine_key(setup: Setup) -> str:
    """Hash of what decides the step time beside the shape; known without PyTorch."""
    facts = {
        "schema": STEP_TIMES_SCHEMA,
        "machine": machine_in_words(),
        "cores": len(usable_cores()),
        "torch": metadata.version("torch"),
        "code": _code_digest(),
        "device": setup.device,
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "threads": setup.threads,
        "workers": resolve_workers(setup.workers, threads=setup.threads),
        "dispatch": setup.dispatch,
        "allocator": allocator_settings(DEFAULT_ENVIRONMENT | dict(os.environ)),
    }
    return _digest(json.dumps(facts, sort_keys=True).encode())


@functools.cache
def _code_digest() -> str:
    package = Path(__file__).resolve().parents[1]
    files = sorted(path for pattern in TIMED_CODE for path in package.glob(pattern))
    return _digest(b"".join(path.read_bytes() for path in files))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
