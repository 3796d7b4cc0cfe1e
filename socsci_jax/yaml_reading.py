"""The guarded reader of YAML: one document, without tags, anchors or repeated keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from socsci_jax import bounds
from socsci_jax.errors import InputError
from socsci_jax.reading import read_text
from socsci_jax.wording import shortened, with_hint


def read_yaml(path: Path, *, texts: bool = False, hint: str = "") -> object:
    return parse_yaml(
        read_text(path, limit=bounds.YAML_BYTES, hint=hint), where=str(path), texts=texts, hint=hint
    )


def parse_yaml(text: str, *, where: str, texts: bool = False, hint: str = "") -> object:
    """One YAML document as mappings with texts for keys, lists and values; None if there is none.

    With `texts` every value stays a text (`no` is no boolean).  Else values are null, booleans, numbers and texts, as
    YAML reads them; dates stay texts.  Refused are keys given twice, nesting beyond the bound, tags, and anchors with
    their aliases: a few lines of them can stand for terabytes.
    """
    try:
        return _tree(yaml.parse(text, Loader=yaml.CBaseLoader), where=where, texts=texts)
    except (yaml.YAMLError, UnicodeError) as error:
        said = "; ".join(filter(None, (getattr(error, "context", None), getattr(error, "problem", None))))
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise InputError(
            with_hint(f"{where}: not valid YAML ({line}{said or shortened(error)})", hint)
        ) from None


def _tree(events: Iterator[yaml.Event], *, where: str, texts: bool) -> object:
    # Of each open mapping or list: itself and, in a mapping, the key whose value comes next.
    stack: list[tuple[dict | list, str | None]] = []
    result: object = None
    documents = 0

    def fail(event: yaml.Event, problem: str) -> InputError:
        return InputError(f"{where}, line {event.start_mark.line + 1}: {problem}.")

    def put(value: object, event: yaml.Event) -> None:
        nonlocal result
        if not stack:
            result = value
            return
        holder, key = stack[-1]
        if isinstance(holder, list):
            holder.append(value)
        elif key is not None:
            holder[key] = value
            stack[-1] = (holder, None)
        elif not isinstance(value, str):
            raise fail(event, "a key must be a text")
        elif value in holder:
            raise fail(event, f"key {value[:80]!r} is given twice")
        else:
            stack[-1] = (holder, value)

    for event in events:
        if "\0" in getattr(event, "value", ""):
            raise fail(event, "a null character is not read")
        if getattr(event, "anchor", None) is not None:
            raise fail(event, "anchors and aliases (& and *) are not read; write the value out")
        if isinstance(event, yaml.ScalarEvent):
            is_key = bool(stack) and isinstance(stack[-1][0], dict) and stack[-1][1] is None
            try:
                put(event.value if texts or is_key else _scalar(event), event)
            except (ValueError, KeyError, yaml.YAMLError) as error:
                if isinstance(error, InputError):
                    raise
                raise fail(event, f"{event.value[:80]!r} cannot be read ({shortened(error)})") from None
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if event.tag not in (None, "!"):
                raise fail(event, f"the tag {event.tag[:80]!r} is not read")
            value: dict | list = {} if isinstance(event, yaml.MappingStartEvent) else []
            put(value, event)
            stack.append((value, None))
            if len(stack) > bounds.YAML_DEPTH:
                raise fail(event, f"nested deeper than {bounds.YAML_DEPTH} levels")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            stack.pop()
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise fail(event, "a second YAML document begins; one file holds one")
    return result


# Numbers in base 60 ("59:59:59") grow faster than they are written.
_INT_CHARACTERS = 1_000
_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}


def _scalar(event: yaml.ScalarEvent) -> object:
    loader = yaml.SafeLoader("")
    tag = event.tag if event.tag not in (None, "!") else None
    if tag is None:
        tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag not in _SCALARS:
            return event.value
    if tag not in _SCALARS:
        raise ValueError(f"the tag {tag[:80]!r} is not known")
    if tag.endswith(":int") and len(event.value) > _INT_CHARACTERS:
        raise ValueError(f"more than {_INT_CHARACTERS} characters of an integer")
    return loader.construct_object(yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark))
