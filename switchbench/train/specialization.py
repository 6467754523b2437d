"""Which tokens each expert takes on held-out text: counted in the last evaluation, kept by class of token.

Axes: L sparse layers, E experts, V vocabulary, G groups of tokens (the tokens themselves, or their classes), C classes,
T tokens, N kept assignments.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from switchbench.data.corpora import PreparedCorpus
from switchbench.data.token_classes import TOKEN_CLASSES, classes_of_tokens
from switchbench.data.tokenizers import open_tokenizer
from switchbench.information import entropy, mutual_information
from switchbench.model.router import Routing
from switchbench.spec import RunSpec, SparseFFNSpec

MOST_COUNTS = 2**19
"""Counts in all layers up to which tokens are counted one by one (4 MiB); beyond it, only their classes are."""


@dataclass(kw_only=True)
class Tally:
    """Assignments of held-out tokens to experts, counted."""

    class_of_token_V: Tensor | None
    """Class of each token; None of symbols, which are no text."""
    is_by_token: bool
    """Whether tokens are counted one by one, and not their classes."""
    counts_LEG: Tensor
    """The counts."""

    def add(self, routings: tuple[Routing, ...], *, token_T: Tensor) -> None:
        """Count what the routers decided about a batch.

        Args:
            routings: One per sparse layer, from the bottom up.
            token_T: The tokens at these places.
        """
        _, num_experts, num_groups = self.counts_LEG.shape
        group_T = token_T
        if not self.is_by_token:
            assert self.class_of_token_V is not None, "tokens are counted one by one or by class"
            group_T = self.class_of_token_V[token_T]
        for counts_EG, routing in zip(self.counts_LEG, routings, strict=True):
            expert_E = torch.arange(num_experts, device=token_T.device)
            expert_N = expert_E.repeat_interleave(routing.kept_per_expert_E)
            place_N = expert_N * num_groups + group_T[routing.token_N]
            counts_EG += torch.bincount(place_N, minlength=num_experts * num_groups).view_as(counts_EG)

    def columns(self) -> dict[str, Any]:
        """Give the columns of the run's row."""
        columns: dict[str, Any] = {}
        if self.is_by_token:
            tables = self.counts_LEG.cpu().numpy()
            columns["expert_token_information"] = [mutual_information(table) for table in tables]
            columns["held_out_token_entropy"] = entropy(tables[0].sum(axis=0))
        if self.class_of_token_V is not None:
            columns["token_classes_by_expert"] = self._by_class().tolist()
        return columns

    def _by_class(self) -> Tensor:
        if not self.is_by_token:
            return self.counts_LEG
        assert self.class_of_token_V is not None, "asked for by whoever knows the classes"
        by_class_LEC = self.counts_LEG.new_zeros(*self.counts_LEG.shape[:2], len(TOKEN_CLASSES))
        return by_class_LEC.index_add_(2, self.class_of_token_V, self.counts_LEG)


def start_tally(spec: RunSpec, *, corpus: PreparedCorpus, device: torch.device) -> Tally | None:
    """Start counting.

    Args:
        spec: The run.
        corpus: Its corpus.
        device: Where the model lives.

    Returns:
        The counts, all 0; None where there are no experts to be told apart, or too many symbols to be counted.
    """
    ffn, num_layers = spec.model.ffn, len(spec.model.sparse_layers)
    if not isinstance(ffn, SparseFFNSpec) or num_layers == 0:
        return None
    is_text = spec.data.corpus_kind != "zipf-markov"
    is_by_token = num_layers * ffn.num_experts * spec.vocab_size <= MOST_COUNTS
    if not is_text and not is_by_token:
        return None
    classes = None
    if is_text:
        classes = torch.from_numpy(classes_of_tokens(open_tokenizer(corpus.tokenizer_path))).to(device)
    num_groups = spec.vocab_size if is_by_token else len(TOKEN_CLASSES)
    return Tally(
        class_of_token_V=classes,
        is_by_token=is_by_token,
        counts_LEG=torch.zeros(num_layers, ffn.num_experts, num_groups, dtype=torch.int64, device=device),
    )
