"""`save_pretrained` of the models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.compatibility import SAVING, SAVING_ORDER, accept, renames
from distilbert_core.errors import InputError, listed
from distilbert_core.files.checkpoint import save_checkpoint
from distilbert_core.files.conversion import load_conversion
from distilbert_core.files.hub import PUSHING, PushToHub
from distilbert_core.model.config import CONFIG_FILE
from distilbert_core.model.hooks import ModelHooks
from distilbert_core.model.model_cards import card_to_push


class CheckpointSaving(ModelHooks, PushToHub):
    """Models that are saved to checkpoints."""

    @renames(SAVING_ORDER, save_directory="folder", use_auth_token="token", save_config="is_main_process")
    def save_pretrained(
        self,
        folder: str | Path,
        *,
        max_shard_size: int | str = "5GB",
        variant: str | None = None,
        state_dict: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        is_main_process: bool = True,
        safe_serialization: bool | None = None,
        push_to_hub: bool = False,
        checksum: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write config.json and model.safetensors, as the Hub has them and every backend reads them.

        Parameters and other state that a user added are written too, under their paths of attributes. A class that
        makes them in its constructor reads them again. The files appear whole or not at all: if writing fails, the
        folder keeps its contents.

        Args:
            folder: Destination; made if it does not exist.
            max_shard_size: Split weights that are larger than this, in bytes or as a text ('5GB').
            variant: Write model.VARIANT.safetensors, such as model.fp16.safetensors, in place of model.safetensors.
            state_dict: Arrays by name to write in place of the model's: everything that a checkpoint holds.
            params: The same for Flax models, as a nested dict like `params`.
            is_main_process: False in all processes but one; then nothing is written.
            safe_serialization: False writes the format of Transformers 4 for this framework (pytorch_model.bin,
                tf_model.h5, flax_model.msgpack) in place of model.safetensors.
            push_to_hub: Also upload the files, by the method `push_to_hub`. The repository is `repo_id`, or has the
                name of the folder.
            checksum: List the SHA-256 of the files in checksums.sha256, which `sha256sum -c` reads, and
                `from_pretrained` with `verify`.
            **kwargs: Arguments of `push_to_hub`. Other arguments of Transformers are in
                `distilbert_core.compatibility.SAVING`.

        Raises:
            ConfigError: The configuration holds a function, which cannot be written.
            InputError: A layer was replaced or wrapped, so that the class could not load the files; or `state_dict` or
                `params` lack a parameter, or have one of another shape.
            OSError: The disk is full, or the folder may not be written to.
            TypeError: A keyword is unknown.
        """
        kwargs = accept(kwargs, SAVING)
        upload = {name: kwargs.pop(name) for name in PUSHING & kwargs.keys()}
        if kwargs:
            raise TypeError(f"Unknown keyword argument(s): {', '.join(sorted(kwargs))}.")
        if not is_main_process:
            return
        options: dict[str, Any] = {"max_shard_size": max_shard_size, "variant": variant, "checksum": checksum}
        options["safe_serialization"] = safe_serialization
        if params is not None:
            if not hasattr(self, "with_params"):
                raise TypeError("params is an argument of Flax models; give state_dict, arrays by name.")
            self.with_params(params).save_pretrained(folder, **options)
        else:
            self._save(folder, max_shard_size, variant, state_dict, safe_serialization is not False, checksum)
        if push_to_hub:
            upload = {"repo_id": Path(folder).expanduser().absolute().name, **upload}
            self.push_to_hub(**upload, **options, state_dict=state_dict, params=params)

    def _save(
        self,
        folder: str | Path,
        max_shard_size: int | str,
        variant: str | None,
        state_dict: Mapping[str, Any] | None,
        safe_serialization: bool,
        checksum: bool,
    ) -> None:
        if state_dict is not None:
            arrays = self._given_arrays(state_dict)
        else:
            arrays = {parameter.name: self._get_array(parameter) for parameter in self._stored_parameters()}
        dtype = next(iter(arrays.values())).dtype.name
        architecture = type(self).__name__ if self.head is None else self.head.architecture
        config = self.config.updated(architectures=[architecture], torch_dtype=dtype)
        if safe_serialization:
            files = {CONFIG_FILE: config.to_json_string().encode()}
            save_checkpoint(folder, arrays, files, max_shard_size, variant, checksum)
        elif self.head is None or self._is_derived():
            raise InputError("Layers of your own are written to model.safetensors only: leave out safe_serialization.")
        else:
            options = (max_shard_size, variant, checksum)
            load_conversion().save_native(folder, self._framework, config, self.head, arrays, *options)

    def _given_arrays(self, state_dict: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the arrays of a checkpoint that a caller gives, without those of tied parameters.

        Raises:
            InputError: A parameter is missing, or has another shape.
        """
        tied = {parameter.name for parameter in self.parameter_table if parameter.tied_to is not None}
        given = {name: value for name, value in state_dict.items() if name not in tied}
        shapes = {name: tuple(getattr(value, "shape", ())) for name, value in given.items()}
        wrong = [p.name for p in self.parameter_table if p.name not in tied and shapes.get(p.name) != p.shape]
        if wrong:
            raise InputError(f"state_dict lacks parameters, or has them in another shape: {listed(wrong)}.")
        return {name: self._as_array(value) for name, value in given.items()}

    def _model_card(self, card: str | Path | None, repo_id: str) -> str:
        """Return the README.md of an upload."""
        return card_to_push(card, repo_id, self.head, self.config)
