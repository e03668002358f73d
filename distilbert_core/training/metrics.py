"""The usual metrics of each task, computed by the libraries that define them.

All are fractions (1.0 is perfect), not percentages. An undefined metric is 0.0, without a warning: the correlation of
constant predictions, or the precision if nothing was predicted. A library is imported when a function first needs it:
scikit-learn, SciPy, or seqscore.

Shapes: n rows, L labels, K regression targets.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.libraries import require_library

Metrics = dict[str, float]

TAG = re.compile(r"O|[BI]-.+")
# SQuAD removes punctuation and then articles before it compares answers.
PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLE = re.compile(r"\b(a|an|the)\b")


def classification(logits: np.ndarray, labels: np.ndarray, positive: int | None = None) -> Metrics:
    """Return the metrics of a classifier that predicts one label for each row.

    Args:
        logits: [n, L]; the largest of each row is its prediction.
        labels: [n] integers, from 0 to L - 1.
        positive: Index of the label whose own F1 is measured too.

    Returns:
        accuracy; f1_macro, the mean over the labels that occur in `labels` or in the predictions; matthews_correlation;
        with `positive` also f1, that of this label against all others.

    Raises:
        BackendNotInstalledError: scikit-learn is not installed.
        InputError: Shapes do not fit, there are no rows, a number is not finite, or a label is out of range.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.training import metrics
        >>> metrics.classification(np.array([[2.0, 1.0], [0.0, 3.0], [0.5, 0.1], [0.2, 0.9]]), np.array([0, 1, 1, 1]))
        {'accuracy': 0.75, 'f1_macro': 0.7333333333333334, 'matthews_correlation': 0.5773502691896258}
    """
    logits, labels = _finite("logits", logits), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise InputError(f"logits must be [n, L] and labels [n], got {logits.shape} and {labels.shape}.")
    count = logits.shape[1]
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= count:
        raise InputError(
            f"labels must be integers from 0 to {count - 1}, got {labels.dtype} from {labels.min()} to {labels.max()}."
        )
    predicted = logits.argmax(-1)
    scores = require_library("sklearn.metrics", "scikit-learn", "finetune")
    # scikit-learn gives 0 here too, but warns if both are the same single label.
    undefined = _constant(predicted) or _constant(labels)
    of_positive: Metrics = {}
    if positive is not None:
        of_positive["f1"] = float(scores.f1_score(labels == positive, predicted == positive, zero_division=0))
    return {
        "accuracy": float(scores.accuracy_score(labels, predicted)),
        "f1_macro": float(scores.f1_score(labels, predicted, average="macro", zero_division=0)),
        "matthews_correlation": 0.0 if undefined else float(scores.matthews_corrcoef(labels, predicted)),
        **of_positive,
    }


def multi_label(logits: np.ndarray, labels: np.ndarray) -> Metrics:
    """Return the metrics of a classifier that predicts any number of labels for each row.

    Args:
        logits: [n, L]; a label is predicted if its logit is above 0, that is, its probability above 0.5.
        labels: [n, L], 0 or 1.

    Returns:
        accuracy, the fraction of rows whose labels are all right; f1_micro, over all decisions; f1_macro, the mean over
        the L labels, where a label that neither occurs nor is predicted counts as 0.

    Raises:
        BackendNotInstalledError: scikit-learn is not installed.
        InputError: Shapes do not fit, there are no rows, a number is not finite, or a label is neither 0 nor 1.
    """
    logits, labels = _finite("logits", logits), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape:
        raise InputError(f"logits and labels must both be [n, L], got {logits.shape} and {labels.shape}.")
    if not np.isin(labels, (0, 1)).all():
        raise InputError(f"labels must be 0 or 1, got {labels[~np.isin(labels, (0, 1))][0]}.")
    predicted, labels = (logits > 0).astype(int), labels.astype(int)
    scores = require_library("sklearn.metrics", "scikit-learn", "finetune")
    # scikit-learn takes a single column for two classes; here only class 1 is a label.
    options: dict[str, Any] = {"labels": [1] if labels.shape[1] == 1 else None, "zero_division": 0}
    return {
        "accuracy": float(scores.accuracy_score(labels, predicted)),
        "f1_micro": float(scores.f1_score(labels, predicted, average="micro", **options)),
        "f1_macro": float(scores.f1_score(labels, predicted, average="macro", **options)),
    }


def regression(predictions: np.ndarray, labels: np.ndarray) -> Metrics:
    """Return the correlations between predicted and true numbers.

    Args:
        predictions: [n] or [n, K].
        labels: [n] or [n, K] true numbers.

    Returns:
        pearson and spearman; the mean over the K targets.

    Raises:
        BackendNotInstalledError: SciPy is not installed.
        InputError: Shapes do not fit, there are no rows, or a number is not finite.
    """
    predictions, labels = _finite("predictions", predictions), _finite("labels", labels)
    if len(predictions) != len(labels) or predictions.size != labels.size:
        raise InputError(
            f"predictions and labels must have the same shape, [n] or [n, K], got {predictions.shape} and "
            f"{labels.shape}."
        )
    stats = require_library("scipy.stats", "SciPy", "finetune")
    targets = list(zip(predictions.reshape(len(predictions), -1).T, labels.reshape(len(labels), -1).T, strict=True))
    functions = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}
    return {
        name: float(np.mean([0.0 if _constant(x) or _constant(y) else correlate(x, y).statistic for x, y in targets]))
        for name, correlate in functions.items()
    }


def entities(predicted: Sequence[Sequence[str]], true: Sequence[Sequence[str]]) -> Metrics:
    """Return the metrics of tagged entities. An entity is right if its words and its type are right.

    Tags are read as conlleval does, the script of the CoNLL shared tasks: an I- tag that does not continue an entity of
    its type begins one.

    Args:
        predicted: The tags of each sentence: 'O', 'B-TYPE' or 'I-TYPE'.
        true: The true tags of each sentence.

    Returns:
        precision, recall and f1 over all entities; accuracy, of the tags.

    Raises:
        BackendNotInstalledError: seqscore is not installed.
        InputError: The numbers of sentences or words differ or are zero, or a tag has another form.

    Example:
        >>> from distilbert_core.training import metrics
        >>> metrics.entities([["B-person", "I-person", "O", "O"]], [["B-person", "I-person", "O", "B-group"]])
        {'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'accuracy': 0.75}
    """
    _same_length(predicted, true, "sentences")
    for index, (tags, truth) in enumerate(zip(predicted, true, strict=True)):
        if len(tags) != len(truth):
            raise InputError(f"Sentence {index} has {len(truth)} true tags, but {len(tags)} predicted ones.")
    unknown = sorted({tag for tags in (*predicted, *true) for tag in tags if not TAG.fullmatch(tag)})
    if unknown:
        raise InputError(f"Tags must be 'O', 'B-TYPE' or 'I-TYPE', got {', '.join(map(repr, unknown[:5]))}.")
    scoring = require_library("seqscore.scoring", "seqscore", "finetune")
    spans, tags = scoring.score_label_sequences(predicted, true, "BIO", repair="conlleval")
    return {"precision": spans.precision, "recall": spans.recall, "f1": spans.f1, "accuracy": tags.accuracy}


def answers(predicted: Sequence[str], true: Sequence[Sequence[str]]) -> Metrics:
    """Return the metrics of SQuAD (Rajpurkar et al. 2016 and 2018, as its evaluate-v2.0.py defines them).

    Answers are compared without case, punctuation, articles and surplus spaces. Of several true answers, the best match
    counts.

    Args:
        predicted: The answer to each question; '' for no answer.
        true: All true answers to each question; an empty list for no answer.

    Returns:
        exact_match; f1, of the words that two answers share. The mean over the questions.

    Raises:
        InputError: The numbers of questions differ or are zero.

    Example:
        >>> from distilbert_core.training import metrics
        >>> metrics.answers(["the Eiffel Tower", "in Paris"], [["Eiffel Tower"], ["Paris", "Paris, France"]])
        {'exact_match': 0.5, 'f1': 0.8333333333333333}
    """
    _same_length(predicted, true, "questions")
    exact, shared = np.mean([_score_answer(*pair) for pair in zip(predicted, true, strict=True)], axis=0).tolist()
    return {"exact_match": exact, "f1": shared}


def answers_or_none(predicted: Sequence[str], no_answer: Sequence[float], true: Sequence[Sequence[str]]) -> Metrics:
    """Return the metrics of SQuAD 2.0, where some questions have no answer (Rajpurkar, Jia and Liang 2018).

    Names and definitions are those of its evaluate-v2.0.py. Answers have the scores of `answers`. A question without an
    answer has the score 1 if no answer is predicted, else 0. No answer is predicted if its probability is above a
    threshold: 0.5; for best_exact and best_f1, the threshold with the best score.

    Args:
        predicted: The best answer to each question, even if no answer is more probable.
        no_answer: The probability that a question has no answer, in [0, 1].
        true: All true answers to each question; an empty list for no answer.

    Returns:
        exact, f1 and total, the number of questions, for all questions; the same with the prefixes HasAns_ and NoAns_
        for the questions with and without an answer, if there are any; best_exact and best_f1, with best_exact_thresh
        and best_f1_thresh. All but the numbers of questions are fractions.

    Raises:
        InputError: The numbers of questions differ or are zero, or a probability is impossible.

    Example:
        >>> from distilbert_core.training import metrics
        >>> scores = metrics.answers_or_none(["Paris", "in Rome", "Oslo"], [0.1, 0.7, 0.6], [["Paris"], ["Rome"], []])
        >>> scores["exact"], scores["HasAns_f1"], scores["NoAns_f1"], scores["best_f1"]
        (0.6666666666666666, 0.5, 1.0, 0.6666666666666666)
    """
    _same_length(predicted, true, "questions")
    _same_length(predicted, no_answer, "questions")
    chance = _finite("no_answer", no_answer)
    if chance.min() < 0 or chance.max() > 1:
        raise InputError(f"no_answer must be probabilities, got {chance.min()} to {chance.max()}.")
    given = ["" if none > 0.5 else answer for answer, none in zip(predicted, chance, strict=True)]
    scores = np.array([_score_answer(*pair) for pair in zip(given, true, strict=True)])  # [n, 2]
    has = np.array([bool(texts) for texts in true])
    metrics: Metrics = {}
    for prefix, rows in (("", np.ones_like(has)), ("HasAns_", has), ("NoAns_", ~has)):
        if rows.any():
            exact, f1 = scores[rows].mean(axis=0).tolist()
            metrics |= {f"{prefix}exact": exact, f"{prefix}f1": f1, f"{prefix}total": int(rows.sum())}

    # With more and more answers, the surest first: each adds its score, or subtracts 1 if the question has no answer.
    order = np.argsort(chance, kind="stable")
    as_given = np.array([_score_answer(*pair) for pair in zip(predicted, true, strict=True)])
    wrong = np.array([float(bool(answer)) for answer in predicted])
    for name, column in (("exact", 0), ("f1", 1)):
        gains = np.where(has, as_given[:, column], -wrong)[order]
        totals = (~has).sum() + np.cumsum([0.0, *gains])
        best = int(totals.argmax())
        metrics |= {
            f"best_{name}": float(totals[best] / len(has)),
            f"best_{name}_thresh": float(chance[order[best - 1]]) if best else 0.0,
        }
    return metrics


def masked_lm(loss_sum: float, correct: int, count: int) -> Metrics:
    """Return the metrics of predicted tokens, from sums over all tokens.

    Args:
        loss_sum: Sum of the cross-entropies, in nats.
        correct: Number of tokens that were predicted right.
        count: Number of tokens to predict.

    Returns:
        loss, the mean over the tokens; perplexity, its exponential; accuracy.

    Raises:
        InputError: There are no tokens, or a number is impossible.
    """
    if not (count > 0 and 0 <= correct <= count and math.isfinite(loss_sum)):
        raise InputError(
            "Masked-LM metrics need a finite loss_sum and 0 <= correct <= count with count > 0, got "
            f"loss_sum={loss_sum}, correct={correct}, count={count}."
        )
    loss = float(loss_sum / count)
    perplexity = math.exp(loss) if loss < 709 else math.inf  # exp(710) overflows a float
    return {"loss": loss, "perplexity": perplexity, "accuracy": float(correct / count)}


def _finite(name: str, values: Any) -> np.ndarray:
    """Return values as float64, or raise InputError if they are empty or not all finite."""
    values = np.asarray(values, np.float64)
    if values.size == 0:
        raise InputError(f"{name} must have at least one row, got the shape {values.shape}.")
    if not np.isfinite(values).all():
        raise InputError(f"{name} must be finite, got {values[~np.isfinite(values)][0]}.")
    return values


def _same_length(predicted: Sequence[Any], true: Sequence[Any], what: str) -> None:
    if not predicted or len(predicted) != len(true):
        raise InputError(f"predicted and true must be for the same {what}, got {len(predicted)} and {len(true)}.")


def _constant(values: np.ndarray) -> bool:
    """Return whether values [n] are all equal, up to the rounding of float64."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def _score_answer(answer: str, truths: Sequence[str]) -> tuple[float, float]:
    """Return whether an answer is one of the true answers, and its best F1 of words with one of them."""
    words = _answer_words(answer)
    of_truths = [truth for truth in map(_answer_words, truths) if truth] or [[]]
    return float(words in of_truths), max(_words_f1(words, truth) for truth in of_truths)


def _answer_words(text: str) -> list[str]:
    return ARTICLE.sub(" ", text.lower().translate(PUNCTUATION)).split()


def _words_f1(predicted: list[str], true: list[str]) -> float:
    if not predicted or not true:
        return float(predicted == true)
    # 2PR / (P + R), with P = shared / predicted and R = shared / true.
    return 2 * (Counter(predicted) & Counter(true)).total() / (len(predicted) + len(true))
