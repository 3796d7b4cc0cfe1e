"""What the multiverse of ten items costs, in all 24 orders of four options and four formats of the persona, and whether it is right.

    python -m benchmarks.multiverse                    # 32 personas; a tiny model of random weights
    python -m benchmarks.multiverse --people 200 --counts-only

The full multiverse is compared with prompts that are computed alone, each answer in a row of its own.  Then balanced
assignments by many seeds are taken out of the full one: how often do their 90 % intervals hold the means of everybody?
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from benchmarks.options import options_of
from data_pipelines.specified.experiment import variants_of_experiment
from socsci_jax.data.sentencepiece_training import train_sentencepiece
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.forecasting.multiverse import specification_curve
from socsci_jax.forecasting.population import population
from socsci_jax.forecasting.table import KEY
from socsci_jax.models.config import DecoderConfig
from socsci_jax.models.modules import init
from socsci_jax.models.sharding import make_mesh, param_shardings
from socsci_jax.models.slots import read_logits
from socsci_jax.simulation.assignment import asking_of, assign
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.simulation.variants import Prompts, predict_variants
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.persona_formats import PERSONA_FORMATS
from socsci_jax.studies.predictions import Predictions
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.schema import VARIANT
from socsci_jax.studies.specification_files import parse_specification
from socsci_jax.studies.variants import StudyVariants, Variant

TOPICS = ("parks", "taxes", "the plan", "the money", "the time")
LABELS = ("an integer", "nothing else", "about money", "from people", "only time")
EVERYTHING = "{orders: all, persona_formats: [sentences, first_person, reversed]}"
_EXPERIMENT = """
study: plan
factors:
  frame:
    levels:
      plain: {{text: People read about plan c1., control: true}}
      costs: "People read about plan c2, which costs money and time."
