"""Gates on who was in which arm: counts, balance, and people who are counted once."""

from __future__ import annotations

import collections
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import stats

from data_pipelines.specified.rows import ROW, named_columns
from socsci_jax.wording import counted

if TYPE_CHECKING:
    from data_pipelines.specified.deposit import Deposit
    from data_pipelines.specified.study import BuiltStudy

# Chance alone gives such a difference once in so many comparisons (balance of attributes, of sizes).
_RARE = 1e-4
_RARE_SIZES = 1e-6
_MOST_CATEGORIES = 12
# Names of columns that say who was in which arm, and codebooks' words for them.
_ASSIGNED_NAME = re.compile(
    r"^(?:(?:.*[_. ])?(?:cond(?:ition)?|treat(?:ment|ed)?|arm|vignette|scenario|manipulation|assign(?:ed|ment))"
    r"|(?:exp(?:eriment(?:al)?)?[_. ]?)?(?:group|version|cell)|exp(?:eriment)?|stimulus|frame|framing|random(?:i[sz]ed)?)"
    r"(?:[_. ]?(?:id|no|num|number|name|code|label|\d+))?$",
    re.IGNORECASE,
)
_ASSIGNED_WORDS = re.compile(
    r"\brandom(?:ly|i[sz]ed)?\b|\bassigned\b|\bassignment\b|\bexperimental (?:condition|group|factor)|\bmanipulated\b",
    re.IGNORECASE,
)
_MOST_ARMS = 200


