"""Checks of chapter 3. What is expected is worked out by hand, or by PyTorch's own multi-head attention."""
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F

from compare import Wrong, close, equal, expect


def normal(*shape, seed=0):
    """Normal random numbers, float32."""
    rng = np.random.default_rng((seed, *shape))
    return torch.from_numpy(rng.normal(size=shape).astype("float32"))


def check_3_1(student):
    attend_by_hand(student)
    mask = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 0, 1]]).bool()
    attend_behind_a_mask(student, mask)
    attend_behind_a_mask(student, mask[:2])  # two queries, three keys
    eye = torch.eye(2)
    close(student.attention(1e4 * eye, eye, eye), eye, case="large scores")


def attend_by_hand(student):
    """One query of four channels: the scores are 4 ln 3 / 2 = 2 ln 3 and 0, the weights 9/10 and 1/10."""
    q = torch.full((1, 4), math.log(3))
    k = torch.tensor([[1.0] * 4, [0.0] * 4])
    v = torch.tensor([[10.0, 0, 1, 2], [0.0, 20, 1, 4]])

    def by(first, second):
        return torch.tensor([[first, second]]) @ v

    root = math.sqrt(3)
    close(student.attention(q, k, v), by(0.9, 0.1), {
        "the scores must be divided by the square root of C": by(81 / 82, 1 / 82),
        "divided by C: it is the square root of C": by(0.75, 0.25),
        "C is the length of a query here, not always 64": by(root / (1 + root), 1 / (1 + root)),
        "the softmax goes over the keys, the last axis": by(1.0, 1.0),
        "the weights must add up to 1: is there a softmax?": by(2 * math.log(3), 0.0),
    }, "one query by hand")


def attend_behind_a_mask(student, mask):
    """Two texts, three heads, three keys; mask (T, 3)."""
    T = len(mask)
    q = normal(2, 3, T, 4, seed=T)
    k = normal(2, 3, 3, 4, seed=3)
    v = normal(2, 3, 3, 5, seed=3)
    scores = q @ k.transpose(-1, -2) / 2  # (2, 3, T, 3)
    got = student.attention(q, k, v)
    for axis in range(3):
        expect(not equal(got, scores.softmax(axis) @ v), "the softmax goes over the keys, the last axis")
    close(got, scores.softmax(-1) @ v, case="three heads, without a mask")

    def behind(hidden):
        return scores.masked_fill(hidden, -math.inf).softmax(-1) @ v

    known = {
        "forbidden keys must be out before the softmax: what is left must add up to 1":
            scores.softmax(-1).masked_fill(mask, 0) @ v,
        "True in the mask means that the token must not look": behind(~mask),
        "a score of 0 is not a weight of 0: exp(0) is 1": scores.masked_fill(mask, 0).softmax(-1) @ v,
        "a score of -10 is not a weight of 0: -inf is": scores.masked_fill(mask, -10).softmax(-1) @ v,
        "a mask of True and False that is added is 1 and 0, not -inf and 0": (scores + mask).softmax(-1) @ v,
        "the mask was not used": scores.softmax(-1) @ v,
    }
    if T == 3:
        known["the mask is (T, S): rows look, columns are looked at"] = behind(mask.T)
    close(student.attention(q, k, v, mask), behind(mask), known, "with a mask")


def check_3_2(student):
    mask = student.causal_mask(4)
    is_bool = isinstance(mask, torch.Tensor) and mask.dtype == torch.bool
    expect(is_bool, "the mask must be a tensor of dtype torch.bool")
    looks = torch.arange(4)[:, None]
    looked_at = torch.arange(4)
    right = looked_at > looks  # (4, 4)
    close(mask, right, {
        "this hides the past and shows the future: rows are those who look": right.T,
        "a token sees the one after it": looked_at > looks + 1,
        "a token may look at itself": looked_at >= looks,
        "True means must not look: this is the mask of what is allowed": ~right,
    }, "causal_mask(4)")
    close(student.causal_mask(1), [[False]], case="causal_mask(1)")


