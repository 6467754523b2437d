"""`switchbench bench layer` and `bench step`: measure in turns."""

from typing import Annotated, Any, Literal

import typer

from switchbench.cli.arguments import AsJson
from switchbench.cli.output import plain_console

bench_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure the layer or the training step.")

_Rounds = Annotated[int, typer.Option(min=1, help="Counted rounds; every contestant is timed once in each.")]
_Tokens = Annotated[int, typer.Option(min=1, help="Tokens per pass.")]
_Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
_Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run; auto: on a GPU if there is one.")]


@bench_app.command("layer", short_help="Dense layer, each way to compute the experts, and the floor under them.")
def bench_layer(
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DxE", help="d_model and experts; may be repeated.", show_default="256x8 256x32 256x128 512x32"
        ),
    ] = None,
    tokens: _Tokens = 4096,
    rounds: _Rounds = 15,
    precision: Annotated[Literal["float32", "bfloat16"], typer.Option(help="Precision of the matmuls.")] = "float32",
    threads: _Threads = 1,
    device: _Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Time a forward and a backward pass of the feed-forward layer, dropless, all contestants in turns."""
    from switchbench.bench import LayerRequest, parse_shapes

    request = LayerRequest(
        shapes=parse_shapes(shape or ("256x8", "256x32", "256x128", "512x32")),
        num_tokens=tokens,
        precision=precision,
        rounds=rounds,
        device=device,
        threads=threads,
    )
    _run_bench(request, as_json=as_json)


@bench_app.command("step", short_help="Training steps of a dense model and its Switch twin.")
def bench_step(
    d_model: Annotated[
        list[int] | None, typer.Option(min=2, help="Width; may be repeated.", show_default="32 64 256 512")
    ] = None,
    experts: Annotated[int, typer.Option(min=2, help="Experts of the Switch twin.")] = 8,
    tokens: Annotated[int, typer.Option(min=128, help="Tokens per step; whole sequences of 128.")] = 4096,
    rounds: _Rounds = 15,
    precision: Annotated[
        Literal["float32", "bfloat16", "both"], typer.Option(help="Precision of the matmuls.")
    ] = "both",
    threads: _Threads = 1,
    device: _Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Time whole training steps (4 layers, sequences of 128), all contestants in turns, and their parts."""
    from switchbench.bench import StepRequest

    request = StepRequest(
        widths=tuple(d_model or (32, 64, 256, 512)),
        num_experts=experts,
        num_tokens=tokens // 128 * 128,
        precisions=("float32", "bfloat16") if precision == "both" else (precision,),
        rounds=rounds,
        device=device,
        threads=threads,
    )
    _run_bench(request, as_json=as_json)


def _run_bench(request: Any, *, as_json: bool) -> None:
    """Measure with a bar on stderr, and print the answer."""
    from rich.console import Console
    from rich.progress import Progress

    from switchbench.bench import bench_json, measure, print_bench

    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("starting", total=1.0)
        answer = measure(
            request, on_progress=lambda share, what: progress.update(task, completed=share, description=what)
        )
    if as_json:
        print(bench_json(answer))
    else:
        print_bench(answer, console=plain_console())
