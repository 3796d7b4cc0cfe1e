"""One question of a `.qsf` as a `Question`: kinds, choices, recode values, bounds of numbers."""

from __future__ import annotations

from typing import Any

from data_pipelines.formats.qualtrics.logic import read_logic
from data_pipelines.formats.qualtrics.questionnaire import Choice, Question, QuestionKind
from data_pipelines.formats.qualtrics.text import media_in, plain_text

MAX_CHOICES = 5_000
_MULTIPLE = frozenset({"MAVR", "MAHR", "MACOL", "MSB"})
_KINDS: dict[str, QuestionKind] = {
    "DB": "text",
    "Timing": "timing",
    "Meta": "meta",
    "Captcha": "captcha",
    "Slider": "slider",
    "RO": "rank",
    "CS": "sum",
    "SBS": "side_by_side",
}
_CONTENT = {
    "ValidNumber": "number",
    "ValidEmail": "email",
    "ValidPhone": "phone",
    "ValidZip": "postcode",
    "ValidDate": "date",
    "ValidUSState": "state",
    "ValidTextOnly": "letters",
}
# What the editor writes before an author does.
PLACEHOLDER = "click to write"


def read_question(payload: Any, notes: list[str]) -> Question | None:
    """The question; None (and a note) where the payload has no id or no type."""
    if not isinstance(payload, dict) or not payload.get("QuestionID") or not payload.get("QuestionType"):
        notes.append("A question without id or type was excluded.")
        return None
    kind = _kind(payload, notes)
    configuration = payload.get("Configuration") if isinstance(payload.get("Configuration"), dict) else {}
    lo, hi, content = _bounds(payload, configuration, kind)
    markup = _string(payload.get("QuestionText"))
    is_matrix = kind in ("matrix", "matrix_multiple", "matrix_entry")
    graphics = ("image",) if _string(payload.get("Graphics")) else ()
    answers = _choices(payload.get("Answers"), payload.get("AnswerOrder"), payload, names=is_matrix)
    return Question(
        id=_string(payload["QuestionID"]),
        tag=_string(payload.get("DataExportTag")).strip(),
        kind=kind,
        type=_string(payload["QuestionType"]),
        selector=_string(payload.get("Selector")),
        text=plain_text(markup),
        choices=_choices(
            payload.get("Choices"),
            payload.get("ChoiceOrder"),
            payload,
            names=not is_matrix,
            tags=payload.get("ChoiceDataExportTags"),
        ),
        answers=answers,
        display=read_logic(payload.get("DisplayLogic")),
        random_choices=_randomized(payload.get("Randomization")),
        lo=lo,
        hi=hi,
        decimals=_integer(configuration.get("NumDecimals")) if kind == "slider" else 0,
        ends=_ends(payload.get("Labels")) if kind == "slider" else ("", ""),
        content=content,
        media=graphics + media_in(markup),
        scripted=bool(_string(payload.get("QuestionJS")).strip()),
        columns=_columns(payload, notes) if kind == "side_by_side" else (),
    )


def _kind(payload: dict, notes: list[str]) -> QuestionKind:
    type_, selector = _string(payload["QuestionType"]), _string(payload.get("Selector"))
    sub = _string(payload.get("SubSelector"))
    if type_ == "MC":
        return "multiple" if selector in _MULTIPLE else "single"
    if type_ == "TE":
        return "form" if selector == "FORM" else "entry"
    if type_ == "Matrix":
        if selector == "TE" or selector == "CS":
            return "matrix_entry"
        if sub == "MultipleAnswer" or selector == "MaxDiff":
            return "matrix_multiple"
        return "matrix" if selector in ("Likert", "Bipolar", "Profile") else "other"
    if type_ in _KINDS:
        return _KINDS[type_]
    notes.append(f"{_string(payload['QuestionID'])}: questions of type {type_} are not understood.")
    return "other"


