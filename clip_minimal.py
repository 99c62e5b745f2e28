"""CLIP in one file: tokenizer, attention, vision transformer, ResNet, contrastive loss, the nine published models.

Radford et al. 2021, "Learning Transferable Visual Models from Natural Language Supervision", arXiv 2103.00020, whose
sections, figures and tables are named below. Parameters have OpenAI's names and shapes, so that OpenAI's weights fit.
Shapes: B batch, T tokens, D width, H heads or height, W image width, C channels, P patch, R resolution, E embedding.
"""
import gzip
import hashlib
import html
import json
import math
import os
import pickle
import re
import sys
import urllib.request
import zipfile
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.checkpoint import checkpoint

# ---- Text in: a lower-cased byte pair encoding (Section 2.4; Sennrich et al. 2016) -----------------------------------

# Every byte gets one printable character, so that merges can be written to a text file: printable ones stand for
# themselves, the other 68 are shifted up to U+0100 and above. The order of this table is that of the first 256 ids.
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTES = {byte: chr(byte) for byte in _PRINTABLE}
BYTES |= {byte: chr(256 + i) for i, byte in enumerate(sorted(set(range(256)) - set(_PRINTABLE)))}
UNBYTES = {char: byte for byte, char in BYTES.items()}
_CHARS = {byte: chr(i) for i, byte in enumerate(BYTES)}

# What becomes a word before any merging: the special tokens, English contractions, runs of letters, single numbers,
# runs of anything else that is not white space. `re` has no \p{N}; it is what is numeric and not a letter (½, ², Ⅷ).
_NUMBER = "".join(c for c in map(chr, range(0x20000)) if c.isnumeric() and not c.isalpha())
_WORD = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[a-z]++(?!\w)"  # the last is for speed
                   rf"|[^\W{_NUMBER}_]+|[{_NUMBER}]|(?:[^\w\s]|[_\x1c-\x1f])+")  # \x1c-\x1f: \s to Python alone


def clean(text):
    """Undo HTML escapes (twice, as captions from the web need it), strip white space, lower-case."""
    return html.unescape(html.unescape(text)).strip().lower()


def _spell(word):
    """A word -> a character for each of its UTF-8 bytes, chr(id), for the last chr(id + 256): "hi" -> "Gň", 71, 328."""
    chars = word.encode("utf-8", "replace").decode("latin-1").translate(_CHARS)
    return chars[:-1] + chr(ord(chars[-1]) + 256)


