"""The machine, as far as it can be described without PyTorch: processor, cores, memory, allocator settings."""

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import psutil

ALLOCATOR_VARIABLES = (
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "GLIBC_TUNABLES",
    "MKL_DISABLE_FAST_MM",
    "LRU_CACHE_CAPACITY",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
    "THP_MEM_ALLOC_ENABLE",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ALLOC_CONF",
)
"""Environment variables that change how memory is allocated, and with it the step time."""


def machine_in_words() -> str:
    """Processor, cores, memory and system."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    memory_gib = round(psutil.virtual_memory().total / 2**30)
    return f"{processor_name()}, {cores} cores, {memory_gib} GiB, {platform.system()} {platform.machine()}"


def processor_name() -> str:
    """Name of the processor, as the system tells it."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    except OSError:
        match = None
    return match.group(1).strip() if match else platform.processor() or platform.machine()


def allocator_settings(environment: Mapping[str, str]) -> str | None:
    """Give the allocator settings of an environment as one text; None: the defaults.

    Args:
        environment: Variables of a process.
    """
    settings = [f"{key}={environment[key]}" for key in ALLOCATOR_VARIABLES if key in environment]
    return " ".join(settings) or None
