"""The commands: what each reads, which pipeline answers, and what it writes.

The options that commands share are in `options`; those that say which model runs arrive here together, as the keywords
`**model` of `distilbert_core.pipelines.pipeline`.
"""

from __future__ import annotations

import importlib
import reprlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from distilbert_cli.loading import answers, with_inputs
from distilbert_cli.options import (
    DEFAULT_TO_EMBEDDED,
    TEXTS,
    command,
    complete_model,
    file_option,
    model_options,
    output_options,
    refuse,
)
from distilbert_cli.readers import read_records, read_texts, read_whole
from distilbert_cli.writers import Layout, write
from distilbert_core.errors import InputError
from distilbert_core.files.hub import DEFAULT_MODEL, DEFAULT_MODELS
from distilbert_core.model.backends import RUNNABLE

TABLE_FILES = (".jsonl", ".csv")
POSITIVE = click.IntRange(min=1)


def _texts(texts: Sequence[str], file: Path | None, column: str) -> Iterator[str]:
    """Return the texts of a command with the options `TEXTS`."""
    if texts and not file:
        refuse("needs --file", "column")
    return read_texts(texts, file, column)


@command(
    "predict",
    'distilbert predict "A lovely film." "Two hours I will not get back."',
    'distilbert predict "I love it!" --backend all',
)
@TEXTS
@click.option("--pair-column", metavar="NAME", help="Column of the second text of each pair, for models of pairs.")
@click.option("--top-k", type=POSITIVE, metavar="N", help="Give the N best labels.")
@click.option("--all-scores", is_flag=True, help="Give all labels, the best first.")
@model_options((*RUNNABLE, "all"), **DEFAULT_TO_EMBEDDED)
@output_options(*TABLE_FILES)
def predict(texts, file, column, pair_column, top_k, all_scores, as_json, output, **model):
    """Classify texts.

    --backend all runs every backend that is installed, and compares their logits.
    """
    from distilbert_cli.predict import installed_backends, load_predictor, print_comparison, side_by_side

    if model["framework"] == "all":
        if top_k or all_scores or output or pair_column:
            raise click.UsageError("--backend all goes with none of --top-k, --all-scores, --pair-column, --output.")
        lines = _texts(texts, file, column)
        predictors = {name: load_predictor({**model, "framework": name}) for name in installed_backends()}
        return print_comparison(side_by_side(lines, predictors), as_json)
    if texts and not file:
        refuse("needs --file", "column", "pair_column")
    if all_scores:
        refuse("does not go with --all-scores", "top_k")
    columns = {"text": column} if pair_column is None else {"text": column, "text_pair": pair_column}
    rows = read_records([(text,) for text in texts], file, list(columns.values()))
    inputs = (dict(zip(columns, row, strict=True)) for row in rows)
    predictor = load_predictor(model, sys.maxsize if all_scores else top_k, output)
    records = ({**given, **prediction} for given, prediction in with_inputs(predictor, inputs))
    return write(records, Layout(("label", "score", *columns), "predictions"), output, as_json)


@command("fill-mask", 'distilbert fill-mask "The film was [MASK]." --model ./my-model --top-k 3')
@TEXTS
@click.option("--top-k", type=POSITIVE, default=5, metavar="N", help="How many candidates per mask.")
@click.option("--targets", metavar="WORD,WORD...", help="Choose among these words only.")
@model_options(show_default=DEFAULT_MODELS["fill-mask"])
@output_options(*TABLE_FILES)
def fill_mask(texts, file, column, top_k, targets, as_json, output, **model):
    """Find the best tokens in place of each [MASK]."""
    inputs = _texts(texts, file, column)
    words = targets and [word.strip() for word in targets.split(",")]
    results = answers("fill-mask", inputs, model, output, top_k=top_k, targets=words)
    records = ({"text": text, "predictions": _by_mask(result)} for text, result in results)
    write(records, Layout(("number", "mask", "token_str", "score", "sequence"), "predictions"), output, as_json)


def _by_mask(result: list) -> list[dict[str, Any]]:
    """Return the candidates of all masks in one list; the pipeline has a list of lists for several masks only."""
    masks = result if isinstance(result[0], list) else [result]
    return [{"mask": number, **candidate} for number, mask in enumerate(masks, 1) for candidate in mask]


@command("tag", 'distilbert tag "Ada Lovelace was born in London." --model ./my-model --aggregation simple')
@TEXTS
@click.option(
    "--aggregation",
    type=click.Choice(["none", "simple", "first", "average", "max"]),
    default="simple",
    help="How tokens become entities; none: they do not.",
)
@click.option(
    "--stride", type=click.IntRange(min=0), metavar="N", help="Read long texts in windows that share N tokens."
)
@model_options(show_default=DEFAULT_MODELS["token-classification"])
@output_options(*TABLE_FILES)
def tag(texts, file, column, aggregation, stride, as_json, output, **model):
    """Find the entities of texts, such as names."""
    inputs = _texts(texts, file, column)
    options = {"aggregation_strategy": aggregation, "stride": stride}
    results = answers("token-classification", inputs, model, output, **options)
    records = ({"text": text, "entities": entities} for text, entities in results)
    label = "entity" if aggregation == "none" else "entity_group"
    write(records, Layout(("number", label, "score", "word", "start", "end"), "entities"), output, as_json)


