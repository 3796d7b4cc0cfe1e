"""Time how users of transformers predict survey answers today, on CPU or a GPU.

`generate` samples one answer per response; `forward` and `prefix` give the distribution over the first answer
token; `levels` gives the exact distribution over the allowed answers. The model is loaded once for all modes.
"""

import argparse
import copy
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from train import (
    DTYPES,
    IGNORED,
    PADDING_ID,
    Ragged,
    attention_mask,
    device_name,
    load_model,
    pad,
    peak_rss_mb,
    positions,
    stdout_for_results_only,
    versions,
)
from transformers import GenerationConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache

WARMUP_BATCHES = 2
Predictions = dict[int, np.ndarray]  # one array per response; what it holds is the mode's business


@dataclass(frozen=True)
class Survey:
    """Items that many people answer: responses of an item share its prefix and its allowed answers."""

    prefixes: Ragged
    owns: Ragged
    item_of: np.ndarray
    answers: Ragged
    item_answers: np.ndarray
    eos_id: int

    def prompt(self, response: int) -> np.ndarray:
        return np.concatenate([self.prefixes[self.item_of[response]], self.owns[response]])

    def allowed(self, response: int) -> list[np.ndarray]:
        item = self.item_of[response]
        return [self.answers[i] for i in range(self.item_answers[item], self.item_answers[item + 1])]

    def first_tokens(self, response: int) -> list[int]:
        return [int(answer[0]) for answer in self.allowed(response)]

    def shortest_first(self, limit: int | None) -> list[int]:
        """The first `limit` responses, item by item and shortest first, so that batches need little padding."""
        count = len(self.owns) if limit is None else min(limit, len(self.owns))
        return np.lexsort((np.diff(self.owns.offsets)[:count], self.item_of[:count])).tolist()


def read_survey(path: str) -> Survey:
    with np.load(path) as arrays:
        survey = Survey(
            prefixes=Ragged(arrays["prefix_ids"], arrays["prefix_offsets"]),
            owns=Ragged(arrays["own_ids"], arrays["own_offsets"]),
            item_of=arrays["item"],
            answers=Ragged(arrays["answer_ids"], arrays["answer_offsets"]),
            item_answers=arrays["item_answers"],
            eos_id=int(arrays["eos_id"]),
        )
    for name, sequences in (("prefix", survey.prefixes), ("own", survey.owns), ("answer", survey.answers)):
        if (np.diff(sequences.offsets) == 0).any():
            raise ValueError(f"{path}: {name}_offsets has an empty sequence; every one needs a token.")
    return survey


def batched(values: list, batch_size: int) -> Iterator[list]:
    for start in range(0, len(values), batch_size):
        yield values[start : start + batch_size]


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    return logits.float().log_softmax(dim=-1)


def generate(model: PreTrainedModel, survey: Survey, responses: list[int], batch_size: int) -> Predictions:
    """Sampled answer tokens, up to the end-of-answer token or the longest allowed answer of the batch."""
    sampled = {}
    for batch in batched(responses, batch_size):
        prompts = [survey.prompt(response) for response in batch]
        ids = pad(prompts, side="left", fill=PADDING_ID)
        # Every setting that a model's own generation_config.json could bend away from plain sampling.
        sampling = GenerationConfig(
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            repetition_penalty=1.0,
            use_cache=True,
            max_new_tokens=max(len(answer) for response in batch for answer in survey.allowed(response)),
            eos_token_id=survey.eos_id,
            pad_token_id=survey.eos_id,
        )
        tokens = model.generate(
            input_ids=ids, attention_mask=attention_mask(prompts, side="left"), generation_config=sampling
        )
        sampled |= dict(zip(batch, tokens[:, ids.shape[1] :].cpu().numpy(), strict=True))
    return sampled


def forward(model: PreTrainedModel, survey: Survey, responses: list[int], batch_size: int) -> Predictions:
    """Log-probability of each allowed answer's first token among the whole vocabulary."""
    predictions = {}
    for batch in batched(responses, batch_size):
        prompts = [survey.prompt(response) for response in batch]
        mask = attention_mask(prompts, side="left")
        logits = model(
            input_ids=pad(prompts, side="left", fill=PADDING_ID),
            attention_mask=mask,
            position_ids=positions(mask),
            logits_to_keep=1,
            use_cache=False,
        ).logits[:, 0]
        for response, row in zip(batch, log_probabilities(logits), strict=True):
            predictions[response] = row[survey.first_tokens(response)].cpu().numpy()
    return predictions


def repeated(cache: DynamicCache, batch_size: int) -> DynamicCache:
    """The cache of one sequence as if `batch_size` sequences had it.

    Views do: the next forward pass concatenates the new keys and values, and so copies into fresh tensors and
    leaves the original cache as it is.
    """
    wide = copy.copy(cache)
    wide.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in wide.layers:
        layer.keys = layer.keys.expand(batch_size, -1, -1, -1)
        layer.values = layer.values.expand(batch_size, -1, -1, -1)
    return wide


def prefix(model: PreTrainedModel, survey: Survey, responses: list[int], batch_size: int) -> Predictions:
    """The same as `forward`, with each item's prefix computed once: only the own tokens run per response."""
    predictions = {}
    for item, members in itertools.groupby(responses, key=lambda response: survey.item_of[response]):
        prefix_ids = torch.from_numpy(survey.prefixes[item].astype(np.int64))[None].to(model.device)
        cache = model.base_model(input_ids=prefix_ids, use_cache=True).past_key_values
        for batch in batched(list(members), batch_size):
            owns = [survey.owns[response] for response in batch]
            mask = attention_mask(owns, side="right")
            logits = model(
                input_ids=pad(owns, side="right", fill=PADDING_ID),
                attention_mask=torch.cat([mask.new_ones(len(batch), prefix_ids.shape[1]), mask], dim=1),
                past_key_values=repeated(cache, len(batch)),
                logits_to_keep=mask.sum(dim=1, keepdim=True) - 1,
                use_cache=True,
            ).logits[:, 0]
            for response, row in zip(batch, log_probabilities(logits), strict=True):
                predictions[response] = row[survey.first_tokens(response)].cpu().numpy()
    return predictions


