"""What of a specification does not fit its deposit: columns, texts and scales that are not there, all at once."""

from __future__ import annotations

from collections.abc import Iterator

from data_pipelines.specified.answers import scale_of
from data_pipelines.specified.deposit import Deposit
from data_pipelines.specified.rows import study_rows
from data_pipelines.specified.texts import parts_of
from socsci_jax.errors import InputError
from socsci_jax.studies.specification import Specification, Study
from socsci_jax.studies.specification_checks import texts
from socsci_jax.studies.specification_files import refusal


def check_deposit(specification: Specification, deposit: Deposit, *, where: str) -> None:
    """Raises InputError that lists every problem of every study."""
    several = len(specification.studies) > 1
    problems = [
        f"studies.{study_id}.{problem}" if several else problem
        for study_id, study in specification.studies.items()
        for problem in _problems(study, specification, deposit)
    ]
    if problems:
        raise refusal(where, list(dict.fromkeys(problems)))


def _problems(study: Study, specification: Specification, deposit: Deposit) -> Iterator[str]:
    try:
        study_rows(study, deposit)
    except InputError as error:
        yield f"data: {error}"
    for key, text in texts(study):
        for part in text:
            try:
                parts_of((part,), deposit)
            except InputError as error:
                yield f"{key}: {error}"
    for name, outcome in study.outcomes.items():
        for given in (outcome.scale, *(v.scale for v in outcome.variants if v.scale is not None)):
            try:
                scale_of(specification.scale(given), deposit)
            except (InputError, ValueError) as error:
                yield f"outcomes.{name}.scale: {error}"
