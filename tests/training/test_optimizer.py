"""The optimizer with less memory: what it keeps, where that lives, and that small updates are not lost."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import small_config, small_store, small_tokenizer

from socsci_jax.errors import InputError
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.training.optimizer import (
    apply_updates_rounding_stochastically,
    make_optimizer,
    round_stochastically,
    scale_by_factored_moments,
)
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.recipe_objective import OptimizerConfig
from socsci_jax.training.state import state_shardings


def settings(**changes) -> OptimizerConfig:
    return OptimizerConfig(
        **{"epochs": 1, "learning_rate": 1e-2, "warmup_ratio": 0.0, "weight_decay": 0.1} | changes
    )


def test_full_second_moments_are_optax_adamw():
    params = {"layers": jnp.linspace(-1, 1, 24).reshape(2, 3, 4), "norm": jnp.ones(4)}
    gradients = jax.tree.map(lambda p: jnp.sin(7 * p), params)
    mine = make_optimizer(settings(clip_norm=1e9, final_learning_rate_ratio=1.0), total_steps=10)
    reference = optax.adamw(1e-2, weight_decay=0.1, mask={"layers": True, "norm": False})
    a, b = mine.init(params), reference.init(params)
    for _ in range(3):
        (change, a), (wanted, b) = mine.update(gradients, a, params), reference.update(gradients, b, params)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), change, wanted)


def test_factored_moments_keep_a_number_a_row_and_a_column():
    params = {"weight": jnp.ones((3, 256, 512), jnp.bfloat16)}
    full = make_optimizer(settings(), total_steps=10).init(params)
    small = make_optimizer(settings(second_moment="factored", momentum_dtype="bfloat16"), total_steps=10)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(small.init(params)))
    weights = 3 * 256 * 512
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(full)) == pytest.approx(8 * weights, rel=1e-3)
    assert size == pytest.approx(2 * weights + 4 * 3 * (256 + 512), rel=1e-3)


def test_factored_moments_are_optax_adafactor_with_momentum():
    params = {"matrix": jnp.linspace(-1, 1, 128 * 256).reshape(128, 256), "norm": jnp.ones(4)}
    parts = (optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0), optax.ema(0.9))
    mine, reference = scale_by_factored_moments(beta1=0.9, momentum_dtype=jnp.float32), optax.chain(*parts)
    a, b = mine.init(params), reference.init(params)
    for step in range(3):
        gradients = jax.tree.map(lambda p, step=step: jnp.sin(7 * p + step), params)
        (change, a), (wanted, b) = mine.update(gradients, a), reference.update(gradients, b, params)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), change, wanted)


def test_stacked_matrices_are_factored_each_for_itself():
    stack = jnp.sin(jnp.arange(3.0 * 128 * 256)).reshape(3, 128, 256) * jnp.array([1, 2, 30])[:, None, None]
    optimizer = scale_by_factored_moments(beta1=0.9, momentum_dtype=jnp.float32)
    together, _ = optimizer.update(stack, optimizer.init(stack))
    alone = [optimizer.update(matrix, optimizer.init(matrix))[0] for matrix in stack]
    np.testing.assert_allclose(together, jnp.stack(alone), rtol=1e-5)


@pytest.mark.parametrize("second_moment", ["full", "factored"])
def test_second_moments_stay_float32_beside_bfloat16_weights(second_moment):
    params = {"weight": jnp.ones((2, 128, 128), jnp.bfloat16), "norm": jnp.ones(4, jnp.bfloat16)}
    optimizer = make_optimizer(
        settings(second_moment=second_moment, momentum_dtype="bfloat16"), total_steps=10
    )
    state = optimizer.init(params)
    _, after = optimizer.update(params, state, params)
    assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(lambda x: x.dtype, after)
    assert any(leaf.dtype == jnp.float32 and leaf.ndim > 1 for leaf in jax.tree.leaves(after))


@pytest.mark.parametrize("second_moment", ["full", "factored"])
def test_where_not_all_is_finite_the_state_stays_as_it_was(second_moment):
    params = {"weight": jnp.ones((2, 128, 128), jnp.bfloat16), "norm": jnp.ones(4, jnp.bfloat16)}
    optimizer = make_optimizer(settings(second_moment=second_moment), total_steps=10)
    gradients = jax.tree.map(jnp.ones_like, params)
    _, state = optimizer.update(gradients, optimizer.init(params), params, finite=True)
    broken = jax.tree.map(lambda g: g.at[0].set(jnp.nan), gradients)
    updates, after = optimizer.update(broken, state, params, finite=False)
    jax.tree.map(np.testing.assert_array_equal, after, state)
    kept = apply_updates_rounding_stochastically(params, updates, key=jax.random.key(0), finite=False)
    jax.tree.map(np.testing.assert_array_equal, kept, params)


@pytest.mark.parametrize("second_moment", ["full", "factored"])
def test_every_array_of_the_state_has_a_place_on_eight_devices(tmp_path, second_moment):
    store = small_store(tmp_path / "store", studies=2, people=4)
    config = small_config(
        small_tokenizer(store, tmp_path / "tokenizer"), hidden_size=128, intermediate_size=256
    )
    optimizer = make_optimizer(settings(second_moment=second_moment), total_steps=10)
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    abstract = jax.eval_shape(lambda: init(config, key=jax.random.key(0)))
    places = state_shardings(config, optimizer, abstract, mesh).optimizer
    placed = jax.jit(optimizer.init, out_shardings=places)(init(config, key=jax.random.key(0)))
    up = [
        leaf.sharding.spec
        for path, leaf in jax.tree_util.tree_flatten_with_path(placed)[0]
        if "up_proj" in jax.tree_util.keystr(path) and leaf.ndim == 3
    ]
    beside = param_shardings(config, mesh)["model"]["layers"]["mlp"]["up_proj"]["weight"].spec
    assert up
    assert set(up) == {beside}


def test_stochastic_rounding_is_right_on_average_and_exact_where_it_can_be():
    step = 2.0**-7  # between bfloat16 numbers from 1 to 2
    x = jnp.full(40_000, 1 + 0.3 * step)
    rounded = np.asarray(round_stochastically(x, jax.random.key(0)), np.float64)
    assert set(np.unique(rounded)) == {1.0, 1 + step}
    # Five standard errors.
    assert abs(rounded.mean() - float(x[0])) < 5 * step * (0.3 * 0.7 / 40_000) ** 0.5
    negative = np.asarray(round_stochastically(-x, jax.random.key(0)), np.float64)
    assert set(np.unique(negative)) == {-1.0, -1 - step}
    exact = jnp.array([0.0, -0.0, 1.5, -3.0, jnp.inf, -jnp.inf])
    np.testing.assert_array_equal(round_stochastically(exact, jax.random.key(1)), exact)
    assert jnp.isnan(round_stochastically(jnp.array([jnp.nan]), jax.random.key(1))[0])


def test_small_updates_add_up_only_if_rounded_stochastically():
    params = {"stacked": jnp.ones((2, 64, 64), jnp.bfloat16), "bias": jnp.ones(4096, jnp.bfloat16)}
    update = jax.tree.map(lambda p: jnp.full(p.shape, 1e-4, jnp.float32), params)

    def step(params, key):
        return apply_updates_rounding_stochastically(params, update, key=key), None

    moved, _ = jax.lax.scan(step, params, jax.random.split(jax.random.key(0), 100))
    for leaf in jax.tree.leaves(moved):
        np.testing.assert_allclose(np.asarray(leaf, np.float64).mean(), 1.01, rtol=5e-4)
    nearest = params
    for _ in range(100):
        nearest = optax.apply_updates(nearest, update)
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(nearest))


def test_rounding_without_bfloat16_weights_is_refused(tmp_path):
    with pytest.raises(InputError, match="stochastic_rounding"):
        parse_recipe({"name": "a", "model": {"init_from": "x", "stochastic_rounding": True}}, where="test")
