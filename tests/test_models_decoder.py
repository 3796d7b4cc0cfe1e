"""The decoder over prompt trees: equal to transformers, equal to separate rows, on one device or eight."""

from __future__ import annotations

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import huggingface_model, path_to, random_trees, real_rows, save

from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.decoder import project, read_hidden
from socsci_jax.models.huggingface import load_checkpoint
from socsci_jax.models.modules import init, with_params
from socsci_jax.models.sharding import batch_sharding, make_mesh, param_shardings

FAMILIES = [("qwen2", True), ("qwen2", False), ("qwen3", False), ("llama", False)]


def config_of(family: str, *, layers: int = 2) -> DecoderConfig:
    return DecoderConfig(
        model_type=family,
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )


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
    batch = random_trees(np.random.default_rng(3), p=24, s=12)
    batch["prefix_length"][:] = [24, 5]  # one full, one padded

    model = with_params(loaded.config, loaded.params)
    logits = np.asarray(jax.jit(lambda: project(model, read_hidden(model, **batch)))())

    for g, b, token in real_rows(batch):
        prefix = batch["prefix_ids"][g, : batch["prefix_length"][g]].tolist()
        with torch.inference_mode():
            wanted = reference(torch.tensor([prefix + path_to(batch, g, b, token)])).logits[0, -1]
        np.testing.assert_allclose(logits[g, b, token], wanted.numpy(), atol=1e-4, rtol=1e-4)


def weighted_loss(config, params, batch, weight, target):
    model = with_params(config, params)
    logits = project(model, read_hidden(model, **batch))
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), target[..., None], axis=-1)[..., 0]
    return jnp.sum(weight * chosen)


@lru_cache
def loss_and_gradient(config):
    return jax.jit(jax.value_and_grad(partial(weighted_loss, config)))


@lru_cache
def parameters(config):
    return lively(init(config, key=jax.random.key(0)))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), family=st.sampled_from(["qwen2", "qwen3"]))
def test_a_tree_has_the_loss_and_gradient_of_its_branches_as_separate_rows(seed, family):
    config = config_of(family)
    rng = np.random.default_rng(seed)
    tree = random_trees(rng)
    weight = rng.uniform(0, 1, tree["read"].shape) * (tree["branch_end"] > 0)
    target = rng.integers(0, config.vocab_size, tree["read"].shape)

    # Every token that is read becomes a row of its own: its prefix and the way to it.
    count, s = tree["read"].size, tree["read"].shape[2]
    flat = {
        "prefix_ids": np.zeros((count, tree["prefix_ids"].shape[1]), np.int32),
        "prefix_length": np.zeros(count, np.int32),
        "branch_ids": np.zeros((count, 1, s), np.int32),
        "branch_depth": np.zeros((count, 1, s), np.int32),
        "branch_end": np.zeros((count, 1, s), np.int32),
        "read": np.zeros((count, 1, 1), np.int32),
    }
    for g, b, token in real_rows(tree):
        row, path = np.ravel_multi_index((g, b, token), tree["read"].shape), path_to(tree, g, b, token)
        flat["prefix_ids"][row], flat["prefix_length"][row] = tree["prefix_ids"][g], tree["prefix_length"][g]
        flat["branch_ids"][row, 0, : len(path)] = path
        flat["branch_depth"][row, 0] = np.arange(s)
        flat["branch_end"][row, 0, : len(path)] = len(path)
        flat["read"][row] = len(path) - 1

    run = loss_and_gradient(config)
    as_tree = run(parameters(config), tree, weight, target)
    as_rows = run(parameters(config), flat, weight.reshape(-1, 1, 1), target.reshape(-1, 1, 1))
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(as_rows[1]))
    np.testing.assert_allclose(as_tree[0], as_rows[0], rtol=1e-5)
    for one, other in zip(jax.tree.leaves(as_tree[1]), jax.tree.leaves(as_rows[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * largest)


def test_ids_in_padding_change_nothing():
    config, rng = config_of("qwen2"), np.random.default_rng(5)
    batch = random_trees(rng)
    batch["prefix_length"][:] = [0, 3]
    real = batch["branch_end"] > 0
    other = dict(batch)
    other["branch_ids"] = np.where(real, batch["branch_ids"], 9)
    padded = np.arange(batch["prefix_ids"].shape[1]) >= batch["prefix_length"][:, None]
    other["prefix_ids"] = np.where(padded, 9, batch["prefix_ids"])
    run = loss_and_gradient(config)
    target = np.zeros_like(batch["read"])
    one, two = (run(parameters(config), trees, real.astype(float), target) for trees in (batch, other))
    assert one[0] == two[0]
    # Gradients of embeddings of padding ids are zero too, so the pytrees agree wholly.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7), one[1], two[1])


def test_a_batch_of_nothing_but_padding_has_finite_gradients_of_zero():
    config = config_of("qwen3")
    batch = {name: np.zeros_like(values) for name, values in random_trees(np.random.default_rng(0)).items()}
    zero = np.zeros(batch["read"].shape)
    loss, gradient = loss_and_gradient(config)(parameters(config), batch, zero, batch["read"])
    assert loss == 0
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_rematerialisation_policies_give_the_same_gradient():
    config = config_of("qwen2", layers=3)
    params, batch = parameters(config), random_trees(np.random.default_rng(2))

    @partial(jax.jit, static_argnums=1)
    def gradient(params, remat):
        return jax.grad(
            lambda p: jnp.sum(read_hidden(with_params(config, p), **batch, remat=remat)[..., :4])
        )(params)

    kept = gradient(params, "none")
    for remat in ("matmuls", "layers"):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), gradient(params, remat), kept)


