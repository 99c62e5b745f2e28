"""CLIP in one file: attention, the two kinds of image encoder, the text encoder, the contrastive loss, the tokenizer.

Radford et al. 2021, "Learning Transferable Visual Models from Natural Language Supervision",
arXiv 2103.00020, whose sections, figures and tables are named below. Parameters have the names and
shapes of OpenAI's code, so that OpenAI's weights fit:

    model, tokenizer = load("ViT-B/32")
    logits, _ = model(preprocess(image, 224)[None], tokenizer(["a photo of a cat", "a photo of a dog"]))
    probabilities = logits.softmax(dim=1)

Letters in shape comments: B batch, T tokens, D width, H attention heads or height, W image width,
C channels, P side of a patch, R resolution (side of the image in pixels), E joint embedding.
"""
import gzip
import hashlib
import html
import math
import os
import pickle
import re
import sys
import urllib.error
import urllib.request
import zipfile
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

HEAD_WIDTH = 64  # channels of one attention head, in all of OpenAI's models

# ---- The transformer (Vaswani et al. 2017), used for text and for images -------------------------


class Attention(nn.Module):
    """Multi-head self-attention: every token gathers what it needs from the others.

    x (B, T, D) -> (B, T, D). mask (T, T) is True where the token of the row must not look at the
    token of the column.
    """

    def __init__(self, width):
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # makes q, k and v at once
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x, mask=None):
        B, T, D = x.shape
        # a query, a key and a value for each token, cut into heads
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        q = split_heads(q, self.heads)  # (B, H, T, 64)
        k = split_heads(k, self.heads)  # (B, H, T, 64)
        v = split_heads(v, self.heads)  # (B, H, T, 64)
        # how well does each token's query fit each token's key?
        scores = q @ k.transpose(-2, -1) / math.sqrt(HEAD_WIDTH)  # (B, H, T, T)
        if mask is not None:
            scores = scores.masked_fill(mask, -math.inf)  # the softmax makes this a weight of 0
        weights = scores.softmax(dim=-1)  # (B, H, T, T), each row adds up to 1
        # the weighted mean of the values, heads side by side again
        x = (weights @ v).transpose(1, 2).reshape(B, T, D)  # (B, H, T, 64) -> (B, T, D)
        return self.out_proj(x)


def split_heads(x, heads):
    """(B, T, D) -> (B, H, T, 64): the first head gets the first 64 channels, and so on."""
    B, T, D = x.shape
    return x.view(B, T, heads, D // heads).transpose(1, 2)  # (B, H, T, 64)


def quick_gelu(x):
    """x * sigmoid(1.702 x), the approximation of GELU that OpenAI's models were trained with. Any shape."""
    return F.silu(1.702 * x) / 1.702  # silu(y) is y * sigmoid(y): quicker than the formula as it stands


class MLP(nn.Module):
    """Two linear layers, the hidden one four times as wide; each token by itself. (B, T, D) -> (B, T, D)."""

    def __init__(self, width, activation):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.activation = activation
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(self.activation(self.c_fc(x)))


class ResidualAttentionBlock(nn.Module):
    """Attention, then the MLP; each reads a normalised copy of x and adds its result to x. (B, T, D) -> (B, T, D)."""

    def __init__(self, width, activation):
        super().__init__()
        self.attn = Attention(width)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = MLP(width, activation)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x, mask=None):
        x = x + self.attn(self.ln_1(x), mask)
        x = x + self.mlp(self.ln_2(x))
        return x


class Transformer(nn.Module):
    """A stack of blocks. x (B, T, D), mask (T, T) as in Attention -> (B, T, D)."""

    def __init__(self, width, layers, activation):
        super().__init__()
        blocks = [ResidualAttentionBlock(width, activation) for _ in range(layers)]
        self.resblocks = nn.ModuleList(blocks)

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


# ---- Image encoder, first kind: the vision transformer (Dosovitskiy et al. 2020) -----------------


class VisionTransformer(nn.Module):
    """An image is a sequence of patches. (B, 3, R, R) -> (B, E).

    Section 2.4: as Dosovitskiy et al. have it, with one more LayerNorm (ln_pre) before the blocks.
    """

    def __init__(self, config):
        super().__init__()
        width = config.vision_width
        P = config.vision_patch_size
        patches = (config.image_resolution // P) ** 2
        scale = width ** -0.5
        self.conv1 = nn.Conv2d(3, width, kernel_size=P, stride=P, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(patches + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, config.vision_layers, config.activation)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, config.embed_dim))

    def forward(self, x):
        return self.penultimate(x) @ self.proj  # (B, E)

    def penultimate(self, x):
        """What the projection reads, I_f of Figure 3. (B, 3, R, R) -> (B, D)."""
        x = self.transformer(self.embed(x))
        return self.ln_post(x[:, 0])  # (B, D), the class token

    def embed(self, x):
        """An image becomes tokens. (B, 3, R, R) -> (B, T + 1, D)."""
        # a convolution whose stride is its size looks at each patch once
        x = self.conv1(x).flatten(2).transpose(1, 2)  # (B, D, R/P, R/P) -> (B, T, D), row by row
        # one more token goes first, the same for all images; what it has become after the last block
        # is what the projection reads
        first = self.class_embedding.expand(x.shape[0], 1, -1)  # (B, 1, D)
        x = torch.cat([first, x], dim=1)  # (B, T + 1, D)
        # without these, attention could not tell where a patch was
        x = x + self.positional_embedding
        return self.ln_pre(x)


