"""The built-in prompt layouts, and how one is named in a recipe or on the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from socsci_jax.errors import InputError
from socsci_jax.reading import read_json
from socsci_jax.studies.prompts import Alternatives, Layout, Turn

# The system message of the published models (SocSci210 / Socrates).
SYSTEM = (
    "You are simulating a survey respondent. Answer exactly as instructed, following the specified response "
    "format without additional commentary."
)


CODING_SYSTEM = (
    "You are coding documents by a codebook. Answer exactly as instructed, following the specified response "
    "format without additional commentary."
)


# The published prompt of SocSci210 and the Socrates models, verbatim.
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


# The persona as an interview that went before: a turn for each attribute that is known.
INTERVIEW = Layout(
    name="interview",
    shared_by="persona",
    system=SYSTEM,
    turns=(Turn(user="{name}?", assistant="{value}"),),
    shared=(
        "Read the question below and answer it as the person you are. "
        "Follow the response instructions precisely.\n\n"
    ),
    own="{stimulus}{question}{answer_format}",
)


LAYOUTS = {layout.name: layout for layout in (PERSONA_FIRST, STUDY_FIRST, CODEBOOK_FIRST, INTERVIEW)}


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
