"""Planning: what is reported of a machine that is not there is what a run on it would take."""

import dataclasses
import math

import jax
import numpy as np
import pytest
import yaml
from jax.interpreters import partial_eval
from small import small_config, small_recipe, small_store
from typer.testing import CliRunner

from socsci_jax.cli import app
from socsci_jax.data.loader import PlannedRows
from socsci_jax.data.plan import BatchPlan
from socsci_jax.data.trees import RowShape
from socsci_jax.errors import InputError
from socsci_jax.feasibility.memory import device_bytes, step_operands
from socsci_jax.feasibility.plan import make_plan
from socsci_jax.feasibility.shapes import assumed_row, data_statistics
from socsci_jax.hardware import parse_machine
from socsci_jax.models.config import AdapterConfig, DecoderConfig
from socsci_jax.models.sharding import make_mesh
from socsci_jax.studies.splits import Split
from socsci_jax.training import compiled_step, loop
from socsci_jax.training.flops import step_flops
from socsci_jax.training.inputs import load_inputs
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.prepare import prepare
from socsci_jax.training.program import step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.start import first_state, start_params

LORA = {"rank": 4, "alpha": 8}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    # JAX begins with the tests' eight devices, whichever test comes first.
    assert len(jax.devices()) == 8
    return small_store(tmp_path_factory.mktemp("planning") / "store")


def recipe_of(store, output, **changes) -> Recipe:
    return parse_recipe(small_recipe(store, output) | changes, where="test")


@pytest.mark.parametrize("lora", [None, LORA])
def test_predicted_arguments_are_the_bytes_of_the_real_arrays(store, tmp_path, lora):
    recipe = recipe_of(store, tmp_path / "run", lora=lora, parallelism={"fsdp": 2, "tensor": 2})
    prepared = prepare(recipe)
    row = data_statistics(recipe, prepared.shards).row
    state, batch, frozen = map(device_bytes, step_operands(recipe, prepared.config, row, prepared.mesh))
    optimizer = make_optimizer(recipe.optimizer, total_steps=10)
    start = start_params(recipe, prepared.config, prepared.mesh)
    real = first_state(recipe, prepared.config, optimizer, prepared.mesh, start)

    def on_first_device(tree) -> int:
        first = jax.devices()[0]
        shards = (s for leaf in jax.tree.leaves(tree) for s in leaf.addressable_shards if s.device == first)
        return sum(shard.data.nbytes for shard in shards)

    assert state == on_first_device(real)
    assert frozen == (on_first_device(start) if lora else 0)
    arrays = batch_arrays(recipe, prepared.shards, step=0)
    assert batch == on_first_device(jax.device_put(arrays, prepared.batch_sharding))


@pytest.mark.slow
def test_the_predicted_peak_is_that_of_the_program_that_a_run_compiles(store, tmp_path, monkeypatch):
    recipe = recipe_of(store, tmp_path / "run", optimizer={"epochs": 0.1, "learning_rate": 1e-3})
    found = []

    def watched(*arguments):
        program = step_program(*arguments)

        def step(*operands):
            found.append(program.lower(*operands).compile().memory_analysis())
            return program(*operands)

        return step

    monkeypatch.setattr(compiled_step, "step_program", watched)
    loop.train(recipe)
    analysis = found[0]
    real = analysis.argument_size_in_bytes + analysis.temp_size_in_bytes
    real += analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    plan = make_plan(recipe, recipe.machine)
    assert abs(plan.memory.peak - real) < 0.1 * real
    assert plan.data.steps == len(found)


def batch_arrays(recipe, shards, *, step) -> dict[str, np.ndarray]:
    settings = {key: getattr(recipe.batch, key) for key in ("rows", "tokens_per_row", "branches_per_tree")}
    plan = BatchPlan(shards.lengths, seed=recipe.seed, **settings)
    rows = recipe.batch.rows // recipe.batch.micro_batches
    source = PlannedRows(
        shards, plan, steps=plan.steps(1), micro_batches=recipe.batch.micro_batches, own=slice(0, rows)
    )
    return source[step]


def test_figures_of_the_data_are_those_of_its_batches(store, tmp_path):
    recipe = recipe_of(store, tmp_path / "run")
    prepared = prepare(recipe)
    statistics = data_statistics(recipe, prepared.shards)
    steps = [batch_arrays(recipe, prepared.shards, step=step) for step in range(statistics.steps_per_epoch)]
    ends = np.stack([arrays["end"] for arrays in steps])
    real = ends > 0
    assert statistics.padding == pytest.approx(1 - real.mean())
    assert statistics.slots_used == pytest.approx(
        np.mean([arrays["slot_weight"] > 0 for arrays in steps]), rel=0.02
    )
    # Token j is seen by those from j to end - 1.
    seen = np.where(real, ends - np.arange(ends.shape[-1]), 0).sum()
    assert statistics.keys == pytest.approx(seen / real.sum(), rel=0.02)
    answered = Split.load(store, "main").training_responses().height
    assert statistics.responses == answered
    data = {"store": str(store.path), "split": "main", "sharing": "prefix"}
    alone = load_inputs(recipe_of(store, tmp_path / "run", data=data)).shards(prepared.tokenizer).lengths
    tokens = (alone.prefix_tokens[alone.branch_prefix] + alone.branch_tokens).sum()
    assert statistics.sharing == pytest.approx(tokens / ends.size, rel=0.02)


