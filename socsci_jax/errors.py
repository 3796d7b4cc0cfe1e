"""The exceptions that a user is meant to read, and the statuses that a scheduler is meant to act on.

A command ends with 0, with 2 for bad input, or with one of the statuses below; docs/operations.md says what to type.
"""

from typing import ClassVar

BAD_INPUT = 2
# The scheduler, or somebody, asked for an end; a checkpoint was written: start the same command again.
STOPPED = 75
# Another process of the run is gone, or never came: start all of them again.
LOST = 76
# A step took far longer than its like; the stacks of all threads are in the log: start again, elsewhere if it repeats.
STALLED = 77
# Loss or gradient is no number: starting again would end at the same step.
NOT_FINITE = 78

# What launch scripts requeue on; 134 is JAX's own abort when it misses another process.
START_AGAIN = (STOPPED, LOST, STALLED, 134)


class InputError(ValueError):
    """Bad input, said in one sentence: the file, the row or key, what was found, what is allowed, what to do.

    The command line prints the sentence without a traceback and exits with status 2.
    """


class RunEnded(Exception):
    """The run cannot go on as it is, for a reason that is nobody's bad input; one sentence, and `status` to exit with."""

    status: ClassVar[int]


class RunStopped(RunEnded):
    """Asked to stop; what was done is in a checkpoint."""

    status = STOPPED


class ProcessLost(RunEnded):
    """Another process is gone or never came."""

    status = LOST


class NotFinite(RunEnded):
    """Loss or gradient is infinite or no number."""

    status = NOT_FINITE
