"""switchbench: does a sparse (Switch) Transformer beat a dense one for your budget, data and machine?

The public Python API; each name is imported when it is first used, so that ``import switchbench`` costs nothing:

``load_runs(results, *, sweep=None)``
    The runs of all sweeps in a results folder (or of one sweep), as a pandas data frame: a row per annealed point, the
    columns of ``RunRecord``.
``load_steps(results, *, sweep=None)``
    Their curves: a row per evaluation, the columns of ``StepRecord``.
``expand_sweep(path, *, overrides=())``
    A sweep file, read, checked and expanded into fully resolved runs, generated dense twins included.
``cost_of(spec)``
    Parameters, FLOPs and memory of a run, by arithmetic alone.
``fit_law(observations, *, law)``
    A law of loss fitted to runs given as arrays (``switchbench.laws.Observations``).
``build_model(spec)``
    The PyTorch model of a run.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "build_model": "switchbench.model.transformer",
    "cost_of": "switchbench.cost",
    "expand_sweep": "switchbench.launch.plan",
    "fit_law": "switchbench.laws.fit",
    "load_runs": "switchbench.store.frames",
    "load_steps": "switchbench.store.frames",
}

__all__ = ["__version__", "build_model", "cost_of", "expand_sweep", "fit_law", "load_runs", "load_steps"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
