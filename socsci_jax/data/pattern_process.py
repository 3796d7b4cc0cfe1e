"""A process that tries one tokenizer's regular expressions on texts of every kind and ends: they are somebody else's.

It reads {patterns, texts, seconds} as JSON and writes the number of patterns that were tried.  The kernel ends it after
so many seconds of work.  It imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys

from tokenizers import Regex, pre_tokenizers


def main() -> None:
    task = json.load(sys.stdin)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (task["seconds"], task["seconds"]))
    for tried, pattern in enumerate(task["patterns"]):
        sys.stdout.write(f"{tried}\n")
        sys.stdout.flush()
        # The engine gives up after ten million steps at one place, by a panic that ends this process.
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        for text in task["texts"]:
            split.pre_tokenize_str(text)


if __name__ == "__main__":
    main()
