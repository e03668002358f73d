"""Compares the speed of inference on a CPU: our models in all frameworks, and other libraries that run DistilBERT.

    python benchmarks/inference.py [--python peers=PYTHON] [--python transformers4=PYTHON] [--rows a b b' c d]
        [--groups float32 bfloat16 exported int8] [--rounds 7] [--json FILE] [--png FILE]

All contestants load the same classifier, with random weights and of base size. Rows: (a) 32 texts of 128 tokens; (b) 32
texts with the lengths of English sentences, padded to 128; (b') 64 such texts, which the other libraries get sorted by
length, in batches that are padded to their longest text; (c) one text of 32 tokens; (d) 8 texts of 512 tokens. In (b'),
each of them tries several sizes of batches at the start, and uses the one that is fastest for it; ours get one padded
array as everywhere.

All contestants get the same texts and the same number of threads, and take turns (contests.py). The output shows
sequences per second, and how many times as fast each of our contestants is as every other: the median (smallest to
largest) of the ratios of the rounds.

First, all logits are compared with our model in float64. If a float32 contestant differs, it runs another model, and
the benchmark stops.

The other libraries may be in other environments, which --python names; those that are not installed are listed.
`peers` has torch, transformers 5, onnx, onnxruntime, onnxscript, openvino, nncf, ctranslate2, keras-hub, tensorflow-cpu
and jax; `transformers4` has transformers 4.53, torch, tensorflow-cpu 2.18, tf-keras 2.18, jax 0.4.34 and flax 0.9.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contests import (
    Measured,
    Spread,
    add_arguments,
    as_result,
    bars_of,
    contest_of,
    draw,
    english_lengths,
    report,
    write,
    write_model,
)
from worker import Contestant, Repetition, timed

TOLERANCE = 1e-3  # of float32 logits
UNIT = "sequences"


@dataclass(frozen=True)
class Row:
    """A batch of `batch` texts of `tokens` tokens; with `english`, of shorter texts padded to this length.

    With `by_length`, the other libraries get batches of texts of similar length.
    """

    title: str
    batch: int
    tokens: int
    english: bool = False
    by_length: bool = False


ROWS = {
    "a": Row("32 x 128, all real", 32, 128),
    "b": Row("32 x 128, lengths of English sentences", 32, 128, english=True),
    "b'": Row("64 texts with lengths of English sentences, sorted by length", 64, 128, english=True, by_length=True),
    "c": Row("1 x 32, all real", 1, 32),
    "d": Row("8 x 512, all real", 8, 512),
}


def arrays_of(row: Row) -> dict[str, np.ndarray]:
    """Return token ids and mask of a row, int64 [B, T]."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 30000, (row.batch, row.tokens))
    lengths = english_lengths(rng, row.batch, row.tokens) if row.english else np.full(row.batch, row.tokens)
    lengths[0] = row.tokens  # at least one text has the full length
    mask = (np.arange(row.tokens) < lengths[:, None]).astype(np.int64)
    return {"input_ids": ids * mask, "attention_mask": mask}


# -- the contestants: each loads the model in job["folder"] and returns logits [B, 2] ------------------------

Arrays = dict[str, np.ndarray]
Prepare = Callable[[Arrays], Repetition]  # from a batch to the function that computes its logits

BATCH_SIZES = (1, 4, 8, 16)  # of batches by length


def inputs(job: dict[str, Any]) -> Arrays:
    """Return the arrays of a job's row."""
    return dict(np.load(job["inputs"]))


def peer(job: dict[str, Any], load: Callable[..., Prepare], **options: Any) -> Repetition:
    """Another library, on the padded batch of the row or on batches by length."""
    prepare, arrays = load(job, **options), inputs(job)
    return fastest_by_length(prepare, arrays) if job["by_length"] else prepare(arrays)


def fastest_by_length(prepare: Prepare, arrays: Arrays) -> Repetition:
    """Return the computation in batches of texts of similar length, of the size that is fastest."""
    candidates = {size: in_batches(prepare, arrays, size) for size in BATCH_SIZES}
    seconds = {}
    for size, run in candidates.items():
        run()  # a runtime prepares itself for each new shape
        seconds[size] = min(timed(run)[0] for _ in range(2))
    return candidates[min(seconds, key=lambda size: seconds[size])]


