"""Reads, checks and writes `study.yaml`; every problem of a file is reported at once."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic_core import ErrorDetails

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.reading import read_text
from socsci_jax.studies.specification import Specification, Study
from socsci_jax.studies.specification_checks import problems
from socsci_jax.wording import counted
from socsci_jax.yaml_reading import parse_yaml

SHOWN_PROBLEMS = 100
TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".ods", ".sav", ".dta", ".rds", ".rdata", ".jsonl")
# What pydantic calls the branches of a value that may be written in two ways.
_BRANCHES = ("AnswerScale", "TextFrom", "constrained-str", "str")


def load_specification(path: str | Path) -> Specification:
    """Reads a specification and checks it without looking at data.

    Raises InputError that lists all problems, each with its key.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "study.yaml"
    if path.suffix.lower() in TABLES:
        raise InputError(
            f"{path}: this is a table, not a study.yaml; `socsci-jax data spec draft {path} -o study.yaml` proposes one."
        )
    text = read_text(path, limit=bounds.YAML_BYTES, hint="give a study.yaml, or the folder that holds it")
    return parse_specification(text, where=str(path))


def parse_specification(text: str, *, where: str) -> Specification:
    """The specification that a YAML text holds; `where` names it in errors."""
    tree = parse_yaml(text, where=where, texts=True)
    if not isinstance(tree, dict) or not tree:
        raise InputError(
            f"{where}: a specification is a mapping of keys such as study, files, factors, outcomes."
        )
    specification = specification_of(tree, where=where)
    if listed := list(problems(specification)):
        raise refusal(where, listed)
    return specification


def specification_of(tree: dict[str, Any], *, where: str) -> Specification:
    """The specification that a tree holds, be it complete or a draft; raises InputError for values that none may hold."""
    try:
        return Specification.model_validate(tree)
    except pydantic.ValidationError as error:
        listed = _structure_problems(error)
        if "study" in tree:
            listed = [problem.removeprefix(f"studies.{tree['study']}.") for problem in listed]
        raise refusal(where, listed) from None


def refusal(where: str, listed: list[str]) -> InputError:
    """One error that lists problems below each other."""
    count = counted(len(listed), "problem")
    shown = listed[:SHOWN_PROBLEMS]
    if len(listed) > SHOWN_PROBLEMS:
        shown = [*shown, f"... and {len(listed) - SHOWN_PROBLEMS} more"]
    return InputError(f"{where}: {count}:\n" + "\n".join(f"  {problem}" for problem in shown))


def render(specification: Specification) -> str:
    """The specification as YAML, with only what differs from the defaults; reading it gives an equal one."""
    tree = specification.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    if len(specification.studies) == 1:
        ((name, study),) = tree.pop("studies").items()
        tree = {"study": name, **tree, **study}
    # What a person completes stands first.
    tree |= {key: tree.pop(key) for key in ("unresolved", "provenance") if key in tree}
    return str(yaml.safe_dump(_short(tree), sort_keys=False, allow_unicode=True, width=110))


def json_schema() -> dict[str, Any]:
    """JSON Schema of `study.yaml` for editors: one study with the deposit's keys, or several under `studies`."""
    schema = Specification.model_json_schema()
    study = schema["$defs"]["Study"]["properties"]
    schema["properties"] = {
        "study": {
            "type": "string",
            "description": "Id of the only study; its keys stand next to the deposit's.",
        },
        **schema["properties"],
        **study,
    }
    schema["required"] = []
    schema["oneOf"] = [{"required": ["studies"]}, {"required": ["study", "outcomes"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "study.yaml"}


def _short(tree: object) -> object:
    """Drops the wrapping that reading adds: one-part texts, single codes, `is`, `path`; 1.0 is 1."""
    if isinstance(tree, float) and tree.is_integer():
        return int(tree)
    if isinstance(tree, dict):
        if set(tree) in ({"is"}, {"path"}):
            return _short(next(iter(tree.values())))
        return {key: _short(value) for key, value in tree.items()} | {
            key: _short(value[0])
            for key, value in tree.items()
            if key == "when" and isinstance(value, list) and len(value) == 1
        }
    if isinstance(tree, list):
        return _short(tree[0]) if len(tree) == 1 and isinstance(tree[0], str) else [_short(v) for v in tree]
    return tree


def _structure_problems(error: pydantic.ValidationError) -> list[str]:
    """pydantic's findings in our words, each with its key as the file has it."""
    errors = error.errors(include_url=False)
    # Where a value may be a mapping or a name, what is wrong within the mapping says more.
    inner = [problem for problem in errors if not _is_branch(problem["loc"][-1:])]
    return list(dict.fromkeys(map(_explain, inner or errors)))


def _is_branch(steps: tuple[int | str, ...]) -> bool:
    return any(
        isinstance(s, str) and (s in _BRANCHES or s.startswith(("tuple[", "function-"))) for s in steps
    )


def _explain(problem: ErrorDetails) -> str:
    steps = [step for step in problem["loc"] if not _is_branch((step,))]
    key = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).removeprefix(".")
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{key}: key is not known{_nearest(str(steps[-1]))}"
    if problem["type"] == "missing":
        return f"{key}: key is missing"
    value = problem["input"]
    shown = f" (found {value!r:.80})" if isinstance(value, str) else ""
    return f"{key or 'file'}: {message[0].lower()}{message[1:]}{shown}"


# Words that other tools have for ours, and that resemble a key that means something else.
_SYNONYMS = {"min": "lo", "minimum": "lo", "max": "hi", "maximum": "hi"}


def _nearest(key: str) -> str:
    known = {
        name for model in (Specification, Study, *_blocks()) for name in getattr(model, "model_fields", {})
    }
    meant = _SYNONYMS.get(key)
    near = [meant] if meant else difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _blocks() -> list[type]:
    from socsci_jax.studies import specification, specification_parts

    return [
        value
        for value in (*vars(specification).values(), *vars(specification_parts).values())
        if isinstance(value, type) and issubclass(value, pydantic.BaseModel)
    ]


def to_json(schema: dict[str, Any]) -> str:
    """The schema as a file's text."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
