"""Chapter 5, the modified ResNet of Section 2.4: average pooling for strides, attention in place of the last pool.

Shapes: B batch, C channels, H height, W width, E embedding.
"""
import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn


# Exercise 5.1: bug, difficulty 1 of 5, about 10 minutes; hints: python tutorial/grade.py 5.1 --hint 1, then 2, 3
def shrink(x, weight, stride):
    """x (B, C, H, W), weight (D, C, 1, 1) -> (B, D, H/stride, W/stride): the shortcut of ResNet-D (He et al. 2019).

    A 1x1 convolution with a stride skips pixels, three of four at stride 2. This one must look at all of them."""
    return F.conv2d(x, weight, stride=stride)


# Exercise 5.2: write, difficulty 3 of 5, about 20 minutes; hints: python tutorial/grade.py 5.2 --hint 1, then 2, 3
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
        raise NotImplementedError("Exercise 5.2")


# Exercise 5.3: write, difficulty 4 of 5, about 30 minutes; hints: python tutorial/grade.py 5.3 --hint 1, then 2, 3
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
        raise NotImplementedError("Exercise 5.3")


# Exercise 5.4: predict, difficulty 1 of 5, about 5 minutes; hints: python tutorial/grade.py 5.4 --hint 1, then 2, 3
def predict_tokens_in_pool():
    """RN50x4 looks at 288 x 288 pixels. Strides of 2: the first convolution, the pool behind the stem, and three of
    the four stages. How many tokens does the attention pool look at (int)?"""
    raise NotImplementedError("Exercise 5.4")
