"""The model: layout and parameter counts of the published checkpoints, and the numbers that OpenAI's code computes."""
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clip_minimal import CLIP, CONFIGS, Attention, AttentionPool2d, CLIPConfig, Transformer, contrastive_loss
from goldens import recipe
from tutorial.extras.fast import FastCLIP, accelerate

GOLDENS = Path(__file__).parent / "goldens"
MODELS = json.loads((GOLDENS / "models.json").read_text())
TINY = json.loads((GOLDENS / "tiny_models.json").read_text())
VIT = CLIPConfig(32, 32, 2, 64, 8, 64, 2, 16, 128)


def golden_model(config, digest):
    """A model in eval mode with the weights of recipe.py; the digest tells wrong weights from a wrong model."""
    config = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    heads = config.pop("transformer_heads")
    assert heads == config["transformer_width"] // 64
    with torch.device("meta"):
        model = CLIP(CLIPConfig(**config))
    weights = recipe.weights({key: tensor.shape for key, tensor in model.state_dict().items()}, seed=1)
    assert recipe.weights_sha256(weights) == digest, "numpy draws other random numbers than it did for these files"
    model.load_state_dict({key: torch.from_numpy(np.asarray(w)) for key, w in weights.items()}, assign=True)
    return model.eval()


def assert_close(got, expected, bound):
    """The largest error, relative to the largest value that was expected."""
    error = np.abs(got.detach().numpy() - expected).max() / np.abs(expected).max()
    assert error < bound, f"relative error {error:.1e}"


# ---- The nine published models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, image, text", [
    ("RN50", 38_316_896, 63_690_240),
    ("RN101", 56_259_936, 63_428_096),
    ("RN50x4", 87_137_080, 91_163_520),
    ("RN50x16", 167_328_912, 123_650_304),
    ("RN50x64", 420_380_352, 202_877_952),
    ("ViT-B/32", 87_849_216, 63_428_096),
    ("ViT-B/16", 86_192_640, 63_428_096),
    ("ViT-L/14", 303_966_208, 123_650_304),
    ("ViT-L/14@336px", 304_293_888, 123_650_304),
])
def test_parameter_counts(name, image, text):
    """Image encoder, text encoder, and one more for the scale."""
    with torch.device("meta"):
        model = CLIP(CONFIGS[name])
    assert sum(p.numel() for p in model.visual.parameters()) == image
    assert sum(p.numel() for p in model.parameters()) == image + text + 1


@pytest.mark.parametrize("name", MODELS["models"])
def test_state_dict_has_the_released_keys_and_shapes(name):
    with torch.device("meta"):
        shapes = {key: list(tensor.shape) for key, tensor in sorted(CLIP(CONFIGS[name]).state_dict().items())}
    assert shapes == json.loads((GOLDENS / "state_dict_shapes.json").read_text())[name]
    digest = hashlib.sha256(json.dumps(list(shapes.items())).encode()).hexdigest()
    assert digest == MODELS["models"][name]["keys_sha256"]


@pytest.mark.parametrize("name", [
    "RN50",
    "ViT-B/32",
    pytest.param("RN101", marks=pytest.mark.slow),  # RN50 with more blocks
    pytest.param("ViT-B/16", marks=pytest.mark.slow),  # ViT-B/32 with more patches
])
@torch.no_grad()
def test_features_and_logits_equal_openai(name):
    """In float32, the error that OpenAI's own float32 makes is about 1e-6. A BatchNorm eps of 1e-6 would make 7e-6.

    Then once more with tutorial/extras/fast.py, to the same bound."""
    golden = np.load(GOLDENS / f"model_{name.replace('/', '-')}.npz")
    config = MODELS["models"][name]["config"]
    model = golden_model(config, MODELS["models"][name]["weights_sha256"])
    assert model.config == CONFIGS[name]
    images = torch.from_numpy(recipe.images(1, 2, config["image_resolution"]))
    tokens = torch.from_numpy(golden["tokens"])
    for change in (lambda model: model, accelerate):
        model = change(model)
        assert_close(model.encode_image(images), golden["image_features_f64"], 5e-6)
        assert_close(model.encode_text(tokens), golden["text_features_f64"], 5e-6)
        per_image, per_text = model(images, tokens)
        assert_close(per_image, golden["logits_per_image_f64"], 5e-6)
        assert per_text.equal(per_image.T)
    assert type(model) is FastCLIP


# ---- Toy models: training too ----------------------------------------------------------------------------------------


