"""Texts are encoded by pieces only where that gives the ids of the whole text."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizer_files import ODD_TEXTS

from socsci_jax.data.pieces import PieceEncoder, may_be_cut, pieces_of
from socsci_jax.data.tokenizer_loading import load_tokenizer

# What stands at cuts, and what could join across one: white space of all kinds, marks, letters, digits, control tokens.
BITS = [*".!?,;:-'\"#|<>", " ", "  ", "\n", "\n\n", "\r\n", "\r", "\t", "\u00a0", "\u2028", "\x0b", "\u0308", "\u0338",
        "\u200d", "'s", "'ll", "A", "word", "Ünï", "e\u0301", "日", "😀", "7", "2024", "½", "- Age: 34", "<|im_end|>"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(BITS), max_size=14).map("".join)


def check_any_text(tokenizer):
    @settings(max_examples=400, deadline=None)
    @given(st.lists(TEXTS, min_size=1, max_size=4))
    @example(ODD_TEXTS)
    def check(texts):
        by_pieces = PieceEncoder(tokenizer.encode_batch).encode(texts)
        assert [ids.tolist() for ids in by_pieces] == tokenizer.encode_batch(texts)

    check()


def test_pieces_are_the_text():
    text = 'He said "No. Not... now?" Then\n\n- Age: 34\n- City: St. Ives\n e.g.x\n'
    assert pieces_of(text) == [
        'He said "No.',
        " Not...",
        ' now?" Then\n\n',
        "- Age: 34\n",
        "- City: St.",
        " Ives\n e.g.x\n",
        "",
    ]


def test_qwens_ids_of_pieces_are_those_of_any_whole_text(shared_data):
    tokenizer = load_tokenizer(shared_data / "qwen2.5_tokenizer")
    assert tokenizer._text_model.may_be_cut
    check_any_text(tokenizer)


def test_llama_3s_ids_of_pieces_are_those_of_any_whole_text(llama):
    tokenizer = load_tokenizer(llama)
    assert tokenizer._text_model.may_be_cut
    check_any_text(tokenizer)


def test_each_piece_is_encoded_once_and_arrays_are_those_of_whole_texts(llama, monkeypatch):
    tokenizer = load_tokenizer(llama)
    texts = [f"A town. It has {n} people.\n- Age: {n}" for n in (1, 2, 1, 3)]
    whole = tokenizer.encode_batch(texts)
    asked: list[str] = []
    encode_batch = tokenizer.encode_batch
    monkeypatch.setattr(
        tokenizer, "encode_batch", lambda some: encode_batch(asked.extend(some) or some), raising=True
    )
    found = list(tokenizer.encode_arrays(texts))
    assert [ids.tolist() for ids in found] == whole
    assert all(ids.dtype == np.int32 for ids in found)
    assert sorted(asked) == sorted(set(asked))
    assert asked.count("A town.") == 1


def _byte_level(**changes):
    """GPT-2's way of cutting; trained so that two line breaks together are one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(**changes))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        ["a\n\n"] * 9, trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def test_a_tokenizer_that_cuts_in_another_way_gets_whole_texts():
    gpt2 = _byte_level()
    assert not may_be_cut(gpt2)
    text = "a\n\n- b"
    apart = [i for piece in pieces_of(text) for i in gpt2.encode(piece).ids]
    assert apart != gpt2.encode(text).ids, "there it would give other ids"


@pytest.mark.parametrize("change", ["normalizer", "added token", "dropout", "prefix space"])
def test_what_else_reaches_across_a_cut_is_looked_for(llama, change):
    from tokenizers import AddedToken, normalizers, pre_tokenizers

    backend = load_tokenizer(llama)._text_model.backend
    assert may_be_cut(backend)
    match change:
        case "normalizer":
            backend.normalizer = normalizers.Strip()
        case "added token":
            backend.add_tokens([AddedToken(". A")])
        case "dropout":
            backend.model.dropout = 0.1
        case "prefix space":
            split = backend.pre_tokenizer[0]
            backend.pre_tokenizer = pre_tokenizers.Sequence(
                [split, pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]
            )
    assert not may_be_cut(backend)
