"""The table of the commands: the module of each, and its line in `distilbert --help`.

The modules are imported when their commands run, so that `distilbert --help` and completion are quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


class LazyCommand(click.Command):
    """A command that is imported when it is called. Until then, click knows its name and its short help.

    Args:
        name: Name of the command. The function in the module has the same name, with underscores.
        module: Module of this package.
        short_help: First sentence of its help.
    """

    def __init__(self, name: str, module: str, short_help: str):
        super().__init__(name, short_help=short_help)
        self.module = module

    def load(self) -> click.Command:
        """Import the command."""
        return getattr(import_module(f"{__package__}.{self.module}"), str(self.name).replace("-", "_"))

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Return the context of the imported command; click parses and runs everything else through it."""
        return self.load().make_context(*args, **kwargs)


COMMANDS = {
    name: LazyCommand(name, module, short_help)
    for name, module, short_help in (
        ("predict", "predict", "Classify texts."),
        ("zero-shot", "answering", "Classify texts by labels of your own."),
        ("fill-mask", "answering", "Find the best tokens for each [MASK]."),
        ("tag", "answering", "Find entities in texts, such as names."),
        ("answer", "answering", "Answer questions from a text of any length."),
        ("embed", "answering", "Turn texts into vectors."),
        ("choose", "answering", "Choose the ending that fits a prompt best."),
        ("serve", "serving", "Answer the tasks over HTTP."),
        ("tokenize", "tokens", "Split texts into tokens."),
        ("info", "info", "Describe a checkpoint."),
        ("bench", "bench", "Find the fastest way to run a checkpoint."),
        ("bias", "bias", "Compare a model's fillers in paired prompts."),
        ("prepare", "preparing", "Tokenize a corpus for many runs."),
        ("finetune", "training", "Train a checkpoint on a file."),
        ("evaluate", "training", "Measure a checkpoint on a file."),
        ("student", "student", "Make a smaller model out of a larger one."),
        ("distill", "student", "Distil a teacher into a smaller student."),
        ("migrate", "migrating", "Rewrite programs for Transformers 4."),
        ("scan", "scanning", "Find checkpoints in old formats."),
        ("convert", "conversion", "Convert a checkpoint to another format."),
        ("verify", "conversion", "Compare the outputs of checkpoints."),
        ("diff", "conversion", "List the tensors that differ."),
    )
}
