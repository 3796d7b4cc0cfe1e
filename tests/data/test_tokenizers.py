"""Tokenizers: published files are read as `transformers` reads them, and texts never become control tokens."""

import json
import random
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_files import CORPUS, LLAMA3_TEMPLATE, ODD_TEXTS, small_vocab_and_merges, write_config

from socsci_jax import bounds
from socsci_jax.data import patterns
from socsci_jax.data.chat import SYSTEM_MARK, turn_mark
from socsci_jax.data.patterns import check_patterns
from socsci_jax.data.sentencepiece_training import train_sentencepiece
from socsci_jax.data.tokenizer_loading import TOKENIZER_FILES, load_tokenizer
from socsci_jax.errors import InputError
from socsci_jax.hub import resolve_folder

SYSTEM = "You answer as the person described would. Give only the number."


# --- Qwen2.5's published files ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def qwen(shared_data):
    return load_tokenizer(shared_data / "qwen2.5_tokenizer")


@pytest.fixture(scope="module")
def qwen_reference(shared_data):
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(shared_data / "qwen2.5_tokenizer")


@pytest.fixture(scope="module")
def real_texts(shared_data) -> list[str]:
    with (shared_data / "socsci210" / "slice_val.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return sorted({text for row in rows for text in (row["instruction"], row["input"])})


@pytest.fixture(scope="module")
def real_parts(shared_data, real_texts) -> list[tuple[str, str]]:
    """(shared, own), the person first and the scenario first, from real personas and scenarios."""
    personas = json.loads((shared_data / "socsci210" / "personas.json").read_text(encoding="utf-8"))
    chance = random.Random(0)
    parts = []
    for text in chance.sample(real_texts, 150):
        scenario = text.partition("Scenario: ")[2].strip() or text
        persona = "\n".join(f"- {k}: {v}" for k, v in chance.choice(personas).items() if v is not None)
        parts.append((f"This is you:\n{persona}\n\nNow read on.\n\n", scenario))
        parts.append((f"{scenario}\n\nThis is you:\n", f"{persona}\n\nAnswer as you would."))
    return parts


def test_qwen_gives_the_ids_of_transformers_on_real_texts(qwen, qwen_reference, real_texts):
    assert qwen.encode_batch(real_texts) == qwen_reference(real_texts, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_qwen_gives_the_ids_of_transformers_on_odd_texts(qwen, qwen_reference, text):
    assert qwen.encode(text) == qwen_reference.encode(text, add_special_tokens=False)


def test_qwen_gives_the_ids_of_transformers_on_any_text(qwen, qwen_reference):
    @settings(max_examples=150, deadline=None)
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def check(text):
        assert qwen.encode(text) == qwen_reference.encode(text, add_special_tokens=False)

    check()


def test_qwen_makes_each_digit_a_token(qwen):
    assert [len(qwen.encode(str(n))) for n in (0, 7, 10, 100, 48500)] == [1, 1, 2, 3, 5]
    assert [qwen.decode([i]) for i in qwen.encode("100")] == ["1", "0", "0"]


def test_qwen_prompt_equals_apply_chat_template_token_for_token(qwen, qwen_reference, real_parts):
    template = qwen.prompt_template(SYSTEM)
    for shared, own in real_parts:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": shared + own}]
        expected = qwen_reference.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        assert template.before + qwen.encode(shared) + qwen.encode(own) + template.after == expected


def test_qwen_parts_joined_at_a_line_break_equal_the_whole(qwen, real_parts):
    for shared, own in real_parts:
        assert shared.endswith("\n") and not own[0].isspace()
        assert qwen.encode(shared) + qwen.encode(own) == qwen.encode(shared + own)


def test_qwen_without_system_text_writes_the_templates_own(qwen, qwen_reference):
    template = qwen.prompt_template("")
    expected = qwen_reference.apply_chat_template(
        [{"role": "user", "content": "Hello"}], add_generation_prompt=True
    )["input_ids"]
    assert template.before + qwen.encode("Hello") + template.after == expected
    assert "created by Alibaba Cloud" in qwen.decode(template.before)


def test_qwen_numbers(qwen):
    assert (qwen.vocab_size, qwen.end_of_answer_id, qwen.pad_id) == (151665, 151645, 151643)


@pytest.mark.parametrize("written", ["<|im_end|>", "<|endoftext|>", "<tool_call>", "<|fim_prefix|>"])
def test_qwen_control_tokens_written_in_a_text_stay_text(qwen, written):
    control_id = qwen.token_id(written)
    assert control_id >= 151643
    template = qwen.prompt_template(f"Be brief. {written}")
    for ids in (qwen.encode(f"The sign said {written}."), qwen.encode(written)):
        assert control_id not in ids
        assert written in qwen.decode(ids)
    assert template.before.count(control_id) == qwen.prompt_template("Be brief.").before.count(control_id)
    assert qwen.encode_template(f"a{written}b") == [*qwen.encode("a"), control_id, *qwen.encode("b")]


def test_qwen_decodes_what_it_encoded(qwen, real_texts):
    for text in [*ODD_TEXTS, *real_texts[:200]]:
        assert qwen.decode(qwen.encode(text)) == unicodedata.normalize("NFC", text)


def test_ids_without_a_token_decode_to_the_replacement_character(qwen):
    assert qwen.decode([*qwen.encode("7"), qwen.end_of_answer_id, 151900]) == "7<|im_end|>\ufffd"


def test_qwen_fits_the_published_embedding_and_no_smaller_one(qwen):
    qwen.check_fits(151936)
    qwen.check_fits(151665)
    with pytest.raises(InputError, match="ids up to 151664, but the model's embedding has 151,664 rows"):
        qwen.check_fits(151664)


# --- tokenizer.json, with conversations as Llama 3 has them ----------------------------------------------------


def test_tokenizer_json_adds_cuts_and_pads_nothing(llama):
    tokenizer = load_tokenizer(llama)
    for text in [*ODD_TEXTS, *CORPUS]:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("") == []


def test_llama_turns_end_with_the_token_that_the_template_writes_and_not_with_eos(llama):
    tokenizer = load_tokenizer(llama)
    assert tokenizer.decode([tokenizer.end_of_answer_id]) == "<|eot_id|>"
    assert tokenizer.pad_id == tokenizer.end_of_answer_id  # no pad_token is named


def test_llama_prompt_has_one_beginning_of_text_and_a_date_that_does_not_pass(llama):
    tokenizer = load_tokenizer(llama)
    template = tokenizer.prompt_template("Be brief.")
    assert tokenizer.decode(template.before) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n"
        "Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    )
    assert tokenizer.decode(template.after) == "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    assert template.before[0] == tokenizer.token_id("<|begin_of_text|>")
    assert template.after[0] == tokenizer.end_of_answer_id


def test_llama_prompt_equals_apply_chat_template(llama):
    transformers = pytest.importorskip("transformers")
    write_config(llama, chat_template=LLAMA3_TEMPLATE.replace('strftime_now("%d %b %Y")', '"1 May 1999"'))
    reference = transformers.AutoTokenizer.from_pretrained(llama)
    tokenizer = load_tokenizer(llama)
    template = tokenizer.prompt_template(SYSTEM)
    for text in ["How likely?\nFrom 0 to 100.", "x"]:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
        rendered = reference.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        expected = reference.backend_tokenizer
        expected.no_truncation()
        expected.no_padding()
        ids = expected.encode(rendered, add_special_tokens=False).ids
        assert template.before + tokenizer.encode(text) + template.after == ids


def test_a_control_token_that_takes_white_space_along_is_read_so(llama):
    content = json.loads((llama / "tokenizer.json").read_text())
    for token in content["added_tokens"]:
        token["rstrip"] = token["content"] == "<|end_header_id|>"
    (llama / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = load_tokenizer(llama)
    assert tokenizer.decode(tokenizer.prompt_template("").after).endswith("assistant<|end_header_id|>")


def test_a_tokenizer_whose_control_tokens_are_reached_from_texts_is_refused(llama):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    # A text that is a whole piece of this vocabulary becomes that piece, also where it is a control token.
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<end>"]
    greedy = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], ignore_merges=True))
    greedy.pre_tokenizer = pre_tokenizers.ByteLevel(False, use_regex=False)
    greedy.decoder = decoders.ByteLevel()
    greedy.add_special_tokens(["<end>"])
    greedy.save(str(llama / "tokenizer.json"))
    with pytest.raises(InputError, match="'<end>' is reached from ordinary text"):
        load_tokenizer(llama)


