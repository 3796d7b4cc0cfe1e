"""Prompt layouts: in which order a prompt is written, and which part of it many prompts share.

A layout is data.  Prompts are built from an allow-list of fields, so that nothing that was generated from an
answer (SocSci210's `reasoning`) can ever reach one.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import string
from collections.abc import Mapping
from typing import Any, Literal, get_args

from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import alternatives_sentence
from socsci_jax.studies.scale import Number, Scale
from socsci_jax.studies.schema import Item
from socsci_jax.wording import kind_of

ITEM_FIELDS = ("stimulus", "question", "answer_format")
FIELDS = ("persona", *ITEM_FIELDS)
Alternatives = Literal["offered", "withheld"]


def _fields(template: str) -> list[str]:
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise InputError(
            f"layout template {template[:40]!r}: {error}; write {{{{ for a plain brace."
        ) from error
    if any(width or conversion for _, _, width, conversion in parsed):
        raise InputError(
            f"layout template {template[:40]!r}: a field is a name alone, without : or ! after it."
        )
    return [name for _, name, _, _ in parsed if name is not None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turn:
    """An earlier question of a conversation and the answer to it: two templates.

    A turn that names {value} (and {name}) is repeated for each known attribute: the persona as an interview.
    """

    user: str
    assistant: str

    def fields(self) -> set[str]:
        return {*_fields(self.user), *_fields(self.assistant)}

    @property
    def of_attribute(self) -> bool:
        return "value" in self.fields()

    def texts(self, values: Mapping[str, str]) -> tuple[str, str]:
        """Question and answer, without white space around them: some chat templates trim it, others do not."""
        return self.user.format_map(values).strip(), self.assistant.format_map(values).strip()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A conversation: a system text, earlier `turns`, and a user text in two named parts.

    `shared` is the prefix of a prompt tree, `own` continues it in a branch; the user text is `shared + own`.
    `shared_by` says what all prompts of one tree have in common, the item or the persona; `turns` and `shared` may
    name only fields of that.  `attribute` is the template of one known
    attribute in {persona}, with {name} as a title and {words} as within a sentence; `between` stands between two attributes,
    by default the end of a line.  `alternatives` says whether a scale's alternatives
    ("don't know") are offered: named after the answer format, and answers that a model may give.  `attributes` names
    those that a persona lists, with commas between them ("interview", or "age, gender"); empty lists all that are known.
    """

    name: str
    shared_by: Literal["item", "persona"]
    system: str
    shared: str
    own: str
    attribute: str = "- {name}: {value}"
    alternatives: Alternatives = "withheld"
    attributes: str = ""
    between: str = "\n"
    turns: tuple[Turn, ...] = ()

    def __post_init__(self) -> None:
        named = {part: set(_fields(getattr(self, part))) for part in ("shared", "own")}
        for number, turn in enumerate(self.turns, start=1):
            if turn.of_attribute and turn.fields() <= {"name", "value"}:
                named[f"turn {number}"] = {"persona"}
            else:
                named[f"turn {number}"] = turn.fields()
        for part, fields in named.items():
            forbidden = fields - set(FIELDS)
            if forbidden:
                raise InputError(
                    f"layout {self.name!r}: field {{{sorted(forbidden)[0]}}} in part {part!r} is not allowed; "
                    f"a prompt is built from {', '.join(FIELDS)} only."
                )
        common = {"persona"} if self.shared_by == "persona" else set(ITEM_FIELDS)
        for part, fields in named.items():
            if part != "own" and fields - common:
                raise InputError(
                    f"layout {self.name!r}: part {part!r} holds {{{sorted(fields - common)[0]}}}, which differs between "
                    f"the prompts that share one {self.shared_by}; move it to part 'own'."
                )
        absent = sorted(set(FIELDS).difference(*named.values()))
        if absent:
            raise InputError(f"layout {self.name!r}: field {{{absent[0]}}} appears in no part.")
        if self.alternatives not in get_args(Alternatives):
            raise InputError(
                f"layout {self.name!r}: alternatives is {self.alternatives!r}; allowed are "
                f"{' and '.join(get_args(Alternatives))}."
            )
        if not {"value"} <= set(_fields(self.attribute)) <= {"name", "words", "value"}:
            raise InputError(
                f"layout {self.name!r}: 'attribute' is {self.attribute!r}; it needs {{value}}, and may have {{name}} and "
                "{words} only."
            )

    def shared_text(
        self, *, item: Item | None = None, attributes: Mapping[str, str | None] | None = None
    ) -> str:
        """The prefix's text; needs the item or the attributes, whichever `shared_by` names."""
        return self.shared.format_map(self._values(item, attributes))

    def own_text(
        self, *, item: Item | None = None, attributes: Mapping[str, str | None] | None = None
    ) -> str:
        """The branch's text; needs what `shared_by` does not name (giving both is fine)."""
        return self.own.format_map(self._values(item, attributes))

    def earlier_texts(
        self, *, item: Item | None = None, attributes: Mapping[str, str | None] | None = None
    ) -> tuple[str, ...]:
        """The texts of the earlier turns, the user's and the assistant's by turns; needs what `shared_by` names."""
        values = self._values(item, attributes) if self.turns else {}
        listed = {} if attributes is None else self._listed(attributes)
        known = [(_title(n), v) for n, v in listed.items() if v is not None]
        texts: list[str] = []
        for turn in self.turns:
            if turn.of_attribute:
                for name, value in known:
                    texts.extend(turn.texts({"name": name, "value": value}))
            else:
                texts.extend(turn.texts(values))
        return tuple(texts)

    def messages(self, *, item: Item, attributes: Mapping[str, str | None]) -> list[dict[str, str]]:
        """The whole conversation, as a chat template takes it."""
        earlier = self.earlier_texts(item=item, attributes=attributes)
        texts = [*earlier, self.prompt(item=item, attributes=attributes)]
        head = [{"role": "system", "content": self.system}] if self.system else []
        roles = itertools.cycle(("user", "assistant"))
        return head + [{"role": role, "content": text} for role, text in zip(roles, texts)]

    def prompt(self, *, item: Item, attributes: Mapping[str, str | None]) -> str:
        """The text of the last turn, the user's."""
        values = self._values(item, attributes)
        return self.shared.format_map(values) + self.own.format_map(values)

    def _values(self, item: Item | None, attributes: Mapping[str, str | None] | None) -> dict[str, str]:
        values = {} if item is None else {name: getattr(item, name) for name in ITEM_FIELDS}
        if item is not None and self.alternatives == "offered":
            values["answer_format"] += alternatives_sentence(item.scale)
        if attributes is not None:
            values["persona"] = persona_text(
                self._listed(attributes), attribute=self.attribute, between=self.between
            )
        return values

    def _listed(self, attributes: Mapping[str, str | None]) -> Mapping[str, str | None]:
        """The attributes that personas of this layout list."""
        names = [name.strip() for name in self.attributes.split(",") if name.strip()]
        for name in names:
            if name not in attributes:
                raise InputError(
                    f"layout {self.name!r}: attributes names {name!r}, which is none of people's; known are "
                    f"{', '.join(attributes) or 'none'}."
                )
        return {name: attributes[name] for name in names} if names else attributes

    def answers(self, scale: Scale) -> tuple[Number, ...]:
        """The answers that a prompt of this layout allows: the levels, then what is offered; none of an open number."""
        if scale.kind != "levels":
            return ()
        return scale.levels + (scale.alternatives if self.alternatives == "offered" else ())

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        tree = dataclasses.asdict(self)
        turns = [dataclasses.asdict(turn) for turn in self.turns]
        if self.between == "\n":
            del tree["between"]
        return {name: value for name, value in tree.items() if name != "turns"} | (
            {"turns": turns} if turns else {}
        )

    @classmethod
    def from_dict(cls, row: object, *, where: str = "layout") -> Layout:
        """Raises InputError for anything but a mapping of the fields of `Layout` to texts, and turns to a list of pairs."""
        known = {field.name: field.default for field in dataclasses.fields(cls)}
        if not isinstance(row, Mapping):
            raise InputError(f"{where}: a mapping of {', '.join(known)} is needed, found {kind_of(row)}.")
        for name in row:
            if name not in known:
                raise InputError(
                    f"{where}: key {str(name)[:40]!r} is not known; known are {', '.join(known)}."
                )
        for name, default in known.items():
            if default is dataclasses.MISSING and name not in row:
                raise InputError(f"{where}: key {name!r} is missing; needed are {', '.join(known)}.")
            if name in row and name != "turns" and not isinstance(row[name], str):
                raise InputError(f"{where}: {name} must be a text, found {kind_of(row[name])}.")
        if row["shared_by"] not in ("item", "persona"):
            raise InputError(
                f"{where}: shared_by is {row['shared_by'][:40]!r}, allowed are 'item' and 'persona'."
            )
        return cls(**{**row, "turns": _turns(row.get("turns", []), where=where)})


def _turns(rows: object, *, where: str) -> tuple[Turn, ...]:
    needed = {"user", "assistant"}
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and row.keys() == needed and all(isinstance(text, str) for text in row.values())
        for row in rows
    ):
        raise InputError(f"{where}: turns must be a list, each with the texts `user` and `assistant`.")
    return tuple(Turn(**row) for row in rows)


def _title(attribute: str) -> str:
    return attribute.replace("_", " ").title()


def persona_text(
    attributes: Mapping[str, str | None], *, attribute: str = Layout.attribute, between: str = "\n"
) -> str:
    """Each known attribute by the template `attribute`, "- Household Size: 4"; what is not known is excluded."""
    lines = [_line(attribute, name, value) for name, value in attributes.items() if value is not None]
    return between.join(lines) or "- Not known"


@functools.lru_cache(maxsize=1 << 14)
def _line(attribute: str, name: str, value: str) -> str:
    """One attribute; most people share theirs with many others."""
    return attribute.format(name=_title(name), words=name.replace("_", " "), value=value)
