"""Guarded readers: what a file says, or one sentence; whatever the bytes are."""

from __future__ import annotations

import gzip
import json
import resource
import time

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_pipelines.formats.csv_table import read_csv
from socsci_jax import bounds, tables
from socsci_jax.errors import BAD_INPUT, InputError, ending
from socsci_jax.evaluation.elsewhere.columns import read_table as evaluation_table
from socsci_jax.plain_tables import open_table
from socsci_jax.reading import json_lines, parse_json, read_json, read_text
from socsci_jax.tables import decompressed, open_parquet, read_parquet, read_rows, to_polars
from socsci_jax.training.recipe_files import load_recipe
from socsci_jax.wording import kind_of
from socsci_jax.yaml_reading import parse_yaml, read_yaml

DAMAGED_JSON = {
    "a key given twice": (b'{"a": 1, "a": 2}', "key 'a' is given twice"),
    "deep": (b"[" * 100_000, "nested deeper"),
    "deep and whole": (b"[" * 70 + b"]" * 70, "nested deeper"),
    "half of a character": (b'"\\ud800"', "not valid JSON"),
    "a number of 5000 digits": (b"9" * 5000, "not valid JSON"),
    "not UTF-8": (b'"\xff"', "not UTF-8"),
    "no number": (b"NaN", "not a finite number"),
    "beyond floats": (b"1e999", "not a finite number"),
    "empty": (b"", "not valid JSON"),
}
DAMAGED_YAML = {
    "a key given twice": ("a: 1\na: 2", "line 2: key 'a' is given twice"),
    "an alias": ("a: &x 1\nb: *x", "anchors and aliases"),
    "deep": ("[" * 1000, "nested deeper"),
    "an object of Python": ("a: !!python/object:os.system x", "tag"),
    "two documents": ("a: 1\n---\nb: 1", "second YAML document"),
    "a number of 5000 digits": ("a: " + "9" * 5000, "cannot be read"),
    "a boolean that is none": ("a: !!bool x", "cannot be read"),
    "half of a character": ("\udcff", "not valid YAML"),
    "a null character": ('a: "x\\0"', "null character"),
    "a key that is a list": ("? [1]\n: 2", "a key must be a text"),
    "unfinished": ("a: [", "not valid YAML"),
}


@pytest.mark.parametrize("name", DAMAGED_JSON)
def test_damaged_json_is_one_sentence(tmp_path, name):
    content, found = DAMAGED_JSON[name]
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=found) as raised:
        read_json(tmp_path / "a.json", hint="fetch it again")
    assert len(str(raised.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize("name", DAMAGED_YAML)
def test_damaged_yaml_is_one_sentence(name):
    text, found = DAMAGED_YAML[name]
    with pytest.raises(InputError, match=found) as raised:
        parse_yaml(text, where="a.yaml")
    assert len(str(raised.value)) < 500


def test_yaml_gives_plain_values_and_leaves_dates_as_texts():
    assert parse_yaml("{a: 1, b: 1.5, c: yes, d: null, e: 2026-13-45, f: [x]}", where="a") == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": None,
        "e": "2026-13-45",
        "f": ["x"],
    }


def test_yaml_as_texts_leaves_every_value_as_it_is_written():
    assert parse_yaml("{no: [no, 1.0, ~]}", where="a", texts=True) == {"no": ["no", "1.0", "~"]}


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    for name, content in (("a.json", b'{"a": 1}'), ("a.yaml", b"a: 1")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content)
    assert read_json(tmp_path / "a.json") == read_yaml(tmp_path / "a.yaml") == {"a": 1}


@pytest.mark.parametrize("name", ["absent", "folder", "nul\0l"])
def test_what_is_no_file_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError) as raised:
        read_text(tmp_path / name, hint="give another")
    assert str(raised.value).count("give another") == 1


