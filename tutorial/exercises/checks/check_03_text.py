"""Checks of chapter 3. What is expected is worked out by loops, or by PyTorch's own multi-head attention."""
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F

from compare import Wrong, close, equal, expect


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
        "C is the length of a query here, not always 64": by([[3 ** 0.5 / (1 + 3 ** 0.5), 1 / (1 + 3 ** 0.5)]]),
        "the softmax goes over the keys, the last axis": by([[1.0, 1.0]]),
        "the weights must add up to 1: is there a softmax?": by([[2 * math.log(3), 0.0]])}, "one query by hand")
    for T, rows in ((3, [[1, 0, 1], [0, 1, 0], [1, 1, 0]]), (2, [[1, 0, 1], [0, 1, 0]])):
        mask, q, k, v = torch.tensor(rows).bool(), *(numbers(2, 3, n, c, seed=n) for n, c in ((T, 4), (3, 4), (3, 5)))
        scores = q @ k.transpose(-1, -2) / 2  # (2, 3, T, 3)
        e, got = scores.exp(), student.attention(q, k, v)
        for axis in range(3):
            expect(not equal(got, scores.softmax(axis) @ v), "the softmax goes over the keys, the last axis")
        close(got, scores.softmax(-1) @ v, {}, "three heads, without a mask")
        known = {
            "forbidden keys must be out before the softmax: what is left must add up to 1":
                e / e.sum(-1, keepdim=True) * mask @ v,
            "True in the mask means that the token may look": e * ~mask / (e * ~mask).sum(-1, keepdim=True) @ v,
            "a score of 0 is not a weight of 0: exp(0) is 1": (scores * mask).softmax(-1) @ v,
            "a score of -10 is not a weight of 0: -inf is": scores.masked_fill(~mask, -10).softmax(-1) @ v,
            "a mask of True and False that is added is 1 and 0, not 0 and -inf": (scores + mask).softmax(-1) @ v,
            "the mask was not used": scores.softmax(-1) @ v}
        if T == 3:
            known["the mask is (T, S): rows look, columns are looked at"] = scores.masked_fill(
                ~mask.T, -math.inf).softmax(-1) @ v
        close(student.attention(q, k, v, mask), e * mask / (e * mask).sum(-1, keepdim=True) @ v, known, "with a mask")
    close(student.attention(1e4 * torch.eye(2), torch.eye(2), torch.eye(2)), torch.eye(2), {}, "large scores")


