"""Typical wrong answers to chapter 5; each docstring is what the grader must say."""


def shrink__strided(x, weight, stride):
    """pixels are skipped"""
    return F.conv2d(x, weight, stride=stride)


def shrink__largest(x, weight, stride):
    """not the largest"""
    return F.conv2d(F.max_pool2d(x, stride), weight)


def shrink__no_convolution(x, weight, stride):
    """convolution is missing"""
    return F.avg_pool2d(x, stride)


def shrink__always_two(x, weight, stride):
    """need not be 2"""
    return F.conv2d(F.avg_pool2d(x, 2), weight)


def shortcut(block, x):
    if block.downsample is None:
        return x
    return block.downsample(x)


def first_two(block, x):
    x = F.relu(block.bn1(block.conv1(x)))
    return F.relu(block.bn2(block.conv2(x)))


def Bottleneck_forward__early_pool(self, x):
    """the pool comes behind conv2"""
    y = self.pool(F.relu(self.bn1(self.conv1(x))))
    y = F.relu(self.bn2(self.conv2(y)))
    y = self.bn3(self.conv3(y))
    return F.relu(shortcut(self, x) + y)


def Bottleneck_forward__relu_before_the_sum(self, x):
    """behind the sum"""
    y = self.bn3(self.conv3(self.pool(first_two(self, x))))
    return shortcut(self, x) + F.relu(y)


def Bottleneck_forward__no_shortcut(self, x):
    """shortcut is missing"""
    y = self.bn3(self.conv3(self.pool(first_two(self, x))))
    return F.relu(y)


def Bottleneck_forward__detached(self, x):
    """the gradient"""
    y = self.bn3(self.conv3(self.pool(first_two(self, x))))
    return F.relu(shortcut(self, x).detach() + y)


def gathered(pool, tokens, asking, scale):
    """Attention over tokens (B, n, C) by the one query that `asking` (B, 1, C) makes."""
    q = split_heads(pool.q_proj(asking), pool.heads)
    k = split_heads(pool.k_proj(tokens), pool.heads)
    v = split_heads(pool.v_proj(tokens), pool.heads)
    weights = (scale * q @ k.transpose(-2, -1)).softmax(dim=-1)
    return (weights @ v).flatten(1)


def root(pool):
    """One over the square root of a head's width."""
    return math.sqrt(pool.heads / pool.q_proj.in_features)


def AttentionPool2d_gather__maximum(self, x):
    """not the maximum"""
    x = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([x.amax(dim=1, keepdim=True), x], dim=1) + self.positional_embedding
    return gathered(self, tokens, tokens[:, :1], root(self))


def AttentionPool2d_gather__no_positions(self, x):
    """positions are missing"""
    x = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)
    return gathered(self, tokens, tokens[:, :1], root(self))


def AttentionPool2d_gather__no_root(self, x):
    """the square root"""
    x = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding
    return gathered(self, tokens, tokens[:, :1], 1)


def AttentionPool2d_gather__places_only(self, x):
    """among the keys and values"""
    x = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding
    return gathered(self, tokens[:, 1:], tokens[:, :1], root(self))


def predict_tokens_in_pool__no_mean():
    """the mean is a token"""
    return 81


def predict_tokens_in_pool__four_strides():
    """five strides"""
    return 325


def predict_tokens_in_pool__side():
    """side of the map"""
    return 9
