"""What stands before the first step: everything that can be wrong is checked here, before any device work."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
from typing import Any

import jax
import polars as pl

from socsci_jax.data.rationales import Rationales, read_rationales
from socsci_jax.data.shards import TreeShards, build_shards
from socsci_jax.data.targets import ANSWERS, Targets
from socsci_jax.data.tokenizers import Tokenizer, load_tokenizer, train_sentencepiece
from socsci_jax.errors import InputError
from socsci_jax.hub import resolve_folder
from socsci_jax.models.config import DecoderConfig, to_huggingface
from socsci_jax.models.huggingface import CHECKPOINT_FILES, read_config_json
from socsci_jax.models.sharding import Mesh, make_mesh, micro_batch_sharding, param_shardings
from socsci_jax.progress import progress
from socsci_jax.studies.prompts import Layout, load_layout
from socsci_jax.studies.schema import format_value
from socsci_jax.studies.splits import Split, Subset
from socsci_jax.studies.store import StudyStore
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.run import RunFolder, copy_tokenizer, run_folder, software_versions
from socsci_jax.training.validator import Validator

# Travels with the tokenizer's files: how `transformers` ends and pads what the model writes.
GENERATION_CONFIG = "generation_config.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """All that a run needs besides its state; `batch_sharding` is that of arrays [micro-batches, rows, ...]."""

    run: RunFolder
    mesh: Mesh
    batch_sharding: jax.sharding.NamedSharding
    config: DecoderConfig
    tokenizer: Tokenizer
    shards: TreeShards
    validator: Validator | None


def prepare(recipe: Recipe) -> Prepared:
    """Checks recipe, data, tokenizer, model and mesh; makes the run's folder and the training shards.

    Doing it again changes nothing.  Raises InputError, and leaves no run folder behind, for anything wrong.
    """
    store = StudyStore(recipe.data.store)
    split = Split.load(store, recipe.data.split)
    layout = load_layout(recipe.data.layout, alternatives=recipe.data.alternatives)
    # Fails here, and not after an hour of tokenizing, if the split holds what was to be left out.
    train_part = split.training_responses(
        store, leave_out=recipe.data.leave_out_studies, subset=_subset(recipe)
    )
    _rationales(recipe)
    mesh = recipe_mesh(recipe)
    batch_sharding = micro_batch_sharding(mesh, rows=recipe.batch.rows // recipe.batch.micro_batches)
    with run_folder(recipe.output) as run:
        tokenizer = run_tokenizer(recipe, run, store, train_part, layout)
        config = _config(recipe, run, tokenizer)
        tokenizer.check_fits(config.vocab_size)
        if recipe.data.max_tokens > config.max_position_embeddings:
            raise InputError(
                f"data.max_tokens = {recipe.data.max_tokens} is more than the model's max_position_embeddings = "
                f"{config.max_position_embeddings}; lower it."
            )
        config = dataclasses.replace(config, adapter=recipe.adapter)
        param_shardings(config, mesh)  # raises if a dimension does not divide
        validator = _validator(recipe, store, split, layout, tokenizer)
        run.begin(recipe, facts=_facts(recipe, store, split, train_part, layout, tokenizer))
    shards = training_shards(recipe, store, split, layout, tokenizer)
    rejected = shards.facts["rejected"]
    if rejected and jax.process_index() == 0:
        print(f"{rejected} prompts or items are left out; see {shards.folder / 'rejects.csv'}")
    return Prepared(
        run=RunFolder(recipe.output),
        mesh=mesh,
        batch_sharding=batch_sharding,
        config=config,
        tokenizer=tokenizer,
        shards=shards,
        validator=validator,
    )


def recipe_mesh(recipe: Recipe) -> Mesh:
    """The mesh that a recipe asks for.

    On one CPU host it takes as many devices as it needs; on accelerators all of them must be used.
    """
    sizes = recipe.parallelism.model_dump()
    devices = jax.devices()
    if devices[0].platform == "cpu" and jax.process_count() == 1:
        devices = devices[: math.prod(sizes.values())]
    return make_mesh(**sizes, devices=devices)


def run_tokenizer(
    recipe: Recipe, run: RunFolder, store: StudyStore, train_part: pl.DataFrame, layout: Layout
) -> Tokenizer:
    """The run's own copy if it has begun, else the recipe's, copied into the run."""
    if run.tokenizer.is_dir():
        return load_tokenizer(run.tokenizer)
    if recipe.model.tokenizer == "train":
        train_sentencepiece(
            _training_texts(store, train_part, layout), run.tokenizer, vocab_size=recipe.model.vocab_size
        )
    else:
        source = load_tokenizer(recipe.model.tokenizer or recipe.model.init_from)
        copy_tokenizer(source, run.tokenizer)
    return load_tokenizer(run.tokenizer)


def _training_texts(store: StudyStore, train_part: pl.DataFrame, layout: Layout) -> list[str]:
    """What the trained part says, each text once and sorted; nothing held out shapes the vocabulary."""
    people = train_part.select("study_id", "participant_id").unique()
    personas = people.join(store.participants, on=["study_id", "participant_id"], how="left")["attributes"]
    items = [store.item_by_id[item_id] for item_id in train_part["item_id"].unique()]
    of_items, of_personas = (
        (layout.shared_text, layout.own_text)
        if layout.shared_by == "item"
        else (layout.own_text, layout.shared_text)
    )
    texts = {of_items(item=item) for item in items}
    texts |= {of_personas(attributes=attributes) for attributes in personas}
    texts |= {format_value(value) for value in train_part["value"].unique()}
    return sorted(texts)


def _config(recipe: Recipe, run: RunFolder, tokenizer: Tokenizer) -> DecoderConfig:
    """The decoder's shape; its config.json is written, or copied byte for byte, into the run."""
    if run.model_config.is_file():
        return run.config()
    if recipe.model.init_from != "random":
        source = resolve_folder(recipe.model.init_from, allow_patterns=CHECKPOINT_FILES)
        run.model_config.write_bytes(read_config_json(source))
        config = run.config()
        if (source / GENERATION_CONFIG).is_file():
            shutil.copyfile(source / GENERATION_CONFIG, run.tokenizer / GENERATION_CONFIG)
        return config
    config = dataclasses.replace(
        random_config(recipe, vocab_size=tokenizer.vocab_size), eos_token_id=(tokenizer.end_of_answer_id,)
    )
    run.model_config.write_text(json.dumps(to_huggingface(config), indent=2) + "\n")
    generation = {"eos_token_id": tokenizer.end_of_answer_id, "pad_token_id": tokenizer.pad_id}
    (run.tokenizer / GENERATION_CONFIG).write_text(json.dumps(generation, indent=2) + "\n")
    return config


