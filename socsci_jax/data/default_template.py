"""The chat template of an exported folder: what any client renders by default is the prompt that was trained on.

Published templates have switches (Qwen3's `enable_thinking`) and dates (Llama's `date_string`, or today's), which training
holds fixed.  The exported template sets them itself, before the words of the original.
"""

from __future__ import annotations

import datetime
import json
import re

from socsci_jax.data.chat import ChatTemplate
from socsci_jax.data.template_process import FIXED_DATE

_FIXED = "enable_thinking"
_CLOCK = "strftime_now"
_ASKED = re.compile(rf"{_CLOCK}\(\s*([\"'])(.*?)\1\s*\)")


def default_template(template: ChatTemplate) -> str:
    """The source of a template that renders, without any arguments, what `template` does in training."""
    lines = []
    if _FIXED in template.source:
        lines.append(f"{{%- set {_FIXED} = false %}}")
    if _CLOCK in template.source:
        lines.append(_clock(template))
    return "".join(f"{line}\n" for line in lines) + template.source


def _clock(template: ChatTemplate) -> str:
    """A macro in the place of the client's clock, with the day of training in every form that the template asks for."""
    fixed = datetime.datetime(*FIXED_DATE)
    forms = sorted({form for _, form in _ASKED.findall(template.source)})
    cases = "".join(
        f"{{%- {'elif' if number else 'if'} form == {json.dumps(form)} %}}{{{{- {json.dumps(fixed.strftime(form))} }}}}"
        for number, form in enumerate(forms)
    )
    return f"{{%- macro {_CLOCK}(form) %}}{cases}{'{%- endif %}' if cases else ''}{{%- endmacro %}}"
