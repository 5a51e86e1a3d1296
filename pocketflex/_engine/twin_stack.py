"""Arrays side by side, in Python; part of the `twin`: whether they are of one form, and their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .twin_words import between, open_bytes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def alike(items: list[Any], kind: type, /) -> bool:
    """Whether all are exactly of that type, of one dtype and shape, contiguous, and may be written to."""
    if type(items) is not list:
        raise TypeError("items must be a list, and no subclass")
    if {*map(type, items)} != {kind}:
        return False
    try:
        forms = {(item.dtype, item.shape, item.flags.c_contiguous, item.flags.writeable) for item in items}
    except AttributeError:  # no arrays
        return False
    _, shape, is_contiguous, is_writable = forms.pop()
    return not forms and bool(shape) and is_contiguous and is_writable


def stack(items: list[Any], buffer: WriteableBuffer, offset: int, /) -> None:
    """Write the bytes of each item, one behind the other."""
    import numpy as np  # which reads arrays of dates too, of which memoryview knows no format

    if type(items) is not list:
        raise TypeError("items must be a list, and no subclass")
    with open_bytes(buffer) as octets:
        if octets.readonly:
            raise BufferError("the buffer is read-only")
        if (at := between("offset", offset, 0, len(octets))) % 8:
            raise ValueError(f"offset is {offset}, not a multiple of 8")
        for item in items:
            part = np.frombuffer(item, np.uint8).data
            if len(part) > len(octets) - at:
                raise ValueError("the buffer has no room for the bytes of all items")
            octets[at : at + len(part)] = part
            at += len(part)
