"""What a default `transformers` client does with an exported folder is what was trained: prompt, distribution, end."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import transformers
from exported_runs import one_device, run_of_folder
from small import SCALE_1_5, small_item, tokenizer_folder
from tiny_models import huggingface_model, save

from socsci_jax.data.prompt_table import tokenize_prompts
from socsci_jax.model_export import export_run
from socsci_jax.model_io import open_model
from socsci_jax.simulation.predict import predict
from socsci_jax.studies.layouts import INTERVIEW, PERSONA_FIRST, STUDY_FIRST
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.prompts import Turn

torch = pytest.importorskip("torch")

# Today's date stands in it, as in Llama's.
THINKING = (
    "{{ 'Today: ' + strftime_now('%d %b %Y') + '\n' }}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ 'no thoughts\n\n' }}{% endif %}{% endif %}"
)
PAIRS = Pairs.cross(
    [small_item("s", "c", "taxes", SCALE_1_5), small_item("s", "d", "taxes", SCALE_1_5)],
    [{"age": "34", "gender": "Female"}, {"age": None, "gender": "Male"}],
)


def thinking(folder):
    (folder / "chat_template.jinja").write_text(THINKING)


def base_with_another_eos(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "<|endoftext|>"}))
    (folder / "generation_config.json").write_text('{"eos_token_id": 0, "bos_token_id": 1}')


def without_template(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module", params=[thinking, base_with_another_eos, without_template])
def exported(request, tmp_path_factory):
    """A bfloat16 start, held in float32 as training holds it, exported; tests only read it."""
    made = tmp_path_factory.mktemp("exported")
    source = save(
        huggingface_model("qwen3", vocab_size=320, max_position_embeddings=512),
        made / "source",
        dtype=torch.bfloat16,
    )
    folder = shutil.copytree(tokenizer_folder(), made / "tokenizer")
    request.param(folder)
    run = run_of_folder(source, made / "run", tokenizer=folder)
    export_run(run.path, made / "out", dtype="float32")
    return made / "out"


# An example that was answered comes before the item, and texts look like what they are not.
EXAMPLE = dataclasses.replace(
    STUDY_FIRST, name="example", turns=(Turn(user="{question}", assistant="Turn1Text 5"),)
)
SEVERAL = dataclasses.replace(
    INTERVIEW, name="several", turns=(Turn(user=" Who are you?", assistant="{persona}\n"), *INTERVIEW.turns)
)


def messages_of(layout, pair):
    item, person = PAIRS.items[pair["item_id"]], PAIRS.personas[pair["study_id"], pair["participant_id"]]
    return layout.messages(item=item, attributes=person)


@pytest.mark.parametrize(
    "layout", [STUDY_FIRST, PERSONA_FIRST, INTERVIEW, EXAMPLE, SEVERAL], ids=lambda layout: layout.name
)
def test_prompt_ids_are_those_of_training(exported, layout):
    client = transformers.AutoTokenizer.from_pretrained(exported)
    model = open_model(str(exported), mesh=one_device())
    table = tokenize_prompts(PAIRS, layout=layout, tokenizer=model.tokenizer)
    for n, pair in enumerate(PAIRS.frame.iter_rows(named=True)):
        messages = messages_of(layout, pair)
        ids = client.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        ours = [*table.prefixes[table.pair_prefix[n]], *table.prompts[table.pair_prompt[n]]]
        assert ids == [int(i) for i in ours]


@pytest.mark.parametrize(
    "layout", [STUDY_FIRST, pytest.param(SEVERAL, marks=pytest.mark.slow)], ids=lambda layout: layout.name
)
def test_the_distribution_is_that_of_the_default_client(exported, layout):
    client = transformers.AutoTokenizer.from_pretrained(exported)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(exported).eval()
    assert theirs.dtype == torch.float32
    model = dataclasses.replace(open_model(str(exported), mesh=one_device()), layout=layout)
    found = predict(model, PAIRS, show_progress=False).frame
    end = model.tokenizer.end_of_answer_id
    for n, pair in enumerate(PAIRS.frame.iter_rows(named=True)):
        prompt = client.apply_chat_template(
            messages_of(layout, pair), add_generation_prompt=True, return_dict=True
        )["input_ids"]
        answers = [[*model.tokenizer.encode(str(level)), end] for level in range(1, 6)]
        assert len({len(answer) for answer in answers}) == 1
        with torch.no_grad():
            logits = theirs(torch.tensor([[*prompt, *answer] for answer in answers])).logits
        log_probs = torch.log_softmax(logits[:, len(prompt) - 1 : -1], -1).numpy()
        totals = [
            sum(row[i, token] for i, token in enumerate(answer)) for row, answer in zip(log_probs, answers)
        ]
        probs = np.exp(totals) / np.exp(totals).sum()
        np.testing.assert_allclose(found["probs"][n], probs, atol=1e-5)


def test_generation_ends_after_the_answer(exported):
    model = open_model(str(exported), mesh=one_device())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(exported).eval()
    end = model.tokenizer.end_of_answer_id
    # Whatever was written, the end of an answer is the next token.
    theirs.lm_head.weight = torch.nn.Parameter(theirs.lm_head.weight.detach().clone())
    with torch.no_grad():
        bias = torch.full((theirs.config.vocab_size,), -1e4)
        bias[end] = 0
    theirs.lm_head.bias = torch.nn.Parameter(bias)
    written = theirs.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=8, do_sample=False)[0].tolist()
    assert written == [5, 6, 7, end]


def test_the_model_card_says_what_the_hub_expects(exported):
    header, _, body = (exported / "README.md").read_text().removeprefix("---\n").partition("---\n")
    assert re.search(r"(?m)^base_model: ", header) and "base_model_relation: finetune" in header
    for title in (
        "Base model and data",
        "What was held out",
        "Metrics",
        "How to prompt it",
        "What not to use it for",
    ):
        assert f"## {title}" in body
    assert "**missing**" in body
