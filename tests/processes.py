"""Code that must run in a Python of its own."""

from __future__ import annotations

import subprocess
import sys


def fresh_python(code: str) -> str:
    """Run code in a new interpreter and return what it printed."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
