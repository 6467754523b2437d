"""The command line: parse, call, print. Answers go to stdout; progress, warnings and errors to stderr.

Exit codes: 0 done (also: nothing to do), 1 internal error, 2 bad usage or configuration, 3 the sweep ended with failed
runs, 4 nothing usable to report, 130 interrupted, 141 whoever read the output went away, 143 terminated. Everything
heavy is imported inside the commands.
"""

import io
import os
import sys
import traceback
import warnings
from typing import Annotated, TextIO

import typer

from switchbench import __version__
from switchbench.cli.bench import bench_app
from switchbench.cli.cost import cost
from switchbench.cli.fit import fit
from switchbench.cli.generate import generate
from switchbench.cli.prune import prune
from switchbench.cli.report import report
from switchbench.cli.show import show
from switchbench.cli.status import status
from switchbench.cli.sweep import EXIT_INTERRUPTED, sweep
from switchbench.cli.validate import init, schema, validate
from switchbench.errors import SweepFileError, SwitchbenchError

EXIT_INTERNAL_ERROR = 1
EXIT_BROKEN_PIPE = 141

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


app.command(short_help="Train what a sweep file asks for and what is still missing.")(sweep)
app.command(short_help="Say what is done, running, failed and missing, also while sweeps run.")(status)
app.command(short_help="Draw the tables that contrast dense and sparse.")(report)
app.command(short_help="Say everything about a run; of two, in which fields they differ.")(show)
app.command(short_help="Remove results that are no longer in their sweep's file.")(prune)
app.command(short_help="Write text with the final weights of a run.")(generate)
app.command(short_help="Fit a law of loss to a table of runs, with its doubts.")(fit)
app.command(short_help="Say what models cost, by arithmetic, up to 1.6 trillion weights.")(cost)
app.add_typer(bench_app, name="bench", short_help="Measure the layer or the training step.")
app.command(short_help="Check a sweep file and say what it comes to.")(validate)
app.command(short_help="Print the JSON Schema of a sweep file, for editors.")(schema)
app.command(short_help="Write a commented sweep file to start from.")(init)


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
