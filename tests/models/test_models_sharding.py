"""Where arrays live: what the table says, or an error that names the array, the dimension and the axis."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from socsci_jax.errors import InputError
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import batch_sharding, make_mesh, param_shardings


def config_with(**sizes) -> DecoderConfig:
    usual = {
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
    }
    return DecoderConfig(model_type="qwen2", **(usual | sizes))


@pytest.mark.parametrize(("data", "fsdp", "tensor"), [(3, 1, 1), (2, 2, 1), (-1, -1, 8), (0, 1, 1)])
def test_a_mesh_takes_exactly_the_devices_there_are(data, fsdp, tensor):
    with pytest.raises(InputError, match=r"there are 8 devices; .* whose product is 8"):
        make_mesh(data=data, fsdp=fsdp, tensor=tensor)


def test_fresh_parameters_are_made_where_they_will_live_and_do_not_depend_on_it():
    config, mesh = config_with(), make_mesh(data=2, fsdp=2, tensor=2)
    shardings = param_shardings(config, mesh)
    params = init(config, key=jax.random.key(0), shardings=shardings)
    jax.tree.map(lambda leaf, sharding: np.testing.assert_(leaf.sharding == sharding), params, shardings)
    # Biases follow their heads and normalization is on every device; all else is cut in four.
    sizes = {
        name: (leaf.size, leaf.addressable_shards[0].data.size)
        for name, leaf in params["model"]["layers"]["self_attn"]["q_proj"].items()
    }
    assert sizes == {"weight": (2 * 32 * 32, 2 * 16 * 16), "bias": (2 * 32, 2 * 16)}
    assert params["model"]["norm"]["weight"].sharding.is_fully_replicated
    jax.tree.map(np.testing.assert_array_equal, params, init(config, key=jax.random.key(0)))


def test_fresh_parameters_are_those_of_hugging_face():
    params = init(config_with(vocab_size=4096), key=jax.random.key(1))
    layers = params["model"]["layers"]
    assert np.std(params["model"]["embed_tokens"]["weight"]) == pytest.approx(0.02, rel=0.02)
    assert np.std(layers["mlp"]["up_proj"]["weight"][1]) == pytest.approx(0.02, rel=0.1)
    assert np.all(layers["input_layernorm"]["weight"] == 1)
    assert np.all(layers["self_attn"]["k_proj"]["bias"] == 0)
    # No two layers start alike.
    assert not np.any(layers["mlp"]["up_proj"]["weight"][0] == layers["mlp"]["up_proj"]["weight"][1])


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"vocab_size": 97}, "lm_head.weight, dimension 1 (vocab) has 97 parts, which mesh axis tensor"),
        (
            {"num_attention_heads": 6, "num_key_value_heads": 3},
            "k_proj.bias, dimension 1 (kv_heads) has 3 parts",
        ),
        ({"intermediate_size": 47}, "mlp.down_proj.weight, dimension 1 (mlp) has 47 parts"),
    ],
)
def test_what_does_not_divide_is_an_error_never_a_copy(sizes, told):
    with pytest.raises(InputError) as error:
        param_shardings(config_with(**sizes), make_mesh(data=2, fsdp=2, tensor=2))
    assert told in str(error.value)


def test_the_error_tells_the_sizes_that_fit():
    with pytest.raises(InputError, match=r"of size 8 does not divide; sizes that fit: 1, 2$"):
        param_shardings(config_with(), make_mesh(data=1, fsdp=1, tensor=8))


def test_the_rows_of_a_batch_are_spread_over_data_and_fsdp():
    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    placed = jax.device_put(np.zeros((8, 3, 5)), batch_sharding(mesh, rows=8))
    assert {shard.data.shape for shard in placed.addressable_shards} == {(2, 3, 5)}
    with pytest.raises(
        InputError, match=r"batch, dimension 0 \(rows\) has 6 parts, .* data x fsdp of size 4"
    ):
        batch_sharding(mesh, rows=6)
