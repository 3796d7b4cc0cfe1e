"""The one matrix product of the decoder, with its numbers kept where they cost nothing."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def contract(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """`einsum(spec, a, b)` in the dtype of `a`, summed in float32.

    `b` may be a float32 master of another dtype: it is cast for the product, and its gradient is summed
    and returned in its own dtype without passing through that of `a`. Every index of an operand must
    appear in the other operand or in the result.

    Written out because the derivative of a product that sums in float32 multiplies a float32 cotangent
    with a bfloat16 operand, for which neither CPU nor accelerator has a fast kernel.
    """
    return _einsum(spec, a, b.astype(a.dtype)).astype(a.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def contract_to_float32(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """`contract` with the float32 sum as result (attention scores, logits)."""
    return _einsum(spec, a, b.astype(a.dtype))


def _einsum(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(spec, a, b, preferred_element_type=jnp.float32)


def _backward(spec: str, operands: tuple[jax.Array, jax.Array], cotangent: jax.Array):
    a, b = operands
    inputs, result = spec.split("->")
    of_a, of_b = inputs.split(",")
    cotangent = cotangent.astype(a.dtype)
    to_a = _einsum(f"{result},{of_b}->{of_a}", cotangent, b.astype(a.dtype))
    to_b = _einsum(f"{result},{of_a}->{of_b}", cotangent, a)
    return to_a.astype(a.dtype), to_b.astype(b.dtype)


contract.defvjp(lambda spec, a, b: (contract(spec, a, b), (a, b)), _backward)
contract_to_float32.defvjp(lambda spec, a, b: (contract_to_float32(spec, a, b), (a, b)), _backward)
