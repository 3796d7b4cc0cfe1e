"""Drafting from a table alone (CSV, Excel, SPSS, Stata, R): columns become arms, attributes and outcomes.

A table says no more than its labels: texts that people read, and in a CSV wordings and scales, are left open by name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from data_pipelines.drafting.codebook import LARGEST_TABLE, Codebook, find_codebook, is_about_columns
from data_pipelines.drafting.demographics import QUANTITIES
from data_pipelines.drafting.holes import UNEXPLAINED
from data_pipelines.drafting.table_columns import DRAWN_ELEMENT, Found, read_columns
from data_pipelines.drafting.table_scales import scale_of_codebook, scale_of_column
from data_pipelines.formats.tables import TABLE_FORMATS, Table, format_of, read_table, source_of
from socsci_jax.errors import InputError
from socsci_jax.studies.specification import Specification
from socsci_jax.studies.specification_files import specification_of
from socsci_jax.studies.specification_parts import TO_BE_WRITTEN
from socsci_jax.wording import counted, first_listed

_NO_TEXTS = "no file says what people at its levels read, nor which is the control"
# Tables of a folder that are opened to see which of them are codebooks.
MOST_TABLES = 6
_IMPORT_ID = '{"ImportId"'
# Names of records in whose place a second header row repeats words ("Start Date").
_RECORDS = ("StartDate", "EndDate", "ResponseId", "ResponseID", "IPAddress", "Finished")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableDraft:
    """The specification that a table alone allows, and what was found, in lines for a person."""

    specification: Specification
    lines: tuple[str, ...]


def is_table(path: Path) -> bool:
    """True for a file whose name ends as a table's does."""
    try:
        # Reading it says what is wrong with a name that is not UTF-8.
        name = path.name.encode(errors="replace").decode()
        return path.is_file() and format_of(source_of(name)) in TABLE_FORMATS
    except InputError:
        return False


def table_of(deposit: Path) -> Path | None:
    """The table to draft from: a file that is one, or the only one of a folder without a survey file; else None."""
    if not deposit.is_dir():
        return deposit if is_table(deposit) else None
    files = sorted(deposit.iterdir())
    tables = [path for path in files if is_table(path)]
    survey = any(path.name.lower().endswith(".qsf") for path in deposit.rglob("*"))
    if survey or not 0 < len(tables) <= MOST_TABLES:
        return None
    answers = [path for path in tables if len(tables) == 1 or not _is_codebook(path, tables)]
    return answers[0] if len(answers) == 1 else None


def _is_codebook(path: Path, tables: Sequence[Path]) -> bool:
    """True for a table whose rows are about the columns of another one."""
    if path.stat().st_size > LARGEST_TABLE:
        return False
    for other in tables:
        if other != path:
            try:
                columns = read_table(other, source_of(other.name)).frame.columns
            except InputError:
                continue
            if is_about_columns(path, columns):
                return True
    return False


def draft_of_table(path: Path) -> TableDraft:
    """Drafts the specification of a table; every value that nothing tells stands under `unresolved`.

    A document next to the table that has entries of its columns is its codebook.  Raises InputError for a file that is no table, or in which no column could be an outcome.
    """
    table, skipped = _with_labels(read_table(path, source_of(path.name)))
    codebook = find_codebook(path, table.frame.columns)
    table = table if codebook is None else codebook.labeled(table)
    columns = read_columns(table)
    if not any(one.role == "outcome" for one in columns):
        reasons = "; ".join(f"{one.name}: {one.reason or one.role}" for one in columns[:8])
        raise InputError(f"{path}: no column holds answers on a scale ({reasons}).")
    draft = _Draft(table=table, codebook=codebook)
    study: dict[str, Any] = {"study": re.sub(r"[^\w.]+", "_", path.name.split(".")[0]).strip("_") or "study"}
    study["files"] = {"data": {"path": path.name, "skip_rows": skipped} if skipped else path.name}
    if codebook is not None:
        study["files"]["codebook"] = codebook.path.name
    draft.participant(study, columns)
    for one in columns:
        getattr(draft, one.role.replace(" ", "_"))(study, one)
    draft.drawn(study, [one.name for one in columns if one.role == "element"])
    draft.unwritten(study)
    draft.finished(study)
    specification = specification_of(
        {**study, "provenance": draft.provenance, "unresolved": draft.unresolved}, where=str(table.name)
    )
    return TableDraft(specification=specification, lines=tuple(_lines(table, columns, codebook)))


