"""Batches: determinism, coverage, shift by one, straddling epochs, and the same data for twins."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.data.batches import TrainBatches, held_out_batches
from switchbench.data.tokenizers import Tokens
from switchbench.errors import CorpusError


def counting(length: int) -> Tokens:
    """Tokens that tell their own place."""
    return np.arange(length, dtype=np.uint32)


shapes = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(0, 200)).map(
    lambda drawn: (drawn[0], drawn[0] * drawn[1], drawn[0] + 1 + drawn[2])
)  # seq_len, batch_tokens, length of the stream


def sequences(batches: TrainBatches, *, num_windows: int, per_batch: int) -> list[list[int]]:
    """The first windows of the stream of batches, as lists of inputs."""
    steps = -(-num_windows // per_batch)
    rows = itertools.chain.from_iterable(batches.batch(step).inputs_BS.tolist() for step in range(steps))
    return list(itertools.islice(rows, num_windows))


@settings(deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**31 - 1), step=st.integers(0, 10_000))
def test_targets_are_the_inputs_shifted_by_one(shape: tuple[int, int, int], seed: int, step: int):
    seq_len, batch_tokens, length = shape
    batch = TrainBatches(counting(length), seq_len=seq_len, batch_tokens=batch_tokens, seed=seed).batch(step)
    assert batch.inputs_BS.shape == batch.targets_BS.shape == (batch_tokens // seq_len, seq_len)
    assert batch.inputs_BS.dtype == batch.targets_BS.dtype == torch.int64
    assert batch.inputs_BS.is_contiguous()
    assert batch.targets_BS.is_contiguous()
    assert torch.equal(batch.targets_BS, batch.inputs_BS + 1), "the stream counts up"
    assert int(batch.inputs_BS.min()) >= 0
    assert int(batch.targets_BS.max()) < length


@settings(deadline=None)
@given(shape=shapes, seed=st.integers(0, 1000))
def test_every_epoch_visits_each_window_once_and_cuts_anew(shape: tuple[int, int, int], seed: int):
    seq_len, batch_tokens, length = shape
    batches = TrainBatches(counting(length), seq_len=seq_len, batch_tokens=batch_tokens, seed=seed)
    per_epoch = batches.windows_per_epoch
    assert length - per_epoch * seq_len <= 2 * seq_len, "little of the stream is left over"
    stream = sequences(batches, num_windows=3 * per_epoch, per_batch=batch_tokens // seq_len)
    for epoch in range(3):
        seen = sorted(itertools.chain.from_iterable(stream[epoch * per_epoch : (epoch + 1) * per_epoch]))
        assert seen == list(range(seen[0], seen[0] + per_epoch * seq_len)), "side by side, each token once"
        assert seen[0] < seq_len


def test_epochs_differ_in_order_and_in_their_cuts():
    batches = TrainBatches(counting(64 * 101), seq_len=64, batch_tokens=64, seed=0)
    stream = sequences(batches, num_windows=1000, per_batch=1)
    epochs = [stream[100 * i : 100 * (i + 1)] for i in range(10)]
    assert len({min(row[0] for row in epoch) for epoch in epochs}) >= 8, "ten offsets drawn from 64"
    orders = {tuple(np.argsort([row[0] for row in epoch]).tolist()) for epoch in epochs}
    assert len(orders) == 10


def test_a_batch_may_reach_into_the_next_epoch():
    batches = TrainBatches(counting(1 + 10 * 4 + 3), seq_len=4, batch_tokens=12, seed=3)
    assert batches.windows_per_epoch == 10
    one_by_one = TrainBatches(counting(1 + 10 * 4 + 3), seq_len=4, batch_tokens=4, seed=3)
    assert sequences(batches, num_windows=30, per_batch=3) == sequences(one_by_one, num_windows=30, per_batch=1)


def test_a_batch_may_be_larger_than_the_corpus():
    batch = TrainBatches(counting(9), seq_len=4, batch_tokens=400, seed=0).batch(5)
    starts = batch.inputs_BS[:, 0].tolist()
    assert set(starts) == {0, 1, 2, 3}, "one window per epoch, at every offset sooner or later"


@settings(deadline=None)
@given(steps=st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_access_is_random_and_twins_see_the_same_data(steps: list[int]):
    tokens = np.random.default_rng(0).integers(0, 256, size=500, dtype=np.uint8)
    twin = TrainBatches(tokens, seq_len=8, batch_tokens=40, seed=11)
    in_order = [twin.batch(step) for step in range(61)]
    jumping = TrainBatches(tokens.copy(), seq_len=8, batch_tokens=40, seed=11)
    for step in steps:
        batch = jumping.batch(step)
        assert torch.equal(batch.inputs_BS, in_order[step].inputs_BS)
        assert torch.equal(batch.targets_BS, in_order[step].targets_BS)


def test_seeds_differ_and_the_global_generators_are_left_alone():
    torch.manual_seed(1)
    np.random.seed(1)
    first, second = (TrainBatches(counting(5000), seq_len=8, batch_tokens=64, seed=seed).batch(0) for seed in (0, 1))
    assert not torch.equal(first.inputs_BS, second.inputs_BS)
    drawn = (float(torch.rand(())), float(np.random.rand()))
    torch.manual_seed(1)
    np.random.seed(1)
    assert drawn == (float(torch.rand(())), float(np.random.rand()))


def test_changing_a_batch_leaves_the_corpus_as_it_is():
    tokens = np.arange(100, dtype=np.uint8)
    tokens.flags.writeable = False  # as a memory map of the corpus is
    batches = TrainBatches(tokens, seq_len=4, batch_tokens=8, seed=0)
    before = batches.batch(0).inputs_BS.clone()
    batches.batch(0).inputs_BS.zero_()
    assert torch.equal(batches.batch(0).inputs_BS, before)


@settings(deadline=None)
@given(shape=shapes)
def test_held_out_windows_stand_side_by_side_in_order(shape: tuple[int, int, int]):
    seq_len, batch_tokens, length = shape
    batches = list(held_out_batches(counting(length), seq_len=seq_len, batch_tokens=batch_tokens, max_tokens=None))
    inputs = torch.cat([batch.inputs_BS for batch in batches]).flatten()
    targets = torch.cat([batch.targets_BS for batch in batches]).flatten()
    num_scored = (length - 1) // seq_len * seq_len
    assert inputs.tolist() == list(range(num_scored))
    assert targets.tolist() == list(range(1, num_scored + 1))
    assert all(batch.inputs_BS.numel() == batch_tokens for batch in batches[:-1])
    assert 0 < batches[-1].inputs_BS.numel() <= batch_tokens


def test_a_limited_evaluation_is_spread_over_the_whole_stream():
    batches = list(held_out_batches(counting(1001), seq_len=10, batch_tokens=40, max_tokens=109))
    starts = torch.cat([batch.inputs_BS for batch in batches])[:, 0].tolist()
    assert starts == [100 * i for i in range(10)]
    assert [len(batch.inputs_BS) for batch in batches] == [4, 4, 2]
    (single,) = held_out_batches(counting(1001), seq_len=10, batch_tokens=40, max_tokens=3)
    assert single.inputs_BS.tolist() == [list(range(10))], "one window at least"


@pytest.mark.parametrize("length", [0, 8])
def test_too_few_tokens_are_refused(length: int):
    with pytest.raises(CorpusError, match=rf"^{length} tokens .*data\.seq_len 8 .* at most {max(length - 1, 0)}$"):
        TrainBatches(counting(length), seq_len=8, batch_tokens=8, seed=0)
    with pytest.raises(CorpusError, match=rf"^{length} tokens "):
        held_out_batches(counting(length), seq_len=8, batch_tokens=8, max_tokens=None)


@settings(deadline=None)
@given(shape=shapes, num_windows=st.integers(1, 30), seed=st.integers(0, 1000))
def test_a_part_of_the_text_is_seen_again_and_again(shape: tuple[int, int, int], num_windows: int, seed: int):
    seq_len, batch_tokens, length = shape
    batches = TrainBatches(
        counting(length), seq_len=seq_len, batch_tokens=batch_tokens, seed=seed, unique_tokens=num_windows * seq_len
    )
    per_epoch = batches.windows_per_epoch
    available = (length - 1) // seq_len
    assert per_epoch == min(num_windows, available)
    stream = sequences(batches, num_windows=3 * per_epoch, per_batch=batch_tokens // seq_len)
    epochs = [stream[i * per_epoch : (i + 1) * per_epoch] for i in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs), "the same sequences, in another order"
    starts = sorted(row[0] for row in epochs[0])
    assert len(set(starts)) == per_epoch
    assert all(start % seq_len == 0 for start in starts)
    gaps = np.diff([*starts, available * seq_len]) // seq_len
    assert gaps.max() - gaps.min() <= 1, "spread evenly over the stream"


def test_half_of_the_part_is_within_the_part():
    seen = [
        {tuple(row) for row in sequences(batches, num_windows=windows, per_batch=1)}
        for windows in (64, 32)
        for batches in (TrainBatches(counting(4097), seq_len=8, batch_tokens=8, seed=0, unique_tokens=8 * windows),)
    ]
    assert seen[1] < seen[0]


@settings(deadline=None)
@given(seq_len=st.integers(1, 9), num_documents=st.integers(1, 40), seed=st.integers(0, 99))
def test_documents_that_fill_a_window_are_never_cut(seq_len: int, num_documents: int, seed: int):
    stream = counting(num_documents * (seq_len + 1))
    batches = TrainBatches(stream, seq_len=seq_len, batch_tokens=2 * seq_len, seed=seed, window_tokens=seq_len + 1)
    assert batches.windows_per_epoch == num_documents
    rows = sequences(batches, num_windows=num_documents, per_batch=2)
    documents = stream.reshape(num_documents, seq_len + 1)[:, :-1].tolist()
    assert sorted(rows) == documents
    held_out = held_out_batches(
        stream, seq_len=seq_len, batch_tokens=2 * seq_len, max_tokens=None, window_tokens=seq_len + 1
    )
    assert torch.cat([batch.inputs_BS for batch in held_out]).tolist() == documents
