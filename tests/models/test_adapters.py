"""Low-rank adapters: as `peft` computes them, trained alone, merged and exchanged in its format."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import transformers
from small import small_config, small_recipe, small_store, small_tokenizer

from socsci_jax.errors import InputError
from socsci_jax.model_export import export_run
from socsci_jax.model_io import open_model
from socsci_jax.models.adapters import (
    export_adapter,
    init_adapter,
    join,
    load_adapter,
    merge_adapter,
    quantize_base,
    read_adapter_config,
    split_adapter,
)
from socsci_jax.models.config import LINEAR_MAPS, AdapterConfig
from socsci_jax.models.huggingface import load_checkpoint
from socsci_jax.models.huggingface_export import source_of, write_checkpoint
from socsci_jax.models.modules import init
from socsci_jax.models.quantization import dequantize
from socsci_jax.models.sharding import make_mesh
from socsci_jax.models.slots import read_logits
from socsci_jax.training.checkpoint_reader import CheckpointReader
from socsci_jax.training.loop import train
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.run import RunFolder

# One program for all keys of dropout.
READ = jax.jit(read_logits, static_argnames=("config", "compute_dtype"))
ADAPTER = AdapterConfig(rank=3, alpha=6.0, targets=("q_proj", "v_proj", "down_proj"))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    store = small_store(folder / "store", studies=2, people=6)
    return store, small_tokenizer(store, folder / "tokenizer")


@pytest.fixture(scope="module")
def base(world, tmp_path_factory):
    """A folder in the Hugging Face format, its config and its parameters."""
    config = small_config(world[1], model_type="llama")
    params = init(config, key=jax.random.key(1))
    folder = tmp_path_factory.mktemp("base") / "model"
    write_checkpoint(source_of(params, config), config, folder, source_folder=world[1].folder)
    return folder, config, params


def lively(config):
    """An adapter whose B is not zero."""
    fresh = init_adapter(config, key=jax.random.key(2))
    return jax.tree.map(lambda w: w + 0.1 * jax.random.normal(jax.random.key(w.size), w.shape), fresh)


def logits(config, params, ids, **settings):
    every = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)
    rows = {"ids": ids, "position": every, "end": np.full_like(ids, ids.shape[1]), "read": every}
    return np.asarray(READ(params, rows, config=config, compute_dtype=jnp.float32, **settings))


def ids():
    return np.random.default_rng(0).integers(0, 300, (2, 64)).astype(np.int32)


def test_an_adapter_begins_as_its_base_and_merges_to_what_it_computes(base):
    _, config, params = base
    adapted = dataclasses.replace(config, adapter=ADAPTER)
    fresh = join(params, init_adapter(adapted, key=jax.random.key(2)))
    np.testing.assert_array_equal(logits(adapted, fresh, ids()), logits(config, params, ids()))

    changed = join(params, lively(adapted))
    apart = logits(adapted, changed, ids())
    assert np.abs(apart - logits(config, params, ids())).max() > 0.1
    np.testing.assert_allclose(logits(config, merge_adapter(changed, adapted), ids()), apart, atol=1e-4)


def test_only_the_maps_that_are_named_get_an_adapter(base):
    _, config, params = base
    adapter, rest = split_adapter(join(params, lively(dataclasses.replace(config, adapter=ADAPTER))))
    assert set(adapter["model"]["layers"]["self_attn"]) == {"q_proj", "v_proj"}
    assert set(adapter["model"]["layers"]["mlp"]) == {"down_proj"}
    assert jax.tree.structure(rest) == jax.tree.structure(params)


@pytest.mark.slow  # importing peft takes most of it
def test_an_exported_adapter_loads_in_peft_and_gives_our_logits(base, tmp_path):
    peft, torch = pytest.importorskip("peft"), pytest.importorskip("torch")
    folder, config, params = base
    adapted = dataclasses.replace(config, adapter=ADAPTER)
    adapter = lively(adapted)
    export_adapter(adapter, adapted, tmp_path / "adapter", base=str(folder))
    reference = peft.PeftModel.from_pretrained(
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), tmp_path / "adapter"
    ).eval()
    with torch.inference_mode():
        wanted = reference(torch.tensor(ids().astype(np.int64))).logits.numpy()
    np.testing.assert_allclose(logits(adapted, join(params, adapter), ids()), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.slow  # importing peft takes most of it
def test_an_adapter_made_by_peft_loads_here(base, tmp_path):
    peft, torch = pytest.importorskip("peft"), pytest.importorskip("torch")
    folder, config, params = base
    torch.manual_seed(0)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reference = peft.get_peft_model(model, settings).eval()
    reference.save_pretrained(tmp_path / "adapter")
    with torch.inference_mode():
        wanted = reference(torch.tensor(ids().astype(np.int64))).logits.numpy()

    adapter = read_adapter_config(tmp_path / "adapter")
    assert adapter == AdapterConfig(rank=4, alpha=8, targets=LINEAR_MAPS)
    adapted = dataclasses.replace(config, adapter=adapter)
    weights = load_adapter(tmp_path / "adapter", adapted)
    np.testing.assert_allclose(logits(adapted, join(params, weights), ids()), wanted, atol=1e-4, rtol=1e-4)


def test_what_is_exported_is_read_back_and_what_does_not_fit_is_named(base, tmp_path):
    folder, config, _ = base
    adapted = dataclasses.replace(config, adapter=ADAPTER)
    adapter = lively(adapted)
    out = tmp_path / "adapter"
    export_adapter(adapter, adapted, out, base=str(folder))
    assert read_adapter_config(out) == ADAPTER
    jax.tree.map(np.testing.assert_array_equal, load_adapter(out, adapted), adapter)

    more = dataclasses.replace(config, adapter=dataclasses.replace(ADAPTER, targets=LINEAR_MAPS))
    with pytest.raises(InputError, match=r"gate_proj.lora_A.weight is missing"):
        load_adapter(out, more)
    facts = json.loads((out / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps(facts | {"use_dora": True}))
    with pytest.raises(InputError, match="use_dora is True"):
        read_adapter_config(out)


def test_dropout_drops_in_training_alone_and_by_its_key(base):
    _, config, params = base
    adapted = dataclasses.replace(config, adapter=dataclasses.replace(ADAPTER, dropout=0.5))
    changed = join(params, lively(adapted))

    def with_key(number):
        return logits(adapted, changed, ids(), dropout_key=jax.random.key(number))

    none = logits(adapted, changed, ids())
    np.testing.assert_array_equal(with_key(0), with_key(0))
    assert np.abs(with_key(0) - with_key(1)).max() > 1e-3
    # Features that are dropped are made up for on average.
    mean = np.mean([with_key(number) for number in range(48)], axis=0)
    assert np.abs(mean - none).mean() < 0.35 * np.abs(with_key(0) - none).mean()


@pytest.mark.slow
def test_a_base_in_four_bits_computes_what_its_dequantized_weights_do(world):
    config = small_config(world[1], hidden_size=64, intermediate_size=128, num_attention_heads=8)
    params = init(config, key=jax.random.key(1))
    adapted = dataclasses.replace(config, adapter=dataclasses.replace(ADAPTER, base="nf4"))
    quantized = quantize_base(params, adapted)
    before, after = (tree["model"]["layers"]["mlp"]["up_proj"] for tree in (params, quantized))
    assert set(after) == {"codes", "scale"}
    assert after["codes"].dtype == jnp.uint4
    weights = np.asarray(before["weight"])
    error = np.abs(dequantize(after["codes"], after["scale"], dtype=jnp.float32) - weights)
    # The widest gap between NF4's sixteen values is 0.304 of a block's largest weight (Dettmers et al. 2023).
    largest = np.abs(weights.reshape(2, 1, 64, -1)).max(axis=2, keepdims=True)
    assert (error.reshape(2, 1, 64, -1) <= 0.1521 * largest).all()
    assert error.mean() < 0.12 * np.abs(weights).mean()

    changed = join(quantized, lively(adapted))
    apart = logits(adapted, changed, ids())
    np.testing.assert_allclose(logits(config, merge_adapter(changed, adapted), ids()), apart, atol=1e-4)


def test_inputs_that_blocks_do_not_divide_are_refused(base):
    _, config, params = base
    adapted = dataclasses.replace(config, adapter=dataclasses.replace(ADAPTER, base="nf4"))
    with pytest.raises(InputError, match="blocks of 64 do not divide"):
        quantize_base(params, adapted)


@pytest.mark.slow
def test_a_run_over_four_bits_learns_on_two_devices(world, tmp_path):
    store, _ = world
    model = small_recipe(store, tmp_path)["model"]
    wide = {"hidden_size": 64, "intermediate_size": 128}
    recipe = small_recipe(store, tmp_path / "run") | {
        "model": model | {"architecture": model["architecture"] | wide},
        "lora": {"rank": 4, "alpha": 8, "base": "nf4"},
        "objective": {"kind": "dpo"},
        "parallelism": {"fsdp": 2},
        "optimizer": {"epochs": 6, "learning_rate": 0.03},
        "checkpoints": {"every_steps": 1},
    }
    run = RunFolder(train(parse_recipe(recipe, where="test")))
    losses = [json.loads(line)["loss"] for line in run.metrics.read_text().splitlines()]
    # At the start the model is its own reference.
    np.testing.assert_allclose(losses[0], np.log(2), rtol=1e-5)
    assert losses[-1] < losses[0] - 0.01


@pytest.mark.slow
def test_a_run_trains_the_adapter_alone_and_exports_it_merged_or_as_it_is(world, base, tmp_path):
    store, _ = world
    folder, _, params = base

    def run(output, **changes):
        recipe = small_recipe(store, output) | {
            "model": {"init_from": str(folder)},
            "data": {"store": str(store.path), "split": "main", "max_tokens": 512},
            "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
            "checkpoints": {"every_steps": 1, "keep": 100},
        }
        return train(parse_recipe(recipe | changes, where="test"))

    whole = run(tmp_path / "whole")
    trained = open_model(str(whole)).params
    assert jax.tree.structure(trained) == jax.tree.structure(params)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), trained, params)
    assert moved["model"]["embed_tokens"]["weight"] == 0
    assert moved["model"]["layers"]["mlp"]["up_proj"]["weight"] > 1e-4

    export_run(whole, tmp_path / "merged")
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    jax.tree.map(
        np.testing.assert_array_equal, load_checkpoint(tmp_path / "merged", mesh=mesh).params, trained
    )
    export_run(whole, tmp_path / "adapter", adapter=True)
    jax.tree.map(np.testing.assert_array_equal, open_model(str(tmp_path / "adapter")).params, trained)

    # Stopped after its first step, a run resumes to equal bits.
    stopped_after(RunFolder(whole), step=1)
    assert run(tmp_path / "whole") == whole
    jax.tree.map(np.testing.assert_array_equal, open_model(str(whole)).params, trained)


def stopped_after(run: RunFolder, *, step: int) -> None:
    """Takes later checkpoints away."""
    checkpoints = CheckpointReader(run.checkpoints)
    for later in checkpoints.steps():
        if later > step:
            shutil.rmtree(run.checkpoints / str(later))
            (run.checkpoints / f"{later}.json").unlink()
    assert checkpoints.steps() == [step]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "pissa_niter_16"),
        ("init_lora_weights", "olora"),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", "corda"),
        ("init_lora_weights", 1),
        ("alora_invocation_tokens", [44, 21]),
        ("layer_replication", [[0, 1]]),
        ("exclude_modules", ["up_proj"]),
        ("trainable_token_indices", [1]),
        ("corda_config", {"x": 1}),
        ("a_key_of_tomorrow", "anything"),
    ],
)
def test_what_would_be_computed_differently_is_refused_by_name(tmp_path, key, value):
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], key: value}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=key):
        read_adapter_config(tmp_path)
