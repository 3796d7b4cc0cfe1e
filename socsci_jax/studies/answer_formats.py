"""The answer-format sentence of an item, written from its scale in the forms that SocSci210 uses."""

from __future__ import annotations

from typing import Literal

from socsci_jax.studies.schema import Scale, format_value

# "range": only the numbers; "ends": what the first and the last level mean; "labels": what every labeled level
# means; "options": nothing but the levels and their labels.
AnswerStyle = Literal["auto", "range", "ends", "labels", "options"]


def answer_format(scale: Scale, *, style: AnswerStyle = "auto") -> str:
    """The sentence that tells a respondent which answers `scale` allows.

    "auto" says as much as the scale knows: "options" for two labeled levels, "ends" where only the two ends have
    labels, "labels" where others have one too, "range" without labels.  Raises ValueError if the style needs
    labels that the scale does not have.

    >>> answer_format(Scale.of_levels({1: "Not at all", 2: "", 3: "A great deal"}, origin="codebook"))
    'Only return an integer from 1 to 3, where 1 means Not at all and 3 means A great deal, nothing else.'
    """
    if scale.kind != "levels":
        return _number_sentence(scale)
    labeled = [(level, label) for level, label in zip(scale.levels, scale.labels) if label]
    if style == "auto":
        style = _fullest_style(scale, labeled)
    if style == "range":
        return f"Only return {_allowed(scale.levels)}, nothing else."
    if style == "ends":
        ends = [pair for pair in labeled if pair[0] in (scale.levels[0], scale.levels[-1])]
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


def _fullest_style(scale: Scale, labeled: list[tuple[int, str]]) -> AnswerStyle:
    if not labeled:
        return "range"
    if len(labeled) == len(scale.levels) == 2:
        return "options"
    if [level for level, _ in labeled] == [scale.levels[0], scale.levels[-1]]:
        return "ends"
    return "labels"


def _allowed(levels: tuple[int, ...]) -> str:
    lo, hi, step = levels[0], levels[-1], levels[1] - levels[0]
    if levels == tuple(range(lo, hi + 1)):
        return f"an integer from {lo} to {hi}"
    if levels == tuple(range(lo, hi + 1, step)) and lo % step == 0:
        return f"a multiple of {step} between {lo} and {hi}"
    return f"one of {', '.join(map(str, levels[:-1]))} or {hi}"


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
