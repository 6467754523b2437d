from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from switchbench.errors import UsageError
from switchbench.launch.estimates import Estimates, known_estimates
from switchbench.launch.limits import Limits, memory_warning
from switchbench.launch.plan import Plan, make_plan
from switchbench.launch.slots import Setup
from tests.launch.test_estimates import learn
from tests.launch.test_plan import give_result

PlanOf = Callable[..., Plan]


@pytest.fixture
def estimates(plan_of: PlanOf, tmp_path: Path) -> Estimates:
    """Of three configurations with two seeds each; a step takes 100 s."""
    plan = plan_of(seeds=[0, 1])
    learn(plan, cache_root=tmp_path, step_time_s=100.0)
    return known_estimates(plan, setup=Setup(), cache_root=tmp_path)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"hours": 0.0}, "--max-hours must be above 0, got 0"),
        ({"hours": -1.0}, "--max-hours must be above 0, got -1"),
        ({"hours": float("nan")}, "--max-hours must be above 0, got nan"),
        ({"flops": "many"}, "--max-flops must be a number of FLOPs"),
        ({"memory": "8"}, "--max-memory must be a number of bytes with its unit"),
    ],
)
def test_a_limit_that_is_none_is_refused(typed: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Limits.parse(**{"hours": None, "flops": None, "memory": None} | typed)


def test_limits_are_read_as_they_are_typed() -> None:
    limits = Limits.parse(hours=1.5, flops="2 PFLOP", memory="8GiB")
    assert limits == Limits(hours=1.5, flops=2e15, memory_bytes=8 * 2**30)


def test_a_limit_that_is_just_met_is_no_reason(estimates: Estimates) -> None:
    plan, seconds = estimates.plan, estimates.seconds_in_all
    assert seconds is not None
    flops = sum(cell.cost.trained_flops.useful for cell in plan.to_run)
    memory = max(cell.memory_bytes for cell in plan.to_run)
    Limits(flops=flops, memory_bytes=memory).check_costs(plan)
    Limits(hours=seconds / 3600).check_time(estimates)
    Limits().check_costs(plan)
    Limits().check_time(estimates)
    for limits in (Limits(flops=0.99 * flops), Limits(memory_bytes=memory - 1)):
        with pytest.raises(UsageError):
            limits.check_costs(plan)
    with pytest.raises(UsageError):
        Limits(hours=0.99 * seconds / 3600).check_time(estimates)


def test_too_many_flops_are_counted_and_the_largest_runs_named(estimates: Estimates) -> None:
    total = sum(cell.cost.trained_flops.useful for cell in estimates.plan.to_run)
    with pytest.raises(UsageError) as refused:
        Limits(flops=total / 2).check_costs(estimates.plan)
    lines = str(refused.value).splitlines()
    assert lines[0].startswith("--max-flops ")
    assert lines[0].endswith(" (100%) over")
    # The dense twin has no router, and the router of four experts is the largest.
    assert [line.split(":")[0] for line in lines[1:4]] == ["  4 experts", "  2 experts", "  dense"]
    assert all(line.endswith(", each of 2 seeds") for line in lines[1:4])
    assert lines[4] == "  lower base.train.tokens, train fewer seeds such as sweep.seeds=[0], or raise the limit"
    assert lines[5].startswith("Nothing was started")


def test_only_the_runs_that_need_too_much_memory_are_named(estimates: Estimates) -> None:
    *_, largest = sorted({cell.memory_bytes for cell in estimates.plan.cells})
    over = {cell.label for cell in estimates.plan.cells if cell.memory_bytes == largest}
    with pytest.raises(UsageError) as refused:
        Limits(memory_bytes=largest - 1).check_costs(estimates.plan)
    heading, *named, remedy, _ = str(refused.value).splitlines()
    assert f"{len(over)} of 6 runs to come may need more" in heading
    assert len(named) == len(over) / 2
    assert "base.train.batch_tokens" in remedy


def test_too_long_a_sweep_says_by_how_much(estimates: Estimates) -> None:
    seconds = estimates.seconds_in_all
    assert seconds is not None
    with pytest.raises(UsageError, match=r"--max-hours .*: what is left of this sweep takes about .* \(300%\) over"):
        Limits(hours=seconds / 4 / 3600).check_time(estimates)


def test_a_time_that_is_not_known_is_not_within_a_limit(plan_of: PlanOf, tmp_path: Path) -> None:
    unknown = known_estimates(plan_of(seeds=[0]), setup=Setup(), cache_root=tmp_path)
    with pytest.raises(UsageError, match="could not be estimated"):
        Limits(hours=1000.0).check_time(unknown)


def test_kept_runs_do_not_count(plan_of: PlanOf) -> None:
    plan = plan_of(seeds=[0])
    least = Limits(flops=1.0, memory_bytes=1)
    for index in range(3):
        with pytest.raises(UsageError):
            least.check_costs(make_plan(plan.sweep, folder=plan.folder))
        give_result(plan, index, status="ok")
    least.check_costs(make_plan(plan.sweep, folder=plan.folder))


def test_a_warning_of_runs_that_do_not_fit_side_by_side(estimates: Estimates, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_warning(estimates) is None
    free = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    warning = memory_warning(estimates)
    assert warning is not None
    assert "1000 B are free" in warning
