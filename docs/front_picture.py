"""The picture of the README and the front page, from the pictures of a finished quickstart.

python docs/front_picture.py quickstart/evaluation      # writes docs/images/front.svg
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

OUT = Path(__file__).parent / "images" / "front.svg"
# The report shows items from the best to the worst predicted: this one stands in the middle.
PANELS = (
    ("item-6", "What people answered, and what was predicted, in a study that the model has never seen", 0),
    ("unseen-studies-distance", "How far predictions are from people's answers, with 95 % intervals", 360),
)
WIDTH, TITLE, MARGIN = 820, 40, 14


def main(evaluation: Path) -> None:
    panels, height = [], 0.0
    for name, title, x in PANELS:
        drawn = (evaluation / "figures" / f"{name}.svg").read_text()
        height = max(height, float(re.search(r'height="([\d.]+)"', drawn)[1]))
        words = title.split()
        half = next(n for n in range(len(words)) if len(" ".join(words[:n])) >= len(title) / 2)
        lines = (" ".join(words[:half]), " ".join(words[half:]))
        panels += [
            f'<text x="{x + MARGIN}" y="{MARGIN + 14 * (n + 1)}" font-weight="600">{line}</text>'
            for n, line in enumerate(lines)
        ]
        panels.append(drawn.replace("<svg ", f'<svg x="{x + MARGIN}" y="{MARGIN + TITLE}" ', 1))
    total = height + TITLE + 2 * MARGIN
    OUT.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total:.0f}" width="{WIDTH}" height="{total:.0f}" '
        'font-family="system-ui, \'Segoe UI\', Roboto, Helvetica, Arial, sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{total:.0f}" rx="6" fill="#ffffff"/>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
