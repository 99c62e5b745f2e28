"""The typographic attack: an object under the name of another, and a model that reads beside one that does not.

The paper shows that CLIP reads (Section 3.1.5, Appendix E.2), and measures no attack; that a name written
on an object changes the answer is known from Goh et al. 2021. Here one of ten objects is shown with another's
name across it, with its own, or with nothing. The model of the web has seen written words, and captions
that tell them; the model of the pictogram world has seen neither. Whether a model can read is seen when a
word stands alone, and it is asked for the word instead of the thing.
"""
import numpy as np
import torch
from matplotlib.figure import Figure

import tasks
import zeroshot
from clip_minimal import normalize
from common import BLUE, GREEN, ORANGE
from tasks import ATLAS, TEN, TEN_AT
from train_tiny import render

MODELS = ["the web's, which reads", "the world's, which does not"]
ALONE = "its name alone"  # what is written where there is no object
# what a model may say, and its colour; the last one when it is asked for the word
SAID = {"says the true name": BLUE, "says the other name": ORANGE, "reads the word": GREEN}


def pictures(n):
    """One of ten objects in each -> labels (n,), words (n,), {what is written: normalised images}."""
    labels = np.arange(n) % len(TEN)
    words = tasks.another(np.random.default_rng(0), labels)
    middle = np.full((n, 1, 2), 24)
    # without a word: the same objects under an empty mask, in other random colours
    masks = ATLAS[TEN_AT[labels]][:, None]  # (n, 1, 32, 32)
    masks = torch.cat([masks, torch.zeros(n, 1, 32, 32)], dim=1)
    # a word without an object
    word_masks = render(TEN, font=tasks.SERIF)[labels][:, None]  # (n, 1, 32, 32)
    images = {
        "nothing": tasks.paint(np.random.default_rng(1), masks, centre=middle, side=(30, 38)),
        "its own name": tasks.titled(np.random.default_rng(1), labels, labels),
        "another's name": tasks.titled(np.random.default_rng(1), labels, words),
        ALONE: tasks.paint(np.random.default_rng(2), word_masks, centre=middle, side=(42, 48)),
    }
    images = {kind: normalize(pixels) for kind, pixels in images.items()}
    return torch.from_numpy(labels), torch.from_numpy(words), images


def measure(lab):
    """-> a row for each seed, model and kind of writing: how often the model says the object, how often the other name.

    The other name is the one of "another's name", also where it is not written: what is said of it there is
    chance. "reads the word" is how often it is right when a word stands alone and it is asked for the word.
    """
    n = max(100, round(2000 * lab.budget))
    labels, words, images = pictures(n)
    rows = []
    for seed in lab.seeds:
        models = [lab.clip(seed), lab.world_clip(seed)]
        for name, (model, tokenizer) in zip(MODELS, models):
            for kind, pixels in images.items():
                features = zeroshot.encode_images(model, pixels)
                scores = features @ classifier(model, tokenizer, "typographic attack")
                is_read = ""
                if kind == ALONE:
                    word_scores = features @ classifier(model, tokenizer, "written words", ['the word "{}"'])
                    is_read = zeroshot.accuracy(word_scores, labels)
                rows.append({
                    "model": name,
                    "written": kind,
                    "seed": seed,
                    "chance": 1 / len(TEN),
                    "says the true name": zeroshot.accuracy(scores, labels),
                    "says the other name": zeroshot.accuracy(scores, words),
                    "reads the word": is_read,
                })
    return rows


def classifier(model, tokenizer, name, templates=None):
    """The weights (E, 10) of the zero-shot classifier for a task's ten classes, in its own sentences or in others."""
    task = tasks.TASKS[name]
    return zeroshot.zero_shot_classifier(model, tokenizer, task.classes, templates or task.templates)


def draw(rows):
    """Pictures of the four kinds above; below, a panel for each model: what it says of each kind."""
    figure = Figure(figsize=(8.5, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 12, height_ratios=[0.7, 2])
    _, _, images = pictures(100)
    for i, (kind, pixels) in enumerate(images.items()):
        axis = figure.add_subplot(grid[0, 3 * i:3 * i + 3])
        draw_pictures(axis, kind, pixels)
    for i, name in enumerate(MODELS):
        axis = figure.add_subplot(grid[1, 6 * i:6 * i + 6])
        draw_model(axis, [row for row in rows if row["model"] == name])
        axis.set_title(name, fontsize=10)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    return figure


def draw_pictures(axis, kind, images):
    """Three pictures side by side."""
    three = zeroshot.levels(images[:3])  # (3, 48, 48, 3)
    axis.imshow(np.hstack(list(three)), interpolation="nearest")
    axis.axis("off")
    axis.set_title(kind if kind == ALONE else f"{kind} across it", fontsize=10)


def draw_model(axis, rows):
    """Bars of how often the true name and the other's name are said and the word is read, a dot for each seed."""
    kinds = list(dict.fromkeys(row["written"] for row in rows))
    for i, (said, colour) in enumerate(SAID.items()):
        for j, kind in enumerate(kinds):
            values = [100 * row[said] for row in rows if row["written"] == kind and row[said] != ""]
            if not values:
                continue
            at = j + 0.28 * (i - 1)
            bar = axis.bar(at, np.mean(values), 0.26, color=colour)
            axis.plot([at] * len(values), values, "k.", markersize=5)
        bar.set_label(said)
    axis.axhline(100 * rows[0]["chance"], linestyle=":", color="black", label="chance")
    labels = [kind.replace(" name", "\nname") for kind in kinds]
    axis.set_xticks(range(len(kinds)), labels, fontsize=9)
    axis.set_ylabel("of ten names (%); dots: seeds", fontsize=9)
    axis.set_ylim(0, 101)
