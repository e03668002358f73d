"""`distilbert migrate`: what a program becomes, what is left with which reason, and that nothing else is touched."""

from __future__ import annotations

import json

import pytest

from distilbert_cli import main
from distilbert_cli.migration import migrate
from distilbert_cli.migration.rewriting import rewrite
from distilbert_core import InputError

HUB = '"distilbert-base-uncased"'
PROGRAMS = {  # name -> before, after (None: the same), notes as (line, name, part of the reason)
    "one name": ("from transformers import DistilBertModel\n", "from distilbert_pt import DistilBertModel\n", []),
    "three frameworks": (
        "from transformers import DistilBertForMaskedLM, TFDistilBertModel as T, FlaxDistilBertForQuestionAnswering\n",
        "from distilbert_flax import FlaxDistilBertForQuestionAnswering\n"
        "from distilbert_pt import DistilBertForMaskedLM\nfrom distilbert_tf import TFDistilBertModel as T\n",
        [],
    ),
    "names that stay come first": (
        "from transformers import Trainer, DistilBertConfig, BertModel  # all\n",
        "from transformers import Trainer, BertModel\nfrom distilbert_core import DistilBertConfig  # all\n",
        [],
    ),
    "parentheses and comments": (
        "# models\nfrom transformers import (\n    DistilBertModel,  # the base\n    BertModel,\n)\n",
        "# models\n# the base\nfrom transformers import (\n    BertModel,\n)\n"
        "from distilbert_pt import DistilBertModel\n",
        [],
    ),
    "the module of the models": (
        "from transformers.models.distilbert.modeling_tf_distilbert import TFDistilBertMainLayer\n",
        "from distilbert_tf import TFDistilBertMainLayer\n",
        [],
    ),
    "attributes of the library": (
        f"import transformers\nmodel = transformers.DistilBertModel.from_pretrained({HUB})\n",
        f"import distilbert_pt\nmodel = distilbert_pt.DistilBertModel.from_pretrained({HUB})\n",
        [],
    ),
    "a library that is still needed": (
        "import transformers\n"
        f"model = transformers.TFDistilBertModel.from_pretrained({HUB})\nT = transformers.Trainer\n",
        "import transformers\nimport distilbert_tf\n"
        f"model = distilbert_tf.TFDistilBertModel.from_pretrained({HUB})\nT = transformers.Trainer\n",
        [],
    ),
    "another name for the library": (
        f"import transformers as t\nmodel = t.DistilBertModel.from_pretrained({HUB})\nT = t.Trainer\n",
        "import transformers as t\nimport distilbert_pt\n"
        f"model = distilbert_pt.DistilBertModel.from_pretrained({HUB})\nT = t.Trainer\n",
        [],
    ),
    "several imports in a line": (
        '"""A program."""\nfrom __future__ import annotations\nimport os, transformers\n'
        "T = transformers.DistilBertModel\n",
        '"""A program."""\nfrom __future__ import annotations\nimport distilbert_pt\nimport os, transformers\n'
        "T = distilbert_pt.DistilBertModel\n",
        [],
    ),
    "a library that is a value": (
        "import transformers\nM = transformers.DistilBertModel\nB = getattr(transformers, name)\n",
        "import transformers\nimport distilbert_pt\n"
        "M = distilbert_pt.DistilBertModel\nB = getattr(transformers, name)\n",
        [],
    ),
    "an import beside other statements": (
        "from transformers import DistilBertModel, Trainer; M = DistilBertModel\n"
        "if M: from transformers import TFDistilBertModel\n",
        "from transformers import Trainer; from distilbert_pt import DistilBertModel; M = DistilBertModel\n"
        "if M: from distilbert_tf import TFDistilBertModel\n",
        [],
    ),
    "an import in a function": (
        "def f():\n    from transformers import TFDistilBertModel\n    return TFDistilBertModel\n",
        "def f():\n    from distilbert_tf import TFDistilBertModel\n    return TFDistilBertModel\n",
        [],
    ),
    "formats of weights": (
        "from transformers import DistilBertModel\n"
        f"m = DistilBertModel.from_pretrained({HUB}, from_tf=True, dtype=d)\n",
        f"from distilbert_pt import DistilBertModel\nm = DistilBertModel.from_pretrained({HUB}, dtype=d)\n",
        [],
    ),
    "Auto names of a DistilBERT": (
        f"from transformers import AutoTokenizer, TFAutoModel\nNAME = {HUB}\n"
        "t = AutoTokenizer.from_pretrained(NAME)\nm = TFAutoModel.from_pretrained(NAME, from_pt=True)\n",
        f"from distilbert_core import AutoTokenizer\nfrom distilbert_tf import TFAutoModel\nNAME = {HUB}\n"
        "t = AutoTokenizer.from_pretrained(NAME)\nm = TFAutoModel.from_pretrained(NAME)\n",
        [],
    ),
    "Auto names of something else": (
        "from transformers import AutoModel\n"
        f'a = AutoModel.from_pretrained({HUB})\nb = AutoModel.from_pretrained("gpt2")\n',
        None,
        [(2, "AutoModel", "another use of it does"), (3, "AutoModel", "gpt2 is not known to be a DistilBERT")],
    ),
    "a checkpoint that is not written there": (
        "import sys\nfrom transformers import AutoModel\nm = AutoModel.from_pretrained(sys.argv[1])\n",
        None,
        [(3, "AutoModel", "its checkpoint is not written in the program")],
    ),
    "a name with two values": (
        f"from transformers import AutoModel\nNAME = {HUB}\nNAME = 'gpt2'\nm = AutoModel.from_pretrained(NAME)\n",
        None,
        [(4, "AutoModel", "its checkpoint is not written in the program")],
    ),
    **{
        f"a name with two values, {kind}": (
            f"from transformers import AutoModel\nNAME = {HUB}\n{binding}\nm = AutoModel.from_pretrained(NAME)\n",
            None,
            [(4, "AutoModel", "its checkpoint is not written in the program")],
        )
        for kind, binding in {
            "annotated": "NAME: str = 'gpt2'",
            "extended": "NAME += '-x'",
            "unpacked": "NAME, x = 'gpt2', 1",
            "of a loop": "for NAME in names: ...",
            "in an expression": "(NAME := 'gpt2')",
            "imported": "from settings import NAME",
        }.items()
    },
    "an argument with the name of a constant": (
        f"from transformers import AutoModel\nNAME = {HUB}\ndef load(NAME):\n    AutoModel.from_pretrained(NAME)\n",
        None,
        [(4, "AutoModel", "its checkpoint is not written in the program")],
    ),
    "a constant with a type, and a class as a type": (
        f"from transformers import AutoModel\nNAME: str = {HUB}\nm: AutoModel = AutoModel.from_pretrained(NAME)\n",
        f"from distilbert_pt import AutoModel\nNAME: str = {HUB}\nm: AutoModel = AutoModel.from_pretrained(NAME)\n",
        [],
    ),
    "a model of a configuration": (
        "from transformers import AutoModel, DistilBertConfig\nc = DistilBertConfig()\nm = AutoModel.from_config(c)\n",
        "from distilbert_core import DistilBertConfig\nfrom distilbert_pt import AutoModel\n"
        "c = DistilBertConfig()\nm = AutoModel.from_config(c)\n",
        [],
    ),
    "a class as a value": (
        f"from transformers import AutoModel\nm = AutoModel.from_pretrained({HUB})\nclasses = [AutoModel]\n",
        None,
        [(2, "AutoModel", "another use"), (3, "AutoModel", "it is used as a value")],
    ),
    "a pipeline": (
        f'from transformers import pipeline\np = pipeline("fill-mask", model={HUB})\n',
        f'from distilbert_core.pipelines import pipeline\np = pipeline("fill-mask", model={HUB})\n',
        [],
    ),
    "a pipeline that is called at once": (
        f'import transformers as t\nanswers = t.pipeline("fill-mask", model={HUB})("a [MASK]")\n',
        "import distilbert_core.pipelines\n"
        f'answers = distilbert_core.pipelines.pipeline("fill-mask", model={HUB})("a [MASK]")\n',
        [],
    ),
    "a pipeline of a model": (
        f"from transformers import DistilBertForMaskedLM, pipeline\nm = DistilBertForMaskedLM.from_pretrained({HUB})\n"
        'p = pipeline("fill-mask", m)\n',
        "from distilbert_core.pipelines import pipeline\nfrom distilbert_pt import DistilBertForMaskedLM\n"
        f'm = DistilBertForMaskedLM.from_pretrained({HUB})\np = pipeline("fill-mask", m)\n',
        [],
    ),
    "a pipeline without a model": (
        'from transformers import pipeline\np = pipeline("ner")\n',
        None,
        [(2, "pipeline", "no checkpoint is named")],
    ),
    "a pipeline of a model that may be another one": (
        f"from transformers import BertModel, DistilBertModel, pipeline\nm = DistilBertModel.from_pretrained({HUB})\n"
        'm = BertModel(c)\np = pipeline("feature-extraction", m)\n',
        "from transformers import BertModel, pipeline\nfrom distilbert_pt import DistilBertModel\n"
        f'm = DistilBertModel.from_pretrained({HUB})\nm = BertModel(c)\np = pipeline("feature-extraction", m)\n',
        [(4, "pipeline", "its checkpoint is not written in the program")],
    ),
    "a pipeline of another task": (
        f'from transformers import pipeline\np = pipeline("summarization", {HUB})\n',
        None,
        [(2, "pipeline", "the task is summarization; the pipelines here are")],
    ),
    "tools for Keras": (
        "from transformers import create_optimizer, TFTrainer\n",
        "from transformers import TFTrainer\nfrom distilbert_tf import create_optimizer\n",
        [(1, "TFTrainer", "use model.compile and model.fit")],
    ),
    "types of outputs": (
        "from transformers.modeling_tf_outputs import TFBaseModelOutput, TFMaskedLMOutput as Output\n",
        "from distilbert_core import BaseModelOutput as TFBaseModelOutput, MaskedLMOutput as Output\n",
        [],
    ),
    "types that other architectures have too": (
        "from transformers import BatchEncoding, DistilBertModel, FillMaskPipeline\n",
        "from transformers import BatchEncoding, FillMaskPipeline\nfrom distilbert_pt import DistilBertModel\n",
        [(1, "BatchEncoding", "distilbert_core.B"), (1, "FillMaskPipeline", "distilbert_core.pipelines.F")],
    ),
    "parts of the models": (
        "from transformers.models.distilbert.modeling_distilbert import FFN, create_sinusoidal_embeddings\n"
        "from transformers.models.openai.modeling_openai import Transformer\n",
        "from transformers.models.distilbert.modeling_distilbert import create_sinusoidal_embeddings\n"
        "from distilbert_pt import FFN\nfrom transformers.models.openai.modeling_openai import Transformer\n",
        [],
    ),
    "attributes without a home": (
        "import transformers as t\na = t.TFTrainer()\nb = t.TFBertModel.from_pretrained('b')\nc = t.AdamW\n",
        None,
        [
            (2, "TFTrainer", "use model.compile"),
            (3, "TFBertModel", "Transformers 5"),
            (4, "AdamW", "torch.optim.AdamW"),
        ],
    ),
    "models of other architectures": (
        "from transformers import TFBertModel\n",
        None,
        [(1, "TFBertModel", "Transformers 5 has no models and tools of this framework")],
    ),
    "everything": ("from transformers import *\n", None, [(1, "*", "name the imports")]),
    "another library": ("from my_transformers import DistilBertModel\nimport transformers_x\n", None, []),
    "a name of one's own": ("import transformers\nDistilBertModel = 3\nprint(DistilBertModel)\n", None, []),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program(tmp_path, name):
    before, after, notes = PROGRAMS[name]
    rewritten, found = rewrite(before, tmp_path)
    assert rewritten == (before if after is None else after)
    assert [(note.line, note.name) for note in found] == [(line, name) for line, name, _ in notes]
    for note, (_, _, reason) in zip(found, notes, strict=True):
        assert reason in note.reason
    assert rewrite(rewritten, tmp_path)[0] == rewritten  # nothing is left to do


def test_a_folder_beside_the_program_is_read(tmp_path):
    program = 'from transformers import AutoModel\nm = AutoModel.from_pretrained("model")\n'
    assert rewrite(program, tmp_path)[0] == program
    (tmp_path / "model").mkdir()
    for kind, moves in (("distilbert", True), ("roberta", False)):
        (tmp_path / "model/config.json").write_text(json.dumps({"model_type": kind}))
        assert ("distilbert_pt" in rewrite(program, tmp_path)[0]) is moves


def notebook(*cells):
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    text = {"cell_type": "markdown", "metadata": {}, "source": ["from transformers import DistilBertModel"]}
    return {"cells": [text, *({**code, "source": cell} for cell in cells)], "metadata": {}, "nbformat": 4}


def test_a_notebook(tmp_path):
    """Lines for IPython, cells without an end of line, a use in another cell than the import, and text stay."""
    cells = [
        ["!pip install transformers\n", "import os\n", "%time\n", "from transformers import AutoModel"],
        ["if True:\n", "    %matplotlib inline\n", f"m = AutoModel.from_pretrained({HUB})"],
        [],
        "from transformers import DistilBertConfig\n",
    ]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(notebook(*cells)))
    [migration] = migrate(tmp_path)
    expected = json.loads(json.dumps(cells))
    expected[0][-1] = "from distilbert_pt import AutoModel"
    expected[3] = "from distilbert_core import DistilBertConfig\n"
    assert json.loads(migration.content) == notebook(*expected)
    assert "distilbert-migrate" not in migration.diff
    assert "-from transformers import AutoModel\n+from distilbert_pt import AutoModel" in migration.diff


