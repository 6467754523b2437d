"""The answer as one JSON object, for programs. Unknown is null, and so is what is not finite."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from switchbench.caveats import footnote_of
from switchbench.fitting.backtests import backtest_json
from switchbench.fitting.budgets import budget_json, interval_json
from switchbench.fitting.columns import ROLES
from switchbench.fitting.request import TableFit
from switchbench.laws import Goodness, LawFit, Rival
from switchbench.laws.identifiability import ParameterDoubt
from switchbench.laws.study import Answer

SCHEMA_VERSION = 1
"""Version of the JSON object."""


def fit_json(answer: TableFit) -> dict[str, Any]:
    """Give a fit as one JSON object.

    ``parameters`` are by name, as in the formula, N in parameters and D in tokens. ``derived`` has a list per measure,
    with the place (``n``, ``e``, ``d``) at which each value holds.

    Args:
        answer: The fit.
    """
    study = answer.study
    fit, grouping, known = study.fit, study.grouping, study.identifiability
    codes = [*answer.caveats, *(code for each in study.derived for code in each.caveats)]
    codes += [] if answer.budget is None else [code for each in answer.budget.options for code in each.caveats]
    content = {
        "schema_version": SCHEMA_VERSION,
        "table": str(answer.request.path),
        "law": fit.law.name,
        "formula": fit.law.formula,
        "source": fit.law.source,
        "is_chosen": study.is_chosen,
        "n_rows": len(fit.observations),
        "rows": {
            "read": answer.rows.num_read,
            "used": len(fit.observations),
            "where": answer.request.where,
            "left_out": [asdict(each) for each in answer.rows.left_out],
            "sha256": answer.rows.sha256,
        },
        "columns": {role: answer.columns[role].text if role in answer.columns else None for role in ROLES},
        "loss": str(fit.loss),
        "objective": fit.objective,
        "has_converged": fit.has_converged,
        "parameters": {
            each.quantity.name: _parameter(each, doubt)
            for each, doubt in zip(study.parameters, known.parameters, strict=True)
        },
        "derived": _derived(study.derived),
        "goodness": _goodness(study.goodness),
        "backtest": backtest_json(study.backtest),
        "budget": None if answer.budget is None else budget_json(answer.budget),
        "intervals": {
            "method": study.method,
            "group_by": grouping.by,
            "groups": grouping.number,
            "reason": grouping.reason,
            "seeds_shift_runs": grouping.seed_index is not None,
            "bootstrap": None if study.resamples is None else study.resamples.method,
            "resamples": 0 if study.resamples is None else len(study.resamples.internal),
            "seed": answer.request.seed,
        },
        "condition_number": known.condition_number,
        "beside": None if study.beside is None else _beside(study.beside),
        "laws": [_rival(each, chosen=each.law == fit.law) for each in study.rivals],
        "caveats": list(answer.caveats),
        "footnotes": {code: footnote_of(code) for code in dict.fromkeys(codes)},
    }
    finite = _finite(content)
    assert isinstance(finite, dict)
    return finite


def _parameter(answer: Answer, doubt: ParameterDoubt) -> dict[str, Any]:
    return interval_json(answer.interval) | {
        "unit": answer.quantity.unit,
        "at_bound": doubt.at_bound,
        "at_bound_share": doubt.at_bound_share,
        "rms_ratio_at_half": doubt.rms_ratio_at_half,
        "rms_ratio_at_double": doubt.rms_ratio_at_double,
        "is_bimodal": doubt.is_bimodal,
        "caveats": list(answer.caveats),
    }


def _beside(fit: LawFit) -> dict[str, Any]:
    return {"loss": str(fit.loss), "objective": fit.objective, "parameters": fit.values, "rms_ln": fit.rms}


def _derived(answers: Sequence[Answer]) -> dict[str, list[dict[str, Any]]]:
    lists: dict[str, list[dict[str, Any]]] = {}
    for each in answers:
        place = each.quantity.place
        where = {} if place is None else asdict(place)
        entry = where | interval_json(each.interval) | {"unit": each.quantity.unit, "caveats": list(each.caveats)}
        lists.setdefault(each.quantity.measure, []).append(entry)
    return lists


def _goodness(goodness: Goodness) -> dict[str, Any]:
    return {"rms_log10": goodness.rms_ln / math.log(10)} | asdict(goodness)


def _rival(rival: Rival, *, chosen: bool) -> dict[str, Any]:
    held = rival.goodness.hold_out
    return {
        "law": rival.law.name,
        "formula": rival.law.formula,
        "is_this": chosen,
        "num_parameters": rival.num_parameters,
        "hold_out_rms_ln": held.rms_ln if held else None,
        "hold_out_mean_ln": held.mean_ln if held else None,
        "leave_one_size_out_rms_ln": rival.goodness.leave_one_size_out_rms_ln,
        "rms_ln": rival.goodness.rms_ln,
        "aicc": rival.goodness.aicc,
    }


def _finite(value: Any) -> Any:
    """Replace what is not finite by None, at any depth."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
