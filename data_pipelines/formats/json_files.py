"""JSON of a deposit, read under limits, and what stands at a place in it."""

from __future__ import annotations

import json
from pathlib import Path

from data_pipelines.formats.csv_table import decoded
from data_pipelines.formats.limits import LARGEST_DOCUMENT, read_bytes
from socsci_jax.errors import InputError


def read_json(path: Path) -> object:
    """Raises InputError for a file that is damaged, too large or too deep."""
    text, _ = decoded(path, read_bytes(path, most=LARGEST_DOCUMENT), encoding=None)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable JSON ({str(error)[:200]}).") from None


def at_pointer(tree: object, pointer: str) -> object:
    """The value at a JSON pointer (RFC 6901); raises KeyError with the step that leads nowhere."""
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(tree, dict) and key in tree:
            tree = tree[key]
        elif isinstance(tree, list) and key.isdigit() and len(key) < 9 and int(key) < len(tree):
            tree = tree[int(key)]
        else:
            raise KeyError(key)
    return tree