# ---- Image encoder, second kind: the modified ResNet (Section 2.4) -------------------------------


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1, whose result is added to their input.

    `planes` is the number of channels of the 3x3 convolution.
    (B, C, H, W) -> (B, 4 * planes, H / stride, W / stride).

    With a stride of 2 the convolutions still look at every pixel: what halves height and width is an
    average pool after the 3x3 convolution and one on the shortcut (Zhang 2019; He et al. 2019).
    """

    def __init__(self, channels, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        # a batch norm multiplies by its weight: with 0, a new block adds nothing (Goyal et al. 2017)
        nn.init.zeros_(self.bn3.weight)
        self.pool = nn.AvgPool2d(stride)  # with a stride of 1 it changes nothing
        # where the shape changes, the shortcut needs a convolution before the two can be added
        self.downsample = None
        if stride > 1 or channels != 4 * planes:
            self.downsample = nn.Sequential(OrderedDict([  # "-1", "0", "1": names in OpenAI's weights
                ("-1", nn.AvgPool2d(stride)),
                ("0", nn.Conv2d(channels, 4 * planes, 1, bias=False)),
                ("1", nn.BatchNorm2d(4 * planes)),
            ]))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.pool(y)))
        if self.downsample is not None:
            x = self.downsample(x)
        return F.relu(x + y)


class AttentionPool2d(nn.Module):
    """Attention in the place of average pooling (Section 2.4). (B, C, H, W) -> (B, E).

    There is one query, made from the mean over all places: "given the picture as a whole, which
    places matter?". Keys and values come from the mean and from the places.
    """

    def __init__(self, side, channels, embed_dim):
        super().__init__()
        self.heads = channels // HEAD_WIDTH
        self.positional_embedding = nn.Parameter(torch.randn(side ** 2 + 1, channels) / channels ** 0.5)
        self.k_proj = nn.Linear(channels, channels)
        self.q_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, embed_dim)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=channels ** -0.5)

    def forward(self, x):
        return self.c_proj(self.gather(x))  # (B, E)

    def gather(self, x):
        """The attention without the projection after it. (B, C, H, W) -> (B, C)."""
        # each place becomes a token, and their mean the first one
        x = x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, places, C)
        mean = x.mean(dim=1, keepdim=True)  # (B, 1, C)
        x = torch.cat([mean, x], dim=1) + self.positional_embedding  # (B, T, C), T = 1 + places
        # attention as above, but for the first token alone
        q = split_heads(self.q_proj(x[:, :1]), self.heads)  # (B, H, 1, 64)
        k = split_heads(self.k_proj(x), self.heads)  # (B, H, T, 64)
        v = split_heads(self.v_proj(x), self.heads)  # (B, H, T, 64)
        scores = q @ k.transpose(-2, -1) / math.sqrt(HEAD_WIDTH)  # (B, H, 1, T)
        weights = scores.softmax(dim=-1)  # (B, H, 1, T)
        return (weights @ v).flatten(1)  # (B, H, 1, 64) -> (B, C), heads side by side again


class ModifiedResNet(nn.Module):
    """A stem of three convolutions, four stages of bottlenecks, attention pooling. (B, 3, R, R) -> (B, E).

    Section 2.4: ResNet-D (He et al. 2019), anti-aliased (Zhang 2019), with AttentionPool2d.
    """

    def __init__(self, config):
        super().__init__()
        width = config.vision_width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        # stage(channels that come in, planes, blocks, stride): 4 * planes channels go out, which are 4, 8, 16
        # and 32 times `width`. Stages with stride 2 halve height and width.
        self.layer1 = self.stage(width, width, config.vision_layers[0], stride=1)
        self.layer2 = self.stage(4 * width, 2 * width, config.vision_layers[1], stride=2)
        self.layer3 = self.stage(8 * width, 4 * width, config.vision_layers[2], stride=2)
        self.layer4 = self.stage(16 * width, 8 * width, config.vision_layers[3], stride=2)
        self.attnpool = AttentionPool2d(config.image_resolution // 32, 32 * width, config.embed_dim)

    def stage(self, channels, planes, blocks, stride):
        """`blocks` bottlenecks, of which the first one changes the shape."""
        stage = [Bottleneck(channels, planes, stride)]
        for _ in range(blocks - 1):
            stage.append(Bottleneck(4 * planes, planes, stride=1))
        return nn.Sequential(*stage)

    def forward(self, x):
        return self.attnpool(self.convolve(x))  # (B, E)

    def penultimate(self, x):
        """What the projection reads, I_f of Figure 3. (B, 3, R, R) -> (B, 32D)."""
        return self.attnpool.gather(self.convolve(x))

    def convolve(self, x):
        """All but the pooling. (B, 3, R, R) -> (B, 32D, R/32, R/32)."""
        # the stem
        x = F.relu(self.bn1(self.conv1(x)))  # (B, D/2, R/2, R/2)
        x = F.relu(self.bn2(self.conv2(x)))  # (B, D/2, R/2, R/2)
        x = F.relu(self.bn3(self.conv3(x)))  # (B, D, R/2, R/2)
        x = F.avg_pool2d(x, 2)  # (B, D, R/4, R/4)
        # the four stages
        x = self.layer1(x)  # (B, 4D, R/4, R/4)
        x = self.layer2(x)  # (B, 8D, R/8, R/8)
        x = self.layer3(x)  # (B, 16D, R/16, R/16)
        x = self.layer4(x)  # (B, 32D, R/32, R/32)
        return x


# ---- Configurations ------------------------------------------------------------------------------

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of red, green and blue, in the images that CLIP learned from
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class CLIPConfig:
    """The shape of a model: a row of Table 19 (ResNets) or Table 20 (vision transformers)."""

    embed_dim: int  # E, of the space that images and texts share
    image_resolution: int  # R
    vision_layers: int | tuple  # blocks of a vision transformer, or of each of a ResNet's four stages
    vision_width: int  # D of a vision transformer; of a ResNet the channels of its stem, also written D
    vision_patch_size: int | None  # P of a vision transformer; None says that it is a ResNet
    transformer_width: int  # of the text encoder
    transformer_layers: int = 12  # of the text encoder
    context_length: int = 77  # the most tokens that a text can have
    vocab_size: int = 49408
    quick_gelu: bool = True  # False: nn.GELU, as in many models that others trained
    image_mean: tuple = MEAN  # what `preprocess` subtracts from red, green and blue,
    image_std: tuple = STD  # and what it divides them by

    def __post_init__(self):
        if self.vision_patch_size is None:
            image_width = 32 * self.vision_width  # of a ResNet's attention pool
        else:
            image_width = self.vision_width
        for width in (self.transformer_width, image_width):
            if width < HEAD_WIDTH or width % HEAD_WIDTH:
                raise ValueError(f"attention {width} wide can't be cut into heads of {HEAD_WIDTH}"
                                 " (of a ResNet it is 32 times vision_width)")

    @property
    def activation(self):
        """The function between the two layers of each MLP."""
        if self.quick_gelu:
            return quick_gelu
        return F.gelu


CONFIGS = {
    #                            E     R    layers        width patch transformer_width
    "RN50":           CLIPConfig(1024, 224, (3, 4, 6, 3), 64, None, 512),
    "RN101":          CLIPConfig(512, 224, (3, 4, 23, 3), 64, None, 512),
    "RN50x4":         CLIPConfig(640, 288, (4, 6, 10, 6), 80, None, 640),
    "RN50x16":        CLIPConfig(768, 384, (6, 8, 18, 8), 96, None, 768),
    "RN50x64":        CLIPConfig(1024, 448, (3, 15, 36, 10), 128, None, 1024),
    "ViT-B/32":       CLIPConfig(512, 224, 12, 768, 32, 512),
    "ViT-B/16":       CLIPConfig(512, 224, 12, 768, 16, 512),
    "ViT-L/14":       CLIPConfig(768, 224, 24, 1024, 14, 768),
    "ViT-L/14@336px": CLIPConfig(768, 336, 24, 1024, 14, 768),
    # these two are not the paper's: train_tiny.py trains them in minutes
    "tiny-RN": CLIPConfig(128, 48, (1, 1, 1, 1), 16, None, 128,
                          transformer_layers=2, context_length=32, vocab_size=2048),
    "tiny-ViT": CLIPConfig(128, 48, 3, 128, 8, 128,
                           transformer_layers=2, context_length=32, vocab_size=2048),
}

# ---- CLIP: two encoders, one space (Section 2.3) -------------------------------------------------


class CLIP(nn.Module):
    """An image encoder and a text encoder that map into one space of E dimensions."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.eot_token = config.vocab_size - 1  # the id that ends a text
        if config.vision_patch_size is None:
            self.visual = ModifiedResNet(config)
        else:
            self.visual = VisionTransformer(config)
        # the text encoder; as in OpenAI's weights, its parts are not in a module of their own
        width = config.transformer_width
        self.transformer = Transformer(width, config.transformer_layers, config.activation)
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, config.embed_dim))
        # The paper's t, the logarithm of the scale: logits are cosine similarities times exp(t). It is
        # learned; the training keeps the scale at 100 or below (Section 2.5).
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.initialize_text_encoder()

    def initialize_text_encoder(self):
        """As in GPT-2: the layers whose output is added to x begin with smaller weights in deeper models."""
        width = self.config.transformer_width
        residual_std = (2 * width * self.config.transformer_layers) ** -0.5
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        for block in self.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width ** -0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=residual_std)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=residual_std)
        nn.init.normal_(self.text_projection, std=width ** -0.5)

    def encode_image(self, images):
        """Preprocessed images (B, 3, R, R) -> features (B, E), not of unit length."""
        # channels last is the order in memory that convolutions are quickest with
        dtype = self.visual.conv1.weight.dtype
        return self.visual(images.to(dtype, memory_format=torch.channels_last))

    def encode_text(self, tokens):
        """Token ids (B, T), T up to the context length -> features (B, E), not of unit length.

        Each row must hold the end token. Section 2.4: what the last block has made of the end token
        is normalised and projected.
        """
        B, T = tokens.shape
        x = self.token_embedding(tokens) + self.positional_embedding[:T]  # (B, T, D)
        # Each token looks at itself and at earlier ones. So nothing that comes after the end token
        # can reach it, and the padding there needs no mask of its own.
        later_tokens = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)  # above the diagonal
        x = self.transformer(x, later_tokens)
        # only the end token has seen the whole text
        end = (tokens == self.eot_token).int().argmax(dim=1)  # (B,), the first one in each row
        x = x[torch.arange(B, device=x.device), end]  # (B, D)
        return self.ln_final(x) @ self.text_projection  # (B, E)

    def forward(self, images, tokens):
        """Every image against every text -> logits (images, texts), and their transpose."""
        I_e = F.normalize(self.encode_image(images), dim=1)  # (images, E)
        T_e = F.normalize(self.encode_text(tokens), dim=1)  # (texts, E)
        logits = I_e @ T_e.T * self.logit_scale.exp()
        return logits, logits.T


