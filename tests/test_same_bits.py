"""The command that says whether a machine keeps the promise of the same bits, and what that costs."""

import pytest
import yaml
from small import small_recipe, small_store
from typer.testing import CliRunner

from socsci_jax.cli import app
from socsci_jax.feasibility import same_bits as command_module
from socsci_jax.feasibility.same_bits import Steps, invented_rows
from socsci_jax.training.recipe_files import parse_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("same-bits")
    batch = {"rows": 2, "tokens_per_row": 128, "branches_per_tree": 4}
    return small_recipe(small_store(folder / "store"), folder / "run", batch=batch)


def command(recipe: dict, folder):
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return CliRunner().invoke(app, ["same-bits", str(path)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("parameters", "status", "said"), [("ab", 0, "the same bits"), ("cd", 1, "different bits")]
)
def test_bits_that_differ_with_the_promise_are_an_exit_status(
    recipe, tmp_path, monkeypatch, parameters, status, said
):
    # The first process of each pair, then the second.
    ends = iter(
        [Steps(["0x1p+0"], "ab", 0.011, "gpu"), Steps(["0x1p+0"], parameters, 0.012, "gpu")]
        + [Steps([], "", 0.01, "gpu")] * 2
    )
    monkeypatch.setattr(command_module, "_in_a_process", lambda file: next(ends))
    result = command(recipe, tmp_path)
    assert result.exit_code == status
    assert f"same_bits: true: {said}, 11.0 ms a step" in result.stdout
    assert "costs +10% of a step's time" in result.stdout


def test_rows_are_invented_that_a_step_can_take(recipe):
    rows = invented_rows(parse_recipe(recipe, where="test"), vocab_size=50)
    end, read = rows["end"][0], rows["read"][0]
    assert end.shape == (2, 128) and (end[:, :32] == 128).all() and (end > 0).all()
    assert (read >= 32).all() and rows["slot_id"].max() < 50 and (rows["slot_weight"] == 1).all()


@pytest.mark.slow
def test_two_processes_end_with_the_same_bits_here(recipe, tmp_path):
    result = command(recipe, tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("the same bits") == 2
