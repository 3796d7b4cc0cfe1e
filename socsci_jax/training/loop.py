"""The training loop: everything is checked first, then data, state and position come together, then steps."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import polars as pl

from socsci_jax.compilation import keep_compiled_programs
from socsci_jax.data.loader import PlannedTrees, batches
from socsci_jax.data.plan import BatchPlan
from socsci_jax.data.shards import TreeShards, build_shards
from socsci_jax.data.tokenizers import Tokenizer, load_tokenizer, train_sentencepiece
from socsci_jax.errors import InputError
from socsci_jax.hub import resolve_folder
from socsci_jax.models.config import DecoderConfig, from_huggingface, to_huggingface
from socsci_jax.models.huggingface import CHECKPOINT_FILES, load_checkpoint
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, micro_batch_sharding, param_shardings
from socsci_jax.progress import progress
from socsci_jax.studies.prompts import Layout, load_layout
from socsci_jax.studies.schema import format_value
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store import StudyStore
from socsci_jax.training.checkpoint import Checkpoints
from socsci_jax.training.optimizer import learning_rate_schedule, make_optimizer
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.run import RunFolder, copy_tokenizer, run_folder, software_versions
from socsci_jax.training.step import initial_state, state_shardings, train_step

# Figures are fetched from the device this many steps apart: each fetch waits for the device.
LOG_EVERY = 10


def train(recipe: Recipe) -> Path:
    """Trains, or goes on where an earlier run of the same recipe stopped; returns the run's folder.

    Raises InputError for anything wrong with recipe, data, tokenizer, model or mesh before any step is taken.
    """
    keep_compiled_programs()
    store = StudyStore(recipe.data.store)
    split = Split.load(store, recipe.data.split)
    layout = load_layout(recipe.data.layout)
    # Fails here, and not after an hour of tokenising, if the split holds what was to be left out.
    train_part = split.training_responses(store, leave_out=recipe.data.leave_out_studies)
    mesh = make_mesh(**recipe.parallelism.model_dump(), devices=_devices(recipe))
    per_micro_batch = recipe.batch.trees // recipe.batch.micro_batches
    batch_sharding = micro_batch_sharding(mesh, trees=per_micro_batch)
    with run_folder(recipe.output) as run:
        tokenizer = _tokenizer(recipe, run, store, train_part, layout)
        config = _config(recipe, run, tokenizer)
        tokenizer.check_fits(config.vocab_size)
        if recipe.data.max_tokens > config.max_position_embeddings:
            raise InputError(
                f"data.max_tokens = {recipe.data.max_tokens} is more than the model's max_position_embeddings = "
                f"{config.max_position_embeddings}; lower it."
            )
        param_shardings(config, mesh)  # raises if a dimension does not divide
        run.begin(recipe, facts=_facts(recipe, store, split, train_part, layout, tokenizer))
    run = RunFolder(recipe.output)

    shards = _shards(recipe, store, split, layout, tokenizer)
    plan = BatchPlan(
        shards.lengths,
        trees=recipe.batch.trees,
        branches_per_tree=recipe.batch.branches_per_tree,
        seed=recipe.seed,
        prefix_buckets=recipe.batch.prefix_buckets,
        branch_buckets=recipe.batch.branch_buckets,
    )
    total_steps = max(1, math.ceil(recipe.optimizer.epochs * plan.steps_per_epoch))
    optimizer = make_optimizer(recipe.optimizer, total_steps=total_steps)
    schedule = learning_rate_schedule(recipe.optimizer, total_steps=total_steps)
    step_function = jax.jit(
        functools.partial(
            train_step,
            optimizer=optimizer,
            config=config,
            compute_dtype=jnp.dtype(recipe.model.compute_dtype),
            remat=recipe.model.rematerialisation,
        ),
        donate_argnums=0,
    )

    checkpoints = Checkpoints(run.checkpoints, keep=recipe.checkpoints.keep)
    try:
        with jax.set_mesh(mesh):
            state, first_step = _state(recipe, config, optimizer, mesh, checkpoints)
            source = PlannedTrees(
                shards,
                plan,
                steps=total_steps,
                micro_batches=recipe.batch.micro_batches,
                rows=_local_rows(batch_sharding, per_micro_batch),
            )
            with (
                progress(f"train {recipe.name}", total=total_steps) as report,
                _Log(run, from_step=first_step) as log,
            ):
                _warn_rejected(shards)
                clock, done = time.perf_counter(), first_step
                for step, arrays in batches(source, first_step=first_step):
                    batch = {
                        name: jax.make_array_from_process_local_data(batch_sharding, array)
                        for name, array in arrays.items()
                    }
                    state, figures = step_function(state, batch)
                    finished = step + 1
                    logs = finished % LOG_EVERY == 0 or finished == total_steps
                    saves = finished % recipe.checkpoints.every_steps == 0 or finished == total_steps
                    if not (logs or saves):
                        continue
                    figures = {name: float(value) for name, value in figures.items()}
                    _check_finite(figures, finished, checkpoints)
                    seconds, clock = time.perf_counter() - clock, time.perf_counter()
                    figures["learning_rate"] = float(schedule(step))
                    figures["steps_per_second"] = (finished - done) / seconds
                    done = finished
                    log.write(finished, figures)
                    report.update(finished, f"loss {figures['loss']:.4f}")
                    if saves:
                        facts = {"next_step": finished, "total_steps": total_steps, "figures": figures}
                        checkpoints.save(finished, state=state, facts=facts)
    finally:
        checkpoints.close()
    return run.path


def _devices(recipe: Recipe) -> list[jax.Device] | None:
    """On one CPU host take as many devices as the mesh asks for; on accelerators all of them must be used."""
    wanted = math.prod(recipe.parallelism.model_dump().values())
    devices = jax.devices()
    if devices[0].platform == "cpu" and jax.process_count() == 1 and wanted < len(devices):
        return devices[:wanted]
    return None


def _tokenizer(
    recipe: Recipe, run: RunFolder, store: StudyStore, train_part: pl.DataFrame, layout: Layout
) -> Tokenizer:
    """The run's own copy if it has begun, else the recipe's, copied into the run."""
    if run.tokenizer.is_dir():
        return load_tokenizer(run.tokenizer)
    if recipe.model.tokenizer == "train":
        train_sentencepiece(
            _training_texts(store, train_part, layout), run.tokenizer, vocab_size=recipe.model.vocabulary
        )
    else:
        source = load_tokenizer(recipe.model.tokenizer or recipe.model.start)
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
    if recipe.model.start != "random":
        source = resolve_folder(recipe.model.start, allow_patterns=CHECKPOINT_FILES)
        config = from_huggingface(source / "config.json")
        run.model_config.write_bytes((source / "config.json").read_bytes())
        return config
    architecture = recipe.model.architecture.model_dump()
    if architecture["head_dim"] is None:
        architecture["head_dim"] = architecture["hidden_size"] // architecture["num_attention_heads"]
    config = DecoderConfig(
        **architecture,
        # A multiple of 64 can be cut over the devices of a tensor axis.
        vocab_size=-(-tokenizer.vocab_size // 64) * 64,
        eos_token_id=(tokenizer.end_of_answer_id,),
    )
    run.model_config.write_text(json.dumps(to_huggingface(config), indent=2) + "\n")
    return config


def _shards(
    recipe: Recipe, store: StudyStore, split: Split, layout: Layout, tokenizer: Tokenizer
) -> TreeShards:
    with progress("tokenise", total=1) as report:

        def show(done: int, total: int) -> None:
            report.total = total
            report.update(done)

        folder = build_shards(
            store,
            split,
            tokenizer=tokenizer,
            layout=layout,
            root=store.path / "shards",
            merge_equal_personas=recipe.data.merge_equal_personas,
            max_tokens=recipe.data.max_tokens,
            leave_out=recipe.data.leave_out_studies,
            progress=show,
        )
    return TreeShards(folder)


def _state(recipe, config, optimizer, mesh, checkpoints: Checkpoints) -> tuple[Any, int]:
    """State and the first step to take: of the newest checkpoint if there is one, else of the start."""
    dtype = jnp.dtype(recipe.model.param_dtype)
    abstract = jax.eval_shape(functools.partial(init, config, param_dtype=dtype), key=jax.random.key(0))
    shardings = state_shardings(config, optimizer, abstract, mesh)
    latest = checkpoints.latest()
    if latest is not None:
        whole = {
            "params": abstract,
            "optimizer": jax.eval_shape(optimizer.init, abstract),
            "step": jax.ShapeDtypeStruct((), jnp.int32),
        }
        placed = jax.tree.map(
            lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), whole, shardings
        )
        return checkpoints.restore(latest, abstract_state=placed), checkpoints.facts(latest)["next_step"]
    if recipe.model.start == "random":
        params = init(
            config, key=jax.random.key(recipe.seed), param_dtype=dtype, shardings=shardings["params"]
        )
    else:
        folder = resolve_folder(recipe.model.start, allow_patterns=CHECKPOINT_FILES)
        params = load_checkpoint(folder, mesh=mesh, param_dtype=dtype).params
    return initial_state(params, optimizer, shardings), 0


def _local_rows(sharding: jax.sharding.NamedSharding, trees: int) -> slice:
    """The trees of a micro-batch that this process's devices hold; contiguous, as the mesh orders devices."""
    slices = [index[1] for index in sharding.addressable_devices_indices_map((1, trees)).values()]
    starts = [s.start or 0 for s in slices]
    stops = [trees if s.stop is None else s.stop for s in slices]
    return slice(min(starts), max(stops))


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