def check_3_3(student):
    x = torch.arange(48.0).view(2, 4, 6)
    right = torch.stack([x[:, :, :3], x[:, :, 3:]], dim=1)
    close(student.split_heads(x, 2), right, {
        "a view alone mixes tokens with heads: cut the last axis first, then swap two axes":
            x.view(2, 2, 4, 3),
        "neighbouring channels belong to one head: (H, D/H), not (D/H, H)":
            x.view(2, 4, 3, 2).permute(0, 3, 1, 2),
        "heads must come before tokens": x.view(2, 4, 2, 3),
    }, "split_heads")


def reference(x, weights, heads, mask):
    """PyTorch's own multi-head attention, whose mask is True where it is forbidden to look, like ours."""
    in_weight, in_bias, out_weight, out_bias = weights
    x = x.transpose(0, 1)  # (T, B, D)
    y, _ = F.multi_head_attention_forward(
        x, x, x, x.shape[2], heads, in_weight, in_bias, bias_k=None, bias_v=None, add_zero_attn=False,
        dropout_p=0.0, out_proj_weight=out_weight, out_proj_bias=out_bias, attn_mask=mask, need_weights=False)
    return y.transpose(0, 1)


def blame(student, wrong, *earlier):
    """Raise what is wrong, or what is in one of the earlier exercises, which this one builds on."""
    for check in earlier:
        try:
            check(student)
        except Wrong as first:
            if "not written yet" not in str(wrong):
                number = check.__name__.removeprefix("check_").replace("_", ".")
                raise Wrong(f"{number} must be right first: {first}") from None
    raise wrong


def check_3_4(student):
    try:
        attend_in_heads(student)
    except Wrong as wrong:
        blame(student, wrong, check_3_1, check_3_3)


def attend_in_heads(student):
    x = normal(2, 5, 6)
    weights = [normal(18, 6), normal(18), normal(6, 6), normal(6, seed=1)]
    in_weight, in_bias, out_weight, out_bias = weights
    causal_mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    for case, mask in (("without a mask", None), ("with a causal mask", causal_mask)):
        got = student.multi_head_attention(x, *weights, 3, mask)

        def with_in(change):
            """With other weights and biases for queries, keys and values."""
            return reference(x, [change(in_weight), change(in_bias), out_weight, out_bias], 3, mask)

        for order in itertools.permutations(range(3)):
            def mix(y):
                return torch.cat([y.chunk(3)[i] for i in order])

            if order != (0, 1, 2):
                expect(not equal(got, with_in(mix)), "the order is queries, keys, values")

        def by_heads(y):
            return y.unflatten(0, (3, 3, 2)).transpose(0, 1).flatten(0, 2)

        def root_of_all(y):
            return torch.cat([y[:6] * math.sqrt(2 / 6), y[6:]])

        right = reference(x, weights, 3, mask)
        joined = reference(x, [in_weight, in_bias, torch.eye(6), torch.zeros(6)], 3, mask)  # (2, 5, 6)
        of_heads = joined.view(2, 5, 3, 2).transpose(1, 2)  # (2, 3, 5, 2)
        close(got, right, {
            "the mask was not used": reference(x, weights, 3, None),
            "divide by the root of a head's channels, not of all": with_in(root_of_all),
            "put the heads side by side again: two axes change places before they are joined":
                F.linear(of_heads.reshape(2, 5, 6), out_weight, out_bias),
            "rows of in_weight are all queries, then all keys, then all values, not by heads":
                with_in(by_heads),
            "the bias of the output is missing": right - out_bias,
            "the bias of queries, keys and values is missing":
                reference(x, [in_weight, 0 * in_bias, out_weight, out_bias], 3, mask),
            "the output projection is missing": joined,
            "weights are (out, in): it is y @ weight.T, as F.linear has it":
                reference(x, [in_weight, in_bias, out_weight.T, out_bias], 3, mask),
            "there is one head here: split them": reference(x, weights, 1, mask),
        }, case)


