"""Checks of chapter 3. What is expected is worked out by loops, or by PyTorch's own multi-head attention."""
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F

from compare import close, equal, expect


def numbers(*shape, seed=0):
    """Normal random numbers, float32."""
    return torch.from_numpy(np.random.default_rng((seed, *shape)).normal(size=shape).astype("float32"))


def check_3_1(student):
    # One query of four channels: the scores are 4 ln 3 / 2 = 2 ln 3 and 0, the weights 9/10 and 1/10.
    q, k = torch.full((1, 4), math.log(3)), torch.tensor([[1.0] * 4, [0.0] * 4])
    v = torch.tensor([[10.0, 0, 1, 2], [0.0, 20, 1, 4]])

    def by(weights):
        return torch.tensor(weights) @ v

    close(student.attention(q, k, v), by([[0.9, 0.1]]), {
        "the scores must be divided by the square root of C": by([[81 / 82, 1 / 82]]),
        "divided by C: it is the square root of C": by([[0.75, 0.25]]),
        "the softmax goes over the keys, the last axis": by([[1.0, 1.0]]),
        "the weights must add up to 1: is there a softmax?": by([[2 * math.log(3), 0.0]])}, "one query by hand")
    mask = torch.tensor([[True, False, True], [False, True, False]])
    q, k, v = numbers(2, 3, 2, 4), numbers(2, 3, 3, 4, seed=1), numbers(2, 3, 3, 5, seed=2)
    scores = q @ k.transpose(-1, -2) / 2
    e = scores.exp()
    close(student.attention(q, k, v, mask), e * mask / (e * mask).sum(-1, keepdim=True) @ v, {
        "forbidden keys must be out before the softmax: what is left must add up to 1":
            e / e.sum(-1, keepdim=True) * mask @ v,
        "True in the mask means that the token may look": e * ~mask / (e * ~mask).sum(-1, keepdim=True) @ v,
        "a score of 0 is not a weight of 0: exp(0) is 1": (scores * mask).softmax(-1) @ v,
        "the mask was not used": scores.softmax(-1) @ v}, "with a mask")
    close(student.attention(1e4 * torch.eye(2), torch.eye(2), torch.eye(2)), torch.eye(2), {}, "large scores")


def check_3_2(student):
    mask = student.causal_mask(4)
    expect(isinstance(mask, torch.Tensor) and mask.dtype == torch.bool, "the mask must be a tensor of dtype torch.bool")
    expected = torch.tensor([[t >= s for s in range(4)] for t in range(4)])
    close(mask, expected, {
        "this hides the past and shows the future: rows are those who look": expected.T,
        "a token may look at itself": torch.tensor([[t > s for s in range(4)] for t in range(4)]),
        "True means may look: this is the mask of what is forbidden": ~expected}, "causal_mask(4)")
    close(student.causal_mask(1), [[True]], {}, "causal_mask(1)")


def check_3_3(student):
    x = torch.arange(48.0).view(2, 4, 6)
    expected = torch.stack([x[:, :, :3], x[:, :, 3:]], dim=1)
    close(student.split_heads(x, 2), expected, {
        "a view alone mixes tokens with heads: cut the last axis first, then swap two axes": x.view(2, 2, 4, 3),
        "neighbouring channels belong to one head: (H, D/H), not (D/H, H)": x.view(2, 4, 3, 2).permute(0, 3, 1, 2),
        "heads must come before tokens": x.view(2, 4, 2, 3)}, "split_heads")


def reference(x, w, heads, mask):
    """PyTorch's own, whose mask is True where it is forbidden to look."""
    return F.multi_head_attention_forward(
        *(x.transpose(0, 1),) * 3, x.shape[-1], heads, w[0], w[1], None, None, False, 0.0, w[2], w[3],
        attn_mask=None if mask is None else ~mask, need_weights=False)[0].transpose(0, 1)


def check_3_4(student):
    x, mask = numbers(2, 5, 6), torch.ones(5, 5, dtype=torch.bool).tril()
    w = [numbers(18, 6), numbers(18), numbers(6, 6), numbers(6, seed=1)]
    for case, m in (("without a mask", None), ("with a causal mask", mask)):
        expected, got = reference(x, w, 3, m), student.multi_head_attention(x, *w, 3, m)
        for order in list(itertools.permutations(range(3)))[1:]:
            mixed = [torch.cat([y.chunk(3)[i] for i in order]) for y in w[:2]]
            expect(not equal(got, reference(x, mixed + w[2:], 3, m)), "the order is queries, keys, values")
        close(got, expected, {
            "the mask was not used": reference(x, w, 3, None),
            "the bias of the output is missing": expected - w[3],
            "the bias of queries, keys and values is missing": reference(x, [w[0], 0 * w[1], *w[2:]], 3, m),
            "the output projection is missing": reference(x, [*w[:2], torch.eye(6), 0 * w[3]], 3, m),
            "weights are (out, in): it is y @ weight.T, as F.linear has it": reference(x, [*w[:2], w[2].T, w[3]], 3, m),
            "there is one head here: split them": reference(x, w, 1, m)}, case)


