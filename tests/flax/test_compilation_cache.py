"""A command uses the programs that an earlier command compiled."""

from __future__ import annotations

import os
import subprocess
import sys


def predict(cache, **changes):
    """Run a command in a process of its own and return what it printed, and what it complained of."""
    # Commands that tests run in this very process leave their settings in its environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION_CACHE")}
    environment |= {"XDG_CACHE_HOME": str(cache), "JAX_ENABLE_COMPILATION_CACHE": "true"}
    # Which programs take long enough to be worth keeping is the machine's business; here all of them are kept.
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", **changes}
    command = [sys.executable, "-m", "distilbert_cli", "predict", "A lovely film.", "--backend", "flax", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_programs_are_kept_and_found(tmp_path):
    first = predict(tmp_path)
    kept = {path.name for path in (tmp_path / "distilbert/jax").iterdir() if path.name.endswith("-cache")}
    assert kept
    assert predict(tmp_path) == first
    assert {path.name for path in (tmp_path / "distilbert/jax").iterdir() if path.name.endswith("-cache")} == kept


def test_a_users_own_folder(tmp_path):
    predict(tmp_path / "not used", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert list((tmp_path / "own").iterdir())
    assert not (tmp_path / "not used").exists()


def test_where_nothing_can_be_kept_the_answer_is_the_same(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, where a folder is wanted")
    answer, complaints = predict(blocked)
    assert answer == predict(tmp_path)[0]
    assert "Traceback" not in complaints
