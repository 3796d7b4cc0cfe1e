"""The stimulus texts of a study's arms against each other: one comparison a factor, the other factors held."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

from data_pipelines.review.differences import Run, differences, shortened
from socsci_jax.studies.schema import Item

MOST_CONDITIONS = 200
LONGEST_TEXT = 30_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedText:
    """A level's (or condition's) stimulus against the reference's."""

    name: str
    is_reference: bool
    people: int
    runs: list[Run]
    origin: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Levels of one factor, the other factors held at one level."""

    title: str
    held: str
    texts: list[ComparedText]


def comparisons_of(
    arms: Mapping[str, Item], people: Mapping[str, int], origins: Mapping[str, str]
) -> list[Comparison]:
    """One comparison a factor; of a study without factors, one of all its conditions."""
    factors = list(dict.fromkeys(f for item in arms.values() for f in item.factors))
    if len(factors) < 2:
        titles = f"Levels of {factors[0]}" if factors else "Conditions"
        return [_compared(titles, "", list(arms.items()), people, origins, factors[0] if factors else "")]
    comparisons = []
    for factor in factors:
        # The arms that share their other levels: the largest such group, the first of equals.
        groups = collections.defaultdict(list)
        for name, item in arms.items():
            groups[tuple((f, lv) for f, lv in item.factors.items() if f != factor)].append((name, item))
        rest, members = max(groups.items(), key=lambda group: len(group[1]))
        held = ", ".join(f"{f}: {level}" for f, level in rest)
        comparisons.append(_compared(f"Levels of {factor}", held, members, people, origins, factor))
    return comparisons


def _compared(
    title: str,
    held: str,
    members: list[tuple[str, Item]],
    people: Mapping[str, int],
    origins: Mapping[str, str],
    factor: str,
) -> Comparison:
    members = sorted(members, key=lambda member: (not member[1].is_control, member[0]))[:MOST_CONDITIONS]
    reference = members[0][1].stimulus.rstrip()[:LONGEST_TEXT]
    texts = []
    for place, (name, item) in enumerate(members):
        level = item.factors.get(factor, name)
        text = item.stimulus.rstrip()[:LONGEST_TEXT]
        runs = [Run("same", text)] if place == 0 else shortened(differences(reference, text))
        origin = origins.get(f"factors.{factor}.levels.{level}.text") or origins.get(
            f"conditions.{name}.text", ""
        )
        texts.append(
            ComparedText(
                name=level,
                is_reference=place == 0,
                people=people.get(name, 0),
                runs=runs,
                origin=origin or origins.get("stimulus", ""),
            )
        )
    return Comparison(title=title, held=held, texts=texts)
