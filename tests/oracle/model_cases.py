"""The models of the oracle: tiny random DistilBERT checkpoints, and what Transformers computes with them.

Every case becomes a folder with `config.json` and `model.safetensors`, as `save_pretrained` of the PyTorch
model writes them, and `expected.npz` with inputs, outputs and gradients. The keys are listed in
`tests/fixtures/oracle/README.md`.

Shapes: B batch, C choices, T tokens, D model size, L layers, N heads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

# All sizes differ, so that a swapped axis cannot go unnoticed; the head size is 4.
SIZES = {
    "vocab_size": 47,
    "max_position_embeddings": 23,
    "n_layers": 2,
    "n_heads": 3,
    "dim": 12,
    "hidden_dim": 20,
}
BATCH, CHOICES, TOKENS, LABELS = 5, 6, 11, 7

IGNORED = -100
PAD_ID = 0

ENCODED = ("input_ids", "attention_mask")
EMBEDDED = ("inputs_embeds", "attention_mask")
TARGETS = ("labels", "start_positions", "end_positions")
MAIN_OUTPUTS = ("loss", "last_hidden_state", "logits", "start_logits", "end_logits")
CLASS_PREFIX = {"tf": "TF", "flax": "Flax"}

Arrays = dict[str, np.ndarray]


def token_labels(rng: np.random.Generator, classes: int) -> Arrays:
    """Labels [B, T]; about a third are ignored, and those at padding positions count as any other."""
    labels = rng.integers(classes, size=(BATCH, TOKENS))
    labels[rng.random(labels.shape) < 1 / 3] = IGNORED
    return {"labels": labels}


def row_labels(rng: np.random.Generator, classes: int) -> Arrays:
    """Labels [B], one of them ignored."""
    labels = rng.integers(classes, size=BATCH)
    labels[2] = IGNORED
    return {"labels": labels}


def row_values(rng: np.random.Generator, shape: tuple[int, ...]) -> Arrays:
    """Regression targets."""
    return {"labels": uniform(rng, shape)}


def row_flags(rng: np.random.Generator) -> Arrays:
    """Multi-label targets [B, labels], 0.0 or 1.0."""
    return {"labels": rng.integers(2, size=(BATCH, LABELS)).astype(np.float32)}


def answer_positions(rng: np.random.Generator) -> Arrays:
    """Start and end positions [B]: below 0, inside, at T - 1, at T and above T."""
    return {
        "start_positions": np.array([-2, 3, 0, TOKENS, TOKENS - 1]),
        "end_positions": np.array([4, 5, TOKENS + 3, 6, TOKENS - 1]),
    }


def cotangent(rng: np.random.Generator) -> Arrays:
    """Weights [B, T, D] of the scalar whose gradient stands in for a loss, which the bare model has not."""
    return {"cotangent": uniform(rng, (BATCH, TOKENS, SIZES["dim"]))}


@dataclass(frozen=True)
class Case:
    """One checkpoint and the inputs it is run on.

    Args:
        name: Folder of the fixture; it also seeds weights and inputs.
        architecture: PyTorch class of Transformers; the other frameworks' classes add a prefix.
        targets: Draws the labels, positions or cotangent.
        config: Configuration fields besides or instead of those in `SIZES`.
        pruned_heads: Heads to prune, by layer.
        frameworks: Other frameworks whose outputs are stored: those that can do the case.
    """

    name: str
    architecture: str
    targets: Callable[[np.random.Generator], Arrays]
    config: Mapping[str, Any] = field(default_factory=dict)
    pruned_heads: Mapping[int, list[int]] = field(default_factory=dict)
    frameworks: tuple[str, ...] = ("tf", "flax")

    @property
    def settings(self) -> dict[str, Any]:
        """All configuration fields that are not defaults."""
        return {**SIZES, **self.config}

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose, so that new inputs never change the weights."""
        return np.random.default_rng(list(f"{purpose} of {self.name}".encode()))


vocabulary_labels = partial(token_labels, classes=SIZES["vocab_size"])

