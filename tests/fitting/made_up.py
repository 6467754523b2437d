"""Tables made up for the tests of fits, and ways to have them fitted."""

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from switchbench.fitting import FitRequest, fit_json, fit_table
from tests.laws.made_up import TYPICAL, grid, observed, unsaturated

CLARK_FILTER = (
    "routing_frequency == 0.5 and k == 1 and flop_increase == 1 and "
    "(router_type == 'Dense' or router_type == 'S-Base' and seed == 42)"
)


def made_up_rows(*, sizes: int = 6, seeds: int = 2, noise: float = 0.003) -> list[dict[str, Any]]:
    columns = grid(np.geomspace(1e6, 3e8, sizes), [1.0, 4.0, 8.0], seeds=seeds)
    runs = observed("routed", unsaturated(TYPICAL["routed"]), columns, noise=noise, generator=np.random.default_rng(0))
    return [
        {"params": n, "num_experts": int(e), "nll": loss, "seed": int(seed), "kind": "dense" if e == 1 else "sparse"}
        for n, e, loss, seed in zip(runs.n, runs.experts, runs.loss, columns["seed"], strict=True)
    ]


def write_csv(path: Path, rows: list[dict[str, Any]], *, delimiter: str = ",") -> Path:
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["params", "nll"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def fitted(path: Path, **fields: Any) -> dict[str, Any]:
    """The JSON answer, as a program reads it."""
    request = FitRequest(path=path, **{"resamples": 30} | fields)
    return json.loads(json.dumps(fit_json(fit_table(request)), allow_nan=False))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "switchbench", "fit", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "240", "OMP_NUM_THREADS": "1"},
    )
