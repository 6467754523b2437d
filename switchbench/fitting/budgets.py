"""What to train under a budget, as a fitted law has it: for programs, and in words."""

from typing import Any

from switchbench import units
from switchbench.laws import BudgetAnswer, Interval, Option
from switchbench.laws.budgets import USUAL_SHARE


def budget_json(answer: BudgetAnswer) -> dict[str, Any]:
    """Give the best models under a budget as plain numbers, one option per number of experts.

    Args:
        answer: The best models.
    """
    total, budget = answer.total, answer.budget
    return {
        "flops": budget.flops,
        "memory_bytes": budget.memory_bytes,
        "bytes_per_parameter": budget.bytes_per_parameter,
        "compute_formula": "6·N·D",
        "total_params_formula": "N·(base + per_expert·(E - 1))",
        "base": total.base,
        "per_expert": total.per_expert,
        "is_measured": total.is_measured,
        "fixed_d": answer.fixed_d,
        "best_e": answer.best.e,
        "options": [_option(option, is_best=option is answer.best) for option in answer.options],
    }


def interval_json(found: Interval) -> dict[str, Any]:
    """Give a value with its intervals.

    Args:
        found: The value.
    """
    return {
        "value": found.value,
        "ci95": found.ci95,
        "se": found.se,
        "bootstrap_ci95": found.bootstrap_ci95,
        "bootstrap_se": found.bootstrap_se,
    }


def budget_title(answer: BudgetAnswer) -> str:
    """Say what is asked for."""
    budget = answer.budget
    memory = "" if budget.memory_bytes is None else f" and {units.size(budget.memory_bytes)}"
    return f"The best model under {units.flops(budget.flops)}{memory}, as the law has it"


def budget_words(answer: BudgetAnswer, *, doubt: str) -> list[str]:
    """Say which option is best, and by which formulas, a paragraph each.

    Args:
        answer: The best models.
        doubt: How often such a recommendation has been wrong, as a sentence.
    """
    best, total = answer.best, answer.total
    sure = "" if best.best_share is None else f", the best of them in {100 * best.best_share:.0f}% of the resamples"
    model = "dense" if best.e == 1 else f"{best.e:g} experts"
    lines = [
        f"Recommended: {model}, N {units.count(best.n.value)} on {units.count(best.d.value)} tokens{sure}. {doubt}"
    ]
    source = (
        "as the runs have it"
        if total.is_measured
        else f"taken as {units.significant(USUAL_SHARE)}, that of every other feed-forward layer sparse with d_ff = "
        "4 d_model; name a column with all parameters, --columns total=COLUMN, to have it from the runs"
    )
    lines.append(
        f"Compute is 6·N·D. Memory is {answer.budget.bytes_per_parameter:g} bytes for each of all parameters (weight, "
        "gradient and optimizer), without activations. All parameters are "
        f"{units.significant(total.base)}·N, and {units.significant(total.per_expert)}·N for each expert beyond the "
        f"first ({source})."
    )
    if answer.fixed_d is not None:
        lines.append(
            f"The law does not depend on tokens: all options are trained on {units.count(answer.fixed_d)}, as the runs "
            "were."
        )
    return lines


def _option(option: Option, *, is_best: bool) -> dict[str, Any]:
    return {
        "e": option.e,
        "n": interval_json(option.n),
        "d": interval_json(option.d),
        "loss": interval_json(option.loss),
        "total_params": option.total_params,
        "memory_bytes": option.memory_bytes,
        "is_memory_bound": option.is_memory_bound,
        "is_best": is_best,
        "best_share": option.best_share,
        "caveats": list(option.caveats),
    }
