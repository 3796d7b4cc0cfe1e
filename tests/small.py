"""Small studies, tokenizers and recipes that several test files build on."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from socsci_jax.data.sentencepiece_training import train_sentencepiece
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.models.config import DecoderConfig
from socsci_jax.studies.fingerprints import TRAINED_ON_SCHEMA
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.schema import Item, Scale
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.store import StudyStore, manifest_hash
from socsci_jax.studies.store_builder import StoreBuilder
from socsci_jax.studies.trained_on import TRAINED_ON_FILE, TrainedOn

SCALE_1_5 = Scale.of_levels(range(1, 6), origin="stated")
SCALE_0_100 = Scale.of_levels(range(0, 101), origin="stated")
GENDERS = ("Female", "Male")
AGES = ("18-34", "35-64", "65 or older")


def small_item(study: str, condition: str, outcome: str, scale: Scale) -> Item:
    return Item(
        study_id=study,
        condition=condition,
        outcome=outcome,
        stimulus=f"In study {study} people read about plan {condition}, which costs money and time.\n\n",
        question=f"How do you feel about {outcome}? ",
        answer_format=f"Only return an integer from {scale.levels[0]} to {scale.levels[-1]}, nothing else.",
        scale=scale,
    )


def small_store(
    folder: Path,
    *,
    studies: int = 4,
    conditions: int = 3,
    people: int = 12,
    seed: int = 0,
    parks: Scale = SCALE_0_100,
) -> StudyStore:
    """Studies of `conditions` arms with two outcomes each (1 to 5, and `parks`), answered by `people` per arm."""
    rng = np.random.default_rng(seed)
    builder = StoreBuilder(attributes=("age", "gender"), source="small", license="CC0", command="test")
    scales = {"taxes": SCALE_1_5, "parks": parks}
    sample = 0
    for s in range(studies):
        builder.add_study(f"s{s}", title=f"Study number {s}")
        for c in range(conditions):
            ids = {
                name: builder.add_item(small_item(f"s{s}", f"c{c}", name, scale))
                for name, scale in scales.items()
            }
            for p in range(people):
                person = f"{c}-{p}"
                builder.add_participant(
                    f"s{s}", person, {"age": AGES[rng.integers(3)], "gender": GENDERS[rng.integers(2)]}
                )
                for name, item_id in ids.items():
                    value = int(rng.choice(scales[name].levels))
                    builder.add_response(item_id, person, value, sample_id=sample)
                    sample += 1
    store = builder.write(folder)
    make_split(store, name="main", seed=0, studies=0.25, conditions=0.34, participants=0.2).save()
    return store


def small_tokenizer(store: StudyStore, folder: Path) -> Tokenizer:
    texts = [item.text for item in store.item_by_id.values()] + [str(n) for n in range(101)]
    return load_tokenizer(train_sentencepiece(texts, folder, vocab_size=400))


def small_config(vocabulary: Tokenizer | int, **changes) -> DecoderConfig:
    """Two layers of width 32, for the vocabulary of a tokenizer or for so many tokens."""
    size = vocabulary if isinstance(vocabulary, int) else -(-vocabulary.vocab_size // 64) * 64
    settings = dict(
        model_type="qwen3",
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    return DecoderConfig(**settings | changes)


def small_recipe(store: StudyStore, output: Path, **changes) -> dict:
    """A recipe that trains in seconds; `changes` replace whole blocks."""
    return {
        "name": "small",
        "output": str(output),
        "hardware": "1xcpu",
        "model": {
            "init_from": "random",
            "tokenizer": "train",
            "vocab_size": 400,
            "architecture": {
                "model_type": "qwen3",
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
            },
        },
        "data": {"store": str(store.path), "split": "main"},
        "batch": {"rows": 8, "tokens_per_row": 512, "branches_per_tree": 4},
        "optimizer": {"epochs": 2, "learning_rate": 1e-2},
        "checkpoints": {"every_steps": 2},
        **changes,
    }


def write_run_metadata(folder: Path, **metadata) -> None:
    """run.json of a run that has seen nothing, and the file that says so."""
    nothing = TrainedOn(pl.DataFrame(pl.from_arrow(TRAINED_ON_SCHEMA.empty_table())))
    nothing.write(folder / TRAINED_ON_FILE)
    told = {
        "run_id": "0",
        "recipe_hash": "1",
        "store_hash": "2",
        "split_hash": "3",
        "tokenizer_hash": "4",
        "layout": STUDY_FIRST.to_dict(),
        "trained_on_hash": nothing.digest,
    }
    (folder / "run.json").write_text(json.dumps(told | metadata))


@functools.cache
def tokenizer_folder() -> Path:
    """A trained tokenizer of few pieces, made once for all tests of a process."""
    folder = Path(tempfile.mkdtemp(prefix="tokenizer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    texts = [
        STUDY_FIRST.shared_text(item=small_item("s", "c", "taxes", SCALE_1_5)),
        STUDY_FIRST.own,
        STUDY_FIRST.system,
    ]
    train_sentencepiece(texts, folder, vocab_size=320)
    return folder


def rehash(path: Path) -> None:
    """As if the files had been written so with the store."""
    manifest = json.loads((path / "store.json").read_text())
    for table in path.glob("*.parquet"):
        manifest["files"][table.name] = hashlib.sha256(table.read_bytes()).hexdigest()
    manifest["manifest_hash"] = manifest_hash(manifest)
    (path / "store.json").write_text(json.dumps(manifest))