def test_no_more_of_a_large_file_is_read_than_is_allowed(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(InputError, match="larger than 100 bytes"):
        read_text(tmp_path / "a", limit=100)


def test_a_damaged_line_costs_no_other_one(tmp_path):
    lines = [b'\xef\xbb\xbf{"a": 1}', b"\xff", b"", b"{", b"x" * 200, b"[1]", b'{"a": 1, "a": 2}', b"2"]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    found = list(json_lines(tmp_path / "a.jsonl", longest=100))
    assert {line.number: line.value for line in found if line.problem is None} == {1: {"a": 1}, 6: [1], 8: 2}
    assert sorted(line.number for line in found if line.problem) == [2, 4, 5, 7]


@given(st.binary(max_size=200))
@example(b"{" * 3000)
@settings(deadline=None, max_examples=150)
def test_any_bytes_are_json_or_one_sentence(content):
    _only_input_errors(parse_json, content)


@given(st.text(max_size=120) | st.text(alphabet="{}[]:,-?!&*'\"\n\t #|>%@~ax01.", max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_text_is_yaml_or_one_sentence(text):
    for texts in (False, True):
        _only_input_errors(parse_yaml, text, texts=texts)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
@settings(deadline=None, max_examples=150)
def test_what_is_written_as_json_is_read_back(value):
    assert parse_json(json.dumps(value, ensure_ascii=False), where="a") == value
    assert len(kind_of(value)) < 100


def test_a_text_of_control_characters_is_shown_short():
    assert len(kind_of("\x1f\U00016b90" * 30)) == 80


def _only_input_errors(function, *arguments, **options) -> None:
    try:
        function(*arguments, where="input", **options)
    except InputError as error:
        assert len(str(error)) < 600


SCHEMA = pa.schema([("item", pa.string()), ("value", pa.float64()), ("levels", pa.list_(pa.int64()))])


def write(path, **columns) -> None:
    pq.write_table(pa.table({"item": ["a"], "value": [1.0], "levels": [[1]]} | columns), path)


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"item": [1]}, "column 'item' has type int64"),
        ({"value": ["x"]}, "column 'value' has type string"),
        ({"levels": [{"a": 1}]}, "column 'levels' has type struct"),
        ({"levels": [[["a"]]]}, "column 'levels' has type list"),
        ({"item": [None]}, "row 0: column 'item' is empty"),
        ({"levels": [[0.5]]}, "not a readable table"),
    ],
)
def test_a_table_of_another_form_is_one_sentence(tmp_path, columns, found):
    write(tmp_path / "a.parquet", **columns)
    with pytest.raises(InputError, match=found):
        read_parquet(tmp_path / "a.parquet", SCHEMA, hint="write it again", filled=("item",))


@pytest.mark.parametrize(
    "columns",
    [
        {"item": pa.array(["a"], pa.large_string())},
        {"item": pa.array(["a"]).dictionary_encode()},
        {"value": pa.array([1], pa.int8()), "levels": pa.array([[1.0]])},
        {"more": ["excluded"]},
    ],
)
def test_other_sizes_of_a_type_are_read(tmp_path, columns):
    write(tmp_path / "a.parquet", **columns)
    assert read_parquet(tmp_path / "a.parquet", SCHEMA, hint="").to_pylist() == [
        {"item": "a", "value": 1.0, "levels": [1]}
    ]


def repeated() -> pa.Array:
    """One text of 100,000 characters in 2,000 rows, once in memory."""
    return pa.DictionaryArray.from_arrays(np.zeros(2_000, np.int32), ["x" * 10**5])


@pytest.mark.parametrize(
    "column",
    [
        repeated(),
        pa.StructArray.from_arrays([repeated()], ["a"]),
        pa.ListArray.from_arrays(np.arange(2_001, dtype=np.int32), repeated()),
        pa.ListArray.from_arrays(2_500 * np.arange(2_001, dtype=np.int32), np.zeros(5 * 10**6)),
    ],
    ids=["text", "struct", "list", "numbers"],
)
def test_a_small_table_that_stands_for_very_much_is_refused_before_it_is_written_out(
    tmp_path, monkeypatch, column
):
    monkeypatch.setattr(bounds, "TABLE_BYTES", 32 * bounds.MIB)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"item": column}), path, compression="zstd")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        open_parquet(path, hint="write it again") as opened,
        pytest.raises(InputError, match="bytes of memory"),
    ):
        read_rows(opened, path, hint="write it again")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000


