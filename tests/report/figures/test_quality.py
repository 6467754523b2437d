import math
import statistics
from pathlib import Path

import pytest
from factories import Study, make_spec, write_study
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from switchbench.compare import t_quantile_975
from switchbench.report.figures.drawing import sketch_figures
from switchbench.report.figures.evidence import Evidence, gather_evidence
from switchbench.report.figures.quality import quality_panels, sketch_quality
from switchbench.report.figures.seeds import sketch_seeds
from switchbench.store import PrimaryPair
from tests.report.figures.drawn import drawing, evidence_of, intervals_of, report_of

DENSE, SPARSE, LARGER = make_spec(), make_spec(num_experts=4), make_spec(num_experts=16)
NLL = {
    DENSE.config_id: {0: [2.00, 1.84, 1.70], 1: [2.02, 1.80, 1.72], 2: [1.98, 1.82, 1.74]},
    SPARSE.config_id: {0: [1.96, 1.76, 1.60], 1: [1.97, 1.72, 1.66], 2: [1.92, 1.74, 1.63]},
    LARGER.config_id: {0: [1.97, 1.77, 1.68], 1: [1.96, 1.76, 1.67], 2: [1.95, 1.78, 1.69]},
}


def studies() -> list[Study]:
    dense = Study(DENSE, dict(NLL[DENSE.config_id]), is_twin=True, step_time_s=0.02)
    return [dense, *(Study(spec, dict(NLL[spec.config_id]), step_time_s=0.03) for spec in (SPARSE, LARGER))]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return evidence_of(studies(), tmp_path_factory.mktemp("study"))


def student(values: list[float]) -> tuple[float, float, float]:
    """The mean with its 95% interval, by the formula."""
    mean, n = sum(values) / len(values), len(values)
    half = t_quantile_975(n - 1) * statistics.stdev(values) / math.sqrt(n)
    return mean - half, mean, mean + half


def arrows_of(axes: Axes) -> list[Annotation]:
    return [text for text in axes.texts if isinstance(text, Annotation) and text.arrow_patch and not text.get_text()]


def test_points_are_means_over_seeds_with_their_intervals(evidence: Evidence):
    for axes in drawing(sketch_quality(evidence)).axes:
        found = intervals_of(axes)
        assert set(found) == {"dense", "sparse"}
        for role, spec in (("dense", DENSE), ("sparse", SPARSE)):
            expected = [student([nll[i] for nll in NLL[spec.config_id].values()]) for i in range(3)]
            assert found[role] == [pytest.approx(each) for each in expected]


def test_the_pair_of_the_verdict_is_shown(tmp_path: Path):
    """Here the primary one, although another gains more."""
    primary = PrimaryPair(sparse=LARGER.config_id, dense=DENSE.config_id, matched_on="iso_flop")
    write_study(tmp_path, studies(), primary=primary)
    report = report_of(tmp_path)
    leading = gather_evidence(report).leading
    assert leading is report.verdict.pair
    assert leading is not None
    assert leading.sparse.config_id == LARGER.config_id
    assert sketch_quality(gather_evidence(report)).alt.startswith("16 experts")


def test_steps_flops_and_time_stand_side_by_side(evidence: Evidence):
    figure = drawing(sketch_quality(evidence))
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["training steps", "provisioned training FLOPs (TFLOP)", "wall-clock time (s)"]
    steps, _, seconds = ([x.get_xdata()[-1] for x in axes.lines if x.get_marker() == "D"] for axes in figure.axes)
    assert seconds[0] == pytest.approx(steps[0] * 0.03)


