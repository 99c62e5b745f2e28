"""Muon against singular value decompositions in numpy: what it makes of a gradient, and of which weights."""
import numpy as np
import pytest
import torch

from test_train import tiny
from train_tiny import TEXT_LR, Muon, make_optimizer, orthogonalise

SHAPES = {"wide": (3, 48, 200), "tall": (2, 200, 48), "square": (1, 96, 96), "one row": (1, 1, 30)}


def gradient(shape, seed=0):
    """Random, with singular values that differ by a factor of 100, as those of real gradients do."""
    rng = np.random.default_rng(seed)
    U, S, V = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    S = np.geomspace(1, 1 / 100, S.shape[-1])
    return U * S @ V


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_singular_vectors_stay_and_singular_values_become_one(shape):
    """Each matrix of a batch by itself, whatever its size."""
    x = gradient(shape) * np.array([1e-5, 1, 1e5])[:shape[0], None, None]
    U, _, V = np.linalg.svd(x, full_matrices=False)
    found = orthogonalise(torch.from_numpy(x)).numpy()
    in_its_basis = U.swapaxes(1, 2) @ found @ V.swapaxes(1, 2)  # diagonal, if the vectors are the same
    for matrix in in_its_basis:
        values = np.diag(matrix)
        assert 0.6 < values.min() and values.max() < 1.3
        np.testing.assert_allclose(matrix, np.diag(values), atol=1e-9)
    np.testing.assert_allclose(U @ in_its_basis @ V, found, atol=1e-9)


def by_decomposition(matrix):
    """The same by the formula: the polynomial of Jordan et al. 2024, five times, of each singular value."""
    U, S, V = np.linalg.svd(matrix, full_matrices=False)
    S = S / np.sqrt((S ** 2).sum())
    for _ in range(5):
        S = 3.4445 * S - 4.7750 * S ** 3 + 2.0315 * S ** 5
    return U * S @ V


WEIGHTS = {  # name, shape -> the matrices that are made orthogonal each by itself, by their rows
    ("visual.layer1.0.conv2.weight", (8, 4, 3, 3)): [slice(0, 8)],
    ("visual.layer1.0.conv3.weight", (32, 8, 1, 1)): [slice(0, 32)],
    ("transformer.resblocks.0.mlp.c_fc.weight", (32, 8)): [slice(0, 32)],
    ("visual.transformer.resblocks.0.mlp.c_proj.weight", (8, 32)): [slice(0, 8)],
    # queries, keys and values, of two heads
    ("transformer.resblocks.0.attn.in_proj_weight", (384, 128)): [slice(64 * i, 64 * i + 64) for i in range(6)],
    ("visual.attnpool.k_proj.weight", (128, 128)): [slice(0, 64), slice(64, 128)],
}


@pytest.mark.parametrize("name, shape", WEIGHTS, ids=[name for name, _ in WEIGHTS])
def test_three_steps_equal_the_formula(name, shape):
    """Weight decay, momentum as Nesterov's, rows and columns of kernels, heads apart, the factor for tall matrices."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=shape)
    weight = torch.nn.Parameter(torch.from_numpy(start))
    if len(shape) == 4:  # as the convolutions of a training have it
        weight = torch.nn.Parameter(torch.from_numpy(start).to(memory_format=torch.channels_last))
    module = torch.nn.ParameterDict({"w": weight})
    module.named_parameters = lambda: [(name, weight)]
    optimizer = make_optimizer(module, 1e-3, 0.1)
    rate = 1e-3 * 5 * (1 if name.startswith("visual.") else TEXT_LR)
    expected = start.reshape(shape[0], -1).copy()
    momentum = np.zeros_like(expected)
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 * group["factor"]
    for _ in range(3):
        g = gradient((1, *expected.shape), seed=int(rng.integers(99)))[0]
        weight.grad = torch.from_numpy(g.reshape(shape))
        optimizer.step()
        momentum = 0.9 * momentum + g
        update = g + 0.9 * momentum
        expected -= 0.1 * rate * expected
        for rows in WEIGHTS[name, shape]:
            height, width = update[rows].shape
            expected[rows] -= rate * max(1, height / width) ** 0.5 * by_decomposition(update[rows])
    np.testing.assert_allclose(weight.detach().numpy().reshape(shape[0], -1), expected, atol=1e-7)


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_hidden_matrices_are_muons_and_all_else_is_adamws(name):
    """Embeddings, the first convolution, the projections into the joint space, gains and biases are AdamW's."""
    model, _ = tiny(name)
    first_and_last = ("token_embedding.weight", "positional_embedding", "visual.conv1.weight", "text_projection",
                      "visual.proj", "visual.attnpool.c_proj.weight", "visual.attnpool.positional_embedding")
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    found = {}
    for group in make_optimizer(model, 1e-3, 0.3).param_groups:
        for parameter in group["params"]:
            found[names[id(parameter)]] = group["by_muon"], group["weight_decay"], group["factor"]
    assert found.keys() == set(names.values())
    for key, parameter in model.named_parameters():
        share = 1.0 if key.startswith("visual.") or key == "logit_scale" else TEXT_LR
        if parameter.ndim < 2:
            expected = False, 0.0, share
        elif key.endswith(first_and_last):
            expected = False, 0.3, share
        else:
            expected = True, 0.3, 5 * share
        assert found[key] == expected, key


def test_adamw_gets_no_weight_that_muon_has_moved():
    """With a rate of 0 for Muon its weights stay, and the others move as torch.optim.AdamW moves them."""
    model, _ = tiny()
    other, _ = tiny()
    optimizer = make_optimizer(model, 1e-3, 0.1)
    for group in optimizer.param_groups:
        group["lr"] = 0.0 if group["by_muon"] else 1e-3 * group["factor"]
    reference = make_optimizer(other, 1e-3, 0.1, muon=False)
    for group in reference.param_groups:
        group["lr"] = 1e-3 * group["factor"]
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    for p, q in zip(model.parameters(), other.parameters()):
        p.grad = torch.full_like(p, 0.01)
        q.grad = torch.full_like(q, 0.01)
    of_muon = {id(p) for group in optimizer.param_groups if group["by_muon"] for p in group["params"]}
    optimizer.step()
    reference.step()
    others = dict(other.named_parameters())
    for key, p in model.named_parameters():
        if id(p) in of_muon:
            assert p.equal(before[key]), key
        else:
            torch.testing.assert_close(p, others[key], atol=1e-7, rtol=0, msg=key)


def test_a_weight_without_gradient_stays():
    """As where an encoder takes no part in a step."""
    weight = torch.nn.Parameter(torch.ones(4, 4))
    Muon([{"params": [weight], "by_muon": True, "by_head": False}], lr=1.0).step()
    assert weight.equal(torch.ones(4, 4))
