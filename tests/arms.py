"""Studies with arms, and the shards and plans of their contrasts, that several test files build on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from small import AGES, GENDERS, small_config, small_item, small_tokenizer

from socsci_jax.data.branch_targets import Targets
from socsci_jax.data.contrast_plan import ContrastPlan
from socsci_jax.data.contrasts import ContrastTargets
from socsci_jax.data.shards import TreeShards, build_shards
from socsci_jax.models.modules import init
from socsci_jax.studies.layouts import STUDY_FIRST
from socsci_jax.studies.scale import Scale
from socsci_jax.studies.split_making import make_split
from socsci_jax.studies.splits import Split
from socsci_jax.studies.store_builder import StoreBuilder

SETTINGS = {"compute_dtype": jnp.float32, "remat": "none"}
SCALE = 2.0  # of random weights: large enough that people and arms differ
STIMULI = (
    "Study {} is about money: everybody pays more from next year on.\n\n",
    "You meet an old friend, number {}, who tells a long story of trees and birds.\n\n",
    "Nothing happens here. {} people wait.\n\n",
)
SCALES = {
    "taxes": Scale.of_levels(range(1, 6), origin="stated"),
    "parks": Scale.of_levels(range(8, 13), origin="stated"),  # answers of one and of two tokens
    "topic": Scale.of_levels({1: "Traffic", 2: "Parks", 3: "Schools"}, origin="codebook", nominal=True),
}


def studies_with_arms(folder):
    """Studies of three arms and one of a single arm: store, split, tokenizer, decoder's shape."""
    rng = np.random.default_rng(0)
    builder = StoreBuilder(attributes=("age", "gender"), source="small", license="CC0", command="test")
    for s in range(4):
        builder.add_study(f"s{s}", title=f"Study number {s}")
        for c in range(1 if s == 3 else 3):
            # Arms of different words: what they have in common would cancel in gradients, and leave rounding errors.
            ids = {
                name: builder.add_item(
                    dataclasses.replace(
                        small_item(f"s{s}", f"c{c}", name, scale), stimulus=STIMULI[c].format(s)
                    )
                )
                for name, scale in SCALES.items()
            }
            for p in range(6):
                persona = {"age": AGES[rng.integers(3)], "gender": GENDERS[rng.integers(2)]}
                builder.add_participant(f"s{s}", f"{c}-{p}", persona)
                for name, item_id in ids.items():
                    value = int(rng.choice(SCALES[name].levels))
                    builder.add_response(item_id, f"{c}-{p}", value, sample_id=len(SCALES) * p)
    store = builder.write(folder / "store")
    make_split(store, name="main", seed=0, participants=0.2).save()
    tokenizer = small_tokenizer(store, folder / "tokenizer")
    return store, Split.load(store, "main"), tokenizer, small_config(tokenizer)


def contrast_shards(world, *, kind="nothing", layout=STUDY_FIRST, **changes) -> TreeShards:
    store, split, tokenizer, _ = world
    settings = {"personas": 5, "in_order": True, **changes}
    folder = build_shards(
        store,
        split,
        split.training_responses(),
        tokenizer=tokenizer,
        layout=layout,
        root=store.path / "shards",
        sharing="all",
        max_tokens=512,
        targets=Targets(kind=kind, contrasts=ContrastTargets(**settings)),
    )
    return TreeShards(folder)


def plan_of(shards: TreeShards, *, rows=4, micro_batches=1, tokens_per_row=1024, seed=0) -> ContrastPlan:
    return ContrastPlan(
        shards.lengths,
        rows=rows,
        micro_batches=micro_batches,
        tokens_per_row=tokens_per_row,
        personas=4,
        seed=seed,
    )


def params(world, *, seed=0):
    return jax.tree.map(lambda w: SCALE * w, init(world[3], key=jax.random.key(seed)))
