"""The command line: parse, call, print. Answers go to stdout; progress, warnings and errors to stderr.

Exit codes: 0 done (also: nothing to do), 1 internal error, 2 bad usage or configuration, 3 the sweep ended with failed
runs, 4 nothing usable to report, 130 interrupted, 141 whoever read the output went away. Everything heavy is imported
inside the commands.
"""

import io
import json
import os
import shlex
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from switchbench import __version__
from switchbench.errors import SweepFileError, SwitchbenchError

EXIT_INTERNAL_ERROR = 1
EXIT_FAILED_RUNS = 3
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
DEFAULT_RESULTS = Path("results")
PIPE_COLUMNS = 160

app = typer.Typer(
    name="switchbench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: drawing it with rich would more than double the time it takes
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; every error of ours ends in a plain message and its exit code."""
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a letter that it lacks is no reason to fail
    try:
        code = _run_app()
        sys.stdout.flush()
    except BrokenPipeError:
        code = EXIT_BROKEN_PIPE
    if code == EXIT_BROKEN_PIPE:
        # The interpreter flushes once more at its end, and would complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
    sys.exit(code)


def _run_app() -> int | str | None:
    """Run the command; give its exit code."""
    try:
        app()
    except SystemExit as ended:
        # Typer and rich end the program with 1 when whoever read the output, such as `head`, has enough.
        return EXIT_BROKEN_PIPE if isinstance(ended.__context__, BrokenPipeError) else ended.code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SwitchbenchError as error:
        # The problems of a sweep file start with file:line:column, which editors and terminals find if it stands first.
        print(error if isinstance(error, SweepFileError) else f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        print(
            f"internal error: {type(error).__name__}; the lines above say where. This is a fault of switchbench "
            f"{__version__}: please report it with these lines.",
            file=sys.stderr,
        )
        return EXIT_INTERNAL_ERROR
    return 0


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"switchbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Does a sparse (Switch) Transformer beat a dense one, for your budget, your data and your machine?"""


@app.command(short_help="Train what a sweep file asks for and what is still missing.")
def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sweep file (YAML).", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings by their path in the file, such as base.train.tokens=3e5 or sweep.seeds=[0].",
            show_default=False,
        ),
    ] = None,
    results: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder that holds the results of all sweeps.")
    ] = DEFAULT_RESULTS,
    workers: Annotated[
        int | None, typer.Option(help="Runs side by side. Default: cores // threads; one per GPU.", show_default=False)
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads, and cores of its own, of each run.")] = 1,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run; auto: on GPUs if there are any.")
    ] = "auto",
    dispatch: Annotated[
        Literal["auto", "loop", "grouped_mm", "padded"],
        typer.Option(help="How experts are computed; auto: as is fastest for device, precision and shape."),
    ] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; start nothing, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """Train what a sweep file asks for and what is still missing, then time every configuration alone.

    The same command again runs only what is missing or failed. Runs that fail are recorded and listed, and the others
    go on; the exit code is then 3.
    """
    from switchbench.launch.display import watching
    from switchbench.launch.local import run_plan
    from switchbench.launch.plan import expand_sweep, make_plan
    from switchbench.launch.slots import resolve_workers
    from switchbench.launch.summary import closing_lines, failure_lines, interrupted_lines, print_plan, summary_json
    from switchbench.store import SweepFolder

    resolve_workers(workers, threads=threads)
    expanded = expand_sweep(file, overrides=overrides or ())
    plan = make_plan(expanded, folder=SweepFolder(results / expanded.name))
    for unreadable in plan.unreadable:
        print(f"warning: {unreadable}", file=sys.stderr)
    if dry_run:
        if as_json:
            _print_json(plan.as_json())
        else:
            print_plan(plan, console=_console())
        return
    try:
        with watching() as on_event:
            outcome = run_plan(
                plan, on_event=on_event, workers=workers, threads=threads, device=device, dispatch=dispatch
            )
    except KeyboardInterrupt:
        _print_lines(interrupted_lines(plan), file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _print_lines(failure_lines(outcome), file=sys.stderr)
    if as_json:
        _print_json(summary_json(outcome))
    else:
        report = ["switchbench", "report", *([] if results == DEFAULT_RESULTS else [str(results)])]
        _print_lines(
            closing_lines(outcome, report_command=shlex.join([*report, "--sweep", expanded.name])),
            file=sys.stdout,
        )
    if outcome.failed:
        raise typer.Exit(EXIT_FAILED_RUNS)


@app.command(short_help="Draw the tables that contrast dense and sparse.")
def report(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder with the results of sweeps, or of one sweep.")
    ] = DEFAULT_RESULTS,
    sweep: Annotated[str | None, typer.Option(metavar="NAME", help="Only this sweep.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """Draw the tables: dense against sparse head to head, what each costs, and what capacity buys."""
    from switchbench.report import build_report, render_report, report_json

    built = build_report(results, sweep=sweep)
    if as_json:
        print(report_json(built))
    else:
        render_report(built, console=_console())


bench_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure the layer or the training step.")
app.add_typer(bench_app, name="bench", short_help="Measure the layer or the training step.")

_Rounds = Annotated[int, typer.Option(min=1, help="Counted rounds; every contestant is timed once in each.")]
_Tokens = Annotated[int, typer.Option(min=1, help="Tokens per pass.")]
_Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
_Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run; auto: on a GPU if there is one.")]
_Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]


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
    as_json: _Json = False,
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
    as_json: _Json = False,
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
        print_bench(answer, console=_console())


def _console() -> Any:
    """A rich console on stdout, as wide as the terminal; in a file or a pipe wide enough for any table."""
    from rich.console import Console

    is_free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=PIPE_COLUMNS if is_free else None)


@app.command(short_help="Say what models cost, by arithmetic, up to 1.6 trillion weights.")
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
        _print_json(estimates_json(estimates))
    else:
        print_estimates(estimates, file=sys.stdout)


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2, allow_nan=False))


def _print_lines(lines: list[str], *, file: TextIO) -> None:
    for line in lines:
        print(line, file=file)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a Python warning as one line, without the place in our source."""
    print(f"warning: {message}", file=sys.stderr if file is None else file)
