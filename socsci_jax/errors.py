"""The exceptions that a user is meant to read, and the statuses that a scheduler is meant to act on.

A command ends with 0, with 2 for bad input, or with one of the statuses below; docs/operations.md says what to type.
"""

import errno
import re
from typing import ClassVar

BAD_INPUT = 2
# The scheduler, or somebody, asked for an end; a checkpoint was written: start the same command again.
STOPPED = 75
# Another process of the run is gone, or never came: start all of them again.
LOST = 76
# A step took far longer than its like; the stacks of all threads are in the log: start again, elsewhere if it repeats.
STALLED = 77
# Loss or gradient is not finite: starting again would end at the same step.
NON_FINITE = 78
# Where the checkpoints are did not answer as it should, which may pass: start again, a few times.
STORAGE_FAILED = 79

# What launch scripts requeue on; 134 is JAX's own abort when it misses another process.
START_AGAIN = (STOPPED, LOST, STALLED, STORAGE_FAILED, 134)


# Of a sentence: characters of a word (a path, a name), of a line, and lines.
_LONGEST_WORD, _LONGEST_LINE, _MOST_LINES = 300, 1_000, 200


def in_bounds(sentence: str) -> str:
    """The sentence with the middle of what is too long omitted, so that its beginning and what to do remain."""
    if len(sentence) <= _LONGEST_WORD:
        return sentence
    lines = sentence.split("\n")
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"... (lines omitted: {len(lines) - _MOST_LINES:,})"]
    return "\n".join(
        _cut(re.sub(_LONG_WORD, lambda word: _cut(word[0], _LONGEST_WORD), line), _LONGEST_LINE)
        for line in lines
    )


_LONG_WORD = re.compile(rf"\S{{{_LONGEST_WORD + 1},}}")


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    ending = longest // 3
    return f"{text[: longest - ending]} … {text[-ending:]}"


class InputError(ValueError):
    """Bad input, said in one sentence: the file, the row or key, what was found, what is allowed, what to do.

    The command line prints the sentence without a traceback and exits with status 2.  What a sentence repeats of its input
    is short, however long a name, a cell or a list of names is there.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(in_bounds(sentence))


class ProcessesDiffer(InputError):
    """The processes of a run are not to run the same; every one of them says so in the same words."""


class RunEnded(Exception):
    """The run cannot continue as it is, for a reason that is nobody's bad input; one sentence, and `status` to exit with."""

    status: ClassVar[int]


class RunStopped(RunEnded):
    """Asked to stop; what was done is in a checkpoint."""

    status = STOPPED


class ProcessLost(RunEnded):
    """Another process is gone or never came."""

    status = LOST


class NonFinite(RunEnded):
    """Loss or gradient is not finite."""

    status = NON_FINITE


class StorageFailed(RunEnded):
    """Checkpoints could not be written or read for a reason that may pass."""

    status = STORAGE_FAILED


_STORAGE = {
    errno.ENOSPC: "there is no space left; free some",
    errno.EDQUOT: "the quota is used up; free some space",
    errno.EFBIG: "the file would be larger than is allowed; raise the limit (ulimit -f)",
    errno.EROFS: "this is read-only; give a folder that can be written",
    errno.EACCES: "this is not allowed; give a folder that you may write",
    errno.EPERM: "this is not allowed; give a folder that you may write",
    errno.ENAMETOOLONG: "this name is too long; give a shorter one",
    errno.ELOOP: "this is a link that leads back to itself; give another path",
    errno.ENOTDIR: "part of this path is a file and no folder; give another path",
    errno.EISDIR: "this is a folder; give the name of a file",
}


def ending(error: BaseException) -> tuple[str, int]:
    """The sentence that tells a user what ended the program, and the exit status; 1 is for what nobody foresaw."""
    match error:
        case InputError():
            return str(error), BAD_INPUT
        case RunEnded():
            return str(error), error.status
        case KeyboardInterrupt():
            return "stopped from the keyboard; what was finished is kept", 130
        case OSError() if error.errno in _STORAGE:
            where = f"{str(error.filename)[:200]}: " if error.filename else ""
            return f"{where}{_STORAGE[error.errno]}", BAD_INPUT
    return f"{type(error).__name__}: {error}", 1
