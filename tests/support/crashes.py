"""Saves that are killed at every call that changes the file system, and what readers find afterwards.

`results(OPERATION)` does this in a process of its own, which imports no framework and forks for every kill.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from itertools import count
from pathlib import Path
from unittest.mock import patch

from distilbert_core import DistilBertConfig, DistilBertTokenizer, Head
from distilbert_core.files import checkpoint, journal
from support.checkpoints import random_arrays, save_random, small_config
from support.processes import fresh_python
from support.vocabularies import SMALL, write_vocabulary
from weight_conversion import convert, open_weights

HEAD = Head.SEQUENCE_CLASSIFICATION
MINE = {"README.md": "my notes", "data/rows.tsv": "text\tlabel\n"}  # files of the user in the destination
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}  # audit events


@dataclass
class Killed:
    """What is found after a kill.

    Attributes:
        at: The call before which the process was killed.
        found: 'old' or 'new', or what else a reader found.
        found_read_only: The same in a folder that may not be written.
        mine: Whether the files of the user are unchanged.
        litter: What is left after the next save.
        repaired: What a reader finds after the next save.
    """

    at: str
    found: str
    found_read_only: str
    mine: bool
    litter: list[str]
    repaired: str


@dataclass(frozen=True)
class Operation:
    """Something that replaces the files of a folder.

    Attributes:
        before: Makes the folder as it is before.
        replace: Replaces its files.
        read: Returns what a reader of ours finds.
    """

    before: Callable[[Path], object]
    replace: Callable[[Path], object]
    read: Callable[[Path], str]


# -- operations -------------------------------------------------------------------------------------------------


def _save(folder: Path, seed: int, shard: int | str = "1GB") -> None:
    save_random(folder, small_config(dropout=seed / 100), HEAD, seed, "float32", max_shard_size=shard)


def _save_tokenizer(folder: Path, seed: int) -> None:
    DistilBertTokenizer.from_pretrained(_source(seed), model_max_length=20 * seed).save_pretrained(folder)


@cache
def _source(seed: int) -> Path:
    """A checkpoint with a tokenizer. Its folder is removed when the process ends."""
    made = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, made)
    _save(made, seed)
    return write_vocabulary(made, (*SMALL, f"token{seed}"))


def _convert(folder: Path, to: str, seed: int) -> None:
    convert(_source(seed), folder, to, force=True)


def _read_weights(folder: Path) -> str:
    weights = open_weights(folder)
    sidecars = {name: content for name, content in weights.sidecars.items() if name not in MINE}
    parts: list[bytes] = [weights.config.to_json_string().encode(), repr(sorted(sidecars.items())).encode()]
    parts += [name.encode() + tensor.read().tobytes() for name, tensor in sorted(weights.tensors.items())]
    return sha256(b"".join(parts)).hexdigest()


def _read_checkpoint(folder: Path) -> str:
    config = DistilBertConfig.from_pretrained(folder)
    stored = checkpoint.Checkpoint(folder)
    assert stored.shapes.keys() == random_arrays(config, HEAD).keys()
    parts = [name.encode() + stored.read(name).tobytes() for name in sorted(stored.entries)]
    return sha256(b"".join([config.to_json_string().encode(), *parts])).hexdigest()


def _read_tokenizer(folder: Path) -> str:
    tokenizer = DistilBertTokenizer.from_pretrained(folder)
    return repr((sorted(tokenizer.get_vocab().items()), tokenizer.model_max_length, tokenizer.special_tokens_map))


def _conversion(before: str, to: str) -> Operation:
    return Operation(lambda folder: _convert(folder, before, 1), lambda folder: _convert(folder, to, 2), _read_weights)


OPERATIONS = {
    "save": Operation(lambda folder: _save(folder, 1), lambda folder: _save(folder, 2), _read_checkpoint),
    "save-shards": Operation(lambda f: _save(f, 1, 9000), lambda f: _save(f, 2), _read_checkpoint),
    "into-shards": Operation(lambda f: _save(f, 1), lambda f: _save(f, 2, 9000), _read_checkpoint),
    "tokenizer": Operation(
        lambda folder: _save_tokenizer(folder, 1), lambda folder: _save_tokenizer(folder, 2), _read_tokenizer
    ),
    **{
        f"{before}-to-{to}": _conversion(before, to)
        for before in ("pt", "tf", "flax", "h5", "msgpack", "keras", "kerashub")
        for to in ("pt", "tf", "flax", "h5", "msgpack", "keras", "keras-weights", "kerashub")
    },
}


# -- kills ------------------------------------------------------------------------------------------------------


def _arm(number: int | None, report: int) -> None:
    """Kill this process before its call of a number that changes the file system; None: report all these calls."""
    numbers = count()

    def pass_call(call: str) -> None:
        reached = next(numbers) == number
        if number is None or reached:
            os.write(report, f"{call}\n".encode())
        if reached:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if opened or event in CHANGES:
            pass_call(f"{event} {arguments[0]}")

    os.fsync = lambda _: pass_call("fsync")  # a kill loses nothing that was written
    sys.addaudithook(hook)


def calls_of(action: Callable[[], object], killed_at: int | None = None) -> list[str]:
    """Do something in a forked process; return the calls that change the file system, or the one that it is killed at.

    Args:
        action: What to do.
        killed_at: Index of the call before which the process is killed.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        status = 1
        try:
            _arm(killed_at, writer)
            action()
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        calls = pipe.read().splitlines()
    status = os.waitpid(process, 0)[1]
    assert status == (0 if killed_at is None else signal.SIGKILL), f"the process ended with {status}"
    return calls


