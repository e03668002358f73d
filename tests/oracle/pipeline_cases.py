"""The pipelines of the oracle: seeded checkpoints, what is asked of them, and what Transformers 4.53.3 answers.

Every parameter is drawn by NumPy from a generator of its own, seeded by its name, so that both sides of a comparison
make the same checkpoint and none needs to be stored. This module needs Transformers only where it writes the fixture.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FILE_NAME = "pipelines.json"
DIGITS = 7  # of the numbers in the fixture

SIZES = {"n_layers": 2, "n_heads": 3, "dim": 24, "hidden_dim": 40, "max_position_embeddings": 512}
SHORT = {"max_position_embeddings": 48}
ENTITIES = {"id2label": dict(enumerate(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]))}
MOODS = {"id2label": dict(enumerate(["calm", "glad", "sad", "wild", "odd"]))}


@dataclass(frozen=True)
class Checkpoint:
    """The class of its model without its prefix, and the fields of its configuration beside `SIZES`."""

    head: str
    config: Mapping[str, Any] = field(default_factory=dict)


def both_maps(*labels: str) -> dict[str, Any]:
    """The names of classes, which Transformers does not turn around by itself."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


CHECKPOINTS = {
    "moods": Checkpoint("ForSequenceClassification", MOODS),
    "several_moods": Checkpoint("ForSequenceClassification", {**MOODS, "problem_type": "multi_label_classification"}),
    "one_label": Checkpoint("ForSequenceClassification", {"num_labels": 1}),
    "numbers": Checkpoint("ForSequenceClassification", {"num_labels": 3, "problem_type": "regression"}),
    "short_moods": Checkpoint("ForSequenceClassification", {**MOODS, **SHORT}),
    "masked_lm": Checkpoint("ForMaskedLM"),
    "entities": Checkpoint("ForTokenClassification", ENTITIES),
    "short_entities": Checkpoint("ForTokenClassification", {**ENTITIES, **SHORT}),
    "answers": Checkpoint("ForQuestionAnswering"),
    "short_answers": Checkpoint("ForQuestionAnswering", SHORT),
    "vectors": Checkpoint("Model"),
    "choices": Checkpoint("ForMultipleChoice"),
    "inference": Checkpoint("ForSequenceClassification", both_maps("contradiction", "neutral", "ENTAILMENT")),
    "entailment_first": Checkpoint("ForSequenceClassification", both_maps("entailment", "not_entailment")),
}


