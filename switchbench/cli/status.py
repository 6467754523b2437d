"""`switchbench status`: how sweeps stand."""

from switchbench.cli.arguments import AsJson, OnlySweep, Results
from switchbench.cli.output import DEFAULT_RESULTS, plain_console, print_json


def status(
    results: Results = DEFAULT_RESULTS,
    sweep: OnlySweep = None,
    as_json: AsJson = False,
) -> None:
    """Say what is done, running, failed and missing, also while sweeps run in other terminals; needs no sweep file."""
    from switchbench.inspection.standing import survey
    from switchbench.inspection.standing_page import print_survey

    found = survey(results, sweep=sweep)
    if as_json:
        print_json(found.as_json())
    else:
        print_survey(found, console=plain_console())
