"""Everything that was asked and answered, one JSON line each, kept so that nothing is asked twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.drafting.model.endpoint import Reply
from socsci_jax.errors import InputError
from socsci_jax.reading import parse_json_object
from socsci_jax.storage import writing

MOST_BYTES = 256 * 2**20


def request_key(model: str, messages: Sequence[dict[str, str]]) -> str:
    """A digest of what was asked of whom."""
    asked = json.dumps([model, list(messages)], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


class Transcript:
    """A file of past answers; a line that cannot be read (a crash while writing) is skipped and counted."""

    def __init__(self, path: Path):
        """Raises InputError for a file that is too large or is none of text."""
        self.path = path
        self.skipped = 0
        self._known: dict[str, Reply] = {}
        if not path.exists():
            return
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: larger than {MOST_BYTES // 2**20} MB; begin another transcript.")
        for line in path.read_bytes().splitlines():
            if line.strip():
                self._remember(line)

    def _remember(self, line: bytes) -> None:
        try:
            record = parse_json_object(line, where=str(self.path))
            reply = Reply(
                text=_of(str, record["reply"]),
                refusal=_of(str, record["refusal"]),
                tokens_in=record["tokens_in"] if isinstance(record["tokens_in"], int) else None,
                tokens_out=record["tokens_out"] if isinstance(record["tokens_out"], int) else None,
                seconds=float(record["seconds"]),
            )
            self._known[_of(str, record["key"])] = reply
        except (InputError, KeyError, TypeError, ValueError):
            self.skipped += 1

    def reply(self, key: str) -> Reply | None:
        """The answer that was given before, or None."""
        return self._known.get(key)

    def add(
        self, key: str, *, question: str, messages: Sequence[dict[str, str]], reply: Reply, verdict: str
    ) -> None:
        """Writes an answer down before anything is done with it."""
        record = {
            "key": key,
            "question": question,
            "messages": list(messages),
            "reply": reply.text,
            "refusal": reply.refusal,
            **{name: getattr(reply, name) for name in ("tokens_in", "tokens_out", "seconds")},
            "verdict": verdict,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with writing(self.path), self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            # A line that a crash left half written ends here.
            lead = "" if file.tell() == 0 or _ends_whole(self.path) else "\n"
            file.write(lead + json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._known[key] = dataclasses.replace(reply)


def _of(kind: type, value: object):
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected")
    return value


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
