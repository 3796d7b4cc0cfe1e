"""What a column of an export holds: its import id, or else its name, linked with the questionnaire.

Import ids name what authors cannot rename: `QID7`, `QID7_3` (row 3 of a matrix), `QID7_3_TEXT` (the text written
next to choice 3), `1_QID7` (first iteration of a loop), `QID4#1_2` (side by side), `FL_7_DO`, `BL_x_DO`, `QID7_DO`
(the order shown), `SC_x` (a score); anything else is a field of the survey program or of embedded data.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Literal

from data_pipelines.formats.qualtrics.questionnaire import ANSWERED_KINDS, Question, Questionnaire

Role = Literal["answer", "text", "timing", "meta", "order", "score", "field", "record", "unknown"]

# The survey program's own columns: import id -> the header of the first row.
RECORD = {
    "startDate": "StartDate",
    "endDate": "EndDate",
    "status": "Status",
    "ipAddress": "IPAddress",
    "progress": "Progress",
    "duration": "Duration (in seconds)",
    "finished": "Finished",
    "recordedDate": "RecordedDate",
    "_recordId": "ResponseId",
    "recipientLastName": "RecipientLastName",
    "recipientFirstName": "RecipientFirstName",
    "recipientEmail": "RecipientEmail",
    "externalDataReference": "ExternalReference",
    "locationLatitude": "LocationLatitude",
    "locationLongitude": "LocationLongitude",
    "distributionChannel": "DistributionChannel",
    "userLanguage": "UserLanguage",
}
_RECORD_HEADERS = {header.casefold(): key for key, header in RECORD.items()} | {
    "responseid": "_recordId",
    "ipaddress": "ipAddress",
    "v1": "_recordId",
}
_QUESTION = re.compile(r"(?:(?P<loop>x?\d+)_)?(?P<question>QID\d+(?:#\d+)?)(?:_(?P<rest>.+))?")
_ORDER = re.compile(r"(?:x?\d+_)?(?P<of>FL_\w+?|BL_\w+?|QID\d+)_DO")
_TIMING = frozenset({"FIRST_CLICK", "LAST_CLICK", "PAGE_SUBMIT", "CLICK_COUNT"})
_IMPORT_ID = re.compile(r"""["']?ImportId["']?\s*:\s*["'](?P<id>[^"']+)["']""")
_CHOICE_ID = re.compile(r"""["']?choiceId["']?\s*:\s*["'](?P<id>[^"']+)["']""")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column of an export.

    `name` is unique within the table; `header` is the cell of the first row, `label` that of the second.
    role "answer": `question`, and `row` (of a matrix, a slider, a form) and `choice` (of several that may be
    chosen) where it has them; `iteration` in a loop.  role "text": what was written next to `choice`.
    role "order": when `shown` (a block, question, choice or flow element; "" for all in one cell) of `order_of`
    was displayed.
    """

    name: str
    header: str
    label: str = ""
    role: Role = "unknown"
    import_id: str = ""
    question: str = ""
    row: str = ""
    choice: str = ""
    iteration: str = ""
    order_of: str = ""
    shown: str = ""


def parse_import_id(cell: str) -> tuple[str, str]:
    """(import id, choice id) of a cell of the third row; empty strings where it has none."""
    try:
        parsed = json.loads(cell)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict):
        return str(parsed.get("ImportId") or ""), str(parsed.get("choiceId") or "")
    # Spreadsheets and data frames rewrite the quotation marks.
    question, choice = _IMPORT_ID.search(cell), _CHOICE_ID.search(cell)
    return (question["id"] if question else "", choice["id"] if choice else "")


def link_by_id(column: Column, cell: str, survey: Questionnaire) -> Column:
    """The column with what its import id says."""
    import_id, choice = parse_import_id(cell)
    column = dataclasses.replace(column, import_id=import_id)
    if not import_id:
        return dataclasses.replace(column, role="field") if column.header else column
    if import_id in RECORD:
        return dataclasses.replace(column, role="record")
    if import_id.startswith("SC_"):
        return dataclasses.replace(column, role="score")
    if order := _ORDER.fullmatch(import_id):
        return dataclasses.replace(column, role="order", order_of=order["of"], shown=choice)
    asked = _QUESTION.fullmatch(import_id)
    if asked is None:
        return dataclasses.replace(column, role="field")
    question = _question(survey, asked["question"])
    if question is None:
        return column
    column = dataclasses.replace(column, question=question.id, iteration=asked["loop"] or "")
    return _with_rest(column, question, rest=asked["rest"] or "", choice=choice)


def _question(survey: Questionnaire, question_id: str) -> Question | None:
    bare, _, number = question_id.partition("#")
    question = survey.questions.get(bare)
    if question is None or not number:
        return question
    return next((part for part in question.columns if part.id == question_id), question)


def _with_rest(column: Column, question: Question, *, rest: str, choice: str) -> Column:
    if rest in _TIMING or question.kind == "timing":
        return dataclasses.replace(column, role="timing", row=rest)
    if question.kind in ("meta", "captcha", "text"):
        return dataclasses.replace(column, role="meta", row=rest)
    if rest.endswith("TEXT"):
        place = rest.removesuffix("TEXT").rstrip("_")
        if place and question.kind in ("matrix_entry", "form"):
            return dataclasses.replace(column, role="answer", row=place)
        role: Role = "answer" if question.kind == "entry" and not place else "text"
        return dataclasses.replace(column, role=role, choice=place)
    if "_" not in rest and (not rest or rest.isdigit() or rest in question.choice_by_id):
        chosen = (
            {"choice": rest or choice} if question.kind == "multiple" else {"row": rest, "choice": choice}
        )
        return dataclasses.replace(column, role="answer", **chosen)
    row, _, chosen_id = rest.partition("_")
    if (
        question.kind in ("matrix_multiple", "matrix_entry", "side_by_side", "rank", "other")
        and row.isdigit()
    ):
        return dataclasses.replace(column, role="answer", row=row, choice=chosen_id)
    # Groups of a score, topics of a text, names of files: made by the survey program from the answer.
    return dataclasses.replace(column, role="meta", row=rest)


def names_of(survey: Questionnaire) -> Mapping[str, tuple[Column, ...]]:
    """The columns that each name could mean, by its letters and digits: for exports without import ids."""
    columns_of: dict[str, list[Column]] = collections.defaultdict(list)
    iterations = {
        q: tuple(block.loop.iterations)
        for block in survey.blocks.values()
        if block.loop is not None
        for q in block.questions
    }
    for question_id in survey.shown_questions:
        question = survey.questions[question_id]
        for name, column in _named_columns(question):
            for iteration in iterations.get(question_id, ("",)):
                full = f"{iteration}_{name}" if iteration else name
                columns_of[key_of(full)].append(dataclasses.replace(column, iteration=iteration))
    return {name: tuple(columns) for name, columns in columns_of.items()}


def _named_columns(question: Question) -> list[tuple[str, Column]]:
    base = Column(name="", header="", question=question.id, role="answer")
    tag, named = question.tag, []
    if question.kind == "timing":
        parts = ("First Click", "Last Click", "Page Submit", "Click Count")
        return [(f"{tag}_{part}", dataclasses.replace(base, role="timing", row=part)) for part in parts]
    if question.kind not in ANSWERED_KINDS:
        return []
    if question.kind in ("single", "entry"):
        named.append((tag, base))
    elif question.kind == "multiple":
        named += [(f"{tag}_{c.id}", dataclasses.replace(base, choice=c.id)) for c in question.choices]
        named.append((tag, base))
    else:
        for position, row in enumerate(question.choices, start=1):
            place = dataclasses.replace(base, row=row.id)
            names = (
                row.tag or f"{tag}_{position}",
                f"{tag}_{row.id}",
                row.text if len(row.text) < 40 else "",
            )
            named += [(name, place) for name in dict.fromkeys(names) if name]
        if len(question.choices) == 1:
            named.append((tag, dataclasses.replace(base, row=question.choices[0].id)))
    for choice in question.choices:
        if choice.text_entry:
            text = dataclasses.replace(base, role="text", choice=choice.id)
            named.append((f"{tag}_{choice.id}_TEXT", text))
    return named


def link_by_name(column: Column, names: Mapping[str, tuple[Column, ...]]) -> tuple[Column, ...]:
    """What the column may be by its name: more than one where several questions share it."""
    if (record := _RECORD_HEADERS.get(column.header.strip().casefold())) is not None:
        return (dataclasses.replace(column, role="record", import_id=record),)
    if order := re.fullmatch(r"(FL_\w+?|BL_\w+?|.+?)_DO(?:_(?P<shown>.+))?", column.header.strip()):
        of = order[1] if order[1].startswith(("FL_", "BL_")) else ""
        return (dataclasses.replace(column, role="order", order_of=of, shown=order["shown"] or ""),)
    own = {"name": column.name, "header": column.header, "label": column.label, "import_id": column.import_id}
    meant = names.get(key_of(column.header), ())
    return tuple(dataclasses.replace(m, **own) for m in meant) or (dataclasses.replace(column, role="field"),)


def key_of(name: str) -> str:
    """Letters and digits of a column's name, lower case: R and spreadsheets change the rest."""
    return re.sub(r"[^0-9a-z]+", "_", name.casefold()).strip("_")
