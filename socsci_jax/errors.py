"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Bad input, said in one sentence: the file, the row or key, what was found, what is allowed, what to do.

    The command line prints the sentence without a traceback and exits with status 2.
    """
