"""Conditions that a report is to fail by: what they say, and when they are met."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchbench.errors import GateFailedError, UsageError
from switchbench.report import Report, build_report, parse_gates, require_gates
from switchbench.report.gates import check_gates
from switchbench.report.questions import Questions
from tests.factories import Study, make_spec, write_study

DENSE, SPARSE = make_spec(), make_spec(num_experts=4)
SEEDS = range(4)


def study(root: Path, *, nll: float, sparse_nll: float = 1.6, wobble: float = 0.001, **fields: object) -> Path:
    """A dense model of four seeds and a sparse one; repetitions differ by the wobble."""
    scatter = [0.0, wobble, -wobble, wobble / 2]
    write_study(
        root,
        [
            Study(DENSE, {seed: [2.0, nll + 0.02 * seed + scatter[seed]] for seed in SEEDS}, is_twin=True, **fields),
            Study(SPARSE, {seed: [2.0, sparse_nll + 0.02 * seed - scatter[seed]] for seed in SEEDS}),
        ],
    )
    return root


def built(results: Path, *expressions: str, baseline: Path | None = None) -> Report:
    gates = parse_gates(expressions, has_baseline=baseline is not None)
    return build_report(results, questions=Questions(baseline=baseline), gates=gates)


def failures(results: Path, expression: str, *, baseline: Path | None = None) -> tuple[str, ...]:
    (result,) = built(results, expression, baseline=baseline).gates
    assert result.expression == expression
    return result.failures


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study(tmp_path_factory.mktemp("before"), nll=1.7, wobble=0.0)


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dense model is 2% worse, the sparse one as it was."""
    return study(tmp_path_factory.mktemp("worse"), nll=1.734, step_time_s=0.03)


@pytest.fixture(scope="module")
def compared(before: Path, worse: Path) -> Report:
    return built(worse, baseline=before)


@pytest.mark.parametrize(
    ("expression", "number"),
    [
        ("nll > +1%", 1), ("nll > +3%", 0), ("nll>=+1.5%", 1), ("nll < -1%", 0), ("perplexity > +1%", 1),
        ("bits_per_byte > +1%", 1), ("step_time > +20%", 1), ("step_time > +60%", 0), ("peak_memory > +1%", 0),
        ("executed_flops > +0.1%", 0), ("provisioned_flops < -0.1%", 0), ("change == worse", 1),
        ("change == better", 0), ("change != worse", 1), ("nll > 1.7", 1), ("nll > 1.8", 0),
        ("nll < 1.65", 1), ("perplexity > 5.8", 1),
        ("step_time > 25ms", 1), ("step_time > 25 ms", 1), ("step_time > 0.025", 1), ("step_time > 1s", 0),
        ("peak_memory > 100MiB", 2), ("peak_memory > 1GiB", 0), ("executed_flops > 1e9", 2),
        ("executed_flops > 1 EFLOP", 0), ("verdict != sparse", 0), ("verdict == sparse", 1),
    ],
)  # fmt: skip
def test_how_often_a_condition_is_met(compared: Report, expression: str, number: int):
    (result,) = check_gates(compared, parse_gates([expression], has_baseline=True))
    assert len(result.failures) == number, result


def test_a_failure_says_where_what_and_how_sure(before: Path, worse: Path):
    (line,) = failures(worse, "nll > +1%", baseline=before)
    assert line.startswith("capacity: dense: 1.7300 -> 1.764")
    assert ", +1.97% [+1.9" in line
    assert line.endswith("p < 0.001")


def test_a_change_that_the_noise_explains_is_none(tmp_path: Path, before: Path):
    noisy = study(tmp_path, nll=1.73, wobble=0.1)
    report = built(noisy, "nll > +1%", baseline=before)
    (result,) = report.gates
    assert result.failures == ()
    (line,) = result.doubtful
    assert line.startswith("capacity: dense: 1.7300 -> ")
    assert report.sweeps[0].changes is not None
    value = report.sweeps[0].changes.counterparts[0].changed("nll").value
    assert value is not None
    assert value > 0.01, "the measured change is beyond the limit"


def test_what_no_change_would_meet_needs_no_proof(before: Path):
    assert len(failures(before, "nll > -1%", baseline=before)) == 2
    assert failures(before, "nll > +0%", baseline=before) == ()


