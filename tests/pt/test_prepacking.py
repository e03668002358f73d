"""The products of inference give the numbers of plain layers, also after a change of the model, and leave no trace."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from distilbert_core import Head
from distilbert_core.model.loading import load_inference
from distilbert_pt import prepacking
from distilbert_pt.prepacking import PrepackedLinear
from support.checkpoints import random_inputs, save_random, small_config
from support.comparison import assert_close

CPU = torch.device("cpu")
TOLERANCE = 5e-6  # measured: 4.8e-7

pytestmark = pytest.mark.skipif(not prepacking.is_available(CPU), reason="only x86 processors with AVX prepack weights")


@pytest.fixture
def products(monkeypatch):
    """What prepacked products return, None where a layer computed by itself."""
    results = []
    original = PrepackedLinear.__call__

    def call(self, x, function="none"):
        results.append(original(self, x, function))
        return results[-1]

    monkeypatch.setattr(PrepackedLinear, "__call__", call)
    return results


@pytest.fixture(params=[True, False], ids=["prepacked", "as they are"])
def weights(monkeypatch, request):
    """Whether products use prepacked copies of weights."""
    monkeypatch.setattr(prepacking, "pays_off", lambda rows, dtype: request.param)
    return request.param


def loaded(folder, dtype="float32", texts=5, **changes):
    """An inference object, ids with a mask, and a function that gives the padded model's logits in float64."""
    config = small_config(**changes)
    save_random(folder, config, Head.TOKEN_CLASSIFICATION)
    inputs = random_inputs(config, Head.TOKEN_CLASSIFICATION)
    inputs = {name: inputs[name][:texts] for name in ("input_ids", "attention_mask")}
    inference = load_inference("pt", Head.TOKEN_CLASSIFICATION, folder, dtype=dtype)

    def truth():
        model = copy.deepcopy(inference.model).double()
        with torch.inference_mode():
            logits = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy()
        return logits * inputs["attention_mask"][:, :, None]

    return inference, inputs, truth


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_all_products_are_fast_and_right(tmp_path, products, weights, activation):
    inference, inputs, truth = loaded(tmp_path, activation=activation)
    assert_close(inference(**inputs)["logits"], truth(), TOLERANCE)
    assert len(products) == 6 * inference.config.n_layers + 1
    assert all(product is not None for product in products)
    linear = inference.model.classifier
    copies = [method.args[0].prepared for module, _, method in inference.prepacking.methods if module is linear]
    assert [copy is not None for copy in copies] == [weights]


@pytest.mark.parametrize(
    ("capability", "rows", "dtype", "pays"),
    [
        ("AVX2", 1024, torch.float32, False),
        ("AVX512", 256, torch.float32, False),
        ("AVX512", 257, torch.float32, True),
        ("AVX512", 1, torch.bfloat16, True),
    ],
)
def test_copies_are_made_where_they_pay_off(monkeypatch, capability, rows, dtype, pays):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert prepacking.pays_off(rows, dtype) == pays


# In units of the last place of the dtype at 1; measured: 2.4e-7 and 7.4e-3.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_the_fused_gelu_is_the_exact_one(dtype, tolerance):
    layer = nn.Linear(1, 1).to(dtype)
    layer.weight.data.fill_(1)
    layer.bias.data.zero_()
    x = torch.linspace(-12, 12, 4801).to(dtype)[:, None]
    with torch.inference_mode():
        y = PrepackedLinear(layer)(x, "gelu")
    if y is None:
        pytest.skip(f"oneDNN has no products in {dtype} here")
    truth = F.gelu(x.double())
    assert_close((y.double() / truth.abs().clamp(min=1)).numpy(), (truth / truth.abs().clamp(min=1)).numpy(), tolerance)
    assert (y - F.gelu(x, approximate="tanh")).abs().max() > 1e-4 or dtype == torch.bfloat16


def test_few_shapes_of_products(tmp_path, products):
    """oneDNN keeps a program for each, and making it takes as long as a product."""
    inference, _, _ = loaded(tmp_path, n_layers=1)
    rng = np.random.default_rng(0)
    for _ in range(60):
        lengths = rng.integers(1, 20, (rng.integers(1, 40), 1))
        mask = np.arange(20) < lengths
        inference(input_ids=np.ones(mask.shape, int), attention_mask=mask, tokens=rng.random(mask.shape) < 0.3)
    shapes = {product.shape[:2].numel() for product in products}
    assert len(shapes) < 55  # measured: 43; 94 if not rounded