def test_cells_and_lines_that_are_not_python(tmp_path):
    cells = [
        "%%bash\nif ls ${HOME}; then\n  pip install transformers\nfi\n",
        "%%time\nfiles = !ls\na = %pwd\na?\nprint('%s'\n      % a)\nfrom transformers import DistilBertModel",
    ]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(notebook(*cells)))
    [migration] = migrate(path)
    moved = cells[1].replace("from transformers", "from distilbert_pt")
    assert json.loads(migration.content) == notebook(cells[0], moved)
    assert not migration.left


def test_the_bytes_that_do_not_change(tmp_path):
    """The mark of the byte order, the ends of lines, the mode and a link stay; the difference shows a last line."""
    program, link = tmp_path / "a.py", tmp_path / "b.py"
    program.write_bytes(b"\xef\xbb\xbffrom transformers import DistilBertModel\r\nx = '\xe2\x80\xa8'")
    program.chmod(0o755)
    link.symlink_to(program)
    [migration] = migrate(link)
    migration.write()
    assert program.read_bytes() == b"\xef\xbb\xbffrom distilbert_pt import DistilBertModel\r\nx = '\xe2\x80\xa8'"
    assert link.is_symlink()
    assert program.stat().st_mode & 0o777 == 0o755
    assert migration.diff.endswith("\n x = '\u2028'\n\\ No newline at end of file\n")


