"""The same model, the same numbers, less time: accelerate(model) changes how a CLIP computes, nothing else.

    from tutorial.extras.fast import accelerate
    model, tokenizer = load("ViT-B/32")
    model = accelerate(model)                                  # in place; features are equal but for rounding

    python zeroshot.py search ~/Pictures "a red sun" --model ViT-B/32 --fast
    python tests/benchmark.py                                  # what it gives on this machine

What it does, each held to the plain code by a test:

- Beginnings that texts share are computed once. Under the causal mask a token depends on the tokens
  before it alone, so "a photo of a" is the same in a thousand prompts; and padding is never computed.
- The last block of a transformer is computed for the one token whose output is read.
- Attention is one call of PyTorch's, which does not keep the matrix of weights; on a CPU, in training, only
  where that is quicker than step by step.
- A linear layer is a convolution where that is quicker. PyTorch leaves products of float32 matrices to
  MKL, unless told otherwise, and convolutions to oneDNN, and on some processors the one is much slower
  than the other.
- For inference, each batch norm is folded into the convolution before it.

The model may be on a CPU or a GPU and in any precision, float16 and bfloat16 too; torch.compile,
torch.export and torch.jit.trace take it. A subclass of CLIP keeps its own encode_text, and the rest of
it becomes quicker. Only large_batches.checkpoint_blocks does not go together with this.

A model in training mode keeps its batch norms, can be trained and be saved. A ResNet in eval mode can
be neither any more, as its batch norms are gone: accelerate it after saving, or after loading.

Where there are two ways, both are timed on the machine at hand when a shape is first met, and the quicker
one is kept. The way that is quicker may be another one the next time, and the two round differently.
So two runs of a training agree in the first digits only.

Letters in shape comments: B texts or images, T tokens, D width, H heads, N nodes of the tree of beginnings.
"""
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))
from clip_minimal import (CLIP, HEAD_WIDTH, MLP, Attention, ResidualAttentionBlock, Transformer, VisionTransformer,
                          quick_gelu, split_heads)


def accelerate(model):
    """A CLIP, in place -> the same model with quicker forward passes.

    Names, shapes and values of its weights stay, but for the batch norms of a ResNet in eval mode.
    """
    for module in model.modules():
        # each class below only adds methods to one of clip_minimal.py, so a module can change its class
        if type(module) in FASTER:
            module.__class__ = FASTER[type(module)]
        if isinstance(module, MLP) and module.activation is quick_gelu:
            module.activation = quick_gelu_in_place
    if not model.training:
        fold_batch_norms(model)
    return model


# ---- The quicker of two ways ---------------------------------------------------------------------

QUICKEST = {}  # (what, shapes) -> the way that was quicker when the shapes were first met


def quickest(key, ways, arguments):
    """Time functions that compute the same, once for each key -> the quickest of them."""
    if key not in QUICKEST:
        times = [time_of(way, arguments) for way in ways]
        QUICKEST[key] = ways[times.index(min(times))]
    return QUICKEST[key]


def time_of(way, arguments):
    """Seconds for way(*arguments), its gradient included in training: the best of five."""
    needs_gradient = torch.is_grad_enabled()
    arguments = list(arguments)
    trained = []  # those that have a gradient: not a mask, which has no numbers, nor one that is not given
    for i, x in enumerate(arguments):
        if torch.is_tensor(x) and x.is_floating_point():
            arguments[i] = x.detach().requires_grad_(needs_gradient)
            trained.append(arguments[i])
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        y = way(*arguments)
        if needs_gradient:
            torch.autograd.grad(y, trained, torch.ones_like(y))
        best = min(best, time.perf_counter() - start)
    return best


def linear(x, weight, bias):
    """F.linear for x (B, T, D) -> (B, T, out), in the way that is quicker here."""
    if x.device.type != "cpu" or being_recorded():
        return F.linear(x, weight, bias)
    tokens = x.shape[0] * x.shape[1]
    key = (about(tokens), weight.shape, x.dtype, *settings())
    return quickest(key, [F.linear, linear_as_convolution], [x, weight, bias])(x, weight, bias)


def about(size):
    """The next power of two, as what is quicker changes slowly with the size."""
    return 1 << (size - 1).bit_length()


def settings():
    """What else decides which way is quicker."""
    return torch.is_grad_enabled(), torch.get_num_threads(), torch.get_float32_matmul_precision()


