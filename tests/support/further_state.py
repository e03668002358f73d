"""Changes that users of each framework make to a model: add parameters and layers, replace and wrap them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from distilbert_core import Head, backend_class

TEMPERATURE = (2.0, 3.0)  # initial value in a class with an adapter


class Further:
    """The same operations for each framework."""

    kernel: ClassVar[str]  # the name of the matrix of a dense layer

    def add_parameter(self, model: Any, name: str, value: np.ndarray) -> None:
        raise NotImplementedError

    def value(self, model: Any, name: str) -> np.ndarray:
        """The value at a path of attributes."""
        raise NotImplementedError

    def set_value(self, model: Any, name: str, value: np.ndarray) -> None:
        raise NotImplementedError

    def with_adapter(self, head: Head) -> Any:
        """A class with a parameter `temperature` and a dense layer `adapter` beside the parameters of the table."""
        raise NotImplementedError

    def with_two_layers(self, head: Head) -> Any:
        """A class whose classifier is two dense layers in sequence."""
        raise NotImplementedError

    def replace_classifier(self, model: Any, labels: int) -> None:
        raise NotImplementedError

    def wrap_query(self, model: Any) -> None:
        """Wrap a projection of the first block in a user's module."""
        raise NotImplementedError

    def negate_classifier(self, model: Any) -> None:
        """Replace the classifier by a layer with the same parameters and another output."""
        raise NotImplementedError

    def untie(self, model: Any) -> None:
        """Give the masked-LM projector its own matrix."""
        raise NotImplementedError


class PyTorch(Further):
    kernel = "weight"

    def add_parameter(self, model: Any, name: str, value: np.ndarray) -> None:
        import torch

        model.register_parameter(name, torch.nn.Parameter(torch.from_numpy(value)))

    def value(self, model: Any, name: str) -> np.ndarray:
        return model.get_parameter(name).detach().numpy()

    def set_value(self, model: Any, name: str, value: np.ndarray) -> None:
        import torch

        model.get_parameter(name).data.copy_(torch.from_numpy(value))

    def with_adapter(self, head: Head) -> Any:
        import torch

        class WithAdapter(backend_class("pt", head)):
            def __init__(self, config, **options):
                super().__init__(config, **options)
                self.temperature = torch.nn.Parameter(torch.tensor(TEMPERATURE))
                self.adapter = torch.nn.Linear(config.dim, 2)

        return WithAdapter

    def with_two_layers(self, head: Head) -> Any:
        import torch

        class WithTwoLayers(backend_class("pt", head)):
            def __init__(self, config, **options):
                super().__init__(config, **options)
                self.classifier = torch.nn.Sequential(
                    torch.nn.Linear(config.dim, 3), torch.nn.Linear(3, config.num_labels)
                )
                self.eval()

        return WithTwoLayers

    def replace_classifier(self, model: Any, labels: int) -> None:
        import torch

        model.classifier = torch.nn.Linear(model.config.dim, labels)

    def wrap_query(self, model: Any) -> None:
        import torch

        attention = model.distilbert.transformer.layer[0].attention
        attention.q_lin = torch.nn.Sequential(attention.q_lin)

    def negate_classifier(self, model: Any) -> None:
        import torch

        class Negated(torch.nn.Linear):
            def forward(self, x):
                return -super().forward(x)

        model.classifier = Negated(model.config.dim, model.config.num_labels)

    def untie(self, model: Any) -> None:
        import torch

        model.vocab_projector.weight = torch.nn.Parameter(model.vocab_projector.weight.detach() + 1)


