"""Peak memory against processes that train, over drawn runs: on the CPU, and on a GPU where there is one."""

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings

from switchbench.cost import count_memory, count_train_flops
from switchbench.cost.activations import DeviceKind
from switchbench.launch.forkserver import start_process, warm_server
from switchbench.spec import Dispatch, RunSpec
from tests.cost.strategies import large_runs

MIB = 2**20
FEW, MANY = 6, 40
Check = Callable[..., None]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU here")


def drawn(number: int) -> Callable[[Check], Check]:
    """The same runs every time, and none made smaller after a failure: each takes seconds."""
    slow_draws = [HealthCheck.filter_too_much, HealthCheck.too_slow]
    limits = settings(
        max_examples=number,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=slow_draws,
    )
    return lambda check: limits(given(large_runs())(check))


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with warm_server():
        yield


def check_peak(spec: RunSpec, micro: int | None, *, device: DeviceKind, flops: float) -> None:
    """Within 15%, from 100 MB up; runs that would take minutes or gigabytes are passed over."""
    backend: Dispatch = "loop" if device == "cpu" else "padded"
    counted = count_memory(spec, micro_batch_tokens=micro, device=device, backend=backend).peak
    assume(130 * MIB < counted < 2048 * MIB and count_train_flops(spec, num_steps=1).useful < flops)
    process, connection = start_process(
        "tests.cost.measured:send_peak", spec, device=device, dispatch=backend, micro_batch_tokens=micro
    )
    measured: int = connection.recv()
    process.join()
    assert measured > 100 * MIB
    assert counted == pytest.approx(measured, rel=0.15)


@pytest.mark.usefixtures("server")
@drawn(FEW)
def test_peak_is_near_that_of_a_process(case: tuple[RunSpec, int | None]) -> None:
    check_peak(*case, device="cpu", flops=4e10)


@pytest.mark.slow
@pytest.mark.usefixtures("server")
@drawn(MANY)
def test_peak_is_near_that_of_a_process_over_many(case: tuple[RunSpec, int | None]) -> None:
    check_peak(*case, device="cpu", flops=1.5e11)


@needs_gpu
@pytest.mark.usefixtures("server")
@drawn(FEW)
def test_peak_is_near_that_of_a_gpu(case: tuple[RunSpec, int | None]) -> None:
    check_peak(*case, device="cuda", flops=4e10)


@needs_gpu
@pytest.mark.slow
@pytest.mark.usefixtures("server")
@drawn(MANY)
def test_peak_is_near_that_of_a_gpu_over_many(case: tuple[RunSpec, int | None]) -> None:
    check_peak(*case, device="cuda", flops=1.5e11)
