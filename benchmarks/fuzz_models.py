"""The fuzzed readers of recipes, runs, models, tokenizers and what processes send each other."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from benchmarks.fuzz_readers import Reader

# --- recipes, specifications, runs ------------------------------------------------------------------------------------


def _make_recipe(folder: Path) -> None:
    recipes = Path(__file__).resolve().parent.parent / "recipes"
    (folder / "recipe.yaml").write_bytes((recipes / "tiny.yaml").read_bytes())
    (folder / "above.yaml").write_text("extends: recipe.yaml\noptimizer: {epochs: 2}\n")
    (folder / "override.txt").write_text("optimizer.epochs=3")


def _read_recipe(folder: Path) -> object:
    from socsci_jax.training.recipe_files import load_recipe

    override = (folder / "override.txt").read_bytes().decode(errors="surrogateescape")
    return load_recipe(folder / "above.yaml", [override])


def _make_run(folder: Path) -> None:
    from socsci_jax.training.recipe_files import load_recipe

    _make_recipe(folder)
    (folder / "recipe.yaml").write_text(load_recipe(folder / "above.yaml").rendered())
    from socsci_jax.studies.layouts import STUDY_FIRST

    (folder / "run.json").write_text(json.dumps({"run_id": "a", "layout": STUDY_FIRST.to_dict()}))
    _make_config(folder)


def _read_run(folder: Path) -> object:
    from socsci_jax.training.run import RunFolder

    run = RunFolder(folder)
    return run.recipe, run.layout, run.config


def _make_specification(folder: Path) -> None:
    tree = {
        "study": "kites",
        "factors": {"sign": {"levels": {"no": {}, "yes": {"text": "A sign says no kites."}}}},
        "outcomes": {"anger": {"question": "How angry?", "scale": {"levels": {1: "Calm", 2: "Angry"}}}},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


def _read_specification(folder: Path) -> object:
    from socsci_jax.studies.specification_files import load_specification

    return load_specification(folder / "study.yaml")


def _make_layout(folder: Path) -> None:
    from socsci_jax.studies.layouts import STUDY_FIRST

    (folder / "layout.json").write_text(json.dumps(STUDY_FIRST.to_dict()))


def _read_layout(folder: Path) -> object:
    from socsci_jax.studies.layouts import load_layout

    return load_layout(folder / "layout.json")


# --- models -----------------------------------------------------------------------------------------------------------


def _make_config(folder: Path) -> None:
    rope = {
        **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        "original_max_position_embeddings": 8192,
    }
    config = {
        **{
            "model_type": "llama",
            "vocab_size": 64,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
        },
        **{
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "rms_norm_eps": 1e-6,
        },
        **{"rope_theta": 10000.0, "rope_scaling": rope, "tie_word_embeddings": True, "eos_token_id": [1, 2]},
    }
    (folder / "config.json").write_text(json.dumps(config))


def _make_weights(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    from socsci_jax.models.config_files import from_huggingface
    from socsci_jax.models.huggingface import stored_tensors

    _make_config(folder)
    tensors = {
        name: np.zeros(tensor.shape, np.float32)
        for tensor in stored_tensors(from_huggingface(folder))
        for name in tensor.names
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _read_weights(folder: Path) -> None:
    from socsci_jax.models.config_files import from_huggingface
    from socsci_jax.models.huggingface import locate_model

    _, located = locate_model(folder, from_huggingface(folder), one_dtype=False)
    for tensor in located.values():
        for _ in tensor.blocks():
            pass


def _make_adapter(folder: Path) -> None:
    settings = {
        **{"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "org/base", "r": 4},
        **{"lora_alpha": 8, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"], "bias": "none"},
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def _read_adapter(folder: Path) -> object:
    from socsci_jax.models.adapters import base_of_adapter, read_adapter_config

    return base_of_adapter(folder), read_adapter_config(folder)


def _make_tokenizer(folder: Path) -> None:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(letters)} | {"on": 256, "tw": 257}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, [("o", "n"), ("t", "w")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|end|>"])
    backend.save(str(folder / "tokenizer.json"))
    template = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}"
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": {"content": "<|end|>"}, "chat_template": template})
    )


def _read_tokenizer(folder: Path) -> None:
    from socsci_jax.data.tokenizer_loading import load_tokenizer

    tokenizer = load_tokenizer(folder)
    tokenizer.decode(tokenizer.encode("one two 3\n"))


def _read_template(folder: Path) -> None:
    from socsci_jax.data.tokenizer_loading import load_tokenizer

    load_tokenizer(folder).prompt_template(system="Be kind.")


def _make_gguf(folder: Path) -> None:
    import gguf
    import numpy as np
    from tokenizers import pre_tokenizers

    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    numbers = {
        **{"block_count": 1, "context_length": 64, "embedding_length": 16, "feed_forward_length": 32},
        **{
            "attention.head_count": 4,
            "attention.head_count_kv": 2,
            "vocab_size": 259,
            "rope.dimension_count": 4,
        },
    }
    for key, number in numbers.items():
        writer.add_uint32(f"llama.{key}", number)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_string("tokenizer.ggml.model", "gpt2")
    writer.add_string("tokenizer.ggml.pre", "llama-bpe")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    writer.add_array("tokenizer.ggml.tokens", [*letters, "on", "tw", "<|end|>"])
    writer.add_array("tokenizer.ggml.token_type", [1] * 258 + [3])
    writer.add_array("tokenizer.ggml.merges", ["o n", "t w"])
    writer.add_uint32("tokenizer.ggml.eos_token_id", 258)
    shapes = {
        **{"token_embd": (259, 16), "output_norm": (16,), "blk.0.attn_norm": (16,), "blk.0.ffn_norm": (16,)},
        **{"blk.0.attn_q": (16, 16), "blk.0.attn_k": (8, 16), "blk.0.attn_v": (8, 16)},
        **{"blk.0.attn_output": (16, 16), "blk.0.ffn_gate": (32, 16), "blk.0.ffn_up": (32, 16)},
        **{"blk.0.ffn_down": (16, 32), "output": (259, 16)},
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read_gguf(folder: Path) -> None:
    from socsci_jax.data.tokenizer_loading import load_tokenizer
    from socsci_jax.gguf_header import read_header
    from socsci_jax.models.gguf_model import gguf_config
    from socsci_jax.models.huggingface import locate_model

    file = folder / "model.gguf"
    load_tokenizer(file).encode("one two\n")
    _, located = locate_model(file, gguf_config(read_header(file)), one_dtype=False)
    for tensor in located.values():
        for _ in tensor.blocks():
            pass


def _config_of(folder: Path) -> object:
    from socsci_jax.models.config_files import from_huggingface

    return from_huggingface(folder)


# --- other processes --------------------------------------------------------------------------------------------------


def _make_messages(folder: Path) -> None:
    messages = [
        {"gather": 0, "value": {"a": 1}},
        {"end": "over", "status": 2, "stacks": False},
        {"leave": True},
    ]
    (folder / "messages").write_bytes(b"\n".join(json.dumps(message).encode() for message in messages))


def _read_messages(folder: Path) -> None:
    """What is sent by somebody who knows the secret, and what by somebody who does not."""
    from socsci_jax.distributed.meeting import _is_hello
    from socsci_jax.distributed.peers import _is_message
    from socsci_jax.errors import InputError
    from socsci_jax.reading import parse_json_object

    for line in (folder / "messages").read_bytes().split(b"\n"):
        try:
            message = parse_json_object(line, where="message", finite=False)
        except InputError:
            continue
        _is_message(message)
        _is_hello(message)


MODEL_READERS = (
    Reader("recipe", _make_recipe, _read_recipe),
    Reader("run", _make_run, _read_run),
    Reader("specification", _make_specification, _read_specification),
    Reader("layout", _make_layout, _read_layout),
    Reader("model-config", _make_config, _config_of),
    Reader("weights", _make_weights, _read_weights),
    Reader("adapter", _make_adapter, _read_adapter),
    Reader("gguf", _make_gguf, _read_gguf),
    Reader("tokenizer", _make_tokenizer, _read_tokenizer),
    Reader("chat-template", _make_tokenizer, _read_template),
    Reader("messages", _make_messages, _read_messages),
)
