"""Dense twins: matched on FLOPs, on active weights, on all weights; each run once."""

import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from switchbench.cost import count_forward_flops, count_parameters
from switchbench.spec import SIZES, ModelSpec, RunSpec, default_d_ff
from switchbench.sweep.shapes import D_FF_STRETCH, ladder_d_head, ladder_depth, shape_of_total
from switchbench.sweep.twins import dense_twin
from tests.specs import sparse, tiny_run
from tests.sweep.marks import without_marks

TEXT = """\
schema: 1
name: x
base: {model: {ffn: {kind: sparse}}}
sweep:
  grid:
    model.ffn.num_experts: [2, 4, 64]
    model.ffn.capacity_factor: [1, 2]
  seeds: [0, 1]
  baselines: [iso_flop, iso_active_params, iso_total_params]
"""


def total(spec: RunSpec) -> int:
    return count_parameters(spec.model, vocab_size=spec.vocab_size).total


def active(spec: RunSpec) -> int:
    return count_parameters(spec.model, vocab_size=spec.vocab_size).active


def test_one_dense_run_serves_several_configurations_and_several_reasons(load):
    sweep = load(TEXT)
    assert len({cell.spec.run_id for cell in sweep.cells}) == len(sweep.cells)
    ids = {}
    for cell in sweep.cells:
        if cell.role == "sparse":
            ids.setdefault(cell.spec.model.ffn.num_experts, {})[cell.spec.config_id] = None
    twins = {cell.spec.config_id: cell for cell in sweep.cells if cell.role == "dense"}
    everyone = tuple(config_id for group in ids.values() for config_id in group)
    few = (*ids[2], *ids[4])  # their routers are less than 0.5% of the active weights
    served = [cell.twins for cell in twins.values()]
    assert sorted(served, key=str) == sorted(
        [
            {"iso_flop": everyone, "iso_active_params": few},
            {"iso_active_params": tuple(ids[64])},
            {"iso_total_params": tuple(ids[2])},
            {"iso_total_params": tuple(ids[4])},
            {"iso_total_params": tuple(ids[64])},
        ],
        key=str,
    )
    for cell in sweep.cells:
        assert cell.twin_of == cell.twins.get("iso_flop", ())
        assert (cell.twins == {}) == (cell.role == "sparse")


def test_a_dense_configuration_of_the_grid_is_its_own_twin_where_it_is_the_same_run(load):
    sweep = load(TEXT, "sweep.grid.model.ffn.kind=[dense, sparse]", "sweep.grid.model.ffn.num_experts=[2]")
    assert {"iso_flop", "iso_active_params"} == sweep.cells[0].twins.keys()
    assert [cell.role for cell in sweep.cells].count("dense") == 2 * 2


def test_a_twin_of_another_shape_shows_it_where_the_size_is_swept(load):
    sweep = load(TEXT, "sweep.grid.model.size=[xs]", "sweep.baselines=[iso_total_params]")
    shown = {cell.settings["model.size"] for cell in sweep.cells if cell.role == "dense"}
    assert shown == {cell.spec.model.size_name for cell in sweep.cells if cell.role == "dense"}
    assert None not in shown


@st.composite
def sparse_runs(draw: st.DrawFn, *, shapes: st.SearchStrategy[dict[str, Any]]) -> RunSpec:
    model = draw(shapes)
    ffn: dict[str, Any] = {
        "activation": draw(st.sampled_from(["relu", "swiglu"])),
        "num_experts": draw(st.sampled_from([1, 2, 3, 8, 32, 128, 512])),
        "shared_experts": draw(st.integers(0, 2)),
        "switch_layer_frequency": draw(st.sampled_from([0.5, 1.0])),
        "d_ff": draw(st.one_of(st.just(default_d_ff(model["d_model"], activation="relu")), st.integers(1, 3000))),
    }
    if draw(st.booleans()) and ffn["num_experts"] > 1:
        ffn |= {"router": "top_k", "top_k": 2}
    return tiny_run(ffn=sparse(**ffn), model=model | {"tied_output": draw(st.booleans())})


RUNGS = st.sampled_from([{"size": size} | shape._asdict() for size, shape in SIZES.items()])
SMALL_SHAPES = st.fixed_dictionaries(
    {
        "d_model": st.integers(8, 300),
        "num_layers": st.integers(2, 12),
        "num_heads": st.integers(1, 6),
        "d_head": st.integers(1, 32).map(lambda half: 2 * half),
    }
)