multiverse: {multiverse}
scales: {{feeling: {{levels: {{{levels}}}}}}}
outcomes:
"""


def varied_study(
    multiverse: str = EVERYTHING, *, options: int = 4, topics: Sequence[str] = TOPICS
) -> StudyVariants:
    """Two arms of as many outcomes as topics."""
    levels = ", ".join(f"{code}: {label}" for code, label in enumerate(LABELS[:options], start=1))
    text = _EXPERIMENT.format(multiverse=multiverse, levels=levels)
    text += "".join(f'  "{t}": {{question: "How do you feel about {t}?", scale: feeling}}\n' for t in topics)
    return variants_of_experiment(parse_specification(text, where="experiment"))["plan"]


def full(study: StudyVariants) -> StudyVariants:
    """The same, all of it asked of everybody."""
    return dataclasses.replace(study, declared=study.declared.model_copy(update={"assignment": "full"}))


def people(number: int) -> pl.DataFrame:
    """Personas that all differ."""
    ages, genders = ("18-34", "35-64", "65 or older"), ("Female", "Male")
    table = {
        "age": [ages[i % 3] for i in range(number)],
        "gender": [genders[i % 2] for i in range(number)],
        "household_size": list(map(str, range(number))),
    }
    return population(pl.DataFrame(table), most=number).personas


def tiny_model(study: StudyVariants, folder: Path) -> SimulationModel:
    """Two layers of random weights that read the words of the study, in float32."""
    texts = [STUDY_FIRST.shared_text(item=item) for item in study.items] + [str(n) for n in range(101)]
    texts += [
        "Their age is 18-34. My gender is Female.",
        "- Household Size: 4\n- Age: 65 or older",
        "Male 35",
    ]
    tokenizer = load_tokenizer(train_sentencepiece(texts, folder, vocab_size=400))
    config = DecoderConfig(
        model_type="llama",
        vocab_size=-(-tokenizer.vocab_size // 64) * 64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
    )
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    # Twice as large as they start: answers differ clearly, and float32 holds probabilities to 1e-6.
    params = jax.tree.map(lambda w: 2 * w, init(config, key=jax.random.key(3)))
    return SimulationModel(
        config=config,
        params=jax.device_put(params, param_shardings(config, mesh)),
        mesh=mesh,
        tokenizer=tokenizer,
        layout=STUDY_FIRST,
        compute_dtype=jnp.float32,
        metadata={"name": "random"},
    )


def prompt_of(model: SimulationModel, layout: Layout, variant: Variant, persona: dict) -> list[int]:
    """The ids of one variant for one persona, without any tree."""
    own = PERSONA_FORMATS[variant.persona_format]
    layout, persona = own.layout(layout), own.persona(persona)
    template = model.tokenizer.prompt_template(layout.system)
    values = {"item": variant.item, "attributes": persona}
    shared, rest = model.tokenizer.encode_batch(
        [template.lead + layout.shared_text(**values), layout.own_text(**values) + template.trail]
    )
    return [*template.head, *shared, *rest, *template.tail]


_read = jax.jit(read_logits, static_argnames=("config", "compute_dtype"))


def alone(model: SimulationModel, prompts: Sequence[list[int]], levels: Sequence[int]) -> np.ndarray:
    """Probabilities [n, L] of each level after each prompt, every answer as a row of its own."""
    end = model.tokenizer.end_of_answer_id
    answers = [[*ids, end] for ids in model.tokenizer.encode_batch(list(map(str, levels)))]
    most = 64  # the model takes reads in blocks of so many
    length = -(-(max(map(len, prompts)) + most) // 128) * 128
    ids = np.zeros((len(prompts), len(answers), length), np.int32)
    read = np.zeros((len(prompts), len(answers), most), np.int32)
    for i, prompt in enumerate(prompts):
        for j, answer in enumerate(answers):
            ids[i, j, : len(prompt) + len(answer)] = [*prompt, *answer]
            read[i, j] = len(prompt) - 1 + np.minimum(np.arange(most), len(answer) - 1)
    flat = {"ids": ids.reshape(-1, length), "read": read.reshape(-1, most)}
    flat["position"] = np.broadcast_to(np.arange(length, dtype=np.int32), flat["ids"].shape)
    flat["end"] = np.full_like(flat["ids"], length)
    logits = _read(model.params, flat, config=model.config, compute_dtype=model.compute_dtype)
    log_probs = np.asarray(jax.nn.log_softmax(logits), np.float64).reshape(*read.shape, -1)
    totals = [
        sum(log_probs[:, j, k, token] for k, token in enumerate(answers[j])) for j in range(len(answers))
    ]
    probs = np.exp(np.stack(totals, axis=1))
    return probs / probs.sum(axis=1, keepdims=True)


def largest_difference(
    model: SimulationModel,
    study: StudyVariants,
    frame: pl.DataFrame,
    personas: pl.DataFrame,
    *,
    layout: Layout,
) -> float:
    """Between probabilities of rows of predictions and those of their prompts alone."""
    known = {row.pop("participant_id"): row for row in personas.to_dicts()}
    by_name = {(i, variant.name): variant for i, own in study.of_item.items() for variant in own}
    worst = 0.0
    for rows in frame.iter_slices(32):
        prompts = [
            prompt_of(model, layout, by_name[item, name], known[person])
            for item, name, person in rows.select("item_id", VARIANT, "participant_id").iter_rows()
        ]
        levels = [int(level) for level in rows["levels"][0]]
        expected = alone(model, prompts, levels)
        worst = max(worst, float(np.abs(expected - np.array(rows["probs"].to_list())).max()))
    return worst


def coverage(
    study: StudyVariants, whole: pl.DataFrame, personas: pl.DataFrame, *, prompts: Prompts, seeds: int
) -> pl.DataFrame:
    """For each seed: variants asked, times one pass, share of variants' and of overall means that intervals hold, the errors
    that intervals promise (root mean square of standard errors) and those that are."""
    weights = dict.fromkeys(personas["participant_id"], 1.0)
    truth, means = specification_curve(Predictions(frame=whole), study, weights=weights)
    names = {i: [variant.name for variant in own] for i, own in study.of_item.items()}
    found = []
    for seed in range(seeds):
        plan = assign(asking_of(study, personas, seed=seed), cost=lambda rows: prompts.tokens(rows).distinct)
        asked = plan.rows.select("item_id", "participant_id").with_columns(
            pl.Series(VARIANT, [names[i][n] for i, n in plan.rows.select("item_id", "variant").iter_rows()])
        )
        part = whole.join(
            asked,
            on=["item_id", "participant_id", VARIANT],
        )
        curve, summary = specification_curve(Predictions(frame=part), study, weights=weights)
        both = curve.join(truth, on=[*KEY, "variant"], suffix="_true")
        overall = summary.join(means, on=KEY, suffix="_true")
        held, mean_held = ((t["predicted_true"].is_between(t["lo"], t["hi"])).mean() for t in (both, overall))
        error = ((both["predicted"] - both["predicted_true"]) ** 2).mean()
        found.append(
            (
                *(summary["asked"].max(), plan.cost / plan.one_pass, held, mean_held),
                *(float(np.sqrt((both["se"] ** 2).mean())), float(np.sqrt(error))),
            )
        )
    columns = ["variants", "passes", "variants_held", "means_held", "promised", "found"]
    return pl.DataFrame(found, schema=columns, orient="row")


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument(
        "--every", type=int, default=1, help="compare every so many-th prompt with itself alone"
    )
    parser.add_argument(
        "--counts-only", action="store_true", help="only what it would cost; no model is asked"
    )
    a = parser.parse_args()
    study, personas = varied_study(), people(a.people)
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(study, Path(folder))
        asking = asking_of(study, personas, seed=0)
        prompts = Prompts.of(model, asking, STUDY_FIRST)

        def cost(rows: pl.DataFrame) -> int:
            return prompts.tokens(rows).distinct

        plan, balanced = (
            assign(asking_of(full(study), personas, seed=0), cost=cost),
            assign(asking, cost=cost),
        )
        counts = prompts.tokens(plan.rows)
        print(
            f"full multiverse: {plan.rows.height:,} prompts of {len(study.items)} items, {a.people} personas"
        )
        print(
            f"  distinct tokens {counts.distinct:,}, computed {counts.computed:,}: {counts.computed / counts.distinct:.3f}"
        )
        print(
            f"balanced: {balanced.rows.height:,} prompts, {balanced.rows['variant'].n_unique()} variants an outcome,"
        )
        print(
            f"  {balanced.cost:,} tokens of {balanced.one_pass:,} for one pass: {balanced.cost / balanced.one_pass:.3f}"
        )
        if a.counts_only:
            return
        whole = predict_variants(model, full(study), personas, show_progress=False).predictions.frame
        compared = whole.gather_every(a.every)
        worst = largest_difference(model, study, compared, personas, layout=STUDY_FIRST)
        print(f"largest difference from prompts alone, of {compared.height:,} prompts: {worst:.1e}")
        found = coverage(study, whole, personas, prompts=prompts, seeds=a.seeds)
        print(f"balanced assignments of {a.seeds} seeds, 90 % intervals:")
        for name, value in found.mean().row(0, named=True).items():
            print(f"  {name}: {value:.3f}")


if __name__ == "__main__":
    main()
