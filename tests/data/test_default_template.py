"""An exported template renders by default, for any client, the prompt that was trained on."""

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from socsci_jax.data.chat import DEFAULT_TEMPLATE, ChatTemplate
from socsci_jax.data.default_template import default_template

TURNS = "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<answer>' }}{% endif %}"
TEMPLATES = {
    "default": DEFAULT_TEMPLATE,
    "thinking": TURNS
    + "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think></think>' }}{% endif %}",
    "clock": "{{ 'Today: ' + strftime_now('%d %b %Y') + ' in ' + strftime_now(\"%Y\") }}\n" + TURNS,
    "date": "{% if date_string is defined %}{{ date_string }}{% elif strftime_now is defined %}{{ strftime_now('%d.%m.') }}{% endif %}"
    + TURNS,
}
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How much?"}]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_default_client_renders_what_was_trained_on(name):
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    template = ChatTemplate(source=TEMPLATES[name], tokens=tokens, origin=name)
    trained = template.render(MESSAGES, add_generation_prompt=True)
    (rendered,), _ = render_jinja_template(
        [MESSAGES], chat_template=default_template(template), add_generation_prompt=True, **tokens
    )
    assert rendered == trained