def _check_finite(figures: dict[str, float], step: int, checkpoints: Checkpoints) -> None:
    if not all(math.isfinite(value) for value in figures.values()):
        raise InputError(
            f"step {step}: the {'loss' if not math.isfinite(figures['loss']) else 'gradient'} is not finite; "
            f"lower optimizer.learning_rate (last good checkpoint: {checkpoints.latest() or 'none'})."
        )


def _warn_rejected(shards: TreeShards) -> None:
    rejected = shards.facts["rejected_branches"]
    if rejected:
        print(f"{rejected} prompts are too long and left out; see {shards.folder / 'rejects.csv'}")


class _Log:
    """Figures as JSON lines and as TensorBoard scalars."""

    def __init__(self, run: RunFolder, *, from_step: int):
        self._run = run
        self._from_step = from_step

    def __enter__(self) -> _Log:
        from tensorboard.summary import Writer

        # Lines after the checkpoint that we go on from would be written a second time.
        path = self._run.metrics
        lines = path.read_text().splitlines() if path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self._from_step]
        path.write_text("".join(f"{line}\n" for line in kept))
        self._file = path.open("a")
        self._scalars = Writer(str(self._run.tensorboard))
        return self

    def write(self, step: int, figures: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **figures}) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._scalars.add_scalar(name, value, step=step)

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._scalars.close()
