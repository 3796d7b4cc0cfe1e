"""The kernels of `attention_gpu.py`, in Triton's language.  Imported only where Triton is installed.

An instance computes one block of queries (or keys) of a row and head.  Arrays are those of `attention_gpu.py`, row-major:
q [G,N,K,R,H], k and v [G,T,K,H], numbers of queries [G,K,R,N], lists of blocks [G,C,B] and [G,B,C].  WIDE is H rounded
up to a power of two, which Triton's blocks must have: features past H are read as zeros and never written.  The lists
are of blocks of PIECES x BLOCK tokens; BLOCK tokens are computed at a time.
"""

import triton
import triton.language as tl

MASKED = tl.constexpr(-1e30)


@triton.jit
def _load(base, tokens, stride, H: tl.constexpr, WIDE: tl.constexpr):
    """[tokens, WIDE] features of one head."""
    feature = tl.arange(0, WIDE)
    where = base + tokens[:, None] * stride + feature[None, :]
    if H == WIDE:
        return tl.load(where)
    return tl.load(where, mask=feature[None, :] < H, other=0.0)


@triton.jit
def _store(base, tokens, stride, values, H: tl.constexpr, WIDE: tl.constexpr):
    feature = tl.arange(0, WIDE)
    where = base + tokens[:, None] * stride + feature[None, :]
    values = values.to(base.dtype.element_ty)
    if H == WIDE:
        tl.store(where, values)
    else:
        tl.store(where, values, mask=feature[None, :] < H)


@triton.jit
def _seen(key, here, ends):
    """[queries, keys]: token j is seen by token i iff j <= i < end[j]."""
    return (key[None, :] <= here[:, None]) & (here[:, None] < ends[None, :])


