"""Reads a `.qsf`: JSON from a stranger, so sizes, depth and types are checked and nothing in it is run.

What is not understood is skipped and reported in the questionnaire's notes; a file that is no survey is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_pipelines.formats.qualtrics.logic import read_logic
from data_pipelines.formats.qualtrics.questionnaire import (
    Block,
    Field,
    FlowNode,
    Loop,
    Question,
    Questionnaire,
)
from data_pipelines.formats.qualtrics.questions import read_question
from data_pipelines.formats.qualtrics.text import plain_text
from socsci_jax.errors import InputError
from socsci_jax.reading import read_json
from socsci_jax.wording import counted

# The largest survey at hand has 0.8 MB and 300 questions.
MAX_BYTES = 64 * 2**20
MAX_QUESTIONS = 20_000
MAX_FLOW_ELEMENTS = 20_000
MAX_FLOW_DEPTH = 40
MAX_ITERATIONS = 2_000

_FLOW_KINDS = {
    "Root": "root",
    "Group": "group",
    "Block": "block",
    "Standard": "block",
    "BlockRandomizer": "randomizer",
    "Branch": "branch",
    "EmbeddedData": "fields",
    "EndSurvey": "end",
}
# Elements of the file that say nothing of what people read and answer.
_IGNORED = frozenset(
    {"NT", "PL", "PROJ", "QC", "RS", "SO", "STAT", "BR", "QN", "QO", "QG", "MT", "PR", "TR", "VE"}
)


def read_questionnaire(path: str | Path) -> Questionnaire:
    """The survey in a `.qsf` file.

    Raises InputError for a file that is too large, no JSON, or no survey.
    """
    path = Path(path)
    elements = _elements(path)
    notes: list[str] = []
    questions: dict[str, Question] = {}
    for element in elements.get("SQ", ()):
        question = read_question(element.get("Payload"), notes)
        if question is not None:
            questions.setdefault(question.id, question)
    blocks = {block.id: block for block in _blocks(elements.get("BL", ()))}
    flow = _flow(path, elements.get("FL", ()), notes)
    unknown = sorted(set(elements) - _IGNORED - {"SQ", "BL", "FL", "SCO", "entry"})
    if unknown:
        notes.append(f"{path.name}: elements of kind {', '.join(unknown)} were not read.")
    entry = elements["entry"][0]
    return Questionnaire(
        title=plain_text(_text(entry.get("SurveyName"))),
        language=_text(entry.get("SurveyLanguage")),
        questions=questions,
        blocks=blocks,
        flow=flow,
        scores=_scores(elements.get("SCO", ())),
        notes=tuple(notes),
    )


def _elements(path: Path) -> dict[str, list[dict]]:
    """The file's elements by kind; "entry" holds the survey's own record."""
    data = read_json(path, limit=MAX_BYTES, hint="export the survey again as QSF")
    listed = data.get("SurveyElements") if isinstance(data, dict) else None
    if isinstance(listed, dict):
        listed = list(listed.values())
    if not isinstance(listed, list):
        raise InputError(
            f"{path}: no Qualtrics survey (a JSON object with SurveyEntry and SurveyElements is needed); "
            "export the survey again as QSF."
        )
    if len(listed) > MAX_QUESTIONS:
        raise InputError(f"{path}: {counted(len(listed), 'element')}; at most {MAX_QUESTIONS} are read.")
    elements: dict[str, list[dict]] = {}
    for element in listed:
        if isinstance(element, dict):
            elements.setdefault(_text(element.get("Element")), []).append(element)
    entry = data.get("SurveyEntry")
    elements["entry"] = [entry if isinstance(entry, dict) else {}]
    if not elements.get("SQ"):
        raise InputError(f"{path}: the survey has no questions; export it again as QSF.")
    return elements


def _blocks(elements: Iterator[dict] | list[dict] | tuple) -> Iterator[Block]:
    for element in elements:
        payload = element.get("Payload")
        for part in _items(payload):
            if isinstance(part, dict) and _text(part.get("ID")):
                yield _block(part)


def _block(part: dict) -> Block:
    listed = _items(part.get("BlockElements"))
    questions = tuple(
        dict.fromkeys(
            _text(e.get("QuestionID")) for e in listed if isinstance(e, dict) and e.get("Type") == "Question"
        )
    )
    options = part.get("Options") if isinstance(part.get("Options"), dict) else {}
    mode = _text(options.get("RandomizeQuestions"))
    randomization = options.get("Randomization")
    randomization = randomization if isinstance(randomization, dict) else {}
    advanced = randomization.get("Advanced")
    advanced = advanced if isinstance(advanced, dict) else {}
    drawn: int | None = None
    pool: tuple[str, ...] = ()
    if mode == "RandomWithOnlyX":
        drawn = _count(advanced.get("TotalRandSubset") or randomization.get("TotalRandSubset"))
        pool = questions
    elif mode == "Advanced":
        pool = _listed(advanced.get("RandomSubSet"))
        drawn = _count(advanced.get("TotalRandSubset")) if pool else None
    if drawn is not None and not 0 < drawn < len(pool):
        drawn, pool = None, ()
    return Block(
        id=_text(part.get("ID")),
        name=plain_text(_text(part.get("Description"))),
        questions=questions,
        trash=part.get("Type") == "Trash",
        drawn=drawn,
        pool=pool if drawn is not None else (),
        hidden=_listed(advanced.get("Undisplayed")) if mode == "Advanced" else (),
        shuffled=mode in ("RandomWithXPerPage", "RandomWithOnlyX", "All", "true")
        or bool(mode == "Advanced" and _listed(advanced.get("RandomizeAll"))),
        loop=_loop(options),
    )


def _loop(options: dict) -> Loop | None:
    kind = _text(options.get("Looping"))
    details = options.get("LoopingOptions")
    if kind not in ("Static", "Question") or not isinstance(details, dict):
        return None
    static = details.get("Static")
    iterations = {
        str(key): {str(i): plain_text(_text(value)) for i, value in _pairs(fields)}
        for key, fields in _pairs(static)[:MAX_ITERATIONS]
    }
    # A draw of some iterations is written as {"Type"/"Randomization": "SubSet", "RandomSubSet"/"TotalRandSubset": n}.
    drawn = _count(details.get("TotalRandSubset") or details.get("RandomSubSet"))
    return Loop(
        iterations=iterations,
        question=_text(details.get("QID") or details.get("QuestionID")),
        random=drawn if drawn and drawn < len(iterations) else None,
    )


def _items(value: Any) -> list:
    """Elements of a list, or of an object whose keys are their numbers."""
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _pairs(fields: Any) -> list[tuple[Any, Any]]:
    if isinstance(fields, dict):
        return list(fields.items())
    return list(enumerate(fields, start=1)) if isinstance(fields, list) else []


def _flow(path: Path, elements: Any, notes: list[str]) -> FlowNode:
    payload = next((e.get("Payload") for e in elements if isinstance(e.get("Payload"), dict)), None)
    if payload is None:
        notes.append(f"{path.name}: the survey has no flow; who saw which block is not known.")
        return FlowNode(id="FL_1", kind="root", type="Root")
    left = [MAX_FLOW_ELEMENTS]
    return _flow_node(path, payload, depth=0, left=left)


def _flow_node(path: Path, part: dict, *, depth: int, left: list[int]) -> FlowNode:
    left[0] -= 1
    if depth > MAX_FLOW_DEPTH or left[0] < 0:
        raise InputError(
            f"{path}: the survey flow is nested deeper than {MAX_FLOW_DEPTH} or has more than "
            f"{MAX_FLOW_ELEMENTS} elements."
        )
    # A level may be named after it.
    own_id = _text(part.get("FlowID")) or f"element {MAX_FLOW_ELEMENTS - left[0]} of the flow"
    kind = _FLOW_KINDS.get(_text(part.get("Type")), "other")
    listed = _items(part.get("Flow"))
    children = tuple(
        _flow_node(path, child, depth=depth + 1, left=left) for child in listed if isinstance(child, dict)
    )
    shown = _count(part.get("SubSet"))
    return FlowNode(
        id=own_id,
        kind=kind,
        type=_text(part.get("Type")),
        name=plain_text(_text(part.get("Description"))),
        block=_text(part.get("ID")) if kind == "block" else "",
        # Without a number a randomizer shows all of its elements in random order.
        shown=(shown or len(children)) if kind == "randomizer" else 0,
        fields=_fields(part.get("EmbeddedData")) if kind == "fields" else (),
        logic=read_logic(part.get("BranchLogic")) if kind == "branch" else None,
        children=children,
    )


def _fields(listed: Any) -> tuple[Field, ...]:
    return tuple(
        Field(
            name=_text(part.get("Field")),
            value=_text(part["Value"])
            if part.get("Type") == "Custom" and part.get("Value") is not None
            else None,
        )
        for part in _items(listed)
        if isinstance(part, dict) and _text(part.get("Field"))
    )


def _scores(elements: Any) -> dict[str, str]:
    scores = {}
    for element in elements:
        payload = element.get("Payload")
        listed = payload.get("ScoringCategories") if isinstance(payload, dict) else None
        for part in listed if isinstance(listed, list) else ():
            if isinstance(part, dict):
                scores[_text(part.get("ID"))] = plain_text(_text(part.get("Name")))
    return scores


def _listed(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        value = list(value.values())
    return tuple(str(v) for v in value if isinstance(v, str | int)) if isinstance(value, list) else ()


def _count(value: Any) -> int | None:
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if 0 < number < 10**6 else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""
