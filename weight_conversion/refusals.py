"""Files that cannot be read: the reason, and the remedy."""

from __future__ import annotations

from pathlib import Path

from distilbert_core.errors import CheckpointError

SAVE_AGAIN = "then model.save_pretrained(FOLDER) writes a folder that is read."

# Pattern of a file name -> kind of the file, and remedy. For a folder, the first pattern with a match is named.
REFUSED = {
    "*.index": (
        "a TensorFlow checkpoint, whose variables have no names of their own",
        f"Restore it in the program that builds the model: model.load_weights(PATH) in Transformers 4, or "
        f"tf.train.Checkpoint(model=model).restore(PATH); {SAVE_AGAIN}",
    ),
    "saved_model.pb": (
        "a SavedModel: a graph, whose variables have no names of their own",
        "Transformers 4 writes tf_model.h5 beside the folder saved_model: give the folder that has it. Otherwise load "
        "it in the framework that wrote it, and save the weights.",
    ),
    "*.gguf": (
        "a GGUF file, of quantized weights of another runtime",
        "Take the checkpoint that it was made from.",
    ),
    "*.tflite": ("a LiteRT graph", "Run it with backend='litert', or take the checkpoint that it was made from."),
    "*.onnx": ("an ONNX graph", "Run it with backend='onnx', or take the checkpoint that it was made from."),
    "*.pt2": ("a program of torch.export", "Take the checkpoint that it was made from."),
    "*.ot": ("a file of rust-bert", "Take the pytorch_model.bin or model.safetensors that it was made from."),
    "*.pkl": (
        "a pickle, which can run any code when it is read",
        "If you trust it, load it with the program that wrote it, and save the state dict: "
        "torch.save(model.state_dict(), 'pytorch_model.bin').",
    ),
}
REFUSED["*.data-00000-of-00001"] = REFUSED["*.index"]
REFUSED["*.pickle"] = REFUSED["*.joblib"] = REFUSED["*.pkl"]


def refuse(path: Path) -> None:
    """Raise CheckpointError if a file, or a file in a folder, has a known format that cannot be read."""
    if not path.is_dir():
        pattern = next((known for known in REFUSED if path.match(known)), None)
    else:
        pattern = next((known for known in REFUSED if next(path.glob(known), None)), None)
        path = path if pattern is None else next(path.glob(pattern))
    if pattern is not None:
        kind, remedy = REFUSED[pattern]
        raise CheckpointError(f"{path} is {kind}: it is not read. {remedy}")
