"""The commands `convert`, `verify` and `diff` of the command `distilbert`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from distilbert_cli.options import command, complete_model
from distilbert_cli.writers import Layout, write
from distilbert_core.errors import CheckpointError
from distilbert_core.model.backends import BACKENDS, available_backends
from distilbert_core.model.parameters import Head
from distilbert_core.pipelines.progress import bar_delay, progress_bar
from weight_conversion.comparing import TensorDifference
from weight_conversion.comparing import diff as compare
from weight_conversion.formats import FORMATS
from weight_conversion.verifying import Run, Verification
from weight_conversion.weights import DTYPES, Weights

HEADS = {head.architecture: head for head in Head}
DIFFERENT = 1  # exit status

DESTINATION = click.Path(path_type=Path)
REVISION = click.option("--revision", metavar="NAME", help="Branch, tag or commit of what is on the Hub.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
FORCE_HELP = "Replace what is there."


# -- convert ----------------------------------------------------------------------------------------------------


@command(
    "convert",
    "distilbert convert sst2-tiny ./sst2-h5 --to h5 --verify",
    "distilbert convert ./old/pytorch_model.bin ./new --to pt --dtype bfloat16",
)
@click.argument("source", shell_complete=complete_model)
@click.argument("destination", type=DESTINATION)
@click.option("--to", type=click.Choice(list(FORMATS)), default="pt", help="Format of the result.")
@click.option("--dtype", type=click.Choice(list(DTYPES)), help="Dtype of the result.", show_default="the source's")
@click.option("--head", type=click.Choice(list(HEADS)), help="Class of the result.", show_default="the source's")
@click.option(
    "--max-shard-size", "--shard-size", default="5GB", metavar="SIZE", help="Split larger weights: 300MB, 2GiB, ..."
)
@click.option("--force", is_flag=True, help=FORCE_HELP)
@click.option(
    "--verify", "check", is_flag=True, help="Then compare the result with the source, in bits and in outputs."
)
@REVISION
def convert(source, destination, to, dtype, head, max_shard_size, force, check, revision):
    """Convert a checkpoint to another format.

    SOURCE is a folder, a weight file with config.json beside it, an embedded model or a Hub id. DESTINATION is a
    folder, which appears whole or not at all.
    """
    from weight_conversion.converting import convert as convert_weights

    head, where = HEADS.get(head), {"revision": revision}
    with _bar(lambda: _size(source, head, dtype, where)) as progress:
        options = {"dtype": dtype, "head": head, "max_shard_size": max_shard_size, "force": force}
        weights = convert_weights(source, destination, to, **options, progress=progress, **where)
    _print_notes(weights.notes)
    count = sum(math.prod(tensor.shape) for tensor in weights.tensors.values())
    click.echo(
        f"{destination}: {FORMATS[to].title}, {weights.head.architecture}, {count:,} parameters in "
        f"{dtype or ', '.join(weights.dtypes)}."
    )
    if check:
        _check_bits(source, destination, head, dtype, where)
        _finish(_verify([source, str(destination)], None, False, head, where), None, False)


def _check_bits(source: str, destination: Path, head: Head | None, dtype: str | None, where: dict[str, Any]) -> None:
    """Compare all values with those of the source in the dtype of the result.

    Raises:
        CheckpointError: One differs.
    """
    expected, got = _open(source, head, where), _open(destination, head)
    tensors = {name: tensor.astype(dtype or tensor.dtype) for name, tensor in expected.tensors.items()}
    different = [found for found in compare(replace(expected, tensors=tensors), got) if found.kind != "equal"]
    if different:
        names = ", ".join(found.name for found in different)
        raise CheckpointError(f"{destination} differs from {source} in {names}; convert it again.")
    as_dtype = f", rounded to {dtype}," if dtype else ""
    click.echo(f"All {len(got.tensors)} tensors equal the source's{as_dtype} bit for bit.")


# -- verify -----------------------------------------------------------------------------------------------------


@command("verify", "distilbert verify sst2-tiny", "distilbert verify sst2-tiny ./sst2-h5 --report report.html")
@click.argument("sources", nargs=-1, required=True, metavar="CHECKPOINT...", shell_complete=complete_model)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=click.Choice(list(BACKENDS)),
    help="Backend to run; give it for each.",
    show_default="all that are installed",
)
@click.option("--attentions", is_flag=True, help="Also compare the attention probabilities of every layer.")
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write an HTML page of it too."
)
@click.option("--force", is_flag=True, help=FORCE_HELP)
@REVISION
@AS_JSON
def verify(sources, backends, attentions, report, force, revision, as_json):
    """Compare what checkpoints compute.

    Runs real text through every backend that is installed, in float64 and in float32, and compares every layer and
    output with those of the first checkpoint on the first backend in float64. Exits with 1 if they differ by more than
    rounding explains.
    """
    if report is not None and report.exists() and not force:
        raise CheckpointError(f"{report} is there already; give --force to replace it.")
    where = {"revision": revision}
    found = _verify(sources, backends or None, attentions, None, where)
    if report is not None:
        from weight_conversion.report import write_report

        write_report(report, found, [_open(source, None, where) for source in sources])
    _finish(found, report, as_json)


def _verify(
    sources: list[str], backends: list[str] | None, attentions: bool, head: Head | None, where: dict[str, Any]
) -> Verification:
    from weight_conversion.verifying import DTYPES as COMPUTED
    from weight_conversion.verifying import verify as compute_all

    with _bar(lambda: len(sources) * len(backends or available_backends()) * len(COMPUTED)) as progress:
        return compute_all(sources, backends, head=head, attentions=attentions, progress=progress, **where)


def _finish(found: Verification, report: Path | None, as_json: bool) -> None:
    """Print what was found, and exit with 1 if something differs."""
    if as_json:
        click.echo(json.dumps(_verification_record(found), ensure_ascii=False))
    else:
        _print_notes(found.notes)
        click.echo(f"{found.head.architecture}, {found.inputs}; reference: {found.reference}")
        write(map(_strings, _difference_records(found)), Layout(DIFFERENCE_COLUMNS), None, False)
        for run in found.runs:
            click.echo(verdict(run))
        click.echo("equal but for rounding" if found.passed else "DIFFERENT")
    if not found.passed:
        raise click.exceptions.Exit(DIFFERENT)


DIFFERENCE_COLUMNS = ("checkpoint", "backend", "dtype", "output", "absolute", "relative")


def verdict(run: Run) -> str:
    """Return one line on a run."""
    worst, mark = run.worst, "ok " if run.passed else "BAD"
    limit = f"{'<=' if run.passed else '>'} {run.bound:.0e}"
    return f"{mark} {run.source} {run.backend} {run.dtype}: {worst.relative:.1e} {limit} relative, at {worst.name}"


def _difference_records(found: Verification) -> Iterator[dict[str, Any]]:
    for run in found.runs:
        for difference in run.differences:
            yield {
                "checkpoint": run.source,
                "backend": run.backend,
                "dtype": run.dtype,
                "output": difference.name,
                "absolute": difference.absolute,
                "relative": difference.relative,
            }


def _verification_record(found: Verification) -> dict[str, Any]:
    return {
        "equal": found.passed,
        "class": found.head.architecture,
        "inputs": found.inputs,
        "reference": found.reference,
        "notes": list(found.notes),
        "runs": [
            {"checkpoint": run.source, "backend": run.backend, "dtype": run.dtype, "bound": run.bound}
            | {"equal": run.passed}
            for run in found.runs
        ],
        "differences": [_json_numbers(record) for record in _difference_records(found)],
    }


# -- diff -------------------------------------------------------------------------------------------------------


@command("diff", "distilbert diff sst2-tiny ./sst2-h5")
@click.argument("first", metavar="A", shell_complete=complete_model)
@click.argument("second", metavar="B", shell_complete=complete_model)
@REVISION
@AS_JSON
def diff(first, second, revision, as_json):
    """List the tensors that differ.

    A and B are checkpoints of any format. Values are compared by their bits, or as numbers where the dtypes are two.
    Exits with 1 if a tensor differs in values, dtype or shape, or is in one of them only.
    """
    where = {"revision": revision}
    a, b = _open(first, None, where), _open(second, None, where)
    with _bar(lambda: sum(tensor.nbytes for tensor in a.tensors.values())) as progress:
        found = list(compare(a, b, progress))
    different = [difference for difference in found if difference.kind != "equal"]
    if as_json:
        record = {"equal": not different, "compared": len(found), "tensors": [*map(_diff_record, different)]}
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        for source, weights in ((first, a), (second, b)):
            _print_notes([f"{source}: {note}" for note in weights.notes])
        write(map(_strings, map(_diff_record, different)), Layout(DIFF_COLUMNS), None, False)
        same = (
            f"{len(found)} tensors are equal" if not different else f"{len(different)} of {len(found)} tensors differ"
        )
        click.echo(f"{same}: {first} and {second}")
    if different:
        raise click.exceptions.Exit(DIFFERENT)


DIFF_COLUMNS = ("tensor", "kind", "shapes", "dtypes", "differing", "absolute", "relative")


def _diff_record(found: TensorDifference) -> dict[str, Any]:
    return _json_numbers(
        {
            "tensor": found.name,
            "kind": found.kind,
            "shapes": found.shapes,
            "dtypes": found.dtypes,
            "differing": found.differing,
            "absolute": found.absolute,
            "relative": found.relative,
        }
    )


# -- what they share --------------------------------------------------------------------------------------------


def _open(source: str | Path, head: Head | None = None, where: dict[str, Any] | None = None) -> Weights:
    from weight_conversion.reading import open_weights

    return open_weights(source, head, **(where or {}))


def _size(source: str, head: Head | None, dtype: str | None, where: dict[str, Any]) -> int:
    """Return how many bytes a conversion writes."""
    tensors = _open(source, head, where).tensors.values()
    return sum(tensor.astype(dtype or tensor.dtype).nbytes for tensor in tensors)


def _bar(total: Callable[[], int]) -> AbstractContextManager[Callable[[float], None]]:
    """Return a progress bar for long work, where somebody watches; only then is the total asked for."""
    delay = bar_delay(None, streaming=False)
    return progress_bar(None if delay is None else total(), delay)


def _print_notes(notes: Any) -> None:
    for note in notes:
        click.echo(f"distilbert: note: {note}", err=True)


def _strings(record: dict[str, Any]) -> dict[str, str]:
    """Return a record as a table shows it."""
    return {name: _cell(value) for name, value in record.items()}


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1e}"
    if isinstance(value, tuple):  # one of each checkpoint
        a, b = (str(part or "-") for part in value)
        return a if a == b else f"{a} / {b}"
    return "-" if value is None else str(value)


def _json_numbers(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with texts for the numbers that JSON does not have."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
