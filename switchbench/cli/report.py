"""`switchbench report`: the tables in the terminal, the page, and tables for papers."""

import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Any, Literal, assert_never

import typer

from switchbench.cli.arguments import AsJson, Budgets, OnlySweep, Results, StepTimes, TargetNll
from switchbench.cli.output import DEFAULT_RESULTS, plain_console, print_lines
from switchbench.errors import ResultsFolderError, UsageError

Format = Literal["terminal", "html", "markdown", "csv", "latex"]


def report(
    results: Results = DEFAULT_RESULTS,
    sweep: OnlySweep = None,
    target_nll: TargetNll = None,
    budget: Budgets = None,
    step_times: StepTimes = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER_RESULTS",
            help="What changed against these results, with verdicts: a root of results, or one sweep's folder.",
            show_default=False,
        ),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="End with exit code 4 where it is met: 'nll > +1%' against the baseline, 'step_time > 30ms', "
            "'verdict != sparse'; may be repeated.",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="terminal: only the tables here; html: only the page; markdown, csv, latex: only the tables, here or "
            "with --output as files. Default: terminal and html.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the page, or a file per table, there. Default: the page in report/ in the folder of the sweep.",
            show_default=False,
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw the tables and write the page: dense against sparse head to head, figures, costs, routing and every run."""
    from switchbench.report import build_report, parse_gates, parse_questions, require_gates

    if format_ == "terminal" and (output is not None or open_ or as_json):
        given = "--output" if output is not None else "--open" if open_ else "--json"
        raise UsageError(f"{given} has no use with --format terminal, which prints the tables and writes nothing")
    if format_ in ("markdown", "csv", "latex") and (open_ or as_json):
        given = "--open" if open_ else "--json"
        raise UsageError(f"{given} has no use with --format {format_}, which writes tables and no page")
    gates = parse_gates(fail_if or (), has_baseline=baseline is not None)
    questions = parse_questions(
        target_nll=target_nll, budgets=budget or (), step_times=step_times or (), baseline=baseline
    )
    built = build_report(results, sweep=sweep, questions=questions, gates=gates)
    _answer(built, results=results, format_=format_, output=output, open_=open_, as_json=as_json)
    sys.stdout.flush()
    for gate in built.gates:
        doubtful = [f"note: {gate.expression}: {line}: beyond the limit, but not sure" for line in gate.doubtful]
        print_lines(doubtful, file=sys.stderr)
    require_gates(built.gates)


def _answer(
    built: Any, *, results: Path, format_: Format | None, output: Path | None, open_: bool, as_json: bool
) -> None:
    """Print the tables or write the page, as they were asked for."""
    from switchbench.report import render_report, report_json

    is_page_asked = format_ == "html" or output is not None or open_
    if as_json:
        print(report_json(built))
    else:
        match format_:
            case None | "terminal":
                render_report(built, console=plain_console())
            case "html":
                pass  # the answer is where the page lies
            case "markdown" | "csv" | "latex":
                _give_tables(built, format_=format_, output=output)
                return
            case _:
                assert_never(format_)
    sys.stdout.flush()
    if format_ == "terminal" or (as_json and not is_page_asked):
        return
    try:
        pages = _write_pages(built, results=results, output=output)
    except ResultsFolderError as error:
        if is_page_asked:
            raise
        print(f"warning: {error}", file=sys.stderr)
        return
    is_answer = format_ == "html" and not as_json
    print_lines([str(page) for page in pages], file=sys.stdout if is_answer else sys.stderr)
    if open_ and not webbrowser.open(pages[-1].resolve().as_uri()):
        print(f"warning: there is no browser to open {pages[-1]} in", file=sys.stderr)


def _give_tables(built: Any, *, format_: Literal["markdown", "csv", "latex"], output: Path | None) -> None:
    """Print the tables for papers, or write them and print where."""
    from switchbench.report.papers import paper_text, write_papers

    if output is None:
        print(paper_text(built, format_=format_), end="")
    else:
        files = write_papers(built, format_=format_, output=output)
        print_lines([str(path) for path in files], file=sys.stdout)


def _write_pages(built: Any, *, results: Path, output: Path | None) -> list[Path]:
    """Write the pages that do not show the results as they are, and the index of several; give the paths of all."""
    from switchbench.report.places import places_of

    places = places_of(built, results=results, output=output)
    for place in places:
        if place.is_up_to_date:
            continue
        print(f"Drawing the page of {place.sweep.name} ...", file=sys.stderr, flush=True)
        from switchbench.report.page import write_page

        write_page(place)
    pages = [place.path for place in places]
    if len(places) > 1 and places[0].index is not None:
        from switchbench.report.page import write_index

        write_index(places)
        pages.append(places[0].index)
    return pages
