import pytest

from switchbench.report.figures.drawing import sketch_figures
from switchbench.report.figures.elements import Width
from switchbench.report.figures.evidence import Evidence, gather_evidence
from switchbench.report.figures.seeds import chosen_strips, strips
from tests.report.figures.drawn import (
    REFERENCE,
    drawing,
    evidence_of,
    many_studies,
    outside,
    overlaps,
    report_of,
)


@pytest.fixture(scope="module")
def fifty(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return evidence_of(many_studies(lambda i: f"corpus-number-{i}", number=50), tmp_path_factory.mktemp("fifty"))


@pytest.mark.parametrize(
    ("name", "width"), [("capacity", "narrow"), ("cost_scaling", "wide"), ("fifty", "wide"), ("fifty", "narrow")]
)
def test_no_text_covers_another_or_is_cut_off(name: str, width: Width, fifty: Evidence):
    evidence = fifty if name == "fifty" else gather_evidence(report_of(REFERENCE, name))
    drawn = 0
    for sketch in sketch_figures(evidence):
        if sketch.draw is None:
            continue
        figure = drawing(sketch, width)
        assert overlaps(figure) == [], sketch.key
        assert outside(figure) == [], sketch.key
        drawn += 1
    assert drawn >= 5


def test_of_many_configurations_the_best_are_shown_with_their_twins(fifty: Evidence):
    found = strips(fifty)
    shown = chosen_strips(found, most=24)
    assert len(shown) == 24
    groups = {strip.group for strip in shown}
    assert all(any(s.group == group and s.configuration.role == "dense" for s in shown) for group in groups)
    assert min(found, key=lambda strip: strip.spread.mean) in shown