def test_a_tokenizer_that_adds_a_space_before_each_text_is_refused(llama):
    from tokenizers import Tokenizer, models, normalizers

    spaced = Tokenizer(models.BPE({c: i for i, c in enumerate("▁onetw\n")}, []))
    spaced.normalizer = normalizers.Prepend("▁")
    spaced.save(str(llama / "tokenizer.json"))
    with pytest.raises(InputError, match="cannot be put together from parts"):
        load_tokenizer(llama)


# --- chat templates --------------------------------------------------------------------------------------------


def test_a_template_in_a_file_of_its_own_comes_first(llama):
    (llama / "chat_template.jinja").write_text("{{ messages[-1].content }} ->")
    tokenizer = load_tokenizer(llama)
    assert tokenizer.decode(tokenizer.prompt_template("").after) == " ->"


def test_of_several_named_templates_the_default_is_used(llama):
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": LLAMA3_TEMPLATE}]
    before = load_tokenizer(llama).prompt_template("S")
    assert load_tokenizer(write_config(llama, chat_template=named)).prompt_template("S") == before
    with pytest.raises(InputError, match=r"templates \['tool_use'\] but none named 'default'"):
        load_tokenizer(write_config(llama, chat_template=named[:1]))


def test_without_a_template_the_texts_stand_below_each_other_and_eos_ends_the_answer(llama):
    tokenizer = load_tokenizer(write_config(llama, chat_template=None))
    template = tokenizer.prompt_template("Be brief.")
    assert tokenizer.decode(template.before) == "<|begin_of_text|>Be brief.\n\n"
    assert tokenizer.decode(template.after) == "\n\nAnswer: "
    assert tokenizer.decode([tokenizer.end_of_answer_id]) == "<|end_of_text|>"


