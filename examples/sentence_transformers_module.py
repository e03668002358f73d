"""A DistilBERT of this package as the first module of a SentenceTransformer.

    python examples/sentence_transformers_module.py --model FOLDER --out SENTENCE_MODEL

writes a model of sentence-transformers with mean pooling. To load it, this file must be importable, and external
modules must be allowed: `SentenceTransformer(SENTENCE_MODEL, trust_remote_code=True)`.

If you only need the weights, `SentenceTransformer(FOLDER)` reads the files of `save_pretrained`, and runs the model
with Transformers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Self

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import Tensor

from distilbert_core import DistilBertTokenizerFast
from distilbert_pt import DistilBertModel


class DistilBertModule(InputModule):
    """Computes token embeddings of texts.

    Args:
        model: Base model.
        tokenizer: Tokenizer of the model.
    """

    def __init__(self, model: DistilBertModel, tokenizer: DistilBertTokenizerFast):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.max_seq_length = model.config.max_position_embeddings

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **_: Any) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask` [B, T] of texts."""
        texts = [(prompt or "") + text for text in inputs]
        tokenize = self.tokenizer
        return dict(tokenize(texts, padding=True, truncation=True, max_length=self.max_seq_length, return_tensors="pt"))

    def forward(self, features: dict[str, Tensor], **_: Any) -> dict[str, Tensor]:
        """Add `token_embeddings` [B, T, D], the input of the pooling module."""
        output = self.model(features["input_ids"], features["attention_mask"])
        return {**features, "token_embeddings": output.last_hidden_state}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write a checkpoint and its tokenizer."""
        self.model.save_pretrained(output_path)
        self.tokenizer.save_pretrained(output_path)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **_: Any,
    ) -> Self:
        """Load a checkpoint and its tokenizer."""
        hub_options = {
            "subfolder": subfolder,
            "token": token,
            "cache_dir": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        model = DistilBertModel.from_pretrained(model_name_or_path, **hub_options)
        return cls(model, DistilBertTokenizerFast.from_pretrained(model_name_or_path, **hub_options))


def sentence_transformer(folder: str) -> SentenceTransformer:
    """Return a model of sentence-transformers with mean pooling and vectors of length 1."""
    first = DistilBertModule.load(folder)
    return SentenceTransformer(modules=[first, Pooling(first.model.config.dim, "mean"), Normalize()])


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder, embedded model or Hub id")
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args(arguments)
    # Creating a model card would look up the base model on the Hub.
    sentence_transformer(args.model).save(args.out, create_model_card=False)


if __name__ == "__main__":
    main()
