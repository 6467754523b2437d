"""Where a number comes from: the machine, the versions and the commit of the code that made it."""

import datetime
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from switchbench import __version__
from switchbench.device import MachineFacts
from switchbench.spec import RunSpec, SparseFFNSpec


def provenance(spec: RunSpec, facts: MachineFacts, *, threads: int) -> dict[str, Any]:
    """Fill the provenance columns of a ``RunRecord``.

    Args:
        spec: The run.
        facts: The machine.
        threads: CPU threads of the run.
    """
    return {
        "started_at": now(),
        "machine": facts.machine,
        "machine_id": facts.machine_id,
        "device": facts.device,
        "device_name": facts.device_name,
        "threads": threads,
        "precision": "float32",
        "dispatch": dispatch_backend(spec),
        "allocator": facts.allocator,
        "switchbench_version": __version__,
        "commit": source_commit(),
        "torch_version": facts.torch_version,
        "numpy_version": np.__version__,
        "python_version": platform.python_version(),
    }


def dispatch_backend(spec: RunSpec) -> str | None:
    """Name the backend that computes the experts; None for a dense model."""
    return "loop" if isinstance(spec.model.ffn, SparseFFNSpec) else None


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