def test_names_of_folders_are_no_columns_and_a_folder_is_no_table(tmp_path):
    folder = tmp_path / "item=evil"
    folder.mkdir()
    write(folder / "a.parquet")
    assert read_parquet(folder / "a.parquet", SCHEMA, hint="")["item"].to_pylist() == ["a"]
    with pytest.raises(InputError, match="is no file"):
        read_parquet(folder, SCHEMA, hint="write it again")


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
@settings(deadline=None, max_examples=200)
def test_a_table_changed_anywhere_is_read_or_one_sentence(tmp_path_factory, at, content):
    path = tmp_path_factory.mktemp("changed") / "a.parquet"
    write(path)
    whole = bytearray(path.read_bytes())
    at %= len(whole)
    whole[at : at + len(content)] = content
    path.write_bytes(whole)
    try:
        read_parquet(path, SCHEMA, hint="write it again")
    except InputError as error:
        assert str(path) in str(error)


def test_a_gzip_that_grows_without_end_is_refused_and_a_table_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "GROWN_BYTES", 10_000)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"0" * 10**8))
    with pytest.raises(InputError, match="grows to more than"):
        decompressed(tmp_path / "bomb.gz", hint="fetch it again")
    table = pl.DataFrame({"a": range(10_000)}).write_csv().encode()
    (tmp_path / "a.gz").write_bytes(gzip.compress(table))
    assert decompressed(tmp_path / "a.gz", hint="") == table


@pytest.mark.parametrize("cut", [3, 30, -1])
def test_a_truncated_gzip_is_one_sentence(tmp_path, cut):
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(range(200)) * 20)[:cut])
    with pytest.raises(InputError, match=r"a\.gz: not a readable table"):
        decompressed(tmp_path / "a.gz", hint="fetch it again")


def test_a_table_that_states_too_many_rows_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables.bounds, "TABLE_ROWS", 0)
    write(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="says that it has 1 row"):
        read_parquet(tmp_path / "a.parquet", SCHEMA, hint="")


def test_a_name_that_no_disk_takes_is_bad_input(tmp_path):
    recipe = tmp_path / "a.yaml"
    recipe.write_text(f"extends: {'m' * 300}.yaml\n")
    with pytest.raises((InputError, OSError)) as raised:
        load_recipe(recipe)
    assert ending(raised.value)[1] == BAD_INPUT


def test_metadata_of_a_table_that_is_no_utf8_does_no_harm(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"item": ["a"], "value": [1.0], "levels": [[1]]})
    pq.write_table(table.replace_schema_metadata({b"pandas": b"\xec\xff"}), path)
    table = read_parquet(path, SCHEMA, hint="write it again")
    assert to_polars(table, path, hint="write it again")["item"].to_list() == ["a"]


@pytest.mark.parametrize("read", ["table", "people"])
def test_a_column_named_twice_is_refused(tmp_path, read):
    from socsci_jax.cli.output import read_people
    from socsci_jax.tables import read_table

    path = tmp_path / "a.csv"
    path.write_text("age,age\n1,2\n")
    with pytest.raises(InputError, match=r"'age'.* twice|two columns are called 'age'"):
        (read_table if read == "table" else read_people)(path)


