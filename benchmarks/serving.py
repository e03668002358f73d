"""Compares servers of a classifier on a CPU: ours, LitServe with Transformers 5, and infinity.

    python benchmarks/serving.py [--python litserve=PYTHON] [--python infinity=PYTHON] [--file TEXTS] [--clients 64]
        [--requests 2000] [--size base] [--rounds 7] [--json FILE] [--png FILE]

In a turn, `--clients` clients send `--requests` requests with one text each; each client sends its next request when it
has its answer. The texts are the lines of a file, such as the sentences of SST-2; without it, random words with the
lengths of English sentences. All servers have the same model, with random weights. They take turns (contests.py), and
share the threads with the clients, which are one process without a thread of its own.

The output shows requests per second, the median and the 99th percentile of the seconds for a request, and how many
times as fast our server is as each other one: the median (smallest to largest) of the ratios of the rounds. A missing
answer, a status other than 200, or scores that differ between servers stop the benchmark.

The other servers may be in other environments, which --python names; those that are not installed are listed.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contests import (
    Measured,
    add_arguments,
    as_result,
    bars_of,
    contest_of,
    draw,
    english_lengths,
    made_up_texts,
    report,
    write,
    write_model,
)
from worker import Contestant, Repetition

TOLERANCE = 1e-4  # of scores
LONGEST = 66  # tokens of the longest sentence of SST-2's development set
UNIT = "requests"
LABELS = {0: "NEGATIVE", 1: "POSITIVE"}  # infinity takes a model whose labels have no names for a reranker
START_SECONDS, ANSWER_SECONDS = 180, 120


@dataclass(frozen=True)
class Server:
    """A server, and how it is asked.

    Attributes:
        words: Function from a job and a port to its command, after the name of Python.
        path: Path of its requests.
        body: Function from a text to the body of a request.
        score: Function from an answer to the score of the best label.
    """

    words: Callable[[dict[str, Any], int], list[str]]
    path: str
    body: Callable[[str], Any]
    score: Callable[[Any], float]


SERVERS = {
    "ours": Server(
        lambda job, port: ["-m", "distilbert_cli", "serve", "--model", f"m={job['folder']}", "--port", str(port)],
        "/predict",
        lambda text: {"inputs": text},
        lambda answer: answer["score"],
    ),
    "LitServe": Server(
        lambda job, port: [
            str(Path(__file__).with_name("litserve_server.py")),
            job["folder"],
            str(port),
            str(job["threads"]),
        ],
        "/predict",
        lambda text: {"inputs": text},
        lambda answer: answer["score"],
    ),
    "infinity": Server(
        lambda job, port: [
            *("-m", "infinity_emb.cli", "v2", "--model-id", job["folder"], "--served-model-name", "m"),
            *(
                "--engine",
                "torch",
                "--device",
                "cpu",
                "--no-bettertransformer",
                "--no-model-warmup",
                "--batch-size",
                "64",
            ),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        "/classify",
        lambda text: {"model": "m", "input": [text]},
        lambda answer: max(label["score"] for label in answer["data"][0]),
    ),
}


def start(job: dict[str, Any], name: str) -> Repetition:
    """Start a server, and return the function that asks it: seconds [2] (median, 99th percentile) and scores [N]."""
    server = SERVERS[name]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, *server.words(job, port)])  # of the group that the contest stops
    atexit.register(process.terminate)  # if this process ends by itself
    requests = [_request(server, text, port) for text in job["texts"]]
    wait_for(process, port)

    def ask_all() -> np.ndarray:
        seconds, answers = asyncio.run(load(port, requests, job["clients"]))
        scores = [server.score(json.loads(answer)) for answer in answers]
        return np.array([statistics.median(seconds), np.percentile(seconds, 99), *scores])

    return ask_all


def _request(server: Server, text: str, port: int) -> bytes:
    body = json.dumps(server.body(text)).encode()
    head = f"POST {server.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a server takes connections.

    Raises:
        SystemExit: It ended, or it takes too long.
    """
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


