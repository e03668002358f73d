from __future__ import annotations

import pytest

from distilbert_core.errors import InputError
from distilbert_serve.environment import Container, read_environment
from distilbert_serve.settings import Vertex


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PATH": "/bin", "SM_CHANNELS": "[]"}, Container()),
        ({"DISTILBERT_HOST": "::", "DISTILBERT_PORT": "9000"}, Container("::", 9000)),
        ({"DISTILBERT_HOST": "", "DISTILBERT_PORT": ""}, Container()),
        ({"DISTILBERT_PORT": "9000", "AIP_HTTP_PORT": "1"}, Container("0.0.0.0", 1, None, Vertex())),
        ({"SM_MODEL_DIR": "/opt/ml/model"}, Container("0.0.0.0", 8080, "/opt/ml/model")),
        ({"SAGEMAKER_BIND_TO_PORT": "8081"}, Container("0.0.0.0", 8081, "/opt/ml/model")),
        ({"SAGEMAKER_SAFE_PORT_RANGE": "1-2", "SM_MODEL_DIR": ""}, Container("0.0.0.0", 8080, "/opt/ml/model")),
        ({"AIP_HTTP_PORT": "8080"}, Container("0.0.0.0", 8080, None, Vertex("/health", "/predict"))),
        (
            {
                "AIP_HTTP_PORT": "1",
                "AIP_HEALTH_ROUTE": "/h",
                "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict",
                "AIP_STORAGE_URI": "file:///models/my%20model",
            },
            Container("0.0.0.0", 1, "/models/my model", Vertex("/h", "/v1/endpoints/1/deployedModels/2:predict")),
        ),
        (
            {"AIP_HTTP_PORT": "1", "AIP_STORAGE_URI": "/models/7"},
            Container("0.0.0.0", 1, "/models/7", Vertex()),
        ),
    ],
)
def test_containers(variables: dict[str, str], expected: Container) -> None:
    assert read_environment(variables) == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AIP_HTTP_PORT": "x"}, "AIP_HTTP_PORT must be a port from 1 to 65535, got 'x'"),
        ({"SAGEMAKER_BIND_TO_PORT": "65536"}, "SAGEMAKER_BIND_TO_PORT must be a port"),
        ({"AIP_HTTP_PORT": "²"}, "must be a port"),
        ({"DISTILBERT_PORT": "0"}, "DISTILBERT_PORT must be a port"),
        ({"AIP_HTTP_PORT": "1", "AIP_HEALTH_ROUTE": "health"}, "AIP_HEALTH_ROUTE must be a path"),
        ({"AIP_HTTP_PORT": "1", "AIP_PREDICT_ROUTE": "/{a}"}, "AIP_PREDICT_ROUTE must be a path"),
        ({"AIP_HTTP_PORT": "1", "AIP_STORAGE_URI": "gs://bucket/model"}, "'gs://bucket/model', which this server does"),
    ],
)
def test_impossible_variables(variables: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_environment(variables)
