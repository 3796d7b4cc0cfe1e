"""The chat template of an exported folder: what any client renders by default is the prompt that was trained on.

Published templates have switches (Qwen3's `enable_thinking`) and dates (Llama's `date_string`, or today's), which training
holds fixed.  The exported template sets them itself, before the words of the original.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from typing import Any

from socsci_jax.data.chat import OWN_TEMPLATES, ChatTemplate
from socsci_jax.data.template_process import FIXED_DATE
from socsci_jax.errors import InputError

_FIXED = "enable_thinking"
_CLOCK = "strftime_now"
_ASKED = re.compile(rf"{_CLOCK}\(\s*(?:format\s*=\s*)?([\"'])(.*?)\1\s*\)")
# A day that differs from that of training in its year, month, day and day of the week.
_ANOTHER_DAY = (2031, 2, 9)
_TURN = {"role": "user", "content": "How much?"}
_CONVERSATIONS = (
    [_TURN],
    [{"role": "system", "content": "Be brief."}, _TURN],
    [_TURN, {"role": "assistant", "content": "5"}, _TURN],
)


def default_template(template: ChatTemplate) -> str:
    """The source of a template that renders, without any arguments and on any day, what `template` does in training.

    Raises InputError if a client would still be shown another prompt, as where a form of the date is put together.
    """
    if template.source in OWN_TEMPLATES:
        return template.source
    lines = []
    if _FIXED in template.source:
        lines.append(f"{{%- set {_FIXED} = false %}}")
    if _CLOCK in template.source:
        lines.append(_clock(template))
    source = "".join(f"{line}\n" for line in lines) + template.source
    _check(template, source)
    return source


def _clock(template: ChatTemplate) -> str:
    """A macro in the place of the client's clock, with the day of training in every form that the template asks for."""
    fixed = datetime.datetime(*FIXED_DATE)
    forms = sorted({form for _, form in _ASKED.findall(template.source)})
    cases = "".join(
        f"{{%- {'elif' if number else 'if'} format == {json.dumps(form)} %}}{{{{- {json.dumps(fixed.strftime(form))} }}}}"
        for number, form in enumerate(forms)
    )
    return f"{{%- macro {_CLOCK}(format) %}}{cases}{'{%- endif %}' if cases else ''}{{%- endmacro %}}"


def _check(template: ChatTemplate, source: str) -> None:
    exported = dataclasses.replace(template, source=source)
    for messages in _CONVERSATIONS:
        if _text(template, messages) != _text(exported, messages, day=_ANOTHER_DAY, switches={}):
            raise InputError(
                f"{template.origin}: a client that renders this chat template without arguments, on another day, is not "
                "shown the prompt that was trained on; write its date and its switches into it as plain text."
            )


def _text(template: ChatTemplate, messages: list[dict[str, str]], **settings: Any) -> str | None:
    """What is rendered, or None where the template does not take such a conversation."""
    try:
        return template.render(messages, add_generation_prompt=True, **settings)
    except InputError:
        return None
