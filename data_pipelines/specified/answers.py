"""From an outcome's declared scale to a `Scale`, and from cells to answers on it."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

from data_pipelines.scales.codebooks import read_codebook
from data_pipelines.specified.deposit import Deposit
from data_pipelines.specified.texts import shown, words_of
from socsci_jax.errors import InputError
from socsci_jax.studies.scale import Number, exact_number, is_answer
from socsci_jax.studies.schema import MAX_LEVELS, Scale
from socsci_jax.studies.specification_parts import AnswerScale, code


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What a cell says: a value, or why there is none.

    `status` is "answer", "missing" (empty, or a code of no answer), "outside" (a number that the scale does not
    have) or "unread" (neither a number nor a label).
    """

    status: str
    value: float | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How the cells of one outcome's column are read.

    `undecided` are labels that tell that cells hold labels, where other levels' labels are numbers that are codes too:
    of "4" nobody knows which is meant.
    """

    scale: Scale
    declared: AnswerScale
    codes: Mapping[str, str]
    missing: frozenset[str]
    undecided: frozenset[str] = frozenset()

    def read(self, cell: str | None) -> Answer:
        if cell is None:
            cell = self.declared.empty
        if cell is None:
            return Answer(status="missing", reason="missing answer")
        if _key(cell) in self.undecided:
            return Answer(
                status="unread", reason="answer is a label where other labels are codes of other levels"
            )
        text = self.codes.get(_key(cell), self.codes.get(_key(code(cell)), cell))
        number = code(text)
        if number in self.missing:
            return Answer(status="missing", reason=f"missing answer (code {number})")
        try:
            value = float(number)
        except ValueError:
            return Answer(status="unread", reason="answer is neither a code nor a label of the scale")
        if number != code(number) or value != value or value in (float("inf"), float("-inf")):
            return Answer(status="unread", reason="answer is not a number")
        if self.scale.is_missing(value):
            return Answer(status="missing", reason=f"missing answer (code {number})")
        if self.scale.is_alternative(value):
            return Answer(status="answer", value=value)
        if self.declared.reversed and self.scale.lo is not None and self.scale.hi is not None:
            value = self.scale.lo + self.scale.hi - value
        if not self.scale.allows(value):
            return Answer(status="outside", value=value, reason="answer outside its scale")
        return Answer(status="answer", value=value)


def reading_of(
    declared: AnswerScale,
    deposit: Deposit,
    *,
    labels: Mapping[str, str] | None = None,
    missing: frozenset[str] = frozenset(),
) -> Reading:
    """How to read a column, from the declared scale and what the file says of its codes.

    `labels` and `missing` are the file's: a text cell may be one of its labels, and its missing codes are missing
    unless the scale declares them as alternatives.  A label that is the code of another level (codes 4 to 10 with
    the labels 1 to 7) is never looked for in cells: they hold the codes.
    Raises InputError for words that tell no scale.
    """
    scale = scale_of(declared, deposit)
    own = dict(zip(map(code, scale.levels), scale.labels, strict=False))
    own |= dict.fromkeys(set(map(code, scale.levels)) - set(own), "")
    own |= dict(zip(map(code, scale.alternatives), scale.alternative_labels, strict=True))
    counts = collections.Counter(_key(label) for label in own.values() if label)
    told = {
        _key(label): c for c, label in (labels or {}).items() if code(label) not in own or code(label) == c
    }
    told |= {
        _key(label): c
        for c, label in own.items()
        if label and counts[_key(label)] == 1 and (code(label) not in own or code(label) == c)
    }
    coded = {_key(cell): c for cell, c in declared.codes.items()}
    clash = any(
        code(label) in own and code(label) != c and _key(label) not in coded for c, label in own.items()
    )
    undecided = frozenset(told.keys() - coded.keys() - set(map(_key, own))) if clash else frozenset()
    told |= coded
    absent = (missing | set(declared.missing)) - set(declared.alternatives)
    return Reading(
        scale=scale,
        declared=declared,
        codes=told,
        missing=frozenset(absent - set(map(code, scale.levels))),
        undecided=undecided,
    )


def scale_of(declared: AnswerScale, deposit: Deposit) -> Scale:
    """The scale; raises InputError if its words tell none."""
    beside = _beside(declared)
    if declared.number:
        return Scale.open_number(lo=declared.lo, hi=declared.hi, origin="codebook", **beside)
    if declared.read is not None:
        words = words_of(declared.read, deposit)
        read = read_codebook(words, lo=None, hi=None)
        if read.scale.kind == "unknown":
            why = f" ({read.note})" if read.note else ""
            raise InputError(
                f"no scale can be read from {shown(words)}{why}; write it out as levels, or as lo and hi with labels."
            )
        return _with_declared(read.scale, declared, beside)
    if declared.levels:
        levels = {_number(level): label for level, label in declared.levels.items()}
        return Scale.of_levels(levels, origin="codebook", nominal=declared.nominal, **beside)
    return _range(declared, beside)


def _with_declared(scale: Scale, declared: AnswerScale, beside: dict) -> Scale:
    """The scale that was read, with the labels and the codes outside it that the specification adds."""
    alternatives = dict(zip(scale.alternatives, scale.alternative_labels, strict=True))
    missing = {*scale.missing, *beside.get("missing", ())} - beside.get("alternatives", {}).keys()
    alternatives = {c: label for c, label in alternatives.items() if c not in missing}
    alternatives |= beside.get("alternatives", {})
    if scale.kind != "levels":
        return dataclasses.replace(
            scale,
            alternatives=tuple(sorted(alternatives)),
            alternative_labels=tuple(alternatives[c] for c in sorted(alternatives)),
            missing=tuple(sorted(missing)),
        )
    labels = dict(zip(scale.levels, scale.labels or [""] * len(scale.levels), strict=True))
    labels |= {_number(level): label for level, label in declared.labels.items()}
    labels = {level: label for level, label in labels.items() if level not in {*alternatives, *missing}}
    return Scale.of_levels(
        labels, origin="codebook", nominal=declared.nominal, alternatives=alternatives, missing=missing
    )


def _range(declared: AnswerScale, beside: dict) -> Scale:
    lo, hi, step = declared.lo or 0.0, declared.hi or 0.0, declared.step or 1.0
    steps = round((hi - lo) / step)
    if steps + 1 > MAX_LEVELS:
        return Scale.open_number(lo=lo, hi=hi, origin="codebook", **beside)
    levels = [exact_number(round(lo + i * step, 9)) for i in range(steps + 1)]
    if abs(levels[-1] - hi) > 1e-6:
        raise InputError(f"steps of {step:g} from {lo:g} do not end at {hi:g}; write the levels out.")
    labels = {_number(level): label for level, label in declared.labels.items()}
    strange = [level for level in labels if level not in levels]
    if strange:
        raise InputError(f"label for {strange[0]:g}, which is no level from {lo:g} to {hi:g}.")
    return Scale.of_levels(
        {level: labels.get(level, "") for level in levels},
        origin="codebook",
        nominal=declared.nominal,
        **beside,
    )


def _beside(declared: AnswerScale) -> dict:
    """Alternatives and missing codes that are numbers; other missing codes never get as far as a scale."""
    beside: dict = {}
    if declared.alternatives:
        beside["alternatives"] = {_number(c): label for c, label in declared.alternatives.items()}
    numbers = [_number(c) for c in declared.missing if _is_number(c)]
    if numbers:
        beside["missing"] = numbers
    return beside


def _is_number(text: str) -> bool:
    try:
        return is_answer(float(text))
    except ValueError:
        return False


def _number(text: str) -> Number:
    if not _is_number(text):
        raise InputError(
            f"level {text!r} is not a number of at most 15 digits; give the levels numbers in their order (1: {text}), "
            f"and cells that say {text!r} are read by their label."
        )
    return exact_number(float(text))


def _key(text: str) -> str:
    return " ".join(text.split()).casefold()
