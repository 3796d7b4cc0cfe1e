"""Invented Qualtrics surveys and exports, built in code: small, with every trap of real ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path


def question(id_: str, tag: str, text: str, *, type_: str = "MC", selector: str = "SAVR", **payload) -> dict:
    return {
        "QuestionID": id_,
        "DataExportTag": tag,
        "QuestionText": text,
        "QuestionType": type_,
        "Selector": selector,
        **payload,
    }


def choices(*labels: str) -> dict:
    return {
        "Choices": {str(i): {"Display": label} for i, label in enumerate(labels, start=1)},
        "ChoiceOrder": list(range(1, len(labels) + 1)),
    }


def single(id_: str, tag: str, text: str, *labels: str, **payload) -> dict:
    return question(id_, tag, text, SubSelector="TX", **{**choices(*labels), **payload})


def matrix(
    id_: str, tag: str, text: str, *, rows: Mapping[str, str], answers: Sequence[str], **payload
) -> dict:
    return question(
        id_,
        tag,
        text,
        type_="Matrix",
        selector="Likert",
        SubSelector="SingleAnswer",
        Choices={key: {"Display": text} for key, text in rows.items()},
        ChoiceOrder=list(rows),
        Answers={str(i): {"Display": label} for i, label in enumerate(answers, start=1)},
        AnswerOrder=list(range(1, len(answers) + 1)),
        **payload,
    )


def text(id_: str, tag: str, words: str, **payload) -> dict:
    return question(id_, tag, words, type_="DB", selector="TB", **payload)


def block(id_: str, name: str, *questions: str, **options) -> dict:
    return {
        "ID": id_,
        "Description": name,
        "Type": "Standard",
        "BlockElements": [{"Type": "Question", "QuestionID": q} for q in questions],
        "Options": options,
    }


def show(flow_id: str, block_id: str) -> dict:
    return {"Type": "Standard", "FlowID": flow_id, "ID": block_id}


def fields(flow_id: str, **values: str | None) -> dict:
    listed = [
        {"Field": name, "Type": "Recipient"}
        if value is None
        else {"Field": name, "Type": "Custom", "Value": value}
        for name, value in values.items()
    ]
    return {"Type": "EmbeddedData", "FlowID": flow_id, "EmbeddedData": listed}


def randomizer(flow_id: str, *elements: dict, shown: int = 1) -> dict:
    return {"Type": "BlockRandomizer", "FlowID": flow_id, "SubSet": str(shown), "Flow": list(elements)}


def group(flow_id: str, name: str, *elements: dict) -> dict:
    return {"Type": "Group", "FlowID": flow_id, "Description": name, "Flow": list(elements)}


def branch(flow_id: str, field: str, value: str, *elements: dict, operator: str = "EqualTo") -> dict:
    return {
        "Type": "Branch",
        "FlowID": flow_id,
        "BranchLogic": logic(field, value, operator=operator),
        "Flow": list(elements),
    }


def logic(field: str, value: str, *, operator: str = "EqualTo") -> dict:
    condition = {
        "LogicType": "EmbeddedField",
        "LeftOperand": field,
        "Operator": operator,
        "RightOperand": value,
    }
    return {"0": {"0": condition, "Type": "If"}, "Type": "BooleanExpression"}


def survey(
    questions: Sequence[dict], blocks: Sequence[dict], flow: Sequence[dict], *, title: str = "Invented"
) -> dict:
    elements = [{"Element": "SQ", "PrimaryAttribute": q["QuestionID"], "Payload": q} for q in questions]
    elements.append({"Element": "BL", "Payload": list(blocks)})
    elements.append({"Element": "FL", "Payload": {"Type": "Root", "FlowID": "FL_1", "Flow": list(flow)}})
    return {"SurveyEntry": {"SurveyName": title, "SurveyLanguage": "EN"}, "SurveyElements": elements}


def column(name: str, import_id: str, choice: str = "", *, label: str = "") -> tuple[str, str, str]:
    cell = {"ImportId": import_id} | ({"choiceId": choice} if choice else {})
    return name, label or name, json.dumps(cell, separators=(",", ":"))


def write_deposit(
    folder: Path,
    survey_: dict,
    columns: Sequence[tuple[str, str, str]],
    rows: Sequence[Sequence[object]],
    *,
    header_rows: int = 3,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "survey.qsf").write_text(json.dumps(survey_), encoding="utf-8")
    with (folder / "response.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for row in list(zip(*columns, strict=True))[:header_rows]:
            writer.writerow(row)
        writer.writerows(rows)
    return folder


AGREEMENT = ("Strongly disagree", "Disagree", "Agree", "Strongly agree", "Don't know")


def two_arms(folder: Path, *, assigned: str = "split", export: str = "numeric") -> Path:
    """A deposit with a randomizer of two blocks, each a text and the same question after both.

    `assigned`: "split" or "joined" display order, or "none" (only a question within each block tells).
    """
    survey_ = survey(
        [
            text("QID1", "warm", "You read that <b>Kim</b> smiles.<script>alert(1)</script>"),
            text("QID2", "cold", "You read that <b>Kim</b> frowns."),
            single("QID3", "seen_warm", "Did Kim smile?", "Yes", "No"),
            single("QID4", "seen_cold", "Did Kim frown?", "Yes", "No"),
            single("QID5", "trust", "I trust Kim.", *AGREEMENT),
            single("QID6", "gender", "What is your gender?", "Man", "Woman", "Prefer not to say"),
        ],
        [block("BL_1", "Warm Kim", "QID1", "QID3"), block("BL_2", "Cold Kim", "QID2", "QID4"),
         block("BL_3", "Rating", "QID5", "QID6")],
        [randomizer("FL_7", show("FL_8", "BL_1"), show("FL_9", "BL_2")), show("FL_10", "BL_3")],
    )  # fmt: skip
    columns = [
        column("ResponseId", "_recordId"),
        column("Finished", "finished"),
        column("seen_warm", "QID3"),
        column("seen_cold", "QID4"),
        column("trust", "QID5"),
        column("gender", "QID6"),
    ]
    if assigned == "split":
        columns += [
            column("FL_7_DO_WarmKim", "FL_7_DO", "WarmKim"),
            column("FL_7_DO_ColdKim", "FL_7_DO", "ColdKim"),
        ]
    elif assigned == "joined":
        columns += [column("FL_7_DO", "FL_7_DO")]
    rows = []
    for i in range(12):
        warm = i % 2 == 0
        trust, gender = 1 + i % 5, 1 + i % 3
        cells = [str(trust), str(gender)]
        if export == "text":
            cells = [AGREEMENT[trust - 1], ("Man", "Woman", "Prefer not to say")[gender - 1]]
        yes = "1" if export == "numeric" else "Yes"
        row = [f"R_{i}", "1", yes if warm else "", "" if warm else yes, *cells]
        if assigned == "split":
            row += ["1" if warm else "", "" if warm else "1"]
        elif assigned == "joined":
            row.append("WarmKim" if warm else "ColdKim")
        rows.append(row)
    return write_deposit(folder, survey_, columns, rows)
