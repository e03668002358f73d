"""Threads, coroutines and processes that share a model, a pipeline or a folder."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distilbert_core import DistilBertTokenizerFast, Head, InputError
from distilbert_core.files.locks import owned
from distilbert_core.model import forking
from distilbert_core.pipelines import pipeline
from distilbert_core.training.run import RUN_FOLDER, Run
from support.checkpoints import random_arrays, save_random, small_config
from support.processes import fresh_python
from support.runs import HEAD, TEXTS, run
from support.threads import at_once
from weight_conversion import convert

THREADS, CALLS = 16, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small classifier with its tokenizer."""
    folder = tmp_path_factory.mktemp("classifier")
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    save_random(folder, small_config(vocab_size=len(tokenizer), max_position_embeddings=32), HEAD, dtype="float32")
    tokenizer.save_pretrained(folder)
    return folder


def texts_of(thread: int) -> list[str]:
    return [TEXTS[(thread + number) % len(TEXTS)] for number in range(1 + thread % 2)]


def assert_same(found, expected):
    """Compare answers; a batch of other texts may round differently, so that scores are compared to 1e-6."""
    assert [answer["label"] for answer in found] == [answer["label"] for answer in expected]
    scores = [[answer["score"] for answer in answers] for answers in (found, expected)]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)


def test_sixteen_threads_on_one_pipeline_get_the_answers_of_one(framework, folder, tmp_path):
    """Another thread loads a model, and one converts, in the meantime."""
    classify = pipeline("text-classification", folder, framework=framework.name)
    expected = [classify(texts_of(thread)) for thread in range(THREADS)]

    def ask(thread):
        for _ in range(CALLS):
            assert_same(classify(texts_of(thread)), expected[thread])

    def load():
        assert_same(pipeline("text-classification", folder, framework=framework.name)(texts_of(1)), expected[1])

    others = [load, lambda: convert(folder, tmp_path / "converted", "h5")]
    at_once([lambda thread=thread: ask(thread) for thread in range(THREADS)] + others)


def test_sixteen_threads_on_one_model_get_the_outputs_of_one(framework, tmp_path):
    model, inputs = framework.random_model(Head.TOKEN_CLASSIFICATION, tmp_path)
    expected = framework.call(model, **inputs)

    def call():
        for _ in range(CALLS):
            found = framework.call(model, **inputs)
            assert found.keys() == expected.keys()
            for name, array in found.items():
                np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-12)

    at_once([call] * THREADS)


def test_a_pipeline_in_coroutines(framework, folder):
    classify = pipeline("text-classification", folder, framework=framework.name)
    expected = [classify(texts_of(thread)) for thread in range(THREADS)]

    async def ask_all():
        loop = asyncio.get_running_loop()
        first = [asyncio.to_thread(classify, texts_of(thread)) for thread in range(THREADS)]
        second = [loop.run_in_executor(None, classify, texts_of(thread)) for thread in range(THREADS)]
        return await asyncio.gather(*first, *second)

    for found, serial in zip(asyncio.run(ask_all()), expected * 2, strict=True):
        assert_same(found, serial)


# -- processes --------------------------------------------------------------------------------------------------

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from support.checkpoints import save_random, small_config
from distilbert_core import Head
print("ready", flush=True)
while True:
    for seed in (1, 2):
        config = small_config(num_labels=7, dropout=seed / 100)
        shard = "1GB" if seed == 1 else 9000
        save_random(sys.argv[2], config, Head.SEQUENCE_CLASSIFICATION, seed, "float32", max_shard_size=shard)
