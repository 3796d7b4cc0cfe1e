"""Conjoint experiments: effects and marginal means compared with statsmodels, and their correction for mistaken choices."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from conjoint_data import communities, immigration
from typer.testing import CliRunner

from socsci_jax.cli import app
from socsci_jax.errors import InputError
from socsci_jax.estimation.conjoint import (
    Conjoint,
    amce,
    by_subgroup,
    difference,
    interactions,
    marginal_means,
)
from socsci_jax.estimation.reliability import corrected, swap_error
from socsci_jax.evaluation.conjoint import Columns, conjoint_table, excluded_profiles

EXACT = 1e-8


@pytest.fixture(scope="module")
def deposit(shared_data):
    return immigration(shared_data)


@pytest.fixture(scope="module")
def small():
    """300 respondents, 4 tasks of two profiles; a raises the chance to be chosen, together with b more so."""
    rng = np.random.default_rng(2)
    pairs = 300 * 4
    a, b, c = (
        rng.choice(levels, size=(pairs, 2)) for levels in (["a0", "a1"], ["b0", "b1", "b2"], ["c0", "c1"])
    )
    utility = (
        1.2 * (a == "a1") + 0.4 * (b == "b1") + 0.8 * ((a == "a1") & (b == "b2")) + rng.gumbel(size=a.shape)
    )
    choice = (utility == utility.max(axis=1, keepdims=True)).astype(float)
    respondent = np.repeat(np.arange(300), 8)
    return Conjoint(
        {"a": a.ravel(), "b": b.ravel(), "c": c.ravel()},
        choice.ravel(),
        respondent,
        rng.uniform(0.5, 2, 300)[respondent],
    )


def clustered(conjoint, X):
    """Statsmodels' regression of choice on X with errors clustered by respondent."""
    groups = np.unique(conjoint.respondent, return_inverse=True)[1]
    model = sm.WLS(conjoint.choice, X, weights=conjoint.weights)
    return model.fit(cov_type="cluster", cov_kwds={"groups": groups})


def main_effects(conjoint):
    dummies = [conjoint.dummies(name)[:, 1:] for name in conjoint.attributes]
    return np.hstack([np.ones((len(conjoint.choice), 1)), *dummies])


def test_amces_of_a_published_experiment_are_those_of_statsmodels(deposit):
    conjoint, _ = deposit
    theirs = clustered(conjoint, main_effects(conjoint))
    ours = amce(conjoint).estimates
    assert len(ours.estimate) == 41
    np.testing.assert_allclose(ours.estimate, theirs.params[1:], atol=EXACT)
    np.testing.assert_allclose(ours.se, theirs.bse[1:], atol=EXACT)


def test_marginal_means_of_a_published_experiment_are_those_of_statsmodels(deposit):
    conjoint, _ = deposit
    ours = marginal_means(conjoint)
    at = 0
    for name, levels in conjoint.levels.items():
        theirs = clustered(conjoint, conjoint.dummies(name))
        chosen = slice(at, at + len(levels))
        assert ours.level[chosen] == levels
        np.testing.assert_allclose(ours.estimates.estimate[chosen], theirs.params, atol=EXACT)
        np.testing.assert_allclose(ours.estimates.se[chosen], theirs.bse, atol=EXACT)
        at += len(levels)
    assert at == 50


def test_restricted_attributes_are_averaged_over_profiles_that_exist(deposit):
    conjoint, _ = deposit
    ours = amce(conjoint, restricted=[("CountryOfOrigin", "ReasonForApplication")])
    # An independent way: one regression with a dummy for every combination, and a contrast of its coefficients.
    country, reason = (conjoint.attributes[name] for name in ("CountryOfOrigin", "ReasonForApplication"))
    cells = np.array([f"{one}|{other}" for one, other in zip(country, reason)])
    names = np.unique(cells)
    others = [
        conjoint.dummies(name)[:, 1:]
        for name in conjoint.attributes
        if name not in ("CountryOfOrigin", "ReasonForApplication")
    ]
    theirs = clustered(conjoint, np.hstack([(cells[:, None] == names).astype(float), *others]))
    contrast = np.zeros(len(theirs.params))
    # The baseline, China, was shown with every reason; Iraq too.
    base = conjoint.levels["CountryOfOrigin"][0]
    shared = [
        r for r in conjoint.levels["ReasonForApplication"] if {f"Iraq|{r}", f"{base}|{r}"} <= set(names)
    ]
    for r in shared:
        contrast[list(names).index(f"Iraq|{r}")] += 1 / len(shared)
        contrast[list(names).index(f"{base}|{r}")] -= 1 / len(shared)
    value, se = ours["CountryOfOrigin", "Iraq"]
    assert value == pytest.approx(contrast @ theirs.params, abs=EXACT)
    assert se == pytest.approx(np.sqrt(contrast @ theirs.cov_params() @ contrast), abs=EXACT)


