"""What a file of a stranger may be at most. Readers check these limits before anything of that size is made."""

from __future__ import annotations

from dataclasses import dataclass

from distilbert_core.errors import CheckpointError


@dataclass(frozen=True)
class Limit:
    """A limit.

    Attributes:
        most: The largest allowed number.
        unit: What is counted.
        reason: Why no sensible file has more.
    """

    most: int
    unit: str
    reason: str


LIMITS = {
    # -- JSON: config.json, the files of a tokenizer, indexes of shards, lists of modules
    "json_bytes": Limit(64 << 20, "bytes of JSON", "the tokenizer.json of 520,000 tokens has about 20 MB"),
    "json_values": Limit(700_000, "values in JSON", "a vocabulary has at most 520,000 tokens, and each is one value"),
    "json_nesting": Limit(64, "levels of JSON", "a configuration has about five levels"),
    # -- the configuration
    "config_bytes": Limit(16 << 20, "bytes of JSON", "the maps of 131,072 labels have about 8 MB"),
    "config_values": Limit(400_000, "values in JSON", "the maps of 131,072 labels have 262,144"),
    "n_layers": Limit(1_000, "layers", "DeepNet, the deepest published Transformer, has 1,000"),
    "n_heads": Limit(1_024, "heads", "large language models have about 128"),
    "dim": Limit(1 << 16, "units of width", "large language models have about 16,384"),
    "hidden_dim": Limit(1 << 20, "units of width", "it is about four times dim"),
    "max_position_embeddings": Limit(1 << 20, "positions", "attention to a million positions takes terabytes"),
    "vocab_size": Limit(1 << 24, "tokens", "the largest vocabularies of encoders have about 500,000"),
    "num_labels": Limit(131_072, "labels", "the maps of their names take 100 MB of memory"),
    "parameters_per_byte": Limit(8, "parameters in a byte of the weight files", "a parameter takes one bit or more"),
    # -- the tokenizer
    "vocabulary_bytes": Limit(32 << 20, "bytes of vocabulary", "520,000 tokens have about 6 MB"),
    "vocabulary_tokens": Limit(520_000, "tokens in a vocabulary", "LaBSE, the largest of BERT's kind, has 501,153"),
    "token_characters": Limit(10_000, "characters in a token", "words of more than 100 characters are unknown"),
    "word_characters": Limit(10_000, "characters in a word", "the time to split a word grows with its square"),
    "added_tokens": Limit(40_000, "added tokens", "they are searched in every text, as one expression"),
    "token_id": Limit((1 << 21) - 1, "as an id of a token", "vocab.txt has a line for each id"),
    # -- shards
    "index_entries": Limit(100_000, "entries in an index of shards", "1,000 layers have 16,000 parameters"),
    "modules": Limit(100, "modules of sentence-transformers", "a model has about three"),
    # -- weight files
    "tensors": Limit(20_000, "tensors", "1,000 layers have 16,000 parameters"),
    "header_bytes": Limit(10_000_000, "bytes", "the header of DistilBERT base has 11 thousand"),
    "pickle_size": Limit(10_000_000, "operations and characters in its pickle", "DistilBERT base has 12 thousand"),
    "hdf5_levels": Limit(32, "levels of groups", "DistilBERT in Keras has 9"),
    "hdf5_members": Limit(50_000, "groups and arrays", "1,000 layers have 16,000 parameters, each in two groups"),
    "hdf5_names": Limit(1_000_000, "bytes of names in an attribute", "an attribute of the usual kind has 64 KB"),
    "hdf5_texts": Limit(64 << 20, "bytes of texts, if each is as long as the longest one", "names have about 50 bytes"),
    "hdf5_copies": Limit(8, "arrays with the same name", "the embeddings of a tied model are listed twice"),
    "msgpack_levels": Limit(16, "levels of maps", "DistilBERT in Flax has 7"),
    "archive_members": Limit(10_000, "members of an archive", "a .bin file has one for each tensor"),
    "member_bytes": Limit(16 << 20, "bytes in a member beside the weights", "the description of a model has 2 KB"),
    "checkpoint_files": Limit(100_000, "files", "Orbax writes some files for each process and array"),
    "chunks": Limit(100_000, "chunks", "the chunks of an array are large, one for each device"),
    "onnx_levels": Limit(64, "levels of messages", "the graph of a model has five"),
    "onnx_fields": Limit(2_000_000, "fields", "the graph of a model has some ten thousand"),
    "patterns": Limit(1_000, "patterns", "an adapter has one for each module at most, and usually none"),
    "pattern_characters": Limit(1_000, "characters", "a pattern is about as long as the name of a module"),
    "axes": Limit(8, "axes of an array", "parameters have at most three"),
    # -- bodies of requests to the server
    "request_bytes": Limit(64 << 20, "bytes of JSON", "a thousand texts of 512 tokens have about 3 MB"),
    "request_values": Limit(1_000_000, "values in JSON", "a thousand texts as token ids are 512,000 values"),
    "object_keys": Limit(1_000, "keys in an object of JSON", "a body has about ten fields"),
    # -- records: .csv, .tsv, .jsonl, .txt, compressed or not
    "records_bytes": Limit(1 << 30, "bytes of JSON", "SQuAD 2.0 has 42 MB in one file"),
    "records_values": Limit(20_000_000, "values in JSON", "SQuAD 2.0 has about two million in one file"),
    "line_values": Limit(1_000_000, "values in a line", "a record holds a few texts and labels"),
    "line_bytes": Limit(64 << 20, "bytes in a line", "a text of 64 MB has ten million words"),
}


def check_limit(name: str, value: int, subject: str, error: type[Exception] = CheckpointError) -> None:
    """Raise an error if a number is above its limit.

    Args:
        name: Name of the limit in `LIMITS`.
        value: The number.
        subject: Beginning of the message: the file, or the field.
        error: Type of the error.

    Raises:
        CheckpointError: The number is above the limit; with `error`, an error of that type.

    Example:
        >>> from distilbert_core.files.limits import check_limit
        >>> check_limit("n_heads", 2000, "config.json")
        Traceback (most recent call last):
        distilbert_core.errors.CheckpointError: config.json has 2000 heads, at most 1024 are allowed.
    """
    limit = LIMITS[name]
    if value > limit.most:
        number = str(value) if value < 10**30 else "more than 10^30"
        raise error(f"{subject} has {number} {limit.unit}, at most {limit.most} are allowed.")
