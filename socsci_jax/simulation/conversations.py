"""Conversations as token ids: a chain of items with the answers so far, ready for the next answer to be scored.

Each question is asked with the whole text that its prompt has in training, and each answer stands as the model would have
written it, in the turns that the tokenizer's chat template makes of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from socsci_jax.data.prompt_table import PromptTable, shared_tokens
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.errors import InputError
from socsci_jax.studies.chains import Chain
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.scale import Number, format_value
from socsci_jax.wording import counted


@dataclasses.dataclass(frozen=True)
class Conversation:
    """The first items of a chain with their answers; the item after them is asked."""

    chain: Chain
    answers: tuple[Number, ...]

    @property
    def asks(self) -> int:
        """Which item of the chain is asked, from 0."""
        return len(self.answers)


def conversation_texts(conversation: Conversation, layout: Layout) -> tuple[str, ...]:
    """The user's texts and the assistant's by turns, up to the question that is asked; the layout's own turns come first."""
    chain = conversation.chain
    values = {"attributes": chain.persona}
    texts = list(layout.earlier_texts(item=chain.items[0], **values))
    for item, answer in zip(chain.items, conversation.answers):
        texts += [layout.prompt(item=item, **values), format_value(answer)]
    return (*texts, layout.prompt(item=chain.items[conversation.asks], **values))


def tokenize_conversations(
    conversations: Sequence[Conversation], *, layout: Layout, tokenizer: Tokenizer
) -> PromptTable:
    """Prompts of the conversations, in their order; equal ones become one.

    What all conversations of a persona about one first item have in common is their prefix.
    """
    distinct: dict[tuple[str, ...], int] = {}
    group_of: list[tuple[str, ...]] = []
    pair_prompt = np.empty(len(conversations), np.int64)
    begun = 0
    for n, conversation in enumerate(conversations):
        texts = conversation_texts(conversation, layout)
        pair_prompt[n] = distinct.setdefault(texts, len(distinct))
        if len(distinct) > len(group_of):
            begun = len(texts) - 2 * conversation.asks
            group_of.append(texts[:begun])
    ids = [_ids(texts, layout=layout, tokenizer=tokenizer) for texts in distinct]
    shared: dict[tuple[str, ...], int] = {}
    first: dict[tuple[str, ...], np.ndarray] = {}
    for group, own in zip(group_of, ids, strict=True):
        before = first.setdefault(group, own)
        shared[group] = min(shared.get(group, len(own) - 1), shared_tokens(before, own))
    place = {group: n for n, group in enumerate(shared)}
    prefix_of = np.array([place[group] for group in group_of])
    return PromptTable(
        prefixes=[first[group][:length] for group, length in shared.items()],
        prefix_key=[f"conversation {n}" for n in range(len(shared))],
        prompts=[own[shared[group] :] for group, own in zip(group_of, ids, strict=True)],
        pair_prefix=prefix_of[pair_prompt],
        pair_prompt=pair_prompt,
    )


def _ids(texts: tuple[str, ...], *, layout: Layout, tokenizer: Tokenizer) -> np.ndarray:
    template = tokenizer.prompt_template(layout.system, texts[:-1])
    own = tokenizer.encode(template.lead + texts[-1] + template.trail)
    return np.array([*template.head, *own, *template.tail], np.int32)


def check_length(table: PromptTable, *, name: str, longest: int) -> None:
    """Raises InputError if a conversation is longer than the model takes."""
    tokens = max(
        len(table.prefixes[a]) + len(table.prompts[b])
        for a, b in set(zip(table.pair_prefix.tolist(), table.pair_prompt.tolist()))
    )
    if tokens > longest:
        raise InputError(
            f"conversations are up to {counted(tokens, 'token')} long, {name} takes {longest:,}; ask fewer outcomes in one "
            "conversation, or use another model or shorter texts."
        )
