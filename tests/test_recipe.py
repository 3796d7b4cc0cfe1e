"""Recipes: complete, typed, and every mistake named."""

from pathlib import Path

import pytest

from socsci_jax.errors import InputError
from socsci_jax.training.recipe import load_recipe, parse_recipe

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_project_is_valid_and_fits_on_a_screen(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert len(path.read_text().splitlines()) <= 50


def test_the_papers_settings_are_the_published_ones():
    recipe = load_recipe(RECIPES[0].parent / "socsci210-qwen2.5-14b-sft.yaml")
    assert recipe.model.start == "Qwen/Qwen2.5-14B-Instruct"
    assert recipe.model.compute_dtype == "bfloat16"
    assert recipe.data.sharing == "prefix"
    assert recipe.data.layout == "persona_first"
    assert recipe.optimizer.epochs == 1
    assert recipe.optimizer.learning_rate == 1e-5
    assert recipe.optimizer.warmup_share == 0.05
    assert recipe.optimizer.weight_decay == 0.1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rat=1", "unknown key 'optimizer.learning_rat' .did you mean 'learning_rate'"),
        ("modle.start=random", "unknown key 'modle' .did you mean 'model'"),
        ("model.architecture.hidden=3", "unknown key 'model.architecture.hidden'"),
        ("optimizer.epochs=many", "key 'optimizer.epochs'"),
        ("data.subset={of: participants, share: 25}", "key 'data.subset.share'.*less than or equal to 1"),
        ("data.subset={of: studies, shares: 0.5}", "unknown key 'data.subset.shares' .did you mean 'share'"),
        ("parallelism.fsdp=3", "does not divide over data x fsdp = 3 devices; a multiple of 3"),
        ("batch.micro_batches=3", "multiple of micro_batches"),
        ("epochs", "written key=value"),
        ("name.x=1", "'name' is a value"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_a_way_out(override, message):
    path = RECIPES[0].parent / "tiny.yaml"
    with pytest.raises(InputError, match=message):
        load_recipe(path, [override])


def test_all_mistakes_are_named_at_once():
    with pytest.raises(InputError, match=r"'model' is missing.*'data' is missing.*'nmae'"):
        parse_recipe(
            {"nmae": "x", "batch": {"rows": 1, "tokens_per_row": 64, "branches_per_tree": 1}}, where="here"
        )


def test_an_override_changes_one_value():
    path = RECIPES[0].parent / "tiny.yaml"
    changed = load_recipe(path, ["optimizer.epochs=2.5", "output=elsewhere"])
    assert changed.optimizer.epochs == 2.5
    assert changed.output == Path("elsewhere")
    assert changed.digest != load_recipe(path).digest
    assert load_recipe(path, ["output=elsewhere"]).digest == load_recipe(path).digest


def test_the_rendered_recipe_reads_back_as_itself(tmp_path):
    recipe = load_recipe(RECIPES[0])
    (tmp_path / "r.yaml").write_text(recipe.rendered())
    assert load_recipe(tmp_path / "r.yaml") == recipe
