"""Codebooks and questionnaires as text: Markdown, plain text, DOCX and PDF, with tables as rows of cells.

A table's row becomes one line, "name | label | 1 = Disagree"; headings of DOCX become Markdown's.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from data_pipelines.formats.csv_table import decoded
from data_pipelines.formats.limits import LARGEST_DOCUMENT, read_bytes
from socsci_jax.errors import InputError
from socsci_jax.wording import counted

MOST_PAGES = 2000
MARKDOWN = (".md", ".rmd", ".markdown", ".qmd")
# Longer lines are paragraphs that were never wrapped.
WIDEST_LINE = 120
# A list's item, a table's row, a heading, a quotation, a name with a colon: they begin a line of their own.
_OWN_LINE = re.compile(
    r"\s*(?:[-*+•>|#]|(?:\d{1,4}|[A-Za-z])[.):=]\s|-?\d{1,4}\s|[`_\"'“‘]*[^\W\d][\w.]*[`_\"'”’]*(?:\s*[:=]\s|\t|\s{2,}\S))"
)
_HEADING = re.compile(r"#{1,6}\s")
BETWEEN_CELLS = " | "


def read_document(path: Path, *, kind: str, encoding: str | None = None) -> str:
    """The text of a document; raises InputError for a damaged or too large file, or one without text."""
    if not path.is_file():
        raise InputError(f"{path}: file not found.")
    if kind in ("docx", "pdf"):
        from data_pipelines.formats.isolated import read_text_isolated

        text = read_text_isolated(path, kind=kind)
    else:
        text, _ = decoded(path, read_bytes(path, most=LARGEST_DOCUMENT), encoding=encoding)
    if not text.strip():
        raise InputError(f"{path}: holds no text (scanned pages are pictures); give a file with text.")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if kind == "docx" else unwrapped(text, markdown=path.suffix.lower() in MARKDOWN)


def unwrapped(text: str, *, markdown: bool) -> str:
    """The text with its paragraphs on one line each; list items, table rows, headings and short lines stay apart.

    In Markdown a line break within a paragraph is a space.  Elsewhere it is one only where the line was full: where
    the next line's first word would have made it longer than the longest line.
    """
    lines = text.split("\n")
    width = min(max(map(len, lines), default=0), WIDEST_LINE)
    joined = [lines[0]]
    for before, line in itertools.pairwise(lines):
        word = line.split(" ", 1)[0]
        full = markdown or len(before.rstrip()) + 1 + len(word) > width
        apart = (
            not before.strip()
            or not line.strip()
            or _OWN_LINE.match(line)
            or _HEADING.match(before)
            or BETWEEN_CELLS.strip() in before + line
            or before.endswith(("  ", "\\"))
        )
        if apart or not full:
            joined.append(line)
        else:
            joined[-1] = f"{joined[-1].rstrip()} {line.strip()}"
    return "\n".join(joined)


def read_docx(path: Path) -> str:
    """Paragraphs and tables in the order in which they stand."""
    import docx
    import docx.table

    lines: list[str] = []
    for block in docx.Document(str(path)).iter_inner_content():
        if isinstance(block, docx.table.Table):
            lines += ["", *(BETWEEN_CELLS.join(_row(row.cells)) for row in block.rows), ""]
            continue
        style = block.style.name if block.style is not None and block.style.name else ""
        rank = style.removeprefix("Heading ")
        if style == "Title":
            rank = "1"
        heading = "#" * int(rank) + " " if block.text.strip() and rank.isdigit() and int(rank) < 7 else ""
        bullet = "- " if style.startswith("List") and block.text.strip() else ""
        lines.append(heading + bullet + block.text)
        if heading or not bullet:
            lines.append("")
    return "\n".join(lines)


def _row(cells) -> list[str]:
    """Texts of a row's cells; one that is merged over several columns stands there once."""
    texts: list[str] = []
    last = None
    for cell in cells:
        if cell._tc is not last:
            texts.append(_cell(cell))
        last = cell._tc
    return texts


def _cell(cell) -> str:
    """A cell on one line, with the tables that stand within it."""
    import docx.table

    parts: list[str] = []
    for block in cell.iter_inner_content():
        if isinstance(block, docx.table.Table):
            parts += [BETWEEN_CELLS.join(_row(row.cells)) for row in block.rows]
        else:
            parts.append(block.text)
    return " ".join(" ".join(parts).split())


def read_pdf(path: Path) -> str:
    """Pages from top to bottom, tables as rows of cells where they stand; raises InputError beyond MOST_PAGES."""
    import pdfplumber

    with pdfplumber.open(path) as pdf:
        if len(pdf.pages) > MOST_PAGES:
            raise InputError(f"{counted(len(pdf.pages), 'page')}; at most {MOST_PAGES:,} are read.")
        pages = []
        for page in pdf.pages:
            pages.append(_page_text(page))
            page.close()
    return "\n\n".join(pages)


def _page_text(page) -> str:
    tables = sorted(page.find_tables(), key=lambda table: table.bbox[1])
    parts: list[str] = []
    top = page.bbox[1]
    for table in tables:
        _, start, _, end = table.bbox
        if start > top:
            parts.append(
                page.crop((page.bbox[0], top, page.bbox[2], start), strict=False).extract_text() or ""
            )
        rows = table.extract()
        parts.append(
            "\n".join(BETWEEN_CELLS.join(" ".join((cell or "").split()) for cell in row) for row in rows)
        )
        top = max(top, end)
    if top < page.bbox[3]:
        parts.append(
            page.crop((page.bbox[0], top, page.bbox[2], page.bbox[3]), strict=False).extract_text() or ""
        )
    return "\n\n".join(part for part in parts if part.strip())