def contrastive_loss(image_features, text_features, logit_scale):
    """The symmetric loss of Figure 3, with its names. Row i of both features belongs to pair i.

    Features (n, E) of any length, and the logarithm of the scale -> scalar, in nats. A model that
    only guesses has a loss of ln(n). ValueError for a batch of one pair.
    """
    n = len(image_features)
    if n < 2:
        raise ValueError("a batch of one pair has no wrong caption: its loss is always 0. Use two pairs or more")
    # joint multimodal embedding: vectors of unit length
    I_e = F.normalize(image_features, dim=1)  # (n, E)
    T_e = F.normalize(text_features, dim=1)  # (n, E)
    # scaled cosine similarity of every image with every text
    logits = I_e @ T_e.T * logit_scale.exp()  # (n, n)
    # the right answers stand on the diagonal: text i for image i, and image i for text i
    labels = torch.arange(n, device=logits.device)
    loss_i = F.cross_entropy(logits, labels)  # each image chooses among all texts
    loss_t = F.cross_entropy(logits.T, labels)  # each text chooses among all images
    # (Figure 3 has axis=0 for loss_i, which can be read as texts choosing images; the mean is the same)
    return (loss_i + loss_t) / 2


# ---- Tokenizer: lower-cased byte pair encoding (Section 2.4; Sennrich et al. 2016) ---------------

