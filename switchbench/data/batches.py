"""Batches: windows of a token stream, found by step number alone, so that dense and sparse twins see the same data.

Legend: B sequences, S positions. The targets are the inputs shifted by one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from switchbench.data.cache import PreparedCorpus, read_tokens
from switchbench.data.tokenizers import Tokens
from switchbench.errors import CorpusError
from switchbench.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Sequences and what is to be predicted at each of their positions; int64, on the CPU."""

    inputs_BS: torch.Tensor
    """Tokens that are read."""
    targets_BS: torch.Tensor
    """The token that follows each of them."""


class TrainBatches:
    """Endless training batches over a token stream, by random access.

    An epoch cuts the stream into windows of seq_len positions, side by side, and visits them in an order of its own.
    Where the cuts lie is drawn anew for each epoch as well, so that repeated text is not cut in the same places. Within
    an epoch no token is read twice or predicted twice; what is left over at the two ends of the stream, at most
    2·seq_len tokens, is not predicted in that epoch. A batch may reach from one epoch into the next. Everything follows
    from the arguments.

    Where a document fills a sequence, and where only a part of the text is used, the cuts stay where they are.

    Args:
        tokens: The training tokens, one-dimensional; may be memory-mapped.
        seq_len: Positions per sequence, S.
        batch_tokens: Tokens per batch, B·S; a multiple of seq_len.
        seed: Seed of the order.
        window_tokens: Tokens from the start of a sequence to that of the next, S + 1 where a document is a sequence and
            its last target; None: seq_len.
        unique_tokens: Use so many tokens, whole sequences spread evenly over the stream; None: all.

    Raises:
        CorpusError: the stream is shorter than one sequence and its last target.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        seq_len: int,
        batch_tokens: int,
        seed: int,
        window_tokens: int | None = None,
        unique_tokens: int | None = None,
    ) -> None:
        assert batch_tokens % seq_len == 0, "a batch is whole sequences"
        _check_length(tokens, seq_len=seq_len)
        is_fixed = unique_tokens is not None or window_tokens not in (None, seq_len)
        self._cuts = _cuts(len(tokens), seq_len, window_tokens, max_tokens=unique_tokens) if is_fixed else None
        self._tokens = np.asarray(tokens)  # a plain view: indexing a np.memmap costs more
        self._seq_len = seq_len
        self._batch_sequences = batch_tokens // seq_len
        self._seed = seed
        self._starts: dict[int, npt.NDArray[np.int64]] = {}
        self.windows_per_epoch = len(self._cuts) if self._cuts is not None else max(1, len(tokens) // seq_len - 1)
        """Sequences per epoch; the same in each, wherever the cuts lie."""

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0.

        Returns:
            Inputs and targets, shapes [B, S].
        """
        first = step * self._batch_sequences
        last = first + self._batch_sequences
        starts = []
        while first < last:
            epoch, place = divmod(first, self.windows_per_epoch)
            starts.append(self._epoch_starts(epoch)[place : place + last - first])
            first += len(starts[-1])
        return _gather(self._tokens, np.concatenate(starts), seq_len=self._seq_len)

    def _epoch_starts(self, epoch: int) -> npt.NDArray[np.int64]:
        """First token of each window of an epoch, in the order of the visits."""
        if epoch not in self._starts:
            rng = np.random.default_rng((self._seed, epoch))
            # Two epochs are enough for a batch that straddles them, unless the corpus is smaller than a batch.
            while len(self._starts) > 1:
                del self._starts[next(iter(self._starts))]
            if self._cuts is not None:
                self._starts[epoch] = self._cuts[rng.permutation(self.windows_per_epoch)]
                return self._starts[epoch]
            spare = len(self._tokens) - self.windows_per_epoch * self._seq_len  # at least 1, for the last target
            offset = rng.integers(min(self._seq_len, spare))
            order = rng.permutation(self.windows_per_epoch)
            self._starts[epoch] = offset + self._seq_len * order
        return self._starts[epoch]


