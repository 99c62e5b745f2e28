"""CLIP in one file: tokenizer, attention, vision transformer, ResNet, contrastive loss, the nine published models.

Radford et al. 2021, "Learning Transferable Visual Models from Natural Language Supervision", arXiv 2103.00020.
"Section", "Figure" and "Table" below are that paper's. Parameter names and shapes are OpenAI's, so their weights fit.
Letters in shape comments: B batch, T tokens, D width, H heads (or height, where there are no heads), W width of the
image, C channels, P patch size, R resolution, E joint embedding.
"""
import html
import math
import os
import re
from collections import Counter, OrderedDict, defaultdict
from dataclasses import asdict, dataclass

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

# What becomes a word before any merging: the special tokens, English contractions, runs of letters, single numbers,
# runs of anything else that is not white space. `re` has no \p{N}; it is what is numeric and not a letter (½, ², Ⅷ).
# U+001C to U+001F are white space to Python and not to Unicode.
_NUMBER = "".join(c for c in map(chr, range(0x20000)) if c.isnumeric() and not c.isalpha())
_SPACE = re.compile(r"[^\S\x1c-\x1f]+")
_WORD = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
                   rf"|[^\W{_NUMBER}_]+|[{_NUMBER}]|(?:[^\w\s]|[_\x1c-\x1f])+")


def clean(text):
    """Undo HTML escapes (twice, as captions from the web need it), fold white space, lower-case."""
    return _SPACE.sub(" ", html.unescape(html.unescape(text)).strip()).strip().lower()


def merge(parts, pair):
    """["a", "b", "a", "b"], ("a", "b") -> ["ab", "ab"]: join each occurrence of the pair, from the left."""
    out, i = [], 0
    while i < len(parts):
        n = 2 if tuple(parts[i:i + 2]) == pair else 1
        out.append("".join(parts[i:i + n]))
        i += n
    return out


def _spell(word):
    """"hé" -> ["h", "Ã", "©</w>"]: the characters of the word's UTF-8 bytes, the last one marked as a word's end."""
    parts = [BYTES[b] for b in word.encode("utf-8", "replace")]
    return parts[:-1] + [parts[-1] + "</w>"]


class Tokenizer:
    """Byte-level BPE. Ids: 256 bytes, the same 256 ending a word, one for each merge, start of text, end of text."""

    def __init__(self, merges):
        self.merges = [tuple(pair) for pair in merges]
        self.vocab = [*BYTES.values(), *(c + "</w>" for c in BYTES.values()), *(a + b for a, b in self.merges),
                      "<|startoftext|>", "<|endoftext|>"]
        self.ids = {token: i for i, token in enumerate(self.vocab)}
        self.ranks = {pair: i for i, pair in enumerate(self.merges)}
        self.sot, self.eot = len(self.vocab) - 2, len(self.vocab) - 1
        self.cache = {"<|startoftext|>": [self.sot], "<|endoftext|>": [self.eot]}  # word -> ids

    @classmethod
    def train(cls, texts, vocab_size):
        """Learn vocab_size - 514 merges, or as many as there are: join the most frequent pair of neighbours, again and
        again; of equally frequent ones the alphabetically first, so that the order of the texts does not matter."""
        if vocab_size < 514:
            raise ValueError(f"vocab_size is {vocab_size}; 512 byte tokens and 2 specials need at least 514")
        counts = Counter(word for text in texts for word in _WORD.findall(clean(text)))
        words = {word: _spell(word) for word in counts}
        pairs, where = Counter(), defaultdict(set)  # how often each pair occurs, and in which words
        for word, parts in words.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += counts[word]
                where[pair].add(word)
        merges = []
        while len(merges) < vocab_size - 514 and pairs:
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
            merges.append(best)
            for word in where.pop(best):  # only the words that hold the pair change any count
                old, new = words[word], merge(words[word], best)
                for pair in zip(old, old[1:]):
                    pairs[pair] -= counts[word]
                for pair in zip(new, new[1:]):
                    pairs[pair] += counts[word]
                    where[pair].add(word)
                words[word] = new
            pairs = +pairs  # drops what has come to zero
        return cls(merges)

    def _bpe(self, word):
        """Merge the pair learned earliest until none is left, as in training."""
        parts = _spell(word)
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda pair: self.ranks.get(pair, math.inf))
            if best not in self.ranks:
                break
            parts = merge(parts, best)
        return [self.ids[part] for part in parts]

    def encode(self, text):
        """A string -> its list of ids, without start and end."""
        words = _WORD.findall(clean(text))
        self.cache.update((word, self._bpe(word)) for word in words if word not in self.cache)
        return [i for word in words for i in self.cache[word]]

    def decode(self, ids):
        """Ids -> lower-case text with one space behind each word; bytes that are no UTF-8 become U+FFFD."""
        text = "".join(self.vocab[i] for i in ids)
        return bytes(UNBYTES[c] for c in text).decode("utf-8", "replace").replace("</w>", " ")

    def __call__(self, texts, context_length=77, truncate=False, pad=True):
        """A string or B of them -> LongTensor (B, context_length): start, ids, end, zeros (Section 2.4).

        Without pad it is only as wide as the longest text. Raises ValueError for a text that is too long, unless
        truncate, which cuts it and keeps the end token."""
        rows = [[self.sot, *self.encode(text), self.eot] for text in ([texts] if isinstance(texts, str) else texts)]
        for i, ids in enumerate(rows):
            if len(ids) > context_length and not truncate:
                raise ValueError(f"a text of {len(ids)} tokens, start and end included, is longer than the context of "
                                 f"{context_length}; shorten it or pass truncate=True")
            if len(ids) > context_length:
                rows[i] = ids[:context_length - 1] + [self.eot]
        width = context_length if pad else max(map(len, rows), default=0)
        rows = [ids + [0] * (width - len(ids)) for ids in rows]
        return torch.tensor(rows, dtype=torch.long).view(len(rows), width)  # (B, width)


