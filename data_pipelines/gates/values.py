"""Gates on answers: they lie on their scale, labels are the codebook's, no band is a number, none is in a prompt."""

from __future__ import annotations

import collections
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from data_pipelines.scales.codebooks import read_codebook_scale
from data_pipelines.specified.people import attribute_texts
from data_pipelines.specified.rows import codes_of
from socsci_jax.errors import InputError
from socsci_jax.studies.specification_parts import TextFrom, code
from socsci_jax.wording import counted

if TYPE_CHECKING:
    from data_pipelines.specified.deposit import Deposit
    from data_pipelines.specified.study import BuiltStudy

_AMOUNT = r"[$£€]?\s?\d[\d,.]*\s?(?:k|K|%)?"
_BAND = re.compile(
    rf"^\W*(?:{_AMOUNT}\s?(?:-|–|—|to|until)\s?{_AMOUNT}"
    rf"|(?:under|over|below|above|less than|more than|fewer than|up to|at least|at most)\s+{_AMOUNT}"
    rf"|{_AMOUNT}\s?(?:\+|or (?:more|less|fewer|over|older|younger|above|under)|and (?:over|above|older|up))"
    rf")(?:\s*(?:dollars?|usd|years?(?: old)?|people|persons?|hours?|times|per \w+|a \w+))?\W*$",
    re.IGNORECASE,
)
# "1 = Human", "2) AI", "3: $1,001-$2,500", "4 - Other" in a codebook's entry, line by line or one behind the other.
_CODED = re.compile(
    r"(?<![\w.$£€,-])(-?\d{1,4})\s*(?:[=:]\s*(?=[$£€\w])|(?<!\(\d)(?<!\(\d\d)\)\s*(?=[$£€\w])|[–-]\s*(?=[^\W\d]))([^;\n|]+?)"
    r"\s*(?=;|\n|\||,\s|\.\s|\)|\.?$|\s(?:and|or)\s-?\d)"
)
# "Human = 1", "Machine: 2": the label comes first.
_LABEL_FIRST = re.compile(
    r"(?<![\w=])([^\W\d][\w'’ /-]{0,60}?)\s*[=:]\s*(-?\d{1,4})(?=\s*(?:[;,)|\n]|\.\s|\.?$|\s(?:and|or)\s))"
)
# "0 Human 1 Machine", "(1) Human (2) Machine"
_BRACKETED = re.compile(r"\((-?\d{1,4})\)\s*([^\W\d][^();\n|]*?)\s*(?=[,;.]?\s*\(-?\d|[;\n|]|\.?$)")
_ENOUGH = 30
_OUTSIDE = '; codes outside the scale go under its `missing` (no answer) or `alternatives` ("don\'t know")'
# An entry is a few lines; of what a hostile file makes one of, no more is looked at.
LONGEST_ENTRY = 5_000


