"""OpinionQA (Santurkar et al. 2023): waves of the American Trends Panel, people with survey weights.

Each wave is a folder `American_Trends_Panel_Wnn` with `responses.csv` (a person a row, answers in words),
`info.csv` (the questions and their options) and `metadata.csv` (which columns tell of people).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import polars as pl

from data_pipelines.formats.tables import Table, read_table
from socsci_jax.errors import InputError
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.scale import MAX_LEVELS, is_answer
from socsci_jax.studies.schema import Item, Scale, is_weight
from socsci_jax.studies.specification import SourceFile
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.wording import counted

FILES = {
    "responses.csv": ("QKEY",),
    "info.csv": ("key", "question", "references", "option_ordinal"),
    "metadata.csv": ("key", "options"),
}
_REFUSED = re.compile(r"\s*(?:refused|no answer|skipped|web blank)\s*", re.IGNORECASE)
_LONGEST_LIST = 100_000
# What a row of each file that cannot be read would have been.
_ROW_OF = {"responses.csv": "participant", "info.csv": "outcome", "metadata.csv": "attribute"}


def build(source: Path, out: Path, *, command: str, replace: bool = False) -> StudyStore:
    """Writes the store of one wave's folder, or of a folder of waves.

    A wave is a study, a question an outcome.  Refusals are missing; an option without a place in the order
    (`option_ordinal`) is an alternative.  People are numbered, so that the panel's ids do not enter the store.
    Raises InputError that lists every file and column that is missing.
    """
    waves = _waves(Path(source))
    tables = {wave: {name: _table(wave / name) for name in FILES} for wave in waves}
    problems = [problem for wave in waves for problem in _problems(wave, tables[wave])]
    if problems:
        raise InputError(
            f"{source}: {counted(len(problems), 'problem')}:\n" + "\n".join(f"  {p}" for p in problems)
        )
    attributes = tuple(
        dict.fromkeys(key for wave in waves for key in tables[wave]["metadata.csv"].frame["key"].drop_nulls())
    )
    builder = StoreBuilder(
        attributes=tuple(dict.fromkeys(name.casefold() for name in attributes)),
        source="OpinionQA, American Trends Panel of the Pew Research Center",
        license="not stated",
        command=command,
    )
    for wave in waves:
        _add_wave(builder, wave, tables[wave])
    return builder.write(out, replace=replace)


def _waves(source: Path) -> list[Path]:
    if (source / "info.csv").exists() or (source / "responses.csv").exists():
        return [source]
    waves = sorted(
        {path.parent for path in source.rglob("responses.csv")} | {p.parent for p in source.rglob("info.csv")}
    )
    if not waves:
        raise InputError(
            f"{source}: no folder with {', '.join(FILES)} here; give human_resp, or one American_Trends_Panel_Wnn of it."
        )
    return waves


def _table(path: Path) -> Table | None:
    return read_table(path, SourceFile(path=path.name, format="csv", empty=("",))) if path.is_file() else None


def _problems(wave: Path, tables: dict[str, Table | None]) -> list[str]:
    problems = []
    for name, needed in FILES.items():
        table = tables[name]
        if table is None:
            problems.append(f"{wave.name}/{name}: file not found")
            continue
        absent = [column for column in needed if column not in table.frame.columns]
        if absent:
            problems.append(f"{wave.name}/{name}: missing columns {', '.join(absent)}")
    return problems


def _add_wave(builder: StoreBuilder, wave: Path, tables: dict[str, Table]) -> None:
    people, rows = tables["responses.csv"].frame, tables["responses.csv"].numbers.to_list()
    for name, table in tables.items():
        builder.notes.extend(f"{wave.name}/{note}" for note in table.notes)
        for row, why in table.misfits:
            builder.reject(_ROW_OF[name], place=f"{wave.name}/{name}, row {row}", reason=why)
    number = re.search(r"W(\d+)$", wave.name)
    study = f"wave_{number[1]}" if number else wave.name
    builder.add_study(study, title=f"American Trends Panel, wave {number[1]}" if number else wave.name)
    keys = tables["metadata.csv"].frame["key"].drop_nulls()
    known: dict[str, list[str | None]] = {}
    for key in keys:
        if key.casefold() in known:
            builder.reject("attribute", place=f"{wave.name}/metadata.csv, {key}", reason="was there before")
        elif key in people.columns:
            known[key.casefold()] = people[key].to_list()
        else:
            reason = "responses.csv has no such column"
            builder.reject("attribute", place=f"{wave.name}/metadata.csv, {key}", reason=reason)
    weights = _weights(people, wave, builder)
    for place, row in enumerate(rows):
        told = {
            name: None if (text := cells[place]) is None or _REFUSED.fullmatch(text) else text
            for name, cells in known.items()
        }
        builder.add_participant(study, str(row), told, weight=weights[place])
    asked: set[str] = set()
    for question in tables["info.csv"].frame.iter_rows(named=True):
        key = question["key"]
        if key in asked:
            place = f"{wave.name}/info.csv, {key}"
            builder.reject("outcome", place=place, reason="the key was there before; its first row counts")
            continue
        asked.add(key)
        _add_question(builder, study, wave, people, rows, question)


def _weights(people: pl.DataFrame, wave: Path, builder: StoreBuilder) -> list[float | None]:
    columns = [name for name in people.columns if re.fullmatch(r"WEIGHT(?:_W\d+)?", name)]
    if len(columns) != 1:
        builder.notes.append(
            f"{wave.name}: {counted(len(columns), 'column')} of weights (WEIGHT_Wnn), so people count alike."
        )
        return [None] * people.height
    numbers = people[columns[0]].cast(pl.Float64, strict=False)
    weights = [None if n is None or not is_weight(n) else n for n in numbers.to_list()]
    if without := weights.count(None):
        builder.notes.append(
            f"{wave.name}: {counted(without, 'person has', 'people have')} no weight in {columns[0]}."
        )
    return weights


def _add_question(
    builder: StoreBuilder,
    study: str,
    wave: Path,
    people: pl.DataFrame,
    rows: list[int],
    question: dict[str, str | None],
) -> None:
    """Adds an outcome with its answers; `rows` are the places of `people` in their file."""
    key, words = question["key"], question["question"]
    place = f"{wave.name}/info.csv, {key}"
    levels = _levels(question)
    if key is None or not words or isinstance(levels, str):
        builder.reject(
            "outcome", place=place, reason=levels if isinstance(levels, str) else "no key or no question"
        )
        return
    if key not in people.columns:
        builder.reject("outcome", place=place, reason="responses.csv has no such column")
        return
    places, alternatives = levels
    scale = Scale.of_levels(
        {code: label for label, code in places.items()},
        origin="codebook",
        alternatives={code: label for label, code in alternatives.items()},
    )
    item = Item(
        study_id=study,
        condition="all",
        outcome=key,
        stimulus="",
        question=f"{' '.join(words.split())}\n",
        answer_format=answer_format(scale),
        scale=scale,
    )
    item_id = builder.add_item(item)
    codes = places | alternatives
    for row, answer in zip(rows, people[key].to_list(), strict=True):
        cell = None if answer is None else " ".join(answer.split())
        if cell in codes:
            builder.add_response(item_id, str(row), codes[cell], sample_id=row)
        elif cell is not None:
            reason = "refused" if _REFUSED.fullmatch(cell) else "answer is none of the options"
            builder.reject(
                "response",
                place=f"{wave.name}/responses.csv, row {row}",
                reason=reason,
                record={"key": key, "cell": cell[:80]},
            )


def _levels(question: dict[str, str | None]) -> tuple[dict[str, float], dict[str, float]] | str:
    """Option -> code on the scale, and the options that are outside its order; or why they cannot be told."""
    options = _listed(question["references"])
    ordinal = _listed(question["option_ordinal"])
    if options is None or ordinal is None:
        return "references or option_ordinal is no list"
    if not all(isinstance(option, str) and option.strip() for option in options):
        return "references holds an option that is no text"
    labels = [" ".join(option.split()) for option in options]
    kept = [label for label in labels if not _REFUSED.fullmatch(label)]
    if len(set(kept)) < len(kept) or not kept:
        return "two options have one label, or there is none"
    if len(kept) > MAX_LEVELS:
        return f"{len(kept):,} options; a scale has at most {MAX_LEVELS:,}"
    numbers = [float(n) for n in ordinal if is_answer(n)]
    if (
        len(numbers) != len(ordinal)
        or len(set(numbers)) != len(numbers)
        or not 2 <= len(numbers) <= len(kept)
    ):
        return f"{counted(len(kept), 'option')} and {counted(len(ordinal), 'place')} in their order do not go together"
    # Options outside the order stand at the end.
    beside = kept[len(numbers) :]
    first = max(numbers) + 1
    return dict(zip(kept, numbers, strict=False)), {label: first + i for i, label in enumerate(beside)}


def _listed(text: str | None) -> list | None:
    """The list that a text such as "['A lot', 'A little']" is; None for anything else.  Literals alone are read."""
    if text is None or len(text) > _LONGEST_LIST:
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list) else None
