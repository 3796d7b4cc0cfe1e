"""An exported template renders by default, for any client, the prompt that was trained on."""

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from socsci_jax.data.chat import DEFAULT_TEMPLATE, ChatTemplate
from socsci_jax.data.default_template import default_template
from socsci_jax.errors import InputError

TURNS = "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<answer>' }}{% endif %}"
TEMPLATES = {
    "default": DEFAULT_TEMPLATE,
    "thinking": TURNS
    + "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think></think>' }}{% endif %}",
    "clock": "{{ 'Today: ' + strftime_now('%d %b %Y') + ' in ' + strftime_now(\"%Y\") }}\n" + TURNS,
    "date": "{% if date_string is defined %}{{ date_string }}{% elif strftime_now is defined %}{{ strftime_now('%d.%m.') }}{% endif %}"
    + TURNS,
    "clock by another name": "{% set now = strftime_now %}{{ now(format='%A') if false else strftime_now(format='%A') }}\n"
    + TURNS,
    "tools": "{% if tools is defined %}{{ 'Tools: ' ~ tools }}{% endif %}" + TURNS,
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


@pytest.mark.parametrize(
    "date",
    [
        "{{ strftime_now('%d ' + '%b') }}",
        "{% set form = '%Y' %}{{ strftime_now(form) }}",
        "{{ strftime_now('%m') | int + 1 }}{{ strftime_now('%' ~ 'd') }}",
    ],
)
def test_a_date_that_cannot_be_fixed_is_refused(date):
    template = ChatTemplate(source=date + TURNS, tokens={}, origin="chat_template.jinja")
    with pytest.raises(
        InputError, match=r"chat_template.jinja: a client that renders .* on another day, is not shown"
    ):
        default_template(template)


@pytest.mark.parametrize("chance", ["{{ [1, 2, 3] | random }}", "{{ lipsum() }}"])
def test_a_template_that_throws_dice_is_refused(chance):
    template = ChatTemplate(source=chance + TURNS, tokens={}, origin="chat_template.jinja")
    with pytest.raises(InputError, match="the chat template failed"):
        template.render(MESSAGES, add_generation_prompt=True)
