"""`switchbench show`: what a run is."""

from typing import Annotated

import typer

from switchbench.cli.arguments import AsJson
from switchbench.cli.output import DEFAULT_RESULTS, plain_console, print_json


def show(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_ID [RUN_ID] [RESULTS]",
            help="One run, or two to compare, by id or the start of it; then the folder of results (default: results).",
            show_default=False,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say everything about a run: what it is, costs and left, and which field changed its id; of two, what differs."""
    from switchbench.inspection.dossier import contrast, open_dossier
    from switchbench.inspection.dossier_page import print_contrast, print_dossier
    from switchbench.inspection.search import split_words

    ids, results = split_words(words, default=DEFAULT_RESULTS)
    if len(ids) == 2:
        found = contrast(*ids, results=results)
        if as_json:
            print_json(found.as_json())
        else:
            print_contrast(found, console=plain_console())
        return
    dossier = open_dossier(ids[0], results=results)
    if as_json:
        print_json(dossier.as_json())
    else:
        print_dossier(dossier, console=plain_console())
