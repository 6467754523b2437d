"""`switchbench report` as a real process: what it prints where, what it writes, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories import Study, make_spec, write_study
from tests.report.page.made_up import write_plain, write_single


def report(place: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "switchbench", "report", *words],
        cwd=place,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def in_process(place: Path, *words: str, then: str) -> str:
    """Run the command inside an interpreter, and a statement after it."""
    code = f"import sys\nsys.argv = ['switchbench', 'report', {', '.join(map(repr, words))}]\n"
    code += f"from switchbench.cli import app\napp(standalone_mode=False)\n{then}"
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=True)
    return done.stdout


def test_without_options_tables_here_and_the_page_in_the_folder_of_the_sweep(tmp_path: Path) -> None:
    write_single(tmp_path / "results")
    done = report(tmp_path)
    assert done.returncode == 0
    assert "Head to head" in done.stdout
    page = Path("results/capacity/report/report.html")
    assert done.stderr.splitlines() == ["Drawing the page of capacity ...", str(page)]
    assert (tmp_path / page).is_file()
    again = report(tmp_path)
    assert again.stdout == done.stdout
    assert again.stderr.splitlines()[-1] == str(page)


def test_several_sweeps_have_an_index(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_single(tmp_path / "results", name=name)
    done = report(tmp_path, "--format", "html", "--output", "out")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["out/a/report.html", "out/b/report.html", "out/index.html"]
    assert all((tmp_path / path).is_file() for path in done.stdout.splitlines())
    assert not (tmp_path / "results" / "a" / "report" / "report.html").exists()


def test_the_terminal_alone_writes_nothing_and_imports_nothing_slow(tmp_path: Path) -> None:
    write_single(tmp_path / "results")
    out = in_process(tmp_path, "--format", "terminal", then="print('modules:', *sys.modules)")
    tables, _, modules = out.rpartition("modules:")
    assert "Head to head" in tables
    assert not {"torch", "matplotlib", "seaborn", "pandas", "jinja2"} & set(modules.split())
    assert not list((tmp_path / "results" / "capacity" / "report").iterdir())


def test_a_law_that_is_stored_is_shown_without_pandas(tmp_path: Path) -> None:
    studies = [
        Study(make_spec(size=size), {seed: [nll + 0.3, nll + 0.1, nll + 0.01 * seed] for seed in (0, 1)})
        for size, nll in (("xxs", 1.7), ("xs", 1.6), ("s", 1.52))
    ]
    write_study(tmp_path / "results", studies)
    assert report(tmp_path, "--format", "terminal").returncode == 0
    out = in_process(tmp_path, "--format", "terminal", then="print('modules:', *sys.modules)")
    tables, _, modules = out.rpartition("modules:")
    assert "Law of loss" in tables
    assert not {"torch", "matplotlib", "pandas"} & set(modules.split())


def test_the_page_imports_no_torch(tmp_path: Path) -> None:
    write_single(tmp_path / "results")
    modules = in_process(tmp_path, then="print('modules:', *sys.modules)").rpartition("modules:")[2].split()
    assert "matplotlib" in modules
    assert "torch" not in modules


def test_json_is_alone_on_stdout_and_writes_a_page_where_one_is_asked_for(tmp_path: Path) -> None:
    write_single(tmp_path / "results")
    done = report(tmp_path, "--json")
    assert json.loads(done.stdout)["sweeps"][0]["expected"].startswith("Sixteen experts win.")
    assert done.stderr == ""
    done = report(tmp_path, "--json", "--format", "html", "--output", "out")
    assert json.loads(done.stdout)["schema_version"] == 1
    assert done.stderr.splitlines()[-1] == "out/report.html"
    assert (tmp_path / "out" / "report.html").is_file()


def test_where_the_page_cannot_be_written_the_tables_are_there_and_another_place_is_named(tmp_path: Path) -> None:
    folder = write_single(tmp_path / "results")
    folder.report.rmdir()
    folder.report.write_text("in the way")
    done = report(tmp_path)
    assert done.returncode == 0
    assert "Head to head" in done.stdout
    warning = done.stderr.splitlines()[-1]
    assert warning.startswith("warning: The page results/capacity/report/report.html cannot be written: ")
    assert warning.endswith("--output DIR.")
    asked = report(tmp_path, "--format", "html")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "--output DIR" in asked.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_folder(tmp_path: Path) -> None:
    folder = write_single(tmp_path / "results")
    folder.report.chmod(0o500)
    try:
        done = report(tmp_path)
    finally:
        folder.report.chmod(0o700)
    assert done.returncode == 0
    assert "Head to head" in done.stdout
    assert "Permission denied. Choose a folder that can be with --output DIR." in done.stderr


@pytest.mark.parametrize("words", [("--output", "out"), ("--open",), ("--json",)])
def test_options_that_would_do_nothing_are_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_single(tmp_path / "results")
    done = report(tmp_path, "--format", "terminal", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {words[0]} has no use with --format terminal")


@pytest.mark.parametrize("format_", ["markdown", "csv", "latex"])
def test_tables_for_papers_are_alone_on_stdout_or_in_files(tmp_path: Path, format_: str) -> None:
    folder = write_single(tmp_path / "results")
    before = sorted(folder.path.rglob("*"))
    done = report(tmp_path, "--format", format_)
    assert (done.returncode, done.stderr) == (0, "")
    assert "head_to_head" in done.stdout or "Head to head" in done.stdout
    written = report(tmp_path, "--format", format_, "--output", "tables")
    assert (written.returncode, written.stderr) == (0, "")
    files = [tmp_path / line for line in written.stdout.splitlines()]
    assert {path.parent for path in files} == {tmp_path / "tables"}
    assert all(path.is_file() for path in files)
    assert sorted(folder.path.rglob("*")) == before, "the results are only read"
    refused = report(tmp_path, "--format", format_, "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"error: --json has no use with --format {format_}")


def test_tables_for_papers_import_nothing_slow(tmp_path: Path) -> None:
    write_single(tmp_path / "results")
    out = in_process(tmp_path, "--format", "latex", then="print('modules:', *sys.modules)")
    modules = out.rpartition("modules:")[2].split()
    assert not {"torch", "matplotlib", "seaborn", "pandas", "jinja2", "scipy.optimize"} & set(modules)


def test_where_tables_cannot_be_written_another_place_is_named(tmp_path: Path) -> None:
    write_single(tmp_path / "results")
    (tmp_path / "tables").write_text("in the way")
    done = report(tmp_path, "--format", "csv", "--output", "tables")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: The table tables/head_to_head.csv cannot be written: ")
    assert done.stderr.rstrip().endswith("--output DIR.")


def test_help_imports_nothing_slow(tmp_path: Path) -> None:
    code = "import sys\nsys.argv = ['switchbench', 'report', '--help']\nfrom switchbench.cli import app\n"
    code += "try:\n    app()\nexcept SystemExit:\n    print('modules:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    modules = done.stdout.rpartition("modules:")[2].split()
    assert "typer" in modules
    assert not {"torch", "matplotlib", "pandas", "numpy", "scipy", "pyarrow", "jinja2"} & set(modules)


def test_a_gate_ends_with_4_after_the_answer(tmp_path: Path) -> None:
    write_plain(tmp_path / "results")
    write_plain(tmp_path / "before")
    words = ("--baseline", "before", "--format", "terminal")
    passed = report(tmp_path, *words, "--fail-if", "nll > +1%")
    assert (passed.returncode, passed.stderr) == (0, "")
    assert "What changed, against before/capacity" in passed.stdout
    assert "4 identical to the bit" in passed.stdout
    failed = report(tmp_path, *words, "--fail-if", "nll > +1%", "--fail-if", "nll > 1.65", "--fail-if", "nll < 1")
    assert failed.returncode == 4
    assert failed.stdout == passed.stdout
    assert failed.stderr.splitlines() == [
        "error: a condition of --fail-if is met:",
        "  nll > 1.65: capacity: dense: 1.7100",
        "  nll > 1.65: capacity: 4 experts, capacity factor 1.25: 1.6550",
    ]
    as_json = report(tmp_path, "--json", "--fail-if", "nll > 1.65")
    assert as_json.returncode == 4
    assert [gate["failed"] for gate in json.loads(as_json.stdout)["gates"]] == [True]


def test_what_changed_stands_on_the_page(tmp_path: Path) -> None:
    write_single(tmp_path / "results")
    write_single(tmp_path / "before", name="another")
    done = report(tmp_path, "--baseline", "before/another", "--format", "html", "--output", "out")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "What changed, against before/another" in page
    assert "identical" in page
    assert "1 identical to the bit" in page


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--baseline", "nowhere"), "error: --baseline nowhere is not a folder"),
        (("--baseline", "empty"), "error: --baseline empty holds no sweep with a run that went well"),
        (("--baseline", "several"), "error: --baseline several has no sweep of the names that are reported (capacity)"),
        (("--fail-if", "nll > +1%"), "error: --fail-if 'nll > +1%': a change in percent is one against other results"),
        (("--fail-if", "nll > much"), "error: --fail-if 'nll > much': 'much' is no number"),
    ],
)
def test_a_baseline_or_a_condition_that_cannot_be_used(tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    write_single(tmp_path / "results")
    (tmp_path / "empty").mkdir()
    for name in ("a", "b"):
        write_single(tmp_path / "several", name=name)
    done = report(tmp_path, "--format", "terminal", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(problem)
    assert "Traceback" not in done.stderr


def test_open_hands_the_page_to_the_browser(tmp_path: Path) -> None:
    write_single(tmp_path / "results")
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    done = report(tmp_path, "--open", BROWSER=str(browser))
    assert done.returncode == 0
    opened = (tmp_path / "opened").read_text().strip()
    assert opened == (tmp_path / "results" / "capacity" / "report" / "report.html").as_uri()


@pytest.mark.parametrize("format_", ["terminal", "html", "markdown", "csv", "latex"])
def test_nothing_to_report_ends_with_4_and_says_what_to_run(tmp_path: Path, format_: str) -> None:
    (tmp_path / "results").mkdir()
    done = report(tmp_path, "--format", format_)
    assert (done.returncode, done.stdout) == (4, "")
    assert "switchbench sweep" in done.stderr
    assert list((tmp_path / "results").iterdir()) == []
