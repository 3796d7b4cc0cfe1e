"""The Python interface: what a notebook does in five lines, and the same at the shell."""

import dataclasses
import json
import re

import jax
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY
from random_model import random_model
from small import small_recipe, small_store, small_tokenizer
from typer.testing import CliRunner

import socsci_jax as sj
from socsci_jax.cli import app
from socsci_jax.evaluation.table import EVALUATION_SCHEMA
from socsci_jax.simulation.model import params_hash
from socsci_jax.studies.asking import read_short_scale
from socsci_jax.studies.scale import Scale
from socsci_jax.training import prepare
from socsci_jax.training.inputs import load_inputs
from socsci_jax.training.recipe_files import parse_recipe

PEOPLE = [{"age": "34", "gender": "Female"}, {"age": 70.0, "gender": None}]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interface")
    store = small_store(folder / "store", people=4)
    return store, store.split("main"), small_tokenizer(store, folder / "tokenizer")


@pytest.fixture(scope="module")
def asked(world):
    return random_model(world)


@pytest.fixture
def versions():
    return [
        sj.item("Trust?", "1-3: no | yes", stimulus=text, condition=name, outcome="trust")
        for name, text in (("plain", ""), ("praise", "The council won a prize."))
    ]


def test_every_name_of_the_interface_is_there():
    for name in sj.__all__:
        assert getattr(sj, name) is not None and getattr(sj, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'simulat'"):
        sj.simulat  # noqa: B018


def test_a_new_question_gives_a_distribution_for_each_persona(asked, versions):
    predictions = sj.predict(asked, versions, PEOPLE, show_progress=False)
    frame = predictions.frame
    assert frame.height == 4 and frame["participant_id"].to_list() == ["0", "1"] * 2
    np.testing.assert_allclose([sum(probs) for probs in frame["probs"]], 1)
    assert predictions.metadata["model"] == "random" and predictions.metadata["elicitation"] == "exact"


def test_predictions_of_a_split_equal_those_of_the_same_pairs_asked_by_hand(world, asked):
    store, split, _ = world
    pairs = split.pairs("unseen_studies").where(
        pl.col("item_id") == split.pairs("unseen_studies").frame["item_id"][0]
    )
    item_id, people = pairs.frame["item_id"][0], pairs.frame["participant_id"]
    by_hand = sj.predict(
        asked,
        store.item_by_id[item_id],
        [{"participant_id": p, **store.personas[pairs.frame["study_id"][0], p]} for p in people],
        show_progress=False,
    )
    of_split = sj.predict(asked, pairs, show_progress=False)
    assert of_split.frame.equals(by_hand.frame)


def test_shares_and_means_follow_from_the_probabilities(asked, versions):
    predictions = sj.predict(asked, versions, PEOPLE, show_progress=False)
    probs = np.stack(predictions.frame["probs"].to_list()).reshape(2, 2, 3).mean(axis=1)
    shares = predictions.shares()
    np.testing.assert_allclose(shares["share"].to_numpy().reshape(2, 3), probs)
    assert shares["label"].to_list()[:3] == ["no", "", "yes"]
    means = predictions.means()["mean"].to_numpy()
    np.testing.assert_allclose(means, probs @ [1, 2, 3])
    row = predictions.differences().row(0, named=True)
    assert (row["condition"], row["compared_with"]) == ("praise", "plain")
    assert row["difference"] == pytest.approx(means[1] - means[0])
    assert row["percent_of_range"] == pytest.approx(100 * (means[1] - means[0]) / 2)


def test_answers_outside_the_order_have_shares_and_no_part_in_means():
    scale = Scale.of_levels((1, 2), origin="codebook", alternatives={8: "Don't know"})
    item = sj.item("Trust?", scale)
    frame = pl.DataFrame(
        {
            "item_id": [item.item_id],
            "participant_id": ["0"],
            "levels": [[1.0, 2.0, 8.0]],
            "probs": [[0.3, 0.3, 0.4]],
            "mass_on_levels": [1.0],
            "draw": pl.Series([None], dtype=pl.Int32),
            "value": pl.Series([None], dtype=pl.Float64),
        }
    )
    predictions = sj.Predictions(frame=frame, pairs=sj.Pairs.cross(item, [{}]))
    assert predictions.shares()["label"].to_list() == ["", "", "Don't know"]
    assert predictions.means()["mean"].to_list() == [1.5]


def test_draws_are_rows_of_their_own(asked, versions):
    sampling = sj.Sampling(draws=3, max_tokens=1)
    predictions = sj.predict(asked, versions[0], PEOPLE, sampling=sampling, show_progress=False)
    assert predictions.frame.group_by("participant_id").len()["len"].to_list() == [3, 3]


def test_draws_have_shares_too(versions):
    drawn = {"0": [1.0, 3.0], "1": [3.0, None]}
    frame = pl.DataFrame(
        [
            {"item_id": versions[0].item_id, "participant_id": person, "draw": draw, "value": value}
            for person, values in drawn.items()
            for draw, value in enumerate(values)
        ],
    ).with_columns(
        levels=pl.lit(None, pl.List(pl.Float64)),
        probs=pl.lit(None, pl.List(pl.Float64)),
        mass_on_levels=pl.lit(None, pl.Float64),
    )
    predictions = sj.Predictions(frame=frame, pairs=sj.Pairs.cross(versions[0], PEOPLE))
    assert predictions.shares()["share"].to_list() == [0.25, 0, 0.75]


def test_a_plot_shows_hostile_labels_as_they_are(asked, versions, tmp_path):
    hostile = sj.item(r"Trust $\undefined{?", {1: r"$\frac{", 2: "<b>yes</b>"}, outcome=r"$x^")
    figure = sj.predict(asked, [*versions, hostile], PEOPLE, show_progress=False).plot()
    figure.savefig(tmp_path / "plot.png")
    assert len(figure.axes) == 2 and figure.axes[1].get_title(loc="left") == r"$x^"


def test_a_plot_is_shown_by_a_notebook_that_has_not_imported_pyplot(asked, versions):
    figure = sj.predict(asked, versions, PEOPLE, show_progress=False).plot()
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("scale", "levels", "labels"),
    [
        ("1-3", (1, 2, 3), ()),
        ("-1..1", (-1, 0, 1), ()),
        ("1-3: no | yes", (1, 2, 3), ("no", "", "yes")),
        ("1-3: no|maybe|yes", (1, 2, 3), ("no", "maybe", "yes")),
        ("2 = yes | 1 = no", (1, 2), ("no", "yes")),
        (["no", "yes"], (1, 2), ("no", "yes")),
        ({0: "no", 5: "yes"}, (0, 5), ("no", "yes")),
    ],
)
def test_a_scale_written_in_short_is_read_whole(scale, levels, labels):
    read = read_short_scale(scale)
    assert (read.levels, read.labels) == (levels, labels)