def in_batches(prepare: Prepare, arrays: Arrays, size: int) -> Repetition:
    """Return the computation in batches of `size` texts, sorted by length, each padded to its longest text."""
    lengths = arrays["attention_mask"].sum(axis=1)  # [B]
    order = np.argsort(-lengths, kind="stable")
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    runs = [
        prepare({name: np.ascontiguousarray(array[group, : lengths[group[0]]]) for name, array in arrays.items()})
        for group in groups
    ]

    def run() -> np.ndarray:
        logits = np.concatenate([np.asarray(run()) for run in runs])
        return logits[np.argsort(order)]

    run.note = f"batches of {size}"  # type: ignore[attr-defined]
    return run


def ours(job: dict[str, Any], backend: str, dtype: str = "float32") -> Repetition:
    """Our inference object, NumPy in and NumPy out."""
    from distilbert_core import Head
    from distilbert_core.model.loading import load_inference

    model = load_inference(backend, Head.SEQUENCE_CLASSIFICATION, job["folder"], dtype=dtype)
    arrays = inputs(job)
    return lambda: model(**arrays)["logits"]


def ours_exported(job: dict[str, Any], engine: str, dtype: str = "float32", format: str = "onnx") -> Repetition:
    """Our inference object on a model that our conversion exported."""
    from distilbert_core import Head
    from distilbert_core.model.loading import load_inference
    from weight_conversion import convert

    folder = Path(job["folder"], format)
    if not folder.exists():
        static = format in ("onnx-int8-static", "openvino-int8")
        convert(job["folder"], folder, format, calibrate=calibration_texts(job) if static else None)
    model = load_inference(engine, Head.SEQUENCE_CLASSIFICATION, folder, dtype=dtype)
    arrays = inputs(job)
    return lambda: model(**arrays)["logits"]


def calibration_texts(job: dict[str, Any]) -> list[list[int]]:
    """Return the token ids of the texts of row (b), without padding, for static int8."""
    arrays = np.load(Path(job["folder"], "b.npz"))
    ids, mask = arrays["input_ids"], arrays["attention_mask"]
    return [row[real == 1].tolist() for row, real in zip(ids, mask, strict=True)]


def transformers_torch(job: dict[str, Any], dtype: str = "float32", compiled: bool = False) -> Prepare:
    """Transformers 5 in PyTorch, with its default attention (sdpa)."""
    import torch
    from transformers import DistilBertForSequenceClassification

    model = DistilBertForSequenceClassification.from_pretrained(job["folder"], dtype=getattr(torch, dtype)).eval()
    call = torch.compile(model) if compiled else model

    def prepare(arrays: Arrays) -> Repetition:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

        @torch.inference_mode()
        def run() -> np.ndarray:
            return call(**tensors).logits.float().numpy()

        return run

    return prepare


def onnx_file(job: dict[str, Any]) -> str:
    """Return the path of Transformers' model as ONNX, exported by PyTorch."""
    path = Path(job["folder"], "model.onnx")
    if not path.exists():
        import torch
        from transformers import DistilBertForSequenceClassification

        # The runtimes fuse attention only if it is exported as basic operations; sdpa was half as fast.
        model = DistilBertForSequenceClassification.from_pretrained(job["folder"], attn_implementation="eager").eval()
        model.config.return_dict = False
        axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        example = {name: torch.from_numpy(array)[:, :16].repeat(2, 1) for name, array in inputs(job).items()}
        torch.onnx.export(
            model,
            kwargs=example,
            f=path,
            input_names=list(example),
            output_names=["logits"],
            dynamic_shapes=dict.fromkeys(example, axes),
            external_data=False,
            dynamo=True,
        )
    return str(path)


