"""Tokenizers: the published files of a model, read so that no text of a study can become a control token.

Ordinary text and control tokens are kept apart. `encode` knows ordinary text only: `<|im_end|>` in a stimulus is
some ordinary tokens, not the end of a turn. Control tokens come from chat templates alone (`prompt_template`).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from socsci_jax import bounds
from socsci_jax.data.chat import CHATML_TEMPLATE, SYSTEM_MARK, ChatTemplate, read_chat_template, turn_mark
from socsci_jax.data.default_template import default_template
from socsci_jax.data.gguf_tokenizer import QWEN2_PATTERN, tokenizer_files
from socsci_jax.data.patterns import check_patterns
from socsci_jax.errors import InputError
from socsci_jax.gguf_header import read_header
from socsci_jax.hub import is_gguf, resolve_folder
from socsci_jax.reading import as_object, kind_of, panics_as_errors, read_json_object
from socsci_jax.storage import new_folder

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)

END_OF_TEXT, UNKNOWN, TURN_START, TURN_END = "<|endoftext|>", "<unk>", "<|im_start|>", "<|im_end|>"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptTemplate:
    """What stands around the user's text.

    A prompt is `head + encode(lead + user text + trail) + tail`, its target `encode(answer) + [end_of_answer_id]`.
    `lead` and `trail` are the template's ordinary text beside the user's: tokens may reach across that border.
    `before` and `after` are ids of all that stands before and after.
    """

    head: list[int]
    lead: str
    trail: str
    tail: list[int]
    before: list[int]
    after: list[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlToken:
    """A token outside ordinary text; `lstrip` and `rstrip` say that it takes the white space beside it along."""

    content: str
    id: int
    lstrip: bool = False
    rstrip: bool = False

    @property
    def pattern(self) -> str:
        space = r"\s*"
        return (space if self.lstrip else "") + re.escape(self.content) + (space if self.rstrip else "")


def _filled(piece: str, texts: Mapping[str, str]) -> str:
    """The piece with each mark replaced by its text; a mark that a text holds is not one."""
    if not texts:
        return piece
    marks = "|".join(map(re.escape, texts))
    return re.sub(marks, lambda mark: texts[mark[0]], piece)


class TextModel(Protocol):
    """Encodes ordinary text only; ids of control tokens are never given nor taken."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, ids: list[int]) -> str: ...
    def id_of(self, token: str) -> int | None: ...
    def has_id(self, token_id: int) -> bool: ...
    def top_id(self) -> int: ...


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
                ids.extend(self.encode(_filled(piece, texts)))
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
                f"{vocab_size_of_model} rows; use the tokenizer that belongs to the model."
            )


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Reads a tokenizer from a folder, from a GGUF file, or from the Hugging Face hub (`org/name`).

    Kinds in a folder, the first one found: `tokenizer.json`; `vocab.json` with `merges.txt` (byte-level BPE as Qwen2 cuts it);
    `tokenizer.model` (SentencePiece). Raises InputError if there is none or if a file cannot be read.
    """
    folder = resolve_folder(folder, allow_patterns=TOKENIZER_FILES)
    if is_gguf(folder):
        return _load_gguf(folder)
    config = _read_json(folder / "tokenizer_config.json")
    special = _special_tokens({**_read_json(folder / "special_tokens_map.json"), **config})
    if (folder / "tokenizer.json").is_file():
        path = folder / "tokenizer.json"
        text_model, control = _parse_tokenizer_json(_read_json(path), where=path)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        text_model, control = _read_vocab_and_merges(folder, config)
    elif (folder / "tokenizer.model").is_file():
        text_model, control = _read_sentencepiece(folder, config)
    else:
        found = sorted(path.name for path in folder.iterdir())
        raise InputError(
            f"{folder}: no tokenizer here; wanted tokenizer.json, or vocab.json with merges.txt, or tokenizer.model, "
            f"found {found[:8]}; copy the tokenizer's files into the folder."
        )
    return Tokenizer(
        folder=folder,
        text_model=text_model,
        control_tokens=control,
        special=special,
        template=read_chat_template(folder, config=config, tokens=special),
        files=lambda: {p.name: p.read_bytes() for n in TOKENIZER_FILES if (p := folder / n).is_file()},
    )


def _load_gguf(path: Path) -> Tokenizer:
    files = tokenizer_files(read_header(path))
    config = json.loads(files["tokenizer_config.json"])
    text_model, control = _parse_tokenizer_json(json.loads(files["tokenizer.json"]), where=path)
    special = _special_tokens(config)
    return Tokenizer(
        folder=path,
        text_model=text_model,
        control_tokens=control,
        special=special,
        template=read_chat_template(path, config=config, tokens=special),
        files=lambda: files,
    )


def train_sentencepiece(texts: Iterable[str], folder: str | Path, *, vocab_size: int) -> Path:
    """Trains a small SentencePiece BPE tokenizer and writes its folder, whole or not at all; returns the folder.

    Made for the built-in demonstration and its offline tests. Each digit and each line break is a token, bytes
    stand in for unknown characters, nothing is normalized, so every text without U+2581 (SentencePiece's own sign
    for a space) comes back as it was. The same texts give the same bytes. A small corpus gives fewer tokens than
    `vocab_size`. The folder also loads with `transformers.AutoTokenizer`.
    Raises InputError for an empty corpus, a `vocab_size` too small for its characters, or a folder in use.
    """
    import sentencepiece

    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already and is not empty; choose another folder.")
    texts = list(texts)
    characters = set().union(*texts) - {"\n"} | set("0123456789 ")
    if len(characters) == 11:
        raise InputError(f"{folder}: no tokenizer can be trained on texts without letters; give texts.")
    smallest = len(characters) + 256 + 5  # bytes, then the five tokens named below
    if vocab_size < smallest:
        raise InputError(
            f"{folder}: vocab_size {vocab_size} is too small for texts of {len(characters)} different characters; "
            f"give {smallest} or more."
        )
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=1.0,
        required_chars="0123456789",
        split_digits=True,
        # Text is kept as it is, so that parts encoded apart can be put together.
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        # Control symbols are never found in text, user-defined ones always are.
        control_symbols=[TURN_START, TURN_END],
        user_defined_symbols=["\n"],
        pad_id=0,
        pad_piece=END_OF_TEXT,
        unk_id=1,
        unk_piece=UNKNOWN,
        bos_id=-1,
        eos_id=-1,
        # The default leaves out texts above 4 kB without an error.
        max_sentence_length=2**30,
        # Merges are counted in the order of threads otherwise.
        num_threads=1,
        minloglevel=2,
    )
    control = {0: END_OF_TEXT, 1: UNKNOWN, 2: TURN_START, 3: TURN_END}
    config = {
        # The class under which `transformers` reads a SentencePiece file.
        "tokenizer_class": "LlamaTokenizer",
        "legacy": False,
        "add_prefix_space": False,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "bos_token": None,
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "unk_token": UNKNOWN,
        "added_tokens_decoder": {
            str(i): {"content": content, "special": True} for i, content in control.items()
        },
        "chat_template": CHATML_TEMPLATE,
    }
    with new_folder(folder) as partial:
        (partial / "tokenizer.model").write_bytes(model.getvalue())
        (partial / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return folder


@dataclasses.dataclass(frozen=True)
class _HuggingFaceModel:
    backend: Any  # tokenizers.Tokenizer without control tokens

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            with panics_as_errors():
                encoded = self.backend.encode_batch_fast(texts, add_special_tokens=False)
        # The library raises bare Exceptions, for instance of a word without a token.
        except Exception as error:
            raise InputError(
                f"this tokenizer cannot encode ordinary texts ({str(error)[:200]}); use a tokenizer such as Qwen's or "
                "Llama 3's."
            ) from error
        return [encoding.ids for encoding in encoded]

    def decode(self, ids: list[int]) -> str:
        return self.backend.decode(ids, skip_special_tokens=False)

    def id_of(self, token: str) -> int | None:
        return self.backend.token_to_id(token)

    def has_id(self, token_id: int) -> bool:
        return self.backend.id_to_token(token_id) is not None

    def top_id(self) -> int:
        return max(self.backend.get_vocab(with_added_tokens=True).values())


@dataclasses.dataclass(frozen=True)
class _SentencePieceModel:
    processor: Any  # sentencepiece.SentencePieceProcessor

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return self.processor.encode(texts, out_type=int)

    def decode(self, ids: list[int]) -> str:
        return self.processor.decode(ids)

    def id_of(self, token: str) -> int | None:
        token_id = self.processor.piece_to_id(token)
        return None if self.processor.is_unknown(token_id) else token_id

    def has_id(self, token_id: int) -> bool:
        return 0 <= token_id < self.processor.vocab_size()

    def top_id(self) -> int:
        return self.processor.vocab_size() - 1


def _parse_tokenizer_json(content: dict[str, Any], *, where: Path) -> tuple[TextModel, list[ControlToken]]:
    import tokenizers

    check_patterns([content.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")], where=where)
    try:
        vocabulary = content["model"]["vocab"]
        ordinary = set(vocabulary if isinstance(vocabulary, dict) else (piece for piece, _ in vocabulary))
        # Added tokens that are neither special nor part of the vocabulary (`<tool_call>`) are control tokens too.
        kept = [t for t in content["added_tokens"] if not t["special"] and t["content"] in ordinary]
        control = [_control_token(t["id"], t) for t in content["added_tokens"] if t not in kept]
        # What would add tokens, cut or pad is left out.
        text_only = content | {
            "added_tokens": kept,
            "post_processor": None,
            "truncation": None,
            "padding": None,
        }
        with panics_as_errors():
            backend = tokenizers.Tokenizer.from_str(json.dumps(text_only, ensure_ascii=False))
    except InputError:
        raise
    # The library raises bare Exceptions.
    except Exception as error:
        raise InputError(
            f"{where}: not a tokenizer of the `tokenizers` library ({repr(error)[:200]})."
        ) from error
    return _HuggingFaceModel(backend), control


def _read_vocab_and_merges(folder: Path, config: Mapping) -> tuple[TextModel, list[ControlToken]]:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    kind = config.get("tokenizer_class") or "Qwen2Tokenizer"
    if kind not in ("Qwen2Tokenizer", "Qwen2TokenizerFast"):
        raise InputError(
            f"{folder}: vocab.json and merges.txt are read for tokenizer_class Qwen2Tokenizer, found {kind!r}, "
            "which cuts texts in another way; add the tokenizer.json of this model."
        )
    try:
        with panics_as_errors():
            backend = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    except Exception as error:
        raise InputError(
            f"{folder}: vocab.json and merges.txt are not those of a byte-level BPE ({error})."
        ) from error
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return _HuggingFaceModel(backend), _added_tokens(folder, config)


def _read_sentencepiece(folder: Path, config: Mapping) -> tuple[TextModel, list[ControlToken]]:
    import sentencepiece

    path = folder / "tokenizer.model"
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise InputError(f"{path}: not a SentencePiece model ({error}).") from error
    control = {
        i: ControlToken(content=processor.id_to_piece(i), id=i)
        for i in range(processor.vocab_size())
        if processor.is_control(i)
    }
    added = {t.id: t for t in _added_tokens(folder, config) if t.id >= processor.vocab_size()}
    return _SentencePieceModel(processor), list((control | added).values())


def _added_tokens(folder: Path, config: Mapping) -> list[ControlToken]:
    """Control tokens of `tokenizer_config.json` and `added_tokens.json`, which must agree."""
    path = folder / "added_tokens.json"
    decoder = as_object(
        config.get("added_tokens_decoder", {}),
        where=f"{folder / 'tokenizer_config.json'}: added_tokens_decoder",
    )
    by_content = {token.content: token for token in itertools.starmap(_control_token, decoder.items())}
    for content, token_id in _read_json(path).items():
        known = by_content.setdefault(content, _control_token(token_id, {"content": content}))
        if known.id != token_id:
            raise InputError(
                f"{path}: token {content!r} has id {token_id} here and {known.id} in tokenizer_config.json; keep "
                "the files of one release together."
            )
    return list(by_content.values())


def _control_token(token_id: object, added: object) -> ControlToken:
    """Raises InputError for an added token that is none: its text, its number, its two switches."""
    where = f"added token {str(token_id)[:40]!r} of the tokenizer"
    added = as_object(added, where=where, hint="fetch its files again")
    content = added.get("content")
    if not isinstance(content, str) or not content:
        raise InputError(f"{where}: content is {kind_of(content)}; fetch its files again.")
    number = (
        int(token_id) if isinstance(token_id, str) and re.fullmatch(r"[0-9]{1,9}", token_id) else token_id
    )
    if type(number) is not int or not 0 <= number < bounds.VOCABULARY:
        raise InputError(f"{where}: its id is {kind_of(token_id)}; fetch its files again.")
    switches = {name: added.get(name) or False for name in ("lstrip", "rstrip")}
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise InputError(f"{where}: {name} is {kind_of(value)}; fetch its files again.")
    return ControlToken(content=content, id=number, **switches)


def _special_tokens(config: Mapping) -> dict[str, str]:
    """`bos_token` and the like, written as a text or as a mapping with `content`; absent ones are left out."""
    named = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        value = config.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        if not isinstance(value, str | None):
            raise InputError(
                f"tokenizer_config.json: {name} is {kind_of(value)}; fetch the tokenizer's files again."
            )
        if value is not None:
            named[name] = value
    return named


def _read_json(path: Path) -> dict:
    """The object in a file; an empty one if there is no file."""
    if not path.is_file():
        return {}
    return read_json_object(path, hint="fetch the file again")
