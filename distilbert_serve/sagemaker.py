"""The handlers of a model on Amazon SageMaker: a container that has its own server calls these four functions.

`distilbert serve` answers SageMaker's requests without them; see `distilbert_serve.routes.sagemaker`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, TypeVar

from distilbert_core.errors import InputError, shortened
from distilbert_core.files.json_files import parse_json, to_json
from distilbert_core.pipelines import Pipeline, pipeline
from distilbert_serve.errors import RequestError

JSON, LINES, CSV, TEXT = "application/json", "application/jsonlines", "text/csv", "text/plain"
T = TypeVar("T")
# Columns of a CSV file whose rows are inputs; a file has all columns of one of these.
COLUMNS = (("question", "context"), ("text", "text_pair"), ("text",), ("inputs",))


def model_fn(model_dir: str, context: Any = None) -> Pipeline:
    """Return the pipeline of the model in a folder.

    Args:
        model_dir: The folder.
        context: Given by some containers; has no effect.
    """
    return pipeline(None, model_dir)


def input_fn(data: bytes | str, content_type: str = JSON, context: Any = None) -> dict[str, Any]:
    r"""Return the inputs and parameters of a request.

    Args:
        data: The body of the request.
        content_type: 'application/json': {"inputs": ..., "parameters": {...}}. 'application/jsonlines': one input per
            line. 'text/csv': a header with the columns text, text and text_pair, or question and context; one input per
            row. 'text/plain': one text per line.
        context: Given by some containers; has no effect.

    Raises:
        InputError: The body does not have this type, or the type is another one.

    Example:
        >>> from distilbert_serve.sagemaker import input_fn
        >>> input_fn("text\nA lovely film.\n", "text/csv")
        {'inputs': ['A lovely film.'], 'parameters': {}}
    """
    return read_body(data, content_type)


def read_body(data: bytes | str, content_type: str, most: int | None = None) -> dict[str, Any]:
    """Return the inputs and parameters of a request, as `input_fn`.

    Args:
        data: The body.
        content_type: Its type.
        most: Maximum number of rows or lines, each of which is an input; None: any.

    Raises:
        InputError: As `input_fn`.
        RequestError: 413: there are more rows or lines.
    """
    kind = content_type.partition(";")[0].strip().lower() or JSON
    if kind not in READERS:
        raise InputError(f"Content-Type must be one of {', '.join(READERS)}, got {shortened(content_type)}.")
    try:
        text = (data.decode() if isinstance(data, bytes) else data).removeprefix("\ufeff")  # of spreadsheets
    except UnicodeDecodeError as error:
        raise InputError(f"The body must be UTF-8; byte {error.start} is not.") from error
    return READERS[kind](text, most)


def predict_fn(data: Mapping[str, Any], model: Pipeline, context: Any = None) -> Any:
    """Return the results of the pipeline.

    Args:
        data: Inputs and parameters, from `input_fn`.
        model: The pipeline, from `model_fn`.
        context: Given by some containers; has no effect.
    """
    return model(data["inputs"], **data.get("parameters", {}))


def output_fn(prediction: Any, accept: str = JSON, context: Any = None) -> tuple[str, str]:
    r"""Return the body of an answer, and its type.

    Args:
        prediction: Results of the pipeline: a result, or a list of them.
        accept: The types that the client takes: 'application/json', 'application/jsonlines' or 'text/csv'.
        context: Given by some containers; has no effect.

    Raises:
        InputError: The client takes none of these types, or the results are not rows of a table.

    Example:
        >>> from distilbert_serve.sagemaker import output_fn
        >>> output_fn([{"label": "POSITIVE", "score": 0.5}], "text/csv")
        ('label,score\r\nPOSITIVE,0.5\r\n', 'text/csv')
    """
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    kind = next((JSON if part in ("*/*", "application/*", "") else part for part in wanted if part in ACCEPTED), None)
    if kind is None:
        raise InputError(f"Accept must be one of {', '.join(WRITERS)}, got {shortened(accept)}.")
    return WRITERS[kind](prediction), kind


def _read_json(text: str, most: int | None) -> dict[str, Any]:
    body = parse_json("The body", text, InputError, "request", strict=True)
    if not isinstance(body, dict) or not {"inputs"} <= body.keys() <= {"inputs", "parameters"}:
        raise InputError(f"The body must be a JSON object with inputs and perhaps parameters, got {shortened(body)}.")
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InputError(f"parameters must be a JSON object, got {shortened(parameters)}.")
    return {"inputs": body["inputs"], "parameters": parameters}


def _at_most(rows: Iterable[T], most: int | None) -> list[T]:
    """Return rows as a list, or raise RequestError before there are too many to keep."""
    kept = list(rows if most is None else islice(rows, most + 1))
    if most is not None and len(kept) > most:
        raise RequestError(413, f"The request has more than {most} inputs; send fewer at a time.")
    return kept


def _lines(text: str, most: int | None) -> list[tuple[int, str]]:
    """Return the lines that are not empty, with their numbers."""
    return _at_most(((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()), most)


def _read_lines(text: str, most: int | None) -> dict[str, Any]:
    rows = [
        parse_json(f"Line {number} of the body", line, InputError, "request", strict=True)
        for number, line in _lines(text, most)
    ]
    inputs = [row["inputs"] if isinstance(row, dict) and row.keys() == {"inputs"} else row for row in rows]
    return {"inputs": inputs, "parameters": {}}


def _read_csv(text: str, most: int | None) -> dict[str, Any]:
    try:
        filled = (row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row)
        header = next(filled, [])
        rows = _at_most(filled, most)
    except csv.Error as error:
        raise InputError(f"The body is not CSV: {error}.") from error
    columns = next((columns for columns in COLUMNS if sorted(columns) == sorted(header)), None)
    if columns is None:
        raise InputError(
            "The first row of CSV must have the columns text, or text and text_pair, or question and context; got "
            f"{shortened(header)}."
        )
    wrong = next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if wrong is not None:
        raise InputError(f"Row {wrong} of CSV must have {len(header)} cells, as the first one has.")
    return {
        "inputs": [row[0] if len(row) == 1 else dict(zip(header, row, strict=True)) for row in rows],
        "parameters": {},
    }


def _read_text(text: str, most: int | None) -> dict[str, Any]:
    return {"inputs": [line for _, line in _lines(text, most)], "parameters": {}}


def _write_lines(prediction: Any) -> str:
    return "".join(to_json(row) + "\n" for row in (prediction if isinstance(prediction, list) else [prediction]))


def _write_csv(prediction: Any) -> str:
    """Return one row for each result; results that are lists have a row for each of their members."""
    rows = json.loads(to_json(prediction))
    rows = rows if isinstance(rows, list) else [rows]
    flat = [row for item in rows for row in (item if isinstance(item, list) else [item])]
    if not all(isinstance(row, dict) for row in flat):
        raise InputError(f"These results are not rows of a table; accept {JSON}.")
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(dict.fromkeys(name for row in flat for name in row)))
    writer.writeheader()
    writer.writerows(flat)
    return file.getvalue()


READERS: dict[str, Callable[[str, int | None], dict[str, Any]]] = {
    JSON: _read_json,
    LINES: _read_lines,
    CSV: _read_csv,
    TEXT: _read_text,
}
WRITERS: dict[str, Callable[[Any], str]] = {JSON: to_json, LINES: _write_lines, CSV: _write_csv}
ACCEPTED = frozenset({*WRITERS, "*/*", "application/*", ""})
