"""The files next to exported weights, so that a default client does with the folder what was trained.

`transformers` reads the dtype of the tensors from config.json, the ids that end an answer from generation_config.json and
the prompt from chat_template.jinja.  Those of the start speak of the start.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.models.huggingface import StoredTensor
from socsci_jax.reading import parse_json_object
from socsci_jax.training.model_files import GENERATION_CONFIG

TOKENIZER_CONFIG = "tokenizer_config.json"
CHAT_TEMPLATE = "chat_template.jinja"


def companions(*, config_json: bytes, tokenizer: Tokenizer, dtype: str) -> dict[str, bytes]:
    """Contents by file name: config.json, generation_config.json, chat_template.jinja, and tokenizer_config.json.

    Everything of the start is kept but what training changed; a config that says all of it already keeps its bytes.
    """
    folder = tokenizer.folder
    end = tokenizer.end_of_answer_id
    written = {"config.json": _config(config_json, dtype=dtype, end=end)}
    generation = folder / GENERATION_CONFIG
    kept = parse_json_object(generation.read_bytes(), where=str(generation)) if generation.is_file() else {}
    generation_changes = {
        "eos_token_id": _ends(kept.get("eos_token_id"), end),
        "pad_token_id": tokenizer.pad_id,
    }
    written[GENERATION_CONFIG] = _json(kept | generation_changes)
    written[CHAT_TEMPLATE] = tokenizer.default_chat_template().encode()
    settings = folder / TOKENIZER_CONFIG
    if settings.is_file():
        content = settings.read_bytes()
        tree = parse_json_object(content, where=str(settings))
        # Two templates in one folder would leave it to the client which one counts.
        written[TOKENIZER_CONFIG] = (
            _json(_without(tree, "chat_template")) if "chat_template" in tree else content
        )
    return written


def common_dtype(held: Mapping[StoredTensor, Any], dtype: str | None = None) -> str:
    """The dtype in which most values are written (all, if `dtype` is given): what a client should load them in."""
    values: collections.Counter[str] = collections.Counter()
    for tensor, of_tensor in held.items():
        values[np.dtype(dtype or of_tensor).name] += int(np.prod(tensor.shape)) * len(tensor.names)
    return values.most_common(1)[0][0]


def _config(config_json: bytes, *, dtype: str, end: int) -> bytes:
    tree = parse_json_object(config_json, where="config.json")
    key = "torch_dtype" if "torch_dtype" in tree and "dtype" not in tree else "dtype"
    changed = tree | {key: dtype, "eos_token_id": _ends(tree.get("eos_token_id"), end)}
    return config_json if changed == tree else _json(changed)


def _ends(known: object, end: int) -> int | list[int]:
    """The id that ends an answer first, then those that ended a text before."""
    others = known if isinstance(known, list) else [known]
    ids = [end, *(i for i in others if isinstance(i, int) and i != end)]
    return ids[0] if len(ids) == 1 else ids


def _without(tree: dict, key: str) -> dict:
    return {name: value for name, value in tree.items() if name != key}


def _json(tree: dict) -> bytes:
    return (json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode()
