import os

import pytest

from switchbench.errors import UsageError
from switchbench.launch.messages import Machine
from switchbench.launch.slots import resolve_workers, share_out

CPU = Machine(machine_id="m", device="cpu", gpu_count=0, provenance={})
FOUR_GPUS = Machine(machine_id="m", device="cuda", gpu_count=4, provenance={})


@pytest.fixture
def ten_cores(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    cores = {0, 1, 2, 3, 4, 8, 9, 10, 11, 12}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return cores


@pytest.mark.parametrize(("workers", "threads", "count"), [(None, 1, 10), (None, 3, 3), (2, 4, 2), (1, 10, 1)])
def test_cores_are_shared_without_overlap(ten_cores: set[int], workers: int | None, threads: int, count: int) -> None:
    slots = share_out(CPU, workers=workers, threads=threads)
    taken = [core for slot in slots for core in slot.cores]
    assert len(slots) == count
    assert all(len(slot.cores) == threads for slot in slots)
    assert len(set(taken)) == len(taken)
    assert set(taken) <= ten_cores
    assert all(slot.environment == {} for slot in slots)


@pytest.mark.usefixtures("ten_cores")
def test_every_gpu_has_one_run_and_its_share_of_the_cores() -> None:
    slots = share_out(FOUR_GPUS, workers=None, threads=1)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "1", "2", "3"]
    assert [slot.cores for slot in slots] == [(0, 1), (2, 3), (4, 8), (9, 10)]


@pytest.mark.usefixtures("ten_cores")
def test_runs_share_gpus_where_that_is_asked_for() -> None:
    slots = share_out(FOUR_GPUS, workers=6, threads=1, per_gpu=2)
    assert [slot.gpu for slot in slots] == ["0", "1", "2", "3", "0", "1"]
    assert len({core for slot in slots for core in slot.cores}) == sum(len(slot.cores) for slot in slots)
    assert len(share_out(FOUR_GPUS, workers=None, threads=1, per_gpu=2)) == 8
    with pytest.raises(UsageError, match="--workers 9: 2 runs share a GPU, and there are 4"):
        share_out(FOUR_GPUS, workers=9, threads=1, per_gpu=2)
    execution = slots[0].execution(device="cuda", threads=1, dispatch="auto")
    assert execution.runs_per_gpu == 2
    (alone, *_) = share_out(CPU, workers=None, threads=1, per_gpu=2)
    assert alone.runs_per_gpu == 1


@pytest.mark.usefixtures("ten_cores")
def test_gpus_that_the_user_chose_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-abc")
    slots = share_out(Machine(machine_id="m", device="cuda", gpu_count=2, provenance={}), workers=None, threads=1)
    assert [slot.gpu for slot in slots] == ["5", "GPU-abc"]


@pytest.mark.usefixtures("ten_cores")
@pytest.mark.parametrize(
    ("workers", "threads", "message"),
    [
        (0, 1, "--workers must be at least 1, got 0"),
        (-2, 1, "--workers must be at least 1, got -2"),
        (None, 0, "--threads must be at least 1, got 0"),
        (None, 11, "--threads 11 is more than can be used here: 10 cores"),
        (4, 3, "--workers 4 with --threads 3 needs 12 cores, .*: 10 cores can be used here, so at most --workers 3"),
    ],
)
def test_numbers_that_do_not_fit(workers: int | None, threads: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_workers(workers, threads=threads)


@pytest.mark.usefixtures("ten_cores")
def test_more_runs_than_gpus() -> None:
    with pytest.raises(UsageError, match="--workers 5: every run has its own GPU, and there are 4"):
        share_out(FOUR_GPUS, workers=5, threads=1)


def test_without_pinning_there_are_no_cores_to_pin_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "sched_setaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    slots = share_out(CPU, workers=None, threads=2)
    assert [slot.cores for slot in slots] == [(), ()]
