import json
import math
from pathlib import Path
from typing import Any

import pytest
from factories import make_spec
from scipy import stats

from switchbench.compare import Pair
from switchbench.compare.elsewhere import BenchFile, judge_step_times, read_bench
from switchbench.errors import TableError
from switchbench.spec import RunSpec
from tests.compare.made_up import make_pair

DENSE, SPARSE = make_spec(), make_spec(num_experts=4, capacity_factor=1.25)
SEEDS = range(4)
NLLS = {s: [2.0, 1.8 + s / 500, 1.7] for s in SEEDS}, {s: [1.9, 1.74 - s / 500, 1.66 - s / 200] for s in SEEDS}


def make_row(spec: RunSpec, *, median_s: float, precision: str = "float32", **columns: Any) -> dict[str, Any]:
    ffn = spec.model.ffn
    return {
        "d_model": spec.model.d_model,
        "num_experts": ffn.num_experts if ffn.kind == "sparse" else 1,
        "num_tokens": spec.train.batch_tokens,
        "precision": precision,
        "backend": "loop" if ffn.kind == "sparse" else "dense",
        "median_s": median_s,
        "q25_s": median_s * 0.99,
        "q75_s": median_s * 1.01,
        "rounds": 15,
        "model": spec.model.model_dump(mode="json"),
        "seq_len": 128,
        "vocab_size": 256,
    } | columns


