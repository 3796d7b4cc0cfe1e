"""What journals and benchmarks ask for, filled in from metadata as far as those go, with what is missing named."""

from __future__ import annotations

import dataclasses

from socsci_jax.pages.tables import Cell, Column, Table, escaped


@dataclasses.dataclass(frozen=True)
class Entry:
    """An item of a checklist: what the metadata answer, and what an author must add ("" if nothing)."""

    item: str
    title: str
    answer: str
    missing: str = ""


def asked(item: str, title: str, answer: str, missing: str) -> Entry:
    """An entry of which something is missing only if there is no answer."""
    return Entry(item, title, answer, "" if answer else missing)


def answered(entries: list[Entry]) -> str:
    """ "9 of 14 answered from metadata, 3 of them in part." """
    full = sum(bool(e.answer) for e in entries)
    partly = sum(bool(e.answer and e.missing) for e in entries)
    return f"{full} of {len(entries)} are answered from the predictions' metadata" + (
        f", {partly} of them in part." if partly else "."
    )


def table(entries: list[Entry], *, name: str, title: str) -> Table:
    return Table(
        name=name,
        title=title,
        columns=[
            Column(head, is_number=False)
            for head in ("Item", "Asks for", "Answer", "Missing, to be added by the authors")
        ],
        rows=[[Cell(e.item), Cell(e.title), Cell(e.answer or "–"), Cell(e.missing or "–")] for e in entries],
    )


def document(entries: list[Entry], *, title: str, source: str) -> str:
    """A checklist as a Markdown file: its items, and below them by name what authors have to add."""
    missing = [f"- {e.item} {e.title}: {e.missing}" for e in entries if e.missing]
    parts = [
        f"# {title}",
        f"{answered(entries)} Source: {escaped(source)}; items in our words.",
        table(entries, name="", title=title).markdown(),
        "## Missing, to be added by the authors",
        "\n".join(missing) or "Nothing.",
    ]
    return "\n\n".join(parts) + "\n"
