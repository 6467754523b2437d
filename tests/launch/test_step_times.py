import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from switchbench.launch.messages import StepTimes
from switchbench.launch.slots import Setup
from switchbench.launch.step_times import BUSY_LIFETIME_S, keep_step_times, read_step_times, shape_of
from switchbench.spec import RunSpec
from tests.launch.stand_ins import make_step_times
from tests.specs import sparse, tiny_run

SHAPE = shape_of(tiny_run(ffn=sparse()))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The file of a shape's step times."""
    keep_step_times(SHAPE, make_step_times(), setup=Setup(), cache_root=tmp_path)
    (path,) = (tmp_path / "step-times").glob("*/*.json")
    return path


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., dict[str, StepTimes]]:
    return lambda **setup: read_step_times([SHAPE], setup=Setup(**setup), cache_root=tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        tiny_run(ffn=sparse(), seed=7),
        tiny_run(ffn=sparse(), train={"tokens": 2**20, "anneal_at": [1.0], "learning_rate": 1e-4, "betas": [0.8, 0.9]}),
        tiny_run(ffn=sparse(), train={"eval_points": 5, "eval_tokens": None, "weight_decay": 0.0}),
        tiny_run(ffn=sparse(router_init_scale=0.1), model={"init_scale": 0.5}),
        tiny_run(ffn=sparse(), data={"held_out_fraction": 0.3}).model_copy(update={"data_fingerprint": "f" * 12}),
    ],
)
def test_what_does_not_decide_the_time_of_a_step_is_no_part_of_the_shape(changed: RunSpec) -> None:
    assert shape_of(changed) == SHAPE


@pytest.mark.parametrize(
    "changed",
    [
        tiny_run(),
        tiny_run(ffn=sparse(num_experts=8)),
        tiny_run(ffn=sparse(capacity_factor=2.0)),
        tiny_run(ffn=sparse(router="hash")),
        tiny_run(ffn=sparse(router_jitter=0.1)),
        tiny_run(ffn=sparse(routing_group_tokens=64)),
        tiny_run(ffn=sparse(), model={"num_layers": 3}),
        tiny_run(ffn=sparse(), model={"d_model": 32}),
        tiny_run(ffn=sparse(), train={"batch_tokens": 512}),
        tiny_run(ffn=sparse(), train={"precision": "bfloat16"}),
        tiny_run(ffn=sparse(), data={"seq_len": 64}),
        tiny_run(ffn=sparse()).model_copy(update={"vocab_size": 512}),
    ],
)
def test_what_decides_it_is_another_shape(changed: RunSpec) -> None:
    assert shape_of(changed).config_id != SHAPE.config_id


def test_step_times_are_read_as_they_were_kept(kept: Path, read: Callable[..., dict[str, StepTimes]]) -> None:
    (times,) = read().values()
    assert times.step_time_s == 0.01
    assert list(read()) == [SHAPE.config_id] == [kept.stem]


@pytest.mark.parametrize("setup", [{"workers": 1}, {"dispatch": "padded"}, {"device": "cpu"}])
def test_those_of_another_setup_are_not_used(
    kept: Path, read: Callable[..., dict[str, StepTimes]], setup: dict[str, Any]
) -> None:
    assert read()
    assert not read(**setup)


@pytest.mark.parametrize("name", ["MALLOC_TOP_PAD_", "CUDA_VISIBLE_DEVICES"])
def test_nor_those_of_another_environment(
    kept: Path, read: Callable[..., dict[str, StepTimes]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert not read()


@pytest.mark.parametrize(
    "change", [{"schema_version": 2}, {"step_time_s": 0.0}, {"step_time_s": None}, {"extra": 1}, {"workers": "2"}]
)
def test_a_file_that_is_not_as_it_should_be_is_as_good_as_none(
    kept: Path, read: Callable[..., dict[str, StepTimes]], change: dict[str, Any]
) -> None:
    kept.write_text(json.dumps(json.loads(kept.read_bytes()) | change))
    assert not read()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_damaged_file_too(kept: Path, read: Callable[..., dict[str, StepTimes]], content: bytes) -> None:
    kept.write_bytes(content)
    assert not read()


@pytest.mark.parametrize(
    ("cpu_share", "age_s", "is_used"),
    [(1.0, 1e7, True), (None, 1e7, True), (0.5, 0.0, True), (0.5, BUSY_LIFETIME_S + 60, False), (0.5, -60.0, False)],
)
def test_what_a_busy_machine_showed_is_soon_forgotten(
    tmp_path: Path,
    read: Callable[..., dict[str, StepTimes]],
    cpu_share: float | None,
    age_s: float,
    is_used: bool,
) -> None:
    times = make_step_times(cpu_share=cpu_share, measured_at_s=time.time() - age_s)
    keep_step_times(SHAPE, times, setup=Setup(), cache_root=tmp_path)
    assert bool(read()) == is_used


def test_writers_at_the_same_time_leave_a_whole_file(
    kept: Path, read: Callable[..., dict[str, StepTimes]], tmp_path: Path
) -> None:
    def write(step_time_s: float) -> None:
        for _ in range(20):
            times = make_step_times(step_time_s=step_time_s)
            keep_step_times(SHAPE, times, setup=Setup(), cache_root=tmp_path)

    writers = [threading.Thread(target=write, args=(number / 100,)) for number in (1, 2, 3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert read(), "a reader met a file that was not whole"
    assert os.listdir(kept.parent) == [kept.name]


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    keep_step_times(SHAPE, make_step_times(), setup=Setup(), cache_root=tmp_path / "file")
    assert not read_step_times([SHAPE], setup=Setup(), cache_root=tmp_path / "file")