def in_place(model):
    with torch.no_grad():
        model.distilbert.transformer.layer[0].ffn.lin1.weight[3] += 1


def through_data(model):
    model.distilbert.transformer.layer[0].attention.k_lin.weight.data.mul_(-1)


def one_number_through_data(model):
    model.distilbert.transformer.layer[1].ffn.lin1.weight.data[7, 5] += 9


def two_rows_swapped_through_data(model):
    data = model.distilbert.transformer.layer[0].attention.q_lin.weight.data
    data[[2, 5]] = data[[5, 2]]


def a_number_through_numpy(model):
    model.distilbert.transformer.layer[0].attention.out_lin.weight.detach().numpy()[3, 4] -= 9


def a_number_through_shared_memory(model):
    model.share_memory()
    handle = torch.multiprocessing.reductions.reduce_tensor(model.distilbert.transformer.layer[0].ffn.lin2.weight.data)
    function, arguments = handle
    function(*arguments)[5, 6] += 9


def new_data(model):
    weight = model.distilbert.transformer.layer[1].attention.v_lin.weight
    weight.data = -weight.data


def new_parameter(model):
    layer = model.distilbert.transformer.layer[1].ffn.lin2
    layer.weight = nn.Parameter(layer.weight.detach() * 2)


def new_bias(model):
    model.classifier.bias.data += 1


def new_layer(model):
    old = model.distilbert.transformer.layer[0].ffn.lin1
    model.distilbert.transformer.layer[0].ffn.lin1 = nn.Linear(old.in_features, old.out_features)


def pruned_heads(model):
    model.prune_heads({0: [1]})


def a_step_of_training(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[0, 1, 2]])).loss.backward()
    optimizer.step()


def a_hook(model):
    model.distilbert.transformer.layer[0].ffn.lin1.register_forward_hook(lambda layer, arguments, y: y + 1)


def a_hook_before(model):
    model.classifier.register_forward_pre_hook(lambda layer, arguments: (arguments[0] + 1,))


def another_activation(model):
    model.distilbert.transformer.layer[0].ffn.activation = F.relu


def a_parametrization(model):
    nn.utils.parametrizations.weight_norm(model.classifier)
    model.classifier.parametrizations.weight.original0.data += 1


@pytest.mark.parametrize(
    "change",
    [
        in_place,
        through_data,
        one_number_through_data,
        two_rows_swapped_through_data,
        a_number_through_numpy,
        a_number_through_shared_memory,
        new_data,
        new_parameter,
        new_bias,
        new_layer,
        pruned_heads,
        a_step_of_training,
        a_hook,
        a_hook_before,
        another_activation,
        a_parametrization,
    ],
)
@pytest.mark.parametrize(("texts", "pays"), [(1, False), (5, True), (5, False)])
def test_changes_of_the_model_are_seen(tmp_path, monkeypatch, texts, pays, change):
    monkeypatch.setattr(prepacking, "pays_off", lambda rows, dtype: pays)
    inference, inputs, truth = loaded(tmp_path, texts=texts)
    before = inference(**inputs)["logits"]
    change(inference.model)
    after = inference(**inputs)["logits"]
    assert_close(after, truth(), TOLERANCE)
    assert abs(after - before).max() > 1e3 * TOLERANCE


def test_nothing_is_left_in_the_model(tmp_path):
    inference, inputs, _ = loaded(tmp_path)
    modules = {name: set(vars(module)) for name, module in inference.model.named_modules()}
    with pytest.raises(RuntimeError), inference.prepacking.in_use(CPU):
        raise RuntimeError
    inference(**inputs)
    assert {name: set(vars(module)) for name, module in inference.model.named_modules()} == modules


def test_a_method_of_the_users_own_stays(tmp_path):
    inference, inputs, _ = loaded(tmp_path)
    inference(**inputs)
    inference.model.classifier.forward = lambda x: x.new_ones(*x.shape[:-1], 3)
    assert inference(**inputs)["logits"].max() == 1
    assert inference.model.classifier(torch.zeros(1, 1)).tolist() == [[1, 1, 1]]


