"""How the time of exact simulation grows with people per item, stimulus length, levels and model size.

One setting is varied at a time, on random tokens (so nothing can be merged), compared with the hand-made prefix cache, which
gives first tokens only.

python -m benchmarks.scaling --peers PEERS/bin/python [--rounds 3]
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.options import options_of
from benchmarks.table import ours, peer, save
from benchmarks.workload import model_config, ragged, workload
from socsci_jax.data.tokenizer_loading import load_tokenizer
from socsci_jax.models.config_files import to_huggingface
from socsci_jax.models.huggingface_export import source_of, write_checkpoint
from socsci_jax.models.modules import init

WIDTHS = {128: 2, 256: 4, 512: 8}  # width -> layers


@dataclasses.dataclass(frozen=True)
class Setting:
    people: int = 160
    stimulus: int = 300
    levels: int = 7
    width: int = 256
    persona: int = 48
    items: int = 4


VARIED = {
    "people": (10, 40, 160, 640),
    "stimulus": (100, 300, 1000, 3000),
    "levels": (2, 7, 11, 101),
    "width": tuple(WIDTHS),
}


def main() -> None:
    options = options_of(__doc__)
    options.add_argument("--peers", required=True, help="python of the peers' environment")
    options.add_argument("--work", type=Path, default=Path("runs/benchmarks"))
    options.add_argument("--rounds", type=int, default=3)
    a = options.parse_args()
    base = workload(a.work, shape="tiny", source="synthetic", tokenizer=None).resolve()
    runs = []
    table = Table("varied", "is", "ours, responses/s", "prefix cache", "×", "ours MB", "theirs MB")
    for name, values in VARIED.items():
        for value in values:
            folder = _folder(a.work.resolve(), base, dataclasses.replace(Setting(), **{name: value}))
            mine, theirs = [], []
            for _ in range(a.rounds):
                data = ["--data", "score.npz", "--repeats", 3]
                mine.append(ours("score", "--workload", folder, "--sharing", "prefix", *data))
                arguments = ["--model", folder / "model", "--data", folder / "score.npz", "--repeats", 3]
                theirs.append(peer(a.peers, "score.py", *arguments, "--modes", "prefix"))
            rates = [float(np.median([r["responses_per_second"] for r in side])) for side in (mine, theirs)]
            peaks = [max(r["peak_rss_mb"] for r in side) for side in (mine, theirs)]
            runs.append({"varied": name, "is": value, "rates": rates, "peak_mb": peaks})
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
            table.add_row(
                name, str(value), *(f"{r:.1f}" for r in rates), f"{rates[0] / rates[1]:.2f}", *map(str, peaks)
            )
    Console(width=120).print(table)
    save("scaling", {"runs": runs})


def _folder(work: Path, base: Path, setting: Setting) -> Path:
    """A workload folder for this setting: tokenizer and model by link, its own requests."""
    folder = work / "scaling" / "-".join(str(value) for value in dataclasses.astuple(setting))
    if (folder / "score.npz").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer").symlink_to(base / "tokenizer")
    (folder / "model").symlink_to(_model(work, base, setting.width))
    tokenizer = load_tokenizer(base / "tokenizer")
    rng = np.random.default_rng(0)

    def text(length: int) -> np.ndarray:
        return rng.integers(300, 8000, length).astype(np.int32)

    answers = tokenizer.encode_batch([str(level) for level in range(setting.levels)])
    closed = [[*answer, tokenizer.end_of_answer_id] for answer in answers]
    np.savez(
        folder / "score.npz",
        **ragged("prefix", [text(setting.stimulus) for _ in range(setting.items)]),
        **ragged("own", [text(setting.persona) for _ in range(setting.items * setting.people)]),
        item=np.repeat(np.arange(setting.items, dtype=np.int32), setting.people),
        **ragged("answer", closed * setting.items),
        item_answers=np.arange(setting.items + 1, dtype=np.int64) * setting.levels,
        eos_id=tokenizer.end_of_answer_id,
    )
    return folder


def _model(work: Path, base: Path, width: int) -> Path:
    folder = work / "scaling" / f"model-{width}"
    if folder.is_dir():
        return folder
    sizes = dict(
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=WIDTHS[width],
        num_attention_heads=width // 32,
    )
    config = model_config(sizes, load_tokenizer(base / "tokenizer"), vocab_size=8192)
    write_checkpoint(
        source_of(init(config, key=jax.random.key(0)), config),
        config,
        folder,
        config_json=json.dumps(to_huggingface(config)).encode(),
    )
    return folder


if __name__ == "__main__":
    main()
