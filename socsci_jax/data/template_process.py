"""A process that renders one chat template and ends: a template is a program of somebody else.

It reads {source, variables, day, characters, bytes, seconds} as JSON and writes {text} or {error}.  It imports nothing of
this package, holds no more than so many bytes of memory, and is ended by the kernel after so many seconds of work.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import resource
import sys
from collections.abc import Sequence

import jinja2
import jinja2.ext
import jinja2.sandbox

# Some templates write today's date. A prompt must not depend on the day it is built, so it is always this one,
# which is the date that Llama 3.1's own template falls back to.
FIXED_DATE = (2024, 7, 26)


class GenerationTag(jinja2.ext.Extension):
    """`{% generation %}` marks what a trainer learns; targets are known here without it."""

    tags = frozenset({"generation"})

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str):
    raise jinja2.TemplateError(message)


def _tojson(value, **options) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **options})


def render(source: str, variables: dict, *, characters: int, day: Sequence[int]) -> str:
    """What the template writes on that day, with the settings and helpers that published templates are written for.

    Raises any error that a program can, and ValueError beyond so many characters.
    """
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = datetime.datetime(*day).strftime
    # A prompt is the same each time.
    del environment.filters["random"], environment.globals["lipsum"]
    pieces, length = [], 0
    for piece in environment.from_string(source).generate(**variables):
        length += len(piece)
        if length > characters:
            raise ValueError(f"it writes more than {characters:,} characters")
        pieces.append(piece)
    return "".join(pieces)


def main() -> None:
    task = json.load(sys.stdin)
    # Where the system does not know these limits, the caller's clock ends this process.
    for limit, most in ((resource.RLIMIT_AS, task["bytes"]), (resource.RLIMIT_CPU, task["seconds"])):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (most, most))
    try:
        answer = {
            "text": render(task["source"], task["variables"], characters=task["characters"], day=task["day"])
        }
    except MemoryError:
        answer = {"error": "it needs too much memory"}
    # A template may fail in any way that a program can.
    except Exception as error:
        answer = {"error": (str(error) or type(error).__name__)[:300]}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
