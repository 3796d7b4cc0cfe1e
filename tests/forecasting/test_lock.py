"""A forecast that is locked, and scored against planted answers."""

import datetime
import json
import os

import numpy as np
import polars as pl
import pytest
from browser import DRAWN, Visit, look
from forecast_world import PEOPLE, experiment_items, invented_collection, planted_predict
from small import small_item

from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.silicon_sample import Ranges, problems
from socsci_jax.forecasting.checklists import read_stated
from socsci_jax.forecasting.files import write_forecast
from socsci_jax.forecasting.forecast import forecast
from socsci_jax.forecasting.lock import lock, read_lock
from socsci_jax.forecasting.population import population
from socsci_jax.forecasting.report import score_page
from socsci_jax.forecasting.score import arms_of_store, last_changed, score, write_score
from socsci_jax.studies.schema import Scale
from socsci_jax.studies.store_builder import StoreBuilder

SLIDER = Scale.of_levels(range(0, 101), origin="stated")
ARMS, OUTCOMES = 17, 13
CODEBOOK = Ranges({f"outcome {o}": (0.0, 100.0) for o in range(OUTCOMES)})


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lock")
    made = forecast(
        experiment_items(arms=ARMS, outcomes=OUTCOMES, scale=SLIDER),
        predict=planted_predict,
        population=population(PEOPLE),
        collection=invented_collection(np.random.default_rng(0)),
    )
    write_forecast(made, folder / "forecast")
    return lock(
        folder / "forecast",
        folder / "lock",
        stated={"team": "We | us"},
        documents={"notes.md": "# Notes\n"},
        ranges=CODEBOOK,
    )


@pytest.mark.parametrize(
    "tier, rows", [("T1", ARMS * len(PEOPLE)), ("T2", ARMS * OUTCOMES), ("T3", (ARMS - 1) * OUTCOMES)]
)
def test_every_tier_keeps_the_benchmarks_rules(locked, tier, rows):
    table = pl.read_csv(locked.forecast.path / f"{tier}.csv", infer_schema=False)
    assert table.height == rows
    assert problems(table, ranges=CODEBOOK) == []


def test_means_and_effects_of_the_tiers_say_the_same(locked):
    t2, t3 = (pl.read_csv(locked.forecast.path / f"{tier}.csv") for tier in ("T2", "T3"))
    control = t2.filter(condition="control").select("outcome", base="mean")
    both = t3.join(t2, on=["condition", "outcome"]).join(control, on="outcome")
    assert np.allclose(both["mean"] - both["base"], both["ate"])


def test_a_tier_against_the_rules_is_not_locked(locked, tmp_path):
    narrow = Ranges({"outcome 0": (0.0, 10.0)})
    with pytest.raises(InputError, match=r"T1 does not keep the benchmark's rules: .*outcome 0"):
        lock(locked.forecast.path, tmp_path / "other", ranges=narrow)


@pytest.mark.parametrize("name", ["T3.csv", "effects.parquet", "notes.md", "guide-llm.md", "lock.json"])
def test_a_changed_byte_is_noticed(locked, tmp_path, name):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in locked.forecast.path.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    read_lock(copy)
    content = bytearray((copy / name).read_bytes())
    # Of the lock itself a digit of its time, so that it stays JSON.
    place = content.index(b'"locked": "2') + 11 if name == "lock.json" else len(content) // 2
    content[place] ^= 1
    (copy / name).write_bytes(bytes(content))
    with pytest.raises(InputError, match=f"{name}: was changed after it was locked"):
        read_lock(copy)


def test_a_file_that_is_added_or_gone_is_noticed(locked, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in locked.forecast.path.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "more.csv").write_text("x")
    with pytest.raises(InputError, match=r"more\.csv: was added"):
        read_lock(copy)
    (copy / "more.csv").unlink()
    (copy / "T2.csv").unlink()
    with pytest.raises(InputError, match=r"T2\.csv: is missing"):
        read_lock(copy)


def test_both_checklists_are_filled_from_what_is_known_and_name_what_is_missing(locked):
    guide = (locked.forecast.path / "guide-llm.md").read_text()
    form = (locked.forecast.path / "registration-form.md").read_text()
    heads = 2
    assert guide.count("\n| ") == heads + 14 and form.count("\n| ") == heads + 37
    assert "We \\| us" in form and "0.1 ★ Team" not in form.split("## Missing")[1]
    assert "17 arms, 13 outcomes, from no answers of this experiment" in form
    assert "30 past studies" in form and "6 personas, each in every one of 17 arms" in form
    assert "- G.3 ★ Blinding, attested:" in form.split("## Missing")[1]


