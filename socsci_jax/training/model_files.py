"""Tokenizer and shape of a run's model: taken from the recipe once, then from the run's own folder."""

from __future__ import annotations

import dataclasses
import json
import shutil

from socsci_jax.data.sentencepiece_training import train_sentencepiece
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.errors import InputError
from socsci_jax.hub import resolve_folder
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.config_files import to_huggingface
from socsci_jax.models.huggingface import CHECKPOINT_FILES, read_config_json
from socsci_jax.training.inputs import TrainingInputs
from socsci_jax.training.recipe_blocks import ModelConfig
from socsci_jax.training.run import RunFolder, copy_tokenizer

# Travels with the tokenizer's files: how `transformers` ends and pads what the model writes.
GENERATION_CONFIG = "generation_config.json"


def run_tokenizer(model: ModelConfig, run: RunFolder, inputs: TrainingInputs) -> Tokenizer:
    """The run's own copy if it has begun, else the recipe's, copied into the run."""
    if run.tokenizer.is_dir():
        return load_tokenizer(run.tokenizer)
    if model.tokenizer == "train":
        train_sentencepiece(inputs.texts(), run.tokenizer, vocab_size=model.vocab_size)
    else:
        copy_tokenizer(load_tokenizer(model.tokenizer or model.init_from), run.tokenizer)
    return load_tokenizer(run.tokenizer)


def run_config(model: ModelConfig, run: RunFolder, tokenizer: Tokenizer) -> DecoderConfig:
    """The decoder's shape; its config.json is written, or copied byte for byte, into the run."""
    if run.model_config.is_file():
        return run.config()
    if model.init_from != "random":
        source = resolve_folder(model.init_from, allow_patterns=CHECKPOINT_FILES)
        run.model_config.write_bytes(read_config_json(source))
        config = run.config()
        if (source / GENERATION_CONFIG).is_file():
            shutil.copyfile(source / GENERATION_CONFIG, run.tokenizer / GENERATION_CONFIG)
        return config
    config = dataclasses.replace(
        random_config(model, vocab_size=tokenizer.vocab_size), eos_token_id=(tokenizer.end_of_answer_id,)
    )
    run.model_config.write_text(json.dumps(to_huggingface(config), indent=2) + "\n")
    generation = {"eos_token_id": tokenizer.end_of_answer_id, "pad_token_id": tokenizer.pad_id}
    (run.tokenizer / GENERATION_CONFIG).write_text(json.dumps(generation, indent=2) + "\n")
    return config


def random_config(model: ModelConfig, *, vocab_size: int) -> DecoderConfig:
    """The decoder's shape of a random start, for a tokenizer of so many tokens."""
    architecture = model.architecture.model_dump()
    if model.tokenizer == "train" and architecture["model_type"] == "qwen2":
        raise InputError(
            "model.architecture.model_type: a trained SentencePiece tokenizer does not go with qwen2, because "
            "transformers reads every tokenizer of a qwen2 model as Qwen's own; take qwen3 or llama."
        )
    if architecture["head_dim"] is None:
        architecture["head_dim"] = architecture["hidden_size"] // architecture["num_attention_heads"]
    # A multiple of 64 can be cut over the devices of a tensor axis.
    return DecoderConfig(**architecture, vocab_size=-(-vocab_size // 64) * 64)
