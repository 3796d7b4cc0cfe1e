"""The catalogue: shapes that give the published numbers of parameters."""

import pytest

from socsci_jax.models.catalogue import CATALOGUE
from socsci_jax.models.config import from_huggingface, to_huggingface
from socsci_jax.models.modules import parameter_count

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
}


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_shape_has_the_published_number_of_parameters(name):
    billions = parameter_count(CATALOGUE[name]) / 1e9
    digits = len(PUBLISHED[name].partition(".")[2])
    # Some cards round, some cut.
    assert PUBLISHED[name] in (f"{billions:.{digits}f}", f"{billions:.{digits + 4}f}"[: len(PUBLISHED[name])])


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_shape_is_one_that_a_config_json_can_say(name):
    assert from_huggingface(to_huggingface(CATALOGUE[name])) == CATALOGUE[name]
