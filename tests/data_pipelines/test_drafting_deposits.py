"""Drafting by rules on nine raw Qualtrics deposits: every variable with its scale, every respondent's arm."""

from __future__ import annotations

import collections
import csv
import functools
import json
import random
import shutil
from pathlib import Path

import polars as pl
import pytest

from data_pipelines.drafting.rules import draft_by_rules, write_draft
from data_pipelines.specified.build import build
from socsci_jax.studies.specification_files import parse_specification, render

DEPOSITS = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "qualtrics"
pytestmark = pytest.mark.skipif(
    not (DEPOSITS / "variables.json").is_file(), reason="the nine Qualtrics deposits are not here"
)

# What authors computed from others' answers, and the columns it was computed from.
COMPUTED = {
    "target_behavior_green": ("OPTIN_Green", "OPTOUT_Green"),
    "target_behavior_organ": ("OPTIN_Organ", "OPTOUT_Organ"),
    "scenario_close_items": ("Q33",),
    "usage_items": ("1_Q15", "2_Q15"),
    "knowledge_items": tuple(f"{i}_Q16_{c} (1)" for i in (1, 2) for c in range(1, 7)),
    "strategization_items": tuple(f"{i}_Q19_{c}" for i in (1, 2) for c in range(1, 7)),
    "control_items": tuple(f"{i}_Q20_{c} (2)" for i in (1, 2) for c in range(1, 7)),
    "Q20_2": ("1_Q20_2 (1)", "2_Q20_2 (1)"),
    "Q20_6": ("1_Q20_6 (1)", "2_Q20_6 (1)"),
    "Q20_7": ("1_Q20_7", "2_Q20_7"),
}
# An essay has no scale until people have rated it.
WITHOUT_SCALE = {"quantitative_intuition": {"Q34", "scenario_open_items"}}

# Factor -> how the export itself tells a person's level, read without any of the code under test.
ARMS = {
    "consumer_minimalism": {"order": lambda row: row["order"]},
    "default_eric": {
        "FL_344": lambda row: "Green_Organ" if row["FL_344_DO_FL_345"] else "Organ_Green",
        "FL_212": lambda row: (
            "OPTIN_Green" if row["FL_212_DO_OPTIN_Green"] or row["FL_349_DO_OPTIN_Green"] else "OPTOUT_Green"
        ),
        "FL_338": lambda row: (
            "OPTIN_Organ" if row["FL_338_DO_OPTIN_Organ"] or row["FL_353_DO_OPTIN_Organ"] else "OPTOUT_Organ"
        ),
    },
    "hiring_algorithms": {
        "FL_7": lambda row: "Hiring Team" if row["FL_7_DO_HiringTeam"] else "Algorithmic Hiring"
    },
    "junk_fees": {
        **{
            name: functools.partial(lambda name, row: row[name], name)
            for name in ("Hotel", "Rental.Car", "Tickets", "Food", "apartment")
        },
        "FL_182": lambda row: "Health" if row["FL_182_DO_FL_162"] else "CC",
        "CreditCard": lambda row: row["CreditCard"] or None,
    },
    "preference_redistribution": {},
    "privacy": {"Group": lambda row: row["Group"]},
    "quantitative_intuition": {},
    "recommendation_algorithms": {},
    "targeting_fairness": {"target": lambda row: row["target"]},
}


@functools.cache
def drafted(name):
    return draft_by_rules(DEPOSITS / name)


def rows(name):
    with (DEPOSITS / name / "response.csv").open(encoding="utf-8-sig", newline="") as file:
        header, _, _, *body = csv.reader(file)
    return [dict(zip(header, row, strict=True)) for row in body]


def columns_with_scales(name):
    """Column -> whether its scale says which answers there are, with loops and variants written out."""
    specification = drafted(name).specification
    found = {}
    for study in specification.studies.values():
        for outcome_name, outcome in study.outcomes.items():
            asked = [(outcome.column or outcome_name, outcome.scale)]
            asked += [(v.column, v.scale or outcome.scale) for v in outcome.variants if v.column is not None]
            for column, scale in asked:
                told = specification.scale(scale)
                for iteration in study.loop.get("loop", ("",)):
                    written = column.replace("{loop}", iteration)
                    found[written] = bool(told.levels) or told.number or told.hi is not None
    return found


@pytest.mark.parametrize("name", ARMS)
def test_every_variable_is_found_with_its_scale(name):
    variables = json.loads((DEPOSITS / "variables.json").read_text())[name]
    found = columns_with_scales(name)
    for variable in variables["raw_input_variables"]["survey_questions"]:
        if variable in WITHOUT_SCALE.get(name, ()):
            continue
        wanted = COMPUTED.get(variable, (variable,))
        if name == "privacy" and variable == "Q2_1":
            wanted = ("Q2_1 (1)", "Q2_1 (2)")
        for column in wanted:
            assert found.get(column), f"{variable}: {column}"


def test_an_essay_is_left_out_by_name():
    assert drafted("quantitative_intuition").reading.left_out["Q34"] == "free text, which has no scale"


