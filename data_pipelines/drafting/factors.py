"""What a survey varies between people: its randomizers, and fields that decide what is shown.

A randomizer that shows one of its elements is a factor, and each element a level.  One that shows all of its
elements in random order is a factor only where the elements set the same field (the last one counts); else it is
an order, which changes no text.  The same draw written twice in exclusive branches is one factor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal

from data_pipelines.formats.qualtrics.questionnaire import FlowNode, Questionnaire


@dataclasses.dataclass(frozen=True, kw_only=True)
class Level:
    """One level: the fields it sets, and for each randomizer the elements that it is (flow or question ids; of a
    branch itself, or nothing)."""

    name: str
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    elements: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Factor:
    """What was varied.  kind "draw": `randomizers` (flow or block ids) show one element; "last": they show several
    elements that set `field`, and the last one counts; "field": `field` comes from outside of the flow.
    """

    name: str
    kind: Literal["draw", "last", "field"]
    levels: tuple[Level, ...]
    randomizers: tuple[str, ...] = ()
    field: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """A randomizer of order alone, or one that shows some of many elements: no arm, but part of the design."""

    id: str
    shown: int
    elements: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Randomization:
    factors: tuple[Factor, ...]
    orders: tuple[Order, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Found:
    """A randomizer with what each level shows and sets, and its place: the exclusive choices above it."""

    factor: Factor
    contents: tuple[object, ...]
    above: Mapping[str, str]


def find_randomization(survey: Questionnaire) -> Randomization:
    """The factors and orders of the survey's flow and blocks, in the order of the flow."""
    draws: list[_Found] = []
    orders: list[Order] = []
    for node, above in _with_place(survey.flow, {}):
        if node.kind == "randomizer" and len(node.children) > 1:
            factor = _of_randomizer(node, survey)
            if factor is not None:
                draws.append(_Found(factor=factor, contents=_contents(factor, node), above=above))
            else:
                names = tuple(element_name(child, survey) for child in node.children)
                orders.append(Order(id=node.id, shown=node.shown, elements=names))
        drawn = _of_block(node.block, survey) if node.kind == "block" else None
        block = survey.blocks.get(node.block) if node.kind == "block" else None
        if block is not None and block.drawn is not None and block.drawn > 1:
            names = tuple(survey.questions[q].tag or q for q in block.pool if q in survey.questions)
            orders.append(Order(id=block.id, shown=block.drawn, elements=names))
        if drawn is not None and all(drawn.randomizers != f.factor.randomizers for f in draws):
            contents = tuple(level.name for level in drawn.levels)
            draws.append(_Found(factor=drawn, contents=contents, above=above))
    factors = _named(_merged(draws))
    return Randomization(factors=factors, orders=tuple(orders))


def element_name(node: FlowNode, survey: Questionnaire) -> str:
    """What the author calls an element of the flow."""
    if node.kind == "block" and node.block in survey.blocks:
        return survey.blocks[node.block].name or node.id
    if node.kind == "group" and node.name:
        return node.name
    if node.kind == "fields":
        values = [field.value for field in node.fields if field.value]
        return values[0] if values else node.id
    inner = [child for child in node.children if child.kind in ("block", "group")]
    return element_name(inner[0], survey) if len(inner) == 1 else node.id


def fields_set(node: FlowNode) -> dict[str, str]:
    """Fields with a fixed value that the element sets whenever it is shown."""
    fields: dict[str, str] = {}
    if node.kind == "fields":
        fields |= {f.name: f.value for f in node.fields if f.value is not None and "${" not in f.value}
    elif node.kind in ("group", "root"):
        for child in node.children:
            fields |= fields_set(child)
    return fields


def _with_place(node: FlowNode, above: Mapping[str, str]) -> Iterator[tuple[FlowNode, Mapping[str, str]]]:
    yield node, above
    for child in node.children:
        place = above
        if node.kind == "randomizer" and node.shown == 1:
            place = {**above, node.id: child.id}
        elif node.kind == "branch":
            place = {**above, f"branch {node.id}": node.id}
        yield from _with_place(child, place)