async def load(port: int, requests: Sequence[bytes], clients: int) -> tuple[list[float], list[bytes]]:
    """Send requests from many clients, each over one connection, and return seconds and answers in their order."""
    seconds = [0.0] * len(requests)
    answers = [b""] * len(requests)
    waiting = iter(range(len(requests)))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for index in waiting:  # shared by all clients
                begin = time.perf_counter()
                writer.write(requests[index])
                try:
                    answers[index] = await asyncio.wait_for(_answer(reader), ANSWER_SECONDS)
                except TimeoutError:
                    raise SystemExit(f"an answer did not come in {ANSWER_SECONDS} s") from None
                seconds[index] = time.perf_counter() - begin
        finally:
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds, answers


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Return the body of an answer.

    Raises:
        SystemExit: Its status is not 200.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    if head.split(b" ", 2)[1] != b"200":
        raise SystemExit(f"{head.splitlines()[0].decode()}: {body[:300].decode(errors='replace')}")
    return body


CONTESTANTS = {
    "ours": Contestant(partial(start, name="ours"), ("fastapi", "uvicorn", "torch")),
    "LitServe": Contestant(partial(start, name="LitServe"), ("litserve", "transformers 5", "torch"), "litserve"),
    "infinity": Contestant(partial(start, name="infinity"), ("infinity_emb",), "infinity"),
}
ENVIRONMENTS = ("litserve", "infinity")


def texts_of(arguments: argparse.Namespace) -> list[str]:
    """Return the texts of the requests: lines of the file, again from the start if there are too few of them."""
    count = arguments.requests
    if arguments.file is None:
        rng = np.random.default_rng(0)
        return made_up_texts(rng, english_lengths(rng, count, LONGEST).tolist())
    lines = [line for line in arguments.file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise SystemExit(f"{arguments.file} has no texts")
    return [lines[index % len(lines)] for index in range(count)]


def check(measured: Sequence[Measured]) -> None:
    """Exit if the scores of two servers differ: they would run another model, or mix up the answers."""
    rows = [(one.name, np.array(values)[2:]) for one in measured for values in one.values]
    for name, scores in rows:
        difference = float(np.abs(scores - rows[0][1]).max())
        if difference > TOLERANCE:
            raise SystemExit(f"scores of {name} differ by {difference:.1e} from those of {rows[0][0]}")


def latencies(one: Measured, index: int) -> str:
    """Return the median over the rounds of a latency, in milliseconds."""
    return "" if one.problem else f"{1000 * statistics.median(values[index] for values in one.values):.1f}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--file", type=Path, help="texts, one per line (default: random words)")
    parser.add_argument("--clients", type=int, default=64, help="number of clients (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=2000, help="requests of a turn (default: %(default)s)")
    add_arguments(parser, ENVIRONMENTS, rounds=7)
    arguments = parser.parse_args()
    arguments.seconds = 0.0  # a turn is one repetition
    contest = contest_of(arguments, __file__, CONTESTANTS, ENVIRONMENTS)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), arguments.size, id2label=LABELS)
        job = {
            "folder": folder,
            "texts": texts_of(arguments),
            "clients": arguments.clients,
            "threads": arguments.threads,
        }
        measured = contest.run(list(CONTESTANTS), job)
    present = [one for one in measured if one.problem is None]
    check(present)
    columns = {
        title: {one.name: latencies(one, index) for one in measured} for index, title in enumerate(("p50 ms", "p99 ms"))
    }
    title = f"{arguments.requests} requests of {arguments.clients} clients, {arguments.threads} threads"
    report(title, UNIT, arguments.requests, measured, columns, memory=False)  # that of a contestant is of the clients
    results = [
        {**as_result(one, measured, arguments.requests), **{name: rows[one.name] for name, rows in columns.items()}}
        for one in measured
    ]
    write(arguments, results)
    draw(arguments.png, {title: bars_of(measured, arguments.requests)}, UNIT)


if __name__ == "__main__":
    main()
