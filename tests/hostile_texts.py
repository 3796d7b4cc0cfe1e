"""Texts that a page must show as texts."""

# What must stay text: markup, an end of the page's own script, handlers, turned writing, a word without end, formulas.
HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "</script></style></title><img src=x onerror=\"document.title='owned'\">",
    '" onmouseover="document.title=\'owned\'" x="',
    "\u202egnihtemos esle\u202c",
    "long" * 200,
    "=cmd|' /C calc'!A0",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:document.title='owned'",
)
