"""SubPOP (Suh et al. 2025): how groups of people answered questions of opinion surveys, as shares.

A group is a participant whose one attribute says who it is, and each of its answers has the share that gave it as
its weight.  There are no people in this deposit, so nothing can be said of how far one person answers like another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.archives.records import Record, record_files, records
from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.scale import is_answer
from socsci_jax.studies.schema import Item, Scale, is_weight
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.wording import counted

COLUMNS = ("qkey", "attribute", "group", "question", "options", "responses", "refusal_rate", "ordinal")
FORM = f"SubPOP has a record for each question and group, with {', '.join(COLUMNS)}"
# Shares were rounded somewhere.
_TOLERANCE = 1e-3
_WAVE = re.compile(r"_W(\d{1,3})$")
MOST_OPTIONS = 100


def build(source: Path, out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the store of SubPOP's JSON lines or Parquet files.

    A wave of the panel is a study, a question an outcome and an item.  Refusals have no place: shares are those among
    the others, and how many refused is in the notes.  A record whose numbers do not fit its options is rejected, and so is one of a group that answered the question before.
    Raises InputError for files that lack columns.
    """
    files = record_files(Path(source))
    distributions: list[tuple[Record, str]] = []
    builder = StoreBuilder(attributes=(), source="SubPOP", license="CC BY-NC-SA 4.0", command=command)
    for record in records(files, COLUMNS, builder, form=FORM):
        if problem := _problem(record.fields):
            builder.reject(
                "response", place=record.place, reason=problem, record={"qkey": record.fields["qkey"]}
            )
        else:
            distributions.append((record, _attribute_name(record.fields["attribute"])))
    if not distributions:
        raise InputError(f"{source}: not one record could be read; {FORM}.")
    builder.attributes = tuple(dict.fromkeys(name for _, name in distributions))
    known: set[tuple[str, str]] = set()
    refused: list[float] = []
    for record, attribute in distributions:
        problem = _add(builder, record, attribute, known)
        if problem is None:
            refused.append(float(record.fields["refusal_rate"]))
        else:
            builder.reject(
                "response", place=record.place, reason=problem, record={"qkey": record.fields["qkey"]}
            )
    builder.notes.append(
        f"{counted(len(refused), 'distribution')} of groups; on average {sum(refused) / len(refused):.1%} refused to answer, and "
        "the shares are those of the others. How many people stand behind a share is not told."
    )
    return builder.write(out, replace=replace)


def _problem(fields: dict) -> str | None:
    """Why a record's numbers do not fit its options; None if they do."""
    options, shares, ordinal = fields["options"], fields["responses"], fields["ordinal"]
    if not all(
        isinstance(fields[name], str) and fields[name].strip()
        for name in ("qkey", "attribute", "group", "question")
    ):
        return "qkey, attribute, group and question must be texts"
    if not all(isinstance(values, list) for values in (options, shares, ordinal)):
        return "options, responses and ordinal must be lists"
    if (
        not all(isinstance(option, str) and option.strip() for option in options)
        or len(options) > MOST_OPTIONS
    ):
        return "options must be texts"
    if len({" ".join(option.split()) for option in options}) < len(options):
        return "two options have one label"
    if not _are_numbers((*shares, *ordinal, fields["refusal_rate"])):
        return "responses, ordinal and refusal_rate must be numbers"
    if not all(map(is_answer, ordinal)):
        return "ordinal must be numbers of at most 15 digits"
    if not len(shares) == len(ordinal) == len(options) - 1 >= 2:
        return f"{counted(len(options), 'option')}, {counted(len(shares), 'response')}, {len(ordinal)} ordinal; the last option is the refusal"
    if min(shares) < 0 or abs(sum(shares) - 1) > _TOLERANCE:
        return f"responses sum to {sum(shares):.4g}; shares of 1 are needed"
    if not 0 <= fields["refusal_rate"] <= 1:
        return f"refusal_rate is {fields['refusal_rate']:.4g}; a share is needed"
    return None


def _are_numbers(values: Sequence[object]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)


def _attribute_name(attribute: str) -> str:
    """The attribute's name as prompts write it: POLPARTY is "polparty", all people are "everybody"."""
    return re.sub(r"\W+", "_", attribute.strip()).strip("_").casefold() or "group"


def _add(builder: StoreBuilder, record: Record, attribute: str, known: set[tuple[str, str]]) -> str | None:
    """Adds a group's shares unless `known` holds them, item and group; returns why they are excluded."""
    fields = record.fields
    wave = _WAVE.search(fields["qkey"])
    study = f"wave_{wave[1]}" if wave else Path(record.place.split(":")[0]).stem
    scale = _scale(fields["options"][:-1], fields["ordinal"])
    item = Item(
        study_id=study,
        condition="all",
        outcome=fields["qkey"],
        stimulus="",
        question=f"{' '.join(fields['question'].split())}\n",
        answer_format=answer_format(scale),
        scale=scale,
    )
    group = f"{attribute}: {fields['group']}"
    try:
        item_id = builder.add_item(item)
    except InputError:
        return "the question was there before with another scale"
    if (item_id, group) in known:
        return "the group's answers to this question were there before"
    known.add((item_id, group))
    builder.add_study(study, title=f"American Trends Panel, wave {wave[1]}" if wave else study)
    builder.add_participant(study, group, {attribute: fields["group"]})
    row = int(record.place.rsplit(":", 1)[1])
    for level, share in zip(_levels(fields["ordinal"]), fields["responses"], strict=True):
        weight = share if is_weight(share) else 0.0  # what rounding left of a share of nothing
        builder.add_response(item_id, group, level, sample_id=row, weight=weight, place=record.place)
    return None


def _levels(ordinal: Sequence[float]) -> Sequence[float]:
    """The options' places in their order; numbered as they stand where the file gives two of them one place."""
    return ordinal if len(set(ordinal)) == len(ordinal) else range(1, len(ordinal) + 1)


def _scale(options: Sequence[str], ordinal: Sequence[float]) -> Scale:
    levels = dict(zip(_levels(ordinal), (" ".join(option.split()) for option in options), strict=True))
    return Scale.of_levels(levels, origin="codebook", nominal=len(set(ordinal)) < len(ordinal))