def test_statements_under_other_keys_are_refused(tmp_path):
    (tmp_path / "stated.yaml").write_text("teem: us\n")
    with pytest.raises(InputError, match=r"unknown key 'teem'; known are team, summary"):
        read_stated(tmp_path / "stated.yaml")


def planted(locked, errors: np.ndarray, *, people: int = 400) -> pl.DataFrame:
    """Answers whose effects miss the forecast by exactly `errors` [contrasts], and spread by 10 points on both sides."""
    effects = locked.forecast.table("effects")
    means = {(o, "control"): 50.0 for o in effects["outcome"].unique()}
    for row, error in zip(effects.iter_rows(named=True), errors, strict=True):
        means[row["outcome"], row["condition"]] = 50 + row["expected"] + error
    rows = [
        (condition, outcome, mean + (10 if k % 2 else -10))
        for (outcome, condition), mean in means.items()
        for k in range(people)
    ]
    return pl.DataFrame(rows, schema=["condition", "outcome", "value"], orient="row")


def test_planted_answers_give_the_planted_errors(locked):
    effects = locked.forecast.table("effects")
    errors = np.random.default_rng(1).normal(size=effects.height) * 3
    found = score(locked, planted(locked, errors))
    expected, raw = effects["expected"].to_numpy(), effects["predicted"].to_numpy()
    assert found.value("rmse_forecast") == pytest.approx(np.sqrt((errors**2).mean()))
    assert found.value("rmse_no_effect") == pytest.approx(np.sqrt(((expected + errors) ** 2).mean()))
    assert found.value("rmse_raw") == pytest.approx(np.sqrt(((expected + errors - raw) ** 2).mean()))


def test_answers_that_are_older_than_the_lock_are_told(locked, tmp_path):
    errors = np.zeros(locked.forecast.table("effects").height)
    when = datetime.datetime.fromisoformat(locked.record["locked"])
    hour = datetime.timedelta(hours=1)
    before, after = (score(locked, planted(locked, errors), changed=when + step) for step in (-hour, hour))
    assert before.answers_from == (when - hour).isoformat() and after.answers_from == ""
    pages = [score_page.render(scored) for scored in (before, after)]
    assert ["older than the lock" in page for page in pages] == [True, False]
    assert not any("before anybody answered" in page for page in pages)
    (tmp_path / "answers.csv").write_text("")
    os.utime(tmp_path / "answers.csv", (0, 0))
    assert last_changed(tmp_path).timestamp() == last_changed(tmp_path / "answers.csv").timestamp() == 0


def test_planted_answers_are_covered_as_planted(locked):
    """Three of four effects are as forecast, the others out of every interval."""
    effects = locked.forecast.table("effects")
    errors = np.where(np.arange(effects.height) % 4 == 0, 25.0, 0.0)
    found = score(locked, planted(locked, errors))
    as_forecast = (errors == 0)[(effects["abstains"] == "").to_numpy()].mean()
    assert found.value("coverage_90") == found.value("coverage_50") == pytest.approx(as_forecast)
    assert found.coverage["covered"].to_list() == pytest.approx([as_forecast] * found.coverage.height)


def test_people_in_rows_are_scored_like_answers_in_rows(locked):
    long = planted(locked, np.ones(locked.forecast.table("effects").height), people=40)
    numbered = long.with_columns(person=pl.int_range(pl.len()).over("condition", "outcome"))
    wide = numbered.pivot("outcome", index=["condition", "person"], values="value")
    found = score(locked, wide)
    assert found.value("rmse_forecast") == pytest.approx(1.0)


@pytest.mark.slow
def test_the_page_of_a_score_holds_together_in_a_browser(locked, tmp_path):
    errors = np.random.default_rng(1).normal(size=locked.forecast.table("effects").height) * 3
    folder = write_score(score(locked, planted(locked, errors)), tmp_path / "score")
    assert (folder / "coverage.png").stat().st_size > 1_000
    text = (folder / "report.html").read_text()
    assert locked.hash in text and text.count("<script") == 1
    visits = [
        Visit(folder / "report.html", script=DRAWN, axe=True),
        Visit(folder / "report.html", script=DRAWN, theme="dark", width=390),
    ]
    for visit, seen in zip(visits, look(visits), strict=True):
        assert seen.errors == [] and seen.violations == [], visit
        assert seen.value["drawn"] == seen.value["plots"] == OUTCOMES + 2
        assert seen.value["sideways"] == 0


