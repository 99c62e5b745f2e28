"""Typical wrong answers to chapter 3; each docstring is what the grader must say."""
total = text_parameters  # before a wrong one is put in its place


def attention__no_root(q, k, v, mask=None):
    """divided by the square root"""
    return (q @ k.transpose(-2, -1)).softmax(-1) @ v


def attention__divided_by_channels(q, k, v, mask=None):
    """divided by C"""
    return (q @ k.transpose(-2, -1) / q.shape[-1]).softmax(-1) @ v


def attention__over_queries(q, k, v, mask=None):
    """over the keys"""
    return (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-2) @ v


def attention__mask_behind(q, k, v, mask=None):
    """before the softmax"""
    weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
    return (weights if mask is None else weights * mask) @ v


def attention__zero_scores(q, k, v, mask=None):
    """exp(0) is 1"""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores * mask).softmax(-1) @ v


def attention__overflow(q, k, v, mask=None):
    """large scores"""
    e = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).exp() * (1 if mask is None else mask)
    return e / e.sum(-1, keepdim=True) @ v


def attention__sixty_four(q, k, v, mask=None):
    """not always 64"""
    return F.scaled_dot_product_attention(q, k, v, mask, scale=1 / 8)


def attention__wrong_axis_of_four(q, k, v, mask=None):
    """the last axis"""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores.softmax(-1 if q.ndim == 2 else 1) @ v


def attention__mask_added(q, k, v, mask=None):
    """1 and 0, not 0 and -inf"""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores + mask).softmax(-1) @ v


def attention__mask_turned(q, k, v, mask=None):
    """rows look, columns are looked at"""
    return F.scaled_dot_product_attention(q, k, v, None if mask is None else mask.T)


def attention__minus_ten(q, k, v, mask=None):
    """a score of -10"""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return (scores if mask is None else scores.masked_fill(~mask, -10)).softmax(-1) @ v


def causal_mask__future(T):
    """hides the past"""
    return torch.ones(T, T, dtype=torch.bool).triu()


def causal_mask__not_itself(T):
    """look at itself"""
    return torch.ones(T, T, dtype=torch.bool).tril(-1)


def causal_mask__forbidden(T):
    """what is forbidden"""
    return torch.ones(T, T, dtype=torch.bool).triu(1)


def causal_mask__float(T):
    """dtype torch.bool"""
    return torch.ones(T, T).tril()


def causal_mask__one_too_far(T):
    """sees the one after it"""
    return torch.ones(T, T, dtype=torch.bool).tril(1)


def split_heads__view(x, heads):
    """a view alone"""
    B, T, D = x.shape
    return x.reshape(B, heads, T, D // heads)


def split_heads__interleaved(x, heads):
    """neighbouring channels"""
    return x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)


def split_heads__no_swap(x, heads):
    """before tokens"""
    return x.unflatten(-1, (heads, -1))