def check_3_5(student):
    x = torch.tensor([-3.0, -1.0, 0.0, 0.5, 2.0])
    close(student.quick_gelu(x), [-0.018065, -0.154197, 0.0, 0.350388, 1.935653], {
        "this is the exact GELU: QuickGELU is x sigmoid(1.702 x)": F.gelu(x),
        "this is GELU by tanh: QuickGELU is x sigmoid(1.702 x)": F.gelu(x, approximate="tanh"),
        "this is SiLU: the factor 1.702 is missing": F.silu(x),
        "x must be multiplied by the sigmoid": torch.sigmoid(1.702 * x),
        "the factor belongs inside the sigmoid alone": F.silu(1.702 * x)}, "quick_gelu", 1e-4)
    out, slope = student.gradients("quick_gelu", torch.tensor([-200.0, 0.0, 200.0]), weight=1.0)
    close(out, [0.0, 0.0, 200.0], {}, "large x")
    close(slope, [0.0, 0.5, 1.0], {}, "its slope at -200, 0, 200")


def layer_norm(x, w, name):
    y = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    return y * w[f"{name}.weight"] + w[f"{name}.bias"]


def check_3_6(student):
    D, x = 4, numbers(2, 3, 4)
    shapes = {"ln_1.weight": (D,), "ln_1.bias": (D,), "attn.in_proj_weight": (3 * D, D), "attn.in_proj_bias": (3 * D,),
              "attn.out_proj.weight": (D, D), "attn.out_proj.bias": (D,), "ln_2.weight": (D,), "ln_2.bias": (D,),
              "mlp.c_fc.weight": (4 * D, D), "mlp.c_fc.bias": (4 * D,), "mlp.c_proj.weight": (D, 4 * D),
              "mlp.c_proj.bias": (D,)}
    w = {name: numbers(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    mask = torch.ones(3, 3, dtype=torch.bool).tril()

    def attend(y):
        names = "in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"
        return reference(y, [w[f"attn.{name}"] for name in names], 2, mask)

    def perceptron(y, gelu=lambda y: y / (1 + (-1.702 * y).exp())):
        return gelu(y @ w["mlp.c_fc.weight"].T + w["mlp.c_fc.bias"]) @ w["mlp.c_proj.weight"].T + w["mlp.c_proj.bias"]

    middle = x + attend(layer_norm(x, w, "ln_1"))
    post = layer_norm(x + attend(x), w, "ln_1")
    close(student.residual_block(x, w, 2, mask), middle + perceptron(layer_norm(middle, w, "ln_2")), {
        "LayerNorm comes before attention and perceptron, not behind the sum":
            layer_norm(post + perceptron(post), w, "ln_2"),
        "the second part starts from the sum of the first, not from x": x + perceptron(layer_norm(middle, w, "ln_2")),
        "the second shortcut is missing": perceptron(layer_norm(middle, w, "ln_2")),
        "the activation must be QuickGELU": middle + perceptron(layer_norm(middle, w, "ln_2"), F.gelu),
        "attention and perceptron are one behind the other, not side by side":
            middle + perceptron(layer_norm(x, w, "ln_2")),
        "LayerNorm is missing": x + attend(x) + perceptron(x + attend(x))}, "residual_block", 1e-4)


def check_3_7(student):
    x = torch.arange(24.0).view(2, 4, 3)
    tokens = torch.tensor([[7, 3, 9, 0], [7, 9, 0, 0]])
    close(student.pool_at_end(x, tokens, 9), x[[0, 1], [2, 1]], {
        "x[:, at] takes all places of all rows: pair each row with its own": x[:, [2, 1]],
        "this is the last token, which may be padding": x[:, -1],
        "this is the mean of all tokens": x.mean(1)}, "pool_at_end")
    tokens = torch.tensor([[7, 99, 9, 0], [7, 9, 9, 99]])
    close(student.pool_at_end(x, tokens, 9), x[[0, 1], [2, 1]], {
        "the end token need not have the largest id: compare with `end`": x[[0, 1], [1, 3]],
        "there are two end tokens in a row here: the first one counts": x[[0, 1], [2, 2]]}, "other ids")


def check_3_8(student):
    # Embeddings 5 x 2 + 3 x 2; attention (12 + 6) + (4 + 2); perceptron (16 + 8) + (16 + 2); two LayerNorms 8; the last
    # one 4; projection 2 x 3.
    close(student.text_parameters(2, 1, 5, 3, 3), 16 + 24 + 42 + 8 + 4 + 6, {
        "linear layers have biases": 16 + 16 + 32 + 8 + 4 + 6,
        "the positions are learned too": 10 + 24 + 42 + 8 + 4 + 6,
        "the projection to the joint space has no bias": 16 + 24 + 42 + 8 + 4 + 9,
        "the last LayerNorm is missing": 16 + 24 + 42 + 8 + 6,
        "each LayerNorm has a gain and a bias": 16 + 24 + 42 + 4 + 2 + 6,
        "the projection is missing": 16 + 24 + 42 + 8 + 4}, "width 2, one layer, five tokens, context 3, embedding 3")
    close(student.text_parameters(512, 12, 49408, 77, 512), 63_428_096, {}, "ViT-B/32")