CASES = (
    Case("model", "DistilBertModel", cotangent),
    Case("model_one_layer", "DistilBertModel", cotangent, {"n_layers": 1}),
    # Transformers has no head pruning in TF and Flax.
    Case("model_pruned", "DistilBertModel", cotangent, pruned_heads={0: [1], 1: [0, 2]}, frameworks=()),
    Case("masked_lm", "DistilBertForMaskedLM", vocabulary_labels),
    Case("masked_lm_gelu_new", "DistilBertForMaskedLM", vocabulary_labels, {"activation": "gelu_new"}),
    Case("masked_lm_relu", "DistilBertForMaskedLM", vocabulary_labels, {"activation": "relu"}),
    Case("masked_lm_silu", "DistilBertForMaskedLM", vocabulary_labels, {"activation": "silu"}),
    # TF ignores both flags below in silence: the table is a learned one for it, and the head always tied.
    Case(
        "masked_lm_sinusoidal",
        "DistilBertForMaskedLM",
        vocabulary_labels,
        {"sinusoidal_pos_embds": True},
        frameworks=("flax",),
    ),
    Case(
        "masked_lm_untied",
        "DistilBertForMaskedLM",
        vocabulary_labels,
        {"tie_word_embeddings": False},
        frameworks=("flax",),
    ),
    Case(
        "sequence_classification",
        "DistilBertForSequenceClassification",
        partial(row_labels, classes=LABELS),
        {"num_labels": LABELS},
    ),
    Case(
        "sequence_multi_label",
        "DistilBertForSequenceClassification",
        row_flags,
        {"num_labels": LABELS, "problem_type": "multi_label_classification"},
    ),
    # Without a problem type: one label alone means regression.
    Case(
        "sequence_regression_1",
        "DistilBertForSequenceClassification",
        partial(row_values, shape=(BATCH,)),
        {"num_labels": 1},
    ),
    Case(
        "sequence_regression_3",
        "DistilBertForSequenceClassification",
        partial(row_values, shape=(BATCH, 3)),
        {"num_labels": 3, "problem_type": "regression"},
    ),
    Case("multiple_choice", "DistilBertForMultipleChoice", partial(row_labels, classes=CHOICES)),
    Case(
        "token_classification",
        "DistilBertForTokenClassification",
        partial(token_labels, classes=LABELS),
        {"num_labels": LABELS},
    ),
    Case("question_answering", "DistilBertForQuestionAnswering", answer_positions),
)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], half_width: float = 1.0) -> np.ndarray:
    """float32 values in [-half_width, half_width].

    Uniform, because other distributions go through the C library and may differ in the last bit elsewhere.
    """
    return rng.uniform(-half_width, half_width, size=shape).astype(np.float32)


def ragged_mask(rows: int) -> np.ndarray:
    """Mask [rows, T], repeating: full, padded right, padded left, with a hole, first token only."""
    patterns = np.ones((5, TOKENS), dtype=np.int64)
    patterns[1, 7:] = 0
    patterns[2, :3] = 0
    patterns[3, 4:6] = 0
    patterns[4, 1:] = 0
    return np.resize(patterns, (rows, TOKENS))


def make_inputs(case: Case) -> Arrays:
    """Everything the models of a case are called with.

    The pad id stands at the padding of the rows padded right and once where it is attended to: the look-up
    gives its embedding no gradient from either. Masked positions of other rows hold ordinary tokens.
    """
    rng = case.rng("inputs")
    lead = (BATCH, CHOICES) if case.architecture.endswith("MultipleChoice") else (BATCH,)
    mask = ragged_mask(int(np.prod(lead)))
    ids = rng.integers(PAD_ID + 1, SIZES["vocab_size"], size=mask.shape)
    ids[1::5][mask[1::5] == 0] = PAD_ID
    ids[0, 2:4] = PAD_ID, SIZES["vocab_size"] - 1
    empty_row = mask.copy()
    empty_row[1] = 0
    inputs = {
        "input_ids": ids.reshape(*lead, TOKENS),
        "attention_mask": mask.reshape(*lead, TOKENS),
        "attention_mask_empty_row": empty_row.reshape(*lead, TOKENS),
        "inputs_embeds": uniform(rng, (*lead, TOKENS, SIZES["dim"])),
        **case.targets(rng),
    }
    if not case.pruned_heads:
        # Exact in every float type.
        eighths = rng.integers(9, size=(case.settings["n_layers"], SIZES["n_heads"]))
        inputs["head_mask"] = eighths.astype(np.float32) / 8
    return inputs


