"""Resizing and pruning of the models: other sizes for the vocabulary, the positions and the attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from distilbert_core.errors import InputError, listed
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.hooks import ModelHooks
from distilbert_core.model.parameters import Parameter, sinusoidal_table


class Resizing(ModelHooks):
    """Models that can be resized and pruned."""

    def get_input_embeddings(self) -> Any:
        """Return the word embeddings, a layer of the framework."""
        return self.base_model.embeddings.word_embeddings

    def get_position_embeddings(self) -> Any:
        """Return the position embeddings, a layer of the framework."""
        return self.base_model.embeddings.position_embeddings

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = False,
    ) -> Any:
        """Change the size of the vocabulary, and return the word embeddings; the projector of a masked LM follows.

        Kept rows keep their values. New rows are drawn as at initialisation, new biases are zero. Make a new optimizer
        afterwards, because the parameters are new ones.

        Args:
            new_num_tokens: Size of the new vocabulary; the present one if left out.
            pad_to_multiple_of: Round the size up to a multiple of this.
            mean_resizing: Must be False; the default of Transformers, True, draws new rows around the mean of the old.

        Raises:
            ConfigError: The size is not a positive number, or cuts off the padding token.
            InputError: This is the base of a masked-LM model, whose projector must follow: resize that model; or
                `mean_resizing` is True.
        """
        if mean_resizing:
            raise InputError(
                f"mean_resizing must be False, got {mean_resizing!r}. New rows are drawn as at initialisation; write "
                "others into get_input_embeddings() afterwards."
            )
        if self._inside is Head.MASKED_LM:
            raise InputError(
                f"The base of a {self._inside.architecture} has a projector above it that must have the same "
                "vocabulary: call resize_token_embeddings of the masked-LM model."
            )
        size = self.config.vocab_size if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of is not None:
            size = -(-size // pad_to_multiple_of) * pad_to_multiple_of
        self._resize(vocab_size=size)
        return self.get_input_embeddings()

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Change the length of the position table; kept rows keep their values, a sinusoidal table is extended.

        Args:
            new_num_position_embeddings: Longest input afterwards, in tokens.

        Raises:
            ConfigError: The length is not a positive number.
        """
        self._resize(max_position_embeddings=new_num_position_embeddings)

    def _resize(self, **sizes: int) -> None:
        changes = {}
        for old, new in self._reshaped_parameters(self.config.updated(**sizes)):
            present = self._get_array(old)
            fresh = sinusoidal_table(*new.shape) if new.computed else self._fresh_array(new)
            kept = min(old.shape[0], new.shape[0])
            changes[new] = np.concatenate([present[:kept], fresh[kept:].astype(present.dtype)])
        self._replace_parameters(changes)
        self._change_config(**sizes)

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Remove attention heads permanently; the result equals a head_mask of zeros for them.

        The configuration lists the pruned heads, so that a saved model loads again. A head_mask still has one entry per
        original head.

        Args:
            heads_to_prune: {layer: [head, ...]}, in the numbering of the unpruned model; -1 is the last layer.

        Raises:
            ConfigError: A layer or a head does not exist, or a layer would be left without heads.
        """
        pruned = {layer: set(heads) for layer, heads in self.config.pruned_heads.items()}
        for layer, heads in heads_to_prune.items():
            pruned.setdefault(layer, set()).update(heads)
        new_config = self.config.updated(pruned_heads={layer: sorted(heads) for layer, heads in pruned.items()})
        changes = {}
        for old, new in self._reshaped_parameters(new_config):
            assert old.layer is not None
            kept, left = self.config.kept_heads(old.layer), new_config.kept_heads(old.layer)
            rows = _kept_rows(kept, left, self.config.head_size)
            changes[new] = self._get_array(old).take(rows, axis=old.axes.index("heads"))
        self._replace_parameters(changes)
        self._change_config(pruned_heads=new_config.pruned_heads)

    def _reshaped_parameters(self, config: DistilBertConfig) -> list[tuple[Parameter, Parameter]]:
        """Return the parameters whose shape another configuration changes, before and after the change.

        Raises:
            InputError: A layer that has one of them was replaced, wrapped or parametrized. The model is not changed.
        """
        pairs = zip(self.parameter_table, parameter_table(config, self.head), strict=True)
        reshaped = [(old, new) for old, new in pairs if old.shape != new.shape and new.tied_to is None]
        variables = self._variables()
        absent = [path for path, _ in (self._place(old) for old, _ in reshaped) if path not in variables]
        if absent:
            raise InputError(
                "A layer that was replaced, wrapped or parametrized cannot be resized or pruned: it does not have "
                f"{listed(absent)}. {self._adapter_advice}"
            )
        return reshaped

    def _change_config(self, **fields: Any) -> None:
        """Set fields of the configuration that this model and its base share."""
        if self.base_model is not self:
            self._adopt(self.base_model)  # the user may have put another base model there
        for name, value in fields.items():
            setattr(self.config, name, value)

    def _replace_parameters(self, changes: Mapping[Parameter, np.ndarray]) -> None:
        for parameter, array in changes.items():
            self._set_array(parameter, array)
        self.tie_weights()


def _kept_rows(old_heads: list[int], new_heads: list[int], head_size: int) -> np.ndarray:
    """Return the rows of a projection that belong to `new_heads`, if its rows are those of `old_heads`."""
    starts = np.array([old_heads.index(head) * head_size for head in new_heads])
    return (starts[:, None] + np.arange(head_size)).ravel()
