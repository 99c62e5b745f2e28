"""Section 2.3: what CLIP leaves out of ConVIRT, put back, one change at a time.

CLIP simplifies ConVIRT (Zhang et al. 2020): it trains from scratch instead of from ImageNet's weights,
projects linearly, takes the caption whole instead of one sentence of it, augments images by a random
square alone, and learns the scale of the similarities. The paper names these simplifications, reports
no difference between linear and non-linear projections, and measures none of the others.

Here each one is put back in the default run of train_tiny.py, which is long enough for names to be
learned. All runs see the same pairs of the pictogram world and are measured on held-out ones.
"""
import math
import re
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

import train_tiny
from clip_minimal import CLIP, CONFIGS, ModifiedResNet, normalize
from common import BLUE, GREY, ORANGE
from lab import fit, squares, untrained
from train_tiny import BACKGROUNDS, OBJECTS, PLACES, RELATIONS, World, train

STEPS = train_tiny.STEPS["tiny-RN"]  # of 256 pairs, for each model
LABEL_STEPS = 500  # in which the encoder that "a trained encoder" begins with learns from labels
LABEL_BATCHES = 40  # of 256 labelled pictures, seen again and again
CHANGE, LABELS = 5, 7  # number random numbers, see World.rng
MEASURES = ["objects", "colours", "backgrounds", "places", "relations", "image to text R@1"]  # of World.evaluate

# where a caption can be cut: at a comma, and before a background, a place or a relation
FOLLOWS = "|".join([*BACKGROUNDS, *PLACES, *RELATIONS])
PHRASE = re.compile(rf", | (?=(?:{FOLLOWS})\b)")

# Student's t: a mean of n values is known to so many times its standard error, with 95 %
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}

# ---- What is put back ----------------------------------------------------------------------------


class NonLinear(CLIP):
    """Behind each projection a ReLU and another one: W2 relu(W1 h), as ConVIRT has it."""

    def __init__(self, config):
        super().__init__(config)
        # a part of the image encoder, so that it learns at that one's rate
        self.visual.head = nn.Linear(config.embed_dim, config.embed_dim)
        self.text_head = nn.Linear(config.embed_dim, config.embed_dim)

    def encode_image(self, images):
        """As in CLIP."""
        return self.visual.head(F.relu(super().encode_image(images)))

    def encode_text(self, tokens):
        """As in CLIP."""
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
    """Crop each image (n, 3, R, R) to a square of 75 to 100 % of its side, and change its light and contrast.

    Brightness moves by up to a quarter of a standard deviation, contrast by up to a quarter. What is at
    the top of a square need not be at the top of the image, so captions that tell a place become less
    true. There are no flips, which would make relations and arrows false, and no shifts of hue, as
    captions tell colours.
    """
    n = len(images)
    side = torch.from_numpy(rng.uniform(0.75, 1, n)).to(images.device)
    u = torch.from_numpy(rng.uniform(-1, 1, (n, 4))).to(images.device)
    images = squares(images, side, u[:, :2])
    brightness = u[:, 2].float() / 4
    contrast = u[:, 3].float() / 4
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * (1 + contrast.view(n, 1, 1, 1)) + mean
    return images + brightness.view(n, 1, 1, 1), captions


def phrases(images, captions, rng):
    """Take one phrase of each caption, by chance: "on the beach, a sun above a cat" has three.

    ConVIRT drew a sentence.
    """
    chosen = []
    for chance, caption in zip(rng.random(len(captions)), captions):
        parts = PHRASE.split(caption)
        chosen.append(parts[int(chance * len(parts))])
    return images, chosen


def trained_encoder(lab, seed):
    """An image encoder that has learned from labels which of the hundred objects a picture shows.

    It stands for ImageNet's weights: its labelled pictures, upright and in all colours but the
    held-out ones, are seen again and again.
    """
    world = World(seed, lab.device)
    torch.manual_seed(seed)
    config = replace(CONFIGS["tiny-RN"], embed_dim=len(OBJECTS))  # an output for each object
    encoder = ModifiedResNet(config).to(memory_format=torch.channels_last)

    def loss(step):
        rng = world.rng(LABELS, step % LABEL_BATCHES)
        scenes = world.scenes(rng, lab.batch(), "single")
        outputs = encoder(normalize(world.draw(scenes)))  # (B, objects)
        labels = world.tensor(scenes["object"][:, 0])
        return F.cross_entropy(outputs, labels)

    def train_function(encoder):
        steps = max(1, round(LABEL_STEPS * lab.budget))
        fit(encoder, loss, steps, text_lr=1)

    return lab.trained(f"convirt-encoder-{LABEL_STEPS}-{seed}", encoder, train_function)


def begin_with(model, encoder):
    """Give a model the weights of a trained encoder, all but those of the projection, which are new."""
    weights = {}
    for name, value in encoder.state_dict().items():
        if not name.startswith("attnpool.c_proj"):
            weights[name] = value
    model.visual.load_state_dict(weights, strict=False)