# A byte is written as one printable character, so that merges can be kept in a text file. The 188
# printable bytes stand for themselves; the others, in their order, are written as U+0100, U+0101 and
# so on. The order of this table is the order of the first 256 token ids: id 0 is "!".
BYTES = {byte: chr(byte) for byte in [*range(33, 127), *range(161, 173), *range(174, 256)]}
UNPRINTABLE = [byte for byte in range(256) if byte not in BYTES]
BYTES.update({byte: chr(256 + i) for i, byte in enumerate(UNPRINTABLE)})
UNBYTES = {character: byte for byte, character in BYTES.items()}

# Merging takes place within words. OpenAI's pattern for them says \p{L} for letters and \p{N} for
# numbers, which Python's re does not know. It knows \w, which is letters, numbers and "_"; and the
# numbers are the characters below U+20000 that are numeric without being letters: 7, ½, Ⅷ.
NUMBERS = "".join(c for c in map(chr, range(0x20000)) if c.isnumeric() and not c.isalpha())
WORD = re.compile(
    # The special tokens and English contractions. Case is ignored, as in OpenAI's pattern. After
    # lower-casing this matters for one letter, the long s: "'ſ" is a contraction as well.
    r"(?i:<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d)"
    # Words of letters from a to z alone. This line is here for speed only: the next one, for words of any
    # letters, is four times as slow. (?!\w) makes it fail on "cafés", which the next line then takes; ++ never
    # gives letters back: without it, "ca" and "c" would be tried too, and fail too.
    r"|[a-z]++(?!\w)"
    rf"|[^\W{NUMBERS}_]+"  # letters: what \w matches, without numbers and "_"
    rf"|[{NUMBERS}]"  # one number
    # other signs; "_" is in Python's \w, and \x1c to \x1f are in its \s, so that they have to be named.
    # The Greek mark U+0345 is dropped, as no part of OpenAI's pattern matches it: it is no letter (not in
    # \p{L}); and as that pattern ignores case, it counts as its capital, iota, which is no other sign.
    r"|(?:[^\w\s\u0345]|[_\x1c-\x1f])+"
)


def clean(text):
    """Undo HTML escapes (twice, as captions from the web need it), strip white space, lower-case."""
    return html.unescape(html.unescape(text)).strip().lower()


def word_to_bytes(word):
    """A token for each byte of a word's UTF-8, the last one marked as its end: "hi" -> ["h", "i</w>"]."""
    tokens = [BYTES[byte] for byte in word.encode("utf-8", "replace")]
    tokens[-1] += "</w>"
    return tokens


def merge(tokens, pair):
    """Join the pair wherever it stands: ["a", "b", "c", "a", "b"], ("a", "b") -> ["ab", "c", "ab"]."""
    merged = []
    i = 0
    while i < len(tokens):
        if tokens[i:i + 2] == [*pair]:
            merged.append(tokens[i] + tokens[i + 1])
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