def check_3_2(student):
    mask = student.causal_mask(4)
    expect(isinstance(mask, torch.Tensor) and mask.dtype == torch.bool, "the mask must be a tensor of dtype torch.bool")
    expected = torch.tensor([[t >= s for s in range(4)] for t in range(4)])
    close(mask, expected, {
        "this hides the past and shows the future: rows are those who look": expected.T,
        "a token sees the one after it": torch.tensor([[t + 1 >= s for s in range(4)] for t in range(4)]),
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


def blame(student, wrong, *earlier):
    """Raise what is wrong, or what already is in an earlier exercise, as what builds on it can't be right then."""
    for check in earlier:
        try:
            check(student)
        except Wrong as first:
            if "not written yet" not in str(wrong):
                raise Wrong(f"{check.__name__[6:].replace('_', '.')} must be right first: {first}") from None
    raise wrong


def check_3_4(student):
    try:
        attend_in_heads(student)
    except Wrong as wrong:
        blame(student, wrong, check_3_1, check_3_3)


def attend_in_heads(student):
    x, mask = numbers(2, 5, 6), torch.ones(5, 5, dtype=torch.bool).tril()
    w = [numbers(18, 6), numbers(18), numbers(6, 6), numbers(6, seed=1)]
    for case, m in (("without a mask", None), ("with a causal mask", mask)):
        expected, got = reference(x, w, 3, m), student.multi_head_attention(x, *w, 3, m)
        for order in list(itertools.permutations(range(3)))[1:]:
            mixed = [torch.cat([y.chunk(3)[i] for i in order]) for y in w[:2]]
            expect(not equal(got, reference(x, mixed + w[2:], 3, m)), "the order is queries, keys, values")
        q, k, v = (y.unflatten(-1, (3, 2)).transpose(1, 2) for y in F.linear(x, *w[:2]).chunk(3, dim=-1))
        flat, small = (F.scaled_dot_product_attention(y, k, v, m) for y in (q, q * (2 / 6) ** 0.5))  # (2, 3, 5, 2)
        mixed = [y.unflatten(0, (3, 3, 2)).transpose(0, 1).flatten(0, 2) for y in w[:2]]
        close(got, expected, {
            "the mask was not used": reference(x, w, 3, None),
            "divide by the root of a head's channels, not of all": F.linear(small.transpose(1, 2).flatten(2), *w[2:]),
            "put the heads side by side again: two axes change places before they are joined":
                F.linear(flat.reshape(x.shape), *w[2:]),
            "rows of in_weight are all queries, then all keys, then all values, not by heads":
                reference(x, mixed + w[2:], 3, m),
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
        "the factor belongs inside the sigmoid alone": F.silu(1.702 * x),
        "the factor belongs inside the sigmoid, not before it": 1.702 * F.silu(x)}, "quick_gelu", 1e-4)
    out, slope = student.gradients("quick_gelu", torch.tensor([-200.0, 0.0, 200.0]), weight=1.0)
    close(out, [0.0, 0.0, 200.0], {}, "large x")
    close(slope, [0.0, 0.5, 1.0], {}, "its slope at -200, 0, 200, where torch.sigmoid is safe")


def layer_norm(x, w, name, axes=-1, unbiased=False):
    y = (x - x.mean(axes, keepdim=True)) / (x.var(axes, unbiased=unbiased, keepdim=True) + 1e-5).sqrt()
    return y * w[f"{name}.weight"] + w[f"{name}.bias"]


def check_3_6(student):
    try:
        build_a_block(student)
    except Wrong as wrong:
        blame(student, wrong, check_3_1, check_3_3, check_3_4, check_3_5)


def build_a_block(student):
    D, x = 4, numbers(2, 3, 4)
    shapes = {"ln_1.weight": (D,), "ln_1.bias": (D,), "attn.in_proj_weight": (3 * D, D), "attn.in_proj_bias": (3 * D,),
              "attn.out_proj.weight": (D, D), "attn.out_proj.bias": (D,), "ln_2.weight": (D,), "ln_2.bias": (D,),
              "mlp.c_fc.weight": (4 * D, D), "mlp.c_fc.bias": (4 * D,), "mlp.c_proj.weight": (D, 4 * D),
              "mlp.c_proj.bias": (D,)}
    w = {name: numbers(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    mask = torch.ones(3, 3, dtype=torch.bool).tril()

    def attend(y, mask=mask):
        names = "in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"
        return reference(y, [w[f"attn.{name}"] for name in names], 2, mask)

    def gelu(y):
        return y / (1 + (-1.702 * y).exp())

    def perceptron(y, gelu=gelu):
        return gelu(y @ w["mlp.c_fc.weight"].T + w["mlp.c_fc.bias"]) @ w["mlp.c_proj.weight"].T + w["mlp.c_proj.bias"]

    def block(start=x, first=True, mask=mask, gelu=gelu, out=lambda y: y, w=w, second="ln_2", **norm):
        middle = start * first + attend(layer_norm(x, w, "ln_1", **norm), mask)
        return middle + out(perceptron(layer_norm(middle, w, second, **norm) if second else middle, gelu))

    middle = x + attend(layer_norm(x, w, "ln_1"))
    post = layer_norm(x + attend(x), w, "ln_1")
    close(student.residual_block(x, w, 2, mask), block(), {
        "LayerNorm comes before attention and perceptron, not behind the sum":
            layer_norm(post + perceptron(post), w, "ln_2"),
        "the second part starts from the sum of the first, not from x": x + perceptron(layer_norm(middle, w, "ln_2")),
        "the first shortcut is missing": block(first=False),
        "the second shortcut is missing": perceptron(layer_norm(middle, w, "ln_2")),
        "the first sum starts from x, not from its LayerNorm": block(layer_norm(x, w, "ln_1")),
        "the mask was not used": block(mask=None),
        "the activation must be QuickGELU": block(gelu=F.gelu),
        "there is no activation: QuickGELU stands between c_fc and c_proj": block(gelu=lambda y: y),
        "QuickGELU stands between c_fc and c_proj, not behind both": block(gelu=lambda y: y, out=gelu),
        "attention and perceptron are one behind the other, not side by side":
            middle + perceptron(layer_norm(x, w, "ln_2")),
        "the second LayerNorm has a gain and a bias of its own": block(second="ln_1"),
        "the second LayerNorm is missing": block(second=""),
        "a LayerNorm has a gain and a bias": block(w=w | {f"ln_{i}.{kind}": torch.full((D,), value) for i in (1, 2)
                                                          for kind, value in (("weight", 1.0), ("bias", 0.0))}),
        "a LayerNorm goes over the channels of one token, not over all tokens": block(axes=(-2, -1)),
        "the variance in a LayerNorm is divided by n, not by n - 1": block(unbiased=True),
        "LayerNorm is missing": x + attend(x) + perceptron(x + attend(x))}, "residual_block", 1e-4)


def check_3_7(student):
    x = torch.arange(24.0).view(2, 4, 3)
    tokens = torch.tensor([[7, 3, 9, 0], [7, 9, 0, 0]])
    close(student.pool_at_end(x, tokens, 9), x[[0, 1], [2, 1]], {
        "x[:, at] takes all places of all rows: pair each row with its own": x[:, [2, 1]],
        "this is the last token, which may be padding": x[:, -1],
        "this is the place before the end token": x[[0, 1], [1, 0]],
        "this is the mean of all tokens": x.mean(1)}, "pool_at_end")
    tokens = torch.tensor([[7, 99, 9, 0], [7, 9, 9, 99]])
    close(student.pool_at_end(x, tokens, 9), x[[0, 1], [2, 1]], {
        "the end token need not have the largest id: compare with `end`": x[[0, 1], [1, 3]],
        "there are two end tokens in a row here: the first one counts": x[[0, 1], [2, 2]]}, "other ids")


def check_3_8(student):
    # Embeddings 11 x 7 + 5 x 7; three blocks of attention (147 + 21) + (49 + 7), perceptron (196 + 28) + (196 + 7) and
    # two LayerNorms of 14; the last one 14; projection 7 x 13. Each omission leaves another number.
    right = 77 + 35 + 3 * (224 + 427 + 28) + 14 + 91
    close(student.text_parameters(7, 3, 11, 5, 13), right, {
        "the positions are learned too": right - 35, "the token embedding is missing": right - 77,
        "the projection to the joint space is missing": right - 91,
        "the projection to the joint space has no bias": right + 13,
        "the last LayerNorm is missing": right - 14,
        "a block has two LayerNorms, each with a gain and a bias": right - 3 * 14,
        "a block has two LayerNorms (4 D), and its c_fc a bias (4 D): one of these is missing": right - 3 * 28,
        "each LayerNorm has a gain and a bias": right - 3 * 14 - 7,
        "linear layers have biases": right - 3 * (21 + 7 + 28 + 7),
        "the biases of queries, keys and values are 3 D, that of c_fc is 4 D": right - 3 * 21,
        "the second layers of attention and of the perceptron have a bias, too (D)": right - 3 * 7,
        "attention's output projection is missing": right - 3 * (49 + 7),
        "attention's output projection has weights": right - 3 * 49,
        "the perceptron has a second layer, back from 4 D to D": right - 3 * (196 + 7),
        "the blocks are counted once: there are several": right - 2 * 679},
        "width 7, three layers, eleven tokens, context 5, embedding 13")
    close(student.text_parameters(512, 12, 49408, 77, 512), 63_428_096, {}, "ViT-B/32")
