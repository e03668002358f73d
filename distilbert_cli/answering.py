"""The commands in which a pipeline answers: `zero-shot`, `fill-mask`, `tag`, `answer`, `embed` and `choose`.

The options that choose a model arrive together, as the keywords `**model` of `distilbert_core.pipelines.pipeline`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from distilbert_cli.loading import answers
from distilbert_cli.options import (
    POSITIVE,
    TEXTS,
    WORDS,
    FilePath,
    command,
    file_option,
    model_options,
    output_options,
    refuse,
)
from distilbert_cli.readers import command_texts, read_records, read_whole
from distilbert_cli.writers import TABLE_FILES, Columns, write
from distilbert_core.errors import InputError
from distilbert_core.files.hub import DEFAULT_MODELS

# -- zero-shot --------------------------------------------------------------------------------------------------------


@command("zero-shot", 'distilbert zero-shot "The match was a draw." --labels "politics, sports" --model ./my-model')
@TEXTS
@click.option("--labels", required=True, metavar="LABEL,LABEL...", help="Labels to choose from.")
@click.option(
    "--template",
    default="This example is {}.",
    metavar="TEXT",
    help="Sentence that states a label; {} stands for the label.",
)
@click.option("--multi-label", is_flag=True, help="Score each label on its own, as several labels may be true.")
@model_options(show_default=DEFAULT_MODELS["zero-shot-classification"].name)
@output_options(*TABLE_FILES)
def zero_shot(texts, file, column, labels, template, multi_label, as_json, output, **model):
    """Classify texts by labels of your own.

    The checkpoint must be trained for natural language inference: for each label, the model predicts whether the text
    entails the sentence of --template.
    """
    inputs = command_texts(texts, file, column)
    options = {"labels": labels, "template": template, "multi_label": multi_label}
    records = answers("zero-shot", inputs, model, output, **options)
    write(records, Columns(("number", "label", "score", "text"), "predictions"), output, as_json)


# -- fill-mask --------------------------------------------------------------------------------------------------------


@command("fill-mask", 'distilbert fill-mask "The film was [MASK]." --model ./my-model --top-k 3')
@TEXTS
@click.option("--top-k", type=POSITIVE, default=5, metavar="N", help="Number of candidates for each mask.")
@click.option("--targets", type=WORDS, metavar="WORD,WORD...", help="Choose among these words only.")
@model_options(show_default=DEFAULT_MODELS["fill-mask"].name)
@output_options(*TABLE_FILES)
def fill_mask(texts, file, column, top_k, targets, as_json, output, **model):
    """Find the best tokens for each [MASK]."""
    inputs = command_texts(texts, file, column)
    records = answers("fill-mask", inputs, model, output, top_k=top_k, targets=targets)
    write(records, Columns(("number", "mask", "token_str", "score", "sequence"), "predictions"), output, as_json)


# -- tag --------------------------------------------------------------------------------------------------------------


@command("tag", 'distilbert tag "Ada Lovelace was born in London." --model ./my-model --aggregation simple')
@TEXTS
@click.option(
    "--aggregation",
    type=click.Choice(["none", "simple", "first", "average", "max"]),
    default="simple",
    help="How to group tokens into entities; none returns the label of every token.",
)
@click.option(
    "--stride",
    type=click.IntRange(min=0),
    metavar="N",
    help="Read a long text in windows that overlap by N tokens, instead of cutting it.",
)
@model_options(show_default=DEFAULT_MODELS["token-classification"].name)
@output_options(*TABLE_FILES)
def tag(texts, file, column, aggregation, stride, as_json, output, **model):
    """Find entities in texts, such as names."""
    inputs = command_texts(texts, file, column)
    records = answers("tag", inputs, model, output, aggregation=aggregation, stride=stride)
    label = "entity" if aggregation == "none" else "entity_group"
    write(records, Columns(("number", label, "score", "word", "start", "end"), "entities"), output, as_json)


# -- answer -----------------------------------------------------------------------------------------------------------


@command("answer", 'distilbert answer "Who wrote it?" --context "It was written by Ada Lovelace." --model ./my-model')
@click.argument("questions", nargs=-1, metavar="[QUESTION]...")
@click.option("--context", metavar="TEXT", help="Text that contains the answers.")
@click.option(
    "--context-file",
    type=FilePath(allow_dash=True, path_type=Path),
    metavar="FILE",
    help="File that contains the context; - reads standard input.",
)
@file_option("a .csv, .tsv, .jsonl or .parquet file with a column of questions and a column of contexts")
@click.option("--question-column", default="question", metavar="NAME", help="Column that holds the questions.")
@click.option("--context-column", default="context", metavar="NAME", help="Column that holds the contexts.")
@click.option("--top-k", type=POSITIVE, default=1, metavar="N", help="Number of answers to each question.")
@click.option("--impossible", is_flag=True, help="Allow the empty answer, for questions that the text does not answer.")
@click.option("--max-answer-len", type=POSITIVE, default=15, metavar="N", help="Maximum number of tokens in an answer.")
@model_options(show_default=DEFAULT_MODELS["question-answering"].name)
@output_options(*TABLE_FILES)
def answer(
    questions,
    context,
    context_file,
    file,
    question_column,
    context_column,
    top_k,
    impossible,
    max_answer_len,
    as_json,
    output,
    **model,
):
    """Answer questions from a text of any length."""
    if not questions:
        refuse("needs a QUESTION; a file has a column of contexts", "context", "context_file")
    else:
        refuse("needs --file", "question_column", "context_column")
        if (context is None) == (context_file is None):
            raise click.UsageError("Give either --context or --context-file.")
        context = read_whole(context_file) if context is None else context
    arguments = [(question, context) for question in questions]
    inputs = (
        {"question": question, "context": text}
        for question, text in read_records(arguments, file, [question_column, context_column])
    )
    options = {"top_k": top_k, "impossible": impossible, "max_answer_len": max_answer_len}
    records = answers("answer", inputs, model, output, **options)
    write(records, Columns(("number", "answer", "score", "start", "end", "question"), "answers"), output, as_json)


# -- embed ------------------------------------------------------------------------------------------------------------


@command("embed", 'distilbert embed "A lovely film." "A dull film." --model ./my-model --output vectors.npy')
@TEXTS
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls", "none"]),
    default="mean",
    help="Vector of a text: the mean over its tokens, or the vector of [CLS]; none returns one vector per token.",
)
@click.option("--no-normalize", is_flag=True, help="Do not scale the pooled vectors to length 1.")
@model_options(show_default=DEFAULT_MODELS["feature-extraction"].name)
@output_options(".npy", ".jsonl")
def embed(texts, file, column, pooling, no_normalize, as_json, output, **model):
    """Turn texts into vectors.

    A .npy file contains one array [texts, dim] in float32, or in float64 with --dtype float64.
    """
    if pooling == "none" and output and output.suffix == ".npy":
        raise click.UsageError("--pooling none returns a matrix of another height for each text; write a .jsonl file.")
    inputs = command_texts(texts, file, column)
    if pooling == "none":
        refuse("needs --pooling mean or cls", "no_normalize")
    records = answers("embed", inputs, model, output, pooling=pooling, normalize=not no_normalize)
    write(records, Columns(("text", "embedding")), output, as_json)


# -- choose -----------------------------------------------------------------------------------------------------------


@command("choose", 'distilbert choose "It was raining, so she took" "her umbrella." "a swim." --model ./my-model')
@click.argument("prompt", required=False)
@click.argument("endings", nargs=-1, metavar="[CHOICE]...")
@file_option("a .csv, .tsv, .jsonl or .parquet file with a column of prompts and columns of choices")
@click.option("--prompt-column", default="prompt", metavar="NAME", help="Column that holds the prompts.")
@click.option(
    "--choice-column",
    "choice_columns",
    multiple=True,
    metavar="NAME",
    help="Column that holds one choice; repeat the option for each choice. In a .jsonl file a column may hold a list.",
    default=["choices"],
)
@model_options()
@output_options(*TABLE_FILES)
def choose(prompt, endings, file, prompt_column, choice_columns, as_json, output, **model):
    """Choose the ending that fits a prompt best."""
    if prompt is not None:
        refuse("needs --file", "prompt_column", "choice_columns")
        if len(endings) < 2:
            raise click.UsageError("Give a prompt and at least two choices.")
    arguments = [] if prompt is None else [(prompt, *endings)]
    rows = read_records(arguments, file, [prompt_column, *choice_columns], lists=True)
    inputs = ({"prompt": text, "choices": _endings(text, cells)} for text, *cells in rows)
    records = answers("choose", inputs, model, output)
    write(records, Columns(("choice", "score", "text", "prompt")), output, as_json)


def _endings(prompt: str, cells: Iterable[Any]) -> list[Any]:
    """Return the choices in the cells of a row; a cell may hold one choice or a list of choices."""
    endings = [ending for cell in cells for ending in (cell if isinstance(cell, list) else [cell])]
    if len(endings) < 2:
        raise InputError(
            f"{reprlib.repr(prompt)} must have at least two choices, got {reprlib.repr(endings)}; give --choice-column "
            "for each."
        )
    return endings
