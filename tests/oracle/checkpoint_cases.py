"""Small checkpoints in every format that Transformers 4.53.3 writes, with the outputs of the model that wrote them.

Every checkpoint becomes a folder of `tests/fixtures/checkpoints` with the files of `save_pretrained` and
`outputs.safetensors`. Checkpoints of one model (the same class and configuration) hold the same weights, whatever
wrote them. The README beside them lists folders and names.

Shapes: B batch, C choices, T tokens.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import transformers
from model_cases import CLASS_PREFIX, PAD_ID, SIZES, Arrays, Case, call_pytorch, main_outputs, ragged_mask
from model_cases import save_checkpoint as save_source
from safetensors.numpy import save_file

BATCH, CHOICES = 3, 4
FIXTURES = Path(__file__).parents[1] / "fixtures" / "checkpoints"
OUTPUTS = "outputs.safetensors"


def named(*labels: str) -> dict[str, Any]:
    """The configuration fields of a classifier with these labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


# Of the size of the other fixtures, but with nothing to train on.
model = partial(Case, targets=lambda rng: {})

MODELS = {
    case.name: case
    for case in (
        model("base", "DistilBertModel"),
        model("masked_lm", "DistilBertForMaskedLM"),
        model(
            "sequence_classification",
            "DistilBertForSequenceClassification",
            config=named("terrible", "bad", "fair", "good", "excellent"),
        ),
        model("multiple_choice", "DistilBertForMultipleChoice"),
        model(
            "token_classification",
            "DistilBertForTokenClassification",
            config=named("O", "B-PER", "I-PER", "B-LOC", "I-LOC"),
        ),
        model("question_answering", "DistilBertForQuestionAnswering"),
        model("base_sinusoidal", "DistilBertModel", config={"sinusoidal_pos_embds": True}),
        model("masked_lm_untied", "DistilBertForMaskedLM", config={"tie_word_embeddings": False}),
    )
}
SIX = ("base", "masked_lm", "sequence_classification", "multiple_choice", "token_classification", "question_answering")


def write_pytorch(case: Case, source: Path, folder: Path, dtype: str = "float32", **save: Any) -> Any:
    """Write with the PyTorch class; the outputs are those of the written weights in float32."""
    written = getattr(transformers, case.architecture).from_pretrained(source, attn_implementation="eager")
    written.to(getattr(torch, dtype))
    written.save_pretrained(folder, **save)
    return written.float()


def write_2019(case: Case, source: Path, folder: Path) -> Any:
    """Write the names, configuration and pickle format of DilBERT, as it was called before its first release.

    In that `modeling_dilbert.py` of 2019, the body was `dilbert`; all names below it are today's. PyTorch had
    not yet its zip format.
    """
    written = getattr(transformers, case.architecture).from_pretrained(source, attn_implementation="eager")
    today = written.state_dict()
    state = OrderedDict((name.replace("distilbert", "dilbert", 1), tensor) for name, tensor in today.items())
    # PyTorch's own attribute of a state dict, pickled with it.
    state._metadata = {name.replace("distilbert", "dilbert", 1): value for name, value in today._metadata.items()}
    folder.mkdir(parents=True)
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    config = {
        **SIZES,
        "activation": "gelu",
        "attention_dropout": 0.1,
        "dropout": 0.1,
        "finetuning_task": None,
        "initializer_range": 0.02,
        "num_labels": 2,
        "output_attentions": False,
        "output_hidden_states": False,
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
        "torchscript": False,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return written


def load_tf(case: Case, source: Path, earlier: int = 0, name: str | None = None) -> Any:
    """The TF model of a case, made after `earlier` others: Keras counts them in the name that it gives by default."""
    import tf_keras

    tf_keras.backend.clear_session()
    tf_class = getattr(transformers, CLASS_PREFIX["tf"] + case.architecture)
    for _ in range(earlier):
        tf_class(transformers.DistilBertConfig(**case.settings))
    return tf_class.from_pretrained(source, from_pt=True, name=name)


def write_tf(case: Case, source: Path, folder: Path, earlier: int = 0, name: str | None = None, **save: Any) -> Any:
    """Write with the TF class."""
    written = load_tf(case, source, earlier, name)
    written.save_pretrained(folder, **save)
    return written


def write_tf_inside(case: Case, source: Path, folder: Path) -> Any:
    """Write a Keras functional model around the TF model, as scripts did that compile and fit one."""
    import tf_keras

    written = load_tf(case, source)
    inputs = {name: tf_keras.Input((None,), dtype="int32", name=name) for name in ("input_ids", "attention_mask")}
    written.config.save_pretrained(folder)
    tf_keras.Model(inputs, written(inputs).logits).save_weights(folder / "tf_model.h5")
    return written


def write_flax(case: Case, source: Path, folder: Path, dtype: str = "float32", **save: Any) -> Any:
    """Write with the Flax class; the outputs are those of the written parameters in float32."""
    written = getattr(transformers, CLASS_PREFIX["flax"] + case.architecture).from_pretrained(source, from_pt=True)
    if dtype == "bfloat16":
        written.params = written.to_bf16(written.params)
    written.save_pretrained(folder, **save)
    written.params = written.to_fp32(written.params)
    return written


@dataclass(frozen=True)
class Checkpoint:
    """One folder.

    Args:
        name: Folder of the fixture.
        model: Name in `MODELS`.
        write: Writes the folder from that of the PyTorch model and returns the model that wrote it.
        options: Keyword arguments of `write`.
    """

    name: str
    model: str
    write: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)