class Tokenizer:
    """Text to token ids and back. merges: pairs of tokens, the earliest learned first.

    Ids: 256 bytes, the same 256 ending a word, one for each merge, start of text, end of text.
    """

    def __init__(self, merges):
        self.merges = [tuple(pair) for pair in merges]
        self.vocab = [*BYTES.values(), *[token + "</w>" for token in BYTES.values()]]
        self.vocab += [first + second for first, second in self.merges]
        self.vocab += ["<|startoftext|>", "<|endoftext|>"]
        self.ids = {token: i for i, token in enumerate(self.vocab)}
        self.ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self.sot = len(self.vocab) - 2  # start of text
        self.eot = len(self.vocab) - 1  # end of text
        # word -> its ids, for words met before; the special tokens stand in it from the beginning, so
        # that they are never spelled in bytes
        self.cache = {"<|startoftext|>": [self.sot], "<|endoftext|>": [self.eot]}

    @classmethod
    def train(cls, texts, vocab_size):
        """Learn vocab_size - 514 merges, or as many as there are: join the commonest pair, again and again.

        Of pairs that are equally common the alphabetically first is taken, so that the order of
        the texts does not matter.
        """
        if vocab_size < 514:
            raise ValueError(f"vocab_size is {vocab_size}; 512 byte tokens and 2 special tokens need 514")
        # how often each word occurs, and how it is spelled so far
        word_counts = Counter()
        for text in texts:
            word_counts.update(WORD.findall(clean(text)))
        spelling = {word: word_to_bytes(word) for word in word_counts}
        # how often each pair of neighbours occurs, and in which words
        pair_counts = Counter()
        words_with = defaultdict(set)
        for word, tokens in spelling.items():
            for pair in zip(tokens, tokens[1:]):
                pair_counts[pair] += word_counts[word]
                words_with[pair].add(word)
        merges = []
        while len(merges) < vocab_size - 514 and pair_counts:
            best = min(pair_counts, key=lambda pair: (-pair_counts[pair], pair))
            merges.append(best)
            # Join it in each word listed for it, and correct the counts. (A listed word may have lost this
            # pair to an earlier merge; then `after` equals `before`, and the counts stay as they are.)
            for word in words_with.pop(best):
                before = spelling[word]
                after = merge(before, best)
                for pair in zip(before, before[1:]):
                    pair_counts[pair] -= word_counts[word]
                for pair in zip(after, after[1:]):
                    pair_counts[pair] += word_counts[word]
                    words_with[pair].add(word)
                spelling[word] = after
            pair_counts = +pair_counts  # a Counter's + leaves out what occurs no more
        return cls(merges)

    @classmethod
    def from_merges(cls, path=None):
        """The tokenizer of OpenAI's models, 49,408 tokens, from their file of merges.

        The file is looked for at path, at $CLIP_BPE, beside an installed clip or open_clip and in
        OpenAI's cache folder; if it is nowhere, it is downloaded there. The ids equal those of
        OpenAI's code, except where the package ftfy, which that code calls first, would repair the
        text (broken encodings, curly quotes).
        """
        path = path or os.environ.get("CLIP_BPE") or find_merges() or download(MERGES_URL, MERGES_SHA256)
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                lines = file.read().split("\n")
            # line 0 is a header; of what follows 48,894 merges are used: 49,408 less 514 other tokens
            pairs = [lines[i].split() for i in range(1, 48895)]
            return cls((first, second) for first, second in pairs)
        except Exception as error:  # from gzip, from UTF-8, or because lines are missing
            raise ValueError(f"{path}: not OpenAI's file of merges ({error})") from None

    def encode_word(self, word):
        """Start from bytes; merge the pair that was learned earliest, until there is none to merge."""
        tokens = word_to_bytes(word)
        while len(tokens) > 1:
            pairs = zip(tokens, tokens[1:])
            best = min(pairs, key=lambda pair: self.ranks.get(pair, math.inf))
            if best not in self.ranks:
                break
            tokens = merge(tokens, best)
        return [self.ids[token] for token in tokens]

    def encode(self, text):
        """A string -> its list of ids, without start and end."""
        ids = []
        for word in WORD.findall(clean(text)):
            if word not in self.cache:
                self.cache[word] = self.encode_word(word)
            ids += self.cache[word]
        return ids

    def decode(self, ids):
        """Ids -> lower-case text with a space after each word. Bytes that are not valid UTF-8 become U+FFFD."""
        characters = "".join(self.vocab[i] for i in ids)
        # "<", "/", "w" and ">" each stand for their own byte, so that the end mark comes through as it is
        raw = bytes(UNBYTES[character] for character in characters)
        return raw.decode("utf-8", "replace").replace("</w>", " ")

    def __call__(self, texts, context_length=77, truncate=False, pad=True):
        """A string or B of them -> LongTensor (B, context_length): start, ids, end, zeros (Section 2.4).

        With pad=False rows are only as wide as the longest text. A text that is too long is a
        ValueError; with truncate=True its last tokens are dropped, and the end token is kept.
        """
        if isinstance(texts, str):
            texts = [texts]
        rows = [[self.sot, *self.encode(text), self.eot] for text in texts]
        longest = max([len(row) for row in rows], default=0)
        if longest > context_length and not truncate:
            raise ValueError(f"a text of {longest} tokens is longer than the context of {context_length}; shorten it")
        width = context_length
        if not pad:
            width = min(longest, context_length)
        tokens = torch.zeros(len(rows), width, dtype=torch.long)  # (B, width)
        for i, row in enumerate(rows):
            if len(row) > width:
                row = row[:width - 1] + [self.eot]
            tokens[i, :len(row)] = torch.tensor(row)
        return tokens


