"""Configurations and pairs of made-up runs, without a file."""

from typing import Any

from factories import make_runs, make_spec, make_timing, with_seed

from switchbench.compare import Configuration, Pair, compare_pairs
from switchbench.spec import RunSpec

Nlls = dict[int, list[float]]
"""The nll of the annealed points of each run, by seed."""


def make_configuration(
    spec: RunSpec,
    nlls: Nlls,
    *,
    twin_of: tuple[str, ...] = (),
    twins: dict[str, tuple[str, ...]] | None = None,
    step_time_s: float | None = 0.02,
    **columns: Any,
) -> Configuration:
    """A configuration with the nll of its annealed points by seed; ``twin_of``: of equal FLOPs."""
    rows = {seed: make_runs(with_seed(spec, seed), nll=nll, **columns) for seed, nll in nlls.items()}
    return Configuration(
        config_id=spec.config_id,
        role=spec.model.ffn.kind,
        twins=twins or ({"iso_flop": twin_of} if twin_of else {}),
        settings={},
        spec=spec.model_dump(mode="json"),
        run_ids={seed: with_seed(spec, seed).run_id for seed in nlls},
        ends={seed: runs[-1] for seed, runs in rows.items()},
        earlier={seed: tuple(runs[:-1]) for seed, runs in rows.items()},
        timing=None if step_time_s is None else make_timing(spec, step_time_s=step_time_s),
    )


def make_pair(dense: Nlls, sparse: Nlls, **sparse_options: Any) -> Pair:
    """A dense configuration and a sparse one of 4 experts, compared; options as of ``make_configuration``."""
    specs = make_spec(), make_spec(num_experts=4, capacity_factor=2.0)
    (pair,) = compare_pairs(
        [
            make_configuration(specs[0], dense, twin_of=(specs[1].config_id,)),
            make_configuration(specs[1], sparse, **sparse_options),
        ],
        sweep="capacity",
    )
    return pair
