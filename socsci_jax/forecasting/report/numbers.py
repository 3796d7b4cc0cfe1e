"""How the pages of forecasts write numbers."""

from __future__ import annotations


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign; what rounds to zero has none."""
    return "0" if round(value, digits) == 0 else f"{value:+.{digits}f}".replace("-", "−")


def plain(value: float, digits: int = 1) -> str:
    """A number; what rounds to zero has no sign."""
    return f"{value:z.{digits}f}".replace("-", "−")


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"