def on_scale(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Answers that are no level, missing code or alternative of their scale."""
    findings = []
    for outcome, tally in built.tallies.items():
        for cells, what, advice in (
            (tally.outside, "outside the scale", _OUTSIDE),
            (tally.unread, "neither codes nor labels", ""),
        ):
            if cells:
                most = ", ".join(f"{cell[:40]!r} ({count:,})" for cell, count in cells.most_common(5))
                findings.append(
                    f"outcome {outcome!r}: {counted(sum(cells.values()), 'answer is', 'answers are')} {what}: {most}{advice}"
                )
        if not tally.answers:
            findings.append(f"outcome {outcome!r}: not one answer")
    return findings


def codebook_labels(built: BuiltStudy, deposit: Deposit) -> dict[str, dict[str, str]]:
    """What codes of the data's columns mean: by the file's own labels, else by the codebooks' entries."""
    labels: dict[str, dict[str, str]] = {}
    for name in deposit.codebooks:
        for column, words in deposit.entries(name).items():
            coded = _coded_in(words)
            if len(coded) > 1:
                labels.setdefault(column, coded)
    for rows in built.rows[:1]:
        labels |= {column: dict(of) for column, of in rows.table.value_labels.items() if of}
    return labels


def _coded_in(words: str) -> dict[str, str]:
    """Code -> label in one entry, in whichever of the usual ways it tells them."""
    words = words[:LONGEST_ENTRY]
    ways = (
        [(code(c), label) for c, label in _CODED.findall(words)],
        [(code(c), label) for label, c in _LABEL_FIRST.findall(words)],
        [(code(c), label) for c, label in _BRACKETED.findall(words)],
    )
    return {c: label.strip() for c, label in max(ways, key=len)}


def labels_agree(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Levels, answers and recodes that are called otherwise than the deposit calls them."""
    told = codebook_labels(built, deposit)
    findings = [*_headings(built), *_names_as_codes(built)]
    rows = built.rows[0]
    for factor, what in built.study.factors.items():
        column = rows.column(what.column or factor)
        for level, of in what.levels.items():
            for value in () if of.when else codes_of(level, of):
                said = told.get(column, {}).get(value)
                if said is not None and not _agree(said, level, of.label or "", value):
                    findings.append(
                        f"factors.{factor}.levels.{level}: the deposit calls code {value} {said!r}"
                    )
    for outcome, readings in built.readings.items():
        for column, reading in readings.items():
            own = dict(zip(map(code, reading.scale.levels), reading.scale.labels, strict=False))
            # Of a box a file's only label is what was ticked.
            is_box = own == {"0": "not chosen", "1": "chosen"} and set(told.get(column, {})) == {"1"}
            for value, said in () if is_box else told.get(column, {}).items():
                if own.get(value) and not _agree(said, own[value], "", value):
                    findings.append(
                        f"outcomes.{outcome}: code {value} is {own[value]!r} here, the deposit calls it {said!r}"
                    )
            findings += _range_of_entry(outcome, column, reading, deposit)
    for name, attribute in built.study.attributes.items():
        for value, said in told.get(rows.column(attribute.column or name), {}).items():
            if attribute.recode.get(value) and not _agree(said, attribute.recode[value], "", value):
                findings.append(
                    f"attributes.{name}: code {value} is {attribute.recode[value]!r} here, the deposit calls it {said!r}"
                )
    return findings


def _names_as_codes(built: BuiltStudy) -> list[str]:
    """Levels whose codes are the name of another level."""
    findings = []
    for factor, what in built.study.factors.items():
        names = {_plain(n): level for level, of in what.levels.items() for n in (level, of.label or level)}
        for level, of in what.levels.items():
            for value in of.values or ():
                owner = names.get(_plain(value))
                if owner is not None and owner != level and not value.lstrip("-").isdigit():
                    findings.append(
                        f"factors.{factor}.levels.{level}: its code {value!r} is the name of level {owner!r}"
                    )
    return findings


def _headings(built: BuiltStudy) -> list[str]:
    """Levels whose text is taken from under another level's heading."""
    findings = []
    for factor, what in built.study.factors.items():
        names = {_plain(n): level for level, of in what.levels.items() for n in (level, of.label or level)}
        for level, of in what.levels.items():
            for part in of.text or ():
                if isinstance(part, TextFrom) and part.heading is not None:
                    owner = names.get(_plain(part.heading))
                    if owner is not None and owner != level:
                        findings.append(
                            f"factors.{factor}.levels.{level}: its text is that under the heading of {owner!r}"
                        )
    return findings


def _range_of_entry(outcome: str, column: str, reading, deposit: Deposit) -> list[str]:
    """The scale against the one that the codebook's entry tells, where it can be read."""
    for name in deposit.codebooks:
        words = deposit.entries(name).get(column, "")[:LONGEST_ENTRY]
        if not words:
            continue
        try:
            told = read_codebook_scale(words, lo=None, hi=None)
        except (InputError, ValueError):
            continue
        if told.kind != "levels" or reading.scale.kind != "levels":
            continue
        if (told.lo, told.hi) != (reading.scale.lo, reading.scale.hi):
            return [
                f"outcomes.{outcome}: the scale goes from {reading.scale.lo:g} to {reading.scale.hi:g}, the codebook's "
                f"from {told.lo:g} to {told.hi:g}"
            ]
        both = zip(told.levels, told.labels or [""] * len(told.levels), reading.scale.labels, strict=False)
        return [
            f"outcomes.{outcome}: level {level} is {own!r} here, the codebook calls it {said!r}"
            for level, said, own in both
            if said and own and not _agree(said, own, "", str(level))
        ]
    return []


def _agree(said: str, own: str, label: str, value: str) -> bool:
    """Whether two labels are the same but for case, punctuation and a number before them."""
    plain = {_plain(own), _plain(label), _plain(own).removeprefix(value)} - {""}
    return _plain(said) in plain or _plain(said).removeprefix(value) in plain


def _plain(text: str) -> str:
    return "".join(re.findall(r"\w+", text.casefold()))


def bands(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Codes or cells that stand for bands ("$1,001-$2,500") where the scale makes numbers of them."""
    told = codebook_labels(built, deposit)
    findings = []
    for outcome, readings in built.readings.items():
        for column, reading in readings.items():
            own = dict(zip(map(code, reading.scale.levels), reading.scale.labels, strict=False))
            labeled = {c: label for c, label in told.get(column, {}).items() if _BAND.match(label)}
            lost = {c: label for c, label in labeled.items() if not own.get(c)}
            if len(labeled) > 1 and lost:
                c, label = next(iter(lost.items()))
                findings.append(
                    f"outcomes.{outcome}: code {c} stands for the band {label!r}, and the scale takes it for a quantity; "
                    "give the levels these labels"
                )
            for cell, c in reading.declared.codes.items():
                if _BAND.match(cell) and not _agree(cell, own.get(c, ""), "", c):
                    findings.append(
                        f"outcomes.{outcome}: the band {cell!r} becomes {c}; make it a level that is labeled so"
                    )
        cells = [cell for cell in built.tallies[outcome].unread if _BAND.match(cell)]
        if cells:
            findings.append(
                f"outcomes.{outcome}: cells such as {cells[0]!r} are bands, and the scale has no such labels"
            )
    for name, attribute in built.study.attributes.items():
        for cell, text in attribute.recode.items():
            if _BAND.match(cell) and re.fullmatch(r"\W*\d[\d,.]*\W*", text):
                findings.append(f"attributes.{name}: the band {cell!r} becomes the number {text!r}")
        column = built.rows[0].column(attribute.column or name)
        labeled = {c: label for c, label in told.get(column, {}).items() if _BAND.match(label)}
        in_file = built.rows[0].table.value_labels.get(column, {})
        lost = [c for c in labeled if not attribute.recode.get(c) and not in_file.get(c)]
        if len(labeled) > 1 and lost:
            findings.append(
                f"attributes.{name}: code {lost[0]} stands for the band {labeled[lost[0]]!r}; recode it, or a prompt says "
                f"{lost[0]}"
            )
    return findings


def answer_in_prompt(built: BuiltStudy, deposit: Deposit) -> list[str]:
    """Attributes and factors that give the answer away: its own column, or made from it."""
    study = built.study
    outcome_of = {column: name for name, readings in built.readings.items() for column in readings}
    rows = built.rows[0]
    findings = [
        f"{key}: shows column {rows.column(column)!r}, which is the outcome {outcome_of[rows.column(column)]!r}"
        for key, column in [
            *((f"attributes.{n}", a.column or n) for n, a in study.attributes.items()),
            *((f"factors.{n}", f.column or n) for n, f in study.factors.items() if f.loop is None),
        ]
        if rows.column(column) in outcome_of
    ]
    answers = {(g.outcome, g.row): g.value for g in built.given}
    for part in built.rows:
        shown_columns = {f"attributes.{n}": texts for n, texts in attribute_texts(study, part).items()}
        for key, texts in shown_columns.items():
            for outcome in study.outcomes:
                pairs = [
                    (text, answers[outcome, row])
                    for text, row in zip(texts, part.numbers, strict=True)
                    if text is not None and (outcome, row) in answers
                ]
                if _gives_away(pairs) or _gives_away([(b, a) for a, b in pairs]):
                    findings.append(
                        f"{key}: tells the answer to {outcome!r}, or is made from it ({counted(len(pairs), 'answer')})"
                    )
    for factor in study.factors:
        for outcome in study.outcomes:
            pairs = [(g.value, g.arm.levels[factor]) for g in built.given if g.outcome == outcome]
            values, levels = ({p[i] for p in pairs} for i in (0, 1))
            # Asked which arm one was in, people's answers follow the arm; a split of the answers is finer than it.
            if 1 < len(levels) < len(values) and _gives_away(pairs):
                findings.append(
                    f"factors.{factor}: is made from the answer to {outcome!r} ({counted(len(pairs), 'answer')})"
                )
    return findings


def _gives_away(pairs: Sequence[tuple[Hashable, Hashable]]) -> bool:
    """Whether the first tells the second nearly always, where several have the same first, and guessing would not."""
    groups: Mapping[Hashable, collections.Counter] = collections.defaultdict(collections.Counter)
    for first, second in pairs:
        groups[first][second] += 1
    shared = [group for group in groups.values() if group.total() > 1]
    total = sum(group.total() for group in shared)
    if total < _ENOUGH or len(shared) < 2:
        return False
    right = sum(max(group.values()) for group in shared)
    overall: collections.Counter = collections.Counter()
    for group in shared:
        overall.update(group)
    return right / total >= 0.98 and max(overall.values()) / total <= 0.9
