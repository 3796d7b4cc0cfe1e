"""The same weights, examples and optimizer through TRL (and `peft`) and through ours: equal losses, equal weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file
from small import small_config
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from socsci_jax.data.branch_targets import Comparisons
from socsci_jax.data.trees import PromptPath, RowShape, empty_rows, grow_branch, put_row
from socsci_jax.data.tries import build_trie
from socsci_jax.models.adapters import export_adapter, init_adapter, load_adapter
from socsci_jax.models.config import AdapterConfig
from socsci_jax.models.huggingface_export import source_of, write_checkpoint
from socsci_jax.models.modules import init
from socsci_jax.models.slots import answer_log_probs, tree_log_probs
from socsci_jax.training.objectives import Objective
from socsci_jax.training.optimizer import decayed
from socsci_jax.training.state import TrainingState
from socsci_jax.training.step import train_step

datasets = pytest.importorskip("datasets")
peft = pytest.importorskip("peft")
torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")

pytestmark = pytest.mark.slow

END, WORDS = 1, 120
STEPS, PROMPTS = 10, 6
BETA = 0.3
ADAM = {"weight_decay": 0.1, "eps": 1e-8}
CONFIG = small_config(
    128,
    model_type="qwen2",
    intermediate_size=64,
    max_position_embeddings=256,
    initializer_range=0.1,
    eos_token_id=(END,),
)


@dataclasses.dataclass
class Example:
    prompt: list[int]
    shared: int
    chosen: list[int]
    rejected: list[int]


def examples() -> list[list[Example]]:
    """For each step a few prompts, two by two with a common prefix; answers of one or two tokens, and their end."""
    rng = np.random.default_rng(0)
    steps = []
    for _ in range(STEPS):
        step = []
        for n in range(PROMPTS):
            if n % 2 == 0:
                prefix = rng.integers(2, WORDS, rng.integers(10, 30)).tolist()
            own = rng.integers(2, WORDS, rng.integers(4, 9)).tolist()
            first = int(rng.integers(2, WORDS))
            # The rejected answer may begin as the chosen one does, as "1" and "10" do.
            chosen, rejected = [first], [first, int(rng.integers(2, WORDS))] if n % 3 else [first + 1]
            step.append(Example([*prefix, *own], len(prefix) if n % 2 else 0, chosen, rejected))
        steps.append(step)
    return steps


def batch(step: list[Example]) -> dict[str, np.ndarray]:
    """One row of prompt trees: the second of two examples hangs below the prefix of the first."""
    shape = RowShape(tokens=512, reads=64, slots=64, comparisons=PROMPTS, answers=2, path=3)
    rows = empty_rows(rows=1, shape=shape)
    paths = []
    for example in step:
        trie = build_trie([example.chosen, example.rejected], end_id=END)
        compared = Comparisons(
            path=trie.path[None],
            target=np.array([[1.0, 0.0]], np.float32),
            gap=np.zeros((1, 2), np.float32),
            weight=np.ones(1, np.float32),
        )
        branch = grow_branch(example.prompt[-4:], trie, trie.edge_weights([1, 0]), compared)
        paths.append(PromptPath(np.array(example.prompt[:-4], np.int32), branch, example.shared))
    put_row(rows, 0, paths)
    return {name: array[None] for name, array in rows.arrays().items()}


def ours(params, config, *, objective, frozen=None, learning_rate):
    """(losses, trained parameters) after all steps of the training step itself."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(learning_rate, mask=decayed, b2=0.999, **ADAM)
    )
    settings = {"config": config, "compute_dtype": jnp.float32, "remat": "none"}
    step = jax.jit(functools.partial(train_step, optimizer=optimizer, objective=objective, **settings))
    read = jax.jit(functools.partial(tree_log_probs, **settings))
    state = TrainingState(params=params, optimizer=optimizer.init(params), step=jnp.zeros((), jnp.int32))
    losses = []
    for arrays in map(batch, examples()):
        if objective.kind == "dpo":
            rows = {name: array[0] for name, array in arrays.items()}
            reference, _ = answer_log_probs(read(params, rows), rows["answer_path"])
            arrays["answer_reference"] = np.asarray(reference)[None]
        state, metrics = step(state, arrays, frozen)
        losses.append(float(metrics["loss"]))
    return losses, state.params


def recording(trainer_class):
    """A trainer that keeps the unrounded loss of every step."""

    class Recording(trainer_class):
        def compute_loss(self, *arguments, **settings):
            found = super().compute_loss(*arguments, **settings)
            self.losses.append((found[0] if isinstance(found, tuple) else found).item())
            return found

    Recording.losses = []
    return Recording


