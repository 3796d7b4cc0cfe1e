"""Prompts of (item, participant) pairs as token ids, each distinct text tokenized once."""

from __future__ import annotations

import array
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import polars as pl

from socsci_jax.data.tokenizers import PromptTemplate, Tokenizer
from socsci_jax.errors import InputError
from socsci_jax.storage import new_file
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.prompts import Layout
from socsci_jax.wording import counted

# Texts whose ids are kept together, on disk as well.
TEXTS_IN_PART = 1 << 16
# Prompts whose cut is looked at before training.
CHECKED_CUTS = 500


@dataclasses.dataclass(frozen=True, eq=False)
class PromptTable:
    """Distinct prefixes and branch prompts, and which of them each pair uses.

    prefixes: token ids of each distinct prefix; prefix_key: the item_id or study/participant it stands for.
    prompts: token ids of each distinct rest of a prompt, at least one token.
    pair_prefix[n], pair_prompt[n]: indices for the n pairs asked for, in their order.
    """

    prefixes: Sequence[np.ndarray]
    prefix_key: list[str]
    prompts: list[np.ndarray]
    pair_prefix: np.ndarray
    pair_prompt: np.ndarray

    def of_pairs(self, pairs: np.ndarray) -> PromptTable:
        """The table of some pairs (indices), with only the prefixes and prompts that they use."""
        prefixes, pair_prefix = np.unique(self.pair_prefix[pairs], return_inverse=True)
        prompts, pair_prompt = np.unique(self.pair_prompt[pairs], return_inverse=True)
        return PromptTable(
            prefixes=[self.prefixes[p] for p in prefixes],
            prefix_key=[self.prefix_key[p] for p in prefixes],
            prompts=[self.prompts[p] for p in prompts],
            pair_prefix=pair_prefix,
            pair_prompt=pair_prompt,
        )


def joined_tables(tables: Sequence[PromptTable]) -> PromptTable:
    """One table for the pairs of several, one after the other; what several of them hold stands once."""
    prefixes, prefix_of = _distinct([ids.tobytes() for table in tables for ids in table.prefixes])
    prompts, prompt_of = _distinct([ids.tobytes() for table in tables for ids in table.prompts])
    keys = [key for table in tables for key in table.prefix_key]
    first: dict[int, str] = {}
    for i, key in zip(prefix_of.tolist(), keys):
        first.setdefault(i, key)
    pair_prefix, pair_prompt, before, ahead = [], [], 0, 0
    for table in tables:
        pair_prefix.append(prefix_of[before + table.pair_prefix])
        pair_prompt.append(prompt_of[ahead + table.pair_prompt])
        before, ahead = before + len(table.prefixes), ahead + len(table.prompts)
    return PromptTable(
        prefixes=[np.frombuffer(ids, np.int32) for ids in prefixes],
        prefix_key=[first[i] for i in range(len(prefixes))],
        prompts=[np.frombuffer(ids, np.int32) for ids in prompts],
        pair_prefix=np.concatenate(pair_prefix),
        pair_prompt=np.concatenate(pair_prompt),
    )


def tokenize_prompts(
    pairs: Pairs, *, layout: Layout, tokenizer: Tokenizer, kept: Path | None = None
) -> PromptTable:
    """Prompts for `pairs`, in their order.

    The chat template of the tokenizer is applied around the layout's text; equal texts become one prompt.  What was
    tokenized stays in the folder `kept`; if it holds parts of the same prompts, these are read.
    """
    items = pairs.items
    asked, pair_item = _numbered(pairs.frame.select("item_id"))
    item_ids = asked["item_id"]
    people, pair_person = _numbered(pairs.frame.select("study_id", "participant_id"))
    if layout.shared_by == "item":
        sharing: Iterator[dict[str, Any]] = ({"item": items[i]} for i in item_ids)
        own = (layout.own_text(attributes=pairs.personas[person]) for person in people.iter_rows())
        keys = item_ids
        pair_shared, pair_own = pair_item, pair_person
    else:
        sharing = ({"attributes": pairs.personas[person]} for person in people.iter_rows())
        own = (layout.own_text(item=items[i]) for i in item_ids)
        keys = people.select(pl.concat_str(pl.all(), separator="/")).to_series()
        pair_shared, pair_own = pair_person, pair_item
    # By earlier turns; most layouts have none, and one template.
    templates: dict[tuple[str, ...], PromptTemplate] = {}

    def shared_texts() -> Iterator[tuple[tuple[int, ...], str]]:
        for values in sharing:
            earlier = layout.earlier_texts(**values)
            if earlier not in templates:
                templates[earlier] = tokenizer.prompt_template(layout.system, earlier)
            yield tuple(templates[earlier].head), templates[earlier].lead + layout.shared_text(**values)

    prefixes = TokenParts(kept, name="shared")
    text_of_shared = _encode_distinct(shared_texts(), prefixes, tokenizer=tokenizer)
    trail, tail = _one_ending(list(templates.values()), layout)
    prompts = TokenParts(kept, name="own")
    text_of_own = _encode_distinct(
        (((), text + trail) for text in own), prompts, tokenizer=tokenizer, tail=tail
    )
    first = np.unique(text_of_shared, return_index=True)[1]
    return PromptTable(
        prefixes=prefixes,
        prefix_key=keys.gather(first).to_list(),
        prompts=list(prompts),
        pair_prefix=text_of_shared[pair_shared],
        pair_prompt=text_of_own[pair_own],
    )


