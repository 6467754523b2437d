"""Writing on from a prompt: the prompt at once, then token by token, with times and what the routers decided."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from switchbench.errors import UsageError
from switchbench.generate.checkpoint import Checkpoint
from switchbench.generate.decoding import Decoder, Extension
from switchbench.generate.sampling import Sampling, choose_token
from switchbench.generate.text import encode_prompt, growing_text, token_text
from switchbench.generate.trace import Trace

WRITING_SCHEMA = 1
"""Version of the JSON object."""


@dataclass(kw_only=True)
class Writing:
    """What a model wrote, and how fast."""

    checkpoint: Checkpoint
    """The model."""
    prompt: str
    """What it was to go on from."""
    prompt_tokens: list[int]
    """The separator, and the tokens of the prompt."""
    sampling: Sampling
    """How tokens were chosen."""
    most_tokens: int
    """Tokens that were asked for."""
    seed: int
    """Seed of chance."""
    tokens: list[int] = field(default_factory=list)
    """The tokens that it wrote; the separator that ended the document is not one of them."""
    text: str = ""
    """Their text."""
    is_ended: bool = False
    """Whether the model ended the document."""
    prompt_time_s: float = 0.0
    """Time to read the prompt."""
    token_time_s: float = 0.0
    """Time of all tokens after the first one, which comes with the prompt."""
    trace: Trace | None = None
    """Which expert took each token; None: nobody asked."""

    @property
    def prompt_tokens_per_second(self) -> float:
        """How fast the prompt was read."""
        return len(self.prompt_tokens) / self.prompt_time_s

    @property
    def tokens_per_second(self) -> float | None:
        """How fast it was written; None where there is but one token."""
        steps = len(self.tokens) - (not self.is_ended)
        return steps / self.token_time_s if steps > 0 and self.token_time_s > 0 else None

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the text."""
        notes = []
        seq_len = self.checkpoint.spec.data.seq_len
        if len(self.prompt_tokens) + len(self.tokens) > seq_len:
            notes.append(
                f"the text is longer than the {seq_len} tokens of a training sequence; each token sees the last "
                f"{seq_len}, itself included"
            )
        if self.is_ended:
            notes.append(f"the document ended after {len(self.tokens)} tokens")
        return notes

    def as_json(self) -> dict[str, Any]:
        """Give it as one JSON object."""
        return {
            "schema_version": WRITING_SCHEMA,
            "run_id": self.checkpoint.run_id,
            "sweep": self.checkpoint.sweep,
            "prompt": self.prompt.encode(errors="surrogateescape").decode(errors="backslashreplace"),
            "prompt_tokens": self.prompt_tokens,
            "text": self.text,
            "tokens": self.tokens,
            "ended_by": "model" if self.is_ended else "length",
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "seed": self.seed,
            "prompt_tokens_per_second": self.prompt_tokens_per_second,
            "tokens_per_second": self.tokens_per_second,
            "notes": self.notes,
            "trace": None if self.trace is None else self.trace.as_json(),
        }


def write_on(
    checkpoint: Checkpoint,
    prompt: str,
    *,
    num_tokens: int,
    sampling: Sampling,
    seed: int,
    with_trace: bool = False,
    on_text: Callable[[str], object] = lambda text: None,
) -> Writing:
    """Write on from a prompt, until the model ends the document or there are enough tokens.

    The prompt begins a document: the separator stands before it, as before every document in training.

    Args:
        checkpoint: The model.
        prompt: The beginning; may be empty.
        num_tokens: Most tokens to write.
        sampling: How they are chosen.
        seed: Seed of chance: the same on one machine gives the same text.
        with_trace: Whether to note which expert took each token.
        on_text: Takes the text as it comes.

    Raises:
        UsageError: a part of the prompt has no token, or a number is out of range.
    """
    if num_tokens < 1:
        raise UsageError(f"--tokens {num_tokens} is out of range; give 1 or more")
    if not 0 <= seed < 2**63:
        raise UsageError(f"--seed {seed} is out of range; give a number from 0 to {2**63 - 1}")
    tokenizer, path = checkpoint.tokenizer, checkpoint.tokenizer_path
    writing = Writing(
        checkpoint=checkpoint,
        prompt=prompt,
        prompt_tokens=encode_prompt(prompt, tokenizer=tokenizer, tokenizer_path=path),
        sampling=sampling,
        most_tokens=num_tokens,
        seed=seed,
        trace=Trace(layers=tuple(sorted(checkpoint.spec.model.sparse_layers))) if with_trace else None,
    )
    text = growing_text(tokenizer, tokenizer_path=path)
    text.begin(writing.prompt_tokens)
    for token in _tokens(writing, random=torch.Generator().manual_seed(seed)):
        writing.tokens.append(token)
        piece = text.add([token])
        writing.text += piece
        on_text(piece)
    rest = text.end()
    writing.text += rest
    on_text(rest)
    if writing.trace is not None:
        read = [*writing.prompt_tokens, *writing.tokens]
        writing.trace.texts += [token_text(token, tokenizer=tokenizer) for token in read]
        writing.trace.tokens += read
        writing.trace.num_prompt_tokens = len(writing.prompt_tokens)
    return writing


def _tokens(writing: Writing, *, random: torch.Generator) -> Iterator[int]:
    """Read the prompt in pieces of a window, then choose and read token after token."""
    checkpoint, prompt = writing.checkpoint, writing.prompt_tokens
    window = checkpoint.spec.data.seq_len
    start_s = time.perf_counter()
    decoder = Decoder(checkpoint.model, window=window, num_positions=len(prompt) + writing.most_tokens)
    for first in range(0, len(prompt), window):
        last = _read(decoder, prompt[first : first + window], writing=writing)
    token = choose_token(last.logits_SV[-1], sampling=writing.sampling, random=random)
    writing.prompt_time_s = time.perf_counter() - start_s
    for number in range(1, writing.most_tokens + 1):
        if token == checkpoint.tokenizer.separator:
            writing.is_ended = True
            return
        yield token
        if number == writing.most_tokens:
            if writing.trace is not None:
                _read(decoder, [token], writing=writing)
            return
        start_s = time.perf_counter()
        last = _read(decoder, [token], writing=writing)
        token = choose_token(last.logits_SV[-1], sampling=writing.sampling, random=random)
        writing.token_time_s += time.perf_counter() - start_s


def _read(decoder: Decoder, tokens: list[int], *, writing: Writing) -> Extension:
    extension = decoder.read(tokens)
    if writing.trace is not None:
        writing.trace.add(extension.routings)
    return extension