def test_thinking_is_switched_off(llama):
    source = "{{ messages[-1].content }}{% if enable_thinking is false %}<think>\n\n</think>{% else %}open{% endif %}"
    tokenizer = load_tokenizer(write_config(llama, chat_template=source))
    assert tokenizer.decode(tokenizer.prompt_template("").after) == "<think>\n\n</think>"


def test_lines_that_hold_only_template_code_write_nothing(llama):
    source = "{% if true %}\n    {% set x = 1 %}\n{{ messages[-1].content }}\n{% endif %}\n"
    tokenizer = load_tokenizer(write_config(llama, chat_template=source))
    template = tokenizer.prompt_template("")
    assert (tokenizer.decode(template.before), tokenizer.decode(template.after)) == ("", "\n")


def test_the_mark_for_what_a_trainer_learns_is_read_over(llama):
    source = "{% for m in messages %}{% generation %}{{ m.content }}<|eot_id|>{% endgeneration %}{% endfor %}"
    tokenizer = load_tokenizer(write_config(llama, chat_template=source))
    assert tokenizer.decode(tokenizer.prompt_template("").after) == "<|eot_id|>"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("constant", "found 0 times"),
        ("{{ messages[-1].content }}{{ messages[-1].content }}", "found 2 times"),
        ("{{ messages[-1].content | upper }}", "found 0 times"),
        ("{{ messages[-1].content | tojson }}", "found 0 times"),
        ("{{ messages[-1].content | replace('  ', ' ') }}", "found 0 times"),
        ("{{ messages[-1].content }}", "system text once, unchanged and before"),
        ("{{ messages[-1].content }}{{ messages[0].content }}", "system text once, unchanged and before"),
        ("{% for n in [0, -1, 0] %}{{ messages[n].content }}{% endfor %}", "once, unchanged and before"),
        ("{{ raise_exception('no system role') }}", r"\['system', 'user'\] \(no system role\)"),
        ("{{ messages[-1].content ", "unexpected"),
        ("{{ messages + 1 }}", "chat template failed"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    ],
)
def test_a_template_that_does_not_keep_the_texts_is_an_error(llama, source, message):
    tokenizer = load_tokenizer(write_config(llama, chat_template=source))
    with pytest.raises(InputError, match=message):
        tokenizer.prompt_template("Be brief.")


