"""Typical wrong answers to chapter 3; each docstring is what the grader must say."""
total = text_parameters  # before a wrong one is put in its place


def attention__no_root(q, k, v, mask=None):
    """divided by the square root"""
    scores = q @ k.transpose(-2, -1)
    return scores.softmax(dim=-1) @ v


def attention__divided_by_channels(q, k, v, mask=None):
    """divided by C"""
    scores = q @ k.transpose(-2, -1) / q.shape[-1]
    return scores.softmax(dim=-1) @ v


def scores_of(q, k):
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def attention__over_queries(q, k, v, mask=None):
    """over the keys"""
    return scores_of(q, k).softmax(dim=-2) @ v


def attention__mask_behind(q, k, v, mask=None):
    """before the softmax"""
    weights = scores_of(q, k).softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(mask, 0)
    return weights @ v


def attention__zero_scores(q, k, v, mask=None):
    """exp(0) is 1"""
    scores = scores_of(q, k)
    if mask is not None:
        scores = scores.masked_fill(mask, 0)
    return scores.softmax(dim=-1) @ v


def attention__overflow(q, k, v, mask=None):
    """large scores"""
    exponentials = scores_of(q, k).exp()
    if mask is not None:
        exponentials = exponentials.masked_fill(mask, 0)
    return exponentials / exponentials.sum(dim=-1, keepdim=True) @ v


def attention__sixty_four(q, k, v, mask=None):
    """not always 64"""
    scores = q @ k.transpose(-2, -1) / 8
    if mask is not None:
        scores = scores.masked_fill(mask, -math.inf)
    return scores.softmax(dim=-1) @ v


def attention__wrong_axis_of_four(q, k, v, mask=None):
    """the last axis"""
    axis = -1 if q.ndim == 2 else 1
    return scores_of(q, k).softmax(dim=axis) @ v


def attention__mask_added(q, k, v, mask=None):
    """1 and 0, not -inf and 0"""
    scores = scores_of(q, k)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(dim=-1) @ v


def attention__may_look(q, k, v, mask=None):
    """must not look"""
    scores = scores_of(q, k)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1) @ v


def attention__mask_turned(q, k, v, mask=None):
    """rows look, columns are looked at"""
    scores = scores_of(q, k)
    if mask is not None:
        scores = scores.masked_fill(mask.T, -math.inf)
    return scores.softmax(dim=-1) @ v


def attention__minus_ten(q, k, v, mask=None):
    """a score of -10"""
    scores = scores_of(q, k)
    if mask is not None:
        scores = scores.masked_fill(mask, -10)
    return scores.softmax(dim=-1) @ v


def causal_mask__past(T):
    """hides the past"""
    return torch.ones(T, T, dtype=torch.bool).tril(-1)


def causal_mask__not_itself(T):
    """look at itself"""
    return torch.ones(T, T, dtype=torch.bool).triu()


def causal_mask__may_look(T):
    """must not look"""
    return torch.ones(T, T, dtype=torch.bool).tril()


def causal_mask__float(T):
    """dtype torch.bool"""
    return torch.ones(T, T).triu(1)


def causal_mask__one_too_far(T):
    """sees the one after it"""
    return torch.ones(T, T, dtype=torch.bool).triu(2)


