"""Text as a reader saw it: HTML and survey programs leave tags, entities and white space behind."""

from __future__ import annotations

import html
import re

_BREAKING_TAG = re.compile(r"<(?:br|/p|/div|/li|/tr)\s*/?>", re.IGNORECASE)
# Element names have no dots or at-signs: "<name@example.com>" is text.
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>")
# A tab, or the eight spaces that became of one, between two cells of a table.
_CELL_GAP = re.compile(r"(?<=[^\s.,;:?!•])(?:\t| {4,})\s*(?=\S)")
_LIST_MARK = re.compile(r"^\s*(?:\d+[.)]?|[A-Z][.)]|[•>-])\s")


def without_markup(text: str) -> str:
    """The text without tags and entities, with tidy white space and " | " between the cells of a table."""
    text = html.unescape(_TAG.sub("", _BREAKING_TAG.sub("\n", text)))
    lines = []
    for line in text.splitlines():
        if not _LIST_MARK.match(line):
            line = _CELL_GAP.sub(" | ", line.strip())
        lines.append(" ".join(line.split()))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