def test_a_system_text_that_the_template_would_trim_is_an_error(llama):
    with pytest.raises(InputError, match="begin and end it without white space"):
        load_tokenizer(llama).prompt_template("Be brief.\n")


def test_without_template_or_eos_nothing_says_how_an_answer_ends(llama):
    tokenizer = load_tokenizer(write_config(llama, chat_template=None, eos_token=None))
    with pytest.raises(InputError, match="nothing says how an answer ends"):
        _ = tokenizer.end_of_answer_id


def test_a_template_that_goes_on_in_words_after_an_answer_leaves_the_end_to_eos(llama):
    source = "{% for m in messages %}{{ m.role }}: {{ m.content }} (end)<|eot_id|>{% endfor %}"
    tokenizer = load_tokenizer(write_config(llama, chat_template=source))
    assert tokenizer.decode([tokenizer.end_of_answer_id]) == "<|end_of_text|>"


# --- files -----------------------------------------------------------------------------------------------------


def test_copied_files_have_the_same_hash_and_another_template_another(llama, tmp_path):
    tokenizer = load_tokenizer(llama)
    assert set(tokenizer.files()) == {"tokenizer.json", "tokenizer_config.json"}
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, content in tokenizer.files().items():
        (copy / name).write_bytes(content)
    (copy / "weights.bin").write_bytes(b"not of the tokenizer")
    assert load_tokenizer(copy).content_hash == tokenizer.content_hash
    (copy / "chat_template.jinja").write_text(LLAMA3_TEMPLATE)
    assert load_tokenizer(copy).content_hash != tokenizer.content_hash


def test_vocab_and_merges_are_read_with_their_added_tokens(tmp_path):
    tokenizer = load_tokenizer(small_vocab_and_merges(tmp_path / "t"))
    assert (tokenizer.vocab_size, tokenizer.end_of_answer_id) == (402, 400)
    assert len(tokenizer.encode("48,500")) == 6
    assert tokenizer.encode("e\u0301") == tokenizer.encode("\u00e9")


def test_added_tokens_that_disagree_are_an_error(tmp_path):
    folder = small_vocab_and_merges(tmp_path / "t")
    (folder / "added_tokens.json").write_text(json.dumps({"<|im_end|>": 401}))
    with pytest.raises(InputError, match=r"'<\|im_end\|>' has id 401 here and 400"):
        load_tokenizer(folder)


def test_vocab_and_merges_of_another_model_are_an_error(tmp_path):
    folder = write_config(small_vocab_and_merges(tmp_path / "t"), tokenizer_class="GPT2Tokenizer")
    with pytest.raises(InputError, match="found 'GPT2Tokenizer', which cuts texts in another way"):
        load_tokenizer(folder)


def test_a_folder_without_a_tokenizer_names_the_files_wanted(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    wanted = r"tokenizer.json, or vocab.json with merges.txt, or tokenizer.model, found \['vocab.json'\]"
    with pytest.raises(InputError, match=wanted):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["not what it should be", "[1, 2]", "{}"])
def test_a_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=name):
        load_tokenizer(tmp_path)


