"""What else a report is asked: speed-ups at a quality of one's own, the best under a budget, and other machines."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from switchbench.compare import Budget
from switchbench.compare.elsewhere import BenchFile, read_bench
from switchbench.errors import UsageError
from switchbench.quantities import parse_duration, parse_flops, parse_size

_FLOPS = re.compile(r"flops?\s*$", flags=re.IGNORECASE)
_BYTES = re.compile(r"b\s*$", flags=re.IGNORECASE)
_TIME = re.compile(r"\d\.?\s*(s|m|min|h|d)\s*$", flags=re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What a report is asked beyond what it always says."""

    target_nll: float | None = None
    """The quality that speed-ups are measured at, nats per token; None: each dense twin's own at its end."""
    budgets: tuple[Budget, ...] = ()
    """What a training may take, all of which hold."""
    step_times: tuple[BenchFile, ...] = ()
    """Step times of other machines."""
    baseline: Path | None = None
    """Other results that these are compared with."""

    @property
    def is_any(self) -> bool:
        """Whether anything is asked."""
        return self != Questions()


def parse_questions(
    *,
    target_nll: float | None = None,
    budgets: Sequence[str] = (),
    step_times: Sequence[Path] = (),
    baseline: Path | None = None,
) -> Questions:
    """Read what is asked on the command line.

    Args:
        target_nll: Nats per token.
        budgets: Such as ``3e15FLOPs``, ``10min`` or ``2GiB``.
        step_times: Files with the answers of ``switchbench bench step --json``.
        baseline: Other results that these are compared with.

    Raises:
        UsageError: a value is none, or a file cannot be used.
    """
    if target_nll is not None and not (math.isfinite(target_nll) and target_nll > 0):
        raise UsageError(f"--target-nll must be a number above 0, in nats per token, such as 1.6, got {target_nll}")
    return Questions(
        target_nll=target_nll,
        budgets=tuple(parse_budget(text) for text in budgets),
        step_times=tuple(read_bench(path) for path in step_times),
        baseline=baseline,
    )


def parse_budget(text: str) -> Budget:
    """Read a budget; its unit says what it is of. FLOPs are training FLOPs with all slots of the experts counted.

    Args:
        text: A number with FLOPs, s, min, h, d, or bytes such as GiB as its unit.

    Raises:
        UsageError: it is none of these; says what is allowed.

    >>> parse_budget("3e15FLOPs").resource, parse_budget("10min").amount, parse_budget("2GiB").amount == 2**31
    ('provisioned_train_flops', 600.0, True)
    """
    if _FLOPS.search(text):
        return Budget(resource="provisioned_train_flops", amount=parse_flops(text, name="--budget"))
    if _BYTES.search(text):
        return Budget(resource="peak_memory_bytes", amount=float(parse_size(text, name="--budget")))
    if _TIME.search(text):
        return Budget(resource="train_time_s", amount=parse_duration(text, name="--budget"))
    raise UsageError(
        f"--budget must be training FLOPs such as 3e15FLOPs, a time such as 10min (s, min, h, d) or a peak memory such "
        f"as 2GiB, got {text!r}"
    )
