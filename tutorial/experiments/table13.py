"""Table 13: retrieval both ways, captions as they are and with a prefix."""
import numpy as np
import torch
from matplotlib.figure import Figure

import zeroshot
from clip_minimal import normalize
from common import BLUE, GREY, ORANGE, mean_over_seeds
from train_tiny import EVERYTHING, World

PREFIXES = {"none": "", "a picture of": "a picture of ", "a photo of": "a photo of "}


def measure(lab):
    """-> a row for each prefix, way and k, and seed: recall among 1,000 held-out scenes."""
    rows, world = [], World()
    n = max(50, round(1000 * lab.budget))
    scenes = world.scenes(world.rng(4), n, held_out=True)
    images, captions = normalize(world.draw(scenes)), world.captions(scenes, world.rng(5), EVERYTHING)
    captions = [text.removeprefix("a picture of ").removeprefix("a drawing of ") for text in captions]
    fits = torch.tensor([[a == b for b in captions] for a in captions])
    for seed in lab.seeds:
        model, tokenizer = lab.world_clip(seed)
        features = zeroshot.encode_images(model, images)
        for name, prefix in PREFIXES.items():
            texts = zeroshot.encode_texts(model, tokenizer, [prefix + text for text in captions], truncate=True)
            rows += [{"prefix": name, "recall": key, "seed": seed, "value": value, "chance": chance}
                     for key, (value, chance) in zeroshot.retrieval(features, texts, fits).items()]
    return rows


def draw(rows):
    """Bars for each recall, a colour for each prefix."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axis, recalls = figure.subplots(), list(dict.fromkeys(row["recall"] for row in rows))
    for i, (name, colour) in enumerate(zip(PREFIXES, (GREY, BLUE, ORANGE))):
        some = [row for row in rows if row["prefix"] == name]
        values, at = mean_over_seeds(some, "value", "recall"), np.arange(len(recalls)) + 0.27 * (i - 1)
        axis.bar(at, [100 * value for value in values.values()], 0.25, color=colour, label=f"prefix: {name}")
        for row in some:
            axis.plot(at[recalls.index(row["recall"])], 100 * row["value"], "k.", markersize=4)
    chance = mean_over_seeds(rows, "chance", "recall").values()
    at = np.arange(len(recalls))
    axis.hlines([100 * value for value in chance], at - 0.4, at + 0.4, color="black", label="chance")
    axis.set_xticks(range(len(recalls)), [name.replace(" R@", "\nR@") for name in recalls])
    axis.set(ylabel="recall (%); dots: seeds", ylim=(0, 101))
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
