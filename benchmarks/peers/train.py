"""Time one training step as users of transformers and TRL run it today, on CPU or a GPU.

`keep` and `loop` are plain PyTorch loops over transformers with and without `logits_to_keep`; `trl` is TRL's
`SFTTrainer`. Data order, optimizer and what a step includes (collating the batch, forward, backward, update)
are the same for all three. One process times one mode, so that the peak memory belongs to it.
"""

import argparse
import contextlib
import importlib.util
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
import transformers
import trl
from transformers import AutoModelForCausalLM, PreTrainedModel

WARMUP_STEPS = 2
IGNORED = -100  # the label that transformers and PyTorch exclude from the loss
PADDING_ID = 0  # any token would do: padding is neither attended to nor predicted
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths in one flat array, as the benchmark's files store them."""

    ids: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True)
class Example:
    """A prompt and the answer to learn; the answer ends with the end-of-answer token."""

    prompt: np.ndarray
    answer: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        return np.concatenate([self.prompt, self.answer])

    @property
    def labels(self) -> np.ndarray:
        return np.concatenate([np.full_like(self.prompt, IGNORED), self.answer])


@dataclass(frozen=True)
class Measurement:
    """The way that attention is computed, the first loss before any update, and the seconds of every timed step."""

    attention: str
    first_loss: float
    step_seconds: list[float]


def pad(sequences: list[np.ndarray], *, side: str, fill: int) -> torch.Tensor:
    """Stack sequences to an int64 tensor [sequences, longest]."""
    longest = max(map(len, sequences))
    padded = np.full((len(sequences), longest), fill, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        start = longest - len(sequence) if side == "left" else 0
        padded[row, start : start + len(sequence)] = sequence
    return torch.from_numpy(padded).to(torch.get_default_device())


def attention_mask(sequences: list[np.ndarray], *, side: str) -> torch.Tensor:
    return pad([np.ones(len(sequence)) for sequence in sequences], side=side, fill=0)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position of each token in its own sequence, whatever the padding before it."""
    return (mask.cumsum(dim=-1) - 1).clamp(min=0)


def load_model(folder: str, *, dtype: str) -> PreTrainedModel:
    """On the device that main chose; on GPUs with flash attention where it is installed."""
    flash = torch.get_default_device().type == "cuda" and importlib.util.find_spec("flash_attn") is not None
    attention = "flash_attention_2" if flash else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPES[dtype], attn_implementation=attention)
    return model.to(torch.get_default_device())


def wait_for_device() -> None:
    """A GPU computes while the host goes on; a clock must not."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.get_default_device().type == "cuda" else "cpu"


def attention_of(model: PreTrainedModel) -> str:
    return model.config._attn_implementation


def peak_rss_mb() -> int:
    """Highest resident memory of this process, from Linux's own count."""
    with open("/proc/self/status") as status:
        kilobytes = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    return int(kilobytes) // 1024


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__}


def read_batches(path: str, *, batch_size: int, count: int) -> list[list[Example]]:
    """The first `count` batches in file order, wrapping around where the file ends."""
    with np.load(path) as arrays:
        prompts = Ragged(arrays["prompt_ids"], arrays["prompt_offsets"])
        answers = Ragged(arrays["answer_ids"], arrays["answer_offsets"])
    examples = itertools.cycle(Example(prompts[i], answers[i]) for i in range(len(prompts)))
    return [list(itertools.islice(examples, batch_size)) for _ in range(count)]


def make_optimizer(model: PreTrainedModel) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.1, fused=True)