class Tokenizer:
    """Byte-level BPE. Ids: 256 bytes, the same 256 ending a word, one for each merge, start of text, end of text."""

    def __init__(self, merges):
        self.merges = [tuple(pair) for pair in merges]
        self.vocab = [*BYTES.values(), *(c + "</w>" for c in BYTES.values()), *(a + b for a, b in self.merges),
                      "<|startoftext|>", "<|endoftext|>"]
        chars = {token: chr(i) for i, token in enumerate(self.vocab)}
        self.ranks = {chars[a] + chars[b]: rank for rank, (a, b) in enumerate(self.merges)}
        self.joined = [chars[a + b] for a, b in self.merges]
        self.sot, self.eot = len(self.vocab) - 2, len(self.vocab) - 1
        self.cache = {"<|startoftext|>": (self.sot,), "<|endoftext|>": (self.eot,)}  # text between spaces -> its ids

    @classmethod
    def train(cls, texts, vocab_size):
        """Learn vocab_size - 514 merges, or as many as there are: join the most frequent pair of neighbours, again and
        again; of equally frequent ones the alphabetically first, so that the order of the texts does not matter."""
        if vocab_size < 514:
            raise ValueError(f"vocab_size is {vocab_size}; 512 byte tokens and 2 specials need at least 514")
        counts = Counter(word for text in texts for word in _WORD.findall(clean(text)))
        words, pairs, where = {}, Counter(), defaultdict(set)  # spelled; how often each pair occurs, and in which words

        def change(word, spelled):
            for sign, chars in ((-1, words.get(word, "")), (1, spelled)):
                for pair in map(str.__add__, chars, chars[1:]):
                    pairs[pair] += sign * counts[word]
                    where[pair].add(word)
            words[word] = spelled
        names, merges = cls([]).vocab[:512], []
        for word in counts:
            change(word, _spell(word))
        while len(names) < vocab_size - 2 and (most := max(pairs.values(), default=0)):
            best = min((pair for pair in pairs if pairs[pair] == most), key=lambda pair: [names[ord(c)] for c in pair])
            merges.append([names[ord(c)] for c in best])
            names.append("".join(merges[-1]))
            for word in where.pop(best):  # only the words that hold the pair change any count
                change(word, words[word].replace(best, chr(names.index(names[-1]))))
        return cls(merges)

    @classmethod
    def from_merges(cls, path=None):
        """OpenAI's 49,408 tokens: the file at path or $CLIP_BPE, beside an installed clip or open_clip, or in the cache
        folder of OpenAI's code, where it is downloaded. Ids are OpenAI's but for what ftfy repairs there first."""
        beside = [os.path.join(folder, package, os.path.basename(MERGES[0]))
                  for folder in sys.path for package in ("clip", "open_clip")]
        path = path or os.environ.get("CLIP_BPE") or next(filter(os.path.exists, beside), None) or fetch(*MERGES)
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                lines = file.read().split("\n")
            return cls(lines[i].split() for i in range(1, 49152 - 256 - 2 + 1))
        except Exception as error:  # of gzip, zlib or UTF-8
            raise ValueError(f"{path}: not OpenAI's file of merges ({error})") from None

    def _bpe(self, word):
        """Merge the neighbours whose merge was learned earliest, until no pair has a rank."""
        rank, none, parts = self.ranks.get, len(self.merges), ["", *_spell(word), ""]
        ranks = [rank(a + b, none) for a, b in zip(parts, parts[1:])]  # of each part and the next
        while (best := min(ranks)) < none:
            i = ranks.index(best)
            parts[i:i + 2] = self.joined[best]
            ranks[i - 1:i + 2] = rank(parts[i - 1] + parts[i], none), rank(parts[i] + parts[i + 1], none)
        return map(ord, parts[1:-1])

    def encode(self, text):
        """A string -> its list of ids, without start and end."""
        ids = []
        for chunk in clean(text).split(" "):
            if chunk not in self.cache:
                self.cache[chunk] = tuple(i for w in _WORD.findall(chunk) for i in self.cache.get(w) or self._bpe(w))
            ids += self.cache[chunk]
        return ids

    def decode(self, ids):
        """Ids -> lower-case text with one space behind each word; bytes that are no UTF-8 become U+FFFD."""
        return bytes(UNBYTES[c] for i in ids for c in self.vocab[i]).decode("utf-8", "replace").replace("</w>", " ")

    def __call__(self, texts, context_length=77, truncate=False, pad=True):
        """A string or B of them -> LongTensor (B, context_length): start, ids, end, zeros (Section 2.4); without pad
        as wide as the longest. ValueError for a text that is too long, unless truncate, which keeps the end token."""
        rows = [[self.sot, *self.encode(text), self.eot] for text in ([texts] if isinstance(texts, str) else texts)]
        longest = max(map(len, rows), default=0)
        if longest > context_length and not truncate:
            raise ValueError(f"a text of {longest} tokens is longer than the context of {context_length}; shorten it")
        width = context_length if pad else min(longest, context_length)
        rows = [ids[:width - 1] + [self.eot] if len(ids) > width else ids + [0] * (width - len(ids)) for ids in rows]
        return torch.tensor(rows, dtype=torch.long).view(len(rows), width)  # (B, width)


# ---- Images in: OpenAI's preprocessing -------------------------------------------------------------------------------

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of red, green and blue


