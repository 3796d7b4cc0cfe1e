"""Training shards: what they hold is what the split trains on, and damage is named."""

import json

import numpy as np
import polars as pl
import pytest
from small import small_store, small_tokenizer

from socsci_jax.data import prompt_table, shard_records
from socsci_jax.data.loader import PlannedRows
from socsci_jax.data.plan import BatchPlan
from socsci_jax.data.shards import TreeShards, build_shards
from socsci_jax.data.tokenizers import Tokenizer
from socsci_jax.errors import InputError
from socsci_jax.locks import only_writer
from socsci_jax.studies.layouts import PERSONA_FIRST, STUDY_FIRST
from socsci_jax.studies.splits import Split, Subset


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    store = small_store(folder / "store")
    return store, Split.load(store, "main"), small_tokenizer(store, folder / "tokenizer")


def build(world, root, **changes):
    store, split, tokenizer = world
    settings = {"layout": STUDY_FIRST, "sharing": "all", "max_tokens": 512, **changes}
    train = split.training_responses(subset=settings.get("subset"))
    return TreeShards(build_shards(store, split, train, tokenizer=tokenizer, root=root, **settings))


def texts(shards, tokenizer) -> list[str]:
    """Every response as prompt and answer, one text each, from the records."""
    found = []
    for b in range(shards.metadata["branches"]):
        branch = shards.branch(b)
        prefix = tokenizer.decode(shards.prefix(int(shards.branch_index["prefix"][b])))
        for row, token, weight in zip(branch.slot_read, branch.slot_id, branch.slot_weight):
            if token == tokenizer.end_of_answer_id:
                node = branch.read[row]
                seen = [j for j in range(node + 1) if j <= node < branch.end[j]]
                found += [prefix + tokenizer.decode(branch.ids[seen])] * int(weight)
    return sorted(found)


def test_shards_hold_every_training_response_and_nothing_that_is_held_out(world, tmp_path):
    _store, split, _ = world
    shards = build(world, tmp_path)
    train = split.training_responses()
    assert shards.metadata["responses"] == train.height
    held_out = split.label().filter(pl.col("part") == "unseen_studies")["study_id"].unique()
    seen = {key.split(".")[0] for key in shards.prefix_index["key"]}
    assert seen.isdisjoint(held_out)


def test_merged_and_unmerged_shards_hold_the_same_responses(world, tmp_path):
    tokenizer = world[2]
    merged = build(world, tmp_path)
    single = build(world, tmp_path, sharing="prefix")
    assert merged.metadata["branches"] < single.metadata["branches"] == single.metadata["responses"]
    assert texts(merged, tokenizer) == texts(single, tokenizer)


def test_both_layouts_hold_the_same_number_of_responses(world, tmp_path):
    by_item, by_person = build(world, tmp_path), build(world, tmp_path, layout=PERSONA_FIRST)
    assert by_item.metadata["responses"] == by_person.metadata["responses"]
    assert "demographic profile" in world[2].decode(by_person.prefix(0))


def test_equal_input_is_tokenized_once(world, tmp_path):
    first = build(world, tmp_path)
    assert build(world, tmp_path).folder == first.folder
    assert build(world, tmp_path, max_tokens=500).folder != first.folder


def test_a_subset_has_shards_of_its_own(world, tmp_path):
    _store, split, tokenizer = world
    whole = build(world, tmp_path)
    subsets = [
        Subset(of="participants", share=share, seed=seed) for share, seed in [(0.5, 0), (0.5, 1), (1.0, 0)]
    ]
    shards = [build(world, tmp_path, subset=subset) for subset in subsets]
    assert len({s.folder for s in (whole, *shards)}) == 4
    for subset, s in zip(subsets, shards):
        assert s.metadata["responses"] == split.training_responses(subset=subset).height
    assert texts(shards[2], tokenizer) == texts(whole, tokenizer)


def test_prompts_that_are_too_long_are_counted_and_written_out(world, tmp_path):
    lengths = build(world, tmp_path).lengths
    total = lengths.prefix_tokens[lengths.branch_prefix] + lengths.branch_tokens
    limit = int(np.median(total))
    shards = build(world, tmp_path, max_tokens=limit)
    rejects = pl.read_csv(shards.folder / "rejects.csv")
    assert shards.metadata["rejected"] == rejects.height == (total > limit).sum() > 0
    kept = sum(json.loads(record)["responses"] for record in rejects["record"])
    assert kept + shards.metadata["responses"] == world[1].training_responses().height
    with pytest.raises(InputError, match=r"nothing is left to train on.*3 allowed"):
        build(world, tmp_path, max_tokens=3)


