"""Records of made-up but realistic sweeps, written with the store as a real sweep would write them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from switchbench.cost import count_parameters, count_train_flops
from switchbench.record import RunRecord, StepRecord, TimingRecord
from switchbench.rows import describe_run
from switchbench.spec import RunSpec, SparseFFNSpec
from switchbench.store import (
    Control,
    Manifest,
    ManifestCell,
    PrimaryPair,
    SweepFolder,
    write_manifest,
    write_run,
    write_timing,
)

COMMAND = "switchbench sweep experiments/capacity.yaml"
MACHINE = {
    "machine_id": "aaaa0000bbbb",
    "machine": "box · Test CPU · 2 cores",
    "device": "cpu",
    "device_name": "Test CPU",
    "torch_version": "2.13.0",
    "commit": "4cae576",
    "allocator": "default",
}


def make_spec(
    *,
    num_experts: int | None = None,
    capacity_factor: float | None = 1.25,
    seed: int = 0,
    size: str = "xxs",
    tokens: int = 2_400_000,
    train: dict[str, Any] | None = None,
    ffn: dict[str, Any] | None = None,
) -> RunSpec:
    """A resolved run: dense without ``num_experts``, else sparse."""
    chosen: dict[str, Any] = {"kind": "dense"}
    if num_experts is not None:
        chosen = {"kind": "sparse", "num_experts": num_experts, "capacity_factor": capacity_factor}
    return RunSpec.model_validate(
        {
            "data": {"seq_len": 128},
            "model": {"size": size, "ffn": chosen | (ffn or {})},
            "train": {"tokens": tokens} | (train or {}),
            "seed": seed,
            "vocab_size": 256,
            "data_fingerprint": "0123456789ab",
        }
    )


def make_runs(
    spec: RunSpec,
    *,
    nll: Sequence[float | None],
    sweep: str = "capacity",
    status: str = "ok",
    reason: str | None = None,
    dropped: float = 0.08,
    **columns: Any,
) -> list[RunRecord]:
    """The rows of one run, one per annealed point; ``nll`` holds that of the last points of the schedule."""
    is_sparse = isinstance(spec.model.ffn, SparseFFNSpec)
    parameters = count_parameters(spec.model, vocab_size=spec.vocab_size)
    rows = []
    points = spec.train.anneal_points[-len(nll) :]
    for point, point_nll in zip(points, nll, strict=True):
        is_end, is_ok = point.fraction == 1.0, point.fraction < 1.0 or status == "ok"
        tokens = point.end_step * spec.train.batch_tokens
        flops = count_train_flops(spec, num_steps=point.end_step, computed_share=1 - dropped if is_sparse else 1)
        values: dict[str, Any] = describe_run(spec, sweep=sweep, fraction=point.fraction) | {
            "status": status if is_end else "ok",
            "reason": reason if is_end else None,
            "started_at": "2026-01-01T00:00:00+00:00",
            "threads": 1,
            "precision": "float32",
            "dispatch": "loop" if is_sparse else None,
            **MACHINE,
        }
        if is_ok and point_nll is not None:
            values |= {
                "step": point.end_step,
                "tokens_seen": tokens,
                "nll": point_nll,
                "neg_log_perplexity": -point_nll,
                "perplexity": 2.718281828459045**point_nll,
                "bits_per_byte": point_nll / 0.6931471805599453,
                "train_nll": point_nll - 0.01,
                "tokens_per_active_param": tokens / parameters.active,
                "tokens_per_total_param": tokens / parameters.total,
                "useful_train_flops": flops.useful,
                "provisioned_train_flops": flops.provisioned,
                "executed_train_flops": flops.executed,
                "wall_clock_s": point.end_step * 0.03,
                "step_time_s": 0.03,
                "peak_memory_bytes": 180 * 2**20,
                "epochs": tokens / 9_000_000,
            }
            if is_sparse:
                values |= {
                    "nll_capacity": point_nll + 0.01,
                    "dropped_token_fraction": dropped,
                    "dropped_token_fraction_last_quarter": dropped / 2,
                    "capacity_utilization": 0.7,
                    "expert_load_cv": 0.31,
                    "router_entropy": 1.2,
                    "dead_expert_fraction": 0.0,
                    "aux_loss": 1.05,
                }
        if isinstance(spec.model.ffn, SparseFFNSpec) and not spec.model.ffn.is_causal:
            values |= dict.fromkeys(("nll", "neg_log_perplexity", "perplexity", "bits_per_byte"))
            values["caveats"] = ["NON_CAUSAL_ROUTING"]
        rows.append(RunRecord.model_validate(values | columns))
    return rows


def make_steps(spec: RunSpec, *, nll: Sequence[float], sweep: str = "capacity") -> list[StepRecord]:
    """A short curve along the trunk."""
    is_sparse = isinstance(spec.model.ffn, SparseFFNSpec)
    return [
        StepRecord(
            sweep=sweep,
            run_id=spec.run_id,
            phase="trunk",
            is_annealed=False,
            step=10 * (i + 1),
            tokens_seen=10 * (i + 1) * spec.train.batch_tokens,
            nll=value,
            eval_tokens=65536,
            learning_rate=5e-3,
            useful_train_flops=1e9 * (i + 1),
            wall_clock_s=0.3 * (i + 1),
            router_entropy=[1.5, 1.25] if is_sparse else None,
            expert_load=[[0.25, 0.75], [0.5, 0.5]] if is_sparse else None,
        )
        for i, value in enumerate(nll)
    ]


def make_timing(spec: RunSpec, *, step_time_s: float, sweep: str = "capacity", **columns: Any) -> TimingRecord:
    """The step time of one configuration, alone."""
    values: dict[str, Any] = {
        "sweep": sweep,
        "config_id": spec.config_id,
        "run_id": spec.run_id,
        "threads": 1,
        "trained_weights": True,
        "timed_at": "2026-01-01T00:10:00+00:00",
        "num_steps": 20,
        "step_time_s": step_time_s,
        "step_time_q25_s": step_time_s * 0.98,
        "step_time_q75_s": step_time_s * 1.02,
        "batch_time_s": step_time_s * 0.01,
        "forward_time_s": step_time_s * 0.3,
        "backward_time_s": step_time_s * 0.6,
        "optimizer_time_s": step_time_s * 0.09,
        "tokens_per_second": spec.train.batch_tokens / step_time_s,
        "peak_flops_per_second": 1e11,
        "mfu": 0.2,
        "hfu": 0.19,
        **MACHINE,
    }
    return TimingRecord.model_validate(values | columns)


@dataclass(frozen=True)
class Study:
    """One configuration of a made-up sweep.

    ``outcomes`` has for each seed the nll of its annealed points, a status such as ``crashed``, or None: no row.
    """

    spec: RunSpec
    outcomes: dict[int, Sequence[float] | str | None]
    step_time_s: float | None = 0.02
    settings: dict[str, Any] = field(default_factory=dict)
    is_twin: bool = False
    twins: dict[str, Sequence[RunSpec]] = field(default_factory=dict)
    """The sparse configurations whose twin it is, by what they have in common; ``is_twin`` adds those of its shape."""
    columns: dict[str, Any] = field(default_factory=dict)
    timing_columns: dict[str, Any] = field(default_factory=dict)


def write_study(
    root: Path,
    studies: Sequence[Study],
    *,
    name: str = "capacity",
    axes: Sequence[str] = (),
    primary: PrimaryPair | None = None,
    expected: str = "",
    controls: Sequence[Control] = (),
) -> SweepFolder:
    """Write a sweep; a study that is a twin is the dense twin of all sparse studies of its shape and training."""
    folder = SweepFolder(root / name)
    folder.create()
    cells = []
    for study in studies:
        twins = {kind: tuple(spec.config_id for spec in specs) for kind, specs in study.twins.items()}
        if study.is_twin:
            twins["iso_flop"] = _twins_of(study, studies)
        for seed, outcome in study.outcomes.items():
            spec = with_seed(study.spec, seed)
            cells.append(
                ManifestCell(
                    run_id=spec.run_id,
                    config_id=spec.config_id,
                    seed=seed,
                    role=spec.model.ffn.kind,
                    twin_of=twins.get("iso_flop", ()),
                    twins=twins,
                    settings=study.settings | {"seed": seed},
                    spec=spec.model_dump(mode="json"),
                )
            )
            if outcome is None:
                continue
            failed = isinstance(outcome, str)
            rows = make_runs(
                spec,
                nll=[None] if failed else outcome,
                sweep=name,
                status=outcome if failed else "ok",
                reason="the worker was killed by signal 9" if failed else None,
                **study.columns,
            )
            write_run(
                folder, runs=rows, steps=[] if failed else make_steps(spec, nll=[3.0, 2.5], sweep=name), spec=spec
            )
        if study.step_time_s is not None:
            timing = make_timing(study.spec, step_time_s=study.step_time_s, sweep=name, **study.timing_columns)
            write_timing(folder, timing)
    write_manifest(
        folder,
        Manifest(
            sweep=name,
            question="Where does a larger capacity factor stop paying for itself?",
            expected=expected,
            file="experiments/capacity.yaml",
            command=COMMAND,
            axes=tuple(axes),
            primary=primary,
            controls=tuple(controls),
            created_at="2026-01-01T00:00:00+00:00",
            cells=tuple(cells),
        ),
    )
    return folder


def with_seed(spec: RunSpec, seed: int) -> RunSpec:
    """The same configuration with another seed."""
    return spec.model_copy(update={"seed": seed})


def _twins_of(dense: Study, studies: Sequence[Study]) -> tuple[str, ...]:
    def shape(study: Study) -> dict[str, Any]:
        return study.spec.model_dump(exclude={"model": {"ffn"}, "seed": True})

    return tuple(
        other.spec.config_id
        for other in studies
        if other.spec.model.ffn.kind == "sparse" and shape(other) == shape(dense)
    )
