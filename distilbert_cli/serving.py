"""The command `serve`: the tasks over HTTP."""

from __future__ import annotations

import math
import os
from typing import Any

import click

from distilbert_cli.options import POSITIVE, REVISION, CommaSeparated, command
from distilbert_core.errors import InputError
from distilbert_core.files.hub import DEFAULT_MODEL
from distilbert_core.libraries import require_library
from distilbert_core.model.backends import RUNNABLE, available_backends


def _backends(word: str) -> str:
    if word not in (*RUNNABLE, "all"):
        raise ValueError(word)
    return word


@command(
    "serve",
    "distilbert serve --model ./my-model",
    "distilbert serve --model reviews=./reviews --model names=./ner --port 9000",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="[NAME=]FOLDER_OR_HUB_ID",
    show_default=DEFAULT_MODEL,
    help="Checkpoint to serve, perhaps under a name of your own. Repeat the option for several models.",
)
@REVISION
@click.option(
    "--backend",
    "backends",
    type=CommaSeparated(_backends, f"some of {', '.join(RUNNABLE)}, or all"),
    metavar="NAME[,NAME...]",
    help="Backend to run on, the first installed one if left out. With several, or with all, each model is served "
    "once for each, as NAME@BACKEND.",
)
@click.option(
    "--dtype",
    metavar="NAME",
    help="float32, float64, bfloat16 or float16; auto keeps the dtype of the checkpoint.",
    show_default="float32",
)
@click.option("--device", metavar="NAME", help="Device to run on, as the framework names it: cuda:1, gpu:1.")
@click.option(
    "--host",
    metavar="ADDRESS",
    show_default="127.0.0.1",
    help="Address to listen on; the variable DISTILBERT_HOST is the default.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    show_default="8000",
    help="Port, 0 for any free one; the variable DISTILBERT_PORT is the default.",
)
@click.option(
    "--token",
    metavar="TEXT",
    envvar="DISTILBERT_TOKEN",
    show_envvar=True,
    help="Bearer token that requests must have. Prefer the variable: other users can see the options of a process.",
)
@click.option(
    "--cors",
    multiple=True,
    metavar="ORIGIN",
    help="Origin, such as https://example.org, whose pages may call the server. Repeat the option for more; * is all.",
)
@click.option("--allow-reload", is_flag=True, help="Let requests without a token load a model again.")
@click.option(
    "--batch-tokens",
    type=POSITIVE,
    metavar="N",
    help="Maximum number of tokens in a batch.",
    show_default="1024 on a CPU, else 16384",
)
@click.option(
    "--queue-tokens",
    type=POSITIVE,
    metavar="N",
    help="Maximum number of tokens that wait for a model. Further requests get status 429.",
    show_default="64 batches",
)
@click.option(
    "--max-wait",
    type=click.FloatRange(min=0, max=1000),
    default=2.0,
    metavar="MS",
    help="Milliseconds that an idle model waits for more requests to join a batch.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, metavar="S", help="Seconds for a request."
)
@click.option(
    "--shutdown-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    metavar="S",
    help="Seconds to finish accepted requests after SIGTERM.",
)
def serve(models, backends, revision, dtype, device, host, port, cors, token, **settings):
    """Answer the tasks over HTTP.

    The routes are /predict, /zero-shot, /fill-mask, /tag, /answer, /embed and /choose, with the JSON of the commands;
    /docs lists all of them. SIGTERM finishes what was accepted; SIGHUP loads the models again.

    In a container of Amazon SageMaker or Vertex AI, its variables choose the model, the address and the routes, unless
    options do.
    """
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        require_library(module, module, "serve", "distilbert serve")
    from distilbert_serve.environment import read_environment
    from distilbert_serve.models import sources_of
    from distilbert_serve.running import serve as run
    from distilbert_serve.settings import Settings

    if token == "":
        raise InputError("--token must not be empty; leave it out to serve without one.")
    loading: dict[str, Any] = {"revision": revision, "dtype": dtype, "device": device}
    given = {name: value for name, value in loading.items() if value is not None}
    for name in ("max_wait", "timeout", "shutdown_timeout"):
        if not math.isfinite(settings[name]):
            raise InputError(f"--{name.replace('_', '-')} must be a finite number, got {settings[name]}.")
    container = read_environment(os.environ)
    address = {"host": host or container.host, "port": container.port if port is None else port}
    settings |= {name: value for name, value in address.items() if value is not None}
    run(
        sources_of(models or [container.model or DEFAULT_MODEL], _chosen(backends), **given),
        Settings(cors=cors, token=token, vertex=container.vertex, **settings),
        lambda line: click.echo(f"distilbert: {line}", err=True),
    )


def _chosen(backends: list[str] | None) -> list[str]:
    """Return the names of the backends; `all` stands for the installed ones."""
    if backends and "all" in backends:
        return available_backends()
    return list(dict.fromkeys(backends or ()))
