"""The rows of a study's table: which belong to it, who gave them, and at which levels of the factors they are."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from data_pipelines.formats.tables import Table
from data_pipelines.specified.deposit import Deposit
from socsci_jax.errors import InputError
from socsci_jax.studies.specification import Factor, Level, Outcome, Study
from socsci_jax.studies.specification_parts import Match, Where, code
from socsci_jax.wording import counted

ROW = "\x00row"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """The study's rows under one combination of loop values; column names of the specification are resolved here."""

    table: Table
    frame: pl.DataFrame
    loop: Mapping[str, str]

    @property
    def numbers(self) -> list[int]:
        """Places in the file, from 1 on without the header."""
        return self.frame[ROW].to_list()

    def column(self, name: str) -> str:
        """The column's name in the file: {task} stands for the loop's value."""
        return in_loop(name, self.loop)

    def cells(self, name: str) -> pl.Series:
        return self.frame[self.column(name)]

    def codes(self, name: str) -> pl.Series:
        """The column's cells as codes: "1.0" is "1"."""
        return coded(self.cells(name))

    def where(self, where: Where) -> pl.Series:
        """True for the rows that match."""
        matches = pl.repeat(True, self.frame.height, eager=True, dtype=pl.Boolean)
        for name, match in where.items():
            missing = self.table.missing.get(self.column(name), frozenset())
            matches = matches & matching(self.codes(name), match, missing=missing)
        return matches

    def any_where(self, alternatives: Sequence[Where]) -> pl.Series:
        """True for the rows that match one of them."""
        matches = pl.repeat(False, self.frame.height, eager=True, dtype=pl.Boolean)
        for where in alternatives:
            matches = matches | self.where(where)
        return matches

    def filtered(self, keep: pl.Series) -> Rows:
        return dataclasses.replace(self, frame=self.frame.filter(keep))

    def levels(self, factor: str, what: Factor) -> pl.Series:
        """Each row's level of the factor, null where no level fits."""
        if what.loop is not None:
            value = next(
                (n for n, lv in what.levels.items() if self.loop[what.loop] in codes_of(n, lv)), None
            )
            level = value if what.levels else self.loop[what.loop]
            return pl.repeat(level, self.frame.height, eager=True, dtype=pl.String)
        if any(level.when for level in what.levels.values()):
            levels = pl.repeat(None, self.frame.height, eager=True, dtype=pl.String)
            for name, level in reversed(what.levels.items()):
                levels = levels.zip_with(
                    ~self.any_where(level.when), pl.repeat(name, levels.len(), eager=True)
                )
            return levels
        column = self.column(what.column or factor)
        levels = coded(self.frame[column])
        missing = self.table.missing.get(column, frozenset())
        if not what.levels:
            return (
                levels.replace_strict(dict.fromkeys(missing), default=levels, return_dtype=pl.String)
                if missing
                else levels
            )
        names = {value: name for name, level in what.levels.items() for value in codes_of(name, level)}
        labels = {
            label: names[c] for c, label in self.table.value_labels.get(column, {}).items() if c in names
        }
        return levels.replace_strict({**labels, **names}, default=None, return_dtype=pl.String)

    def overlaps(self, what: Factor) -> int:
        """How many rows fit several levels that are told apart by `when`."""
        if not any(level.when for level in what.levels.values()):
            return 0
        fits = [self.any_where(level.when).cast(pl.Int32) for level in what.levels.values()]
        return int((pl.DataFrame({str(i): fit for i, fit in enumerate(fits)}).sum_horizontal() > 1).sum())


def in_loop(name: str, loop: Mapping[str, str]) -> str:
    for key, value in loop.items():
        name = name.replace(f"{{{key}}}", value)
    return name


def loops(study: Study) -> Iterator[dict[str, str]]:
    """Every combination of the loops' values; one empty combination where there is no loop."""
    for values in itertools.product(*study.loop.values()):
        yield dict(zip(study.loop, values, strict=True))


def codes_of(name: str, level: Level) -> tuple[str, ...]:
    return level.values if level.values is not None else (code(name),)


def coded(cells: pl.Series) -> pl.Series:
    known = {cell: code(cell) for cell in cells.unique().to_list() if cell is not None}
    changed = {cell: text for cell, text in known.items() if cell != text}
    return cells.replace_strict(changed, default=cells, return_dtype=pl.String) if changed else cells


def matching(codes: pl.Series, match: Match, *, missing: frozenset[str] = frozenset()) -> pl.Series:
    """True for the codes that a `Match` allows."""
    present = codes.is_not_null() & ~codes.is_in(list(missing))
    fits = pl.repeat(True, codes.len(), eager=True, dtype=pl.Boolean)
    if match.is_ is not None:
        fits &= codes.is_in(list(match.is_)).fill_null(False)
    if match.not_ is not None:
        fits &= ~codes.is_in(list(match.not_)).fill_null(False)
    if match.present is not None:
        fits &= present.fill_null(False) == match.present
    if match.at_least is not None or match.at_most is not None:
        numbers = codes.cast(pl.Float64, strict=False)
        if match.at_least is not None:
            fits &= (numbers >= match.at_least).fill_null(False)
        if match.at_most is not None:
            fits &= (numbers <= match.at_most).fill_null(False)
    return fits