@pytest.fixture(params=TINY["models"])
def tiny(request):
    """(model, images, tokens, golden arrays), in float64: what is left of the error is rounding."""
    arrays = np.load(GOLDENS / "tiny_models.npz")
    golden = {key.split("/")[1]: arrays[key] for key in arrays if key.startswith(request.param + "/")}
    config, digest = (TINY["models"][request.param][key] for key in ("config", "weights_sha256"))
    images = torch.from_numpy(recipe.images(1, 6, config["image_resolution"])).double()
    return golden_model(config, digest).double(), images, torch.from_numpy(golden["tokens"]), golden


def test_toy_model_equals_openai(tiny):
    model, images, tokens, golden = tiny
    assert_close(model.encode_image(images), golden["image_features_f64"], 1e-9)
    assert_close(model.encode_text(tokens), golden["text_features_f64"], 1e-9)
    assert_close(model(images, tokens)[0], golden["logits_per_image_f64"], 1e-9)


def test_toy_model_in_float32_equals_openai(tiny):
    model, images, tokens, golden = tiny
    model, images = model.float(), images.float()
    assert_close(model.encode_image(images), golden["image_features_f64"], 5e-6)
    assert_close(model.encode_text(tokens), golden["text_features_f64"], 5e-6)


def test_training_equals_openai(tiny):
    """Logits, loss and gradient of every parameter with batch statistics, then the losses of five steps of AdamW."""
    model, images, tokens, golden = tiny
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0)
    losses, gradients = [], []
    for _ in range(5):
        loss = contrastive_loss(model.encode_image(images), model.encode_text(tokens), model.logit_scale)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        gradients.append({key: p.grad.clone().flatten() for key, p in model.named_parameters()})
        optimizer.step()
    np.testing.assert_allclose(losses, golden["adamw_losses_f64"], atol=1e-8)
    assert losses[0] == pytest.approx(golden["train_loss_f64"], abs=1e-9)
    first, keys = gradients[0], golden["grad_keys"].tolist()
    assert sorted(first) == keys
    largest = max(g.abs().max().item() for g in first.values())
    for key, norm, total, entries in zip(keys, golden["grad_norm"], golden["grad_sum"], golden["grad_first8"]):
        got = [first[key].norm().item(), first[key].sum().item(), *np.resize(first[key].numpy(), 8)]
        np.testing.assert_allclose(got, [norm, total, *entries], atol=1e-9 * largest, err_msg=key)


def test_logits_in_train_mode_equal_openai(tiny):
    model, images, tokens, golden = tiny
    assert_close(model.train()(images, tokens)[0], golden["train_logits_f64"], 1e-9)


# ---- Initialisation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["RN50", "ViT-B/32"])
def test_initialisation_has_openais_means_and_deviations(name):
    """Two random draws of n numbers: their means and deviations agree within five standard errors of a difference."""
    torch.manual_seed(0)
    model = CLIP(CONFIGS[name])
    golden = json.loads((GOLDENS / "init_stats.json").read_text())[name]
    assert sorted(golden) == sorted(key for key, _ in model.named_parameters())
    for key, parameter in model.named_parameters():
        mean, std, n = golden[key]
        assert parameter.numel() == n
        got_std, got_mean = (x.item() for x in torch.std_mean(parameter.detach().double(), correction=0))
        assert abs(got_mean - mean) <= 5 * std * math.sqrt(2 / n) + 1e-9, f"mean of {key}"
        assert abs(got_std - std) <= 5 * std / math.sqrt(n), f"deviation of {key}"


# ---- Attention -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
def test_attention_module_equals_pytorchs_and_the_formula(causal):
    torch.manual_seed(0)
    module, reference = Attention(128).double(), nn.MultiheadAttention(128, 2, batch_first=True).double()
    nn.init.normal_(module.in_proj_bias)
    reference.load_state_dict(module.state_dict())
    x = torch.randn(3, 5, 128, dtype=torch.float64)
    unseen = torch.ones(5, 5, dtype=torch.bool).triu(1) if causal else None
    got = module(x, unseen)
    torch.testing.assert_close(got, reference(x, x, x, attn_mask=unseen)[0])
    q, k, v = (t.view(3, 5, 2, 64).transpose(1, 2)
               for t in F.linear(x, module.in_proj_weight, module.in_proj_bias).chunk(3, dim=-1))
    scores = q @ k.transpose(-2, -1) / 8
    if causal:
        scores[..., [0, 0, 0, 0, 1, 1, 1, 2, 2, 3], [1, 2, 3, 4, 2, 3, 4, 3, 4, 4]] = -math.inf  # what lies ahead
    heads = scores.softmax(dim=-1) @ v
    torch.testing.assert_close(got, module.out_proj(heads.transpose(1, 2).reshape(3, 5, 128)))