@dataclasses.dataclass(kw_only=True)
class _Draft:
    """Reports a column by its role, with where it comes from and what is left open."""

    table: Table
    codebook: Codebook | None = None
    provenance: dict[str, str] = dataclasses.field(default_factory=dict)
    unresolved: dict[str, str] = dataclasses.field(default_factory=dict)

    def participant(self, study: dict[str, Any], columns: Found | list[Found]) -> None:
        if isinstance(columns, list):
            named = [one.name for one in columns if one.role == "participant"]
            if named:
                study |= {"participant": named[0], "number_participants": True}

    def several_rows(self, study: dict[str, Any], one: Found) -> None:
        people = counted(self.table.frame[one.name].n_unique(), "value")
        self.unresolved["participant"] = (
            f"{one.name} has {people} in {counted(self.table.frame.height, 'row')}; if it tells people apart, name it here, "
            "and make what tells a person's rows apart a factor"
        )

    def weight(self, study: dict[str, Any], one: Found) -> None:
        study["weight"] = one.name

    def attribute(self, study: dict[str, Any], one: Found) -> None:
        tree: dict[str, Any] = {} if one.attribute == one.name else {"column": one.name}
        if one.labels:
            tree["recode"] = dict(one.labels)
        study.setdefault("attributes", {})[one.attribute] = tree
        if one.missing:
            tree["missing"] = list(one.missing)
        if one.taken:
            self.unresolved[f"attributes.{one.attribute}.missing"] = _taken(one)
        self._from(f"attributes.{one.attribute}", one)
        told = None if self.codebook is None else self.codebook.of_column.get(one.name)
        cells = self.table.frame[one.name].drop_nulls()
        coded = cells.cast(pl.Float64, strict=False).null_count() == 0
        if coded and not one.told and one.attribute not in QUANTITIES:
            shown = ", ".join(sorted(set(cells.to_list()))[:6])
            self.unresolved[f"attributes.{one.attribute}.recode"] = f"its codes ({shown}) {UNEXPLAINED}"
        if told is not None and self.codebook is not None and told.note and not one.told:
            self.unresolved[f"attributes.{one.attribute}"] = f"{self.codebook.path.name}: {told.note}"

    def arm(self, study: dict[str, Any], one: Found) -> None:
        levels = {}
        for value, label in one.labels.items():
            name = label or value
            levels[name] = {"text": f"{TO_BE_WRITTEN}: what people at {name} read]"}
            if label:
                levels[name]["values"] = value
        study.setdefault("factors", {})[one.name] = {"levels": levels}
        self._from(f"factors.{one.name}", one)
        self.unresolved[f"factors.{one.name}"] = _NO_TEXTS

    def outcome(self, study: dict[str, Any], one: Found) -> None:
        key = f"outcomes.{one.name}"
        told = None if self.codebook is None else self.codebook.of_column.get(one.name)
        if told is not None and told.scale.kind != "unknown":
            cells = self.table.frame[one.name].drop_nulls().unique().to_list()
            scale, hole = scale_of_codebook(told.scale, cells, missing=one.missing)
        else:
            scale, hole = scale_of_column(one)
            if told is not None and self.codebook is not None and told.note:
                hole = "; ".join(text for text in (hole, f"{self.codebook.path.name}: {told.note}") if text)
        if one.taken:
            hole = "; ".join(text for text in (hole, _taken(one)) if text)
        words = one.label or f"{TO_BE_WRITTEN}: the wording of {one.name}]"
        study.setdefault("outcomes", {})[one.name] = {"question": words, "scale": scale}
        self._from(key, one)
        if hole:
            self.unresolved[f"{key}.scale"] = hole

    def element(self, study: dict[str, Any], one: Found) -> None:
        """Elements of one randomizer make a factor together: `drawn`."""

    def drawn(self, study: dict[str, Any], columns: list[str]) -> None:
        """Factors of randomizers whose elements have a column each, unless one column names what was drawn."""
        elements: dict[str, list[tuple[str, str]]] = {}
        for column in columns:
            match = DRAWN_ELEMENT.match(column)
            assert match is not None
            elements.setdefault(match[1], []).append((match[2], column))
        for randomizer, of_it in elements.items():
            if randomizer in study.get("factors", {}) or len(of_it) < 2:
                continue
            drawn = self.table.frame.select(column for _, column in of_it).select(
                pl.sum_horizontal(pl.all().is_not_null().cast(pl.Int32))
            )
            if (drawn.to_series() > 1).any():
                self.provenance[f"excluded {randomizer}"] = "a person drew several of its elements"
                continue
            levels = {
                name: {"text": f"{TO_BE_WRITTEN}: what people at {name} read]", "when": {column: "1"}}
                for name, column in of_it
            }
            study.setdefault("factors", {})[randomizer] = {"levels": levels}
            self.provenance[f"factors.{randomizer}"] = (
                f"{self.table.name}, columns {', '.join(c for _, c in of_it)}"
            )
            self.unresolved[f"factors.{randomizer}"] = _NO_TEXTS

    def excluded(self, study: dict[str, Any], one: Found) -> None:
        self.provenance[f"excluded {one.name}"] = one.reason

    def unwritten(self, study: dict[str, Any]) -> None:
        """One hole for all wordings that no label tells, so that a draft of many columns stays short."""
        names = [
            name for name, what in study["outcomes"].items() if what["question"].startswith(TO_BE_WRITTEN)
        ]
        if names:
            self.unresolved["outcomes"] = f"no file says the wording of {first_listed(names, 8)}"
        if "factors" not in study:
            self.unresolved["factors"] = (
                "no column is named after a condition, treatment or arm; name it, or delete this line"
            )

    def finished(self, study: dict[str, Any]) -> None:
        for name in ("Finished", "finished"):
            if name in self.table.frame.columns:
                cells = self.table.frame[name].drop_nulls()
                undone = cells.filter(cells.str.to_lowercase().is_in(["0", "false", "no"])).len()
                if undone:
                    self.unresolved["exclude"] = (
                        f"{counted(undone, 'response was', 'responses were')} not finished ({name}); say whether they count"
                    )
        for name in ("DistributionChannel", "Status"):
            if name in self.table.frame.columns:
                previews = {
                    c for c in self.table.frame[name].drop_nulls().to_list() if "preview" in c.casefold()
                }
                if previews:
                    study.setdefault("exclude", []).append(
                        {"where": {name: sorted(previews)}, "reason": "a preview by the authors"}
                    )
                    return

    def _from(self, key: str, one: Found) -> None:
        said = ", ".join(
            what
            for what, told in (("name", True), ("label", bool(one.label)), ("value labels", one.told))
            if told
        )
        explained = self.codebook is not None and one.name in self.codebook.of_column
        beside = f"; {self.codebook.path.name}, entry {one.name}" if self.codebook and explained else ""
        self.provenance[key] = f"{self.table.name}, column {one.name}: {said}{beside}"


