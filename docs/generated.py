"""Reference pages that are made of the program itself when the site is built, so that they cannot say anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from sphinx.application import Sphinx

from socsci_jax.cli import app
from socsci_jax.training.recipe_files import json_schema

FOLDER = Path(__file__).parent / "reference"
RECIPES = Path(__file__).parent.parent / "recipes" / "README.md"


def setup(sphinx: Sphinx) -> dict[str, bool]:
    """Writes the pages before Sphinx reads any."""
    sphinx.connect("builder-inited", lambda _: write())
    sphinx.connect("source-read", _link_within_the_site)
    return {"parallel_read_safe": True}


def _link_within_the_site(_: Sphinx, __: str, source: list[str]) -> None:
    """Pages link to the list of recipes where it lies, so that they can be read without a build; the site has its own copy."""
    source[0] = re.sub(r"\]\((?:\.\./)+recipes/README\.md\)", "](/reference/recipes.md)", source[0])


def write() -> None:
    pages = {"commands.md": commands(), "recipe-keys.md": recipe_keys(), "recipes.md": recipes()}
    for name, text in pages.items():
        path = FOLDER / name
        if not path.is_file() or path.read_text() != text:  # what has not changed is not read again
            path.write_text(text)


def commands() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    lines = [
        "# Commands",
        "",
        "What `socsci-jax COMMAND --help` shows. [Exit statuses](../operations.md#exit-statuses).",
        "",
    ]
    for name, command in _commands(typer.main.get_command(app), "socsci-jax"):
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
        usage = " ".join(
            [name, *(p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments)]
        )
        lines += [
            f"## {name}",
            "",
            _text(command.help),
            "",
            "```text",
            usage + (" [OPTIONS]" if options else ""),
            "```",
            "",
        ]
        lines += _table(("argument", "meaning"), [(f"`{p.name.upper()}`", _text(p.help)) for p in arguments])
        lines += _table(
            ("option", "meaning"),
            [(", ".join(f"`{o}`" for o in (*p.opts, *p.secondary_opts)), _with_default(p)) for p in options],
        )
    return "\n".join(lines)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for sub, inner in command.commands.items():
        yield from _commands(inner, f"{name} {sub}")


def _with_default(option: Any) -> str:
    text = _text(option.help)
    if option.required:
        return f"{text} Required."
    if option.default in (None, False, "", ()) or callable(option.default):
        return text
    return f"{text} Default: `{option.default}`."


def recipes() -> str:
    """The list of recipes next to them, whose links lead to files that the site does not have."""
    return re.sub(r"\]\([\w./-]+\.yaml\)", "]", RECIPES.read_text()).replace("[`", "`").replace("`]", "`")


def recipe_keys() -> str:
    """Every key of a recipe: type, default, description."""
    schema = json_schema()
    lines = [
        "# Recipe keys",
        "",
        "A recipe is YAML; `extends: FILE` takes another one's keys. `socsci-jax recipe show FILE` prints one whole,",
        "`socsci-jax recipe schema` the JSON Schema with which editors complete and check keys.",
        "",
    ]
    blocks = {"": schema} | {
        f"{name}.": schema["$defs"][_block(key)] for name, key in schema["properties"].items() if _block(key)
    }
    for block, of in list(blocks.items()):
        nested = {
            f"{block}{n}.": schema["$defs"][_block(k)]
            for n, k in of["properties"].items()
            if block and _block(k)
        }
        blocks |= nested
    for prefix, block in sorted(blocks.items()):
        lines += [
            f"## `{prefix.rstrip('.')}`" if prefix else "## The recipe",
            "",
            _text(block.get("description")),
            "",
        ]
        rows = [
            (
                f"`{prefix}{name}`",
                _type(key, schema),
                "" if name == "extends" else _default(key),
                _text(key.get("description")),
            )
            for name, key in block["properties"].items()
            if not _block(key)
        ]
        lines += _table(("key", "type", "default", "meaning"), rows)
    return "\n".join(lines)


def _block(key: dict[str, Any]) -> str | None:
    for option in (key, *key.get("anyOf", ())):
        if "$ref" in option:
            return str(option["$ref"]).rpartition("/")[2]
    return None


def _type(key: dict[str, Any], schema: dict[str, Any]) -> str:
    if "anyOf" in key:
        return " or ".join(_type(option, schema) for option in key["anyOf"] if option.get("type") != "null")
    if "enum" in key:
        return ", ".join(f"`{value}`" for value in key["enum"])
    if "const" in key:
        return f"`{key['const']}`"
    if key.get("type") == "array":
        return "list"
    low = key.get("minimum", key.get("exclusiveMinimum"))
    high = key.get("maximum", key.get("exclusiveMaximum"))
    shown = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true`, `false`"}[
        key["type"]
    ]
    if low is None or key["type"] == "string":
        return shown
    more = "more than" if "exclusiveMinimum" in key else "at least"
    if high is None or high >= 2**31 - 1:
        return f"{shown}, {more} {low:g}"
    return f"{shown}, {low:g} to {high:g}"


def _default(key: dict[str, Any]) -> str:
    if "default" not in key:
        return "required"
    default = key["default"]
    if default is None or default in ([], ""):
        return ""
    if isinstance(default, list):
        return ", ".join(f"`{value}`" for value in default)
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{shown!r}`" if "\n" in shown else f"`{shown}`"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    body = [f"| {' | '.join(row)} |" for row in escaped]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *body, ""]


def _text(text: str | None) -> str:
    """Help as Markdown: names in capitals between angle brackets are no markup."""
    return re.sub(r"<(\w+)>", r"\\<\1\\>", (text or "").strip())