@pytest.mark.parametrize(
    "scale",
    ["", "7", "7-1", "1-9999999", "1-7 points", "1-7: a | b | c", "1 = no", "1=a|1=b", "1.5-3", ["no"], {}],
)
def test_a_scale_that_is_not_understood_whole_is_refused(scale):
    with pytest.raises(sj.InputError, match="scale"):
        read_short_scale(scale)


@pytest.mark.parametrize(
    ("what", "personas", "message"),
    [
        ([], PEOPLE, "0 items"),
        (["item"], [], "0 personas"),
        (["item"], None, "personas is missing"),
        (["item"], [{"participant_id": "a"}, {"participant_id": "a"}], "given twice"),
    ],
)
def test_what_cannot_be_asked_is_said_in_words_of_arguments(asked, versions, what, personas, message):
    with pytest.raises(sj.InputError, match=message) as caught:
        sj.predict(asked, versions[:1] if what else [], personas, show_progress=False)
    assert "--" not in str(caught.value)


def test_predictions_written_are_read_again(world, asked, tmp_path):
    store, split, _ = world
    predictions = sj.predict(asked, split.pairs("unseen_participants"), show_progress=False)
    read = sj.read_predictions(predictions.write(tmp_path / "p.parquet"), store)
    assert read.frame.equals(predictions.frame)
    assert read.metadata == json.loads(json.dumps(predictions.metadata))


