"""A table of a page: sorted, filtered and downloaded there, and written as Markdown."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from socsci_jax.foreign_text import for_page


@dataclasses.dataclass(frozen=True)
class Column:
    """A heading; numbers stand to the right, `help` explains the heading, marked columns catch the eye."""

    title: str
    is_number: bool = True
    help: str = ""
    is_marked: bool = False


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is read, by what number rows are sorted, and where the cell leads or what explains it (first column)."""

    text: str
    value: float | None = None
    href: str = ""
    help: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """`name` is the name of the file that a reader downloads; every row has as many cells as there are columns."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    def markdown(self) -> str:
        """The table in Markdown; foreign text cannot leave its cell."""
        heads = [_cell(column.title) for column in self.columns]
        rules = ["---:" if column.is_number else "---" for column in self.columns]
        rows = [[_cell(cell.text) for cell in row] for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rules, *rows))


def metadata_table(name: str, title: str, metadata: Mapping[str, object]) -> Table:
    """Keys and values, as a file's metadata hold them."""
    columns = [Column("Key", is_number=False), Column("Value", is_number=False)]
    return Table(name, title, columns, [[words(key), words(value)] for key, value in metadata.items()])


def words(text: object) -> Cell:
    return Cell(str(text))


def whole(n: int | None) -> Cell:
    """A count, with separators of thousands."""
    return Cell("–") if n is None else Cell(f"{n:,}", n)


_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#&!~])")


def escaped(text: str) -> str:
    """Foreign text in Markdown: one line, without markup or HTML."""
    return (
        _MARKDOWN.sub(r"\\\1", for_page(" ".join(text.split())))
        .replace("\\<", "&lt;")
        .replace("\\&", "&amp;")
    )


def _cell(text: str) -> str:
    return escaped(text)
