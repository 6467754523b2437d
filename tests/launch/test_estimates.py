import dataclasses
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchbench.data.corpora import prepare_corpus
from switchbench.launch import estimates as module
from switchbench.launch.estimates import Estimates, estimate_plan, evaluated_tokens, known_estimates, makespan
from switchbench.launch.events import Event, Preparing, Warned
from switchbench.launch.plan import Plan, make_plan
from switchbench.launch.rounds import STEPS_PER_CONFIGURATION
from switchbench.launch.run import Outcome
from switchbench.launch.slots import Setup
from switchbench.launch.step_times import keep_step_times, shape_of
from switchbench.spec import ExecutionSpec
from switchbench.store import read_runs
from switchbench.train import train_run
from tests.launch.conftest import FUNCTIONS
from tests.launch.stand_ins import make_step_times

PlanOf = Callable[..., Plan]
RunIt = Callable[..., Outcome]


def learn(plan: Plan, *, cache_root: Path, **times: float) -> None:
    """Make everything known that an estimate of a plan needs."""
    for cell in plan.cells:
        keep_step_times(shape_of(cell.spec), make_step_times(**times), setup=Setup(), cache_root=cache_root)
        prepare_corpus(cell.spec.data, cache_root=cache_root)


@pytest.mark.parametrize("change", [{}, {"eval_points": 7}, {"eval_points": 40, "anneal_at": [0.5, 1.0]}])
def test_the_evaluated_tokens_are_those_of_a_real_run(
    plan_of: PlanOf, corpus_cache: Path, change: dict[str, object]
) -> None:
    spec = plan_of(seeds=[0]).cells[-1].spec
    spec = spec.model_copy(update={"train": spec.train.model_validate(spec.train.model_dump() | change)})
    corpus = prepare_corpus(spec.data, cache_root=corpus_cache)
    curve = train_run(spec, ExecutionSpec(device="cpu"), sweep="small", corpus=corpus).steps
    assert evaluated_tokens(spec, corpus.num_held_out_tokens) == sum(point.eval_tokens for point in curve)


@given(st.lists(st.floats(0, 100), max_size=12), st.integers(1, 5))
def test_the_makespan_is_that_of_a_queue(times_s: list[float], workers: int) -> None:
    free_at_s = dict.fromkeys(range(workers), 0.0)
    for time_s in times_s:
        first = min(free_at_s, key=lambda worker: free_at_s[worker])
        free_at_s[first] += time_s
    assert makespan(times_s, workers=workers) == max(free_at_s.values())


