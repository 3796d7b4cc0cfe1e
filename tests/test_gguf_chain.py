"""What takes a folder in the Hugging Face format takes a GGUF file: tokenizer, training, export, verification, simulation."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import transformers
from gguf_files import write_gguf
from small import small_recipe, small_store
from tiny_models import huggingface_model
from tokenizer_files import CORPUS, ODD_TEXTS, small_vocab_and_merges, write_config

from socsci_jax.data.chat import CHATML_TEMPLATE
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.errors import InputError
from socsci_jax.model_export import export_run
from socsci_jax.model_io import open_model
from socsci_jax.training.loop import train
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.verification.compare import compare


def gguf_of(folder, path, *, pre, family="llama", metadata=None):
    """A model with the vocabulary and the tokenizer of a folder."""
    vocabulary = load_tokenizer(folder).vocab_size + 1
    sizes = {"vocab_size": -(-vocabulary // 64) * 64, "max_position_embeddings": 512}
    model = huggingface_model(family, tied=True, **sizes)
    return write_gguf(path, model, tokenizer=folder, pre=pre, metadata=metadata)


def assert_same_tokenizer(one, other):
    for text in [*CORPUS, *ODD_TEXTS, "<|im_end|> 12345 it's"]:
        assert one.encode(text) == other.encode(text)
        assert one.decode(one.encode(text)) == other.decode(other.encode(text))
    assert one.prompt_template("Be brief.") == other.prompt_template("Be brief.")
    assert one.end_of_answer_id == other.end_of_answer_id
    assert one.vocab_size == other.vocab_size


def test_llama_3s_tokenizer_comes_back(llama, tmp_path):
    assert_same_tokenizer(
        load_tokenizer(gguf_of(llama, tmp_path / "m.gguf", pre="llama-bpe")), load_tokenizer(llama)
    )


@pytest.mark.slow
def test_qwens_published_tokenizer_comes_back(shared_data, tmp_path):
    folder = shared_data / "qwen2.5_tokenizer"
    path = write_gguf(tmp_path / "m.gguf", huggingface_model("qwen2"), tokenizer=folder, pre="qwen2")
    assert_same_tokenizer(load_tokenizer(path), load_tokenizer(folder))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"tokenizer.ggml.model": "llama"}, "the tokenizer is 'llama', but only byte-level BPE"),
        ({"tokenizer.ggml.pre": "tekken"}, "'gpt2' cut as 'tekken', but only byte-level BPE"),
        ({"tokenizer.ggml.pre": None}, "'gpt2' cut as None"),
        ({"tokenizer.ggml.token_type": None}, "token_type are absent or of different lengths"),
        ({"tokenizer.ggml.merges": ["a b c"]}, "merges are not pairs of tokens"),
    ],
)
def test_an_unknown_tokenizer_is_refused(llama, tmp_path, metadata, message):
    path = gguf_of(llama, tmp_path / "m.gguf", pre="llama-bpe", metadata=metadata)
    with pytest.raises(InputError, match=message):
        load_tokenizer(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf_chain")
    tokenizer = write_config(
        small_vocab_and_merges(folder / "tokenizer"),
        chat_template=CHATML_TEMPLATE,
        added_tokens_decoder={"400": {"content": "<|im_end|>"}, "401": {"content": "<|im_start|>"}},
    )
    return small_store(folder / "store"), gguf_of(
        tokenizer, folder / "model.gguf", pre="qwen2", family="qwen3"
    )


@pytest.fixture(scope="module")
def trained(world):
    """A run from the file that changed nothing: at this rate, which is 0 in float32, the weights stay."""
    store, path = world
    run = path.parent / "run"
    recipe = small_recipe(store, run, model={"init_from": str(path)})
    recipe["data"]["max_tokens"] = 512
    recipe["optimizer"] = {"epochs": 0.01, "learning_rate": 1e-50}
    train(parse_recipe(recipe, where="test"))
    return run


def test_training_starts_from_the_weights_of_the_file(world, trained):
    found = compare(str(world[1]), str(trained))
    assert not found.different
    assert not any(found.only)


def test_an_export_of_the_file_and_one_of_the_run_hold_the_same_and_load_in_transformers(
    world, trained, tmp_path
):
    export_run(world[1], tmp_path / "file")
    export_run(trained, tmp_path / "run")
    # An export of a run tells clients besides how it was asked.
    found = compare(str(tmp_path / "file"), str(tmp_path / "run"))
    assert not found.different + found.only[0] + found.only[1]
    assert not found.config
    assert compare(str(tmp_path / "file"), str(world[1])).all_equal
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "run")
    text = "How likely are you to visit one?\n48,500"
    assert tokenizer.encode(text, add_special_tokens=False) == load_tokenizer(world[1]).encode(text)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    assert model.generation_config.eos_token_id == 400


def test_simulation_opens_the_file_and_a_run_goes_on_without_it(world, trained, tmp_path):
    path = tmp_path / "copy.gguf"
    shutil.copyfile(world[1], path)
    model = open_model(str(path))
    assert model.compute_dtype == np.float32
    assert model.layout is None
    assert model.tokenizer.content_hash == open_model(str(trained)).tokenizer.content_hash


def test_plan_knows_the_shape_of_the_file(world):
    from socsci_jax.feasibility.shapes import data_and_config

    recipe = small_recipe(world[0], world[1].parent / "planned", model={"init_from": str(world[1])})
    _, config, _ = data_and_config(parse_recipe(recipe, where="test"))
    assert (config.model_type, config.num_hidden_layers) == ("qwen3", 2)
