"""The command line as its users meet it: the whole chain, and one clear sentence for every mistake."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import typer
import yaml
from small import rehash, small_recipe, small_store
from typer.testing import CliRunner

from socsci_jax.cli import app
from socsci_jax.cli.output import as_options, share_of
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.errors import ending
from socsci_jax.locks import only_writer
from socsci_jax.studies.store import StudyStore

ROOT = Path(__file__).resolve().parents[1]


def command(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "socsci_jax", *map(str, arguments)], capture_output=True, text=True
    )


def succeeds(*arguments) -> str:
    result = command(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def fails(*arguments) -> str:
    """Exit status 2 and one sentence, as `main` makes them of what a command raises."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    sentence, status = ending(result.exception)
    assert status == 2, result.exception
    return sentence


@pytest.mark.slow
def test_the_whole_chain_from_deposit_to_exported_model(tmp_path):
    store = tmp_path / "store"
    out = succeeds("data", "build", "synthetic", "small", store)
    assert "records rejected" in out
    held_out = ("--studies", 0.25, "--conditions", 0.3, "--participants", 0.2)
    assert "unseen_conditions" in succeeds("data", "split", store, *held_out)
    assert "Scales" in succeeds("data", "inspect", store)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(small_recipe(StudyStore(store), tmp_path / "run")))
    succeeds("train", recipe, "optimizer.epochs=1", "model.vocab_size=700")
    predictions = tmp_path / "predictions.parquet"
    succeeds("simulate", tmp_path / "run", store, "-o", predictions)
    table = pl.read_parquet(predictions)
    assert table["probs"].list.sum().is_between(1 - 1e-9, 1 + 1e-9).all()
    shown = succeeds("evaluate", predictions, store, "-o", tmp_path / "evaluation", "--minimum-n", 2)
    assert "uniform" in shown
    assert "<svg" in (tmp_path / "evaluation" / "report.html").read_text()
    succeeds("export", tmp_path / "run", tmp_path / "exported")
    assert "all equal" in succeeds("verify", tmp_path / "run", tmp_path / "exported")
    # The exported folder predicts as the run did, and still knows its layout.
    again = tmp_path / "again.parquet"
    succeeds("simulate", tmp_path / "exported", store, "-o", again)
    keys = ["item_id", "participant_id"]
    both = table.join(pl.read_parquet(again), on=keys, how="inner", suffix="_again")
    assert both.height == table.height
    difference = (both["probs"].explode() - both["probs_again"].explode()).abs().max()
    assert difference < 1e-6
    assert "asked to predict with" in fails(
        "simulate", tmp_path / "exported", store, "-o", tmp_path / "x", "--layout", "persona_first"
    )

    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")
    text = "- Age: 34\n\nAnswer exactly as this person would."
    ids = tokenizer(text, return_tensors="pt").input_ids
    assert ids[0].tolist() == load_tokenizer(tmp_path / "run" / "tokenizer").encode(text)
    assert torch.isfinite(model(ids).logits).all()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("cli") / "store")


def test_an_unknown_kind_of_deposit(tmp_path):
    message = fails("data", "build", "tess", tmp_path, tmp_path / "out")
    assert "'tess' of deposit is not known" in message
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_is_not_there(tmp_path):
    for kind in ("tess_archive", "socsci210", "text_classification"):
        assert "nowhere" in fails("data", "build", kind, tmp_path / "nowhere", tmp_path / "out")
        assert list(tmp_path.iterdir()) == []


def test_a_split_that_is_not_there(store, tmp_path):
    message = fails("simulate", tmp_path, store.path, "--split", "mine", "-o", tmp_path / "p")
    assert "there is no split 'mine'" in message
    assert "main" in message


def test_a_share_that_is_none(store):
    assert "between 0 and 1" in fails("data", "split", store.path, "--name", "x", "--conditions", 25)


def test_a_split_of_a_damaged_store_is_not_written(tmp_path):
    store = small_store(tmp_path / "store", studies=2, people=3)
    store.items.with_columns(stimulus=None).write_parquet(store.path / "items.parquet")
    rehash(store.path)
    assert "items.parquet" in fails("data", "split", store.path, "--name", "x", "--studies", 0.5)
    assert [path.name for path in (store.path / "splits").iterdir()] == ["main.parquet"]


