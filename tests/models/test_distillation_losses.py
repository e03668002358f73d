"""The losses between a student and its teacher: values and gradients against the formulas in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

from distilbert_core import InputError
from distilbert_core.training.distillation.objective import relation_term
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS
from support.reference import log_softmax

SHAPE = (5, 7, 11)
EPSILON = 1e-12  # of torch.nn.functional.cosine_embedding_loss
LOSSES = ("distillation_loss", "cosine_loss", "logits_squared_error", "hidden_loss")


class Judged(NamedTuple):
    """A loss with its gradients."""

    value: np.ndarray
    student: np.ndarray
    teacher: np.ndarray  # zeros, or the teacher would be taught


# The formulas, for rows [N, C] that all count: the loss of each row, and its derivative by the student's row.


def divergences(student: np.ndarray, teacher: np.ndarray, temperature: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    log_q, log_p = log_softmax(student / temperature), log_softmax(teacher / temperature)
    p = np.exp(log_p)
    terms = np.zeros_like(p)
    terms[p > 0] = p[p > 0] * (log_p[p > 0] - log_q[p > 0])
    return temperature**2 * terms.sum(-1), temperature * (np.exp(log_q) - p)


def cosine_distances(student: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    student_square = (student**2).sum(-1, keepdims=True) + EPSILON
    norms = np.sqrt(student_square * ((teacher**2).sum(-1, keepdims=True) + EPSILON))
    cosine = (student * teacher).sum(-1, keepdims=True) / norms
    return 1 - cosine[..., 0], cosine * student / student_square - teacher / norms


def squared_errors(student: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ((student - teacher) ** 2).sum(-1), 2 * (student - teacher)


def relative_errors(student: np.ndarray, teacher: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = teacher.reshape(-1, teacher.shape[-1])
    variance = ((rows - rows.mean(0)) ** 2).sum(-1).mean() if len(rows) > 1 else 1.0
    errors, derivatives = squared_errors(student, teacher)
    return errors / variance, derivatives / variance


FORMULAS: dict[str, Callable] = dict(
    zip(LOSSES, (divergences, cosine_distances, squared_errors, relative_errors), strict=True)
)


def expected(
    name: str, student: np.ndarray, teacher: np.ndarray, mask: np.ndarray | None = None, **options: float
) -> Judged:
    """The mean over the rows that count, looked at alone."""
    student, teacher = student.astype(np.float64), teacher.astype(np.float64)
    counted = np.ones(student.shape[:-1], bool) if mask is None else mask != 0
    losses, derivatives = FORMULAS[name](student[counted], teacher[counted], **options)
    gradient = np.zeros_like(student)
    gradient[counted] = derivatives / max(len(losses), 1)
    return Judged(losses.sum() / max(len(losses), 1), gradient, np.zeros_like(teacher))


# The same from each backend, called eagerly and compiled for unknown sizes.


def judged_by_pt(loss: Callable, student: np.ndarray, teacher: np.ndarray, mask: Any, compiled: bool, **options: Any):
    import torch

    from distilbert_pt import to_tensor
    from distilbert_pt.tensors import to_array

    if compiled:
        loss = torch.compile(loss, backend="eager", fullgraph=True, dynamic=True)
    tensors = [to_tensor(array).requires_grad_() for array in (student, teacher)]
    value = loss(*tensors, mask=None if mask is None else to_tensor(mask), **options)
    value.backward()
    return value, *(torch.zeros_like(x) if x.grad is None else x.grad for x in tensors), to_array


def judged_by_tf(loss: Callable, student: np.ndarray, teacher: np.ndarray, mask: Any, compiled: bool, **options: Any):
    import tensorflow as tf

    def judge(student: tf.Tensor, teacher: tf.Tensor, mask: tf.Tensor | None = None) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([student, teacher])
            value = loss(student, teacher, mask=mask, **options)
        return [value, *tape.gradient(value, [student, teacher], unconnected_gradients="zero")]

    arguments = [tf.constant(x) for x in (student, teacher, mask) if x is not None]
    if compiled:
        judge = tf.function(judge, input_signature=[tf.TensorSpec([None] * x.ndim, x.dtype) for x in arguments])
    return *judge(*arguments), lambda x: x.numpy()


def judged_by_flax(loss: Callable, student: np.ndarray, teacher: np.ndarray, mask: Any, compiled: bool, **options: Any):
    import jax
    import jax.numpy as jnp

    judge = jax.value_and_grad(lambda student, teacher, mask: loss(student, teacher, mask=mask, **options), (0, 1))
    value, gradients = (jax.jit(judge) if compiled else judge)(jnp.asarray(student), jnp.asarray(teacher), mask)
    return value, *gradients, np.asarray


BACKENDS = {"pt": judged_by_pt, "tf": judged_by_tf, "flax": judged_by_flax}


def judged(
    framework, name: str, student: np.ndarray, teacher: np.ndarray, mask=None, compiled=False, **options
) -> Judged:
    loss = getattr(framework.module("losses"), name)
    *found, to_array = BACKENDS[framework.name](loss, student, teacher, mask, compiled, **options)
    return Judged(*map(to_array, found))


def pair(dtype: Any = np.float64, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """A student and a teacher."""
    student, teacher = 3 * np.random.default_rng(0).standard_normal((2, *shape))
    return student.astype(dtype), teacher.astype(dtype)


def random_mask() -> np.ndarray:
    return np.random.default_rng(1).random(SHAPE[:-1]) < 0.6


CASES = [
    *((name, {}) for name in LOSSES),
    ("distillation_loss", {"temperature": 1.0}),
    ("distillation_loss", {"temperature": 3.0}),
]


@pytest.mark.parametrize("compiled", [False, True], ids=["called", "compiled"])
@pytest.mark.parametrize("dtype", [None, bool, np.int64], ids=["no mask", "bool", "int64"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_values_and_gradients(framework, name, options, dtype, compiled):
    mask = None if dtype is None else random_mask().astype(dtype)
    got = judged(framework, name, *pair(), mask, compiled, **options)
    assert_close(got, tuple(expected(name, *pair(), mask, **options)), 1e-10)  # measured: 6e-14


@pytest.mark.parametrize("shape", [(11,), (2, 5, 3, 11)])
@pytest.mark.parametrize("name", LOSSES)
def test_any_number_of_axes(framework, name, shape):
    student, teacher = pair(shape=shape)
    wanted = expected(name, student, teacher)
    assert_close(judged(framework, name, student, teacher), tuple(wanted), 1e-10)  # measured: 3e-14


@pytest.mark.parametrize("compiled", [False, True], ids=["called", "compiled"])
@pytest.mark.parametrize("name", LOSSES)
def test_no_position_that_counts_gives_zero_and_zero_gradients(framework, name, compiled):
    got = judged(framework, name, *pair(), np.zeros(SHAPE[:-1], bool), compiled)
    assert all((array == 0).all() for array in got)


@pytest.mark.parametrize("name", LOSSES)
def test_no_position_at_all(framework, name):
    got = judged(framework, name, *pair(shape=(0, 7, 11)))
    assert got.value == 0
    assert got.student.shape == (0, 7, 11)


@pytest.mark.parametrize("compiled", [False, True], ids=["called", "compiled"])
@pytest.mark.parametrize("garbage", [np.nan, np.inf])
@pytest.mark.parametrize("name", LOSSES)
def test_what_stands_at_masked_positions_does_not_matter(framework, name, garbage, compiled):
    mask = random_mask()
    clean = judged(framework, name, *pair(), mask, compiled)
    spoilt = [np.where(mask[..., None], array, garbage) for array in pair()]
    got = judged(framework, name, *spoilt, mask, compiled)
    assert_close(got, tuple(clean), 0)
    assert (got.student[~mask] == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_computed_in_at_least_float32(framework, name, dtype):
    student, teacher = pair(dtype)
    got, wanted = judged(framework, name, student, teacher), expected(name, student, teacher)
    assert got.value.dtype == np.float32
    assert_close(got.value / wanted.value, 1.0, 1e-6)  # measured: 3e-7; bfloat16 would be off by 4e-3
    assert got.student.dtype == dtype
    scale = np.abs(wanted.student).max()
    rounding = float(ml_dtypes.finfo(dtype).eps) / 2  # once, in the end, to the dtype of the logits
    assert_close(got.student / scale, wanted.student / scale, rounding + 1e-6)  # measured in float32: 2e-7


@pytest.mark.parametrize("name", LOSSES)
def test_the_teacher_may_have_another_dtype(framework, name):
    student, teacher = pair(np.float64)
    teacher = teacher.astype(np.float32)
    got = judged(framework, name, student, teacher)
    assert got.value.dtype == np.float64
    assert_close(got, tuple(expected(name, student, teacher)), 1e-10)  # measured: 3e-14


HUGE = 1e4 * np.sign(np.random.default_rng(2).standard_normal(SHAPE))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("student", "teacher"),
    [(HUGE, pair()[1]), (pair()[0], HUGE), (HUGE, -HUGE), (HUGE, HUGE)],
    ids=["student", "teacher", "opposites", "alike"],
)
def test_probabilities_that_underflow(framework, student, teacher, dtype):
    """Measured: 3e-16 in float64, 2e-7 in float32."""
    student, teacher = student.astype(dtype), teacher.astype(dtype)
    got = judged(framework, "distillation_loss", student, teacher)
    wanted = expected("distillation_loss", student, teacher)
    scale = max(float(wanted.value), 1)
    tolerance = 1e-14 if dtype is np.float64 else 1e-6
    assert_close(got.value / scale, wanted.value / scale, tolerance)
    assert_close(got.student, wanted.student, tolerance)


def test_a_class_that_the_teacher_rules_out(framework):
    """Measured: 9e-16."""
    student, teacher = pair()
    teacher[..., 3] = -np.inf
    got = judged(framework, "distillation_loss", student, teacher)
    assert_close(got, tuple(expected("distillation_loss", student, teacher)), 1e-10)
    student[..., 3] = -np.inf  # the student knows it too
    got = judged(framework, "distillation_loss", student, teacher)
    others = np.arange(SHAPE[-1]) != 3
    wanted = expected("distillation_loss", student[..., others], teacher[..., others])
    assert_close(got.value, wanted.value, 1e-10)
    assert_close(got.student[..., others], wanted.student, 1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_hidden_states_of_zeros(framework, dtype):
    student, teacher = pair(dtype)
    student[0], teacher[1] = 0, 0
    student[2] = teacher[2] = 0
    got, wanted = judged(framework, "cosine_loss", student, teacher), expected("cosine_loss", student, teacher)
    tolerance = 1e-14 if dtype is np.float64 else 1e-6  # measured: 2e-16, 2e-7
    assert_close(got.value, wanted.value, tolerance)
    scale = np.abs(wanted.student).max()  # 1e6 for a student of zeros
    assert_close(got.student / scale, wanted.student / scale, tolerance)


def test_a_perfect_student_loses_nothing(framework):
    student, _ = pair()
    for name in LOSSES:
        got = judged(framework, name, student, student.copy())
        assert_close(got, (0.0, np.zeros(SHAPE), np.zeros(SHAPE)), 1e-13)  # measured: 2e-14


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_that_do_not_fit(framework, name):
    student, teacher = pair()
    what = "hidden" if name in ("cosine_loss", "hidden_loss") else "logits"
    for wrong, got in [
        (teacher[..., :10], r"\(5, 7, 10\)"),
        (teacher[:1], r"\(1, 7, 11\)"),
        (teacher[0], r"\(7, 11\)"),
        (teacher.swapaxes(0, 1).copy(), r"\(7, 5, 11\)"),
    ]:
        message = rf"teacher_{what} must have shape like student_{what} = \(5, 7, 11\), got {got}"
        with pytest.raises(InputError, match=message):
            judged(framework, name, student, wrong)
    for shape, got in [((5, 7, 11), r"\(5, 7, 11\)"), ((5, 1), r"\(5, 1\)"), ((7,), r"\(7,\)"), ((7, 5), r"\(7, 5\)")]:
        message = rf"mask must have shape like student_{what} without the last axis = \(5, 7\), got {got}"
        with pytest.raises(InputError, match=message):
            judged(framework, name, student, teacher, np.ones(shape, bool))


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, np.inf])
def test_impossible_temperatures(framework, temperature):
    with pytest.raises(InputError, match=rf"temperature must be a finite number above 0, got {temperature}"):
        judged(framework, "distillation_loss", *pair(), temperature=temperature)


@pytest.mark.parametrize("name", LOSSES)
def test_sizes_that_are_found_not_to_fit_only_when_run(pytestconfig, name):
    """Where TensorFlow traces for all sizes, an axis of 1 is not stretched over what it does not fit."""
    if "tf" not in pytestconfig.tested_backends:
        pytest.skip("TensorFlow is not tested")
    import tensorflow as tf

    loss = getattr(FRAMEWORKS["tf"].module("losses"), name)
    student, teacher = pair()
    mask = np.ones(SHAPE[:-1], bool)
    for wrong in [(student, teacher[:1], mask), (student, teacher, mask[:1])]:
        with pytest.raises(tf.errors.InvalidArgumentError, match="reshape"):
            judged_by_tf(loss, *wrong, compiled=True)


def test_the_formulas_equal_pytorch(pytestconfig):
    """Measured: 9e-16."""
    if "pt" not in pytestconfig.tested_backends:
        pytest.skip("PyTorch is not tested")
    import torch
    import torch.nn.functional as F

    student, teacher = (array.reshape(-1, SHAPE[-1]) for array in pair())
    s, t = torch.from_numpy(student), torch.from_numpy(teacher)
    wanted = {
        "distillation_loss": 4 * F.kl_div((s / 2).log_softmax(-1), (t / 2).softmax(-1), reduction="batchmean"),
        "cosine_loss": F.cosine_embedding_loss(s, t, torch.ones(len(s))),
        "logits_squared_error": F.mse_loss(s, t, reduction="sum") / len(s),
    }
    wanted["hidden_loss"] = F.mse_loss(s, t) / t.var(0, correction=0).mean()
    for name in LOSSES:
        assert_close(expected(name, student, teacher).value, wanted[name].numpy(), 1e-13)


# Relations between the tokens of a text: queries, keys and values [3, M, A], texts of these lengths.
LENGTHS, HEADS = (5, 2, 7), 3


def related(values: np.ndarray, teacher: np.ndarray) -> Judged:
    """The divergences of all texts, and their derivative by the values."""
    total, gradient = 0.0, np.zeros_like(values)
    for kind, start, length in ((k, s, n) for k in range(3) for s, n in zip((0, 5, 7), LENGTHS, strict=True)):
        part = slice(start, start + length)
        x, y = (array[kind, part].reshape(length, HEADS, -1).swapaxes(0, 1) for array in (values, teacher))
        log_q, log_p = (log_softmax(z @ z.swapaxes(1, 2) / np.sqrt(z.shape[-1])) for z in (x, y))
        total += (np.exp(log_p) * (log_p - log_q)).sum()
        of_scores = (np.exp(log_q) - np.exp(log_p)) / np.sqrt(x.shape[-1])
        gradient[kind, part] = ((of_scores + of_scores.swapaxes(1, 2)) @ x).swapaxes(0, 1).reshape(length, -1)
    count = sum(LENGTHS) * HEADS
    return Judged(np.float64(total / count), gradient / count, np.zeros_like(teacher))


@pytest.mark.parametrize("width", [12, 21], ids=["as wide", "wider"])
def test_relations_between_tokens(framework, width):
    """The gradient of the term by queries, keys and values. Measured: 4e-16."""
    rng = np.random.default_rng(3)
    values, teacher = rng.normal(size=(3, sum(LENGTHS), 12)), rng.normal(size=(3, sum(LENGTHS), width))
    view = object.__new__(framework.module("training").ModelView)
    view.last_attention = lambda hidden: [hidden[kind] for kind in range(3)]
    to_tensor = framework.package.BACKEND.to_tensor
    real = np.arange(8) < np.array(LENGTHS)[:, None]  # one column more than the longest text has tokens
    texts = {
        "text_tokens": to_tensor(np.where(real, np.array([0, 5, 7])[:, None] + np.arange(8), 0)),
        "related": to_tensor(np.repeat(real[:, None], HEADS, axis=1)),
    }

    def loss(values: Any, teacher: Any, mask: Any) -> Any:
        names = ("teacher_queries", "teacher_keys", "teacher_values")
        return relation_term(view, values, {**texts, **{n: teacher[k] for k, n in enumerate(names)}}, HEADS)

    *found, to_array = BACKENDS[framework.name](loss, values, teacher, None, False)
    assert_close(Judged(*map(to_array, found)), tuple(related(values, teacher)), 1e-12)


def test_cosine_similarities(framework):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 11)), rng.normal(size=(7, 11))
    a[3] = 0  # similar to nothing
    similarities = framework.module("losses").cosine_similarities
    to_tensor = framework.package.BACKEND.to_tensor
    got = np.asarray(similarities(to_tensor(a), to_tensor(b)))
    norms = [np.sqrt((x**2).sum(-1) + EPSILON) for x in (a, b)]
    assert_close(got, a @ b.T / np.outer(*norms), 1e-14)  # measured: 2e-16
    half = np.asarray(similarities(to_tensor(a.astype(np.float16)), to_tensor(b.astype(np.float16))))
    assert half.dtype == np.float32
    assert_close(half, got, 1e-3)  # measured: 4e-4