def test_a_method_of_the_users_own_before_gelu_is_called(tmp_path):
    inference, inputs, _ = loaded(tmp_path)
    calls = []
    layer = inference.model.distilbert.transformer.layer[0].ffn.lin1
    layer.forward = lambda x: calls.append(x) or nn.Linear.forward(layer, x)
    inference(**inputs)
    assert len(calls) == 1


def test_gradients_flow_through_prepacked_layers(tmp_path, products, weights):
    """Another thread may train the model while it is in use for inference."""
    inference, inputs, _ = loaded(tmp_path)
    with inference.prepacking.in_use(CPU):
        logits = inference.model(torch.from_numpy(inputs["input_ids"])).logits
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in inference.model.parameters() if parameter.requires_grad)
    assert not any(product is not None for product in products)


def test_threads_share_it(tmp_path, weights):
    inference, inputs, truth = loaded(tmp_path)
    results = []
    threads = [
        threading.Thread(target=lambda: results.extend(inference(**inputs)["logits"] for _ in range(10)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = truth()
    assert len(results) == 40
    for result in results:
        assert_close(result, expected, TOLERANCE)
    assert "forward" not in vars(inference.model.classifier)


def test_two_objects_of_one_model(tmp_path):
    inference, inputs, truth = loaded(tmp_path)
    other, expected = type(inference)(inference.model), truth()
    with inference.prepacking.in_use(CPU):
        assert_close(other(**inputs)["logits"], expected, TOLERANCE)
        assert "forward" in vars(inference.model.classifier)
    assert "forward" not in vars(inference.model.classifier)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_dtypes_are_left_to_pytorch(tmp_path, products, dtype):
    inference, inputs, truth = loaded(tmp_path, dtype=dtype)
    # Measured: 1e-15 and 3e-3.
    assert_close(inference(**inputs)["logits"].astype("float64"), truth(), 1e-12 if dtype == "float64" else 2e-2)
    assert products
    assert all(product is None for product in products)


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # a warning of PyTorch about its own flags
def test_autocast_and_switched_off_onednn_are_honoured(tmp_path, products):
    inference, inputs, _ = loaded(tmp_path)
    with torch.autocast("cpu", torch.bfloat16):
        inference(**inputs)
    with torch.backends.mkldnn.flags(enabled=False):
        inference(**inputs)
    assert not products


def test_a_model_loaded_without_counts_of_changes(tmp_path, products, weights):
    """Tensors made in inference mode do not count their changes."""
    with torch.inference_mode():
        inference, inputs, _ = loaded(tmp_path)
        before = inference(**inputs)["logits"]
        inference.model.classifier.weight *= 2
        inference.model.classifier.bias *= 2
        assert_close(inference(**inputs)["logits"], 2 * before, TOLERANCE)
    assert all(product is not None for product in products)


def test_hooks_of_all_modules_see_each_layer(tmp_path):
    inference, inputs, _ = loaded(tmp_path)
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda layer, arguments, y: seen.append(layer))
    with handle:
        inference(**inputs)
    layers = [layer for layer in inference.model.modules() if isinstance(layer, nn.Linear)]
    assert [seen.count(layer) for layer in layers] == [1] * len(layers)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("size", [1, 4, 7, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_bit_of_a_matrix_is_compared(dtype, size, start):
    matrix = torch.arange(start + size, dtype=dtype)[start:]
    for index in range(size):
        other = matrix.clone()
        assert prepacking.is_same(matrix, other)
        other[index] = -other[index] - 1
        assert not prepacking.is_same(matrix, other)


def test_compilers_see_plain_layers(tmp_path):
    """What cannot be traced, such as the address of a weight, is not looked at then."""
    inference, _, _ = loaded(tmp_path)
    layer = inference.model.distilbert.transformer.layer[0].ffn
    x = torch.randn(2, 3, inference.config.dim)
    with torch.inference_mode(), inference.prepacking.in_use(CPU):
        y = torch.compile(layer, backend="eager", fullgraph=True)(x)
        assert_close(y.numpy(), layer(x).numpy(), TOLERANCE)