def open_train_batches(spec: RunSpec, *, corpus: PreparedCorpus) -> TrainBatches:
    """Open the training batches of a run.

    Args:
        spec: The run.
        corpus: The run's corpus.

    Raises:
        CorpusError: the tokens cannot be read, are too few, or are not those of the run's vocabulary.
    """
    if corpus.vocab_size != spec.vocab_size:
        raise CorpusError(
            f"the tokenizer of corpus {corpus.fingerprint} has a vocabulary of {corpus.vocab_size}, and the run's "
            f"model was planned with {spec.vocab_size}; plan the sweep again with the same tokenizer"
        )
    return TrainBatches(
        read_tokens(corpus.train_tokens_path, vocab_size=spec.vocab_size),
        seq_len=spec.data.seq_len,
        batch_tokens=spec.train.batch_tokens,
        seed=spec.random_seed,
        window_tokens=spec.data.window_tokens,
        unique_tokens=spec.unique_tokens,
    )


def held_out_batches(
    tokens: Tokens, *, seq_len: int, batch_tokens: int, max_tokens: int | None, window_tokens: int | None = None
) -> Iterator[Batch]:
    """Cut a token stream into windows side by side, from its first token, and give them in order.

    Args:
        tokens: The held-out tokens, one-dimensional; may be memory-mapped.
        seq_len: Positions per sequence, S.
        batch_tokens: Tokens per batch, B·S; a multiple of seq_len. The last batch may have fewer, whole sequences.
        max_tokens: Score at most this many tokens, but one window at least: windows spread evenly over the stream, so
            that they come from all of its documents; None: all of them.
        window_tokens: Tokens from the start of a window to that of the next; None: seq_len.

    Raises:
        CorpusError: the stream is shorter than one sequence and its last target.
    """
    assert batch_tokens % seq_len == 0, "a batch is whole sequences"
    _check_length(tokens, seq_len=seq_len)
    starts = _cuts(len(tokens), seq_len, window_tokens, max_tokens=max_tokens)
    return _in_batches(np.asarray(tokens), starts, seq_len=seq_len, batch_sequences=batch_tokens // seq_len)


def _cuts(num_tokens: int, seq_len: int, window_tokens: int | None, *, max_tokens: int | None) -> npt.NDArray[np.int64]:
    """Starts of the windows of a stream from its first token on: of all, or of some that are spread evenly over it."""
    stride = window_tokens or seq_len
    num_windows = (num_tokens - seq_len - 1) // stride + 1
    num_chosen = num_windows if max_tokens is None else min(num_windows, max(1, max_tokens // seq_len))
    return stride * (np.arange(num_chosen) * num_windows // num_chosen)


def _in_batches(
    tokens: Tokens, starts: npt.NDArray[np.int64], *, seq_len: int, batch_sequences: int
) -> Iterator[Batch]:
    for i in range(math.ceil(len(starts) / batch_sequences)):
        yield _gather(tokens, starts[i * batch_sequences : (i + 1) * batch_sequences], seq_len=seq_len)


def _gather(tokens: Tokens, starts: npt.NDArray[np.int64], *, seq_len: int) -> Batch:
    windows = tokens[starts[:, None] + np.arange(seq_len + 1)]
    return Batch(
        inputs_BS=torch.from_numpy(windows[:, :-1].astype(np.int64, order="C")),
        targets_BS=torch.from_numpy(windows[:, 1:].astype(np.int64, order="C")),
    )


def _check_length(tokens: Tokens, *, seq_len: int) -> None:
    if len(tokens) < seq_len + 1:
        raise CorpusError(
            f"{len(tokens)} tokens are fewer than one sequence of data.seq_len {seq_len} and its last target; "
            f"give more text or lower data.seq_len to at most {max(len(tokens) - 1, 0)}"
        )