# ---- Images in: OpenAI's preprocessing -----------------------------------------------------------


def preprocess(image, resolution, mean=MEAN, std=STD):
    """PIL image of any mode and size -> float32 (3, R, R), normalised. Bit for bit OpenAI's.

    A model that others trained may want another mean and deviation, which its configuration tells.
    """
    pixels = np.array(crop_square(image, resolution))  # (R, R, 3), levels from 0 to 255
    return normalize(torch.from_numpy(pixels).permute(2, 0, 1) / 255, mean, std)  # (3, R, R)


def crop_square(image, resolution):
    """PIL image -> RGB image (R, R): the short side is resized to R, then the middle is cut out.

    As in OpenAI's code the image becomes RGB last. So palette images are resized by nearest
    neighbour (Pillow can't mix palette numbers), transparent places show the colour hidden there, and
    16-bit levels above 255 are white. The EXIF orientation is ignored.
    """
    width, height = image.size
    if width <= height:
        width, height = resolution, int(resolution * height / width)
    else:
        width, height = int(resolution * width / height), resolution
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left = round((width - resolution) / 2)
    top = round((height - resolution) / 2)
    return image.crop((left, top, left + resolution, top + resolution)).convert("RGB")


def normalize(pixels, mean=MEAN, std=STD):
    """Levels from 0 to 1, (..., 3, H, W) -> zero mean and unit variance over CLIP's training images."""
    mean = torch.tensor(mean, device=pixels.device).view(3, 1, 1)  # (3, 1, 1)
    std = torch.tensor(std, device=pixels.device).view(3, 1, 1)  # (3, 1, 1)
    return (pixels - mean) / std


# ---- Checkpoints: our own, and OpenAI's nine -----------------------------------------------------

WEIGHTS_URL = "https://openaipublic.azureedge.net/clip/models/{sha256}/{name}.pt"
SHA256 = {
    "RN50": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    "RN101": "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
    "RN50x4": "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
    "RN50x16": "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
    "RN50x64": "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
    "ViT-B/32": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "ViT-B/16": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    "ViT-L/14": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    "ViT-L/14@336px": "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
}
MERGES_URL = "https://github.com/openai/CLIP/raw/main/clip/bpe_simple_vocab_16e6.txt.gz"
MERGES_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"


def save(path, model, tokenizer):
    """Write a checkpoint that `load` reads, and OpenAI's code too: a state dict with OpenAI's names.

    OpenAI's code has no place for the merges, the kind of GELU, and the mean and deviation of the
    pictures. They are attributes of that dict: torch.save keeps them, and other readers do not see them.
    """
    weights = model.state_dict()  # an OrderedDict, which can have attributes
    resolution = model.config.image_resolution
    # Shapes tell the resolution only in multiples of a patch, or of 32 for a ResNet. If they tell a wrong one,
    # the right one is stored, too, under the name that OpenAI's files use. Otherwise it is left out, as
    # open_clip's code does not know that name.
    told_by_shapes = infer_config(weights, model.config.quick_gelu).image_resolution
    if told_by_shapes != resolution:
        weights["input_resolution"] = torch.tensor(resolution)
    weights.merges = tokenizer.merges
    weights.quick_gelu = model.config.quick_gelu
    weights.image_mean = model.config.image_mean
    weights.image_std = model.config.image_std
    write(path, lambda file: torch.save(weights, file))


def write(path, save_to):
    """Call save_to(file) so that, whenever it is interrupted, path is the old file or the whole new one."""
    temporary = f"{path}.tmp"
    try:
        with open(temporary, "wb") as file:
            save_to(file)
            file.flush()
            os.fsync(file.fileno())  # onto the disk, before the old file goes
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"{path}: could not be written ({one_line(error)})") from None
    except RuntimeError as error:
        # on a full disk torch.save raises a RuntimeError, and the OSError behind it is its __context__
        raise OSError(f"{path}: could not be written ({one_line(error.__context__ or error)})") from None
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


class OtherLayout(ValueError):
    """A checkpoint that is not as OpenAI's are. tutorial/extras/convert.py reads other libraries' checkpoints."""


def load(name_or_path, device="cpu"):
    """One of the nine published models or a checkpoint file -> (float32 model in eval mode, tokenizer).

    A published model is downloaded once. A file is one of ours, or has OpenAI's names: a TorchScript
    archive as they publish it, or a state dict. FileNotFoundError or OSError where there is no file;
    OtherLayout for other libraries' checkpoints; ValueError, with a one-line message, for anything else.
    """
    path = find_checkpoint(name_or_path)
    try:
        weights = read_weights(path)
        model = build_model(weights, **read_attributes(weights))
        merges = getattr(weights, "merges", None)
        tokenizer = None
        if merges is not None:
            tokenizer = Tokenizer(merges)
    except OtherLayout as error:
        raise OtherLayout(f"{path}: {error}; `python tutorial/extras/convert.py {path} NEW.pt` converts the"
                          " checkpoints of Hugging Face, open_clip and training scripts") from None
    except Exception as error:  # damaged and foreign files make their readers raise all kinds
        raise ValueError(f"{path}: not a checkpoint of CLIP ({one_line(error)})") from None
    tokenizer = fitting_tokenizer(path, tokenizer, model.config.vocab_size)
    return model.to(device, memory_format=torch.channels_last).eval(), tokenizer