def split_heads__view(x, heads):
    """a view alone"""
    B, T, D = x.shape
    return x.reshape(B, heads, T, D // heads)


def split_heads__interleaved(x, heads):
    """neighbouring channels"""
    B, T, D = x.shape
    return x.view(B, T, D // heads, heads).permute(0, 3, 1, 2)


def split_heads__no_swap(x, heads):
    """before tokens"""
    B, T, D = x.shape
    return x.view(B, T, heads, D // heads)


def queries_keys_values(x, in_weight, in_bias, heads):
    """Of all heads, (B, H, T, D/H) each."""
    return [split_heads(y, heads) for y in F.linear(x, in_weight, in_bias).chunk(3, dim=-1)]


def side_by_side(x):
    return x.transpose(1, 2).flatten(2)


def multi_head_attention__no_mask(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """the mask was not used"""
    q, k, v = queries_keys_values(x, in_weight, in_bias, heads)
    return F.linear(side_by_side(attention(q, k, v)), out_weight, out_bias)


def multi_head_attention__order(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """queries, keys, values"""
    v, q, k = queries_keys_values(x, in_weight, in_bias, heads)
    return F.linear(side_by_side(attention(q, k, v, mask)), out_weight, out_bias)


def multi_head_attention__transposed(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """y @ weight.T"""
    q, k, v = queries_keys_values(x, in_weight, in_bias, heads)
    return side_by_side(attention(q, k, v, mask)) @ out_weight + out_bias


def multi_head_attention__no_bias(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """bias of the output"""
    q, k, v = queries_keys_values(x, in_weight, in_bias, heads)
    return F.linear(side_by_side(attention(q, k, v, mask)), out_weight)


def multi_head_attention__not_put_back(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """put the heads side by side again"""
    q, k, v = queries_keys_values(x, in_weight, in_bias, heads)
    return F.linear(attention(q, k, v, mask).reshape(x.shape), out_weight, out_bias)


def multi_head_attention__root_of_all(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """not of all"""
    q, k, v = queries_keys_values(x, in_weight, in_bias, heads)
    y = attention(q / math.sqrt(heads), k, v, mask)
    return F.linear(side_by_side(y), out_weight, out_bias)


def multi_head_attention__by_heads(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """not by heads"""
    y = F.linear(x, in_weight, in_bias).unflatten(-1, (heads, 3, -1))
    q, k, v = y.permute(3, 0, 2, 1, 4)
    return F.linear(side_by_side(attention(q, k, v, mask)), out_weight, out_bias)


def quick_gelu__exact(x):
    """exact GELU"""
    return F.gelu(x)


def quick_gelu__tanh(x):
    """by tanh"""
    return F.gelu(x, approximate="tanh")


def quick_gelu__silu(x):
    """SiLU"""
    return x * torch.sigmoid(x)


def quick_gelu__factor_before(x):
    """not before it"""
    return 1.702 * F.silu(x)


def quick_gelu__sigmoid(x):
    """multiplied by the sigmoid"""
    return torch.sigmoid(1.702 * x)


def parts(weights, heads, mask):
    """A block's LayerNorms, attention and MLP."""
    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    def attend(x):
        names = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        of_attention = [weights[f"attn.{name}"] for name in names]
        return multi_head_attention(x, *of_attention, heads, mask)

    def mlp(x, activation=quick_gelu):
        hidden = activation(F.linear(x, weights["mlp.c_fc.weight"], weights["mlp.c_fc.bias"]))
        return F.linear(hidden, weights["mlp.c_proj.weight"], weights["mlp.c_proj.bias"])

    return norm, attend, mlp


def residual_block__post_norm(x, weights, heads, mask=None):
    """LayerNorm comes before"""
    norm, attend, mlp = parts(weights, heads, mask)
    x = norm(x + attend(x), "ln_1")
    return norm(x + mlp(x), "ln_2")


def residual_block__from_x(x, weights, heads, mask=None):
    """not from x"""
    norm, attend, mlp = parts(weights, heads, mask)
    y = x + attend(norm(x, "ln_1"))
    return x + mlp(norm(y, "ln_2"))


def residual_block__gelu(x, weights, heads, mask=None):
    """must be QuickGELU"""
    norm, attend, mlp = parts(weights, heads, mask)
    x = x + attend(norm(x, "ln_1"))
    return x + mlp(norm(x, "ln_2"), F.gelu)


def residual_block__side_by_side(x, weights, heads, mask=None):
    """not side by side"""
    norm, attend, mlp = parts(weights, heads, mask)
    return x + attend(norm(x, "ln_1")) + mlp(norm(x, "ln_2"))


def residual_block__no_mask(x, weights, heads, mask=None):
    """the mask was not used"""
    norm, attend, mlp = parts(weights, heads, None)
    x = x + attend(norm(x, "ln_1"))
    return x + mlp(norm(x, "ln_2"))


def residual_block__no_first_shortcut(x, weights, heads, mask=None):
    """the first shortcut"""
    norm, attend, mlp = parts(weights, heads, mask)
    x = attend(norm(x, "ln_1"))
    return x + mlp(norm(x, "ln_2"))


def residual_block__from_the_norm(x, weights, heads, mask=None):
    """not from its LayerNorm"""
    norm, attend, mlp = parts(weights, heads, mask)
    x = norm(x, "ln_1")
    x = x + attend(x)
    return x + mlp(norm(x, "ln_2"))


def residual_block__no_activation(x, weights, heads, mask=None):
    """there is no activation"""
    norm, attend, mlp = parts(weights, heads, mask)
    x = x + attend(norm(x, "ln_1"))
    return x + mlp(norm(x, "ln_2"), lambda y: y)


def residual_block__one_norm(x, weights, heads, mask=None):
    """a gain and a bias of its own"""
    norm, attend, mlp = parts(weights, heads, mask)
    x = x + attend(norm(x, "ln_1"))
    return x + mlp(norm(x, "ln_1"))


def residual_block__over_tokens(x, weights, heads, mask=None):
    """not over all tokens"""
    _, attend, mlp = parts(weights, heads, mask)

    def norm(y, name):
        return F.layer_norm(y, y.shape[1:]) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = x + attend(norm(x, "ln_1"))
    return x + mlp(norm(x, "ln_2"))


def residual_block__n_minus_one(x, weights, heads, mask=None):
    """not by n - 1"""
    _, attend, mlp = parts(weights, heads, mask)

    def norm(y, name):
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True) + 1e-5).sqrt()
        return y * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = x + attend(norm(x, "ln_1"))
    return x + mlp(norm(x, "ln_2"))


def pool_at_end__all_rows(x, tokens, eot_token):
    """pair each row with its own"""
    return x[:, (tokens == eot_token).int().argmax(dim=1)]


def pool_at_end__largest(x, tokens, eot_token):
    """need not have the largest id"""
    return x[torch.arange(len(x)), tokens.argmax(dim=1)]


def pool_at_end__last(x, tokens, eot_token):
    """may be padding"""
    return x[:, -1]


def pool_at_end__one_before(x, tokens, eot_token):
    """the place before the end token"""
    end = (tokens == eot_token).int().argmax(dim=1)
    return x[torch.arange(len(x)), end - 1]


def text_parameters__no_biases(width, layers, vocabulary, context, embedding):
    """have biases"""
    return total(width, layers, vocabulary, context, embedding) - layers * 9 * width


def text_parameters__no_positions(width, layers, vocabulary, context, embedding):
    """positions are learned"""
    return total(width, layers, vocabulary, context, embedding) - context * width


def text_parameters__biased_projection(width, layers, vocabulary, context, embedding):
    """has no bias"""
    return total(width, layers, vocabulary, context, embedding) + embedding


def text_parameters__no_last_norm(width, layers, vocabulary, context, embedding):
    """last LayerNorm"""
    return total(width, layers, vocabulary, context, embedding) - 2 * width


def text_parameters__no_projection(width, layers, vocabulary, context, embedding):
    """joint space is missing"""
    return total(width, layers, vocabulary, context, embedding) - width * embedding


def text_parameters__no_output_projection(width, layers, vocabulary, context, embedding):
    """attention's output projection is missing"""
    return total(width, layers, vocabulary, context, embedding) - layers * (width ** 2 + width)


def text_parameters__one_norm(width, layers, vocabulary, context, embedding):
    """two LayerNorms, each"""
    return total(width, layers, vocabulary, context, embedding) - layers * 2 * width


def text_parameters__small_bias(width, layers, vocabulary, context, embedding):
    """that of c_fc is 4 D"""
    return total(width, layers, vocabulary, context, embedding) - layers * 3 * width
