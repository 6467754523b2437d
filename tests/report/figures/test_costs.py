import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from factories import Study, make_spec, write_study
from matplotlib.collections import QuadMesh

from switchbench.compare.pool import pool_of
from switchbench.fitting.sweeps import matmul_parameters
from switchbench.laws import Place, group_rows, intervals, prediction
from switchbench.record import StepRecord
from switchbench.report.figures.capacity import sketch_capacity
from switchbench.report.figures.estimates import BAND, estimate_panels, sketch_estimates
from switchbench.report.figures.evidence import Evidence, gather_evidence
from switchbench.report.figures.expert_load import sketch_expert_load
from switchbench.report.figures.frontier import sketch_frontier
from switchbench.report.figures.frontier_curves import fit_frontier, frontier_panels
from switchbench.report.figures.law import law_of
from switchbench.report.figures.parameters import SAME_FLOPS, iso_flop_lines, sketch_parameters
from switchbench.report.figures.residuals import law_residuals, sketch_residuals
from switchbench.report.figures.scaling import sketch_scaling
from tests.report.figures.drawn import REFERENCE, drawing, evidence_of, intervals_of, report_of


@pytest.fixture(scope="module")
def capacity() -> Evidence:
    return gather_evidence(report_of(REFERENCE, "capacity"))


@pytest.fixture(scope="module")
def cost_scaling() -> Evidence:
    return gather_evidence(report_of(REFERENCE, "cost_scaling"))


def test_what_capacity_buys_is_what_the_runs_say(capacity: Evidence):
    figure = drawing(sketch_capacity(capacity))
    quality, dropped, flops, step_time = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "held-out nll (nats/token)", "dropped in training (%)", "executed training FLOPs (TFLOP)", "step time (ms)",
    ]  # fmt: skip
    sparse = {(c.settings["model.ffn.num_experts"], c.settings["model.ffn.capacity_factor"]): c
              for c in capacity.configurations if c.role == "sparse"}  # fmt: skip
    for experts in (4, 16):
        members = [sparse[experts, 1.0], sparse[experts, 2.0]]
        for axes, column, label, factor in (
            (quality, "nll", f"{experts} experts", 1.0),
            (quality, "nll_capacity", f"{experts} experts, hollow", 1.0),
            (dropped, "dropped_token_fraction", f"{experts} experts", 100.0),
            (flops, "executed_train_flops", f"{experts} experts", 1e-12),
            (flops, "provisioned_train_flops", f"{experts} experts, hollow", 1e-12),
        ):
            means = [statistics.fmean(getattr(row, column) for row in c.finished.values()) * factor for c in members]
            assert [value for _, value, _ in intervals_of(axes)[label]] == pytest.approx(means), (column, experts)
        expected = [
            pytest.approx(
                [1e3 * each for each in (c.timing.step_time_q25_s, c.timing.step_time_s, c.timing.step_time_q75_s)]
            )
            for c in members
            if c.timing
        ]
        assert [list(each) for each in intervals_of(step_time)[f"{experts} experts"]] == expected


def test_estimates_are_drawn_one_per_run(capacity: Evidence):
    runs = [row for c in capacity.configurations for row in c.finished.values()]
    time, memory = drawing(sketch_estimates(capacity)).axes
    for axes, unit, columns in (
        (time, 1.0, ("run_time_s", "estimated_time_s")),
        (memory, 2.0**20, ("peak_memory_bytes", "estimated_peak_memory_bytes")),
    ):
        points = [xy for line in axes.lines if line.get_marker() in ("o", "D") for xy in line.get_xydata().tolist()]
        expected = [[getattr(row, column) / unit for column in columns] for row in runs]
        assert sorted(points) == pytest.approx(np.array(sorted(expected)))
        corners = axes.collections[0].get_paths()[0].vertices
        ratios = {round(float(y / x), 6) for x, y in corners.tolist()}
        assert ratios == {1 - BAND, 1 + BAND}
    within = sum(abs(row.estimated_time_s / row.run_time_s - 1) <= BAND for row in runs if row.run_time_s)
    assert f"{within} of {len(runs)} runs in time" in sketch_estimates(capacity).alt
    assert [panel.quantity for panel in estimate_panels(capacity)] == ["time", "memory"]