def crop_square(image, resolution):
    """PIL image of any mode and size -> RGB image (R, R): short side to R, centre crop, then RGB. As in OpenAI's code,
    palette images are resized by nearest neighbour, EXIF flags turn nothing, and 16-bit levels above 255 are white."""
    w, h = image.size
    w, h = (resolution, int(resolution * h / w)) if w <= h else (int(resolution * w / h), resolution)
    image = image.resize((w, h), Image.Resampling.BICUBIC)
    left, top = round((w - resolution) / 2), round((h - resolution) / 2)
    return image.crop((left, top, left + resolution, top + resolution)).convert("RGB")


def normalize(pixels):
    """Levels from 0 to 1, (..., 3, H, W) -> zero mean and unit variance, for CLIP's training images."""
    mean, std = (torch.tensor(x, device=pixels.device).view(3, 1, 1) for x in (MEAN, STD))  # (3, 1, 1)
    return (pixels - mean) / std


def preprocess(image, resolution):
    """PIL image of any mode and size -> float32 (3, R, R), normalised, bit for bit OpenAI's."""
    return normalize(torch.from_numpy(np.array(crop_square(image, resolution))).permute(2, 0, 1) / 255)  # (3, R, R)


# ---- Transformer (Vaswani et al. 2017, in the pre-LayerNorm form of Radford et al. 2019), for text and for images ----


def quick_gelu(x):
    """x * sigmoid(1.702 x), the approximation of GELU that OpenAI's models were trained with."""
    return F.silu(1.702 * x).div_(1.702)  # silu(y) = y * sigmoid(y): fewer passes over memory


