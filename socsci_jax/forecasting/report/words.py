"""What a forecast's page says in sentences: what to expect, how sure, and what not to conclude."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from socsci_jax.evaluation.report.provenance import mapping
from socsci_jax.forecasting.report.material import Material
from socsci_jax.forecasting.report.numbers import percent, plain, signed
from socsci_jax.forecasting.report.past import past_findings, undirected
from socsci_jax.forecasting.table import calibration_table
from socsci_jax.pages.findings import Finding
from socsci_jax.wording import counted, counted_of, first_listed, listed, quoted

UNIT = "percentage points of the scale's range"
USELESS = 0.1
MOST_LISTED = 5
# On pages; each is of outcomes whose scales end alike.
MOST_DIRECTIONS = 3

NEVER = (
    "An interval holds for studies like those that the calibration learned from. Studies of another country, topic or kind "
    "of stimulus are not like them, whatever the distance of words says.",
    "A forecast of no effect is no evidence of no effect: with little to learn from, everything is shrunk toward none.",
    "An arm that is likely to be the highest is worth testing; it has not been tested. Forecasts rank, people decide.",
    "The number of simulated people says nothing of how sure a forecast is, and enters no interval.",
    "Intervals of subgroups are for each group by itself: no interval is for the difference between two groups.",
    "Reading the same past studies again and again until a calibration looks good makes them part of the tuning.",
)


def lead(m: Material) -> list[str]:
    """What to remember of the forecast."""
    told, every = m.told, m.tables["effects"].height
    if told.is_empty():
        return [f"There is no forecast: {_all_effects(every)} too far from everything that is known."]
    sentences = []
    if (refused := every - told.height) > 0:
        none = counted_of(refused, every, "effect", "has", "have")
        sentences.append(f"{none} no forecast; what follows is about the other {told.height:,}.")
    outcomes = m.by_outcome(told)
    if len(outcomes) == 1:
        return [*sentences, _strongest(m, *outcomes[0])]
    clear = told.filter(_one_sided())
    outcomes_clear = clear.select("study", "outcome").n_unique()
    begin = (
        f"On {outcomes_clear} of {counted(len(outcomes), 'outcome')} an effect is expected whose direction is all but certain"
        if clear.height
        else f"On none of {counted(len(outcomes), 'outcome')} is the direction of an effect all but certain"
    )
    largest = m.largest(told)
    top = largest.row(0, named=True)
    if largest.height > 1:
        most = f"{counted(largest.height, 'effect')} tie for the largest: {signed(top['expected'])} {UNIT}."
    else:
        most = (
            f"The largest effect is expected of {quoted(top['condition'])} on {quoted(m.outcome_name(top))}: "
            f"{signed(top['expected'])} {UNIT}, 90 % interval {plain(top['lo_90'])} to {plain(top['hi_90'])}."
        )
    return [*sentences, f"{begin} (90 % interval on one side of zero). {most}"]


def _all_effects(number: int) -> str:
    return {1: "the only effect lies", 2: "both effects lie"}.get(number, f"all {number:,} effects lie")


def _one_sided() -> pl.Expr:
    return (pl.col("lo_90") > 0) | (pl.col("hi_90") < 0)


def _strongest(m: Material, outcome: str, own: pl.DataFrame) -> str:
    tied = m.largest(own)
    row = tied.row(0, named=True)
    likely = m.likely_highest(row)
    rank = (
        ""
        if likely is None
        else f" Most likely to be the highest arm is {quoted(likely[0])} ({percent(likely[1])})."
    )
    ends = tied.select(pl.col("lo_90").min(), pl.col("hi_90").max()).row(0)
    several = tied["reference"].n_unique() > 1
    arms = _named(tied["condition"].unique(maintain_order=True))
    differ = "are each expected" if tied.height > 1 else "is expected"
    return (
        f"On {quoted(outcome)}, {arms} {differ} to differ from {'what they are compared with' if several else quoted(row['reference'])} "
        f"by {signed(row['expected'])} {UNIT} (90 % {'intervals within' if tied.height > 1 else 'interval'} "
        f"{plain(ends[0])} to {plain(ends[1])}).{rank}"
    )


def directions(m: Material) -> list[str]:
    """What a positive effect means, in words of the outcomes' scales; outcomes that end alike share a sentence."""
    return toward(
        (outcome, m.highest_answer(own.row(0, named=True))) for outcome, own in m.by_outcome(m.told)
    )