def check_3_5(student):
    x = torch.tensor([-3.0, -1.0, 0.0, 0.5, 2.0])
    close(student.quick_gelu(x), [-0.018065, -0.154197, 0.0, 0.350388, 1.935653], {
        "this is the exact GELU: QuickGELU is x sigmoid(1.702 x)": F.gelu(x),
        "this is GELU by tanh: QuickGELU is x sigmoid(1.702 x)": F.gelu(x, approximate="tanh"),
        "this is SiLU: the factor 1.702 is missing": F.silu(x),
        "x must be multiplied by the sigmoid": torch.sigmoid(1.702 * x),
        "the factor belongs inside the sigmoid alone": F.silu(1.702 * x),
        "the factor belongs inside the sigmoid, not before it": 1.702 * F.silu(x),
    }, "quick_gelu", 1e-4)
    out, slope = student.gradients("quick_gelu", torch.tensor([-200.0, 0.0, 200.0]))
    close(out, [0.0, 0.0, 200.0], case="large x")
    close(slope, [0.0, 0.5, 1.0], case="its slope at -200, 0, 200, where torch.sigmoid is safe")


def check_3_6(student):
    try:
        build_a_block(student)
    except Wrong as wrong:
        blame(student, wrong, check_3_1, check_3_3, check_3_4, check_3_5)


SHAPES = {  # of a block's weights, for a width of 4
    "ln_1.weight": (4,), "ln_1.bias": (4,),
    "attn.in_proj_weight": (12, 4), "attn.in_proj_bias": (12,),
    "attn.out_proj.weight": (4, 4), "attn.out_proj.bias": (4,),
    "ln_2.weight": (4,), "ln_2.bias": (4,),
    "mlp.c_fc.weight": (16, 4), "mlp.c_fc.bias": (16,),
    "mlp.c_proj.weight": (4, 16), "mlp.c_proj.bias": (4,),
}


class Parts:
    """LayerNorm, attention and MLP of a block with these weights, two heads and this mask."""

    def __init__(self, weights, mask):
        self.weights = weights
        self.mask = mask

    def norm(self, y, name, axes=-1, unbiased=False):
        y = standardised(y, name, axes, unbiased)
        return y * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def over_tokens(self, y, name):
        return self.norm(y, name, axes=(-2, -1))

    def n_minus_one(self, y, name):
        return self.norm(y, name, unbiased=True)

    def attend(self, y):
        names = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        return reference(y, [self.weights[f"attn.{name}"] for name in names], 2, self.mask)

    def mlp(self, y, activation):
        hidden = F.linear(y, self.weights["mlp.c_fc.weight"], self.weights["mlp.c_fc.bias"])
        hidden = activation(hidden)
        return F.linear(hidden, self.weights["mlp.c_proj.weight"], self.weights["mlp.c_proj.bias"])

    def second(self, y, norm=None, activation=None):
        """The second half of the block, the MLP."""
        norm = norm or self.norm
        return y + self.mlp(norm(y, "ln_2"), activation or quick_gelu)

    def block(self, x, norm=None):
        norm = norm or self.norm
        return self.second(x + self.attend(norm(x, "ln_1")), norm)


def standardised(y, name, axes=-1, unbiased=False):
    """LayerNorm without gain and bias."""
    variance = y.var(axes, unbiased=unbiased, keepdim=True)
    return (y - y.mean(axes, keepdim=True)) / (variance + 1e-5).sqrt()


def as_it_is(y, name=None):
    return y


def quick_gelu(y):
    return y / (1 + (-1.702 * y).exp())