def write_bench(path: Path, rows: list[dict[str, Any]], **facts: Any) -> BenchFile:
    answer = {
        "schema_version": 1,
        "benchmark": "step",
        "machine": "box",
        "device": "cuda",
        "device_name": "Test GPU",
        "threads": 1,
        "rows": rows,
    }
    path.write_text(json.dumps(answer | facts), encoding="utf-8")
    return read_bench(path)


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Its sparse side has a capacity factor of 2, which a step that pads no slots does not depend on."""
    return make_pair(*NLLS)


def test_the_ratio_of_a_file_is_held_against_the_break_even(tmp_path: Path, pair: Pair):
    """By hand: one ratio over the other, and both errors added in quadrature."""
    file = write_bench(tmp_path / "gpu.json", [make_row(DENSE, median_s=0.01), make_row(SPARSE, median_s=0.0105)])
    here, there = judge_step_times([pair], [file], sweep="capacity")
    break_even = pair.measured("break_even_step_time_ratio")
    assert break_even.value is not None
    assert break_even.standard_error is not None
    assert (here.file, there.file, there.machine) == (None, str(tmp_path / "gpu.json"), "Test GPU")
    assert here.step_time_ratio == pytest.approx(pair.measured("step_time_ratio").value)
    assert here.time_speedup == pytest.approx(pair.measured("time_speedup").value)
    assert here.time_speedup_ci95 == pytest.approx(pair.measured("time_speedup").ci95)
    assert there.step_time_ratio == pytest.approx(1.05)
    assert there.time_speedup == pytest.approx(break_even.value / 1.05)
    of_step = math.sqrt(math.pi / 2) * 0.02 / 1.349 / math.sqrt(15)
    variances = [break_even.standard_error**2, of_step**2, of_step**2]
    degrees = [3, 0.37 * 14, 0.37 * 14]
    freedom = sum(variances) ** 2 / sum(v**2 / d for v, d in zip(variances, degrees, strict=True))
    half_width = stats.t.ppf(0.975, freedom) * math.sqrt(sum(variances))
    assert there.time_speedup_ci95 == pytest.approx(
        (break_even.value / 1.05 * math.exp(-half_width), break_even.value / 1.05 * math.exp(half_width)), rel=1e-3
    )
    assert "CPU_TIMING" in here.caveats
    assert "CPU_TIMING" not in there.caveats


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, "sparse"), (1.3, "unresolved"), (2.0, "dense")])
def test_who_is_sooner_depends_on_the_machine(tmp_path: Path, pair: Pair, ratio: float, verdict: str):
    value = pair.measured("break_even_step_time_ratio").value
    assert value is not None
    rows = [make_row(DENSE, median_s=0.01), make_row(SPARSE, median_s=0.01 * (ratio if ratio != 1.3 else value))]
    _, there = judge_step_times([pair], [write_bench(tmp_path / "gpu.json", rows)], sweep="capacity")
    assert there.verdict == verdict


def test_each_precision_is_judged_by_itself_and_both_models_must_be_there(tmp_path: Path, pair: Pair):
    rows = [
        make_row(DENSE, median_s=0.01),
        make_row(DENSE, median_s=0.005, precision="bfloat16"),
        make_row(SPARSE, median_s=0.008, precision="bfloat16"),
    ]
    _, there = judge_step_times([pair], [write_bench(tmp_path / "gpu.json", rows)], sweep="capacity")
    assert (there.precision, there.step_time_ratio) == ("bfloat16", pytest.approx(1.6))


@pytest.mark.parametrize(
    ("change", "is_match"),
    [
        ({}, True),
        ({"num_tokens": 8192}, False),
        ({"num_experts": 8}, False),
        ({"seq_len": 256}, False),
        ({"vocab_size": 512}, False),
        ({"backend": "padded"}, False),
        ({"model": make_spec(num_experts=4, size="xs").model.model_dump(mode="json")}, False),
        ({"model": make_spec(num_experts=4, ffn={"top_k": 2, "router": "top_k"}).model.model_dump(mode="json")}, False),
        ({"model": make_spec(num_experts=4, ffn={"aux_loss_weight": 0.1}).model.model_dump(mode="json")}, True),
    ],
)
def test_models_are_the_same_where_all_that_a_step_depends_on_is(
    tmp_path: Path, pair: Pair, change: dict[str, Any], is_match: bool
):
    """A padded step depends on the capacity factor, which is 2 in the pair and 1.25 in the file."""
    rows = [make_row(DENSE, median_s=0.01), make_row(SPARSE, median_s=0.012, **change)]
    verdicts = judge_step_times([pair], [write_bench(tmp_path / "gpu.json", rows)], sweep="capacity")
    assert len(verdicts) == 1 + is_match


def test_a_file_that_does_not_say_its_models_is_read_as_the_models_it_measured_then(tmp_path: Path, pair: Pair):
    rows = [make_row(spec, median_s=time_s) for spec, time_s in ((DENSE, 0.01), (SPARSE, 0.012))]
    old = [{name: value for name, value in row.items() if name != "model"} for row in rows]
    verdicts = judge_step_times([pair], [write_bench(tmp_path / "old.json", old)], sweep="capacity")
    assert [verdict.file for verdict in verdicts] == [None, str(tmp_path / "old.json")]


def test_without_an_interval_or_a_step_time_nothing_is_told(tmp_path: Path):
    rows = [make_row(DENSE, median_s=0.01), make_row(SPARSE, median_s=0.005)]
    file = write_bench(tmp_path / "gpu.json", rows)
    one_seed = make_pair({0: NLLS[0][0]}, {0: NLLS[1][0]}, step_time_s=None)
    here, there = judge_step_times([one_seed], [file], sweep="capacity")
    assert (here.step_time_ratio, here.time_speedup, here.verdict) == (None, None, "unresolved")
    assert (there.step_time_ratio, there.verdict) == (pytest.approx(0.5), "unresolved")
    assert there.time_speedup is not None
    never = make_pair(NLLS[1], NLLS[0])
    here, there = judge_step_times([never], [file], sweep="capacity")
    assert (there.break_even, there.time_speedup, there.verdict) == (None, None, "unresolved")
    assert "NOT_REACHED" in there.caveats


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON"),
        ("[1, 2]", "does not hold the step times"),
        ('{"benchmark": "layer", "rows": []}', "of the feed-forward layer alone"),
        ('{"benchmark": "step", "device": "cpu", "device_name": "x", "rows": [{"d_model": 32}]}', "does not hold"),
        ('{"benchmark": "step", "device": "cpu", "device_name": "x", "rows": [7]}', "does not hold"),
        ('{"benchmark": "step", "device": "cpu", "device_name": "x", "rows": [{"model": 7}]}', "does not hold"),
    ],
)
def test_what_is_no_file_of_step_times_is_refused(tmp_path: Path, text: str, said: str):
    path = tmp_path / "file.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=said) as raised:
        read_bench(path)
    assert str(path) in str(raised.value)
    assert "switchbench bench step --json" in str(raised.value)


@pytest.mark.parametrize("median_s", [0.0, math.nan, math.inf, -1.0])
def test_a_step_that_takes_no_time_is_refused(tmp_path: Path, median_s: float):
    with pytest.raises(TableError, match="does not hold"):
        write_bench(tmp_path / "file.json", [make_row(DENSE, median_s=median_s)])


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path):
    with pytest.raises(TableError, match="cannot be read"):
        read_bench(tmp_path / "none.json")
    with pytest.raises(TableError, match="cannot be read"):
        read_bench(tmp_path)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match="is no JSON"):
        read_bench(tmp_path / "bytes.json")
