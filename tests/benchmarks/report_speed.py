"""How long a report of many runs takes and how much memory; run with `nox -s report-speed`, on a quiet machine.

The results are made up and written with the store's own writers, a Parquet file per run and per curve, before anything
is timed. Each report is a process of its own, with its interpreter and its imports: wall-clock and processor seconds,
and the peak of its resident memory. The first report of a sweep also fits its law of loss, and stores it.
"""

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from switchbench.record import RunRecord
from switchbench.spec import RunSpec
from switchbench.store import Manifest, ManifestCell, SweepFolder, write_manifest, write_run, write_timing
from tests.factories import make_runs, make_spec, make_steps, make_timing, with_seed

SEEDS = 4
EVALUATIONS = 30
"""Points of each curve."""
LIMITS = {(1000, "terminal"): "5 s", (1000, "html"): "20 s", (10000, "terminal"): "2 GB", (10000, "html"): "2 GB"}


def configurations(number: int) -> list[RunSpec]:
    """Dense models of three sizes at several learning rates, each with sparse models of it."""
    specs: list[RunSpec] = []
    place = 0
    while len(specs) < number:
        size, train = ("xxs", "xs", "s")[place % 3], {"learning_rate": 1e-4 * (1 + place // 3)}
        place += 1
        specs.append(make_spec(size=size, train=train))
        specs += [
            make_spec(num_experts=experts, capacity_factor=factor, size=size, train=train)
            for experts in (2, 4, 8, 16)
            for factor in (1.0, 1.25, 2.0)
        ]
    return specs[:number]


def quality(spec: RunSpec) -> list[float]:
    """An nll that falls with the experts and has its best learning rate, with the noise of a seed."""
    experts = getattr(spec.model.ffn, "num_experts", 1)
    noise = 0.01 * math.sin(1e6 * spec.train.learning_rate + 7 * spec.seed + experts)
    end = (
        {"xxs": 1.7, "xs": 1.6, "s": 1.5}[spec.model.size]
        - 0.03 * math.log2(experts)
        + abs(spec.train.learning_rate - 5e-3)
        + noise
    )
    return [end + 0.3, end + 0.1, end]


def write_results(root: Path, *, runs: int) -> None:
    """Write a sweep with so many runs, and their curves."""
    folder = SweepFolder(root / "capacity")
    folder.create()
    cells: list[ManifestCell] = []
    specs = configurations(-(-runs // SEEDS))
    for spec in specs:
        is_sparse = spec.model.ffn.kind == "sparse"
        size, rate = spec.model.size, spec.train.learning_rate
        served = () if is_sparse else tuple(
            each.config_id for each in specs
            if each.model.ffn.kind == "sparse" and (each.model.size, each.train.learning_rate) == (size, rate)
        )  # fmt: skip
        for seed in range(SEEDS):
            seeded = with_seed(spec, seed)
            rows: list[RunRecord] = make_runs(seeded, nll=quality(seeded))
            steps = make_steps(seeded, nll=[4 - 0.05 * i for i in range(EVALUATIONS)])
            write_run(folder, runs=rows, steps=steps, spec=seeded)
            cells.append(
                ManifestCell(
                    run_id=seeded.run_id,
                    config_id=seeded.config_id,
                    seed=seed,
                    role=spec.model.ffn.kind,
                    twin_of=served,
                    twins={"iso_flop": served} if served else {},
                    settings={"model.size": size, "train.learning_rate": rate, "seed": seed},
                    spec=seeded.model_dump(mode="json"),
                )
            )
        write_timing(folder, make_timing(spec, step_time_s=0.02 + 0.001 * getattr(spec.model.ffn, "num_experts", 1)))
    manifest = Manifest(
        sweep="capacity",
        question="How long does a report of many runs take?",
        file="capacity.yaml",
        command="switchbench sweep capacity.yaml",
        axes=("model.size", "train.learning_rate"),
        created_at="2026-01-01T00:00:00+00:00",
        cells=tuple(cells),
    )
    write_manifest(folder, manifest)


def measure(results: Path, *, format_: str) -> str:
    """Report once, in a process of its own; give what it took, in words."""
    command = [sys.executable, "-m", "switchbench", "report", str(results), "--format", format_]
    start = time.perf_counter()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    child = os.posix_spawn(sys.executable, command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, nowhere, 1)])
    _, status, usage = os.wait4(child, 0)
    os.close(nowhere)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    unit = 1 if sys.platform == "darwin" else 1024
    peak = usage.ru_maxrss * unit / 2**20
    return f"{wall:6.1f} s wall-clock, {usage.ru_utime + usage.ru_stime:6.1f} s of a core, peak {peak:5.0f} MiB"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--formats", nargs="+", choices=["terminal", "html"], default=["terminal", "html"])
    chosen = parser.parse_args(words)
    for runs in chosen.runs:
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            print(f"Writing {runs} runs ...", file=sys.stderr, flush=True)
            write_results(root, runs=runs)
            for format_ in chosen.formats:
                limit = LIMITS.get((runs, format_))
                allowed = f" (at most {limit})" if limit else ""
                for turn in ("first", "again"):
                    print(
                        f"{runs:6d} runs, {format_:8s}, {turn}: {measure(root, format_=format_)}{allowed}", flush=True
                    )
                    if format_ == "html":  # the page of results that have not changed is not drawn again
                        break


if __name__ == "__main__":
    main()
