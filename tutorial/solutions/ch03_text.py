"""Chapter 3, attention and the text encoder: the transformer of Vaswani et al. 2017 as Section 2.4 describes it.

Shapes: B batch, T tokens, D width, H heads, E embedding. Masks are True where a token may look.
"""
import math

import torch
import torch.nn.functional as F


# Exercise 3.1
def attention(q, k, v, mask=None):
    """Queries (..., T, C), keys and values (..., S, C), mask (T, S) bool or None -> (..., T, C).

    softmax(q kᵀ / sqrt(C)) v, where a query's weights are zero for the keys that the mask forbids."""
    # solution
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1) @ v
    # end


# Exercise 3.2
def causal_mask(T):
    """-> bool (T, T): entry (t, s) is True if token t may look at token s, itself or one before it."""
    # solution
    return torch.ones(T, T, dtype=torch.bool).tril()
    # end


# Exercise 3.3
def split_heads(x, heads):
    """(B, T, D) -> (B, H, T, D/H): the first D/H channels are the first head's."""
    # solution
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
    # end


# Exercise 3.4
def multi_head_attention(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """x (B, T, D), in_weight (3D, D), in_bias (3D,), out_weight (D, D), out_bias (D,), mask (T, T) -> (B, T, D).

    Weights are as in nn.Linear, (out, in): rows of in_weight make queries, then keys, then values.
    mask may be None. Use 3.1 and 3.3."""
    # solution
    q, k, v = (split_heads(y, heads) for y in F.linear(x, in_weight, in_bias).chunk(3, dim=-1))  # (B, H, T, D/H)
    y = attention(q, k, v, mask).transpose(1, 2).flatten(2)  # (B, T, D)
    return F.linear(y, out_weight, out_bias)
    # end


# Exercise 3.5
def quick_gelu(x):
    """x sigmoid(1.702 x), element by element: the approximation of GELU that OpenAI's models were trained with."""
    # solution
    return x * torch.sigmoid(1.702 * x)
    # end


# Exercise 3.6
def residual_block(x, weights, heads, mask=None):
    """x (B, T, D) -> (B, T, D): x + attention of its LayerNorm; then that + a perceptron of its LayerNorm.

    weights: {name: tensor} with ln_1.weight, ln_1.bias (D,), attn.in_proj_weight (3D, D), attn.in_proj_bias (3D,),
    attn.out_proj.weight (D, D), attn.out_proj.bias (D,), ln_2.weight, ln_2.bias, mlp.c_fc.weight (4D, D),
    mlp.c_fc.bias (4D,), mlp.c_proj.weight (D, 4D), mlp.c_proj.bias (D,). Between c_fc and c_proj is QuickGELU."""
    # solution
    w = weights
    y = F.layer_norm(x, x.shape[-1:], w["ln_1.weight"], w["ln_1.bias"])
    x = x + multi_head_attention(y, w["attn.in_proj_weight"], w["attn.in_proj_bias"], w["attn.out_proj.weight"],
                                 w["attn.out_proj.bias"], heads, mask)
    y = F.layer_norm(x, x.shape[-1:], w["ln_2.weight"], w["ln_2.bias"])
    y = quick_gelu(F.linear(y, w["mlp.c_fc.weight"], w["mlp.c_fc.bias"]))  # (B, T, 4D)
    return x + F.linear(y, w["mlp.c_proj.weight"], w["mlp.c_proj.bias"])
    # end


# Exercise 3.7
def pool_at_end(x, tokens, end):
    """Outputs x (B, T, D), ids tokens (B, T), id of the end token -> (B, D): x at each row's first end token.

    Section 2.4 takes the highest layer's activations there. There are two mistakes in this code."""
    # solution
    return x[torch.arange(len(x)), (tokens == end).int().argmax(dim=-1)]
    # given
    # return x[:, tokens.argmax(dim=-1)]
    # end


# Exercise 3.8
def text_parameters(width, layers, vocabulary, context, embedding):
    """-> how many parameters the text encoder has (int): token embedding, positions, blocks as in 3.6, a last
    LayerNorm, and the projection to the joint space, which has no bias."""
    # solution
    block = 4 * width ** 2 + 4 * width + 8 * width ** 2 + 5 * width + 4 * width  # attention, perceptron, two LayerNorms
    return (vocabulary + context) * width + layers * block + 2 * width + width * embedding
    # end
