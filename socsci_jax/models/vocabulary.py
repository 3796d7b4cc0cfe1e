"""Log-probabilities of ids of the vocabulary, and their gradient, with the output projection cut over devices.

Letters: G rows, R reads of a row, A target slots of a row, D features, V vocabulary; g and v are a device's own.

The projection is gathered over its features once, every device goes through the reads of its own rows in pieces, and
its gradient is summed over devices once, behind the last piece.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from socsci_jax.models.linear import contract_to_float32
from socsci_jax.models.sharding import (
    constrain,
    max_over,
    own_part,
    parts,
    per_device,
    sum_over,
    sum_scattered,
)

# Logits that exist at a time, per device: 256 MB in float32, or of larger devices this share of what a run may take.
LEAST_LOGITS = 1 << 26
SHARE_OF_DEVICE = 1 / 64

_HIDDEN, _WEIGHT, _GATHERED, _SLOTS = ("row", None, None), ("vocab", "embed"), ("vocab", None), ("row", None)
_LOGITS = ("row", None, "vocab")


def logits_at_a_time(usable: int) -> int:
    """How many logits a device holds at a time of whose memory a run may take so many bytes.

    Larger pieces keep an accelerator busier for each time that it reads the whole projection.
    """
    return max(LEAST_LOGITS, int(usable * SHARE_OF_DEVICE) // 4)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def slot_log_probs(
    hidden: jax.Array,
    weight: jax.Array,
    slot_read: jax.Array,
    slot_id: jax.Array,
    at_a_time: int = LEAST_LOGITS,
) -> jax.Array:
    """Log-probability [G,A] that each target slot's id has at the read it is predicted from.

    hidden[G,R,D] of the reads; weight[V,D]; slot_read[G,A] indexes R, slot_id[G,A] indexes V.  A slot's own logit
    takes one row of the vocabulary; all rows are needed only for the normalizer of each read, in pieces of reads that have
    `at_a_time` logits on a device.
    """
    return _forward(hidden, weight, slot_read, slot_id, at_a_time)[0]


def _forward(hidden, weight, slot_read, slot_id, at_a_time: int):
    pieces = _pieces(hidden, weight, at_a_time)
    gathered = constrain(weight.astype(hidden.dtype), *_GATHERED)
    # Logits of a single piece are kept for the backward, those of more are computed again.
    kept = [_LOGITS] if pieces == 1 else []
    forward = per_device(
        functools.partial(_own_forward, pieces=pieces),
        inputs=[_HIDDEN, _GATHERED, _SLOTS, _SLOTS],
        output=[_SLOTS, _SLOTS, *kept],
    )
    log_probs, normalizer, *logits = forward(hidden, gathered, slot_read, slot_id)
    return log_probs, (hidden, weight, slot_read, slot_id, normalizer, logits)


def _backward(at_a_time: int, saved, cotangent):
    hidden, weight, slot_read, slot_id, normalizer, logits = saved
    gathered = constrain(weight.astype(hidden.dtype), *_GATHERED)
    backward = per_device(
        functools.partial(_own_backward, pieces=_pieces(hidden, weight, at_a_time)),
        inputs=[_HIDDEN, _GATHERED, _SLOTS, _SLOTS, _SLOTS, _SLOTS, *([_LOGITS] if logits else [])],
        output=[_HIDDEN, _WEIGHT],
    )
    to_hidden, to_weight = backward(hidden, gathered, slot_read, slot_id, normalizer, cotangent, *logits)
    return to_hidden.astype(hidden.dtype), to_weight.astype(weight.dtype), None, None


slot_log_probs.defvjp(_forward, _backward)


def _pieces(hidden: jax.Array, weight: jax.Array, at_a_time: int) -> int:
    """In how many pieces a device goes through its reads."""
    (g, r, _), v = hidden.shape, weight.shape[0] // parts("vocab")
    pieces, own = 1, g // parts("row") * r
    while own // pieces * v > at_a_time and r % (2 * pieces) == 0:
        pieces *= 2
    return pieces


def _own_forward(hidden, weight, slot_read, slot_id, *, pieces: int):
    logits = []
    if pieces == 1:
        logits = [_logits(hidden, weight)]
        normalizer = jax.nn.logsumexp(logits[0], axis=-1)
    else:
        of_piece = jax.lax.map(lambda h: jax.nn.logsumexp(_logits(h, weight), axis=-1), _cut(hidden, pieces))
        normalizer = _join(of_piece)
    if parts("vocab") > 1:
        highest = max_over(normalizer, "vocab")
        normalizer = highest + jnp.log(sum_over(jnp.exp(normalizer - highest), "vocab"))
    at, own = own_part(slot_id, "vocab", size=weight.shape[0])
    at_slot = jnp.take_along_axis(hidden, slot_read[..., None], axis=1)
    chosen = jnp.sum(at_slot.astype(jnp.float32) * weight[at].astype(jnp.float32), axis=-1)
    chosen = sum_over(jnp.where(own, chosen, 0), "vocab")
    return chosen - jnp.take_along_axis(normalizer, slot_read, axis=-1), normalizer, *logits


def _own_backward(hidden, weight, slot_read, slot_id, normalizer, cotangent, *logits, pieces: int):
    rows = jnp.arange(hidden.shape[0])[:, None]
    to_normalizer = jnp.zeros_like(normalizer).at[rows, slot_read].add(-cotangent)

    def of_piece(to_weight, xs):
        h, normalizer, cotangent, *logits = xs
        logits = logits[0] if logits else _logits(h, weight)
        # The derivative of a normalizer is the softmax; products in the dtype of the forward, sums in float32.
        to_logits = (jnp.exp(logits - normalizer[..., None]) * cotangent[..., None]).astype(h.dtype)
        to_h = contract_to_float32("gnv,vd->gnd", to_logits, weight)
        return to_weight + contract_to_float32("gnv,gnd->vd", to_logits, h), to_h

    operands = (hidden, normalizer, to_normalizer, *logits)
    to_weight = jnp.zeros(weight.shape, jnp.float32)
    if pieces == 1:
        to_weight, to_hidden = of_piece(to_weight, operands)
    else:
        to_weight, to_pieces = jax.lax.scan(of_piece, to_weight, [_cut(x, pieces) for x in operands])
        to_hidden = _join(to_pieces)
    at, own = own_part(slot_id, "vocab", size=weight.shape[0])
    cotangent = jnp.where(own, cotangent, 0)[..., None]
    at_slot = jnp.take_along_axis(hidden, slot_read[..., None], axis=1)
    to_weight = to_weight.at[at].add(cotangent * at_slot.astype(jnp.float32))
    to_hidden = to_hidden.at[rows, slot_read].add(cotangent * weight[at].astype(jnp.float32))
    to_weight = sum_over(sum_scattered(to_weight, "embed", dimension=1), "row", but="embed")
    return sum_over(to_hidden, "vocab"), to_weight


def _logits(hidden: jax.Array, weight: jax.Array) -> jax.Array:
    return contract_to_float32("gnd,vd->gnv", hidden, weight)


def _cut(x: jax.Array, pieces: int) -> jax.Array:
    """[g,R,...] -> [pieces,g,R/pieces,...]."""
    return x.reshape(x.shape[0], pieces, -1, *x.shape[2:]).swapaxes(0, 1)


def _join(x: jax.Array) -> jax.Array:
    """The inverse of `_cut`."""
    x = x.swapaxes(0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])
