"""Texts that a page must show as texts."""

import re

# What must stay text: markup, an end of the page's own script, handlers, turned writing, a word without end, formulas.
HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "</script></style></title><img src=x onerror=\"document.title='owned'\">",
    '" onmouseover="document.title=\'owned\'" x="',
    "\u202egnihtemos esle\u202c \x1b]0;owned\x07\x00\x9b2J\uffff",
    "long" * 200,
    "=cmd|' /C calc'!A0",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:document.title='owned'",
)


def unshown(text):
    """Characters that a reader does not see, or that turn what follows round."""
    return re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\uffff]", text)