def test_weights_and_interactions_are_those_of_statsmodels(small):
    product = small.dummies("a")[:, 1:] * small.dummies("b")[:, 1:]
    theirs = clustered(small, np.hstack([main_effects(small), product]))
    ours = interactions(small, "a", "b")
    assert ours.level == ("a1 x b1", "a1 x b2")
    np.testing.assert_allclose(ours.estimates.estimate, theirs.params[-2:], atol=EXACT)
    np.testing.assert_allclose(ours.estimates.se, theirs.bse[-2:], atol=EXACT)
    assert ours["a x b", "a1 x b2"][0] > 0.05


def test_subgroups_are_experiments_of_their_own(small):
    young = small.respondent % 2 == 0
    groups = by_subgroup(small, np.where(young, "young", "old"), marginal_means)
    assert list(groups) == ["old", "young"]
    alone = marginal_means(small.rows(young)).estimates
    np.testing.assert_array_equal(groups["young"].estimates.estimate, alone.estimate)
    gap = difference(groups["young"], groups["old"])
    expected = alone.se**2 + groups["old"].estimates.se ** 2
    np.testing.assert_allclose(gap.estimates.se**2, expected, atol=1e-14)


def test_a_difference_leaves_out_levels_that_one_group_never_saw(small):
    some = small.rows((small.attributes["b"] != "b2") & (small.respondent < 150))
    gap = difference(marginal_means(small.rows(small.respondent >= 150)), marginal_means(some))
    assert ("b", "b2") not in set(zip(gap.attribute, gap.level))


def test_the_baseline_is_the_first_of_the_levels_that_are_given(small):
    turned = Conjoint(small.attributes, small.choice, small.respondent, small.weights, {"a": ("a1", "a0")})
    assert amce(turned)["a", "a0"][0] == pytest.approx(-amce(small)["a", "a1"][0])


def test_a_level_that_is_not_listed_is_refused(small):
    with pytest.raises(InputError, match="'b2', which its levels do not list"):
        Conjoint(small.attributes, small.choice, small.respondent, levels={"b": ("b0", "b1")})


def test_an_attribute_in_two_restricted_groups_is_refused(small):
    with pytest.raises(InputError, match="two restricted groups"):
        amce(small, restricted=[("a", "b"), ("b", "c")])


@pytest.mark.parametrize(("irr", "tau"), [(1.0, 0.0), (0.82, 0.1), (0.68, 0.2)])
def test_swap_error_by_hand(irr, tau):
    # Two equal answers: both right or both wrong.
    assert (1 - tau) ** 2 + tau**2 == pytest.approx(irr)
    assert swap_error(irr) == pytest.approx(tau)


def test_reliability_of_a_published_experiment(shared_data):
    conjoint, respondent, agrees = communities(shared_data)
    ours = corrected(conjoint, respondent=respondent, agrees=agrees, resamples=500)
    assert len(conjoint.choice) == 6_536
    # 131 of 201 respondents chose the same community when the sides were swapped.
    assert ours.irr.value == pytest.approx(131 / 201)
    tau = (1 - np.sqrt(2 * 131 / 201 - 1)) / 2
    assert ours.tau.value == pytest.approx(tau)
    means, effects = marginal_means(conjoint).estimates, amce(conjoint).estimates
    np.testing.assert_allclose(ours.corrected_means.value, (means.estimate - tau) / (1 - 2 * tau), atol=1e-12)
    np.testing.assert_allclose(ours.corrected_effects.value, effects.estimate / (1 - 2 * tau), atol=1e-12)
    # Resampling respondents says the same of what needs no correction as the clustered errors do.
    np.testing.assert_allclose(ours.effects.se, effects.se, rtol=0.15)
    # The corrected interval carries tau's uncertainty (delta method, tau independent of the effect).
    scale = 1 - 2 * tau
    delta = np.hypot(effects.se / scale, 2 * effects.estimate * ours.tau.se / scale**2)
    strong = np.abs(effects.estimate) > 0.08
    assert strong.sum() == 3
    np.testing.assert_allclose(ours.corrected_effects.se[strong], delta[strong], rtol=0.25)
    assert (ours.corrected_effects.se[strong] > 1.05 * effects.se[strong] / scale).all()
    assert ours.tau.lo < tau < ours.tau.hi


