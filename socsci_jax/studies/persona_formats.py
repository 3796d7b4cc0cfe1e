"""Formats of a persona: other ways to write the same attributes into a prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from socsci_jax.errors import InputError
from socsci_jax.studies.prompts import Layout

PersonaFormatName = Literal["list", "sentences", "first_person", "reversed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PersonaFormat:
    """A template of one attribute and what stands between two, where they differ from the layout's own; and their order."""

    attribute: str | None = None
    between: str | None = None
    reversed: bool = False

    def layout(self, layout: Layout) -> Layout:
        """The layout that writes personas in this format.

        Raises InputError for a layout that tells a persona in turns, where a template changes nothing.
        """
        if self.attribute is None or self.between is None:
            return layout
        if "{persona}" not in layout.shared + layout.own:
            raise InputError(
                f"layout {layout.name!r} tells a persona in turns of its own; of the persona formats only list and reversed "
                "apply to it."
            )
        return dataclasses.replace(layout, attribute=self.attribute, between=self.between)

    def persona(self, attributes: Mapping[str, str | None]) -> Mapping[str, str | None]:
        """The attributes in the order of this format."""
        return dict(list(attributes.items())[::-1]) if self.reversed else attributes


PERSONA_FORMATS: dict[PersonaFormatName, PersonaFormat] = {
    "list": PersonaFormat(),  # as the layout writes it
    "sentences": PersonaFormat(attribute="Their {words} is {value}.", between=" "),
    "first_person": PersonaFormat(attribute="My {words} is {value}.", between=" "),
    "reversed": PersonaFormat(reversed=True),
}
