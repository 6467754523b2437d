from pathlib import Path

import pytest
from factories import Study, make_runs, make_spec, make_timing, with_seed, write_study

from switchbench.caveats import Caveat
from switchbench.compare import Configuration, gather_configurations, reference_machine
from switchbench.compare.configurations import mixture_caveats
from switchbench.store import SweepFolder, read_manifest, read_runs, read_timings, write_run, write_timing

DENSE, SPARSE = make_spec(), make_spec(num_experts=4)


def gather(folder: SweepFolder) -> tuple[Configuration, ...]:
    return gather_configurations(read_manifest(folder), runs=read_runs(folder), timings=read_timings(folder))


def test_runs_are_sorted_by_how_they_ended(tmp_path: Path):
    outcomes = {0: [2.0, 1.8, 1.7], 1: "diverged", 2: "killed", 3: None}
    (configuration,) = gather(write_study(tmp_path, [Study(SPARSE, outcomes)]))
    assert list(configuration.run_ids) == [0, 1, 2, 3]
    assert list(configuration.finished) == [0]
    assert list(configuration.failed) == [1, 2]
    assert configuration.diverged == (1,)
    assert configuration.missing == (3,)
    assert configuration.caveats == (Caveat.SINGLE_SEED, Caveat.MISSING_RUNS, Caveat.DIVERGED_RUNS)
    assert [point.nll for point in configuration.curves[0]] == [2.0, 1.8, 1.7]
    assert "seed" not in configuration.settings


def test_a_run_that_broke_off_gives_no_points_although_some_were_annealed(tmp_path: Path):
    folder = write_study(tmp_path, [Study(SPARSE, {0: [2.0, 1.8, 1.7], 1: None})])
    spec = with_seed(SPARSE, 1)
    runs = make_runs(spec, nll=[2.0, 1.8, None], status="diverged", reason="nll is NaN at step 500")
    write_run(folder, runs=runs, steps=[], spec=spec)
    (configuration,) = gather(folder)
    assert list(configuration.curves) == [0]
    assert len(configuration.earlier[1]) == 2
    assert configuration.caveats == (Caveat.SINGLE_SEED, Caveat.DIVERGED_RUNS)


def test_runs_that_the_manifest_does_not_list_are_left_out(tmp_path: Path):
    folder = write_study(tmp_path, [Study(SPARSE, {0: [2.0, 1.8, 1.7]})])
    for spec in (with_seed(SPARSE, 5), make_spec(num_experts=64)):
        write_run(folder, runs=make_runs(spec, nll=[1.0]), steps=[], spec=spec)
    (configuration,) = gather(folder)
    assert list(configuration.ends) == [0]


def test_configurations_come_in_the_order_of_the_manifest(tmp_path: Path):
    specs = [make_spec(num_experts=experts) for experts in (16, 4, 8)]
    configurations = gather(write_study(tmp_path, [Study(spec, {0: [1.7]}) for spec in specs]))
    assert [configuration.config_id for configuration in configurations] == [spec.config_id for spec in specs]


def test_step_times_come_from_one_machine(tmp_path: Path):
    """The one that timed the most configurations; of two with as many, the one that did so last."""
    folder = write_study(tmp_path, [Study(DENSE, {0: [1.7]}), Study(SPARSE, {0: [1.6]})])
    write_timing(folder, make_timing(DENSE, step_time_s=9.0, machine_id="other", timed_at="2027-01-01T00:00:00+00:00"))
    assert [c.timing and c.timing.step_time_s for c in gather(folder)] == [0.02, 0.02]
    write_timing(folder, make_timing(SPARSE, step_time_s=8.0, machine_id="other", timed_at="2027-01-01T00:00:00+00:00"))
    assert [c.timing and c.timing.step_time_s for c in gather(folder)] == [9.0, 8.0]
    assert reference_machine([], config_ids=["a"]) is None
    assert reference_machine(read_timings(folder), config_ids=["not of this sweep"]) is None


@pytest.mark.parametrize(
    ("change", "caveats"),
    [
        ({}, ()),
        ({"commit": "fffffff"}, (Caveat.MIXED_CODE,)),
        ({"torch_version": "2.12.0"}, (Caveat.MIXED_CODE,)),
        ({"machine_id": "other"}, (Caveat.MIXED_MACHINES,)),
        ({"threads": 2}, (Caveat.MIXED_EXECUTION,)),
        ({"precision": "bfloat16"}, (Caveat.MIXED_EXECUTION,)),
        ({"allocator": "raised thresholds"}, (Caveat.MIXED_EXECUTION,)),
    ],
)
def test_mixtures(change: dict[str, object], caveats: tuple[Caveat, ...]):
    rows = make_runs(DENSE, nll=[1.7]) + make_runs(SPARSE, nll=[1.6], **change)
    assert mixture_caveats(rows) == caveats
