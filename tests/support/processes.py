"""Code that must run in a new Python process."""

from __future__ import annotations

import subprocess
import sys


def fresh_python(code: str, *arguments: str) -> str:
    """Run code in a new interpreter, with arguments, and return its output."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout
