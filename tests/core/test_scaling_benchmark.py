"""benchmarks/scaling.py and throughput.py: the arithmetic by hand, and errors about impossible assumptions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from distilbert_core import DistilBertConfig, Head
from support.paths import BENCHMARKS, ROOT

SIZES = {"dim": 4, "n_heads": 2, "hidden_dim": 6, "vocab_size": 10, "max_position_embeddings": 8}
TEACHER, STUDENT = (DistilBertConfig(n_layers=layers, **SIZES) for layers in (3, 1))


@pytest.fixture(autouse=True)
def _found_from_here(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_operations_of_a_token():
    from scaling import flops_per_token

    # Kernels of a layer: 4 of 4 x 4 and 2 of 6 x 4 numbers. Of the head: 4 x 4 and 10 x 4.
    layer, attention, head = 2 * (4 * 16 + 2 * 24), 2 * 5 * 4 + 2 * 5 * 4, 2 * (16 + 40)
    assert (layer, attention, head) == (224, 80, 112)
    assert flops_per_token(STUDENT, Head.MASKED_LM, 5) == 224 + 80 + 112
    assert flops_per_token(TEACHER, Head.MASKED_LM, 5) == 3 * (224 + 80) + 112
    assert flops_per_token(TEACHER, Head.MASKED_LM, 5, outputs=0.5) == 3 * (224 + 80) + 56
    assert flops_per_token(TEACHER, Head.BASE, 5) == 3 * (224 + 80)
    # Without one of two heads: 3 kernels of 2 x 4, one of 4 x 2, and keys of 2 numbers.
    pruned = DistilBertConfig(n_layers=1, pruned_heads={0: [1]}, **SIZES)
    assert flops_per_token(pruned, Head.BASE, 5) == 2 * (4 * 8 + 2 * 24) + 40


def test_operations_and_parameters_of_the_published_sizes():
    from scaling import HEAD, STUDENT, TEACHER, count_parameters, flops_per_token

    layer = 2 * (4 * 768 * 768 + 2 * 768 * 3072) + 4 * 512 * 768
    head = 2 * (768 * 768 + 768 * 30522)
    assert flops_per_token(STUDENT, HEAD, 512) == 6 * layer + head == 142_433_280
    assert flops_per_token(TEACHER, HEAD, 512) == 12 * layer + head == 236_805_120
    assert count_parameters(STUDENT, HEAD) == 66_985_530


def assumptions(**changes):
    """Round numbers, in sections by name; `changes` replace some numbers of sections."""
    from scaling import Corpus, Device, Host, Work

    sections = {
        "corpus": Corpus(words=1000, tokens_per_word=2, width=10, fill=0.5),
        "work": Work(epochs=3, rows=8, logit_passes=5, optimizer_passes=10, gradient_passes=3),
        "host": Host(ns_per_token=100, disk_gbs=1),
        "chip": Device(
            4, 1, 0.5, memory_gbs=1, memory_utilisation=0.5, link_gbs=2, link_utilisation=0.5, hop_us=1, micro_rows=1,
            per_process=2, price=36,
        ),
    }  # fmt: skip
    return {name: replace(section, **changes.get(name, {})) for name, section in sections.items()}


def run(**changes):
    from scaling import simulate

    return simulate(assumptions(**changes), "chip", TEACHER, STUDENT)


# Embeddings 40 + 32 + 8; a layer 4 * 20 + 8 + 30 + 28 + 8; the head 20 + 8 + 10, as its kernel is tied.
PARAMETERS = 80 + 154 + 38


def test_every_part_of_a_step():
    """8 rows of 5 tokens on 4 devices: 10 tokens, in 2 micro-batches, on each."""
    result = run()
    assert result.tokens == 40
    assert result.steps == 150  # 3 * 2000 / 40
    assert result.reduced == 1.5 * 4 * PARAMETERS
    assert result.read == 8 * (2 + 10 * 2)  # a length and 10 ids of 2 bytes
    expected = {
        "teacher": 10 * 1024 / 0.5e12,
        "student": 10 * 3 * 416 / 0.5e12,
        "losses": 10 * 10 * 4 * 5 / 0.5e9,
        "optimizer": 4 * PARAMETERS * (10 + 2 * 3) / 0.5e9,
        "all-reduce": 1.5 * 4 * PARAMETERS / 1e9 + 6e-6,
        "host": 40 * 100e-9 + 176 / 1e9,
    }
    assert result.parts == pytest.approx(expected, rel=1e-12)
    assert result.seconds == pytest.approx(sum(expected.values()))
    assert result.hours == pytest.approx(sum(expected.values()) * 150 / 3600)
    assert result.cost == pytest.approx(result.hours * 4 * 36)


@pytest.mark.parametrize(
    ("changes", "part", "expected"),
    [
        ({"work": {"overlap": 1}}, "all-reduce", 0),
        ({"chip": {"count": 1}}, "all-reduce", 0),
        ({"chip": {"joined": 2, "network_gbs": 0.5}}, "all-reduce", 1.5 * 4 * PARAMETERS / 0.25e9 + 6e-6),
        ({"chip": {"joined": 2, "network_gbs": 9}}, "all-reduce", 1.5 * 4 * PARAMETERS / 1e9 + 6e-6),
        ({"chip": {"count": 3}}, "teacher", 15 * 1024 / 0.5e12),  # one device has 3 of the 8 rows
        ({"chip": {"micro_rows": 2}}, "optimizer", 4 * PARAMETERS * 13 / 0.5e9),
        ({"host": {"divided": 1}}, "host", 40 * 100e-9 / 2 + 176 / 1e9),  # 2 processes of 2 devices
        ({"work": {"compared": 0.5}}, "losses", 5 * 10 * 4 * 5 / 0.5e9),
        ({"work": {"compared": 0.5}}, "teacher", 10 * (1024 - 56) / 0.5e12),
        ({"work": {"student_passes": 4}}, "student", 10 * 4 * 416 / 0.5e12),
        ({"work": {"cached": 1}}, "teacher", 0),
        ({"work": {"cached": 1}}, "host", 40 * 100e-9 + (176 + 40 * (8 + 20)) / 1e9),
        ({"work": {"cached": 1, "top_k": 2}}, "host", 40 * 100e-9 + (176 + 40 * (8 + 14)) / 1e9),
    ],
    ids=str,
)
def test_every_choice(changes, part, expected):
    assert run(**changes).parts[part] == pytest.approx(expected, rel=1e-12)


def test_bytes_of_a_ring():
    from scaling import ring_bytes

    assert ring_bytes(1, 100) == 0
    assert ring_bytes(2, 100) == 100
    assert ring_bytes(4, 100) == 150


def test_the_utilisation_of_a_known_run():
    from scaling import ASSUMPTIONS, changed, simulate, utilisation_for

    share = utilisation_for(ASSUMPTIONS, "v100", 90)
    assert simulate(changed(ASSUMPTIONS, [f"v100.utilisation={share}"]), "v100").hours == pytest.approx(90)
    with pytest.raises(SystemExit, match=r"1 hours are too few for v100: without products they are [\d.]+"):
        utilisation_for(ASSUMPTIONS, "v100", 1)
    with pytest.raises(SystemExit, match=r"6 hours are too few for v100: its utilisation would have to be \d{3}%"):
        utilisation_for(ASSUMPTIONS, "v100", 6)
    with pytest.raises(SystemExit, match=r"0 hours are not possible"):
        utilisation_for(ASSUMPTIONS, "v100", 0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("v101.count=8", "unknown section 'v101'; there are corpus, work, host, v100"),
        ("v100.speed=8", "unknown assumption 'speed' of v100; it has count, peak_tflops"),
        ("v100", "unknown assumption '' of v100"),
        ("v100.count=0", "v100.count must be a positive integer, got '0'"),
        ("v100.count=1.5", "v100.count must be a positive integer, got '1.5'"),
        ("v100.utilisation=1.1", "v100.utilisation must be a number above 0, at most 1, got '1.1'"),
        ("v100.peak_tflops=inf", "v100.peak_tflops must be a number above 0, got 'inf'"),
        ("v100.price=-1", "v100.price must be a number of 0 or more, got '-1'"),
        ("work.overlap=nan", "work.overlap must be a number from 0 to 1, got 'nan'"),
        ("work.cached=yes", "work.cached must be 0 or 1, got 'yes'"),
        ("work.top_k=0.5", "work.top_k must be an integer of 0 or more, got '0.5'"),
        ("work.rows=7", "work.rows must be at least the number of devices, 8 of v100; got 7"),
        ("work.top_k=64", "work.top_k is for work.cached=1"),
    ],
)
def test_impossible_assumptions(setting, message):
    from scaling import main

    with pytest.raises(SystemExit) as error:
        main(["--devices", "v100", "--set", setting])
    assert message in str(error.value)


def test_the_table_and_the_files(tmp_path, capsys):
    from scaling import main

    files = tmp_path / "scaling.json", tmp_path / "scaling.png"
    main(["--devices", "v100", "h100", "--set", "h100.count=16", "h100.price=2", "--hours", "90",
          "--json", str(files[0]), "--png", str(files[1])])  # fmt: skip
    printed = capsys.readouterr().out
    assert "| | 8 x v100 | 16 x h100 |" in printed
    assert "8 x v100 take 90 hours with a utilisation of " in printed
    content = json.loads(files[0].read_text())
    assert content["assumptions"]["h100"]["price"] == 2
    assert content["results"][1]["cost"] == pytest.approx(content["results"][1]["hours"] * 32)
    assert files[1].read_bytes().startswith(b"\x89PNG")


def test_the_page_has_the_table_of_the_script(capsys):
    from scaling import main

    main([])
    assert capsys.readouterr().out in (ROOT / "docs/scaling.md").read_text(encoding="utf-8")


def test_shares_of_the_peak_are_of_the_same_round():
    from throughput import Measured, operations, rates

    work = operations({"teacher": TEACHER, "student": STUDENT}, tokens=10, width=5, peak=100)
    assert work == {"product": 2e6, "memory": 800, "teacher": 10240, "student": 12480, "together": 22720}
    peak, student = Measured("product pt", seconds=[1.0, 2.0]), Measured("student pt", seconds=[0.5, 0.25])
    shares = rates(student, peak, work, tokens=10)
    assert (shares["tokens_per_second"].smallest, shares["tokens_per_second"].largest) == (20, 40)
    assert shares["of_the_peak"].smallest == pytest.approx(12480 / 0.5 / 2e6)
    assert shares["of_the_peak"].largest == pytest.approx(12480 / 0.25 / 1e6)
    memory = rates(Measured("memory pt", seconds=[1e-6, 2e-6]), peak, work, tokens=10)
    assert memory["gigabytes_per_second"].smallest == pytest.approx(0.4)  # 800 bytes


def test_the_work_of_the_host(tmp_path):
    from throughput import host_work

    measured = host_work(tmp_path / "shards", width=32, rows=4, repetitions=2)
    assert 1 < measured.smallest <= measured.largest < 1e6  # nanoseconds for a token
