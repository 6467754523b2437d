"""Runs made up for the tests of laws, and where the published ones are."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from switchbench.laws import Law, LawName, Observations, form_named
from switchbench.laws.points import Floats

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

TYPICAL: dict[LawName, dict[str, float]] = {
    "power": {"N_c": 3.4e13, "alpha": 0.079},
    "chinchilla": {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.37},
    "routed": {"E0": 1.48, "A": 33.9, "alpha": 0.18, "g": 0.535, "E_start": 2.565, "E_max": 305.0},
    "routed-data": {
        "E0": 1.48, "A": 33.9, "alpha": 0.18, "g": 0.535, "B": 410.0, "beta": 0.28, "E_start": 2.565, "E_max": 305.0,
    },
    "clark": {"a": -0.0833, "b": -0.1202, "c": 0.01013, "d": 1.1168, "E_start": 2.2, "E_max": 229.6},
    "joint-moe": {
        "a": 35.91, "delta": -0.2285, "alpha": -0.1889, "gamma": 0.0098, "b": 35.98, "omega": 0.5529, "beta": -0.1775,
        "zeta": -0.0259, "c": 1.3637, "E_start": 2.0732, "E_max": 290.4521,
    },
}  # fmt: skip
"""Published parameters, or some of their kind."""


def plain_loss(name: LawName, values: dict[str, float], *, n: Floats, e: Floats, d: Floats) -> Floats:
    """The formulas as they stand in the papers."""
    p = values
    e_hat, e_hat_1 = e, 1.0
    if "E_start" in p:
        e_hat = 1 / (1 / (e - 1 + 1 / (1 / p["E_start"] - 1 / p["E_max"])) + 1 / p["E_max"])
        e_hat_1 = p["E_start"]
    match name:
        case "power":
            return (p["N_c"] / n) ** p["alpha"]
        case "chinchilla":
            return p["E"] + p["A"] / n ** p["alpha"] + p["B"] / d ** p["beta"]
        case "routed":
            return p["E0"] + p["A"] * (n * (e_hat / e_hat_1) ** p["g"]) ** -p["alpha"]
        case "routed-data":
            size = p["A"] * (n * (e_hat / e_hat_1) ** p["g"]) ** -p["alpha"]
            return p["E0"] + size + p["B"] / d ** p["beta"]
        case "clark":
            log_n, log_e = np.log10(n), np.log10(e_hat)
            return 10 ** (p["a"] * log_n + p["b"] * log_e + p["c"] * log_n * log_e + p["d"])
        case "joint-moe":
            size = p["a"] * e_hat ** p["delta"] * n ** (p["alpha"] + p["gamma"] * np.log(e_hat))
            data = p["b"] * e_hat ** p["omega"] * d ** (p["beta"] + p["zeta"] * np.log(e_hat))
            return size + data + p["c"]


def unsaturated(values: dict[str, float]) -> dict[str, float]:
    """The parameters without those of the saturation."""
    return {key: value for key, value in values.items() if key not in ("E_start", "E_max")}


def grid(sizes: Any, experts: Any = (1.0,), tokens: Any = (1.0,), *, seeds: int = 1) -> dict[str, Any]:
    """All combinations, as columns."""
    columns = np.array(np.meshgrid(sizes, experts, tokens, range(seeds), indexing="ij")).reshape(4, -1)
    return dict(zip(("n", "e", "d", "seed"), columns, strict=True)) | {"seed": columns[3].astype(np.int64)}


def observed(
    name: LawName,
    values: dict[str, float],
    columns: dict[str, Any],
    *,
    noise: float = 0.0,
    size_misfit: float = 0.0,
    generator: np.random.Generator | None = None,
) -> Observations:
    """Runs that follow a law, but for normal noise in ln L, and for a deviation that all runs of a size share."""
    law = form_named(name, saturating="E_start" in values)
    log_loss = np.log(plain_loss(name, values, n=columns["n"], e=columns["e"], d=columns["d"]))
    if generator is not None:
        sizes, index = np.unique(columns["n"], return_inverse=True)
        log_loss = log_loss + noise * generator.standard_normal(len(log_loss))
        log_loss = log_loss + size_misfit * generator.standard_normal(len(sizes))[index.reshape(-1)]
    return Observations(
        n=columns["n"],
        e=columns["e"] if law.uses_experts else None,
        d=columns["d"] if law.uses_tokens else None,
        loss=np.exp(log_loss),
        seed=columns["seed"],
    )


def typical_columns(law: Law) -> dict[str, Any]:
    """A design that a law can be fitted to."""
    experts = (1.0, 2.0, 8.0, 32.0, 128.0, 512.0) if law.uses_experts else (1.0,)
    tokens = (1e9, 6e9, 4e10, 3e11) if law.uses_tokens else (1.0,)
    return grid(np.geomspace(1e7, 2e9, 6), experts, tokens)


def clark_rows() -> list[dict[str, str]]:
    """The published runs of Clark et al.: dense and S-Base, 61 rows; the test is skipped where they are not there."""
    path = SHARED_DATA / "clark_routed" / "clark_final_223.csv"
    if not path.exists():
        pytest.skip(f"needs the published runs of Clark et al. at {path}")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        row
        for row in rows
        if float(row["routing_frequency"]) == 0.5
        and float(row["k"]) == 1
        and float(row["flop_increase"]) == 1
        and (row["router_type"] == "Dense" or (row["router_type"] == "S-Base" and row["seed"] == "42"))
    ]


def clark_observations() -> Observations:
    """The same as observations."""
    rows = clark_rows()
    assert len(rows) == 61
    columns = {"n": "dense_parameter_count", "e": "num_experts", "loss": "loss_validation"}
    return Observations(
        **{name: np.array([float(row[column]) for row in rows]) for name, column in columns.items()},
        seed=np.array([int(row["seed"]) for row in rows]),
    )
