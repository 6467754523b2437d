"""Bytes of the tensors that are alive during a piece of work, as PyTorch's profiler sees its allocator."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile


def peak_growth(work: Callable[[], Any], *, folder: Path) -> int:
    """The most bytes that were taken and not yet given back during some work.

    Args:
        work: What to do.
        folder: Takes the profiler's trace.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    path = folder / "trace.json"
    profiler.export_chrome_trace(str(path))
    events = [event for event in json.loads(path.read_text())["traceEvents"] if event["name"] == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        alive += event["args"]["Bytes"]
        peak = max(peak, alive)
    return peak