def multi_head_attention__no_mask(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """the mask was not used"""
    q, k, v = (split_heads(y, heads) for y in F.linear(x, in_weight, in_bias).chunk(3, dim=-1))
    return F.linear(attention(q, k, v).transpose(1, 2).flatten(2), out_weight, out_bias)


def multi_head_attention__order(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """queries, keys, values"""
    v, q, k = (split_heads(y, heads) for y in F.linear(x, in_weight, in_bias).chunk(3, dim=-1))
    return F.linear(attention(q, k, v, mask).transpose(1, 2).flatten(2), out_weight, out_bias)


def multi_head_attention__transposed(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """y @ weight.T"""
    q, k, v = (split_heads(y, heads) for y in F.linear(x, in_weight, in_bias).chunk(3, dim=-1))
    return attention(q, k, v, mask).transpose(1, 2).flatten(2) @ out_weight + out_bias


def multi_head_attention__no_bias(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """bias of the output"""
    q, k, v = (split_heads(y, heads) for y in F.linear(x, in_weight, in_bias).chunk(3, dim=-1))
    return F.linear(attention(q, k, v, mask).transpose(1, 2).flatten(2), out_weight)


def multi_head_attention__not_put_back(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """put the heads side by side again"""
    q, k, v = (split_heads(y, heads) for y in F.linear(x, in_weight, in_bias).chunk(3, dim=-1))
    return F.linear(attention(q, k, v, mask).reshape(x.shape), out_weight, out_bias)


def multi_head_attention__root_of_all(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """not of all"""
    q, k, v = (split_heads(y, heads) for y in F.linear(x, in_weight, in_bias).chunk(3, dim=-1))
    y = F.scaled_dot_product_attention(q, k, v, mask, scale=x.shape[-1] ** -0.5)
    return F.linear(y.transpose(1, 2).flatten(2), out_weight, out_bias)


def multi_head_attention__by_heads(x, in_weight, in_bias, out_weight, out_bias, heads, mask=None):
    """not by heads"""
    q, k, v = F.linear(x, in_weight, in_bias).unflatten(-1, (heads, 3, -1)).permute(3, 0, 2, 1, 4)
    return F.linear(attention(q, k, v, mask).transpose(1, 2).flatten(2), out_weight, out_bias)


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


def parts(w, heads, mask):
    """A block's LayerNorms, attention and perceptron."""
    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    def attend(x):
        return multi_head_attention(x, w["attn.in_proj_weight"], w["attn.in_proj_bias"], w["attn.out_proj.weight"],
                                    w["attn.out_proj.bias"], heads, mask)

    def perceptron(x, gelu=quick_gelu):
        return F.linear(gelu(F.linear(x, w["mlp.c_fc.weight"], w["mlp.c_fc.bias"])), w["mlp.c_proj.weight"],
                        w["mlp.c_proj.bias"])

    return norm, attend, perceptron


def residual_block__post_norm(x, weights, heads, mask=None):
    """LayerNorm comes before"""
    norm, attend, perceptron = parts(weights, heads, mask)
    x = norm(x + attend(x), "ln_1")
    return norm(x + perceptron(x), "ln_2")


def residual_block__from_x(x, weights, heads, mask=None):
    """not from x"""
    norm, attend, perceptron = parts(weights, heads, mask)
    return x + perceptron(norm(x + attend(norm(x, "ln_1")), "ln_2"))


def residual_block__gelu(x, weights, heads, mask=None):
    """must be QuickGELU"""
    norm, attend, perceptron = parts(weights, heads, mask)
    x = x + attend(norm(x, "ln_1"))
    return x + perceptron(norm(x, "ln_2"), F.gelu)


def residual_block__side_by_side(x, weights, heads, mask=None):
    """not side by side"""
    norm, attend, perceptron = parts(weights, heads, mask)
    return x + attend(norm(x, "ln_1")) + perceptron(norm(x, "ln_2"))


def residual_block__no_mask(x, weights, heads, mask=None):
    """the mask was not used"""
    norm, attend, perceptron = parts(weights, heads, None)
    x = x + attend(norm(x, "ln_1"))
    return x + perceptron(norm(x, "ln_2"))


def residual_block__no_first_shortcut(x, weights, heads, mask=None):
    """the first shortcut"""
    norm, attend, perceptron = parts(weights, heads, mask)
    x = attend(norm(x, "ln_1"))
    return x + perceptron(norm(x, "ln_2"))


def residual_block__from_the_norm(x, weights, heads, mask=None):
    """not from its LayerNorm"""
    norm, attend, perceptron = parts(weights, heads, mask)
    x = norm(x, "ln_1") + attend(norm(x, "ln_1"))
    return x + perceptron(norm(x, "ln_2"))


def residual_block__no_activation(x, weights, heads, mask=None):
    """there is no activation"""
    norm, attend, perceptron = parts(weights, heads, mask)
    x = x + attend(norm(x, "ln_1"))
    return x + perceptron(norm(x, "ln_2"), lambda y: y)


def residual_block__one_norm(x, weights, heads, mask=None):
    """a gain and a bias of its own"""
    norm, attend, perceptron = parts(weights, heads, mask)
    x = x + attend(norm(x, "ln_1"))
    return x + perceptron(norm(x, "ln_1"))


def residual_block__over_tokens(x, weights, heads, mask=None):
    """not over all tokens"""
    _, attend, perceptron = parts(weights, heads, mask)
    norm = lambda y, name: F.layer_norm(y, y.shape[1:]) * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    x = x + attend(norm(x, "ln_1"))
    return x + perceptron(norm(x, "ln_2"))


def residual_block__n_minus_one(x, weights, heads, mask=None):
    """not by n - 1"""
    _, attend, perceptron = parts(weights, heads, mask)

    def norm(y, name):
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True) + 1e-5).sqrt()
        return y * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = x + attend(norm(x, "ln_1"))
    return x + perceptron(norm(x, "ln_2"))


def pool_at_end__all_rows(x, tokens, end):
    """pair each row with its own"""
    return x[:, (tokens == end).int().argmax(dim=-1)]


def pool_at_end__largest(x, tokens, end):
    """need not have the largest id"""
    return x[torch.arange(len(x)), tokens.argmax(dim=-1)]


def pool_at_end__last(x, tokens, end):
    """may be padding"""
    return x[:, -1]


def pool_at_end__one_before(x, tokens, end):
    """the place before the end token"""
    return x[torch.arange(len(x)), (tokens == end).int().argmax(dim=-1) - 1]


def text_parameters__no_biases(width, layers, vocabulary, context, embedding):
    """have biases"""
    return (vocabulary + context) * width + layers * (12 * width ** 2 + 4 * width) + 2 * width + width * embedding


def text_parameters__no_positions(width, layers, vocabulary, context, embedding):
    """positions are learned"""
    return vocabulary * width + layers * (12 * width ** 2 + 13 * width) + 2 * width + width * embedding


def text_parameters__biased_projection(width, layers, vocabulary, context, embedding):
    """has no bias"""
    rest = (vocabulary + context) * width + layers * (12 * width ** 2 + 13 * width) + 2 * width
    return rest + (width + 1) * embedding


def text_parameters__no_last_norm(width, layers, vocabulary, context, embedding):
    """last LayerNorm"""
    return (vocabulary + context) * width + layers * (12 * width ** 2 + 13 * width) + width * embedding


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
