"""The command `tokenize`."""

from __future__ import annotations

from typing import Any

import click

from distilbert_cli.options import EMBEDDED, REVISION, TEXTS, checkpoint_option, command, output_options
from distilbert_cli.readers import command_texts
from distilbert_cli.writers import TABLE_FILES, Columns, write


@command("tokenize", 'distilbert tokenize "Unbelievably good!"')
@TEXTS
@click.option("--slow", is_flag=True, help="Use the tokenizer written in Python.")
@checkpoint_option(help="Checkpoint whose tokenizer to use.", **EMBEDDED)
@REVISION
@output_options(*TABLE_FILES)
def tokenize(texts, file, column, slow, model, revision, as_json, output):
    """Split texts into tokens.

    Each token is shown with its id, and with the characters of the text that it covers.
    """
    from distilbert_core import tokenization

    tokenizer_class = tokenization.DistilBertTokenizer if slow else tokenization.DistilBertTokenizerFast
    inputs = command_texts(texts, file, column)
    tokenizer = tokenizer_class.from_pretrained(model, revision=revision)
    records = ({"text": text, "tokens": _tokens(tokenizer, text)} for text in inputs)
    write(records, Columns(("number", "token", "id", "start", "end"), "tokens"), output, as_json)


def _tokens(tokenizer: Any, text: str) -> list[dict[str, Any]]:
    encoding = tokenizer(text, return_offsets_mapping=True, verbose=False)
    tokens = tokenizer.convert_ids_to_tokens(encoding["input_ids"])
    return [
        {"token": token, "id": index, "start": start, "end": end}
        for token, index, (start, end) in zip(tokens, encoding["input_ids"], encoding["offset_mapping"], strict=True)
    ]
