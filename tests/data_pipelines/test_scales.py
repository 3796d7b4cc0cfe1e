"""Reading the scale from the words that a participant read."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.scales.nonresponse import says_alternative, says_missing
from data_pipelines.scales.sentences import TextParts, read_scale, split_text
from socsci_jax.studies.answer_formats import answer_format
from socsci_jax.studies.schema import MAX_LEVELS, Scale

# The vignette is full of numbers that are nobody's answer.
VIGNETTE = 'You read "In 1999, 3 to 5 neighbors (1 = Ann, 2 = Bo) paid $40 each." and then were asked: "'
QUESTION = "How fair was that? "


def scale_of(told: str, *, question: str = QUESTION) -> Scale:
    return read_scale(f'{VIGNETTE}{question}{told}"')


def labels_of(scale: Scale) -> dict[int, str]:
    return {level: label for level, label in zip(scale.levels, scale.labels, strict=False) if label}


def levels(lo: int, hi: int, step: int = 1) -> tuple[int, ...]:
    return tuple(range(lo, hi + 1, step))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("Only return an integer from 1 to 7, nothing else.", levels(1, 7)),
        ("Only return a number from 1 to 6.", levels(1, 6)),
        ("Only return a value between 0 and 10.", levels(0, 10)),
        ("Only return an integer 1-5.", levels(1, 5)),
        ("Only return an integer from 1 – 5.", levels(1, 5)),
        ("Only return 1 through 5.", levels(1, 5)),
        ("Only return an integer in [1, 7].", levels(1, 7)),
        ("Only return a number (0-10).", levels(0, 10)),
        ("Only return an integer from 7 to 1.", levels(1, 7)),
        ("Only return an integer from -3 to +3.", levels(-3, 3)),
        ("Only return an integer from −3–3.", levels(-3, 3)),
        ("Only return an integer from one to seven.", levels(1, 7)),
        ("Only return a percentage from 0% to 100%.", levels(0, 100)),
        ("Only return a whole number between 0 and 100 percent.", levels(0, 100)),
        ("Only return an integer from $0 to $500.", levels(0, 500)),
        ("Only return an integer between 0 and 1,000.", levels(0, 1000)),
        ("Only return a multiple of 100 between 0 and 10,000.", levels(0, 10_000, 100)),
        ("Only return an integer from 0 to 100 in increments of 10.", levels(0, 100, 10)),
        ("Only return 1, 2, 3, or 4.", levels(1, 4)),
        ("Only return an integer (1, 2, 3, or 4), nothing else.", levels(1, 4)),
        ("Only return 1, 2, 3, ..., 7.", levels(1, 7)),
        ("Only return 0, 25, 50, 75, or 100.", levels(0, 100, 25)),
        ("Only return either 0 or 1.", levels(0, 1)),
        ("Only return '1' or '2'.", levels(1, 2)),
        ("Please answer with a number between 0 and 10.", levels(0, 10)),
        ("Respond with only a number from 1 to 5.", levels(1, 5)),
        ("Reply with just the number (1-7).", levels(1, 7)),
        ("Return only an integer from 1 to 5.", levels(1, 5)),
        ("Select one of 1, 2 or 3.", levels(1, 3)),
        ("Answer on a 1 to 7 scale.", levels(1, 7)),
        ("Your response must be an integer between 0 and 100.", levels(0, 100)),
        ("Enter any number between -10 and 10.", levels(-10, 10)),
    ],
)
def test_a_range_or_list_becomes_its_levels(told: str, expected: tuple[int, ...]) -> None:
    scale = scale_of(told)
    assert (scale.kind, scale.levels, scale.labels, scale.origin) == ("levels", expected, (), "stated")


YES_NO = {1: "Yes", 2: "No"}
ENDS = {1: "Very bad", 5: "Very good"}


@pytest.mark.parametrize(
    ("told", "expected", "labels"),
    [
        ("Only return an integer from 1 to 5, where 1 means Very bad and 5 means Very good.", levels(1, 5), ENDS),
        ("Only return an integer from 1 to 5, where 1 = 'Very bad' and 5 = 'Very good'.", levels(1, 5), ENDS),
        ("Only return 1–5, where 1 = “Very bad” and 5 = “Very good”, nothing else.", levels(1, 5), ENDS),
        ("Only return an integer from 1 to 5 with 1 being Very bad and 5 being Very good.", levels(1, 5), ENDS),
        ("Only return an integer from 1 (Very bad) to 5 (Very good).", levels(1, 5), ENDS),
        ("Only return an integer from 1 'Very bad' to 5 'Very good'.", levels(1, 5), ENDS),
        ("Only return a number from 1=Very bad to 5=Very good.", levels(1, 5), ENDS),
        ("Only return a number from 1, meaning Very bad, to 5, meaning Very good.", levels(1, 5), ENDS),
        ("Only return an integer from Very bad (1) to Very good (5).", levels(1, 5), ENDS),
        ("Only return an integer where 'Very bad' is 1 and 'Very good' is 5.", levels(1, 5), ENDS),
        ("Only return an integer where 1 means Very bad and 5 means Very good.", levels(1, 5), ENDS),
        ("Only return an integer from 1 to 5 (1: Very bad, 5: Very good), nothing else.", levels(1, 5), ENDS),
        ("Only return an integer from 5 to 1, where 5 means Very good and 1 means Very bad.", levels(1, 5), ENDS),
        ("Only return 1 if Very bad, up to 5 if Very good, nothing else.", levels(1, 5), ENDS),
        ("Only return 1 for 'Very bad' through 5 for 'Very good'.", levels(1, 5), ENDS),
        ("Only return an integer from 1 to 5. 1 means Very bad and 5 means Very good.", levels(1, 5), ENDS),
        ("Only return an integer from 0 to 9, with 5 meaning neither.", levels(0, 9), {5: "neither"}),
        ("Only return 1 for Yes or 2 for No, nothing else.", (1, 2), YES_NO),
        ("Only return 2 for No or 1 for Yes, nothing else.", (1, 2), YES_NO),
        ("Only return '1' for 'Yes' or '2' for 'No'.", (1, 2), YES_NO),
        ("Only return 1 (Yes) or 2 (No).", (1, 2), YES_NO),
        ("Only return (1) Yes (2) No.", (1, 2), YES_NO),
        ("Only return 1 - Yes, 2 - No.", (1, 2), YES_NO),
        ("Only return Yes = 1, No = 2.", (1, 2), YES_NO),
        ("Only return 1=Yes/2=No.", (1, 2), YES_NO),
        ("Only return the integer 1 for Yes or the integer 2 for No.", (1, 2), YES_NO),
        ("Only return 1 to indicate Yes or 2 to indicate No.", (1, 2), YES_NO),
        ("Response options: 1 = Yes, 2 = No.", (1, 2), YES_NO),
        ("Choose one option:\n1. Yes\n2. No", (1, 2), YES_NO),
        ("Only return 1 for Yes or 5 for No.", (1, 5), {1: "Yes", 5: "No"}),
        ("only return 1 if you agree, 0 otherwise", (0, 1), {1: "you agree", 0: "otherwise"}),
        (
            "Only return 1 for $0-$10; 2 for $11-$20; 3 for $1,001 or more, nothing else.",
            (1, 2, 3),
            {1: "$0-$10", 2: "$11-$20", 3: "$1,001 or more"},
        ),
        (
            "Only return 1 for 0 to 9 days, 2 for 10 to 19 days, or 3 for more than 19 days.",
            (1, 2, 3),
            {1: "0 to 9 days", 2: "10 to 19 days", 3: "more than 19 days"},
        ),
        (
            "Only return an integer from 1 to 3, where 1 means 1 time, 2 means 2 or 3 times, and 3 means more.",
            (1, 2, 3),
            {1: "1 time", 2: "2 or 3 times", 3: "more"},
        ),
        (
            "Only return 1 for 'It was right.'; 2 for 'I didn't mind, much.', nothing else.",
            (1, 2),
            {1: "It was right.", 2: "I didn't mind, much."},
        ),
        ("Only return 1 for the U.S. Senate or 2 for Mr. Roe.", (1, 2), {1: "the U.S. Senate", 2: "Mr. Roe"}),
    ],
)  # fmt: skip
def test_labels_belong_to_their_level(told: str, expected: tuple[int, ...], labels: dict[int, str]) -> None:
    scale = scale_of(told)
    assert (scale.levels, labels_of(scale)) == (expected, labels)


@pytest.mark.parametrize(
    ("told", "expected", "alternatives", "missing"),
    [
        ("Only return an integer from 1 to 3, or 9 for 'Don't know'.", (1, 2, 3), {9: "Don't know"}, ()),
        ("Only return 1 for Yes, 2 for No, or 3 for Not sure.", (1, 2), {3: "Not sure"}, ()),
        ("Only return 1 for No; 2 for Not sure; 3 for Yes, nothing else.", (1, 2, 3), {}, ()),
        ("Only return an integer from 1 to 6, where 1 = Bad; 5 = Good; 6 = Refused.", (1, 2, 3, 4, 5), {6: "Refused"}, ()),
        ("Only return 1 for Yes; 2 for No; -9 for Not answered, nothing else.", (1, 2), {}, (-9,)),
    ],
)  # fmt: skip
def test_answers_outside_the_order_are_no_levels(told, expected, alternatives, missing) -> None:
    scale = scale_of(told)
    found = dict(zip(scale.alternatives, scale.alternative_labels, strict=True))
    assert (scale.levels, found, scale.missing) == (expected, alternatives, missing)


def test_a_range_of_a_billion_is_an_open_number_at_once() -> None:
    scale = scale_of("Only return a number from 1 to 1000000000000.")
    assert (scale.kind, scale.lo, scale.hi) == ("open", 1, 1e12)


@pytest.mark.parametrize(
    "told",
    [
        "Only return an integer from 1 to 10 for how much you like it.",
        "Only return an integer from 1 to 10 if you have an opinion.",
        "Only return an integer from 1 to 10 representing how many of 10 things you like.",
    ],
)
def test_what_follows_a_range_is_no_label(told: str) -> None:
    assert (scale_of(told).levels, scale_of(told).labels) == (levels(1, 10), ())


@pytest.mark.parametrize(
    ("told", "lo", "hi"),
    [
        ("Only return an integer representing the estimated monthly cost in dollars, nothing else.", None, None),
        ("Only return the time in minutes as an integer.", None, None),
        ("Please enter a whole number of hours.", None, None),
        ("Only return a four-digit year.", None, None),
        ("Only return a non-negative integer.", 0, None),
        ("Only return an integer of 0 or more.", 0, None),
        ("Only return an integer that is at least 18, representing years.", 18, None),
        ("Only return a probability between 0 and 1.", 0, 1),
        ("Only return a number between 0 and 100 with two decimals.", 0, 100),
        ("Only return an integer from 0 to 50,000 dollars.", 0, 50_000),
    ],
)  # fmt: skip
def test_a_quantity_is_an_open_number(told: str, lo: float | None, hi: float | None) -> None:
    scale = scale_of(told)
    assert (scale.kind, scale.lo, scale.hi, scale.origin) == ("open", lo, hi, "stated")


def test_a_bare_integer_is_open_where_the_question_asks_for_a_quantity() -> None:
    assert scale_of("Only return an integer.", question="How many friends do you have? ").kind == "open"


@pytest.mark.parametrize(
    "told",
    [
        "",
        "Only return an integer, nothing else.",
        "Only return your rating as an integer.",
        "Only return yes or no.",
        "Only return 'A' or 'B'.",
        "Only return 1 for 'Selected'.",
        "Only return an integer on a 7-point scale.",
        "Only return an integer on a 5-point scale from 1 to 7.",
        "Only return an integer from 1 to 7. Only return an integer from 0 to 10.",
        "Only return an integer from 1 to 5, where 1 means bad and 7 means good.",
        "Only return an integer from 1 to 7, where 1 means bad and 1 means good.",
        "Only return an integer, where 1 means Yes and 5 means No.",
        "Only return an even integer from 0 to 10.",
        "Only return an integer from 1 to 7 except 4.",
        "Only return two integers from 1 to 7.",
        "Only return a number between 0 and 1.",
        "Only return an integer between zero and one hundred.",
        "Only return an integer from 5 to 5.",
        "Only return an integer from 1 to 5, or 2.5 if unsure.",
        "Only return a number from 1 to 3 or 99.",
        "Only return a number from 1 to 10^12.",
        "Only return a number from 1 to 10¹².",
        "Only return a number from 1,5 to 9,5.",
        "Only return a number from 0 to 10.000.",
        "Only return a number from 0 to 1.000.000.",
        "Only return an integer from 1 to 7½.",
        "Only return an integer from 1 to " + "9" * 400 + ".",
        "Only return an integer from 1 to 7. The number 12 is not allowed.",
        "Only return 1 for Yes or 2 for Don't know.",
    ],
)
def test_what_is_not_stated_or_contradicts_itself_stays_unknown(told: str) -> None:
    assert scale_of(told) == Scale.unknown()


@pytest.mark.parametrize(
    ("question", "told", "labels"),
    [
        ("On a scale from 1 (Bad) to 5 (Good), how is it? ", "Only return an integer from 1 to 5.", {1: "Bad", 5: "Good"}),
        ("How is it (1 = Bad, 5 = Good)? ", "Only return an integer from 1 to 5.", {1: "Bad", 5: "Good"}),
        ("On a scale from 1 to 5, with 1 being bad and 5 being good, how is it? ", "Only return the number.", {1: "bad", 5: "good"}),
        ("How is it? (1) Bad (2) So so (3) Good ", "Only return an integer from 1 to 3.", {1: "Bad", 2: "So so", 3: "Good"}),
        ("Is it (1) big and (2) red? ", "Only return an integer from 1 to 5.", {}),
        ("Do 3 to 5 people agree? ", "Only return an integer from 1 to 5.", {}),
    ],
)  # fmt: skip
def test_the_question_lends_its_labels(question: str, told: str, labels: dict[int, str]) -> None:
    scale = scale_of(told, question=question)
    assert scale.kind == "levels"
    assert labels_of(scale) == labels


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("On a scale of 0 to 10, how is it? ", "Only return an integer from 1 to 7."),
        ("On a 7-point scale, how is it? ", "Only return an integer from 1 to 5."),
        ("Do you agree that (1) it is big and (2) it is red? ", "Only return an integer."),
        ("Do you prefer Roe (1990) or Doe (2004)? ", "Only return an integer."),
    ],
)
def test_a_question_at_odds_with_the_format_or_about_other_numbers_gives_no_scale(
    question: str, told: str
) -> None:
    assert scale_of(told, question=question) == Scale.unknown()


# ---------------------------------------------------------------------------------------------------------
# Any scale, written in each form, is read back

# Words that tie a number to its label would make another sentence of the same letters.
words = st.text("bcdfghklmprstv", min_size=2, max_size=9)
# "Rf" says that somebody refused: what is no answer is no label.
label_texts = (
    st.lists(words, min_size=1, max_size=4)
    .map(lambda some: " ".join(some).capitalize())
    .filter(lambda label: not says_missing(label) and not says_alternative(label, at_the_end=True))
)


@st.composite
def labeled_scales(draw: st.DrawFn) -> Scale:
    lo = draw(st.sampled_from([-3, 0, 1]))
    texts = draw(st.lists(label_texts, min_size=2, max_size=9, unique=True))
    # Digits, money and quotation marks occur in real labels.
    texts = [
        draw(st.sampled_from(["{}", "{} 2", "$1-$10 {}", "{} (or so)", "0 to 9 {}"])).format(t) for t in texts
    ]
    return Scale.of_levels({lo + i: text for i, text in enumerate(texts)}, origin="stated")


def with_ends_only(scale: Scale) -> Scale:
    ends = {scale.levels[0]: scale.labels[0], scale.levels[-1]: scale.labels[-1]}
    return Scale.of_levels({v: ends.get(v, "") for v in scale.levels}, origin="stated")


OPTIONS = {
    "for": ("Only return ", "{} for {}", "; "),
    "for quoted": ("Only return ", "{} for '{}'", " or "),
    "if": ("only return ", "{} if {}", ", "),
    "means": ("Only return an integer, where ", "{} means {}", ", and "),
    "equals": ("Response options: ", "{} = “{}”", "; "),
    "brackets": ("Only return ", "{} ({})", ", "),
    "numbered": ("Select one option: ", "({}) {}", " "),
    "lines": ("Choose one:\n", "{} = {}", "\n"),
}


@pytest.mark.parametrize("form", OPTIONS)
@settings(max_examples=60, deadline=None)
@given(scale=labeled_scales())
def test_every_list_of_labeled_levels_is_read_back(form: str, scale: Scale) -> None:
    opening, each, joint = OPTIONS[form]
    told = joint.join(each.format(v, text) for v, text in zip(scale.levels, scale.labels, strict=True))
    assert scale_of(f"{opening}{told}, nothing else.") == scale


ENDED = [
    "Only return an integer from {lo} to {hi}, where {lo} means {a} and {hi} means {b}, nothing else.",
    "Only return an integer from {hi} to {lo}, where {hi} = '{b}' and {lo} = '{a}'.",
    "Only return a number between {lo} ({a}) and {hi} ({b}).",
    "Please answer with a number from {lo} to {hi} with {lo} being {a} and {hi} being {b}.",
    "Only return {lo} if {a}, up to {hi} if {b}.",
]


@pytest.mark.parametrize("form", ENDED)
@settings(max_examples=60, deadline=None)
@given(scale=labeled_scales())
def test_every_range_with_labeled_ends_is_read_back(form: str, scale: Scale) -> None:
    told = form.format(lo=scale.levels[0], hi=scale.levels[-1], a=scale.labels[0], b=scale.labels[-1])
    assert scale_of(told) == with_ends_only(scale)


def written(rng: random.Random, value: float) -> str:
    """A number as somebody might write it; other readings of what is written must not be taken for it."""
    text = f"{abs(value):,.10f}".rstrip("0").rstrip(".")
    if rng.random() < 0.5:
        text = text.replace(",", "")
    elif rng.random() < 0.3:  # as in German
        text = text.translate(str.maketrans(",.", ".,"))
    sign = rng.choice("-\u2212–") if value < 0 else rng.choice(["", "", "+"])
    return sign + text


FORMS = [
    "Only return an integer from {lo} to {hi}, nothing else.",
    "Only return a number between {lo} and {hi}.",
    "Only return a number from {lo} to {hi}, where {lo} means bad and {hi} means good.",
    "Only return {lo} for bad or {hi} for good, nothing else.",
    "Only return a number ({lo}-{hi}).",
    "Only return a number from {lo} (bad) to {hi} (good), or 998 for Don't know.",
    "Only return an integer from {lo} to {hi}; the number {extra} is special.",
]


@settings(max_examples=600, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_a_sentence_with_any_numbers_is_read_right_or_not_at_all(rng: random.Random) -> None:
    lo = rng.choice([0, 1, -3, 1.5, 0.25, -10, 1000, 10_000, 1_500])
    hi = lo + rng.choice([1, 4, 9, 0.5, 2.25, 100, 9_000, 10_000.5])
    told = rng.choice(FORMS).format(lo=written(rng, lo), hi=written(rng, hi), extra=written(rng, hi + 2))
    scale = scale_of(told)
    assert scale.kind == "unknown" or (scale.lo, scale.hi) == (lo, hi), told
    assert scale.kind != "levels" or lo == int(lo), told
    assert "special" not in told or scale.kind == "unknown"


@settings(max_examples=100, deadline=None)
@given(lo=st.integers(-2000, 2000), width=st.integers(1, 3000))
def test_every_range_is_levels_up_to_the_limit_and_open_beyond(lo: int, width: int) -> None:
    scale = scale_of(f"Only return an integer from {lo:,} to {lo + width:,}, nothing else.")
    assert (scale.kind, scale.lo, scale.hi) == ("levels" if width < MAX_LEVELS else "open", lo, lo + width)


@settings(max_examples=60, deadline=None)
@given(scale=labeled_scales(), style=st.sampled_from(["range", "ends", "labels", "options"]))
def test_the_projects_own_sentences_are_read_back(scale: Scale, style: str) -> None:
    read = scale_of(answer_format(scale, style=style))
    assert read.levels == scale.levels
    expected = {"range": {}, "ends": labels_of(with_ends_only(scale))}.get(style, labels_of(scale))
    assert labels_of(read) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(string.ascii_letters + string.digits + " .,;:'\"?()[]=$%-–“”’\n", max_size=120))
def test_any_text_is_read_without_failure_and_cut_without_loss(text: str) -> None:
    text = f"Only return {text}"
    assert read_scale(text).kind in ("levels", "open", "unknown")
    parts = split_text(text)
    assert parts.stimulus + parts.question + parts.answer_format == text


# ---------------------------------------------------------------------------------------------------------
# Cutting a text


def test_a_text_is_cut_at_the_question_and_the_answer_format() -> None:
    parts = split_text('You read "A." and then were asked: "Is it? Only return 1 for Yes or 2 for No."')
    assert parts == TextParts(
        'You read "A." and then were asked: "', "Is it? ", 'Only return 1 for Yes or 2 for No."'
    )


def test_without_an_introduction_the_question_is_the_last_sentence_before_the_format() -> None:
    parts = split_text(
        "Some firms train staff. What do you think of this? Only return an integer from 1 to 7."
    )
    assert parts.question == "What do you think of this? "


def test_a_format_of_several_sentences_stays_whole() -> None:
    told = "Only return an integer from 1 to 7. 1 means bad and 7 means good."
    assert split_text(f"You saw it. How was it? {told}").answer_format == told


def test_a_format_glued_to_the_question_is_found() -> None:
    assert split_text("You saw it. How was it?Only return 1 or 2.").answer_format == "Only return 1 or 2."


@pytest.mark.parametrize("asked", ["How fair was that?", "The poor are lazy."])
def test_an_instruction_within_the_vignette_is_not_the_format(asked: str) -> None:
    text = f'They were told: Only return 1 or 2. They did. Then you were asked: "{asked}"'
    assert split_text(text).answer_format == ""
    assert read_scale(text) == Scale.unknown()


def test_a_format_before_its_question_is_read_but_cannot_be_cut_off() -> None:
    text = 'You were asked: "Only return an integer from 1 to 7. How fair was that?"'
    assert read_scale(text).levels == levels(1, 7)
    assert split_text(text).answer_format == ""


def test_a_text_that_cannot_be_told_apart_is_all_stimulus() -> None:
    assert split_text("Some firms train staff.") == TextParts("Some firms train staff.")


# ---------------------------------------------------------------------------------------------------------
# Real texts


@pytest.fixture(scope="module")
def real_answers(shared_data: Path) -> list[tuple[str, int]]:
    folder = shared_data / "socsci210"
    pairs = []
    for line in (folder / "slice_val.jsonl").read_text().splitlines():
        row = json.loads(line)
        pairs.append((row["input"].split("Scenario: ", 1)[1], int(row["output"].removeprefix("Response: "))))
    for line in (folder / "9nphm_first34.jsonl").read_text().splitlines():
        row = json.loads(line)
        pairs.append((row["stimuli"], row["response"]))
    return pairs


def test_nearly_all_real_texts_are_read_and_every_real_answer_is_inside(real_answers) -> None:
    scales = {text: read_scale(text) for text, _ in real_answers}
    unread = sum(scales[text].kind == "unknown" for text, _ in real_answers)
    assert unread <= 0.01 * len(real_answers)
    assert [(text, value) for text, value in real_answers if not scales[text].allows(value)] == []


def test_every_real_text_has_a_question_and_a_format(real_answers) -> None:
    for text, _ in real_answers:
        parts = split_text(text)
        assert parts.stimulus + parts.question + parts.answer_format == text
        assert parts.question.strip() and parts.answer_format.startswith("Only return")
