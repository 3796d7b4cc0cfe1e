"""What commands print, and the options that several of them share."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand, TyperOption

from socsci_jax.bounds import SEED
from socsci_jax.errors import InputError
from socsci_jax.foreign_text import for_terminal
from socsci_jax.wording import counted

if TYPE_CHECKING:
    import polars as pl
    from rich.console import RenderableType

StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of a study store.")]
Layout = Annotated[
    str | None, typer.Option(help="Prompt layout; by default the one the model was trained with.")
]
OtherLayout = Annotated[
    bool, typer.Option("--allow-other-layout", help="Allow a layout that the model was not trained with.")
]
Margins = Annotated[
    Path | None, typer.Option(help="YAML of the population's margins, to which personas are weighted.")
]
Replace = Annotated[bool, typer.Option("--replace", help="Replace what is there already.")]
Seed = Annotated[int, typer.Option(min=0, max=SEED, help="Seed of everything random.")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A training run's folder, a Hugging Face folder or hub id, a GGUF file, or package:NAME.",
    ),
]


def share_of(text: str) -> float:
    """A share as people write it: 0.25 or 25%."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text[:40]!r} is no share; write 0.25 or 25%.") from None


class ManyValues(TyperCommand):
    """Takes `--shares 0.1 0.5` for `--shares 0.1 --shares 0.5`: an option has one value each time it is given."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        options = {name for p in self.params if isinstance(p, TyperOption) and p.multiple for name in p.opts}
        given, option = [], None
        for argument in args:
            if option is not None and given[-1] != option and re.fullmatch(r"[\d.]+(e-?\d+)?", argument):
                given.append(option)
            elif argument.startswith("-"):
                option = argument if argument in options else None
            given.append(argument)
        return super().parse_args(ctx, given)


def command_line() -> str:
    return shlex.join(["socsci-jax", *sys.argv[1:]])


def as_options(sentence: str) -> str:
    """A sentence of the library with its arguments, such as `replace=True`, as the options of a command, `--replace`."""
    return re.sub(r"`([a-z][a-z_]*)=([^`]*)`", lambda found: f"`{_option(found[1], found[2])}`", sentence)


def _option(name: str, value: str) -> str:
    option = f"--{name.replace('_', '-')}"
    if value in ("", "True"):
        return option
    values = value[1:-1].split(", ") if value.startswith("[") else [value]
    return " ".join(f"{option} {one}" for one in values)


def say(*parts: object, file: IO[str] | None = None) -> None:
    """Prints a line that may hold text from elsewhere."""
    stream = sys.stdout if file is None else file
    text = for_terminal(" ".join(map(str, parts)))
    # A terminal may know fewer characters than the text has.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def show_log_lines() -> None:
    """Sends what the library logs to standard error: above a progress bar in a terminal, one line each elsewhere."""
    handler: logging.Handler = _AboveBars() if sys.stderr.isatty() else logging.StreamHandler()
    handler.setFormatter(_Line())
    # Packages that were imported before may have set up logging in their own way.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("socsci_jax").setLevel(logging.INFO)


class _AboveBars(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from rich.console import Console
        from rich.text import Text
        from tqdm import tqdm

        style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno, "")
        with tqdm.external_write_mode(file=sys.stderr):
            Console(stderr=True, soft_wrap=True).print(Text(self.format(record), style))


class _Line(logging.Formatter):
    """The message, after what is wrong with it; it may hold text from elsewhere."""

    def format(self, record: logging.LogRecord) -> str:
        kind = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return for_terminal(kind + super().format(record))


def print_table(title: str, frame: pl.DataFrame) -> None:
    from rich.table import Table
    from rich.text import Text

    if frame.is_empty():
        say(f"{title}: none")
        return
    table = Table(title=Text(for_terminal(title)), title_justify="left")
    for name, dtype in frame.schema.items():
        # Folded, not cut: names that differ only at their ends are told apart.
        table.add_column(
            Text(for_terminal(name)), justify="right" if dtype.is_numeric() else "left", overflow="fold"
        )
    for row in frame.iter_rows():
        table.add_row(*(Text("" if value is None else cell(value)) for value in row))
    print_rich(table)


def print_rich(table: RenderableType) -> None:
    """Prints a table of `rich`, whose texts may come from elsewhere: no markup, and no escape sequences but rich's own."""
    import rich
    from rich.console import Console
    from rich.segment import Segment, Segments

    console = Console(width=max(rich.get_console().width, 120), markup=False, emoji=False, highlight=False)
    shown = [Segment(for_terminal(part.text), part.style) for part in console.render(table)]
    console.print(Segments(shown), end="")


def cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    text = for_terminal(value, longest=1_000).replace("\n", " ").replace("\t", " ")
    return text if len(text) <= 40 else f"{text[:39]}…"


def read_people(path: Path) -> pl.DataFrame:
    """Personas of a plain table: one row a person, one column an attribute, all of them texts.

    Where the file says what codes mean, as SPSS and Stata files do, personas have the words.  Raises InputError for a row
    that does not fit the header: a person would be lost.
    """
    import polars as pl

    from socsci_jax.plain_tables import open_table

    people = open_table(path)
    if people.misfits:
        row, why = people.misfits[0]
        raise InputError(f"{path}, row {row}: {why}; {counted(len(people.misfits), 'row')} cannot be read.")
    return people.frame.with_columns(
        pl.col(name).replace(labels)
        for name, labels in people.labels.items()
        if labels and name in people.frame.columns
    )


def rounded(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame for reading: four digits, and nothing where there is no value."""
    import polars as pl

    def text(name: str, value: float | int | str | None) -> str:
        if value is None:
            return ""
        if name == "p" and value < 1e-4:
            return "<0.0001"
        return f"{value:,.4g}" if isinstance(value, float) else cell(value)

    return pl.DataFrame({name: [text(name, value) for value in frame[name]] for name in frame.columns})
