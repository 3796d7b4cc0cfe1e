"""The best distribution of profiles, for one actor and for two: against other optimizers, and by weights alone."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize
from conjoint_data import communities

from socsci_jax.errors import InputError
from socsci_jax.estimation.adversaries import (
    Duels,
    cross_fitted_share,
    extragradient,
    fit_game,
    ipw_share,
    max_min,
)
from socsci_jax.estimation.conjoint import Conjoint
from socsci_jax.estimation.profiles import Levels, fit_quadratic, maximize, optimal_profiles
from socsci_jax.estimation.weighting import cross_fitted_value, ipw_value

FIRST, SECOND = {"party": "blue"}, {"party": "red"}


@pytest.fixture(scope="module")
def election():
    """400 respondents choose between two candidates five times; what a plan gains depends on the party."""
    rng = np.random.default_rng(3)
    tasks = 400 * 5
    drawn = {
        "party": rng.choice(["blue", "red"], (tasks, 2)),
        "plan": rng.choice(["growth", "order", "welfare"], (tasks, 2)),
        "age": rng.choice(["old", "young"], (tasks, 2)),
    }
    party, plan, age = drawn.values()
    gain = 0.5 * (age == "young") + 0.6 * (plan == "welfare") * (party == "blue")
    gain = gain + 0.8 * (plan == "order") * (party == "red")
    # A plan against its opposite gains more than against its like.
    gain = gain + 0.5 * ((plan == "order") & (plan[:, ::-1] == "welfare"))
    utility = gain + rng.gumbel(size=gain.shape)
    choice = (utility == utility.max(axis=1, keepdims=True)).astype(float)
    attributes = {name: values.ravel() for name, values in drawn.items()}
    conjoint = Conjoint(attributes, choice.ravel(), np.repeat(np.arange(400), 10))
    return conjoint, np.tile(np.repeat(np.arange(5), 2), 400)


@pytest.fixture(scope="module")
def duels(election):
    return Duels.of(*election)


def by_scipy(objective, levels, given, start):
    """The maximum of an objective among distributions, by sequential quadratic programming."""
    bounds = [(0, 1) if np.isnan(one) else (one, one) for one in given]
    total = {"type": "eq", "fun": lambda pi: levels.members @ pi - 1}
    found = scipy.optimize.minimize(
        lambda pi: -objective(pi),
        start,
        bounds=bounds,
        constraints=[total],
        method="SLSQP",
        options={"ftol": 1e-15},
    )
    return found.x


def test_one_attribute_by_hand():
    # Two levels, 60 % against 40 % chosen: effect b = 0.2; pi = p + b / (4 penalty) = 0.5 + 0.2 / 4.
    level = np.tile(["a", "b"], 50)
    chosen = np.concatenate([np.tile([0.0, 1.0], 30), np.tile([1.0, 0.0], 20)])
    found = optimal_profiles(Conjoint({"x": level}, chosen, np.arange(100) // 2), penalty=1.0)
    np.testing.assert_allclose(found.distribution.estimate, [0.45, 0.55])
    assert found.value.estimate[0] == pytest.approx(0.4 + 0.2 * 0.55)
    assert found.value_of_design == pytest.approx(0.5)


@pytest.mark.parametrize(("penalty", "interior"), [(1.0, True), (0.09, False)])
def test_the_best_distribution_is_that_of_another_optimizer(election, penalty, interior):
    conjoint, _ = election
    model = fit_quadratic(conjoint)
    design = model.levels.shares(conjoint)
    found = optimal_profiles(conjoint, penalty=penalty)
    assert found.interior == interior
    theirs = by_scipy(
        lambda pi: model.value(pi) - penalty * np.sum((pi - design) ** 2),
        model.levels,
        np.full(7, np.nan),
        design,
    )
    np.testing.assert_allclose(found.distribution.estimate, theirs, atol=1e-6)
    np.testing.assert_allclose(model.levels.members @ found.distribution.estimate, 1, atol=1e-12)


@pytest.mark.parametrize("penalty", [1.0, 0.09])
def test_errors_are_the_derivative_of_the_optimum(election, penalty):
    conjoint, _ = election
    model = fit_quadratic(conjoint)
    design, given = model.levels.shares(conjoint), np.full(7, np.nan)

    def optimum(coefficients):
        changed = dataclasses.replace(model, coefficients=coefficients)
        pi, _ = maximize(changed, penalty, design, given)
        return np.append(pi, changed.value(pi))

    step = 1e-5
    columns = [
        (optimum(model.coefficients + step * unit) - optimum(model.coefficients - step * unit)) / (2 * step)
        for unit in np.eye(len(model.coefficients))
    ]
    jacobian = np.stack(columns, axis=1)
    errors = np.sqrt(np.diag(jacobian @ model.covariance @ jacobian.T))
    found = optimal_profiles(conjoint, penalty=penalty)
    np.testing.assert_allclose(found.distribution.se, errors[:-1], atol=1e-7)
    assert found.value.se[0] == pytest.approx(errors[-1], abs=1e-7)


def test_a_penalty_that_is_too_small_is_refused_with_the_least_that_is_enough(election):
    conjoint, _ = election
    with pytest.raises(InputError, match="must be above") as error:
        optimal_profiles(conjoint, penalty=1e-4)
    least = float(str(error.value).split()[-1].rstrip("."))
    optimal_profiles(conjoint, penalty=1.01 * least)


def test_what_an_actor_cannot_choose_stays(election):
    conjoint, _ = election
    found = optimal_profiles(conjoint, penalty=0.3, fixed=SECOND)
    assert found.distribution["party: red"] == (1.0, 0.0)
    assert found.distribution["plan: order"][0] > found.distribution["plan: welfare"][0]
    assert optimal_profiles(conjoint, penalty=0.3, fixed=FIRST).distribution["plan: welfare"][0] > 0.4


def test_a_level_that_was_never_shown_cannot_be_fixed(election):
    with pytest.raises(InputError, match="'green' of 'party' is not in the experiment"):
        optimal_profiles(election[0], penalty=1.0, fixed={"party": "green"})


def test_weights_alone_give_the_design_its_mean(election):
    conjoint, _ = election
    found = ipw_value(conjoint, Levels.of(conjoint).shares(conjoint))
    assert found.estimate[0] == pytest.approx(conjoint.choice.mean())


def test_weights_give_the_value_of_profiles_that_are_alike(election):
    conjoint, _ = election
    levels = Levels.of(conjoint)
    only = np.array(
        [key in {("party", "red"), ("plan", "order"), ("age", "young")} for key in levels.keys], float
    )
    rows = (
        (conjoint.attributes["party"] == "red")
        & (conjoint.attributes["plan"] == "order")
        & (conjoint.attributes["age"] == "young")
    )
    assert ipw_value(conjoint, only).estimate[0] == pytest.approx(conjoint.choice[rows].mean())


def test_what_the_model_promises_holds_for_respondents_it_was_not_fitted_to(election):
    conjoint, _ = election
    promised = optimal_profiles(conjoint, penalty=0.3).value
    held = cross_fitted_value(conjoint, penalty=0.3)
    assert abs(promised.estimate[0] - held.estimate[0]) < 3 * np.hypot(promised.se[0], held.se[0])
    assert held.lo[0] > 0.52


def test_without_bounds_both_actors_offer_the_same_and_share_the_vote(duels):
    found = max_min(duels, penalty=0.5)
    np.testing.assert_allclose(found.first.estimate, found.second.estimate, atol=1e-9)
    assert found.value.estimate[0] == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("penalty", [0.6, 0.09])
def test_at_the_saddle_point_neither_actor_can_gain(duels, penalty):
    found = max_min(duels, penalty=penalty, fixed_first=FIRST, fixed_second=SECOND)
    game = fit_game(duels)
    design = game.levels.shares(duels.conjoint)
    a, b = found.first.estimate, found.second.estimate
    best_a = by_scipy(
        lambda pi: game.value(pi, b) - penalty * np.sum((pi - design) ** 2),
        game.levels,
        game.levels.fixed(FIRST),
        a,
    )
    best_b = by_scipy(
        lambda pi: -game.value(a, pi) - penalty * np.sum((pi - design) ** 2),
        game.levels,
        game.levels.fixed(SECOND),
        b,
    )
    np.testing.assert_allclose(a, best_a, atol=1e-6)
    np.testing.assert_allclose(b, best_b, atol=1e-6)
    # The smaller penalty leaves some level to neither: its error is then none.
    assert (np.minimum(a, b)[2:].min() < 1e-9) == (penalty < 0.5)
    assert found.first["party: blue"] == found.second["party: red"] == (1.0, 0.0)


@pytest.mark.parametrize("penalty", [0.6, 0.09])
def test_errors_are_the_derivative_of_the_saddle_point(duels, penalty):
    game = fit_game(duels)
    design = game.levels.shares(duels.conjoint)
    given = game.levels.fixed(FIRST), game.levels.fixed(SECOND)
    own, pairs = np.flatnonzero(~game.levels.baseline), game.levels.pairs()
    crossed = [(j, k) for at, j in enumerate(own) for k in own[at + 1 :]]
    places = [("linear", j, None) for j in own] + [("quadratic", *pair) for pair in pairs]
    places += [("against", *pair) for pair in crossed]
    assert len(places) == len(game.covariance)

    def saddle(place, step):
        kind, j, k = place
        changed = getattr(game, kind).copy()
        if kind == "linear":
            changed[j] += step
        else:
            changed[j, k] += step
            changed[k, j] += step if kind == "quadratic" else -step
        other = dataclasses.replace(game, **{kind: changed})
        a, b = extragradient(other, penalty, design, *given)
        return np.concatenate([a, b, [other.value(a, b)]])

    step = 1e-5
    jacobian = np.stack([(saddle(p, step) - saddle(p, -step)) / (2 * step) for p in places], axis=1)
    errors = np.sqrt(np.diag(jacobian @ game.covariance @ jacobian.T))
    found = max_min(duels, penalty=penalty, fixed_first=FIRST, fixed_second=SECOND)
    np.testing.assert_allclose(np.concatenate([found.first.se, found.second.se]), errors[:-1], atol=1e-6)
    assert found.value.se[0] == pytest.approx(errors[-1], abs=1e-6)


def test_the_share_at_the_saddle_point_holds_for_respondents_it_was_not_fitted_to(duels):
    arguments = {"penalty": 0.3, "fixed_first": FIRST, "fixed_second": SECOND}
    promised, held = max_min(duels, **arguments).value, cross_fitted_share(duels, **arguments)
    assert abs(promised.estimate[0] - held.estimate[0]) < 3 * np.hypot(promised.se[0], held.se[0])


def test_weights_give_equal_actors_half_of_the_votes(duels):
    design = Levels.of(duels.conjoint).shares(duels.conjoint)
    assert ipw_share(duels, design, design).estimate[0] == pytest.approx(0.5)


def test_tasks_without_two_profiles_or_a_choice_are_refused(election):
    conjoint, task = election
    with pytest.raises(InputError, match="must have two profiles"):
        Duels.of(conjoint, np.arange(len(task)))
    both = dataclasses.replace(conjoint, choice=np.ones(len(task)))
    with pytest.raises(InputError, match="one of the two profiles must be chosen"):
        Duels.of(both, task)


def test_the_best_profiles_of_a_published_experiment(shared_data):
    conjoint, _, _ = communities(shared_data)
    found = optimal_profiles(conjoint, penalty=0.2)
    assert found.interior
    assert found.value_of_design == pytest.approx(0.5, abs=0.01)
    held = cross_fitted_value(conjoint, penalty=0.2, folds=3)
    assert 0.53 < held.estimate[0] < found.value.estimate[0] + 0.02
    housing = [found.distribution[f"Housing Cost: {share}% of pre-tax income"][0] for share in (15, 30, 40)]
    assert housing == sorted(housing, reverse=True)
