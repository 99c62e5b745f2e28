"""Chapter 5, the modified ResNet of Section 2.4: average pooling for strides, attention in place of the last pool.

Shapes: B batch, C channels, H height, W width, E embedding.
"""
import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn


# Exercise 5.1
def shrink(x, weight, stride):
    """x (B, C, H, W), weight (D, C, 1, 1) -> (B, D, H/stride, W/stride): the shortcut of ResNet-D (He et al. 2019).

    A 1x1 convolution with a stride skips pixels, three of four at stride 2. This one must look at all of them."""
    # solution
    return F.conv2d(F.avg_pool2d(x, stride), weight)
    # given
    # return F.conv2d(x, weight, stride=stride)
    # end


# Exercise 5.2
class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut. (B, C, H, W) -> (B, 4 planes, H / stride, W / stride)."""

    def __init__(self, channels, planes, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample = None if stride == 1 and channels == 4 * planes else nn.Sequential(OrderedDict([
            ("-1", nn.AvgPool2d(stride)), ("0", nn.Conv2d(channels, 4 * planes, 1, bias=False)),
            ("1", nn.BatchNorm2d(4 * planes))]))

    def forward(self, x):
        """Each convolution has its batch norm; ReLU behind the first two, and behind the sum with the shortcut, which
        is x or its downsample. conv2 sees the full resolution, conv3 what the pool leaves of it."""
        # solution
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.pool(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))
        # end


# Exercise 5.3
class AttentionPool2d(nn.Module):
    """Attention whose only query is the mean over all places (Section 2.4). (B, C, H, W) -> (B, E)."""

    def __init__(self, side, channels, embed_dim, head_width=64):
        super().__init__()
        self.heads = channels // head_width
        self.positional_embedding = nn.Parameter(torch.randn(side ** 2 + 1, channels) / channels ** 0.5)
        self.k_proj, self.q_proj, self.v_proj = (nn.Linear(channels, channels) for _ in range(3))
        self.c_proj = nn.Linear(channels, embed_dim)

    def forward(self, x):
        """The mean goes in front of the H W places, positions are added to all of them, and the first alone, the
        mean, is the query. k_proj and v_proj see all 1 + H W tokens, c_proj what the heads have found."""
        # solution
        x = x.flatten(2).transpose(1, 2)  # (B, HW, C)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding  # (B, 1 + HW, C)
        q, k, v = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)  # (B, 1, C), (B, 1 + HW, C) twice
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))  # (B, H, 1 or 1 + HW, C/H)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1)  # (B, H, 1, 1 + HW)
        return self.c_proj((weights @ v).flatten(1))  # (B, H, 1, C/H) -> (B, C) -> (B, E)
        # end


# Exercise 5.4
def predict_tokens_in_pool():
    """RN50x4 looks at 288 x 288 pixels. Strides of 2: the first convolution, the pool behind the stem, and three of
    the four stages. How many tokens does the attention pool look at (int)?"""
    # solution
    return (288 // 32) ** 2 + 1
    # end
