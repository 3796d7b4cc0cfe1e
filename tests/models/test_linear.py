"""The decoder's matrix product: what `einsum` gives, in an order of operands that has a fast kernel on CPUs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from socsci_jax.models.linear import contract, contract_to_float32, product

# Sums over the rows of both operands: of a linear map, of the output layer, of keys in attention.
OVER_ROWS = ["gno,gni->io", "gnv,gnd->vd", "kqp,kqh->kph"]


def operands(spec: str, dtype: type) -> list[jax.Array]:
    sizes = dict(zip("gnqiodvkph", (2, 24, 40, 8, 16, 24, 56, 3, 48, 32), strict=True))
    rng = np.random.default_rng(0)
    shapes = [[sizes[index] for index in of] for of in spec.split("->")[0].split(",")]
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("spec", [*OVER_ROWS, "gni,io->gno", "gnd,vd->gnv", "kqh,kph->kqp", "kqp,kph->kqh"])
def test_a_product_is_that_of_einsum(spec, dtype):
    a, b = operands(spec, dtype)
    wanted = np.einsum(spec, np.asarray(a, np.float64), np.asarray(b, np.float64))
    np.testing.assert_allclose(jax.jit(lambda a, b: product(spec, a, b))(a, b), wanted, atol=2e-5)


@pytest.mark.parametrize("spec", OVER_ROWS)
def test_a_sum_over_rows_has_rows_side_by_side_in_memory(spec):
    """Without the layout being held, XLA folds a transposition into the product again."""
    program = jax.jit(lambda a, b: product(spec, a, b)).lower(*operands(spec, jnp.bfloat16)).compile()
    [dot] = [line for line in program.as_text().splitlines() if re.search(r"= \S+ dot\(", line)]
    batch = set(re.findall(r"lhs_batch_dims=\{([\d,]*)\}", dot))
    [summed] = re.findall(r"lhs_contracting_dims=\{(\d+)\}", dot)
    assert int(summed) == len(batch) + 1


@pytest.mark.parametrize("function", [contract, contract_to_float32])
def test_gradients_are_those_of_einsum(function):
    x, weight = operands("gni,io->gno", jnp.float32)

    def loss(function):
        return lambda x, weight: jnp.sum(jnp.sin(function("gni,io->gno", x, weight)))

    wanted = jax.grad(loss(jnp.einsum), argnums=(0, 1))(x, weight)
    for own, of_einsum in zip(jax.grad(loss(function), argnums=(0, 1))(x, weight), wanted, strict=True):
        np.testing.assert_allclose(own, of_einsum, atol=1e-4)