def linear(x, weight, bias, mkl=torch.backends.mkl.is_available()):
    """F.linear, (B, T, D) -> (B, T, out). Where PyTorch leaves products to MKL, on CPUs, it is a convolution of 1 x T
    images, which goes to oneDNN: on AMD's processors that has twice the rate."""
    if x.device.type != "cpu" or not mkl:
        return F.linear(x, weight, bias)
    return F.conv2d(x.transpose(1, 2)[:, :, None], weight[:, :, None, None], bias)[:, :, 0].transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention, heads of 64 channels: tokens x[at] look at those tokens of x that the mask allows."""

    def __init__(self, width):
        super().__init__()
        self.heads = width // 64
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # queries, keys, values in one matrix
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x, at, mask):
        q, k, v = linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(-1, (3, self.heads, 64)).unbind(2)
        q, k, v = (t.transpose(1, 2) for t in (q[at], k, v))  # (B, T, H, 64) -> (B, H, T or 1, 64), (B, H, T, 64) twice
        x = F.scaled_dot_product_attention(q, k, v, mask)  # softmax(q kᵀ / 8) v: AttentionPool2d writes it out
        return linear(x.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias)  # (B, T or 1, D)


class ResidualAttentionBlock(nn.Module):
    """x + attention, then + a four times wider perceptron, each behind its LayerNorm. (B, T, D) -> (B, T or 1, D)."""

    def __init__(self, width, gelu):
        super().__init__()
        self.attn, self.gelu = Attention(width), gelu
        self.ln_1 = nn.LayerNorm(width)  # PyTorch computes it in float32 for half precision too, as OpenAI's code does
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x, at, mask):
        x = x[at] + self.attn(self.ln_1(x), at, mask)
        hidden = self.gelu(linear(self.ln_2(x), *self.mlp.c_fc.parameters()))  # (B, T or 1, 4D)
        return x + linear(hidden, *self.mlp.c_proj.parameters())


class Transformer(nn.Module):
    """x (B, T, D), place (B, n): the tokens wanted, mask (T, T): True where token t may look at u -> (B, n, D). In the
    last block the softmax, the output projection and the perceptron run for what is wanted alone."""

    def __init__(self, width, layers, gelu):
        super().__init__()
        self.resblocks = nn.Sequential(*(ResidualAttentionBlock(width, gelu) for _ in range(layers)))

    def forward(self, x, place, mask=None):
        *blocks, last = self.resblocks
        for block in blocks:
            x = block(x, (slice(None), slice(None)), mask)  # x[:, :], all tokens
        at = torch.arange(x.shape[0], device=x.device)[:, None], place  # x[at] (B, n, D)
        return last(x, at, None if mask is None else mask[place][:, None])  # (B, 1, n, T), the same for all heads


class VisionTransformer(nn.Module):
    """Dosovitskiy et al. 2020, with one more LayerNorm before the blocks (Section 2.4). (B, 3, R, R) -> (B, E)."""

    def __init__(self, config, gelu):
        super().__init__()
        width, P, scale = config.vision_width, config.vision_patch_size, config.vision_width ** -0.5
        self.conv1 = nn.Conv2d(3, width, P, stride=P, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn((config.image_resolution // P) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, config.vision_layers, gelu)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, config.embed_dim))

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)  # (B, T, D): R/P x R/P patches, row by row
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1).to(x.dtype), x], dim=1)  # (B, T + 1, D)
        first = x.new_zeros(x.shape[0], 1, dtype=torch.long)  # the class token's place
        return self.ln_post(self.transformer(self.ln_pre(x + self.positional_embedding), first)[:, 0]) @ self.proj


# ---- Modified ResNet (Section 2.4): ResNet-D (He et al. 2019), anti-aliased (Zhang 2019), attention for pooling ------


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut. (B, C, H, W) -> (B, 4 planes, H / stride, W / stride)."""

    def __init__(self, channels, planes, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        nn.init.zeros_(self.bn3.weight)  # each block begins as its shortcut (Goyal et al. 2017)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()  # so that no convolution skips pixels
        self.downsample = None if stride == 1 and channels == 4 * planes else nn.Sequential(OrderedDict([
            ("-1", nn.AvgPool2d(stride)), ("0", nn.Conv2d(channels, 4 * planes, 1, bias=False)),
            ("1", nn.BatchNorm2d(4 * planes))]))  # "0" and "1" are the released weights' names

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.pool(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class AttentionPool2d(nn.Module):
    """One layer of multi-head attention whose only query is the mean over all places. (B, C, H, W) -> (B, E)."""

    def __init__(self, side, channels, embed_dim):
        super().__init__()
        self.heads = channels // 64
        self.positional_embedding = nn.Parameter(torch.randn(side ** 2 + 1, channels) / channels ** 0.5)
        self.k_proj, self.q_proj, self.v_proj = (nn.Linear(channels, channels) for _ in range(3))
        self.c_proj = nn.Linear(channels, embed_dim)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=channels ** -0.5)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)  # (B, HW, C)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding  # (B, 1 + HW, C)
        q, k, v = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)  # (B, 1, C), (B, 1 + HW, C) twice
        q, k, v = (t.unflatten(-1, (self.heads, 64)).transpose(1, 2) for t in (q, k, v))  # (B, H, 1 or 1 + HW, 64)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(64)).softmax(dim=-1)  # (B, H, 1, 1 + HW), they add up to 1
        return self.c_proj((weights @ v).flatten(1))  # (B, H, 1, 64) -> (B, C) -> (B, E)


