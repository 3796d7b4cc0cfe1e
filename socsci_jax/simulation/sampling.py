"""Sampled answers: token by token with temperature and top-p, seeded per person and draw.

The random numbers of a draw depend on (seed, item, participant, draw) alone, not on batches or devices.
Equal prompts, and equal beginnings of answers, are computed once for all draws that share them.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from socsci_jax.data.prompt_table import PromptTable
from socsci_jax.data.trees import Branch
from socsci_jax.models.sharding import batch_sharding
from socsci_jax.models.slots import read_logits
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.requests import batches_of_requests, distinct_requests

# "1,000,000.50" has eleven tokens where each digit is one; what is longer is not an answer.
MAX_ANSWER_TOKENS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How answers are drawn; the paper's settings are one draw, temperature 0.6, top_p 0.9."""

    draws: int = 1
    temperature: float = 0.6
    top_p: float = 0.9
    seed: int = 0


def sample_answers(
    model: SimulationModel,
    table: PromptTable,
    *,
    keys: Sequence[str],
    sampling: Sampling,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[list[float | None]]:
    """For each pair of `table`, named by `keys`, `draws` numbers; None where the text was not a number."""
    pairs = len(keys)
    pair = np.repeat(np.arange(pairs), sampling.draws)
    uniform = np.stack([_uniforms(sampling.seed, keys[p], d % sampling.draws) for d, p in enumerate(pair)])
    requests = distinct_requests(table, np.zeros(pairs, np.int64))
    request = requests.of_pair[pair]
    written: list[tuple[int, ...]] = [()] * len(pair)
    going = np.arange(len(pair))
    end_id = model.tokenizer.end_of_answer_id
    step = jax.jit(
        functools.partial(
            _draw,
            config=model.config,
            compute_dtype=model.compute_dtype,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
        )
    )
    for token in range(MAX_ANSWER_TOKENS):
        beginnings: dict[tuple, int] = {}
        of_draw = np.array(
            [beginnings.setdefault((int(request[d]), written[d]), len(beginnings)) for d in going]
        )
        chosen = _next_tokens(
            model,
            table,
            prefix=np.array([requests.prefix[r] for r, _ in beginnings]),
            tokens=[np.array([*table.prompts[requests.prompt[r]], *ids], np.int32) for r, ids in beginnings],
            of_draw=of_draw,
            uniform=uniform[going, token],
            step=step,
        )
        for d, token_id in zip(going, chosen):
            written[d] = (*written[d], int(token_id))
        going = going[chosen != end_id]
        progress(len(pair) - len(going), len(pair))
        if len(going) == 0:
            break
    values = [
        parse_number(model.tokenizer.decode(ids[:-1])) if ids[-1] == end_id else None for ids in written
    ]
    return [values[p * sampling.draws : (p + 1) * sampling.draws] for p in range(pairs)]


def _next_tokens(
    model: SimulationModel,
    table: PromptTable,
    *,
    prefix: np.ndarray,
    tokens: list[np.ndarray],
    of_draw: np.ndarray,
    uniform: np.ndarray,
    step: Callable[..., jax.Array],
) -> np.ndarray:
    """The next token of each draw, given the distinct texts written so far."""
    branches = [_linear_branch(ids) for ids in tokens]
    draws_of = [[] for _ in branches]
    for draw, beginning in enumerate(of_draw):
        draws_of[beginning].append(draw)
    chosen = np.zeros(len(of_draw), np.int64)
    with jax.set_mesh(model.mesh):
        for batch in batches_of_requests(
            table.prefixes,
            prefix,
            branches,
            vocab_size=model.config.vocab_size,
            multiple_of_trees=model.mesh.shape["data"] * model.mesh.shape["fsdp"],
        ):
            rows, draws = [], []
            for row, request in enumerate(batch.request.reshape(-1)):
                if request >= 0:
                    rows += [row] * len(draws_of[request])
                    draws += draws_of[request]
            # Padded to a power of two, so that a handful of programs serves all batches.
            size = 1 << (len(rows) - 1).bit_length()
            padded_rows = np.zeros(size, np.int32)
            padded_uniform = np.zeros(size, np.float32)
            padded_rows[: len(rows)] = rows
            padded_uniform[: len(rows)] = uniform[draws]
            sharding = batch_sharding(model.mesh, trees=len(batch.request))
            trees = jax.device_put(batch.trees.arrays(), sharding)
            chosen[draws] = np.asarray(step(model.params, trees, padded_rows, padded_uniform))[: len(draws)]
    return chosen


def _draw(params, trees, rows, uniform, *, temperature, top_p, **settings):
    """Tokens drawn at `rows` of the flattened branches by inverting the cumulative distribution at `uniform`."""
    logits = read_logits(params, trees, **settings)
    logits = logits.reshape(-1, logits.shape[-1])
    ids, cumulative = nucleus(logits, temperature=temperature, top_p=top_p)

    def one(arguments):
        row, u = arguments
        total = cumulative[row, -1]
        place = jnp.searchsorted(cumulative[row], u * total, side="right")
        # Rounding may carry u * total up to the total itself, and the place out of the nucleus.
        return ids[row, jnp.minimum(place, jnp.searchsorted(cumulative[row], total, side="left"))]

    return jax.lax.map(one, (rows, uniform))


def nucleus(logits: jax.Array, *, temperature: float, top_p: float) -> tuple[jax.Array, jax.Array]:
    """Ids [N,V] by falling probability, and their cumulative probability [N,V] within the nucleus.

    The nucleus is the smallest set of most probable tokens whose probability reaches `top_p` (Holtzman et al.
    2020); the token that crosses it belongs to it.  Outside of it the cumulative probability grows no more.
    """
    order = jnp.argsort(-logits, axis=-1)
    probs = jax.nn.softmax(jnp.take_along_axis(logits, order, axis=-1) / temperature, axis=-1)
    before = jnp.cumsum(probs, axis=-1) - probs
    return order, jnp.cumsum(jnp.where(before < top_p, probs, 0.0), axis=-1)


def parse_number(text: str) -> float | None:
    """The number that an answer is, or None: "5", "-2", "$1,000", "50%", "2.5"; never a part of a longer text."""
    match = re.fullmatch(r"\s*([-+]?)\$?(\d{1,15}|\d{1,3}(?:,\d{3}){1,4})(\.\d{1,6})?\s*[%.]?\s*", text)
    if match is None:
        return None
    sign, whole, fraction = match.groups()
    return float(f"{sign}{whole.replace(',', '')}{fraction or ''}")


def _linear_branch(ids: np.ndarray) -> Branch:
    length = len(ids)
    nothing = np.zeros(0, np.int32)
    return Branch(
        ids=ids,
        depth=np.arange(length, dtype=np.int32),
        end=np.full(length, length, np.int32),
        read=np.array([length - 1], np.int32),
        slot_row=nothing,
        slot_id=nothing,
        slot_weight=nothing.astype(np.float32),
    )


def _uniforms(seed: int, key: str, draw: int) -> np.ndarray:
    digest = hashlib.blake2b(f"{seed}/{draw}/{key}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest, "little"))).random(
        MAX_ANSWER_TOKENS, dtype=np.float32
    )
