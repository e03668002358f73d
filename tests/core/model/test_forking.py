from __future__ import annotations

import os
import threading

import pytest

from distilbert_core import InputError
from distilbert_core.model import forking
from distilbert_core.model.forking import ForkedLock
from support.processes import fresh_python

if not hasattr(os, "fork"):
    pytest.skip("this system has no fork", allow_module_level=True)

FORK = """
import os, sys
from distilbert_core import DistilBertTokenizer, DistilBertTokenizerFast, InputError
from distilbert_core.model import forking
{before}
process = os.fork()
if not process:
    try:
        {child}
    except InputError as error:
        print(error)
    sys.stdout.flush()
    os._exit(0)
os.waitpid(process, 0)
{after}
"""


def in_fork(before: str, child: str, after: str = "") -> str:
    """The output of a process, and of its fork."""
    return fresh_python(FORK.format(before=before, child=child, after=after))


def test_a_fork_of_a_process_that_computed_is_refused() -> None:
    found = in_fork("forking.start('tf')", "forking.start('flax'); forking.start('tf')", "forking.start('tf')")
    assert found == (
        "Keras 3 / TensorFlow was in use when this process was forked, and would wait forever here: start processes "
        "with multiprocessing.get_context('spawn'), or fork before the first model is loaded or called.\n"
    )


def test_a_fork_before_the_first_use_and_a_backend_without_threads() -> None:
    assert in_fork("", "forking.start('tf'); print('works')") == "works\n"
    before = "forking.start('pt'); forking.WORKS_ALONE['pt'] = lambda: True"
    assert in_fork(before, "forking.start('pt'); print('works')") == "works\n"


def test_an_unforked_process_is_never_refused() -> None:
    for _ in range(2):
        forking.start("pt")


HELD = """
import threading
tokenizer = {kind}.from_pretrained("sst2-tiny")
expected = tokenizer("a lovely film")["input_ids"]
held, free = threading.Event(), threading.Event()
def hold():
    with tokenizer._lock:
        held.set()
        free.wait()
threading.Thread(target=hold).start()
held.wait()
"""


@pytest.mark.parametrize("kind", ["DistilBertTokenizer", "DistilBertTokenizerFast"])
def test_a_tokenizer_works_in_a_fork_while_a_thread_of_the_parent_uses_it(kind: str) -> None:
    child = "print(tokenizer('a lovely film')['input_ids'] == expected, flush=True)"
    assert in_fork(HELD.format(kind=kind), child, "free.set()") == "True\n"


def test_the_lock_excludes_threads() -> None:
    lock, inside = ForkedLock(), []
    most = []

    def take() -> None:
        for _ in range(200):
            with lock:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    with pytest.raises(InputError), lock:  # an error releases it
        raise InputError
    with lock:
        pass
