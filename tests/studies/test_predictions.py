"""The predictions table: what is accepted, and one sentence for each thing that is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from evaluation_example import World, exact_predictions, filled, make_world

from socsci_jax.errors import InputError
from socsci_jax.studies.predictions import METADATA_KEY, read_predictions, write_predictions
from socsci_jax.studies.schema import PREDICTIONS_SCHEMA, Item, Scale
from socsci_jax.studies.store_builder import StoreBuilder


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(
        tmp_path_factory.mktemp("world") / "store", studies=2, conditions=2, outcomes=1, levels=3, n=4
    )


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "predictions.parquet"


def first_item(world: World) -> str:
    return world.store.items["item_id"][0]


def exact(world: World, **changed: object) -> pl.DataFrame:
    """A table of one exact row, with the columns named in `changed` replaced."""
    row = {
        "item_id": first_item(world),
        "participant_id": "p0_0",
        "levels": [1, 2, 3],
        "probs": [0.2, 0.3, 0.5],
    }
    return filled(pl.DataFrame([row | changed]))


def refusal(path: Path, frame: pl.DataFrame, world: World) -> str:
    write_predictions(path, frame, metadata={})
    with pytest.raises(InputError) as raised:
        read_predictions(path, world.store)
    message = str(raised.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_what_is_written_is_read_back(world, path):
    frame = exact_predictions(world, world.truth).frame
    metadata = {"model": "tiny", "split": "grüße", "seed": 3}
    write_predictions(path, frame.select(reversed(frame.columns)), metadata=metadata)
    found = read_predictions(path, world.store)
    assert found.frame.equals(frame)
    assert found.metadata == metadata


def test_writing_leaves_one_file_and_replaces_the_last(world, path):
    for seed in (1, 2):
        write_predictions(path, exact(world), metadata={"seed": seed})
    assert list(path.parent.iterdir()) == [path]
    assert read_predictions(path, world.store).metadata == {"seed": 2}


def test_a_failed_write_leaves_the_last_file_as_it_was(world, path):
    write_predictions(path, exact(world), metadata={"seed": 1})
    with pytest.raises(TypeError):
        write_predictions(path, exact(world), metadata={"seed": object()})
    assert list(path.parent.iterdir()) == [path]
    assert read_predictions(path, world.store).metadata == {"seed": 1}


def test_another_simulator_needs_no_metadata_no_participants_and_no_exact_types(world, path):
    frame = exact(world, participant_id=None, probs=None, levels=None, draw=0, value=2)
    frame.with_columns(pl.col("draw").cast(pl.Int64), pl.col("value").cast(pl.Int64)).write_parquet(path)
    found = read_predictions(path, world.store)
    assert found.metadata == {}
    assert found.frame.schema == filled(frame).schema
    assert found.frame["participant_id"].to_list() == [None]


def test_further_columns_are_ignored(world, path):
    exact(world).with_columns(comment=pl.lit("mine")).write_parquet(path)
    assert read_predictions(path, world.store).frame.columns == PREDICTIONS_SCHEMA.names


def test_draws_off_the_scale_are_not_refused(world, path):
    values = [1997.0, 2e97, None, 3.5]
    frame = pl.concat([exact(world, probs=None, levels=None, draw=k, value=v) for k, v in enumerate(values)])
    write_predictions(path, frame, metadata={})
    assert read_predictions(path, world.store).frame["value"].to_list() == values


def test_levels_may_be_in_any_order_and_leave_some_out(world, path):
    write_predictions(path, exact(world, levels=[3, 1], probs=[0.4, 0.6]), metadata={})
    assert read_predictions(path, world.store).frame["levels"].to_list() == [[3, 1]]


def test_rounding_to_four_digits_is_allowed(world, path):
    write_predictions(path, exact(world, probs=[0.3333, 0.3333, 0.3333]), metadata={})
    assert read_predictions(path, world.store).frame.height == 1


def test_a_missing_file_is_refused(world, path):
    with pytest.raises(InputError, match="file not found"):
        read_predictions(path, world.store)


def test_a_file_that_is_no_parquet_is_refused(world, path):
    path.write_text("item_id,value\n")
    with pytest.raises(InputError, match="not a readable table"):
        read_predictions(path, world.store)


@pytest.mark.parametrize("column", ["item_id", "participant_id"])
def test_a_missing_column_is_named(world, path, column):
    exact(world).drop(column).write_parquet(path)
    with pytest.raises(InputError, match=f"column '{column}' is missing"):
        read_predictions(path, world.store)


@pytest.mark.parametrize("columns", [("levels", "probs"), ("draw", "value")])
def test_the_four_columns_of_one_kind_of_prediction_are_enough(world, path, columns):
    frame = exact(world).with_columns(draw=pl.lit(0), value=pl.lit(2.0))
    frame.select("item_id", "participant_id", *columns).write_parquet(path)
    assert read_predictions(path, world.store).frame.height == 1


def test_a_table_that_predicts_nothing_is_refused(world, path):
    exact(world).select("item_id", "participant_id", "levels").write_parquet(path)
    with pytest.raises(InputError, match="no row predicts anything"):
        read_predictions(path, world.store)


def test_csv_with_lists_as_json_reads_like_parquet(world, path):
    csv = path.with_suffix(".csv")
    csv.write_text(
        f'item_id,participant_id,levels,probs\n{first_item(world)},p0_0,"[1, 2, 3]","[0.2, 0.3, 0.5]"\n'
    )
    exact(world).write_parquet(path)
    assert read_predictions(csv, world.store).frame.equals(read_predictions(path, world.store).frame)


@pytest.mark.parametrize("cell", ["0.5;0.5", "[1e999]", "7", '["a"]', "[true, 0, 0]"])
def test_a_csv_cell_that_is_no_list_of_numbers_is_named_with_its_row(world, path, cell):
    csv = path.with_suffix(".csv")
    frame = pl.DataFrame(
        [{"item_id": first_item(world), "participant_id": "p0_0", "levels": "[1, 2, 3]", "probs": cell}]
    )
    frame.write_csv(csv)
    with pytest.raises(InputError, match="row 0, column 'probs'"):
        read_predictions(csv, world.store)


def test_a_column_of_the_wrong_type_is_named(world, path):
    exact(world).with_columns(value=pl.lit("about four")).write_parquet(path)
    with pytest.raises(InputError, match=r"column 'value' has type .*string, needed double"):
        read_predictions(path, world.store)


def test_a_table_without_rows_is_refused(world, path):
    assert "no rows" in refusal(path, exact(world).head(0), world)


def test_metadata_that_is_no_json_object_is_refused(world, path):
    table = exact(world).to_arrow().cast(PREDICTIONS_SCHEMA)
    for packed, found in ((b"{", "not valid JSON"), (b"[1]", "a JSON object was expected")):
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: packed}), path)
        with pytest.raises(InputError, match=found):
            read_predictions(path, world.store)


def test_an_unknown_item_is_named_with_its_row(world, path):
    message = refusal(path, pl.concat([exact(world), exact(world, item_id="s00.nowhere")]), world)
    assert "row 1" in message
    assert "'s00.nowhere'" in message
    assert first_item(world) in message


def test_an_item_id_may_not_be_null(world, path):
    assert "item_id is empty" in refusal(path, exact(world, item_id=None), world)


def test_a_participant_must_belong_to_the_items_study(world, path):
    assert "'p9_9' is not a participant of study 's00'" in refusal(
        path, exact(world, participant_id="p9_9"), world
    )


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"levels": [1, 2, 4]}, "level 4 found, but its scale is 1, 2, 3 (3 levels)"),
        ({"levels": [1, 2, None]}, "level None found"),
        ({"levels": [1, 2, 2]}, "a level given twice"),
        ({"levels": [1, 2]}, "3 probs for 2 levels"),
        ({"levels": None}, "probs without levels"),
        ({"probs": [0.2, 0.3, 0.6]}, "sum to 1.1"),
        ({"probs": [0.2, 0.3, 0.4]}, "sum to 0.9"),
        ({"probs": [0.2, 0.3, float("nan")]}, "probability nan"),
        ({"probs": [0.2, 0.3, None]}, "probability nan"),
        ({"probs": [0.2, 0.8, float("inf")]}, "probability inf"),
        ({"probs": [1.5, -0.5, 0.0]}, "probability -0.5"),
        ({"levels": [], "probs": []}, "sum to 0"),
    ],
)
def test_probabilities_that_are_none_are_refused_with_row_and_item(world, path, changed, found):
    good = exact(world, participant_id="p0_1")
    message = refusal(path, pl.concat([good, exact(world, **changed)]), world)
    assert f"row 1 (item '{first_item(world)}')" in message
    assert found in message


def test_rows_given_twice_are_refused(world, path):
    message = refusal(path, pl.concat([exact(world), exact(world, probs=[1.0, 0.0, 0.0])]), world)
    assert "row 1" in message
    assert "'p0_0'" in message
    nobody = exact(world, participant_id=None, probs=None, levels=None, draw=1, value=2.0)
    assert "draw 1 was given before" in refusal(path, pl.concat([nobody, nobody]), world)


def test_one_person_may_have_several_draws(world, path):
    frame = pl.concat([exact(world, probs=None, levels=None, draw=k, value=2.0) for k in range(3)])
    write_predictions(path, frame, metadata={})
    assert read_predictions(path, world.store).frame.height == 3


def test_an_open_scale_takes_probabilities_within_its_bounds_only(tmp_path, path):
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0-1.0", command="test")
    builder.add_study("s")
    item = Item(
        study_id="s",
        condition="c",
        outcome="o",
        stimulus="",
        question="How much?",
        answer_format="A number.",
        scale=Scale.open_number(lo=0.0, hi=10.0, origin="stated"),
    )
    item_id = builder.add_item(item)
    builder.add_participant("s", "p", {"age": 30})
    builder.add_response(item_id, "p", 2.5, sample_id=0)
    world = World(builder.write(tmp_path / "store"), {item_id: np.ones(1)})
    write_predictions(path, exact(world, participant_id="p"), metadata={})
    assert read_predictions(path, world.store).frame.height == 1
    message = refusal(path, exact(world, participant_id="p", levels=[1, 2, 11]), world)
    assert "level 11 found, but its scale is open (0.0 to 10.0)" in message
