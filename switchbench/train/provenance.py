"""Where a number comes from: the machine, the versions and the commit of the code that made it."""

import datetime
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from switchbench import __version__
from switchbench.device import MachineFacts
from switchbench.model.dispatch import choose_backend
from switchbench.spec import Backend, Dispatch, ExecutionSpec, RunSpec, SparseFFNSpec


def provenance(spec: RunSpec, facts: MachineFacts, *, execution: ExecutionSpec) -> dict[str, Any]:
    """Fill the provenance columns of a ``RunRecord``.

    Args:
        spec: The run.
        facts: The machine.
        execution: How the run is executed.
    """
    return {
        **machine_provenance(facts),
        "started_at": now(),
        "threads": execution.threads,
        "runs_per_gpu": execution.runs_per_gpu if facts.device == "cuda" else None,
        "precision": spec.train.precision,
        "dispatch": dispatch_backend(spec, execution.dispatch, device=torch.device(facts.device)),
    }


def machine_provenance(facts: MachineFacts) -> dict[str, str | None]:
    """Fill those provenance columns that are the same for every run on a machine.

    Args:
        facts: The machine.
    """
    return {
        "machine": facts.machine,
        "machine_id": facts.machine_id,
        "device": facts.device,
        "device_name": facts.device_name,
        "allocator": facts.allocator,
        "switchbench_version": __version__,
        "commit": source_commit(),
        "torch_version": facts.torch_version,
        "numpy_version": np.__version__,
        "python_version": platform.python_version(),
    }


def dispatch_backend(spec: RunSpec, choice: Dispatch, *, device: torch.device) -> Backend | None:
    """Name the backend that computes the experts of a run; None for a dense model.

    Args:
        spec: The run.
        choice: What was asked for.
        device: Where it runs.

    Raises:
        UsageError: the backend that was asked for cannot compute this run.
    """
    if not isinstance(spec.model.ffn, SparseFFNSpec):
        return None
    return choose_backend(
        choice,
        device=device,
        dtype=getattr(torch, spec.train.precision),
        d_model=spec.model.d_model,
        d_ff=spec.model.ffn.d_ff,
    )


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@cache
def source_commit() -> str | None:
    """Last Git commit that changed this package's source, with ``-dirty`` where it was changed since.

    Commits that leave the package alone do not count: they change no result. None outside a repository.
    """
    folder = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)

    try:
        if git("ls-files", "--error-unmatch", "__init__.py").returncode != 0:
            return None
        commit = git("log", "-1", "--format=%h", "--abbrev=12", "--", ".").stdout.strip()
        return commit + ("-dirty" if git("diff", "--quiet", "HEAD", "--", ".").returncode != 0 else "")
    except OSError:
        return None
