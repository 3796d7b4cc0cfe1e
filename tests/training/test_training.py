"""Training: the loop does what one long uninterrupted run on one device would do."""

import functools
import json
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import yaml
from conftest import REPOSITORY
from safetensors.numpy import load_file
from small import small_config, small_recipe, small_store, small_tokenizer

from socsci_jax.data.loader import PlannedRows
from socsci_jax.data.plan import BatchPlan
from socsci_jax.data.shards import TreeShards, build_shards
from socsci_jax.errors import InputError, RunStopped
from socsci_jax.locks import only_writer
from socsci_jax.model_export import export_run
from socsci_jax.model_io import find_checkpoint, restore_params
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, micro_batch_sharding
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.splits import Split
from socsci_jax.training import compiled_step
from socsci_jax.training.checkpoint_reader import CheckpointReader
from socsci_jax.training.loop import train
from socsci_jax.training.objectives import Objective
from socsci_jax.training.optimizer import learning_rate_schedule, make_optimizer
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.recipe_objective import OptimizerConfig
from socsci_jax.training.run import RunFolder
from socsci_jax.training.state import initial_state, state_shardings
from socsci_jax.training.step import loss_and_gradients, train_step

SETTINGS = {"compute_dtype": jnp.float32, "remat": "none", "objective": Objective()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    store = small_store(folder / "store")
    tokenizer = small_tokenizer(store, folder / "tokenizer")
    return store, tokenizer, small_config(tokenizer)


def shards(world, *, sharing: str = "all", one_study: bool = False) -> TreeShards:
    store, tokenizer, _ = world
    split = Split.load(store, "main")
    responses = split.training_responses()
    if one_study:
        responses = responses.filter(pl.col("study_id") == pl.col("study_id").first())
    folder = build_shards(
        store,
        split,
        responses,
        tokenizer=tokenizer,
        layout=STUDY_FIRST,
        root=store.path / ("shards_of_one_study" if one_study else "shards"),
        sharing=sharing,
        max_tokens=512,
    )
    return TreeShards(folder)


def plan_of(data: TreeShards, *, rows: int = 8, branches: int = 4) -> BatchPlan:
    return BatchPlan(data.lengths, rows=rows, tokens_per_row=512, branches_per_tree=branches, seed=0)


def batch(world, *, rows=8, branches=4, micro_batches=1, step=0) -> dict[str, np.ndarray]:
    data = shards(world)
    plan = plan_of(data, rows=rows, branches=branches)
    own = slice(0, rows // micro_batches)
    return PlannedRows(data, plan, steps=step + 1, micro_batches=micro_batches, own=own)[step]


def params(world):
    return init(world[2], key=jax.random.key(0))


def assert_trees_close(a, b, tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def whole_epoch(world, *, branches: int, sharing: str):
    """Mean loss and gradients over all training responses to one study, in one batch."""
    data = shards(world, sharing=sharing, one_study=True)
    rows = plan_of(data, rows=1, branches=branches).steps(1)
    plan = plan_of(data, rows=rows, branches=branches)
    arrays = PlannedRows(data, plan, steps=1, micro_batches=1, own=slice(0, rows))[0]
    function = jax.jit(functools.partial(loss_and_gradients, config=world[2], **SETTINGS))
    return function(params(world), arrays)


@pytest.mark.parametrize(
    ("branches", "sharing"),
    [
        (4, "all"),
        pytest.param(64, "all", marks=pytest.mark.slow),
        pytest.param(4, "prefix", marks=pytest.mark.slow),
    ],
)
def test_sharing_changes_neither_loss_nor_gradient(world, branches, sharing):
    """Invariants 1 and 7: prefixes, beginnings of personas and equal people computed once, or each by itself."""
    loss, weight, gradients = whole_epoch(world, branches=branches, sharing=sharing)
    flat_loss, flat_weight, flat_gradients = whole_epoch(world, branches=1, sharing="prefix")
    assert weight == flat_weight
    np.testing.assert_allclose(loss, flat_loss, rtol=1e-5)
    assert_trees_close(gradients, flat_gradients, 1e-5)


def test_micro_batches_equal_one_macro_batch(world):
    """Invariant 4: also where micro-batches carry different numbers of targets."""
    function = jax.jit(functools.partial(loss_and_gradients, config=world[2], **SETTINGS))
    loss, weight, gradients = function(params(world), batch(world))
    cut = function(params(world), batch(world, micro_batches=4))
    np.testing.assert_allclose(cut[0], loss, rtol=1e-5)
    assert cut[1] == weight
    assert_trees_close(cut[2], gradients, 1e-5)


@pytest.mark.slow
def test_eight_devices_update_as_one_does(world):
    """Invariant 4: the mesh 2 x 2 x 2 gives the same loss and the same parameters after two steps."""
    # A rate that moves the parameters, and an epsilon that keeps Adam from amplifying rounding of tiny gradients.
    optimizer = make_optimizer(
        OptimizerConfig(epochs=1, learning_rate=1e-2, warmup_ratio=0.0, epsilon=1e-3), total_steps=10
    )
    results = []
    for sizes in ({"data": 1, "fsdp": 1, "tensor": 1}, {"data": 2, "fsdp": 2, "tensor": 2}):
        mesh = make_mesh(**sizes, devices=jax.devices()[: 8 if sizes["data"] == 2 else 1])
        shardings = state_shardings(world[2], optimizer, jax.eval_shape(lambda: params(world)), mesh)
        state = initial_state(jax.device_put(params(world), shardings.params), optimizer, shardings)
        step = jax.jit(functools.partial(train_step, optimizer=optimizer, config=world[2], **SETTINGS))
        losses = []
        with jax.set_mesh(mesh):
            for number in range(2):
                arrays = batch(world, micro_batches=2, step=number)
                placed = jax.device_put(arrays, micro_batch_sharding(mesh, rows=4))
                state, metrics = step(state, placed)
                losses.append(float(metrics["loss"]))
        results.append((losses, jax.device_get(state.params)))
        moments = jax.tree.leaves(state.optimizer)
        assert all(isinstance(m.sharding, jax.sharding.NamedSharding) for m in moments)
    (one_losses, one_params), (eight_losses, eight_params) = results
    np.testing.assert_allclose(one_losses, eight_losses, rtol=1e-5)
    assert_trees_close(one_params, eight_params, 1e-5)


@pytest.mark.slow
def test_padding_weighs_nothing(world):
    arrays = batch(world, rows=8)
    function = jax.jit(functools.partial(loss_and_gradients, config=world[2], **SETTINGS))
    loss, weight, _ = function(params(world), arrays)
    padded = {name: np.concatenate([array, np.zeros_like(array)], axis=1) for name, array in arrays.items()}
    padded_loss, padded_weight, _ = function(params(world), padded)
    assert padded_weight == weight
    np.testing.assert_allclose(padded_loss, loss, rtol=1e-5)


def test_the_learning_rate_warms_up_and_falls_as_a_cosine():
    schedule = learning_rate_schedule(
        OptimizerConfig(epochs=1, learning_rate=1.0, warmup_ratio=0.1), total_steps=100
    )
    assert [round(float(schedule(step)), 3) for step in (0, 5, 10, 55, 100)] == [0, 0.5, 1, 0.5, 0]


def test_biases_and_norms_do_not_decay(world):
    optimizer = make_optimizer(
        OptimizerConfig(epochs=1, learning_rate=0.1, warmup_ratio=0.0, weight_decay=0.5), total_steps=10
    )
    start = params(world)
    updates, _ = jax.jit(lambda p: optimizer.update(jax.tree.map(jnp.zeros_like, p), optimizer.init(p), p))(
        start
    )
    moved = {
        jax.tree_util.keystr(path, simple=True, separator="."): bool(jnp.any(leaf != 0))
        for path, leaf in jax.tree_util.tree_flatten_with_path(updates)[0]
    }
    assert {name for name, changed in moved.items() if not changed} == {n for n in moved if "norm" in n}
    assert any(moved.values())


def run_params(folder):
    run = RunFolder(folder)
    step = CheckpointReader(run.checkpoints).latest()
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    return step, jax.device_get(restore_params(run, find_checkpoint(run, step), mesh=mesh))


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """An uninterrupted run."""
    output = tmp_path_factory.mktemp("run") / "whole"
    train(parse_recipe(small_recipe(world[0], output), where="test"))
    return output


def test_a_run_learns_and_says_what_it_was_made_of(world, finished):
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]  # each, since they are few
    assert lines[-1]["loss"] < lines[0]["loss"]
    metadata = RunFolder(finished).metadata
    assert metadata["store_hash"] == world[0].content_hash
    assert metadata["trained_responses"] == Split.load(world[0], "main").training_responses().height
    assert RunFolder(finished).recipe.name == "small"
    assert list((finished / "tensorboard").iterdir())


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_bits(world, finished, tmp_path, monkeypatch):
    """Invariant 5: SIGKILL after some checkpoint, started again, equals never stopped."""
    output = tmp_path / "killed"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(small_recipe(world[0], output)))
    # With the sizes of attention that this process has: other sizes round otherwise.
    code = "import socsci_jax.models.attention, quick_programs; quick_programs.few_sizes_of_attention(); "
    code += "from socsci_jax.cli import main; main()"
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}:{REPOSITORY / 'tests'}")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")  # or the command line starts itself again
    command = [sys.executable, "-c", code, "train", str(recipe)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(output.glob("checkpoints/[0-9]*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    subprocess.run(command, check=True, capture_output=True)
    step, ended = run_params(output)
    whole_step, whole = run_params(finished)
    assert step == whole_step
    for a, b in zip(jax.tree.leaves(ended), jax.tree.leaves(whole), strict=True):
        assert np.array_equal(a, b)


def test_a_run_resumes_where_it_stopped_bit_for_bit(world, finished, tmp_path, monkeypatch, caplog):
    """Invariant 5, within one process: stopped by an error in the middle of an epoch."""
    output = tmp_path / "stopped"
    recipe = parse_recipe(small_recipe(world[0], output), where="test")
    original = PlannedRows.__getitem__

    def fails_at_five(self, step):
        if step == 5:
            raise RuntimeError("stopped")
        return original(self, step)

    monkeypatch.setattr(PlannedRows, "__getitem__", fails_at_five)
    with pytest.raises(RuntimeError, match="stopped"):
        train(recipe)
    monkeypatch.undo()
    assert CheckpointReader(output / "checkpoints").latest() == 4
    with caplog.at_level("INFO"):
        train(recipe)
    said = [line.partition(", loss")[0] for line in caplog.messages if line.startswith(("resuming", "train"))]
    assert said == ["resuming after step 4 of 6", "train small: 5/6", "train small: 6/6"]
    for a, b in zip(jax.tree.leaves(run_params(output)[1]), jax.tree.leaves(run_params(finished)[1])):
        assert np.array_equal(a, b)


def test_a_signal_while_the_step_is_compiled_stops_after_the_first_step(world, tmp_path, monkeypatch, caplog):
    """The handler runs when the compiler is done: the first step was begun without knowing of the request."""
    original = compiled_step.place_rows

    def interrupted(*arrays):
        monkeypatch.setattr(compiled_step, "place_rows", original)
        signal.raise_signal(signal.SIGINT)
        return original(*arrays)

    monkeypatch.setattr(compiled_step, "place_rows", interrupted)
    output = tmp_path / "stopped"
    with caplog.at_level("INFO"), pytest.raises(RunStopped, match="after step 1 of 6, which is saved"):
        train(parse_recipe(small_recipe(world[0], output), where="test"))
    assert CheckpointReader(output / "checkpoints").latest() == 1
    assert any(message.startswith("compiling the training step") for message in caplog.messages)


def test_a_finished_run_started_again_changes_nothing(world, finished):
    before = (finished / "metrics.jsonl").read_text()
    train(parse_recipe(small_recipe(world[0], finished), where="test"))
    assert (finished / "metrics.jsonl").read_text() == before


@pytest.mark.slow
def test_a_run_may_start_from_a_hugging_face_folder(world, tmp_path):
    """Its shape and tokenizer come out as they were, its tensors where nothing was learned bit for bit."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    store, tokenizer, _ = world
    config = transformers.Qwen2Config(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    source = tmp_path / "source"
    transformers.Qwen2ForCausalLM(config).save_pretrained(source)
    for name, content in tokenizer.files().items():
        (source / name).write_bytes(content)
    recipe = small_recipe(store, tmp_path / "run")
    recipe["model"] = {"init_from": str(source)}
    recipe["data"]["max_tokens"] = 512
    # A rate that is 0 in float32: the parameters are still those of the start.
    recipe["optimizer"] = {"epochs": 0.01, "learning_rate": 1e-50}
    train(parse_recipe(recipe, where="test"))
    export_run(tmp_path / "run", tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == (source / "tokenizer.model").read_bytes()
    configs = [json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "out", source)]
    # An answer ends as it did in training, whatever ended a text of the start.
    assert configs[0].pop("eos_token_id") == tokenizer.end_of_answer_id
    configs[1].pop("eos_token_id")
    assert configs[0] == configs[1]
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_another_recipe_in_the_same_folder_is_refused(world, finished):
    recipe = small_recipe(world[0], finished, optimizer={"epochs": 2, "learning_rate": 1e-3})
    with pytest.raises(
        InputError, match=r"another recipe \(optimizer.learning_rate 0.01 there, 0.001 here\)"
    ):
        train(parse_recipe(recipe, where="test"))


def test_a_checkpoint_of_another_architecture_is_refused(finished, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    with pytest.raises(InputError, match="damaged or of another architecture"):
        restore_params(RunFolder(other), find_checkpoint(RunFolder(other), 6), mesh=mesh)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parallelism": {"tensor": 3}}, "does not divide"),
        ({"parallelism": {"data": 8, "tensor": 2}}, "16, but there are 8 devices"),
        ({"data": {"store": "nowhere", "split": "main"}}, "no study store here"),
    ],
)
def test_what_is_wrong_is_said_before_any_step_and_leaves_nothing(world, tmp_path, changes, message):
    recipe = parse_recipe(small_recipe(world[0], tmp_path / "run", **changes), where="test")
    with pytest.raises(InputError, match=message):
        train(recipe)
    assert list(tmp_path.iterdir()) == []


def test_training_refuses_studies_it_was_told_to_leave(world, tmp_path):
    seen = Split.load(world[0], "main").training_responses()["study_id"][0]
    data = {"store": str(world[0].path), "split": "main", "exclude_studies": [seen]}
    with pytest.raises(InputError, match=f"study '{seen}' is to be excluded"):
        train(parse_recipe(small_recipe(world[0], tmp_path / "run", data=data), where="test"))


def test_a_run_compiles_one_program(world):
    data = shards(world)
    plan = plan_of(data, rows=2)
    source = PlannedRows(data, plan, steps=plan.steps(2), micro_batches=1, own=slice(0, 2))
    function = jax.jit(functools.partial(loss_and_gradients, config=world[2], **SETTINGS))
    start = params(world)
    for step in range(len(source)):
        function(start, source[step])
    assert function._cache_size() == 1


def test_a_recipe_that_is_refused_for_its_data_leaves_no_run_folder(world, tmp_path):
    tree = small_recipe(world[0], tmp_path / "run")
    tree["batch"] |= {"tokens_per_row": 64}
    with pytest.raises(InputError, match="tokens_per_row"):
        train(parse_recipe(tree, where="test"))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_somebody_trains_is_not_trained_by_another(world, tmp_path):
    recipe = parse_recipe(small_recipe(world[0], tmp_path / "run"), where="test")
    with only_writer(recipe.output), pytest.raises(InputError, match="is being written by process"):
        train(recipe)
