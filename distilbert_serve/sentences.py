"""One sentence for a body that does not have the form of its route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from distilbert_core.errors import did_you_mean, shortened
from distilbert_serve.errors import RequestError

Form = TypeVar("Form", bound=BaseModel)


def sentence_of(errors: Sequence[Any], form: Any, whole: Any) -> str:
    """Return what is wrong with a body, from the first of the errors.

    Args:
        errors: The errors of pydantic, without the place of the body in the request.
        form: The model of the body; its attribute `expects` says what `inputs` must be.
        whole: The value of the body.
    """
    first = errors[0]
    path = [str(part) for part in first["loc"]]
    given = shortened(first.get("input"))
    fields = [field.alias or name for name, field in getattr(form, "model_fields", {}).items()]
    inputs = f"inputs must be {getattr(form, 'expects', 'given')}"
    match path, first["type"]:
        case [], _:
            return f"The body must be a JSON object with the fields {', '.join(fields)}, got {given}."
        case [name], "missing":
            return f"{inputs}; it is missing." if name == "inputs" else f"{name} is missing; give it."
        case [name], "extra_forbidden":
            close = did_you_mean(name, fields)
            return f"Unknown field {shortened(name)}; the fields are {', '.join(fields)}.{close}"
        case ["inputs", *_], _ if hasattr(form, "expects"):
            return f"{inputs}, got {shortened(whole.get('inputs') if isinstance(whole, Mapping) else None)}."
    reason = str(first["msg"]).removeprefix("Input should be ")
    return f"{'.'.join(path)[:200]} must be {reason}, got {given}."


def checked(form: type[Form], value: Any) -> Form:
    """Return a value as a body of this form.

    Args:
        form: The model of the body.
        value: A value of JSON.

    Raises:
        RequestError: 422: the value does not have the form.

    Example:
        >>> from distilbert_serve.bodies import EmbedBody
        >>> from distilbert_serve.sentences import checked
        >>> checked(EmbedBody, {"inputs": "a text"}).pooling
        'mean'
        >>> checked(EmbedBody, {"input": "a text"})
        Traceback (most recent call last):
        distilbert_serve.errors.RequestError: inputs must be a text or a list of texts; it is missing.
    """
    try:
        return form.model_validate(value)
    except ValidationError as error:
        raise RequestError(422, sentence_of(error.errors(), form, value)) from error