def save_checkpoint(case: Case, folder: Path) -> None:
    """Save a model whose every parameter is random: biases, norms and the pad row too.

    The values are of a size that makes attention uneven and uses the activation's curved part. A sinusoidal
    position table, the one frozen parameter of a new model, is left as it is.
    """
    config = transformers.DistilBertConfig(**case.settings)
    model = getattr(transformers, case.architecture)(config)
    rng = case.rng("weights")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_norm_scale = name.endswith("weight") and parameter.ndim == 1
            values = uniform(rng, tuple(parameter.shape), half_width=0.5) + np.float32(is_norm_scale)
            parameter.data.copy_(torch.from_numpy(values))
    if case.pruned_heads:
        model.prune_heads(case.pruned_heads)
    model.save_pretrained(folder)


def main_outputs(output: Mapping[str, Any]) -> Arrays:
    """The loss and the head's outputs as arrays, whatever the framework."""
    return {
        name: np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)
        for name, value in output.items()
        if name in MAIN_OUTPUTS
    }


def call_pytorch(model: torch.nn.Module, inputs: Arrays, **flags: bool) -> Mapping[str, Any]:
    """Call a PyTorch model with NumPy inputs, floats in the model's dtype."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    floats = {name: tensor.to(model.dtype) for name, tensor in tensors.items() if tensor.is_floating_point()}
    return model(**tensors | floats, **flags)


def select(inputs: Arrays, *names: str) -> Arrays:
    """The inputs of these names, and the labels or positions if there are any."""
    return {name: inputs[name] for name in (*names, *TARGETS) if name in inputs}


def run_pytorch(case: Case, folder: Path, inputs: Arrays) -> dict[str, Any]:
    """Outputs and gradients of the PyTorch model in float64, and in float32 with an empty mask row."""
    model = getattr(transformers, case.architecture).from_pretrained(folder, attn_implementation="eager")
    # In float32, because eager float64 attention gives NaN for a mask row of zeros.
    empty_row = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask_empty_row"]}
    with torch.no_grad():
        results = {"pt_empty_row": main_outputs(call_pytorch(model, empty_row))}

    model.double()
    output = call_pytorch(model, select(inputs, *ENCODED), output_hidden_states=True, output_attentions=True)
    if "cotangent" in inputs:
        objective = (output["last_hidden_state"] * torch.from_numpy(inputs["cotangent"])).sum()
    else:
        objective = output["loss"]
    objective.backward()
    results["pt"] = {
        **main_outputs(output),
        "hidden_states": [state.detach().numpy() for state in output["hidden_states"]],
        "attentions": [weights.detach().numpy() for weights in output["attentions"]],
        "grad": {name: parameter.grad.numpy() for name, parameter in model.named_parameters()},
    }

    with torch.no_grad():
        results["pt_inputs_embeds"] = main_outputs(call_pytorch(model, select(inputs, *EMBEDDED)))
        if "head_mask" in inputs:
            results["pt_head_mask"] = main_outputs(call_pytorch(model, select(inputs, *ENCODED, "head_mask")))
    return results


def run_other(framework: str, case: Case, folder: Path, inputs: Arrays) -> Arrays:
    """Main outputs of the TF or Flax model in float32, without labels, which Flax does not take."""
    model_class = getattr(transformers, CLASS_PREFIX[framework] + case.architecture)
    model = model_class.from_pretrained(folder, from_pt=True)
    return main_outputs(model(inputs["input_ids"], attention_mask=inputs["attention_mask"]))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Arrays:
    """Nested dicts and lists of arrays as one dict; keys and list indices are joined by '/'."""
    flat: Arrays = {}
    for key, value in tree.items():
        if isinstance(value, list):
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def write_case(case: Case, root: Path) -> None:
    """Write one case to its folder below `root`."""
    folder = root / case.name
    save_checkpoint(case, folder)
    inputs = make_inputs(case)
    results = run_pytorch(case, folder, inputs)
    for framework in case.frameworks:
        results[framework] = run_other(framework, case, folder, inputs)
    np.savez_compressed(folder / "expected.npz", **flatten({"inputs": inputs, **results}))