def find_checkpoint(name_or_path):
    """The name of a published model, which is downloaded, or a path -> the path. FileNotFoundError if there is none."""
    path = os.fspath(name_or_path)
    if path in SHA256:
        file_name = path.replace("/", "-").replace("@", "-")
        path = download(WEIGHTS_URL.format(sha256=SHA256[path], name=file_name), SHA256[path])
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such checkpoint; `python train_tiny.py` makes one,"
                                f" and these are published: {', '.join(SHA256)}")
    return path


def fitting_tokenizer(path, tokenizer, vocab_size):
    """The tokenizer of the checkpoint at path: its own, or OpenAI's where it has none. ValueError if neither fits."""
    if tokenizer is None and vocab_size == 49408:
        tokenizer = Tokenizer.from_merges()
    if tokenizer is None or len(tokenizer.vocab) != vocab_size:
        raise ValueError(f"{path}: there are no merges for its {vocab_size} tokens")
    return tokenizer


def one_line(error):
    """What an exception says, in one line of at most 200 characters."""
    text = " ".join(str(error).split()) or repr(error)
    if isinstance(error, KeyError):
        text = f"there is no {text}"
    start = max(text.find("GLOBAL"), 0)  # where torch.load's long message names the code that it refused
    return text[start:start + 200]


def read_attributes(weights):
    """What `save` tells beside the weights -> the other arguments of build_model.

    OpenAI's files have no such attributes. The defaults are OpenAI's.
    """
    return {
        "quick_gelu": getattr(weights, "quick_gelu", True),
        "image_mean": getattr(weights, "image_mean", MEAN),
        "image_std": getattr(weights, "image_std", STD),
    }


def build_model(weights, quick_gelu, image_mean=MEAN, image_std=STD):
    """A state dict with OpenAI's names -> the model that has these weights, in float32."""
    config = infer_config(weights, quick_gelu)
    config = replace(config, image_mean=tuple(image_mean), image_std=tuple(image_std))
    parameters = {}
    for name, tensor in weights.items():
        if name not in ("input_resolution", "context_length", "vocab_size"):  # numbers in OpenAI's files
            parameters[name] = tensor.float() if tensor.is_floating_point() else tensor
    # build the model without memory (on the device "meta" there are only shapes); load_state_dict then
    # puts the file's tensors in
    with torch.device("meta"):
        model = CLIP(config)
    model.load_state_dict(parameters, assign=True)
    return model


def infer_config(weights, quick_gelu):
    """A state dict with OpenAI's names -> CLIPConfig, from the shapes.

    The shapes do not show the kind of GELU, nor with which mean and deviation images are normalised, nor
    the width of a head, which is always 64. They show the resolution only in multiples of a patch, or of 32
    for a ResNet, which is why files also hold an "input_resolution".
    """

    def count_blocks(prefix):
        # how many different numbers follow the prefix
        return len({name[len(prefix):].split(".")[0] for name in weights if name.startswith(prefix)})

    context_length, transformer_width = weights["positional_embedding"].shape
    if "visual.proj" in weights:
        vision_width, _, _, patch_size = weights["visual.conv1.weight"].shape
        vision_layers = count_blocks("visual.transformer.resblocks.")
        places = len(weights["visual.positional_embedding"]) - 1  # one is the class token's
        resolution = patch_size * math.isqrt(places)
        # wider ones (ViT-H and larger, not OpenAI's) have heads of another width, which no shape shows
        if vision_width > 1024:
            raise ValueError(f"vision transformers {vision_width} wide are published with heads that"
                             f" are not {HEAD_WIDTH} wide")
    else:
        vision_width = len(weights["visual.bn3.weight"])  # of the stem's last batch norm
        patch_size = None
        vision_layers = tuple(count_blocks(f"visual.layer{stage}.") for stage in (1, 2, 3, 4))
        places = len(weights["visual.attnpool.positional_embedding"]) - 1  # one is the mean's
        resolution = 32 * math.isqrt(places)
    if "input_resolution" in weights:
        resolution = int(weights["input_resolution"])
    return CLIPConfig(
        embed_dim=weights["text_projection"].shape[1],
        image_resolution=resolution,
        vision_layers=vision_layers,
        vision_width=vision_width,
        vision_patch_size=patch_size,
        transformer_width=transformer_width,
        transformer_layers=count_blocks("transformer.resblocks."),
        context_length=context_length,
        vocab_size=len(weights["token_embedding.weight"]),
        quick_gelu=quick_gelu,
    )


