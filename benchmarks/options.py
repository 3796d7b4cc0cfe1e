"""The options of a benchmark's command line."""

from __future__ import annotations

import argparse


def options_of(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a module's text as it stands."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
