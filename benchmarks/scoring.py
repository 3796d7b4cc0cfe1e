"""Exact distributions of the requests that the peers get, timed from token ids to probabilities."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from socsci_jax.data.prompt_table import PromptTable
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.data.tries import NO_ANSWERS, AnswerTrie, build_trie
from socsci_jax.models.huggingface import load_checkpoint
from socsci_jax.models.sharding import make_mesh
from socsci_jax.simulation.exact import exact_distributions
from socsci_jax.simulation.model import SimulationModel
from socsci_jax.studies.layouts import STUDY_FIRST


def score_requests(a: argparse.Namespace) -> dict:
    """Times `exact_distributions` from token ids to probabilities, after one untimed pass that compiles."""
    folder = Path(a.workload)
    table, tries = read_requests(folder / a.data, distinct=a.distinct)
    if a.first_token:
        tries = [_first_tokens(trie) for trie in tries]
    mesh = make_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])
    loaded = load_checkpoint(folder / "model", mesh=mesh, param_dtype=a.dtype)
    model = SimulationModel(
        config=loaded.config,
        params=loaded.params,
        mesh=mesh,
        tokenizer=load_tokenizer(folder / "tokenizer"),
        layout=STUDY_FIRST,
        compute_dtype=jnp.dtype(a.dtype),
        metadata={"name": "benchmark"},
    )
    seconds = []
    for _ in range(1 + a.repeats):
        clock = time.perf_counter()
        found = exact_distributions(
            model, table, tries=tries, trie_of_pair=table.pair_prefix, sharing=a.sharing
        )
        seconds.append(time.perf_counter() - clock)
    if a.dump:
        np.savez(a.dump, probs=np.concatenate([one.probs for one in found]))
    median = float(np.median(seconds[1:]))
    return {
        "peer": "socsci_jax",
        "mode": f"exact, sharing {a.sharing}",
        "responses": len(table.pair_prefix),
        "seconds": round(median, 3),
        "responses_per_second": round(len(table.pair_prefix) / median, 2),
        "first_pass_seconds": round(seconds[0], 1),
    }


def read_requests(path: Path, *, distinct: bool = False) -> tuple[PromptTable, list[AnswerTrie]]:
    """The requests of a workload's file, and the trie of each item; `distinct`: of equal ones only the first."""
    requests = np.load(path)
    prefixes, owns, answers = (_ragged(requests, name) for name in ("prefix", "own", "answer"))
    end_id = int(requests["eos_id"])
    tries = [
        build_trie([ids[:-1].tolist() for ids in answers[first:last]], end_id=end_id)
        for first, last in itertools.pairwise(requests["item_answers"])
    ]
    prompt_of_text: dict[bytes, int] = {}
    items = requests["item"].astype(np.int64)
    if distinct:
        kept: dict[tuple[int, bytes], int] = {}
        for pair, (item, own) in enumerate(zip(items, owns)):
            kept.setdefault((item, own.tobytes()), pair)
        items, owns = items[[*kept.values()]], [owns[pair] for pair in kept.values()]
    table = PromptTable(
        prefixes=prefixes,
        prefix_key=[str(i) for i in range(len(prefixes))],
        prompts=[],
        pair_prefix=items,
        pair_prompt=np.array([prompt_of_text.setdefault(own.tobytes(), len(prompt_of_text)) for own in owns]),
    )
    table.prompts.extend(np.frombuffer(text, np.int32) for text in prompt_of_text)
    return table, tries


def _first_tokens(trie: AnswerTrie) -> AnswerTrie:
    """What the hand-made prefix cache gives: the distribution over the answers' first tokens, no more."""
    first = np.flatnonzero(trie.edge_read == 0)
    return dataclasses.replace(
        NO_ANSWERS,
        edge_read=trie.edge_read[first],
        edge_id=trie.edge_id[first],
        path=np.arange(len(first), dtype=np.int32)[:, None],
    )


def _ragged(arrays, name: str) -> list[np.ndarray]:
    offsets = arrays[f"{name}_offsets"]
    return [arrays[f"{name}_ids"][a:b] for a, b in itertools.pairwise(offsets)]
