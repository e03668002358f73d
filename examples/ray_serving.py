"""Serve a task over HTTP on Ray Serve: as many replicas as the requests need, and batches of tokens in each.

    pip install "distilbert[pt]" "ray[serve]"
    python examples/ray_serving.py text-classification --most 4
    curl localhost:8000 -d '{"inputs": ["A lovely film.", "Dull."], "parameters": {"top_k": 1}}'

`parameters` are the options of the pipeline. The answer is what the pipeline returns, as JSON. A request that the
pipeline rejects gets status 422 and a sentence.

Each replica is a process with one model. It tokenizes a request by itself, and puts its token windows into one batch
with those of other requests: `batch_size_fn` counts tokens, not texts. On a cluster, give `application(...)` to
`serve.run`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from distilbert_core import InputError
from distilbert_core.pipelines import pipeline
from distilbert_core.pipelines.running import Outputs, checked_outputs
from distilbert_core.tokenization.engine import Encoding

BATCH_TOKENS = 2048  # of a batch
WAIT = 0.002  # seconds that a window waits for others


def count_tokens(windows: Sequence[Encoding]) -> int:
    """Return the number of tokens of a batch."""
    return sum(map(len, windows))


@serve.deployment
class Predictor:
    """A pipeline in a replica.

    Args:
        task: A task of `pipeline`.
        **options: Keywords of `pipeline`, such as model and framework.
    """

    def __init__(self, task: str, **options: Any):
        self.pipeline = pipeline(task, progress=False, **options)

    @serve.batch(max_batch_size=BATCH_TOKENS, batch_wait_timeout_s=WAIT, batch_size_fn=count_tokens)
    async def compute(self, windows: list[Encoding]) -> list[Outputs]:
        """Return the model's outputs for each window of a batch."""
        return await asyncio.to_thread(lambda: list(self.pipeline.forward(windows)))

    async def answer(self, inputs: Any, **options: Any) -> Any:
        """Return what the pipeline returns for these inputs.

        Args:
            inputs: An input of the task, or a list of inputs.
            **options: Options of the task.

        Raises:
            InputError: An input or an option is impossible.
            TypeError: An option is unknown.
        """
        pipe = self.pipeline
        checked = pipe.with_defaults(options)
        is_one = pipe.is_one(inputs, checked)
        values = [inputs] if is_one else list(inputs)
        texts = [pipe.read(value, checked) for value in values]
        groups = await asyncio.to_thread(pipe.tokenize, texts, checked)
        results = await asyncio.gather(
            *(self.result(value, group, checked) for value, group in zip(values, groups, strict=True))
        )
        return results[0] if is_one else results

    async def result(self, value: Any, windows: Sequence[Encoding], options: Mapping[str, Any]) -> Any:
        """Return the result of one input, given its windows."""
        pipe = self.pipeline
        outputs = await asyncio.gather(*map(self.compute, windows))
        kept = [
            pipe.reduce(window, checked_outputs(pipe, window, arrays), options)
            for window, arrays in zip(windows, outputs, strict=True)
        ]
        return pipe.combine(value, windows, kept, options)

    async def __call__(self, request: Request) -> Response:
        """Answer an HTTP request."""
        try:
            body = await request.json()
            answer, status = await self.answer(body["inputs"], **body.get("parameters", {})), 200
        except (InputError, TypeError, KeyError, ValueError) as error:
            answer, status = {"error": f"{type(error).__name__}: {error}"}, 422
        content = json.dumps(answer, default=lambda array: array.tolist())
        return Response(content, status, media_type="application/json")


def application(task: str, fewest: int = 1, most: int = 1, cpus: float = 1, gpus: float = 0, **options: Any) -> Any:
    """Return the application, for `serve.run`. Its handle answers in Python: `handle.answer.remote(inputs)`.

    Args:
        task: A task of `pipeline`.
        fewest: Replicas that are always there.
        most: Replicas at most. There is one for 64 requests that wait or are computed.
        cpus: Cores of a replica.
        gpus: GPUs of a replica; with 0.5, two replicas share one.
        **options: Keywords of `pipeline`.
    """
    scaling = {"min_replicas": fewest, "max_replicas": most, "target_ongoing_requests": 64}
    deployment = Predictor.options(
        autoscaling_config=scaling,
        max_ongoing_requests=256,
        ray_actor_options={"num_cpus": cpus, "num_gpus": gpus},
    )
    return deployment.bind(task, **options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("task")
    parser.add_argument("--model", help="folder, embedded model or Hub id")
    parser.add_argument("--framework", choices=("pt", "tf", "flax"))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fewest", type=int, default=1)
    parser.add_argument("--most", type=int, default=1)
    parser.add_argument("--cpus", type=float, default=1)
    parser.add_argument("--gpus", type=float, default=0)
    options = vars(parser.parse_args(arguments))
    serve.start(http_options={"host": "127.0.0.1", "port": options.pop("port")})
    serve.run(application(**options), blocking=True)


if __name__ == "__main__":
    main()
