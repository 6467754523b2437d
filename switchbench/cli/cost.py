"""`switchbench cost`: what models cost before anybody builds them."""

import sys
from typing import Annotated, Literal

import typer

from switchbench.cli.output import print_json


def cost(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Published models (t5-base, switch-c-2048), sizes (xs), with experts (xs-16)."
        ),
    ],
    convention: Annotated[
        Literal["ours", "paper"], typer.Option(help="How FLOPs are counted; paper: as in the paper's Table 9.")
    ] = "ours",
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """Say what models cost before anybody builds them: parameters, FLOPs and memory."""
    from switchbench.estimate import estimate, estimates_json, print_estimates

    estimates = estimate(models, convention=convention)
    if as_json:
        print_json(estimates_json(estimates))
    else:
        print_estimates(estimates, file=sys.stdout)
