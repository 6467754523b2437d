"""Step times that were measured on other machines, held against what a sparse step may cost.

What the twin's quality takes in tokens is a matter of quality alone and carries over; how much longer a sparse step is
has to be measured anew on each machine. Sparse is sooner there wherever the first is above the second.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from switchbench.caveats import Caveat, in_order
from switchbench.compare.configurations import Configuration
from switchbench.compare.intervals import Contrast, add_errors, ratio_interval
from switchbench.compare.pairs import Pair
from switchbench.compare.scaling import COSTLESS
from switchbench.compare.step_times import log_error, step_time_contrast
from switchbench.errors import TableError

MEASURE_IT = "switchbench bench step --json > FILE"
"""What makes such a file."""
_OF_CAPACITY = "model.ffn.capacity_factor"
"""What changes the step only where all slots of the experts are computed."""
_LAYERS_OF_OLD = 4
"""Layers of the models in files that do not say what they measured."""


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """The step time of one model in one precision."""

    facts: dict[str, Any]
    """What the file says of the model, by path as in a specification, and of its sequences and batch."""
    precision: str
    """Precision of its matmuls."""
    step_time_s: float
    """Median."""
    log_error: tuple[float, float]
    """Standard error of its logarithm, and degrees of freedom of that."""


@dataclass(frozen=True, kw_only=True)
class BenchFile:
    """What ``switchbench bench step --json`` measured on some machine."""

    path: str
    """The file."""
    machine: str
    """Processor or GPU, in words."""
    device: str
    """``cpu`` or ``cuda``."""
    rows: tuple[BenchRow, ...]
    """The models."""


@dataclass(frozen=True, kw_only=True)
class StepTimeVerdict:
    """Who is sooner at the dense twin's quality on one machine, in one precision."""

    sweep: str
    """Name of the sweep."""
    dense: str
    """``config_id`` of the dense twin."""
    sparse: str
    """``config_id`` of the sparse configuration."""
    matched_on: str
    """What the two have in common."""
    file: str | None
    """The file that the step times are from; None: the exclusive step times of the sweep."""
    machine: str
    """The machine, in words."""
    precision: str
    """Precision of the matmuls."""
    step_time_ratio: float | None
    """Sparse step time over dense step time there; None: not timed."""
    step_time_ratio_ci95: tuple[float, float] | None
    """95% interval from the scatter of the steps."""
    break_even: float | None
    """What it may be; see ``break_even_step_time_ratio`` of ``Comparison``."""
    ci95: tuple[float, float] | None
    """95% interval of the break-even, over seeds."""
    bound: Literal["lower", "upper"] | None
    """``lower``: the break-even is above its value; ``upper``: below it."""
    time_speedup: float | None
    """Time of the dense twin over that of the sparse configuration there, to the same quality."""
    time_speedup_ci95: tuple[float, float] | None
    """95% interval: seeds and the scatter of the steps."""
    verdict: Literal["sparse", "dense", "unresolved"]
    """Who is sooner: decided where the interval of the time speed-up does not include 1."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""


def read_bench(path: Path) -> BenchFile:
    """Read a file of step times.

    Args:
        path: A file with the answer of ``switchbench bench step --json``.

    Raises:
        TableError: it cannot be read, or holds no step times; says what does.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"--step-times {path}: cannot be read: {error.strerror or error}") from None
    except ValueError:  # no JSON, or no text at all
        raise TableError(f"--step-times {path}: is no JSON; `{MEASURE_IT}` writes such a file") from None
    if isinstance(content, dict) and content.get("benchmark") == "layer":
        raise TableError(
            f"--step-times {path}: holds times of the feed-forward layer alone; what decides is the whole step, "
            f"which `{MEASURE_IT}` measures"
        )
    try:
        if content["benchmark"] != "step":
            raise KeyError("benchmark")
        rows = tuple(_row(row) for row in content["rows"])
        return BenchFile(path=str(path), machine=_machine(content), device=str(content["device"]), rows=rows)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise TableError(
            f"--step-times {path}: does not hold the step times of a dense and a sparse model; `{MEASURE_IT}` writes "
            "such a file"
        ) from None


def judge_step_times(pairs: Sequence[Pair], files: Sequence[BenchFile], *, sweep: str) -> tuple[StepTimeVerdict, ...]:
    """Say of every pair who is sooner here and, for each file that holds both of its models, there.

    Models are the same where all that a step's time depends on is: shape, experts, router, batch and sequences. Both
    must have been measured in the same precision, whatever that of the runs was.

    Args:
        pairs: The pairs of a sweep.
        files: The files.
        sweep: Name of the sweep.
    """
    verdicts = []
    for pair in pairs:
        verdicts.append(_judge_here(pair, sweep=sweep))
        for file in files:
            for precision in dict.fromkeys(row.precision for row in file.rows):
                dense, sparse = (_find(side, file, precision=precision) for side in (pair.dense, pair.sparse))
                if dense is not None and sparse is not None:
                    caveats = [Caveat.CPU_TIMING] if file.device == "cpu" else []
                    verdicts.append(
                        _judge(
                            pair,
                            sweep=sweep,
                            file=file.path,
                            machine=file.machine,
                            precision=precision,
                            ratio=add_errors(
                                math.log(sparse.step_time_s / dense.step_time_s), [sparse.log_error, dense.log_error]
                            ),
                            caveats=caveats,
                        )
                    )
    return tuple(verdicts)