def _encode_distinct(
    texts: Iterable[tuple[tuple[int, ...], str]],
    parts: TokenParts,
    *,
    tokenizer: Tokenizer,
    tail: Sequence[int] = (),
) -> np.ndarray:
    """Adds the ids of each distinct (ids before it, text) to `parts`, in order of appearance; returns the index of each one.

    Of texts only digests are kept: together they take gigabytes.
    """
    number_of: dict[bytes, int] = {}
    heads: list[tuple[int, ...]] = []
    index = array.array("q")

    def new_texts() -> Iterator[str]:
        for head, text in texts:
            key = hashlib.blake2b(
                text.encode(errors="surrogatepass"), digest_size=16, key=_key(head)
            ).digest()
            index.append(number_of.setdefault(key, len(number_of)))
            if len(heads) < len(number_of):
                heads.append(head)
                yield text

    end = np.array(tail, np.int32)
    some = new_texts()
    while part := list(itertools.islice(some, TEXTS_IN_PART)):
        parts.add(_encoded(heads[len(parts) :], part, end, tokenizer=tokenizer))
    return np.array(index, np.int64)


def _encoded(
    heads: list[tuple[int, ...]], texts: list[str], end: np.ndarray, *, tokenizer: Tokenizer
) -> Iterator[np.ndarray]:
    """The ids of each text between its head and the end that all have; nothing is encoded before one is asked for."""
    for head, ids in zip(heads, tokenizer.encode_arrays(texts), strict=True):
        yield np.concatenate([np.array(head, np.int32), ids, end])


@functools.lru_cache(maxsize=1024)
def _key(head: tuple[int, ...]) -> bytes:
    """By which equal texts after different ids have different digests."""
    return hashlib.blake2b(repr(head).encode(), digest_size=16).digest()


class TokenParts(Sequence[np.ndarray]):
    """Token sequences, added TEXTS_IN_PART together (the last part may have fewer).

    Without `kept` they are held in memory.  With it they are kept on disk as NAME-00000.npz and so on, and one part at a
    time is in memory; parts that are there when they are added are not made again.
    """

    def __init__(self, kept: Path | None = None, *, name: str = "tokens"):
        self._kept, self._name = kept, name
        self._parts: list[list[np.ndarray] | Path] = []
        self._count = 0
        self._read = functools.lru_cache(maxsize=1)(_read_part)

    def add(self, sequences: Iterator[np.ndarray]) -> None:
        """Adds the next part: that on disk, else `sequences`, which is then exhausted."""
        if self._kept is None:
            part: list[np.ndarray] | Path = list(sequences)
        else:
            part = self._kept / f"{self._name}-{len(self._parts):05d}.npz"
            if not part.exists():
                _write_part(part, list(sequences))
        self._parts.append(part)
        self._count += len(self._sequences(part))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        part, place = divmod(range(len(self))[index], TEXTS_IN_PART)
        return self._sequences(self._parts[part])[place]

    def __iter__(self) -> Iterator[np.ndarray]:
        for part in self._parts:
            yield from self._sequences(part)

    def _sequences(self, part: list[np.ndarray] | Path) -> list[np.ndarray]:
        return self._read(part) if isinstance(part, Path) else part


