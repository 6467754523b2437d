import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch

from switchbench.data.corpora import prepare_corpus
from switchbench.launch import exclusive
from switchbench.launch.exclusive import measure_configurations
from switchbench.launch.messages import TimingItem
from switchbench.launch.plan import Plan
from switchbench.record import TimingRecord
from switchbench.spec import ExecutionSpec

Measure = Callable[[], list[TimingRecord]]


@pytest.fixture
def measure(plan_of: Callable[..., Plan], corpus_cache: Path) -> Measure:
    """Measures the three configurations of the small sweep, with fresh weights."""
    cells = plan_of(seeds=[0]).cells
    prepare_corpus(cells[0].spec.data, cache_root=corpus_cache)
    items = [TimingItem(spec=cell.spec, run_id=cell.spec.run_id, checkpoint=None) for cell in cells]

    def measure() -> list[TimingRecord]:
        threads = torch.get_num_threads()
        try:
            return measure_configurations(
                items, ExecutionSpec(), sweep="small", cache_root=corpus_cache, on_progress=lambda share: None
            )
        finally:
            torch.set_num_threads(threads)

    return measure


def test_configurations_take_turns_and_warm_up_first(measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, bool]] = []
    take_step = exclusive.take_step

    def noting(state: Any, batch: Any, **rest: Any) -> Any:
        taken.append((state.spec.config_id, rest["part"].keywords["keep"]))
        return take_step(state, batch, **rest)

    monkeypatch.setattr(exclusive, "take_step", noting)
    records = measure()
    turns = [config for i, (config, _) in enumerate(taken) if i == 0 or taken[i - 1][0] != config]
    assert turns == [record.config_id for record in records] * exclusive.ROUNDS
    for record in records:
        kept = [keep for config, keep in taken if config == record.config_id]
        assert len(list(takewhile(lambda keep: not keep, kept))) >= 3
        assert record.num_steps == sum(kept) >= 20


def test_time_without_the_cpu_shows(measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive, "ROUNDS", 1)
    alone = measure()
    assert all(0.2 < (record.cpu_share or 0.0) < 1.1 for record in alone)  # this machine may be busy
    take_step = exclusive.take_step

    def waiting(*arguments: Any, **rest: Any) -> Any:
        time.sleep(9 * alone[0].step_time_s)
        return take_step(*arguments, **rest)

    monkeypatch.setattr(exclusive, "take_step", waiting)
    assert all((record.cpu_share or 1.0) < 0.2 for record in measure())