def _taken(one: Found) -> str:
    shown = ", ".join(one.taken)
    return f"{shown} {'is' if len(one.taken) == 1 else 'are'} taken for no answer; say whether {'it is' if len(one.taken) == 1 else 'they are'}"


def _with_labels(table: Table) -> tuple[Table, list[int]]:
    """The table without further header rows of a survey program, whose words become labels; and those rows."""
    frame = table.frame
    skipped: list[int] = []
    if frame.height >= 2 and any(str(cell or "").startswith(_IMPORT_ID) for cell in frame.row(1)):
        skipped = [1, 2]
    elif (frame.height >= 1 and any(str(cell or "").startswith(_IMPORT_ID) for cell in frame.row(0))) or (
        frame.height >= 1 and _is_words(table)
    ):
        skipped = [1]
    if not skipped:
        return table, []
    words = (
        {}
        if skipped == [1] and str(frame.row(0)[0] or "").startswith(_IMPORT_ID)
        else dict(zip(frame.columns, frame.row(0), strict=True))
    )
    labels = {name: " ".join(text.split()) for name, text in words.items() if text and text != name}
    kept = frame[len(skipped) :]
    return dataclasses.replace(
        table, frame=kept, numbers=table.numbers[len(skipped) :], labels=labels
    ), skipped


def _is_words(table: Table) -> bool:
    """True where the first row repeats the names of a survey program's records in words, as its older exports do."""
    row = dict(zip(table.frame.columns, table.frame.row(0), strict=True))
    known = [name for name in _RECORDS if row.get(name)]
    return (
        bool(known)
        and all(re.fullmatch(r"[A-Za-z ]+", row[name] or "") for name in known)
        and not any((row[name] or "").casefold() in ("true", "false") for name in known)
    )


def _lines(table: Table, columns: list[Found], codebook: Codebook | None) -> list[str]:
    by_role: dict[str, list[str]] = {}
    for one in columns:
        by_role.setdefault(one.role, []).append(one.name)
    lines = [f"{table.name}: {counted(table.frame.height, 'row')}, {counted(table.frame.width, 'column')}"]
    if codebook is not None:
        lines.append(f"{codebook.path.name}: {counted(len(codebook.of_column), 'column')} explained")
    for role, what in (
        ("arm", "factors"),
        ("attribute", "attributes"),
        ("outcome", "outcomes"),
        ("weight", "weight"),
    ):
        names = by_role.get(role, [])
        lines.append(f"{what}: {first_listed(names, 12) or 'none'}")
    lines += [f"excluded: {one.name}, {one.reason}" for one in columns if one.role == "excluded"]
    return [*lines, *(f"note: {note}" for note in table.notes)]
