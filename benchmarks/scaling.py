"""Simulates DistilBERT's own distillation on GPUs and TPUs: its time, its cost, and the bytes that it moves.

    python benchmarks/scaling.py [--devices v100 h100 v5e] [--set h100.utilisation=0.4 h100.count=16] [--hours 90]
        [--json FILE] [--png FILE]

It is arithmetic on the assumptions below, and --set changes any of them. A step has six parts, one after another: the
products of the teacher, those of the student, the losses over the vocabulary, the optimizer, the sum of the gradients
over all devices, and the work of the host. --hours prints the utilisation with which a run takes this time.

throughput.py measures what one process does here.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from distilbert_core import DistilBertConfig, Head, parameter_table
from distilbert_core.model.parameters import Kind
from distilbert_core.training.shards import record_dtype

Limit = tuple[Callable[[float], bool], str]
POSITIVE: Limit = (lambda value: 0 < value < math.inf, "a number above 0")
NOT_NEGATIVE: Limit = (lambda value: 0 <= value < math.inf, "a number of 0 or more")
FRACTION: Limit = (lambda value: 0 < value <= 1, "a number above 0, at most 1")
SHARE: Limit = (lambda value: 0 <= value <= 1, "a number from 0 to 1")
COUNT: Limit = (lambda value: value >= 1 and value % 1 == 0, "a positive integer")
WHOLE: Limit = (lambda value: value >= 0 and value % 1 == 0, "an integer of 0 or more")
CHOICE: Limit = (lambda value: value in (0, 1), "0 or 1")


def of(limit: Limit, default: float) -> Any:
    """Return the field of an assumption."""
    return field(default=default, metadata={"limit": limit})


# -- the assumptions ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """The texts, as token shards.

    Attributes:
        words: BooksCorpus 800 million, Wikipedia 2,500 million (Devlin et al. 2018, section 3.1).
        tokens_per_word: 1.32 for 12 novels and BERT's vocabulary; 1.13 for Wikipedia, if punctuation counts as words.
        width: Tokens of a record, --max-length.
        fill: Mean part of a record that has tokens.
    """

    words: float = of(POSITIVE, 3.3e9)
    tokens_per_word: float = of(POSITIVE, 1.3)
    width: float = of(COUNT, 512)
    fill: float = of(FRACTION, 0.8)


@dataclass(frozen=True)
class Work:
    """The recipe, and the work of its steps.

    Attributes:
        epochs: Passes over the corpus.
        rows: Rows of a step of all devices, --batch-size. Sanh et al. 2019 had up to 4,000.
        compared: Part of the tokens whose logits are compared: 1, or 0.15 with --only-masked.
        student_passes: Forward passes that the student's products are worth: one, and two backwards. 4 with
            --gradient-checkpointing.
        logit_passes: How often 4 bytes for each logit of a compared token are read or written, student and teacher
            together. Counted in the operations of PyTorch and in XLA's programs for the CPU, 54 to 58.
        optimizer_passes: The same for each parameter, in a step: clipping 3, AdamW 7.
        gradient_passes: The same for each parameter, in a micro-batch: its gradient is added.
        gradient_bytes: Bytes of a gradient that is sent.
        overlap: Part of the sum of gradients that is hidden behind the computation; 0 here: it follows the last
            micro-batch.
        cached: 1 if the teacher's outputs are read instead of computed. `--cache` is for one process today.
        top_k: Logits of a token in this cache; 0: all.
    """

    epochs: float = of(POSITIVE, 3)
    rows: float = of(COUNT, 2000)
    compared: float = of(FRACTION, 1)
    student_passes: float = of(POSITIVE, 3)
    logit_passes: float = of(NOT_NEGATIVE, 55)
    optimizer_passes: float = of(NOT_NEGATIVE, 10)
    gradient_passes: float = of(NOT_NEGATIVE, 3)
    gradient_bytes: float = of(POSITIVE, 4)
    overlap: float = of(SHARE, 0)
    cached: float = of(CHOICE, 0)
    top_k: float = of(WHOLE, 0)


@dataclass(frozen=True)
class Host:
    """What the processors of the machine do before each step, while the devices wait.

    Attributes:
        ns_per_token: Reading records and masking tokens, in nanoseconds. throughput.py measures it: 143 on a core here.
        divided: 1 if each process prepares only its own rows. Today each prepares all rows of a step.
        disk_gbs: Speed of the disk in GB/s.
    """

    ns_per_token: float = of(NOT_NEGATIVE, 150)
    divided: float = of(CHOICE, 0)
    disk_gbs: float = of(POSITIVE, 1)


@dataclass(frozen=True)
class Device:
    """A kind of device, and the number of them.

    Attributes:
        count: Number of devices.
        peak_tflops: Highest speed of products in the vendor's data sheet, in TFLOP/s, without sparsity.
        utilisation: Part of this speed that the products of a step reach.
        memory_gbs: Memory bandwidth in GB/s.
        memory_utilisation: Part of it that is reached.
        link_gbs: Bandwidth between neighbouring devices in GB/s, in one direction.
        joined: Most devices that are joined so; with more, their machines send over the network.
        network_gbs: Bandwidth of a machine in the network in GB/s, in one direction.
        link_utilisation: Part of both bandwidths that is reached.
        hop_us: Microseconds until a message arrives at the next device.
        micro_rows: Rows of a micro-batch, which fit into the memory.
        per_process: Devices of a process.
        price: Price of a device for an hour, in US dollars.
    """

    count: float = of(COUNT, 8)
    peak_tflops: float = of(POSITIVE, 1)
    utilisation: float = of(FRACTION, 0.3)
    memory_gbs: float = of(POSITIVE, 1)
    memory_utilisation: float = of(FRACTION, 0.8)
    link_gbs: float = of(POSITIVE, 1)
    joined: float = of(COUNT, 8)
    network_gbs: float = of(POSITIVE, 1)
    link_utilisation: float = of(FRACTION, 0.7)
    hop_us: float = of(NOT_NEGATIVE, 5)
    micro_rows: float = of(COUNT, 5)
    per_process: float = of(COUNT, 1)
    price: float = of(NOT_NEGATIVE, 0)


Assumptions = Mapping[str, Any]  # section -> Corpus, Work, Host or Device
# Speeds and bandwidths are those of NVIDIA's and Google's data sheets. Prices are approximate list prices of 2024, so
# look up yours: an eighth of AWS p3.16xlarge on demand, and of p5.48xlarge as a Capacity Block; TPUs on demand.
# The utilisation of 0.3 is a guess: DeepSpeed reached 0.52 of a V100 with kernels made for BERT (Microsoft 2020, "The
# Fastest and Most Efficient BERT Training through Optimized Transformer Kernels").
V100 = Device(8, 125, memory_gbs=900, link_gbs=150, network_gbs=3.1, price=3.06)  # 16 GB, float16
DEVICES = {
    "v100": V100,
    "v100-float32": replace(V100, peak_tflops=15.7, utilisation=0.6),  # products without tensor cores
    "h100": Device(8, 989, memory_gbs=3350, link_gbs=450, network_gbs=400, micro_rows=25, price=4.92),  # SXM, 80 GB
    "v5e": Device(
        64, 197, memory_gbs=819, link_gbs=200, joined=256, network_gbs=25, hop_us=1, per_process=8, price=1.20
    ),  # 16 GB; a slice of 8 x 8
    "v5p": Device(
        32, 459, memory_gbs=2765, link_gbs=600, joined=8960, hop_us=1, micro_rows=25, per_process=4, price=4.20
    ),  # 95 GB; a slice of 2 x 4 x 4
    "cpu": Device(1, 0.4, 0.8, memory_gbs=20, memory_utilisation=1, micro_rows=2),  # two cores with AVX512
}
ASSUMPTIONS: Assumptions = {"corpus": Corpus(), "work": Work(), "host": Host(), **DEVICES}
TEACHER, STUDENT = DistilBertConfig(n_layers=12), DistilBertConfig()
HEAD = Head.MASKED_LM


def changed(assumptions: Assumptions, settings: Sequence[str]) -> dict[str, Any]:
    """Return the assumptions with settings such as 'v100.utilisation=0.4'; exit if one is unknown or impossible."""
    result = dict(assumptions)
    for setting in settings:
        name, _, text = setting.partition("=")
        section, _, key = name.partition(".")
        if section not in result:
            raise SystemExit(f"--set {setting}: unknown section {section!r}; there are {', '.join(result)}")
        limits = {one.name: one.metadata["limit"] for one in fields(result[section])}
        if key not in limits:
            raise SystemExit(f"--set {setting}: unknown assumption {key!r} of {section}; it has {', '.join(limits)}")
        fits, expected = limits[key]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise SystemExit(f"--set {setting}: {name} must be {expected}, got {text!r}")
        result[section] = replace(result[section], **{key: value})
    return result


# -- the arithmetic -----------------------------------------------------------------------------------------------


def flops_per_token(config: DistilBertConfig, head: Head, tokens: float, outputs: float = 1.0) -> float:
    """Return the floating-point operations of a forward pass for a token: products only, an addition counts as one.

    A kernel of n numbers takes 2 n operations (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section
    2.1). In attention, a token's product with all keys and the sum of all values take 2 operations each for each number
    of a key. Look-ups, norms and activations are not counted.

    Args:
        config: The architecture.
        head: The head.
        tokens: Tokens of the text, T.
        outputs: Part of the tokens whose outputs the head computes.
    """
    total = 0.0
    for parameter in parameter_table(config, head):
        if parameter.kind is Kind.KERNEL:
            total += 2 * math.prod(parameter.shape) * (outputs if parameter.of_head else 1)
    widths = (len(config.kept_heads(layer)) * config.head_size for layer in range(config.n_layers))
    return total + sum(4 * tokens * width for width in widths)


def count_parameters(config: DistilBertConfig, head: Head) -> int:
    """Return the number of parameters; one that is tied to another counts once."""
    return sum(math.prod(p.shape) for p in parameter_table(config, head) if p.tied_to is None)


@dataclass(frozen=True)
class Simulation:
    """A run on one kind of device.

    Attributes:
        device: Name of the device.
        devices: Number of devices.
        parts: Seconds of each part of a step.
        steps: Number of steps.
        tokens: Tokens of a step.
        reduced: Bytes that each device sends in a step, to sum the gradients.
        read: Bytes that are read from the disk in a step.
        price: Price of a device for an hour.
    """

    device: str
    devices: int
    parts: Mapping[str, float]
    steps: int
    tokens: float
    reduced: float
    read: float
    price: float

    @property
    def seconds(self) -> float:
        """Seconds of a step."""
        return sum(self.parts.values())

    @property
    def hours(self) -> float:
        """Hours of the run."""
        return self.seconds * self.steps / 3600

    @property
    def cost(self) -> float:
        """Price of the run."""
        return self.hours * self.devices * self.price


def ring_bytes(devices: int, size: float) -> float:
    """Return the bytes that each device sends when `size` bytes are summed over a ring: 2 (n - 1) / n times as many.

    Each device sends n - 1 parts of an n-th to collect sums, and n - 1 to spread them (Patarasuk & Yuan 2009,
    "Bandwidth optimal all-reduce algorithms for clusters of workstations").
    """
    return 2 * (devices - 1) / devices * size


def simulate(assumptions: Assumptions, name: str, teacher: Any = TEACHER, student: Any = STUDENT) -> Simulation:
    """Return the run on a kind of device.

    Args:
        assumptions: The tables above.
        name: The device.
        teacher: Configuration of the teacher.
        student: Configuration of the student.
    """
    corpus, work, host, device = (assumptions[section] for section in ("corpus", "work", "host", name))
    devices = int(device.count)
    if work.rows < devices:
        raise SystemExit(f"work.rows must be at least the number of devices, {devices} of {name}; got {work.rows:.0f}")
    if work.top_k and not work.cached:
        raise SystemExit("work.top_k is for work.cached=1, the teacher's outputs in a cache; give both")
    row = corpus.width * corpus.fill  # tokens
    rows = math.ceil(work.rows / devices)  # of the device that has the most
    tokens, of_device = row * work.rows, row * rows
    parameters = count_parameters(student, HEAD)
    products = device.peak_tflops * 1e12 * device.utilisation
    memory = device.memory_gbs * 1e9 * device.memory_utilisation

    forward = {config: flops_per_token(config, HEAD, row, work.compared) for config in (teacher, student)}
    logits = 4 * work.compared * student.vocab_size * work.logit_passes
    updates = work.optimizer_passes + work.gradient_passes * math.ceil(rows / device.micro_rows)
    reduced = ring_bytes(devices, work.gradient_bytes * parameters)
    link = device.link_gbs if devices <= device.joined else min(device.link_gbs, device.network_gbs)
    seconds = reduced / (link * 1e9 * device.link_utilisation) + 2 * (devices - 1) * device.hop_us * 1e-6

    read = work.rows * record_dtype(student.vocab_size, int(corpus.width), "", weighted=False).itemsize
    if work.cached:  # hidden states, and logits or the largest of them with their indices and the sum of the others
        stored = 6 * work.top_k + 2 if work.top_k else 2 * student.vocab_size
        read += tokens * (2 * teacher.dim + work.compared * stored)
    processes = math.ceil(devices / device.per_process) if host.divided else 1
    parts = {
        "teacher": 0.0 if work.cached else of_device * forward[teacher] / products,
        "student": of_device * work.student_passes * forward[student] / products,
        "losses": of_device * logits / memory,
        "optimizer": 4 * parameters * updates / memory,
        "all-reduce": (1 - work.overlap) * seconds,
        "host": tokens * host.ns_per_token * 1e-9 / processes + read / (host.disk_gbs * 1e9),
    }
    steps = math.ceil(work.epochs * corpus.words * corpus.tokens_per_word / tokens)
    return Simulation(name, devices, parts, steps, tokens, reduced, read, device.price)


def utilisation_for(assumptions: Assumptions, name: str, hours: float) -> float:
    """Return the utilisation of a device with which a run takes a number of hours."""
    if not hours > 0:
        raise SystemExit(f"{hours:g} hours are not possible: give a number above 0")
    run = simulate(assumptions, name)
    products = run.parts["teacher"] + run.parts["student"]
    rest, step = run.seconds - products, hours * 3600 / run.steps
    if step <= rest:
        raise SystemExit(f"{hours:g} hours are too few for {name}: without products they are {rest / step * hours:.1f}")
    share: float = products * assumptions[name].utilisation / (step - rest)
    if share > 1:
        raise SystemExit(f"{hours:g} hours are too few for {name}: its utilisation would have to be {share:.0%}")
    return share


# -- the command line ---------------------------------------------------------------------------------------------


def print_table(runs: Sequence[Simulation]) -> None:
    """Print the parts of a step, and what a run takes."""
    print("| | " + " | ".join(f"{run.devices} x {run.device}" for run in runs) + " |\n|" + " --- |" * (len(runs) + 1))
    rows: dict[str, list[str]] = {
        f"{part}, ms": [f"{1e3 * run.parts[part]:,.1f}" for run in runs] for part in runs[0].parts
    }
    rows["a step, ms"] = [f"{1e3 * run.seconds:,.0f}" for run in runs]
    rows["million tokens/s"] = [f"{run.tokens / run.seconds / 1e6:.2f}" for run in runs]
    rows["steps"] = [f"{run.steps:,}" for run in runs]
    rows["hours"] = [f"{run.hours:.2f}" for run in runs]
    rows["device-hours"] = [f"{run.hours * run.devices:,.0f}" for run in runs]
    rows["cost, $"] = [f"{run.cost:,.0f}" for run in runs]
    rows["a device sends in a step, MB"] = [f"{run.reduced / 1e6:,.0f}" for run in runs]
    rows["read in a step, MB"] = [f"{run.read / 1e6:,.1f}" for run in runs]
    rows["read in the run, GB"] = [f"{run.read * run.steps / 1e9:,.1f}" for run in runs]
    for title, cells in rows.items():
        print(f"| {title} | {' | '.join(cells)} |")


def draw(path: Path, assumptions: Assumptions, names: Sequence[str]) -> None:
    """Plot the hours of a run against the number of devices."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    counts = [2**power for power in range(9)]
    for name in names:
        hours = [simulate(changed(assumptions, [f"{name}.count={count}"]), name).hours for count in counts]
        axes.loglog(counts, hours, marker="o", label=name, base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("devices")
    axes.set_ylabel("hours of the run")
    axes.legend()
    figure.savefig(path, dpi=100)


def main(words: Sequence[str] | None = None) -> None:
    """Print a table of the selected devices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", nargs="+", choices=DEVICES, default=["v100", "h100", "v5e", "v5p"])
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="SECTION.NAME=NUMBER")
    parser.add_argument("--hours", type=float, help="also print the utilisation with which a run takes these hours")
    parser.add_argument("--json", type=Path, help="also write assumptions and results to this file")
    parser.add_argument("--png", type=Path, help="also plot the hours against the number of devices")
    arguments = parser.parse_args(words)
    assumptions = changed(ASSUMPTIONS, arguments.set)
    runs = [simulate(assumptions, name) for name in arguments.devices]
    print_table(runs)
    if arguments.hours is not None:
        for run in runs:
            share = utilisation_for(assumptions, run.device, arguments.hours)
            print(f"\n{run.devices} x {run.device} take {arguments.hours:g} hours with a utilisation of {share:.1%}")
    if arguments.json:
        results = [{**asdict(run), "hours": run.hours, "cost": run.cost} for run in runs]
        content = {"assumptions": {name: asdict(section) for name, section in assumptions.items()}, "results": results}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if arguments.png:
        draw(arguments.png, assumptions, arguments.devices)


if __name__ == "__main__":
    main()
