"""Checks, as CI runs them: `nox` runs the default sessions, `nox -s NAME` one of them."""

import shutil
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["lint", "types", "tests", "oracles", "browser", "smoke", "docs"]

ROOT = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")

SMOKE_SWEEP = """\
schema: 1
name: smoke
question: Does an installed wheel train, time and report?
base:
  data: {corpus: python-stdlib, seq_len: 64}
  model: {size: xxs, ffn: {kind: sparse, num_experts: 4}}
  train: {tokens: 4e4, batch_tokens: 1024, eval_points: 2, eval_tokens: 4096}
sweep:
  grid: {model.ffn.capacity_factor: [1.0, 2.0]}
  seeds: [0, 1]
  baselines: [iso_flop]
"""


def groups(*names: str) -> list[str]:
    return list(nox.project.dependency_groups(GROUPS, *names))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format and the direction of imports."""
    session.install(*groups("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", env={"PYTHONPATH": str(ROOT)})


@nox.session
def types(session: nox.Session) -> None:
    """Static types, strictly."""
    session.install("-e", ".", *groups("types"))
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite, and the examples in docstrings."""
    session.install("-e", ".", *groups("test"))
    session.run("pytest", *(session.posargs or ["-n", "2", "--dist", "loadfile"]))
    if not session.posargs:
        session.run("pytest", "--doctest-modules", "switchbench")


@nox.session
def oracles(session: nox.Session) -> None:
    """Parameters and FLOPs against transformers' models of the same shapes."""
    session.install("-e", ".", *groups("oracles"))
    session.run("pytest", "-m", "oracles", *(session.posargs or ["tests/oracles"]))


@nox.session
def browser(session: nox.Session) -> None:
    """The report's page in a headless Chromium or Chrome that is installed; skipped where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        session.skip(f"none of {', '.join(BROWSERS)} is installed")
    session.install("-e", ".", *groups("browser"))
    session.run("pytest", "-m", "browser", *(session.posargs or ["tests/browser"]), env={"SWITCHBENCH_BROWSER": found})


@nox.session
def smoke(session: nox.Session) -> None:
    """A tiny real sweep and report from the installed wheel, outside the checkout."""
    with tempfile.TemporaryDirectory() as folder:
        session.run("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(ROOT))
        (wheel,) = Path(folder).glob("*.whl")
        session.install(str(wheel))
        session.chdir(folder)
        Path("smoke.yaml").write_text(SMOKE_SWEEP)
        session.run("switchbench", "--version")
        session.run("switchbench", "sweep", "smoke.yaml", "--dry-run")
        session.run("switchbench", "sweep", "smoke.yaml")
        session.run("switchbench", "report")
        assert Path("results/smoke/report/report.html").is_file(), "the wheel holds the templates of the page"
        session.run("switchbench", "report", "--json", silent=True)
        session.run("switchbench", "sweep", "smoke.yaml")


@nox.session
def peers(session: nox.Session) -> None:
    """The layer and the step against transformers and st-moe-pytorch; prints one JSON object. For a quiet machine."""
    session.install("-e", ".", *groups("peers"))
    session.run("python", "-m", "tests.benchmarks.peers", *session.posargs)


@nox.session(name="report-speed")
def report_speed(session: nox.Session) -> None:
    """How long reports of 1,000 and 10,000 made-up runs take, and their peak memory. For a quiet machine."""
    session.install("-e", ".", *groups("test"))
    session.run("python", "-m", "tests.benchmarks.report_speed", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def faults(session: nox.Session) -> None:
    """Real sweeps that are killed, starved and misled; prints what survived, fault by fault. Takes some minutes."""
    session.install("-e", ".", *groups("test"))
    session.run("pytest", "-m", "faults", *(session.posargs or ["tests/faults"]))


@nox.session
def slow(session: nox.Session) -> None:
    """How often intervals hold the truth, simulated, a line per design; peak memory of 40 runs. Takes minutes."""
    session.install("-e", ".", *groups("test"))
    session.run("pytest", "-m", "slow", "-s", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The README's commands and code, run as they stand there."""
    session.install("-e", ".", *groups("test"))
    session.run("pytest", "-m", "docs", *session.posargs)
