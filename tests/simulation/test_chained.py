"""Chained answers: P(y2 | y1, persona) is that of separate prompts, and respondents are drawn from it."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from random_model import brute_force, random_model
from small import SCALE_1_5, small_item, small_store, small_tokenizer

from socsci_jax.errors import InputError
from socsci_jax.simulation import chained
from socsci_jax.simulation.batches import discard_batches
from socsci_jax.studies.chains import Chain
from socsci_jax.studies.layouts import INTERVIEW, PERSONA_FIRST, STUDY_FIRST
from socsci_jax.studies.scale import Scale

PERSONAS = ({"age": "18-34", "gender": "Female"}, {"age": "65 or older", "gender": None})
NOMINAL = Scale.of_levels({1: "bus", 2: "car", 3: "on foot"}, origin="codebook", nominal=True)
WITH_ALTERNATIVE = Scale.of_levels(range(1, 4), origin="codebook", alternatives={8: "Don't know"})


joint_distributions = functools.partial(chained.joint_distributions, layout=STUDY_FIRST)
draw_respondents = functools.partial(chained.draw_respondents, layout=STUDY_FIRST)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chained")
    store = small_store(folder / "store", people=2)
    model = random_model((store, None, small_tokenizer(store, folder / "tokenizer")))
    config = dataclasses.replace(model.config, max_position_embeddings=2048)
    # Half as large as elsewhere: float32 then holds probabilities to 1e-6.
    return dataclasses.replace(model, config=config, params=jax.tree.map(lambda w: w / 2, model.params))


def chain(*scales: Scale, persona=PERSONAS[0], condition="c0") -> Chain:
    """Outcomes of one arm, one for each scale."""
    items = tuple(
        small_item("s0", condition, f"matter {n}", scale) for n, scale in enumerate(scales, start=1)
    )
    return Chain(items, persona)


def answer_after(asked, layout, one: Chain, given) -> np.ndarray:
    """Brute force: the conversation as a client renders it, a row of its own for every answer to its last question."""
    texts = layout.messages(item=one.items[0], attributes=one.persona)
    for item, answer in zip(one.items[1:], given):
        texts += [
            {"role": "assistant", "content": str(answer)},
            {"role": "user", "content": layout.prompt(item=item, attributes=one.persona)},
        ]
    rendered = asked.tokenizer._template.render(texts, add_generation_prompt=True)
    prompt = asked.tokenizer.encode_template(rendered)
    return brute_force(asked, prompt, layout.answers(one.items[len(given)].scale))


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [STUDY_FIRST, *(pytest.param(o, marks=pytest.mark.slow) for o in (PERSONA_FIRST, INTERVIEW))],
    ids=lambda layout: layout.name,
)
def test_pairs_of_answers_equal_brute_force_over_separate_prompts(asked, layout):
    """P(y1, y2) for all pairs, on scales with an order, without one, and with an alternative that is offered."""
    layout = dataclasses.replace(layout, alternatives="offered")
    pairs = [
        chain(*scales, persona=persona)
        for persona in PERSONAS
        for scales in ((SCALE_1_5, WITH_ALTERNATIVE), (WITH_ALTERNATIVE, NOMINAL))
    ]
    found = joint_distributions(asked, pairs, layout=layout)
    for one, joint in zip(pairs, found, strict=True):
        first, mass = answer_after(asked, layout, one, ())
        expected = [
            p * answer_after(asked, layout, one, (answer,))[0] for answer, p in zip(joint.answers[0], first)
        ]
        np.testing.assert_allclose(joint.probs, expected, atol=1e-6)
        assert joint.probs.sum() == pytest.approx(1, abs=1e-9)
        assert joint.mass[0] == pytest.approx(mass, rel=1e-4)
    depends = [np.abs(j.probs - np.outer(j.probs.sum(1), j.probs.sum(0))).max() for j in found]
    assert max(depends) > 1e-4, "second answers depend on the first ones, a hundred times the tolerance"


def test_three_outcomes_are_enumerated_with_all_that_went_before(asked):
    one = chain(WITH_ALTERNATIVE, WITH_ALTERNATIVE, NOMINAL)
    (joint,) = joint_distributions(asked, [one])
    assert joint.probs.shape == (3, 3, 3)
    given = joint.probs[1, 2] / joint.probs[1, 2].sum()
    np.testing.assert_allclose(given, answer_after(asked, STUDY_FIRST, one, (2, 3))[0], atol=1e-6)


def test_respondents_are_drawn_from_the_joint_distribution(asked):
    one = chain(NOMINAL, WITH_ALTERNATIVE)
    (joint,) = joint_distributions(asked, [one])
    drawn = np.array(draw_respondents(asked, [one] * 4000, [str(n) for n in range(4000)]))
    counts = np.array([[((drawn == (a, b)).all(1)).mean() for b in (1, 2, 3)] for a in (1, 2, 3)])
    error = np.sqrt(joint.probs * (1 - joint.probs) / 4000)
    assert (np.abs(counts - joint.probs) < 4 * error + 1e-9).all()


def test_a_respondent_does_not_depend_on_who_else_is_asked(asked):
    chains = [
        chain(NOMINAL, WITH_ALTERNATIVE, NOMINAL, persona=PERSONAS[n % 2], condition=f"c{n % 3}")
        for n in range(12)
    ]
    keys = [f"r{n}" for n in range(12)]
    every = draw_respondents(asked, chains, keys, seed=3)
    assert draw_respondents(asked, chains[7:9], keys[7:9], seed=3) == every[7:9]
    assert draw_respondents(asked, chains, keys, seed=4) != every
    assert len(set(every)) > 1


def test_what_was_stopped_resumes_with_what_is_not_there(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(chained, "AT_A_TIME", 4)
    out = tmp_path / "rows.csv"
    chains = [chain(NOMINAL, WITH_ALTERNATIVE, persona=PERSONAS[n % 2]) for n in range(10)]
    whole, computed = [chained._distributions], []

    def stops_at_fourth(*arguments):
        computed.append(len(arguments[1]))
        if len(computed) == 4:
            raise KeyboardInterrupt
        return whole[0](*arguments)

    monkeypatch.setattr(chained, "_distributions", stops_at_fourth)
    keys = [str(n) for n in range(10)]
    with pytest.raises(KeyboardInterrupt):
        draw_respondents(asked, chains, keys, beside=out)
    computed.extend([0] * 4)
    found = draw_respondents(asked, chains, keys, beside=out)
    assert computed[8:] == [4, 4, 2, 2], "the first batch of four, of two questions each, was there already"
    assert found == draw_respondents(asked, chains, keys)
    joints = joint_distributions(asked, chains[:2], beside=out)
    again = joint_distributions(asked, chains[:2], beside=out)
    np.testing.assert_array_equal(joints[1].probs, again[1].probs)
    assert draw_respondents(asked, chains, keys, seed=1, beside=out) != found, "another seed resumes nothing"
    assert len(list(tmp_path.iterdir())) == 2
    discard_batches(out)
    assert not list(tmp_path.iterdir())


def test_chains_that_cannot_be_enumerated_say_why(asked):
    first, second = chain(NOMINAL, NOMINAL).items
    open_ended = Chain((first, dataclasses.replace(second, scale=Scale.open_number(origin="stated"))), {})
    hundred = Scale.of_levels(range(101), origin="stated")
    with pytest.raises(InputError, match=r"10,201 combinations .* at most 1,024 are enumerated"):
        joint_distributions(asked, [chain(hundred, hundred, NOMINAL)])
    with pytest.raises(InputError, match="outcome 'matter 2': its scale has no finite set of answers"):
        joint_distributions(asked, [open_ended])
    short = dataclasses.replace(asked, config=dataclasses.replace(asked.config, max_position_embeddings=99))
    with pytest.raises(InputError, match="random takes 99; ask fewer outcomes in one conversation"):
        joint_distributions(short, [chain(NOMINAL, NOMINAL)])
    thinks = dataclasses.replace(
        asked, metadata={"name": "thinks", "recipe": {"data": {"rationales": "x.csv"}}}
    )
    with pytest.raises(InputError, match="thinks: this model writes a rationale before its number"):
        draw_respondents(thinks, [chain(NOMINAL)], ["0"])


def test_what_conversations_share_is_computed_once(asked):
    """The tree of all pairs holds little more than its distinct tokens."""
    from socsci_jax.simulation.conversations import tokenize_conversations

    pairs = [chain(SCALE_1_5, SCALE_1_5, persona=persona) for persona in PERSONAS]
    conversations = [c for pair in pairs for c in chained._all_conversations(pair, STUDY_FIRST)]
    table = tokenize_conversations(conversations, layout=STUDY_FIRST, tokenizer=asked.tokenizer)
    assert len(table.prefixes) == 2 and len(table.prompts) == 12
    first_turn = len(table.prefixes[0]) + len(table.prompts[0])
    assert len(table.prefixes[0]) == first_turn - 1, "five second questions hang below the first"