def _write_part(path: Path, sequences: list[np.ndarray]) -> None:
    with new_file(path) as partial, partial.open("wb") as file:
        np.savez(file, ids=np.concatenate(sequences), lengths=np.array([len(ids) for ids in sequences]))


def _read_part(path: Path) -> list[np.ndarray]:
    with np.load(path) as stored:
        flat, ends = stored["ids"], [0, *np.cumsum(stored["lengths"]).tolist()]
    return [flat[start:end] for start, end in itertools.pairwise(ends)]


def _one_ending(templates: list[PromptTemplate], layout: Layout) -> tuple[str, list[int]]:
    """What stands after every user text, which does not depend on the turns before it."""
    endings = {(template.trail, tuple(template.tail)) for template in templates}
    if len(endings) > 1:
        raise InputError(
            f"layout {layout.name!r}: this tokenizer's chat template ends a conversation in {counted(len(endings), 'way')}, by the "
            "number of its turns; use a layout without earlier turns."
        )
    [(trail, tail)] = endings or {("", ())}
    return trail, list(tail)


def check_cut(pairs: Pairs, *, layout: Layout, tokenizer: Tokenizer) -> None:
    """Checks on a sample of pairs that prefix and branch give the ids of the whole text.

    What `transformers` makes of a prompt is what was trained on only if they do.  Raises InputError that names an item.
    """
    chosen = np.random.default_rng(0).permutation(len(pairs))[:CHECKED_CUTS]
    sample = dataclasses.replace(pairs, frame=pairs.frame[chosen])
    items = [pairs.items[i] for i in sample.frame["item_id"]]
    people = [pairs.personas[p] for p in sample.frame.select("study_id", "participant_id").iter_rows()]
    parts = []
    for item, person in zip(items, people, strict=True):
        values: dict[str, Any] = {"item": item, "attributes": person}
        template = tokenizer.prompt_template(layout.system, layout.earlier_texts(**values))
        parts.append(
            (template.lead + layout.shared_text(**values), layout.own_text(**values) + template.trail)
        )
    shared, own, whole = (
        tokenizer.encode_batch([choose(a, b) for a, b in parts])
        for choose in (lambda a, b: a, lambda a, b: b, lambda a, b: a + b)
    )
    for item, first, second, all_ids in zip(items, shared, own, whole, strict=True):
        if [*first, *second] != all_ids:
            raise InputError(
                f"item {item.item_id}: with this tokenizer the layout {layout.name!r} cuts a prompt within a token, so "
                "`transformers` would feed other ids than were trained on; begin and end texts without white space, or "
                "use a layout whose parts meet at a line break."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class SortedTokens:
    """Sequences in the order of their tokens: order[i] is the i-th, rank its inverse.

    shared[i] counts the first tokens that the i-th has in common with the one before; its last token is never
    counted, so that each sequence has a token of its own to read from.
    """

    order: np.ndarray
    rank: np.ndarray
    shared: np.ndarray


def sort_by_tokens(sequences: Sequence[np.ndarray]) -> SortedTokens:
    """Sorts non-empty token sequences so that neighbors share the longest beginnings."""
    # Big-endian bytes sort as the numbers do.
    written = [ids.astype(">i4").tobytes() for ids in sequences]
    order = np.array(sorted(range(len(written)), key=written.__getitem__), np.int64)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    shared = np.zeros(len(order), np.int64)
    for i, (a, b) in enumerate(itertools.pairwise(order), start=1):
        shared[i] = shared_tokens(sequences[a], sequences[b])
    return SortedTokens(order, rank, shared)


def shared_tokens(a: np.ndarray, b: np.ndarray) -> int:
    """First tokens that b has in common with a, its last one not counted."""
    n = min(len(a), len(b) - 1)
    differs = np.flatnonzero(a[:n] != b[:n])
    return int(differs[0]) if len(differs) else n


def _numbered(rows: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
    """The distinct rows in order of appearance, and the number of each row's among them."""
    distinct = rows.unique(maintain_order=True)
    numbers = rows.join(
        distinct.with_row_index("number"), on=rows.columns, how="left", maintain_order="left"
    )["number"]
    return distinct, numbers.to_numpy().astype(np.int64)


def _distinct(values: list) -> tuple[list, np.ndarray]:
    """The distinct values in order of appearance, and the index of each value among them."""
    index: dict = {}
    positions = np.fromiter((index.setdefault(value, len(index)) for value in values), np.int64, len(values))
    return list(index), positions
