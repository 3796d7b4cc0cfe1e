"""Chat templates: what a model's own Jinja template writes around the text of a prompt.

A template is a program that came with the model, so it is rendered in Jinja's sandbox, in a process of its own
with bounds on its time, memory and output, and with marks in the place of the texts: what it writes is then cut at the
marks, and no text of a study is ever read as template.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from socsci_jax import bounds
from socsci_jax.data import template_process
from socsci_jax.data.limited_process import last_words, run_limited
from socsci_jax.errors import InputError
from socsci_jax.reading import read_text
from socsci_jax.wording import counted

# Several spaces, a line break, quotes and angle brackets: a template that escapes, quotes or reflows its
# messages does not give these back.
SYSTEM_MARK = "SystemText  \n\"of\" <the> 'prompt' & 71f0"
USER_MARK = "UserText  \n\"of\" <the> 'prompt' & 52c9"
TURN_MARK = "Turn{number}Text  \n\"of\" <the> 'prompt' & 3e17"
ANSWER_MARK = "AnswerText 0b6e"


def turn_mark(number: int) -> str:
    return TURN_MARK.format(number=number)


# For models that come without a template, as base models do.
DEFAULT_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {{- "Answer: " ~ message.content ~ eos_token }}
    {%- else %}
        {{- message.content ~ "\n\n" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "Answer: " }}
{%- endif %}
"""

