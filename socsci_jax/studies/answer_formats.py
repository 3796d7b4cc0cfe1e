"""The answer-format sentence of an item, written from its scale in the forms that SocSci210 uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from socsci_jax.studies.scale import Number, Scale, format_value

# "range": only the numbers; "ends": what the first and the last level mean; "labels": what every labeled level
# means; "options": nothing but the levels and their labels.
AnswerStyle = Literal["auto", "range", "ends", "labels", "options"]


def answer_format(scale: Scale, *, style: AnswerStyle = "auto", order: Sequence[Number] | None = None) -> str:
    """The sentence that tells a respondent which answers `scale` allows.

    `order` gives the levels of `listed_levels` in the order in which they are listed, by default from the first to the last.
    "auto" says as much as the scale knows: "options" for two labeled levels, "ends" where only the two ends have
    labels, "labels" where others have one too, "range" without labels.  Raises ValueError if the style needs
    labels that the scale does not have.

    >>> answer_format(Scale.of_levels({1: "Not at all", 2: "", 3: "A great deal"}, origin="codebook"))
    'Only return an integer from 1 to 3, where 1 means Not at all and 3 means A great deal, nothing else.'
    """
    if scale.kind != "levels":
        return _number_sentence(scale)
    label_of = {level: label for level, label in zip(scale.levels, scale.labels) if label}
    labeled = [(format_value(level), label) for level, label in label_of.items()]
    if style == "auto":
        style = _fullest_style(scale, [level for level, _ in labeled])
    if order is not None:
        if sorted(order) != sorted(listed_levels(scale)):
            raise ValueError(f"order {tuple(order)} is none of the levels {listed_levels(scale)}")
        labeled = [(format_value(level), label_of[level]) for level in order]
    first_level, last_level = format_value(scale.levels[0]), format_value(scale.levels[-1])
    if style == "range":
        return f"Only return {_allowed(scale.levels)}, nothing else."
    if style == "ends":
        ends = [pair for pair in labeled if pair[0] in (first_level, last_level)]
        if len(ends) < 2:
            raise ValueError(f"style 'ends' needs a label at both ends, got {scale.labels}")
        (lo, first), (hi, last) = ends
        return f"Only return {_allowed(scale.levels)}, where {lo} means {first} and {hi} means {last}, nothing else."
    if style == "labels":
        if not labeled:
            raise ValueError("style 'labels' needs labels, the scale has none")
        meanings = "; ".join(f"{level} = {label}" for level, label in labeled)
        return f"Only return {_allowed(scale.levels)}, where {meanings}, nothing else."
    if len(labeled) < len(scale.levels):
        raise ValueError(f"style 'options' needs a label for each level, got {scale.labels}")
    return "Only return " + "; ".join(f"{level} for {label}" for level, label in labeled) + ", nothing else."


def listed_levels(scale: Scale) -> tuple[Number, ...]:
    """The levels that the sentence in the style "auto" lists with their labels; none where it gives only their range.

    >>> listed_levels(Scale.of_levels({1: "Not at all", 2: "", 3: "A great deal"}, origin="codebook"))
    (1, 3)
    """
    return tuple(level for level, label in zip(scale.levels, scale.labels) if label)


def alternatives_sentence(scale: Scale) -> str:
    """What a prompt adds where the scale's alternatives are offered; empty where there are none.

    A stated scale's own words name its alternatives already.

    >>> alternatives_sentence(Scale.of_levels((1, 2), origin="codebook", alternatives={8: "Don't know"}))
    " If this applies instead, return it: 8 = Don't know."
    """
    if not scale.alternatives or scale.origin == "stated":
        return ""
    meanings = "; ".join(
        f"{format_value(code)} = {label}" for code, label in zip(scale.alternatives, scale.alternative_labels)
    )
    which = "this" if len(scale.alternatives) == 1 else "one of these"
    return f" If {which} applies instead, return it: {meanings}."


def _fullest_style(scale: Scale, labeled: list[str]) -> AnswerStyle:
    if not labeled:
        return "range"
    if len(labeled) == len(scale.levels) == 2:
        return "options"
    if labeled == [format_value(scale.levels[0]), format_value(scale.levels[-1])]:
        return "ends"
    return "labels"


def _allowed(levels: tuple[Number, ...]) -> str:
    lo, hi = levels[0], levels[-1]
    step = levels[1] - lo
    if isinstance(lo, int) and isinstance(hi, int) and isinstance(step, int):
        # Codes may lie far apart: only a range of as many levels is walked through.
        evenly = range(lo, hi + 1, step)
        is_even = len(evenly) == len(levels) and levels == tuple(evenly)
        if is_even and step == 1:
            return f"an integer from {lo} to {hi}"
        if is_even and lo % step == 0:
            return f"a multiple of {step} between {lo} and {hi}"
    return f"one of {', '.join(map(format_value, levels[:-1]))} or {format_value(hi)}"


def _number_sentence(scale: Scale) -> str:
    if scale.lo is not None and scale.hi is not None:
        return (
            f"Only return a number from {format_value(scale.lo)} to {format_value(scale.hi)}, nothing else."
        )
    if scale.lo is not None:
        return f"Only return a number of at least {format_value(scale.lo)}, nothing else."
    if scale.hi is not None:
        return f"Only return a number of at most {format_value(scale.hi)}, nothing else."
    return "Only return a number, nothing else."