def loss_with_logits_to_keep(model: PreTrainedModel, batch: list[Example]) -> torch.Tensor:
    """Mean cross entropy over the answer tokens, with logits only where one of them is predicted.

    The last column is never fed: it has nothing to predict. `logits_to_keep` takes a mask since transformers
    5.23, which spares the logits that a plain count would compute for the shorter answers of the batch.
    """
    sequences = [example.ids for example in batch]
    ids = pad(sequences, side="left", fill=PADDING_ID)
    mask = attention_mask(sequences, side="left")
    targets = pad([example.labels for example in batch], side="left", fill=IGNORED)[:, 1:]
    predicts_answer = targets != IGNORED
    logits = model(
        input_ids=ids[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=positions(mask)[:, :-1],
        logits_to_keep=predicts_answer,
        use_cache=False,
    ).logits
    return F.cross_entropy(logits.float(), targets[predicts_answer])


def loss_with_all_logits(model: PreTrainedModel, batch: list[Example]) -> torch.Tensor:
    """The loss that transformers computes from labels: logits at every position, then most of them ignored."""
    sequences = [example.ids for example in batch]
    return model(
        input_ids=pad(sequences, side="right", fill=PADDING_ID),
        attention_mask=attention_mask(sequences, side="right"),
        labels=pad([example.labels for example in batch], side="right", fill=IGNORED),
        use_cache=False,
    ).loss


def train_with_loop(
    model: PreTrainedModel,
    batches: list[list[Example]],
    *,
    loss_of: Callable[[PreTrainedModel, list[Example]], torch.Tensor],
    gradient_checkpointing: bool,
) -> Measurement:
    model.train()
    if gradient_checkpointing:
        model.gradient_checkpointing_enable()
    optimizer = make_optimizer(model)
    losses, step_seconds = [], []
    for batch in batches:
        start = time.perf_counter()
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait_for_device()
        step_seconds.append(time.perf_counter() - start)
        losses.append(loss.item())
    return Measurement(
        attention=attention_of(model), first_loss=losses[0], step_seconds=step_seconds[WARMUP_STEPS:]
    )


class StepClock(transformers.TrainerCallback):
    """Notes when each step ends; from one end to the next is a whole step, collating included."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, *args, **kwargs) -> None:
        self.times.append(time.perf_counter())

    def on_step_end(self, *args, **kwargs) -> None:
        wait_for_device()
        self.times.append(time.perf_counter())


def padding_only_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """`SFTTrainer` insists on a tokenizer; for tokenized data it only asks for the padding token."""
    from tokenizers import Tokenizer, models

    vocabulary = models.WordLevel({"<pad>": PADDING_ID, "<end>": PADDING_ID + 1}, unk_token="<pad>")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(vocabulary), pad_token="<pad>", eos_token="<end>"
    )


def train_with_trl(
    model: PreTrainedModel, batches: list[list[Example]], *, gradient_checkpointing: bool, seed: int
) -> Measurement:
    """TRL's `SFTTrainer`, with the defaults changed that cost speed on CPU or make the work unequal.

    One cost cannot be configured away: without Triton, TRL 1.16 sends every position through its chunked LM head,
    in the forward and again in the backward pass, and then masks out the prompt.
    """
    from datasets import Dataset

    examples = list(itertools.chain.from_iterable(batches))
    dataset = Dataset.from_dict(
        {
            "input_ids": [example.ids for example in examples],
            "completion_mask": [(example.labels != IGNORED).astype(np.int64) for example in examples],
        }
    )
    clock = StepClock()
    with tempfile.TemporaryDirectory() as output_dir:
        config = trl.SFTConfig(
            output_dir=output_dir,
            seed=seed,
            per_device_train_batch_size=len(batches[0]),
            max_steps=len(batches),
            use_cpu=torch.get_default_device().type == "cpu",
            # TRL's default is True and computes every layer twice.
            gradient_checkpointing=gradient_checkpointing,
            # TRL's default is True: bfloat16 autocast. The model is already loaded in the dtype to compute in:
            # over float32 parameters autocast would change the arithmetic, over bfloat16 ones it hardly matters.
            bf16=False,
            # The default (None) learns from the prompt as well, because pretokenized data has no `completion` column.
            completion_only_loss=True,
            # The default of 1024 would cut answers off longer prompts.
            max_length=None,
            # The default shuffles; all modes see the same batches.
            train_sampling_strategy="sequential",
            # The default of 1.0 reads every gradient once more; the loops do not clip.
            max_grad_norm=0.0,
            # The default decays the learning rate linearly; the loops hold it.
            lr_scheduler_type="constant",
            # Defaults that write to disk or screen while the clock runs.
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = trl.SFTTrainer(
            model=model,
            args=config,
            train_dataset=dataset,
            processing_class=padding_only_tokenizer(),
            callbacks=[clock],
            # The same optimizer as in the loops: Trainer's own would leave biases and norms undecayed.
            optimizers=(make_optimizer(model), None),
        )
        model.train()
        with torch.no_grad():
            first_loss = trainer.compute_loss(model, next(iter(trainer.get_train_dataloader()))).item()
        trainer.train()
    return Measurement(
        attention=attention_of(model),
        first_loss=first_loss,
        step_seconds=np.diff(clock.times)[WARMUP_STEPS:].tolist(),
    )


def measure(arguments: argparse.Namespace, batches: list[list[Example]]) -> Measurement:
    model = load_model(arguments.model, dtype=arguments.dtype)
    checkpointing = arguments.gradient_checkpointing
    if arguments.mode == "trl":
        return train_with_trl(model, batches, gradient_checkpointing=checkpointing, seed=arguments.seed)
    loss_of = loss_with_logits_to_keep if arguments.mode == "keep" else loss_with_all_logits
    return train_with_loop(model, batches, loss_of=loss_of, gradient_checkpointing=checkpointing)


@contextlib.contextmanager
def stdout_for_results_only() -> Iterator[None]:
    """Send what libraries print to stderr: whoever reads stdout expects JSON lines."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="Hugging Face folder: config.json and safetensors")
    parser.add_argument(
        "--data", required=True, help="npz with prompt_ids, prompt_offsets, answer_ids, answer_offsets"
    )
    parser.add_argument("--mode", required=True, choices=["keep", "loop", "trl"])
    parser.add_argument(
        "--dtype", default="float32", choices=list(DTYPES), help="of parameters and arithmetic"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--steps", type=int, default=20, help=f"timed steps, after {WARMUP_STEPS} untimed ones"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.set_default_device(arguments.device)
    torch.manual_seed(arguments.seed)
    batches = read_batches(
        arguments.data, batch_size=arguments.batch_size, count=WARMUP_STEPS + arguments.steps
    )
    with stdout_for_results_only():
        measurement = measure(arguments, batches)
    seconds_per_step = float(np.median(measurement.step_seconds))
    tokens_per_step = np.mean(
        [sum(len(example.ids) for example in batch) for batch in batches[WARMUP_STEPS:]]
    )
    result = {
        "peer": "trl" if arguments.mode == "trl" else "transformers",
        "mode": arguments.mode,
        "device": device_name(),
        "dtype": arguments.dtype,
        "batch_size": arguments.batch_size,
        "steps": len(measurement.step_seconds),
        "attention": measurement.attention,
        "gradient_checkpointing": arguments.gradient_checkpointing,
        "threads": arguments.threads,
        "seconds_per_step": seconds_per_step,
        "responses_per_second": arguments.batch_size / seconds_per_step,
        "tokens_per_second": float(tokens_per_step) / seconds_per_step,
        "first_loss": measurement.first_loss,
        "peak_rss_mb": peak_rss_mb(),
        "versions": versions(),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