def words() -> PreTrainedTokenizerFast:
    """Token n is the word w<n>; as text because TRL's DPO takes text alone."""
    vocabulary = {"<pad>": 0, "<end>": END} | {f"w{n}": n for n in range(2, CONFIG.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<pad>")


def text(ids: list[int]) -> str:
    return "".join(f" w{n}" for n in ids)


def settings_of_trl(folder, learning_rate) -> dict:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": PROMPTS,
        "max_steps": STEPS,
        "max_length": None,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1.0,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def optimizer_of_torch(model, learning_rate):
    """Plain AdamW with our rule of what decays."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    exempt = [p for name, p in trained if "norm" in name or "bias" in name]
    rest = [p for name, p in trained if not ("norm" in name or "bias" in name)]
    groups = [{"params": rest}, {"params": exempt, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.999), **ADAM)


def train_with_trl(model, folder, *, kind, learning_rate) -> list[float]:
    flat = [example for step in examples() for example in step]
    shared = settings_of_trl(folder, learning_rate)
    optimizers = (optimizer_of_torch(model, learning_rate), None)
    if kind == "sft":
        data = {
            "input_ids": [[*e.prompt, *e.chosen, END] for e in flat],
            "completion_mask": [[0] * len(e.prompt) + [1] * (len(e.chosen) + 1) for e in flat],
        }
        config = trl.SFTConfig(completion_only_loss=True, train_sampling_strategy="sequential", **shared)
        trainer_class = recording(trl.SFTTrainer)
    else:
        data = {
            "prompt": [text(e.prompt) for e in flat],
            "chosen": [text(e.chosen) + " " for e in flat],
            "rejected": [text(e.rejected) + " " for e in flat],
        }
        config = trl.DPOConfig(
            beta=BETA, precompute_ref_log_probs=True, train_sampling_strategy="sequential", **shared
        )
        trainer_class = recording(trl.DPOTrainer)
    trainer = trainer_class(
        model=model,
        args=config,
        train_dataset=datasets.Dataset.from_dict(data),
        processing_class=words(),
        optimizers=optimizers,
    )
    trainer.train()
    return trainer.losses


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    params = init(CONFIG, key=jax.random.key(0))
    folder = tmp_path_factory.mktemp("parity") / "model"
    write_checkpoint(source_of(params, CONFIG), CONFIG, folder)
    return folder, params


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_full_fine_tuning_equals_trl(start, tmp_path, kind):
    folder, params = start
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = train_with_trl(model, tmp_path / "trl", kind=kind, learning_rate=1e-3)

    objective = Objective() if kind == "sft" else Objective(kind="dpo", beta=BETA, sft_share=0.0)
    losses, trained = ours(params, CONFIG, objective=objective, learning_rate=1e-3)
    assert len(theirs) == STEPS
    np.testing.assert_allclose(losses, theirs, rtol=1e-5, atol=1e-5)
    assert losses[-1] != pytest.approx(losses[0], abs=1e-2)
    write_checkpoint(source_of(trained, CONFIG), CONFIG, tmp_path / "ours")
    mine = load_file(tmp_path / "ours" / "model.safetensors")
    for name, tensor in model.state_dict().items():
        if name in mine:
            np.testing.assert_allclose(mine[name], tensor.numpy(), atol=1e-4, err_msg=name)
    assert mine.keys() <= model.state_dict().keys()


def test_an_adapter_trains_as_pefts_does(start, tmp_path):
    folder, params = start
    config = dataclasses.replace(CONFIG, adapter=AdapterConfig(rank=4, alpha=8.0))
    adapter = init_adapter(config, key=jax.random.key(1))
    export_adapter(adapter, config, tmp_path / "start", base=str(folder))
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, tmp_path / "start", is_trainable=True)
    theirs = train_with_trl(model, tmp_path / "trl", kind="sft", learning_rate=1e-3)
    model.save_pretrained(tmp_path / "theirs")

    losses, trained = ours(adapter, config, objective=Objective(), frozen=params, learning_rate=1e-3)
    np.testing.assert_allclose(losses, theirs, rtol=1e-5, atol=1e-5)
    for mine, other in zip(
        jax.tree.leaves(trained), jax.tree.leaves(load_adapter(tmp_path / "theirs", config)), strict=True
    ):
        np.testing.assert_allclose(mine, other, atol=1e-4)
