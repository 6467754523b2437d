"""From a file to cells: expansion, order, identity."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from switchbench.errors import CorpusError, SweepFileError
from switchbench.spec import SIZES, DataIdentity, DataSpec, RunSpec
from switchbench.sweep import Cell, Sweep, load_sweep

CAPACITY = """\
schema: 1
name: capacity
question: Where does a larger capacity factor stop paying for itself?
base:
  data:  {corpus: python-stdlib, tokenizer: bytes, seq_len: 128}
  model: {size: xxs, ffn: {kind: sparse, router: switch, num_experts: 8, capacity_factor: 1.25}}
  train: {tokens: 3.2e6, batch_tokens: 4096, learning_rate: 1e-2}
sweep:
  grid:
    model.ffn.num_experts: [4, 16]
    model.ffn.capacity_factor: [1.0, 2.0]
  seeds: [0, 1, 2, 3]
  baselines: [iso_flop]
"""


def run_ids(sweep: Sweep) -> list[str]:
    return [cell.spec.run_id for cell in sweep.cells]


def configurations(sweep: Sweep) -> list[Cell]:
    """One cell of every configuration, in order."""
    return list({cell.spec.config_id: cell for cell in reversed(sweep.cells)}.values())[::-1]


def set_at(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[name] = value


def test_the_design_example(load):
    sweep = load(CAPACITY)
    assert (sweep.name, sweep.file) == ("capacity", "sweep.yaml")
    assert sweep.question.startswith("Where does")
    assert sweep.expected == ""
    assert load(CAPACITY + "expected: |\n  More.\n\n  Less.\n").expected == "More.\n\nLess.\n"
    assert sweep.axes == ("model.ffn.num_experts", "model.ffn.capacity_factor")
    assert len(set(run_ids(sweep))) == len(sweep.cells) == (2 * 2 + 1) * 4
    spec = sweep.cells[0].spec
    assert (spec.train.tokens, spec.train.learning_rate, spec.data.seq_len) == (3_200_000, 0.01, 128)
    assert (spec.model.d_model, spec.model.ffn.d_ff, spec.vocab_size) == (32, 128, 256)


def test_a_file_of_two_keys_is_one_run_with_all_defaults(load):
    (cell,) = load("schema: 1\nname: plain\n").cells
    assert (cell.role, cell.twin_of, cell.settings) == ("dense", (), {"seed": 0})
    assert cell.spec.model.size_name == "xxs"


def test_expansion_equals_a_plain_product(load):
    axes: dict[str, list[Any]] = {
        "train.learning_rate": [0.001, 0.01],
        "model.ffn.num_experts": [2, 4, 8],
        "train.anneal_at": [[0.5, 1.0], [1.0]],
        "data.seq_len": [64, 128],
    }
    grid = "".join(f"    {path}: {values}\n" for path, values in axes.items())
    sweep = load(
        f"schema: 1\nname: x\nbase: {{model: {{ffn: {{kind: sparse}}}}}}\nsweep:\n  grid:\n{grid}  seeds: [3, 1]\n"
    )
    expected = []
    for values in itertools.product(*axes.values()):
        for seed in (3, 1):
            tree: dict[str, Any] = {"data": {}, "train": {}, "model": {"ffn": {"kind": "sparse"}}}
            for path, value in zip(axes, values, strict=True):
                set_at(tree, path, value)
            tree |= {"seed": seed, "vocab_size": 256, "data_fingerprint": "python-stdlib-None-fingerprint"}
            expected.append((RunSpec.model_validate(tree), dict(zip(axes, values, strict=True)) | {"seed": seed}))
    assert [(cell.spec, cell.settings) for cell in sweep.cells] == expected


def test_seeds_are_inside_and_twins_follow_the_last_sparse_cell_they_serve(load):
    sweep = load(CAPACITY, "sweep.grid.model.size=[xxs, xs]", "sweep.seeds=[0, 1]")
    # The axis model.size was added last, so it runs fastest: every second configuration belongs to one twin.
    order = [(cell.role, cell.spec.model.size, cell.spec.seed) for cell in sweep.cells]
    sparse = [("sparse", size, seed) for size in ("xxs", "xs") for seed in (0, 1)]
    twins = [[("dense", size, seed) for seed in (0, 1)] for size in ("xxs", "xs")]
    assert order == sparse * 3 + sparse[:2] + twins[0] + sparse[2:] + twins[1]


def test_twins_inherit_everything_but_the_ffn(load):
    sweep = load(CAPACITY, "base.model.ffn.d_ff=48", "base.model.ffn.activation=swiglu", "base.data.seq_len=64")
    sparse = [cell for cell in sweep.cells if cell.role == "sparse"]
    twins = [cell for cell in sweep.cells if cell.role == "dense"]
    assert [twin.spec.seed for twin in twins] == [0, 1, 2, 3]
    for twin in twins:
        assert twin.twin_of == tuple(dict.fromkeys(cell.spec.config_id for cell in sparse))
        assert twin.settings == {"seed": twin.spec.seed}
        served = next(cell for cell in sparse if cell.spec.seed == twin.spec.seed)
        without_ffn = {"model": {"ffn"}}
        assert twin.spec.model_dump(exclude=without_ffn) == served.spec.model_dump(exclude=without_ffn)
        assert twin.spec.model.ffn.model_dump() == {"kind": "dense", "d_ff": 48, "activation": "swiglu"}
    assert all(cell.twin_of == () for cell in sparse)


def test_an_explicit_dense_cell_is_the_twin_where_it_is_the_same_run(load):
    sweep = load(CAPACITY, "sweep.grid={model.ffn.kind: [dense, sparse], model.ffn.num_experts: [4, 16]}")
    dense, four, sixteen = configurations(sweep)
    assert dense.settings == {"model.ffn.kind": "dense", "seed": 0}
    assert dense.twin_of == (four.spec.config_id, sixteen.spec.config_id)
    assert four.settings == {"model.ffn.kind": "sparse", "model.ffn.num_experts": 4, "seed": 0}
    assert len(sweep.cells) == 3 * 4


def test_sparse_only_fields_never_multiply_dense_cells(load):
    sweep = load(CAPACITY, "sweep.grid.model.ffn.kind=[sparse, dense]", "sweep.baselines=[]")
    assert [cell.role for cell in configurations(sweep)] == ["sparse", "dense", "sparse", "sparse", "sparse"]
    dense = configurations(sweep)[1]
    assert dense.settings == {"model.ffn.kind": "dense", "seed": 0}


def test_twins_keep_the_swept_settings_that_still_apply(load):
    sweep = load(CAPACITY, "sweep.grid={model.ffn.d_ff: [64, 96], model.ffn.num_experts: [2, 4]}", "sweep.seeds=[7]")
    twins = [cell for cell in sweep.cells if cell.role == "dense"]
    assert [twin.settings for twin in twins] == [{"model.ffn.d_ff": d_ff, "seed": 7} for d_ff in (64, 96)]


def test_size_fills_what_is_not_given(load):
    sizes = load(CAPACITY, "sweep.grid={model.size: [xxs, xs, s]}", "base.model.num_layers=3", "sweep.baselines=[]")
    for cell in sizes.cells:
        shape = SIZES[cell.settings["model.size"]]
        assert (cell.spec.model.d_model, cell.spec.model.num_heads) == (shape.d_model, shape.num_heads)
        assert (cell.spec.model.num_layers, cell.spec.model.ffn.d_ff) == (3, 4 * shape.d_model)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tokens: 3.2e6", "tokens: 3200000"),
        ("[1.0, 2.0]", "[1, 2]"),
        ("num_experts: 8", "num_experts: 8.0"),
        ("learning_rate: 1e-2", "learning_rate: 0.01"),
        ("tokens: 3.2e6, batch_tokens: 4096", "batch_tokens: 0x1000, tokens: 3200000"),
        ("seq_len: 128}", "seq_len: 128}  # a comment"),
        ("kind: sparse, router: switch", "router: 'switch', \"kind\": sparse"),
        (", capacity_factor: 1.25", ""),
        ("size: xxs", "d_model: 3.2e1"),
        ("question: Where", "question: Why"),
        ("question: Where", "expected: That it pays.\nquestion: Where"),
    ],
)
def test_spelling_does_not_change_ids(load, old, new):
    assert old in CAPACITY
    assert run_ids(load(CAPACITY.replace(old, new))) == run_ids(load(CAPACITY))


def test_more_values_keep_the_old_ids(load):
    before = set(run_ids(load(CAPACITY)))
    for override in ("sweep.grid.model.ffn.num_experts=[2, 4, 16]", "sweep.seeds=[0, 1, 2, 3, 4]"):
        after = set(run_ids(load(CAPACITY, override)))
        assert before < after


def test_the_corpus_is_identified_once_per_data_specification(load):
    asked = []

    def identify(data: DataSpec) -> DataIdentity:
        asked.append(data)
        return DataIdentity(fingerprint="0123456789abcdef", vocab_size=256)

    load(CAPACITY, "sweep.grid.data.seq_len=[64, 128]", identify=identify)
    assert [data.seq_len for data in asked] == [64, 128]


def test_a_corpus_error_stands_at_the_corpus(problems_of):
    def identify(data: DataSpec) -> DataIdentity:
        raise CorpusError("the folder texts has no text in it")

    text = CAPACITY.replace("corpus: python-stdlib", "corpus: text, path: texts")
    assert str(problems_of(text, identify=identify)[0]) == (
        "sweep.yaml:5:31: the folder texts has no text in it\n"
        "      data:  {corpus: text, path: texts, tokenizer: bytes, seq_len: 128}\n"
        "                                  ^"
    )
    (problem,) = problems_of(CAPACITY, identify=identify)
    assert (problem.line, problem.column) == (5, 19)
    (problem,) = problems_of("schema: 1\nname: x\n", identify=identify)
    assert problem.line is None


def test_a_corpus_error_is_reported_beside_other_problems(problems_of):
    def identify(data: DataSpec) -> DataIdentity:
        raise CorpusError("no text")

    problems = problems_of(CAPACITY, "base.train.tokens=5e3", "nmae=x", identify=identify)
    assert [problem.message.split()[0] for problem in problems] == ["no", "train:", "nmae"]


def test_a_path_on_the_grid_is_blamed_itself(problems_of):
    def identify(data: DataSpec) -> DataIdentity:
        if data.path == "b":
            raise CorpusError("b is empty")
        return DataIdentity(fingerprint="0123456789abcdef", vocab_size=256)

    text = "schema: 1\nname: x\nbase: {data: {corpus: text}}\nsweep: {grid: {data.path: [a, b]}}\n"
    (problem,) = problems_of(text, identify=identify)
    assert (problem.message, problem.line, problem.column) == ("b is empty", 4, 31)


def test_byte_order_mark_and_windows_line_ends(load):
    text = b"\xef\xbb\xbf" + CAPACITY.replace("\n", "\r\n").encode()
    assert run_ids(load(text)) == run_ids(load(CAPACITY))


def test_what_cannot_be_read(problems_of, tmp_path: Path):
    def message_of(path: Path) -> str:
        with pytest.raises(SweepFileError) as caught:
            load_sweep(path, identify=lambda data: DataIdentity("0123456789abcdef", 256))
        assert caught.value.exit_code == 2
        return str(caught.value)

    (tmp_path / "capacity.yaml").write_text(CAPACITY)
    (tmp_path / "large.yaml").write_text("#" * 1_000_001)
    assert message_of(tmp_path / "capacty.yaml").endswith(
        f"there is no such file. Did you mean '{tmp_path / 'capacity.yaml'}'?"
    )
    assert "there is no such file" in message_of(tmp_path / "missing" / "a.yaml")
    assert "this is a folder" in message_of(tmp_path)
    assert "cannot be read: embedded null byte" in message_of(tmp_path / "a\0b.yaml")
    assert "cannot be read: Not a directory" in message_of(tmp_path / "capacity.yaml" / "x.yaml")
    assert "larger than 1,000,000 bytes" in message_of(tmp_path / "large.yaml")
    (problem,) = problems_of(b"schema: 1\nname: caf\xe9\n")
    assert (problem.line, problem.column) == (2, 10)
    assert problem.message == "is not UTF-8 text: byte 0xE9 here"


def test_too_many_runs(problems_of):
    values = list(range(1, 401))
    text = f"schema: 1\nname: x\nsweep:\n  grid:\n    train.eval_points: {values}\n    train.tokens: {values}\n"
    (problem,) = problems_of(text)
    assert "multiply to 160,000 runs; at most 100,000" in problem.message
    assert (problem.line, problem.column) == (4, 3)
