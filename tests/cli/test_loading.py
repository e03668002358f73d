"""Loading for the command: the garbage collector is off meanwhile, and its state is restored afterwards."""

from __future__ import annotations

import gc

import pytest

import distilbert_core.pipelines
from distilbert_cli.loading import load_pipeline
from distilbert_core import CheckpointError, InputError

MODEL = {"model": "sst2-tiny", "device": "moon"}


@pytest.fixture
def collector():
    """Whatever a test does to the collector is undone."""
    enabled = gc.isenabled()
    gc.unfreeze()
    yield
    gc.unfreeze()
    (gc.enable if enabled else gc.disable)()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    ("error", "raised"), [(None, None), (CheckpointError("damaged"), CheckpointError), (ValueError("no"), InputError)]
)
def test_the_collector_pauses_while_a_model_is_loaded(monkeypatch, collector, enabled, error, raised):
    seen = []

    def pipeline(task, **options):
        seen.append((task, gc.isenabled()))
        if error is not None:
            raise error
        return "loaded"

    monkeypatch.setattr(distilbert_core.pipelines, "pipeline", pipeline)
    (gc.enable if enabled else gc.disable)()
    if raised is None:
        assert load_pipeline("fill-mask", MODEL) == "loaded"
    else:
        with pytest.raises(raised, match=str(error)):
            load_pipeline("fill-mask", MODEL)
    assert seen == [("fill-mask", False)]
    assert gc.isenabled() == enabled


def test_only_objects_of_the_first_load_are_frozen(monkeypatch, collector):
    counts = []
    made = []

    def pipeline(task, **options):
        made.extend([index] for index in range(1000))

    monkeypatch.setattr(distilbert_core.pipelines, "pipeline", pipeline)
    for _ in range(2):
        load_pipeline("fill-mask", MODEL)
        counts.append(gc.get_freeze_count())
    assert counts[0] >= 1000
    assert counts[1] <= counts[0]
