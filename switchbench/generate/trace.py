"""Which experts took each token, layer by layer: recorded, as arrays for programs, and as a table for people."""

from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from switchbench.generate.text import printable
from switchbench.model.router import Routing

TRACE_COLORS = ("cyan", "magenta", "yellow", "green", "blue", "red")
"""Colors of the experts; the seventh has the first one's again."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of a token in a layer."""

    experts: tuple[int, ...]
    """The experts that took it, the one with the largest gate first."""
    gates: tuple[float, ...]
    """Their gates."""


@dataclass(kw_only=True)
class Trace:
    """Which experts took each token."""

    layers: tuple[int, ...]
    """Numbers of the sparse blocks, from the bottom up."""
    tokens: list[int] = field(default_factory=list)
    """The tokens, the prompt's first."""
    texts: list[str] = field(default_factory=list)
    """Their text."""
    taken: list[list[Taken]] = field(default_factory=list)
    """Per token, what became of it in each of the layers."""
    num_prompt_tokens: int = 0
    """The tokens of the prompt."""

    def add(self, routings: tuple[Routing, ...]) -> None:
        """Take what the routers decided about the tokens that were read last.

        Args:
            routings: One per sparse layer, from the bottom up.
        """
        by_layer = [taken_by(routing) for routing in routings]
        self.taken += [list(of_token) for of_token in zip(*by_layer, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """Give it as arrays: per token, per layer, the experts with their gates."""
        return {
            "layers": list(self.layers),
            "num_prompt_tokens": self.num_prompt_tokens,
            "tokens": self.tokens,
            "texts": self.texts,
            "experts": [[list(taken.experts) for taken in of_token] for of_token in self.taken],
            "gates": [[list(taken.gates) for taken in of_token] for of_token in self.taken],
        }


def taken_by(routing: Routing) -> list[Taken]:
    """Say for each token which experts took it.

    Args:
        routing: What the router of one layer decided.
    """
    kept_E = routing.kept_per_expert_E
    expert_N = torch.repeat_interleave(torch.arange(len(kept_E), device=kept_E.device), kept_E)
    found: list[list[tuple[float, int]]] = [[] for _ in range(routing.num_tokens)]
    for token, expert, gate in zip(routing.token_N.tolist(), expert_N.tolist(), routing.gate_N.tolist(), strict=True):
        found[token].append((gate, expert))
    ordered = [sorted(each, key=lambda pair: (-pair[0], pair[1])) for each in found]
    return [
        Taken(experts=tuple(expert for _, expert in each), gates=tuple(gate for gate, _ in each)) for each in ordered
    ]


def print_trace(trace: Trace, *, console: Console) -> None:
    """Print a row per token: its text, and in every sparse layer its experts with their gates.

    Args:
        trace: What was recorded.
        console: Where to; its width and colors (and with them ``NO_COLOR``) are respected.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("token", overflow="fold")
    for layer in trace.layers:
        table.add_column(f"layer {layer}: expert gate", overflow="fold")
    for index, (text, of_token) in enumerate(zip(trace.texts, trace.taken, strict=True)):
        style = "dim" if index < trace.num_prompt_tokens else ""
        table.add_row(Text(visible(text), style=style), *(_cell(taken) for taken in of_token))
    console.print(table)


def visible(text: str) -> str:
    """Write a token's text so that its spaces and line breaks are seen.

    >>> visible(" is\\n")
    '␣is\\\\n'
    """
    return printable(text).replace("\n", "\\n").replace("\t", "\\t").replace(" ", "␣")


def _cell(taken: Taken) -> Text:
    cell = Text()
    for expert, gate in zip(taken.experts, taken.gates, strict=True):
        cell.append("  " if cell else "")
        cell.append(f"{expert:>3} {gate:.2f}", style=TRACE_COLORS[expert % len(TRACE_COLORS)])
    return cell
