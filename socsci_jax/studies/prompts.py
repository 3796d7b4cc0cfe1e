"""Prompt layouts: in which order a prompt is written, and which part of it many prompts share.

A layout is data.  Prompts are built from an allow-list of fields, so that nothing that was generated from an
answer (SocSci210's `reasoning`) can ever reach one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from socsci_jax.errors import InputError
from socsci_jax.reading import kind_of, read_json
from socsci_jax.studies.answer_formats import alternatives_sentence
from socsci_jax.studies.scale import Number, Scale
from socsci_jax.studies.schema import Item

ITEM_FIELDS = ("stimulus", "question", "answer_format")
FIELDS = ("persona", *ITEM_FIELDS)
Alternatives = Literal["offered", "withheld"]

# The system message of the published models (SocSci210 / Socrates).
SYSTEM = (
    "You are simulating a survey respondent. Answer exactly as instructed, following the specified response "
    "format without additional commentary."
)

CODING_SYSTEM = (
    "You are coding documents by a codebook. Answer exactly as instructed, following the specified response "
    "format without additional commentary."
)


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
class Layout:
    """A template in two named parts: `shared` is the prefix of a prompt tree, `own` continues it in a branch.

    `shared_by` says what all prompts of one tree have in common, the item or the persona; `shared` may name
    only fields of that.  The user text of a prompt is `shared + own`.  `attribute` is the template of one known
    attribute in {persona}; attributes stand below each other.  `alternatives` says whether a scale's alternatives
    ("don't know") are offered: named after the answer format, and answers that a model may give.
    """

    name: str
    shared_by: Literal["item", "persona"]
    system: str
    shared: str
    own: str
    attribute: str = "- {name}: {value}"
    alternatives: Alternatives = "withheld"

    def __post_init__(self) -> None:
        named = {part: set(_fields(getattr(self, part))) for part in ("shared", "own")}
        for part, fields in named.items():
            forbidden = fields - set(FIELDS)
            if forbidden:
                raise InputError(
                    f"layout {self.name!r}: field {{{sorted(forbidden)[0]}}} in part {part!r} is not allowed; "
                    f"a prompt is built from {', '.join(FIELDS)} only."
                )
        common = {"persona"} if self.shared_by == "persona" else set(ITEM_FIELDS)
        stray = named["shared"] - common
        if stray:
            raise InputError(
                f"layout {self.name!r}: part 'shared' holds {{{sorted(stray)[0]}}}, which differs between the "
                f"prompts that share one {self.shared_by}; move it to part 'own'."
            )
        if named["shared"] | named["own"] != set(FIELDS):
            absent = sorted(set(FIELDS) - named["shared"] - named["own"])
            raise InputError(f"layout {self.name!r}: field {{{absent[0]}}} appears in neither part.")
        if self.alternatives not in get_args(Alternatives):
            raise InputError(
                f"layout {self.name!r}: alternatives is {self.alternatives!r}; allowed are "
                f"{' and '.join(get_args(Alternatives))}."
            )
        if not {"value"} <= set(_fields(self.attribute)) <= {"name", "value"}:
            raise InputError(
                f"layout {self.name!r}: 'attribute' is {self.attribute!r}; it needs {{value}}, and may have {{name}} only."
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

    def prompt(self, *, item: Item, attributes: Mapping[str, str | None]) -> str:
        """The whole user text."""
        values = self._values(item, attributes)
        return self.shared.format_map(values) + self.own.format_map(values)

    def _values(self, item: Item | None, attributes: Mapping[str, str | None] | None) -> dict[str, str]:
        values = {} if item is None else {name: getattr(item, name) for name in ITEM_FIELDS}
        if item is not None and self.alternatives == "offered":
            values["answer_format"] += alternatives_sentence(item.scale)
        if attributes is not None:
            values["persona"] = persona_text(attributes, attribute=self.attribute)
        return values

    def answers(self, scale: Scale) -> tuple[Number, ...]:
        """The answers that a prompt of this layout allows: the levels, then what is offered; none of an open number."""
        if scale.kind != "levels":
            return ()
        return scale.levels + (scale.alternatives if self.alternatives == "offered" else ())

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, str]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, row: object, *, where: str = "layout") -> Layout:
        """Raises InputError for anything but a mapping of the fields of `Layout` to texts."""
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
            if name in row and not isinstance(row[name], str):
                raise InputError(f"{where}: {name} must be a text, found {kind_of(row[name])}.")
        if row["shared_by"] not in ("item", "persona"):
            raise InputError(
                f"{where}: shared_by is {row['shared_by'][:40]!r}, allowed are 'item' and 'persona'."
            )
        return cls(**row)


# The published prompt of SocSci210 and the Socrates models, letter for letter.
PERSONA_FIRST = Layout(
    name="persona_first",
    shared_by="persona",
    system=SYSTEM,
    shared=(
        "You are a survey respondent with the following demographic profile:\n{persona}\n\n"
        "Read the question below and answer exactly as this person would. "
        "Follow the response instructions precisely.\n\n"
    ),
    own="{stimulus}{question}{answer_format}",
)

# All people who read the same item share everything but their persona and one closing sentence.
STUDY_FIRST = Layout(
    name="study_first",
    shared_by="item",
    system=SYSTEM,
    shared=(
        "A survey respondent reads the text below and answers it.\n\n{stimulus}{question}{answer_format}\n\n"
        "This is the respondent's demographic profile:\n"
    ),
    own="{persona}\n\nAnswer exactly as this person would.",
)

# Text classification: all documents share the codebook.  A document is shown whole, with its own line breaks.
CODEBOOK_FIRST = Layout(
    name="codebook_first",
    shared_by="item",
    system=CODING_SYSTEM,
    shared=(
        "Read the codebook below, then the document, and code the document.\n\n"
        "{stimulus}{question}{answer_format}\n\n"
    ),
    own="{persona}\n\nCode this document exactly as the codebook says.",
    attribute="{name}: {value}",
)

LAYOUTS = {layout.name: layout for layout in (PERSONA_FIRST, STUDY_FIRST, CODEBOOK_FIRST)}


def load_layout(name_or_file: str | Path, *, alternatives: Alternatives | None = None) -> Layout:
    """A built-in layout by name, or one from a JSON file with the fields of `Layout`.

    `alternatives` replaces what the layout says of them.
    """
    layout = LAYOUTS.get(str(name_or_file)) or _layout_of_file(name_or_file)
    return layout if alternatives is None else dataclasses.replace(layout, alternatives=alternatives)


def _layout_of_file(name_or_file: str | Path) -> Layout:
    path = Path(name_or_file)
    if not path.is_file():
        raise InputError(
            f"layout {str(name_or_file)!r}: neither a built-in layout ({', '.join(LAYOUTS)}) nor a file."
        )
    return Layout.from_dict(read_json(path), where=str(path))


def persona_text(attributes: Mapping[str, str | None], *, attribute: str = PERSONA_FIRST.attribute) -> str:
    """Each known attribute by the template `attribute`, "- Household Size: 4"; what is not known is left out."""
    lines = [
        attribute.format(name=name.replace("_", " ").title(), value=value)
        for name, value in attributes.items()
        if value is not None
    ]
    return "\n".join(lines) or "- Not known"