def test_a_missing_folder_is_an_error_and_no_hub_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    for name in (tmp_path / "nowhere", str(tmp_path / "nowhere"), "nowhere"):
        with pytest.raises(InputError, match="nowhere: no such folder; give an existing folder, a hub id"):
            resolve_folder(name, allow_patterns=TOKENIZER_FILES)


def test_a_hub_that_cannot_be_reached_is_an_error_in_one_sentence(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(*_, **__):
        raise LocalEntryNotFoundError("No connection.\nMore about it.")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(
        InputError, match=r"^org/name: no such folder here, .*\(No connection\); give the path"
    ):
        load_tokenizer("org/name")


def test_from_the_hub_only_tokenizer_files_are_fetched(llama, monkeypatch):
    asked = {}

    def download(repo_id, *, allow_patterns, etag_timeout):
        asked[repo_id] = set(allow_patterns)
        return str(llama)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load_tokenizer("org/name").content_hash == load_tokenizer(llama).content_hash
    assert asked == {"org/name": set(TOKENIZER_FILES)}


# --- the demonstration's SentencePiece tokenizer ---------------------------------------------------------------


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory) -> Path:
    return train_sentencepiece(CORPUS, tmp_path_factory.mktemp("spm") / "small", vocab_size=400)


@pytest.fixture(scope="module")
def small(small_folder):
    return load_tokenizer(small_folder)


def test_training_twice_gives_the_same_bytes(small, tmp_path):
    again = load_tokenizer(train_sentencepiece(iter(CORPUS), tmp_path / "again", vocab_size=400))
    assert again.content_hash == small.content_hash


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁")))
@settings(max_examples=100, deadline=None)
def test_every_text_comes_back_from_sentencepiece(small, text):
    assert small.decode(small.encode(text)) == text


def test_sentencepiece_makes_digits_and_line_breaks_tokens(small):
    assert [small.decode([i]) for i in small.encode("100\n\n7")] == ["1", "0", "0", "\n", "\n", "7"]


@given(st.text("ab \n<|>é1", max_size=12), st.text("ab \n<|>é1", max_size=12))
@settings(max_examples=200, deadline=None)
def test_sentencepiece_parts_that_meet_at_a_line_break_equal_the_whole(small, first, second):
    assert small.encode(first + "\n") + small.encode(second) == small.encode(first + "\n" + second)


def test_sentencepiece_never_joins_a_line_break_with_what_stands_beside_it(tmp_path):
    lists = ["- yes\n- no\n- yes\n- no\n"] * 50
    tokenizer = load_tokenizer(train_sentencepiece(lists, tmp_path / "t", vocab_size=400))
    assert [tokenizer.decode([i]) for i in tokenizer.encode(lists[0])].count("\n") == 4
    assert tokenizer.token_id("\n") is not None


def test_sentencepiece_writes_chat_turns_and_keeps_texts_out_of_them(small):
    template = small.prompt_template("Be <|im_end|> brief.")
    assert small.decode(template.before) == (
        "<|im_start|>system\nBe <|im_end|> brief.<|im_end|>\n<|im_start|>user\n"
    )
    assert small.decode(template.after) == "<|im_end|>\n<|im_start|>assistant\n"
    assert template.before.count(small.end_of_answer_id) == 1
    assert small.decode([small.end_of_answer_id]) == "<|im_end|>"
    for written in ("<|im_end|>", "<|im_start|>", "<|endoftext|>", "<unk>"):
        assert small.token_id(written) not in small.encode(written)


def test_texts_of_earlier_turns_are_neither_control_tokens_nor_marks(small):
    earlier = ["Are you <|im_end|>?", turn_mark(0), "And then?", SYSTEM_MARK]
    template = small.prompt_template("Be brief.", earlier)
    assert template.before.count(small.token_id("<|im_end|>")) == 1 + len(earlier)
    turns = small.decode(template.before).split("<|im_start|>")[2:-1]
    roles = ["user", "assistant", "user", "assistant"]
    assert turns == [f"{role}\n{text}<|im_end|>\n" for role, text in zip(roles, earlier, strict=True)]


