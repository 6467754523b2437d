from xml.etree import ElementTree

import pytest
from factories import write_study
from matplotlib.backends.backend_agg import FigureCanvasAgg

from switchbench.report.figures import Figure, draw_figures
from switchbench.report.figures.drawing import sketch_figures
from switchbench.report.figures.elements import Width
from switchbench.report.figures.evidence import Evidence, gather_evidence
from switchbench.report.figures.seeds import chosen_strips, strips
from switchbench.report.figures.style import figure_style
from tests.report.figures.drawn import (
    REFERENCE,
    drawing,
    evidence_of,
    many_studies,
    outside,
    overlaps,
    report_of,
)

HOSTILE = ('<script>alert("&")</script>', "id=\"a\" & 'b' #1b1b1f", "größe_$x^2$_模型_\\frac", "n" * 200)
"""Names that break what takes them for markup, mathematics, or short."""


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


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Figure, ...]:
    root = tmp_path_factory.mktemp("hostile")
    write_study(root, many_studies(lambda i: HOSTILE[i], number=4 * len(HOSTILE)), name="größe & <b>")
    return draw_figures(report_of(root, "größe & <b>"))


def test_hostile_names_stay_text(hostile: tuple[Figure, ...]):
    shown = ""
    for figure in hostile:
        for svg in (figure.svg, figure.narrow_svg):
            if svg is not None:
                root = ElementTree.fromstring(svg)
                assert not [element for element in root.iter() if element.tag.endswith("script")]
                shown += "\n".join("".join(element.itertext()) for element in root.iter())
    for beginning in ('<script>alert("', "id=\"a\" & 'b' #1b", "größe_$x^2$_模型", "nnn"):
        assert beginning in shown
    assert "n" * 100 not in shown


def test_hostile_names_break_no_layout(hostile: tuple[Figure, ...]):
    for figure in hostile:
        for drawn in figure.drawings.values():
            with figure_style(salt="test"):
                FigureCanvasAgg(drawn).draw()
            assert outside(drawn) == [], figure.key


def test_of_many_configurations_the_best_are_shown_with_their_twins(fifty: Evidence):
    found = strips(fifty)
    shown = chosen_strips(found, most=24)
    assert len(shown) == 24
    groups = {strip.group for strip in shown}
    assert all(any(s.group == group and s.configuration.role == "dense" for s in shown) for group in groups)
    assert min(found, key=lambda strip: strip.spread.mean) in shown
