"""Text that is repeated: how much of it there is, over-fitting that shows, and what is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from switchbench.data.batches import open_train_batches
from switchbench.data.corpora import PreparedCorpus, check_repetition, prepare_corpus
from switchbench.errors import CorpusError
from switchbench.record import RunRecord
from switchbench.spec import ExecutionSpec, RunSpec
from switchbench.train import train_run
from switchbench.train.evaluate import score_dropless
from switchbench.train.steps import start_training
from tests.specs import sparse, tiny_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("text")
    for i in range(40):
        rng = np.random.default_rng(i)
        (root / f"{i}.txt").write_bytes(rng.integers(97, 105, size=1000, dtype=np.uint8).tobytes())
    return root


def prepare(folder: Path, *, repeat: float | None, ffn: Any = None, **train: Any) -> tuple[RunSpec, PreparedCorpus]:
    data = {"corpus": "text", "path": str(folder), "held_out_fraction": 0.1, "repeat": repeat}
    spec = tiny_run(data=data, train={"tokens": 16384} | train, ffn=ffn)
    return spec, prepare_corpus(spec.data, cache_root=folder.parent / "cache")


def end_of(spec: RunSpec, corpus: PreparedCorpus) -> RunRecord:
    end = train_run(spec, ExecutionSpec(device="cpu"), sweep="test", corpus=corpus).runs[-1]
    assert end.status == "ok"
    return end


@pytest.mark.parametrize(("repeat", "unique"), [(1, 16384), (4, 4096), (3, 5472), (1.5, 10944), (None, None)])
def test_the_part_is_the_tokens_over_the_repeats_in_whole_sequences(
    repeat: float | None, unique: int | None, folder: Path
):
    assert prepare(folder, repeat=repeat)[0].unique_tokens == unique


def test_random_text_that_is_repeated_is_learned_by_heart(folder: Path):
    ends = {}
    for repeat in (1, 32):
        spec, corpus = prepare(folder, repeat=repeat, tokens=65536 if repeat > 1 else 16384)
        ends[repeat] = end_of(spec, corpus)
        assert ends[repeat].unique_tokens == spec.unique_tokens
        assert ends[repeat].epochs == repeat
        assert ("REPEATED_DATA" in ends[repeat].caveats) == (repeat > 1)
    gaps = {repeat: end.nll - end.train_text_nll for repeat, end in ends.items()}
    assert abs(gaps[1]) < 0.03, "text that was seen once is as new as any"
    assert gaps[32] > gaps[1] + 0.05


def test_training_and_held_out_text_are_scored_alike(folder: Path):
    spec, corpus = prepare(folder, repeat=16, ffn=sparse(capacity_factor=0.5))
    batches = open_train_batches(spec, corpus=corpus)
    assert batches.windows_per_epoch * 32 == spec.unique_tokens == 1024
    state = start_training(spec, device=torch.device("cpu"), dispatch="loop")
    chosen = [batches.batch(step) for step in range(3)]
    whole = score_dropless(state.model, iter(chosen), spec=spec)
    parts = score_dropless(state.model, iter(chosen), spec=spec, batch_tokens=64)
    slow = []
    with torch.no_grad():
        for batch in chosen:
            logits = state.model(batch.inputs_BS, capacity_factor=None).logits_BSV
            slow.append(-logits.log_softmax(-1).gather(-1, batch.targets_BS[..., None]).double().mean())
    assert whole == pytest.approx(float(torch.stack(slow).mean()), abs=1e-5)
    assert parts == pytest.approx(whole, abs=1e-5)


def test_expert_choice_has_no_dropless_training_nll(folder: Path):
    end = end_of(*prepare(folder, repeat=None, ffn=sparse(router="expert_choice"), tokens=2048))
    assert (end.nll, end.train_text_nll) == (None, None)
    assert end.train_nll is not None


def test_less_text_than_is_to_be_repeated_is_refused(folder: Path):
    spec, corpus = prepare(folder, repeat=1, tokens=65536)
    with pytest.raises(
        CorpusError,
        match=re.escape("data.repeat 1 of train.tokens 65536 needs 65536 training tokens, and ")
        + r".* has \d+; raise data\.repeat, lower train\.tokens, or give more text",
    ):
        check_repetition(spec, corpus)
    check_repetition(prepare(folder, repeat=4, tokens=65536)[0], corpus)
    check_repetition(prepare(folder, repeat=None, tokens=65536)[0], corpus)


def test_tokens_of_another_vocabulary_are_refused(folder: Path):
    spec, corpus = prepare(folder, repeat=None)
    with pytest.raises(
        CorpusError, match=r"has a vocabulary of 256, and the run's model was planned with 300; plan the"
    ):
        open_train_batches(spec.model_copy(update={"vocab_size": 300}), corpus=corpus)
