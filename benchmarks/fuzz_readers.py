"""The readers that are fuzzed: how a whole input is made in a folder, and how it is read."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import yaml


@dataclasses.dataclass(frozen=True)
class Reader:
    """`make` fills an empty folder with a whole input, `read` reads it from such a folder."""

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]


# --- stores and tables ------------------------------------------------------------------------------------------------


def _make_store(folder: Path) -> None:
    from data_pipelines.synthetic import studies
    from socsci_jax.studies.splits import make_split

    store = studies.build(folder / "store", config=studies.PRESETS["small"], command="fuzz")
    make_split(store, name="main", seed=0, studies=0.3, conditions=0.3).save(store)


def _read_store(folder: Path) -> None:
    from socsci_jax.studies.inspect import inspect_store
    from socsci_jax.studies.splits import Split
    from socsci_jax.studies.store import StudyStore

    store = StudyStore(folder / "store")
    _ = store.responses, store.rejects, store.personas, store.item_by_id
    Split.load(store, "main").label(store)
    inspect_store(store)


def _make_predictions(folder: Path) -> None:
    import polars as pl

    from socsci_jax.studies.store import StudyStore

    _make_store(folder)
    store = StudyStore(folder / "store")
    rows = [
        {"item_id": i, "participant_id": None, "levels": list(item.scale.levels), "probs": [1 / n] * n}
        for i, item in store.item_by_id.items()
        if (n := len(item.scale.levels))
    ]
    frame = pl.DataFrame(rows, schema_overrides={"participant_id": pl.String})
    frame.write_parquet(folder / "p.parquet")
    lists = [
        pl.col(name).map_elements(lambda v: json.dumps(list(v)), pl.String) for name in ("levels", "probs")
    ]
    frame.with_columns(lists).write_csv(folder / "p.csv")


def _read_predictions(folder: Path) -> None:
    from socsci_jax.errors import InputError
    from socsci_jax.studies.predictions import read_predictions
    from socsci_jax.studies.store import StudyStore

    store, refused = StudyStore(folder / "store"), None
    for name in ("p.parquet", "p.csv"):
        try:
            read_predictions(folder / name, store)
        except InputError as error:
            refused = error
    if refused:
        raise refused


def _make_rationales(folder: Path) -> None:
    import polars as pl

    frame = pl.DataFrame(
        {"item_id": ["a", "b"], "participant_id": ["p", "p"], "rationale": ["Because.", "So."]}
    )
    frame.write_csv(folder / "r.csv")
    frame.write_parquet(folder / "r.parquet")


def _read_rationales(folder: Path) -> None:
    from socsci_jax.data.rationales import read_rationales

    for name in ("r.csv", "r.parquet"):
        read_rationales(folder / name, end=" ")


# --- deposits ---------------------------------------------------------------------------------------------------------


def _builds(kind: str, source: str = "deposit") -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        import data_pipelines

        return data_pipelines.build(kind, str(folder / source), folder / "out", command="fuzz", replace=True)

    return read


def _make_documents(folder: Path) -> None:
    from data_pipelines.archives.document_codebook import CODEBOOK, DOCUMENTS

    deposit = folder / "deposit"
    deposit.mkdir()
    labels = [{"code": 1, "label": "Traffic"}, {"code": 2, "label": "Parks", "definition": "and ponds"}]
    variable = {"name": "topic", "question": "What is it about?", "labels": labels}
    (deposit / CODEBOOK).write_text(
        yaml.safe_dump({"title": "Letters", "variables": [variable]}, sort_keys=False)
    )
    rows = "".join(f'letter-{i},ada,"Dear council, letter {i}.",{1 + i % 2}\n' for i in range(8))
    (deposit / DOCUMENTS).write_text("id,coder,text,topic\n" + rows)


def _make_tess(folder: Path) -> None:
    deposit = folder / "deposit"
    deposit.mkdir()
    (deposit / "conditions.csv").write_text(
        "study,title,condition.name,condition.text,blurb,Exclude\n"
        'kites,Kites,control,,"You walk in a park.",0\nkites,,warning,"A sign says no kites.","You walk in a park.",0\n'
    )
    (deposit / "outcomes.csv").write_text(
        "study,title,outcome.name,outcome.text,outcome.scale,outcome.limits,outcome.lower,outcome.upper,exclude\n"
        'kites,,anger,How angry?,"1 Calm\n2 Neither\n3 Angry",1-3,,,0\n'
    )
    header = (
        "study,outcome.name,y,condition.name,GENDER,race_4,pid_3,age_5,EDUC4,ideo_3,outcome.min,outcome.max\n"
    )
    rows = "".join(
        f"kites,anger,{1 + i % 3},{'warning' if i % 2 else 'control'},Male,White,Democrat,Old,BA,Liberal,1,3\n"
        for i in range(12)
    )
    (deposit / "responses.csv.gz").write_bytes(gzip.compress((header + rows).encode()))


def _make_socsci210(folder: Path) -> None:
    deposit = folder / "deposit"
    deposit.mkdir()
    text = "A kite flies. How angry are you? Answer with a number from 1 (calm) to 3 (angry)."
    rows = [
        {
            **{
                "sample_id": i,
                "participant": i,
                "response": 1 + i % 3,
                "condition_num": i % 2,
                "task_num": 0,
            },
            **{"study_id": "kites", "stimuli": text, "prompt": text, "reasoning": None},
            "demographic": {"age": 30 + i, "gender": "Female", "party_id": None},
        }
        for i in range(12)
    ]
    (deposit / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _make_socsci210_parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _make_socsci210(folder)
    lines = (folder / "deposit" / "rows.jsonl").read_text().splitlines()
    pq.write_table(
        pa.Table.from_pylist([json.loads(line) for line in lines]), folder / "deposit" / "rows.parquet"
    )
    (folder / "deposit" / "rows.jsonl").unlink()


# --- recipes, specifications, runs ------------------------------------------------------------------------------------


def _make_recipe(folder: Path) -> None:
    recipes = Path(__file__).resolve().parent.parent / "recipes"
    (folder / "recipe.yaml").write_bytes((recipes / "tiny.yaml").read_bytes())
    (folder / "above.yaml").write_text("extends: recipe.yaml\noptimizer: {epochs: 2}\n")
    (folder / "override.txt").write_text("optimizer.epochs=3")


def _read_recipe(folder: Path) -> object:
    from socsci_jax.training.recipe_files import load_recipe

    override = (folder / "override.txt").read_bytes().decode(errors="surrogateescape")
    return load_recipe(folder / "above.yaml", [override])


def _make_run(folder: Path) -> None:
    from socsci_jax.training.recipe_files import load_recipe

    _make_recipe(folder)
    (folder / "recipe.yaml").write_text(load_recipe(folder / "above.yaml").rendered())
    from socsci_jax.studies.prompts import STUDY_FIRST

    (folder / "run.json").write_text(json.dumps({"run_id": "a", "layout": STUDY_FIRST.to_dict()}))
    _make_config(folder)


def _read_run(folder: Path) -> object:
    from socsci_jax.training.run import RunFolder

    run = RunFolder(folder)
    return run.recipe, run.layout, run.config


def _make_specification(folder: Path) -> None:
    tree = {
        "study": "kites",
        "factors": {"sign": {"levels": {"no": {}, "yes": {"text": "A sign says no kites."}}}},
        "outcomes": {"anger": {"question": "How angry?", "scale": {"levels": {1: "Calm", 2: "Angry"}}}},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))


def _read_specification(folder: Path) -> object:
    from socsci_jax.studies.specification_files import load_specification

    return load_specification(folder / "study.yaml")


def _make_layout(folder: Path) -> None:
    from socsci_jax.studies.prompts import STUDY_FIRST

    (folder / "layout.json").write_text(json.dumps(STUDY_FIRST.to_dict()))


def _read_layout(folder: Path) -> object:
    from socsci_jax.studies.prompts import load_layout

    return load_layout(folder / "layout.json")


# --- models -----------------------------------------------------------------------------------------------------------


def _make_config(folder: Path) -> None:
    rope = {
        **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
        "original_max_position_embeddings": 8192,
    }
    config = {
        **{
            "model_type": "llama",
            "vocab_size": 64,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
        },
        **{
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "rms_norm_eps": 1e-6,
        },
        **{"rope_theta": 10000.0, "rope_scaling": rope, "tie_word_embeddings": True, "eos_token_id": [1, 2]},
    }
    (folder / "config.json").write_text(json.dumps(config))


def _make_weights(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    from socsci_jax.models.config import from_huggingface
    from socsci_jax.models.huggingface import stored_tensors

    _make_config(folder)
    tensors = {
        name: np.zeros(tensor.shape, np.float32)
        for tensor in stored_tensors(from_huggingface(folder))
        for name in tensor.names
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _read_weights(folder: Path) -> None:
    from socsci_jax.models.config import from_huggingface
    from socsci_jax.models.huggingface import locate_model

    _, located = locate_model(folder, from_huggingface(folder), one_dtype=False)
    for tensor in located.values():
        for _ in tensor.blocks():
            pass


def _make_adapter(folder: Path) -> None:
    facts = {
        **{"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "org/base", "r": 4},
        **{"lora_alpha": 8, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"], "bias": "none"},
    }
    (folder / "adapter_config.json").write_text(json.dumps(facts))


def _read_adapter(folder: Path) -> object:
    from socsci_jax.models.adapters import base_of_adapter, read_adapter_config

    return base_of_adapter(folder), read_adapter_config(folder)


def _make_tokenizer(folder: Path) -> None:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(letters)} | {"on": 256, "tw": 257}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, [("o", "n"), ("t", "w")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|end|>"])
    backend.save(str(folder / "tokenizer.json"))
    template = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}"
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": {"content": "<|end|>"}, "chat_template": template})
    )


def _read_tokenizer(folder: Path) -> None:
    from socsci_jax.data.tokenizers import load_tokenizer

    tokenizer = load_tokenizer(folder)
    tokenizer.decode(tokenizer.encode("one two 3\n"))


def _read_template(folder: Path) -> None:
    from socsci_jax.data.tokenizers import load_tokenizer

    load_tokenizer(folder).prompt_template(system="Be kind.")


# --- other processes --------------------------------------------------------------------------------------------------


def _make_messages(folder: Path) -> None:
    messages = [
        {"gather": 0, "value": {"a": 1}},
        {"end": "over", "status": 2, "stacks": False},
        {"leave": True},
    ]
    (folder / "messages").write_bytes(b"\n".join(json.dumps(message).encode() for message in messages))


def _read_messages(folder: Path) -> None:
    """What is sent by somebody who knows the secret, and what by somebody who does not."""
    from socsci_jax.distributed.peers import _is_hello, _is_message
    from socsci_jax.errors import InputError
    from socsci_jax.reading import parse_json_object

    for line in (folder / "messages").read_bytes().split(b"\n"):
        try:
            message = parse_json_object(line, where="message", finite=False)
        except InputError:
            continue
        _is_message(message)
        _is_hello(message)


READERS = {
    reader.name: reader
    for reader in (
        Reader("recipe", _make_recipe, _read_recipe),
        Reader("run", _make_run, _read_run),
        Reader("store", _make_store, _read_store),
        Reader("predictions", _make_predictions, _read_predictions),
        Reader("rationales", _make_rationales, _read_rationales),
        Reader("specification", _make_specification, _read_specification),
        Reader("layout", _make_layout, _read_layout),
        Reader("documents", _make_documents, _builds("text_classification")),
        Reader("tess", _make_tess, _builds("tess_archive")),
        Reader("socsci210", _make_socsci210, _builds("socsci210")),
        Reader("socsci210-parquet", _make_socsci210_parquet, _builds("socsci210")),
        Reader("model-config", _make_config, lambda folder: _config_of(folder)),
        Reader("weights", _make_weights, _read_weights),
        Reader("adapter", _make_adapter, _read_adapter),
        Reader("tokenizer", _make_tokenizer, _read_tokenizer),
        Reader("chat-template", _make_tokenizer, _read_template),
        Reader("messages", _make_messages, _read_messages),
    )
}


def _config_of(folder: Path) -> object:
    from socsci_jax.models.config import from_huggingface

    return from_huggingface(folder)