def onnxruntime(job: dict[str, Any], int8: bool = False) -> Prepare:
    """ONNX Runtime; int8 with its own dynamic quantisation."""
    import onnxruntime as ort

    file = onnx_file(job)
    if int8:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        model = onnx.load(file)
        del model.graph.value_info[:]  # these shapes are wrong after the quantiser has transposed kernels
        file = f"{file}.int8"
        quantize_dynamic(model, file, weight_type=QuantType.QInt8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda arrays: lambda: session.run(["logits"], arrays)[0]


def openvino(job: dict[str, Any], precision: str = "f32", int8: bool = False) -> Prepare:
    """OpenVINO, from the same ONNX file; int8 with NNCF's static quantisation of it."""
    import openvino as ov

    options = {
        "INFERENCE_NUM_THREADS": job["threads"],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    graph: Any = onnx_file(job)
    if int8:
        import nncf

        texts = [np.array([ids]) for ids in calibration_texts(job)]
        data = nncf.Dataset([{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in texts])
        graph = nncf.quantize(ov.Core().read_model(graph), data, model_type=nncf.ModelType.TRANSFORMER)
    model = ov.Core().compile_model(graph, "CPU", options)
    taken = model.get_property("INFERENCE_PRECISION_HINT").to_string()
    if taken != precision:
        raise SystemExit(f"OpenVINO does not support {precision} on this CPU; it uses {taken}")
    return lambda arrays: lambda: np.array(model(arrays)["logits"])  # a copy: the next call writes into the same array


def ctranslate2(job: dict[str, Any], kind: str = "float32") -> Prepare:
    """CTranslate2, without padding. It runs the base model only; the head is two small products in NumPy."""
    import ctranslate2 as ct2
    from safetensors.numpy import load_file

    folder = Path(job["folder"], f"ctranslate2-{kind}")
    if not folder.exists():
        ct2.converters.TransformersConverter(job["folder"]).convert(str(folder), quantization=kind)
    encoder = ct2.Encoder(str(folder), compute_type=kind, intra_threads=job["threads"], inter_threads=1)
    head = load_file(Path(job["folder"], "model.safetensors"))

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ head[f"{name}.weight"].T + head[f"{name}.bias"]

    def prepare(arrays: Arrays) -> Repetition:
        ids, mask = arrays.values()
        rows = [row[real == 1].tolist() for row, real in zip(ids, mask, strict=True)]

        def run() -> np.ndarray:
            first = np.array(encoder.forward_batch(rows).last_hidden_state)[:, 0]  # [B, D]
            return dense(np.maximum(dense(first, "pre_classifier"), 0), "classifier")

        return run

    return prepare


def transformers_tf(job: dict[str, Any], xla: bool) -> Prepare:
    """Transformers 4.53 in TensorFlow, as a graph."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    from transformers import TFDistilBertForSequenceClassification

    model = TFDistilBertForSequenceClassification.from_pretrained(job["folder"])
    call = tf.function(lambda tensors: model(tensors, training=False).logits, jit_compile=xla)

    def prepare(arrays: Arrays) -> Repetition:
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        return lambda: call(tensors).numpy()

    return prepare


def transformers_flax(job: dict[str, Any]) -> Prepare:
    """Transformers 4.53 in Flax, compiled."""
    import jax
    from transformers import FlaxDistilBertForSequenceClassification

    model = FlaxDistilBertForSequenceClassification.from_pretrained(job["folder"], from_pt=True)
    call = jax.jit(lambda params, arrays: model(**arrays, params=params, train=False).logits)
    return lambda arrays: lambda: np.asarray(call(model.params, arrays))


def kerashub(job: dict[str, Any], backend: str) -> Prepare:
    """KerasHub, from a preset that our conversion wrote."""
    os.environ["KERAS_BACKEND"] = backend
    import keras_hub

    preset = str(Path(job["folder"], "kerashub"))
    model = keras_hub.models.DistilBertTextClassifier.from_preset(preset, preprocessor=None)

    def prepare(arrays: Arrays) -> Repetition:
        features = {"token_ids": arrays["input_ids"], "padding_mask": arrays["attention_mask"]}
        return lambda: model.predict_on_batch(features)

    return prepare


ENVIRONMENTS = ("ours", "peers", "transformers4")
OURS = {  # backend -> its needs
    "pt": ("distilbert_pt", "torch"),
    "tf": ("distilbert_tf", "tensorflow", "keras"),
    "flax": ("distilbert_flax", "jax", "flax"),
}
TRUTH = "ours pt float64"


def _peer(load: Callable[..., Prepare], needs: str, environment: str = "peers", **options: Any) -> Contestant:
    return Contestant(partial(peer, load=load, **options), tuple(needs.split(", ")), environment)


EXPORT = ("torch", "onnx", "onnxscript")
EXPORTED = f"transformers 5, {', '.join(EXPORT)}"
CONTESTANTS = {
    TRUTH: Contestant(partial(ours, backend="pt", dtype="float64"), OURS["pt"]),
    **{f"ours {backend}": Contestant(partial(ours, backend=backend), needs) for backend, needs in OURS.items()},
    **{
        f"ours {backend} bfloat16": Contestant(partial(ours, backend=backend, dtype="bfloat16"), needs)
        for backend, needs in OURS.items()
    },
    "ours onnx": Contestant(partial(ours_exported, engine="onnx"), ("onnxruntime", *EXPORT)),
    "ours onnx int8": Contestant(partial(ours_exported, engine="onnx", format="onnx-int8"), ("onnxruntime", *EXPORT)),
    "ours onnx int8 static": Contestant(
        partial(ours_exported, engine="onnx", format="onnx-int8-static"), ("onnxruntime", *EXPORT)
    ),
    "ours openvino int8": Contestant(
        partial(ours_exported, engine="openvino", format="openvino-int8"), ("openvino", "nncf", *EXPORT)
    ),
    "ours openvino": Contestant(partial(ours_exported, engine="openvino"), ("openvino", *EXPORT)),
    "ours openvino bfloat16": Contestant(
        partial(ours_exported, engine="openvino", dtype="bfloat16"), ("openvino", *EXPORT)
    ),
    "Transformers 5": _peer(transformers_torch, "torch, transformers 5"),
    "Transformers 5 compiled": _peer(transformers_torch, "torch, transformers 5", compiled=True),
    "Transformers 5 bfloat16": _peer(transformers_torch, "torch, transformers 5", dtype="bfloat16"),
    "Transformers 5 bfloat16 compiled": _peer(
        transformers_torch, "torch, transformers 5", dtype="bfloat16", compiled=True
    ),
    "ONNX Runtime": _peer(onnxruntime, f"onnxruntime, {EXPORTED}"),
    "ONNX Runtime int8": _peer(onnxruntime, f"onnxruntime, {EXPORTED}", int8=True),
    "OpenVINO": _peer(openvino, f"openvino, {EXPORTED}"),
    "OpenVINO int8 static": _peer(openvino, f"openvino, nncf, {EXPORTED}", int8=True),
    "OpenVINO bfloat16": _peer(openvino, f"openvino, {EXPORTED}", precision="bf16"),
    "CTranslate2": _peer(ctranslate2, "ctranslate2, transformers 5, torch"),
    "CTranslate2 int8": _peer(ctranslate2, "ctranslate2, transformers 5, torch", kind="int8"),
    "Transformers 4 TF": _peer(transformers_tf, "transformers 4, tensorflow, tf_keras", "transformers4", xla=False),
    "Transformers 4 TF XLA": _peer(transformers_tf, "transformers 4, tensorflow, tf_keras", "transformers4", xla=True),
    "Transformers 4 Flax": _peer(transformers_flax, "transformers 4, jax, flax", "transformers4"),
    "KerasHub TF": _peer(kerashub, "keras_hub, tensorflow", backend="tensorflow"),
    "KerasHub JAX": _peer(kerashub, "keras_hub, jax", backend="jax"),
}
# No other library runs TensorFlow or JAX in bfloat16 here, so that group has the float32 contestants.
IN_TENSORFLOW_AND_JAX = [
    "Transformers 4 TF",
    "Transformers 4 TF XLA",
    "Transformers 4 Flax",
    "KerasHub TF",
    "KerasHub JAX",
]
GROUPS = {
    "float32": [
        *(f"ours {backend}" for backend in OURS),
        *("Transformers 5", "Transformers 5 compiled", "ONNX Runtime", "OpenVINO", "CTranslate2"),
        *IN_TENSORFLOW_AND_JAX,
    ],
    "bfloat16": [
        *(f"ours {backend} bfloat16" for backend in OURS),
        *("Transformers 5 bfloat16", "Transformers 5 bfloat16 compiled", "OpenVINO bfloat16"),
        *IN_TENSORFLOW_AND_JAX,
    ],
    "exported": ["ours onnx", "ours openvino", "ONNX Runtime", "OpenVINO"],
    "exported-bfloat16": ["ours openvino bfloat16", "OpenVINO bfloat16"],
    "int8": [
        *("ours onnx int8", "ours onnx int8 static", "ours openvino int8", "ours pt"),
        *("ONNX Runtime int8", "OpenVINO int8 static", "CTranslate2 int8", "Transformers 5"),
    ],
}
# The others compile a program for each shape, which takes longer than the batches by length of a user save.
COMPILED_FOR_SHAPES = {"Transformers 5 compiled", "Transformers 5 bfloat16 compiled", *IN_TENSORFLOW_AND_JAX}


# -- the contest --------------------------------------------------------------------------------------------------


def check(measured: Sequence[Measured], expected: Any) -> dict[str, float]:
    """Return the largest error of each contestant's logits; exit if a float32 contestant runs another model."""
    errors = {
        one.name: max(float(np.abs(np.subtract(value, expected)).max()) for value in one.values)
        for one in measured
        if one.problem is None
    }
    in_float32 = {name: error for name, error in errors.items() if not re.search("bfloat16|int8", name)}
    wrong = [f"{name} by {error:.1e}" for name, error in in_float32.items() if not error <= TOLERANCE]
    if wrong:
        raise SystemExit(f"not the same model: logits differ from float64: {', '.join(wrong)}")
    if in_float32:
        print(f"\nAll float32 logits agree with float64 to {max(in_float32.values()):.1e}.")
    return errors


def prepare(folder: Path, size: str, names: Collection[str]) -> None:
    """Write the model, a KerasHub preset of it if needed, and the arrays of all rows."""
    from weight_conversion import convert

    write_model(folder, size)
    if any(name.startswith("KerasHub") for name in names):
        convert(folder, folder / "kerashub", "kerashub")
    for name, row in ROWS.items():
        np.savez(folder / f"{name}.npz", **arrays_of(row))


def main(words: Sequence[str] | None = None) -> None:
    """Run the selected rows and groups."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, ENVIRONMENTS, rounds=7)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, metavar="NAME", help="only these contestants")
    arguments = parser.parse_args(words)
    contest = contest_of(arguments, __file__, CONTESTANTS, ENVIRONMENTS)
    results: list[dict[str, Any]] = []
    panels: dict[str, dict[str, Spread]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = {name for group in arguments.groups for name in GROUPS[group]} & set(arguments.only or CONTESTANTS)
        prepare(folder, arguments.size, wanted)
        for row_name in arguments.rows:
            row = ROWS[row_name]
            job = {"folder": name, "inputs": str(folder / f"{row_name}.npz"), "threads": arguments.threads}
            job["by_length"] = row.by_length
            (truth,) = contest.once([TRUTH], job)
            if truth.problem is not None:
                raise SystemExit(f"{TRUTH}: {truth.problem}")
            for group in arguments.groups:
                left_out = COMPILED_FOR_SHAPES if row.by_length else set()
                names = [name for name in GROUPS[group] if name in wanted - left_out]
                measured = contest.run(names, job)
                errors = check(measured, truth.values[0])
                title = f"({row_name}) {row.title}; {group}"
                report(title, UNIT, row.batch, measured, {"logits off by": {k: f"{e:.1e}" for k, e in errors.items()}})
                results += [
                    {"row": row_name, "group": group, **as_result(one, measured, row.batch)}
                    | ({"logits_off_by": errors[one.name]} if one.name in errors else {})
                    for one in measured
                ]
                panels[title] = bars_of(measured, row.batch)
                write(arguments, results)  # after each group, so that an interrupted run keeps its measurements
                draw(arguments.png, panels, UNIT)


if __name__ == "__main__":
    main()
