"""An OpenAI-compatible chat endpoint, asked once per call, with limits on time, size and patience."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence

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
        try:
            with requests.post(
                f"{self.url.rstrip('/')}/chat/completions",
                json={"model": self.model, "messages": list(messages), "temperature": 0},
                headers=headers,
                timeout=(min(self.timeout_seconds, 10.0), self.timeout_seconds),
                stream=True,
                allow_redirects=False,
            ) as response:
                content = self._content(response, until=started + self.timeout_seconds)
                status = response.status_code
        except requests.RequestException as error:
            reason = "no answer in time" if isinstance(error, requests.Timeout) else type(error).__name__
            raise EndpointFailed(f"{self.url}: {reason}") from None
        if status in _AGAIN:
            raise EndpointFailed(f"{self.url}: answered with status {status}")
        if status != 200:
            said = for_terminal(content[:300].decode("utf-8", "replace"))
            raise InputError(f"{self.url}: the request was refused with status {status} ({said}).")
        return self._reply(content, seconds=time.monotonic() - started)

    def _content(self, response: requests.Response, *, until: float) -> bytes:
        parts, size = [], 0
        for part in response.iter_content(65_536):
            parts.append(part)
            size += len(part)
            if size > MAX_REPLY_BYTES:
                raise EndpointFailed(f"{self.url}: an answer of more than {MAX_REPLY_BYTES:,} bytes")
            if time.monotonic() > until:
                raise EndpointFailed(f"{self.url}: no whole answer within {self.timeout_seconds:g} s")
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
