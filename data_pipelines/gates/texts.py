"""Gates on what people read: texts differ where they should, and stand in the deposit, in the right place."""

from __future__ import annotations

import collections
import functools
import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from data_pipelines.formats.markup import without_markup
from data_pipelines.specified.texts import Part, all_texts, parts_of, shown
from socsci_jax.studies.specification_checks import SLOT
from socsci_jax.studies.specification_checks import texts as study_texts

if TYPE_CHECKING:
    from data_pipelines.specified.deposit import Deposit
    from data_pipelines.specified.study import BuiltStudy

# A fragment of fewer letters stands in any text.
_FEWEST_LETTERS = 8
_HEADING = re.compile(r"^(#{1,6})\s+\S")
_NUMBERED = re.compile(
    r"#{1,6}\s+(?:the\s+)?(study|experiment|trial|scenario set|part|module|survey|section)\s+(\d+|[A-Z]\b|[IVX]+\b)",
    re.IGNORECASE,
)
# "[The participant answers.]": an editor's note, in brackets as is usual.
_NOTE = re.compile(r"\[[^\[\]]{1,60}\]")


class NothingToCompare(Exception):
    """The deposit lacks what a gate compares with; the text says what."""


def different(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Conditions in which people read the same words before the same question."""
    groups = collections.defaultdict(set)
    for given in built.given:
        groups[given.outcome, given.item.text].add(given.arm.name)
    findings = []
    for (outcome, _), names in groups.items():
        told = [built.arms[n] for n in sorted(names) if not _same_is_declared(built, n, names)]
        if len(names) > 1 and len(told) > 1:
            findings.append(
                f"outcome {outcome!r}: conditions {', '.join(repr(arm.name) for arm in told)} give the same text"
            )
    return findings


def _same_is_declared(built: BuiltStudy, name: str, names: set[str]) -> bool:
    """Whether the specification says why: at the condition, or at every factor in which these arms differ."""
    declared = built.arms[name].declared
    if declared is not None and declared.same_text is not None:
        return True
    levels = [built.arms[n].levels for n in names]
    differing = [f for f in built.study.factors if len({of[f] for of in levels}) > 1]
    return bool(differing) and all(built.study.factors[f].same_text is not None for f in differing)


def factors_change(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Pairs of a factor's levels that give the same text at all levels of the other factors."""
    items = collections.defaultdict(dict)
    for given in built.given:
        items[given.outcome][given.arm.name] = given.item.text
    findings = []
    for factor, what in built.study.factors.items():
        if what.same_text is not None:
            continue
        differs: dict[tuple[str, str], bool] = {}
        for texts in items.values():
            groups = collections.defaultdict(list)
            for name, text in texts.items():
                levels = built.arms[name].levels
                groups[tuple(lv for f, lv in levels.items() if f != factor)].append((levels[factor], text))
            for arms in groups.values():
                for (a, text_a), (b, text_b) in itertools.combinations(sorted(arms), 2):
                    differs[a, b] = differs.get((a, b), False) or text_a != text_b
        same = [pair for pair, is_different in differs.items() if not is_different]
        if same:
            pairs = "; ".join(f"{a!r} and {b!r}" for a, b in same[:5]) + ("; ..." if len(same) > 5 else "")
            findings.append(f"factor {factor!r}: levels {pairs} give the same text")
    return findings


def in_deposit(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Words of the specification that none of the deposit's documents has."""
    haystack = "\n".join(_letters(text) for text in all_texts(deposit))
    if not haystack:
        raise NothingToCompare("the deposit has no codebook or questionnaire to find the texts in")
    findings = []
    for key, fragment in _literal(built, deposit):
        letters = _letters(fragment)
        if len(letters) >= _FEWEST_LETTERS and letters not in haystack:
            findings.append(f"{key}: {shown(fragment)} stands in no file of the deposit")
    return findings


def _literal(built: BuiltStudy, deposit: Deposit) -> Iterator[tuple[str, str]]:
    """What the specification itself says people read, cut at slots and line breaks."""
    for key, text in study_texts(built.study):
        for part in text:
            # What replaces a survey program's field is the specification's word, too.
            pieces = [part] if isinstance(part, str) else list(part.replace.values())
            for piece in pieces:
                for line in _NOTE.sub("\n", SLOT.sub("\n", without_markup(piece))).split("\n"):
                    if line.strip():
                        yield key, line
    for arm in built.arms.values():
        for factor, level in arm.levels.items():
            what = built.study.factors[factor].levels.get(level)
            if what is not None and what.text is None and _is_read(built, factor):
                yield f"factors.{factor}.levels.{level}", what.label or level


def _is_read(built: BuiltStudy, factor: str) -> bool:
    slot = f"{{{factor}}}"
    return any(
        slot in (part if isinstance(part, str) else "".join(part.replace.values()))
        for _, text in study_texts(built.study)
        for part in text
    )


@functools.lru_cache(maxsize=4096)
def _letters(text: str) -> str:
    return "".join(re.findall(r"\w+", without_markup(text).casefold()))


def own_part(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Texts of arms that stand in a part of a document that is about other columns than this study's.

    Of a text's section and those around it, the innermost that names columns of the data tells what it is about.
    """
    own = _own_columns(built)
    others = {
        name
        for rows in built.rows[:1]
        for name in rows.frame.columns
        if name not in own and len(name) > 1 and not name.startswith("\x00")
    } - _of_everybody(built)
    findings, compared = [], 0
    documents = {
        name: deposit.text(name)
        for name in deposit.documents
        if deposit.format(name) in ("text", "docx", "pdf")
    }
    for key, text in study_texts(built.study):
        if not key.startswith(("factors.", "conditions.", "stimulus")):
            continue
        for part in parts_of(text, deposit):
            # What the specification itself says may be the words of any document.
            for name in documents if part.file is None else {part.file} & set(documents):
                for section in _sections_around(documents[name], part.words):
                    named = {column for column in own | others if _names(section, column)}
                    elsewhere = _another_experiment(documents[name], section, own)
                    compared += bool(named or elsewhere)
                    if named - own and not named & own:
                        elsewhere = (
                            f"about {', '.join(sorted(named)[:5])}, none of which is a column of this study"
                        )
                    if elsewhere:
                        findings.append(f"{key}: {_place(part, deposit, name)} is in a part {elsewhere}")
                    if named or elsewhere:
                        break
    if not compared:
        raise NothingToCompare(
            "no document of the deposit names columns of the data near the texts of the arms"
        )
    return findings


def _place(part: Part, deposit: Deposit, name: str) -> str:
    return part.place if part.file is not None else f"{shown(part.words)} in {deposit.path(name).name}"


def _another_experiment(text: str, section: str, own: set[str]) -> str:
    """ "of 'Experiment 2', ..." where the section's heading numbers it, and this study's columns are in another one."""
    mine = _NUMBERED.match(section)
    if mine is None or any(_names(section, column) for column in own):
        return ""
    for other in _numbered_sections(text):
        heading = _NUMBERED.match(other)
        if heading is None or heading[1].casefold() != mine[1].casefold() or heading[2] == mine[2]:
            continue
        if any(_names(other, column) for column in own):
            return f"of '{mine[1]} {mine[2]}', and the columns of this study are named in '{heading[1]} {heading[2]}'"
    return ""


def _numbered_sections(text: str) -> Iterator[str]:
    lines = text.split("\n")
    ranks = [len(m[1]) if (m := _HEADING.match(line)) else 0 for line in lines]
    for start, rank in enumerate(ranks):
        if rank and _NUMBERED.match(lines[start]):
            end = next((i for i in range(start + 1, len(lines)) if 0 < ranks[i] <= rank), len(lines))
            yield "\n".join(lines[start:end])


def _own_columns(built: BuiltStudy) -> set[str]:
    study = built.study
    own = {outcome.column or name for name, outcome in study.outcomes.items()}
    own |= {v.column for outcome in study.outcomes.values() for v in outcome.variants if v.column is not None}
    own |= {factor.column or name for name, factor in study.factors.items()}
    own |= {
        c
        for factor in study.factors.values()
        for level in factor.levels.values()
        for where in level.when
        for c in where
    }
    return {rows.column(name) for rows in built.rows for name in own}


def _of_everybody(built: BuiltStudy) -> set[str]:
    """Columns that are about people, whichever experiment they were in."""
    study = built.study
    return {*study.participant, study.weight or "", *(a.column or n for n, a in study.attributes.items())}


def _names(section: str, column: str) -> bool:
    """Whether a section names the column; a name that is also a word ("trust") must be marked as a name."""
    name = re.escape(column)
    if re.fullmatch(r"[^\W\d_]+", column) and column == column.lower():
        begins = rf"^[\s>*+•|–-]*{name}(?:\s*[:|=]|\s{{2,}}|\t|\s[–—-]\s)"
        return re.search(rf"[`'\"]{name}[`'\"]|\*{name}\*|{begins}", section, re.MULTILINE) is not None
    return re.search(rf"(?<![\w.]){name}(?!\w)", section) is not None


def _sections_around(text: str, words: str) -> Iterator[str]:
    """Sections of a document that hold the words, the innermost first; not the document as a whole."""
    lines = text.split("\n")
    ranks = [len(m[1]) if (m := _HEADING.match(line)) else 0 for line in lines]
    letters = _letters(words)
    if not letters:
        return
    for rank in sorted({r for r in ranks if r}, reverse=True):
        starts = [i for i, r in enumerate(ranks) if 0 < r <= rank]
        if sum(ranks[i] == rank for i in starts) < 2:
            continue  # one heading over everything: the document's title
        for start, end in itertools.pairwise([*starts, len(lines)]):
            section = "\n".join(lines[start:end])
            if ranks[start] == rank and letters in _letters(section):
                yield section
