"""Write the checkpoints of KerasHub: presets of the DistilBERT backbone, of its text classifier and its masked LM.

    python tests/oracle/kerashub_cases.py [--out folder]

Needs keras-hub 0.32.0, keras 3.15.0, tensorflow-cpu 2.21.0 and safetensors, in an environment of their own.

KerasHub reads the weights from `pt_sequence_classification` and `pt_masked_lm` among the same fixtures, so that its
presets hold the same models, and is called with the inputs stored there.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import keras_hub
import numpy as np
from safetensors.numpy import load_file, save_file

FIXTURES = Path(__file__).parents[1] / "fixtures" / "checkpoints"
SOURCE, MASKED_LM = FIXTURES / "pt_sequence_classification", FIXTURES / "pt_masked_lm"
OUTPUTS = "outputs.safetensors"
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_preset(model: Any, inputs: dict[str, np.ndarray], output: str, folder: Path) -> None:
    """Save a model as a preset, with `inputs` and what it gives for them, under the name `output`."""
    model.save_to_preset(folder)
    save_file(inputs | {output: call(model, inputs)}, folder / OUTPUTS)


def call(model: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """What a model gives; a masked LM at every position."""
    ids = inputs["input_ids"]
    features = {"token_ids": ids, "padding_mask": inputs["attention_mask"]}
    if isinstance(model, keras_hub.models.MaskedLM):
        features["mask_positions"] = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)
    return np.asarray(model(features))


def make_tokenizer(vocabulary_size: int) -> Any:
    """An uncased tokenizer of invented words."""
    words = [f"word{index}" for index in range(vocabulary_size - len(SPECIAL_TOKENS))]
    return keras_hub.models.DistilBertTokenizer(vocabulary=SPECIAL_TOKENS + words, lowercase=True)


def write_all(root: Path) -> None:
    """Write the presets below `root`, the backbone with a tokenizer and the others with their preprocessors."""
    weights, expected = load_file(SOURCE / "model.safetensors"), load_file(SOURCE / OUTPUTS)
    inputs = {name: expected[name] for name in ("input_ids", "attention_mask")}

    backbone = keras_hub.models.DistilBertBackbone.from_preset(str(SOURCE))
    tokenizer = make_tokenizer(backbone.vocabulary_size)
    write_preset(backbone, inputs, "last_hidden_state", root / "kerashub_backbone")
    tokenizer.save_to_preset(root / "kerashub_backbone")

    classifier = keras_hub.models.DistilBertTextClassifier(
        backbone=backbone,
        num_classes=len(weights["classifier.bias"]),
        preprocessor=keras_hub.models.DistilBertTextClassifierPreprocessor(tokenizer, sequence_length=16),
    )
    # from_preset reads the weights of the backbone alone.
    for layer, name in ((classifier.pooled_dense, "pre_classifier"), (classifier.output_dense, "classifier")):
        layer.set_weights([weights[f"{name}.weight"].T, weights[f"{name}.bias"]])
    write_preset(classifier, inputs, "logits", root / "kerashub_text_classifier")

    keras.backend.clear_session()  # else its layers are numbered after those above
    weights, expected = load_file(MASKED_LM / "model.safetensors"), load_file(MASKED_LM / OUTPUTS)
    masked_lm = keras_hub.models.DistilBertMaskedLM(
        backbone=keras_hub.models.DistilBertBackbone.from_preset(str(MASKED_LM)),
        preprocessor=keras_hub.models.DistilBertMaskedLMPreprocessor(tokenizer, sequence_length=16),
    )
    head = masked_lm.masked_lm_head
    head._intermediate_dense.set_weights([weights["vocab_transform.weight"].T, weights["vocab_transform.bias"]])
    head._intermediate_layer_norm.set_weights([weights[f"vocab_layer_norm.{leaf}"] for leaf in ("weight", "bias")])
    head._bias.assign(weights["vocab_projector.bias"])
    inputs = {name: expected[name] for name in ("input_ids", "attention_mask")}
    write_preset(masked_lm, inputs, "logits", root / "kerashub_masked_lm")


def main() -> None:
    """Read the command line and write the presets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FIXTURES, help="where to write (default: %(default)s)")
    write_all(parser.parse_args().out)


if __name__ == "__main__":
    main()