def killed_after(seconds: float, action: Callable[[], object]) -> str:
    """Do something in a forked process that is killed after some time."""
    process = os.fork()
    if not process:
        action()
        os._exit(0)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return f"{seconds * 1000:.1f} ms"


def _prepare(folder: Path, template: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)


def _look(operation: Operation, folder: Path, known: dict[str, str]) -> str:
    try:
        found = operation.read(folder)
    except Exception as error:
        return repr(error)
    return known.get(found, "a mixture")


def _judge(at: str, operation: Operation, folder: Path, known: dict[str, str]) -> Killed:
    """Read a folder after a kill, repeat the save, and read it again."""
    with patch.object(journal, "finish", side_effect=OSError(errno.EROFS, "Read-only file system")):
        read_only = _look(operation, folder, known)
    found = _look(operation, folder, known)
    operation.replace(folder)
    mine = all((folder / name).read_text() == text for name, text in MINE.items())
    litter = [str(path) for path in folder.parent.rglob(f"{journal.PREFIX}*")]
    return Killed(at, found, read_only, mine, litter, _look(operation, folder, known))


def kills(operation: Operation, moments: str | int = "all", seed: int = 0) -> Iterator[Killed]:
    """Kill an operation, and yield what is found afterwards.

    Args:
        operation: The operation.
        moments: 'all' for each call that changes the file system, 'journal' for those from the writing of the journal
            on, or a number of random moments.
        seed: Seed of the random moments.
    """
    with tempfile.TemporaryDirectory() as place:
        template, folder = Path(place, "template"), Path(place, "work", "folder")
        operation.before(template)
        for name, text in MINE.items():
            (template / name).parent.mkdir(exist_ok=True)
            (template / name).write_text(text)
        _prepare(folder, template)
        known = {operation.read(folder): "old"}
        start = time.perf_counter()
        operation.replace(folder)
        duration = time.perf_counter() - start
        known[operation.read(folder)] = "new"
        assert len(known) == 2, "old and new cannot be told apart"
        if isinstance(moments, int):
            random_numbers = random.Random(seed)
            for _ in range(moments):
                _prepare(folder, template)
                at = killed_after(random_numbers.uniform(0, 1.2 * duration), lambda: operation.replace(folder))
                yield _judge(at, operation, folder, known)
            return
        _prepare(folder, template)
        calls = calls_of(lambda: operation.replace(folder))
        first = next(i for i, call in enumerate(calls) if moments == "all" or call.endswith(journal.JOURNAL))
        for number in range(first, len(calls)):
            _prepare(folder, template)
            (call,) = calls_of(lambda: operation.replace(folder), number)
            yield _judge(f"{number}: {call}", operation, folder, known)


def results(operation: str, *arguments: object) -> list[Killed]:
    """Return the results of this module as a program."""
    code = "import sys; from support.crashes import main; main(*sys.argv[1:])"
    path = {"PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))}
    with patch.dict(os.environ, path):
        output = fresh_python(code, operation, *map(str, arguments))
    return [Killed(**fields) for fields in json.loads(output)]


def main(operation: str, *arguments: str) -> None:
    """Print the results of an operation. 'renames' saves as it was done before there was a journal."""
    one_by_one = operation.startswith("renames:")
    commit = _rename_one_by_one if one_by_one else journal.Staging.commit
    with patch.object(journal.Staging, "commit", commit), patch.object(os, "fsync"):
        options = (int(argument) if argument.isdigit() else argument for argument in arguments)
        found = kills(OPERATIONS[operation.removeprefix("renames:")], *options)
        print(json.dumps([asdict(killed) for killed in found]))


def _rename_one_by_one(self: journal.Staging, folder: Path, names: list[str], obsolete: list[str]) -> None:
    for name in names:
        os.replace(self.new / name, folder / name)
    for name in obsolete:
        os.unlink(folder / name)