def test_where_nothing_can_be_tested_the_measured_change_decides(tmp_path: Path):
    for name, nll in (("a", 1.7), ("b", 1.8)):
        write_study(tmp_path / name, [Study(DENSE, {0: [nll]})])
    assert failures(tmp_path / "b", "nll > +1%", baseline=tmp_path / "a") == (
        "capacity: dense: 1.7000 -> 1.8000, +5.88%",
    )


@pytest.mark.parametrize(("outcome", "number"), [("diverged", 1), ("crashed", 0)])
def test_diverged_runs_count_as_the_worst(tmp_path: Path, outcome: str, number: int):
    for name, last in (("a", [1.7]), ("b", outcome)):
        write_study(tmp_path / name, [Study(DENSE, {0: [1.7], 1: [1.7], 2: last})])
    for expression in ("nll > 5", "perplexity >= +50%"):
        found = failures(tmp_path / "b", expression, baseline=tmp_path / "a")
        assert len(found) == number
        assert all("1 of 3 runs diverged" in line for line in found)
    assert failures(tmp_path / "b", "nll > +1%", baseline=tmp_path / "b") == ()
    assert failures(tmp_path / "b", "nll < 0.1") == ()


def test_a_gate_that_sees_nothing_does_not_pass(tmp_path: Path):
    write_study(tmp_path / "a", [Study(DENSE, {0: [1.7]}, step_time_s=None)])
    write_study(tmp_path / "b", [Study(SPARSE, {0: [1.7]})])
    assert failures(tmp_path / "a", "step_time > 1s") == (
        "it is known of nothing, so that there is nothing to judge by",
    )
    (line,) = failures(tmp_path / "b", "nll > +1%", baseline=tmp_path / "a")
    assert line.startswith("no configuration is on both sides")
    write_study(tmp_path / "c", [Study(DENSE, {0: [1.7]}, step_time_s=None), Study(SPARSE, {0: [1.6]})])
    (result,) = built(tmp_path / "c", "step_time > 1s").gates
    assert (result.failures, result.checked, result.unknown) == ((), 2, 1)


def test_all_failures_are_listed(worse: Path, before: Path):
    report = built(worse, "nll > +1%", "verdict == sparse", "nll > 5", baseline=before)
    with pytest.raises(GateFailedError) as caught:
        require_gates(report.gates)
    lines = str(caught.value).splitlines()
    assert lines[0] == "2 conditions of --fail-if are met:"
    assert [line.split(": ")[0].strip() for line in lines[1:]] == ["nll > +1%", "verdict == sparse"]
    require_gates(built(worse, "nll > 5").gates)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "is no condition"),
        ("nll", "is no condition"),
        ("nll > ", "is no condition"),
        ("nll > 1%", "write +1% or -1%"),
        ("nll > x", "'x' is no number"),
        ("nll > nan", "must be finite"),
        ("nll > 1e999", "must be finite"),
        ("nll == 1", "compared by >"),
        ("nnl > 1", "Did you mean 'nll'?"),
        ("__import__('os') > 1", "is no condition"),
        ("verdict > 1", "compared by == or != with sparse, dense"),
        ("verdict == better", "compared by == or != with sparse, dense"),
        ("change == sparse", "compared by == or != with identical, better"),
        ("step_time > 3 parsecs", "the limit of --fail-if 'step_time > 3 parsecs' must be a number with its unit"),
        ("peak_memory > 3 parsecs", "the limit of --fail-if"),
    ],
)
def test_what_is_no_condition_is_refused(expression: str, problem: str):
    with pytest.raises(UsageError) as caught:
        parse_gates([expression], has_baseline=True)
    assert problem in str(caught.value)
    assert "--fail-if" in str(caught.value)


@pytest.mark.parametrize("expression", ["nll > +1%", "change == worse"])
def test_what_is_relative_needs_a_baseline(expression: str):
    with pytest.raises(UsageError, match="give them with --baseline RESULTS"):
        parse_gates([expression], has_baseline=False)


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_refused(text: str):
    with contextlib.suppress(UsageError):
        (gate,) = parse_gates([text], has_baseline=True)
        assert gate.expression == text