# The template of tokenizers that are trained here.
CHATML_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
OWN_TEMPLATES = (DEFAULT_TEMPLATE, CHATML_TEMPLATE)
# Qwen3 would otherwise leave room for thoughts before the answer.
SWITCHES = {"enable_thinking": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """A Jinja chat template; `tokens` are the special tokens it may name (`bos_token`, `eos_token`, ...)."""

    source: str
    tokens: Mapping[str, str]
    origin: str  # file that it was read from, for messages

    def render(
        self,
        messages: list[dict[str, str]],
        *,
        add_generation_prompt: bool,
        switches: Mapping[str, bool] = SWITCHES,
        day: tuple[int, int, int] = template_process.FIXED_DATE,
    ) -> str:
        """The text of a conversation, on a day; raises InputError if the template refuses it or is broken."""
        variables = {
            "messages": messages,
            "add_generation_prompt": add_generation_prompt,
            # As `transformers` gives them where a caller does not.
            "tools": None,
            "documents": None,
            **switches,
            **self.tokens,
        }
        try:
            if self.source in OWN_TEMPLATES:
                return template_process.render(
                    self.source, variables, characters=bounds.RENDERED_CHARACTERS, day=day
                )
            return _rendered(self.source, json.dumps(variables), day)
        except ValueError as error:
            roles = [message["role"] for message in messages]
            raise InputError(
                f"{self.origin}: the chat template failed on messages of the roles {roles} ({error}); correct it, "
                "or leave the system text empty if the template takes none."
            ) from error

    def around_user_text(self, *, system: str, earlier: int = 0) -> tuple[str, str]:
        """What stands before and after the user's last text.

        In the first, SYSTEM_MARK stands for the system text, and `turn_mark(n)` for the text of earlier turn n of so many
        `earlier` ones, the user's and the assistant's by turns.
        An empty `system` sends no system message: a template may then write its own.
        Raises InputError if the template loses, repeats or changes one of these texts.
        """
        if earlier:
            return self._around_several(system=system, earlier=earlier)
        user = {"role": "user", "content": USER_MARK}
        head = [{"role": "system", "content": SYSTEM_MARK}] if system else []
        text = self.render([*head, user], add_generation_prompt=True)
        if text.count(USER_MARK) != 1:
            raise InputError(
                f"{self.origin}: the chat template must write the user's text once and unchanged, but it was found "
                f"{counted(text.count(USER_MARK), 'time')} in what it wrote; correct the template."
            )
        before, after = text.split(USER_MARK)
        if system:
            if before.count(SYSTEM_MARK) != 1 or SYSTEM_MARK in after:
                raise InputError(
                    f"{self.origin}: the chat template must write the system text once, unchanged and before the "
                    "user's; correct the template, or leave the system text empty."
                )
            real = self.render([{"role": "system", "content": system}, user], add_generation_prompt=True)
            if real != before.replace(SYSTEM_MARK, system) + USER_MARK + after:
                raise InputError(
                    f"{self.origin}: the chat template changes the system text {system[:40]!r}; begin and end it "
                    "without white space."
                )
        return before, after

    def _around_several(self, *, system: str, earlier: int) -> tuple[str, str]:
        # Looks at the system text alone, which is compared with what is rendered of it.
        self.around_user_text(system=system)
        marks = [turn_mark(number) for number in range(earlier)]
        messages = [
            {"role": ("user", "assistant")[number % 2], "content": text}
            for number, text in enumerate([*marks, USER_MARK])
        ]
        head = [{"role": "system", "content": SYSTEM_MARK}] if system else []
        text = self.render([*head, *messages], add_generation_prompt=True)
        whole = [*([SYSTEM_MARK] if system else []), *marks, USER_MARK]
        places = [text.find(mark) for mark in whole]
        if any(text.count(mark) != 1 for mark in whole) or places != sorted(places):
            raise InputError(
                f"{self.origin}: the chat template must write each of several turns once, unchanged and in their order; "
                "correct the template, or use a layout without earlier turns."
            )
        before, after = text.split(USER_MARK)
        return before, after

    def after_answer(self) -> str | None:
        """What follows the answer of an assistant's turn, or None if the template does not write the answer once."""
        text = self.render(
            [{"role": "user", "content": USER_MARK}, {"role": "assistant", "content": ANSWER_MARK}],
            add_generation_prompt=False,
        )
        return text.split(ANSWER_MARK)[1] if text.count(ANSWER_MARK) == 1 else None


def read_chat_template(folder: Path, *, config: Mapping, tokens: Mapping[str, str]) -> ChatTemplate:
    """The folder's `chat_template.jinja`, else the one in `config` (tokenizer_config.json), else a plain default.

    The default writes the texts one below the other and "Answer: " at the end.
    """
    path = folder / "chat_template.jinja"
    if path.is_file():
        source = read_text(path, limit=bounds.CHAT_TEMPLATE_BYTES, hint="fetch the file again")
        return ChatTemplate(source=source, tokens=tokens, origin=str(path))
    origin = str(folder / "tokenizer_config.json")
    match config.get("chat_template"):
        case None:
            return ChatTemplate(source=DEFAULT_TEMPLATE, tokens=tokens, origin="the built-in chat template")
        case str(source):
            return ChatTemplate(source=source, tokens=tokens, origin=origin)
        case list(entries) if all(isinstance(e, dict) and {"name", "template"} <= e.keys() for e in entries):
            named = {str(entry["name"]): entry["template"] for entry in entries}
            if isinstance(named.get("default"), str):
                return ChatTemplate(source=named["default"], tokens=tokens, origin=origin)
            raise InputError(
                f"{origin}: chat_template has the templates {sorted(named)} but none named 'default'; rename the "
                "one to be used, or put it into chat_template.jinja."
            )
    raise InputError(
        f"{origin}: chat_template must be a text or a list of {{name, template}}, found "
        f"{type(config['chat_template']).__name__}; put the template into chat_template.jinja."
    )


@functools.lru_cache(maxsize=64)
def _rendered(source: str, variables: str, day: tuple[int, int, int]) -> str:
    """What a template writes, in a process of its own; `variables` is JSON.  Raises ValueError if it fails."""
    task = {
        "source": source,
        "variables": json.loads(variables),
        "day": day,
        "characters": bounds.RENDERED_CHARACTERS,
        "bytes": bounds.RENDER_BYTES,
        "seconds": bounds.RENDER_SECONDS,
    }
    try:
        ended = run_limited(template_process, task, seconds=bounds.RENDER_SECONDS)
    except subprocess.TimeoutExpired:
        raise ValueError(f"it took more than {bounds.RENDER_SECONDS} s") from None
    if ended.returncode:
        raise ValueError(
            f"it took more than {bounds.RENDER_BYTES:,} bytes, or its process failed ({last_words(ended)})"
        )
    answer = json.loads(ended.stdout)
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["text"]