@pytest.mark.parametrize("kind", ["csv with semicolons", "jsonl", "xlsx", "dta", "parquet", "record"])
def test_no_reader_of_plain_tables_takes_one_of_two_columns_for_both(tmp_path, kind):
    import openpyxl
    import pandas as pd

    from socsci_jax.cli.output import read_people

    if kind == "csv with semicolons":
        (path := tmp_path / "a.csv").write_text("age;age\n1;2\n")
    elif kind == "jsonl":
        (path := tmp_path / "a.jsonl").write_text('{"age": 1}\n{"age": 1, "age": 2}\n')
    elif kind == "xlsx":
        book = openpyxl.Workbook()
        book.active.append(["age", "age"])
        book.active.append([1, 2])
        book.save(path := tmp_path / "a.xlsx")
    elif kind == "dta":
        pd.DataFrame({"age": [1], "agf": [2]}).to_stata(path := tmp_path / "a.dta", write_index=False)
        path.write_bytes(path.read_bytes().replace(b"agf", b"age"))
    else:
        ages = pa.array([1])
        columns = pa.StructArray.from_arrays([ages, ages], ["age", "age"]) if kind == "record" else ages
        table = pa.table([columns, ages], names=["person" if kind == "record" else "age", "age"])
        pq.write_table(table, path := tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"'(person\.)?age'.* twice|two columns are called 'age'"):
        read_people(path)


@pytest.mark.parametrize("kind", ["sav", "dta"])
def test_people_of_a_labeled_file_have_its_words_and_nothing_where_it_declares_none(tmp_path, kind):
    import pandas as pd
    import pyreadstat

    from socsci_jax.cli.output import read_people

    path = tmp_path / f"people.{kind}"
    people = pd.DataFrame({"age": [34.0, 99.0], "gender": [1.0, 2.0], "text": ["\x1b[31m<b>", "x" * 1_000]})
    labels = {"gender": {1: "Female", 2: "Male"}, "age": {99: "Refused"}}
    if kind == "sav":
        pyreadstat.write_sav(people, str(path), variable_value_labels=labels, missing_ranges={"age": [99]})
    else:
        pyreadstat.write_dta(people, str(path), variable_value_labels=labels)
    assert read_people(path).rows() == [
        ("34", "Female", "\x1b[31m<b>"),
        (None if kind == "sav" else "Refused", "Male", "x" * 1_000),
    ]


@pytest.mark.parametrize("ending", ["xlsx", "sav", "rds"])
def test_a_table_whose_name_is_not_utf8_is_named_in_one_sentence(tmp_path, ending):
    from socsci_jax.cli.output import read_people

    path = tmp_path / f"a\udcff.{ending}"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="not UTF-8"):
        read_people(path)


def test_an_empty_workbook_is_no_table(tmp_path):
    import openpyxl

    from socsci_jax.cli.output import read_people

    openpyxl.Workbook().save(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match="no sheet holds cells"):
        read_people(tmp_path / "a.xlsx")


def test_a_whole_number_that_no_float_can_hold_is_refused():
    assert parse_json('{"a": ' + "9" * 300 + "}", where="x") == {"a": int("9" * 300)}
    with pytest.raises(InputError, match="is not a finite number"):
        parse_json('{"a": ' + "9" * 400 + "}", where="x")


@pytest.mark.parametrize(
    "read",
    [
        lambda path: decompressed(path, hint="give a table"),
        evaluation_table,
        read_csv,
        lambda path: open_table(path).frame,
    ],
    ids=["estimates", "evaluation", "deposits", "people"],
)
def test_a_table_of_very_many_columns_is_refused_before_it_is_parsed(tmp_path, read):
    """A reader takes minutes over them."""
    names = ",".join(f"c{n}" for n in range(10**5))
    (tmp_path / "wide.csv").write_text(f"{names}\n{names}\n")
    start = time.process_time()
    with pytest.raises(InputError, match=r"100,000 columns; at most 20,000"):
        read(tmp_path / "wide.csv")
    assert time.process_time() - start < 10


def test_an_integer_in_base_sixty_of_any_length_is_refused():
    with pytest.raises(InputError, match="more than 1000 characters of an integer"):
        parse_yaml("a: " + ":".join(["59"] * 10_000), where="study.yaml")