class Keras(Further):
    kernel = "kernel"

    def add_parameter(self, model: Any, name: str, value: np.ndarray) -> None:
        import keras

        setattr(model, name, keras.Variable(value, name=name))

    def value(self, model: Any, name: str) -> np.ndarray:
        from distilbert_tf.trees import walk

        return dict(walk(model))[name].numpy()

    def set_value(self, model: Any, name: str, value: np.ndarray) -> None:
        from distilbert_tf.trees import walk

        dict(walk(model))[name].assign(value)

    def with_adapter(self, head: Head) -> Any:
        import keras

        class WithAdapter(backend_class("tf", head)):
            def __init__(self, config, **options):
                super().__init__(config, **options)
                self.temperature = self.add_weight(
                    shape=(2,), initializer=lambda *_, **__: np.array(TEMPERATURE), name="temperature"
                )
                self.adapter = keras.layers.Dense(2, dtype=self.dtype_policy)
                self.adapter.build((None, config.dim))

        return WithAdapter

    def with_two_layers(self, head: Head) -> Any:
        import keras

        class WithTwoLayers(backend_class("tf", head)):
            def __init__(self, config, **options):
                super().__init__(config, **options)
                self.classifier = keras.Sequential(
                    [keras.Input((config.dim,)), keras.layers.Dense(3), keras.layers.Dense(config.num_labels)]
                )

        return WithTwoLayers

    def replace_classifier(self, model: Any, labels: int) -> None:
        import keras

        model.classifier = keras.layers.Dense(labels, name="classifier")
        model.classifier.build((None, model.config.dim))

    def wrap_query(self, model: Any) -> None:
        import keras

        attention = model.distilbert.transformer.layer[0].attention
        attention.q_lin = keras.Sequential([attention.q_lin])

    def negate_classifier(self, model: Any) -> None:
        import keras

        class Negated(keras.layers.Dense):
            def call(self, x):
                return -super().call(x)

        model.classifier = Negated(model.config.num_labels)
        model.classifier.build((None, model.config.dim))

    def untie(self, model: Any) -> None:
        projector = model.vocab_projector
        projector.kernel = projector.add_weight(shape=(model.config.dim, model.config.vocab_size), name="kernel")


class Flax(Further):
    kernel = "kernel"

    def add_parameter(self, model: Any, name: str, value: np.ndarray) -> None:
        import jax.numpy as jnp
        from flax import nnx

        setattr(model, name, nnx.Param(jnp.asarray(value)))

    def _variable(self, model: Any, name: str) -> Any:
        from flax import nnx

        return next(leaf for path, leaf in nnx.iter_graph(model) if ".".join(map(str, path)) == name)

    def value(self, model: Any, name: str) -> np.ndarray:
        return np.asarray(self._variable(model, name)[...])

    def set_value(self, model: Any, name: str, value: np.ndarray) -> None:
        import jax.numpy as jnp

        self._variable(model, name).set_value(jnp.asarray(value, jnp.float32))

    def with_adapter(self, head: Head) -> Any:
        import jax.numpy as jnp
        from flax import nnx

        class WithAdapter(backend_class("flax", head)):
            def __init__(self, config, **options):
                super().__init__(config, **options)
                self.temperature = nnx.Param(jnp.array(TEMPERATURE, self.param_dtype))
                self.adapter = nnx.Linear(config.dim, 2, param_dtype=self.param_dtype, rngs=nnx.Rngs(1))

        return WithAdapter

    def with_two_layers(self, head: Head) -> Any:
        from flax import nnx

        class WithTwoLayers(backend_class("flax", head)):
            def __init__(self, config, **options):
                super().__init__(config, **options)
                rngs = nnx.Rngs(1)
                self.classifier = nnx.Sequential(
                    nnx.Linear(config.dim, 3, rngs=rngs), nnx.Linear(3, config.num_labels, rngs=rngs)
                )

        return WithTwoLayers

    def replace_classifier(self, model: Any, labels: int) -> None:
        from flax import nnx

        model.classifier = nnx.Linear(model.config.dim, labels, rngs=nnx.Rngs(1))

    def wrap_query(self, model: Any) -> None:
        from flax import nnx

        attention = model.distilbert.transformer.layer[0].attention
        attention.q_lin = nnx.Sequential(attention.q_lin)

    def negate_classifier(self, model: Any) -> None:
        from flax import nnx

        class Negated(nnx.Linear):
            def __call__(self, x):
                return -super().__call__(x)

        model.classifier = Negated(model.config.dim, model.config.num_labels, rngs=nnx.Rngs(1))

    def untie(self, model: Any) -> None:
        import jax.numpy as jnp
        from flax import nnx

        table = model.distilbert.embeddings.word_embeddings.embedding[...]
        model.vocab_projector.kernel = nnx.Param(jnp.array(table.T) + 1)


FURTHER: dict[str, Further] = {"pt": PyTorch(), "tf": Keras(), "flax": Flax()}
