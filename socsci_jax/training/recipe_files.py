"""Reading a recipe: YAML files that extend each other, overrides, and every problem in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from socsci_jax.errors import InputError
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_blocks import Block
from socsci_jax.wording import kind_of
from socsci_jax.yaml_reading import parse_yaml, read_yaml

# Where the recipes lie that come with the package: within it where it was built, next to it in the project's folder.
PACKAGE = Path(__file__).parent.parent
FOLDERS = (PACKAGE / "recipes", PACKAGE.parent / "recipes")
# Files that a recipe extends one after the other, and blocks within blocks.
LONGEST_CHAIN = 16


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe over the one that it `extends`, if any, and applies `key.key=value` overrides (values are YAML).

    `path` is a file, or the name of a recipe that comes with the package (`tiny`).
    `extends: FILE` is a path relative to the recipe's own folder.  Blocks of keys merge with those of that file,
    everything else replaces.  Raises one InputError that names every problem: unknown keys with the nearest valid
    one, wrong types, values out of range.
    """
    files: list[Path] = []
    tree = _read(_found(Path(path)), files)
    for override in overrides:
        _apply(tree, override)
    return parse_recipe(tree, where=" over ".join(map(str, files)))


def own_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {file.stem: file for folder in FOLDERS for file in sorted(folder.glob("*.yaml"))}


def recipe_with(recipe: str | Path | Mapping[str, Any], changes: Mapping[str, Any]) -> Recipe:
    """The recipe of a file or of a mapping with other values for some keys; blocks of keys merge."""
    if isinstance(recipe, Mapping):
        return parse_recipe(_merged(dict(recipe), dict(changes)), where="recipe")
    files: list[Path] = []
    tree = _merged(_read(_found(Path(recipe)), files), dict(changes))
    return parse_recipe(tree, where=" over ".join(map(str, files)))


def json_schema() -> dict[str, Any]:
    """JSON Schema of a recipe's file, for editors.  No key is required: a file may extend one that has it."""
    schema = Recipe.model_json_schema()
    for block in (schema, *schema["$defs"].values()):
        block.pop("required", None)
    extends = {
        "type": "string",
        "description": "Recipe file that this one extends; relative to its own folder.",
    }
    schema["properties"] = {"extends": extends, **schema["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "recipe"}


def _read(path: Path, files: list[Path]) -> dict:
    """The keys of a file over those of the file that it extends; what is read is added to `files`."""
    files.append(path)
    tree = read_yaml(path, hint=_hint_of_path(path))
    if not isinstance(tree, dict):
        raise InputError(
            f"{path}: a recipe is a mapping of keys to values; `socsci-jax recipe show tiny` prints one."
        )
    if "extends" not in tree:
        return tree
    name = tree.pop("extends")
    if not isinstance(name, str):
        raise InputError(f"{path}: extends: {name!r} is no path of a file; name one file.")
    other = path.parent / name
    if len(files) > LONGEST_CHAIN:
        raise InputError(f"{path}: extends {name} after {LONGEST_CHAIN} others; extend fewer.")
    if other.resolve() in [file.resolve() for file in files]:
        raise InputError(f"{path}: extends {name}, which extends this file in turn; remove one of the two.")
    if not other.is_file():
        raise InputError(
            f"{path}: extends {name}, but there is no file {other}; the path begins next to the recipe."
        )
    return _merged(_read(other, files), tree)


def _found(path: Path) -> Path:
    """The file itself, or that of the package's recipe of this name."""
    is_a_name = len(path.parts) == 1 and path.suffix != ".yaml" and not path.exists()
    return own_recipes().get(path.name, path) if is_a_name else path


def _hint_of_path(path: Path) -> str:
    near = difflib.get_close_matches(path.stem, own_recipes(), n=1)
    if near:
        return f"perhaps {near[0]} is meant, which comes with the package"
    return "`socsci-jax recipe list` names those that come with the package"


def _merged(below: dict, above: dict) -> dict:
    merged = below | above
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            merged[key] = _merged(below[key], above[key])
    return merged


def parse_recipe(tree: dict, *, where: str) -> Recipe:
    # A YAML float needs a dot: 1e-5 arrives as text.  Pydantic reads it as the number that was meant.
    try:
        return Recipe.model_validate(tree)
    except pydantic.ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise InputError(f"{where}: {problems}.") from None


def _apply(tree: dict, override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"{override!r}: an override is written key=value, for instance optimizer.epochs=3.")
    *parents, last = key.split(".")
    if len(parents) > LONGEST_CHAIN:
        raise InputError(f"{override[:80]!r}: a key has at most {LONGEST_CHAIN + 1} parts.")
    for name in parents:
        if not isinstance(tree.setdefault(name, {}), dict):
            raise InputError(f"{override!r}: {name!r} is a value, not a block of keys.")
        tree = tree[name]
    tree[last] = parse_yaml(value, where=repr(override[:200]))


def _explain(problem: dict) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        valid = _valid_keys(location[:-1])
        near = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.7)
        near = near or _in_other_blocks(location[-1])
        near = near or difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid keys are {', '.join(valid)}"
        return f"unknown key {key!r} ({hint})"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if not key:
        return message
    shown = "" if isinstance(problem["input"], dict) else f" (found {kind_of(problem['input'])})"
    return f"key {key!r}: {message[0].lower() + message[1:]}{shown}"


def _in_other_blocks(name: str) -> list[str]:
    """The key of this name in whichever block has it; `lr` is what optimizers call the learning rate."""
    name = {"lr": "learning_rate"}.get(name, name)
    blocks = {key: _block(Recipe, key) for key in Recipe.model_fields}
    return [f"{key}.{name}" for key, block in blocks.items() if block and name in block.model_fields]


def _valid_keys(path: Sequence[str]) -> list[str]:
    block: type[Block] | None = Recipe
    for name in path:
        block = block and _block(block, name)
    return list(block.model_fields) if block else []


def _block(of: type[Block], key: str) -> type[Block] | None:
    """The block that a key holds; None for a plain value."""
    annotation = of.model_fields[key].annotation
    arguments = getattr(annotation, "__args__", (annotation,))
    return next((a for a in arguments if isinstance(a, type) and issubclass(a, Block)), None)