def test_stronger_rematerialisation_keeps_less():
    config = config_of("qwen2", layers=3)
    params, batch = parameters(config), random_trees(np.random.default_rng(2), g=4, p=32, s=32)

    def residual_bytes(remat):
        def forward(params):
            return jnp.sum(read_hidden(with_params(config, params), **batch, remat=remat))

        _, backward = jax.eval_shape(lambda p: jax.vjp(forward, p), params)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))

    none, matmuls, layers = map(residual_bytes, ("none", "matmuls", "layers"))
    assert layers < matmuls < none


def test_bfloat16_compute_of_float32_parameters_is_near_and_has_float32_gradients():
    config = config_of("qwen2")
    params, batch = parameters(config), random_trees(np.random.default_rng(4))
    seen = jnp.asarray(batch["branch_end"] > 0)[..., None]

    @partial(jax.jit, static_argnums=1)
    def run(params, dtype):
        def total(p):
            hidden = read_hidden(with_params(config, p), **batch, compute_dtype=dtype)
            return jnp.sum(jnp.where(seen, hidden.astype(jnp.float32), 0) ** 2), hidden

        return jax.grad(total, has_aux=True)(params)

    wide_gradient, wide = run(params, jnp.float32)
    gradient, narrow = run(params, jnp.bfloat16)
    assert narrow.dtype == jnp.bfloat16
    difference = np.abs(np.where(seen, narrow.astype(jnp.float32) - wide, 0))
    assert difference.mean() < 0.03 * np.abs(wide).mean()
    for near, exact in zip(jax.tree.leaves(gradient), jax.tree.leaves(wide_gradient), strict=True):
        assert near.dtype == jnp.float32
        assert np.linalg.norm(near - exact) < 0.1 * np.linalg.norm(exact) + 1e-3


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_eight_devices_compute_what_one_does(family):
    config = config_of(family)
    batch = random_trees(np.random.default_rng(6), g=4)
    weight = (batch["branch_end"] > 0).astype(np.float32)
    target = np.random.default_rng(6).integers(0, config.vocab_size, batch["read"].shape)
    batch |= {"weight": weight, "target": target}

    def run(params, batch):
        def loss(params):
            trees = {name: value for name, value in batch.items() if name not in ("weight", "target")}
            hidden = read_hidden(with_params(config, params), **trees)
            logits = project(with_params(config, params), hidden)
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), batch["target"][..., None], axis=-1)
            return jnp.sum(batch["weight"] * chosen[..., 0]), hidden

        return jax.value_and_grad(loss, has_aux=True)(params)

    results = []
    for sizes in ({"data": 1, "fsdp": 1, "tensor": 1}, {"data": 2, "fsdp": 2, "tensor": 2}):
        mesh = make_mesh(**sizes, devices=jax.devices()[: np.prod(list(sizes.values()))])
        shardings = param_shardings(config, mesh)
        params = jax.device_put(parameters(config), shardings)
        placed = jax.device_put(batch, batch_sharding(mesh, trees=4))
        with jax.set_mesh(mesh):
            (loss, hidden), gradient = jax.jit(run)(params, placed)
        results.append(jax.device_get((loss, np.where(weight[..., None] > 0, hidden, 0), gradient)))
    one, eight = results
    np.testing.assert_allclose(eight[0], one[0], rtol=1e-5)
    np.testing.assert_allclose(eight[1], one[1], rtol=1e-5, atol=1e-5)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(one[2]))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5 * largest), eight[2], one[2])
