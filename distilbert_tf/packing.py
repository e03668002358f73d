"""Packed batches for `fit`, `evaluate` and `predict` of Keras, from rows, arrays and data sets.

Shapes: B batch, C choices, T tokens, L labels; R packed rows, S outputs of a row.
"""

from __future__ import annotations

import itertools
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from distilbert_core.errors import InputError, InputWarning
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import IGNORE_INDEX, check_shape
from distilbert_core.model.packed_batches import WEIGHT, Sizes, check_names
from distilbert_core.model.packing import Packing, bucket_size
from distilbert_core.tokenization.collators import DataCollatorWithPacking
from distilbert_tf.arguments import depth
from distilbert_tf.datasets import made_ahead
from distilbert_tf.labels import Takes, labels_apart
from distilbert_tf.pretrained import TFDistilBertPreTrainedModel

Arrays = dict[str, np.ndarray]
Specs = dict[str, tf.TensorSpec]

BATCH_SIZE = 32  # of Keras
quarter_steps, next_power = partial(bucket_size, steps=4), partial(bucket_size, steps=1)
FEW_SIZES = Sizes(quarter_steps, outputs=next_power, tokens=next_power)  # XLA compiles each shape
FEW_LENGTHS = (128, 256, 512)

# Data sets in random order that `pack` returned, and the same ones in order.
_IN_ORDER: weakref.WeakKeyDictionary[tf.data.Dataset, tf.data.Dataset] = weakref.WeakKeyDictionary()


def few_lengths(lengths: list[int]) -> list[int]:
    """Return the lengths of packed rows to choose from if XLA compiles each of them."""
    return [columns for columns in FEW_LENGTHS if columns >= max(lengths)] or [next_power(max(lengths))]


def text_count(x: Any) -> Any:
    """Return the number of texts, or of rows of choices, in a packed batch []; None for another batch.

    Args:
        x: The inputs of a batch.

    Raises:
        InputError: Several devices share the batch.
    """
    if not isinstance(x, Mapping) or x.get("segment_ids") is None:
        return None
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise InputError(
            "Packed rows cannot be divided among devices, because texts of a batch share them: give padded batches, or "
            "use finetune, which packs for each device."
        )
    indices = x.get("output_indices")
    if indices is not None:
        return tf.shape(indices)[0]
    return tf.reduce_sum(tf.reduce_max(x["segment_ids"], axis=1))


