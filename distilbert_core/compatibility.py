"""Arguments that scripts for Transformers have: which values ask for nothing special here, and what to do otherwise.

One table for each public function; `accept` takes the arguments of a table out of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Accepted:
    """An argument that has no effect.

    Attributes:
        values: The values it may have; None: any value, because whatever it asks for is done anyway.
        instead: What to do where another value is given, as a sentence.
    """

    values: tuple[Any, ...] | None = None
    instead: str = ""

    def takes(self, value: Any) -> bool:
        """Whether a value asks for nothing special; 1 is not True here."""
        return self.values is None or any(value is allowed or _equal(value, allowed) for allowed in self.values)


def _equal(value: Any, allowed: Any) -> bool:
    return type(value) is type(allowed) and bool(value == allowed)


def accept(arguments: Mapping[str, Any], table: Mapping[str, Accepted]) -> dict[str, Any]:
    """Return the arguments that are not in a table; those that are must have a value that asks for nothing special.

    Args:
        arguments: Keyword arguments of a call. They are not changed.
        table: The accepted arguments by name.

    Raises:
        TypeError: An argument of the table has a value that would have an effect elsewhere.

    Example:
        >>> from distilbert_core.compatibility import Accepted, accept
        >>> table = {"trust_remote_code": Accepted((False, None), "No code of a checkpoint is run.")}
        >>> accept({"trust_remote_code": False, "num_labels": 3}, table)
        {'num_labels': 3}
    """
    for name, value in arguments.items():
        if name in table and not table[name].takes(value):
            allowed = " or ".join(map(repr, table[name].values or ()))
            raise TypeError(f"{name} must be {allowed}, got {value!r}. {table[name].instead}".rstrip())
    return {name: value for name, value in arguments.items() if name not in table}


def either(**arguments: Any) -> Any:
    """Return the value of an argument that has several names, given under one of them.

    Raises:
        TypeError: It is given under no name, or under more than one.

    Example:
        >>> from distilbert_core.compatibility import either
        >>> either(source="sst2-tiny", pretrained_model_name_or_path=None)
        'sst2-tiny'
    """
    given = [value for value in arguments.values() if value is not None]
    if len(given) != 1:
        raise TypeError(f"Give {' or '.join(arguments)}, one of them; got {len(given)}.")
    return given[0]


# Of `from_pretrained` of models.
LOADING: dict[str, Accepted] = {
    "from_pt": Accepted(),  # every framework opens every format
    "from_tf": Accepted(),
    "from_flax": Accepted(),
}

# Of `save_pretrained` of models.
SAVING: dict[str, Accepted] = {}

# Of `from_pretrained` of tokenizers, of their calls, and of the rest of their methods.
_NO_CHAT = "DistilBERT is not a chat model."
TOKENIZER_LOADING: dict[str, Accepted] = {
    "use_fast": Accepted(),  # the class says which, and both give the same
    "from_slow": Accepted(),
    "trust_remote_code": Accepted((False, None), "No code of a checkpoint is run."),
    "use_auth_token": Accepted((None,), "Give token=."),
    "resume_download": Accepted((None, False, True)),
    "proxies": Accepted((None,), "Set HTTPS_PROXY in the environment."),
    "gguf_file": Accepted((None,), "Give vocab.txt or tokenizer.json."),
    "add_prefix_space": Accepted((False, None), "WordPiece has no tokens that begin with a space."),
    "processor_class": Accepted((None,), "DistilBERT has no processor."),
    "chat_template": Accepted((None,), _NO_CHAT),
    "extra_special_tokens": Accepted((None, {}), "Give additional_special_tokens, a list."),
    "_from_auto": Accepted(),
    "_from_pipeline": Accepted(),
    "_commit_hash": Accepted(),
}
TOKENIZER_SAVING: dict[str, Accepted] = {
    "push_to_hub": Accepted((False, None), "Save the tokenizer, and upload the folder: hf upload REPOSITORY FOLDER."),
    "save_jinja_files": Accepted(),  # there are none
    "safe_serialization": Accepted(),  # of weights
    "is_main_process": Accepted((True, None), "Call save_pretrained in one process."),
    "use_auth_token": Accepted((None,), "Nothing is uploaded."),
    "token": Accepted((None,), "Nothing is uploaded."),
    "repo_id": Accepted((None,), "Nothing is uploaded."),
    "commit_message": Accepted((None,), "Nothing is uploaded."),
}
TOKENIZER_DECODING: dict[str, Accepted] = {
    "spaces_between_special_tokens": Accepted((True, None), "Words and added tokens are joined by spaces."),
    "use_source_tokenizer": Accepted((False, None), "A tokenizer has one vocabulary."),
}

# Of `pipeline` and of calls of pipelines.
PIPELINES: dict[str, Accepted] = {}