# ---- Images in: OpenAI's preprocessing -------------------------------------------------------------------------------

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the red, green and blue levels (0 to 1) of CLIP's training images
STD = (0.26862954, 0.26130258, 0.27577711)


def crop_square(image, resolution):
    """PIL image of any mode and size -> RGB image (R, R): short side to R, centre crop, then RGB.

    In this order, as in OpenAI's code, a palette image is resized by nearest neighbour."""
    w, h = image.size
    if max(w, h) > 100 * min(w, h):  # the ends of a ribbon go first: a resized copy of it all would fill the memory
        x, y = ((side // min(w, h) - 100) // 2 * min(w, h) if side > min(w, h) else 0 for side in (w, h))
        image, w, h = image.crop((x, y, w - x, h - y)), w - 2 * x, h - 2 * y
    w, h = (resolution, int(resolution * h / w)) if w <= h else (int(resolution * w / h), resolution)
    image = image.resize((w, h), Image.Resampling.BICUBIC)
    left, top = round((w - resolution) / 2), round((h - resolution) / 2)
    return image.crop((left, top, left + resolution, top + resolution)).convert("RGB")


def normalize(pixels):
    """Levels from 0 to 1, (..., 3, H, W) -> zero mean and unit variance, for CLIP's training images."""
    mean, std = (torch.tensor(x, device=pixels.device).view(3, 1, 1) for x in (MEAN, STD))  # (3, 1, 1)
    return (pixels - mean) / std


def preprocess(image, resolution):
    """PIL image of any mode and size -> float32 (3, R, R), normalised, bit for bit OpenAI's (but for ribbons)."""
    pixels = torch.from_numpy(np.array(crop_square(image, resolution))).permute(2, 0, 1)  # (3, R, R)
    return normalize(pixels / 255)


# ---- Transformer (Vaswani et al. 2017, in the pre-LayerNorm form of Radford et al. 2019), for text and for images ----


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the approximation of GELU that OpenAI's models were trained with."""

    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


def attention(q, k, v, causal=False):
    """softmax(q kᵀ / sqrt(d)) v for q (B, H, T, d), k and v (B, H, S, d) -> (B, H, T, d). The formula, for reading:
    the modules call PyTorch's, which gives the same without ever storing the T x S scores."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, T, S)
    if causal:  # token t sees tokens 0 to t
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
    return scores.softmax(dim=-1) @ v  # (B, H, T, d)


class Attention(nn.Module):
    """Multi-head self-attention, x (B, T, D) -> (B, T, D), in heads of D / H = 64 channels."""

    def __init__(self, width, causal):
        super().__init__()
        self.heads, self.causal = width // 64, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))  # queries, keys, values in one matrix
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x):
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(-1, (3, self.heads, 64))  # (B, T, 3, H, 64)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, 64) each
        x = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)  # (B, H, T, 64) = attention(q, k, v, causal)
        return self.out_proj(x.transpose(1, 2).flatten(2))  # (B, T, D)


class ResidualAttentionBlock(nn.Module):
    """x + attention, then + a four times wider perceptron, each behind its LayerNorm. (B, T, D) -> (B, T, D)."""

    def __init__(self, width, causal, gelu):
        super().__init__()
        self.attn = Attention(width, causal)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(width, 4 * width), gelu=gelu(),
                                             c_proj=nn.Linear(4 * width, width)))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Blocks(nn.Sequential):
    """A chain of blocks. With .checkpointing, activations inside a block are computed again for the gradient instead
    of kept (Section 2.5; Chen et al. 2016): less memory for one more forward pass."""

    checkpointing = False

    def forward(self, x):
        for block in self:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointing and self.training else block(x)
        return x


class Transformer(nn.Module):
    """`layers` residual attention blocks, (B, T, D) -> (B, T, D)."""

    def __init__(self, width, layers, causal, gelu):
        super().__init__()
        self.resblocks = Blocks(*(ResidualAttentionBlock(width, causal, gelu) for _ in range(layers)))

    def forward(self, x):
        return self.resblocks(x)


class VisionTransformer(nn.Module):
    """Dosovitskiy et al. 2020, with one more LayerNorm before the blocks (Section 2.4). (B, 3, R, R) -> (B, E)."""

    def __init__(self, config, gelu):
        super().__init__()
        width, P, scale = config.vision_width, config.vision_patch_size, config.vision_width ** -0.5
        self.conv1 = nn.Conv2d(3, width, P, stride=P, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn((config.image_resolution // P) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, config.vision_layers, False, gelu)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, config.embed_dim))

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)  # (B, T, D): R/P x R/P patches, row by row
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1).to(x.dtype), x], dim=1)  # (B, T + 1, D)
        x = self.transformer(self.ln_pre(x + self.positional_embedding))
        return self.ln_post(x[:, 0]) @ self.proj  # (B, E), from the class token


# ---- Modified ResNet (Section 2.4): ResNet-D (He et al. 2019), anti-aliased (Zhang 2019), attention for pooling ------


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut. (B, C, H, W) -> (B, 4 planes, H / stride, W / stride).

    Strides are average pools: no convolution here skips pixels, neither on the main path nor on the shortcut."""

    def __init__(self, channels, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        nn.init.zeros_(self.bn3.weight)  # each block begins as its shortcut (Goyal et al. 2017)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample = None
        if stride > 1 or channels != 4 * planes:  # "0" and "1" are the released weights' names
            self.downsample = nn.Sequential(OrderedDict([("-1", nn.AvgPool2d(stride)),
                                                         ("0", nn.Conv2d(channels, 4 * planes, 1, bias=False)),
                                                         ("1", nn.BatchNorm2d(4 * planes))]))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(self.pool(x)))
        return F.relu(x + shortcut)


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
        x = F.scaled_dot_product_attention(q, k, v).flatten(1)  # (B, C)
        return self.c_proj(x)  # (B, E)


class ModifiedResNet(nn.Module):
    """A stem of three convolutions, four stages of bottlenecks, attention pooling. (B, 3, R, R) -> (B, E)."""

    def __init__(self, config):
        super().__init__()
        width = config.vision_width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        channels = width
        for i, blocks in enumerate(config.vision_layers):  # strides 1, 2, 2, 2
            planes, stride = width * 2 ** i, 1 if i == 0 else 2
            stage = [Bottleneck(channels, planes, stride)]
            stage += [Bottleneck(4 * planes, planes, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{i + 1}", Blocks(*stage))
            channels = 4 * planes
        self.attnpool = AttentionPool2d(config.image_resolution // 32, channels, config.embed_dim)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))  # (B, D/2, R/2, R/2)
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))  # (B, D, R/2, R/2)
        x = self.layer1(F.avg_pool2d(x, 2))  # (B, 4D, R/4, R/4)
        x = self.layer4(self.layer3(self.layer2(x)))  # (B, 32D, R//32, R//32)
        return self.attnpool(x)


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
    "tiny-RN":        CLIPConfig(128, 48, (1, 1, 1, 1), 16, None, 128, 1, 32, 2048),  # ours, for train_tiny.py: of 48
    "tiny-ViT":       CLIPConfig(128, 48, 3, 128, 8, 128, 1, 32, 2048),  # pixels a ResNet's strides leave 1 x 1 place
}


class CLIP(nn.Module):
    """An image encoder and a text encoder that map into one space of E dimensions."""

    def __init__(self, config, checkpointing=False):
        super().__init__()
        self.config = c = config
        gelu = QuickGELU if c.quick_gelu else nn.GELU
        self.visual = ModifiedResNet(c) if c.vision_patch_size is None else VisionTransformer(c, gelu)
        self.transformer = Transformer(c.transformer_width, c.transformer_layers, True, gelu)
        self.token_embedding = nn.Embedding(c.vocab_size, c.transformer_width)
        self.positional_embedding = nn.Parameter(torch.empty(c.context_length, c.transformer_width))
        self.ln_final = nn.LayerNorm(c.transformer_width)
        self.text_projection = nn.Parameter(torch.empty(c.transformer_width, c.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # the paper's t: logits are times exp(t)
        self.eot_token = c.vocab_size - 1
        self.initialize_text()
        for blocks in (module for module in self.modules() if checkpointing and isinstance(module, Blocks)):
            blocks.checkpointing = True
            for norm in (module for module in blocks.modules() if isinstance(module, nn.BatchNorm2d)):
                norm.momentum = 1 - math.sqrt(0.9)  # run twice a step, this moves the averages as 0.1 does once

    def initialize_text(self):
        """The text encoder's own rule, GPT-2's with widths in it. All else is set where it is made."""
        width, layers = self.config.transformer_width, self.config.transformer_layers
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        for block in self.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width ** -0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=(width * 2 * layers) ** -0.5)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=(width * 2 * layers) ** -0.5)
        nn.init.normal_(self.text_projection, std=width ** -0.5)

    def encode_image(self, images):
        """Normalised pixels (B, 3, R, R) -> features (B, E), not of unit length."""
        return self.visual(images)

    def encode_text(self, tokens):
        """Ids (B, T), T up to the context length -> features (B, E), not of unit length: the top layer at the (first)
        end token, the only one that has seen the whole caption. Under the causal mask what stands behind it, padding
        included, has no influence, so no padding mask is needed. Each row must hold an end token."""
        x = self.token_embedding(tokens) + self.positional_embedding[:tokens.shape[1]]  # (B, T, D)
        x = self.transformer(x)
        end = (tokens == self.eot_token).int().argmax(dim=-1)  # (B,)
        x = x[torch.arange(len(x), device=x.device), end]  # (B, D)
        return self.ln_final(x) @ self.text_projection  # (B, E)

    def forward(self, images, tokens):
        """-> logits (images, texts) and their transpose: cosine similarities times exp(logit_scale)."""
        image_features = F.normalize(self.encode_image(images), dim=-1)
        text_features = F.normalize(self.encode_text(tokens), dim=-1)
        logits_per_image = self.logit_scale.exp() * image_features @ text_features.T
        return logits_per_image, logits_per_image.T

    @torch.no_grad()
    def clamp_logit_scale(self):
        """Keep exp(logit_scale) at 100 or below, which the paper found necessary for stability (Section 2.5)."""
        self.logit_scale.clamp_(max=math.log(100))


def contrastive_loss(image_features, text_features, logit_scale):
    """Figure 3: features (B, E) twice, of any length, and the log of the scale -> scalar, in nats; a guess is ln(B).

    Cross-entropy of "which of the B captions belongs to this image" and the reverse, averaged. ValueError if B is 1."""
    if len(image_features) < 2:
        raise ValueError("a batch of one pair has no wrong caption to tell from the right one: its loss is 0 whatever "
                         "the features, so nothing is learned; use at least two pairs")
    I_e, T_e = F.normalize(image_features, dim=-1), F.normalize(text_features, dim=-1)
    logits = logit_scale.exp() * I_e @ T_e.T  # (B, B)
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


# ---- Files -----------------------------------------------------------------------------------------------------------


def write(path, content):
    """torch.save that leaves either the old file or the whole new one, whenever it is interrupted."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def save(path, model, tokenizer):
    """Configuration, merges and weights in one file that `load` reads."""
    write(path, {"config": asdict(model.config), "merges": tokenizer.merges, "state_dict": model.state_dict()})


def load(path, device="cpu"):
    """A file of `save` -> (model in eval mode on the device, tokenizer). No code in it can run: weights_only."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such checkpoint; `python train_tiny.py` makes one")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        model, tokenizer = CLIP(CLIPConfig(**content["config"])), Tokenizer(content["merges"])
        if len(tokenizer.vocab) != model.config.vocab_size:
            raise ValueError(f"{len(tokenizer.vocab)} tokens for a model of {model.config.vocab_size}")
        model.load_state_dict(content["state_dict"])
    except Exception as error:  # torch.load raises many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path}: not a checkpoint of this program ({reason})") from None
    return model.to(device).eval(), tokenizer