BIN = {"safe_serialization": False}
SAFETENSORS = {"safe_serialization": True}
SHARDS = {"max_shard_size": "5KB"}

CHECKPOINTS = (
    *(Checkpoint(f"pt_{name}", name, write_pytorch) for name in SIX),
    *(Checkpoint(f"pt_bin_{name}", name, write_pytorch, BIN) for name in SIX),
    Checkpoint("pt_sharded_masked_lm", "masked_lm", write_pytorch, SHARDS),
    Checkpoint("pt_sharded_question_answering", "question_answering", write_pytorch, SHARDS),
    Checkpoint("pt_bin_sharded_masked_lm", "masked_lm", write_pytorch, SHARDS | BIN),
    Checkpoint("pt_bin_sharded_question_answering", "question_answering", write_pytorch, SHARDS | BIN),
    Checkpoint("pt_float16", "masked_lm", write_pytorch, {"dtype": "float16"}),
    Checkpoint("pt_bfloat16", "sequence_classification", write_pytorch, {"dtype": "bfloat16"}),
    Checkpoint("pt_masked_lm_untied", "masked_lm_untied", write_pytorch),
    Checkpoint("pt_bin_2019", "masked_lm", write_2019),
    *(Checkpoint(f"tf_{name}", name, write_tf) for name in SIX),
    Checkpoint("tf_sharded_masked_lm", "masked_lm", write_tf, SHARDS),
    Checkpoint("tf_sharded_question_answering", "question_answering", write_tf, SHARDS),
    Checkpoint("tf_safetensors_masked_lm", "masked_lm", write_tf, SAFETENSORS),
    Checkpoint("tf_safetensors_sequence_classification", "sequence_classification", write_tf, SAFETENSORS),
    Checkpoint("tf_numbered", "base", write_tf, {"earlier": 3}),
    Checkpoint("tf_renamed", "sequence_classification", write_tf, {"name": "my_model"}),
    Checkpoint("tf_inside_another", "sequence_classification", write_tf_inside),
    Checkpoint("tf_base_sinusoidal", "base_sinusoidal", write_tf),
    *(Checkpoint(f"flax_{name}", name, write_flax) for name in SIX),
    Checkpoint("flax_sharded_masked_lm", "masked_lm", write_flax, SHARDS),
    Checkpoint("flax_sharded_question_answering", "question_answering", write_flax, SHARDS),
    Checkpoint("flax_safetensors_masked_lm", "masked_lm", write_flax, SAFETENSORS),
    Checkpoint("flax_bfloat16", "masked_lm", write_flax, {"dtype": "bfloat16"}),
    Checkpoint("flax_base_sinusoidal", "base_sinusoidal", write_flax),
    Checkpoint("flax_masked_lm_untied", "masked_lm_untied", write_flax),
)


def make_inputs(architecture: str) -> Arrays:
    """Token ids and mask [B, T], or [B, C, T] for multiple choice: rows full, padded right and padded left."""
    lead = (BATCH, CHOICES) if architecture.endswith("MultipleChoice") else (BATCH,)
    mask = np.resize(ragged_mask(BATCH), (int(np.prod(lead)), ragged_mask(BATCH).shape[1]))
    ids = np.random.default_rng(0).integers(PAD_ID + 1, SIZES["vocab_size"], size=mask.shape)
    ids[mask == 0] = PAD_ID
    return {"input_ids": ids.reshape(*lead, -1), "attention_mask": mask.reshape(*lead, -1)}


def call(written: Any, inputs: Arrays) -> Arrays:
    """The outputs of a model of any framework."""
    if isinstance(written, torch.nn.Module):
        with torch.no_grad():
            return main_outputs(call_pytorch(written, inputs))
    return main_outputs(written(inputs["input_ids"], attention_mask=inputs["attention_mask"]))


def write_checkpoint(checkpoint: Checkpoint, root: Path) -> None:
    """Write one checkpoint, and what its writer computes, to its folder below `root`."""
    case, folder = MODELS[checkpoint.model], root / checkpoint.name
    with TemporaryDirectory() as source:
        save_source(case, Path(source))
        written = checkpoint.write(case, Path(source), folder, **checkpoint.options)
    inputs = make_inputs(case.architecture)
    save_file(inputs | call(written, inputs), folder / OUTPUTS)