def counts(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Rows at no level, arms of another size than the deposit says, tables of another size."""
    findings = [
        f"{counted(count, 'row is', 'rows are')} {reason}" for reason, count in built.unassigned.items()
    ]
    study = built.study
    for rows in built.rows:
        for name, factor in study.factors.items():
            if overlaps := rows.overlaps(factor):
                findings.append(
                    f"{counted(overlaps, 'row is', 'rows are')} at several levels of factor {name!r} at once"
                )
    people = collections.defaultdict(set)
    for person, arm in built.assigned:
        people["condition", arm].add(person)
        for factor, level in built.arms[arm].levels.items():
            people[factor, level].add(person)
    declared = [
        (f"factors.{factor}.levels.{level}", what.count, len(people[factor, level]))
        for factor, of in study.factors.items()
        for level, what in of.levels.items()
    ]
    declared += [
        (f"conditions.{name}", condition.count, len(people["condition", name]))
        for name, condition in study.conditions.items()
    ]
    findings += [
        f"{key}: the deposit says {counted(count, 'person')}, found are {seen:,}"
        for key, count, seen in declared
        if count is not None and count != seen
    ]
    findings += [
        f"{key}: nobody is at this level" for key, count, seen in declared if not seen and count is None
    ]
    findings += _counts_of_documents(built, deposit, people)
    findings += _pooled(built)
    for name in deposit.specification.files:
        findings += _table_size(name, deposit)
    return findings


def unused(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Columns by which people were assigned, it seems, that the specification does not use.

    A column that is constant within each condition (a label next to a code) adds nothing.
    """
    rows = built.rows[0]
    used = {rows.column(name) for rows in built.rows for _, name in named_columns(built.study)}
    told = {}
    for name in deposit.codebooks:
        told |= deposit.entries(name)
    findings = []
    arms = rows.frame[ROW].replace_strict(built.arm_of_row, default=None, return_dtype=pl.String)
    for column in rows.frame.columns:
        if column in used or column in built.study.ignored or column.startswith("\0"):
            continue
        by_words = _ASSIGNED_WORDS.search(told.get(column, "")) is not None
        if not by_words and not _ASSIGNED_NAME.match(column):
            continue
        pairs = pl.DataFrame({"arm": arms, "code": rows.frame[column]}).drop_nulls().unique()
        codes = pairs["code"].n_unique()
        if 2 <= codes <= min(_MOST_ARMS, rows.frame.height // 2) and pairs.height > pairs["arm"].n_unique():
            why = (
                "the codebook says that it was assigned"
                if by_words
                else "its name says that it is an assignment"
            )
            findings.append(
                f"column {column!r} ({counted(codes, 'value')}): {why}, and no factor uses it; make it one, select its `rows`, or say "
                "under `ignored` why it changes nothing"
            )
    return findings


def _pooled(built: BuiltStudy) -> list[str]:
    """Levels told apart by `when` that take in several codes of a column without saying why."""
    findings = []
    for factor, what in built.study.factors.items():
        for level, of in what.levels.items():
            for column, match in (one for where in of.when for one in where.items()):
                if match.present is not None or match.not_ is not None or of.pooled is not None:
                    continue
                codes = {
                    c
                    for rows in built.rows
                    for c in rows.codes(column).filter(rows.where({column: match})).unique()
                }
                if len(codes) > 1:
                    findings.append(
                        f"factors.{factor}.levels.{level}: pools {counted(len(codes), 'code')} of {column!r} into one arm; make a level "
                        "of each, or say why under `pooled`"
                    )
    return findings


def _counts_of_documents(
    built: BuiltStudy, deposit: Deposit, people: Mapping[tuple[str, str], set]
) -> list[str]:
    """Levels of which a codebook says another number of people: "Control (n = 250)"."""
    findings = []
    texts = [deposit.text(name) for name in deposit.codebooks]
    for factor, what in built.study.factors.items():
        for level, of in what.levels.items():
            for name in dict.fromkeys((level, of.label or level)):
                pattern = rf"(?<!\w){re.escape(name)}\W{{1,4}}n\s*=\s*(\d[\d,]*)"
                for said in (m[1] for text in texts for m in re.finditer(pattern, text, re.IGNORECASE)):
                    count, seen = int(said.replace(",", "")), len(people[factor, level])
                    if count != seen and of.count is None:
                        findings.append(
                            f"factors.{factor}.levels.{level}: the codebook says n = {count:,}, found are {counted(seen, 'person')}"
                        )
    return findings


def _table_size(name: str, deposit: Deposit) -> list[str]:
    source = deposit.specification.files[name]
    if source.rows is None and source.columns is None:
        return []
    table = deposit.table(name)
    sizes = (
        ("rows", source.rows, table.frame.height + len(table.misfits)),
        ("columns", source.columns, table.frame.width),
    )
    return [
        f"files.{name}: the deposit says {said:,} {what}, found are {seen:,}"
        for what, said, seen in sizes
        if said is not None and said != seen
    ]


def balance(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Factors between people whose arms differ in size, or in the attributes of who is in them, beyond chance."""
    findings = []
    people = _told_apart(built)
    for factor in built.study.factors:
        level_of = _levels_between(built, factor, people=people)
        if level_of is None:
            continue
        sizes = collections.Counter(level_of.values())
        findings += _unequal(built, factor, sizes)
        known = {
            name: {p: a[name] for p, a in built.people.known.items() if name in a}
            for name in built.people.names
        }
        for name, texts in known.items():
            seen = [p for p in level_of if p in texts]
            p_value = _association([level_of[p] for p in seen], _categories([texts[p] for p in seen]))
            if p_value < _RARE / max(1, len(known)):
                findings.append(
                    f"factor {factor!r}: its arms differ in {name!r} more than chance allows (p = {p_value:.1g}, "
                    f"{counted(len(seen), 'person')})"
                )
    return findings


def _told_apart(built: BuiltStudy) -> set[str]:
    """People who are surely different: where no key tells them apart, the rows that answer one question."""
    if built.study.participant:
        return {person for person, _ in built.assigned}
    answered = collections.Counter(given.outcome for given in built.given)
    most = max(answered, key=answered.__getitem__, default="")
    return {given.person for given in built.given if given.outcome == most}


def _levels_between(built: BuiltStudy, factor: str, *, people: set[str]) -> dict[str, str] | None:
    """Each person's level, if nobody has several and there are two or more."""
    if built.study.factors[factor].within:
        return None
    level_of: dict[str, str] = {}
    for person, arm in built.assigned:
        if person not in people:
            continue
        if level_of.setdefault(person, built.arms[arm].levels[factor]) != built.arms[arm].levels[factor]:
            return None
    return level_of if len(set(level_of.values())) > 1 else None


def _unequal(built: BuiltStudy, factor: str, sizes: Mapping[str, int]) -> list[str]:
    levels = built.study.factors[factor].levels
    shares = {name: level.share for name, level in levels.items() if level.share is not None}
    if any(level.count is not None for level in levels.values()) or len(sizes) > 20:
        return []  # sizes are compared with the deposit's own, or are many cells of a conjoint
    rest = (1 - sum(shares.values())) / max(1, len(sizes) - len(shares))
    expected = np.array([shares.get(name, rest) for name in sizes], dtype=float)
    if (expected <= 0).any():
        return [f"factor {factor!r}: the shares of its levels add up to 1 before all have one"]
    total = sum(sizes.values())
    p_value = float(stats.chisquare(list(sizes.values()), expected / expected.sum() * total).pvalue)
    if p_value >= _RARE_SIZES:
        return []
    seen = ", ".join(f"{name!r} {size:,}" for name, size in sizes.items())
    return [
        f"factor {factor!r}: {seen} people, which equal shares do not give; say the design's shares (`share`) or the "
        "deposit's counts (`count`)"
    ]


def _categories(texts: Sequence[str]) -> list[Hashable]:
    """Texts as they are, or the quarters of numbers where there are many."""
    if len(set(texts)) <= _MOST_CATEGORIES:
        return list(texts)
    try:
        numbers = np.array([float(text.split()[0]) for text in texts])
    except (ValueError, IndexError):
        most = {text for text, _ in collections.Counter(texts).most_common(_MOST_CATEGORIES)}
        return [text if text in most else "" for text in texts]
    return list(np.searchsorted(np.quantile(numbers, (0.25, 0.5, 0.75)), numbers).tolist())


def _association(a: Iterable[Hashable], b: Iterable[Hashable]) -> float:
    """p of a chi-square test of independence; 1 where a side has one value."""
    pairs = collections.Counter(zip(a, b, strict=True))
    rows, columns = (list(dict.fromkeys(pair[i] for pair in pairs)) for i in (0, 1))
    if len(rows) < 2 or len(columns) < 2:
        return 1.0
    table = np.array([[pairs[r, c] for c in columns] for r in rows])
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def people_once(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Answers of one person to one item that are several, and people in several arms of a factor between people."""
    repeated = collections.defaultdict(list)
    for (outcome, person), _ in built.repeated.items():
        repeated[outcome].append(person)
    findings = [
        f"outcome {outcome!r}: {counted(len(people), 'person')} answered the same item more than once (first: "
        f"{', '.join(people[:3])})"
        for outcome, people in repeated.items()
    ]
    for factor, what in built.study.factors.items():
        if what.within or what.loop is not None:
            continue
        levels = collections.defaultdict(set)
        for person, arm in built.assigned:
            levels[person].add(built.arms[arm].levels[factor])
        several = [person for person, of in levels.items() if len(of) > 1]
        if several:
            findings.append(
                f"factor {factor!r}: {counted(len(several), 'person is', 'people are')} at several of its levels (first: "
                f"{', '.join(several[:3])}); if that is the design, say `within: true`"
            )
    return findings