def test_a_folder_with_files_that_cannot_be_read(tmp_path):
    """They are named, and the others are migrated; a file that does not speak of Transformers is not opened."""
    (tmp_path / "a.ipynb").write_text("{ transformers")
    (tmp_path / "b.py").write_bytes(b"# transformers \xe9\n")
    (tmp_path / "c.py").write_text("from transformers import DistilBertModel\n")
    (tmp_path / "d.py").write_bytes(b"# \xe9\n")
    broken, latin, program = migrate(tmp_path)
    assert "is not valid JSON" in broken.left[0].reason
    assert "must be UTF-8" in latin.left[0].reason
    assert "distilbert_pt" in program.diff
    with pytest.raises(InputError, match="must be UTF-8"):
        list(migrate(tmp_path / "b.py"))


def test_the_command(tmp_path, capsys):
    """Without --write nothing changes; with it, the files that must. Other files are not looked at."""
    program, other = tmp_path / "deep/a.py", tmp_path / "deep/b.py"
    skipped = tmp_path / "venv/c.py"
    for path in (program, other, skipped):
        path.parent.mkdir(exist_ok=True)
        path.write_text("from transformers import DistilBertModel, TFTrainer\n")
    other.write_text("import json\n")
    (tmp_path / "notes.txt").write_text("from transformers import DistilBertModel\n")
    before = program.read_text()
    assert main(["migrate", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert f"--- {program}\n+++ {program} (migrated)\n" in shown.out
    assert f"{program}:1: TFTrainer removed from Transformers" in shown.err
    assert "1 place(s) left, 1 file(s) to change; give --write to change them." in shown.err
    assert program.read_text() == before
    assert main(["migrate", str(program), "--write"]) == 0
    assert "1 file(s) changed." in capsys.readouterr().err
    assert program.read_text() == "from transformers import TFTrainer\nfrom distilbert_pt import DistilBertModel\n"
    assert skipped.read_text() == before


def test_what_cannot_be_read(tmp_path):
    (tmp_path / "a.py").write_text("import transformers\nprint 3\n")
    [migration] = migrate(tmp_path / "a.py")
    assert (migration.diff, migration.left[0].line) == ("", 2)
    assert "is not Python of this version" in migration.left[0].reason
    (tmp_path / "a.txt").touch()
    for name in ("a.txt", "absent"):
        with pytest.raises(InputError, match=r"must be a \.py file, a notebook"):
            list(migrate(tmp_path / name))