def study_rows(study: Study, deposit: Deposit) -> tuple[list[Rows], list[str]]:
    """The study's rows, one `Rows` for each combination of loop values, exclusions still in them; and notes on rows of its
    tables that are not used.

    Raises InputError that lists every column that the specification names and the table does not have.
    """
    table = deposit.table(study.data)
    frame = table.frame.with_columns(table.numbers.alias(ROW))
    notes = []
    for join in study.join:
        other = deposit.table(join.file)
        key = join.key or join.on
        for name, held, holder in ((join.on, frame, study.data), (key, other.frame, join.file)):
            if name not in held.columns:
                raise InputError(
                    f"join: column {name!r} is not in {holder}; found {', '.join(held.columns[:30])}."
                )
        keys = coded(other.frame[key])
        repeated = keys.drop_nulls().is_duplicated()
        if repeated.any():
            raise InputError(
                f"join: {other.name} has {counted(int(repeated.sum()), 'row')} whose {key!r} others have too; one row a key is "
                "needed."
            )
        taken = set(frame.columns)
        columns = [
            c.alias(f"{join.file}.{c.name}" if c.name in taken else c.name)
            for c in other.frame
            if c.name != key
        ]
        right = pl.DataFrame([*columns, keys.alias("\x00key")])
        left = frame.with_columns(coded(frame[join.on]).alias("\x00key"))
        notes += _without_partner(left, right, names=(study.data, join.file))
        frame = left.join(right, on="\x00key", how="left", maintain_order="left").drop("\x00key")
        table = dataclasses.replace(
            table,
            labels={**other.labels, **table.labels},
            value_labels={**other.value_labels, **table.value_labels},
            missing={**other.missing, **table.missing},
        )
    every = [Rows(table=table, frame=frame, loop=loop) for loop in loops(study)]
    problems = list(dict.fromkeys(p for rows in every for p in missing_columns(study, rows)))
    if problems:
        shown = ", ".join(frame.columns[:-1][:40]) + (", ..." if frame.width > 41 else "")
        raise InputError(
            f"{deposit.path(study.data)}: {counted(len(problems), 'column')} of the specification are not there:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + f"\n  found: {shown}"
        )
    chosen = [rows.filtered(rows.where(study.rows)) for rows in every]
    used = len(set().union(*(rows.numbers for rows in chosen)))
    if used < frame.height:
        notes.append(
            f"rows: {frame.height - used:,} of {counted(frame.height, 'row')} of {study.data!r} are not selected"
        )
    return chosen, notes


def _without_partner(left: pl.DataFrame, right: pl.DataFrame, *, names: tuple[str, str]) -> Iterator[str]:
    """How many rows of two tables a join leaves alone."""
    for (own, other), (name, others) in zip(((left, right), (right, left)), (names, names[::-1])):
        alone = own.join(other.select("\x00key"), on="\x00key", how="anti").height
        if alone:
            yield f"join: {alone:,} of {counted(own.height, 'row')} of {name!r} have no partner in {others!r}"


def missing_columns(study: Study, rows: Rows) -> Iterator[str]:
    for key, name in named_columns(study):
        column = rows.column(name)
        if column not in rows.frame.columns:
            near = difflib.get_close_matches(column, rows.frame.columns, n=1)
            yield f"{key}: {column!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def named_columns(study: Study) -> Iterator[tuple[str, str]]:
    """Every column that the study's keys name."""

    def of_where(at: str, where: Where) -> Iterator[tuple[str, str]]:
        yield from ((f"{at}.{name}", name) for name in where)

    yield from of_where("rows", study.rows)
    yield from (("participant", name) for name in study.participant)
    if study.weight is not None:
        yield "weight", study.weight
    for name, attribute in study.attributes.items():
        yield f"attributes.{name}", attribute.column or name
    for i, exclusion in enumerate(study.exclude):
        yield from of_where(f"exclude[{i}].where", exclusion.where)
    for name, factor in study.factors.items():
        by_when = any(level.when for level in factor.levels.values())
        if factor.loop is None and not by_when:
            yield f"factors.{name}", factor.column or name
        for level, what in factor.levels.items():
            for where in what.when:
                yield from of_where(f"factors.{name}.levels.{level}.when", where)
    for name, outcome in study.outcomes.items():
        yield from of_where(f"outcomes.{name}.rows", outcome.rows)
        yield from ((f"outcomes.{name}", column) for column in outcome_columns(name, outcome, study))
        yield from ((f"outcomes.{name}.retest", column) for column in outcome.retest)


def outcome_columns(name: str, outcome: Outcome, study: Study) -> list[str]:
    """The outcome's own column, unless variants give another for every arm, and those of its variants."""
    variants = [variant.column for variant in outcome.variants if variant.column is not None]
    covered = (
        outcome.column is None
        and variants
        and len(variants) == len(outcome.variants)
        and _cover(outcome, study)
    )
    return [*([] if covered else [outcome.column or name]), *variants]


def _cover(outcome: Outcome, study: Study) -> bool:
    """Whether the variants are about all levels of one factor (or all conditions)."""
    factors = {factor for variant in outcome.variants for factor in variant.arms}
    if len(factors) != 1:
        return False
    (factor,) = factors
    told = {level for variant in outcome.variants for level in variant.arms[factor]}
    known = study.conditions if factor == "condition" else study.factors[factor].levels
    return bool(known) and set(known) <= told


def file_place(path: Path | str, number: int) -> str:
    return f"{path}, row {number}"
