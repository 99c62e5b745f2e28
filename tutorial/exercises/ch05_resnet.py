"""Chapter 5, the modified ResNet of Section 2.4: average pools for strides, attention for the last pool.

Shapes: B batch, C channels, H attention heads or height, W width, E joint embedding.
"""
import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn


def split_heads(x, heads):
    """Given, as in chapter 3: (B, T, C) -> (B, heads, T, C/heads)."""
    B, T, C = x.shape
    return x.view(B, T, heads, C // heads).transpose(1, 2)


# Exercise 5.1: bug, difficulty 1 of 5, about 10 minutes
# hints: python tutorial/grade.py 5.1 --hint 1, then 2, 3
def shrink(x, weight, stride):
    """x (B, C, H, W), weight (D, C, 1, 1) -> (B, D, H/stride, W/stride).

    It is the shortcut of ResNet-D (He et al. 2019). A 1x1 convolution with a stride skips pixels,
    three of four at stride 2. This one must look at all of them.
    """
    return F.conv2d(x, weight, stride=stride)


# Exercise 5.2: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 5.2 --hint 1, then 2, 3
class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1, whose result is added to their input.

    (B, C, H, W) -> (B, 4 planes, H / stride, W / stride).
    """

    def __init__(self, channels, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.pool = nn.AvgPool2d(stride)
        # where the shape changes, the input needs a convolution too before the two can be added
        self.downsample = None
        if stride > 1 or channels != 4 * planes:
            self.downsample = nn.Sequential(OrderedDict([
                ("-1", nn.AvgPool2d(stride)),
                ("0", nn.Conv2d(channels, 4 * planes, 1, bias=False)),
                ("1", nn.BatchNorm2d(4 * planes)),
            ]))

    def forward(self, x):
        """(B, C, H, W) -> (B, 4 planes, H / stride, W / stride).

        Each convolution has its batch norm. There is a ReLU behind the first two, and one behind the
        sum with the shortcut, which is x or its downsample. conv2 sees the full resolution, conv3
        what the pool leaves of it.
        """
        raise NotImplementedError("Exercise 5.2")


# Exercise 5.3: write, difficulty 4 of 5, about 30 minutes
# hints: python tutorial/grade.py 5.3 --hint 1, then 2, 3
class AttentionPool2d(nn.Module):
    """Attention in the place of average pooling (Section 2.4). (B, C, H, W) -> (B, E).

    There is one query, made from the mean over all places.
    """

    def __init__(self, side, channels, embed_dim, head_width=64):
        super().__init__()
        self.heads = channels // head_width
        self.positional_embedding = nn.Parameter(torch.randn(side ** 2 + 1, channels) / channels ** 0.5)
        self.k_proj = nn.Linear(channels, channels)
        self.q_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, embed_dim)

    def forward(self, x):
        return self.c_proj(self.gather(x))  # (B, E)

    def gather(self, x):
        """The attention without the projection behind it. (B, C, H, W) -> (B, C).

        Each place is a token, and their mean goes in front of them as the first. Positions are added
        to all 1 + HW tokens. The first token alone makes the query, by q_proj; all of them make
        keys and values, by k_proj and v_proj. There are self.heads heads.
        """
        raise NotImplementedError("Exercise 5.3")


# Exercise 5.4: predict, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 5.4 --hint 1, then 2, 3
def predict_tokens_in_pool():
    """RN50x4 looks at 288 x 288 pixels. How many tokens does its attention pool look at (int)?

    There are five strides of 2: the first convolution, the pool behind the stem, and three of the
    four stages.
    """
    raise NotImplementedError("Exercise 5.4")