class Packer(DataCollatorWithPacking):
    """Makes packed batches for a Keras model. If XLA compiles it, their shapes are rounded up to a few."""

    def __init__(self, model: Any, collate_fn: Callable[..., Any] | None = None):
        super().__init__(model, collate_fn, return_tensors="np")
        self.model, self.takes = model, model._takes()

    def pack(self, batch: Arrays) -> Arrays:
        """Return a padded batch as packed rows; tokens get weights, of 0 where a label does not count."""
        check_names(batch, (*self.head.labels, WEIGHT))
        ids = batch["input_ids"]
        for name in {*self.head.labels, "attention_mask"} & batch.keys():
            whole = self.head.labels_tokens or name == "attention_mask"
            shape = batch[name].shape if whole else batch[name].shape[:1]
            check_shape(name, shape, ids.shape if whole else ids.shape[:1], "of the ids" if whole else "[batch]")
        arguments = super().pack(batch)
        if self.head.labels_tokens and "labels" in arguments and WEIGHT not in arguments:
            arguments[WEIGHT] = (arguments["labels"] != IGNORE_INDEX).astype(np.float32)
        return arguments

    def packing(self, lengths: np.ndarray) -> Packing:
        """Return the packing of texts with these lengths [B]."""
        candidates = few_lengths if self.model.jit_compile else None
        return Packing.of_cheapest_length(lengths, self.config.dim, candidates)

    @property
    def sizes(self) -> Sizes:
        """How the sizes of packed batches are rounded up."""
        return FEW_SIZES if self.model.jit_compile else super().sizes

    def named(self, x: Any, y: Any = None, weights: Any = None) -> dict[str, Any]:
        """Return a batch in a form that `fit` takes as padded arrays or tensors by name."""
        x, labels, weights = labels_apart(self.takes, x, y, weights)
        if not isinstance(x, Mapping):
            x = self.model._named(*x) if isinstance(x, list | tuple) else {"input_ids": x}
        names = self.head.labels
        of_labels = labels if len(names) > 1 and isinstance(labels, list | tuple) else (labels,)
        columns = {**x, WEIGHT: weights, **dict(zip(names, of_labels, strict=labels is not None))}
        columns = {name: value for name, value in columns.items() if value is not None}
        for name, value in columns.items():
            if isinstance(value, list | tuple | Mapping):
                raise InputError(f"{name} of packed rows must be one array, got a {type(value).__name__}.")
            if isinstance(value, tf.RaggedTensor):  # given as y, or as weights
                columns[name] = value.to_tensor(IGNORE_INDEX if name == "labels" else 0)
        check_names(columns, (*names, WEIGHT))
        return columns

    def specs(self, arguments: Arrays, batch: Mapping[str, Any]) -> Specs:
        """Return the specs of packed batches: all sizes are open, except the axes of labels after the batch.

        Args:
            arguments: A packed batch.
            batch: The arrays that it was made of, or their specs, by name.
        """
        specs = {}
        for name, array in arguments.items():
            shape = [None] * array.ndim
            if name in (*self.head.labels, WEIGHT) and not self.head.labels_tokens:
                shape = [None, *tuple(batch[name].shape)[1:]]
            specs[name] = tf.TensorSpec(shape, array.dtype, name)
        return specs

    def in_order(self, arguments: Arrays, specs: Specs) -> list[np.ndarray]:
        """Return the arrays of a packed batch in the order of specs.

        Raises:
            InputError: A batch has other columns, or labels of another kind, than the first one.
        """
        if arguments.keys() != specs.keys():
            raise InputError(f"All batches must have the same columns: {', '.join(specs)}; got {', '.join(arguments)}.")
        arrays = []
        for name, spec in specs.items():
            array, dtype = arguments[name], spec.dtype.as_numpy_dtype
            if not np.can_cast(array.dtype, dtype, "same_kind"):
                raise InputError(
                    f"{name} must have one dtype in all batches, got {array.dtype} after {spec.dtype.name}."
                )
            arrays.append(array.astype(dtype, copy=False))
        return arrays

    def for_keras(self, tensors: Sequence[tf.Tensor], specs: Specs) -> tuple[Any, ...]:
        """Return tensors in the order of specs as Keras takes them: inputs, labels, and weights if there are any."""
        x = {}
        for (name, spec), tensor in zip(specs.items(), tensors, strict=True):
            tensor.set_shape(spec.shape)
            x[name] = tensor
        labels = tuple(x.pop(name) for name in self.head.labels if name in x)
        weights = x.pop(WEIGHT, None)
        return keras.utils.pack_x_y_sample_weight(x, labels if len(labels) > 1 else next(iter(labels), None), weights)


