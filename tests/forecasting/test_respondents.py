"""Whole respondents of people whose answers are known: correlations, reliability, regressions and mediation come back."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from socsci_jax.errors import InputError
from socsci_jax.forecasting.population import population
from socsci_jax.forecasting.respondents import assign, respondents
from socsci_jax.studies.chains import Joint
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.schema import Item
from socsci_jax.studies.store_builder import StoreBuilder

SEVEN = Scale.of_levels(range(1, 8), origin="stated")
NOMINAL = Scale.of_levels({1: "bus", 2: "car", 3: "on foot"}, origin="codebook", nominal=True)
PEOPLE = [
    {"age": str(age), "participant_id": f"p{age}", "weight": weight}
    for age, weight in ((20, 0.5), (40, 0.3), (60, 0.2))
]
WEIGHTS = np.array([0.5, 0.3, 0.2])


def items(*outcomes: str, scales=None, arms=("plain", "praise")) -> list[Item]:
    return [
        Item(
            study_id="planned",
            condition=arm,
            outcome=name,
            stimulus="",
            question=f"{name}?",
            answer_format="",
            scale=(scales or {}).get(name, SEVEN),
            is_control=arm == arms[0],
        )
        for name in outcomes
        for arm in arms
    ]


def kernel(scale: Scale, mean: float, sd: float) -> np.ndarray:
    """Probabilities of the levels: a normal density at each."""
    probs = np.exp(-0.5 * ((np.array(scale.levels) - mean) / sd) ** 2)
    return probs / probs.sum()


@dataclasses.dataclass
class People:
    """Synthetic people: the distribution of an answer follows from the persona, the arm and the answers before it."""

    mean: object  # of (outcome, age in decades, treated, answers before by outcome)
    sd: float = 1.2

    def conditional(self, chain, given: tuple) -> np.ndarray:
        item = chain.items[len(given)]
        before = dict(zip([one.outcome for one in chain.items], given))
        decades = (int(chain.persona["age"]) - 40) / 10
        return kernel(item.scale, self.mean(item.outcome, decades, not item.is_control, before), self.sd)

    def joints(self, chains):
        for_chain = []
        for chain in chains:
            first = self.conditional(chain, ())
            second = [self.conditional(chain, (a,)) for a in chain.items[0].scale.levels]
            answers = tuple(item.scale.levels for item in chain.items)
            for_chain.append(Joint(answers, first[:, None] * np.array(second), (1.0, 1.0)))
        return for_chain

    def draw(self, chains, keys):
        rng = np.random.default_rng(5)
        drawn = []
        for chain in chains:
            given: tuple = ()
            for item in chain.items:
                probs = self.conditional(chain, given)
                given = (*given, item.scale.levels[rng.choice(len(probs), p=probs)])
            drawn.append(given)
        return drawn

    def ask(self, asked, *, per_arm=4000, people=PEOPLE, **settings):
        return respondents(
            asked,
            joints=self.joints,
            draw=self.draw,
            population=population(people),
            per_arm=per_arm,
            **settings,
        )


def value(found, statistic, **key) -> float:
    rows = found.statistics.filter(
        pl.col("statistic") == statistic, *(pl.col(k) == v for k, v in key.items())
    )
    assert rows.height == 1, rows
    return rows["value"][0]


def trust_follows_mood(outcome, decades, treated, before):
    """Mood rises with treatment and age; trust with mood, and a little with treatment itself."""
    if outcome == "mood":
        return 3.5 + 1.0 * treated + 0.3 * decades
    return 1.5 + 0.6 * before.get("mood", 3.5) + 0.3 * treated


def test_known_correlations_come_back_exactly_and_from_rows():
    people = People(trust_follows_mood)
    exact, rows = (people.ask(items("mood", "trust"), exact_pairs=e) for e in (True, False))
    # By hand: the joint distribution over personas, arm by arm.
    for arm, treated in (("plain", False), ("praise", True)):
        levels = np.array(SEVEN.levels, float)
        joint = np.zeros((7, 7))
        cov, variances, means = [], [], []
        for decades, weight in zip((-2, 0, 2), WEIGHTS):
            first = kernel(SEVEN, trust_follows_mood("mood", decades, treated, {}), 1.2)
            second = [
                kernel(SEVEN, trust_follows_mood("trust", decades, treated, {"mood": a}), 1.2) for a in levels
            ]
            own = first[:, None] * np.array(second)
            joint += weight * own
            a, b = own.sum(1) @ levels, own.sum(0) @ levels
            means.append((a, b))
            cov.append(levels @ own @ levels - a * b)
            variances.append((own.sum(1) @ levels**2 - a**2, own.sum(0) @ levels**2 - b**2))
        sds = [np.sqrt(p @ levels**2 - (p @ levels) ** 2) for p in (joint.sum(1), joint.sum(0))]
        r = (levels @ joint @ levels - (joint.sum(1) @ levels) * (joint.sum(0) @ levels)) / np.prod(sds)
        within = WEIGHTS @ cov / np.sqrt(np.prod(WEIGHTS @ np.array(variances)))
        of_means = np.cov(np.array(means).T, aweights=WEIGHTS)
        between = of_means[0, 1] / np.sqrt(of_means[0, 0] * of_means[1, 1])
        key = {"condition": arm, "outcome": "mood", "other": "trust"}
        assert value(exact, "r", **key) == pytest.approx(r, abs=1e-12)
        assert value(exact, "r_within", **key) == pytest.approx(within, abs=1e-12)
        assert value(exact, "r_between", **key) == pytest.approx(between, abs=1e-12)
        assert 0.3 < within < r < between
        # Monte Carlo error of a correlation of 4,000 people: about (1 − r²) / √n = 0.012.
        drawn = rows.statistics.filter(statistic="r", condition=arm).row(0, named=True)
        assert drawn["value"] == pytest.approx(r, abs=0.05)
        assert drawn["lo"] < r < drawn["hi"] and drawn["hi"] - drawn["lo"] < 0.06
    assert rows.rows.equals(exact.rows)


def test_answers_that_do_not_depend_on_each_other_correlate_between_personas_alone():
    people = People(lambda outcome, decades, treated, before: 4 + 0.5 * decades)
    found = people.ask(items("mood", "trust"), per_arm=50)
    for arm in ("plain", "praise"):
        assert value(found, "r_within", condition=arm) == pytest.approx(0, abs=1e-12)
        assert value(found, "r_between", condition=arm) == pytest.approx(1)
        assert 0 < value(found, "r", condition=arm) < 1


def test_reliability_of_parallel_items_is_spearman_brown():
    """Items that only the persona drives, all alike: alpha = K r / (1 + (K − 1) r); one of them is reverse-coded."""

    def mean(outcome, decades, treated, before):
        return 4 - 0.6 * decades if outcome == "sad" else 4 + 0.6 * decades

    found = People(mean).ask(items("happy", "calm", "sad"), batteries={"mood": ["happy", "calm", "-sad"]})
    r = value(found, "r", condition="plain", outcome="happy", other="calm")
    assert value(found, "r", condition="plain", outcome="happy", other="sad") == pytest.approx(-r)
    expected = 3 * r / (1 + 2 * r)
    assert value(found, "alpha", condition="plain", source="exact") == pytest.approx(expected, abs=1e-9)
    exact = found.statistics.filter(statistic="alpha", source="exact").row(0, named=True)
    assert exact["n"] == len(PEOPLE) and exact["lo"] is None, "nothing is drawn, so there is no interval"
    drawn = found.statistics.filter(statistic="alpha", condition="plain", source="rows").row(0, named=True)
    assert drawn["value"] == pytest.approx(expected, abs=0.03) and drawn["lo"] < expected < drawn["hi"]
    assert found.rows["mood"].to_list() == pytest.approx(
        ((found.rows["happy"] + found.rows["calm"] + 8 - found.rows["sad"]) / 3).to_list()
    )


def test_mediation_comes_back():
    """On a fine scale without floor or ceiling the planted paths are the coefficients."""
    fine = Scale.of_levels(range(1, 101), origin="stated")

    def mean(outcome, decades, treated, before):
        return 40 + 10 * treated if outcome == "mood" else 20 + 0.6 * before["mood"] + 3 * treated

    found = People(mean, sd=6).ask(
        items("mood", "trust", scales={"mood": fine, "trust": fine}),
        models=["condition -> mood -> trust", "trust ~ condition + mood"],
        exact_pairs=False,
    )
    planted = {"a": 10, "b": 0.6, "indirect": 6, "direct": 3, "total": 9}
    for name, expected in planted.items():
        row = found.statistics.filter(statistic=name).row(0, named=True)
        assert row["condition"] == "praise − plain" and row["n"] == 8000
        assert row["lo"] < expected < row["hi"], name
        assert row["hi"] - row["lo"] < 0.12 * max(expected, 10)
    slope = found.statistics.filter(statistic="coefficient", other="mood").row(0, named=True)
    assert slope["value"] == pytest.approx(value(found, "b"), abs=1e-9)


def test_intervals_of_an_indirect_effect_cover():
    """Percentile bootstrap over respondents: 95 % intervals of 200 data sets of 200 people cover the planted effect."""
    from socsci_jax.estimation.within_person import mediation

    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        x = np.repeat([0.0, 1.0], 100)
        m = 0.5 * x + rng.normal(size=200)
        y = 0.4 * m + 0.1 * x + rng.normal(size=200)
        found = mediation(x, m, y, rng=rng, resamples=400).indirect
        inside += found.lo < 0.2 < found.hi
    assert 0.91 <= inside / 200 <= 0.98


def test_nominal_answers_and_those_outside_the_order_have_no_place_in_a_correlation():
    offered = Scale.of_levels(range(1, 4), origin="codebook", alternatives={8: "Don't know"})

    class Refusing(People):
        def joints(self, chains):
            """One in four does not know; the others' answers are alike whatever went before."""
            return [Joint(((1, 2, 3), (1, 2, 3, 8)), np.full((3, 4), 1 / 12), (1.0, 1.0)) for _ in chains]

        def draw(self, chains, keys):
            rng = np.random.default_rng(1)
            return [(rng.integers(1, 4), rng.choice([1, 2, 3, 8])) for _ in chains]

    found = Refusing(None).ask(
        items("travel", "trust", scales={"travel": NOMINAL, "trust": offered}),
        per_arm=400,
        models=["trust ~ travel"],
    )
    told = found.statistics
    assert told.filter(pl.col("statistic").str.starts_with("r")).is_empty()
    assert value(found, "cramers_v", condition="plain") == pytest.approx(0, abs=1e-12)
    assert value(found, "both_answered", condition="plain") == pytest.approx(0.75)
    terms = told.filter(statistic="coefficient")
    assert terms["other"].to_list() == ["Intercept", "travel[T.2]", "travel[T.3]"]
    assert terms["n"][0] == found.rows.filter(pl.col("trust") != 8).height < 800
    assert set(found.rows["trust"]) == {1, 2, 3, 8}
    assert found.labels.missing["trust"] == [8.0] and found.labels.values["travel"][2.0] == "car"


