"""A deposit's files, opened when they are first needed, and hashed."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from data_pipelines.formats.documents import read_document
from data_pipelines.formats.tables import TABLE_FORMATS, Table, format_of, read_table
from data_pipelines.specified.codebook_entries import entries
from socsci_jax.errors import InputError
from socsci_jax.reading import read_json
from socsci_jax.studies.specification import Specification
from socsci_jax.studies.specification_files import refusal


class Deposit:
    """The files that a specification names, within its folder."""

    def __init__(self, folder: Path, specification: Specification):
        """Raises InputError that lists every file that is absent, lies elsewhere or is not the expected one."""
        self.folder = folder
        self.specification = specification
        problems = [p for name in specification.files for p in self._problems(name)]
        if problems:
            raise refusal(str(folder), problems)

    def _problems(self, name: str) -> list[str]:
        source = self.specification.files[name]
        path = self.path(name)
        if not path.is_file():
            return [f"files.{name}: {source.path} is not there"]
        # A link may lead anywhere.
        if not path.resolve().is_relative_to(self.folder.resolve()):
            return [f"files.{name}: {source.path} lies outside the specification's folder"]
        digest = self.sha256(name)
        if source.sha256 is not None and source.sha256.lower() != digest:
            return [f"files.{name}: {source.path} has the SHA-256 {digest}, expected is {source.sha256}"]
        return []

    def path(self, name: str) -> Path:
        return self.folder / self.specification.files[name].path

    def format(self, name: str) -> str:
        return format_of(self.specification.files[name])

    @functools.cache  # noqa: B019  (a deposit lives as long as its build)
    def sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        with self.path(name).open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
        return digest.hexdigest()

    @functools.cache  # noqa: B019
    def table(self, name: str) -> Table:
        return read_table(self.path(name), self.specification.files[name])

    @functools.cache  # noqa: B019
    def json(self, name: str) -> object:
        return read_json(self.path(name))

    @functools.cache  # noqa: B019
    def text(self, name: str) -> str:
        """A document's text, or that of a JSON file as it stands."""
        if self.format(name) in TABLE_FORMATS:
            raise InputError(f"{self.path(name)}: a table; say which `row` and `column` of it hold the text.")
        return read_document(
            self.path(name), kind=self.format(name), encoding=self.specification.files[name].encoding
        )

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """Columns of the tables of answers."""
        tables = sorted({study.data for study in self.specification.studies.values()})
        return tuple(name for table in tables for name in self.table(table).frame.columns)

    @functools.cache  # noqa: B019
    def entries(self, name: str) -> dict[str, str]:
        """What a document says of each column of the tables of answers."""
        return entries(self.text(name), self.columns)

    @property
    def codebooks(self) -> list[str]:
        """Names of the documents that are prose or tables, not a survey program's files."""
        return [name for name in self.documents if self.format(name) not in ("json", "qualtrics")]

    @property
    def documents(self) -> list[str]:
        """Names of the files that hold text: codebooks, questionnaires, surveys."""
        return [name for name in self.specification.files if self.format(name) not in TABLE_FORMATS]