def test_a_truncated_shard_is_named(world, tmp_path):
    shards = build(world, tmp_path)
    path = next(shards.folder.glob("branches-*.array_record"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        InputError, match=r"branches-00000\.array_record: this training shard is [\d,]+ bytes"
    ):
        TreeShards(shards.folder)


def test_processes_together_read_exactly_the_batch_of_one(world, tmp_path):
    shards = build(world, tmp_path)
    plan = BatchPlan(shards.lengths, rows=8, tokens_per_row=512, branches_per_tree=4, seed=0)

    def source(own):
        return PlannedRows(shards, plan, steps=3, micro_batches=2, own=own)

    for step in range(3):
        whole = source(slice(0, 4))[step]
        halves = [source(slice(0, 2))[step], source(slice(2, 4))[step]]
        for name, array in whole.items():
            assert np.array_equal(array, np.concatenate([half[name] for half in halves], axis=1))


def test_rows_are_the_prompts_of_their_branches_each_shared_token_once(world, tmp_path):
    shards = build(world, tmp_path)
    plan = BatchPlan(shards.lengths, rows=2, tokens_per_row=1024, branches_per_tree=16, seed=0)
    steps = plan.steps(1)
    source = PlannedRows(shards, plan, steps=steps, micro_batches=1, own=slice(0, 2))
    found, wanted, tokens = [], [], 0
    for step in range(steps):
        arrays = {name: array[0] for name, array in source[step].items()}
        tokens += int((arrays["end"] > 0).sum())
        for g, a in np.argwhere(arrays["slot_weight"] > 0):
            at = arrays["read"][g, arrays["slot_read"][g, a]]
            path = [j for j in range(at + 1) if at < arrays["end"][g, j]]
            assert arrays["position"][g, path].tolist() == list(range(len(path)))
            found.append((*arrays["ids"][g, path], arrays["slot_id"][g, a], arrays["slot_weight"][g, a]))
    for b, p in enumerate(shards.branch_index["prefix"]):
        prefix, branch = shards.prefix(p), shards.branch(b)
        for read, token, weight in zip(branch.slot_read, branch.slot_id, branch.slot_weight):
            at = branch.read[read]
            path = branch.ids[[j for j in range(at + 1) if at < branch.end[j]]]
            wanted.append((*prefix, *path, token, weight))
    assert sorted(found) == sorted(wanted)
    lengths = shards.lengths
    assert tokens < (lengths.prefix_tokens[lengths.branch_prefix] + lengths.branch_tokens).sum() / 2


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_build_that_was_killed_resumes_and_gives_the_same_bytes(world, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_records, "RECORDS_PER_FILE", 8)
    monkeypatch.setattr(prompt_table, "TEXTS_IN_PART", 16)
    whole = contents(build(world, tmp_path / "whole").folder)

    class Killed(BaseException):
        pass

    written, writer = [], shard_records.RecordWriter.write

    def dies(self, record):
        written.append(record)
        if len(written) > 20:
            raise Killed
        writer(self, record)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(shard_records.RecordWriter, "write", dies)
        build(world, tmp_path / "killed")
    [unfinished] = (tmp_path / "killed").glob(".*.unfinished")
    kept = {path.name for path in unfinished.glob("branches-*.array_record")}
    assert kept == {"branches-00000.array_record", "branches-00001.array_record"}
    assert list((unfinished / "tokens").glob("*.npz"))

    def tokenizes_again(self, texts):
        raise AssertionError("these texts are tokenized already")

    monkeypatch.setattr(Tokenizer, "encode_arrays", tokenizes_again)
    resumed = build(world, tmp_path / "killed").folder
    assert contents(resumed) == whole
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [resumed.name]


def test_while_another_process_writes_the_same_shards_this_one_makes_its_own(world, tmp_path):
    whole = build(world, tmp_path / "whole").folder
    root = tmp_path / "shards"
    with only_writer(root / f".{whole.name}.unfinished"):
        assert contents(build(world, root).folder) == contents(whole)
