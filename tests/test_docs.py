"""The documentation says what the program does: commands exist, tables have the columns that are described."""

import itertools
import re
import shlex
from pathlib import Path

import polars as pl
import pytest
import typer
from conftest import REPOSITORY

from socsci_jax import errors
from socsci_jax.cli import app
from socsci_jax.evaluation import conjoint
from socsci_jax.evaluation.sweep_table import SWEEP_SCHEMA
from socsci_jax.evaluation.table import EVALUATION_SCHEMA
from socsci_jax.forecasting.respondent_statistics import STATISTICS
from socsci_jax.forecasting.table import CALIBRATION, CHECKS, MULTIVERSE, VARIANTS
from socsci_jax.rectification import rectify
from socsci_jax.studies import schema
from socsci_jax.studies.fingerprints import TRAINED_ON_SCHEMA
from socsci_jax.studies.splits import SPLIT_SCHEMA
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_blocks import Block

PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "recipes/README.md"]
)
PAGES = [path for path in PAGES if "_build" not in path.parts]
BLOCK = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
SCHEMAS = {
    "Study store": (
        schema.STUDIES_SCHEMA,
        schema.ITEMS_SCHEMA,
        schema.participants_schema(()),
        schema.RESPONSES_SCHEMA,
        schema.RETESTS_SCHEMA,
        schema.REJECTS_SCHEMA,
    ),
    "Split": (SPLIT_SCHEMA,),
    "Predictions": (schema.PREDICTIONS_SCHEMA,),
    "Evaluation": (EVALUATION_SCHEMA,),
    "Sweep": (SWEEP_SCHEMA,),
    "Statistics of respondents": (pl.DataFrame(schema=STATISTICS).to_arrow().schema,),
    "Variants of the prompt": (
        pl.DataFrame(schema=VARIANTS).to_arrow().schema,
        pl.DataFrame(schema=MULTIVERSE).to_arrow().schema,
    ),
    "Forecast": (pl.DataFrame(schema=CALIBRATION).to_arrow().schema,),
    "Estimates": (
        pl.DataFrame(schema=rectify._SCHEMA).to_arrow().schema,
        pl.DataFrame(schema=conjoint.SCHEMA).to_arrow().schema,
    ),
    "Checks of the model": (pl.DataFrame(schema=CHECKS).to_arrow().schema,),
    "What a model was trained on": (TRAINED_ON_SCHEMA,),
}


def commands(text: str) -> list[list[str]]:
    """Every call of the program in the shell blocks of a page, in words, lines joined."""
    found = []
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            _, name, rest = line.removeprefix("$ ").partition("socsci-jax ")
            if name and not line.lstrip().startswith("#"):
                found.append(words(rest))
    return found


def words(line: str) -> list[str]:
    """The words of a shell's line, up to its end, a comment, a pipe or a redirection."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(itertools.takewhile(lambda word: not set(word) <= set("();<>|&"), lexer))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_of_a_page_exists_with_its_options(path):
    for line in commands(path.read_text()):
        command, rest = typer.main.get_command(app), list(line)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        assert not hasattr(command, "commands"), f"{line}: {rest[:1]} is no command"
        known = {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert given <= known, f"{line}: {given - known}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_within_the_project_leads_somewhere(path):
    made_at_the_build = {"commands.md", "recipe-keys.md", "recipes.md"}
    for target in LINK.findall(path.read_text()):
        assert (path.parent / target).exists() and Path(target).name not in made_at_the_build, target


def test_every_exit_status_is_listed_where_the_commands_point():
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    section = re.search(r"^### Exit statuses$(.*?)(?=^#)", page, re.M | re.S)[1]
    listed = {int(status) for status in re.findall(r"^\| (\d+) \|", section, re.M)}
    statuses = {
        value
        for name, value in vars(errors).items()
        if name[0].isupper() and name.isupper() and isinstance(value, int)
    }
    assert {0, 1, *statuses, *errors.START_AGAIN} <= listed
    assert {errors.ending(error)[1] for error in (ValueError(), KeyboardInterrupt())} <= listed


def test_the_reference_has_every_command_option_and_recipe_key(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "docs")
    import generated

    commands, keys = generated.commands(), generated.recipe_keys()
    for _, command in generated._commands(typer.main.get_command(app), "socsci-jax"):
        for parameter in command.params:
            name = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper()
            assert f"`{name}`" in commands
    for name, description in keys_of(Recipe):
        assert f"`{name}`" in keys and description


def keys_of(block, prefix=""):
    """Names and descriptions of all keys; a block is described by its class."""
    for name, field in block.model_fields.items():
        inner = [
            kind
            for kind in getattr(field.annotation, "__args__", (field.annotation,))
            if isinstance(kind, type) and issubclass(kind, Block)
        ]
        yield f"{prefix}{name}", inner[0].__doc__ if inner else field.description
        for kind in inner:
            yield from keys_of(kind, f"{prefix}{name}.")


@pytest.mark.parametrize("title", SCHEMAS)
def test_every_column_of_a_table_is_described(title):
    page = (REPOSITORY / "docs" / "reference" / "tables.md").read_text()
    section = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", page, re.M | re.S)[1]
    described = set(re.findall(r"`(\w+)`", section))
    for table in SCHEMAS[title]:
        assert set(table.names) - {schema.NOTHING_KNOWN} <= described
