"""Chapter 3, attention and the text encoder: the transformer of Vaswani et al. 2017 as Section 2.4 describes it.

Shapes: B batch, T tokens, D width, H heads, E embedding. Masks are True where a token may look.
"""
import math

import torch
import torch.nn.functional as F


# Exercise 3.1: write, difficulty 2 of 5, about 15 minutes; hints: python tutorial/grade.py 3.1 --hint 1, then 2, 3
def attention(q, k, v, mask=None):
    """Queries (..., T, C), keys and values (..., S, C), mask (T, S) bool or None -> (..., T, C).

    softmax(q kᵀ / sqrt(C)) v, where a query's weights are zero for the keys that the mask forbids."""
    raise NotImplementedError("Exercise 3.1")


# Exercise 3.2: write, difficulty 1 of 5, about 5 minutes; hints: python tutorial/grade.py 3.2 --hint 1, then 2, 3
def causal_mask(T):
    """-> bool (T, T): entry (t, s) is True if token t may look at token s, itself or one before it."""
    raise NotImplementedError("Exercise 3.2")


# Exercise 3.3: write, difficulty 2 of 5, about 10 minutes; hints: python tutorial/grade.py 3.3 --hint 1, then 2, 3
def split_heads(x, heads):
    """(B, T, D) -> (B, H, T, D/H): the first D/H channels are the first head's."""
    raise NotImplementedError("Exercise 3.3")


# Exercise 3.4: write, difficulty 3 of 5, about 20 minutes; hints: python tutorial/grade.py 3.4 --hint 1, then 2, 3
def multi_head_attention(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """x (B, T, D), in_weight (3D, D), in_bias (3D,), out_weight (D, D), out_bias (D,), mask (T, T) -> (B, T, D).

    Weights are as in nn.Linear, (out, in): rows of in_weight make queries, then keys, then values.
    mask may be None. Use 3.1 and 3.3."""
    raise NotImplementedError("Exercise 3.4")


# Exercise 3.5: write, difficulty 1 of 5, about 5 minutes; hints: python tutorial/grade.py 3.5 --hint 1, then 2, 3
def quick_gelu(x):
    """x sigmoid(1.702 x), element by element: the approximation of GELU that OpenAI's models were trained with."""
    raise NotImplementedError("Exercise 3.5")


# Exercise 3.6: write, difficulty 3 of 5, about 20 minutes; hints: python tutorial/grade.py 3.6 --hint 1, then 2, 3
def residual_block(x, weights, heads, mask=None):
    """x (B, T, D) -> (B, T, D): x + attention of its LayerNorm; then that + a perceptron of its LayerNorm.

    weights: {name: tensor} with ln_1.weight, ln_1.bias (D,), attn.in_proj_weight (3D, D), attn.in_proj_bias (3D,),
    attn.out_proj.weight (D, D), attn.out_proj.bias (D,), ln_2.weight, ln_2.bias, mlp.c_fc.weight (4D, D),
    mlp.c_fc.bias (4D,), mlp.c_proj.weight (D, 4D), mlp.c_proj.bias (D,). Between c_fc and c_proj is QuickGELU."""
    raise NotImplementedError("Exercise 3.6")


# Exercise 3.7: bug, difficulty 2 of 5, about 10 minutes; hints: python tutorial/grade.py 3.7 --hint 1, then 2, 3
def pool_at_end(x, tokens, end):
    """Outputs x (B, T, D), ids tokens (B, T), id of the end token -> (B, D): x at each row's first end token.

    Section 2.4 takes the highest layer's activations there. There are two mistakes in this code."""
    return x[:, tokens.argmax(dim=-1)]


# Exercise 3.8: write, difficulty 3 of 5, about 20 minutes; hints: python tutorial/grade.py 3.8 --hint 1, then 2, 3
def text_parameters(width, layers, vocabulary, context, embedding):
    """-> how many parameters the text encoder has (int): token embedding, positions, blocks as in 3.6, a last
    LayerNorm, and the projection to the joint space, which has no bias."""
    raise NotImplementedError("Exercise 3.8")