def test_data_of_another_study_are_refused(locked):
    with pytest.raises(InputError, match="none of the outcomes"):
        score(locked, pl.DataFrame({"condition": ["control"], "mood": [3]}))


def test_conditions_of_other_names_are_named(locked):
    data = pl.DataFrame({"condition": ["Control", "arm 1"] * 30, "outcome 0": list(range(1, 61))})
    with pytest.raises(InputError, match="The data have “Control”; the forecast has “control”, “arm 1”"):
        score(locked, data)


def test_every_answer_that_is_not_used_is_counted_by_its_reason(locked):
    good = planted(locked, np.ones(locked.forecast.table("effects").height), people=40).with_columns(
        pl.col("value").cast(pl.String),
        weight=pl.lit("1"),
        participant_id=pl.int_range(pl.len()).cast(pl.String),
    )
    bad = [
        ("control", "outcome 0", "many", "1", "a"),
        ("control", "outcome 0", "inf", "1", "b"),
        ("control", "outcome 0", "101", "1", "c"),
        ("arm 99", "outcome 0", "50", "1", "d"),
        (None, "outcome 0", "50", "1", "e"),
        ("control", "mood", "50", "1", "f"),
        ("control", "outcome 0", "50", "inf", "g"),
        ("control", "outcome 0", "50", "-1", "h"),
        ("control", "outcome 0", "50", "1e-320", "j"),
        ("control", "outcome 0", "50", "1e308", "k"),
        (*good.row(0)[:2], "50", "1", "0"),
        ("control", "outcome 0", None, "1", "i"),
    ]
    found = score(locked, pl.concat([good, pl.DataFrame(bad, schema=good.columns, orient="row")]))
    assert found.value("rmse_forecast") == pytest.approx(1.0)
    assert found.excluded == {
        "not a number": 2,
        "off their scale": 1,
        "without a condition, or of one that the forecast does not have": 2,
        "of an outcome that the forecast does not have": 1,
        "without a weight, or of one that is not above zero": 2,
        "of a weight below 1e-12 or above 1e+12": 2,
        "of somebody who answered before": 1,
    }


def test_effects_that_nobody_can_judge_are_counted(locked):
    effects = locked.forecast.table("effects")
    answers = planted(locked, np.zeros(effects.height), people=40).with_columns(n=pl.int_range(pl.len()))
    arm = pl.col("condition") == effects["condition"][0], pl.col("outcome") == effects["outcome"][0]
    few = answers.filter(*arm).head(5)
    found = score(locked, pl.concat([answers.filter(~(arm[0] & arm[1])), few]).drop("n"))
    assert (found.unscored, found.effects.height) == (1, effects.height - 1)
    assert "Not scored" in score_page.render(found)


def test_an_effect_without_a_forecast_has_its_reason_in_a_column_of_its_own(locked):
    found = score(locked, planted(locked, np.zeros(locked.forecast.table("effects").height), people=40))
    assert "Why there is no forecast" not in score_page.render(found)
    first = pl.int_range(pl.len()) == 0
    refused = found.effects.with_columns(
        abstains=pl.when(first).then(pl.lit("too far")).otherwise("abstains")
    )
    table = score_page._effects(refused)
    assert [column.title for column in table.columns][-2:] == ["90 % interval", "Why there is no forecast"]
    ends = [[cell.text for cell in row[-2:]] for row in table.rows]
    assert ends[0] == ["–", "too far"] and all(why == "" and held != "–" for held, why in ends[1:])


