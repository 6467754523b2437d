"""`switchbench cost`: what models cost before anybody builds them."""

from typing import Annotated, Any, Literal

import typer

from switchbench.cli.output import plain_console, print_json


def cost(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Published models (t5-base, switch-c-2048), sizes (xs), with experts (xs-16), and sweep files, each "
            "with its own settings after it (FILE KEY=VALUE).",
            show_default=False,
        ),
    ],
    convention: Annotated[
        Literal["ours", "paper"], typer.Option(help="How FLOPs are counted; paper: as in the paper's Table 9.")
    ] = "ours",
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(
            help="Precision that memory is for. Default: float32; of a sweep file, its own.", show_default=False
        ),
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Memory with every block computed again in the backward pass.")
    ] = False,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Tokens of a step, on each device, that memory is for. Default: one sequence; of a sweep file, its "
            "batch.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Spread the model over N devices: bytes on each, and what they send.",
            show_default=False,
        ),
    ] = None,
    device_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory of a device (80GiB): how many are needed, or whether it fits --devices.",
            show_default=False,
        ),
    ] = None,
    breakdown: Annotated[
        bool, typer.Option("--breakdown", help="Print what parameters, FLOPs and memory consist of.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object, breakdown and all.")] = False,
) -> None:
    """Say what models cost before anybody builds them: parameters, FLOPs and memory, on one device or on many."""
    from switchbench.estimate import Request, estimate, estimates_json, print_estimates
    from switchbench.quantities import parse_size

    request = Request(
        convention=convention,
        precision=precision,
        recompute=recompute,
        batch_tokens=batch_tokens,
        num_devices=devices,
        device_memory_bytes=None if device_memory is None else parse_size(device_memory, name="--device-memory"),
    )
    estimates = estimate(models, identify=_identify, request=request)
    if as_json:
        print_json(estimates_json(estimates))
    else:
        print_estimates(estimates, console=plain_console(), breakdown=breakdown)


def _identify(data: Any) -> Any:
    """Identify a corpus. Only sweep files have one: what this imports would double the time of every other answer."""
    from switchbench.data.corpora import identify_corpus

    return identify_corpus(data)