def levels(model: PreTrainedModel, survey: Survey, responses: list[int], batch_size: int) -> Predictions:
    """Probability of each allowed answer, end-of-answer token included, normalized over the allowed answers.

    A batch mixes responses, so that batches stay full however few answers an item allows. Padding on the right
    needs no mask: in a causal model no real token sees it.
    """
    scores: dict[int, list[float]] = {response: [] for response in responses}
    pairs = [(response, answer) for response in responses for answer in survey.allowed(response)]
    for batch in batched(pairs, batch_size):
        prompts = [survey.prompt(response) for response, _ in batch]
        answers = [answer for _, answer in batch]
        sequences = [np.concatenate(parts) for parts in zip(prompts, answers, strict=True)]
        labels = [
            np.concatenate([np.full_like(prompt, IGNORED), answer])
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        targets = pad(labels, side="right", fill=IGNORED)[:, 1:]
        predicts_answer = targets != IGNORED
        logits = model(
            input_ids=pad(sequences, side="right", fill=PADDING_ID)[:, :-1],
            logits_to_keep=predicts_answer,
            use_cache=False,
        ).logits
        token_scores = log_probabilities(logits).gather(1, targets[predicts_answer][:, None])[:, 0]
        answer_scores = torch.zeros(len(batch)).index_add(0, predicts_answer.nonzero()[:, 0], token_scores)
        for (response, _), score in zip(batch, answer_scores.tolist(), strict=True):
            scores[response].append(score)
    return {response: np.exp(row - np.logaddexp.reduce(row)) for response, row in scores.items()}


MODES: dict[str, Callable[[PreTrainedModel, Survey, list[int], int], Predictions]] = {
    "generate": generate,
    "forward": forward,
    "prefix": prefix,
    "levels": levels,
}


@dataclass(frozen=True)
class Measurement:
    seconds: float
    peak_rss_mb: int
    predictions: Predictions


def forget_peak_memory() -> None:
    """Linux starts its peak count anew, so that a mode does not inherit the peak of the one before."""
    with open("/proc/self/clear_refs", "w") as control:
        control.write("5")


@torch.inference_mode()
def measure(
    mode: str, model: PreTrainedModel, survey: Survey, responses: list[int], *, batch_size: int, repeats: int
) -> Measurement:
    """Median seconds of `repeats` passes over all responses, after an untimed pass over a few batches."""
    forget_peak_memory()
    MODES[mode](model, survey, responses[: WARMUP_BATCHES * batch_size], batch_size)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        predictions = MODES[mode](model, survey, responses, batch_size)
        seconds.append(time.perf_counter() - start)
    return Measurement(seconds=float(np.median(seconds)), peak_rss_mb=peak_rss_mb(), predictions=predictions)


def largest_difference(left: Predictions, right: Predictions) -> float:
    return max(float(np.abs(left[response] - right[response]).max()) for response in left)


def dump(path: str, predictions: Predictions) -> None:
    """Write `probabilities` (flat) and `offsets` (responses + 1), responses in the order of the data file."""
    rows = [predictions[response] for response in sorted(predictions)]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    np.savez(path, probabilities=np.concatenate(rows), offsets=offsets)


def modes_list(text: str) -> list[str]:
    modes = text.split(",")
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; choose from {', '.join(MODES)}")
    return modes


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="Hugging Face folder: config.json and safetensors")
    parser.add_argument("--data", required=True, help="npz with prefixes, own parts and allowed answers")
    parser.add_argument("--modes", type=modes_list, default=list(MODES), help="comma-separated; default: all")
    parser.add_argument(
        "--dtype", default="float32", choices=list(DTYPES), help="of parameters and arithmetic"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--limit", type=int, help="only the first LIMIT responses")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dump", metavar="OUT.npz", help="write the probabilities of `levels` here")
    arguments = parser.parse_args()
    if arguments.dump and "levels" not in arguments.modes:
        parser.error("--dump writes what `levels` computes; add it to --modes.")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.set_default_device(arguments.device)
    torch.manual_seed(0)
    survey = read_survey(arguments.data)
    responses = survey.shortest_first(arguments.limit)
    model = load_model(arguments.model, dtype=arguments.dtype).eval()
    first_token: list[Predictions] = []
    for mode in arguments.modes:
        with stdout_for_results_only():
            measurement = measure(
                mode,
                model,
                survey,
                responses,
                batch_size=arguments.batch_size,
                repeats=arguments.repeats,
            )
        result = {
            "peer": "transformers",
            "mode": mode,
            "device": device_name(),
            "dtype": arguments.dtype,
            "batch_size": arguments.batch_size,
            "threads": arguments.threads,
            "responses": len(responses),
            "seconds": measurement.seconds,
            "responses_per_second": len(responses) / measurement.seconds,
            "peak_rss_mb": measurement.peak_rss_mb,
            "versions": versions(),
        }
        if mode in ("forward", "prefix"):
            first_token.append(measurement.predictions)
        if mode in ("forward", "prefix") and len(first_token) == 2:
            result["max_diff_forward_prefix"] = largest_difference(*first_token)
        if mode == "levels" and arguments.dump:
            dump(arguments.dump, measurement.predictions)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