def test_nothing_is_printed(asked, versions, capsys):
    sj.predict(asked, versions, PEOPLE, show_progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def shell(asked, monkeypatch):
    monkeypatch.setattr(sj, "open_model", lambda name: asked)
    return lambda *arguments: CliRunner().invoke(app, ["ask", "runs/none", *arguments])


def test_ask_shows_shares_and_the_difference_between_versions(shell, tmp_path):
    people, out = tmp_path / "people.csv", tmp_path / "answers.csv"
    people.write_text("age,gender\n34,Female\n70,\n")
    stimuli = ("--stimulus", "plain=", "--stimulus", "praise=The council won a prize.")
    question = ("--question", "[bold]Trust?", "--scale", "1-3: no | yes", *stimuli)
    found = shell(*question, "--people", str(people), "-o", str(out))
    assert found.exit_code == 0, found.output
    assert "praise" in found.output and "█" in found.output and "percent_of_range" in found.output
    assert "is not known here" in found.output
    written = pl.read_csv(out)
    assert written.height == 6 and written["share"].sum() == pytest.approx(2)


def test_ask_says_that_an_evaluation_judges_no_unseen_studies(asked, monkeypatch, tmp_path):
    monkeypatch.setattr(sj, "open_model", lambda name: asked)
    (tmp_path / "evaluation").mkdir()
    told = {"predictions": {"model_hash": params_hash(asked.params)}}
    empty = EVALUATION_SCHEMA.empty_table().replace_schema_metadata({b"socsci_jax": json.dumps(told)})
    pq.write_table(empty, tmp_path / "evaluation" / "evaluation.parquet")
    question = ("--question", "Trust?", "--scale", "1-3", "--persona", "age=34")
    found = CliRunner().invoke(app, ["ask", str(tmp_path), *question])
    assert found.exit_code == 0 and "judges none" in " ".join(found.output.split()), found.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--question", "Trust?"], "--scale"),
        (["--question", "Trust?", "--scale", "1-3"], "--persona"),
        (["--question", "T?", "--scale", "1-3", "--persona", "old"], "name=value"),
        (["--question", "T?", "--scale", "1-3", "--persona", "age=3", "-o", "a.xlsx"], "written as .csv"),
        (["--question", "T?", "--scale", "1-3", "--people", "absent.csv"], "file not found"),
    ],
)
def test_ask_says_what_is_missing(shell, arguments, message):
    found = shell(*arguments)
    assert isinstance(found.exception, sj.InputError) and message in str(found.exception)


QUESTION = ("--question", "Trust?", "--scale", "1 = =A1 | 2 = yes", "--persona", "age=34")


def test_ask_replaces_no_file_unasked_and_writes_nothing_that_a_spreadsheet_runs(shell, tmp_path):
    out = tmp_path / "answers.csv"
    out.write_text("people's own")
    refused = shell(*QUESTION, "-o", str(out))
    assert "exists already" in str(refused.exception) and out.read_text() == "people's own"
    assert shell(*QUESTION, "-o", str(out), "--replace").exit_code == 0
    assert pl.read_csv(out)["label"].to_list() == ["'=A1", "yes"]


def test_ask_allows_another_layout_where_it_is_meant(shell):
    refused = shell(*QUESTION, "--layout", "persona_first")
    assert "`allow_other_layout=True`" in str(refused.exception)
    assert shell(*QUESTION, "--layout", "persona_first", "--allow-other-layout").exit_code == 0


@pytest.mark.parametrize("sizes", [{"fsdp": 0}, {"tensor": 3}, {"data": 0}, {"data": 99}, {"fsdp": -1}])
def test_a_mesh_that_the_devices_cannot_be_is_one_sentence(sizes):
    with pytest.raises(sj.InputError, match="give sizes of at least 1"):
        sj.open_model("absent", **sizes)


@pytest.mark.parametrize("name", ["experiment.yaml", ""], ids=["file", "folder"])
def test_ask_takes_an_experiment_from_a_file_or_its_folder(shell, tmp_path, name):
    text = re.search(
        r"```yaml\n(study: council.*?)```", (REPOSITORY / "docs" / "asking.md").read_text(), re.S
    )[1]
    (tmp_path / (name or "study.yaml")).write_text(text)
    out = tmp_path / "answers.parquet"
    found = shell(str(tmp_path / name), "--persona", "age=34; gender=Female", "-o", str(out))
    assert found.exit_code == 0, found.output
    assert pl.read_parquet(out).height == 4 and "praise" in found.output and "vote" in found.output


def test_the_lines_of_the_documentation_run(asked, monkeypatch):
    lines = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs" / "asking.md").read_text(), re.S)[1]
    monkeypatch.setattr(sj, "open_model", lambda name: asked)
    names = {}
    exec(lines, names)
    assert "people" in names


def test_the_lines_of_the_readme_run(asked, monkeypatch):
    lines = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)[1]
    monkeypatch.setattr(sj, "open_model", lambda name: asked)
    exec(lines, {})


def test_the_lines_of_the_documentation_that_evaluate_a_split_run(world, asked, monkeypatch):
    page = REPOSITORY / "docs" / "how-to" / "from-data-to-report.md"
    lines = re.search(r"```python\n(.*?)```", page.read_text(), re.S)[1]
    monkeypatch.setattr(sj, "open_model", lambda name: asked)
    monkeypatch.setattr(sj, "open_store", lambda path: world[0])
    names = {}
    exec(lines, names)
    assert "unseen_participants" in names["evaluation"].table["part"].to_list()


