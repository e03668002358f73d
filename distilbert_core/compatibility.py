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


# Of `from_pretrained` of models.
LOADING: dict[str, Accepted] = {
    "from_pt": Accepted(),  # every framework opens every format
    "from_tf": Accepted(),
    "from_flax": Accepted(),
}

# Of `save_pretrained` of models.
SAVING: dict[str, Accepted] = {}

# Of `from_pretrained` of tokenizers, of their calls, and of the rest of their methods.
TOKENIZER_LOADING: dict[str, Accepted] = {}
TOKENIZER_SAVING: dict[str, Accepted] = {}

# Of `pipeline` and of calls of pipelines.
PIPELINES: dict[str, Accepted] = {}