def _judge_here(pair: Pair, *, sweep: str) -> StepTimeVerdict:
    measured = pair.measured("step_time_ratio")
    timing = pair.sparse.timing or pair.dense.timing
    rows = list(pair.sparse.finished.values()) or list(pair.dense.finished.values())
    return _judge(
        pair,
        sweep=sweep,
        file=None,
        machine="" if timing is None else timing.device_name,
        precision=rows[0].precision or "" if rows else "",
        ratio=step_time_contrast(pair.dense.timing, pair.sparse.timing),
        caveats=measured.caveats,
    )


def _judge(
    pair: Pair,
    *,
    sweep: str,
    file: str | None,
    machine: str,
    precision: str,
    ratio: Contrast | None,
    caveats: Sequence[str],
) -> StepTimeVerdict:
    break_even = pair.measured("break_even_step_time_ratio")
    gain = break_even.gain if break_even.bound is None else None
    speedup: Contrast | None = None
    verdict: Literal["sparse", "dense", "unresolved"] = "unresolved"
    if ratio is not None and gain is not None:
        errors = [(each.standard_error, each.degrees_of_freedom) for each in (gain, ratio)]
        speedup = add_errors(gain.value - ratio.value, errors)
        low, high = speedup.interval()
        if low > 0 or high < 0:
            verdict = "sparse" if low > 0 else "dense"
    return StepTimeVerdict(
        sweep=sweep,
        dense=pair.dense.config_id,
        sparse=pair.sparse.config_id,
        matched_on="+".join(pair.matched_on),
        file=file,
        machine=machine,
        precision=precision,
        step_time_ratio=None if ratio is None else math.exp(ratio.value),
        step_time_ratio_ci95=None if ratio is None else ratio_interval(ratio),
        break_even=break_even.value,
        ci95=break_even.ci95,
        bound=break_even.bound,
        time_speedup=None if break_even.value is None or ratio is None else break_even.value / math.exp(ratio.value),
        time_speedup_ci95=None if speedup is None else ratio_interval(speedup),
        verdict=verdict,
        caveats=in_order([*break_even.caveats, *caveats]),
    )


def _find(configuration: Configuration, file: BenchFile, *, precision: str) -> BenchRow | None:
    """The row of a model in a file; None where it is not in it."""
    wanted = step_facts(configuration.spec)
    rows = (row for row in file.rows if row.precision == precision)
    return next(
        (row for row in rows if all(row.facts[path] == wanted[path] for path in row.facts.keys() & wanted.keys())),
        None,
    )


def step_facts(spec: dict[str, Any]) -> dict[str, Any]:
    """Give what the time of a step depends on, by path.

    Args:
        spec: A resolved specification, as stored in the manifest.
    """
    facts = _flat(spec.get("model", {}), prefix="model.")
    facts = {path: value for path, value in facts.items() if path not in COSTLESS}
    facts.setdefault("model.ffn.num_experts", 1)
    facts["train.batch_tokens"] = spec.get("train", {}).get("batch_tokens")
    facts["data.seq_len"] = spec.get("data", {}).get("seq_len")
    facts["vocab_size"] = spec.get("vocab_size")
    return facts


def _row(row: dict[str, Any]) -> BenchRow:
    spec = {
        "model": row.get("model", {"d_model": int(row["d_model"]), "num_layers": _LAYERS_OF_OLD}),
        "train": {"batch_tokens": int(row["num_tokens"])},
        "data": {"seq_len": row.get("seq_len", 128)},
        "vocab_size": row.get("vocab_size", 256),
    }
    facts = step_facts(spec) | {"model.ffn.num_experts": int(row["num_experts"])}
    if row.get("backend") != "padded":
        facts.pop(_OF_CAPACITY, None)
    step_time_s = float(row["median_s"])
    if not (step_time_s > 0 and math.isfinite(step_time_s)):
        raise ValueError("a step takes time")
    error = log_error(
        step_time_s, q25_s=float(row["q25_s"]), q75_s=float(row["q75_s"]), num_steps=max(int(row["rounds"]), 1)
    )
    return BenchRow(facts=facts, precision=str(row["precision"]), step_time_s=step_time_s, log_error=error)


def _machine(content: dict[str, Any]) -> str:
    threads = content.get("threads")
    name = str(content["device_name"])
    if content["device"] != "cpu" or threads is None:
        return name
    return f"{name}, {threads} thread{'' if threads == 1 else 's'}"


def _flat(settings: dict[str, Any], *, prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, prefix=f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