def test_ask_shows_how_this_very_model_did_on_unseen_studies(world, asked, shell, tmp_path, monkeypatch):
    store, split, _ = world
    evaluation = sj.evaluate(sj.predict(asked, split.pairs(), show_progress=False), store, split, minimum_n=1)
    evaluation.write(tmp_path / "run" / "evaluation")
    arguments = [
        "ask",
        str(tmp_path / "run"),
        "--question",
        "Trust?",
        "--scale",
        "1-3",
        "--persona",
        "age=34",
    ]
    found = CliRunner().invoke(app, arguments)
    assert "did on unseen studies" in found.output and "condition_pooled" in found.output
    value = evaluation.metric("wasserstein", part="unseen_studies")
    assert f"{value.value:.3g}" in found.output
    # The folder next to it has a model that was never evaluated: what lies beside it is another model's.
    other = dataclasses.replace(asked, params=jax.tree.map(lambda array: array * 0.5, asked.params))
    monkeypatch.setattr(sj, "open_model", lambda name: other)
    for of_another in (tmp_path / "run", tmp_path / "run" / "checkpoint"):
        of_another.mkdir(exist_ok=True)
        arguments[1] = str(of_another)
        found = CliRunner().invoke(app, arguments)
        shown = " ".join(found.output.split())
        assert "judges another model's predictions (random)" in shown and "is not known here" in shown
        assert "condition_pooled" not in shown


def test_an_attribute_that_the_model_was_not_trained_with_is_named(asked, versions, caplog):
    knowing = dataclasses.replace(asked, metadata=asked.metadata | {"attributes": ["age", "gender"]})
    sj.predict(knowing, versions[:1], [{"age": "34", "sex": "f"}], show_progress=False)
    assert "not trained with 'sex'; it knows 'age', 'gender'" in caplog.text
    caplog.clear()
    sj.predict(knowing, versions[:1], [{"age": "34", "sex": None}], show_progress=False)
    assert not caplog.text


def test_words_for_people_that_the_model_was_not_trained_with_are_named(asked, versions, caplog):
    forms = {"age": ["# years"], "gender": ["Female", "Male"]}
    told = {"attributes": ["age", "gender", "town"], "attribute_forms": forms}
    knowing = dataclasses.replace(asked, metadata=asked.metadata | told)
    people = [{"age": "34", "gender": "female"}, {"age": "70 years", "gender": "Male"}]
    sj.predict(knowing, versions[:1], people, show_progress=False)
    assert (
        "age '34': the model was not trained with people described so; it knows '# years' (# is a number)"
        in caplog.text
    )
    assert (
        "gender 'female': the model was not trained with people described so; it knows 'Female', 'Male'."
        in caplog.text
    )
    caplog.clear()
    sj.predict(knowing, versions[:1], [people[1] | {"town": "anywhere"}], show_progress=False)
    assert not caplog.text


def test_the_words_that_are_kept_are_those_of_people_who_are_trained_on(tmp_path):
    store = small_store(tmp_path / "store", people=12)
    recipe = parse_recipe(small_recipe(store, tmp_path / "run"), where="test")
    told = prepare._metadata(recipe, load_inputs(recipe), small_tokenizer(store, tmp_path / "tokenizer"))
    assert told["attribute_forms"] == {"age": ["# or older", "#-#"], "gender": ["Female", "Male"]}


def test_a_terminal_is_told_how_to_see_a_figure(asked, versions, tmp_path):
    figure = sj.predict(asked, versions, PEOPLE, show_progress=False).plot()
    assert "a notebook shows it; elsewhere save it" in repr(figure)
    figure.savefig(tmp_path / "answers.png")
    assert (tmp_path / "answers.png").stat().st_size > 1_000


@pytest.mark.parametrize("scale", ["1 = yes | 2 = YES", ["no", "no"], {1: "a", 3: " a"}])
def test_levels_with_the_same_label_are_refused(scale):
    with pytest.raises(sj.InputError, match="nobody could tell them apart"):
        read_short_scale(scale)


def test_a_split_is_made_saved_and_found_by_its_name(tmp_path):
    store = small_store(tmp_path / "store", people=4)
    made = sj.split_store(store, name="other", participants=0.25, seed=3)
    assert store.split("other").content_hash == made.content_hash
    with pytest.raises(sj.InputError, match="other"):
        sj.split_store(store, name="other", participants=0.5)
