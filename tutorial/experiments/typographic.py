"""The typographic attack: an object under the name of another, and a model that reads beside one that does not.

The paper shows that CLIP reads (Section 3.1.5, Appendix E.2), and measures no attack; that a name written
on an object changes the answer is known from Goh et al. 2021. Here one of ten objects is shown with another's
name across it, with its own, or with nothing. The model of the web has seen written words, and captions
that tell them; the model of the pictogram world has seen neither.
"""
import numpy as np
import torch
from matplotlib.figure import Figure

import tasks
import zeroshot
from clip_minimal import normalize
from common import BLUE, ORANGE
from tasks import ATLAS, TEN, TEN_AT

MODELS = ["the web's, which reads", "the world's, which does not"]
SAID = {"true name": BLUE, "other name": ORANGE}  # what a model may say, and its colour


def pictures(n):
    """One of ten objects in each -> labels (n,), words (n,), {what is written: normalised images}."""
    labels = np.arange(n) % len(TEN)
    words = tasks.another(np.random.default_rng(0), labels)
    # without a word: the same objects under an empty mask, in other random colours
    masks = ATLAS[TEN_AT[labels]][:, None]  # (n, 1, 32, 32)
    masks = torch.cat([masks, torch.zeros(n, 1, 32, 32)], dim=1)
    middle = np.full((n, 1, 2), 24)
    images = {
        "nothing": tasks.paint(np.random.default_rng(1), masks, centre=middle, side=(30, 38)),
        "its own name": tasks.titled(np.random.default_rng(1), labels, labels),
        "another's name": tasks.titled(np.random.default_rng(1), labels, words),
    }
    images = {kind: normalize(pixels) for kind, pixels in images.items()}
    return torch.from_numpy(labels), torch.from_numpy(words), images


def measure(lab):
    """-> a row for each seed, model and kind of writing: how often the model says the object, how often the word.

    The word is the one of "another's name", also where it is not written: what is said of it there is chance.
    """
    n = max(100, round(2000 * lab.budget))
    labels, words, images = pictures(n)
    rows = []
    for seed in lab.seeds:
        models = [lab.clip(seed), lab.world_clip(seed)]
        for name, (model, tokenizer) in zip(MODELS, models):
            for kind, pixels in images.items():
                scores = name_scores(model, tokenizer, pixels)
                rows.append({
                    "model": name,
                    "written": kind,
                    "seed": seed,
                    "chance": 1 / len(TEN),
                    "true name": zeroshot.accuracy(scores, labels),
                    "other name": zeroshot.accuracy(scores, words),
                })
    return rows


def name_scores(model, tokenizer, images):
    """Zero-shot scores (n, 10) for the ten objects."""
    task = tasks.TASKS["typographic attack"]
    weights = zeroshot.zero_shot_classifier(model, tokenizer, task.classes, task.templates)  # (E, 10)
    return zeroshot.encode_images(model, images) @ weights


def draw(rows):
    """Pictures of the three kinds above; below, a panel for each model: what it says of each kind."""
    figure = Figure(figsize=(8.5, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 6, height_ratios=[0.7, 2])
    _, _, images = pictures(100)
    for i, (kind, pixels) in enumerate(images.items()):
        axis = figure.add_subplot(grid[0, 2 * i:2 * i + 2])
        draw_pictures(axis, kind, pixels)
    for i, name in enumerate(MODELS):
        axis = figure.add_subplot(grid[1, 3 * i:3 * i + 3])
        draw_model(axis, [row for row in rows if row["model"] == name])
        axis.set_title(name, fontsize=10)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def draw_pictures(axis, kind, images):
    """Three pictures side by side."""
    three = zeroshot.levels(images[:3])  # (3, 48, 48, 3)
    axis.imshow(np.hstack(list(three)), interpolation="nearest")
    axis.axis("off")
    axis.set_title(f"{kind} across it", fontsize=10)


def draw_model(axis, rows):
    """Bars of how often the true name and the other's name are said, a dot for each seed."""
    kinds = list(dict.fromkeys(row["written"] for row in rows))
    for i, (said, colour) in enumerate(SAID.items()):
        for j, kind in enumerate(kinds):
            values = [100 * row[said] for row in rows if row["written"] == kind]
            at = j + 0.4 * i - 0.2
            bar = axis.bar(at, np.mean(values), 0.38, color=colour)
            axis.plot([at] * len(values), values, "k.", markersize=5)
        bar.set_label(f"says the {said}")
    axis.axhline(100 * rows[0]["chance"], linestyle=":", color="black", label="chance")
    axis.set_xticks(range(len(kinds)), kinds, fontsize=9)
    axis.set_ylabel("of ten names (%); dots: seeds", fontsize=9)
    axis.set_ylim(0, 101)
