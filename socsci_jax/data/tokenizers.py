"""Tokenizers: the published files of a model, read so that no text of a study can become a control token.

Ordinary text and control tokens are kept apart. `encode` knows ordinary text only: `<|im_end|>` in a stimulus is
some ordinary tokens, not the end of a turn. Control tokens come from chat templates alone (`prompt_template`).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from socsci_jax.data.chat import SYSTEM_MARK, ChatTemplate, turn_mark
from socsci_jax.data.default_template import default_template
from socsci_jax.data.pieces import PieceEncoder
from socsci_jax.data.tokenizer_files import (
    ControlToken,
    TextModel,
)
from socsci_jax.errors import InputError
from socsci_jax.wording import counted

TEXTS_AT_A_TIME = 4096

END_OF_TEXT, UNKNOWN, TURN_START, TURN_END = "<|endoftext|>", "<unk>", "<|im_start|>", "<|im_end|>"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptTemplate:
    """What stands around the user's text.

    A prompt is `head + encode(lead + user text + trail) + tail`, its target `encode(answer) + [end_of_answer_id]`.
    `lead` and `trail` are the template's ordinary text next to the user's: tokens may reach across that border.
    `before` and `after` are ids of all that stands before and after.
    """

    head: list[int]
    lead: str
    trail: str
    tail: list[int]
    before: list[int]
    after: list[int]


def _filled(piece: str, texts: Mapping[str, str]) -> str:
    """The piece with each mark replaced by its text; a mark that a text holds is not one."""
    if not texts:
        return piece
    marks = "|".join(map(re.escape, texts))
    return re.sub(marks, lambda mark: texts[mark[0]], piece)


class Tokenizer:
    """Text to token ids and back, and the chat template around a prompt. Made by `load_tokenizer`."""

    def __init__(
        self,
        *,
        folder: Path,
        text_model: TextModel,
        control_tokens: Sequence[ControlToken],
        special: Mapping[str, str],
        template: ChatTemplate,
        files: Callable[[], dict[str, bytes]],
    ):
        self.folder = folder
        self._files = files
        self._text_model = text_model
        self._special = special
        self._template = template
        self._rendered: dict[tuple[str, int], tuple[str, str]] = {}
        # Conversations repeat the turns of others.
        self._encode_once = functools.lru_cache(maxsize=1024)(self.encode)
        # Longest first, so that a token is not cut short by another one that it begins with.
        self._control = sorted(control_tokens, key=lambda token: -len(token.content))
        self._control_ids = {token.content: token.id for token in self._control}
        self._control_texts = {token.id: token.content for token in self._control}
        self._control_pattern = re.compile("|".join(f"({token.pattern})" for token in self._control))
        self._check_parts()

    def _check_parts(self) -> None:
        """Prompts are put together from parts that are encoded apart, and texts must not reach control tokens."""
        whole, first, second = self.encode_batch(["one\ntwo", "one\n", "two"])
        if whole != first + second or self.decode(whole) != "one\ntwo":
            raise InputError(
                f"{self.folder}: this tokenizer loses line breaks or adds a space before each text, so prompts cannot "
                "be put together from parts; use a tokenizer such as Qwen's or Llama 3's."
            )
        unknown = self._special.get("unk_token")
        for token, ids in zip(
            self._control, self.encode_batch([token.content for token in self._control]), strict=True
        ):
            if token.id in ids and token.content != unknown:
                raise InputError(
                    f"{self.folder}: the control token {token.content!r} is reached from ordinary text, so that a "
                    "stimulus could end its own prompt; use the tokenizer as its publisher released it."
                )

    def encode(self, text: str) -> list[int]:
        """Ids of an ordinary text; nothing is added, and control tokens written in it are ordinary characters."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for each text, on all cores."""
        return self._text_model.encode_batch(list(texts))

    def encode_arrays(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """`encode_batch` as int32 arrays, for any number of texts: what the library makes of a text is large.

        Where texts may be cut, what several of them say is encoded once.
        """
        remaining = iter(texts)
        pieces = PieceEncoder(self.encode_batch)
        while some := list(itertools.islice(remaining, TEXTS_AT_A_TIME)):
            if self._text_model.may_be_cut:
                yield from pieces.encode(some)
            else:
                yield from (np.array(ids, np.int32) for ids in self.encode_batch(some))

    def encode_template(self, text: str) -> list[int]:
        """Ids of a text in which control tokens count: for what a chat template wrote, never for a study's text."""
        return self._encode_pieces(text, texts={})

    def _encode_pieces(self, text: str, *, texts: Mapping[str, str]) -> list[int]:
        # What stands at the marks is put in only after control tokens were found, so it holds none; it stays in one
        # piece with the template's text around it, since tokens may reach across.
        ids: list[int] = []
        for piece in self._cut(text):
            if isinstance(piece, ControlToken):
                ids.append(piece.id)
            else:
                ids.extend(self._encode_once(_filled(piece, texts)))
        return ids

    def _cut(self, text: str) -> Iterator[str | ControlToken]:
        start = 0
        for match in self._control_pattern.finditer(text) if self._control else ():
            if match.start() > start:
                yield text[start : match.start()]
            yield self._control[match.lastindex - 1]  # each token is one group of the pattern
            start = match.end()
        if start < len(text):
            yield text[start:]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids; control tokens are written out, ids that no token has become U+FFFD."""

        def kind(token_id: int) -> str:
            if token_id in self._control_texts:
                return "control"
            return "text" if self._text_model.has_id(token_id) else "unknown"

        parts = []
        for which, run in itertools.groupby((int(i) for i in ids), key=kind):
            match which:
                case "control":
                    parts.extend(self._control_texts[i] for i in run)
                case "text":
                    parts.append(self._text_model.decode(list(run)))
                case "unknown":
                    parts.append("\N{REPLACEMENT CHARACTER}" * len(list(run)))
        return "".join(parts)

    def prompt_template(self, system: str, earlier: Sequence[str] = ()) -> PromptTemplate:
        """Ids that the chat template puts around the user's last text, the system text included.

        `earlier` are the texts of the turns before it, the user's and the assistant's by turns.

        The template writes the user's text as it is only if that neither begins nor ends with white space (some
        trim it). An empty `system` sends no system message; a template may then write its own.
        Raises InputError if the template does not keep the texts as they are.
        """
        before, after = self._around(system, len(earlier))
        texts = {SYSTEM_MARK: system} | {turn_mark(n): text for n, text in enumerate(earlier)}
        lead = next(reversed(list(self._cut(before))), "")
        trail = next(self._cut(after), "")
        # The system text may stand in the lead: it stays in one piece with what follows it.
        lead = "" if isinstance(lead, ControlToken) else lead
        trail = "" if isinstance(trail, ControlToken) else trail
        return PromptTemplate(
            head=self._encode_pieces(before[: len(before) - len(lead)], texts=texts),
            lead=_filled(lead, texts),
            trail=trail,
            tail=self.encode_template(after[len(trail) :]),
            before=self._encode_pieces(before, texts=texts),
            after=self.encode_template(after),
        )

    def _around(self, system: str, earlier: int) -> tuple[str, str]:
        key = (system, earlier)
        if key not in self._rendered:
            self._rendered[key] = self._template.around_user_text(system=system, earlier=earlier)
        return self._rendered[key]

    def default_chat_template(self) -> str:
        """Source of a chat template that renders by default, for any client, what is rendered here."""
        return default_template(self._template)

    def token_id(self, token: str) -> int | None:
        """The id of one token given by its text, control tokens included."""
        return self._control_ids.get(token, self._text_model.id_of(token))

    @functools.cached_property
    def vocab_size(self) -> int:
        """One more than the largest id: every id is below it."""
        return 1 + max([self._text_model.top_id(), *self._control_texts])

    @functools.cached_property
    def end_of_answer_id(self) -> int:
        """What ends an assistant's turn: what the chat template writes after it, else `eos_token`.

        Raises InputError if there is neither.
        """
        after = self._template.after_answer()
        first = next((piece for piece in self._cut((after or "").lstrip())), None)
        if isinstance(first, ControlToken):
            return first.id
        eos = self._special.get("eos_token")
        token_id = None if eos is None else self.token_id(eos)
        if token_id is None:
            raise InputError(
                f"{self.folder}: nothing says how an answer ends; name an existing token as eos_token in "
                f"tokenizer_config.json (found {eos!r}), or give a chat template that ends an assistant's turn."
            )
        return token_id

    @functools.cached_property
    def pad_id(self) -> int:
        """`pad_token`, else the end of an answer; padding is masked, so its id has no influence."""
        pad = self._special.get("pad_token")
        token_id = None if pad is None else self.token_id(pad)
        return self.end_of_answer_id if token_id is None else token_id

    def files(self) -> dict[str, bytes]:
        """The files that make up the tokenizer, by name, as an export holds them."""
        return self._files()

    @functools.cached_property
    def content_hash(self) -> str:
        """SHA-256 over names and bytes of `files()`, the chat template included."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files().items()):
            digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()

    def check_fits(self, vocab_size_of_model: int) -> None:
        """Raises InputError if an id would lie outside the model's embedding."""
        if self.vocab_size > vocab_size_of_model:
            raise InputError(
                f"{self.folder}: the tokenizer has ids up to {self.vocab_size - 1}, but the model's embedding has "
                f"{counted(vocab_size_of_model, 'row')}; use the tokenizer that belongs to the model."
            )
