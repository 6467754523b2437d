"""Turns what happens in a run into its rows: a point of the curve, an annealed point, a failure."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from switchbench.caveats import Caveat
from switchbench.cost import computed_share, count_train_flops
from switchbench.data.corpora import PreparedCorpus
from switchbench.device import MemoryMeter
from switchbench.record import Progress, RunRecord, RunResult, Status, StepRecord
from switchbench.rows import describe_run, failed_run
from switchbench.spec import AnnealPoint, RunSpec, SparseFFNSpec
from switchbench.train.evaluate import Evaluation
from switchbench.train.history import Path
from switchbench.train.steps import learning_rate_at

_AVERAGED_OVER_LAYERS = (
    "expert_load_cv",
    "expert_load_cv_pooled",
    "expert_load_max_over_mean",
    "dead_expert_fraction",
    "router_entropy",
    "router_confidence",
    "aux_loss",
    "router_z_loss",
)
HELD_OUT_OVERLAP_LIMIT = 0.01
"""Share of repeated held-out windows above which the quality carries a caveat."""
EVAL_SHARE_LIMIT = 0.1
"""Share of a run's time above which its evaluation carries a caveat."""


@dataclass(kw_only=True)
class Recorder:
    """Collects the rows of one run."""

    spec: RunSpec
    """The run."""
    sweep: str
    """Name of the sweep."""
    corpus: PreparedCorpus
    """The run's corpus."""
    provenance: dict[str, Any]
    """Provenance columns."""
    meter: MemoryMeter
    """Started before the model was built."""
    on_progress: Callable[[Progress], None]
    """Called every few steps."""
    ffn_rms_ratio_at_init: float | None = None
    """Rms of the fresh sparse layers' output over a dense one's."""
    eval_time_s: float = 0.0
    """Time of all evaluations so far."""
    result: RunResult = field(default_factory=lambda: RunResult(runs=[], steps=[]))
    """The rows so far."""
    num_resumes: int = 0
    """How often the run was continued from a checkpoint."""
    micro_batch_tokens: int | None = None
    """Tokens of a micro-batch; None: the whole batch at once."""
    _frozen_peak_bytes: int | None = None
    _earlier_peak_bytes: int = 0
    _computed_steps: int = 0
    _last_nll: float | None = None
    _started_s: float = field(default_factory=time.perf_counter)

    def note_steps(self, num_steps: int, *, nll: float) -> None:
        """Note that steps were computed, and the last one's training nll."""
        self._computed_steps += num_steps
        self._last_nll = nll
        self._report_progress()

    def note_evaluation(self, evaluation: Evaluation, *, time_s: float) -> None:
        """Note an evaluation and what it took."""
        self.eval_time_s += time_s
        self._last_nll = evaluation.nll if evaluation.nll is not None else evaluation.nll_capacity
        self._report_progress()

    def add_point(self, path: Path, evaluation: Evaluation, *, point: AnnealPoint | None, is_annealed: bool) -> None:
        """Add a point to the curve and close the path's window.

        Args:
            path: The path so far.
            evaluation: Quality here.
            point: The annealed point that the path leads to; None on the trunk.
            is_annealed: Whether it is reached.
        """
        spec, window = self.spec, path.window
        first_step = point.branch_step if point else 0
        steps = window.num_steps
        self.result.steps.append(
            StepRecord(
                sweep=self.sweep,
                run_id=spec.run_id,
                phase="trunk" if point is None else "cooldown",
                anneal_fraction=point.fraction if point else None,
                is_annealed=is_annealed,
                step=path.step,
                tokens_seen=path.step * spec.train.batch_tokens,
                nll=evaluation.nll,
                nll_capacity=evaluation.nll_capacity,
                train_nll=window.train_nll,
                eval_tokens=evaluation.num_tokens,
                learning_rate=learning_rate_at(spec.train, step=max(path.step - 1, first_step), point=point),
                gradient_norm=window.gradient_norm,
                useful_train_flops=count_train_flops(spec, num_steps=path.step).useful,
                wall_clock_s=path.train_time_s,
                dropped_token_fraction=path.dropped_token_fraction(last_steps=steps),
                capacity_utilization=path.capacity_utilization(last_steps=steps),
                ffn_rms_ratio=self.ffn_rms_ratio_at_init if path.step == 0 else None,
                **{name: values.tolist() for name, values in window.routing_columns.items()},
            )
        )
        path.close_window()

    def add_annealed_row(
        self,
        path: Path,
        evaluation: Evaluation,
        *,
        point: AnnealPoint,
        train_text_nll: float | None,
        specialization: dict[str, Any],
    ) -> None:
        """Add the row of an annealed point.

        Args:
            path: The path to it, its last window closed.
            evaluation: Quality on the whole held-out text.
            point: The annealed point.
            train_text_nll: Quality on text that was trained on.
            specialization: Columns on which tokens each expert takes, where they were counted.
        """
        spec, cooldown = self.spec, path.since_branch
        tokens_seen = path.step * spec.train.batch_tokens
        last_quarter = math.ceil(path.step / 4)
        dropped = path.dropped_token_fraction()
        share = computed_share(spec, computed_slots=sum(path.computed), num_steps=path.step)
        flops = count_train_flops(spec, num_steps=path.step, computed_share=share)
        row = describe_run(spec, sweep=self.sweep, fraction=point.fraction)
        time_s = time.perf_counter() - self._started_s
        eval_share = self.eval_time_s / time_s
        self.result.runs.append(
            RunRecord(
                **row,
                **self.provenance,
                **self._corpus_columns(),
                status="ok",
                caveats=self._caveats(tokens_seen, eval_share=eval_share),
                step=path.step,
                tokens_seen=tokens_seen,
                **_measures_of(evaluation.nll, bytes_per_token=self._bytes_per_token),
                nll_capacity=evaluation.nll_capacity,
                train_nll=cooldown.train_nll,
                train_text_nll=train_text_nll,
                held_out_tokens=evaluation.num_tokens,
                epochs=tokens_seen / self._unique_tokens,
                dropped_token_fraction=dropped,
                dropped_token_fraction_last_quarter=path.dropped_token_fraction(last_steps=last_quarter),
                capacity_utilization=path.capacity_utilization(last_steps=last_quarter),
                **{name: _mean(cooldown.routing_columns.get(name)) for name in _AVERAGED_OVER_LAYERS},
                **specialization,
                ffn_rms_ratio_at_init=self.ffn_rms_ratio_at_init,
                tokens_per_active_param=tokens_seen / row["params_active"],
                tokens_per_total_param=tokens_seen / row["params_total"],
                useful_train_flops=flops.useful,
                provisioned_train_flops=flops.provisioned,
                executed_train_flops=flops.executed,
                wall_clock_s=path.train_time_s,
                eval_time_s=self.eval_time_s,
                eval_share=eval_share,
                run_time_s=time_s if point.fraction == 1.0 else None,
                step_time_s=path.step_time_s,
                peak_memory_bytes=self.peak_memory_bytes,
                num_resumes=self.num_resumes,
                micro_batch_tokens=self.micro_batch_tokens,
            )
        )

    def add_failure(self, status: Status, *, reason: str) -> None:
        """Add the row of a run that ends here, short of its end.

        Args:
            status: How it ended.
            reason: Why, in words.
        """
        self.result.runs.append(
            failed_run(
                self.spec,
                sweep=self.sweep,
                status=status,
                reason=reason,
                **self.provenance,
                **self._corpus_columns(),
                ffn_rms_ratio_at_init=self.ffn_rms_ratio_at_init,
                eval_time_s=self.eval_time_s,
                peak_memory_bytes=self.peak_memory_bytes,
                num_resumes=self.num_resumes,
                micro_batch_tokens=self.micro_batch_tokens,
            )
        )

    def as_json(self) -> dict[str, Any]:
        """Give what has been recorded, for a checkpoint."""
        return {
            "runs": [row.model_dump(mode="json") for row in self.result.runs],
            "steps": [row.model_dump(mode="json") for row in self.result.steps],
            "ffn_rms_ratio_at_init": self.ffn_rms_ratio_at_init,
            "eval_time_s": self.eval_time_s,
            "time_s": time.perf_counter() - self._started_s,
            "peak_bytes": self.peak_memory_bytes,
            "is_peak_frozen": self._frozen_peak_bytes is not None,
            "computed_steps": self._computed_steps,
            "last_nll": self._last_nll,
            "num_resumes": self.num_resumes,
        }

    def continue_from(self, recorded: dict[str, Any]) -> None:
        """Go on from what an earlier process had recorded.

        Args:
            recorded: From ``as_json``.
        """
        self.result = RunResult(
            runs=[RunRecord.model_validate(row) for row in recorded["runs"]],
            steps=[StepRecord.model_validate(row) for row in recorded["steps"]],
        )
        self.ffn_rms_ratio_at_init = recorded["ffn_rms_ratio_at_init"]
        self.eval_time_s = recorded["eval_time_s"]
        self.num_resumes = recorded["num_resumes"] + 1
        self._started_s -= recorded["time_s"]
        self._computed_steps = recorded["computed_steps"]
        self._last_nll = recorded["last_nll"]
        self._earlier_peak_bytes = recorded["peak_bytes"]
        if recorded["is_peak_frozen"]:
            self._frozen_peak_bytes = recorded["peak_bytes"]

    def freeze_peak_memory(self) -> None:
        """Take the peak memory as it is; what is kept from here on, to come back from a branch, is not training's."""
        if self._frozen_peak_bytes is None:
            self._frozen_peak_bytes = self.peak_memory_bytes

    @property
    def peak_memory_bytes(self) -> int:
        """Peak memory so far, or up to where it was frozen."""
        if self._frozen_peak_bytes is not None:
            return self._frozen_peak_bytes
        return max(self.meter.peak_bytes(), self._earlier_peak_bytes)

    def _caveats(self, tokens_seen: int, *, eval_share: float) -> list[str]:
        caveats = []
        if eval_share > EVAL_SHARE_LIMIT:
            caveats.append(Caveat.EVALUATION_HEAVY.value)
        if (self.provenance["runs_per_gpu"] or 1) > 1:
            caveats.append(Caveat.SHARED_GPU.value)
        if tokens_seen > self._unique_tokens:
            caveats.append(Caveat.REPEATED_DATA.value)
        if self.corpus.held_out_overlap > HELD_OUT_OVERLAP_LIMIT:
            caveats.append(Caveat.HELD_OUT_OVERLAP.value)
        if self.corpus.is_cut:
            caveats.append(Caveat.CUT_FILES.value)
        if isinstance(self.spec.model.ffn, SparseFFNSpec) and not self.spec.model.ffn.is_causal:
            caveats.append(Caveat.NON_CAUSAL_ROUTING.value)
        return caveats

    def _corpus_columns(self) -> dict[str, Any]:
        return {
            "corpus_bytes": self.corpus.corpus_bytes or None,
            "train_corpus_tokens": self.corpus.num_train_tokens,
            "held_out_overlap": self.corpus.held_out_overlap,
            "unique_tokens": self._unique_tokens,
            "bytes_per_token": self._bytes_per_token,
            "nll_floor": self.corpus.nll_floor,
            "data_revision": self.corpus.revision,
        }

    @property
    def _unique_tokens(self) -> int:
        """Training tokens that the run may see."""
        return self.spec.unique_tokens or self.corpus.num_train_tokens

    @property
    def _bytes_per_token(self) -> float | None:
        """Bytes of held-out text per token; None of symbols that are no text."""
        return self.corpus.held_out_bytes / self.corpus.num_held_out_tokens or None

    def _report_progress(self) -> None:
        train = self.spec.train
        self.on_progress(
            Progress(
                tokens_done=self._computed_steps * train.batch_tokens,
                tokens_total=train.trained_steps * train.batch_tokens,
                nll=self._last_nll,
            )
        )


def _measures_of(nll: float | None, *, bytes_per_token: float | None) -> dict[str, float | None]:
    """Give the nll and what follows from it; nothing where there is none."""
    if nll is None:
        return {}
    return {
        "nll": nll,
        "perplexity": math.exp(min(nll, 700.0)),
        "neg_log_perplexity": -nll,
        "bits_per_byte": nll / math.log(2) / bytes_per_token if bytes_per_token else None,
    }


def _mean(values: Tensor | None) -> float | None:
    return None if values is None else float(values.mean())
