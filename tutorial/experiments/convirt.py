"""Section 2.3: what CLIP leaves out of ConVIRT, put back, one change at a time; and batches of other sizes."""
import math
import re

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

from clip_minimal import CLIP, CONFIGS
from common import BLUE, GREY, ORANGE
from lab import begin, squares
from train_tiny import BACKGROUNDS, PLACES, RELATIONS, World
from tutorial.extras.large_batches import LargeBatches

PAIRS = 350 * 256  # that each model sees
PHRASE = re.compile(f", | (?=(?:{'|'.join([*BACKGROUNDS, *PLACES, *RELATIONS])})\\b)")  # where a caption can be cut
MEASURES = ["objects", "colours", "places", "image to text R@1"]  # of World.evaluate


class NonLinear(CLIP):
    """Behind each projection a ReLU and another one: W2 relu(W1 h), as ConVIRT has it."""

    def __init__(self, config):
        super().__init__(config)
        # a part of the image encoder, so that it learns at that one's rate
        self.visual.head = nn.Linear(config.embed_dim, config.embed_dim)
        self.text_head = nn.Linear(config.embed_dim, config.embed_dim)

    def encode_image(self, images):
        return self.visual.head(F.relu(super().encode_image(images)))

    def encode_text(self, tokens):
        return self.text_head(F.relu(super().encode_text(tokens)))


class FixedScale(CLIP):
    """The scale stays at 1 / 0.07, where it begins."""

    def __init__(self, config):
        super().__init__(config)
        self.logit_scale.register_hook(torch.zeros_like)  # without a gradient Adam makes no step


def unchanged(images, captions, rng):
    """A batch as the world has it."""
    return images, captions


def augment(images, captions, rng):
    """Each image (n, 3, R, R) is cropped to a square of 75 to 100 % of its side and resized, its brightness moves by up
    to a quarter of a standard deviation, its contrast by up to a quarter. What is at the top of a square need not be at
    the top of the image, so captions that tell a place become less true. There are no flips, which would make relations
    and arrows false, and no shifts of hue, as captions tell colours."""
    side = torch.from_numpy(rng.uniform(0.75, 1, len(images)))
    u = torch.from_numpy(rng.uniform(-1, 1, (len(images), 4)))
    images = squares(images, side, u[:, :2])
    brightness, contrast = (u[:, 2:, None, None, None].float() / 4).unbind(1)  # (n, 1, 1, 1) twice
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (1 + contrast) + mean + brightness, captions


def phrases(images, captions, rng):
    """Of each caption one phrase, by chance: "on the beach, a sun above a cat" has three. ConVIRT drew a sentence."""
    chance = rng.random(len(captions)).tolist()
    return images, [some[int(u * len(some))] for u, some in zip(chance, map(PHRASE.split, captions))]


class Changed(World):
    """The world with change(images, captions, rng) made to each batch; measured on n scenes of each kind."""

    def __init__(self, seed, change, n):
        super().__init__(seed)
        self.change = change
        self.n = n

    def batch(self, step, n):
        images, captions = super().batch(step, n)
        return self.change(images, captions, self.rng(5, step))

    def evaluate(self, model, tokenizer, n):
        self.results = super().evaluate(model, tokenizer, self.n)
        return self.results


CHANGES = {"CLIP": {}, "non-linear heads": {"kind": NonLinear}, "fixed scale": {"kind": FixedScale},
           "augmented images": {"change": augment}, "one phrase of each caption": {"change": phrases},
           **{f"batches of {size:,}": {"batch_size": size} for size in (32, 512, 2048)}}


def trial(lab, seed, kind=CLIP, change=unchanged, batch_size=256):
    """Train on PAIRS pairs, 256 at a time unless told -> {measure: (value, chance)}. A batch above 256 goes through the
    encoders by 256, so that batch norm sees as many as it does in the baseline; of a smaller one it sees no more. The
    learning rate is the same for all."""
    steps = max(1, round(PAIRS * lab.budget / batch_size))
    world = Changed(seed, change, max(20, round(1000 * lab.budget)))
    world, tokenizer, model = begin(seed, CONFIGS["tiny-RN"], steps, kind, world)
    trainer = LargeBatches(micro_batch=lab.batch())
    trainer.train(world, model, tokenizer, steps=steps, batch_size=lab.batch(batch_size),
                  warmup=max(1, steps // 10), every=math.ceil(steps / 4), lr=4e-3, muon=False)
    return world.results


def measure(lab):
    """-> a row for each change, seed and measure: on held-out pairs of colour and object."""
    rows = []
    for seed in lab.seeds:
        for name, options in CHANGES.items():
            print(f"{name}, seed {seed}", flush=True)
            results = lab.remember(["convirt", name, seed], lambda: trial(lab, seed, **options))
            rows += [{"change": name, "seed": seed, "measure": key, "value": results[key][0], "chance": results[key][1]}
                     for key in MEASURES]
    return rows


def draw(rows):
    """A panel for each measure; the band spans the seeds of the unchanged model."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    for axis, key in zip(figure.subplots(1, len(MEASURES), sharey=True), MEASURES):
        some = [row for row in rows if row["measure"] == key]
        plain = [100 * row["value"] for row in some if row["change"] == "CLIP"]
        axis.axvspan(min(plain), max(plain), color=GREY, alpha=0.3, linewidth=1, label="CLIP, all seeds")
        for i, name in enumerate(CHANGES):
            values = [100 * row["value"] for row in some if row["change"] == name]
            axis.plot(values, [i] * len(values), "o", color=BLUE, markersize=4, label="a seed" if i == 0 else None)
            axis.plot(np.mean(values), i, "|", color=ORANGE, markersize=14, markeredgewidth=3,
                      label="mean" if i == 0 else None)
        axis.axvline(100 * np.mean([row["chance"] for row in some]), linestyle=":", color="black", label="chance")
        axis.set_yticks(range(len(CHANGES)), CHANGES)
        axis.set(xlabel="right (%)", xlim=(0, 101), title=key)
    axis.invert_yaxis()
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return figure
