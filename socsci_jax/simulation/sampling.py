"""Sampled answers: token by token with temperature and top-p, seeded per person and draw.

The random numbers of a draw depend on (seed, item, participant, draw) alone, not on batches or devices.
Equal prompts, and equal beginnings of answers, are computed once for all draws that share them.  The allowed
answers of an item are fed in the same pass as its prompts: as long as what is drawn stays on them, every token of
every draw is drawn from one pass over the prompts.  Nothing is forbidden; a draw that leaves them continues by itself.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from socsci_jax import bounds
from socsci_jax.data.prompt_table import PromptTable
from socsci_jax.data.trees import Branch, grow_branch
from socsci_jax.data.tries import NO_ANSWERS, AnswerTrie
from socsci_jax.errors import InputError
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.slots import read_logits
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.requests import RequestRows, branches_of, distinct_requests, rows_of_requests

# "1,000,000.50" has eleven tokens where each digit is one; what is longer is not an answer.
MAX_ANSWER_TOKENS = 12

# The logits of all reads of a row are kept until its draws are done: fewer tokens than for exact distributions.
TOKENS_PER_ROW = 2048
FEW_TOKENS = 256
# Below it a difference of logits over the temperature is no float32.
_COLDEST = 1e-30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How answers are drawn; the paper's settings are one draw, temperature 0.6, top_p 0.9.

    Temperature 0 takes the most probable token each time.  Raises InputError for invalid settings.
    `number_after` is what a model that was trained with rationales writes before its number.
    """

    draws: int = 1
    temperature: float = 0.6
    top_p: float = 0.9
    seed: int = 0
    max_tokens: int = MAX_ANSWER_TOKENS
    number_after: str | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("draws", 1, bounds.DRAWS),
            ("temperature", 0, bounds.TEMPERATURE),
            ("top_p", 0, 1),
            ("seed", 0, bounds.SEED),
            ("max_tokens", 1, bounds.ANSWER_TOKENS),
        ):
            value = getattr(self, name)
            if not low <= value <= high or (name == "top_p" and value == 0):
                raise InputError(f"sampling: {name} is {value}; allowed is {low} to {high:,}.")

    def number(self, text: str) -> float | None:
        """The number of a whole answer; None if it has none where one is expected."""
        if self.number_after is None:
            return parse_number(text)
        _, separator, after = text.rpartition(self.number_after)
        return parse_number(after) if separator else None