def test_lines_of_growth_have_the_fitted_exponents(cost_scaling: Evidence):
    figure = drawing(sketch_scaling(cost_scaling))
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "useful training FLOPs/token (MFLOP)", "step time (ms)", "peak memory (MiB)",
    ]  # fmt: skip
    costs = ("useful_train_flops_per_token", "step_time_s", "peak_memory_bytes")
    for axes, cost in zip(figure.axes, costs, strict=True):
        fitted = {each.group: each.exponent for each in cost_scaling.scaling if each.cost == cost}
        lines = [line for line in axes.lines if line.get_linewidth() == 1.2]
        assert len(lines) == 1 + 6, "one line of dense models, one of sparse ones for each of six shapes"
        for line, group in zip(lines, ["dense_by_size"] + 6 * ["sparse_by_experts"], strict=True):
            (x0, y0), (x1, y1) = line.get_xydata()[[0, -1]]
            assert math.log(y1 / y0) / math.log(x1 / x0) == pytest.approx(fitted[group])
        (proportion,) = [line for line in axes.lines if line.get_label() == "in proportion"]
        (x0, y0), (x1, y1) = proportion.get_xydata()
        assert y1 / y0 == pytest.approx(x1 / x0)


def test_models_on_a_line_have_equal_flops(cost_scaling: Evidence):
    lines = iso_flop_lines(cost_scaling)
    assert len(lines) == 6
    for line in lines:
        flops = [point.flops for point in line.points]
        assert max(flops) / min(flops) <= SAME_FLOPS
        assert [point.configuration.role for point in line.points] == ["dense", "sparse", "sparse", "sparse"]
    (axes,) = drawing(sketch_parameters(cost_scaling)).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("total parameters", "held-out nll (nats/token)")
    assert len([text for text in axes.texts if "GFLOP" in text.get_text()]) == 6


def test_the_heat_map_is_the_load_of_every_expert(tmp_path: Path):
    """The made-up load is a quarter and three quarters in the first layer, half and half in the second."""
    studies = [Study(make_spec(), {0: [2.0, 1.8, 1.7]}, is_twin=True)]
    found = evidence_of([*studies, Study(make_spec(num_experts=2), {0: [1.9, 1.7, 1.6]})], tmp_path)
    figure = drawing(sketch_expert_load(found))
    meshes = [each for axes in figure.axes for each in axes.collections if isinstance(each, QuadMesh)][:2]
    for mesh, loads in zip(meshes, ((0.25, 0.75), (0.5, 0.5)), strict=True):
        expected = [[math.log2(2 * load)] * 2 for load in loads]
        assert mesh.get_array().reshape(2, 2).tolist() == pytest.approx(np.array(expected))
        assert sorted(set(mesh.get_coordinates()[..., 0].ravel())) == [0, 10, 20], "evaluated at these steps"
    assert [axes.get_ylabel() for axes in figure.axes[:2]] == ["layer 1\nexpert", "layer 2\nexpert"]
    assert "between 0.50 and 1.50 times" in sketch_expert_load(found).alt


def test_without_the_load_of_experts_its_variation_is_shown(tmp_path: Path):
    spec = make_spec(num_experts=2)
    found = evidence_of([Study(spec, {0: [1.9, 1.7, 1.6]})], tmp_path)

    def with_variation(step: StepRecord) -> StepRecord:
        return step.model_copy(update={"expert_load": None, "expert_load_cv": [0.1 * step.step, 0.5]})

    curves = {run: tuple(map(with_variation, steps)) for run, steps in found.curves.items()}
    bare = Evidence(**{**vars(found), "curves": curves})
    (mesh,) = [each for each in drawing(sketch_expert_load(bare)).axes[0].collections if isinstance(each, QuadMesh)]
    assert mesh.get_array().reshape(2, 2).tolist() == pytest.approx(np.array([[1.0, 2.0], [0.5, 0.5]]))


