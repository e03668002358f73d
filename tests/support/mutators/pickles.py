"""Hostile pytorch_model.bin, .pth and .ckpt: pickles of every kind, and the archives around them."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from support.mutators.base import (
    OUTSIDE,
    Edit,
    Mutator,
    Rng,
    file_links,
    flip_bytes,
    overwrite_integer,
    truncate,
    write_bytes,
    write_source,
)

FILE = "pytorch_model.bin"
COMMAND = f"echo harm > {OUTSIDE}/harm"


class Calls:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def text(value: str) -> bytes:
    """Return the operation that pushes a text."""
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def called(module: str, name: str, *arguments: str) -> bytes:
    """Return operations that call a function with texts."""
    return b"c" + f"{module}\n{name}\n".encode() + b"(" + b"".join(map(text, arguments)) + b"tR"


def with_pickle(change: Callable[[Rng, bytes], bytes]) -> Edit:
    """Return an edit of the pickle inside the archive."""

    def edit(rng: Rng, folder: Path) -> None:
        with zipfile.ZipFile(folder / FILE) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        name = next(name for name in contents if name.endswith("data.pkl"))
        contents[name] = change(rng, contents[name])
        with zipfile.ZipFile(folder / FILE, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)

    return edit


def only(program: bytes, protocol: int = 2) -> Edit:
    """Return an edit that replaces the pickle by operations."""
    return with_pickle(lambda rng, content: b"\x80" + bytes([protocol]) + program + b".")


def before(program: bytes) -> Edit:
    """Return an edit that puts operations, whose result is dropped, before those of the state dict."""
    return with_pickle(lambda rng, content: content[:2] + program + b"0" + content[2:])


def swapped(old: bytes, new: bytes) -> Edit:
    """Return an edit that replaces bytes of the pickle, which must be in it."""

    def change(rng: Rng, content: bytes) -> bytes:
        assert old in content, old
        return content.replace(old, new)

    return with_pickle(change)


def members(change: Callable[[dict[str, bytes]], dict[str, bytes]], **options: Any) -> Edit:
    """Return an edit of the members of the archive."""

    def edit(rng: Rng, folder: Path) -> None:
        with zipfile.ZipFile(folder / FILE) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(folder / FILE, "w", **options) as archive:
            for name, content in change(contents).items():
                archive.writestr(name, content)

    return edit


def saved(value: Callable[[], Any], name: str = FILE, **options: Any) -> Edit:
    """Return an edit that saves another object with torch.save."""

    def edit(rng: Rng, folder: Path) -> Path | None:
        import torch

        (folder / FILE).unlink()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(value(), folder / name, **options)
        return None if name == FILE else folder / name

    return edit


def _plain(value: Any, protocol: int) -> Edit:
    """Return an edit that writes a pickle without an archive."""

    def edit(rng: Rng, folder: Path) -> None:
        (folder / FILE).write_bytes(pickle.dumps(value, protocol))

    return edit


def _lattice(levels: int) -> bytes:
    """Return operations that make a tuple of two tuples of two tuples ..., each stored once: 2^levels in all."""
    return b")" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(levels))


def _state(**extra: Any) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        import torch

        return {"distilbert.embeddings.word_embeddings.weight": torch.zeros(47, 12), **extra}

    return make


def _tensors(make: Callable[[Any], Any]) -> Callable[[], dict[str, Any]]:
    def state() -> dict[str, Any]:
        import torch

        return {"distilbert.embeddings.word_embeddings.weight": make(torch)}

    return state


def _legacy_harm(rng: Rng, folder: Path) -> None:
    """Write the format before PyTorch 1.6: five pickles, one of which calls a function."""
    import torch

    buffer = io.BytesIO()
    torch.save(_state()(), buffer, _use_new_zipfile_serialization=False)
    content = buffer.getvalue()
    harm = b"\x80\x02" + called("posix", "system", COMMAND) + b"."
    second = content.index(b".") + 1
    (folder / FILE).write_bytes(content[:second] + harm + content[second:])


def _random_pickle(rng: Rng, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        start = int(rng.integers(2, len(changed)))
        match rng.integers(5):
            case 0:
                changed[start] = int(rng.integers(256))
            case 1:
                del changed[start : start + int(rng.integers(1, 20))]
            case 2:
                changed[start:start] = changed[: int(rng.integers(1, 40))]
            case 3:
                changed[start:start] = OPERATIONS[rng.integers(len(OPERATIONS))]
            case 4:
                changed[start : start + 4] = struct.pack("<I", int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])))
    return bytes(changed)


OPERATIONS = (
    *(called("os", "system", "true"), called("builtins", "eval", "1"), b"c__main__\nX\n", b"R", b"b", b"\x81", b"\x92"),
    *(
        b"\x93",
        b"i",
        b"o",
        b"\x82\x01",
        b"Q",
        b"P1\n",
        b"0",
        b"1",
        b"2",
        b"(",
        b"t",
        b"l",
        b"d",
        b"}",
        b"]",
        b")",
        b"a",
    ),
    *(b"e", b"s", b"u", b"h\x00", b"j\xff\xff\xff\xff", b"\x94", b"\x95" + b"\xff" * 8, b"L" + b"9" * 5000 + b"L\n"),
    *(
        b"\x8b\xff\xff\xff\x7f",
        b"B\xff\xff\xff\x7f",
        b"X\xff\xff\xff\x7f",
        b"\x8e" + b"\xff" * 8,
        b"\x96" + b"\xff" * 8,
    ),
    *(b"K\x05", b"M\xff\xff", b"J\xff\xff\xff\xff", b"\x8a\x09" + b"\xff" * 8 + b"\x7f", b"N", b"\x88", b"Gnanananan"),
)
HARM = ("os system", "posix system", "nt system", "subprocess call", "builtins eval", "builtins exec", "builtins open")
NAMED: dict[str, Edit] = {
    **{f"calls {name.replace(' ', '.')}": before(called(*name.split(), COMMAND)) for name in HARM},
    "calls __builtin__.eval": before(called("__builtin__", "eval", f"__import__('os').system('{COMMAND}')")),
    "calls a method of a module": before(called("os.path", "os.system", COMMAND)),
    "calls importlib": before(called("importlib", "import_module", "antigravity")),
    "calls getattr": before(called("builtins", "getattr", "x", "upper")),
    "calls torch.load": before(called("torch", "load", f"{OUTSIDE}/decoy.raw")),
    "calls torch.hub": before(called("torch.hub", "load", "a/b", "c")),
    "calls torch.storage._load_from_bytes": before(called("torch.storage", "_load_from_bytes", "x")),
    "calls numpy.load": before(called("numpy", "load", f"{OUTSIDE}/decoy.raw")),
    "calls a name that looks like torch": before(called("torch._utils\x00", "_rebuild_tensor_v2", "x")),
    "calls a storage that does not exist": before(b"ctorch\nEvilStorage\n"),
    "calls a path of files": before(called("pathlib", "PosixPath", "/etc/passwd")),
    "STACK_GLOBAL": only(text("os") + text("system") + b"\x93(" + text(COMMAND) + b"tR", 4),
    "STACK_GLOBAL in protocol 2": only(text("os") + text("system") + b"\x93(" + text(COMMAND) + b"tR"),
    "INST": only(b"(" + text(COMMAND) + b"ios\nsystem\n"),
    "OBJ": only(b"(cos\nsystem\n" + text(COMMAND) + b"o"),
    "NEWOBJ": only(b"ccollections\nOrderedDict\n(t\x81"),
    "NEWOBJ_EX": only(b"cos\nsystem\n(" + text(COMMAND) + b"t}\x92", 4),
    "EXT1": only(b"\x82\x01"),
    "BUILD of a dict": only(b"ccollections\nOrderedDict\n)R}" + text("__class__") + b"cos\nsystem\nsb"),
    "a persistent id that is a path": only(b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("../x") + b"tQ"),
    "PERSID": only(b"P../outside/decoy.raw\n"),
    "lattice of tuples": only(b"}" + text("a") + _lattice(60) + b"s"),
    "deep tuples": only(b")" + b"\x85" * 500_000),
    "deep lists": only(b"]" * 100_000 + b"a" * 99_999),
    "2^31 bytes": only(b"B\xff\xff\xff\x7f"),
    "2^63 bytes": only(b"\x8e" + b"\xff" * 7 + b"\x7f", 4),
    "a bytearray of 2^62 bytes": only(b"\x96" + b"\0" * 7 + b"\x40", 5),
    "an integer of 2^31 bytes": only(b"\x8b\xff\xff\xff\x7f"),
    "an integer of 100,000 digits": only(b"L" + b"9" * 100_000 + b"L\n"),
    "a frame of 2^63 bytes": only(b"\x95" + b"\xff" * 7 + b"\x7f", 4),
    "the memo at 2^31": only(b"Nr\xff\xff\xff\x7f"),
    "no end": with_pickle(lambda rng, content: content[:-1]),
    "an empty pickle": with_pickle(lambda rng, content: b""),
    "protocol 255": with_pickle(lambda rng, content: b"\x80\xff" + content[2:]),
    "20 MB of operations": before(b"N0" * 10_000_000 + b"N"),
    "shape of 2^31": swapped(b"K\x2fK\x0c\x86", b"J\xff\xff\xff\x7fK\x0c\x86"),
    "shape of 2^62": swapped(b"K\x2fK\x0c\x86", b"\x8a\x08" + (2**62).to_bytes(8, "little") + b"K\x0c\x86"),
    "a negative shape": swapped(b"K\x2fK\x0c\x86", b"J\xff\xff\xff\xffK\x0c\x86"),
    "strides of 2^31": swapped(b"K\x0cK\x01\x86", b"J\xff\xff\xff\x7fK\x01\x86"),
    "negative strides": swapped(b"K\x0cK\x01\x86", b"J\xf4\xff\xff\xffK\x01\x86"),
    "strides of 0": swapped(b"K\x0cK\x01\x86", b"K\0K\0\x86"),
    "storage elsewhere": swapped(text("0"), text("../../outside/decoy.raw")),
    "storage on a device": swapped(text("cpu"), text("meta")),
    "storage on a device that nobody has": swapped(text("cpu"), text("x" * 5000)),
    "an object with settings": saved(_state(hparams=Calls(dict, (("a", 1),)))),
    "a model": saved(lambda: __import__("torch").nn.Linear(2, 2)),
    "a list": saved(lambda: [1, 2]),
    "a tensor": saved(lambda: __import__("torch").zeros(3)),
    "names that are numbers": saved(lambda: {1: __import__("torch").zeros(3)}),
    "a sparse tensor": saved(_tensors(lambda torch: torch.zeros(47, 12).to_sparse())),
    "a quantized tensor": saved(_tensors(lambda torch: torch.quantize_per_tensor(torch.zeros(4), 1.0, 0, torch.qint8))),
    "a meta tensor": saved(_tensors(lambda torch: torch.empty(2**40, device="meta"))),
    "an expanded tensor": saved(_tensors(lambda torch: torch.zeros(1).expand(47, 12_000_000))),
    "complex numbers": saved(_tensors(lambda torch: torch.zeros(47, 12, dtype=torch.complex64))),
    "conjugated numbers": saved(_tensors(lambda torch: torch.zeros(47, 12, dtype=torch.complex64).conj())),
    "8-bit floats": saved(_tensors(lambda torch: torch.zeros(47, 12, dtype=torch.float8_e4m3fn))),
    "before PyTorch 1.6": saved(_state(), _use_new_zipfile_serialization=False),
    "before PyTorch 1.6, with a call": _legacy_harm,
    "before PyTorch 1.6, with an object": saved(_state(x=Calls(len, "a")), _use_new_zipfile_serialization=False),
    "a .ckpt with a call": saved(_state(x=Calls(eval, "1")), "model.ckpt"),
    "a .pth with a call": saved(_state(x=Calls(exec, "pass")), "model.pth"),
    **{f"a bare pickle of protocol {n}": _plain({"a": Calls(eval, "1")}, n) for n in range(6)},
    "a bare pickle of numbers": _plain({"a": [1.0] * 12}, 4),
    "a tar": write_bytes(FILE, b"sys_info".ljust(257, b"\0") + b"ustar\x0000".ljust(5000, b"\0")),
    "compressed": members(lambda contents: contents, compression=zipfile.ZIP_DEFLATED),
    "TorchScript": members(
        lambda contents: {**contents, "archive/constants.pkl": b"\x80\x02).", "archive/code/x.py": b""}
    ),
    "two pickles": members(
        lambda contents: {"other/data.pkl": b"\x80\x02" + called("os", "system", "x") + b".", **contents}
    ),
    "a member above": members(lambda contents: {**contents, "../outside/slip": b"x"}),
    "no members": members(lambda contents: {}),
    "20,000 members": members(lambda contents: {**contents, **{f"archive/data/x{n}": b"" for n in range(20_000)}}),
    "another byte order": members(lambda contents: {**contents, "archive/byteorder": b"big"}),
    **file_links(FILE),
}
BIN = Mutator(
    "bin",
    partial(write_source, to="bin"),
    NAMED,
    {
        "pickle": with_pickle(_random_pickle),
        "operations": with_pickle(
            lambda rng, content: (
                b"\x80\x02" + b"".join(OPERATIONS[n] for n in rng.integers(len(OPERATIONS), size=12)) + b"."
            )
        ),
        "cut": truncate(FILE),
        "bytes": flip_bytes(FILE),
        "integer": overwrite_integer(FILE),
    },
)
MUTATORS = (BIN,)