@pytest.mark.parametrize("name", ARMS)
def test_every_respondents_arm_is_found(name):
    design = drafted(name).design
    factors = design.factors | design.same_text
    assert set(factors) == set(ARMS[name])
    for factor, told in ARMS[name].items():
        levels = [level.name for level in factors[factor].levels]
        found = [None if i is None else levels[i] for i in design.assignments[factor].levels]
        assert found == [told(row) for row in rows(name)]
        assert design.assignments[factor].conflicts == 0


@pytest.mark.parametrize("name", ARMS)
def test_observed_answers_lie_in_the_drafted_scale_or_are_a_named_hole(name):
    draft = drafted(name)
    table = draft.design.export.table
    for outcome in draft.outcomes:
        if outcome.scale.number or not outcome.scale.levels or outcome.asked.question.kind != "single":
            continue
        known = {*outcome.scale.levels, *outcome.scale.alternatives, *outcome.scale.missing}
        cells = collections.Counter(cell for cell in table[outcome.asked.column.name] if cell)
        strange = {cell for cell in cells if cell not in known}
        assert not strange or any("no choice" in hole for hole in outcome.holes)


@pytest.mark.parametrize("name", ARMS)
def test_a_draft_is_a_specification_once_nothing_is_left_open(name):
    specification = drafted(name).specification
    settled = specification.model_copy(update={"unresolved": {}})
    assert parse_specification(render(settled), where=name) == settled


def test_scales_that_count_against_the_printed_numbers_are_found():
    reversed_ = [o.name for o in drafted("consumer_minimalism").outcomes if o.scale.reversed]
    assert reversed_ == ["Q35", "Q26"]


def test_dont_know_is_beside_the_scale_of_redistribution_questions():
    by_name = {o.name: o.scale for o in drafted("preference_redistribution").outcomes}
    assert list(by_name["GOVT_RESPONSIBILITY"].levels) == ["1", "2", "3", "4", "5"]
    assert dict(by_name["GOVT_RESPONSIBILITY"].alternatives) == {"6": "Don't know"}
    assert list(by_name["HLTHTAX"].alternatives) == ["6"]


@pytest.mark.parametrize("name", ["privacy", "hiring_algorithms"])
def test_means_per_arm_of_the_built_store_are_those_of_the_export(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    for file in (DEPOSITS / name).iterdir():
        shutil.copyfile(file, folder / file.name)
    specification = drafted(name).specification.model_copy(update={"unresolved": {}})
    write_draft(specification, folder / "study.yaml")
    store = build(folder, tmp_path / "store")
    found = (
        store.responses.join(store.items.select("item_id", "condition", "outcome"), on="item_id")
        .group_by("condition", "outcome")
        .agg(pl.col("value").mean(), pl.len())
    )
    means = {(c, o): (round(v, 9), n) for c, o, v, n in found.iter_rows()}
    asked = {
        "privacy": {
            "Q11_1": {"CT": "Q11_1", "BT": "Q138_1", "PSA": "Q140_1", "PSB": "Q142_1"},
        },
        "hiring_algorithms": {
            f"{machine}_{i}": {"Algorithmic Hiring": f"{machine}_{i}", "Hiring Team": f"{team}_{i}"}
            for machine, team in (("Q27", "Q22"), ("Q28", "Q24"), ("Q29", "Q25"), ("Q30", "Q26"))
            for i in range(1, 9)
        },
    }[name]
    for outcome, columns in asked.items():
        for arm, column in columns.items():
            values = [float(row[column]) for row in rows(name) if row[column]]
            assert means[arm, outcome] == (round(sum(values) / len(values), 9), len(values))


def rewritten(name: str, folder: Path, change: str) -> Path:
    """The deposit as another hand would have exported it."""
    with (DEPOSITS / name / "response.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.reader(file))
    encoding, delimiter, file_name = "utf-8", ",", "response.csv"
    match change:
        case "reordered":
            order = list(range(len(table[0])))
            random.Random(0).shuffle(order)
            table = [[row[i] for i in order] for row in table]
        case "renamed":
            table[0] = [f"v{i}" for i in range(len(table[0]))]
        case "import ids alone":
            table = table[2:]
        case "names alone":
            table = [table[0], *table[3:]]
        case "two header rows":
            table = [*table[:2], *table[3:]]
        case "UTF-16, tabs":
            encoding, delimiter, file_name = "utf-16", "\t", "response.tsv"
    with (folder / file_name).open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(table)
    shutil.copy(DEPOSITS / name / "survey.qsf", folder)
    return folder


CHANGES = ["reordered", "renamed", "import ids alone", "names alone", "two header rows", "UTF-16, tabs"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "name",
    [
        "hiring_algorithms",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("default_eric", "junk_fees", "privacy")),
    ],
)
def test_another_export_of_the_same_answers_gives_the_same_arms_and_scales(name, change, tmp_path):
    found, expected = draft_by_rules(rewritten(name, tmp_path, change)), drafted(name)
    of = {f: a.levels for f, a in found.design.assignments.items()}
    assert of == {f: a.levels for f, a in expected.design.assignments.items()}
    # Columns keep their order within a question, whatever they are called.
    assert collections.Counter(str(o.scale) for o in found.outcomes) == collections.Counter(
        str(o.scale) for o in expected.outcomes
    )
    if change not in ("renamed", "import ids alone"):
        assert {o.name for o in found.outcomes} == {o.name for o in expected.outcomes}
