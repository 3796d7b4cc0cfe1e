"""The one matrix product of the decoder, with its numbers kept where they cost nothing, and results named for remat."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.layout import Layout, with_layout_constraint


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def contract(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """`einsum(spec, a, b)` in the dtype of `a`, summed in float32.

    `b` may be a float32 master of another dtype: it is cast for the product, and its gradient is summed
    and returned in its own dtype without passing through that of `a`. Every index of an operand must
    appear in the other operand or in the result.

    Written out because the derivative of a product that sums in float32 multiplies a float32 cotangent
    with a bfloat16 operand, for which neither CPU nor accelerator has a fast kernel.
    """
    return product(spec, a, b.astype(a.dtype)).astype(a.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def contract_to_float32(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """`contract` with the float32 sum as result (attention scores, logits)."""
    return product(spec, a, b.astype(a.dtype))


def product(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """`einsum(spec, a, b)`, summed in float32; on CPUs in the order of operands for which there is a fast kernel."""
    if jax.default_backend() == "cpu":
        spec, a, b = _rows_outside(spec, a, b)
    return jnp.einsum(spec, a, b, preferred_element_type=jnp.float32)


def _rows_outside(spec: str, a: jax.Array, b: jax.Array) -> tuple[str, jax.Array, jax.Array]:
    """A product that sums over rows of both operands, as the gradient of a weight does, with one transposed in memory.

    XLA's fast kernels on CPUs need columns of the first operand side by side.  It would undo a mere transposition, so the
    layout is held.  Measured on one core with avx512_bf16, GFLOP/s: 4,096 x 576 by 4,096 x 1,536 in bfloat16 86 -> 184
    (in float32 it has a kernel: 109); 3 heads of 384 x 1,024 by 384 x 64 in bfloat16 28 -> 158, in float32 30 -> 56.
    """
    inputs, result = spec.split("->")
    of_a, of_b = inputs.split(",")
    batch = "".join(i for i in result if i in of_a and i in of_b)
    summed = "".join(i for i in of_a if i not in result)
    n = len(batch + summed)
    if not summed or not of_a[:n] == of_b[:n] == batch + summed or (a.dtype == jnp.float32 and not batch):
        return spec, a, b
    if result.endswith(of_a[n:]):  # the result begins with what is left of b
        of_a, of_b, a, b = of_b, of_a, b, a
    outside = batch + of_a[n:] + summed
    a = a.transpose([of_a.index(i) for i in outside])
    return f"{outside},{of_b}->{result}", with_layout_constraint(a, Layout(tuple(range(a.ndim)))), b


def _backward(spec: str, operands: tuple[jax.Array, jax.Array], cotangent: jax.Array):
    a, b = operands
    inputs, result = spec.split("->")
    of_a, of_b = inputs.split(",")
    cotangent = cotangent.astype(a.dtype)
    to_a = product(f"{result},{of_b}->{of_a}", cotangent, b.astype(a.dtype))
    to_b = product(f"{result},{of_a}->{of_b}", cotangent, a)
    return to_a.astype(a.dtype), to_b.astype(b.dtype)


contract.defvjp(lambda spec, a, b: (contract(spec, a, b), (a, b)), _backward)
contract_to_float32.defvjp(lambda spec, a, b: (contract_to_float32(spec, a, b), (a, b)), _backward)


def kept_without_gradient(x: jax.Array, name: str) -> jax.Array:
    """`kept` within the forward pass of a function whose derivative is written out."""
    # On CPUs as its bits: XLA has no slices of bfloat16 there, and would convert what a loop over layers kept to float32
    # as a whole, at once: 2.9 GB for a row of 4,096 tokens in SmolLM2-135M, and a sixth of a step's time.
    if jax.default_backend() != "cpu" or x.dtype != jnp.bfloat16:
        return checkpoint_name(x, name)
    bits = checkpoint_name(jax.lax.bitcast_convert_type(x, jnp.uint16), name)
    return jax.lax.bitcast_convert_type(bits, x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def kept(x: jax.Array, name: str) -> jax.Array:
    """`x`, named so that remat may keep it."""
    return kept_without_gradient(x, name)


# Remat looks for names in what is differentiated, and does not see those within a function that has a derivative.
kept.defvjp(lambda x, name: (kept_without_gradient(x, name), None), lambda name, _, cotangent: (cotangent,))
