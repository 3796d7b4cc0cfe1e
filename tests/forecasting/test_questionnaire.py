"""A questionnaire as large as a real one: 17 arms of long texts, 45 questions of unequal scales, 13 outcomes reported."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from forecast_world import invented_collection

from data_pipelines.specified.experiment import items_of_experiment
from socsci_jax.errors import InputError
from socsci_jax.evaluation.elsewhere.silicon_sample import Ranges, problems
from socsci_jax.forecasting.composites import composites_of
from socsci_jax.forecasting.files import read_forecast, write_forecast
from socsci_jax.forecasting.forecast import forecast
from socsci_jax.forecasting.lock import lock
from socsci_jax.forecasting.population import population
from socsci_jax.forecasting.score import score
from socsci_jax.forecasting.tiers import tiers
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.specification_files import load_specification
from socsci_jax.studies.store_builder import StoreBuilder

PAGES = (
    "On the next pages you read about people who study the climate.",
    "They measure temperatures at 12,000 stations, drill ice that is 800,000 years old, and compare what 30 models say. "
    "Of 100 papers that one of them sends to a journal, 70 come back with the remarks of others who try to find mistakes.",
    'Here is what "{arm}" means in their work: before a number is published, it is shown to those who doubt it most.',
)
SLIDER = {"lo": 0, "hi": 100, "labels": {0: "not at all", 100: "very much"}}
LIKERT = {
    "levels": {
        k: label
        for k, label in enumerate(("strongly disagree", "disagree", "neither", "agree", "strongly agree"), 1)
    },
    "alternatives": {8: "don't know"},
}


def experiment(arms: int = 17) -> dict:
    """Sliders with parts of parts, agreement with "don't know", dollars, yes or no, percent, names, and an open number."""
    trust = {
        f"{part}_{k}": SLIDER
        for part in ("competence", "integrity", "benevolence", "openness")
        for k in (1, 2, 3)
    }
    scales = {
        **trust,
        **{f"policy_{k}": LIKERT for k in range(1, 8)},
        **{f"behavior_{k}": SLIDER for k in range(1, 7)},
        **{f"concern_{k}": {"lo": 1, "hi": 7} for k in (1, 2, 3)},
        **{f"institution_{k}": SLIDER for k in range(1, 6)},
        **{name: SLIDER for name in ("trust_post", "distrust_post", "belief_post", "policy_general")},
        "funding_raw": {**SLIDER, "labels": {0: "far too little", 50: "about right", 100: "far too much"}},
        "donation": {"lo": 0, "hi": 10, "step": 0.1},
        "newsletter": {"levels": {0: "No", 1: "Yes"}},
        "share_of_scientists": {"lo": 0, "hi": 100, "step": 5},
        "first_thing": {"levels": {1: "taxes", 2: "trains", 3: "forests"}, "nominal": True},
        "minutes": {"number": True, "lo": 0},
    }
    composites = {
        **{
            part: {"of": [f"{part}_{k}" for k in (1, 2, 3)]}
            for part in ("competence", "integrity", "benevolence", "openness")
        },
        "trust": {"of": ["competence", "integrity", "benevolence", "openness"]},
        "policy_mean": {"of": [f"policy_{k}" for k in range(1, 8)], "reversed": ["policy_7"]},
        "behavior_mean": {"of": [f"behavior_{k}" for k in range(1, 7)]},
        "concern_mean": {"of": [f"concern_{k}" for k in (1, 2, 3)]},
        "institutions": {"of": [f"institution_{k}" for k in range(1, 6)]},
        "funding": {"of": ["funding_raw"], "reversed": ["funding_raw"]},
    }
    levels = {
        "nothing": {"text": [], "control": True},
        **{f"Arm {k}: openness, & doubt": [page.format(arm=k) for page in PAGES] for k in range(1, arms)},
    }
    return {
        "study": "climate-scientists",
        "factors": {"intervention": {"levels": levels}},
        "outcomes": {
            name: {"question": f"About {name.replace('_', ' ')}:", "scale": scale}
            for name, scale in scales.items()
        },
        "composites": composites,
    }


REPORTED = {
    *("trust", "policy_mean", "behavior_mean", "concern_mean", "institutions", "funding"),
    *(
        "trust_post",
        "distrust_post",
        "belief_post",
        "policy_general",
        "donation",
        "newsletter",
        "share_of_scientists",
    ),
}
PEOPLE = [{"gender": gender, "age": age} for gender in ("Female", "Male") for age in ("22", "61")]


def read(folder, tree):
    (folder / "experiment.yaml").write_text(json.dumps(tree))
    specification = load_specification(folder / "experiment.yaml")
    return items_of_experiment(specification, folder), composites_of(specification)


def predict(pairs):
    """Every arm moves every mean by a little more than the one before it; open numbers are not predicted."""
    order = {name: k for k, name in enumerate(dict.fromkeys(item.condition for item in pairs.items.values()))}
    rows = []
    for item_id, _, person in pairs.frame.iter_rows():
        item = pairs.items[item_id]
        if item.scale.kind != "levels":
            continue
        levels = np.asarray(item.scale.levels, float)
        at = (levels - levels.mean()) / levels.std()
        logits = -0.5 * at**2 + 0.03 * order[item.condition] * at
        probs = np.exp(logits) / np.exp(logits).sum()
        if item.scale.alternatives:  # where a model is offered them, as many as do not care
            levels, probs = np.append(levels, item.scale.alternatives), np.append(0.7 * probs, 0.3)
        rows.append((item_id, person, levels.tolist(), probs.tolist(), 0.97))
    schema = ["item_id", "participant_id", "levels", "probs", "mass_on_levels"]
    return Predictions(
        frame=pl.DataFrame(rows, schema=schema, orient="row"), pairs=pairs, metadata={"model": "planted"}
    )


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questionnaire")
    items, composites = read(folder, experiment())
    made = forecast(
        items,
        predict=predict,
        population=population(PEOPLE),
        collection=invented_collection(np.random.default_rng(0), studies=12),
        composites=composites,
    )
    write_forecast(made, folder / "forecast")
    ranges = {name: (0.0, 100.0) for name in REPORTED} | {
        "policy_mean": (1.0, 5.0), "concern_mean": (1.0, 7.0), "donation": (0.0, 10.0), "newsletter": (0.0, 1.0),
    }  # fmt: skip
    return lock(folder / "forecast", folder / "lock", ranges=Ranges(ranges)), Ranges(ranges)


def test_every_tier_keeps_the_rules_and_reports_composites_in_place_of_their_parts(locked):
    lock, ranges = locked
    tables = {t: pl.read_csv(lock.forecast.path / f"{t}.csv", infer_schema=False) for t in ("T1", "T2", "T3")}
    for table in tables.values():
        assert problems(table, ranges=ranges) == []
    assert set(tables["T2"]["outcome"]) == set(tables["T3"]["outcome"]) == REPORTED
    assert tables["T2"].height == 17 * 13 and tables["T3"].height == 16 * 13
    assert tables["T1"].height == 17 * len(PEOPLE)


def test_simulated_people_answer_on_the_scale(locked):
    """The benchmark's form has no "don't know": a code beside the scale would be read as a number."""
    t1 = pl.read_csv(locked[0].forecast.path / "T1.csv")
    assert t1.select(pl.col(f"policy_{k}").is_between(1, 5).all() for k in range(1, 8)).row(0) == (True,) * 7


