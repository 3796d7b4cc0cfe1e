"""HTML of a questionnaire as the plain text that a respondent reads."""

from __future__ import annotations

import html
import re

import lxml.etree
import lxml.html
from inscriptis import Inscriptis
from inscriptis.model.config import ParserConfig

_CONFIG = ParserConfig(display_images=False, display_links=False, table_cell_separator=" | ")
_MEDIA = {"img": "image", "video": "video", "audio": "audio", "iframe": "embedded page", "canvas": "drawing"}
_MEDIA |= {"embed": "embedded page", "object": "embedded page", "svg": "drawing"}
_SCRIPT = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\u200b]")
PIPE = re.compile(r"\$\{(?P<source>[a-z]+)://(?P<path>[^{}\s]{1,300})\}")


def plain_text(markup: str) -> str:
    """Text of the HTML, block by block; cells of a table's row are separated by " | "; scripts are dropped."""
    text = _CONTROL.sub("", markup)
    if not text.strip():
        return ""
    if "<" not in text and "&" not in text:
        return _tidy(text)
    text = _SCRIPT.sub(" ", text)
    bare = _tidy(html.unescape(_TAG.sub(" ", text)))
    tree = _parsed(text)
    if tree is None:
        return bare
    rendered = _tidy(Inscriptis(tree, _CONFIG).get_text())
    # Elements nested deeper than the parser follows would take their text with them.
    return rendered or bare


def media_in(markup: str) -> tuple[str, ...]:
    """What the HTML shows that plain text cannot, in order, as words ("image", "video", ...)."""
    if "<" not in markup:
        return ()
    tree = _parsed(_SCRIPT.sub(" ", _CONTROL.sub("", markup)))
    if tree is None:
        return ()
    return tuple(_MEDIA[node.tag] for node in tree.iter() if node.tag in _MEDIA)


def words_of(text: str) -> str:
    """Letters and digits of the text, lower case, single spaces: for comparing wordings."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def piped_fields(text: str) -> tuple[str, ...]:
    """Names of the embedded data fields that are piped into the text."""
    paths = (m["path"] for m in PIPE.finditer(text) if m["source"] == "e")
    return tuple(dict.fromkeys(path.removeprefix("Field/") for path in paths if path.startswith("Field/")))


def _parsed(text: str) -> lxml.html.HtmlElement | None:
    try:
        return lxml.html.fromstring(f"<div>{text}</div>")
    except (lxml.etree.ParserError, lxml.etree.XMLSyntaxError, ValueError):
        return None


def _tidy(text: str) -> str:
    lines = [re.sub(r"( \| )+$", "", " ".join(line.split())) for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
