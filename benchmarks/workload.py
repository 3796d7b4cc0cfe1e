"""What the benchmarks run on: a workload folder that both sides read.

    store/, tokenizer/      the study store and its tokenizer
    model/                  random weights in the Hugging Face format
    train.npz               training responses, shuffled, one prompt and answer each (for the peers)
    score-LEVELS-PEOPLE.npz held-out people of some items (for the peers)

Made once for a (workload, shape) and used again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import polars as pl

import data_pipelines
from socsci_jax.data.prompt_table import PromptTable, tokenize_prompts
from socsci_jax.data.sentencepiece_training import train_sentencepiece
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.config_files import to_huggingface
from socsci_jax.models.huggingface_export import source_of, write_checkpoint
from socsci_jax.models.modules import init
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.schema import SCHEMA_VERSION, format_value
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore

# The two shapes of the peers' own measurements; `small` is Qwen2.5-0.5B.
SHAPES = {
    "tiny": dict(hidden_size=256, intermediate_size=704, num_hidden_layers=4, num_attention_heads=8),
    "small": dict(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14),
}
PEER_EXAMPLES = 1024


def workload(root: Path, *, shape: str, source: str, tokenizer: Path | None) -> Path:
    """The folder for a deposit (`source`: a TESS archive, or "synthetic") and a shape, made if it is not there."""
    folder = root / f"{'synthetic' if source == 'synthetic' else 'tess'}-{shape}"
    ready, version = folder / "ready", f"study store {SCHEMA_VERSION}\n"
    if ready.is_file() and ready.read_text() == version:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kind = "synthetic" if source == "synthetic" else "tess_archive"
    origin = "demonstration" if source == "synthetic" else source
    store = data_pipelines.build(kind, origin, folder / "store", command="benchmark")
    split = make_split(store, name="main", seed=0, studies=0.15, conditions=0.25, participants=0.1)
    split.save()
    tok = _tokenizer(store, folder / "tokenizer", shape=shape, given=tokenizer)
    config = model_config(SHAPES[shape], tok, vocab_size=8192 if shape == "tiny" else 151_936)
    dtype = "float32" if shape == "tiny" else "bfloat16"
    params = init(config, key=jax.random.key(0), param_dtype=dtype)
    companions = {p.name: p.read_bytes() for p in (folder / "tokenizer").iterdir() if p.is_file()}
    write_checkpoint(
        source_of(params, config),
        config,
        folder / "model",
        config_json=json.dumps(to_huggingface(config)).encode(),
        extra_files=companions,
    )
    _write_training_examples(store, split, tok, folder / "train.npz")
    for levels, allowed in (("few", range(2, 12)), ("101", (101,))):
        # The slow peers are timed on fewer people of the same items.
        for people in (8, 40, 400):
            _write_scoring_requests(
                store, split, tok, folder / f"score-{levels}-{people}.npz", levels=allowed, people=people
            )
    ready.write_text(version)
    return folder


def _tokenizer(store: StudyStore, out: Path, *, shape: str, given: Path | None) -> Tokenizer:
    """Qwen's own for its shape; the tiny one has a vocabulary of 8,192, as the peers' tiny model has."""
    if shape == "tiny":
        texts = [STUDY_FIRST.shared_text(item=item) for item in store.item_by_id.values()]
        people = store.participants.unique("attributes")["attributes"].to_list()
        texts += [STUDY_FIRST.own_text(attributes=attributes) for attributes in people]
        train_sentencepiece(texts + [str(n) for n in range(101)], out, vocab_size=8192)
    else:
        shutil.copytree(given, out)
    return load_tokenizer(out)


def model_config(sizes: dict[str, int], tokenizer: Tokenizer, *, vocab_size: int) -> DecoderConfig:
    return DecoderConfig(
        model_type="qwen2",
        vocab_size=vocab_size,
        num_key_value_heads=2,
        head_dim=sizes["hidden_size"] // sizes["num_attention_heads"],
        rope_theta=1_000_000.0,
        max_position_embeddings=32_768,
        tie_word_embeddings=True,
        eos_token_id=(tokenizer.end_of_answer_id,),
        **sizes,
    )


def _write_training_examples(store: StudyStore, split: Split, tokenizer: Tokenizer, out: Path) -> None:
    train = split.training_responses().sample(fraction=1.0, shuffle=True, seed=0).head(PEER_EXAMPLES)
    table = tokenize_prompts(Pairs.of_store(store, train), layout=STUDY_FIRST, tokenizer=tokenizer)
    answers = tokenizer.encode_batch([format_value(value) for value in train["value"]])
    np.savez(
        out,
        **ragged("prompt", _whole_prompts(table)),
        **ragged("answer", [[*answer, tokenizer.end_of_answer_id] for answer in answers]),
    )


def _write_scoring_requests(
    store: StudyStore,
    split: Split,
    tokenizer: Tokenizer,
    out: Path,
    *,
    levels,
    people: int,
    items: int = 6,
) -> None:
    """Some held-out items with so many levels, and the first people of each."""
    pairs = scoring_pairs(store, split, levels=levels, people=people, items=items)
    if pairs.is_empty():
        return
    table = tokenize_prompts(Pairs.of_store(store, pairs), layout=STUDY_FIRST, tokenizer=tokenizer)
    item_ids = pairs["item_id"].unique(maintain_order=True).to_list()
    answers, starts = [], [0]
    for item_id in item_ids:
        texts = [str(level) for level in store.item_by_id[item_id].scale.levels]
        answers += [[*ids, tokenizer.end_of_answer_id] for ids in tokenizer.encode_batch(texts)]
        starts.append(len(answers))
    item = pl.Series(item_ids).to_frame("item_id").with_row_index("item")
    np.savez(
        out,
        **ragged("prefix", [table.prefixes[p] for p in dict.fromkeys(table.pair_prefix.tolist())]),
        **ragged("own", [table.prompts[p] for p in table.pair_prompt]),
        item=pairs.join(item, on="item_id", how="left", maintain_order="left")["item"]
        .to_numpy()
        .astype(np.int32),
        **ragged("answer", answers),
        item_answers=np.array(starts, np.int64),
        eos_id=tokenizer.end_of_answer_id,
    )


def scoring_pairs(store: StudyStore, split: Split, *, levels, people: int, items: int) -> pl.DataFrame:
    """Held-out (item, participant) pairs of items with one of so many levels."""
    pairs = split.pairs("unseen_conditions", "unseen_studies").frame
    fitting = [
        item_id
        for item_id in pairs["item_id"].unique(maintain_order=True)
        if len(store.item_by_id[item_id].scale.levels) in levels
    ]
    chosen = np.random.default_rng(0).permutation(len(fitting))[:items]
    keep = [fitting[i] for i in chosen]
    return pairs.filter(pl.col("item_id").is_in(keep)).group_by("item_id", maintain_order=True).head(people)


def _whole_prompts(table: PromptTable) -> list[np.ndarray]:
    return [
        np.concatenate([table.prefixes[prefix], table.prompts[prompt]])
        for prefix, prompt in zip(table.pair_prefix, table.pair_prompt)
    ]


def ragged(name: str, sequences: list) -> dict[str, np.ndarray]:
    return {
        f"{name}_ids": np.concatenate([np.asarray(ids, np.int32) for ids in sequences]),
        f"{name}_offsets": np.cumsum([0, *map(len, sequences)]).astype(np.int64),
    }