@command("answer", 'distilbert answer "Who wrote it?" --context "It was written by Ada Lovelace." --model ./my-model')
@click.argument("questions", nargs=-1, metavar="[QUESTION]...")
@click.option("--context", metavar="TEXT", help="Text that holds the answers.")
@click.option(
    "--context-file",
    type=click.Path(allow_dash=True, path_type=Path),
    metavar="FILE",
    help="File of that text; - is standard input.",
)
@file_option("A .csv, .tsv or .jsonl file with columns of questions and of contexts.")
@click.option("--question-column", default="question", metavar="NAME", help="Column of the questions.")
@click.option("--context-column", default="context", metavar="NAME", help="Column of the contexts.")
@click.option("--top-k", type=POSITIVE, default=1, metavar="N", help="Give the N best answers.")
@click.option("--impossible", is_flag=True, help="Let the empty answer take part.")
@click.option("--max-answer-len", type=POSITIVE, default=15, metavar="N", help="Most tokens of an answer.")
@model_options(show_default=DEFAULT_MODELS["question-answering"])
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
            raise click.UsageError("Give --context or --context-file.")
        context = read_whole(context_file) if context is None else context
    rows = read_records([(question, context) for question in questions], file, [question_column, context_column])
    inputs = ({"question": question, "context": text} for question, text in rows)
    options = {"top_k": top_k, "handle_impossible_answer": impossible, "max_answer_len": max_answer_len}
    results = answers("question-answering", inputs, model, output, **options)
    records = (
        {"question": given["question"], "answers": result if isinstance(result, list) else [result]}
        for given, result in results
    )
    write(records, Layout(("number", "answer", "score", "start", "end", "question"), "answers"), output, as_json)


@command("embed", 'distilbert embed "A lovely film." "A dull film." --output vectors.npy')
@TEXTS
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls", "none"]),
    default="mean",
    help="Vector of a text: the mean of its tokens', or that of [CLS]; none: one for each token.",
)
@click.option("--no-normalize", is_flag=True, help="Leave pooled vectors at their length rather than at 1.")
@model_options(**DEFAULT_TO_EMBEDDED)
@output_options(".npy", ".jsonl")
def embed(texts, file, column, pooling, no_normalize, as_json, output, **model):
    """Turn texts into vectors.

    A .npy file holds them as float32 [texts, dim], or float64 with --dtype float64.
    """
    if pooling == "none" and output and output.suffix == ".npy":
        raise click.UsageError("--pooling none gives each text a matrix of its own height; write them to .jsonl.")
    inputs = _texts(texts, file, column)
    if pooling == "none":
        refuse("needs --pooling mean or cls", "no_normalize")
        options: dict[str, Any] = {"pooling": None, "return_tensors": "np"}
    else:
        options = {"pooling": pooling, "normalize": not no_normalize}
    results = answers("feature-extraction", inputs, model, output, **options)
    records = ({"text": text, "embedding": array[0] if pooling == "none" else array} for text, array in results)
    write(records, Layout(("text", "embedding")), output, as_json)


@command("choose", 'distilbert choose "It was raining, so she took" "her umbrella." "a swim." --model ./my-model')
@click.argument("prompt", required=False)
@click.argument("choices", nargs=-1, metavar="[CHOICE]...")
@file_option("A .csv, .tsv or .jsonl file with a column of prompts and columns of choices.")
@click.option("--prompt-column", default="prompt", metavar="NAME", help="Column of the prompts.")
@click.option(
    "--choice-column",
    "choice_columns",
    multiple=True,
    metavar="NAME",
    help="Column of one choice; give it for each. A column of .jsonl may hold a list of choices.",
    default=["choices"],
)
@model_options()
@output_options(*TABLE_FILES)
def choose(prompt, choices, file, prompt_column, choice_columns, as_json, output, **model):
    """Choose the ending that fits a prompt best."""
    if prompt is not None:
        refuse("needs --file", "prompt_column", "choice_columns")
        if len(choices) < 2:
            raise click.UsageError("Give a prompt and at least two choices.")
    given = [] if prompt is None else [(prompt, *choices)]
    rows = read_records(given, file, [prompt_column, *choice_columns], lists=True)
    inputs = ({"prompt": text, "choices": _choices(text, cells)} for text, *cells in rows)
    results = answers("multiple-choice", inputs, model, output)
    records = ({**asked, **result} for asked, result in results)
    write(records, Layout(("choice", "score", "text", "prompt")), output, as_json)