# how each changed run differs from CLIP's: options of `changed_model`
CHANGES = {
    "CLIP": {},
    "a trained encoder": {"from_encoder": True},
    "non-linear heads": {"kind": NonLinear},
    "fixed scale": {"kind": FixedScale},
    "augmented images": {"change": augment},
    "one phrase of each": {"change": phrases},
}

# ---- Training and measuring ----------------------------------------------------------------------


class Changed(World):
    """The world with change(images, captions, rng) made to each batch, and to nothing that is evaluated."""

    def __init__(self, seed, change, steps=STEPS, device="cpu"):
        super().__init__(seed, device, steps=steps)
        self.change = change

    def batch(self, step, n):
        """As in World, changed."""
        images, captions = super().batch(step, n)
        return self.change(images, captions, self.rng(CHANGE, step))


def changed_model(lab, seed, kind=CLIP, change=unchanged, from_encoder=False):
    """Train as train_tiny.py does by default, but for what is put back -> (model, tokenizer)."""
    steps = max(1, round(STEPS * lab.budget))
    tokenizer, model = untrained(seed, CONFIGS["tiny-RN"], kind)
    if from_encoder:
        begin_with(model, trained_encoder(lab, seed))
    warmup = min(50, max(1, steps // 10))
    world = Changed(seed, change, steps, lab.device)
    model.to(lab.device)
    train(world, model, tokenizer, steps, lab.batch(), warmup=warmup, every=math.ceil(steps / 4))
    return model.cpu().eval(), tokenizer


def trial(lab, seed, name):
    """Train with one of CHANGES -> {measure: (value, chance)}."""
    if name == "CLIP":
        model, tokenizer = lab.world_clip(seed)
    else:
        model, tokenizer = changed_model(lab, seed, **CHANGES[name])
    n = max(20, round(1000 * lab.budget))
    return World(seed).evaluate(model, tokenizer, n)


def measure(lab):
    """-> a row for each change, seed and measure: on held-out pairs of colour and object."""
    rows = []
    for seed in lab.seeds:
        for name in CHANGES:
            print(f"{name}, seed {seed}", flush=True)
            results = lab.remember(["convirt", STEPS, name, seed], lambda: trial(lab, seed, name))
            for key in MEASURES:
                value, chance = results[key]
                rows.append({"change": name, "seed": seed, "measure": key, "value": value, "chance": chance})
    return rows


# ---- Effects and the figure ----------------------------------------------------------------------


def values_of(rows, change, measure):
    """In per cent, one for each seed (seeds,)."""
    return np.array([100 * row["value"] for row in rows if (row["change"], row["measure"]) == (change, measure)])


def mean_and_interval(values):
    """Values (n,) -> their mean, and half of its 95 % interval by Student's t (nan for a single value)."""
    n = len(values)
    if n not in STUDENT:
        return np.mean(values), math.nan
    standard_error = np.std(values, ddof=1) / math.sqrt(n)
    return np.mean(values), STUDENT[n] * standard_error


def draw(rows):
    """A panel for each measure: what each change gains over CLIP with the same seed."""
    figure = Figure(figsize=(8.5, 5.6), layout="constrained")
    axes = figure.subplots(2, 3, sharey=True)
    for axis, key in zip(axes.flat, MEASURES):
        draw_effects(axis, rows, key)
    axes[0, 0].invert_yaxis()  # of all, as they share it
    for axis in axes[1]:
        axis.set_xlabel("points gained over CLIP")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def draw_effects(axis, rows, key):
    """A dot for each seed; the mean over seeds with its interval."""
    plain = values_of(rows, "CLIP", key)
    names = list(CHANGES)[1:]
    for y, name in enumerate(names):
        gains = values_of(rows, name, key) - plain  # (seeds,)
        mean, half = mean_and_interval(gains)
        seed_label = None
        mean_label = None
        if y == 0:
            seed_label = "a seed"
            mean_label = "mean, 95 % over seeds"
        axis.plot(gains, [y - 0.15] * len(gains), "o", color=BLUE, markersize=4, label=seed_label)
        axis.errorbar(mean, y + 0.15, xerr=half, fmt="D", color=ORANGE, markersize=5, capsize=3, label=mean_label)
    axis.axvline(0, color=GREY, label="no change")
    axis.set_yticks(range(len(names)), names)
    # an interval may be far wider than the gains: of two or three seeds
    axis.set_xscale("symlog", linthresh=20)
    axis.set_xlim(-100, 100)
    ticks = [-50, -20, -10, 0, 10, 20, 50]
    axis.set_xticks(ticks, ticks, fontsize=9)
    axis.minorticks_off()
    axis.set_title(f"{key} (CLIP: {plain.mean():.1f} %)", fontsize=10)
