"""What an export says of people: questions that ask for attributes, and fields of panel data."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

from data_pipelines.drafting.choice_scales import code_key, coding, scale_of_choices
from data_pipelines.drafting.demographics import QUANTITIES, age_or_birth, attribute_of_name
from data_pipelines.drafting.holes import UNEXPLAINED
from data_pipelines.formats.qualtrics.columns import Column, key_of
from data_pipelines.formats.qualtrics.export import Export
from data_pipelines.formats.qualtrics.questionnaire import UNANSWERED, Question
from socsci_jax.wording import counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftAttribute:
    """What is known of people: a column, and the texts of its codes (empty where cells are texts already).

    `told` says who decided what rules could not.
    """

    name: str
    column: str
    recode: Mapping[str, str]
    missing: tuple[str, ...]
    origin: str
    holes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def attribute_of_question(
    name: str, column: Column, question: Question, values: Mapping[str, int], survey_file: str
) -> DraftAttribute:
    """The attribute that a question tells, in the words of its choices."""
    origin = f"{survey_file}, {question.id}"
    unanswered = tuple(value for value in values if code_key(value) == UNANSWERED)
    if not question.choices or question.kind in ("entry", "slider"):
        return DraftAttribute(name=name, column=column.name, recode={}, missing=unanswered, origin=origin)
    coded = coding(values, question.choices)
    scale = scale_of_choices(question.choices)
    missing = tuple(scale.missing)
    recode = {} if coded.kind == "text" else {**scale.levels, **scale.alternatives}
    if coded.kind == "text":
        missing = tuple(c.text for c in question.choices if c.value in scale.missing)
    missing = tuple(dict.fromkeys((*missing, *unanswered)))
    holes: tuple[str, ...] = ()
    if coded.strange_count:
        holes = (
            f"{counted(coded.strange_count, 'cell is', 'cells are')} no choice of the survey file ({', '.join(coded.strange)})",
        )
    return DraftAttribute(
        name=name,
        column=column.name,
        recode=recode,
        missing=missing,
        origin=f"{origin}, choices",
        holes=holes,
    )


def attributes_of_fields(export: Export, *, of_survey: Collection[str]) -> Iterator[DraftAttribute]:
    """Attributes among panel data, whose codes no file of the deposit explains; fields `of_survey` are its own.

    The age of the person in a vignette is not that of who reads it.
    """
    own = {key_of(name) for name in of_survey}
    for column in export.columns:
        if column.role != "field" or (name := attribute_of_name(column.header)) is None:
            continue
        if key_of(column.import_id or column.header) in own:
            continue
        values = export.counts(column.name)
        if not values:
            continue
        coded = all(is_number(value) for value in values)
        name = age_or_birth(name, numbers_of(values))
        holes: tuple[str, ...] = ()
        if coded and name not in QUANTITIES:
            holes = (f"its codes ({', '.join(sorted(set(values))[:6])}, ...) {UNEXPLAINED}",)
        yield DraftAttribute(
            name=name,
            column=column.name,
            recode={},
            missing=(),
            origin=f"{export.path.name}, panel data",
            holes=holes,
        )


def numbers_of(values: Mapping[str, int]) -> list[float]:
    """The cells that are numbers, each as often as it occurs."""
    return [float(value) for value, count in values.items() if is_number(value) for _ in range(count)]


def is_number(text: str) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    return number == number and abs(number) < 1e300