def test_residuals_are_those_of_the_stored_law(cost_scaling: Evidence):
    (answer,) = cost_scaling.fits
    found = law_residuals(cost_scaling)
    assert found is not None
    assert found.rms == pytest.approx(100 * answer["goodness"]["rms_ln"])
    figure = drawing(sketch_residuals(cost_scaling))
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "parameters that a token meets", "experts (1: dense)", "training tokens",
    ]  # fmt: skip
    runs = [row for c in cost_scaling.configurations for s, end in c.ends.items() for row in (*c.earlier[s], end)]
    for axes in figure.axes:
        assert axes.get_ylabel() == "ln(law/measured) (%)"
        drawn = [y for line in axes.lines if line.get_marker() in ("o", "D") for y in line.get_ydata()]
        assert sorted(drawn) == pytest.approx(sorted(found.percent))
    (tokens,) = [axes for axes in figure.axes if axes.get_xlabel() == "training tokens"]
    dense = next(line for line in tokens.lines if line.get_label() == "dense")
    expected = sorted(row.tokens_seen for row in runs if row.ffn_kind == "dense")
    assert sorted(dense.get_xdata()) == pytest.approx(expected, rel=0.05), "beside the sparse ones"


def test_the_frontier_is_the_best_of_all_configurations(cost_scaling: Evidence):
    """Its twin looks at every configuration: what it has reached at a cost lies on a line between its points."""
    panels = frontier_panels(pool_of(cost_scaling.configurations), sweep="cost_scaling", law=None)
    assert [panel.cost for panel in panels] == ["provisioned_train_flops", "train_time_s"]
    for side in panels[0].sides:
        curves = []
        for configuration in cost_scaling.configurations:
            if configuration.role == side.role:
                (curve,) = configuration.curves.values()
                curves.append([(point.provisioned_flops or 0.0, point.nll) for point in curve])
        end = max(cost for curve in curves for cost, _ in curve)
        for cost, nll in side.outline(end):
            best = []
            for curve in curves:
                costs, values = np.log([c for c, _ in curve]), [value for _, value in curve]
                if math.log(cost) >= costs[0] - 1e-12:
                    reached = [value for c, value in zip(costs, values, strict=True) if c <= math.log(cost) + 1e-12]
                    best.append(min(*reached, float(np.interp(math.log(cost), costs, values))))
            assert nll == pytest.approx(min(best))


def test_a_law_goes_through_points_that_follow_one():
    costs = [1e9, 2e9, 5e9, 1e10, 3e10]
    law = fit_frontier([(cost, (1e20 / cost) ** 0.05) for cost in costs])
    assert law is not None
    assert law.known_to == 3e10
    assert law.costs[-1] == pytest.approx(9e10)
    assert law.nll == pytest.approx([(1e20 / cost) ** 0.05 for cost in law.costs], rel=1e-6)
    assert fit_frontier([(1e9, 2.0), (2e9, 1.9), (4e9, 1.8)]) is None


def test_the_band_of_a_law_holds_it_and_widens_beyond_the_points():
    noise = [0.02, -0.02, 0.015, -0.01, 0.02, -0.02]
    law = fit_frontier([(1e9 * 2**i, 3.0 * 0.9**i + each) for i, each in enumerate(noise)])
    assert law is not None
    assert law.ci95 is not None
    assert all(low < nll < high for nll, (low, high) in zip(law.nll, law.ci95, strict=True))
    relative = [(high - low) / nll for nll, (low, high) in zip(law.nll, law.ci95, strict=True)]
    assert relative[-1] > min(relative) * 1.5