# --- computation ------------------------------------------------------------------------------------------------------

CONFIG = small_config(192, hidden_size=64, intermediate_size=160, head_dim=16)


@pytest.mark.parametrize(
    ("remat", "lora"),
    [
        ("none", None),
        pytest.param("matmuls", None, marks=pytest.mark.slow),
        pytest.param("layers", None, marks=pytest.mark.slow),
        ("layers", LORA),
    ],
)
def test_the_formula_counts_what_the_program_multiplies(store, tmp_path, remat, lora):
    batch = {"rows": 2, "tokens_per_row": 128, "branches_per_tree": 4}
    recipe = recipe_of(store, tmp_path / "run", lora=lora, batch=batch)
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"remat": remat})})
    row = RowShape(tokens=128, reads=64, slots=64)

    def with_layers(count: int) -> DecoderConfig:
        adapter = None if lora is None else AdapterConfig(**lora)
        return dataclasses.replace(CONFIG, num_hidden_layers=count, adapter=adapter)

    def formula(layers: int) -> float:
        # The largest branch of attention sees every key of its row.
        return step_flops(recipe, with_layers(layers), row, keys=row.tokens)

    def counted(layers: int) -> float:
        return product_flops(traced_step(recipe, with_layers(layers), row))

    of_two = counted(2)
    assert formula(2) == pytest.approx(of_two, rel=0.02)
    assert formula(3) - formula(2) == pytest.approx(counted(3) - of_two, rel=0.02)


def traced_step(recipe, config, row):
    """The step as JAX's own program, without what no result depends on."""
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    with jax.set_mesh(mesh):
        program = step_program(recipe, config, make_optimizer(recipe.optimizer, total_steps=10))
        traced = program.trace(*step_operands(recipe, config, row, mesh)).jaxpr.jaxpr
    return partial_eval.dce_jaxpr(traced, [True] * len(traced.outvars))[0]


def product_flops(jaxpr) -> float:
    """Operations of all matrix products: a loop's body as often as it runs, of alternatives the largest."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            size = math.prod(equation.invars[0].aval.shape[d] for d in contracted)
            total += 2 * size * equation.outvars[0].aval.size
        inner = [
            product_flops(getattr(part, "jaxpr", part))
            for value in equation.params.values()
            for part in (value if isinstance(value, tuple | list) else [value])
            if hasattr(getattr(part, "jaxpr", part), "eqns")
        ]
        if inner:
            total += equation.params.get("length", 1) * max(inner)
    return total


# --- what is reported -----------------------------------------------------------------------------------------------------


def plan_command(recipe: dict, folder, *arguments):
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return CliRunner().invoke(app, ["plan", str(path), *arguments], catch_exceptions=False)


@pytest.mark.slow
def test_a_recipe_that_fits_is_shown_with_its_data(store, tmp_path):
    result = plan_command(small_recipe(store, tmp_path / "run"), tmp_path)
    assert result.exit_code == 0
    for shown in ("FITS", "peak on a device", "padding", "sharing", "steps", "half of a laptop"):
        assert shown in result.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_recipe_that_does_not_fit_ends_with_status_1_and_advice_that_helps(store, tmp_path):
    recipe = small_recipe(
        store, tmp_path / "run", batch={"rows": 4096, "tokens_per_row": 512, "branches_per_tree": 4}
    )
    result = plan_command(recipe, tmp_path, "data.store=nowhere")
    assert result.exit_code == 1
    assert "DOES NOT FIT" in result.stdout
    assert "assumed: no study store at nowhere" in result.stdout
    assert "batch.micro_batches=4096" in result.stdout
    assert plan_command(recipe, tmp_path, "data.store=nowhere", "batch.micro_batches=4096").exit_code == 0


def test_a_mesh_of_another_size_than_the_machine_is_told_how_to_fit(store, tmp_path):
    recipe = recipe_of(store, tmp_path / "run", parallelism={"fsdp": 2, "tensor": 2})
    with pytest.raises(InputError, match=r"is 4, but 8xh200 has 8 devices; add parallelism.fsdp=4 "):
        make_plan(recipe, parse_machine("8xh200"))
    with pytest.raises(InputError, match=r"add parallelism.fsdp=1 parallelism.tensor=1 "):
        make_plan(recipe, parse_machine("1xh200"))


def test_a_model_of_unknown_shape_is_refused_with_those_that_are_known(store, tmp_path):
    recipe = recipe_of(store, tmp_path / "run", model={"init_from": "somebody/model"})
    with pytest.raises(InputError, match=r"somebody/model is not known here; .*Qwen/Qwen3-8B"):
        make_plan(recipe, recipe.machine)


def test_efficiency_is_a_share(store, tmp_path):
    with pytest.raises(InputError, match="share of the peak"):
        plan_command(small_recipe(store, tmp_path / "run"), tmp_path, "--efficiency", "40")


@pytest.mark.parametrize("kind", ["sft", "dpo", "wasserstein"])
def test_without_data_a_row_has_room_for_what_the_objective_compares(store, tmp_path, kind):
    row = assumed_row(recipe_of(store, tmp_path / "run", objective={"kind": kind}))
    assert row.reads % 64 == 0 and row.comparisons % 64 == 0
    assert (row.comparisons > 0) == (kind != "sft")