def _choices(prompt: str, cells: Iterable[Any]) -> list[Any]:
    choices = [choice for cell in cells for choice in (cell if isinstance(cell, list) else [cell])]
    if len(choices) < 2:
        raise InputError(
            f"{reprlib.repr(prompt)} must have at least two choices, got {reprlib.repr(choices)}; give --choice-column "
            "for each."
        )
    return choices


@command("zero-shot", 'distilbert zero-shot "The match was a draw." --labels "politics, sports" --model ./my-model')
@TEXTS
@click.option("--labels", required=True, metavar="LABEL,LABEL...", help="The labels to choose from.")
@click.option(
    "--template",
    default="This example is {}.",
    metavar="TEXT",
    help="Sentence of a label, with {} where the label stands.",
)
@click.option("--multi-label", is_flag=True, help="Several labels may hold: each has a score of its own.")
@model_options(show_default=DEFAULT_MODELS["zero-shot-classification"])
@output_options(*TABLE_FILES)
def zero_shot(texts, file, column, labels, template, multi_label, as_json, output, **model):
    """Classify texts by labels of your own.

    The model is one of natural language inference: it says whether a text entails the sentence of a label.
    """
    inputs = _texts(texts, file, column)
    options = {"candidate_labels": labels, "hypothesis_template": template, "multi_label": multi_label}
    results = answers("zero-shot-classification", inputs, model, output, **options)
    records = ({"text": text, "predictions": _by_label(result)} for text, result in results)
    write(records, Layout(("number", "label", "score", "text"), "predictions"), output, as_json)


def _by_label(result: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = zip(result["labels"], result["scores"], strict=True)
    return [{"label": label, "score": score} for label, score in pairs]


@command("tokenize", 'distilbert tokenize "Unbelievably good!"')
@TEXTS
@click.option("--slow", is_flag=True, help="Use the tokenizer that is written in Python.")
@click.option(
    "--model", shell_complete=complete_model, metavar="FOLDER_OR_HUB_ID", help="Whose tokens.", default=DEFAULT_MODEL
)
@output_options(*TABLE_FILES)
def tokenize(texts, file, column, slow, model, as_json, output):
    """Split texts into tokens.

    Each is given with its id and its place in the text.
    """
    from distilbert_core import tokenization

    tokenizer_class = tokenization.DistilBertTokenizer if slow else tokenization.DistilBertTokenizerFast
    inputs = _texts(texts, file, column)
    tokenizer = tokenizer_class.from_pretrained(model)
    records = ({"text": text, "tokens": _tokens(tokenizer, text)} for text in inputs)
    write(records, Layout(("number", "token", "id", "start", "end"), "tokens"), output, as_json)


def _tokens(tokenizer: Any, text: str) -> list[dict[str, Any]]:
    encoding = tokenizer(text, return_offsets_mapping=True, verbose=False)
    tokens = tokenizer.convert_ids_to_tokens(encoding["input_ids"])
    return [
        {"token": token, "id": index, "start": start, "end": end}
        for token, index, (start, end) in zip(tokens, encoding["input_ids"], encoding["offset_mapping"], strict=True)
    ]


@command("info", "distilbert info sst2-tiny")
@click.argument("model", default=DEFAULT_MODEL, shell_complete=complete_model)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(model, as_json):
    """Describe a checkpoint.

    Its head, parameters, dtypes, files, configuration, and which backends can load it. MODEL is a folder, an embedded
    model or a Hub id. No backend needs to be installed.
    """
    from distilbert_cli.info import describe, print_description
    from distilbert_cli.writers import to_json

    found = describe(model)
    if as_json:
        click.echo(to_json(found))
    else:
        print_description(found)


COMMANDS = {
    command.name: command for command in (predict, zero_shot, fill_mask, tag, answer, embed, choose, tokenize, info)
}


class LazyCommand(click.Command):
    """A command of another package, of which only name and short help are known before it is called."""

    def __init__(self, name: str, module: str, short_help: str):
        super().__init__(name, short_help=short_help)
        self.module = module

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Return the context of the command itself, from which click goes on."""
        return getattr(importlib.import_module(self.module), str(self.name)).make_context(*args, **kwargs)


LAZY_COMMANDS = {
    name: LazyCommand(name, module, short_help)
    for name, module, short_help in (
        ("finetune", "distilbert_cli.training", "Train a checkpoint on a file."),
        ("evaluate", "distilbert_cli.training", "Measure a checkpoint on a file."),
        ("student", "distilbert_cli.student", "Make a smaller model out of a larger one."),
        ("distill", "distilbert_cli.student", "Train a student to say what its teacher says."),
        ("convert", "distilbert_cli.conversion", "Convert a checkpoint to another format."),
        ("verify", "distilbert_cli.conversion", "Compare what checkpoints compute."),
        ("diff", "distilbert_cli.conversion", "List the tensors that differ."),
    )
}
