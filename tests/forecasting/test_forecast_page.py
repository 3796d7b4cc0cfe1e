"""The page of a forecast in a browser: whole without a network, harmless whatever texts it shows, readable by everybody."""

import dataclasses
import html.parser
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from browser import DRAWN, Visit, look
from forecast_world import PEOPLE, SEVEN, experiment_items, invented_collection, planted_predict
from hostile_texts import HOSTILE, unshown

from socsci_jax.cli.forecast import _show_plan
from socsci_jax.forecasting.composites import Composite, incomplete_composites
from socsci_jax.forecasting.files import material, tables, write_forecast
from socsci_jax.forecasting.forecast import forecast, outcomes_of_one_arm
from socsci_jax.forecasting.multiverse import Multiverse
from socsci_jax.forecasting.population import population
from socsci_jax.forecasting.report import words
from socsci_jax.forecasting.report.material import Material
from socsci_jax.forecasting.report.numbers import plain, signed
from socsci_jax.forecasting.report.tables import outcomes
from socsci_jax.forecasting.report.words import directions, findings, lead
from socsci_jax.forecasting.table import CHECKS, KEY, VARIANTS
from socsci_jax.pages.plots import number


def make(items, **changes):
    given = {
        "predict": planted_predict,
        "population": population(PEOPLE, margins={"gender": {"Female": 0.51, "Male": 0.49}}),
        "collection": invented_collection(np.random.default_rng(0)),
        "subgroups": ("gender", "age"),
    }
    return forecast(items, **(given | changes))


def hostile_items():
    labels = dataclasses.replace(SEVEN, labels=HOSTILE[:7])
    return [
        dataclasses.replace(
            item,
            study_id=HOSTILE[0],
            condition=f"{HOSTILE[(k + 1) % 8]} {item.condition}",
            outcome=f"{HOSTILE[(k // 3 + 2) % 8]} {item.outcome}",
            question="\n".join(HOSTILE),
            scale=labels,
        )
        for k, item in enumerate(experiment_items(arms=3, outcomes=2))
    ]