def random_config(recipe: Recipe, *, vocab_size: int) -> DecoderConfig:
    """The decoder's shape of a random start, for a tokenizer of so many tokens."""
    architecture = recipe.model.architecture.model_dump()
    if recipe.model.tokenizer == "train" and architecture["model_type"] == "qwen2":
        raise InputError(
            "model.architecture.model_type: a trained SentencePiece tokenizer does not go with qwen2, because "
            "transformers reads every tokenizer of a qwen2 model as Qwen's own; take qwen3 or llama."
        )
    if architecture["head_dim"] is None:
        architecture["head_dim"] = architecture["hidden_size"] // architecture["num_attention_heads"]
    # A multiple of 64 can be cut over the devices of a tensor axis.
    return DecoderConfig(**architecture, vocab_size=-(-vocab_size // 64) * 64)


def _subset(recipe: Recipe) -> Subset | None:
    chosen = recipe.data.subset
    return None if chosen is None else Subset(**chosen.model_dump())


def _rationales(recipe: Recipe) -> Rationales | None:
    if recipe.data.rationales is None:
        return None
    return read_rationales(recipe.data.rationales, end=recipe.data.rationale_end)


def training_shards(
    recipe: Recipe, store: StudyStore, split: Split, layout: Layout, tokenizer: Tokenizer
) -> TreeShards:
    """The training part as prompt trees, made if they are not there yet."""
    with progress("tokenize", total=1) as report:

        def show(done: int, total: int) -> None:
            report.total = total
            report.update(done)

        folder = build_shards(
            store,
            split,
            tokenizer=tokenizer,
            layout=layout,
            root=store.path / "shards",
            sharing=recipe.data.sharing,
            max_tokens=recipe.data.max_tokens,
            targets=_targets(recipe),
            rationales=_rationales(recipe),
            leave_out=recipe.data.leave_out_studies,
            subset=_subset(recipe),
            progress=show,
        )
    return TreeShards(folder)


def _validator(
    recipe: Recipe, store: StudyStore, split: Split, layout: Layout, tokenizer: Tokenizer
) -> Validator | None:
    if recipe.validation is None:
        return None
    return Validator(
        store,
        split,
        layout=layout,
        tokenizer=tokenizer,
        responses=recipe.validation.responses,
        seed=recipe.seed,
        longest=recipe.data.max_tokens,
    )


def _targets(recipe: Recipe) -> Targets:
    objective = recipe.objective
    if objective.kind == "dpo":
        return Targets(kind="pairs", pairs_per_response=objective.pairs_per_response or 1, seed=recipe.seed)
    if objective.kind in ("soft", "wasserstein"):
        in_order = objective.kind == "wasserstein"
        return Targets(kind="distributions", condition_on=objective.condition_on or (), in_order=in_order)
    return ANSWERS


def _facts(
    recipe: Recipe,
    store: StudyStore,
    split: Split,
    train_part: pl.DataFrame,
    layout: Layout,
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    answers = train_part.select("item_id", "participant_id", "sample_id").sort(pl.all())
    return {
        "recipe_hash": recipe.digest,
        "store_hash": store.content_hash,
        "split": split.name,
        "split_hash": split.content_hash,
        "tokenizer_hash": tokenizer.content_hash,
        "layout": layout.to_dict(),
        "trained_studies": sorted(train_part["study_id"].unique()),
        "trained_responses": train_part.height,
        "trained_responses_hash": hashlib.sha256(answers.write_csv().encode()).hexdigest(),
        "software": software_versions(),
    }