def read_weights(path):
    """A file of PyTorch -> its state dict, if that has OpenAI's names. No code that a file holds is run."""
    if os.path.isdir(path):
        raise OtherLayout("a folder")
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # eight bytes that hold a length, then JSON
        raise OtherLayout("in the safetensors format")
    if start[:2] != b"PK" and start[:1] != b"\x80":  # a zip file, or a pickle as older versions wrote it
        raise ValueError(f"it begins with {start}, as no file of PyTorch does")
    if is_torchscript(path):
        weights = read_torchscript(path)
    else:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(weights, dict):
        raise ValueError(f"it holds this and not a state dict: {weights!r}")
    names = [str(name) for name in weights]
    has_image_encoder = any(name.startswith("visual.") for name in names)
    has_text_encoder = any(name.startswith("transformer.") for name in names)
    # beginnings of names that occur only in files of other models
    foreign_names = (
        "text.",  # open_clip's models whose text encoder is a module of its own
        "visual.trunk.",  # open_clip's models with image encoders of timm
        "logit_bias",  # SigLIP
        "positional_embedding_res",  # Long-CLIP
    )
    is_foreign = any(name.startswith(foreign_names) for name in names)
    if is_foreign or not has_image_encoder or not has_text_encoder:
        raise OtherLayout("its weights have other names than OpenAI's")
    return weights


# OpenAI's nine files are TorchScript archives: zip files that hold the bytes of each tensor, and a
# pickle that says which tensor belongs to which module. PyTorch's own reader of them is deprecated,
# and it runs the code in a file, which may do harm. This one takes out the tensors and runs nothing.


def is_torchscript(path):
    """Whether a file is a TorchScript archive rather than a plain torch.save file."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path):
    """A TorchScript archive -> the state dict of the module in it."""
    with zipfile.ZipFile(path) as archive:
        return flatten_modules(TorchScriptUnpickler(archive).load())


class TorchScriptUnpickler(pickle.Unpickler):
    """Reads the pickle of a TorchScript archive. Python's Unpickler calls the two methods below."""

    def __init__(self, archive):
        self.archive = archive
        self.folder = archive.namelist()[0].split("/")[0]
        super().__init__(archive.open(f"{self.folder}/data.pkl"))

    def find_class(self, module, name):
        """What stands for a class or function that the file names: one of three harmless things."""
        if name == "_rebuild_tensor_v2":
            return rebuild_tensor
        # a type of numbers is named by its storage: "HalfStorage" -> torch.half
        dtype = getattr(torch, name.removesuffix("Storage").lower(), None)
        if isinstance(dtype, torch.dtype):
            return dtype
        return ScriptModule

    def persistent_load(self, saved_id):
        """The numbers of a tensor. saved_id: "storage", the dtype that find_class gave, key in the archive, ..."""
        _, dtype, key, *_ = saved_id
        raw = self.archive.read(f"{self.folder}/data/{key}")
        return torch.frombuffer(bytearray(raw), dtype=dtype)


class ScriptModule:
    """Stands for any class that the file names.

    pickle creates it empty and then hands it its state, a dict of tensors and of other modules.
    """

    state = {}  # some modules have none

    def __setstate__(self, state):
        self.state = state


def rebuild_tensor(storage, offset, shape, stride, *_):
    """A tensor is a view of a row of numbers."""
    return storage.as_strided(shape, stride, offset)


def flatten_modules(module, prefix=""):
    """Modules within modules -> {"outer.inner.name": tensor}."""
    weights = {}
    for name, value in module.state.items():
        if isinstance(value, ScriptModule):
            weights.update(flatten_modules(value, f"{prefix}{name}."))
        elif torch.is_tensor(value):
            weights[prefix + name] = value
    return weights


# ---- Downloads -----------------------------------------------------------------------------------


def download(url, sha256):
    """A published file -> its path in the cache folder of OpenAI's code, ~/.cache/clip; an interrupted one goes on.

    OSError without a network, ValueError where the SHA-256 is wrong.
    """
    path = os.path.join(os.path.expanduser("~/.cache/clip"), os.path.basename(url))
    if os.path.exists(path):
        check_sha256(path, sha256)
        return path
    partial = path + ".part"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        resume_download(url, partial)
    except Exception as error:  # of the network, of HTTP
        raise OSError(f"{url}: {error}; run again to go on, or put the file at {path}") from None
    check_sha256(partial, sha256)
    os.replace(partial, path)
    return path


def resume_download(url, path):
    """Append to the file at path what it lacks of the one at url."""
    with open(path, "ab") as file:
        request = urllib.request.Request(url, headers={"Range": f"bytes={file.tell()}-"})
        try:
            response = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # "range not satisfiable": nothing is missing
                return
            raise
        with response:
            sends_the_rest = response.status == 206  # "partial content"
            if not sends_the_rest:
                file.truncate(0)  # the whole file comes
            while True:
                block = response.read(1 << 20)
                if not block:
                    break
                file.write(block)
                left = (response.length or 0) / 1e6  # reading counts it down
                print(f"{os.path.basename(url)}: {left:.0f} MB left ", end="\r", file=sys.stderr)


def check_sha256(path, sha256):
    """ValueError unless the file is the one that was published."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise ValueError(f"{path}: incomplete or damaged (SHA-256 is not {sha256}); run again to go on, or,"
                         " if this comes again, delete it")


def find_merges():
    """The path of OpenAI's merges beside an installed clip or open_clip, or None."""
    for folder in sys.path:
        for package in ("clip", "open_clip"):
            path = os.path.join(folder, package, os.path.basename(MERGES_URL))
            if os.path.exists(path):
                return path
    return None
