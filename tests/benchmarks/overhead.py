"""What a sweep takes beyond its runs; run with `python -m tests.benchmarks.overhead`, prints one JSON object.

The runs are stand-ins that sleep, in real processes forked from the real server (with torch, as for real runs), so that
the numbers hold on a machine that is busy with other things, too. Then a few real, tiny runs: what the scheduler counts
for each beyond the time that its process says the run took.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from switchbench.launch.events import Event, RunEnded, RunStarted, SweepStarted
from switchbench.launch.plan import Plan, expand_sweep, make_plan
from switchbench.launch.preparation import WorkerFunctions
from switchbench.launch.run import run_plan
from switchbench.launch.slots import Setup
from switchbench.store import SweepFolder, read_runs
from tests.benchmarks.sleepers import SECONDS_VARIABLE
from tests.launch.text import write_sweep


def plan_of(folder: Path, *, runs: int, results: str) -> Plan:
    """Plan that many runs of one configuration, on a tiny corpus."""
    if not (folder / "small.yaml").exists():
        write_sweep(folder / "small.yaml", corpus=folder / "corpus")
    words = [f"sweep.seeds={list(range(runs))}", "sweep.baselines=[]", "sweep.grid={model.ffn.num_experts: [2]}"]
    sweep = expand_sweep(folder / "small.yaml", overrides=words)
    return make_plan(sweep, folder=SweepFolder(folder / results))


def measure_sleepers(folder: Path, *, runs: int, seconds: float) -> dict[str, float]:
    """Run a sweep of stand-ins: time between two runs of a worker, and the overhead of the whole sweep."""
    os.environ[SECONDS_VARIABLE] = str(seconds)
    plan = plan_of(folder, runs=runs, results="sleepers")
    heard: list[tuple[float, Event]] = []
    functions = WorkerFunctions(run="tests.benchmarks.sleepers:sleep", time="tests.benchmarks.sleepers:time_nothing")
    run_plan(
        plan,
        on_event=lambda event: heard.append((time.monotonic(), event)),
        is_timed=False,
        cache_root=folder / "cache",
        functions=functions,
    )
    notes = [json.loads(plan.folder.log_path(cell.spec.run_id).read_text(encoding="ascii")) for cell in plan.cells]
    by_slot: dict[str, list[dict[str, float]]] = defaultdict(list)
    for note in sorted(notes, key=lambda note: note["begin_s"]):
        by_slot[note["slot"]].append(note)
    pauses_s = [after["begin_s"] - before["end_s"] for slot in by_slot.values() for before, after in pairwise(slot)]
    (start_s,) = (when_s for when_s, event in heard if isinstance(event, SweepStarted))
    first_s = min(when_s for when_s, event in heard if isinstance(event, RunStarted))
    end_s = max(when_s for when_s, event in heard if isinstance(event, RunEnded))
    trained_s = sum(note["end_s"] - note["begin_s"] for note in notes)
    ideal_s = trained_s / len(by_slot)
    return {
        "runs": len(notes),
        "workers": len(by_slot),
        "seconds_per_run": trained_s / len(notes),
        "server_s": min(note["begin_s"] for note in notes) - first_s,
        "pause_median_s": statistics.median(pauses_s),
        "pause_max_s": max(pauses_s),
        "sweep_s": end_s - start_s,
        "overhead": (end_s - min(note["begin_s"] for note in notes)) / ideal_s - 1,
        "overhead_with_server": (end_s - start_s) / ideal_s - 1,
    }


def measure_real_runs(folder: Path, *, runs: int) -> dict[str, float]:
    """Train tiny runs: what each takes beyond what its process says it took, from its start to its row."""
    plan = plan_of(folder, runs=runs, results="real")
    heard: list[RunEnded] = []

    def listen(event: Event) -> None:
        if isinstance(event, RunEnded):
            heard.append(event)

    run_plan(plan, on_event=listen, setup=Setup(workers=1), is_timed=False, cache_root=folder / "cache")
    taken_s = {row.run_id: row.run_time_s for row in read_runs(plan.folder) if row.parent_run_id is None}
    beyond_s = [end.seconds - (taken_s[end.cell.spec.run_id] or 0.0) for end in heard[1:]]
    return {"runs": len(heard), "beyond_median_s": statistics.median(beyond_s), "beyond_max_s": max(beyond_s)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        content = {
            "sleepers": measure_sleepers(Path(name), runs=arguments.runs, seconds=arguments.seconds),
            "real": measure_real_runs(Path(name), runs=10),
        }
    json.dump({**content, "load_average_before": load_before, "load_average_after": os.getloadavg()}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