def test_a_file_of_study_ids_that_is_none(store, tmp_path):
    (tmp_path / "ids.json").write_text('{"seen": []}')
    assert "under 'unseen'" in fails(
        "data", "split", store.path, "--name", "x", "--studies", tmp_path / "ids.json"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "data build study deposit OUT",
        "data review OUT",
        "simulate model store -o OUT",
        "export run OUT",
        "evaluate predictions.parquet store -o OUT",
        f"sweep {ROOT / 'recipes' / 'tiny.yaml'} --over participants -o OUT",
        "forecast run study.yaml model --calibration store -o OUT",
        "forecast lock forecast -o OUT",
        "forecast score lock answers.csv -o OUT",
        "forecast respondents study.yaml model --people people.csv -o OUT.csv",
    ],
)
def test_an_output_that_another_process_writes_is_left_to_it(store, tmp_path, arguments):
    """It is refused before anything else is looked at: nothing of what is named here exists.  (For `train` see its tests.)"""
    out = store.path if "review" in arguments else tmp_path / "out"
    words = [word.replace("OUT", str(out)) for word in arguments.split()]
    with only_writer(out.with_suffix(".csv") if ".csv" in words[-1] else out):
        assert f"is being written by process {os.getpid()} on " in fails(*words)


def test_an_unknown_recipe_key(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("nmae: x\n")
    ended = command("train", recipe)
    assert ended.returncode == 2
    assert "error: " in ended.stderr and "unknown key 'nmae' (did you mean 'name'?)" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_tokenizer_that_does_not_fit_the_model(store, tmp_path):
    """A checkpoint with fewer embedding rows than the tokenizer has ids."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from small import small_tokenizer

    tokenizer = small_tokenizer(store, tmp_path / "tokenizer")
    config = transformers.Qwen2Config(
        vocab_size=tokenizer.vocab_size - 10,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    transformers.Qwen2ForCausalLM(config).save_pretrained(tmp_path / "model")
    recipe = small_recipe(store, tmp_path / "run")
    recipe["model"] = {"init_from": str(tmp_path / "model"), "tokenizer": str(tmp_path / "tokenizer")}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    message = fails("train", tmp_path / "recipe.yaml")
    assert str(tokenizer.vocab_size - 10) in message
    assert not (tmp_path / "run").exists()


def test_a_model_that_does_not_say_its_layout(store, tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from small import small_tokenizer

    tokenizer = small_tokenizer(store, tmp_path / "model")
    config = transformers.Qwen2Config(
        vocab_size=tokenizer.vocab_size,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    transformers.Qwen2ForCausalLM(config).save_pretrained(tmp_path / "model")
    message = fails("simulate", tmp_path / "model", store.path, "-o", tmp_path / "p.parquet")
    assert "name one (`layout=`)" in message
    assert not (tmp_path / "p.parquet").exists()


def test_help_names_every_command():
    out = succeeds("--help")
    for name in ("data", "train", "simulate", "evaluate", "sweep", "export", "verify", "quickstart"):
        assert name in out


def test_a_trained_tokenizer_that_transformers_would_misread(store, tmp_path):
    recipe = small_recipe(store, tmp_path / "run")
    recipe["model"]["architecture"]["model_type"] = "qwen2"
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert "does not go with qwen2" in fails("train", tmp_path / "recipe.yaml")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("argument", "option"),
    [
        ("pass `replace=True`.", "pass `--replace`."),
        ("name one (`study=`): a, b", "name one (`--study`): a, b"),
        ("with `allow=[balance, bands]`", "with `--allow balance --allow bands`"),
        ("`allow_unknown=True`", "`--allow-unknown`"),
        ("set `optimizer.epochs=1`", "set `optimizer.epochs=1`"),
    ],
)
def test_arguments_of_the_library_are_shown_as_options(argument, option):
    assert as_options(argument) == option


@pytest.mark.parametrize(("written", "share"), [("0.25", 0.25), ("25%", 0.25)])
def test_shares_are_read_as_people_write_them(written, share):
    assert share_of(written) == share


def test_what_is_no_share_says_how_one_is_written():
    with pytest.raises(typer.BadParameter, match=r"write 0\.25 or 25%"):
        share_of("a quarter")


def test_how_answers_are_drawn_is_checked_before_anything_is_opened(tmp_path):
    arguments = ["simulate", "no-model", "no-store", "-o", str(tmp_path / "p.parquet"), "--draws", "2"]
    refused = CliRunner().invoke(app, [*arguments, "--temperature", "nan"])
    assert "temperature is nan" in ending(refused.exception)[0]
    accepted = CliRunner().invoke(app, [*arguments, "--temperature", "0"])
    assert "no-store" in ending(accepted.exception)[0]
