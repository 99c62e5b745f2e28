"""Half precision, other devices, PyTorch's compilers and exporters: what the model must bear to be used elsewhere."""
import warnings
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from clip_minimal import CLIP, CLIPConfig, contrastive_loss, normalize

VIT = CLIPConfig(64, 32, 2, 128, 8, 64, 2, 16, 128)
RESNET = CLIPConfig(64, 64, (1, 2, 1, 1), 8, None, 64, 2, 16, 128)


@pytest.fixture(params=[VIT, RESNET], ids=["ViT", "ResNet"])
def model(request):
    """In eval mode, with BatchNorm averages and gains that are not the initial ones."""
    torch.manual_seed(0)
    model = CLIP(request.param)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.normal_(module.weight, 1, 0.1)
            nn.init.normal_(module.bias, 0, 0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def inputs(config, batch=3, length=16):
    generator = torch.Generator().manual_seed(batch)
    images = torch.randn(batch, 3, config.image_resolution, config.image_resolution, generator=generator)
    tokens = torch.randint(1, 126, (batch, length), generator=generator)
    tokens[:, -2] = 127
    return images, tokens


def cosine(a, b):
    return F.cosine_similarity(a.float(), b.float(), dim=-1).min().item()


# ---- Half precision --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, bound", [(torch.float16, 0.9999), (torch.bfloat16, 0.999)])
@torch.no_grad()
def test_half_precision_is_close_to_float32(model, dtype, bound):
    """Features turn by less than 0.9 degrees in float16, 2.6 in bfloat16. Images may come in float32."""
    images, tokens = inputs(model.config)
    expected = model.encode_image(images), model.encode_text(tokens)
    model.to(dtype)
    got = model.encode_image(images), model.encode_text(tokens)
    for a, b in zip(got, expected):
        assert a.dtype == dtype and cosine(a, b) > bound
    logits, transposed = model(images, tokens)
    assert logits.isfinite().all() and transposed.equal(logits.T)


@torch.no_grad()
def test_autocast_is_close_to_float32(model):
    images, tokens = inputs(model.config)
    expected = model.encode_image(images), model.encode_text(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        got = model.encode_image(images), model.encode_text(tokens)
    for a, b in zip(got, expected):
        assert a.dtype == torch.bfloat16 and cosine(a, b) > 0.999


def test_training_under_autocast_has_float32_gradients(model):
    images, tokens = inputs(model.config, batch=6)
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            features = model.encode_image(images), model.encode_text(tokens)
        contrastive_loss(*(x.float() for x in features), model.logit_scale).backward()
        assert all(p.grad.dtype == torch.float32 for p in model.parameters())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert F.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layer_norm_computes_in_float32(model, dtype):
    """As OpenAI's, which casts to float32 and back: the same but for the last bit, and far from what half precision
    itself would make of numbers around 1,000 that differ by a few."""
    norm, x = model.ln_final.to(dtype), (1000 + 8 * torch.randn(50, 64)).to(dtype)
    openai = F.layer_norm(x.float(), (64,), norm.weight.float(), norm.bias.float(), norm.eps).to(dtype)
    torch.testing.assert_close(norm(x), openai, rtol=torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps)
    naive = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()
    assert (naive * norm.weight + norm.bias - openai).abs().max() > 10 * torch.finfo(dtype).eps


# ---- Other devices ---------------------------------------------------------------------------------------------------


without = pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="PyTorch is built without CUDA")


@pytest.mark.parametrize("device", ["meta", pytest.param("cuda:0", marks=without)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("config", [VIT, RESNET], ids=["ViT", "ResNet"])
@torch.no_grad()  # the gradient's way back needs a real GPU; test_train.py goes it on the device "meta"
def test_no_tensor_is_made_on_another_device(config, dtype, device):
    """Tensors that know their device and have no numbers: to mix them with the CPU's is an error, as it is on a GPU.
    For "cuda:0" no GPU is needed, only a PyTorch that was built for one; "meta" does in any."""
    with nullcontext() if device == "meta" else FakeTensorMode():
        model = CLIP(config).eval()
        for module in model.modules():
            for name, p in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                tensor = torch.empty(p.shape, dtype=dtype if p.is_floating_point() else p.dtype, device=device)
                setattr(module, name, nn.Parameter(tensor) if isinstance(p, nn.Parameter) else tensor)
        images = normalize(torch.empty(4, 3, config.image_resolution, config.image_resolution, device=device))
        tokens = torch.empty(4, 16, dtype=torch.long, device=device)
        loss = contrastive_loss(model.encode_image(images), model.encode_text(tokens), model.logit_scale)
        logits, _ = model(images, tokens)
        assert loss.device == logits.device == torch.device(device)


def test_a_mixture_is_noticed():
    with pytest.raises(Exception, match="device"):
        torch.zeros(2, device="meta") + torch.zeros(2)


# ---- Compilers and exporters -----------------------------------------------------------------------------------------


class Tower(nn.Module):
    """An encoder as a module of its own, as exporters want it."""

    def __init__(self, model, name):
        super().__init__()
        self.model, self.name = model, name

    def forward(self, x):
        return getattr(self.model, self.name)(x)


@pytest.fixture(params=["encode_image", "encode_text"])
def tower(model, request):
    """(module, inputs to trace with, other inputs: another batch size, and for text another length)."""
    which = request.param == "encode_text"
    return Tower(model, request.param).eval(), inputs(model.config)[which], inputs(model.config, 5, 9)[which]


@pytest.mark.slow
@torch.no_grad()
def test_compile_without_graph_breaks(tower):
    """fullgraph makes any break an error; aot_eager runs all of the compiler but for making machine code."""
    module, x, other = tower
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for tensor in (x, other):
        torch.testing.assert_close(compiled(tensor), module(tensor))


@torch.no_grad()
def test_export_takes_any_batch(tower):
    module, x, other = tower
    batch = torch.export.Dim("batch", min=2, max=64)
    sizes = {0: batch} if x.dtype == torch.float32 else {0: batch, 1: torch.export.Dim("length", min=3, max=16)}
    exported = torch.export.export(module, (x,), dynamic_shapes=(sizes,)).module()
    for tensor in (x, other):
        torch.testing.assert_close(exported(tensor), module(tensor))


@torch.no_grad()
def test_a_torchscript_trace_takes_any_batch(tower, tmp_path):
    """Also after it was saved and read again."""
    module, x, other = tower
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(module, x), tmp_path / "tower.pt")
        traced = torch.jit.load(tmp_path / "tower.pt")
    for tensor in (x, other):
        torch.testing.assert_close(traced(tensor), module(tensor))
