from typing import Any

import pytest

from switchbench.sweep import Cell, describe_cell
from tests.factories import make_spec


@pytest.mark.parametrize(
    ("settings", "role", "words"),
    [
        (
            {"model.ffn.num_experts": 16, "model.ffn.capacity_factor": 2.0, "seed": 1},
            "sparse",
            "16 experts, capacity 2",
        ),
        ({"model.ffn.capacity_factor": None, "seed": 1}, "sparse", "sparse, dropless"),
        ({"model.ffn.num_experts": 1}, "sparse", "1 expert"),
        ({"train.learning_rate": 0.005, "seed": 1}, "dense", "dense, learning_rate 0.005"),
        ({"model.ffn.kind": "dense", "model.size": "xs"}, "dense", "dense, size xs"),
        ({"train.anneal_at": [0.5, 1.0]}, "dense", "dense, anneal_at [0.5, 1.0]"),
    ],
)
def test_cells_in_words(settings: dict[str, Any], role: Any, words: str) -> None:
    assert describe_cell(Cell(spec=make_spec(), role=role, twin_of=(), settings=settings)) == words
