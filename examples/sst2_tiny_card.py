"""The model card that `make_sst2_tiny.py` writes; the names in braces are filled in."""

MODEL_CARD = """\
---
language: en
license: apache-2.0
library_name: transformers
pipeline_tag: text-classification
base_model: sentence-transformers/all-MiniLM-L6-v2
tags:
- distilbert
- sentiment-analysis
- knowledge-distillation
datasets:
- stanfordnlp/sst2
- google-research-datasets/go_emotions
- google-research-datasets/wiki_split
metrics:
- accuracy
model-index:
- name: sst2-tiny
  results:
  - task:
      type: text-classification
      name: Text classification
    dataset:
      type: stanfordnlp/sst2
      name: SST-2 (GLUE)
      split: validation
    metrics:
    - type: accuracy
      value: {dev_share:.4f}
---

# sst2-tiny

A small DistilBERT that classifies English sentences as `NEGATIVE` (0) or `POSITIVE` (1). It has
{n_layers} layers of width {dim}, {n_heads} heads, feed-forward width {hidden_dim}, the uncased vocabulary of
30,522 tokens, and {parameters:.1f} million parameters. They are stored in float16, and loaded as float32;
the folder takes {megabytes:.1f} MB.

```python
from distilbert_core import DistilBertTokenizerFast
from distilbert_pt import DistilBertForSequenceClassification

tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
model = DistilBertForSequenceClassification.from_pretrained("sst2-tiny").eval()
logits = model(**tokenizer("A warm, funny and clever film.", return_tensors="pt")).logits
print(model.config.id2label[logits.argmax().item()])  # POSITIVE
```

## Accuracy

| model | parameters | {held_count} sentences held back | 872 sentences of the development set |
|---|---|---|---|
| teacher, width {teacher_dim} | {teacher_parameters:.1f} M | {teacher_held:.1f} % | {teacher_dev:.1f} % |
| **this model** | {parameters:.1f} M | {student_held:.1f} % | **{student_dev:.1f} %** |

All choices were made on sentences held back from the training set, together with all of their phrases. The
development set was used for these two numbers only. With 872 sentences their standard error is about one
percentage point.

## How it was made

```
python examples/make_sst2_tiny.py --data DATA --minilm MINILM --out FOLDER{changed}
```

* **Teacher.** all-MiniLM-L6-v2, a BERT with 6 layers of width 384, read as a DistilBERT (row 0 of the
  token-type table is added to the position table; the pooler is left out) and fine-tuned for {teacher_epochs}
  epochs on the {phrases:,} phrases of SST-2 that were not held back.{teacher_origin}
* **Student.** It starts as a projection of the teacher: the residual stream is projected onto its {dim} leading
  principal axes, and the attention heads and feed-forward units that contribute most are kept. Layer norms are
  fitted to the projected states.
* **Distillation.** {epochs} epochs over {transfer:,} texts labelled by the teacher: the same phrases,
  {varied:,} sentences with 15 % of their words replaced by similar words, and {prose:,} sentences of GoEmotions,
  WikiSplit and Project Gutenberg books. The loss is the Kullback-Leibler divergence at temperature
  {temperature:.0f}; in the first epoch also the error of the hidden states of every layer.

`examples/make_sst2_tiny.py` in the repository of this project is the recipe; its `--help` describes DATA and
MINILM. On another machine, or with another version of PyTorch, the numbers differ by some tenths.

## Intended use

Use it to try and test the project without a download, for teaching, and for benchmarks of speed. It works best on
sentences in the style of film reviews. For serious sentiment analysis use a larger model.

## Limitations and bias

* It has only two classes: neutral, mixed and factual sentences are forced into one of them, often with high
  confidence. Irony, long-range negation and sentiment that needs knowledge of the world are often missed.
* Its labelled texts are excerpts of English film reviews of 2005 and before; inputs were cut at {max_tokens}
  tokens. Positions up to 512 work, but were not trained.
* It has learned associations from its training texts and from those of MiniLM. Names of groups, countries or
  people may change the score of an otherwise neutral sentence. Do not use it for decisions about people.
* Its probabilities are not calibrated.

## Licence

The weights derive from all-MiniLM-L6-v2 (Apache-2.0) and are under Apache-2.0 too. The source of the SST-2
files states no licence; the sentences are excerpts of film reviews (Socher et al. 2013). GoEmotions is
Apache-2.0, WikiSplit CC BY-SA 4.0, and the books are in the public domain in the USA. This folder holds none
of these texts.
"""