def test_an_outcome_with_the_name_of_a_column_of_t1_is_refused(locked, tmp_path):
    for file in locked[0].forecast.path.iterdir():
        text = file.read_bytes()
        (tmp_path / file.name).write_bytes(
            text.replace(b'"donation"', b'"income"') if file.suffix == ".json" else text
        )
    with pytest.raises(InputError, match="outcome 'income' has the name of a column of T1"):
        tiers(read_forecast(tmp_path))


def test_what_a_composite_is_toward_goes_with_its_parts(locked):
    page = (locked[0].forecast.path / "report.html").read_text()
    assert "positive is toward “lower values of its parts”" in page  # funding
    assert "positive is toward “higher values (lower of reversed parts)”" in page  # policy_mean


def test_a_persons_composite_is_the_mean_of_that_persons_answers(locked):
    t1 = pl.read_csv(locked[0].forecast.path / "T1.csv")
    parts = [part for part in ("competence", "integrity", "benevolence", "openness")]
    assert np.allclose(t1["trust"], t1.select(pl.mean_horizontal(parts)).to_series())
    by_hand = t1.select((pl.sum_horizontal(f"policy_{k}" for k in range(1, 7)) + 6 - pl.col("policy_7")) / 7)
    assert np.allclose(t1["policy_mean"], by_hand.to_series())
    assert np.allclose(t1["funding"], 100 - t1["funding_raw"])


def test_a_composites_effect_is_the_mean_of_its_parts_effects(locked):
    effects = locked[0].forecast.table("effects")
    arm = effects["condition"][3]
    of = dict(effects.filter(condition=arm).select("outcome", "predicted").iter_rows())
    assert of["concern_mean"] == pytest.approx(np.mean([of[f"concern_{k}"] for k in (1, 2, 3)]))
    assert of["funding"] == pytest.approx(-of["funding_raw"])


def test_what_has_no_order_is_named_and_not_forecast(locked):
    lock, _ = locked
    assert lock.forecast.record["metadata"]["outcomes_without_order"] == ["first_thing", "minutes"]
    page = (lock.forecast.path / "report.html").read_text()
    assert "No effects on “first_thing” and “minutes”" in page
    assert not {"first_thing", "minutes"} & set(lock.forecast.table("effects")["outcome"])


