"""Texts of any length in HDF5 files, checked before the HDF5 library reads them.

An attribute holds the length of such a text and its place in a heap. The library believes the length, and fills that
much memory with zeros. It also believes the sizes in the heap, and reads an entry without a size for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

ATTRIBUTES = ("name", "dtype", "layer_names", "weight_names", "model_config")  # that are read
NAMES = {f"{name}\0".encode(): name for name in ATTRIBUTES}  # as they are stored
# Of an attribute: version, flags, and the sizes of its name, its type and its space; version 3 adds the encoding of the
# name. In version 1 each part fills a multiple of eight bytes.
ATTRIBUTE, ENCODED = struct.Struct("<BBHHH"), 3
SHARED = 3  # flags: the type or the space is stored elsewhere
TEXT_TYPE, TEXT_KIND = 9, 1  # in the low halves of the first two bytes of a type
TEXT = struct.Struct("<I12x")  # length; place in a heap
HEAP, HEAP_HEADER, HEAP_ENTRY = b"GCOL\x01", struct.Struct("<8sQ"), struct.Struct("<H6xQ")
SMALLEST_HEAP = 4096  # bytes, for the HDF5 library
CHUNK = 1 << 20  # bytes read at a time
Longest = Callable[[], int]  # checks the texts of a file, and returns the number of bytes of the longest one


def text_check(path: Path) -> Longest:
    """Return `check_texts` for a file, as a function that runs once. A file without such texts need not be searched."""
    return cache(partial(check_texts, path))


def check_texts(path: Path) -> int:
    """Check the texts of any length in a file, and return the number of bytes of the longest one.

    Raises:
        ValueError: A text states to be longer than the file, or a heap is damaged.
    """
    longest, whole = 0, path.stat().st_size
    with path.open("rb") as file:
        for position, mark in _positions(file, (HEAP, *NAMES)):
            if mark == HEAP:
                longest = max(longest, _longest_in_heap(file, position, whole))
            elif _longest_stated(file, position, len(mark)) > whole:
                name = NAMES[mark]
                raise ValueError(f"the attribute {name} at byte {position} is longer than the file")
    return longest


def _longest_stated(file: Any, position: int, size: int) -> int:
    """Return the largest length that the texts of an attribute state; 0 if this is not an attribute with such texts.

    Args:
        file: The file.
        position: Where the name of the attribute begins.
        size: Bytes of the name, with the zero at its end.
    """
    for back in (ATTRIBUTE.size, ATTRIBUTE.size + 1):
        file.seek(max(position - back, 0))
        header = file.read(ATTRIBUTE.size)
        if len(header) < ATTRIBUTE.size:
            continue
        version, flags, name_size, type_size, space_size = ATTRIBUTE.unpack(header)
        if version not in (1, 2, 3) or name_size != size or (version == ENCODED) != (back > ATTRIBUTE.size):
            continue
        if version > 1 and flags & SHARED:
            raise ValueError(f"the attribute at byte {position} has its type elsewhere")
        step = 8 if version == 1 else 1
        name_end, type_end, space_end = (-(-part // step) * step for part in (size, type_size, space_size))
        file.seek(position + name_end)
        kind = file.read(type_end)
        space = file.read(space_end)
        if len(kind) < 2 or kind[0] & 15 != TEXT_TYPE or kind[1] & 15 != TEXT_KIND:
            continue
        texts = file.read(TEXT.size * _count(space))
        return max((length for (length,) in TEXT.iter_unpack(texts[: len(texts) // TEXT.size * TEXT.size])), default=0)
    return 0


def _count(space: bytes) -> int:
    """Return the number of values of an attribute, at most as many as its message can hold."""
    if len(space) < 4:
        return 0
    version, rank = space[:2]
    start = 8 if version == 1 else 4
    count = 1
    for (size,) in struct.iter_unpack("<Q", space[start : start + 8 * rank].ljust(8 * rank, b"\0")):
        count = min(count * size, 1 << 20)
    return count


def _longest_in_heap(file: Any, start: int, whole: int) -> int:
    """Return the number of bytes of the longest text in a heap.

    A heap begins with a mark, its version, three bytes and its size. An entry is an index, six bytes, a size and the
    content, in multiples of eight bytes; the size of free space, with the index 0, includes these 16 bytes.

    Args:
        file: The file.
        start: Where the heap begins.
        whole: Bytes of the file.

    Raises:
        ValueError: An entry has no size: the HDF5 library would read it again for ever.
    """
    file.seek(start)
    _, size = HEAP_HEADER.unpack(file.read(HEAP_HEADER.size).ljust(HEAP_HEADER.size, b"\0"))
    if not SMALLEST_HEAP <= size <= whole - start:
        return 0  # the library refuses it too; or these bytes are numbers of a weight
    longest, position, end = 0, start + HEAP_HEADER.size, start + size
    while position + HEAP_ENTRY.size <= end:
        file.seek(position)
        index, length = HEAP_ENTRY.unpack(file.read(HEAP_ENTRY.size))
        need = HEAP_ENTRY.size + -(-length // 8) * 8 if index else length
        if need == 0 or need >= 2**63:
            raise ValueError(f"the heap of texts at byte {start} is damaged")
        longest = max(longest, length if index else 0)
        position += need
    return longest


def _positions(file: Any, marks: Collection[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield each position of some marks in a file, of which a part is read at a time; one may come twice."""
    start, rest, kept = 0, b"", max(map(len, marks)) - 1
    while True:
        file.seek(start)
        content = rest + file.read(CHUNK)
        if len(content) == len(rest):
            return
        for mark in marks:
            found = content.find(mark)
            while found >= 0:
                yield start - len(rest) + found, mark
                found = content.find(mark, found + 1)
        start += len(content) - len(rest)
        rest = content[-kept:]
