"""The ways in which scripts call the pipelines of Transformers 4.53.3, and the shapes of what they get.

Each is an expression in which `p` is a pipeline, and `make` makes another one with options of its constructor. This
module needs Transformers only where it writes the fixture.
"""

from collections.abc import Callable
from typing import Any

QUESTION = "Where does Zoë live?"
CONTEXT = "My name is Zoë and I live in Paris, not in Rome."
ONE = {"question": QUESTION, "context": CONTEXT}
OTHER = {"question": "Who lives in Paris?", "context": CONTEXT}
WORDS = ["Zoë", "Ångström-O'Neill", "met", "José", "don't"]


class Example:
    """As Transformers' SquadExample."""

    question_text, context_text = QUESTION, CONTEXT


class Rows:
    """A data set that has a length and an index, and is no iterable."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, Any]:
        return [{"text": "a good one", "label": 1}, {"text": "a bad one", "label": 0}][index]


# Of each checkpoint of `pipeline_cases` its task and the calls.
CALLS: dict[str, tuple[str, list[str]]] = {
    "moods": (
        "text-classification",
        [
            "p('x')",
            "p('x', top_k=1)",
            "p('x', top_k=2)",
            "p('x', top_k=None)",
            "p('x', top_k='')",
            "p(['x'])",
            "p(['x', 'y'])",
            "p(['x', 'y'], top_k=1)",
            "p(['x'], top_k=None)",
            "p({'text': 'a', 'text_pair': 'b'})",
            "p([{'text': 'a', 'text_pair': 'b'}])",
            "p([[['a', 'b']]])",
            "p('x', return_all_scores=True)",
            "p('x', return_all_scores=False)",
            "p(['x', 'y'], return_all_scores=True)",
            "p(['x'], return_all_scores=False)",
            "p('some longer text it is', truncation=True, max_length=5, padding='max_length')",
            "p(['x'] * 3, batch_size=2, num_workers=0)",
            "list(p(text for text in ['x', 'y']))",
            "list(p(KeyDataset(Rows(), 'text')))",
            "p(inputs='x')",
            "p.predict(['x'])",
            "p.transform('x')",
            "make(top_k=None)('x')",
            "make(top_k=None)(['x'])",
            "make(top_k=2)('x', top_k=1)",
            "make(return_all_scores=True)('x')",
            "make(return_all_scores=True)('x', top_k=1)",
            "make(return_all_scores=False, device=-1, batch_size=2)('x')",
            "make(function_to_apply='none', framework='pt')({'text': 'x'})",
            "[p.task, p.model.config.id2label[0], p.binary_output, p.feature_extractor]",
        ],
    ),
    "masked_lm": (
        "fill-mask",
        [
            "p('a [MASK] b')",
            "p(['a [MASK] b'])",
            "p(['a [MASK] b', 'c [MASK]'])",
            "p('a [MASK] b [MASK]', top_k=1)",
            "p(['a [MASK] b [MASK]'], top_k=1)",
            "p('a [MASK] b', top_k=None)",
            "p('a [MASK]', targets=['good', 'bad', 'good'], top_k=10)",
            "p('a [MASK]' + ' word' * 600, tokenizer_kwargs={'truncation': True, 'max_length': 9})",
            "list(p(text for text in ['a [MASK]']))",
            "make(top_k=1, targets='good')('a [MASK]')",
        ],
    ),
    "entities": (
        "token-classification",
        [
            "p('Zoë met José')",
            "p(['Zoë met José'])",
            "p('Zoë met José', grouped_entities=True)",
            "p('Zoë met José', grouped_entities=True, ignore_subwords=True)",
            "p('Zoë met José', grouped_entities=False)",
            "p('Zoë met José', ignore_subwords=True)",
            "p('Zoë met José', aggregation_strategy=None, ignore_labels=None)",
            "p([WORDS, WORDS[:2]], is_split_into_words=True, ignore_labels=[])",
            "p([WORDS], is_split_into_words=True, aggregation_strategy='first', ignore_labels=[])",
            "p([WORDS], is_split_into_words=True, delimiter='--', aggregation_strategy='max')",
            "list(p(text for text in ['Zoë met José']))",
            "make(aggregation_strategy='simple', stride=4)(' '.join(WORDS * 60))",
        ],
    ),
    "answers": (
        "question-answering",
        [
            "p(question=QUESTION, context=CONTEXT)",
            "p(QUESTION, CONTEXT)",
            "p(ONE)",
            "p([ONE])",
            "p([ONE, OTHER])",
            "p(ONE, OTHER)",
            "p(data=ONE)",
            "p(X=[ONE, OTHER])",
            "p(question=[QUESTION], context=CONTEXT)",
            "p(question=[QUESTION, 'Who?'], context=CONTEXT)",
            "p(question=[QUESTION, 'Who?'], context=[CONTEXT, CONTEXT])",
            "p(question=QUESTION, context=CONTEXT, topk=3)",
            "p(question=QUESTION, context=CONTEXT, top_k=None, max_answer_len=None, align_to_words=None)",
            "p(question=QUESTION, context=CONTEXT, padding='longest', max_question_len=30, max_seq_len=100)",
            "list(p(row for row in [ONE, OTHER]))",
            "p(p.create_sample([QUESTION, 'Who?'], [CONTEXT, CONTEXT]))",
            "make(top_k=2, handle_impossible_answer=True)(ONE)",
        ],
    ),
    "vectors": (
        "feature-extraction",
        [
            "p('a b')",
            "p(['a b', 'c'])",
            "p(['a b'])",
            "p('a b c d', tokenize_kwargs={'truncation': True, 'max_length': 4})",
            "p('a', tokenize_kwargs={'add_special_tokens': False})",
            "p('a', truncation=True, padding=True)",
            "list(p(text for text in ['a']))",
            "p('a', return_tensors=True).shape[1]",
            "make(return_tensors=True)(['a', 'b c'])[1].shape[1]",
        ],
    ),
    "inference": (
        "zero-shot-classification",
        [
            "p('a', 'b')",
            "p('a', ['b', 'c'])",
            "p('a', candidate_labels='b, c')",
            "p(sequences='a', candidate_labels=['b', 'c'])",
            "p(['a'], ['b', 'c'])",
            "p('a', candidate_labels=['b', 'c'], multi_class=True)",
            "list(p((text for text in ['a', 'c']), candidate_labels=['b', 'd']))",
            "make(candidate_labels=['b', 'd'], hypothesis_template='It is {}.')('a')",
            "p.entailment_id",
        ],
    ),
}


def results_of_calls(checkpoint: str, p: Any, make: Callable[..., Any], key_dataset: Any) -> dict[str, Any]:
    """What a pipeline gives for each call of its checkpoint.

    Args:
        checkpoint: Name of the checkpoint.
        p: Its pipeline.
        make: From options to a pipeline of the same model and tokenizer.
        key_dataset: The class KeyDataset.
    """
    names = {**globals(), "p": p, "make": make, "KeyDataset": key_dataset}
    return {f"{checkpoint}: {call}": eval(call, names) for call in CALLS[checkpoint][1]}
