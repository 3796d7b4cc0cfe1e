"""The scale of a table's column as drafted: from its labels, the codebook next to it, or the numbers that were seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from data_pipelines.drafting.choice_scales import is_ordered, scale_of_choices, squeezed
from data_pipelines.drafting.codebook import labels_of
from data_pipelines.drafting.holes import NO_ORDER
from data_pipelines.drafting.table_columns import MOST_POINTS, Found
from data_pipelines.formats.qualtrics.questionnaire import Choice
from socsci_jax.studies.scale import Scale, exact_number, format_value
from socsci_jax.studies.specification_parts import code

# Cells off a codebook's scale that a hole names.
MOST_SHOWN = 6


def scale_of_column(one: Found) -> tuple[dict[str, Any], str]:
    """The tree of a scale, and what is left open of it, from labels and cells alone."""
    if one.labels and one.lo is None:
        choices = [Choice(id=c, text=text, value=c) for c, text in one.labels.items()]
        beside = scale_of_choices(choices)
        tree: dict[str, Any] = {"levels": dict(beside.levels)}
        missing = [*one.missing, *beside.missing]
        if beside.alternatives:
            tree["alternatives"] = dict(beside.alternatives)
        # Cells alone stand in the order of the alphabet.
        nominal = beside.nominal if one.told else not one.ordered
        if nominal:
            tree["nominal"] = True
        hole = NO_ORDER if nominal or (not one.told and len(one.labels) > 2) else ""
        return _with_missing(tree, missing), hole
    if one.whole and one.lo is not None and one.hi is not None and one.hi - one.lo < MOST_POINTS:
        tree = {"lo": exact_number(one.lo), "hi": exact_number(one.hi)}
        hole = f"{exact_number(one.lo)} to {exact_number(one.hi)} are the ends that were observed; say those that were offered, and labels"
        return _with_beside(tree, one), "" if one.offered else hole
    hole = "say its bounds (lo, hi) and which codes are missing, or that it has none"
    ends = {"lo": exact_number(one.lo), "hi": exact_number(one.hi)} if one.offered else {}
    return _with_beside({"number": True, **ends}, one), "" if one.offered else hole


def _with_beside(tree: dict[str, Any], one: Found) -> dict[str, Any]:
    """The scale of numbers with the labels that the file has of some of them."""
    if one.offered and "number" not in tree:
        tree["labels"] = dict(one.labels)
    if one.alternatives:
        tree["alternatives"] = dict(one.alternatives)
    return _with_missing(tree, one.missing)


def scale_of_codebook(
    scale: Scale, cells: Iterable[str], *, missing: Iterable[str]
) -> tuple[dict[str, Any], str]:
    """The tree of a scale that a codebook tells, and the cells of its column that it does not explain."""
    if scale.kind == "open":
        ends = {
            name: exact_number(end) for name, end in (("lo", scale.lo), ("hi", scale.hi)) if end is not None
        }
        return _with_missing({"number": True, **ends}, missing), ""
    if not scale.labels and _are_amounts(cells := list(cells), scale, missing):
        ends = {"lo": exact_number(scale.levels[0]), "hi": exact_number(scale.levels[-1])}
        return _with_missing({"number": True, **ends}, missing), ""
    codes, labels = list(map(format_value, scale.levels)), list(scale.labels or [""] * len(scale.levels))
    beside = dict(zip(map(format_value, scale.alternatives), scale.alternative_labels, strict=True))
    if all(labels) or scale.levels != tuple(range(int(scale.levels[0]), int(scale.levels[-1]) + 1)):
        tree: dict[str, Any] = {"levels": dict(zip(codes, labels, strict=True))}
    else:
        named = {c: label for c, label in zip(codes, labels, strict=True) if label}
        tree = {"lo": exact_number(scale.levels[0]), "hi": exact_number(scale.levels[-1])}
        tree |= {"labels": named} if named else {}
    if beside:
        tree["alternatives"] = beside
    holes = []
    if labels_of(scale) and not is_ordered(labels):
        tree["nominal"] = True
        holes.append(NO_ORDER)
    known = {*codes, *beside, *missing, *map(squeezed, (*labels, *beside.values()))}
    strange = sorted({cell for cell in cells if code(cell) not in known and squeezed(cell) not in known})
    if strange:
        shown = ", ".join(map(repr, strange[:MOST_SHOWN]))
        holes.append(f"the codebook does not explain {shown}")
    return _with_missing(tree, missing), "; ".join(holes)


def _are_amounts(cells: Iterable[str], scale: Scale, missing: Iterable[str]) -> bool:
    """True if the cells are numbers between the ends of the scale, and some are between its levels."""
    try:
        numbers = [float(cell) for cell in cells if code(cell) not in set(missing)]
    except ValueError:
        return False
    ends = (scale.levels[0], scale.levels[-1])
    return (
        not scale.alternatives
        and all(ends[0] <= n <= ends[1] for n in numbers)
        and not all(map(scale.allows, numbers))
    )


def _with_missing(tree: dict[str, Any], missing: Iterable[str]) -> dict[str, Any]:
    codes = list(dict.fromkeys(missing))
    return {**tree, "missing": codes} if codes else tree
