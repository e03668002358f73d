"""How names and arrays look outside: the layouts of the three frameworks, and other models' checkpoints."""

from weight_conversion.bert import bert_names, bert_to_distilbert
from weight_conversion.layouts import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Layout", "bert_names", "bert_to_distilbert"]
