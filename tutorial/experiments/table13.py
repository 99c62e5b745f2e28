"""Table 13: retrieval both ways, with captions as they are and with a prefix.

The paper (Appendix E.1, Table 13) searches the captions of Flickr30k and COCO for an image, and the images for
a caption. "a photo of" before each caption improves recall at 1 by 1 to 2 points. Here a thousand held-out
scenes of the pictogram world are searched, with no prefix, with one that captions of training have, and with
one that they have not.
"""
import numpy as np
import torch
from matplotlib.figure import Figure

import zeroshot
from clip_minimal import normalize
from common import BLUE, GREY, ORANGE
from train_tiny import BEGINNINGS, EVERYTHING, World

PREFIXES = {"none": "", "a picture of": "a picture of ", "a photo of": "a photo of "}
COLOURS = dict(zip(PREFIXES, (GREY, BLUE, ORANGE)))


def scenes(n):
    """Held-out scenes -> normalised images, captions without a prefix, which belong together (n, n)."""
    world = World()
    drawn = world.scenes(world.rng(4), n, held_out=True)
    captions = []
    for text in world.captions(drawn, world.rng(5), EVERYTHING):
        for beginning in BEGINNINGS:
            text = text.removeprefix(beginning)
        captions.append(text)
    # equal captions are both right
    relevant = torch.tensor([[a == b for b in captions] for a in captions])
    return normalize(world.draw(drawn)), captions, relevant


def measure(lab):
    """-> a row for each seed, prefix, way and k: recall among a thousand scenes."""
    n = max(50, round(1000 * lab.budget))
    images, captions, relevant = scenes(n)
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.world_clip(seed)
        features = zeroshot.encode_images(model, images)
        for name, prefix in PREFIXES.items():
            texts = [prefix + text for text in captions]
            text_features = zeroshot.encode_texts(model, tokenizer, texts, truncate=True)
            recalls = zeroshot.retrieval(features, text_features, relevant)
            for key, (value, chance) in recalls.items():
                rows.append({"prefix": name, "recall": key, "seed": seed, "value": value, "chance": chance})
    return rows


def draw(rows):
    """Bars for each recall, a colour for each prefix, a dot for each seed."""
    figure = Figure(figsize=(8.5, 4.2), layout="constrained")
    axis = figure.subplots()
    recalls = list(dict.fromkeys(row["recall"] for row in rows))
    for i, prefix in enumerate(PREFIXES):
        for j, recall in enumerate(recalls):
            values = [100 * value for value in values_of(rows, prefix, recall)]
            at = j + 0.27 * (i - 1)
            bar = axis.bar(at, np.mean(values), 0.25, color=COLOURS[prefix])
            axis.plot([at] * len(values), values, "k.", markersize=4)
        bar.set_label(f"prefix: {prefix}")
    for row in rows:
        at = recalls.index(row["recall"])
        line = axis.hlines(100 * row["chance"], at - 0.4, at + 0.4, color="black", linewidth=1)
    line.set_label("chance")
    axis.set_xticks(range(len(recalls)), [name.replace(" R@", "\nR@") for name in recalls], fontsize=9)
    axis.set_ylabel("recall (%); dots: seeds", fontsize=9)
    axis.set_ylim(0, 101)
    axis.set_title('"a photo of" gains ' + gain_of_prefix(rows) + " at R@1; paper: 1 to 2 points", fontsize=10)
    figure.legend(loc="outside lower center", ncols=4, fontsize=9)
    return figure


def values_of(rows, prefix, recall):
    """The recalls of a kind with a prefix, by seed."""
    return [row["value"] for row in rows if row["prefix"] == prefix and row["recall"] == recall]


def gain_of_prefix(rows):
    """What "a photo of" gains over no prefix in recall at 1, both ways on average, as "+1.2 points"."""
    both = ["image to text R@1", "text to image R@1"]
    with_prefix = [values_of(rows, "a photo of", recall) for recall in both]
    without = [values_of(rows, "none", recall) for recall in both]
    gain = 100 * (np.mean(with_prefix) - np.mean(without))
    return f"{gain:+.1f} points"