@triton.jit
def _listed(blocks, i, PIECES: tl.constexpr):
    """The i-th piece of the blocks that are listed, each in PIECES."""
    return tl.load(blocks + i // PIECES) * PIECES + i % PIECES


@triton.jit
def _attend_block(
    highest, total, sums, number, queries, here, k, v, end, stride,
    SCALE: tl.constexpr, H: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, PRECISION: tl.constexpr,
    MASK: tl.constexpr,
):  # fmt: skip
    """The online softmax of `queries`, one block of keys further."""
    key = number * BLOCK + tl.arange(0, BLOCK)
    keys = _load(k, key, stride, H, WIDE)
    scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * SCALE
    if MASK:
        seen = _seen(key, here, tl.load(end + key))
        scores = tl.where(seen, scores, MASKED)
    now = tl.maximum(highest, tl.max(scores, 1))
    weights = tl.exp2(scores - now[:, None])
    if MASK:
        weights = tl.where(seen, weights, 0.0)
    before = tl.exp2(highest - now)
    values = _load(v, key, stride, H, WIDE)
    sums = sums * before[:, None] + tl.dot(weights.to(values.dtype), values, input_precision=PRECISION)
    return now, total * before + tl.sum(weights, 1), sums


@triton.jit
def tree_attention_forward(
    q, k, v, at, end, keys, whole_keys, key_count, mixed, normalizer,
    SCALE: tl.constexpr, N: tl.constexpr, T: tl.constexpr, K: tl.constexpr, R: tl.constexpr,
    H: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, PIECES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    block, head = tl.program_id(0), tl.program_id(2)
    row = tl.program_id(1).to(tl.int64)
    query = block * BLOCK + tl.arange(0, BLOCK)
    to_queries = row * (N * K * R * H) + head * H
    to_keys = row * (T * K * H) + (head // R) * H
    queries = _load(q + to_queries, query, K * R * H, H, WIDE)
    here = tl.load(at + row * N + query)
    numbered = row * (N // BLOCK // PIECES) + block // PIECES
    keys += numbered * (T // BLOCK // PIECES)
    k, v, end = k + to_keys, v + to_keys, end + row * T

    highest = tl.full([BLOCK], MASKED, tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    sums = tl.zeros([BLOCK, WIDE], tl.float32)
    whole = tl.load(whole_keys + numbered) * PIECES
    for i in range(0, whole):
        highest, total, sums = _attend_block(
            highest, total, sums, _listed(keys, i, PIECES), queries, here, k, v, end, K * H,
            SCALE, H, WIDE, BLOCK, PRECISION, False,
        )  # fmt: skip
    for i in range(whole, tl.load(key_count + numbered) * PIECES):
        highest, total, sums = _attend_block(
            highest, total, sums, _listed(keys, i, PIECES), queries, here, k, v, end, K * H,
            SCALE, H, WIDE, BLOCK, PRECISION, True,
        )  # fmt: skip
    total = tl.maximum(total, 1e-37)  # of a query that sees nothing
    _store(mixed + to_queries, query, K * R * H, sums / total[:, None], H, WIDE)
    tl.store(normalizer + (row * (K * R) + head) * N + query, highest + tl.log2(total))


@triton.jit
def _queries_gradient_block(
    gradient, number, queries, to_mixed, here, norm, inner, k, v, end, stride,
    SCALE: tl.constexpr, H: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, PRECISION: tl.constexpr,
    MASK: tl.constexpr,
):  # fmt: skip
    key = number * BLOCK + tl.arange(0, BLOCK)
    keys, values = _load(k, key, stride, H, WIDE), _load(v, key, stride, H, WIDE)
    scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * SCALE
    weights = tl.exp2(scores - norm[:, None])
    if MASK:
        weights = tl.where(_seen(key, here, tl.load(end + key)), weights, 0.0)
    to_weights = tl.dot(to_mixed, tl.trans(values), input_precision=PRECISION)
    to_scores = weights * (to_weights - inner[:, None])
    return gradient + tl.dot(to_scores.to(keys.dtype), keys, input_precision=PRECISION)


@triton.jit
def tree_attention_backward_queries(
    q, k, v, to_mixed, normalizer, inner, at, end, keys, whole_keys, key_count, to_q,
    SCALE: tl.constexpr, N: tl.constexpr, T: tl.constexpr, K: tl.constexpr, R: tl.constexpr,
    H: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, PIECES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    block, head = tl.program_id(0), tl.program_id(2)
    row = tl.program_id(1).to(tl.int64)
    query = block * BLOCK + tl.arange(0, BLOCK)
    to_queries = row * (N * K * R * H) + head * H
    to_keys = row * (T * K * H) + (head // R) * H
    queries = _load(q + to_queries, query, K * R * H, H, WIDE)
    to_mixed = _load(to_mixed + to_queries, query, K * R * H, H, WIDE)
    here = tl.load(at + row * N + query)
    to_numbers = (row * (K * R) + head) * N + query
    norm, inner = tl.load(normalizer + to_numbers), tl.load(inner + to_numbers)
    numbered = row * (N // BLOCK // PIECES) + block // PIECES
    keys += numbered * (T // BLOCK // PIECES)
    k, v, end = k + to_keys, v + to_keys, end + row * T

    gradient = tl.zeros([BLOCK, WIDE], tl.float32)
    whole = tl.load(whole_keys + numbered) * PIECES
    for i in range(0, whole):
        gradient = _queries_gradient_block(
            gradient, _listed(keys, i, PIECES), queries, to_mixed, here, norm, inner, k, v, end, K * H,
            SCALE, H, WIDE, BLOCK, PRECISION, False,
        )  # fmt: skip
    for i in range(whole, tl.load(key_count + numbered) * PIECES):
        gradient = _queries_gradient_block(
            gradient, _listed(keys, i, PIECES), queries, to_mixed, here, norm, inner, k, v, end, K * H,
            SCALE, H, WIDE, BLOCK, PRECISION, True,
        )  # fmt: skip
    # SCALE is in powers of two.
    gradient *= SCALE * 0.6931471805599453
    _store(to_q + to_queries, query, K * R * H, gradient, H, WIDE)


@triton.jit
def _keys_gradient_block(
    to_keys, to_values, number, head, key, block, values, ends, q, to_mixed, normalizer, inner, at, stride,
    SCALE: tl.constexpr, N: tl.constexpr, H: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr, MASK: tl.constexpr,
):  # fmt: skip
    query = number * BLOCK + tl.arange(0, BLOCK)
    queries = _load(q + head * H, query, stride, H, WIDE)
    gradient = _load(to_mixed + head * H, query, stride, H, WIDE)
    norm, sums = tl.load(normalizer + head * N + query), tl.load(inner + head * N + query)
    # Transposed, [keys, queries]: what is summed over queries is then multiplied as it lies.
    scores = tl.dot(block, tl.trans(queries), input_precision=PRECISION) * SCALE
    weights = tl.exp2(scores - norm[None, :])
    if MASK:
        here = tl.load(at + query)
        weights = tl.where((key[:, None] <= here[None, :]) & (here[None, :] < ends[:, None]), weights, 0.0)
    to_values += tl.dot(weights.to(gradient.dtype), gradient, input_precision=PRECISION)
    to_weights = tl.dot(values, tl.trans(gradient), input_precision=PRECISION)
    to_scores = weights * (to_weights - sums[None, :])
    to_keys += tl.dot(to_scores.to(queries.dtype), queries, input_precision=PRECISION)
    return to_keys, to_values


@triton.jit
def tree_attention_backward_keys(
    q, k, v, to_mixed, normalizer, inner, at, end, queries, whole_queries, query_count, to_k, to_v,
    SCALE: tl.constexpr, N: tl.constexpr, T: tl.constexpr, K: tl.constexpr, R: tl.constexpr,
    H: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, PIECES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One loop over blocks of queries times the heads that share the keys, so that no sum depends on an order."""
    number, shared = tl.program_id(0), tl.program_id(2)
    row = tl.program_id(1).to(tl.int64)
    key = number * BLOCK + tl.arange(0, BLOCK)
    to_block = row * (T * K * H) + shared * H
    block, values = _load(k + to_block, key, K * H, H, WIDE), _load(v + to_block, key, K * H, H, WIDE)
    ends = tl.load(end + row * T + key)
    numbered = row * (T // BLOCK // PIECES) + number // PIECES
    queries += numbered * (N // BLOCK // PIECES)
    to_queries = row * (N * K * R * H) + shared * (R * H)
    to_numbers = (row * (K * R) + shared * R) * N
    q, to_mixed, at = q + to_queries, to_mixed + to_queries, at + row * N
    normalizer, inner = normalizer + to_numbers, inner + to_numbers

    to_keys = tl.zeros([BLOCK, WIDE], tl.float32)
    to_values = tl.zeros([BLOCK, WIDE], tl.float32)
    whole = tl.load(whole_queries + numbered) * PIECES
    for i in range(0, whole * R):
        to_keys, to_values = _keys_gradient_block(
            to_keys, to_values, _listed(queries, i // R, PIECES), i % R, key, block, values, ends,
            q, to_mixed, normalizer, inner, at, K * R * H, SCALE, N, H, WIDE, BLOCK, PRECISION, False,
        )  # fmt: skip
    for i in range(whole * R, tl.load(query_count + numbered) * (PIECES * R)):
        to_keys, to_values = _keys_gradient_block(
            to_keys, to_values, _listed(queries, i // R, PIECES), i % R, key, block, values, ends,
            q, to_mixed, normalizer, inner, at, K * R * H, SCALE, N, H, WIDE, BLOCK, PRECISION, True,
        )  # fmt: skip
    _store(to_k + to_block, key, K * H, to_keys * (SCALE * 0.6931471805599453), H, WIDE)
    _store(to_v + to_block, key, K * H, to_values, H, WIDE)