def test_the_time_of_a_run_adds_up(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of(seeds=[0, 1])
    learn(plan, cache_root=tmp_path, step_time_s=2.0, eval_time_per_token_s=1e-3, build_time_s=10.0, start_time_s=5.0)
    estimates = known_estimates(plan, setup=Setup(), cache_root=tmp_path)
    (held_out,) = set(estimates.held_out_tokens.values())
    spec = plan.cells[0].spec
    # 16 steps of 512 tokens; cooldowns of 1, 2 and 4 steps end at the quarter, the half and the end.
    assert spec.train.trained_steps == 16 + 1 + 2
    each = 10.0 + 19 * 2.0 + 1e-3 * evaluated_tokens(spec, held_out)
    assert [estimates.seconds(cell) for cell in plan.cells] == pytest.approx([each] * 6)
    assert estimates.run_seconds == pytest.approx(3 * (each + 5.0))  # six equal runs, two side by side
    assert estimates.timing_seconds == pytest.approx(3 * (10.0 + STEPS_PER_CONFIGURATION * 2.0))
    assert estimates.seconds_in_all == pytest.approx(estimates.run_seconds + estimates.timing_seconds)


def test_the_json_object_says_what_is_estimated(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = plan_of(seeds=[0])
    learn(plan, cache_root=tmp_path)
    estimates = known_estimates(plan, setup=Setup(), cache_root=tmp_path)
    content = estimates.as_json()
    assert [cell["estimated_seconds"] for cell in content["cells"]] == [estimates.seconds(cell) for cell in plan.cells]
    memory = [cell["estimated_memory_bytes"] for cell in content["cells"]]
    assert memory == [cell.cost.memory.peak for cell in plan.cells]
    totals = content["totals"]
    assert totals["estimated_seconds"] == estimates.run_seconds
    assert totals["estimated_seconds_timing"] == estimates.timing_seconds
    assert totals["estimated_memory_bytes"] == max(memory)
    assert totals["estimated_memory_bytes_side_by_side"] == sum(sorted(memory)[-2:])
    assert content["sweep"] == "small"


def test_nothing_is_started_where_everything_is_known(
    plan_of: PlanOf, tmp_path: Path, heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(seeds=[0])
    learn(plan, cache_root=tmp_path)
    monkeypatch.setattr(module, "warm_server", None)
    estimates = estimate_plan(plan, setup=Setup(), on_event=heard.append, cache_root=tmp_path)
    assert estimates.is_complete
    assert not heard


def test_what_is_unknown_is_measured_once(plan_of: PlanOf, tmp_path: Path, heard: list[Event]) -> None:
    plan = plan_of(seeds=[0, 1])

    def estimate() -> Estimates:
        return estimate_plan(plan, setup=Setup(), on_event=heard.append, cache_root=tmp_path, functions=FUNCTIONS)

    first = estimate()
    assert first.is_complete
    assert len({event.what for event in heard if isinstance(event, Preparing)}) == 1  # one task, one line
    assert len(list((tmp_path / "step-times").glob("*/*.json"))) == 3
    heard.clear()
    assert estimate().run_seconds == first.run_seconds
    assert not heard


def test_a_busy_machine_is_told_of(plan_of: PlanOf, tmp_path: Path, heard: list[Event]) -> None:
    functions = dataclasses.replace(FUNCTIONS, calibrate="tests.launch.stand_ins:try_shape_on_a_busy_machine")
    plan = plan_of(seeds=[0])
    estimate_plan(plan, setup=Setup(), on_event=heard.append, cache_root=tmp_path, functions=functions)
    (warning,) = [event.text for event in heard if isinstance(event, Warned)]
    assert warning.startswith("the machine was busy")
    assert "25.0% of its cores" in warning


def test_a_trial_that_dies_leaves_its_time_unknown_and_the_others_known(
    plan_of: PlanOf, tmp_path: Path, heard: list[Event]
) -> None:
    plan = plan_of(seeds=[0])
    functions = dataclasses.replace(FUNCTIONS, calibrate="tests.launch.stand_ins:try_small_shapes_only")
    estimates = estimate_plan(plan, setup=Setup(), on_event=heard.append, cache_root=tmp_path, functions=functions)
    unknown = [cell.spec.model.ffn.kind == "sparse" for cell in plan.cells if estimates.seconds(cell) is None]
    assert unknown == [True]
    assert estimates.run_seconds is None
    (warning,) = [event.text for event in heard if isinstance(event, Warned)]
    assert warning.startswith("no estimate of the time for 4 experts of size d16-L2, 512 tokens a step: killed by SIG")


def test_what_does_not_fit_into_the_free_memory_is_not_tried(
    plan_of: PlanOf, tmp_path: Path, heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(seeds=[0])
    least, *_, most = sorted({2 * cell.memory_bytes for cell in plan.cells})
    assert least < most
    memory = psutil.virtual_memory()._replace(available=least)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    estimates = estimate_plan(
        plan, setup=Setup(workers=2), on_event=heard.append, cache_root=tmp_path, functions=FUNCTIONS
    )
    for cell in plan.cells:
        assert (estimates.seconds(cell) is not None) == (2 * cell.memory_bytes <= least)
    warnings = [event.text for event in heard if isinstance(event, Warned)]
    assert warnings
    assert all("side by side, and" in text for text in warnings)


def test_a_shape_that_is_too_slow_for_a_trial_is_not_tried(
    plan_of: PlanOf, tmp_path: Path, heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(seeds=[0])
    step_flops = [cell.cost.train_flops.executed / cell.spec.train.num_steps for cell in plan.cells]
    # A core so slow that the largest shape would take longer than a trial may, and the others not.
    slow = module.STEPS_OF_A_TRIAL * max(step_flops) / (1.0001 * module.LONGEST_TRIAL_S)
    monkeypatch.setattr(module, "CPU_FLOPS_PER_SECOND", slow)
    estimates = estimate_plan(plan, setup=Setup(), cache_root=tmp_path, on_event=heard.append, functions=FUNCTIONS)
    known = [estimates.seconds(cell) is not None for cell in plan.cells]
    assert known == [flops < max(step_flops) for flops in step_flops]
    (warning,) = [event.text for event in heard if isinstance(event, Warned)]
    assert "a trial would take about 1 min 00 s here" in warning
    assert estimates.run_seconds is None


def test_without_step_times_the_time_is_unknown(plan_of: PlanOf, tmp_path: Path, heard: list[Event]) -> None:
    plan = plan_of(seeds=[0])
    learn(plan, cache_root=tmp_path)
    estimates = estimate_plan(plan, setup=Setup(), is_timed=False, on_event=heard.append, cache_root=tmp_path)
    assert {estimates.seconds(cell) for cell in plan.cells} == {None}
    assert estimates.run_seconds is estimates.timing_seconds is estimates.seconds_in_all is None
    assert estimates.memory_bytes
    assert not heard


def test_every_run_keeps_what_was_expected_of_it(plan_of: PlanOf, run_it: RunIt, corpus_cache: Path) -> None:
    plan = plan_of(seeds=[0, 1])  # the second one is killed
    run_it(plan)
    rows = {row.run_id: row for row in read_runs(plan.folder)}
    estimates = known_estimates(plan, setup=Setup(), cache_root=corpus_cache)
    assert {row.status for row in rows.values()} == {"ok", "killed"}
    for cell in plan.cells:
        row = rows[cell.spec.run_id]
        assert row.estimated_time_s == estimates.seconds(cell)
        assert row.estimated_peak_memory_bytes == cell.memory_bytes
    # Kept runs are no part of what is to come, nor do they need estimates.
    left = known_estimates(make_plan(plan.sweep, folder=plan.folder), setup=Setup(), cache_root=corpus_cache)
    assert left.run_seconds is not None
    assert estimates.run_seconds is not None
    assert left.run_seconds < estimates.run_seconds
    assert left.timing_seconds == 0.0


def test_real_trials_tell_real_times(plan_of: PlanOf, tmp_path: Path, heard: list[Event]) -> None:
    plan = plan_of(seeds=[0])
    estimates = estimate_plan(plan, setup=Setup(), on_event=heard.append, cache_root=tmp_path)
    assert estimates.is_complete
    assert len(estimates.times) == 3
    for times in estimates.times.values():
        assert (times.device, times.workers) == ("cpu", estimates.workers)
        assert times.cpu_share is not None
    assert len({times.step_time_s for times in estimates.times.values()}) == 3
