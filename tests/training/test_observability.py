"""What a run writes about itself: rates, where its time went, journals, a profile, Weights & Biases."""

import errno
import json
import sys
import types
from pathlib import Path

import pytest
from saved_arrays import arrays, placed
from small import small_recipe, small_store

from socsci_jax.data.plan import BatchPlan
from socsci_jax.distributed.processes import Processes
from socsci_jax.errors import InputError
from socsci_jax.training.checkpoint_reader import CheckpointReader
from socsci_jax.training.checkpoint_writer import CheckpointWriter
from socsci_jax.training.flops import step_flops
from socsci_jax.training.journal import Journal
from socsci_jax.training.loop import train
from socsci_jax.training.prepare import prepare
from socsci_jax.training.recipe_files import parse_recipe
from socsci_jax.training.run import RunFolder


@pytest.fixture
def wandb(monkeypatch):
    """Stands for Weights & Biases: keeps what it is given."""
    module = types.ModuleType("wandb")
    module.settings, module.lines, module.finished = {}, [], []
    module.init = lambda **settings: module.settings.update(settings) or module
    module.log = lambda metrics, step: module.lines.append((step, metrics))
    module.finish = lambda: module.finished.append(True)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("observed")
    return folder, small_store(folder / "store")


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("torn", ['{"time": 179', "no line at all" * 10_000, ""])
def test_a_journal_goes_on_after_its_last_whole_line(tmp_path, torn):
    def journal():
        return Journal(tmp_path, run="r", processes=Processes())

    with journal() as first:
        first.write("step", step=1)
    path = tmp_path / "process-00000.jsonl"
    path.write_text(path.read_text() + torn[:60_000])
    with journal() as second:
        second.write("step", step=2)
    assert [line["step"] for line in lines(path)] == [1, 2]


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="no /dev/full, which is always full, on this system"
)
def test_a_full_disk_hides_nothing_of_what_ended_the_run(tmp_path):
    (tmp_path / "process-00000.jsonl").symlink_to("/dev/full")
    journal = Journal(tmp_path, run="r", processes=Processes())
    with pytest.raises(InputError, match="what ended it"), journal:
        raise InputError("what ended it")


def test_a_full_disk_is_said_with_what_is_safe(tmp_path):
    with CheckpointWriter(tmp_path / "checkpoints", keep=2) as checkpoints:
        checkpoints.save(3, state=placed(arrays(3)), metadata={})
        checkpoints.wait()
        with (
            pytest.raises(
                InputError, match=r"run: there is no space left; .* is that of step 3; start the same"
            ),
            checkpoints.translate_storage_errors(Path("run")),
        ):
            raise OSError(errno.ENOSPC, "full")


@pytest.mark.slow
def test_a_run_says_how_fast_it_is_and_where_its_time_went(world, wandb):
    output = world[0] / "run"
    tracking = {"wandb_project": "people", "profile_steps": [2, 3]}
    recipe = parse_recipe(
        small_recipe(
            world[1],
            output,
            hardware="1xh200",
            tracking=tracking,
            checkpoints={"every_steps": 3, "folder": str(world[0] / "elsewhere")},
        ),
        where="test",
    )
    train(recipe)

    # Rates go by the tokens of the plan, utilization by the formula that `plan` uses.
    prepared = prepare(recipe)
    plan = BatchPlan(prepared.shards.lengths, rows=8, tokens_per_row=512, branches_per_tree=4, seed=0)
    logged = lines(output / "metrics.jsonl")
    last = logged[-1]
    steps = range(logged[-2]["step"], last["step"])
    used = sum(plan.work(step)[0] for step in steps)
    seen = sum(plan.work(step)[1] for step in steps)
    seconds = len(steps) / last["steps_per_second"]
    assert last["tokens_per_second_per_device"] == pytest.approx(used / seconds)
    flops = step_flops(recipe, prepared.config, plan.shape, keys=seen / used) * len(steps)
    assert last["mfu"] == pytest.approx(flops / seconds / 989e12)
    shares = {name: value for name, value in last.items() if name.startswith("time_share/")}
    assert sum(shares.values()) == pytest.approx(1) and shares["time_share/compile"] > 0
    assert 0 <= last["input_wait_share"] < 1
    assert last["save_pause_seconds"] > 0

    # The journal: every step once, each save, and how it ended.
    journal = lines(output / "logs" / "process-00000.jsonl")
    assert [line["step"] for line in journal if line["event"] == "step"] == list(range(1, last["step"] + 1))
    assert [line["event"] for line in journal if line["event"] not in ("step", "saves")] == [
        "begins",
        "saved",
        "finished",
    ]
    assert len({(line["run"], line["start"]) for line in journal}) == 1

    # Checkpoints are where the recipe wants them.
    assert CheckpointReader(world[0] / "elsewhere").latest() == last["step"]
    assert RunFolder(output).checkpoints == world[0] / "elsewhere"
    assert not (output / "checkpoints").exists()

    assert list((output / "profile").rglob("*.xplane.pb"))
    assert wandb.settings["project"] == "people"
    assert wandb.settings["id"] == json.loads((output / "run.json").read_text())["run_id"]
    assert [step for step, _ in wandb.lines] == [line["step"] for line in logged] and wandb.finished


def test_without_weights_and_biases_the_recipe_is_refused_in_one_sentence(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    recipe = small_recipe(world[1], world[0] / "none", tracking={"wandb_project": "people"})
    with pytest.raises(InputError, match=r"tracking\.wandb_project: .* not installed; pip install"):
        train(parse_recipe(recipe, where="test"))
