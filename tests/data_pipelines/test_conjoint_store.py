"""A conjoint in a Qualtrics export becomes a store from which the same effects follow as from the raw columns."""

from __future__ import annotations

import collections
import csv
import gzip
from pathlib import Path

import invented_qualtrics as q
import numpy as np
import polars as pl
import pytest
from invented_conjoint import towns

import data_pipelines
from data_pipelines.drafting.rules import draft_by_rules
from socsci_jax.errors import InputError
from socsci_jax.estimation.conjoint import Conjoint, amce
from socsci_jax.studies.profiles import profile_table
from socsci_jax.studies.store import StudyStore

PROJOINT = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "projoint"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("towns")
    return data_pipelines.build("conjoint", str(towns(folder / "d")), folder / "store", command="test")


def test_an_item_is_the_question_with_a_persons_profiles_filled_in(store):
    first = store.items.filter(pl.col("outcome") == "choice").row(0, named=True)
    assert first["stimulus"] == "Which town?\nCost | low | high\nSchool | good | bad\n\n"
    assert dict(first["factors"]) == {
        "1: Cost": "low",
        "1: School": "good",
        "2: Cost": "high",
        "2: School": "bad",
    }


def test_a_swapped_repetition_keeps_which_profile_a_side_showed(store):
    repeated = store.items.filter(pl.col("outcome") == "choice, repeated").row(0, named=True)
    assert repeated["condition"] == "task 1"
    assert dict(repeated["factors"]) == {
        "1: Cost": "high",
        "1: School": "bad",
        "2: Cost": "low",
        "2: School": "good",
    }


def test_each_profile_is_a_row_and_one_of_a_task_is_chosen(store):
    table = profile_table(store, outcome="choice")
    assert table.height == 2 * 7
    assert (
        table.group_by("participant", "item_id").agg(pl.col("chosen").sum())["chosen"].to_list() == [1.0] * 7
    )
    chosen = table.filter(pl.col("chosen") == 1)["Cost"].to_list()
    assert collections.Counter(chosen) == {"low": 5, "high": 2}


def test_an_unanswered_task_is_among_the_rejects(store):
    assert store.rejects.select("place", "reason").rows() == [("response.csv, row 5", "no answer")]


def test_text_exports_give_the_same_choices(store, tmp_path):
    words = data_pipelines.build(
        "conjoint", str(towns(tmp_path / "d", words=True)), tmp_path / "store", command="test"
    )
    assert words.content_hash == store.content_hash


def test_a_deposit_without_profiles_is_refused(tmp_path):
    with pytest.raises(InputError, match="no columns of a conjoint"):
        data_pipelines.build("conjoint", str(q.two_arms(tmp_path / "d")), tmp_path / "store", command="test")


def test_a_store_without_profiles_has_no_profile_table(tmp_path):
    from small import small_store

    with pytest.raises(InputError, match="no item holds profiles"):
        profile_table(small_store(tmp_path / "store"))


def test_a_draft_leaves_choices_between_profiles_to_the_conjoint(tmp_path):
    folder = towns(tmp_path / "d")
    with pytest.raises(InputError, match="a choice between profiles of a conjoint"):
        draft_by_rules(folder)


# --- a real one -------------------------------------------------------------------------------------------------

needs_projoint = pytest.mark.skipif(
    not (PROJOINT / "survey.qsf").is_file(), reason="the projoint deposit is not here"
)


def raw_profiles():
    """(respondent, attributes, chosen) of each profile of the eight tasks, straight from the columns."""
    with gzip.open(PROJOINT / "response.csv.gz", "rt", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))[2:]
    for person, row in enumerate(rows):
        for t in range(1, 9):
            answer = row[f"Q4.{t + 1}"]
            for p, side in ((1, "Community A"), (2, "Community B")):
                if answer:
                    levels = {row[f"K-{t}-{r}"]: row[f"K-{t}-{p}-{r}"] for r in range(1, 8)}
                    yield person, levels, float(answer == side)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    out = tmp_path_factory.mktemp("projoint") / "store"
    data_pipelines.build("conjoint", str(PROJOINT), out, command="test")
    people, levels, chosen = zip(*raw_profiles(), strict=True)
    return profile_table(StudyStore(out), outcome="choice"), people, levels, np.array(chosen)


@needs_projoint
def test_marginal_means_of_the_store_are_those_of_the_raw_columns(both):
    table, _, levels, chosen = both
    assert table.height == len(chosen)
    sums: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for profile, picked in zip(levels, chosen, strict=True):
        for attribute, level in profile.items():
            sums[attribute, level].append(picked)
    assert len(sums) == 24
    for (attribute, level), picks in sums.items():
        found = table.filter(pl.col(attribute) == level)["chosen"]
        assert found.len() == len(picks)
        assert found.mean() == pytest.approx(np.mean(picks), abs=1e-12)


@needs_projoint
def test_amces_of_the_store_are_those_of_the_raw_columns(both):
    table, people, levels, chosen = both
    names = sorted(levels[0])
    raw = Conjoint({n: np.array([p[n] for p in levels]) for n in names}, chosen, np.array(people))
    ours = Conjoint(
        {n: table[n].to_numpy() for n in names}, table["chosen"].to_numpy(), table["participant"].to_numpy()
    )
    expected, found = amce(raw), amce(ours)
    assert found.level == expected.level
    np.testing.assert_allclose(found.estimates.estimate, expected.estimates.estimate, atol=1e-10)
    np.testing.assert_allclose(found.estimates.se, expected.estimates.se, atol=1e-10)
    # The same effects by hand: least squares on the levels' indicators, the first level of each attribute omitted.
    columns = [np.ones(len(chosen))]
    for attribute, level in zip(expected.attribute, expected.level, strict=True):
        if level != raw.levels[attribute][0]:
            columns.append(np.array([p[attribute] == level for p in levels], float))
    by_hand = np.linalg.lstsq(np.stack(columns, 1), chosen, rcond=None)[0][1:]
    kept = [
        i
        for i, (a, level) in enumerate(zip(expected.attribute, expected.level, strict=True))
        if level != raw.levels[a][0]
    ]
    np.testing.assert_allclose(found.estimates.estimate[kept], by_hand, atol=1e-10)
