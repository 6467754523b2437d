from xml.etree import ElementTree

import pytest
from factories import write_study

from switchbench.report.figures import Figure, draw_figures
from switchbench.report.figures.drawing import sketch_figures
from switchbench.report.figures.evidence import Evidence, gather_evidence
from tests.report.figures.drawn import REFERENCE, WIDTHS, drawing, many_studies, outside, overlaps, report_of

HOSTILE = ('<script>alert("&")</script>', "id=\"a\" & 'b' #1b1b1f", "größe_$x^2$_模型_\\frac", "n" * 200)
"""Names that break what takes them for markup, mathematics, or short."""


@pytest.fixture(scope="module", params=["capacity", "cost_scaling", "fifty"])
def evidence(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    if request.param != "fifty":
        return gather_evidence(report_of(REFERENCE, request.param))
    root = tmp_path_factory.mktemp("fifty")
    write_study(root, many_studies(lambda i: f"corpus-number-{i}", number=50))
    return gather_evidence(report_of(root))


def test_no_text_covers_another_or_is_cut_off(evidence: Evidence):
    drawn = 0
    for sketch in sketch_figures(evidence):
        if sketch.draw is None:
            continue
        for width in WIDTHS:
            figure = drawing(sketch, width)
            assert overlaps(figure) == [], (sketch.key, width)
            assert outside(figure) == [], (sketch.key, width)
            drawn += 1
    assert drawn >= 10


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
            assert outside(drawn) == [], figure.key
