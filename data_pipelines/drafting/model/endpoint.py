"""An OpenAI-compatible chat endpoint, asked once per call, with limits on time, size and patience."""

from __future__ import annotations

import dataclasses
import os
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

import requests

from socsci_jax.errors import InputError
from socsci_jax.foreign_text import for_terminal
from socsci_jax.reading import parse_json_object

MAX_REPLY_BYTES = 1_000_000
MOST_TOKENS = 10**9
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class EndpointFailed(Exception):
    """The endpoint did not answer, for a reason that may pass; one sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back: the text ("" for a refusal), why it ended, and what it took."""

    text: str
    refusal: str
    tokens_in: int | None
    tokens_out: int | None
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where to ask.  `url` is the base that ends in `/v1`; the key is read from the environment and never kept."""

    url: str
    model: str
    key_variable: str = ""
    timeout_seconds: float = 60.0
    retries: int = 3
    patience_seconds: float = 0.5

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(
                f"model endpoint {self.url!r}: an address that begins with http:// or https:// is needed."
            )
        if not self.model:
            raise InputError("model endpoint: name the model to ask.")
        if self.key_variable and not os.environ.get(self.key_variable):
            raise InputError(
                f"environment variable {self.key_variable} is empty; put the endpoint's key there."
            )

    def ask(self, messages: Sequence[dict[str, str]]) -> Reply:
        """One answer.

        Raises EndpointFailed after `retries` repetitions of what may pass (no connection, no answer in time, too
        many requests, a fault of the server), InputError where the endpoint refuses the request as such.
        """
        for attempt in range(self.retries + 1):
            try:
                return self._once(messages)
            except EndpointFailed:
                if attempt == self.retries:
                    raise
                time.sleep(self.patience_seconds * 2**attempt)
        raise AssertionError("unreachable")

    def _once(self, messages: Sequence[dict[str, str]]) -> Reply:
        headers = {"Content-Type": "application/json"}
        if self.key_variable:
            headers["Authorization"] = f"Bearer {os.environ[self.key_variable]}"
        started = time.monotonic()
        status, content = self._exchanged(json={"model": self.model, "messages": list(messages), "temperature": 0}, headers=headers)  # fmt: skip
        if status in _AGAIN:
            raise EndpointFailed(f"{self.url}: answered with status {status}")
        if status != 200:
            said = for_terminal(content[:300].decode("utf-8", "replace"))
            raise InputError(f"{self.url}: the request was refused with status {status} ({said}).")
        return self._reply(content, seconds=time.monotonic() - started)

    def _exchanged(self, **request: Any) -> tuple[int, bytes]:
        """Status and content of one answer; raises EndpointFailed if it is too large, or is not whole in time.

        In a thread, because a server that sends a byte a second ends no wait of a connection.
        """
        done: queue.SimpleQueue[tuple[int, bytes] | Exception] = queue.SimpleQueue()

        def exchange() -> None:
            try:
                with requests.post(
                    f"{self.url.rstrip('/')}/chat/completions",
                    timeout=(min(self.timeout_seconds, 10.0), self.timeout_seconds),
                    stream=True,
                    allow_redirects=False,
                    **request,
                ) as response:
                    done.put((response.status_code, self._content(response)))
            except Exception as error:  # for the thread that waits
                done.put(error)

        threading.Thread(target=exchange, daemon=True).start()
        try:
            outcome = done.get(timeout=self.timeout_seconds)
        except queue.Empty:
            raise EndpointFailed(f"{self.url}: no answer in time") from None
        if isinstance(outcome, requests.RequestException):
            reason = "no answer in time" if isinstance(outcome, requests.Timeout) else type(outcome).__name__
            raise EndpointFailed(f"{self.url}: {reason}") from None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _content(self, response: requests.Response) -> bytes:
        parts, size = [], 0
        for part in response.iter_content(65_536):
            parts.append(part)
            size += len(part)
            if size > MAX_REPLY_BYTES:
                raise EndpointFailed(f"{self.url}: an answer of more than {MAX_REPLY_BYTES:,} bytes")
        return b"".join(parts)

    def _reply(self, content: bytes, *, seconds: float) -> Reply:
        try:
            answer = parse_json_object(content, where=self.url)
        except InputError as error:
            raise EndpointFailed(str(error)) from None
        choices = answer.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        message = first.get("message") if isinstance(first, dict) else None
        if not isinstance(message, dict):
            raise EndpointFailed(f"{self.url}: an answer without choices[0].message")
        text, refusal = message.get("content"), message.get("refusal")
        usage = answer.get("usage") if isinstance(answer.get("usage"), dict) else {}
        if first.get("finish_reason") == "content_filter" and not refusal:
            refusal = "stopped by a content filter"
        return Reply(
            text=text if isinstance(text, str) else "",
            refusal=refusal if isinstance(refusal, str) else "",
            tokens_in=_tokens(usage.get("prompt_tokens")),
            tokens_out=_tokens(usage.get("completion_tokens")),
            seconds=seconds,
        )


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= MOST_TOKENS else None
