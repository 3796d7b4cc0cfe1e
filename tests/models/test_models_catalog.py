"""The catalog: the published shapes of all models that recipes start from, with their numbers of parameters."""

from pathlib import Path

import pytest

from socsci_jax.models.catalog import CATALOG
from socsci_jax.models.config_files import from_huggingface, to_huggingface
from socsci_jax.models.modules import parameter_count
from socsci_jax.training.recipe_files import load_recipe

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.yaml"))

# Billions, to the digits that the model cards give; Llama's card says 8, the hub counts 8.03 in the stored tensors.
PUBLISHED = {
    "Qwen/Qwen2.5-0.5B-Instruct": "0.49",
    "Qwen/Qwen2.5-1.5B-Instruct": "1.54",
    "Qwen/Qwen2.5-3B-Instruct": "3.09",
    "Qwen/Qwen2.5-7B-Instruct": "7.61",
    "Qwen/Qwen2.5-14B-Instruct": "14.7",
    # The card says 32.5 (and 31.0 without embeddings, which are 1.56); the hub counts 32.8 in the stored tensors.
    "Qwen/Qwen2.5-32B-Instruct": "32.8",
    "Qwen/Qwen3-0.6B": "0.6",
    "Qwen/Qwen3-1.7B": "1.7",
    "Qwen/Qwen3-4B": "4.0",
    "Qwen/Qwen3-8B": "8.2",
    "Qwen/Qwen3-14B": "14.8",
    "meta-llama/Meta-Llama-3-8B-Instruct": "8.03",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "0.135",
}

# As each repository's config.json says: vocabulary, heads, heads of keys and values, features of a head, layers, base of
# the rotary embedding, whether the embedding is tied.
CONFIG = {
    "Qwen/Qwen2.5-0.5B-Instruct": (151_936, 14, 2, 64, 24, 1e6, True),
    "Qwen/Qwen2.5-1.5B-Instruct": (151_936, 12, 2, 128, 28, 1e6, True),
    "Qwen/Qwen2.5-3B-Instruct": (151_936, 16, 2, 128, 36, 1e6, True),
    "Qwen/Qwen2.5-7B-Instruct": (152_064, 28, 4, 128, 28, 1e6, False),
    "Qwen/Qwen2.5-14B-Instruct": (152_064, 40, 8, 128, 48, 1e6, False),
    "Qwen/Qwen2.5-32B-Instruct": (152_064, 40, 8, 128, 64, 1e6, False),
    "Qwen/Qwen3-0.6B": (151_936, 16, 8, 128, 28, 1e6, True),
    "Qwen/Qwen3-1.7B": (151_936, 16, 8, 128, 28, 1e6, True),
    "Qwen/Qwen3-4B": (151_936, 32, 8, 128, 36, 1e6, True),
    "Qwen/Qwen3-8B": (151_936, 32, 8, 128, 36, 1e6, False),
    "Qwen/Qwen3-14B": (151_936, 40, 8, 128, 40, 1e6, False),
    "meta-llama/Meta-Llama-3-8B-Instruct": (128_256, 32, 8, 128, 32, 5e5, False),
    "HuggingFaceTB/SmolLM2-135M-Instruct": (49_152, 9, 3, 64, 30, 1e5, True),
}


@pytest.mark.parametrize(
    "path", [path for path in RECIPES if path.stem != "tiny"], ids=lambda path: path.stem
)
def test_a_recipe_starts_from_a_model_of_the_published_shape(path):
    start = load_recipe(path).model.init_from
    config = CATALOG[start]
    assert start in PUBLISHED
    assert CONFIG[start] == (
        config.vocab_size,
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
        config.num_hidden_layers,
        config.rope_theta,
        config.tie_word_embeddings,
    )


@pytest.mark.parametrize("name", CATALOG)
def test_a_shape_has_the_published_number_of_parameters(name):
    billions = parameter_count(CATALOG[name]) / 1e9
    digits = len(PUBLISHED[name].partition(".")[2])
    # Some cards round, some cut.
    assert PUBLISHED[name] in (f"{billions:.{digits}f}", f"{billions:.{digits + 4}f}"[: len(PUBLISHED[name])])


@pytest.mark.parametrize("name", CATALOG)
def test_a_shape_is_one_that_a_config_json_can_say(name):
    assert from_huggingface(to_huggingface(CATALOG[name])) == CATALOG[name]
