"""The typographic attack: an object under the name of another, under its own, and under none."""
import numpy as np
import torch
from matplotlib.figure import Figure

import tasks
import zeroshot
from clip_minimal import normalize
from common import BLUE, ORANGE, mean_over_seeds


def pictures(n):
    """One of ten objects in each -> labels (n,), words (n,), {what is written: normalised images}."""
    labels, rng = np.arange(n) % 10, np.random.default_rng(0)
    words, nothing = tasks.another(rng, labels), torch.zeros(n, 1, 32, 32)
    objects = {"another's name": tasks.titled(np.random.default_rng(1), labels, words),
               "its own name": tasks.titled(np.random.default_rng(1), labels, labels),
               "nothing": tasks.paint(np.random.default_rng(1), torch.cat([tasks.ATLAS[tasks.TEN_AT[labels]][:, None],
                                      nothing], 1), centre=np.full((n, 1, 2), 24), side=(30, 38))}
    return torch.from_numpy(labels), torch.from_numpy(words), {key: normalize(x) for key, x in objects.items()}


def measure(lab):
    """-> a row for each kind of writing and seed: how often the model says the object, how often the other word."""
    rows, task = [], tasks.TASKS["typographic attack"]
    labels, words, images = pictures(max(100, round(2000 * lab.budget)))
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        weights = zeroshot.zero_shot_classifier(model, tokenizer, task.classes, task.templates)
        for kind, pixels in images.items():
            scores = zeroshot.encode_images(model, pixels) @ weights
            rows.append({"written": kind, "seed": seed, "chance": 0.1, "object": zeroshot.accuracy(scores, labels),
                         "other word": zeroshot.accuracy(scores, words)})
    return rows


def draw(rows):
    """An attack works as far as another's name does more than the object's own, which hides as much of it."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axis, kinds = figure.subplots(), list(dict.fromkeys(row["written"] for row in rows))
    for i, (said, colour) in enumerate((("object", BLUE), ("other word", ORANGE))):
        values = [100 * value for value in mean_over_seeds(rows, said, "written").values()]
        axis.barh(np.arange(len(kinds)) + 0.4 * i - 0.2, values, 0.38, color=colour, label=f"says the {said}")
        for row in rows:
            axis.plot(100 * row[said], kinds.index(row["written"]) + 0.4 * i - 0.2, "k.", markersize=5)
    axis.axvline(10, linestyle=":", color="black", label="chance")
    axis.set_yticks(range(len(kinds)), kinds)
    axis.set(xlabel="of ten objects (%); dots: seeds", ylabel="written across it", xlim=(0, 101))
    axis.legend(fontsize=8, loc="lower right")
    return figure
