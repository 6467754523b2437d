"""Text of known entropy: a Markov chain in dialects, whose successors are Zipf-distributed.

Each document opens with one of K dialect symbols, drawn with p(k) ~ 1/k. Its first symbol is uniform. From then on the
next symbol is the one of rank r in the dialect's own order of successors of the symbol before, a random permutation of
all V symbols, and p(r) ~ r^-s. So the entropy rate within a document is that of Zipf(s), whatever the dialect, and to
reach it a model must store K·V orders of V symbols. A document is one sequence and its last target: the dialect symbol
is an input, never a target.

Axes: N documents, S positions, V symbols, K dialects.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from switchbench.data.tokenizers import Tokens, token_dtype
from switchbench.spec import DataSpec

GENERATOR = "zipf-markov 1"
"""Part of the fingerprint; raised when the same fields would give another text."""

_DOCUMENTS_AT_ONCE = 4096

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ZipfMarkov:
    """The generator of a text, and what is known of it."""

    num_symbols: int
    """Symbols, V: the tokens from 0 on."""
    num_dialects: int
    """Dialects, K: the tokens after the symbols."""
    zipf_exponent: float
    """s of the successors' distribution."""
    seq_len: int
    """Symbols of a document, S, behind its dialect symbol."""
    seed: int
    """Seed of the tables and of the text."""

    @property
    def vocab_size(self) -> int:
        """Tokens: symbols and dialect symbols."""
        return self.num_symbols + self.num_dialects

    @property
    def document_tokens(self) -> int:
        """Tokens of a document, its dialect symbol included."""
        return self.seq_len + 1

    @property
    def rank_probs_V(self) -> Floats:
        """Probability of each rank of successor."""
        return zipf_probs(self.num_symbols, exponent=self.zipf_exponent)

    @property
    def entropy_rate(self) -> float:
        """Entropy of a symbol given those before it and the dialect, nats; the first symbol of a document aside."""
        probs = self.rank_probs_V
        return float(-(probs * np.log(probs)).sum())

    def successors_KVV(self) -> Tokens:
        """The symbol of each rank, by dialect and symbol before; shape [K, V, V]."""
        draws = np.random.PCG64(np.random.SeedSequence([self.seed, 0]))
        size = self.num_dialects * self.num_symbols**2
        # The raw bits of a generator are the same in every version of NumPy; what is made of them there is not.
        keys = draws.random_raw(size).reshape(self.num_dialects, self.num_symbols, self.num_symbols)
        return np.argsort(keys, axis=2, kind="stable").astype(token_dtype(self.num_symbols))

    def documents(self, *, first: int, last: int) -> Iterator[tuple[Tokens, float]]:
        """Generate a range of documents; any document is the same whichever others are asked for.

        Args:
            first: Number of the first document.
            last: Number after the last.

        Yields:
            Documents, shape [N, 1 + S], and their nll under the generator, summed over all symbols, nats.
        """
        successors_KVV = self.successors_KVV()
        rank_probs_V = self.rank_probs_V
        dialect_cdf: Floats = np.cumsum(zipf_probs(self.num_dialects, exponent=1.0))
        rank_cdf: Floats = np.cumsum(rank_probs_V)
        for chunk in range(first // _DOCUMENTS_AT_ONCE, -(-last // _DOCUMENTS_AT_ONCE)):
            draws = np.random.PCG64(np.random.SeedSequence([self.seed, 1, chunk]))
            bits = draws.random_raw(_DOCUMENTS_AT_ONCE * self.document_tokens) >> np.uint64(11)
            begin = chunk * _DOCUMENTS_AT_ONCE
            bits = bits.reshape(_DOCUMENTS_AT_ONCE, -1)[max(first - begin, 0) : last - begin]
            uniforms = bits.astype(np.float64) * 2.0**-53
            dialect_N = _draw(uniforms[:, 0], cdf=dialect_cdf)
            ranks_NS = _draw(uniforms[:, 2:], cdf=rank_cdf)
            tokens = np.empty(uniforms.shape, dtype=token_dtype(self.vocab_size))
            tokens[:, 0] = self.num_symbols + dialect_N
            tokens[:, 1] = symbol_N = (uniforms[:, 1] * self.num_symbols).astype(np.int64)
            for position in range(ranks_NS.shape[1]):
                symbol_N = successors_KVV[dialect_N, symbol_N, ranks_NS[:, position]].astype(np.int64)
                tokens[:, 2 + position] = symbol_N
            rank_counts_V = np.bincount(ranks_NS.ravel(), minlength=self.num_symbols)
            drawn = rank_counts_V > 0  # a rank may be too rare to have a probability above 0
            nll = len(tokens) * math.log(self.num_symbols)
            nll -= float(rank_counts_V[drawn] @ np.log(rank_probs_V[drawn]))
            yield tokens, nll


def generator_of(data: DataSpec) -> ZipfMarkov:
    """The generator that a specification describes."""
    return ZipfMarkov(
        num_symbols=data.num_symbols,
        num_dialects=data.num_dialects,
        zipf_exponent=data.zipf_exponent,
        seq_len=data.seq_len,
        seed=data.generator_seed,
    )


def generator_fingerprint(data: DataSpec) -> str:
    """Fingerprint of a generated corpus: its fields, the length of sequences and the share held out."""
    definition = (GENERATOR, repr(generator_of(data)), f"{data.num_documents}, held out {data.held_out_fraction!r}")
    return hashlib.sha256("\n".join(definition).encode()).hexdigest()[:16]


def num_held_out_documents(data: DataSpec) -> int:
    """Documents that are held out, the last ones: at least one on either side."""
    wanted = round(data.num_documents * data.held_out_fraction)
    return min(max(wanted, 1), data.num_documents - 1)


def zipf_probs(size: int, *, exponent: float) -> Floats:
    """Zipf's distribution, p(rank) ~ rank^-exponent, over ranks from 1.

    >>> zipf_probs(3, exponent=1.0).round(3).tolist()
    [0.545, 0.273, 0.182]
    """
    weights: Floats = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    weights /= weights.sum()
    return weights


def _draw(uniforms: Floats, *, cdf: Floats) -> npt.NDArray[np.int64]:
    """Draw from a distribution by its cumulative sums, whose last may be a rounding below 1."""
    return np.minimum(np.searchsorted(cdf, uniforms, side="right"), len(cdf) - 1)
