"""The commands `convert`, `verify` and `diff`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from distilbert_cli.options import (
    COLUMNS,
    FILE_TO_WRITE,
    FORCE,
    HEADS,
    JSON,
    PATH,
    REVISION,
    backend_option,
    checkpoint_argument,
    command,
    head_option,
    refuse,
)
from distilbert_cli.writers import Columns, write
from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.model.backends import available_backends
from distilbert_core.model.heads import Head
from distilbert_core.pipelines.progress import bar_delay, progress_bar
from weight_conversion.formats import FORMATS
from weight_conversion.sentences import MODES
from weight_conversion.verification.comparing import TensorDifference
from weight_conversion.verification.comparing import diff as compare
from weight_conversion.verification.verifying import ModelRun, Verification
from weight_conversion.weights import NUMPY_DTYPES, Weights

DIFFERENT = 1  # exit status


# -- convert ----------------------------------------------------------------------------------------------------


@command(
    "convert",
    "distilbert convert sst2-tiny ./sst2-h5 --to h5 --verify",
    "distilbert convert ./old/pytorch_model.bin ./new --to pt --dtype bfloat16",
    "distilbert convert sst2-tiny ./int8 --to onnx-int8-static --calibrate train.tsv --eval dev.tsv --max-drop 0.5",
)
@checkpoint_argument("source")
@click.argument("destination", type=PATH)
@click.option("--to", type=click.Choice(list(FORMATS)), default="pt", help="Format to write.")
@click.option("--dtype", type=click.Choice(list(NUMPY_DTYPES)), help="Dtype to write.", show_default="as stored")
@head_option("Model class to write.", "the class of the source")
@click.option(
    "--max-shard-size",
    "--shard-size",
    default="5GB",
    metavar="SIZE",
    help="Split the weights into files of at most this size, such as 300MB or 2GiB.",
)
@FORCE
@click.option(
    "--verify", "check", is_flag=True, help="Compare the result with the source: all bits, and the model's outputs."
)
@click.option("--checksum", is_flag=True, help="Also write checksums.sha256, which `sha256sum -c` reads.")
@click.option("--card", is_flag=True, help="Add a line about the conversion to the model card, README.md.")
@click.option(
    "--verify-source",
    is_flag=True,
    help="Compare the source with its checksums.sha256, or with its checksums on the Hub, first.",
)
@click.option(
    "--calibrate",
    type=PATH,
    metavar="FILE",
    help="Texts like those that the model will get, for the formats with static int8: one per line, or a file of the "
    "task. Labels are not needed for texts.",
)
@click.option(
    "--eval",
    "eval_file",
    type=PATH,
    metavar="FILE",
    help="Measure the metric of the model's task on this file, before and after; for the formats that a runtime runs.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    metavar="POINTS",
    help="Write nothing if the metric on --eval loses more points (of 100). Of a loss: percent.",
)
@COLUMNS
@click.option(
    "--pooling",
    type=click.Choice(MODES),
    help="Vector of a text, for a base model: in modules of sentence-transformers (pt, bin), or as the output "
    "sentence_embedding of graphs for padded batches.",
)
@click.option("--normalize", is_flag=True, help="Scale the vector of --pooling to length 1.")
@REVISION
def convert(
    source,
    destination,
    to,
    dtype,
    head,
    max_shard_size,
    force,
    check,
    checksum,
    card,
    verify_source,
    calibrate,
    eval_file,
    max_drop,
    columns,
    pooling,
    normalize,
    revision,
):
    """Convert a checkpoint to another format.

    SOURCE is a folder, a weight file with config.json beside it, an embedded model or a Hub id. DESTINATION is a
    folder. It appears only when it is complete.
    """
    from weight_conversion.converting import convert as convert_weights

    if eval_file is None:
        refuse("needs --eval", "max_drop")
        if calibrate is None:
            refuse("needs --calibrate or --eval", "columns")
    elif not FORMATS[to].graphs:
        refuse(f"is for the formats {', '.join(row.name for row in FORMATS.values() if row.graphs)}", "eval_file")
    head, hub_options = HEADS.get(head), {"revision": revision}
    weights = _open(source, head, hub_options)
    with _bar(
        lambda: sum(tensor.astype(dtype or tensor.dtype).nbytes for tensor in weights.tensors.values())
    ) as progress:
        options = {"dtype": dtype, "max_shard_size": max_shard_size, "force": force}
        options |= {"checksum": checksum, "verify": verify_source, "pooling": pooling, "normalize": normalize}
        if calibrate is not None or eval_file is not None:
            options |= _data_options(weights, source, to, calibrate, eval_file, max_drop, columns, hub_options)
        converted = convert_weights(weights, destination, to, **options, progress=progress, **hub_options)
    _print_notes(converted.notes)
    count = sum(math.prod(tensor.shape) for tensor in weights.tensors.values())
    click.echo(
        f"{destination}: {FORMATS[to].title}, {weights.head.architecture}, {count:,} parameters in "
        f"{dtype or ', '.join(weights.dtypes)}."
    )
    if check:
        result = _open(destination, head)
        _check_bits(weights, result, dtype)
        _finish(_verify([weights, result], None, False, hub_options), as_json=False)


def _data_options(
    weights: Weights,
    source: str,
    to: str,
    calibrate: Path | None,
    eval_file: Path | None,
    max_drop: float | None,
    columns: dict[str, str],
    hub_options: dict[str, Any],
) -> dict[str, Any]:
    """Return the arguments of a conversion with data: texts for calibration, and the check of the metric."""
    from distilbert_cli.quantizing import check_drop, encode, measure, task_of
    from distilbert_core.tokenization import DistilBertTokenizerFast

    options: dict[str, Any] = {}
    if calibrate is not None and FORMATS[to].is_calibrated:
        tokenizer = DistilBertTokenizerFast.from_pretrained(source, **hub_options)
        options["calibrate"] = encode(calibrate, tokenizer, weights.config, weights.head, columns)
    elif calibrate is not None:
        options["calibrate"] = ()  # `convert` names the formats that it is for
    if eval_file is not None:
        kind = task_of(weights.config, weights.head)
        if kind is None:
            raise InputError(f"--eval needs a checkpoint with a head; {source} has none.")
        options["check"] = lambda folder: check_drop(
            measure(eval_file, source, folder, FORMATS[to].graphs, kind, columns, **hub_options), max_drop
        )
    return options


def _check_bits(source: Weights, result: Weights, dtype: str | None) -> None:
    """Compare every tensor with the source, rounded to the dtype of the result.

    Raises:
        CheckpointError: A tensor differs.
    """
    rounded = {name: tensor.astype(dtype or tensor.dtype) for name, tensor in source.tensors.items()}
    differences = compare(replace(source, tensors=rounded), result)
    names = ", ".join(difference.name for difference in differences if difference.kind != "equal")
    if names:
        raise CheckpointError(f"{result.name} differs from {source.name} in {names}; convert it again.")
    as_dtype = f", rounded to {dtype}," if dtype else ""
    click.echo(f"All {len(result.tensors)} tensors equal the source's{as_dtype} bit for bit.")


# -- verify -----------------------------------------------------------------------------------------------------


@command("verify", "distilbert verify sst2-tiny", "distilbert verify sst2-tiny ./sst2-h5 --report report.html")
@checkpoint_argument("sources", nargs=-1, required=True, metavar="CHECKPOINT...")
@backend_option(
    help="Backend to run on; repeat the option for more backends.",
    show_default="all that are installed",
    parameter="backends",
    multiple=True,
)
@click.option("--attentions", is_flag=True, help="Also compare the attention probabilities of every layer.")
@click.option("--report", type=FILE_TO_WRITE, metavar="FILE", help="Also write an HTML report.")
@FORCE
@REVISION
@JSON
def verify(sources, backends, attentions, report, force, revision, as_json):
    """Compare the outputs of checkpoints.

    Runs the same texts through every checkpoint on every installed backend, in float64 and in float32. Each layer and
    output is compared with the first checkpoint on the first backend in float64. The exit status is 1 if a difference
    is larger than rounding errors.
    """
    if report is not None and report.exists() and not force:
        raise CheckpointError(f"{report} exists already; give --force to replace it.")
    hub_options = {"revision": revision}
    checkpoints = sources if report is None else [_open(source, None, hub_options) for source in sources]
    verification = _verify(checkpoints, backends or None, attentions, hub_options)
    if report is not None:
        from weight_conversion.verification.report import write_report

        write_report(report, verification, checkpoints)
    _finish(verification, as_json)


def _verify(
    checkpoints: Sequence[str | Weights], backends: list[str] | None, attentions: bool, hub_options: dict[str, Any]
) -> Verification:
    from weight_conversion.verification.verifying import COMPUTE_DTYPES
    from weight_conversion.verification.verifying import verify as compute_all

    with _bar(lambda: len(checkpoints) * len(backends or available_backends()) * len(COMPUTE_DTYPES)) as progress:
        return compute_all(checkpoints, backends, attentions=attentions, progress=progress, **hub_options)


def _finish(verification: Verification, as_json: bool) -> None:
    """Print a verification, and exit with 1 if something differs."""
    if as_json:
        click.echo(json.dumps(_verification_record(verification), ensure_ascii=False))
    else:
        _print_notes(verification.notes)
        click.echo(f"{verification.head.architecture}, {verification.inputs}; reference: {verification.reference}")
        write(map(_strings, _difference_records(verification)), Columns(DIFFERENCE_COLUMNS), None, False)
        for run in verification.runs:
            click.echo(verdict(run))
        click.echo("equal up to rounding" if verification.passed else "DIFFERENT")
    if not verification.passed:
        raise click.exceptions.Exit(DIFFERENT)


DIFFERENCE_COLUMNS = ("checkpoint", "backend", "dtype", "output", "absolute", "relative")


def verdict(run: ModelRun) -> str:
    """Return one line that says whether a run agrees with the reference."""
    worst, mark = run.worst, "ok " if run.passed else "BAD"
    limit = f"{'<=' if run.passed else '>'} {run.bound:.0e}"
    return f"{mark} {run.source} {run.backend} {run.dtype}: {worst.relative:.1e} {limit} relative, at {worst.name}"


def _difference_records(verification: Verification) -> Iterator[dict[str, Any]]:
    for run in verification.runs:
        for difference in run.differences:
            yield {
                "checkpoint": run.source,
                "backend": run.backend,
                "dtype": run.dtype,
                "output": difference.name,
                "absolute": difference.absolute,
                "relative": difference.relative,
            }


def _verification_record(verification: Verification) -> dict[str, Any]:
    return {
        "equal": verification.passed,
        "class": verification.head.architecture,
        "inputs": verification.inputs,
        "reference": verification.reference,
        "notes": list(verification.notes),
        "runs": [
            {"checkpoint": run.source, "backend": run.backend, "dtype": run.dtype, "bound": run.bound}
            | {"equal": run.passed}
            for run in verification.runs
        ],
        "differences": [_json_numbers(record) for record in _difference_records(verification)],
    }


# -- diff -------------------------------------------------------------------------------------------------------


@command("diff", "distilbert diff sst2-tiny ./sst2-h5")
@checkpoint_argument("first", metavar="A")
@checkpoint_argument("second", metavar="B")
@REVISION
@JSON
def diff(first, second, revision, as_json):
    """List the tensors that differ.

    A and B are checkpoints of any format. Two tensors of the same dtype are compared bit by bit, others by value. The
    exit status is 1 if a tensor differs in values, dtype or shape, or exists in only one of the checkpoints.
    """
    hub_options = {"revision": revision}
    a, b = _open(first, None, hub_options), _open(second, None, hub_options)
    with _bar(lambda: sum(tensor.nbytes for tensor in a.tensors.values())) as progress:
        compared = list(compare(a, b, progress))
    different = [difference for difference in compared if difference.kind != "equal"]
    if as_json:
        record = {"equal": not different, "compared": len(compared), "tensors": [*map(_diff_record, different)]}
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        for source, weights in ((first, a), (second, b)):
            _print_notes([f"{source}: {note}" for note in weights.notes])
        write(map(_strings, map(_diff_record, different)), Columns(DIFF_COLUMNS), None, False)
        count = (
            f"{len(different)} of {len(compared)} tensors differ" if different else f"{len(compared)} tensors are equal"
        )
        click.echo(f"{count}: {first} and {second}")
    if different:
        raise click.exceptions.Exit(DIFFERENT)


DIFF_COLUMNS = ("tensor", "kind", "shapes", "dtypes", "differing", "absolute", "relative")


def _diff_record(difference: TensorDifference) -> dict[str, Any]:
    return _json_numbers(
        {
            "tensor": difference.name,
            "kind": difference.kind,
            "shapes": difference.shapes,
            "dtypes": difference.dtypes,
            "differing": difference.differing,
            "absolute": difference.absolute,
            "relative": difference.relative,
        }
    )


# -- shared by the three commands -----------------------------------------------------------------------------------


def _open(source: str | Path, head: Head | None = None, hub_options: dict[str, Any] | None = None) -> Weights:
    from weight_conversion.reading import open_weights

    return open_weights(source, head, **(hub_options or {}))


def _bar(total: Callable[[], int]) -> AbstractContextManager[Callable[[float], None]]:
    """Return a progress bar. `total` is called only if the bar can appear: in a terminal."""
    delay = bar_delay(None, streaming=False)
    return progress_bar(None if delay is None else total(), delay)


def _print_notes(notes: Any) -> None:
    for note in notes:
        click.echo(f"distilbert: note: {note}", err=True)


def _strings(record: dict[str, Any]) -> dict[str, str]:
    """Return a record whose values are texts, for a table."""
    return {name: _cell(value) for name, value in record.items()}


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1e}"
    if isinstance(value, tuple):  # the values of both checkpoints
        a, b = (str(item or "-") for item in value)
        return a if a == b else f"{a} / {b}"
    return "-" if value is None else str(value)


def _json_numbers(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record in which infinite numbers and NaN are texts, as JSON cannot write them."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