def test_personas_answer_in_proportion_to_their_weights():
    weights = np.array([0.5, 0.3, 0.15, 0.05])
    counts = np.array(
        [np.bincount(assign(weights, 30, np.random.default_rng(k)), minlength=4) for k in range(400)]
    )
    assert (np.abs(counts - 30 * weights) < 1).all()
    assert counts.mean(0) == pytest.approx(30 * weights, abs=0.1)


def test_peoples_own_statistics_stand_beside(tmp_path):
    asked = items("mood", "trust")
    rng = np.random.default_rng(0)
    mood = rng.integers(1, 8, size=80)
    trust = np.clip(mood + rng.integers(-2, 3, size=80), 1, 7)
    builder = StoreBuilder(attributes=("age",), source="made up", license="CC0", command="test")
    builder.add_study("planned")
    for item in asked:
        item_id = builder.add_item(item)
        for n, given in enumerate(mood if item.outcome == "mood" else trust):
            if (n < 40) == bool(item.is_control):
                builder.add_participant("planned", str(n), {"age": str(20 + n % 3)})
                builder.add_response(item_id, str(n), int(given), sample_id=n)
    store = builder.write(tmp_path / "store")
    settings = {"per_arm": 50, "answers": store, "models": ["trust ~ mood"]}
    found = People(trust_follows_mood).ask(asked, **settings, batteries={"both": ["mood", "trust"]})
    r = np.corrcoef(mood[:40], trust[:40])[0, 1]
    assert value(found, "r", source="people", condition="plain") == pytest.approx(r)
    assert value(found, "alpha", source="people", condition="praise") is not None
    slope = np.polyfit(mood, trust, 1)[0]
    assert value(found, "coefficient", source="people", other="mood") == pytest.approx(slope)
    with pytest.raises(InputError, match="people's answers have no 'calm' of study 'planned'"):
        People(trust_follows_mood).ask(items("mood", "trust", "calm"), **settings)


def test_mistakes_are_named():
    people = People(trust_follows_mood)
    for message, settings in {
        "outcome 'trst' is not asked; known are mood, trust": {"outcomes": ["mood", "trst"]},
        "two outcomes or more": {"outcomes": ["mood"]},
        "battery 'b': 'sad' is no outcome": {"batteries": {"b": ["mood", "-sad"]}},
        "'income' is no column of the rows": {"models": ["trust ~ income"]},
        "name it by letters": {"batteries": {"age": ["mood", "trust"]}},
        "write three names": {"models": ["mood -> trust"]},
        "'age' has no order": {"models": ["age -> mood -> trust"]},
        "1 respondent per arm": {"per_arm": 1},
    }.items():
        with pytest.raises(InputError, match=message):
            people.ask(items("mood", "trust"), **({"per_arm": 5} | settings))
    two = items("mood", "trust")
    with pytest.raises(InputError, match="does not ask 'trust'"):
        people.ask([item for item in two if (item.condition, item.outcome) != ("praise", "trust")])
    with pytest.raises(InputError, match="2 studies"):
        people.ask([*two, dataclasses.replace(two[0], study_id="other")])
