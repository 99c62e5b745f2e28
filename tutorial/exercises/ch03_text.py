"""Chapter 3, attention and the text encoder: the transformer of Vaswani et al. 2017, as in Section 2.4.

Shapes: B batch, T tokens, D width, H heads. Masks are True where a token must not look.
"""
import math

import torch
import torch.nn.functional as F


# Exercise 3.1: write, difficulty 2 of 5, about 15 minutes
# hints: python tutorial/grade.py 3.1 --hint 1, then 2, 3
def attention(q, k, v, mask=None):
    """Queries (..., T, C), keys and values (..., S, C) -> (..., T, C): softmax(q kᵀ / sqrt(C)) v.

    mask (T, S) is True where the query of the row must not look at the key of the column: its
    weight there is 0. The mask may be None.
    """
    raise NotImplementedError("Exercise 3.1")


# Exercise 3.2: write, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 3.2 --hint 1, then 2, 3
def causal_mask(T):
    """-> bool (T, T), True where the token of the row must not look at the token of the column.

    A token may look at itself and at earlier ones.
    """
    raise NotImplementedError("Exercise 3.2")


# Exercise 3.3: write, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 3.3 --hint 1, then 2, 3
def split_heads(x, heads):
    """(B, T, D) -> (B, H, T, D/H): the first D/H channels are the first head's."""
    raise NotImplementedError("Exercise 3.3")


# Exercise 3.4: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 3.4 --hint 1, then 2, 3
def multi_head_attention(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """x (B, T, D) -> (B, T, D). Use 3.1 and 3.3; the mask (T, T) of 3.1 may be None.

    in_weight (3D, D) and in_bias (3D,) make queries, keys and values at once, in this order;
    out_weight (D, D) and out_bias (D,) come last. Weights are (out, in), as in nn.Linear.
    """
    raise NotImplementedError("Exercise 3.4")


# Exercise 3.5: write, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 3.5 --hint 1, then 2, 3
def quick_gelu(x):
    """x * sigmoid(1.702 x), an approximation of GELU: OpenAI's models were trained with it. Any shape."""
    raise NotImplementedError("Exercise 3.5")


# Exercise 3.6: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 3.6 --hint 1, then 2, 3
def residual_block(x, weights, heads, mask=None):
    """x (B, T, D) -> (B, T, D): attention, then the MLP; each reads a LayerNorm of x, and is added to x.

    The MLP is the linear layer c_fc, QuickGELU, and the linear layer c_proj. mask is that of 3.1.
    weights {name: tensor} are named as in clip_minimal.ResidualAttentionBlock:
        ln_1.weight (D,), ln_1.bias (D,), attn.in_proj_weight (3D, D), attn.in_proj_bias (3D,),
        attn.out_proj.weight (D, D), attn.out_proj.bias (D,), ln_2.weight (D,), ln_2.bias (D,),
        mlp.c_fc.weight (4D, D), mlp.c_fc.bias (4D,), mlp.c_proj.weight (D, 4D), mlp.c_proj.bias (D,)
    """
    raise NotImplementedError("Exercise 3.6")


# Exercise 3.7: bug, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 3.7 --hint 1, then 2, 3
def pool_at_end(x, tokens, eot_token):
    """Outputs x (B, T, D) of the last layer -> (B, D): of each row x at its first end token.

    tokens (B, T) are ids, eot_token is the id that ends a text (Section 2.4). There are two mistakes
    in this code.
    """
    end = tokens.argmax(dim=1)
    return x[:, end]


# Exercise 3.8: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 3.8 --hint 1, then 2, 3
def text_parameters(width, layers, vocabulary, context, embedding):
    """How many parameters the text encoder has (int).

    Token embedding, positions, blocks as in 3.6, a last LayerNorm, and the projection to the joint
    space, which has no bias.
    """
    raise NotImplementedError("Exercise 3.8")
