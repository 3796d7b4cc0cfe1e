"""The decoder over prompt trees: equal to transformers, equal to separate paths, on one device or eight."""

from __future__ import annotations

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import small_config
from tiny_models import (
    assert_logits_of_paths,
    huggingface_model,
    path_to,
    random_rows,
    real_tokens,
    save,
)

from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.decoder import read_hidden, unembedding
from socsci_jax.models.huggingface import load_checkpoint
from socsci_jax.models.modules import init, with_params
from socsci_jax.models.sharding import batch_sharding, make_mesh, param_shardings
from socsci_jax.models.vocabulary import LEAST_LOGITS, slot_log_probs

torch = pytest.importorskip("torch")

FAMILIES = [("qwen2", True), ("qwen2", False), ("qwen3", False), ("llama", False)]


CONFIG = small_config(96, model_type="qwen2", max_position_embeddings=128)


def lively(params):
    """Weights large enough that attention is far from uniform, and biases and norms that do something."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    noise = [0.2 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, [leaf + n for leaf, n in zip(leaves, noise, strict=True)])


@pytest.mark.parametrize(("family", "tied"), FAMILIES)
def test_logits_equal_those_of_transformers(tmp_path, family, tied):
    reference = huggingface_model(family, tied=tied)
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    loaded = load_checkpoint(save(reference, tmp_path / "model"), mesh=mesh)
    batch = random_rows(np.random.default_rng(3))

    model = with_params(loaded.config, loaded.params)
    logits = np.asarray(jax.jit(lambda: read_hidden(model, **batch) @ unembedding(model).T)())
    assert_logits_of_paths(logits, batch, reference, every=5)


@lru_cache
def loss_and_gradient(config: DecoderConfig, compute_dtype=jnp.float32, at_a_time=LEAST_LOGITS, **settings):
    """Compiled once for all tests: ((loss, hidden), gradient) of (params, batch, weight, target)."""

    def loss(params, batch, weight, target):
        model = with_params(config, params)
        hidden = read_hidden(model, **batch, compute_dtype=compute_dtype, **settings)
        every = jnp.broadcast_to(jnp.arange(target.shape[1]), target.shape)
        return jnp.sum(weight * slot_log_probs(hidden, unembedding(model), every, target, at_a_time)), hidden

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@lru_cache
def parameters():
    return lively(init(CONFIG, key=jax.random.key(0)))


def rows_weights_targets(seed: int):
    rng = np.random.default_rng(seed)
    batch = random_rows(rng, g=4)
    weight = rng.uniform(0, 1, batch["read"].shape).astype(np.float32) * (batch["end"] > 0)
    return batch, weight, rng.integers(0, CONFIG.vocab_size, weight.shape)


def assert_gradients_agree(one, other, *, tolerance=1e-5):
    """To `tolerance` of each number, or of the largest of all: sums of many terms cancel."""
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(other))
    close = partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance * largest)
    jax.tree.map(close, jax.device_get(one), jax.device_get(other))


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_tree_has_the_loss_and_gradient_of_its_paths_as_separate_rows(seed):
    tree, weight, target = rows_weights_targets(seed)
    # Every other token becomes a row of its own: the way to it.
    weight[:, 1::2] = 0
    count, t = tree["read"].size // 2, 64
    flat = {name: np.zeros((count, t), np.int32) for name in tree}
    flat["position"][:] = np.arange(t)
    flat_weight, flat_target = np.zeros((count, t), np.float32), np.zeros((count, t), np.int64)
    for g, token in real_tokens(tree):
        if token % 2:
            continue
        row = np.ravel_multi_index((g, token), tree["read"].shape) // 2
        path = path_to(tree, g, token)[-t:]
        # A path that is too long for a row is not compared.
        weight[g, token] *= len(path) < t
        flat["ids"][row, : len(path)] = path
        flat["end"][row, : len(path)] = len(path)
        flat["read"][row] = len(path) - 1
        flat_weight[row, 0], flat_target[row, 0] = weight[g, token], target[g, token]

    (loss, _), gradient = loss_and_gradient(CONFIG)(parameters(), tree, weight, target)
    (wanted, _), wanted_gradient = loss_and_gradient(CONFIG)(parameters(), flat, flat_weight, flat_target)
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    assert_gradients_agree(gradient, wanted_gradient)


def test_ids_in_padding_change_nothing():
    batch, weight, target = rows_weights_targets(5)
    other = batch | {"ids": np.where(batch["end"] > 0, batch["ids"], 9)}
    (loss, _), gradient = loss_and_gradient(CONFIG)(parameters(), batch, weight, target)
    (other_loss, _), other_gradient = loss_and_gradient(CONFIG)(parameters(), other, weight, target)
    assert loss == other_loss
    assert_gradients_agree(gradient, other_gradient, tolerance=1e-7)


def test_reading_few_tokens_gives_what_reading_all_gives():
    batch, *_ = rows_weights_targets(8)
    few = np.sort(np.random.default_rng(0).choice(64, (4, 64)), axis=1).astype(np.int32)
    hidden = jax.jit(lambda **rows: read_hidden(with_params(CONFIG, parameters()), **rows))
    some, every = hidden(**batch | {"read": few}), hidden(**batch)
    np.testing.assert_allclose(some, np.take_along_axis(every, few[..., None], axis=1), atol=1e-5)


def test_normalizers_in_pieces_equal_those_at_once():
    batch, weight, target = rows_weights_targets(9)
    at_once = loss_and_gradient(CONFIG)(parameters(), batch, weight, target)
    in_pieces = loss_and_gradient(CONFIG, at_a_time=96 * 128)(parameters(), batch, weight, target)
    np.testing.assert_allclose(in_pieces[0][0], at_once[0][0], rtol=1e-6)
    assert_gradients_agree(in_pieces[1], at_once[1])


def test_a_batch_of_nothing_but_padding_is_finite_and_has_no_gradient():
    batch, weight, target = rows_weights_targets(0)
    empty = {name: np.zeros_like(values) for name, values in batch.items()}
    (loss, hidden), gradient = loss_and_gradient(CONFIG)(parameters(), empty, 0 * weight, target)
    assert loss == 0
    assert np.all(np.isfinite(hidden))
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("settings", [{"remat": "none"}, {"remat": "matmuls", "unroll": 2}])
def test_rematerialization_and_unrolling_change_no_gradient(settings):
    inputs = rows_weights_targets(2)
    (_, _), gradient = loss_and_gradient(CONFIG, **settings)(parameters(), *inputs)
    (_, _), wanted = loss_and_gradient(CONFIG)(parameters(), *inputs)
    assert_gradients_agree(gradient, wanted)


def test_stronger_rematerialization_keeps_less():
    batch = random_rows(np.random.default_rng(2), g=4)

    def kept(remat):
        def forward(params):
            return jnp.sum(read_hidden(with_params(CONFIG, params), **batch, remat=remat))

        _, backward = jax.eval_shape(lambda params: jax.vjp(forward, params), parameters())
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))

    assert kept("layers") < kept("matmuls") < kept("none")


def test_bfloat16_compute_of_float32_parameters_is_near_and_has_float32_gradients():
    batch, weight, target = rows_weights_targets(4)
    (loss, hidden), gradient = loss_and_gradient(CONFIG, jnp.bfloat16)(parameters(), batch, weight, target)
    (wanted, _), wanted_gradient = loss_and_gradient(CONFIG)(parameters(), batch, weight, target)
    assert hidden.dtype == jnp.bfloat16
    np.testing.assert_allclose(loss, wanted, rtol=0.03)
    for near, exact in zip(jax.tree.leaves(gradient), jax.tree.leaves(wanted_gradient), strict=True):
        assert near.dtype == jnp.float32
        assert np.linalg.norm(near - exact) < 0.1 * np.linalg.norm(exact)


def test_what_remat_keeps_in_bfloat16_is_never_a_float32_of_all_layers():
    """Held on CPUs alone, whose XLA would convert all that a loop keeps at once, before the first layer needs any."""
    config = small_config(96, model_type="llama", max_position_embeddings=128, num_hidden_layers=4)
    params = jax.eval_shape(partial(init, config), key=jax.random.key(0))
    of_bfloat16 = loss_and_gradient(config, jnp.bfloat16, remat="matmuls")
    text = of_bfloat16.lower(params, *rows_weights_targets(4)).compile().as_text()
    of_gate = f"[{config.num_hidden_layers - 1},4,128,{config.intermediate_size}]"
    assert f"u16{of_gate}" in text
    assert f"f32{of_gate}" not in text and f"bf16{of_gate}" not in text


@pytest.mark.slow
def test_eight_devices_compute_what_one_does_and_go_through_their_reads_in_pieces():
    inputs = rows_weights_targets(6)
    one = loss_and_gradient(CONFIG)(parameters(), *inputs)
    # A device has one row of 128 reads and half of the vocabulary.
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    params = jax.device_put(parameters(), param_shardings(CONFIG, mesh))
    with jax.set_mesh(mesh):
        rows = jax.device_put(inputs, batch_sharding(mesh, rows=4))
        eight = loss_and_gradient(CONFIG, at_a_time=48 * 32)(params, *rows)
    np.testing.assert_allclose(eight[0][0], one[0][0], rtol=1e-5)
    seen = inputs[0]["end"][..., None] > 0
    np.testing.assert_allclose(
        np.where(seen, eight[0][1], 0), np.where(seen, one[0][1], 0), rtol=1e-5, atol=1e-5
    )
    assert_gradients_agree(eight[1], one[1])