def _choices(listed: Any, order: Any, payload: dict, *, names: bool, tags: Any = None) -> tuple[Choice, ...]:
    """Choices in the order of display; recode values and names belong to a matrix's columns, else to choices."""
    parts = _by_id(listed)
    if not parts:
        return ()
    shown = [str(i) for i in order if str(i) in parts] if isinstance(order, list) else []
    ids = list(dict.fromkeys([*shown, *(() if shown else parts)]))[:MAX_CHOICES]
    recoded = _by_id(payload.get("RecodeValues")) if names else {}
    named = _by_id(payload.get("VariableNaming")) if names else {}
    analyzed = _by_id(payload.get("AnalyzeChoices"))
    tagged = _by_id(tags)
    return tuple(
        Choice(
            id=key,
            text=plain_text(_display(parts[key])),
            value=_string(recoded.get(key)) or key,
            name=_named(named.get(key)),
            tag=_string(tagged.get(key)).strip(),
            text_entry=_is_on(parts[key], "TextEntry"),
            exclusive=_is_on(parts[key], "ExclusiveAnswer"),
            analyzed=_string(analyzed.get(key)).lower() != "no",
            media=_media(parts[key]),
        )
        for key in ids
    )


def _ends(labels: Any) -> tuple[str, str]:
    """The words at both ends of a slider: its first and its last label, where it has several."""
    shown = [plain_text(_display(part)) for part in _by_id(labels).values()]
    return (shown[0], shown[-1]) if len(shown) > 1 else ("", "")


def _by_id(listed: Any) -> dict[str, Any]:
    """Objects keyed by id; lists count from 1, as the editor does."""
    if isinstance(listed, dict):
        return {str(key): value for key, value in listed.items()}
    if isinstance(listed, list):
        return {str(i): value for i, value in enumerate(listed, start=1)}
    return {}


def _display(part: Any) -> str:
    return _string(part.get("Display")) if isinstance(part, dict) else _string(part)


def _named(value: Any) -> str:
    name = plain_text(_string(value))
    return "" if name.casefold().startswith(PLACEHOLDER) else name


def _media(part: Any) -> tuple[str, ...]:
    if not isinstance(part, dict):
        return ()
    image = part.get("Image")
    shown = ("image",) if isinstance(image, dict) and image.get("ImageLocation") else ()
    return shown + media_in(_display(part))


def _is_on(part: Any, key: str) -> bool:
    return isinstance(part, dict) and str(part.get(key, "")).lower() in ("true", "on", "1", "yes")


def _randomized(part: Any) -> bool:
    return isinstance(part, dict) and _string(part.get("Type")) not in ("", "None")


def _bounds(payload: dict, configuration: dict, kind: str) -> tuple[float | None, float | None, str]:
    if kind == "slider":
        if payload.get("Selector") == "STAR":
            return 0.0, _number(configuration.get("StarCount")), "number"
        return _number(configuration.get("CSSliderMin")), _number(configuration.get("CSSliderMax")), "number"
    validation = payload.get("Validation")
    settings = validation.get("Settings") if isinstance(validation, dict) else None
    if not isinstance(settings, dict) or settings.get("Type") != "ContentType":
        return None, None, ""
    content = _CONTENT.get(_string(settings.get("ContentType")), "")
    limits = settings.get("ValidNumber")
    if content != "number" or not isinstance(limits, dict):
        return None, None, content
    return _number(limits.get("Min")), _number(limits.get("Max")), content


def _columns(payload: dict, notes: list[str]) -> tuple[Question, ...]:
    """The questions that stand side by side, each with the rows that they share; ids such as `QID4#1`."""
    rows = {key: payload[key] for key in ("Choices", "ChoiceOrder", "ChoiceDataExportTags") if key in payload}
    read = (
        read_question({**part, **rows, "QuestionID": f"{payload['QuestionID']}#{key}"}, notes)
        for key, part in _by_id(payload.get("AdditionalQuestions")).items()
        if isinstance(part, dict) and part.get("QuestionType")
    )
    return tuple(question for question in read if question is not None)


def _number(value: Any) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if abs(number) < 1e15 else None


def _integer(value: Any) -> int:
    number = _number(value)
    return int(number) if number is not None and 0 <= number < 20 else 0


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""
