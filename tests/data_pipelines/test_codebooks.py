"""Reading a scale from a codebook's words: all of the text is accounted for, or the scale is unknown."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.scales.codebooks import read_codebook, read_codebook_scale, read_range
from data_pipelines.scales.nonresponse import says_alternative, says_missing
from data_pipelines.scales.numbers import number
from socsci_jax.studies.scale import MAX_LEVELS, Scale


def read(text: str, lo=None, hi=None) -> Scale:
    return read_codebook_scale(text, lo=lo, hi=hi)


def levels(found: dict | range, **beside) -> Scale:
    return Scale.of_levels(found, origin="codebook", **beside)


YES_NO = {1: "Yes", 2: "No"}
SKIPPED = {"missing": (98,)}


@pytest.mark.parametrize(
    ("text", "lo", "hi", "expected"),
    [
        ("1\tFor\n2\tAgainst\n98\tSKIPPED ON WEB", 1, 2, levels({1: "For", 2: "Against"}, **SKIPPED)),
        ("1        1 - Never\n2        2\n3        3 - Always", 1, 3, levels({1: "Never", 2: "", 3: "Always"})),
        ("1) Up\n2) Down", None, None, levels({1: "Up", 2: "Down"})),
        ("1 Yes\n2 No\n77 DON'T KNOW\n99 REFUSED", None, None, levels(YES_NO, alternatives={77: "DON'T KNOW", 99: "REFUSED"})),
        ("1. Yes\n2. No\n3. Don't know", 1, 2, levels(YES_NO, alternatives={3: "Don't know"})),
        ("1 Low1\n2 High2", 1, 2, levels({1: "Low", 2: "High"})),
        ("1\t0 Cold\n2\t1\n3\t2 Hot", 1, 3, levels({1: "Cold", 2: "", 3: "Hot"})),
        ("1 Bad\n2 <none>\n3 Good", 1, 3, levels({1: "Bad", 2: "", 3: "Good"})),
        ("1. $0 - $10\n2. $11 - $20\n3. More than $20", 1, 3, levels({1: "$0 - $10", 2: "$11 - $20", 3: "More than $20"})),
        ("1\t87\n2\t8,700", 1, 2, levels({1: "87", 2: "8,700"})),
        ("1 Red\n2 Blue\n5 Other\n98 SKIPPED", 1, 5, levels({1: "Red", 2: "Blue", 5: "Other"}, **SKIPPED)),
        ("0 Worst\n2 Middle\n4 Best", 0, 4, levels({0: "Worst", 1: "", 2: "Middle", 3: "", 4: "Best"})),
        ("1-Talk first - 4-Be ready to fight", None, None, levels({1: "Talk first", 2: "", 3: "", 4: "Be ready to fight"})),
        ("a 0-2 scale where 0 is worse, 1 is the same, and 2 is better.", 0, 2, levels({0: "worse", 1: "the same", 2: "better"})),
        ("3-point scale, for, neither, against", 1, 3, levels({1: "for", 2: "neither", 3: "against"})),
        ("1-3 Likert, ranging from Not\nwell (1) to Well (3)", None, None, levels({1: "Not well", 2: "", 3: "Well"})),
        ("1 (never) to 3 (always)", None, None, levels({1: "never", 2: "", 3: "always"})),
        ("1 = never to 3 = always", None, None, levels({1: "never", 2: "", 3: "always"})),
        ("1 = never ... 3 = always", None, None, levels({1: "never", 2: "", 3: "always"})),
        ("how often (1 = never, 3 = always):", None, None, levels({1: "never", 2: "", 3: "always"})),
        ("Likert 1-3 [1 = never, 3 = always]", None, None, levels({1: "never", 2: "", 3: "always"})),
        ("1 = Low 2 3 4 = Middle 5 6 7 = High", None, None, levels({1: "Low", 2: "", 3: "", 4: "Middle", 5: "", 6: "", 7: "High"})),
        ("(1) Yes (2) No", None, None, levels(YES_NO)),
        ("(reversed: 1 = always; 3 = never)", None, None, levels({1: "always", 2: "", 3: "never"})),
        ("(1 = never (ever)), (2 = always)", None, None, levels({1: "never (ever)", 2: "always"})),
        ("3-point scale, 1 = never, 3 = always; -99 = missing", None, None, levels({1: "never", 2: "", 3: "always"}, missing=(-99,))),
        ("1=1 time;2=2 times", None, None, levels({1: "1 time", 2: "2 times"})),
        ("1 - Agree\n2 – Neither\n3 — Disagree", None, None, levels({1: "Agree", 2: "Neither", 3: "Disagree"})),
        ("Options:\n1 | Yes\n2 | No", None, None, levels(YES_NO)),
        ("+1 Yes\n+2 No", None, None, levels(YES_NO)),
        ("1 Yes\n2 No\n. = missing\n.a Refused", None, None, levels(YES_NO)),
    ],
)  # fmt: skip
def test_labels_belong_to_their_codes(text, lo, hi, expected):
    assert read(text, lo, hi) == expected


@pytest.mark.parametrize(
    ("text", "lo", "hi"),
    [("Sliding scale 0-100", 0, 100), ("0 to 100", 0, 100), ("Thermometer scale 0–100", 0, 100), ("0%-100%", 0, 100),
     ("-3 to +3", -3, 3), ("\u22123–3", -3, 3), ("$0-$500", 0, 500)],
)  # fmt: skip
def test_a_plain_range_is_its_levels(text, lo, hi):
    assert read(text) == levels(range(lo, hi + 1))


@pytest.mark.parametrize(
    ("text", "lo", "hi"),
    [("1.5-9.5", 1.5, 9.5), ("0.5 - 10", 0.5, 10), ("1-7.5", 1, 7.5), ("1,5-9,5", 1.5, 9.5), ("0.0-1.0", 0, 1),
     ("1.5 Low\n2.5 Middle\n3.5 High", 1.5, 3.5), ("$35,000    -    $225,000", 35_000, 225_000),
     ("0-1000000000000", 0, 1e12)],
)  # fmt: skip
def test_ends_with_decimals_and_amounts_are_an_open_number(text, lo, hi):
    assert read(text) == Scale.open_number(lo=lo, hi=hi, origin="codebook")


def test_steps_between_whole_ends_are_levels():
    assert read("1 = Low\n1.5 = Between\n2 = High") == levels({1: "Low", 1.5: "Between", 2: "High"})


@pytest.mark.parametrize(
    ("text", "missing", "alternatives"),
    [
        ("1=Never; 2=Often; 3=Always; -99=missing", (-99,), {}),
        ("1 Never\n2 Often\n3 Always\n-99 NA\n-88 DK", (-99,), {-88: "DK"}),
        ("1 Never\n2 Often\n3 Always\n-1 Missing", (-1,), {}),
        ("1 Never\n2 Often\n3 Always\n-9 Not answered", (-9,), {}),
        ("1 Never\n2 Often\n3 Always\n\u22129 Refused", (), {-9: "Refused"}),
        ("1 Never\n2 Often\n3 Always\n-8 Weiß nicht\n-9 Keine Angabe", (-9,), {-8: "Weiß nicht"}),
        ("1 Never\n2 Often\n3 Always\n8 Ne sait pas\n9 Sans réponse", (9,), {8: "Ne sait pas"}),
        ("1 Never\n2 Often\n3 Always\n98 NS/NC\n99 Sin respuesta", (99,), {98: "NS/NC"}),
        ("1 Never\n2 Often\n3 Always\n4 Not sure", (), {4: "Not sure"}),
        ("1 Never\n2 Often\n3 Always\n97 Something else", (), {97: "Something else"}),
    ],
)
def test_codes_of_no_answer_are_no_levels(text, missing, alternatives):
    expected = levels({1: "Never", 2: "Often", 3: "Always"}, missing=missing, alternatives=alternatives)
    assert read(text) == expected


def test_dont_know_within_stated_bounds_is_no_level():
    expected = levels({1: "For", 2: "Against"}, alternatives={3: "Don't know"})
    assert read("1 For\n2 Against\n3 Don't know", 1, 3) == expected


def test_undecided_in_the_middle_is_a_level():
    assert read("1 Against\n2 Not sure\n3 For").levels == (1, 2, 3)


UNREADABLE = [
    "0-10.000",
    "0-10 000",
    "1.000-10.000",
    "1--5",
    "5-1",
    "0-100 in steps of 10",
    "1-5 (5 = best)",
    "1 Agree 2 Neither 3 Disagree",
    "1 Agree 2 Neither\n3 Disagree",
    "1 Agree, 2 = Neither; 3 = Disagree",
    "1. Yes\n2. No\nDon't know",
    "1 Never\n2 Often\n3 Always\n-1 Sonstwas",
    "1=Never, 2=Often, 3=Always, 9=Foo",
    "1 Yes\n5 No",
    "1-Yes -7-No",
    "1 - 5\n6 - 10",
    "1.1 a\n2.2 b",
    "1 Yes\n1 No",
    "0 = No, 1 = Yes, . = missing",
    "from 1 to 10^12",
    "1e6-2e6",
    "9" * 400,
    "1 to " + "9" * 400,
    "1 a\n" + "9" * 400 + " b",
    "7-point scale from 1 to 5",
    "1-5; 0-10",
    "5-point scale, 1 = never, 7 = always",
    "1 = Low 2 4 = High",
    "(1 = No) maybe (2 = Yes)",
    "(1 = No, 2 = Yes), reversed for 3 people",
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_is_not_accounted_for_makes_the_scale_unknown_and_is_told(text):
    found = read_codebook(text, lo=None, hi=None)
    assert found.scale == Scale.unknown()
    assert found.note


@pytest.mark.parametrize("text", ["", "free text", "5-point Likert scale"])
def test_a_codebook_that_says_nothing_gives_an_unknown_scale_without_a_note(text):
    found = read_codebook(text, lo=None, hi=None)
    assert (found.scale, found.note) == (Scale.unknown(), "")


@pytest.mark.parametrize(
    ("text", "lo", "hi", "note"),
    [
        ("0-10", 1, 7, "other ends"),
        ("0 Bad\n1 So\n2 Good", 1, 2, "beyond the stated ends"),
        ("1 Bad\n2 So\n3 Good\n12", 1, 3, "beyond the stated ends"),
        ("1 Bad\n2 So\n3 Good", 1, 5, "do not reach the stated ends"),
    ],
)
def test_stated_ends_that_contradict_the_text_make_the_scale_unknown(text, lo, hi, note):
    assert note in read_codebook(text, lo=lo, hi=hi).note


def test_dont_know_at_a_stated_end_is_no_contradiction():
    expected = levels({1: "For", 2: "Neutral", 3: "Against"}, alternatives={4: "Don't know"})
    assert read("1 For\n2 Neutral\n3 Against\n4 Don't know", 1, 4) == expected


def test_stated_ends_fill_labels_that_the_text_lacks_but_not_numbers():
    scale = read_codebook_scale("", lo=1, hi=3, lower="1 - None", upper="3")
    assert scale.labels == ("None", "", "")


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("35000- 225000", (35000, 225000)),
        ("0-4", (0, 4)),
        ("1.5-2", (1.5, 2)),
        ("many", None),
        ("1-5, 9", None),
    ],
)
def test_range_of_limits(text, ends):
    assert read_range(text) == ends


@pytest.mark.parametrize(
    ("label", "missing", "alternative"),
    [
        ("SKIPPED ON WEB", True, False),
        ("Don’t know (DO NOT READ)", False, True),
        ("REFUSED/DON'T KNOW", False, True),
        ("Don't know / no answer", False, True),
        ("I don't know anybody there", False, False),
        ("No answer fits", False, False),
    ],
)
def test_only_a_whole_label_says_that_there_is_no_place_on_the_scale(label, missing, alternative):
    assert (says_missing(label), says_alternative(label, at_the_end=False)) == (missing, alternative)


@given(st.integers(-(10**15), 10**15))
def test_integers_are_read_with_any_sign_and_with_thousands(value):
    for text in (f"{value}", f"{value:+}", f"{value:,}", f"{value}".replace("-", "-$")):
        assert number(text) == value


# --- any scale, written in any way, is read right or not at all ------------------------------------------------------

WORDS = ("never", "often", "very bad", "neither", "strongly agree", "in 2 weeks", "so so (or less)", "$5 or more", "3 times", "A, or B")  # fmt: skip
NO_ANSWERS = {"Don't know": "a", "Refused": "a", "weiß nicht": "a", "Missing": "m", "Not answered": "m", "keine Antwort": "m"}  # fmt: skip
SIGNS = {"ascii": "-", "minus": "\u2212", "dash": "–"}
TIES = (
    "{} {}",
    "{}. {}",
    "{}) {}",
    "{} = {}",
    "{}: {}",
    "{} - {}",
    "{} – {}",
    "{}\t{}",
    "({}) {}",
    "{}, {}",
    "{}- {}",
)
JOINTS = ("\n", "; ", ", ", "  ", " ", " | ", "\r\n", " - ", " to ", "/")


def written_scale(rng: random.Random) -> tuple[str, Scale]:
    """A text in a form that may or may not be understood, and the scale that it means."""
    first, count = rng.choice([-3, -2, 0, 1, 1, 1]), rng.randint(2, 9)
    step = rng.choice([1, 1, 1, 0.5])
    codes = [first + i * step for i in range(count)]
    said = {code: rng.choice(WORDS).capitalize() + f" {'xyzuvwkjq'[i]}" for i, code in enumerate(codes)}
    beside = {
        code: rng.choice(list(NO_ANSWERS))
        for code in rng.sample([-99, -98, -9, 77, 98, 99], rng.choice([0, 0, 1, 2]))
    }
    sign = rng.choice(list(SIGNS.values()))
    comma = rng.random() < 0.2

    def write(code: float) -> str:
        text = f"{abs(code):g}"
        text = text.replace(".", ",") if comma else text
        return (sign if code < 0 else rng.choice(["", "", "", "+"])) + text

    tie, joint = rng.choice(TIES), rng.choice(JOINTS)
    order = [*codes, *beside] if rng.random() < 0.7 else [*reversed(codes), *beside]
    text = joint.join(tie.format(write(c), {**said, **beside}[c]) for c in order)
    if rng.random() < 0.15:  # something that no form explains
        text += rng.choice(["\n(reversed)", "; 4", "\n12", " – 1", "\nOther"])
        return text, Scale.unknown()
    missing = [c for c, label in beside.items() if NO_ANSWERS[label] == "m"]
    alternatives = {c: label for c, label in beside.items() if NO_ANSWERS[label] == "a"}
    return text, levels(said, missing=missing, alternatives=alternatives)


def is_right(found: Scale, meant: Scale) -> bool:
    """Equal, or an open number with the ends of levels that are not integers."""
    if found.kind == "open":
        return (found.lo, found.hi, found.alternatives) == (meant.lo, meant.hi, meant.alternatives)
    return found == meant


@settings(max_examples=600, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_a_codebook_is_read_right_or_not_at_all(rng, ends_are_stated):
    text, meant = written_scale(rng)
    lo, hi = (meant.lo, meant.hi) if ends_are_stated else (None, None)
    if ends_are_stated and meant.kind == "unknown":
        lo, hi = rng.choice([(1, 5), (0, 10), (1, 7)])
    found = read_codebook(text, lo=lo, hi=hi)
    assert found.scale.kind == "unknown" or is_right(found.scale, meant), text
    assert found.note or found.scale.kind != "unknown"


@settings(max_examples=300, deadline=None)
@given(st.integers(-5000, 5000), st.integers(1, 5000), st.sampled_from(["-", "–", " to ", " - "]))
def test_every_range_of_integers_is_read(lo, width, joint):
    found = read(f"{lo}{joint}{lo + width}")
    assert (found.kind, found.lo, found.hi) == ("levels" if width < MAX_LEVELS else "open", lo, lo + width)


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="0123456789.,-+–= \n():ab%$", max_size=40))
def test_no_text_at_all_breaks_the_reader_or_takes_long(text):
    assert read(text).kind in ("levels", "open", "unknown")
