"""Items made by hand: a question that nobody has been asked yet, on a scale written in short."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.scale import MAX_LEVELS, Number, Scale
from socsci_jax.studies.schema import Item
from socsci_jax.wording import counted

# A scale in short: a Scale, labels from the first level to the last, code to label, or a text that `scale` reads.
ScaleLike = Scale | str | Sequence[str] | Mapping[int, str]

_NUMBER = r"[+-]?\d{1,9}"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*(?:-|–|\.\.|to)\s*({_NUMBER})\s*(?::(.*))?", re.S)
_CODED = re.compile(rf"\s*({_NUMBER})\s*=\s*(.*\S)\s*", re.S)
_FORMS = "write a range (1-7), a range with the labels of its ends (1-7: not at all | completely), or code = label, separated by | (1 = no | 2 = yes)"


def item(
    question: str,
    scale: ScaleLike,
    *,
    stimulus: str = "",
    condition: str = "asked",
    outcome: str = "question",
    study: str = "asked",
) -> Item:
    """Makes an item by hand: one thing that a person reads and answers.

    Args:
      question: the question, as the person reads it.
      scale: `Scale`, a text such as "1-7: not at all | completely" or "1 = no | 2 = yes", labels from the first level to
        the last, or code to label.
      stimulus: what is read before the question.
      condition: name of the version of the stimulus, by which versions are compared.
      outcome: name of the question, by which questions are told apart.
      study: name of the study.

    Raises:
      InputError: if the scale cannot be read.
    """
    read = read_short_scale(scale)
    separated = f"{stimulus.rstrip()}\n\n" if stimulus.strip() else ""
    return Item(
        study_id=study,
        condition=condition,
        outcome=outcome,
        stimulus=separated,
        question=f"{question.strip()}\n",
        answer_format=answer_format(read),
        scale=read,
    )


def read_short_scale(scale: ScaleLike) -> Scale:
    """The scale that is meant; all of a text is accounted for, or InputError is raised."""
    if isinstance(scale, Scale):
        return scale
    if isinstance(scale, Mapping):
        return _of_labels(dict(scale.items()), shown=repr(scale))
    if not isinstance(scale, str | Sequence):
        raise InputError(f"scale {scale!r} cannot be read; {_FORMS}.")
    if not isinstance(scale, str):
        return _of_labels(dict(enumerate(scale, start=1)), shown=repr(scale))
    if match := _RANGE.fullmatch(scale):
        lo, hi = int(match[1]), int(match[2])
        if not lo < hi <= lo + MAX_LEVELS - 1:
            raise InputError(
                f"scale {scale!r}: a range goes up, and has at most {MAX_LEVELS} levels; {_FORMS}."
            )
        labels: dict[Number, str] = dict.fromkeys(range(lo, hi + 1), "")
        if match[3] is not None:
            ends = [end.strip() for end in match[3].split("|")]
            if len(ends) not in (2, len(labels)) or not all(ends):
                raise InputError(
                    f"scale {scale!r}: {counted(len(ends), 'label')} after the colon; give those of the two ends, or of all "
                    f"{counted(len(labels), 'level')}, separated by |."
                )
            labels |= dict(zip([lo, hi] if len(ends) == 2 else list(labels), ends, strict=True))
        return Scale.of_levels(labels, origin="stated")
    parts = [_CODED.fullmatch(part) for part in scale.split("|")]
    if len(parts) > 1 and all(parts):
        pairs = [(int(part[1]), part[2]) for part in parts if part is not None]
        if len(dict(pairs)) == len(pairs):
            return _of_labels(dict(pairs), shown=scale)
    raise InputError(f"scale {scale!r} cannot be read; {_FORMS}.")


def _of_labels(labels: Mapping[Number, str], *, shown: str) -> Scale:
    if len(labels) < 2 or not all(isinstance(code, int) for code in labels):
        raise InputError(f"scale {shown}: give at least two levels, each a whole number; {_FORMS}.")
    words = [
        " ".join(label.split()).casefold()
        for label in labels.values()
        if isinstance(label, str) and label.strip()
    ]
    if again := sorted({word for word in words if words.count(word) > 1}):
        raise InputError(
            f"scale {shown}: two levels have the label {again[0]!r}; nobody could tell them apart."
        )
    return Scale.of_levels(labels, origin="stated")