def test_a_template_that_loses_an_earlier_turn_is_an_error(llama):
    last = "{{ messages[0].content }}{{ messages[-1].content }}"
    tokenizer = load_tokenizer(write_config(llama, chat_template=last))
    tokenizer.prompt_template("Be brief.")
    with pytest.raises(
        InputError, match="must write each of several turns once, unchanged and in their order"
    ):
        tokenizer.prompt_template("Be brief.", ["Who are you?", "Nobody."])


def test_sentencepiece_learns_from_texts_of_any_length(tmp_path):
    long_text = "questionnaire " * 1000
    tokenizer = load_tokenizer(train_sentencepiece([long_text], tmp_path / "t", vocab_size=400))
    assert len(tokenizer.encode("questionnaire questionnaire")) < 5


def test_a_small_corpus_gives_a_smaller_vocabulary(tmp_path):
    tokenizer = load_tokenizer(train_sentencepiece(["yes or no"], tmp_path / "t", vocab_size=4000))
    assert tokenizer.vocab_size < 350
    assert max(tokenizer.encode("yes or no 42")) < tokenizer.vocab_size


def test_a_vocabulary_too_small_for_its_characters_names_the_smallest(tmp_path):
    with pytest.raises(InputError, match=r"vocab_size 100 is too small .* give 278 or more"):
        train_sentencepiece(["answer"], tmp_path / "t", vocab_size=100)
    assert load_tokenizer(train_sentencepiece(["answer"], tmp_path / "t", vocab_size=278)).vocab_size <= 278


@pytest.mark.parametrize("texts", [[], ["", "\n", "12 3"]])
def test_an_empty_corpus_is_an_error_and_leaves_nothing(tmp_path, texts):
    with pytest.raises(InputError, match="texts without letters"):
        train_sentencepiece(texts, tmp_path / "t", vocab_size=400)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_not_written_over(small_folder):
    with pytest.raises(InputError, match="exists already and is not empty"):
        train_sentencepiece(CORPUS, small_folder, vocab_size=400)


def test_transformers_reads_the_sentencepiece_folder_with_the_same_ids(small_folder, small):
    transformers = pytest.importorskip("transformers")
    reference = transformers.AutoTokenizer.from_pretrained(small_folder)
    for text in [*CORPUS[:3], *ODD_TEXTS]:
        assert small.encode(text) == reference.encode(text, add_special_tokens=False)
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": CORPUS[0]}]
    template = small.prompt_template(SYSTEM)
    expected = reference.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert template.before + small.encode(CORPUS[0]) + template.after == expected


def test_a_sentencepiece_model_that_adds_a_space_before_each_text_is_refused(tmp_path):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        minloglevel=2,
    )
    with pytest.raises(InputError, match="cannot be put together from parts"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(\s|\s\s)+$", r"([a-z]+)*\d", "(unclosed"])
def test_a_regular_expression_that_goes_astray_is_refused(pattern, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "PATTERN_SECONDS", 2)
    with pytest.raises(InputError, match=r"takes more than 2 s|fails \(\S"):
        check_patterns({"pre_tokenizer": [{"pattern": {"Regex": pattern}}]}, where=tmp_path)


def test_a_process_that_fails_before_it_has_tried_any_expression_says_why(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("import absent_library")
    monkeypatch.setattr(patterns, "pattern_process", SimpleNamespace(__file__=tmp_path / "broken.py"))
    with pytest.raises(RuntimeError, match="No module named 'absent_library'"):
        check_patterns({"Regex": "never tried"}, where=tmp_path)


def test_expressions_that_come_to_an_end_are_read(tmp_path):
    check_patterns(
        [{"Regex": r"\p{L}+|\p{N}{1,3}"}, {"Regex": r" ?[^\s]+"}, {"String": "(a+)+$"}], where=tmp_path
    )
