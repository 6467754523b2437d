"""`switchbench validate`, `schema` and `init`: all about sweep files, and nothing is run."""

from pathlib import Path
from typing import Annotated

import typer

from switchbench.cli.arguments import AsJson
from switchbench.cli.output import print_json


def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sweep file (YAML).", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="Settings by their path in the file, as of sweep.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a sweep file, every cell of it, and say what it comes to; start nothing, write nothing."""
    from switchbench.launch.plan import expand_sweep
    from switchbench.sweep import inventory_json, inventory_line

    sweep = expand_sweep(file, overrides=overrides or ())
    if as_json:
        print_json(inventory_json(sweep))
    else:
        print(inventory_line(sweep))


def schema() -> None:
    """Print the JSON Schema of a sweep file, for editors."""
    from switchbench.sweep import file_schema

    print_json(file_schema())


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; the sweep is named like it.")] = Path(
        "experts.yaml"
    ),
) -> None:
    """Write a commented sweep file to start from; never over another file."""
    from switchbench.sweep import write_starter

    write_starter(file)
    print(f"Wrote {file}. Next: switchbench validate {file}")
