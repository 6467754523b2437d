"""An interrupted run goes on from its checkpoint as if nothing had happened."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from switchbench.data.corpora import PreparedCorpus, prepare_corpus
from switchbench.record import Progress, RunRecord, RunResult
from switchbench.spec import ExecutionSpec, RunSpec
from switchbench.train import checkpoint, run, train_run
from switchbench.train.checkpoint import Position, load_checkpoint, save_checkpoint
from switchbench.train.run import RunStoppedError
from switchbench.train.steps import save_state, start_training
from tests.specs import sparse, tiny_run

TIMES = {"wall_clock_s", "eval_time_s", "eval_share", "run_time_s", "step_time_s", "peak_memory_bytes", "started_at"}
"""Columns that no two runs have in common."""
RESUMED = {"num_resumes"}


class Killed(BaseException):
    """Ends a run as a signal would: nothing in the run catches it."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    folder = tmp_path_factory.mktemp("text")
    for index in range(40):
        (folder / f"{index}.txt").write_text(" ".join(f"word{(index * 7 + i * i) % 50}" for i in range(150)))
    data = tiny_run(data={"corpus": "text", "path": str(folder), "held_out_fraction": 0.1}).data
    return prepare_corpus(data, cache_root=tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _look_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STEPS_BETWEEN_LOOKS", 1)


def train(spec: RunSpec, corpus: PreparedCorpus, *, path: Path | None, kill_after: int | None = None) -> RunResult:
    """Train with a checkpoint before every step; be killed after so many computed steps."""

    def watch(progress: Progress) -> None:
        if kill_after is not None and progress.tokens_done >= kill_after * spec.train.batch_tokens:
            raise Killed

    execution = ExecutionSpec(device="cpu", unfinished=None if path is None else str(path), checkpoint_every_s=0.0)
    return train_run(spec, execution, sweep="test", corpus=corpus, on_progress=watch)


@pytest.fixture(scope="module")
def whole_runs(corpus: PreparedCorpus) -> Callable[[RunSpec], RunResult]:
    """Runs that nobody interrupted, each trained once."""
    done: dict[str, RunResult] = {}

    def whole(spec: RunSpec) -> RunResult:
        if spec.run_id not in done:
            done[spec.run_id] = train_run(spec, ExecutionSpec(device="cpu"), sweep="test", corpus=corpus)
        return done[spec.run_id]

    return whole


def columns(row: RunRecord) -> dict:
    return row.model_dump(exclude=TIMES | RESUMED)


@pytest.mark.parametrize(
    "ffn",
    [{"kind": "dense"}, sparse(router_jitter=0.1, expert_dropout=0.1), sparse(balance="bias")],
    ids=["dense", "noise", "bias"],
)
# 16 steps: points at 4, 8 and 16 with cooldowns from 3, 6 and 12; 3 steps of the 19 are in earlier cooldowns.
@pytest.mark.parametrize("kill_after", [1, 3, 4, 9, 14, 19])
def test_a_killed_run_continues_to_the_same_rows(
    ffn: dict,
    kill_after: int,
    corpus: PreparedCorpus,
    tmp_path: Path,
    whole_runs: Callable[[RunSpec], RunResult],
) -> None:
    spec, path = tiny_run(ffn=ffn), tmp_path / "unfinished.safetensors"
    whole = whole_runs(spec)
    with pytest.raises(Killed):
        train(spec, corpus, path=path, kill_after=kill_after)
    resumed = train(spec, corpus, path=path)
    assert [columns(row) for row in resumed.runs] == [columns(row) for row in whole.runs]
    assert [row.model_dump(exclude=TIMES) for row in resumed.steps] == [
        row.model_dump(exclude=TIMES) for row in whole.steps
    ]
    assert (whole.runs[-1].num_resumes, resumed.runs[-1].num_resumes) == (0, 1)
    assert resumed.runs[-1].run_time_s > 0


def test_a_run_that_is_killed_again_and_again_still_ends(
    corpus: PreparedCorpus, tmp_path: Path, whole_runs: Callable[[RunSpec], RunResult]
) -> None:
    spec, path = tiny_run(ffn=sparse()), tmp_path / "unfinished.safetensors"
    for kill_after in range(2, 19, 2):
        with pytest.raises(Killed):
            train(spec, corpus, path=path, kill_after=kill_after)
    result = train(spec, corpus, path=path)
    assert [columns(row) for row in result.runs] == [columns(row) for row in whole_runs(spec).runs]
    assert result.runs[-1].num_resumes == 9


def test_checkpoints_are_no_more_frequent_than_asked_for(
    corpus: PreparedCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Path] = []
    monkeypatch.setattr(run, "save_checkpoint", lambda path, **rest: saved.append(path))
    train(tiny_run(), corpus, path=tmp_path / "x")
    assert len(saved) == 19  # one before every step
    saved.clear()
    execution = ExecutionSpec(device="cpu", unfinished=str(tmp_path / "x"), checkpoint_every_s=3600.0)
    train_run(tiny_run(), execution, sweep="test", corpus=corpus)
    assert saved == []


@pytest.mark.parametrize("damage", ["truncated", "empty", "of another run", "of another version", "no checkpoint"])
def test_a_file_that_is_no_checkpoint_of_this_run_starts_it_over(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "unfinished.safetensors"
    state = start_training(tiny_run(), device=torch.device("cpu"))
    if damage == "of another version":
        monkeypatch.setattr(checkpoint, "CHECKPOINT_SCHEMA", 0)
    save_checkpoint(path, state=state, position=Position(), rows={})
    monkeypatch.undo()
    assert damage == "of another version" or load_checkpoint(path, state=state) is not None
    match damage:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-100])
        case "empty":
            path.write_bytes(b"")
        case "of another run":
            state = start_training(tiny_run(seed=1), device=torch.device("cpu"))
        case "no checkpoint":
            run.save_weights(state, path)
    before = save_state(state)["model"]
    assert load_checkpoint(path, state=state) is None
    for name, tensor in state.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    corpus: PreparedCorpus, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = train(tiny_run(), corpus, path=tmp_path / "a folder that is not there" / "x")
    assert result.runs[-1].status == "ok"
    assert "no checkpoint was written" in capfd.readouterr().out


def test_a_run_that_is_asked_to_stop_keeps_a_checkpoint(
    corpus: PreparedCorpus, tmp_path: Path, whole_runs: Callable[[RunSpec], RunResult]
) -> None:
    spec, path = tiny_run(ffn=sparse()), tmp_path / "unfinished.safetensors"
    execution = ExecutionSpec(device="cpu", unfinished=str(path), checkpoint_every_s=3600.0)
    answers = iter([False] * 10 + [True])
    with pytest.raises(RunStoppedError):
        train_run(spec, execution, sweep="test", corpus=corpus, should_stop=lambda: next(answers))
    resumed = train_run(spec, execution, sweep="test", corpus=corpus)
    assert [columns(row) for row in resumed.runs] == [columns(row) for row in whole_runs(spec).runs]
    assert resumed.runs[-1].num_resumes == 1