def toward(answers: Iterable[tuple[str, str]]) -> list[str]:
    """Sentences about outcomes and the answer toward which a positive effect on each goes."""
    ends: dict[str, list[str]] = {}
    for outcome, answer in answers:
        ends.setdefault(answer, []).append(outcome)
    return [
        f"A positive effect on {_named(outcomes)} is one toward {quoted(end)}."
        for end, outcomes in ends.items()
    ]


def _named(names: Iterable[str]) -> str:
    """Names from data as a sentence lists them, the first few of many."""
    all_quoted = [quoted(name) for name in names]
    return listed(all_quoted) if len(all_quoted) <= MOST_LISTED else first_listed(all_quoted, MOST_LISTED)


def findings(m: Material) -> list[Finding]:
    """Abstention first, then what the calibration is worth, and how it did on past studies."""
    return [*_abstention(m), *undirected(m.told), *_left_out(m), *_worth(m), *past_findings(m), *_unknown(m)]


def _abstention(m: Material) -> list[Finding]:
    refused = m.refused
    if refused.is_empty():
        return []
    reasons = refused.group_by("abstains", maintain_order=True).len().sort("len", descending=True).head(5)
    said = "; ".join(f"{reason} ({n})" for reason, n in reasons.iter_rows())
    arms = listed([quoted(arm) for arm in m.by_outcome(refused)[0][1]["condition"].head(3)])
    is_refused = counted_of(refused.height, m.tables["effects"].height, "effect")
    text = (
        f"{is_refused} refused (such as of {arms}), because nothing like this was among the past studies: {said}. Any number "
        "would be a guess."
    )
    rule = (
        "no forecast where a feature of the effect lies farther out than in any calibration study, by more than a tenth of "
        "what these span"
    )
    return [Finding("warning", "No forecast", text, rule)]


def learned_from(m: Material) -> str:
    """The effects that calibration learned from, and how many of them have a direction."""
    # A collection from elsewhere may leave the column out.
    either_way = int(calibration_table(m.tables["calibration"])["undirected"].sum())
    said = counted(m.calibration.contrasts, "effect")
    return (
        f"{said}, {either_way} of them between two arms without a control, whose sign is arbitrary"
        if either_way
        else said
    )


def _left_out(m: Material) -> list[Finding]:
    reasons = {
        "outcomes_without_order": "No effects on {}: answers without an order have no mean. Predicted shares are in predictions.parquet.",
        "outcomes_of_one_arm": "No effects on {}: one arm alone is asked, and an effect needs two.",
        "composites_without_parts": "No mean of {}: some of its outcomes are not asked there.",
    }
    found = []
    for key, text in reasons.items():
        names = [str(name) for name in m.metadata.get(key, [])]
        if names:
            found.append(Finding("note", "Excluded", text.format(_named(names))))
    return found


def _unknown(m: Material) -> list[Finding]:
    """Attributes of personas that the model was not trained with."""
    training = mapping(mapping(m.metadata.get("predictions")).get("training"))
    known = training.get("attributes")
    columns = [name for name in m.tables["personas"].columns if name not in ("participant_id", "weight")]
    unknown = [name for name in columns if isinstance(known, list) and name not in known]
    if not unknown:
        return []
    text = (
        f"The model was not trained with {', '.join(unknown[:10])}: it reads them as words like any others, and nothing was "
        "learned of what they are worth."
    )
    return [Finding("note", "Attributes that the model does not know", text)]


def _worth(m: Material) -> list[Finding]:
    slope, c = m.calibration.slope, m.calibration
    base = f"In {c.studies} past studies ({learned_from(m)}) that the model had not seen"
    rule = (
        "the slope of people's effects on predicted ones, shrunk by how little is known of it: to zero where it is not above "
        "its own standard error"
    )
    if slope <= 0:
        text = f"{base}, larger predicted effects did not go with larger effects of people clearly enough to be used."
        if not m.told.is_empty():
            text += (
                f" Every arm gets the mean effect of a treatment ({signed(c.mean_effect)}), so this forecast tells no arm "
                "from another."
            )
        return [Finding("warning", "Predictions are not used", text, rule)]
    if slope < USELESS:
        text = f"{base}, {percent(slope)} of a predicted effect was found in people: arms hardly differ by what is forecast of them."
        return [Finding("warning", "Predictions are worth little", text, rule)]
    text = (
        f"{base}, {percent(slope)} of a predicted effect was found in people, and a treatment had a mean effect of "
        f"{signed(c.mean_effect)} where nothing was predicted."
    )
    return [Finding("claim", "What predictions have been worth", text, rule)]