def _of_randomizer(node: FlowNode, survey: Questionnaire) -> Factor | None:
    sets = [fields_set(child) for child in node.children]
    field = next(iter(_telling(sets)), "")
    if node.shown == 1:
        kind: Literal["draw", "last"] = "draw"
    elif field and all(child.kind == "fields" for child in node.children):
        kind = "last"
    else:
        return None
    only_fields = all(child.kind == "fields" for child in node.children)
    levels = tuple(
        Level(
            name=values[field] if only_fields and field else element_name(child, survey),
            fields=values,
            elements={node.id: (child.id,)},
        )
        for child, values in zip(node.children, sets, strict=True)
    )
    return Factor(
        name=field if only_fields and field else node.id,
        kind=kind,
        levels=levels,
        randomizers=(node.id,),
        field=field,
    )


def _telling(sets: list[dict[str, str]]) -> list[str]:
    """Fields that every element sets, each to another value; words before numbers."""
    common = [name for name in sets[0] if all(name in values for values in sets)]
    telling = [name for name in common if len({values[name] for values in sets}) == len(sets)]
    return sorted(telling, key=lambda name: any(values[name].strip().isdigit() for values in sets))


def _of_block(block_id: str, survey: Questionnaire) -> Factor | None:
    block = survey.blocks.get(block_id)
    if block is None or block.drawn != 1:
        return None
    levels = tuple(
        Level(name=survey.questions[q].tag or q, elements={block.id: (q,)})
        for q in block.pool
        if q in survey.questions
    )
    if len(levels) < 2:
        return None
    return Factor(name=block.name or block.id, kind="draw", levels=levels, randomizers=(block.id,))


def _contents(factor: Factor, node: FlowNode) -> tuple[object, ...]:
    """What each element shows and sets, without its id."""
    return tuple(
        (
            frozenset(inner.block for inner in child.walk() if inner.kind == "block"),
            frozenset(level.fields.items()),
        )
        for child, level in zip(node.children, factor.levels, strict=True)
    )


def _merged(draws: list[_Found]) -> list[Factor]:
    groups: list[list[_Found]] = []
    for one in draws:
        for group in groups:
            if _same_draw(group[0], one) and all(_exclusive(other, one) for other in group):
                group.append(one)
                break
        else:
            groups.append([one])
    return [factor for group in groups if len((factor := _union(group)).levels) > 1]


def _same_draw(a: _Found, b: _Found) -> bool:
    if a.factor.kind != b.factor.kind:
        return False
    if set(a.contents) == set(b.contents):
        return True
    return bool(a.factor.field) and a.factor.name == a.factor.field == b.factor.field == b.factor.name


def _exclusive(a: _Found, b: _Found) -> bool:
    """True if no respondent meets both: they stand below different elements of one draw, or in branches."""
    if any(b.above.get(key, value) != value for key, value in a.above.items()):
        return True
    branches = [{key for key in one.above if key.startswith("branch ")} for one in (a, b)]
    return bool(branches[0] and branches[1] and branches[0] != branches[1])


def _union(group: list[_Found]) -> Factor:
    """One factor of the draws; elements that set the same value, or show and set the same, are one level."""
    first = group[0].factor
    # Elements that all show the same differ in their order, which is worth knowing of people.
    alike = len({content for draw in group for content in draw.contents}) == 1
    levels: dict[object, Level] = {}
    for draw in group:
        for level, content in zip(draw.factor.levels, draw.contents, strict=True):
            key = (
                level.fields.get(first.field)
                if first.name == first.field
                else level.name
                if alike
                else content
            )
            known = levels.setdefault(key, level)
            if known is not level:
                elements = dict(known.elements)
                for randomizer, ids in level.elements.items():
                    elements[randomizer] = (*elements.get(randomizer, ()), *ids)
                levels[key] = dataclasses.replace(known, elements=elements)
    ids = tuple(dict.fromkeys(r for draw in group for r in draw.factor.randomizers))
    return dataclasses.replace(first, levels=tuple(levels.values()), randomizers=ids)


def _named(factors: list[Factor]) -> tuple[Factor, ...]:
    """Factors and levels with names that occur once."""
    taken: set[str] = set()
    named = []
    for factor in factors:
        name = factor.name if factor.name not in taken else f"{factor.name} {factor.randomizers[0]}"
        taken.add(name)
        names = [level.name for level in factor.levels]
        levels = tuple(
            level if names.count(level.name) == 1 and level.name else _with_id(level)
            for level in factor.levels
        )
        named.append(dataclasses.replace(factor, name=name, levels=levels))
    return tuple(named)


def _with_id(level: Level) -> Level:
    ids = next(iter(level.elements.values()), ("",))
    return dataclasses.replace(level, name=f"{level.name} {ids[0]}".strip())