class PackedModel(TFDistilBertPreTrainedModel):
    """A model with labels whose batches can be packed."""

    head: ClassVar[Head]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the arguments that take labels."""
        return self.head.labels

    @property
    def logit_names(self) -> tuple[str, ...]:
        """Names of the outputs that the labels are compared with."""
        return self.head.outputs

    def _takes(self) -> Takes:
        return Takes(
            self.label_names, self.logit_names, self.config.pad_token_id, self._depth, others=self._is_derived()
        )

    def pack(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch_size: int | None = None,
        shuffle: bool | None = None,
        seed: int | None = None,
        collate_fn: Callable[..., Mapping[str, Any]] | None = None,
    ) -> tf.data.Dataset:
        """Return packed batches for `fit`, `evaluate` and `predict`: texts stand one after another, without padding.

        The losses, the gradients and the logits of texts are those of the padded batches. In question answering the
        softmax has no padding. Batches are packed ahead, while the model trains.

        Args:
            x: Rows: a list of dicts or a `datasets.Dataset`, with ids of any length. Or columns: a dict, such as the
                output of a tokenizer, of arrays, lists or ragged tensors. Or a `tf.data.Dataset` or a `PyDataset` in a
                form that `fit` takes. A `tf.data.Dataset` has examples of any length, or padded or ragged batches,
                which stay the batches.
            y: Labels of columns. Rows and data sets contain their labels.
            sample_weight: Weights of columns, as in `fit`. Rows and data sets contain them.
            batch_size: Texts in a batch; 32 if left out. A data set of batches has its own.
            shuffle: Use another order in every epoch of `fit`: of rows, or of the batches of a `PyDataset`. True if
                left out. `evaluate`, `predict` and validation use the order of the data. A `tf.data.Dataset` keeps its
                own order.
            seed: Seed of the order; if left out, `keras.utils.set_random_seed` decides.
            collate_fn: Makes a padded batch of rows, such as `DataCollatorForLanguageModeling(tokenizer)`.

        Returns:
            Batches (inputs, labels) or (inputs, labels, weights); only the inputs if there are no labels.

        Raises:
            InputError: There are no rows, a column is not an input of packed rows, or an argument is not for this form
                of data.

        Example:
            >>> import keras
            >>> from distilbert_tf import DistilBertConfig, TFDistilBertForSequenceClassification
            >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
            >>> model = TFDistilBertForSequenceClassification(config)
            >>> model.compile(keras.optimizers.AdamW(1e-3))
            >>> rows = [{"input_ids": [5, 6, 7], "label": 1}, {"input_ids": [8, 9], "label": 0}]
            >>> history = model.fit(model.pack(rows), verbose=0)
            >>> model.predict(model.pack(rows), verbose=0)["logits"].shape
            (2, 2)
        """
        packer = Packer(self, collate_fn)
        is_set = isinstance(x, tf.data.Dataset | keras.utils.PyDataset)
        _refuse("a data set", is_set, y=y, sample_weight=sample_weight, collate_fn=collate_fn)
        if isinstance(x, tf.data.Dataset):
            _refuse("a tf.data.Dataset, which has its own order", True, shuffle=shuffle or None, seed=seed)
            return _of_data_set(packer, x, batch_size)
        if isinstance(x, keras.utils.PyDataset):
            _refuse("a PyDataset, which has its own batches", True, batch_size=batch_size)
            make = _of_py_dataset(packer, x, seed)
        else:
            rows = x if _are_rows(x) else _columns(packer, x, y, sample_weight)
            _refuse("rows, which contain them", rows is x, y=y, sample_weight=sample_weight)
            make = _of_rows(packer, rows, batch_size or BATCH_SIZE, seed)
        packed = make(shuffle is not False)
        if shuffle is not False:
            _IN_ORDER[packed] = make(False)
        return packed


def in_order(x: Any) -> Any:
    """Return a data set of `pack` without its random order; return other data unchanged."""
    return _IN_ORDER.get(x, x) if isinstance(x, tf.data.Dataset) else x


def refuse_packed_arrays(x: Any) -> None:
    """Raise InputError if arrays are a packed batch: Keras would cut each of them into batches."""
    if isinstance(x, Mapping) and x.get("output_indices") is not None:
        raise InputError(
            "A packed batch cannot be divided into batches: give a data set of packed batches, such as model.pack "
            "returns, or use train_on_batch."
        )


def _refuse(data: str, applies: bool, **arguments: Any) -> None:
    """Raise InputError if arguments are given that do not apply to the data."""
    given = [name for name, value in arguments.items() if value is not None]
    if applies and given:
        raise InputError(f"{' and '.join(given)} cannot be given with {data}: leave it out.")


def _are_rows(x: Any) -> bool:
    return not isinstance(x, Mapping) and hasattr(x, "__len__") and len(x) > 0 and isinstance(x[0], Mapping)


class _Columns(Sequence[Any]):
    """Columns of equal lengths: an index gives a row, an array of indices a batch of arrays."""

    def __init__(self, columns: Mapping[str, Any]):
        self.columns = columns
        lengths = {name: len(column) for name, column in columns.items()}
        if len({*lengths.values()}) != 1 or not next(iter(lengths.values())):
            raise InputError(f"All columns must have one length, above 0; got {lengths}.")
        self.are_arrays = all(isinstance(column, np.ndarray) for column in columns.values())

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: Any) -> Any:
        return {name: column[index] for name, column in self.columns.items()}


def _columns(packer: Packer, x: Any, y: Any, weights: Any) -> _Columns:
    """Return inputs, labels and weights as columns: arrays, or lists if texts have different lengths."""
    names = packer.head.labels
    if isinstance(x, tf.RaggedTensor) or depth(x) == packer.takes.axes:
        x = {"input_ids": x}
    if isinstance(x, Mapping) and any(isinstance(column, list | tuple | tf.RaggedTensor) for column in x.values()):
        given = (
            y
            if isinstance(y, Mapping)
            else dict(zip(names, y if len(names) > 1 and y is not None else [y], strict=False))
        )
        columns = {**x, **given, WEIGHT: weights} if y is not None or weights is not None else x
        columns = {name: column for name, column in columns.items() if column is not None}
        check_names(columns, (*names, WEIGHT))
        return _Columns({n: c.to_list() if isinstance(c, tf.RaggedTensor) else c for n, c in columns.items()})
    is_list = isinstance(x, list | tuple) and len(x) > 0
    if not is_list and not isinstance(x, Mapping) and not hasattr(x, "shape"):
        raise InputError(
            "x must be rows (a list of dicts or a datasets.Dataset, not empty), columns (a dict of arrays or lists), a "
            f"tf.data.Dataset or a PyDataset, got {type(x).__name__}."
        )
    return _Columns({name: np.asarray(column) for name, column in packer.named(x, y, weights).items()})


Make = Callable[[bool], tf.data.Dataset]  # returns batches, shuffled or not


def _of_rows(packer: Packer, rows: Any, batch_size: int, seed: int | None) -> Make:
    """Return a function that returns packed batches of rows or columns."""

    def batch_at(indices: np.ndarray) -> Arrays:
        if isinstance(rows, _Columns) and rows.are_arrays and not packer.collator:
            return packer.pack(rows[indices])
        return packer([dict(rows[index]) for index in indices.tolist()])

    first = batch_at(np.arange(min(batch_size, len(rows))))
    specs = packer.specs(first, first)

    def make(shuffle: bool) -> tf.data.Dataset:
        order = tf.data.Dataset.range(len(rows))
        order = order.shuffle(len(rows), seed) if shuffle else order
        return _packed(
            order.batch(batch_size), lambda indices: packer.in_order(batch_at(indices), specs), packer, specs
        )

    return make


def _of_data_set(packer: Packer, data: tf.data.Dataset, batch_size: int | None) -> tf.data.Dataset:
    """Return packed batches of a data set of examples or batches, as `tf.data` reads them."""

    def named(*batch: Any) -> dict[str, tf.Tensor]:
        return packer.named(*keras.utils.unpack_x_y_sample_weight(batch[0] if len(batch) == 1 else batch))

    def rank_of(data: tf.data.Dataset) -> int | None:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data.element_spec)
        if isinstance(x, Mapping):
            x = x.get("input_ids")
        elif isinstance(x, list | tuple):
            x = x[0]
        return None if x is None else x.shape.rank

    if rank_of(data) == packer.takes.axes - 1:
        data = data.ragged_batch(batch_size or BATCH_SIZE)
    else:
        _refuse("a data set of batches", True, batch_size=batch_size)
    if rank_of(data) != packer.takes.axes:
        raise InputError(
            f"input_ids of a data set must have {packer.takes.axes} axes in a batch, or {packer.takes.axes - 1} in an "
            f"example, got {data.element_spec}."
        )
    data = data.map(tf.autograph.experimental.do_not_convert(named))
    names = [*data.element_spec]
    example = _example(packer, data.element_spec)
    specs = packer.specs(packer.pack(example), data.element_spec)
    data = data.map(lambda batch: tuple(batch[name] for name in names))

    def packed(*arrays: np.ndarray) -> list[np.ndarray]:
        return packer.in_order(packer.pack(dict(zip(names, arrays, strict=True))), specs)

    return _packed(data, packed, packer, specs)


def _example(packer: Packer, specs: Specs) -> Arrays:
    """Return a batch of zeros in which each open size is 1."""
    ids = np.zeros([size or 1 for size in specs["input_ids"].shape], specs["input_ids"].dtype.as_numpy_dtype)
    found = {"input_ids": ids}
    for name, spec in specs.items():
        shape = [size or 1 for size in spec.shape]
        shape[0] = len(ids)
        if packer.head.labels_tokens and len(shape) > 1:
            shape[1] = ids.shape[1]
        found.setdefault(name, np.zeros(shape, spec.dtype.as_numpy_dtype))
    return {**found, "attention_mask": np.ones_like(ids)}


def _of_py_dataset(packer: Packer, data: keras.utils.PyDataset, seed: int | None) -> Make:
    """Return a function that returns packed batches of a PyDataset, read by as many threads as it has workers."""
    if data.use_multiprocessing:
        warnings.warn("Packing reads the PyDataset by threads: use_multiprocessing is ignored.", InputWarning, 3)
    rng = np.random.default_rng(np.random.randint(2**31) if seed is None else seed)
    count = data.num_batches

    def padded(index: int) -> Arrays:
        batch = packer.named(*keras.utils.unpack_x_y_sample_weight(data[index]))
        return {name: np.asarray(value) for name, value in batch.items()}

    first = padded(0)
    specs = packer.specs(packer.pack(first), first)

    def at(index: int) -> tuple[np.ndarray, ...]:
        return tuple(packer.in_order(packer.pack(padded(index)), specs))

    def batches(shuffle: bool) -> Iterator[tuple[np.ndarray, ...]]:
        data.on_epoch_begin()
        order = itertools.count() if count is None else iter(rng.permutation(count) if shuffle else range(count))
        with ThreadPoolExecutor(max(data.workers, 1)) as threads:
            ahead: deque[Future[Any]] = deque()
            for index in order:
                ahead.append(threads.submit(at, int(index)))
                if len(ahead) >= max(data.workers, 1):
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        data.on_epoch_end()

    def make(shuffle: bool) -> tf.data.Dataset:
        found = tf.data.Dataset.from_generator(
            partial(batches, shuffle and count is not None), output_signature=tuple(specs.values())
        )
        cardinality = tf.data.INFINITE_CARDINALITY if count is None else count
        found = found.apply(tf.data.experimental.assert_cardinality(cardinality))
        in_form = tf.autograph.experimental.do_not_convert(lambda *tensors: packer.for_keras(tensors, specs))
        return made_ahead(found.map(in_form))

    return make


def _packed(
    data: tf.data.Dataset, pack: Callable[..., list[np.ndarray]], packer: Packer, specs: Specs
) -> tf.data.Dataset:
    """Return the packed batches of a data set, made ahead.

    Args:
        data: Elements of tensors.
        pack: Returns the arrays of a packed batch, in the order of the specs, of the arrays of an element.
        packer: Gives the batch its form.
        specs: The specs of packed batches.
    """

    def packed(*tensors: tf.Tensor) -> tuple[Any, ...]:
        arrays = tf.numpy_function(pack, tensors, [spec.dtype for spec in specs.values()])
        return packer.for_keras(arrays, specs)

    return made_ahead(data.map(tf.autograph.experimental.do_not_convert(packed)))