def test_people_answers_to_the_parts_give_the_planted_errors_of_composites(locked):
    """Everybody answers all parts alike, so that a composite's effect misses its forecast as its parts miss theirs."""
    lock, _ = locked
    arms = lock.forecast.table("arms")
    effects = lock.forecast.table("effects")
    expected = {(o, c): e for o, c, e in effects.select("outcome", "condition", "expected").iter_rows()}
    spread = np.array([-20.0, 20.0] * 20)
    people = []
    for condition in arms["condition"].unique(maintain_order=True).to_list():
        shift = 0.0 if condition == "nothing" else expected["concern_mean", condition] + 1.5
        for x in spread:
            at = (50 + shift + x) / 100
            people.append({"condition": condition, **{f"concern_{k}": 1 + 6 * at for k in (1, 2, 3)}})
    found = score(lock, pl.DataFrame(people))
    own = found.effects.filter(outcome="concern_mean")
    assert own.height == 16
    assert (own["human"] - own["expected"]).to_numpy() == pytest.approx(1.5)


def test_a_store_of_answers_is_scored_like_the_table_of_the_same_people(locked, tmp_path):
    """Composites are made of their parts, reversed ones too; who lacks a part has none."""
    lock, _ = locked
    parts = [f"policy_{k}" for k in range(1, 8)]
    rng = np.random.default_rng(3)
    items, _ = read(tmp_path, experiment(arms=2))
    builder = StoreBuilder(attributes=(), source="small", license="CC0", command="test")
    builder.add_study("called-otherwise", title="Policies")
    of = {(i.condition, i.outcome): builder.add_item(replace(i, study_id="called-otherwise")) for i in items}
    table = []
    for number, condition in enumerate(("nothing", "Arm 1: openness, & doubt") * 30):
        own = dict(zip(parts, rng.integers(1, 6, size=7).tolist()))
        if number == 0:
            del own["policy_7"]
        builder.add_participant("called-otherwise", str(number), {})
        for name, value in own.items():
            builder.add_response(of[condition, name], str(number), value, sample_id=number)
        table.append({"condition": condition, **own})
    store = builder.write(tmp_path / "store")
    scored = [score(lock, data) for data in (store, pl.DataFrame(table, infer_schema_length=None))]
    lost = "in the mean 'policy_mean': of somebody without an answer on the scale to each of its parts"
    assert [found.excluded for found in scored] == [{lost: 6}] * 2
    of_store, of_table = (found.effects.sort("outcome") for found in scored)
    assert of_store["outcome"].to_list() == of_table["outcome"].to_list() == [*parts, "policy_mean"]
    for name in ("human", "human_se"):
        assert of_store[name].to_numpy() == pytest.approx(of_table[name].to_numpy())


def test_a_conjoint_is_read_from_its_file_and_compared_level_by_level(tmp_path):
    """24 profiles; every persona answers each, so a level's effect is the mean over all others."""
    jobs, origins, languages = (
        ("a janitor", "a nurse", "a doctor", "an engineer"),
        ("Germany", "Iraq", "Mexico"),
        ("good", "poor"),
    )
    tree = {
        "study": "immigrants",
        "stimulus": "This person comes from {origin}, speaks {language} English, and worked as {job}.",
        "factors": {
            name: {"levels": dict(zip(levels, levels, strict=True))}
            for name, levels in (("origin", origins), ("language", languages), ("job", jobs))
        },
        "outcomes": {"admit": {"question": "Should this person be admitted?", "scale": {"lo": 1, "hi": 7}}},
    }
    items, _ = read(tmp_path, tree)
    assert len(items) == 24
    made = forecast(
        items,
        predict=predict,
        population=population([person | {"shoe size": 40} for person in PEOPLE]),
        collection=invented_collection(np.random.default_rng(0), studies=12),
    )
    found = dict(made.components.select("condition", "predicted").iter_rows())
    assert set(found) == {
        *(f"origin: {name}" for name in origins[1:]), "language: poor", *(f"job: {name}" for name in jobs[1:]),
    }  # fmt: skip
    means = dict(made.arms.select("condition", "mean").iter_rows())
    of = {level: [means[i.condition] for i in items if i.factors["origin"] == level] for level in origins}
    assert found["origin: Iraq"] == pytest.approx(np.mean(of["Iraq"]) - np.mean(of["Germany"]))


@pytest.mark.parametrize(
    "composites, message",
    [
        ({"x": {"of": ["first_thing"]}}, "'first_thing' is no outcome with ordered answers"),
        ({"x": {"of": ["nobody_asked"]}}, "'nobody_asked' is not one of outcomes"),
        ({"x": {"of": ["donation"], "reversed": ["minutes"]}}, "'minutes' is not one of `of`"),
        ({"donation": {"of": ["newsletter"]}}, "an outcome has this name"),
    ],
)
def test_impossible_composites_are_refused(tmp_path, composites, message):
    with pytest.raises(InputError, match=message):
        items, known = read(tmp_path, experiment(arms=2) | {"composites": composites})
        forecast(
            items, predict=None, population=population(PEOPLE),
            collection=invented_collection(np.random.default_rng(0)), composites=known,
        )  # fmt: skip
