"""One or two columns of a data set as the inputs of a pipeline."""

from __future__ import annotations

from typing import Any


class KeyDataset:
    """A column of a data set.

    Args:
        dataset: Rows that are dicts, by index: a list, or a data set of any library.
        key: Name of the column.

    Example:
        >>> from distilbert_core.pipelines import KeyDataset
        >>> KeyDataset([{"text": "A lovely film.", "label": 1}], "text")[0]
        'A lovely film.'
    """

    def __init__(self, dataset: Any, key: str):
        self.dataset = dataset
        self.key = key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index][self.key]


class KeyPairDataset:
    """Two columns of a data set as pairs of texts, for text classification.

    Args:
        dataset: Rows that are dicts, by index.
        key1: Column of the first texts.
        key2: Column of the second.

    Example:
        >>> from distilbert_core.pipelines import KeyPairDataset
        >>> KeyPairDataset([{"premise": "It rains.", "hypothesis": "It is wet."}], "premise", "hypothesis")[0]
        {'text': 'It rains.', 'text_pair': 'It is wet.'}
    """

    def __init__(self, dataset: Any, key1: str, key2: str):
        self.first = KeyDataset(dataset, key1)
        self.second = KeyDataset(dataset, key2)

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"text": self.first[index], "text_pair": self.second[index]}
