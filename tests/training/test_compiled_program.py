"""What a sharded recipe's compiled step holds: each collective where it belongs, no conditional, and no way to the host.

Attention is computed over whole rows here, as accelerators without the kernel do; on processors it takes conditionals.
"""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import pytest

from benchmarks.compiled_text import HOST, Operation, operations
from socsci_jax.compilation import same_bits_options
from socsci_jax.data.trees import RowShape
from socsci_jax.feasibility.memory import LIKE_AN_ACCELERATOR, step_operands
from socsci_jax.models.attention_choice import CHOICE
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.sharding import make_mesh
from socsci_jax.training import program
from socsci_jax.training.optimizer import make_optimizer
from socsci_jax.training.program import model_settings, step_program
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_files import parse_recipe

V, D, ROW, READS = 4096, 64, 128, 64
SIZES = {
    "model_type": "qwen3",
    "hidden_size": D,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
MESHES = {
    "data": {"data": 8},
    "fsdp": {"fsdp": 8},
    "tensor": {"tensor": 2, "data": 4},
    "all": {"data": 2, "fsdp": 2, "tensor": 2},
}
MATRICES = 7  # of a layer
# Each compiles for some seconds.
EVERY_MESH = pytest.mark.parametrize(
    "mesh",
    [
        "fsdp",
        pytest.param("all", marks=pytest.mark.slow),
        pytest.param("data", marks=pytest.mark.slow),
        pytest.param("tensor", marks=pytest.mark.slow),
    ],
)


def recipe_on(mesh: str) -> Recipe:
    return parse_recipe(
        {
            "name": "compiled",
            "output": "runs/compiled",
            "hardware": "8xcpu",
            "model": {"init_from": "random", "tokenizer": "train", "remat": "layers", "architecture": SIZES},
            "data": {"store": "runs/store", "split": "main"},
            "batch": {"rows": 8, "tokens_per_row": ROW, "branches_per_tree": 4},
            "optimizer": {"epochs": 1, "learning_rate": 1e-3},
            "checkpoints": {"every_steps": 1},
            "parallelism": MESHES[mesh],
        },
        where="test",
    )


@functools.cache
def compiled(mesh: str) -> tuple[Operation, ...]:
    recipe = recipe_on(mesh)
    config = DecoderConfig(**SIZES, vocab_size=V, max_position_embeddings=512, tie_word_embeddings=True)
    on = make_mesh(**{"data": 1, "fsdp": 1, "tensor": 1} | MESHES[mesh])
    operands = step_operands(recipe, config, RowShape(ROW, READS, READS), on)
    optimizer = make_optimizer(recipe.optimizer, total_steps=10)
    with pytest.MonkeyPatch.context() as patch, jax.set_mesh(on):
        patch.setenv(CHOICE, "rows")
        # Reads go through the vocabulary in several pieces.
        patch.setattr(program, "logits_at_a_time", lambda usable: V * READS // 8)
        lowered = step_program(recipe, config, optimizer).lower(*operands)
    return tuple(operations(lowered.compile(compiler_options=LIKE_AN_ACCELERATOR).as_text()))


def sizes(mesh: str, kind: str, *, loops: bool) -> list[int]:
    """Elements of the results of one kind of operation, inside loops or outside."""
    return sorted(n for o in compiled(mesh) if o.kind == kind and bool(o.loops) == loops for n in o.sizes)


@EVERY_MESH
def test_a_step_has_no_conditional_and_no_way_to_the_host(mesh):
    found = {o.kind for o in compiled(mesh)}
    assert not found & {*HOST, "conditional", "callback", "host-copy"}


@EVERY_MESH
def test_no_loop_passes_anything_of_the_vocabularys_size(mesh):
    # What layers pass on: their matrices, and features of a batch where heads and columns are cut.
    largest = max(D * SIZES["intermediate_size"], 8 * ROW * D if "tensor" in MESHES[mesh] else 0)
    assert largest < V * D // 2
    assert max((n for o in compiled(mesh) if o.loops for n in o.sizes), default=0) <= largest


def test_under_fsdp_a_layer_is_gathered_once_in_each_pass_and_reduced_once():
    assert len(sizes("fsdp", "all-gather", loops=True)) == 2 * MATRICES
    assert sum(o.kind == "all-reduce" and o.loops > 0 for o in compiled("fsdp")) == 1
    assert not [o for o in compiled("fsdp") if o.loops > 1]


def test_under_fsdp_the_vocabulary_is_gathered_once_and_its_gradient_scattered_once():
    assert sum(o.runs for o in compiled("fsdp") if V * D in o.sizes) == 1
    assert [n for n in sizes("fsdp", "all-gather", loops=False) if n >= V * D] == [V * D]
    assert sizes("fsdp", "reduce-scatter", loops=False) == [V * D // 8]
    assert max(sizes("fsdp", "all-reduce", loops=False)) < V * D // 8


def test_embeddings_are_exchanged_by_columns_once_in_each_pass():
    exchanged = [o for o in compiled("fsdp") if o.kind == "all-to-all"]
    assert [(o.loops, sum(o.sizes)) for o in exchanged] == [(0, ROW * D)] * 2


@pytest.mark.slow
def test_data_parallel_gradients_are_reduced_once_a_layer():
    assert sum(o.kind == "all-reduce" and o.loops > 0 for o in compiled("data")) == 1
    assert not sizes("data", "all-gather", loops=True) + sizes("data", "all-gather", loops=False)
    # The table's two gradients, as embedding and as output projection.
    assert sizes("data", "all-reduce", loops=False).count(V * D) == 2


PROGRAM = """HloModule step

%body (x: f32[4]) -> f32[4] {
  %sum = f32[4]{0} all-reduce-start(%x), to_apply=%add
  ROOT %chosen = f32[4]{0} conditional(%p, %sum, %sum), branch_computations={%left, %right}
}

%left (x: f32[4]) -> f32[4] {
  ROOT %all = (f32[8]{0}, bf16[2,2]{1,0}) all-gather(%x), dimensions={0}
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %loop = f32[4]{0} while(%x), condition=%more, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %there = f32[4]{0:S(5)} copy(%loop)
  ROOT %twice = f32[4]{0} while(%there), condition=%more, body=%body
}
"""


def test_operations_are_counted_as_often_as_the_loops_run_that_they_stand_in():
    assert operations(PROGRAM) == [
        Operation("all-reduce", (4,), 16, loops=1, runs=3 + 1),
        Operation("conditional", (4,), 16, loops=1, runs=3 + 1),
        Operation("all-gather", (8, 4), 40, loops=1, runs=3 + 1),
        Operation("host-copy", (4,), 16, loops=0, runs=1),
    ]


@pytest.mark.parametrize(
    ("hardware", "megabytes"), [("8xcpu", 268), ("v5e-8", 268), ("8xh100", 1150), ("8xh200", 2026)]
)
def test_logits_at_a_time_are_sized_by_the_hardware_that_the_recipe_names(hardware, megabytes):
    recipe = recipe_on("fsdp").model_copy(update={"hardware": hardware})
    assert model_settings(recipe)["logits_at_a_time"] * 4 // 10**6 == megabytes


@pytest.mark.parametrize(
    ("same_bits", "device", "asked"), [(True, "gpu", True), (False, "gpu", False), (True, "cpu", False)]
)
def test_the_same_bits_are_asked_of_a_gpus_compiler_unless_the_recipe_gives_them_up(
    monkeypatch, tmp_path, same_bits, device, asked
):
    options = []
    monkeypatch.setattr(jax, "default_backend", lambda: device)
    monkeypatch.setattr(jax, "jit", lambda step, **settings: options.append(settings["compiler_options"]))
    changes = {"same_bits": same_bits, "output": tmp_path / "run"}
    step_program(recipe_on("data").model_copy(update=changes), None, None)
    [found] = options
    assert (found is not None) == asked
    if found:
        assert found["xla_gpu_exclude_nondeterministic_ops"] is True
        assert Path(found["xla_gpu_per_fusion_autotune_cache_dir"]) == tmp_path / "run" / "autotuning"
        assert (tmp_path / "run" / "autotuning").is_dir()


def test_runs_alike_have_one_step_which_a_process_compiles_once():
    config = DecoderConfig(**SIZES, vocab_size=V, max_position_embeddings=512, tie_word_embeddings=True)

    def step(**changes):
        recipe = recipe_on("data").model_copy(update=changes)
        return step_program(recipe, config, make_optimizer(recipe.optimizer, total_steps=10)).__wrapped__

    assert step(output=Path("elsewhere")) is step()
    assert step(seed=1) is not step()


def test_the_compiler_knows_all_options_for_the_same_bits(tmp_path):
    options = same_bits_options(tmp_path)
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option"):
        jax.jit(lambda x: x + 1, compiler_options=options | {"xla_gpu_no_option": True})(1)
