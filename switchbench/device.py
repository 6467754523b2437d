"""The device a run uses: which it is, what it is called, how much memory a run took, and how fast it multiplies."""

import contextlib
import ctypes
import gc
import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from switchbench.errors import UsageError
from switchbench.machine import allocator_settings, machine_in_words, processor_name


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """What is recorded of the machine."""

    machine_id: str
    """Hash of the other facts: equal machines have equal ids."""
    machine: str
    """Processor, cores and memory, in words."""
    device: str
    """``cpu`` or ``cuda``."""
    device_name: str
    """The processor or GPU."""
    gpu_count: int
    """Visible GPUs."""
    allocator: str | None
    """Allocator settings of this process; None: the defaults."""
    torch_version: str
    """Version of PyTorch."""


def resolve_device(choice: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device.

    Raises:
        UsageError: a GPU was asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if choice == "cuda" and not has_gpu:
        raise UsageError("device 'cuda' was asked for, but PyTorch sees no GPU here; use --device cpu or auto")
    return torch.device("cuda" if choice == "cuda" or (choice == "auto" and has_gpu) else "cpu")


def machine_facts(device: torch.device) -> MachineFacts:
    """Describe this machine and the device in use.

    Args:
        device: From ``resolve_device``.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    machine = machine_in_words()
    return MachineFacts(
        machine_id=hashlib.sha256(f"{machine}/{name}".encode()).hexdigest()[:12],
        machine=machine,
        device=device.type,
        device_name=name,
        gpu_count=torch.cuda.device_count(),
        allocator=allocator_settings(os.environ),
        torch_version=torch.__version__,
    )


def synchronizer(device: torch.device) -> Callable[[], None]:
    """Give the call that waits for the device; on a CPU there is nothing to wait for."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


class MemoryMeter:
    """Measures the peak memory of what happens after it was made.

    On a GPU: the growth of the peak of the allocated bytes over the level at the start. On a CPU: that of the peak
    resident size (pages shared with the parent process count in both, and cancel), less what the pages of mapped files
    have grown by: the library's code and the corpus, which the system shares between processes and drops at will.

    Args:
        device: The device in use.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._level = torch.cuda.memory_allocated(device)
            return
        _return_free_memory()
        _reset_peak_resident()
        self._level = psutil.Process().memory_info().rss
        self._mapped_level = _mapped_file_bytes()

    def peak_bytes(self) -> int:
        """Peak so far."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._level
        mapped = max(_mapped_file_bytes() - self._mapped_level, 0)
        return max(_peak_resident_bytes() - self._level - mapped, 0)


def measure_peak_flops(device: torch.device, *, seconds: float = 0.3) -> float:
    """Measure the rate of a large float32 matmul, in FLOP/s: the roof against which MFU and HFU are taken.

    Args:
        device: The device; on a CPU the current number of threads is used.
        seconds: How long to measure; the best repetition counts.
    """
    width = 8192 if device.type == "cuda" else 1024
    a, b = torch.rand(width, width, device=device), torch.rand(width, width, device=device)
    product = torch.mm(a, b)
    wait = synchronizer(device)
    best = float("inf")
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop:
        wait()
        start = time.perf_counter()
        torch.mm(a, b, out=product)
        wait()
        best = min(best, time.perf_counter() - start)
    return 2 * width**3 / best


def _return_free_memory() -> None:
    """Give freed heap pages back, so that they do not hide what comes next (glibc only)."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak_resident() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_resident_bytes() -> int:
    peak = _status_bytes("VmHWM")
    if peak is not None:
        return peak
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))


def _mapped_file_bytes() -> int:
    """Resident pages of mapped files; 0 where the system does not say."""
    return _status_bytes("RssFile") or 0


def _status_bytes(name: str) -> int | None:
    """A size that Linux tells of this process."""
    try:
        match = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    except OSError:
        return None
    return int(match.group(1)) * 1024 if match else None
