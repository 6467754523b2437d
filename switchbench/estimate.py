"""What models cost before anybody builds them: published ones, sizes of the ladder and the cells of a sweep file.

By arithmetic alone, so that 1.6 trillion weights are as quick as fifty thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from switchbench import units
from switchbench.cost import TRAIN_OVER_FORWARD, forward_flops_of, paper_forward_flops, parameters_of
from switchbench.errors import SpecError
from switchbench.published import PUBLISHED
from switchbench.spec import SIZES, Architecture, ModelSpec, architecture_of

Convention = Literal["ours", "paper"]
SOURCE_LEN, TARGET_LEN = 512, 114
"""Tokens per sequence of an encoder-decoder model: those that reproduce the Switch Transformer's Table 9."""
DECODER_LEN = 2048
"""Tokens per sequence of a published decoder-only model."""
LADDER_LEN, LADDER_VOCABULARY = 128, 256
"""Sequence length and (bytes) vocabulary of a size of the ladder."""
BYTES_PER_WEIGHT = {"weights": 4, "gradients": 4, "optimizer": 8}
"""In float32 with AdamW's two moments."""
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one model costs."""

    name: str
    """Name as asked for."""
    architecture: Architecture
    """Its architecture."""
    source_len: int
    """Tokens of the encoder; 0 for a decoder-only model."""
    target_len: int
    """Tokens of the decoder."""
    convention: Convention
    """How its FLOPs are counted."""
    note: str | None
    """What is to be said of it."""

    @property
    def forward_flops_per_sequence(self) -> float:
        """Useful forward FLOPs of one sequence."""
        lengths = {"source_len": self.source_len, "target_len": self.target_len}
        if self.convention == "paper":
            return paper_forward_flops(self.architecture, **lengths)
        return forward_flops_of(self.architecture, **lengths).total.total

    def as_json(self) -> dict[str, Any]:
        """Give all of it, with the parameters and (in our convention) the FLOPs per component."""
        parameters = parameters_of(self.architecture)
        num_tokens = self.source_len + self.target_len
        per_token = self.forward_flops_per_sequence / num_tokens
        flops = forward_flops_of(self.architecture, source_len=self.source_len, target_len=self.target_len).per_token
        return {
            "name": self.name,
            "params_total": parameters.total,
            "params_active": parameters.active,
            "parameters": {field.name: getattr(parameters, field.name) for field in fields(parameters)},
            "sequence_tokens": num_tokens,
            "forward_flops_per_token": per_token,
            "forward_flops_per_sequence": self.forward_flops_per_sequence,
            "train_flops_per_token": TRAIN_OVER_FORWARD * per_token,
            "forward_flops_per_token_by_component": None
            if self.convention == "paper"
            else {field.name: getattr(flops, field.name) for field in fields(flops)},
            "memory_bytes": {name: size * parameters.total for name, size in BYTES_PER_WEIGHT.items()},
            "note": self.note,
        }


def estimate(names: Sequence[str], *, convention: Convention = "ours") -> tuple[Estimate, ...]:
    """Estimate what models cost.

    Args:
        names: Published models, sizes of the ladder (as a dense model), or ``SIZE-E``, a Switch model of E experts.
        convention: ``ours``, or ``paper`` for the encoder-decoder models of the Switch Transformer.

    Raises:
        SpecError: a name is not known, or the convention is not for that model; says what is.
    """
    return tuple(_estimate(name, convention=convention) for name in names)


def print_estimates(estimates: Sequence[Estimate], *, file: TextIO) -> None:
    """Print a table, and under it what its numbers mean.

    Args:
        estimates: What to print; at least one.
        file: Where to.
    """
    console = Console(file=file, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for header in (
        "\nparams",
        "active\nparams",
        "forward\na token",
        "forward\na sequence",
        "training\na token",
        "\nmemory",
    ):
        table.add_column(header, justify="right", no_wrap=True)
    for each in estimates:
        row = each.as_json()
        table.add_row(
            Text(each.name),
            units.count(row["params_total"]),
            units.count(row["params_active"]),
            units.flops(row["forward_flops_per_token"]),
            units.flops(row["forward_flops_per_sequence"]),
            units.flops(row["train_flops_per_token"]),
            units.size(sum(row["memory_bytes"].values())),
        )
    console.print(table)
    console.print(Text(_caption(estimates[0].convention)))
    for each in estimates:
        if each.note:
            console.print(Text(f"{each.name}: {each.note}"))


def estimates_json(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Give the estimates as one JSON object."""
    return {
        "schema_version": SCHEMA_VERSION,
        "convention": estimates[0].convention,
        "caption": _caption(estimates[0].convention),
        "models": [each.as_json() for each in estimates],
    }


def _estimate(name: str, *, convention: Convention) -> Estimate:
    published = PUBLISHED.get(name)
    if published is not None:
        architecture, note = published.architecture, published.note
        source_len = SOURCE_LEN if architecture.is_encoder_decoder else 0
        target_len = TARGET_LEN if architecture.is_encoder_decoder else DECODER_LEN
    else:
        architecture, note = _of_the_ladder(name), None
        source_len, target_len = 0, LADDER_LEN
    if convention == "paper" and not architecture.is_encoder_decoder:
        raise SpecError(
            f"convention 'paper' is for encoder-decoder models, and {name!r} is none; use --convention ours"
        )
    return Estimate(
        name=name,
        architecture=architecture,
        source_len=source_len,
        target_len=target_len,
        convention=convention,
        note=note,
    )


def _of_the_ladder(name: str) -> Architecture:
    size, _, experts = name.partition("-")
    if size not in SIZES or (experts and not experts.isdigit()) or experts == "0":
        hint = "; to see what a sweep file costs: switchbench sweep FILE --dry-run" if Path(name).suffix else ""
        raise SpecError(
            f"{name!r} is no model; known are the sizes {', '.join(SIZES)}, with experts as in 'xs-16', and "
            f"{', '.join(PUBLISHED)}{hint}"
        )
    ffn = {"kind": "sparse", "num_experts": int(experts)} if experts else {"kind": "dense"}
    return architecture_of(ModelSpec.model_validate({"size": size, "ffn": ffn}), vocab_size=LADDER_VOCABULARY)


def _caption(convention: Convention) -> str:
    if convention == "paper":
        return (
            "FLOPs as in the Switch Transformer's Table 9: 512 source and 114 target tokens a sequence, 2 per "
            "multiply-add, all of the decoder per target token, router and padding left out. Memory: weights, "
            "gradients and AdamW's moments in float32; no activations."
        )
    return (
        "FLOPs: 2 per multiply-add, useful ones (nothing dropped, no padding), router in, attention over all "
        "positions; training is three times forward. A sequence: 512 source and 114 target tokens of an "
        "encoder-decoder model, 2048 of a published decoder, 128 of a size of ours. Memory: weights, gradients and "
        "AdamW's moments in float32; no activations."
    )