@pytest.mark.parametrize("causal", [False, True])
def test_a_transformer_is_its_blocks_one_after_the_other(causal):
    """Each adds the attention of what ln_1 gives, then the MLP of what ln_2 gives."""
    torch.manual_seed(0)
    model = Transformer(128, 3, F.gelu).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    x = torch.randn(4, 6, 128, dtype=torch.float64)
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1) if causal else None
    expected = x
    for block in model.resblocks:
        expected = expected + block.attn(block.ln_1(expected), mask)
        hidden = F.gelu(block.mlp.c_fc(block.ln_2(expected)))
        expected = expected + block.mlp.c_proj(hidden)
    torch.testing.assert_close(model(x, mask), expected)


def test_attention_pool_asks_with_the_mean():
    """Against PyTorch's attention function over the mean and the places, of which the first answer is taken."""
    torch.manual_seed(0)
    pool = AttentionPool2d(2, 128, 32).double()
    x = torch.randn(3, 128, 2, 2, dtype=torch.float64)
    places = [x.mean(dim=(2, 3)), x[:, :, 0, 0], x[:, :, 0, 1], x[:, :, 1, 0], x[:, :, 1, 1]]
    sequence = torch.stack(places) + pool.positional_embedding[:, None]
    reference = F.multi_head_attention_forward(
        sequence, sequence, sequence, 128, 2, None, torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        None, None, False, 0.0, pool.c_proj.weight, pool.c_proj.bias, use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight)[0]
    torch.testing.assert_close(pool(x), reference[0])


# ---- Text ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def text():
    """(model, tokens): start, five words, end, zeros."""
    torch.manual_seed(0)
    return CLIP(VIT).eval(), torch.tensor([[126, 5, 9, 30, 2, 7, 127] + [0] * 9, [126, 4, 127] + [0] * 13])


def test_only_what_stands_up_to_the_end_token_matters(text):
    model, tokens = text
    features = model.encode_text(tokens)
    for place in range(16):
        changed = tokens.clone()
        changed[0, place] = 99
        moved = (model.encode_text(changed)[0] - features[0]).abs().max() > 1e-3
        assert moved == (place <= 6), place


def test_a_shorter_batch_gives_equal_features(text):
    model, tokens = text
    torch.testing.assert_close(model.encode_text(tokens[:, :7]), model.encode_text(tokens))


def test_the_feature_is_taken_at_the_first_end_token(text):
    """Other end tokens behind it, as in a caption that spells one out, change nothing."""
    model, tokens = text
    again = tokens.clone()
    again[:, 9:] = 127
    torch.testing.assert_close(model.encode_text(again), model.encode_text(tokens))
    torch.testing.assert_close(model.encode_text(again[1:]), model.encode_text(tokens[1:, :3]))


def test_the_end_token_need_not_be_the_largest_id(text):
    """OpenAI's code looks for the largest id of a row; here the start token 126 is larger than the end token 99."""
    model, tokens = text
    model.eot_token = 99
    tokens = tokens.where(tokens != 127, 99)
    torch.testing.assert_close(model.encode_text(tokens[:1]), model.encode_text(tokens[:1, :7]))
    changed = tokens.clone()
    changed[:, 1] = 50
    assert (model.encode_text(changed) - model.encode_text(tokens)).abs().max() > 1e-3


# ---- Options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [dict(transformer_width=100), dict(transformer_width=0), dict(vision_width=96),
                                    dict(vision_width=3, vision_patch_size=None, vision_layers=(1, 1, 1, 1))])
def test_widths_that_do_not_split_into_heads_of_64_are_refused(change):
    with pytest.raises(ValueError, match="64"):
        CLIPConfig(**{**vars(VIT), **change})


@pytest.mark.parametrize("quick, value", [(True, 0.8457958), (False, 0.8413447)])
def test_gelu_is_the_configured_one(quick, value):
    """At 1: sigmoid(1.702) = 1 / (1 + exp(-1.702)), and the normal distribution function at 1."""
    model = CLIP(CLIPConfig(**{**vars(VIT), "quick_gelu": quick}))
    for transformer in (model.transformer, model.visual.transformer):
        for block in transformer.resblocks:
            assert block.mlp.activation(torch.tensor(1.0)).item() == pytest.approx(value, abs=1e-6)
