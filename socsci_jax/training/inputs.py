"""The data of a run, loaded once: the training part, how it is written as prompts, and what is asked of each."""

from __future__ import annotations

import dataclasses
import functools

import polars as pl

from socsci_jax.data.branch_targets import Targets
from socsci_jax.data.contrasts import ContrastTargets
from socsci_jax.data.prompt_table import check_cut
from socsci_jax.data.rationales import Rationales, read_rationales
from socsci_jax.data.shards import TreeShards, build_shards
from socsci_jax.data.targets import ANSWERS
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.hub import resolve_folder
from socsci_jax.models.huggingface import CHECKPOINT_FILES
from socsci_jax.progress import progress
from socsci_jax.studies.attributes import forms_of
from socsci_jax.studies.layouts import load_layout
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.scale import format_value
from socsci_jax.studies.splits import VALIDATION, Split, Subset
from socsci_jax.studies.store import StudyStore
from socsci_jax.studies.trained_on import TrainedOn
from socsci_jax.training.recipe import Recipe
from socsci_jax.training.recipe_blocks import DataConfig
from socsci_jax.training.recipe_objective import ObjectiveConfig


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TrainingInputs:
    """What a recipe's blocks `data` and `objective` stand for.

    `responses` are those that are trained on, `validation` those of the split's validation part; both as `Split.label` gives them.
    """

    store: StudyStore
    split: Split
    layout: Layout
    responses: pl.DataFrame
    validation: pl.DataFrame
    subset: Subset | None
    rationales: Rationales | None
    targets: Targets
    settings: DataConfig
    start_trained_on: TrainedOn | None

    def texts(self) -> list[str]:
        """What the trained part says, each text once and sorted; nothing held out shapes the vocabulary."""
        people = self._people()
        items = [self.store.item_by_id[item_id] for item_id in self.responses["item_id"].unique()]
        layout = self.layout
        of_items, of_personas = (
            (layout.shared_text, layout.own_text)
            if layout.shared_by == "item"
            else (layout.own_text, layout.shared_text)
        )
        texts = {of_items(item=item) for item in items}
        texts |= {of_personas(attributes=attributes) for attributes in people["attributes"]}
        if layout.shared_by == "item":
            texts |= {text for item in items for text in layout.earlier_texts(item=item)}
        else:
            texts |= {
                text for known in people["attributes"] for text in layout.earlier_texts(attributes=known)
            }
        texts |= {format_value(value) for value in self.responses["value"].unique()}
        return sorted(texts)

    def _people(self) -> pl.DataFrame:
        """The participants whose answers are trained on, each once."""
        people = self.responses.select("study_id", "participant_id").unique()
        return people.join(self.store.participants, on=["study_id", "participant_id"], how="left")

    def attribute_forms(self) -> dict[str, list[str]]:
        """How the values of each attribute are written that the model learns from, numbers left open."""
        return forms_of(self._people()["attributes"].struct.unnest()) if self.store.attributes else {}

    @functools.cached_property
    def trained_on(self) -> TrainedOn:
        """What the model will have seen, that of its start included."""
        return TrainedOn.of(self.store, self.responses).with_earlier(self.start_trained_on)

    def shards(self, tokenizer: Tokenizer) -> TreeShards:
        """The training part as prompt trees, made if they are not there yet."""
        check_cut(Pairs.of_store(self.store, self.responses), layout=self.layout, tokenizer=tokenizer)
        with progress("tokenize", total=1) as report:

            def show(done: int, total: int) -> None:
                report.total = total
                report.update(done)

            folder = build_shards(
                self.store,
                self.split,
                self.responses,
                tokenizer=tokenizer,
                layout=self.layout,
                root=self.store.path / "shards",
                sharing=self.settings.sharing,
                max_tokens=self.settings.max_tokens,
                targets=self.targets,
                rationales=self.rationales,
                subset=self.subset,
                progress=show,
            )
        return TreeShards(folder)


def load_inputs(recipe: Recipe) -> TrainingInputs:
    """Reads store, split, layout and rationales, and labels the responses.

    Raises InputError for anything that is missing or contradicts the recipe, and if the split trains on a study that
    was to be excluded: here, and not after an hour of tokenizing.
    """
    data = recipe.data
    store = StudyStore(data.store)
    split = Split.load(store, data.split)
    labeled = split.label()
    subset = None if data.subset is None else Subset(**data.subset.model_dump())
    rationales = None
    if data.rationales is not None:
        rationales = read_rationales(data.rationales, end=data.rationale_end)
    return TrainingInputs(
        store=store,
        split=split,
        layout=load_layout(data.layout, alternatives=data.alternatives),
        responses=split.training_responses(labeled=labeled, exclude=data.exclude_studies, subset=subset),
        validation=labeled.filter(pl.col("part") == VALIDATION),
        subset=subset,
        rationales=rationales,
        targets=_targets(recipe.objective, seed=recipe.seed),
        settings=data,
        start_trained_on=_trained_on_of(recipe.model.init_from),
    )


def _trained_on_of(init_from: str) -> TrainedOn | None:
    """What the start of training had seen; None for random weights and where its folder does not say."""
    if init_from == "random":
        return None
    return TrainedOn.of_folder(resolve_folder(init_from, allow_patterns=CHECKPOINT_FILES))


def _targets(objective: ObjectiveConfig, *, seed: int) -> Targets:
    if objective.sees_treatments:
        condition_on = objective.condition_on or ()
        contrasts = ContrastTargets(
            personas=objective.contrasts.personas_per_study,
            condition_on=condition_on,
            in_order=objective.kind == "contrast",
            seed=seed,
        )
        kind = {None: "nothing", "sft": "answers", "soft": "distributions"}[objective.mixed_with]
        beside = condition_on if kind == "distributions" else ()
        return Targets(kind=kind, condition_on=beside, contrasts=contrasts)
    if objective.kind == "dpo":
        return Targets(kind="pairs", pairs_per_response=objective.pairs_per_response or 1, seed=seed)
    if objective.kind in ("soft", "wasserstein"):
        in_order = objective.kind == "wasserstein"
        return Targets(kind="distributions", condition_on=objective.condition_on or (), in_order=in_order)
    if objective.kind == "sft":
        return ANSWERS
    raise AssertionError(f"objective {objective.kind} has no targets")
