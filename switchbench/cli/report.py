"""`switchbench report`: draw the tables."""

from switchbench.cli.arguments import AsJson, OnlySweep, Results
from switchbench.cli.output import DEFAULT_RESULTS, plain_console


def report(
    results: Results = DEFAULT_RESULTS,
    sweep: OnlySweep = None,
    as_json: AsJson = False,
) -> None:
    """Draw the tables: dense against sparse head to head, what each costs, what capacity buys, how cost grows."""
    from switchbench.report import build_report, render_report, report_json

    built = build_report(results, sweep=sweep)
    if as_json:
        print(report_json(built))
    else:
        render_report(built, console=plain_console())
