"""Token lengths of a store's prompts."""

from __future__ import annotations

import numpy as np
import polars as pl

from socsci_jax.data.prompt_table import tokenize_prompts
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.studies.pairs import Pairs
from socsci_jax.studies.prompts import Layout
from socsci_jax.studies.store import StudyStore


def token_lengths(store: StudyStore, *, layout: Layout, tokenizer: Tokenizer) -> pl.DataFrame:
    """Mean, median, 95th percentile and maximum of prefix, branch and whole prompt over all responses."""
    pairs = store.responses.join(store.item_places.select("item_id", "study_id"), on="item_id", how="left")
    table = tokenize_prompts(Pairs.of_store(store, pairs), layout=layout, tokenizer=tokenizer)
    prefix = np.array([len(ids) for ids in table.prefixes])[table.pair_prefix]
    branch = np.array([len(ids) for ids in table.prompts])[table.pair_prompt]
    return pl.DataFrame(
        [
            {
                "part": part,
                "mean": round(float(tokens.mean()), 1),
                "median": int(np.median(tokens)),
                "p95": int(np.quantile(tokens, 0.95)),
                "max": int(tokens.max()),
            }
            for part, tokens in (("prefix", prefix), ("branch", branch), ("prompt", prefix + branch))
        ]
    )