def test_the_arrow_is_the_speedup(evidence: Evidence):
    """It goes from where the dense curve reaches the target to where the sparse one does, at the target's height."""
    pair = evidence.leading
    assert pair is not None
    assert pair.sparse.config_id == SPARSE.config_id
    for axes, panel in zip(drawing(sketch_quality(evidence)).axes, quality_panels(evidence, pair), strict=True):
        (arrow,) = [
            text for text in axes.texts if getattr(text, "arrow_patch", None) is not None and not text.get_text()
        ]
        assert arrow.xy[1] == pytest.approx(pair.target_nll)  # type: ignore[attr-defined]
        distance = arrow.get_position()[0] / arrow.xy[0]  # type: ignore[attr-defined]
        assert distance == pytest.approx(panel.speedup.value)
        (bar,) = [line for line in axes.lines if line.get_linewidth() == 5]
        assert panel.speedup.ci95 is not None
        ends = [arrow.get_position()[0] / x for x in bar.get_xdata()]
        assert ends == pytest.approx([panel.speedup.ci95[1], panel.speedup.ci95[0]])


def test_a_target_that_is_not_reached_has_no_arrow(tmp_path: Path):
    worse = Study(SPARSE, {seed: [2.1, 2.0, 1.9] for seed in (0, 1)})
    found = evidence_of([Study(DENSE, {seed: [2.0, 1.8, 1.7] for seed in (0, 1)}, is_twin=True), worse], tmp_path)
    sketch = sketch_quality(found)
    assert "target not reached" in sketch.alt
    for axes in drawing(sketch).axes:
        assert not [
            text for text in axes.texts if getattr(text, "arrow_patch", None) is not None and not text.get_text()
        ]
        assert "target not reached" in axes.get_title(loc="left")


def test_without_step_times_the_caption_says_so(tmp_path: Path):
    untimed = [Study(DENSE, {0: [2.0, 1.8, 1.7]}, is_twin=True, step_time_s=None), Study(SPARSE, {0: [1.9, 1.7, 1.6]})]
    sketch = sketch_quality(evidence_of(untimed, tmp_path))
    assert len(drawing(sketch).axes) == 2
    assert "step times of both are missing" in sketch.caption


def test_every_seed_has_a_marker_and_a_line(evidence: Evidence):
    (axes,) = drawing(sketch_seeds(evidence)).axes
    singles = [line for line in axes.lines if line.get_markersize() == 3.5]
    drawn = [sorted(line.get_xdata()) for line in singles]
    assert drawn == [sorted(nll[2] for nll in each.values()) for each in NLL.values()]
    lines = {
        str(line.get_label()): list(line.get_xdata()) for line in axes.lines if str(line.get_label()).startswith("seed")
    }
    assert lines == {f"seed {seed}": [each[seed][2] for each in NLL.values()] for seed in (0, 1, 2)}
    means = []
    for container in axes.containers:
        line, _, bars = container  # type: ignore[misc]
        ends = bars[0].get_segments()[0][:, 0]
        means.append((ends[0], line.get_xdata()[0], ends[1]))
    assert means == [pytest.approx(student([nll[2] for nll in each.values()])) for each in NLL.values()]


def test_runs_that_diverged_are_counted_in_their_row(tmp_path: Path):
    some = Study(SPARSE, {0: [1.9, 1.7, 1.6], 1: [1.9, 1.7, 1.65], 2: "diverged"})
    found = evidence_of([Study(DENSE, {s: [2.0, 1.8, 1.7] for s in (0, 1, 2)}, is_twin=True), some], tmp_path)
    sketch = sketch_seeds(found)
    (axes,) = drawing(sketch).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["dense", "4 experts, CF 1.25 (1 diverged)"]
    assert "brackets" in sketch.caption
    assert "DIVERGED_RUNS" in sketch.caveats


def test_figures_say_what_is_missing(tmp_path: Path):
    """One run of one configuration: nothing is drawn that it does not show."""
    found = evidence_of([Study(SPARSE, {0: [1.7]}, step_time_s=None)], tmp_path)
    missing = {sketch.key: sketch.missing for sketch in sketch_figures(found) if sketch.missing is not None}
    expected = {
        "quality": "dense twin",
        "frontier": "dense and a sparse",
        "parameters": "iso_flop",
        "seeds": "sweep.seeds",
        "capacity": "model.ffn.capacity_factor",
        "scaling": "three sizes",
        "residuals": "three sizes",
        "estimates": "estimate",
    }
    assert set(expected) <= set(missing)
    for key, part in expected.items():
        assert part in (missing[key] or ""), key
