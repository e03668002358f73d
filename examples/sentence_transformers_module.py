"""A DistilBERT of this package as the first module of a SentenceTransformer.

    python examples/sentence_transformers_module.py --model FOLDER --out SENTENCE_MODEL

writes a model of sentence-transformers with mean pooling. Load it with this file importable, and with the consent that
any module of one's own needs: `SentenceTransformer(SENTENCE_MODEL, trust_remote_code=True)`.

The weights alone need none of this: `SentenceTransformer(FOLDER)` reads what `save_pretrained` wrote, and computes it
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
    """Texts to token embeddings.

    Args:
        model: The body.
        tokenizer: Its tokenizer.
    """

    def __init__(self, model: DistilBertModel, tokenizer: DistilBertTokenizerFast):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.max_seq_length = model.config.max_position_embeddings

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **_: Any) -> dict[str, Tensor]:
        """Turn texts into `input_ids` and `attention_mask` [B, T]."""
        texts = [(prompt or "") + text for text in inputs]
        tokenize = self.tokenizer
        return dict(tokenize(texts, padding=True, truncation=True, max_length=self.max_seq_length, return_tensors="pt"))

    def forward(self, features: dict[str, Tensor], **_: Any) -> dict[str, Tensor]:
        """Add `token_embeddings` [B, T, D], which pooling works on."""
        output = self.model(features["input_ids"], features["attention_mask"])
        return {**features, "token_embeddings": output.last_hidden_state}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write a checkpoint as the Hub has it."""
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
        """Read it back."""
        where = {
            "subfolder": subfolder,
            "token": token,
            "cache_dir": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        model = DistilBertModel.from_pretrained(model_name_or_path, **where)
        return cls(model, DistilBertTokenizerFast.from_pretrained(model_name_or_path, **where))


def sentence_transformer(folder: str) -> SentenceTransformer:
    """Return a model of sentence-transformers around a checkpoint: mean pooling, vectors of length 1."""
    first = DistilBertModule.load(folder)
    return SentenceTransformer(modules=[first, Pooling(first.model.config.dim, "mean"), Normalize()])


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder, embedded model or Hub id")
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args(arguments)
    # The model card that it would write looks on the Hub for the model that this one was made from.
    sentence_transformer(args.model).save(args.out, create_model_card=False)


if __name__ == "__main__":
    main()