def sample_answers(
    model: SimulationModel,
    table: PromptTable,
    *,
    keys: Sequence[str],
    sampling: Sampling,
    tries: Sequence[AnswerTrie] = (NO_ANSWERS,),
    trie_of_pair: np.ndarray | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[list[float | None]]:
    """For each pair of `table`, named by `keys`, `draws` numbers; None where the text was not a number.

    `tries` hold the answers that are expected of each pair.  They change how fast it goes, not what is drawn.
    """
    pairs = len(keys)
    if trie_of_pair is None:
        trie_of_pair = np.zeros(pairs, np.int64)
    pair = np.repeat(np.arange(pairs), sampling.draws)
    uniform = np.stack(
        [
            uniforms(sampling.seed, keys[p], d % sampling.draws, sampling.max_tokens)
            for d, p in enumerate(pair.tolist())
        ]
    )
    requests = distinct_requests(table, trie_of_pair)
    drawer = _Drawer(model, sampling)
    draws = _Draws(request=requests.of_pair[pair], uniform=uniform, end_id=model.tokenizer.end_of_answer_id)

    def show() -> None:
        progress(len(pair) - len(draws.going()), len(pair))

    branches = branches_of(requests, table, tries)
    drawer.draw(
        table.prefixes, requests.prefix, branches, draws, draws.of(draws.request, len(branches)), report=show
    )
    while len(going := draws.going()):
        # Texts that are no longer expected answers: each distinct one is fed once, with its prompt.
        texts: dict[tuple[int, tuple[int, ...]], int] = {}
        of_draw = np.full(len(pair), -1)
        for d in going:
            of_draw[d] = texts.setdefault((int(draws.request[d]), draws.written[d]), len(texts))
        branches = [_linear_branch((*table.prompts[requests.prompt[r]], *ids)) for r, ids in texts]
        prefix = np.array([requests.prefix[r] for r, _ in texts])
        drawer.draw(table.prefixes, prefix, branches, draws, draws.of(of_draw, len(texts)), report=show)
    end_id = model.tokenizer.end_of_answer_id
    values = [
        sampling.number(model.tokenizer.decode(ids[:-1])) if ids[-1] == end_id else None
        for ids in draws.written
    ]
    return [values[p * sampling.draws : (p + 1) * sampling.draws] for p in range(pairs)]


class _Draws:
    """What has been written so far, and the random numbers that choose each token."""

    def __init__(self, *, request: np.ndarray, uniform: np.ndarray, end_id: int):
        self.request = request
        self.uniform = uniform
        self.written: list[tuple[int, ...]] = [()] * len(request)
        self._end_id = end_id
        self._ended = np.zeros(len(request), bool)

    def going(self) -> np.ndarray:
        return np.flatnonzero(~self._ended)

    def of(self, branch_of_draw: np.ndarray, branches: int) -> list[list[int]]:
        """Unfinished draws by the branch that they resume from."""
        draws: list[list[int]] = [[] for _ in range(branches)]
        for d in self.going():
            if branch_of_draw[d] >= 0:
                draws[branch_of_draw[d]].append(int(d))
        return draws

    def next_uniform(self, d: int) -> float:
        return float(self.uniform[d, len(self.written[d])])

    def append(self, d: int, token: int) -> bool:
        """Writes a token; False if the draw has ended."""
        self.written[d] = (*self.written[d], token)
        self._ended[d] = token == self._end_id or len(self.written[d]) == self.uniform.shape[1]
        return not self._ended[d]


class _Drawer:
    """Draws tokens from passes over rows of prompt trees."""

    def __init__(self, model: SimulationModel, sampling: Sampling):
        self._model = model
        self._settings = {
            "config": model.config,
            "compute_dtype": model.compute_dtype,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        # A trained model's nucleus is a handful of tokens; a flat one may need them all.
        vocabulary = model.config.vocab_size
        self._largest = sorted({min(FEW_TOKENS, vocabulary), vocabulary})

    def draw(
        self,
        prefixes: Sequence[np.ndarray],
        prefix_of_branch: np.ndarray,
        branches: Sequence[Branch],
        draws: _Draws,
        draws_of: Sequence[Sequence[int]],
        *,
        report: Callable[[], None],
    ) -> None:
        """Lets every draw resume from its branch, for as long as the branch's trie has what it writes."""
        model = self._model
        with jax.set_mesh(model.mesh):
            for batch in rows_of_requests(
                prefixes,
                prefix_of_branch,
                branches,
                rows_at_a_time=model.rows_at_a_time,
                tokens_per_row=TOKENS_PER_ROW,
            ):
                arrays = model.place(batch.rows.arrays())
                for largest in self._largest:
                    ids, cumulative, whole = _nuclei(model.params, arrays, largest=largest, **self._settings)
                    if whole:
                        break
                self._walk(batch, branches, draws, draws_of, ids, cumulative)
                report()

    def _walk(
        self,
        batch: RequestRows,
        branches: Sequence[Branch],
        draws: _Draws,
        draws_of: Sequence[Sequence[int]],
        ids: jax.Array,
        cumulative: jax.Array,
    ) -> None:
        reads = batch.rows.read.shape[1]
        # (draw, branch, first read of the branch among all rows, read within the branch)
        here = [
            (d, branches[request], row * reads + first, 0)
            for request, row, first in zip(batch.request, batch.row, batch.first_read)
            for d in draws_of[request]
        ]
        while here:
            tokens = self._tokens(
                ids,
                cumulative,
                [base + read for _, _, base, read in here],
                [draws.next_uniform(d) for d, *_ in here],
            )
            following = []
            for (d, branch, base, read), token in zip(here, tokens):
                below = _node_below(branch, read, token)
                if draws.append(d, token) and below is not None:
                    following.append((d, branch, base, below))
            here = following

    def _tokens(
        self, ids: jax.Array, cumulative: jax.Array, reads: list[int], uniform: list[float]
    ) -> list[int]:
        # Padded to a power of two, so that a handful of programs serves all batches.
        size = 1 << (len(reads) - 1).bit_length()
        padded_reads, padded_uniform = np.zeros(size, np.int32), np.zeros(size, np.float32)
        padded_reads[: len(reads)] = reads
        padded_uniform[: len(reads)] = uniform
        picked = np.asarray(_pick(ids, cumulative, padded_reads, padded_uniform))
        tokens: list[int] = picked[: len(reads)].tolist()
        return tokens


def _node_below(branch: Branch, read: int, token: int) -> int | None:
    """The read of the node that `token` leads to from a read, if the branch has it."""
    at = int(branch.read[read])
    child = at + 1
    while child < branch.end[at] and child < len(branch.ids):
        if branch.ids[child] == token:
            return child - int(branch.read[0])
        child = int(branch.end[child])
    return None


@functools.partial(jax.jit, static_argnames=("config", "compute_dtype", "temperature", "top_p", "largest"))
def _nuclei(
    params: Any,
    rows: Mapping[str, jax.Array],
    *,
    config: DecoderConfig,
    compute_dtype: Any,
    temperature: float,
    top_p: float,
    largest: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    logits = read_logits(params, rows, config=config, compute_dtype=compute_dtype)
    ids, cumulative, whole = nucleus(
        logits.reshape(-1, logits.shape[-1]), temperature=temperature, top_p=top_p, largest=largest
    )
    return ids, cumulative, whole.all()


@jax.jit
def _pick(ids: jax.Array, cumulative: jax.Array, reads: jax.Array, uniform: jax.Array) -> jax.Array:
    """Tokens drawn at `reads` by inverting the cumulative distribution at `uniform`."""

    def one(arguments: tuple[jax.Array, jax.Array]) -> jax.Array:
        read, u = arguments
        total = cumulative[read, -1]
        place = jnp.searchsorted(cumulative[read], u * total, side="right")
        # Rounding may carry u * total up to the total itself, and the place out of the nucleus.
        return ids[read, jnp.minimum(place, jnp.searchsorted(cumulative[read], total, side="left"))]

    tokens: jax.Array = jax.lax.map(one, (reads, uniform), batch_size=64)
    return tokens


def nucleus(
    logits: jax.Array, *, temperature: float, top_p: float, largest: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Ids [N,L] by falling probability, their cumulative probability [N,L] within the nucleus, and if it is all.

    The nucleus is the smallest set of most probable tokens whose probability reaches `top_p` (Holtzman et al.
    2020); the token that crosses it belongs to it.  Outside of it the cumulative probability grows no more.  Of
    the V logits [N,V] only the L = `largest` are sorted: whole [N] says whether the nucleus lies within them.
    At temperature 0 the nucleus is the most probable token, of equal ones the first; so it is at temperatures by which a
    difference of logits cannot be divided in float32.
    """
    if not temperature > _COLDEST:
        _, ids = jax.lax.top_k(logits, largest)
        return ids, jnp.ones(ids.shape, logits.dtype), jnp.ones(len(ids), bool)
    # A logit itself may overflow where a difference does not.
    scaled = (logits - jnp.max(logits, axis=-1, keepdims=True)) / temperature
    values, ids = jax.lax.top_k(scaled, largest)
    probs = jnp.exp(values - jax.nn.logsumexp(scaled, axis=-1, keepdims=True))
    reached = jnp.cumsum(probs, axis=-1)
    whole = (reached[:, -1] >= top_p) | (largest == logits.shape[-1])
    return ids, jnp.cumsum(jnp.where(reached - probs < top_p, probs, 0.0), axis=-1), whole


def parse_number(text: str) -> float | None:
    """The number that an answer is, or None: "5", "-2", "$1,000", "50%", "2.5"; never a part of a longer text."""
    match = re.fullmatch(r"\s*([-+]?)\$?(\d{1,15}|\d{1,3}(?:,\d{3}){1,4})(\.\d{1,6})?\s*[%.]?\s*", text)
    if match is None:
        return None
    sign, whole, fraction = match.groups()
    return float(f"{sign}{whole.replace(',', '')}{fraction or ''}")


def _linear_branch(ids: Sequence[int]) -> Branch:
    return grow_branch(ids, NO_ANSWERS, np.zeros(0, np.float32))


def uniforms(seed: int, key: str, draw: int, count: int) -> np.ndarray:
    """Random numbers [count] in [0, 1) that depend on these arguments alone."""
    digest = hashlib.blake2b(f"{seed}/{draw}/{key}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest, "little"))).random(
        count, dtype=np.float32
    )