class ModifiedResNet(nn.Module):
    """A stem of three convolutions, four stages of bottlenecks, attention pooling. (B, 3, R, R) -> (B, E)."""

    def __init__(self, config):
        super().__init__()
        width, half = config.vision_width, config.vision_width // 2
        self.conv1, self.bn1 = nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = nn.Conv2d(half, half, 3, padding=1, bias=False), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = nn.Conv2d(half, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        for i, blocks in enumerate(config.vision_layers):
            planes = width * 2 ** i
            first = Bottleneck(2 * planes, planes, 2) if i else Bottleneck(width, planes, 1)
            rest = (Bottleneck(4 * planes, planes, 1) for _ in range(blocks - 1))
            setattr(self, f"layer{i + 1}", nn.Sequential(first, *rest))
        self.attnpool = AttentionPool2d(config.image_resolution // 32, 32 * width, config.embed_dim)

    def forward(self, x):
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(norm(conv(x)))  # (B, D/2, R/2, R/2) twice, (B, D, R/2, R/2)
        x = self.layer1(F.avg_pool2d(x, 2))  # (B, 4D, R/4, R/4)
        return self.attnpool(self.layer4(self.layer3(self.layer2(x))))  # (B, 32D, R//32, R//32) -> (B, E)


# ---- CLIP: two towers, one space (Section 2.3, Figure 3) -------------------------------------------------------------


@dataclass(frozen=True)
class CLIPConfig:
    """The shape of a model: a row of Table 19 or 20. Attention heads are 64 wide in all of them."""
    embed_dim: int
    image_resolution: int
    vision_layers: int | tuple  # a number: vision transformer; four numbers, the blocks of each stage: ResNet
    vision_width: int
    vision_patch_size: int | None  # None for a ResNet
    transformer_width: int
    transformer_layers: int = 12
    context_length: int = 77
    vocab_size: int = 49408
    quick_gelu: bool = True

    def __post_init__(self):
        for width in (self.transformer_width, self.vision_width * (1 if self.vision_patch_size else 32)):
            if width < 64 or width % 64:
                raise ValueError(f"attention {width} wide can't be cut into heads of 64; a ResNet's is 32 vision_width")


CONFIGS = {
    #                         E     R    layers           width  P     text
    "RN50":           CLIPConfig(1024, 224, (3, 4, 6, 3), 64, None, 512),
    "RN101":          CLIPConfig(512, 224, (3, 4, 23, 3), 64, None, 512),
    "RN50x4":         CLIPConfig(640, 288, (4, 6, 10, 6), 80, None, 640),
    "RN50x16":        CLIPConfig(768, 384, (6, 8, 18, 8), 96, None, 768),
    "RN50x64":        CLIPConfig(1024, 448, (3, 15, 36, 10), 128, None, 1024),
    "ViT-B/32":       CLIPConfig(512, 224, 12, 768, 32, 512),
    "ViT-B/16":       CLIPConfig(512, 224, 12, 768, 16, 512),
    "ViT-L/14":       CLIPConfig(768, 224, 24, 1024, 14, 768),
    "ViT-L/14@336px": CLIPConfig(768, 336, 24, 1024, 14, 768),
    "tiny-RN":        CLIPConfig(128, 48, (1, 1, 1, 1), 16, None, 128, 1, 32, 2048),  # these two are ours, for train_
    "tiny-ViT":       CLIPConfig(128, 48, 3, 128, 8, 128, 1, 32, 2048),  # tiny.py; a ResNet's strides leave 1 x 1 of 48
}


class CLIP(nn.Module):
    """An image encoder and a text encoder that map into one space of E dimensions."""

    def __init__(self, config, checkpointing=False):
        super().__init__()
        self.config, self.eot_token, c = config, config.vocab_size - 1, config
        gelu = quick_gelu if c.quick_gelu else F.gelu
        self.visual = ModifiedResNet(c) if c.vision_patch_size is None else VisionTransformer(c, gelu)
        self.transformer = Transformer(c.transformer_width, c.transformer_layers, gelu)
        self.token_embedding = nn.Embedding(c.vocab_size, c.transformer_width)
        self.positional_embedding = nn.Parameter(torch.empty(c.context_length, c.transformer_width))
        self.ln_final = nn.LayerNorm(c.transformer_width)
        self.text_projection = nn.Parameter(torch.empty(c.transformer_width, c.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # the paper's t: logits are times exp(t)
        width, layers = c.transformer_width, c.transformer_layers  # GPT-2's initialisation, for the text encoder alone
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        for block in self.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width ** -0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=(width * 2 * layers) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=(width * 2 * layers) ** -0.5)
        nn.init.normal_(self.text_projection, std=width ** -0.5)
        for block in self.modules() if checkpointing else ():  # Section 2.5; Chen et al. 2016
            if isinstance(block, (ResidualAttentionBlock, Bottleneck)):  # run again for the gradient instead of kept
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
                for norm in (module for module in block.modules() if isinstance(module, nn.BatchNorm2d)):
                    norm.momentum = 1 - math.sqrt(0.9)  # run twice a step, this moves the averages as 0.1 does once

    def encode_image(self, images):
        """Normalised pixels (B, 3, R, R) -> features (B, E), not of unit length."""
        return self.visual(images.to(self.visual.conv1.weight.dtype))

    def encode_text(self, tokens):
        """Ids (B, T), T up to the context length -> features (B, E), not of unit length: the top layer at the first end
        token, which each row must hold. The mask is causal, so what stands behind it, padding included, has no part."""
        x = self.token_embedding(tokens) + self.positional_embedding[:tokens.shape[1]]  # (B, T, D)
        place = (tokens == self.eot_token).int().argmax(dim=-1, keepdim=True)  # (B, 1)
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()  # row t: True up to t
        return self.ln_final(self.transformer(x, place, mask)[:, 0]) @ self.text_projection  # (B, D) -> (B, E)

    def forward(self, images, tokens):
        """-> logits (images, texts) and their transpose: cosine similarities times exp(logit_scale)."""
        I_e, T_e = F.normalize(self.encode_image(images), dim=-1), F.normalize(self.encode_text(tokens), dim=-1)
        logits_per_image = self.logit_scale.exp() * I_e @ T_e.T
        return logits_per_image, logits_per_image.T


def contrastive_loss(image_features, text_features, logit_scale, rows=slice(None)):
    """Figure 3: features (B, E) twice, of any length, and the log of the scale -> scalar, in nats; a guess is ln(B).
    Cross-entropy of "which of the B captions belongs to this image" and the reverse, averaged over the pairs in `rows`:
    Section 2.5 shares them among processes. ValueError if B is 1."""
    if len(image_features) < 2:
        raise ValueError("a batch of one pair has no wrong caption, so its loss is always 0; use at least two pairs")
    I_e, T_e, scale = F.normalize(image_features, dim=-1), F.normalize(text_features, dim=-1), logit_scale.exp()
    labels = torch.arange(len(I_e), device=I_e.device)[rows]
    return (F.cross_entropy(scale * I_e[rows] @ T_e.T, labels) + F.cross_entropy(scale * T_e[rows] @ I_e.T, labels)) / 2


# ---- Files: ours, OpenAI's, open_clip's, Hugging Face's --------------------------------------------------------------

MERGES = ("https://github.com/openai/CLIP/raw/main/clip/bpe_simple_vocab_16e6.txt.gz",
          "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a")
WEIGHTS = "https://openaipublic.azureedge.net/clip/models/{}/{}.pt"  # SHA-256 and name
SHA256 = {
    "RN50": "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    "RN101": "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599",
    "RN50x4": "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd",
    "RN50x16": "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
    "RN50x64": "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
    "ViT-B/32": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "ViT-B/16": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    "ViT-L/14": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    "ViT-L/14@336px": "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"}
HUGGING_FACE = [name.split(">") for name in """text_model.> vision_model.>visual. embeddings.> self_attn.>attn.
    position_embedding.weight>positional_embedding visual_projection.weight>visual.proj fc1.>c_fc. fc2.>c_proj.
    text_projection.weight>text_projection encoder.layers.>transformer.resblocks. layer_norm1.>ln_1. layer_norm2.>ln_2.
    final_layer_norm.>ln_final. pre_layrnorm.>ln_pre. post_layernorm.>ln_post. patch_embedding.>conv1.""".split()]


def write(path, save):
    """Call save(file) such that, whenever it is interrupted, path is either the old file or the whole new one."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def save(path, model, tokenizer):
    """A state dict that OpenAI's build_model takes as it is; merges and kind of GELU are attributes, like _metadata."""
    weights = model.state_dict()
    weights["input_resolution"] = torch.tensor(model.config.image_resolution)  # OpenAI's files have it too
    weights.merges, weights.quick_gelu = tokenizer.merges, model.config.quick_gelu
    write(path, lambda file: torch.save(weights, file))


def fetch(url, sha256):
    """A published file -> its path in the cache folder of OpenAI's code, downloaded unless it is there; an interrupted
    download is gone on with. OSError without a network, ValueError where the SHA-256 is wrong."""
    path = os.path.expanduser("~/.cache/clip/") + os.path.basename(url)
    found = path if os.path.exists(path) else path + ".part"
    if found != path:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(found, "ab") as file:
                request = urllib.request.Request(url, headers={"Range": f"bytes={file.tell()}-"})
                with urllib.request.urlopen(request, timeout=30) as source:
                    file.truncate(None if source.status == 206 else 0)  # other than 206: from the beginning
                    while block := source.read(1 << 20):
                        file.write(block)
                        print(f"{path}: {(source.length or 0) / 1e6:.0f} MB left ", end="\r", file=sys.stderr)
        except Exception as error:  # of the network, of HTTP
            if getattr(error, "code", None) != 416:  # which is: there is nothing more to come
                raise OSError(f"{url}: {error}; run again to go on, or put the file at {path}") from None
    with open(found, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ValueError(f"{found}: incomplete or damaged (SHA-256 is not {sha256}); run again, or delete it")
    if found != path:
        os.replace(found, path)
    return path


class TorchScript(pickle.Unpickler):
    """Reads OpenAI's format, a zip with the bytes of each tensor and a pickle of the modules that hold them. PyTorch's
    reader is deprecated, and runs code that can write files; here each class becomes an idle dict of its tensors."""

    class Module(dict):
        def __setstate__(self, state):
            for name, x in state.items():
                self |= {f"{name}.{key}": y for key, y in x.items()} if isinstance(x, type(self)) else {name: x}

    def find_class(self, module, name):
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, shape, stride, *rest: storage.as_strided(shape, stride, offset)
        dtype = getattr(torch, name.removesuffix("Storage").lower(), None)  # HalfStorage: torch.half
        return dtype if isinstance(dtype, torch.dtype) else self.Module

    def persistent_load(self, entry):
        return torch.frombuffer(bytearray(self.read_bytes(entry[2])), dtype=entry[1])


def read(path):
    """A checkpoint file -> its state dict. No code in it can run, nor write a file: it is refused with an exception."""
    with open(path, "rb") as file:
        head = file.read(9)
        if head[8:] == b"{":  # safetensors: the size of the header, the header (JSON), the bytes of all tensors
            header = json.loads(head[8:] + file.read(int.from_bytes(head[:8], "little") - 1))
            raw = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
            kinds = dict(F64=torch.double, F32=torch.float, F16=torch.half, BF16=torch.bfloat16, I64=torch.long)
            return {name: raw[slice(*entry["data_offsets"])].clone().view(kinds[entry["dtype"]]).view(entry["shape"])
                    for name, entry in header.items() if name != "__metadata__"}
    if head[:2] == b"PK":
        with zipfile.ZipFile(path) as archive:
            root = archive.namelist()[0].split("/")[0]
            if f"{root}/constants.pkl" in archive.namelist():  # PyTorch's own way to know it
                reader = TorchScript(archive.open(f"{root}/data.pkl"))
                reader.read_bytes = lambda key: archive.read(f"{root}/data/{key}")
                return reader.load()
    elif head[:1] != b"\x80":
        raise ValueError(f"it begins with {head}, as neither PyTorch's files nor safetensors do")
    return torch.load(path, map_location="cpu", weights_only=True)


def to_openai(weights):
    """A state dict in OpenAI's, open_clip's or Hugging Face's layout -> in OpenAI's, in float32."""
    weights = {re.sub(r"^(module\.|_orig_mod\.)*(text\.)?", "", key): w.float() if w.is_floating_point() else w
               for key, w in weights.items()
               if torch.is_tensor(w) and not key.endswith(("position_ids", "context_length", "vocab_size"))}
    if "text_model.final_layer_norm.weight" in weights:
        theirs, weights = weights, {}
        for key, weight in theirs.items():
            for old, new in HUGGING_FACE:  # from first to last
                key = key.replace(old, new)
            weights[key] = weight.T if key in ("visual.proj", "text_projection") else weight
        for a, b in [key.split("q_proj.") for key in weights if ".q_proj." in key]:  # three matrices become one
            weights[f"{a}in_proj_{b}"] = torch.cat([weights.pop(f"{a}{c}_proj.{b}") for c in "qkv"])
    return weights


def infer_config(weights, quick_gelu):
    """A state dict in OpenAI's layout -> CLIPConfig, from its shapes; takes out "input_resolution", which has none."""
    blocks = {match[0] for key in weights if (match := re.match(r".*?(resblocks|layer\d)\.\d+\.", key))}
    layers = Counter(block.rsplit(".", 2)[0] for block in blocks)  # "visual.layer1": 3, ...
    (context, text_width), vocab = weights["positional_embedding"].shape, len(weights["token_embedding.weight"])
    if "visual.proj" in weights:
        width, _, _, patch = weights["visual.conv1.weight"].shape
        depth, places = layers["visual.transformer.resblocks"], weights["visual.positional_embedding"]
        if width > 1024:
            raise ValueError(f"vision transformers {width} wide are published with heads that are not 64 wide")
    else:
        width, patch, places = len(weights["visual.bn3.weight"]), None, weights["visual.attnpool.positional_embedding"]
        depth = tuple(layers[f"visual.layer{i}"] for i in (1, 2, 3, 4))
    resolution = int(weights.pop("input_resolution", math.isqrt(len(places) - 1) * (patch or 32)))
    return CLIPConfig(weights["text_projection"].shape[1], resolution, depth, width, patch, text_width,
                      layers["transformer.resblocks"], context, vocab, quick_gelu)


def load(name_or_path, device="cpu", quick_gelu=None):
    """The name of a published model, a checkpoint or a Hugging Face folder -> (float32 model in eval mode, tokenizer).
    The shapes tell the model, `save` or a config.json the kind of GELU; without, open_clip's training runs get nn.GELU,
    others QuickGELU, unless quick_gelu says otherwise. Raises OSError, or ValueError with the first thing wrong."""
    path = os.fspath(name_or_path)
    if path in SHA256:
        path = fetch(WEIGHTS.format(SHA256[path], re.sub("[/@]", "-", path)), SHA256[path])
    elif not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such checkpoint; `python train_tiny.py` makes one; published: {[*SHA256]}")
    try:
        path = next(filter(os.path.exists, (f"{path}/{n}" for n in ("model.safetensors", "pytorch_model.bin"))), path)
        content, config = read(path), os.path.join(os.path.dirname(path), "config.json")
        weights, merges = content.get("state_dict", content), getattr(content, "merges", None)
        open_clip = weights is not content or any(key.startswith(("module.", "text.")) for key in weights)
        quick = getattr(content, "quick_gelu", not open_clip)
        if "text_model.final_layer_norm.weight" in weights and os.path.exists(config):
            with open(config, encoding="utf-8") as file:
                quick = '"gelu"' not in file.read()  # Hugging Face's default is "quick_gelu"
        weights, tokenizer = to_openai(weights), None if merges is None else Tokenizer(merges)
        with torch.device("meta"):
            model = CLIP(infer_config(weights, quick if quick_gelu is None else quick_gelu))
        model.load_state_dict(weights, assign=True)
    except Exception as error:  # each reader raises kinds of its own
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split()) or repr(error)
        raise ValueError(f"{path}: not a checkpoint of CLIP ({reason[max(reason.find('GLOBAL'), 0):][:200]})") from None
    if model.config.vocab_size != (49408 if tokenizer is None else len(tokenizer.vocab)):
        raise ValueError(f"{path}: there are no merges for its {model.config.vocab_size} tokens")
    if tokenizer is None:
        print(f"{path}: {'QuickGELU' if model.config.quick_gelu else 'GELU'}", file=sys.stderr)
        tokenizer = Tokenizer.from_merges()
    return model.to(device, memory_format=torch.channels_last).eval(), tokenizer