def test_sides_that_are_taken_as_they_were_make_people_disagree_with_themselves(shared_data):
    conjoint, respondent, agrees = communities(shared_data)
    with pytest.raises(InputError, match=r"agree with themselves in 34.8% of repeated tasks"):
        corrected(conjoint, respondent=respondent, agrees=1 - agrees)


def test_the_correction_recovers_what_choices_without_mistakes_would_show(small):
    rng = np.random.default_rng(4)
    pairs = small.choice.reshape(-1, 2)
    mistaken = rng.random(len(pairs)) < 0.15
    seen = np.where(mistaken[:, None], pairs[:, ::-1], pairs).ravel()
    noisy = Conjoint(small.attributes, seen, small.respondent)
    truth = marginal_means(Conjoint(small.attributes, small.choice, small.respondent)).estimates.estimate
    # Each respondent's first task once more, with a mistake of its own.
    again = mistaken.reshape(300, 4)[:, 0] == (rng.random(300) < 0.15)
    ours = corrected(noisy, respondent=np.arange(300), agrees=again, resamples=300)
    uncorrected = np.abs(ours.means.value - truth).max()
    assert np.abs(ours.corrected_means.value - truth).max() < 0.5 * uncorrected
    assert ((ours.corrected_means.lo < truth) & (truth < ours.corrected_means.hi)).mean() > 0.8


def test_a_rating_cannot_be_corrected_for_swapped_choices(small):
    rated = Conjoint(small.attributes, 7 * small.choice, small.respondent)
    with pytest.raises(InputError, match="ratings cannot be corrected"):
        corrected(rated, respondent=np.arange(3), agrees=np.ones(3))


def test_restricted_effects_are_corrected_as_they_are_estimated(small):
    restricted = [("a", "b")]
    ours = corrected(
        small, respondent=np.arange(100), agrees=np.arange(100) % 5 > 0, restricted=restricted, resamples=50
    )
    np.testing.assert_allclose(ours.effects.value, amce(small, restricted=restricted).estimates.estimate)


@pytest.fixture(scope="module")
def profiles(small):
    """The small experiment as a table, with a subgroup and who agreed with oneself in a repeated task."""
    agrees = np.where(small.respondent < 100, (small.respondent % 5 > 0).astype(float), np.nan)
    return pl.DataFrame(
        {
            "who": small.respondent,
            **small.attributes,
            "chosen": small.choice,
            "w": small.weights,
            "sex": np.where(small.respondent % 2 == 0, "woman", "man"),
            "again": agrees,
        }
    ).with_columns(pl.col("again").fill_nan(None))


COLUMNS = Columns(choice="chosen", respondent="who", weights="w", by="sex", agrees="again")


def test_a_table_of_profiles_becomes_a_tidy_table(small, profiles):
    table = conjoint_table(profiles, COLUMNS, seed=3)

    def values(estimand, group):
        rows = table.filter(pl.col("estimand") == estimand, pl.col("group").eq_missing(group))
        return rows["estimate"].to_numpy(), rows["se"].to_numpy(), rows["n"].to_numpy()

    for group, rows in ((None, small.respondent >= 0), ("man", small.respondent % 2 == 1)):
        part = small.rows(rows)
        for estimand, expected in (("amce", amce(part)), ("marginal_mean", marginal_means(part))):
            estimate, se, n = values(estimand, group)
            np.testing.assert_allclose(estimate, expected.estimates.estimate)
            np.testing.assert_allclose(se, expected.estimates.se)
        assert n.sum() == 3 * len(part.choice)
    # 20 of the first 100 people did not agree with themselves.
    by_hand = corrected(small, respondent=np.arange(100), agrees=np.arange(100) % 5 > 0, seed=3)
    assert values("irr", None)[0] == pytest.approx(0.8)
    np.testing.assert_allclose(values("amce_corrected", None)[0], by_hand.corrected_effects.value)
    lo = table.filter(pl.col("estimand") == "marginal_mean_corrected")["lo"]
    np.testing.assert_allclose(lo, by_hand.corrected_means.lo, atol=0.02)


