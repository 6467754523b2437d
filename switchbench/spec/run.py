"""A run: data, model, training and seed; the schedule that follows from them, and the identity."""

import hashlib
import itertools
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from switchbench.spec.data import DataSpec
from switchbench.spec.ffn import SparseFFNSpec
from switchbench.spec.fields import Float, Int, Precision, Spec
from switchbench.spec.model import ModelSpec

SCHEMA = 1
"""Version of the specification; raised when the meaning or the default of a field changes."""

COOLDOWN_FRACTION = Fraction(1, 5)
"""Share of the tokens up to an annealed point that its cooldown takes (Hägele et al. 2024, arXiv:2405.18392)."""


class AnnealPoint(NamedTuple):
    """A cooldown that branches off the trunk."""

    fraction: float
    """The point's place a along the run's tokens."""
    branch_step: int
    """Steps of the trunk before the cooldown."""
    end_step: int
    """Steps at the annealed point, cooldown included."""


class TrainSpec(Spec):
    """AdamW with warm-up, a constant trunk, and a cooldown branch for every annealed point."""

    tokens: Int = Field(1_000_000, ge=1, description="Training tokens D at the last annealed point; whole batches.")
    batch_tokens: Int = Field(4096, ge=2, description="Tokens per step, T = B·S; a multiple of seq_len.")
    learning_rate: Float = Field(5e-3, gt=0, description="Learning rate of the trunk.")
    warmup_fraction: Float = Field(0.02, ge=0, lt=0.8, description="Share of the tokens with a rising learning rate.")
    anneal_at: tuple[Float, ...] = Field(
        (0.25, 0.5, 1.0), description="Fractions of the tokens with an annealed point; ascending, the last is 1."
    )
    betas: tuple[Float, Float] = Field((0.9, 0.95), description="AdamW's decay rates.")
    adam_epsilon: Float = Field(1e-8, gt=0, description="AdamW's ε.")
    weight_decay: Float = Field(0.1, ge=0, description="Decoupled weight decay, on matrices only.")
    gradient_clip: Float = Field(1.0, gt=0, description="Largest global gradient norm.")
    precision: Precision = Field(
        "float32",
        description="Of matmuls and experts, on GPUs of attention too; norms, loss, weights and, but for "
        "`model.ffn.router_precision`, routers: float32.",
    )
    replicate: Int = Field(
        0,
        ge=0,
        lt=1000,
        description="Number of an independent repetition: other initial weights and another order of the data for the "
        "same seed, all else equal. For checks in which nothing but noise may differ.",
    )
    eval_points: Int = Field(10, ge=1, description="Evaluations along the tokens, beside those at annealed points.")
    eval_tokens: Int | None = Field(
        None,
        ge=2,
        description="Held-out tokens of each of these (annealed points take all); null: what costs 1% of training, "
        "65536 at most.",
    )
    keep_checkpoint: bool = Field(
        False,
        description="Whether the final weights are kept, for `switchbench generate`; no part of the run's identity.",
    )

    @field_validator("betas")
    @classmethod
    def _check_betas(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"needs two numbers in [0, 1), got {list(betas)}")
        return betas

    @field_validator("anneal_at")
    @classmethod
    def _check_anneal_at(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        ascending = all(a < b for a, b in itertools.pairwise(fractions))
        if not fractions or not ascending or fractions[0] <= 0 or fractions[-1] != 1.0:
            raise ValueError(f"needs ascending fractions in (0, 1] that end with 1.0, got {list(fractions)}")
        return fractions

    @property
    def num_steps(self) -> int:
        """Steps up to the last annealed point: the tokens rounded up to whole batches."""
        return math.ceil(self.tokens / self.batch_tokens)

    @property
    def anneal_points(self) -> tuple[AnnealPoint, ...]:
        """The annealed points, in order; a cooldown takes a fifth of the steps before its end, and at least one."""
        points = []
        for fraction in self.anneal_at:
            end = math.ceil(Fraction(repr(fraction)) * self.num_steps)
            points.append(AnnealPoint(fraction, min(math.floor(end * (1 - COOLDOWN_FRACTION)), end - 1), end))
        return tuple(points)

    @property
    def trained_steps(self) -> int:
        """All steps that are computed: the trunk up to its last branch, and every cooldown."""
        points = self.anneal_points
        return points[-1].branch_step + sum(point.end_step - point.branch_step for point in points)

    @property
    def regular_eval_tokens(self) -> int:
        """Held-out tokens of a regular evaluation; by default all of them, each done twice, cost 1% of training."""
        if self.eval_tokens is not None:
            return self.eval_tokens
        affordable = 3 * self.trained_steps * self.batch_tokens / (100 * 2 * self.eval_points)
        return max(min(round(affordable), 65536), self.batch_tokens)

    @model_validator(mode="after")
    def _check_annealed_points_differ(self) -> Self:
        ends = [point.end_step for point in self.anneal_points]
        if len(set(ends)) < len(ends):
            steps = f"{self.num_steps} {'step' if self.num_steps == 1 else 'steps'}"
            raise ValueError(
                f"tokens {self.tokens} are only {steps} of batch_tokens {self.batch_tokens}: "
                f"too few to tell the annealed points {list(self.anneal_at)} apart"
            )
        return self


class RunSpec(Spec):
    """One run, resolved: everything that decides its result."""

    data: DataSpec
    model: ModelSpec
    train: TrainSpec
    seed: Int = Field(0, ge=0, lt=2**31)
    vocab_size: Int = Field(ge=2)
    data_fingerprint: str = Field(min_length=12)

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        batch, seq_len, ffn = self.train.batch_tokens, self.data.seq_len, self.model.ffn
        if batch % seq_len:
            raise ValueError(f"train.batch_tokens {batch} is not a multiple of data.seq_len {seq_len}")
        group = ffn.routing_group_tokens if isinstance(ffn, SparseFFNSpec) else None
        if group is not None and (batch % group or group % seq_len):
            raise ValueError(
                f"model.ffn.routing_group_tokens {group} must be a multiple of data.seq_len {seq_len} "
                f"that divides train.batch_tokens {batch}"
            )
        return self

    @model_validator(mode="after")
    def _check_router_precision(self) -> Self:
        ffn, precision = self.model.ffn, self.train.precision
        if isinstance(ffn, SparseFFNSpec) and ffn.router_precision == "bfloat16" and precision != "bfloat16":
            raise ValueError(
                "model.ffn.router_precision 'bfloat16' does nothing here: it goes with train.precision 'bfloat16', "
                f"got {precision!r}"
            )
        return self

    @property
    def run_id(self) -> str:
        """Identity of the run: 12 hex digits."""
        return _digest(self, exclude_seed=False)

    @property
    def config_id(self) -> str:
        """Identity of the configuration: as ``run_id``, without the seed."""
        return _digest(self, exclude_seed=True)

    @property
    def unique_tokens(self) -> int | None:
        """Training tokens that are seen again and again, in whole sequences; None: all that there are."""
        if self.data.repeat is None:
            return None
        tokens = self.train.num_steps * self.train.batch_tokens
        return math.ceil(tokens / Fraction(repr(self.data.repeat)) / self.data.seq_len) * self.data.seq_len

    @property
    def random_seed(self) -> int:
        """What all random numbers of the run are drawn from: its seed, or another number for every repetition of it."""
        if self.train.replicate == 0:
            return self.seed
        digest = hashlib.sha256(f"{self.seed}/{self.train.replicate}".encode()).digest()
        return int.from_bytes(digest[:4], "little") >> 1

    @property
    def routing_group_tokens(self) -> int:
        """Tokens that are routed together in training."""
        group = self.model.ffn.routing_group_tokens if isinstance(self.model.ffn, SparseFFNSpec) else None
        return group or self.train.batch_tokens


Backend = Literal["loop", "grouped_mm", "padded"]
Dispatch = Literal["auto", Backend]


@dataclass(frozen=True, kw_only=True)
class ExecutionSpec:
    """How a run is executed: recorded, never part of its identity."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; ``auto``: a GPU if there is one."""
    threads: int = 1
    """CPU threads of the run."""
    cores: tuple[int, ...] = ()
    """Cores the process is pinned to; empty: not pinned."""
    dispatch: Dispatch = "auto"
    """How experts are computed; ``auto``: as is fastest for the device, precision and shape."""
    checkpoint: str | None = None
    """File that takes the final weights (safetensors); None: they are not kept."""
    runs_per_gpu: int = 1
    """Runs that share its GPU, this one included."""
    micro_batch_tokens: int | None = None
    """Tokens of a micro-batch, whose gradients are added up; None: the whole batch at once."""
    unfinished: str | None = None
    """File that takes the state of the unfinished run, and that it goes on from if it is there; None: none."""
    checkpoint_every_s: float = 600.0
    """Least time between two such states."""


def smaller_micro_batch(spec: RunSpec, micro_batch_tokens: int | None = None) -> int | None:
    """Give the next smaller micro-batch that leaves the mathematics as it is, at most half as large.

    It divides the batch, and is whole routing groups of a sparse model, whole sequences of a dense one.

    Args:
        spec: The run.
        micro_batch_tokens: The one to be halved; None: the whole batch.

    Returns:
        Tokens of the micro-batch; None where it cannot be smaller.
    """
    is_sparse = isinstance(spec.model.ffn, SparseFFNSpec)
    unit = spec.routing_group_tokens if is_sparse else spec.data.seq_len
    num_units = spec.train.batch_tokens // unit
    most = (micro_batch_tokens or spec.train.batch_tokens) // unit // 2
    units = next((units for units in range(most, 0, -1) if num_units % units == 0), None)
    return None if units is None else units * unit


def _digest(spec: RunSpec, *, exclude_seed: bool) -> str:
    excluded: dict[str, Any] = {
        "data": {"path", "tokenizer_path"},
        "model": {"size"},
        "train": {"keep_checkpoint"},
        "seed": True,
    }
    content = spec.model_dump(mode="json", exclude_defaults=True, exclude=excluded) | {"schema": SCHEMA}
    if not exclude_seed:
        content["seed"] = spec.seed
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
