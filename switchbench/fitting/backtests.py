"""The back-test of a fit: for programs, and in words."""

from collections.abc import Mapping
from typing import Any

from switchbench import units
from switchbench.laws import Backtest, Trial


def backtest_json(backtest: Backtest) -> dict[str, Any]:
    """Give a back-test as plain numbers, a list of its trials among them.

    Args:
        backtest: The back-test.
    """
    return {
        "num_trials": len(backtest.trials),
        "wrong_kind": backtest.wrong_kind,
        "not_best": backtest.not_best,
        "mean_regret": backtest.mean_regret,
        "worst_regret": backtest.worst_regret,
        "gain_error_rms": backtest.gain_error_rms,
        "gain_bias": backtest.gain_bias,
        "trials": [_trial(trial) for trial in backtest.trials],
    }


def backtest_words(backtest: Mapping[str, Any]) -> str:
    """Say how often this way of recommending has been wrong.

    Args:
        backtest: As ``backtest_json`` gives it.
    """
    trials = backtest["num_trials"]
    if not trials:
        return (
            "Back-test: none. It takes a size with dense and sparse runs on as many tokens, and enough smaller ones to "
            "fit the law to: how often such a recommendation is wrong is not known."
        )
    smallest = units.count(min(trial["n"] for trial in backtest["trials"]))
    where = (
        f"the largest size, {smallest}," if trials == 1 else f"each of the {trials} largest sizes, down to {smallest},"
    )
    kind = f"between dense and sparse {_times(backtest['wrong_kind'], trials)}"
    best = f"about the best model (its number of experts included) {_times(backtest['not_best'], trials)}"
    direction = "more" if backtest["gain_bias"] > 0 else "less"
    return (
        f"Back-test: a model of {where} recommended by the law as smaller sizes alone give it. It was wrong {kind}, "
        f"and {best}; this cost {backtest['mean_regret']:.4f} nats on average and {backtest['worst_regret']:.4f} at "
        f"worst. Gains over dense were missed by {backtest['gain_error_rms']:.4f} nats rms; on average "
        f"{abs(backtest['gain_bias']):.4f} {direction} was promised than came."
    )


def doubt_words(backtest: Mapping[str, Any]) -> str:
    """Say in a sentence how far a recommendation is to be trusted.

    Args:
        backtest: As ``backtest_json`` gives it.
    """
    trials = backtest["num_trials"]
    if not trials:
        return "How often such a recommendation is wrong is not known: these runs allow no back-test."
    return (
        f"For sizes beyond the fitted ones such a recommendation was wrong {_times(backtest['not_best'], trials)} "
        "(back-test)."
    )


def _times(number: int, trials: int) -> str:
    return f"{number} of {trials} {'time' if trials == 1 else 'times'}"


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "n": trial.n,
        "law": trial.law.name,
        "formula": trial.law.formula,
        "fitted_rows": trial.fitted_rows,
        "rms_ln": trial.rms_ln,
        "recommended_e": trial.recommended_e,
        "best_e": trial.best_e,
        "is_best": trial.is_best,
        "is_right_kind": trial.is_right_kind,
        "predicted_gain": trial.predicted_gain,
        "observed_gain": trial.observed_gain,
        "regret": trial.regret,
        "gains": [
            {
                "e": gain.e,
                "predicted": gain.predicted,
                "observed": gain.observed,
                "predicted_ln": gain.predicted_ln,
                "observed_ln": gain.observed_ln,
            }
            for gain in trial.gains
        ],
    }
