"""What the variables of a container say: address, model and routes, also on Amazon SageMaker and on Vertex AI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from distilbert_core.errors import InputError
from distilbert_serve.settings import Vertex

SAGEMAKER_FOLDER = "/opt/ml/model"
SAGEMAKER = ("SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_SAFE_PORT_RANGE", "SM_MODEL_DIR")
ANY_ADDRESS = "0.0.0.0"


@dataclass(frozen=True)
class Container:
    """What the variables of a container say. None: they say nothing.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        model: Folder of the model.
        vertex: The routes for Vertex AI.
    """

    host: str | None = None
    port: int | None = None
    model: str | None = None
    vertex: Vertex | None = None


def read_environment(variables: Mapping[str, str]) -> Container:
    """Return what the variables of a container say.

    Args:
        variables: The variables of the process.

    Raises:
        InputError: A variable is impossible, or the model is not in a folder.

    Example:
        >>> from distilbert_serve.environment import read_environment
        >>> read_environment({"AIP_HTTP_PORT": "8080", "AIP_PREDICT_ROUTE": "/v1/predict"}).vertex
        Vertex(health_route='/health', predict_route='/v1/predict')
        >>> read_environment({"HOME": "/root"})
        Container(host=None, port=None, model=None, vertex=None)
    """
    if "AIP_HTTP_PORT" in variables:
        default = Vertex()
        routes = Vertex(
            _route(variables, "AIP_HEALTH_ROUTE", default.health_route),
            _route(variables, "AIP_PREDICT_ROUTE", default.predict_route),
        )
        return Container(ANY_ADDRESS, _port(variables, "AIP_HTTP_PORT"), _storage(variables), routes)
    if any(name in variables for name in SAGEMAKER):
        port = _port(variables, "SAGEMAKER_BIND_TO_PORT") if "SAGEMAKER_BIND_TO_PORT" in variables else 8080
        return Container(ANY_ADDRESS, port, variables.get("SM_MODEL_DIR") or SAGEMAKER_FOLDER)
    host = variables.get("DISTILBERT_HOST") or None
    return Container(host, _port(variables, "DISTILBERT_PORT") if variables.get("DISTILBERT_PORT") else None)


def _port(variables: Mapping[str, str], name: str) -> int:
    value = variables[name]
    if not value.isascii() or not value.isdigit() or not 0 < int(value[:9]) < 1 << 16:
        raise InputError(f"{name} must be a port from 1 to 65535, got {value!r}.")
    return int(value)


def _route(variables: Mapping[str, str], name: str, default: str) -> str:
    value = variables.get(name) or default
    if not value.startswith("/") or not set("{}?#").isdisjoint(value):
        raise InputError(f"{name} must be a path that begins with '/', got {value!r}.")
    return value


def _storage(variables: Mapping[str, str]) -> str | None:
    """Return the folder that AIP_STORAGE_URI names."""
    value = variables.get("AIP_STORAGE_URI")
    if not value:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("", "file"):
        raise InputError(
            f"AIP_STORAGE_URI is {value!r}, which this server does not download. Copy the model into the image, or "
            "mount it, and give its folder as --model."
        )
    return str(Path(unquote(parts.path)))