"""


def test_a_model_that_is_loaded_while_another_process_saves(framework, tmp_path):
    """Config and weights are of one save."""
    save_random(tmp_path, small_config(dropout=0.01), HEAD, 1, "float32")
    tests = str(Path(__file__).parents[1])
    seen = set()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, tests, tmp_path], stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"}
    ) as writer:
        try:
            writer.stdout.readline()
            for _ in range(10):
                model = framework.load(HEAD, tmp_path)
                seed = round(model.config.dropout * 100)
                expected = random_arrays(model.config, HEAD, seed, "float32")
                name = "distilbert.transformer.layer.1.ffn.lin1.weight"
                np.testing.assert_array_equal(framework.parameters(model)[name], expected[name])
                seen.add(seed)
        finally:
            writer.kill()
    assert seen <= {1, 2}


def test_two_runs_cannot_have_one_output(framework, data, base, tmp_path, monkeypatch):
    """Without training, which `test_killed_runs.py` has: a run owns its output before and after."""
    output = tmp_path / "output"
    trained = []

    def train(self, progress):
        with pytest.raises(InputError, match="is in use"), owned(self.folder):
            pass
        trained.append(self.engine.division.rank)

    monkeypatch.setattr(Run, "train", train)
    with (
        owned(output / RUN_FOLDER),
        pytest.raises(InputError, match=rf"output is in use by process {os.getpid()}: wait until it has ended, or"),
    ):
        run(framework, data, base, output)
    assert list(output.iterdir()) == []
    (output / RUN_FOLDER).mkdir()
    (output / RUN_FOLDER / ".lock").write_text("4194305")  # of a run that was killed before it wrote anything
    (output / ".saving-0").mkdir()
    run(framework, data, base, output, eval=None)
    assert trained == [0]
    files = sorted(path.relative_to(output) for path in output.rglob("*"))
    assert not [path for path in files if path.name.startswith(".")]
    with owned(output / RUN_FOLDER), pytest.raises(InputError, match="output is in use by process"):
        run(framework, data, base, output, eval=None, resume=True)
    assert trained == [0]
    assert sorted(path.relative_to(output) for path in output.rglob("*")) == files


@pytest.mark.parametrize("head", [Head.BASE, Head.SEQUENCE_CLASSIFICATION, Head.QUESTION_ANSWERING])
def test_a_call_of_a_model_in_a_fork_is_refused(framework, head, tmp_path, monkeypatch):
    model, inputs = framework.random_model(head, tmp_path)
    monkeypatch.setattr(forking, "WORKS_ALONE", {})
    monkeypatch.setattr(forking, "_forked", {framework.name})
    with pytest.raises(InputError, match="was in use when this process was forked, and would wait forever here: start"):
        framework.call(model, **inputs)
    monkeypatch.setattr(forking, "_forked", set())
    assert framework.call(model, **inputs).keys()


FORKED = """
import os, signal, sys
os.environ["OMP_NUM_THREADS"] = "2"  # PyTorch with one thread is not refused
import numpy as np
from distilbert_core import Head, InputError
from distilbert_core.model.backends import get_backend
from distilbert_core.pipelines import pipeline
name, folder, loaded = sys.argv[1:]
backend = get_backend(name)
classify = pipeline("text-classification", folder, framework=name) if loaded else None
if loaded:
    model = backend.model_class(Head.BASE).from_pretrained(folder)
    ids = backend.to_tensor(np.array([[101, 102]]))
    model(ids)
process = os.fork()
if not process:
    signal.alarm(120)
    for use in ([lambda: classify("dull"), lambda: model(ids)] if loaded else []) + [
        lambda: pipeline("text-classification", folder, framework=name)("dull")
    ]:
        try:
            print(use()[0]["label"], flush=True)
        except InputError as error:
            print(next(line for line in str(error).split("\\n") if "forked" in line), flush=True)  # Keras adds lines
    os._exit(0)
os.waitpid(process, 0)
if loaded:
    print(classify("dull")[0]["label"])
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("loaded", ["", "loaded"])
def test_a_fork(framework, folder, loaded):
    """A fork after the import works. After a model was loaded, it is refused, and the parent goes on."""
    label = pipeline("text-classification", folder, framework=framework.name)("dull")[0]["label"]
    found = fresh_python(FORKED, framework.name, str(folder), loaded).splitlines()
    refused = [line for line in found if "was in use when this process was forked, and would wait forever here" in line]
    assert len(refused) == (3 if loaded else 0)
    assert [line for line in found if line not in refused] == [label]


def classify_in_process(name, folder, texts):
    """The answers of a pipeline, in a process that loads it."""
    return pipeline("text-classification", folder, framework=name)(texts)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_spawned_processes(framework, folder):
    """Each loads the model, or gets a pickled pipeline."""
    classify = pipeline("text-classification", folder, framework=framework.name)
    expected = classify(list(TEXTS))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        answers = pool.starmap(classify_in_process, [(framework.name, folder, list(TEXTS))] * 2)
    for found in answers:
        assert_same(found, expected)
