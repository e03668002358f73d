"""What weight_conversion writes is what the real Transformers 4.53.3 loads: the same outputs, nothing missing.

Needs this project beside Transformers: it is found from this file.
"""

import sys
from pathlib import Path

import pytest
import transformers
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from weight_conversion import convert  # noqa: E402  it is not installed there

CHECKPOINTS = ROOT / "tests" / "fixtures" / "checkpoints"
MODELS = {
    "pt_base": "Model",
    "pt_masked_lm": "ForMaskedLM",
    "pt_sequence_classification": "ForSequenceClassification",
    "pt_multiple_choice": "ForMultipleChoice",
    "pt_token_classification": "ForTokenClassification",
    "pt_question_answering": "ForQuestionAnswering",
}
READERS = {"pt": "", "bin": "", "h5": "TF", "tf": "TF", "msgpack": "Flax", "flax": "Flax"}
SIZES = {"whole": "5GB", "sharded": "20KB"}
# 4.53.3 cannot do these: its Flax classes read no sharded safetensors.
IMPOSSIBLE = {("flax", "sharded")}
# Both sides are float32. Measured: 4.8e-7.
TOLERANCE = 5e-6


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("to", READERS)
@pytest.mark.parametrize("folder", MODELS)
def test_transformers_loads_the_written_files(folder, to, size, tmp_path):
    if (to, size) in IMPOSSIBLE:
        pytest.skip("not read by Transformers 4.53.3 either way")
    convert(CHECKPOINTS / folder, tmp_path / "here", to, max_shard_size=SIZES[size])
    cls = getattr(transformers, f"{READERS[to]}DistilBert{MODELS[folder]}")
    if READERS[to] == "Flax":
        model, info = cls.from_pretrained(tmp_path / "here"), {}
    else:
        model, info = cls.from_pretrained(tmp_path / "here", output_loading_info=True)
    # Layers without weights are missed where their running numbers are others, in its own files too.
    assert not [name for name in info.get("missing_keys", ()) if not name.startswith("dropout")]
    assert not info.get("unexpected_keys")
    expected = load_file(CHECKPOINTS / folder / "outputs.safetensors")
    outputs = run(model, READERS[to], expected.pop("input_ids"), expected.pop("attention_mask"))
    for name, array in expected.items():
        assert abs(outputs[name] - array).max() <= TOLERANCE


def run(model, kind, ids, mask):
    """The model's outputs, as NumPy."""
    if kind == "":
        import torch

        with torch.no_grad():
            outputs = model.eval()(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        return {name: value.numpy() for name, value in outputs.items()}
    import numpy as np

    return {name: np.asarray(value) for name, value in model(input_ids=ids, attention_mask=mask).items()}
