"""Texts as LaTeX: special characters escaped, letters that pdfTeX lacks spelled with what it has."""

import re
import unicodedata

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    '"': r"\char34{}",
    "`": r"\char96{}",
}
_SIGNS = {
    "±": r"\ensuremath{\pm}", "×": r"\ensuremath{\times}", "·": r"\ensuremath{\cdot}", "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}", "≈": r"\ensuremath{\approx}", "−": r"\ensuremath{-}", "√": r"\ensuremath{\surd}",
    "∞": r"\ensuremath{\infty}", "→": r"\ensuremath{\to}", "²": r"\ensuremath{^2}", "³": r"\ensuremath{^3}",
    "⁻": r"\ensuremath{^-}", "–": r"\textendash{}", "—": r"\textemdash{}", "…": r"\ldots{}", "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}", "“": r"\textquotedblleft{}", "”": r"\textquotedblright{}", "⋅": r"\ensuremath{\cdot}",
    "°": r"\ensuremath{^\circ}", "ß": r"\ss{}", "ø": r"\o{}", "Ø": r"\O{}", "æ": r"\ae{}", "Æ": r"\AE{}",
    "œ": r"\oe{}", "Œ": r"\OE{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}", "§": r"\S{}", "µ": r"\ensuremath{\mu}",
}  # fmt: skip
_GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "o", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
)  # fmt: skip
"""By their place in the alphabet; TeX has the Latin letter for omicron, which is not asked for."""
_CAPITALS = {"Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi"}
_CAPITALS |= {"Ψ": "Psi", "Ω": "Omega", "Υ": "Upsilon"}
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c", "\u0323": "d", "\u0331": "b",
}  # fmt: skip
_LONGEST_WORD = 30
"""A longer word may be broken every ten characters: a name has no hyphens that TeX knows of."""


def spell_latex(text: str) -> str:
    """Write a text so that LaTeX shows it as it is, in one line and in ASCII.

    What neither TeX's own fonts nor their accents can show stands as its code point: every engine compiles that.

    >>> spell_latex("5% of d_ff ± größer"), spell_latex("深")
    ('5\\\\% of d\\\\_ff \\\\ensuremath{\\\\pm} gr\\\\"{o}\\\\ss{}er', '[U+6DF1]')
    """
    return " ".join(map(_word, text.split()))


def latex_label(*names: str) -> str:
    """Make a name to refer to of letters, digits and hyphens.

    >>> latex_label("größer 1", "head_to_head")
    'gr-er-1:head-to-head'
    """
    return ":".join(re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") for name in names)


def _word(word: str) -> str:
    characters = _characters(word)
    if len(characters) <= _LONGEST_WORD:
        return _joined(characters)
    parts = [characters[start : start + 10] for start in range(0, len(characters), 10)]
    return r"\allowbreak{}".join(map(_joined, parts))


def _characters(word: str) -> list[str]:
    """Spell each character of a word, its accents with it."""
    spelled: list[str] = []
    for character in unicodedata.normalize("NFC", word):
        decomposed = unicodedata.normalize("NFD", character)
        base, accents = decomposed[0], decomposed[1:]
        if character in _SIGNS or accents not in _ACCENTS or not base.isascii():
            spelled.append(_character(character))
        else:
            letter = {"i": r"\i{}", "j": r"\j{}"}.get(base, base) if accents not in "\u0327\u0323\u0331" else base
            spelled.append(f"\\{_ACCENTS[accents]}{{{letter}}}")
    return spelled


def _character(character: str) -> str:
    if character in _SPECIAL or character in _SIGNS:
        return _SPECIAL.get(character) or _SIGNS[character]
    if character in _CAPITALS:
        return rf"\ensuremath{{\{_CAPITALS[character]}}}"
    if "α" <= character <= "ω" and character != "ο":
        return rf"\ensuremath{{\{_GREEK[ord(character) - ord('α')]}}}"
    if character.isascii() and character.isprintable():
        return character
    return f"[U+{ord(character):04X}]"


def _joined(characters: list[str]) -> str:
    """Join characters; two hyphens, or marks that TeX would join to another sign, are kept apart."""
    return re.sub(r"([-'`,!?])(?=\1|`)", r"\1{}", "".join(characters)) if len(characters) > 1 else "".join(characters)