def test_answers_of_a_store_that_are_not_used_are_counted_by_their_reason(tmp_path):
    builder = StoreBuilder(attributes=("age",), source="x", license="x", command="x")
    builder.add_study("s")
    scale = Scale.of_levels(range(1, 6), origin="stated", alternatives={9: "don't know"})
    items = [small_item("s", arm, name, scale) for arm in "abc" for name in ("warm", "cold")]
    for n, item in enumerate(items):
        item_id = builder.add_item(item)
        for person, value in enumerate((1, 2, 5, 9)):
            builder.add_participant("s", f"{n}-{person}", {"age": 34}, weight=0.0 if value == 5 else 1.0)
            builder.add_response(item_id, f"{n}-{person}", value, sample_id=0)
    store = builder.write(tmp_path / "store")
    arms = pl.DataFrame({"study": ["f", "f"], "condition": ["a", "b"], "outcome": ["warm", "warm"]})
    human, excluded = arms_of_store(store, arms)
    assert set(human["study"]) == {"f"}
    assert excluded == {
        "of an outcome that the forecast does not have": 9,
        "of a condition that the forecast does not have": 3,
        "of somebody whose weight is zero": 2,
        "without a place in the order of their scale": 6,
    }


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("forecast.json", lambda facts: facts.pop("learned")),
        ("forecast.json", lambda facts: facts["learned"].update(weights=[1.0])),
        ("forecast.json", lambda facts: facts["learned"]["features"].append({"name": "x"})),
        ("forecast.json", lambda facts: facts.update(composites=[{"name": "a"}])),
        ("arms.parquet", lambda table: table.drop("lo")),
        ("arms.parquet", lambda table: table.with_columns(outcome=pl.lit(1))),
        ("effects.parquet", lambda table: table.with_columns(reference=pl.lit(None, pl.String))),
    ],
)
def test_a_forecast_that_is_not_whole_is_refused_in_a_sentence(locked, tmp_path, name, change):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in locked.forecast.path.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    if name.endswith(".json"):
        facts = json.loads((copy / name).read_text())
        change(facts)
        (copy / name).write_text(json.dumps(facts))
    else:
        change(pl.read_parquet(copy / name)).write_parquet(copy / name)
    with pytest.raises(InputError, match="make the forecast again"):
        lock(copy, tmp_path / "other")


@pytest.mark.parametrize("name", ["value", "outcome"])
def test_a_table_of_people_may_have_columns_of_any_name(locked, name):
    """A row a person has one of both names without saying that it is a row an answer."""
    long = planted(locked, np.ones(locked.forecast.table("effects").height), people=40)
    numbered = long.with_columns(person=pl.int_range(pl.len()).over("condition", "outcome"))
    wide = numbered.pivot("outcome", index=["condition", "person"], values="value")
    found = score(locked, wide.with_columns(pl.lit("more").alias(name)))
    assert found.value("rmse_forecast") == pytest.approx(1.0)


def test_arms_of_equal_answers_are_not_judged(locked):
    """The mean of equal answers is not exactly their value, so their spread must not be taken from it."""
    answers = planted(locked, np.zeros(locked.forecast.table("effects").height), people=60)
    first = (pl.col("outcome") == "outcome 0") & (pl.col("condition") == "arm 1")
    made = score(locked, answers.with_columns(pl.when(first).then(41.3).otherwise("value").alias("value")))
    assert made.unscored == 1
    with pytest.raises(InputError, match="or equal ones only"):
        score(locked, answers.with_columns(value=pl.lit(41.3)))


@pytest.mark.parametrize("name", ["condition", "outcome", "value", "weight"])
@pytest.mark.parametrize("cell", [7, 0.5, True, None, datetime.date(2026, 1, 1)])
def test_cells_of_another_type_are_counted_as_texts_are(locked, name, cell):
    answers = planted(locked, np.ones(locked.forecast.table("effects").height), people=40)
    whole = answers.with_columns(weight=pl.lit(1.0)).with_columns(pl.lit(cell).alias(name))
    if name == "weight" and cell in (7, 0.5):
        assert score(locked, whole).excluded == {}
    else:
        with pytest.raises(InputError, match="no effect of the forecast"):
            score(locked, whole)


@pytest.mark.parametrize("kind", [pl.List(pl.Float64), pl.Binary, pl.Categorical])
def test_answers_of_every_type_are_read_or_refused_in_a_sentence(locked, kind):
    answers = planted(locked, np.ones(locked.forecast.table("effects").height), people=40)
    values = answers["value"]
    odd = (
        pl.Series([[v] for v in values]) if kind == pl.List(pl.Float64) else values.cast(pl.String).cast(kind)
    )
    if kind == pl.Categorical:
        assert score(locked, answers.with_columns(value=odd)).value("rmse_forecast") == pytest.approx(1.0)
    else:
        with pytest.raises(InputError, match="'value'; give one value in each cell"):
            score(locked, answers.with_columns(value=odd))
