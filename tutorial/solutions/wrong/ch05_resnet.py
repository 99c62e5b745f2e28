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


def Bottleneck_forward__early_pool(self, x):
    """the pool comes behind conv2"""
    y = self.pool(F.relu(self.bn1(self.conv1(x))))
    y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
    return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def Bottleneck_forward__relu_before_the_sum(self, x):
    """behind the sum"""
    y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
    return F.relu(self.bn3(self.conv3(self.pool(y)))) + (x if self.downsample is None else self.downsample(x))


def Bottleneck_forward__no_shortcut(self, x):
    """shortcut is missing"""
    y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
    return F.relu(self.bn3(self.conv3(self.pool(y))))


def Bottleneck_forward__detached(self, x):
    """the gradient"""
    y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
    y = self.bn3(self.conv3(self.pool(y)))
    return F.relu(y + (x if self.downsample is None else self.downsample(x)).detach())


def pooled(self, x, first, positions=True, root=None, skip=0):
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([first(x), x], dim=1) + positions * self.positional_embedding
    q, k, v = self.q_proj(x[:, :1]), self.k_proj(x[:, skip:]), self.v_proj(x[:, skip:])
    q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
    return self.c_proj(((q @ k.transpose(-2, -1) / (root or math.sqrt(q.shape[-1]))).softmax(-1) @ v).flatten(1))


def AttentionPool2d_forward__maximum(self, x):
    """not the maximum"""
    return pooled(self, x, lambda x: x.amax(1, keepdim=True))


def AttentionPool2d_forward__no_positions(self, x):
    """positions are missing"""
    return pooled(self, x, lambda x: x.mean(1, keepdim=True), positions=False)


def AttentionPool2d_forward__no_root(self, x):
    """the square root"""
    return pooled(self, x, lambda x: x.mean(1, keepdim=True), root=1)


def AttentionPool2d_forward__places_only(self, x):
    """among the keys and values"""
    return pooled(self, x, lambda x: x.mean(1, keepdim=True), skip=1)


def predict_tokens_in_pool__no_mean():
    """the mean is a token"""
    return 81


def predict_tokens_in_pool__four_strides():
    """five strides"""
    return 325


def predict_tokens_in_pool__side():
    """side of the map"""
    return 9