def build_a_block(student):
    x = normal(2, 3, 4)
    mask = torch.ones(3, 3, dtype=torch.bool).triu(1)
    weights = {}
    for i, (name, shape) in enumerate(SHAPES.items()):
        weights[name] = normal(*shape, seed=i)
    right = Parts(weights, mask)
    normed = right.norm(x, "ln_1")
    attended = x + right.attend(normed)
    normed_again = right.norm(attended, "ln_2")
    post = right.norm(x + right.attend(x), "ln_1")
    close(student.residual_block(x, weights, 2, mask), right.block(x), {
        "LayerNorm comes before attention and MLP, not behind the sum":
            right.norm(post + right.mlp(post, quick_gelu), "ln_2"),
        "the second part starts from the sum of the first, not from x":
            x + right.mlp(normed_again, quick_gelu),
        "the first shortcut is missing": right.second(right.attend(normed)),
        "the second shortcut is missing": right.mlp(normed_again, quick_gelu),
        "the first sum starts from x, not from its LayerNorm": right.second(normed + right.attend(normed)),
        "the mask was not used": Parts(weights, None).block(x),
        "the activation must be QuickGELU": right.second(attended, activation=F.gelu),
        "there is no activation: QuickGELU stands between c_fc and c_proj":
            right.second(attended, activation=as_it_is),
        "QuickGELU stands between c_fc and c_proj, not behind both":
            attended + quick_gelu(right.mlp(normed_again, as_it_is)),
        "attention and MLP are one behind the other, not side by side":
            attended + right.mlp(right.norm(x, "ln_2"), quick_gelu),
        "the second LayerNorm has a gain and a bias of its own":
            attended + right.mlp(right.norm(attended, "ln_1"), quick_gelu),
        "the second LayerNorm is missing": right.second(attended, as_it_is),
        "a LayerNorm has a gain and a bias": right.block(x, standardised),
        "a LayerNorm goes over the channels of one token, not over all tokens":
            right.block(x, right.over_tokens),
        "the variance in a LayerNorm is divided by n, not by n - 1": right.block(x, right.n_minus_one),
        "LayerNorm is missing": right.block(x, as_it_is),
    }, "residual_block", 1e-4)


def check_3_7(student):
    x = torch.arange(24.0).view(2, 4, 3)
    tokens = torch.tensor([[7, 3, 9, 0], [7, 9, 0, 0]])
    close(student.pool_at_end(x, tokens, 9), x[[0, 1], [2, 1]], {
        "x[:, end] takes all places of all rows: pair each row with its own": x[:, [2, 1]],
        "this is the last token, which may be padding": x[:, -1],
        "this is the place before the end token": x[[0, 1], [1, 0]],
        "this is the mean of all tokens": x.mean(1),
    }, "pool_at_end")
    tokens = torch.tensor([[7, 99, 9, 0], [7, 9, 9, 99]])
    close(student.pool_at_end(x, tokens, 9), x[[0, 1], [2, 1]], {
        "the end token need not have the largest id: compare with eot_token": x[[0, 1], [1, 3]],
        "there are two end tokens in a row here: the first one counts": x[[0, 1], [2, 2]],
    }, "other ids")


def check_3_8(student):
    # Embeddings 11 x 7 + 5 x 7; three blocks of attention (147 + 21) + (49 + 7), MLP (196 + 28) + (196 + 7)
    # and two LayerNorms of 14; the last one 14; projection 7 x 13. Each omission leaves another number.
    right = 77 + 35 + 3 * (224 + 427 + 28) + 14 + 91
    close(student.text_parameters(7, 3, 11, 5, 13), right, {
        "the positions are learned too": right - 35,
        "the token embedding is missing": right - 77,
        "the projection to the joint space is missing": right - 91,
        "the projection to the joint space has no bias": right + 13,
        "the last LayerNorm is missing": right - 14,
        "a block has two LayerNorms, each with a gain and a bias": right - 3 * 14,
        "a block has two LayerNorms (4 D), and its c_fc a bias (4 D): one of these is missing":
            right - 3 * 28,
        "each LayerNorm has a gain and a bias": right - 3 * 14 - 7,
        "linear layers have biases": right - 3 * (21 + 7 + 28 + 7),
        "the biases of queries, keys and values are 3 D, that of c_fc is 4 D": right - 3 * 21,
        "the second layers of attention and of the MLP have a bias, too (D)": right - 3 * 7,
        "attention's output projection is missing": right - 3 * (49 + 7),
        "attention's output projection has weights": right - 3 * 49,
        "the MLP has a second layer, back from 4 D to D": right - 3 * (196 + 7),
        "the blocks are counted once: there are several": right - 2 * 679,
    }, "width 7, three layers, eleven tokens, context 5, embedding 13")
    close(student.text_parameters(512, 12, 49408, 77, 512), 63_428_096, case="ViT-B/32")
