"""CSV tables whose encoding and delimiter are found, and reported."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import charset_normalizer
import polars as pl
import pyarrow as pa
import pyarrow.csv

from data_pipelines.formats.decimals import with_decimal_points
from data_pipelines.formats.limits import read_bytes
from data_pipelines.formats.tables import Table, check_size, column_names
from socsci_jax.errors import InputError
from socsci_jax.wording import counted, first_listed

DELIMITERS = (",", ";", "\t", "|")
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
# What tables are written in that are not UTF-8, and how many letters beyond ASCII it takes to tell them apart.
# Western and Central European tables cannot be told apart by their bytes: Windows-1252 is assumed, and reported.
_ENCODINGS = [
    *("cp1252", "cp1251", "cp1253", "cp1255", "cp1256", "koi8_r"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
]
_ENOUGH = 12
_SAMPLE = 256 * 1024
_SAMPLE_ROWS = 200
_LONGEST_ROW = 32 * 2**20


def read_csv(path: Path, *, encoding: str | None = None, delimiter: str | None = None) -> Table:
    """The table in a CSV file, gzipped or not; rows that do not fit the header become `misfits`.

    Raises InputError for an encoding that the file is not in, a header that repeats a name, a quotation mark that
    is never closed.
    """
    content = read_bytes(path)
    text, notes = decoded(path, content, encoding=encoding)
    del content
    if not text.strip():
        raise InputError(f"{path}: the file is empty; a header and rows are needed.")
    if delimiter is None:
        delimiter = find_delimiter(text)
        if delimiter != ",":
            notes.append(f"{path.name}: read with {delimiter!r} between the columns.")
    elif len(delimiter) != 1 or delimiter in '"\r\n':
        raise InputError(f"{path}: {delimiter!r} is no delimiter; give one character.")
    header = _first_row(path, text, delimiter)
    check_size(str(path), rows=1, columns=len(header))
    names = column_names(str(path), header, notes)
    return _parsed(path, text, names, delimiter=delimiter, notes=notes)


def decoded(path: Path, content: bytes, *, encoding: str | None) -> tuple[str, list[str]]:
    """The text and notes on its encoding: as told, as its first bytes say, UTF-8, or the most likely one."""
    used = encoding or next((name for start, name in _BOMS if content.startswith(start)), "utf-8")
    try:
        text = content.decode(used)
        note = f"{path.name}: read as {used}." if used == "utf-16" and encoding is None else ""
    except LookupError:
        raise InputError(f"{path}: encoding {encoding!r} is not known; utf-8 and cp1252 are.") from None
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise InputError(
                f"{path}: not in the encoding {encoding!r} ({error.reason} at byte {error.start:,})."
            ) from None
        text, used = _guessed(path, content, near=error.start)
        note = f"{path.name}: not UTF-8, read as {used}; if letters are wrong, say the right `encoding`."
    if "\x00" in text[:_SAMPLE]:
        raise InputError(
            f"{path}: holds zero bytes, so it is no text; check the file and its `format` or `encoding`."
        )
    return text, [note] if note else []


def _guessed(path: Path, content: bytes, *, near: int) -> tuple[str, str]:
    sample = content[max(0, near - _SAMPLE // 2) : near + _SAMPLE // 2]
    high = sum(byte > 127 for byte in sample)
    best = charset_normalizer.from_bytes(sample, cp_isolation=_ENCODINGS).best() if high >= _ENOUGH else None
    # Windows-1252 is what Western software writes when it does not write UTF-8.
    for name in (best.encoding if best else None, "cp1252"):
        try:
            if name is not None:
                return content.decode(name), name
        except UnicodeDecodeError:
            continue
    raise InputError(
        f"{path}: neither UTF-8 nor another encoding that could be found; say it under `encoding`."
    )


def find_delimiter(text: str) -> str:
    """The delimiter under which most of the first rows have equally many columns, and more than one."""
    lines = text[:_SAMPLE]
    if len(text) > _SAMPLE:
        lines = lines[: lines.rfind("\n") + 1]

    def fit(delimiter: str) -> tuple[float, int]:
        csv.field_size_limit(_LONGEST_ROW)
        widths = []
        try:
            for row in csv.reader(io.StringIO(lines, newline=""), delimiter=delimiter):
                if row:
                    widths.append(len(row))
                if len(widths) == _SAMPLE_ROWS:
                    break
        except csv.Error:
            pass
        if not widths or widths[0] < 2:
            return 0.0, 0
        return sum(width == widths[0] for width in widths) / len(widths), widths[0]

    best = max(DELIMITERS, key=fit)
    return best if fit(best)[0] > 0 else ","


def _first_row(path: Path, text: str, delimiter: str) -> list[str]:
    csv.field_size_limit(_LONGEST_ROW)
    try:
        for row in csv.reader(io.StringIO(text[:_LONGEST_ROW], newline=""), delimiter=delimiter):
            if row:
                return row
    except csv.Error as error:
        raise InputError(f"{path}: the header is no row of CSV ({error}).") from None
    return []


def _parsed(path: Path, text: str, names: list[str], *, delimiter: str, notes: list[str]) -> Table:
    misfits: list[tuple[int, int]] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        misfits.append((row.number, row.actual_columns))
        return "skip"

    places = [str(i) for i in range(len(names))]
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{path}: holds half characters (lone surrogates); save it in UTF-8.") from None
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(data),
            read_options=pa.csv.ReadOptions(
                column_names=places, use_threads=False, block_size=min(len(data) + 1, _LONGEST_ROW)
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(places, pa.string()), strings_can_be_null=False, check_utf8=False
            ),
        )
    except pa.ArrowException as error:
        raise InputError(f"{path}: not a readable CSV table ({str(error).splitlines()[0]}).") from None
    numbers = _row_numbers(table.num_rows, misfits)
    frame = pl.DataFrame(pl.from_arrow(table)).rename(dict(zip(places, names, strict=True)))
    if delimiter in (";", "\t"):
        frame, changed = with_decimal_points(frame)
        if changed:
            shown = first_listed(changed)
            notes.append(f"{path.name}: numbers with a decimal comma are read with a point in {shown}.")
    if text.count('"') % 2:
        _refuse_unclosed(path, text, delimiter)
    if misfits and frame.height < 2:
        raise InputError(
            f"{path}: the header has {counted(len(names), 'cell')} and none of the {counted(len(misfits), 'row')} has as many; say the "
            "right `delimiter`, and put quotation marks around cells that hold it."
        )
    check_size(str(path), rows=frame.height, columns=frame.width)
    return Table(
        name=path.name,
        frame=frame[1:],
        numbers=numbers[1:] - 1,
        notes=tuple(notes),
        misfits=tuple(
            (number - 1, f"{counted(width, 'cell')}, where the header has {len(names)}")
            for number, width in misfits
        ),
    )


def _row_numbers(kept: int, misfits: list[tuple[int, int]]) -> pl.Series:
    """Places of the kept rows among all rows, from 1 on."""
    total = kept + len(misfits)
    gone = pl.Series([number for number, _ in misfits], dtype=pl.Int64)
    every = pl.int_range(1, total + 1, eager=True).alias("row")
    return every.filter(~every.is_in(gone.implode())) if misfits else every


def _refuse_unclosed(path: Path, text: str, delimiter: str) -> None:
    """Python's reader knows an open quotation mark at the end of a file, which Arrow's does not."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for _ in reader:
            line = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise InputError(
                f"{path}, line {line}: a quotation mark opens in this row and is never closed; within a cell write "
                'it twice ("").'
            ) from None
