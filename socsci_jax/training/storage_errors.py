"""Errors of disks and object storage: what is wrong, whether it may pass, and where a folder is."""

from __future__ import annotations

import re
from pathlib import Path

import fsspec
from etils import epath

from socsci_jax.errors import BAD_INPUT, InputError, StorageFailed, ending
from socsci_jax.storage import of_file_system


def absolute(folder: Path | epath.Path | str) -> epath.Path:
    """On a disk from its root; in object storage as it is."""
    if "://" not in str(folder):
        return epath.Path(folder).resolve()
    # Other processes write there too, so lists of what is there must not be kept.
    for protocol in ("gcs", "s3", "az"):
        fsspec.config.conf.setdefault(protocol, {})["use_listings_cache"] = False
    return epath.Path(folder)


# Libraries that speak to object storage over a network.
_NETWORK = frozenset({"aiohttp", "azure", "botocore", "gcsfs", "google", "requests", "urllib3"})
# What TensorStore says when it is not to blame.
_PASSING = re.compile("CURL error|UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|ABORTED")


def failed_reading(folder: epath.Path, error: Exception, otherwise: str) -> InputError | StorageFailed:
    """What to report: that storage did not answer, which says nothing about what it holds; `otherwise` that."""
    if not any(
        isinstance(cause, ConnectionError | TimeoutError)
        or type(cause).__module__.split(".")[0] in _NETWORK
        or _PASSING.search(str(cause))
        for cause in causes(error)
    ):
        return InputError(otherwise)
    return StorageFailed(
        f"{folder}: the storage does not answer as it should ({in_short(error)}); nothing was changed, start the same "
        "command again."
    )


def causes(error: BaseException) -> list[BaseException]:
    """The error and what led to it, nearest first."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain


def in_short(error: BaseException, *, length: int = 300) -> str:
    """One line of what an error says: its beginning names what was done, its end the cause."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= length else f"{text[: length // 2]} ... {text[-length // 2 :]}"


def reason(error: BaseException) -> str:
    """What the file system said, wherever it is among the causes, or the error itself in one line."""
    cause = of_file_system(error)
    return in_short(error) if cause is None else ending(cause)[0]


def needs_somebody(error: BaseException) -> bool:
    """Whether it is one of the file system's errors that somebody must put right: no space, not allowed."""
    cause = of_file_system(error)
    return cause is not None and ending(cause)[1] == BAD_INPUT
