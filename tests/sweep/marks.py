"""Texts of sweep files in which § stands before each character that a problem must point at."""

import re

HEAD = "schema: 1\nname: x\n"
SPARSE = HEAD + "base: {model: {ffn: {kind: sparse}}}\n"


def without_marks(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text as it is to be loaded, and the places: line and column."""
    places = []
    for number, line in enumerate(text.split("\n"), start=1):
        for index, mark in enumerate(re.finditer("§", line)):
            places.append((number, mark.start() - index + 1))
    return text.replace("§", ""), places
