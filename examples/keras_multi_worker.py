"""Fine-tune a sentence classifier in Keras on several machines, or in several processes on one machine.

Start the script once per worker. As usual in TensorFlow, TF_CONFIG contains the addresses of all workers, and the index
of this one:

    TF_CONFIG='{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}' \
        python examples/keras_multi_worker.py trained

Without TF_CONFIG there is one worker, and the resulting weights are the same. Each batch is divided among the workers,
and their gradients are added. In Keras 3.15 `fit` does not work on several workers, but `train_step` does.
"""

from __future__ import annotations

import argparse

import tensorflow as tf

from distilbert_core import DistilBertTokenizerFast

REVIEWS = [
    ("A lovely film.", 1),
    ("Two hours I will not get back.", 0),
    ("Warm, funny and wise.", 1),
    ("The jokes are old and the songs are bad.", 0),
    ("I want to see it again.", 1),
    ("It never finds its feet.", 0),
    ("One of the best of the year.", 1),
    ("Dull from start to end.", 0),
]
BATCH, EPOCHS = 4, 2  # rows of a batch, over all workers


def dataset(model_name: str) -> tf.data.Dataset:
    """Return batches of (inputs, labels)."""
    texts, labels = zip(*REVIEWS, strict=True)
    tokenizer = DistilBertTokenizerFast.from_pretrained(model_name)
    inputs = tokenizer(list(texts), padding=True, return_tensors="np")
    return tf.data.Dataset.from_tensor_slices((dict(inputs), list(labels))).batch(BATCH, drop_remainder=True)


def main() -> None:
    """Train the model; the first worker saves it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", help="folder for the trained model")
    parser.add_argument("--model", default="sst2-tiny", help="model to start from (default: %(default)s)")
    parser.add_argument("--dropout", type=float, default=0.1, help="rate of all dropout layers (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", help="dtype of the parameters (default: %(default)s)")
    arguments = parser.parse_args()

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before other calls to TensorFlow
    import keras

    from distilbert_tf import TFDistilBertForSequenceClassification

    keras.utils.set_random_seed(0)
    rates = dict.fromkeys(("dropout", "attention_dropout", "seq_classif_dropout"), arguments.dropout)
    with strategy.scope():
        model = TFDistilBertForSequenceClassification.from_pretrained(arguments.model, dtype=arguments.dtype, **rates)
        model.compile(keras.optimizers.AdamW(1e-4, weight_decay=0.01))
        model.optimizer.build(model.trainable_variables)

    @tf.function
    def train_step(batch: tuple) -> None:
        strategy.run(model.train_step, args=(batch,))

    batches = strategy.experimental_distribute_dataset(dataset(arguments.model))
    for epoch in range(EPOCHS):
        model.reset_metrics()
        for batch in batches:
            train_step(batch)
        loss = float(model.get_metrics_result()["loss"])  # on every worker, as all of them take part in the sum
        print(f"epoch {epoch + 1}: loss {loss:.6f}")
    if strategy.cluster_resolver is None or strategy.cluster_resolver.task_id in (None, 0):
        model.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()
