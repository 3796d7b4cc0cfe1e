"""Recipes: complete, typed, and every mistake named."""

from pathlib import Path

import jsonschema
import pytest
import yaml

from socsci_jax.errors import InputError
from socsci_jax.models.catalog import CATALOG
from socsci_jax.training import recipe_files
from socsci_jax.training.recipe_files import load_recipe, parse_recipe

FOLDER = Path(__file__).parent.parent.parent / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_project_is_valid_and_fits_on_a_screen(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.output == Path("runs") / path.stem
    assert len(path.read_text().splitlines()) <= 50
    sizes = recipe.parallelism
    assert sizes.data * sizes.fsdp * sizes.tensor == recipe.machine.devices
    assert recipe.model.init_from in ("random", *CATALOG)


def test_every_shared_file_is_part_of_a_recipe():
    texts = [path.read_text() for path in FOLDER.rglob("*.yaml")]
    extended = {Path(yaml.safe_load(text).get("extends", "")).name for text in texts}
    assert {path.name for path in (FOLDER / "shared").iterdir()} <= extended


def test_the_index_names_every_recipe_with_its_model_and_hardware():
    lines = (FOLDER / "README.md").read_text().splitlines()
    rows = {line.split("`")[1]: line for line in lines if line.startswith("| [`")}
    assert sorted(rows) == sorted(path.stem for path in RECIPES)
    for path in RECIPES:
        recipe = load_recipe(path)
        kind = "lora" if recipe.lora and recipe.objective.kind == "sft" else recipe.objective.kind
        for told in (f"]({path.name})", f"| {kind} |", f"| {recipe.hardware} |"):
            assert told in rows[path.stem]


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize(
    ("model", "start"),
    [
        ("qwen2.5-14b", "Qwen/Qwen2.5-14B-Instruct"),
        ("llama3-8b", "meta-llama/Meta-Llama-3-8B-Instruct"),
    ],
)
def test_the_papers_settings_are_the_published_ones(model, start, method):
    recipe = load_recipe(FOLDER / f"socsci210-{model}-{method}.yaml")
    assert recipe.model.init_from == start
    assert recipe.hardware == "8xa100-80g"
    assert recipe.model.compute_dtype == "bfloat16"
    assert recipe.lora is None
    assert recipe.objective.kind == method
    assert recipe.data.sharing == "prefix"
    assert recipe.data.layout == "persona_first"
    assert recipe.optimizer.epochs == 1
    assert recipe.optimizer.learning_rate == {"sft": 1e-5, "dpo": 1e-6}[method]
    assert recipe.optimizer.warmup_ratio == 0.05
    assert recipe.optimizer.weight_decay == 0.1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rat=1", "unknown key 'optimizer.learning_rat' .did you mean 'learning_rate'"),
        ("epochs=3", "unknown key 'epochs' .did you mean 'optimizer.epochs'"),
        ("store=runs/store", "unknown key 'store' .did you mean 'data.store'"),
        ("optimizer.lr=1e-4", "unknown key 'optimizer.lr' .did you mean 'optimizer.learning_rate'"),
        ("modle.start=random", "unknown key 'modle' .did you mean 'model'"),
        ("model.architecture.hidden=3", "unknown key 'model.architecture.hidden'"),
        ("optimizer.epochs=many", "key 'optimizer.epochs'"),
        ("data.subset={of: participants, share: 25}", "key 'data.subset.share'.*less than or equal to 1"),
        ("data.subset={of: studies, shares: 0.5}", "unknown key 'data.subset.shares' .did you mean 'share'"),
        ("parallelism.fsdp=3", "does not divide over data x fsdp = 3 devices; a multiple of 3"),
        ("batch.micro_batches=3", "multiple of micro_batches"),
        ("hardware=8xh20", "key 'hardware': no machine is named '8xh20' .did you mean 1xh200"),
        ("extends=tiny.yaml", "unknown key 'extends'"),
        ("epochs", "written key=value"),
        ("name.x=1", "'name' is a value"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_a_way_out(override, message):
    path = FOLDER / "tiny.yaml"
    with pytest.raises(InputError, match=message):
        load_recipe(path, [override])


def test_recipes_of_the_package_are_found_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe("smollm2-135m-sft") == load_recipe(FOLDER / "smollm2-135m-sft.yaml")
    (tmp_path / "tiny").write_text((FOLDER / "tiny.yaml").read_text().replace("name: tiny", "name: mine"))
    assert load_recipe("tiny").name == "mine"  # one's own file goes first


@pytest.mark.parametrize("path", ["tiyn", "recipes/tiny.yaml"])
def test_a_recipe_that_is_no_file_is_answered_with_the_one_that_may_be_meant(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="perhaps tiny is meant, which comes with the package"):
        load_recipe(path)
    with pytest.raises(InputError, match="`socsci-jax recipe list` names those"):
        load_recipe("elsewhere.yaml")


def test_all_mistakes_are_named_at_once():
    with pytest.raises(InputError, match=r"'model' is missing.*'data' is missing.*'nmae'"):
        parse_recipe(
            {"nmae": "x", "batch": {"rows": 1, "tokens_per_row": 64, "branches_per_tree": 1}}, where="here"
        )


def test_an_override_changes_one_value():
    path = FOLDER / "tiny.yaml"
    changed = load_recipe(path, ["optimizer.epochs=2.5", "output=elsewhere"])
    assert changed.optimizer.epochs == 2.5
    assert changed.output == Path("elsewhere")
    assert changed.digest != load_recipe(path).digest
    for elsewhere in ("output=elsewhere", "hardware=8xh100", "data.store=elsewhere"):
        assert load_recipe(path, [elsewhere]).digest == load_recipe(path).digest


def test_an_absolute_and_a_relative_path_of_a_file_are_the_same_recipe(tmp_path, monkeypatch):
    def digest(layout: Path) -> str:
        return load_recipe(FOLDER / "tiny.yaml", [f"data.layout={layout}"]).digest

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "other.json").write_text("{}")
    assert digest("mine.json") == digest(tmp_path / "mine.json") == digest("./mine.json")
    assert digest("other.json") != digest("mine.json")


def test_the_rendered_recipe_reads_back_as_itself(tmp_path):
    recipe = load_recipe(FOLDER / "qwen2.5-7b-lora.yaml")
    assert "extends" not in recipe.rendered()
    (tmp_path / "r.yaml").write_text(recipe.rendered())
    assert load_recipe(tmp_path / "r.yaml") == recipe


def written(folder: Path, **files: dict) -> Path:
    """The first of the files `name: keys`."""
    for name, keys in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(keys))
    return folder / f"{next(iter(files))}.yaml"