def being_recorded():
    """Whether PyTorch compiles, exports or traces: then nothing may depend on times or on numbers."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def linear_as_convolution(x, weight, bias):
    """The same product as a convolution of images that are one pixel high and T pixels wide."""
    image = x.transpose(1, 2)[:, :, None]  # (B, D, 1, T)
    kernel = weight[:, :, None, None]  # (out, D, 1, 1)
    y = F.conv2d(image, kernel, bias)  # (B, out, 1, T)
    return y[:, :, 0].transpose(1, 2)  # (B, T, out)


class FastLinear(nn.Linear):
    """nn.Linear, by the quicker way for (B, T, D)."""

    def forward(self, x):
        if x.ndim != 3 or self.bias is None:
            return super().forward(x)
        return linear(x, self.weight, self.bias)


def quick_gelu_in_place(x):
    """clip_minimal.quick_gelu with one tensor less."""
    return F.silu(1.702 * x).div_(1.702)


# ---- The transformer: one call for attention, the last block for the wanted tokens ---------------


class FastAttention(Attention):
    """With queries of the tokens in `place` (B, n) alone, if it is given. (B, T, D) -> (B, n or T, D)."""

    def forward(self, x, mask=None, place=None):
        q, k, v = linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        if place is not None:
            q = take(q, place)  # (B, n, D)
        q = split_heads(q, self.heads)  # (B, H, n or T, 64)
        k = split_heads(k, self.heads)  # (B, H, T, 64)
        v = split_heads(v, self.heads)  # (B, H, T, 64)
        may_look = None
        if mask is not None:
            may_look = ~mask  # PyTorch's meaning of a mask is the opposite of ours
            if place is not None:
                may_look = may_look[place][:, None]  # (B, 1, n, T)
        x = attention(q, k, v, may_look)  # (B, H, n or T, 64)
        return self.out_proj(x.transpose(1, 2).flatten(2))  # (B, n or T, D)


def attention(q, k, v, may_look):
    """Queries (B, H, n, 64), keys and values (B, H, T, 64) -> the weighted means of the values (B, H, n, 64)."""
    in_training = torch.is_grad_enabled() and q.requires_grad
    if q.device.type != "cpu" or being_recorded() or not in_training:
        return F.scaled_dot_product_attention(q, k, v, may_look)
    ways = [F.scaled_dot_product_attention, attention_step_by_step]
    B, H, n, _ = q.shape
    T = k.shape[2]
    key = ("attention", B, H, n == T, about(T), may_look is None, q.dtype, *settings())
    return quickest(key, ways, [q, k, v, may_look])(q, k, v, may_look)


def attention_step_by_step(q, k, v, may_look):
    """The same as clip_minimal.Attention has it."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(HEAD_WIDTH)  # (B, H, n, T)
    if may_look is not None:
        scores = scores.masked_fill(~may_look, -math.inf)
    return scores.softmax(dim=-1) @ v  # (B, H, n, 64)


class FastBlock(ResidualAttentionBlock):
    """The block, for the tokens in `place` (B, n) if that is given. (B, T, D) -> (B, n or T, D)."""

    def forward(self, x, mask=None, place=None):
        attended = self.attn(self.ln_1(x), mask, place)
        if place is not None:
            x = take(x, place)  # (B, n, D)
        x = x + attended
        return x + self.mlp(self.ln_2(x))


class FastTransformer(Transformer):
    """The blocks; the last one only for the tokens in `place` (B, n) if that is given."""

    def forward(self, x, mask=None, place=None):
        for block in self.resblocks[:-1]:
            x = block(x, mask)
        return self.resblocks[-1](x, mask, place)


def take(x, place):
    """x (B, T, D), place (B, n) -> the tokens that stand there (B, n, D)."""
    rows = torch.arange(x.shape[0], device=x.device)[:, None]  # (B, 1)
    return x[rows, place]


class FastVisionTransformer(VisionTransformer):
    """The last block is computed for the class token alone."""

    def penultimate(self, x):
        x = self.embed(x)  # (B, T, D)
        first = torch.zeros(x.shape[0], 1, dtype=torch.long, device=x.device)
        x = self.transformer(x, place=first)  # (B, 1, D)
        return self.ln_post(x[:, 0])  # (B, D)


# ---- The text encoder: common beginnings once ----------------------------------------------------


