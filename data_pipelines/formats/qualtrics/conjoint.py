"""Conjoint tables in an export: embedded data `K-task-profile-attribute`, as scripts of conjoint designers write them.

`K-1-3` names the attribute in row 3 of task 1, `K-1-2-3` its level in profile 2.  The prefix may be another letter.
"""

from __future__ import annotations

import dataclasses
import re

from data_pipelines.formats.qualtrics.export import Export

_LEVEL = re.compile(r"(?P<prefix>[A-Za-z]\w{0,19})-(?P<task>\d{1,3})-(?P<profile>\d{1,2})-(?P<row>\d{1,3})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conjoint:
    """The columns of a conjoint: names of attributes by (task, row), levels by (task, profile, row)."""

    prefix: str
    tasks: tuple[int, ...]
    profiles: tuple[int, ...]
    rows: tuple[int, ...]
    attributes: dict[tuple[int, int], str]
    levels: dict[tuple[int, int, int], str]

    @property
    def fields(self) -> set[str]:
        """The fields of embedded data that hold the conjoint."""
        return {self.attribute_field(t, r) for t, r in self.attributes} | {
            self.level_field(t, p, r) for t, p, r in self.levels
        }

    def attribute_field(self, task: int, row: int) -> str:
        return f"{self.prefix}-{task}-{row}"

    def level_field(self, task: int, profile: int, row: int) -> str:
        return f"{self.prefix}-{task}-{profile}-{row}"


def find_conjoint(export: Export) -> Conjoint | None:
    """The conjoint in an export, or None; its columns by name, each task with all profiles and rows."""
    named = {(column.import_id or column.header).strip(): column.name for column in export.columns}
    levels: dict[str, dict[tuple[int, int, int], str]] = {}
    for field, column in named.items():
        if match := _LEVEL.fullmatch(field):
            place = (int(match["task"]), int(match["profile"]), int(match["row"]))
            levels.setdefault(match["prefix"], {})[place] = column
    for prefix, own_levels in levels.items():
        tasks, profiles, rows = (tuple(sorted({place[i] for place in own_levels})) for i in range(3))
        attributes = {
            (task, row): named[f"{prefix}-{task}-{row}"]
            for task in tasks
            for row in rows
            if f"{prefix}-{task}-{row}" in named
        }
        whole = len(own_levels) == len(tasks) * len(profiles) * len(rows)
        if whole and len(profiles) > 1 and len(attributes) == len(tasks) * len(rows):
            return Conjoint(
                prefix=prefix,
                tasks=tasks,
                profiles=profiles,
                rows=rows,
                attributes=attributes,
                levels=own_levels,
            )
    return None