def test_what_is_extrapolated_is_dashed(cost_scaling: Evidence):
    figure = drawing(sketch_frontier(cost_scaling))
    for axes in figure.axes:
        for role in ("dense", "sparse"):
            lines = {str(line.get_label()): line for line in axes.lines}
            law, beyond = lines[f"{role}, law"], lines[f"{role}, law, extrapolated"]
            assert (law.get_linestyle(), beyond.get_linestyle()) == ("-", "--")
            assert law.get_xdata()[-1] == beyond.get_xdata()[0]
            assert beyond.get_xdata()[-1] / beyond.get_xdata()[0] == pytest.approx(3.0)
    assert "EXTRAPOLATED" in sketch_frontier(cost_scaling).caveats


def test_the_law_of_the_figures_is_the_one_that_was_stored(cost_scaling: Evidence):
    """Taken up again from its parameters it gives the predictions and the intervals that were stored with it."""
    law = law_of(cost_scaling)
    assert law is not None
    (answer,) = cost_scaling.fits
    stored = answer["derived"]["prediction"]
    assert len(stored) > 2
    quantities = [prediction(Place(n=each["n"], e=each["e"], d=each["d"])) for each in stored]
    again = intervals(law.fit, quantities, grouping=group_rows(law.fit.observations), resamples=None)
    for each, interval in zip(stored, again, strict=True):
        assert interval.value == pytest.approx(each["value"], rel=1e-6)
        assert interval.ci95 == pytest.approx(tuple(each["ci95"]), rel=1e-3)


def test_the_curves_of_a_sweep_with_a_law_are_that_law(cost_scaling: Evidence):
    """Its twin tries every configuration with as many tokens as the cost buys, up to those of the longest run."""
    law = law_of(cost_scaling)
    assert law is not None
    assert law.fit.observations.d is not None
    fewest, most = min(law.fit.observations.d), max(law.fit.observations.d)
    pool = pool_of(cost_scaling.configurations)
    for panel in frontier_panels(pool, sweep="cost_scaling", law=law):
        assert panel.is_joint
        for side, members in zip(panel.sides, (pool.dense, pool.sparse), strict=True):
            curve = side.fitted
            assert curve is not None
            assert curve.ci95 is not None
            for cost, nll, (low, high) in zip(curve.costs, curve.nll, curve.ci95, strict=True):
                expected = []
                for member in members:
                    (row,) = member.configuration.finished.values()
                    timing = member.configuration.timing
                    assert timing is not None
                    paid = {
                        "provisioned_train_flops": (row.provisioned_train_flops or 0.0) / (row.tokens_seen or 1),
                        "train_time_s": timing.step_time_s / row.batch_tokens,
                    }[panel.cost]
                    bought = min(cost / paid, most * max(1.0, cost / curve.known_to))
                    n, d, e = (np.array([float(each)]) for each in (matmul_parameters(row), bought, row.num_experts))
                    if bought >= fewest * (1 - 1e-6):
                        expected.append(float(law.fit.predict(n=n, e=e, d=d)[0]))
                assert nll == pytest.approx(min(expected), rel=1e-6)
                assert low < nll < high
    sketch = sketch_frontier(cost_scaling)
    assert law.formula in sketch.caption
    assert {*law.caveats, "EXTRAPOLATED"} <= {*sketch.caveats}


def test_one_law_alone_is_not_drawn(capacity: Evidence):
    """The only dense configuration has three points, the sparse ones have more."""
    for axes in drawing(sketch_frontier(capacity)).axes:
        assert not [line for line in axes.lines if "law" in str(line.get_label())]
    assert "EXTRAPOLATED" not in sketch_frontier(capacity).caveats


def test_runs_on_different_text_have_no_frontier(tmp_path: Path):
    dense = make_spec()
    other = make_spec(num_experts=4).model_copy(update={"data_fingerprint": "ffff0000ffff"})
    write_study(tmp_path, [Study(dense, {0: [2.0, 1.8, 1.7]}), Study(other, {0: [2.0, 1.8, 1.7]})])
    sketch = sketch_frontier(gather_evidence(report_of(tmp_path)))
    assert "different text" in (sketch.missing or "")