def test_profiles_without_a_choice_or_a_level_are_excluded_and_listed(profiles):
    holes = profiles.with_columns(
        chosen=pl.when(pl.int_range(pl.len()) < 2).then(None).otherwise("chosen"),
        a=pl.when(pl.int_range(pl.len()).is_between(2, 3)).then(None).otherwise("a"),
    )
    columns = Columns(choice="chosen", respondent="who", attributes=("a", "b", "c"))
    assert conjoint_table(holes, columns).equals(conjoint_table(profiles[4:], columns))
    listed = excluded_profiles(holes, columns)
    assert listed.select("row", "reason").rows() == [
        *((n, "no choice") for n in (1, 2)), *((n, "no level of 'a'") for n in (3, 4)),
    ]  # fmt: skip
    assert listed["b"].to_list() == profiles["b"][:4].to_list()


def test_a_profile_without_a_finite_choice_or_weight_is_no_number(profiles):
    broken = profiles.with_columns(
        chosen=pl.when(pl.int_range(pl.len()) == 0).then(float("inf")).otherwise("chosen"),
        w=pl.when(pl.int_range(pl.len()) == 1).then(None).otherwise("w"),
    )
    columns = dataclasses.replace(COLUMNS, by=None, agrees=None, attributes=("a", "b", "c"))
    assert excluded_profiles(broken, columns)["reason"].to_list() == ["its choice is not finite", "no weight"]
    assert conjoint_table(broken, columns)["estimate"].is_finite().all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"choice": "vote"}, "no column 'vote'"),
        ({"choice": "sex"}, "'sex' are not numbers"),
        ({"attributes": ("w",)}, "'w' has 300 levels"),
        ({"agrees": "sex"}, "'sex' is not 1 or 0"),
    ],
)
def test_a_column_that_is_not_what_it_is_said_to_be_is_refused(profiles, change, sentence):
    with pytest.raises(InputError, match=sentence):
        conjoint_table(profiles, dataclasses.replace(COLUMNS, **change))


def test_choices_in_codes_of_yes_and_no_are_refused(profiles):
    with pytest.raises(InputError, match="are 1 and 2, codes of yes and no"):
        conjoint_table(profiles.with_columns(pl.col(COLUMNS.choice) + 1), COLUMNS)


def test_weights_that_are_texts_are_refused(profiles):
    with pytest.raises(InputError, match="weights 'w' are not numbers"):
        conjoint_table(profiles.with_columns(w=pl.lit("heavy")), dataclasses.replace(COLUMNS, weights="w"))


def test_the_command_writes_the_tidy_table(profiles, tmp_path):
    profiles.write_csv(tmp_path / "profiles.csv")
    arguments = [
        "conjoint",
        str(tmp_path / "profiles.csv"),
        "--choice",
        "chosen",
        "--respondent",
        "who",
        "--weights",
        "w",
    ]
    arguments += ["--by", "sex", "--agrees", "again", "--seed", "3", "-o", str(tmp_path / "out.parquet")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "marginal_mean" in result.stdout
    written = pl.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(
        written["estimate"], conjoint_table(profiles, COLUMNS, seed=3)["estimate"], atol=1e-12
    )


def test_the_command_writes_excluded_profiles_with_their_reason(profiles, tmp_path):
    profiles.with_columns(c=pl.when(pl.int_range(pl.len()) == 5).then(None).otherwise("c")).write_csv(
        tmp_path / "profiles.csv"
    )
    out = tmp_path / "out.csv"
    arguments = ["conjoint", str(tmp_path / "profiles.csv"), "--respondent", "who", "-o", str(out)]
    arguments += [word for name in "abc" for word in ("--attribute", name)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert (
        f"1 of {profiles.height:,} human profiles is in no estimate (no level of 'c': 1)."
        in result.stdout.replace("\n", " ")
    )
    assert pl.read_csv(tmp_path / "out_rejects.csv").select("source", "row", "reason").rows() == [
        ("human", 6, "no level of 'c'")
    ]
