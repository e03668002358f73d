"""Asks a server on this machine whether it is ready: the health check of a container.

    python -m distilbert_serve.probe

The port is that of the container's variables. The exit status is 0 if all models answer.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

from distilbert_core.errors import InputError
from distilbert_serve.environment import read_environment
from distilbert_serve.settings import DEFAULT_PORT

SECONDS = 4.0


def main() -> int:
    """Return 0 if the server is ready, else 1; the reason is on standard error."""
    try:
        port = read_environment(os.environ).port or DEFAULT_PORT
        connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.request("GET", "/ready")
        status = connection.getresponse().status
        connection.close()
    except (InputError, OSError, HTTPException) as error:
        print(f"not ready: {error}", file=sys.stderr)
        return 1
    if status != 200:
        print(f"not ready: status {status}", file=sys.stderr)
    return int(status != 200)


if __name__ == "__main__":
    sys.exit(main())