SCALES = {  # part of a parameter's name -> its size; that of a kernel is divided by the root of its width
    "bias": 0.05,
    "orm.weight": 0.2,
    "word_embeddings": 1.0,
    "position_embeddings": 0.3,
    "out_lin": 0.5,  # tokens differ more by themselves than by where they stand, so that labels vary
    "qa_outputs": 6.0,  # as sure of itself as a trained model
    "": 1.5,
}


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a parameter, float32, large enough for scores to differ clearly."""
    values = np.random.default_rng(list(name.encode())).normal(size=shape)
    values *= next(scale for part, scale in SCALES.items() if part in name)
    if "orm.weight" in name:
        values += 1
    elif name.endswith("weight") and "embeddings" not in name:
        values /= np.sqrt(shape[-1])
    return values.astype(np.float32)


TEXTS = [
    "A quiet film, and a good one.",
    "no",
    "Zoë Ångström-O'Neill met José in São Paulo; 東京 was too far 😀, they said…",
    "",
    "unaffable embeddings & antidisestablishmentarianism",
    "The old lighthouse keeper wrote down the weather every morning for forty-one years.",
]
PAIRS = [
    {"text": "How old is it?", "text_pair": "Nobody knows how old it is."},
    {"text": "A man sleeps.", "text_pair": "A man is awake, naïvely."},
]
NAMES = [
    "Zoë Ångström-O'Neill met José in São Paulo; 東京 was too far 😀, they said…",
    "Wolfgang Amadeus Mozart lived at Getreidegasse 9, Salzburg (Austria).",
    "ẞ İstanbul \u1112\u1161\u11ab unaffable\u00a0embeddings  e\u0301te\u0301 [UNK] \u2603 x\u0378y",
    "",
]
MANY_NAMES = " ".join([*NAMES[:3]] * 4)  # 230 tokens
STORY = " ".join(
    f"On day {day} keeper number {day * 37 % 101} saw {ships} ships off Łódź, wrote it down twice and went to bed."
    for day, ships in enumerate(
        [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3, 3, 8, 3, 2, 7]
    )
)  # 772 tokens
QUESTION = {"question": "How many ships did he see?", "context": STORY}
SHORT_QUESTION = {
    "question": "Where does Zoë live?",
    "context": "My name is Zoë 😀 and I live in 東京, not in Saint-Étienne; José lives in Unaffableville.",
}
MASKED = [
    "Paris is the [MASK] of France.",
    "Zoë [MASK] the naïve 東京 café, didn't she?",
    "[MASK] is [MASK] , and [PAD] [MASK]!",
]
CHOICES = {
    "prompt": "He opened the door because",
    "choices": ["it was raining.", "he wanted to go out into the garden and look at the birds.", "no", "Zoë 東京"],
}


@dataclass(frozen=True)
class Case:
    """A call of a checkpoint's pipeline with each of the inputs."""

    task: str
    checkpoint: str
    inputs: list[Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tells it from the other cases."""
        options = ",".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.checkpoint}({options})"


STRATEGIES = ("none", "simple", "first", "average", "max")

CASES = [
    Case(task, checkpoint, inputs, options)
    for task, checkpoint, inputs, calls in [
        ("text-classification", "moods", [*TEXTS, *PAIRS], [{}, {"top_k": 1}, {"top_k": 3}, {"top_k": None}]),
        (
            "text-classification",
            "moods",
            TEXTS,
            [{"top_k": None, "function_to_apply": name} for name in ("none", "sigmoid", "softmax")],
        ),
        ("text-classification", "several_moods", TEXTS, [{}, {"top_k": None}]),
        ("text-classification", "one_label", TEXTS, [{}, {"top_k": None}]),
        ("text-classification", "numbers", TEXTS, [{}, {"top_k": None}]),
        ("text-classification", "short_moods", [STORY, {"text": STORY, "text_pair": STORY}], [{"top_k": None}]),
        ("fill-mask", "masked_lm", MASKED, [{}, {"top_k": 2}]),
        ("fill-mask", "masked_lm", MASKED[:2], [{"targets": ["magic", "incidents", "##dini", "magic"]}]),
        ("fill-mask", "masked_lm", MASKED[:2], [{"targets": "ribs", "top_k": 7}]),
        (
            "token-classification",
            "entities",
            NAMES,
            [{"aggregation_strategy": name} for name in STRATEGIES]
            + [{"aggregation_strategy": name, "ignore_labels": []} for name in STRATEGIES]
            + [{"ignore_labels": ["O", "B-PER"]}, {"aggregation_strategy": "simple", "ignore_labels": ["PER"]}],
        ),
        (
            "token-classification",
            "short_entities",
            [MANY_NAMES, NAMES[0]],
            [{}]
            + [{"aggregation_strategy": name, "stride": 11} for name in STRATEGIES[1:]]
            + [{"aggregation_strategy": "simple", "stride": 0}],
        ),
        (
            "question-answering",
            "answers",
            [QUESTION, SHORT_QUESTION],
            [
                {},
                {"top_k": 5},
                {"top_k": 3, "max_answer_len": 2},
                {"top_k": 4, "handle_impossible_answer": True},
                {"top_k": 4, "align_to_words": False},
                {"top_k": 3, "max_seq_len": 100, "doc_stride": 20},
            ],
        ),
        ("question-answering", "short_answers", [QUESTION, SHORT_QUESTION], [{"top_k": 6}, {"doc_stride": 0}]),
        ("feature-extraction", "vectors", TEXTS[:4], [{}]),
        ("multiple-choice", "choices", [CHOICES], [{}]),
        (
            "zero-shot-classification",
            "inference",
            [*TEXTS[:3], STORY],
            [
                {"candidate_labels": ["weather", "a very long journey", "東京"]},
                {"candidate_labels": "weather, ships", "hypothesis_template": "{} is what it is about."},
                {"candidate_labels": ["weather", "ships", "sleep"], "multi_label": True},
            ],
        ),
        (
            "zero-shot-classification",
            "entailment_first",
            TEXTS[:2],
            [{"candidate_labels": ["good"]}, {"candidate_labels": ["good", "bad"], "multi_label": True}],
        ),
    ]
    for options in calls
]


def largest_difference(got: Any, expected: Any, where: str = "answers") -> float:
    """The largest difference of two numbers in an answer. Everything else must be equal, which is asserted."""
    if isinstance(expected, Mapping):
        assert list(got) == list(expected), where
        return max(largest_difference(got[name], item, f"{where}.{name}") for name, item in expected.items())
    if isinstance(expected, list):
        assert len(got) == len(expected), where
        pairs = enumerate(zip(got, expected, strict=True))
        return max((largest_difference(a, b, f"{where}[{i}]") for i, (a, b) in pairs), default=0.0)
    if isinstance(expected, float | np.floating):
        return abs(float(got) - float(expected))
    assert got == expected, where
    return 0.0


def rounded(value: Any) -> Any:
    """The same with every float rounded, to be stored."""
    if isinstance(value, Mapping):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return round(float(value), DIGITS) if isinstance(value, float | np.floating) else value


def answers(transformers: Any, checkpoint: str, vocab: Path, cases: list[Case]) -> dict[str, list[Any]]:
    """What a version of Transformers answers in some cases of one checkpoint, by the name of the case."""
    model, tokenizer = load(transformers, checkpoint, vocab)
    return {case.name: _answers(transformers, model, tokenizer, case) for case in cases}


def answers_to_calls(transformers: Any, checkpoint: str, vocab: Path) -> dict[str, Any]:
    """What a version of Transformers gives for the calls of `pipeline_calls`."""
    from pipeline_calls import CALLS, results_of_calls
    from transformers.pipelines.pt_utils import KeyDataset

    model, tokenizer = load(transformers, checkpoint, vocab)

    def make(**options: Any) -> Any:
        return transformers.pipeline(
            CALLS[checkpoint][0], model=model, tokenizer=tokenizer, **{"device": "cpu", **options}
        )

    return results_of_calls(checkpoint, make(), make, KeyDataset)


def load(transformers: Any, checkpoint: str, vocab: Path) -> tuple[Any, Any]:
    """The model of a checkpoint, and its tokenizer."""
    import torch

    spec = CHECKPOINTS[checkpoint]
    config = transformers.DistilBertConfig(**{**SIZES, **spec.config})
    model = getattr(transformers, f"DistilBert{spec.head}")(config).eval()
    parameters = {name: torch.from_numpy(draw(name, tuple(p.shape))) for name, p in model.named_parameters()}
    model.load_state_dict(parameters, strict=False)  # a tied parameter is named once
    tokenizer = transformers.DistilBertTokenizerFast(
        str(vocab), model_max_length=config.max_position_embeddings, clean_up_tokenization_spaces=True
    )
    return model, tokenizer


def _answers(transformers: Any, model: Any, tokenizer: Any, case: Case) -> list[Any]:
    if case.task == "multiple-choice":  # which has no pipeline
        return [_choose(model, tokenizer, **value) for value in case.inputs]
    answer = transformers.pipeline(case.task, model=model, tokenizer=tokenizer, device="cpu")
    if case.task == "question-answering":
        return answer(**{name: [value[name] for value in case.inputs] for name in case.inputs[0]}, **case.options)
    options = {"truncation": True} if case.task == "text-classification" else {}
    return answer(case.inputs, **options, **case.options)


def _choose(model: Any, tokenizer: Any, prompt: str, choices: list[str]) -> dict[str, Any]:
    import torch

    inputs = tokenizer([prompt] * len(choices), choices, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**{name: inputs[name][None] for name in ("input_ids", "attention_mask")}).logits[0]
    scores = logits.double().softmax(-1).tolist()
    choice = scores.index(max(scores))
    return {"choice": choice, "text": choices[choice], "score": scores[choice], "scores": scores}


def write_pipeline_fixture(vocab: Path, root: Path) -> None:
    """Write what Transformers answers to its file below `root`, one case a line."""
    import transformers
    from pipeline_calls import CALLS

    expected: dict[str, list[Any]] = {}
    for checkpoint in CHECKPOINTS:
        expected |= answers(transformers, checkpoint, vocab, [case for case in CASES if case.checkpoint == checkpoint])
    for checkpoint in CALLS:
        expected |= answers_to_calls(transformers, checkpoint, vocab)
    lines = [f"{json.dumps(name)}:{json.dumps(rounded(row), separators=(',', ':'))}" for name, row in expected.items()]
    (root / FILE_NAME).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="ascii")
