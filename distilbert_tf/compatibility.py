"""Members of Keras models that scripts for Transformers and Keras 2 use.

`TransformersMembers` is a base of all models. The table `REFUSED` has the members without a meaning here: calling one
is an error that says what to do instead. `KERAS_2` has the arguments of Keras' methods that Keras 3 dropped.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import keras
import tensorflow as tf

from distilbert_core.compatibility import Accepted, refuse_methods
from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.outputs import ModelOutput
from distilbert_tf.datasets import batched

# Methods of Transformers 4.53's Keras models that are missing here, and what to do instead.
REFUSED: dict[str, str] = {
    "register_for_auto_class": "TFAutoModel of Transformers loads what save_pretrained writes with its own classes.",
    "create_model_card": "`push_to_hub` makes a model card; give your own as card, a file or a text.",
    "set_output_embeddings": "Assign to the variables of model.vocab_projector, or resize_token_embeddings.",
    "eager_serving": "Call the model, or serving.",
}

_WORKERS = "Keras 3 reads data by workers in a keras.utils.PyDataset(workers=...)."

# Arguments of `fit`, `evaluate`, `predict`, and of methods for a batch.
KERAS_2: dict[str, Accepted] = {
    "max_queue_size": Accepted((None, 10), _WORKERS),
    "workers": Accepted((None, 0, 1), _WORKERS),
    "use_multiprocessing": Accepted((None, False), _WORKERS),
    "reset_metrics": Accepted((False,), "Keras 3 adds up until model.reset_metrics() is called."),
}

# Other names of classes in Transformers.
ALIASES: dict[str, type] = {f"TF{output.__name__}": output for output in {head.output_type for head in Head}}


def warn_of_keras_2() -> None:
    """Warn if TF_USE_LEGACY_KERAS, which Transformers 4 required, makes `tf.keras` another Keras."""
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        warnings.warn(
            "TF_USE_LEGACY_KERAS is set, so that tf.keras is Keras 2. These models are of Keras 3 and do not take its "
            "optimizers, losses and callbacks: use those of `import keras`, or unset TF_USE_LEGACY_KERAS.",
            stacklevel=3,
        )


class TransformersMembers:
    """Accessors that scripts for Transformers use."""

    config: DistilBertConfig
    head: ClassVar[Head | None]

    config_class = DistilBertConfig
    main_input_name = "input_ids"
    framework = "tf"
    generation_config = None

    @property
    def name_or_path(self) -> str:
        """The source of the model; '' for a new model."""
        return self.config.name_or_path

    @property
    def num_labels(self) -> int:
        """Number of labels of the configuration."""
        return self.config.num_labels

    @property
    def dummy_inputs(self) -> dict[str, tf.Tensor]:
        """Inputs that the model takes: ids [3, 5], or [3, 1, 5] for multiple choice."""
        ids = tf.constant([[7, 6, 0, 0, 1], [1, 2, 3, 0, 0], [0, 0, 0, 4, 5]])
        return {"input_ids": ids[:, None] if self.head is not None and self.head.has_choices else ids}

    @property
    def input_signature(self) -> dict[str, tf.TensorSpec]:
        """The inputs of any size, int32, as for `tf.function`."""
        return self._open_signature(tf.int32)  # type: ignore[attr-defined]

    def build_in_name_scope(self) -> None:
        """Do nothing: layers are built in the constructor."""

    @classmethod
    def can_generate(cls) -> bool:
        """Return False: an encoder does not generate."""
        return False

    @classmethod
    def _from_config(cls, config: DistilBertConfig, **kwargs: Any) -> Self:
        return cls(config, **kwargs)  # type: ignore[call-arg]

    def get_head_mask(self, head_mask: Any, num_hidden_layers: int) -> Any:
        """Return factors of heads, [N] or [L, N], as [L, 1, N, 1, 1]; L times None for None.

        Raises:
            InputError: `head_mask` does not have one or two axes.
        """
        if head_mask is None:
            return [None] * num_hidden_layers
        factors = tf.convert_to_tensor(head_mask)
        if factors.shape.rank not in (1, 2):
            raise InputError(f"head_mask must have shape [heads] or [layers, heads], got {tuple(factors.shape)}.")
        return tf.broadcast_to(factors, (num_hidden_layers, factors.shape[-1]))[:, None, :, None, None]

    def get_label_to_output_name_mapping(self) -> dict[str, str]:
        """Return the output of each label, if there are several."""
        names = getattr(self, "label_names", ()), getattr(self, "logit_names", ())
        return dict(zip(*names, strict=True)) if len(names[0]) > 1 else {}

    def set_input_embeddings(self, value: Any) -> None:
        """Replace the word embeddings by a table [V, D], an array or a layer; V becomes the size of the vocabulary.

        Raises:
            InputError: The table has another number of columns.
        """
        rows = keras.ops.convert_to_numpy(getattr(value, "embeddings", getattr(value, "weight", value)))
        if rows.ndim != 2 or rows.shape[1] != self.config.dim:
            raise InputError(f"value must have the shape [vocabulary, dim={self.config.dim}], got {rows.shape}.")
        if len(rows) != self.config.vocab_size:
            self.resize_token_embeddings(len(rows))  # type: ignore[attr-defined]
        self.get_input_embeddings().embeddings.assign(rows)  # type: ignore[attr-defined]

    def get_output_embeddings(self) -> keras.layers.Layer | None:
        """Return the projector to the vocabulary, or None."""
        return getattr(self, "vocab_projector", None)

    get_lm_head = get_output_layer_with_bias = get_output_embeddings

    def get_prefix_bias_name(self) -> str | None:
        """Return the path of the projector to the vocabulary, or None."""
        projector = self.get_output_embeddings()
        return None if projector is None else f"{self.name}/{projector.name}"  # type: ignore[attr-defined]

    def get_bias(self) -> dict[str, Any] | None:
        """Return {'bias': bias of the projector to the vocabulary}, or None."""
        projector = self.get_output_embeddings()
        return None if projector is None else {"bias": projector.bias}

    def set_bias(self, value: Mapping[str, Any]) -> None:
        """Set the bias that `get_bias` returns.

        Raises:
            InputError: The model has no bias, or `value` has other names.
        """
        projector = self.get_output_embeddings()
        if projector is None or set(value) != {"bias"}:
            there = "no bias to set" if projector is None else "'bias' to set"
            raise InputError(f"{type(self).__name__} has {there}, got {', '.join(value)}.")
        projector.bias.assign(value["bias"])

    def serving(self, inputs: Mapping[str, Any]) -> ModelOutput:
        """Return the output of a served model."""
        return self.serving_output(self(inputs, training=False))  # type: ignore[operator]

    def serving_output(self, output: ModelOutput) -> ModelOutput:
        """Return an output whose hidden states and attentions are one tensor each, [L + 1, ...] and [L, ...]."""
        stacked = {name: tf.stack(value) for name, value in output.items() if isinstance(value, tuple)}
        return type(output)({**output, **stacked})

    def prepare_tf_dataset(
        self,
        dataset: Any,
        batch_size: int = 8,
        shuffle: bool = True,
        tokenizer: Any = None,
        collate_fn: Callable[..., Mapping[str, Any]] | None = None,
        collate_fn_args: Mapping[str, Any] | None = None,
        drop_remainder: bool | None = None,
        prefetch: bool = True,
    ) -> tf.data.Dataset:
        """Return batches for `fit`: (inputs by name, labels), from the columns of rows that the model takes.

        Args:
            dataset: Rows of tokens: a `datasets.Dataset`, or a list of dicts. A column `label` is used as `labels`.
            batch_size: Rows in a batch.
            shuffle: Use another order in every epoch, seeded by `keras.utils.set_random_seed`.
            tokenizer: Pads the rows of a batch to one length. Without it, all rows must have one length.
            collate_fn: Makes a batch of rows, such as a collator of `distilbert_core.tokenization.collators`.
            collate_fn_args: Arguments of `collate_fn`.
            drop_remainder: Leave out the last batch if it is smaller. False if left out, also with `shuffle`.
            prefetch: Make batches ahead.

        Raises:
            InputError: There are no rows, or their columns have no input.

        Example:
            >>> from distilbert_tf import DistilBertConfig, TFDistilBertForSequenceClassification
            >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
            >>> model = TFDistilBertForSequenceClassification(config)
            >>> rows = [{"input_ids": [5, 6], "idx": 0, "label": 1}, {"input_ids": [7, 8], "idx": 1, "label": 0}]
            >>> for inputs, labels in model.prepare_tf_dataset(rows, shuffle=False):
            ...     print(inputs["input_ids"].numpy().tolist(), labels.numpy().tolist())
            [[5, 6], [7, 8]] [1, 0]
        """
        labels = getattr(self, "label_names", ())
        inputs = [name for name in self._call_arguments() if name not in labels]  # type: ignore[attr-defined]
        return batched(
            dataset,
            inputs,
            labels,
            batch_size,
            shuffle,
            tokenizer,
            collate_fn,
            collate_fn_args,
            drop_remainder,
            prefetch,
        )


refuse_methods(TransformersMembers, REFUSED)
