from pathlib import Path
from typing import Any

import numpy as np
import pytest

from switchbench.report.figures.drawing import draw_figure
from switchbench.report.figures.evidence import gather_evidence
from switchbench.report.figures.specialization import preferences, sketch_specialization
from tests.factories import Study, make_spec, write_study
from tests.report.figures.drawn import REFERENCE, outside, overlaps, report_of

IDLE = [0] * 8
SPACES, LETTERS, MORE_LETTERS = [10, 0, 30, 0, 0, 0, 0, 0], [60, 10, 0, 0, 0, 0, 0, 0], [90, 0, 0, 0, 0, 0, 0, 0]
LAYER = [SPACES, IDLE, LETTERS, MORE_LETTERS]


def write(root: Path, layers: list[list[list[int]]]) -> Any:
    study = Study(make_spec(num_experts=4), {0: [1.7]}, columns={"token_classes_by_expert": layers})
    write_study(root, [study, Study(make_spec(), {0: [1.8]}, is_twin=True)])
    return gather_evidence(report_of(root, "capacity"))


def test_shares_over_those_of_the_text_and_alike_experts_together(tmp_path: Path) -> None:
    found = preferences(write(tmp_path, [LAYER]))
    assert found is not None
    assert found.classes == ("letters", "digits", "whitespace")  # of 200 tokens: 160, 10, 30
    # The one of letters alone; the one that takes all digits; spaces; the idle one last.
    expected = [
        [1 / 0.8, 0, 0],
        [(6 / 7) / 0.8, (1 / 7) / 0.05, 0],
        [0.25 / 0.8, 0, 0.75 / 0.15],
        [np.nan] * 3,
    ]
    np.testing.assert_allclose(found.lifts, [expected])


@pytest.mark.parametrize("layers", [1, 6])
def test_it_is_drawn_with_nothing_outside_of_it(tmp_path: Path, layers: int) -> None:
    sketch = sketch_specialization(write(tmp_path, [LAYER] * layers))
    assert ("Layers 1, 3, 4, 6 of 6." in sketch.caption) == (layers == 6)
    assert "in layer 1 the most special expert prefers whitespace: 75.0% of its tokens, 15.0% of the text" in sketch.alt
    figure = draw_figure(sketch, sweep="capacity")
    for drawing in figure.drawings.values():
        assert not outside(drawing)
        assert not overlaps(drawing)
        names = {text.get_text() for axes in drawing.axes for text in axes.get_xticklabels()}
        assert {"letters", "digits", "whitespace"} <= names


def test_results_of_before_lack_it(tmp_path: Path) -> None:
    write_study(tmp_path, [Study(make_spec(num_experts=4), {0: [1.7]}), Study(make_spec(), {0: [1.8]}, is_twin=True)])
    sketch = sketch_specialization(gather_evidence(report_of(tmp_path, "capacity")))
    assert sketch.draw is None
    assert sketch.missing is not None
    assert "counted which tokens each of them takes" in sketch.missing


def test_published_runs_have_it() -> None:
    found = preferences(gather_evidence(report_of(REFERENCE, "capacity")))
    assert found is not None
    assert found.lifts.shape[:2] == (2, 16)