class FastCLIP(CLIP):
    """Texts are encoded as a tree of their beginnings, or in rows where a gradient is asked for."""

    def encode_text(self, tokens):
        if torch.is_grad_enabled() or being_recorded():
            return self.encode_rows(tokens)
        return self.encode_tree(tokens)

    def encode_rows(self, tokens):
        """Token ids (B, T) -> features (B, E), the last block for the end tokens alone."""
        T = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:T]  # (B, T, D)
        later_tokens = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
        end = (tokens == self.eot_token).int().argmax(dim=1, keepdim=True)  # (B, 1)
        x = self.transformer(x, later_tokens, end)[:, 0]  # (B, D)
        return self.ln_final(x) @ self.text_projection

    def encode_tree(self, tokens, size=512):
        """Token ids (B, T) -> features (B, E).

        In alphabetical order, texts share their beginnings with their neighbours. Each different
        beginning is a node: a token that has the same tokens before it. About `size` nodes at a time
        are one row of tokens, in which each looks at its own beginnings alone.
        """
        device = tokens.device
        tokens = tokens.cpu().long()
        order = torch.tensor(sorted(range(len(tokens)), key=tokens.tolist().__getitem__))
        tokens = tokens[order]
        end = (tokens == self.eot_token).int().argmax(dim=1)  # (B,)
        features = []
        for rows in split_by_nodes(tokens, end, size):
            features.append(self.encode_nodes(tokens[rows], end[rows], device))
        return torch.cat(features)[order.argsort()]

    def encode_nodes(self, tokens, end, device):
        """Sorted token ids (B, T), places of their ends (B,) -> features (B, E), by one row of nodes."""
        new = new_nodes(tokens, end)  # (B, T)
        # of each node the text that it is first met in, and its place there
        text, place = new.nonzero(as_tuple=True)  # (N,) each
        # the node that stands for each token: its own, or the last one above it in the same place
        node = torch.zeros_like(tokens)
        node[text, place] = torch.arange(len(text))
        node = node.cummax(dim=0).values  # (B, T)
        # a node may look at another one that is earlier or itself, and is the node at that place of its text
        earlier = place <= place[:, None]  # (N, N)
        of_its_text = node[text][:, place] == torch.arange(len(text))  # (N, N)
        mask = ~(earlier & of_its_text)
        x = self.token_embedding(tokens[text, place].to(device))  # (N, D)
        x = x + self.positional_embedding[place.to(device)]
        ends = node.gather(1, end[:, None])  # (B, 1)
        x = self.transformer(x[None], mask.to(device), ends.T.to(device))[0]  # (1, N, D) -> (B, D)
        return self.ln_final(x) @ self.text_projection


def new_nodes(tokens, end):
    """Sorted token ids (B, T), places of their ends (B,) -> (B, T), True where the row above differs."""
    differs = torch.ones_like(tokens, dtype=torch.bool)
    differs[1:] = (tokens[1:] != tokens[:-1]).cumsum(dim=1) > 0
    up_to_end = torch.arange(tokens.shape[1]) <= end[:, None]
    return differs & up_to_end


def split_by_nodes(tokens, end, size):
    """-> slices of successive texts that bring about `size` new nodes each."""
    nodes = new_nodes(tokens, end).sum(dim=1).cumsum(dim=0)  # (B,), so many up to each text
    slices = []
    start = 0
    for i in range(1, len(tokens) + 1):
        if i == len(tokens) or nodes[i] // size != nodes[start] // size:
            slices.append(slice(start, i))
            start = i
    return slices


# ---- The ResNet: batch norms folded into convolutions --------------------------------------------


def fold_batch_norms(model):
    """Fold each BatchNorm2d into the convolution before it, in place: equal features, in eval mode."""
    for module in list(model.modules()):
        children = list(module.named_children())
        for (name, layer), (next_name, next_layer) in zip(children, children[1:]):
            if isinstance(next_layer, nn.BatchNorm2d):
                setattr(module, name, nn.utils.fuse_conv_bn_eval(layer, next_layer))
                setattr(module, next_name, nn.Identity())
    return model


FASTER = {CLIP: FastCLIP, VisionTransformer: FastVisionTransformer, Transformer: FastTransformer,
          ResidualAttentionBlock: FastBlock, Attention: FastAttention, nn.Linear: FastLinear}