@settings(max_examples=150, deadline=None)
@given(spec=sparse_runs(shapes=RUNGS | SMALL_SHAPES))
def test_twins_match_what_they_are_matched_on_and_inherit_the_rest(spec):
    twins = {baseline: dense_twin(spec, baseline=baseline) for baseline in ("iso_flop", "iso_active_params")}
    for twin in twins.values():
        assert twin.model_dump(exclude={"model": {"ffn"}}) == spec.model_dump(exclude={"model": {"ffn"}})
        assert twin.model.ffn.activation == spec.model.ffn.activation
    # equal FLOPs, but for the router
    flops, dense_flops = (
        count_forward_flops(each.model, vocab_size=256, seq_len=32) for each in (spec, twins["iso_flop"])
    )
    assert dense_flops.total == pytest.approx(flops.total - flops.router, rel=1e-12)
    # equal active weights: within 0.5%, or as close as a whole d_ff comes
    found = twins["iso_active_params"]
    off = abs(active(found) - active(spec))
    if found != twins["iso_flop"] or off > 0.005 * active(spec):
        d_ff = found.model.ffn.d_ff
        assert off == min(abs(active(with_d_ff(found, max(d_ff + step, 1))) - active(spec)) for step in range(-3, 4))


def with_d_ff(spec: RunSpec, d_ff: int) -> RunSpec:
    ffn = spec.model.ffn.model_copy(update={"d_ff": d_ff})
    return spec.model_copy(update={"model": spec.model.model_copy(update={"ffn": ffn})})


@settings(max_examples=150, deadline=None)
@given(spec=sparse_runs(shapes=RUNGS | SMALL_SHAPES))
def test_a_twin_of_equal_total_weights_is_within_3_percent_and_in_proportion(spec):
    twin = dense_twin(spec, baseline="iso_total_params")
    assume(total(spec) > 20_000)
    assert twin is not None
    assert abs(total(twin) - total(spec)) <= 0.03 * total(spec)
    assert twin.model_dump(exclude={"model"}) == spec.model_dump(exclude={"model"})
    kept = {"tied_output", "init_scale"}
    assert twin.model.model_dump(include=kept) == spec.model.model_dump(include=kept)
    model, ffn = twin.model, twin.model.ffn
    wanted = default_d_ff(model.d_model, activation=ffn.activation)
    assert wanted / D_FF_STRETCH <= ffn.d_ff <= wanted * D_FF_STRETCH
    assert abs(model.num_layers - ladder_depth(model.d_model)) < 1
    assert 0.75 < model.num_heads * model.d_head / model.d_model < 1.34


@settings(max_examples=150, deadline=None)
@given(
    vocab_size=st.sampled_from([16, 256, 1000, 32_000, 250_000]),
    wanted=st.floats(4, 12).map(lambda digits: int(10**digits)),
    tied=st.booleans(),
    activation=st.sampled_from(["gelu", "geglu"]),
)
def test_there_is_a_shape_for_every_total_that_is_not_mostly_embedding(vocab_size, wanted, tied, activation):
    assume(wanted > 50 * vocab_size)
    model = ModelSpec.model_validate({"tied_output": tied, "ffn": {"kind": "dense", "activation": activation}})
    found = shape_of_total(model, total=wanted, vocab_size=vocab_size)
    assert found is not None
    assert abs(count_parameters(found, vocab_size=vocab_size).total - wanted) <= 0.03 * wanted


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("activation", ["relu", "swiglu"])
def test_the_totals_of_the_ladder_give_its_rungs(tied, activation):
    for size, rung in SIZES.items():
        model = ModelSpec.model_validate(
            {"size": size, "tied_output": tied, "ffn": {"kind": "dense", "activation": activation}}
        )
        weights = count_parameters(model, vocab_size=256).total
        found = shape_of_total(model, total=weights, vocab_size=256)
        assert found is not None
        assert (found.num_layers, found.num_heads, found.d_head) == rung[1:]
        assert math.isclose(found.d_model, rung.d_model, rel_tol=0.07)
        assert math.isclose(found.ffn.d_ff, model.ffn.d_ff, rel_tol=0.15)


def test_the_ladder_is_met_on_its_rungs_and_goes_on_at_its_ends():
    for rung in SIZES.values():
        assert ladder_depth(rung.d_model) == pytest.approx(rung.num_layers)
        assert ladder_d_head(rung.d_model) == pytest.approx(rung.d_head)
    assert ladder_depth(1536) == pytest.approx(14)
    assert ladder_depth(16) == pytest.approx(2)
    assert ladder_depth(2) == 1
    assert (ladder_d_head(4000), ladder_d_head(20), ladder_d_head(8)) == (64, 16, 8)


def test_no_shape_has_so_few_weights(problems_of):
    shape = "d_model: 4, num_layers: 2, num_heads: 1, d_head: 2, tied_output: false, ffn: {kind: sparse, d_ff: 1}"
    text, places = without_marks(TEXT.replace("ffn: {kind: sparse}", shape).replace("iso_total", "§iso_total"))
    (problem,) = problems_of(text, "sweep.grid={model.ffn.num_experts: [1]}")
    assert [(problem.line, problem.column)] == places
    assert "no dense shape in the size ladder's proportions has 2,160 weights within 3%" in problem.message
