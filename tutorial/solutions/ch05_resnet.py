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


# Exercise 5.1
def shrink(x, weight, stride):
    """x (B, C, H, W), weight (D, C, 1, 1) -> (B, D, H/stride, W/stride).

    It is the shortcut of ResNet-D (He et al. 2019). A 1x1 convolution with a stride skips pixels,
    three of four at stride 2. This one must look at all of them.
    """
    # solution
    x = F.avg_pool2d(x, stride)  # (B, C, H/stride, W/stride)
    return F.conv2d(x, weight)
    # given
    # return F.conv2d(x, weight, stride=stride)
    # end


# Exercise 5.2
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
        # solution
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.pool(y)))
        if self.downsample is not None:
            x = self.downsample(x)
        return F.relu(x + y)
        # end


# Exercise 5.3
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
        # solution
        # each place becomes a token, and their mean the first one
        x = x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, HW, C)
        mean = x.mean(dim=1, keepdim=True)  # (B, 1, C)
        x = torch.cat([mean, x], dim=1) + self.positional_embedding  # (B, 1 + HW, C)
        # attention as in chapter 3, but for the first token alone
        q = split_heads(self.q_proj(x[:, :1]), self.heads)  # (B, heads, 1, C/heads)
        k = split_heads(self.k_proj(x), self.heads)  # (B, heads, 1 + HW, C/heads)
        v = split_heads(self.v_proj(x), self.heads)  # (B, heads, 1 + HW, C/heads)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, heads, 1, 1 + HW)
        weights = scores.softmax(dim=-1)
        return (weights @ v).flatten(1)  # (B, heads, 1, C/heads) -> (B, C)
        # end


# Exercise 5.4
def predict_tokens_in_pool():
    """RN50x4 looks at 288 x 288 pixels. How many tokens does its attention pool look at (int)?

    There are five strides of 2: the first convolution, the pool behind the stem, and three of the
    four stages.
    """
    # solution
    return (288 // 32) ** 2 + 1
    # end