def with_variants(made):
    """The same forecast as if two orders and two wordings had been asked, which move effects by 3 points and by 1."""
    keys = made.effects.select(*KEY, "predicted")
    rows = [
        row | {
            "rank": rank, "variant": f"{order} {wording}", "order": order, "wording": wording, "persona_format": "",
            "is_base": rank == 2, "predicted": row["predicted"] + shift, "se": 0.5, "lo": row["predicted"] + shift - 0.8,
            "hi": row["predicted"] + shift + 0.8, "personas": 3,
        }
        for row in keys.iter_rows(named=True)
        for rank, (order, wording, shift) in enumerate(
            [("7 6 5", HOSTILE[1], -4.0), ("7 6 5", "", -3.0), ("5 6 7", HOSTILE[1], -1.0), ("5 6 7", "", 0.0)], start=1
        )
    ]  # fmt: skip
    variants = pl.DataFrame(rows, schema=VARIANTS)
    value = pl.col("predicted")
    summary = variants.group_by(KEY, maintain_order=True).agg(
        declared=pl.len().cast(pl.Int64), asked=pl.len().cast(pl.Int64), predicted=value.mean(), se=pl.lit(0.2),
        lo=value.mean() - 0.4, hi=value.mean() + 0.4, base=value.filter("is_base").first(), least=value.min(),
        most=value.max(), spread=value.std(), same_sign=pl.lit(0.5), survives=pl.lit(0.0), decisive=pl.lit("order"),
    )  # fmt: skip
    check = dict.fromkeys(KEY, "") | {
        "check": "persona swap", "attribute": HOSTILE[0], "moved": 0.0, "limit": 0.5, "p": None, "flagged": True,
        "finding": f"Nothing moves: {HOSTILE[2]}",
    }  # fmt: skip
    checks = pl.DataFrame([check], schema=CHECKS)
    return dataclasses.replace(made, multiverse=Multiverse(variants, summary, checks))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Of an ordinary experiment, of one whose every text is hostile, and of one that is too far from all that is known."""
    folder = tmp_path_factory.mktemp("pages")
    plain = make(experiment_items(arms=6, outcomes=3))
    varied = with_variants(make(hostile_items(), subgroups=()))
    people = [{HOSTILE[4]: HOSTILE[k % 3], "gender": "Female"} for k in range(6)]
    hostile = make(hostile_items(), population=population(people), subgroups=(HOSTILE[4],))
    far = make(experiment_items(), predict=exaggerated)
    return {
        name: write_forecast(made, folder / name) / "report.html"
        for name, made in (("plain", plain), ("hostile", hostile), ("far", far), ("varied", varied))
    }


def exaggerated(pairs):
    """Arms other than the control get the highest answer from everybody."""
    made = planted_predict(pairs)
    control = [item_id for item_id, item in pairs.items.items() if item.is_control]
    highest = pl.lit([0.0] * 6 + [1.0])
    lowest = pl.lit([1.0] + [0.0] * 6)
    probs = pl.when(pl.col("item_id").is_in(control)).then(lowest).otherwise(highest)
    return dataclasses.replace(made, frame=made.frame.with_columns(probs=probs))


@pytest.mark.slow
def test_pages_hold_together_in_a_browser(pages):
    visits = [
        Visit(pages["plain"], script=DRAWN, axe=True),
        Visit(pages["far"], script=DRAWN, axe=True, theme="dark", width=390),
        Visit(pages["hostile"], script=DRAWN, width=390),
        Visit(pages["plain"], script=DRAWN, theme="dark", print=True),
        Visit(pages["varied"], script=DRAWN, axe=True, theme="dark"),
    ]
    for visit, seen in zip(visits, look(visits), strict=True):
        assert seen.errors == [] and seen.violations == [], visit
        assert seen.requests == [visit.page.resolve().as_uri()]
        assert seen.value["title"] != "owned"
        assert seen.value["drawn"] == seen.value["plots"] > 2
        assert seen.value["sideways"] == 0, visit


def test_what_no_reader_sees_is_written_as_its_code(pages):
    for path in pages.values():
        assert unshown(path.read_text()) == []


def test_abstention_comes_first(pages):
    main = pages["far"].read_text().split("<main", 1)[1]
    assert "There is no forecast: all 4 effects lie too far" in main.split("<h2", 1)[0]
    assert 'data-name="effects"' not in main and 'data-name="refused"' in main


def test_where_nothing_is_forecast_nothing_is_said_of_arms_or_of_the_people_to_ask(capsys):
    made = make(experiment_items(arms=3, outcomes=1), predict=exaggerated, subgroups=())
    useless = dataclasses.replace(made.calibration, coefficients=np.zeros_like(made.calibration.coefficients))
    silent = material(dataclasses.replace(made, calibration=useless))
    assert lead(silent) == ["There is no forecast: both effects lie too far from everything that is known."]
    [worth] = [one.text for one in findings(silent) if one.title == "Predictions are not used"]
    assert worth.endswith("clearly enough to be used.")
    _show_plan(silent)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("value", [-0.0, -0.04, np.float64(-0.04)])
def test_what_rounds_to_zero_has_no_sign(value):
    assert (plain(value), signed(value), number(value, 1).text) == ("0.0", "0", "0.0")


def test_what_not_to_conclude_and_what_was_held_out_are_said(pages):
    page = pages["plain"].read_text()
    assert "What not to conclude" in page and "no evidence of no effect" in page
    assert "Each past study was held out and forecast from the others" in page
    assert 'data-name="weights"' in page and 'data-name="studies"' in page


def test_ways_of_asking_have_their_curves_and_failed_checks_are_said(pages):
    page = pages["varied"].read_text()
    assert page.count('id="curve-') == 2 * 2  # title and description of each
    assert "The model fails a check" in page and "4 change their sign with the way of asking" in page
    assert 'id="variants"' not in pages["plain"].read_text()


def test_attributes_that_the_model_does_not_know_are_named():
    made = make(experiment_items())
    trained = {"training": {"attributes": ["gender"]}, "model": "planted"}
    told = dataclasses.replace(made, metadata={**made.metadata, "predictions": trained})
    shown = Material(tables(told), {"metadata": told.metadata}, [], told.calibration)
    assert "not trained with age:" in " ".join(finding.text for finding in findings(shown))


def test_the_control_may_be_the_most_likely_highest_arm_and_a_positive_effect_has_a_direction():
    labels = ("not at all", *[""] * 5, "completely")
    made = make(experiment_items(arms=2, outcomes=1, scale=dataclasses.replace(SEVEN, labels=labels)))
    probable = pl.when(pl.col("condition") == "control").then(0.6).otherwise(0.4)
    shown = material(dataclasses.replace(made, ranks=made.ranks.with_columns(p_highest=probable)))
    assert lead(shown)[0].endswith("Most likely to be the highest arm is “control” (60 %).")
    assert directions(shown) == ["A positive effect on “outcome 0” is one toward “completely (7)”."]
    assert [cell.text for cell in outcomes(shown).rows[0]][-3:] == ["completely (7)", "control", "60 %"]


def test_arms_that_tie_are_named_together():
    made = make(experiment_items(arms=3, outcomes=1), subgroups=())
    tied = instead(material(made), effects=made.effects.with_columns(expected=pl.lit(-2.0)))
    first, second = tied.told["condition"]
    assert f"“{first}” and “{second}” are each expected to differ from “control” by −2.0" in lead(tied)[0]
    assert outcomes(tied).rows[0][1].text == f"“{first}” and “{second}”"
    assert " is expected to differ" in lead(material(made))[0]


def instead(shown, **tables):
    return dataclasses.replace(shown, tables={**shown.tables, **tables})


def measured(**gaps):
    """Measures of past studies, of which 25 of 78 effects had no forecast; `gaps` are differences with their intervals."""
    rows = [
        ("abstained", 25 / 78, None, None, 78), ("coverage_90", 0.87, 0.76, 0.97, 53), ("rmse_forecast", 18.4, 13, 24, 53),
        ("rmse_no_effect", 18.3, 13, 24, 53), ("rmse_raw", 17.9, 12, 24, 53),
        *((f"rmse_forecast_minus_{name}", *gap, 53) for name, gap in gaps.items()),
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=["measure", "value", "lo", "hi", "n"], orient="row", strict=False)


def test_what_was_nearer_to_people_in_past_studies_than_the_forecast_is_said():
    shown = material(make(experiment_items(arms=2, outcomes=1), subgroups=()))
    behind = measured(no_effect=(0.139, 0.007, 0.493), raw=(0.505, -0.043, 1.167))
    found = {one.title: one.text for one in findings(instead(shown, past_measures=behind))}
    assert "25 of 78 effects were too far from the others for a forecast (32 %)" in found["How sure"]
    assert (
        "0.14 points (95 % interval 0.01 to 0.49, which excludes zero)" in found["Behind expecting no effect"]
    )
    raw = found["Behind the raw predictions"]
    assert (
        "0.51 points (95 % interval −0.04 to 1.17, which holds zero" in raw and "smallest of the three" in raw
    )
    ahead = measured(no_effect=(-0.2, -0.5, -0.1), raw=(-0.2, -0.5, 0.1))
    titles = [one.title for one in findings(instead(shown, past_measures=ahead))]
    assert not [title for title in titles if title.startswith("Behind")]


def test_effects_whose_direction_is_arbitrary_are_counted():
    shown = material(make(experiment_items(arms=2, outcomes=1), subgroups=()))
    past = shown.tables["calibration"].with_columns(undirected=pl.int_range(pl.len()) < 44)
    text = " ".join(one.text for one in findings(instead(shown, calibration=past)))
    assert "effects, 44 of them between two arms without a control" in text and "no control" not in text
    own = shown.tables["effects"].with_columns(undirected=True)
    assert any("no control" in one.text for one in findings(instead(shown, effects=own)))


def test_nothing_but_the_pages_own_script_may_run(pages):
    found = set()

    class Names(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.update(name for name, _ in attrs)

    text = pages["hostile"].read_text()
    Names().feed(text)
    assert text.count("<script") == 1 and "<img" not in text
    assert not [name for name in found if name.startswith("on") or name in ("style", "srcdoc")]


@pytest.mark.slow
def test_a_page_of_hundreds_of_effects_stays_small(tmp_path):
    made = make(experiment_items(arms=60, outcomes=6), subgroups=("gender",))
    page = write_forecast(made, tmp_path / "many") / "report.html"
    assert page.stat().st_size < 5_000_000


def test_what_has_no_effect_or_no_mean_is_named():
    arms = [
        ("s", "warm", "a"),
        ("s", "warm", "b"),
        ("s", "cold", "a"),
        ("s", "alone", "a"),
        ("s", "both", "a"),
    ]
    frame = pl.DataFrame(arms, schema=["study", "outcome", "condition"], orient="row")
    both = Composite("s", "both", of=("warm", "cold"))
    metadata = {
        "outcomes_of_one_arm": outcomes_of_one_arm(frame),
        "composites_without_parts": incomplete_composites(frame, [both]),
    }
    first, second = (found.text for found in words._left_out(SimpleNamespace(metadata=metadata)))
    assert (
        first == "No effects on “cold”, “alone” and “both”: one arm alone is asked, and an effect needs two."
    )
    assert second == "No mean of “both (b)”: some of its outcomes are not asked there."
