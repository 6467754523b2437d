import string

import pytest

from switchbench.report.papers.spelling import latex_label, spell_latex


def test_plain_words_stay_as_they_are():
    text = string.ascii_letters + " " + string.digits + " (a, b); c: d/e + f = g. h? @i *j*"
    assert spell_latex(text).replace(r"\allowbreak{}", "") == text


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        (r"50% of {d_ff} & #1 $x$", r"50\% of \{d\_ff\} \& \#1 \$x\$"),
        (r"a\b~c^d", r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d"),
        ("é ñ ö Å č ş í", r"\'{e} \~{n} \"{o} \r{A} \v{c} \c{s} \'{\i{}}"),
        ("ß ø Σ α ω ± ≤ –", r"\ss{} \o{} \ensuremath{\Sigma} \ensuremath{\alpha} \ensuremath{\omega} "
         r"\ensuremath{\pm} \ensuremath{\le} \textendash{}"),
        ("深い", "[U+6DF1][U+3044]"),
        ("\u1ec7", "[U+1EC7]"),
        ("a\x07b", "a[U+0007]b"),
        ("--option", "-{}-option"),
        ("?`x", r"?\char96{}x"),
        ("two\nlines\tof  it", "two lines of it"),
    ],
)  # fmt: skip
def test_what_tex_would_take_for_something_else(text: str, spelled: str):
    assert spell_latex(text) == spelled


def test_the_spelling_is_ascii_whatever_the_text():
    assert spell_latex("".join(map(chr, range(0xA1, 0x600)))).isascii()


def test_long_names_may_be_broken():
    spelled = spell_latex("x" * 200)
    assert max(map(len, spelled.split(r"\allowbreak{}"))) == 10
    assert spelled.replace(r"\allowbreak{}", "") == "x" * 200
    assert "allowbreak" not in spell_latex("x" * 30)


def test_labels_are_letters_digits_and_hyphens():
    assert latex_label("<script> {größer}%", "cost") == "script-gr-er:cost"
