"""Columns of a table: names that two of them share, and types that stand for each other."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa


def name_given_twice(fields: Iterable[pa.Field]) -> str | None:
    """A name that two columns, or two fields of a record, share: readers would take one of them for both."""
    seen: set[str] = set()
    for field in fields:
        if field.name in seen:
            return str(field.name)
        seen.add(field.name)
        inner = [field.type.field(i) for i in range(field.type.num_fields)]
        if twice := name_given_twice(inner):
            return f"{field.name}.{twice}"
    return None


def alike(stored: pa.DataType, needed: pa.DataType) -> bool:
    """Whether values of one type are those of the other without loss or guess; their sizes may differ."""
    if pa.types.is_null(stored):
        return True
    if pa.types.is_dictionary(stored):
        return alike(stored.value_type, needed)
    if pa.types.is_string(needed):
        return (
            pa.types.is_string(stored) or pa.types.is_large_string(stored) or pa.types.is_string_view(stored)
        )
    if pa.types.is_floating(needed):
        return pa.types.is_floating(stored) or pa.types.is_integer(stored)
    if pa.types.is_integer(needed):
        # Tables that once held missing values have floats; a fraction among them fails when it is read.
        return pa.types.is_integer(stored) or pa.types.is_floating(stored)
    if pa.types.is_boolean(needed):
        return pa.types.is_boolean(stored)
    if pa.types.is_map(needed):
        return pa.types.is_map(stored) and all(
            alike(*pair)
            for pair in ((stored.key_type, needed.key_type), (stored.item_type, needed.item_type))
        )
    if pa.types.is_struct(needed):
        names = [field.name for field in needed]
        return (
            pa.types.is_struct(stored)
            and [field.name for field in stored] == names
            and all(alike(stored.field(i).type, needed.field(i).type) for i in range(len(names)))
        )
    if pa.types.is_list(needed):
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
        return any(is_list(stored) for is_list in lists) and alike(stored.value_type, needed.value_type)
    return stored == needed