def test_a_recipe_extends_another_file_block_by_block(tmp_path):
    whole = load_recipe(FOLDER / "tiny.yaml")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "base.yaml").write_text(whole.rendered())
    own = {
        "extends": "middle.yaml",
        "name": "own",
        "optimizer": {"epochs": 5},
        "lora": {"rank": 4, "alpha": 8, "targets": ["q_proj"]},
    }
    middle = {"extends": "below/base.yaml", "optimizer": {"epochs": 4, "beta2": 0.95}, "lora": {"rank": 2}}
    recipe = load_recipe(written(tmp_path, own=own, middle=middle), ["optimizer.beta1=0.8"])
    assert (recipe.name, recipe.output) == ("own", whole.output)
    changed = {"epochs": 5, "beta1": 0.8, "beta2": 0.95}
    assert recipe.optimizer == whole.optimizer.model_copy(update=changed)
    # What is no block of keys is replaced, not merged.
    assert recipe.lora.targets == ("q_proj",)


def test_extending_a_block_with_nothing_takes_it_away(tmp_path):
    path = written(tmp_path, own={"extends": "base.yaml", "lora": None})
    base = load_recipe(FOLDER / "tiny.yaml", ["lora.rank=4", "lora.alpha=8"])
    (tmp_path / "base.yaml").write_text(base.rendered())
    assert load_recipe(path).lora is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"own": {"extends": "base.yaml"}}, r"own.yaml: extends base.yaml, but there is no file .*base.yaml"),
        ({"own": {"extends": "own.yaml"}}, r"own.yaml: extends own.yaml, which extends this file in turn"),
        (
            {"own": {"extends": "base.yaml"}, "base": {"extends": "own.yaml"}},
            r"base.yaml: extends own.yaml, which extends this file in turn",
        ),
        ({"own": {"extends": ["a", "b"]}}, r"own.yaml: extends: \['a', 'b'\] is no path"),
        ({"own": {"extends": "base.yaml"}, "base": "text"}, r"base.yaml: a recipe is a mapping"),
        (
            {"own": {"extends": "base.yaml"}, "base": {"modle": {}}},
            r"own.yaml over .*base.yaml: .*unknown key 'modle'",
        ),
    ],
)
def test_a_mistake_in_extending_names_the_file(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        load_recipe(written(tmp_path, **files))


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: path.stem)
def test_editors_accept_what_the_reader_accepts(path):
    jsonschema.validate(yaml.safe_load(path.read_text()), recipe_files.json_schema())


def test_editors_are_told_of_keys_that_do_not_exist():
    with pytest.raises(jsonschema.ValidationError, match="epoch"):
        jsonschema.validate({"optimizer": {"epoch": 2}}, recipe_files.json_schema())


def test_every_key_has_a_description():
    schema = recipe_files.json_schema()
    for block in (schema, *schema["$defs"].values()):
        for name, key in block.get("properties", {}).items():
            is_block = "#/$defs/" in str(key)  # which describes itself
            assert is_block or key.get("description"), f"{block['title']}.{name}"
