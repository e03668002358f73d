"""Write the checkpoints of KerasHub: presets of the DistilBERT backbone and of its text classifier.

    python tests/oracle/kerashub_cases.py [--out folder]

Needs keras-hub 0.32.0, keras 3.15.0, tensorflow-cpu 2.21.0 and safetensors, in an environment of their own.

KerasHub reads the weights from `pt_sequence_classification` among the same fixtures, so that its presets hold the same
model, and is called with the inputs stored there.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras_hub
import numpy as np
from safetensors.numpy import load_file, save_file

FIXTURES = Path(__file__).parents[1] / "fixtures" / "checkpoints"
SOURCE = FIXTURES / "pt_sequence_classification"
OUTPUTS = "outputs.safetensors"
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_preset(model: Any, inputs: dict[str, np.ndarray], output: str, folder: Path) -> None:
    """Save a model as a preset, with `inputs` and what it gives for them, under the name `output`."""
    model.save_to_preset(folder)
    features = {"token_ids": inputs["input_ids"], "padding_mask": inputs["attention_mask"]}
    save_file(inputs | {output: np.asarray(model(features))}, folder / OUTPUTS)


def make_tokenizer(vocabulary_size: int) -> Any:
    """An uncased tokenizer of invented words."""
    words = [f"word{index}" for index in range(vocabulary_size - len(SPECIAL_TOKENS))]
    return keras_hub.models.DistilBertTokenizer(vocabulary=SPECIAL_TOKENS + words, lowercase=True)


def write_all(root: Path) -> None:
    """Write both presets below `root`, the backbone with a tokenizer and the classifier with its preprocessor."""
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


def main() -> None:
    """Read the command line and write the presets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FIXTURES, help="where to write (default: %(default)s)")
    write_all(parser.parse_args().out)


if __name__ == "__main__":
    main()
