"""Chapter 3, attention and the text encoder: the transformer of Vaswani et al. 2017, as in Section 2.4.

Shapes: B batch, T tokens, D width, H heads. Masks are True where a token must not look.
"""
import math

import torch
import torch.nn.functional as F


# Exercise 3.1
def attention(q, k, v, mask=None):
    """Queries (..., T, C), keys and values (..., S, C) -> (..., T, C): softmax(q kᵀ / sqrt(C)) v.

    mask (T, S) is True where the query of the row must not look at the key of the column: its
    weight there is 0. The mask may be None.
    """
    # solution
    # how well does each query fit each key?
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., T, S)
    if mask is not None:
        scores = scores.masked_fill(mask, -math.inf)  # the softmax makes this a weight of 0
    weights = scores.softmax(dim=-1)  # (..., T, S), each row adds up to 1
    # the weighted mean of the values
    return weights @ v  # (..., T, C)
    # end


# Exercise 3.2
def causal_mask(T):
    """-> bool (T, T), True where the token of the row must not look at the token of the column.

    A token may look at itself and at earlier ones.
    """
    # solution
    return torch.ones(T, T, dtype=torch.bool).triu(1)  # above the diagonal
    # end


# Exercise 3.3
def split_heads(x, heads):
    """(B, T, D) -> (B, H, T, D/H): the first D/H channels are the first head's."""
    # solution
    B, T, D = x.shape
    return x.view(B, T, heads, D // heads).transpose(1, 2)  # (B, H, T, D/H)
    # end


# Exercise 3.4
def multi_head_attention(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """x (B, T, D) -> (B, T, D). Use 3.1 and 3.3; the mask (T, T) of 3.1 may be None.

    in_weight (3D, D) and in_bias (3D,) make queries, keys and values at once, in this order;
    out_weight (D, D) and out_bias (D,) come last. Weights are (out, in), as in nn.Linear.
    """
    # solution
    # a query, a key and a value for each token, cut into heads
    q, k, v = F.linear(x, in_weight, in_bias).chunk(3, dim=-1)
    q = split_heads(q, heads)  # (B, H, T, D/H)
    k = split_heads(k, heads)  # (B, H, T, D/H)
    v = split_heads(v, heads)  # (B, H, T, D/H)
    x = attention(q, k, v, mask)  # (B, H, T, D/H)
    # heads side by side again
    x = x.transpose(1, 2).flatten(2)  # (B, H, T, D/H) -> (B, T, D)
    return F.linear(x, out_weight, out_bias)
    # end


# Exercise 3.5
def quick_gelu(x):
    """x * sigmoid(1.702 x), an approximation of GELU: OpenAI's models were trained with it. Any shape."""
    # solution
    return x * torch.sigmoid(1.702 * x)
    # end


# Exercise 3.6
def residual_block(x, weights, heads, mask=None):
    """x (B, T, D) -> (B, T, D): attention, then the MLP; each reads a LayerNorm of x, and is added to x.

    The MLP is the linear layer c_fc, QuickGELU, and the linear layer c_proj. mask is that of 3.1.
    weights {name: tensor} are named as in clip_minimal.ResidualAttentionBlock:
        ln_1.weight (D,), ln_1.bias (D,), attn.in_proj_weight (3D, D), attn.in_proj_bias (3D,),
        attn.out_proj.weight (D, D), attn.out_proj.bias (D,), ln_2.weight (D,), ln_2.bias (D,),
        mlp.c_fc.weight (4D, D), mlp.c_fc.bias (4D,), mlp.c_proj.weight (D, 4D), mlp.c_proj.bias (D,)
    """
    # solution
    D = x.shape[2]
    # attention
    y = F.layer_norm(x, (D,), weights["ln_1.weight"], weights["ln_1.bias"])
    y = multi_head_attention(y, weights["attn.in_proj_weight"], weights["attn.in_proj_bias"],
                             weights["attn.out_proj.weight"], weights["attn.out_proj.bias"], heads, mask)
    x = x + y
    # the MLP
    y = F.layer_norm(x, (D,), weights["ln_2.weight"], weights["ln_2.bias"])
    y = F.linear(y, weights["mlp.c_fc.weight"], weights["mlp.c_fc.bias"])  # (B, T, 4D)
    y = F.linear(quick_gelu(y), weights["mlp.c_proj.weight"], weights["mlp.c_proj.bias"])  # (B, T, D)
    return x + y
    # end


# Exercise 3.7
def pool_at_end(x, tokens, eot_token):
    """Outputs x (B, T, D) of the last layer -> (B, D): of each row x at its first end token.

    tokens (B, T) are ids, eot_token is the id that ends a text (Section 2.4). There are two mistakes
    in this code.
    """
    # solution
    end = (tokens == eot_token).int().argmax(dim=1)  # (B,), the first one in each row
    return x[torch.arange(len(x)), end]  # (B, D)
    # given
    # end = tokens.argmax(dim=1)
    # return x[:, end]
    # end


# Exercise 3.8
def text_parameters(width, layers, vocabulary, context, embedding):
    """How many parameters the text encoder has (int).

    Token embedding, positions, blocks as in 3.6, a last LayerNorm, and the projection to the joint
    space, which has no bias.
    """
    # solution
    attention_and_bias = 4 * width ** 2 + 4 * width
    mlp_and_bias = 8 * width ** 2 + 5 * width
    layer_norm = 2 * width
    block = attention_and_bias + mlp_and_bias + 2 * layer_norm
    return (vocabulary + context) * width + layers * block + layer_norm + width * embedding
    # end
