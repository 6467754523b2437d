"""A run is what it says, not how it is written: spelling changes no id, and neither does what stands beside it."""

import random
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.sweep import Sweep, load_sweep
from tests.sweep.conftest import identify

TREE: dict[str, Any] = {
    "schema": 1,
    "name": "x",
    "question": "Why?",
    "expected": "Because.",
    "base": {
        "data": {"seq_len": 64, "held_out_fraction": 0.02},
        "model": {"size": "xs", "num_layers": 4, "ffn": {"kind": "sparse", "num_experts": 8, "capacity_factor": 2}},
        "train": {"tokens": 1_000_000, "batch_tokens": 2048, "weight_decay": 0.5, "anneal_at": [0.5, 1]},
    },
    "sweep": {
        "grid": {
            "model.ffn.num_experts": [4, 16, 32],
            "model.ffn.kind": ["dense", "sparse"],
            "train.weight_decay": {
                "values": [0, 0.25],
                "when": {"model.ffn.kind": "sparse", "train.batch_tokens": 2048},
            },
        },
        "zip": [{"train.learning_rate": 0.001, "data.seq_len": 64}, {"train.learning_rate": 1, "data.seq_len": 128}],
        "derive": {"train.tokens": "10 * params_active", "train.eval_points": "max(2, num_steps // 100)"},
        "constraints": ["num_experts * d_ff <= 4096", "params_total > 0"],
        "seeds": [0, 1],
        "baselines": ["iso_flop", "iso_active_params", "iso_total_params"],
    },
    "report": {
        "primary": {"sparse": {"num_experts": 16, "weight_decay": 0, "seq_len": 64}, "dense": "iso_flop"},
        "controls": [
            {
                "name": "decay",
                "a": {"num_experts": 16, "weight_decay": 0, "seq_len": 64},
                "b": {"num_experts": 16, "weight_decay": 0.25, "seq_len": 64},
                "expect": "none",
            }
        ],
    },
}


class Spelling:
    """Writes a tree as YAML, in one of many ways."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def of(self, value: Any, *, indent: int = 0, is_flow: bool = False) -> str:
        pad = "\n" + " " * indent
        comment = self._random.choice(["", "", "  # a comment"])
        match value:
            case dict() if is_flow or (indent and self._random.random() < 0.3):
                items = [f"{self.key(key)}: {self.of(each, is_flow=True)}" for key, each in self.shuffled(value)]
                return "{" + ", ".join(items) + "}"
            case dict():
                items = [
                    f"{pad}{self.key(key)}: {self.of(each, indent=indent + self._random.choice([1, 2, 4]))}{comment}"
                    for key, each in self.shuffled(value)
                ]
                return "".join(items)
            case list() if is_flow or self._random.random() < 0.6:
                return "[" + ", ".join(self.of(each, is_flow=True) for each in value) + "]"
            case list():
                return "".join(f"{pad}- {self.of(each, is_flow=True)}{comment}" for each in value)
            case int() | float():
                return self.number(value)
            case _:
                return self.key(value) if self._random.random() < 0.5 and "," not in value else f'"{value}"'

    def shuffled(self, value: Mapping[str, Any]) -> list[tuple[str, Any]]:
        items = list(value.items())
        self._random.shuffle(items)
        return items

    def key(self, key: str) -> str:
        return self._random.choice([key, f'"{key}"', f"'{key}'"]) if re.fullmatch(r"[\w.]+", key) else f"'{key}'"

    def number(self, value: float) -> str:
        ways = [repr(value), f"{value:e}", f"+{value!r}"]
        if float(value).is_integer():
            ways += [f"{int(value)}.0", f"{int(value)}.", hex(int(value))]
        return self._random.choice(ways)


def load(text: str) -> Sweep:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.yaml")
        path.write_text(text, encoding="utf-8")
        return load_sweep(path, identify=identify)


def ids(sweep: Sweep) -> set[str]:
    return {cell.spec.run_id for cell in sweep.cells}


EXPECTED = load(Spelling(0).of(TREE))


def test_the_file_has_all_that_can_be_swept():
    assert len(EXPECTED.dropped) == 4  # 32 experts, in two rows and with two weight decays
    assert {matched_on for cell in EXPECTED.cells for matched_on in cell.twins} == set(TREE["sweep"]["baselines"])
    assert EXPECTED.primary is not None


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_spelling_and_order_of_keys_change_no_id(seed):
    sweep = load(Spelling(seed).of(TREE))
    assert ids(sweep) == ids(EXPECTED)
    assert sweep.primary == EXPECTED.primary
    assert sweep.controls == EXPECTED.controls
    twins = {(cell.spec.run_id, key, frozenset(value)) for cell in sweep.cells for key, value in cell.twins.items()}
    assert twins == {(c.spec.run_id, key, frozenset(value)) for c in EXPECTED.cells for key, value in c.twins.items()}


@settings(max_examples=40, deadline=None)
@given(
    experts=st.lists(st.integers(2, 3000), max_size=3),
    rates=st.lists(st.floats(1e-6, 0.5), max_size=2, unique=True),
    seeds=st.lists(st.integers(2, 99), max_size=2, unique=True),
    position=st.integers(0, 2),
)
def test_more_values_rows_and_seeds_keep_the_old_ids(experts, rates, seeds, position):
    swept = TREE["sweep"]
    old = swept["grid"]["model.ffn.num_experts"]
    more = [*old[:position], *dict.fromkeys(each for each in experts if each not in old), *old[position:]]
    rows = [{"train.learning_rate": rate, "data.seq_len": 64} for rate in rates if rate != 0.001]
    grid = swept["grid"] | {"model.ffn.num_experts": more}
    tree = TREE | {"sweep": swept | {"grid": grid, "zip": [*rows, *swept["zip"]], "seeds": [*seeds, 0, 1]}}
    tree.pop("report")  # it may now name several pairs
    assert ids(load(Spelling(1).of(tree))) >= ids(EXPECTED)
