"""Limits: counting further than captions do, and which of two captions is right, one with something swapped.

The paper (Section 6) finds CLIP weak at counting and at other abstract tasks, and gives no numbers for the
order of words. Here each scene has a right caption and six wrong ones, with another object or colour, or
with the words of the right one in another order; and things are counted up to eight. Captions of
train_tiny.py count to four, those of the web to six.
"""
import numpy as np
from matplotlib.figure import Figure

import zeroshot
from clip_minimal import normalize
from common import BLUE, ORANGE, mean_over_seeds
from tasks import TASKS, examples
from train_tiny import COLOURS, OBJECTS, RELATIONS, World, article

# ---- Captions, right and wrong -------------------------------------------------------------------


def captions(objects, colours, relations):
    """Numbers of objects and colours (n, 2) and relations (n,) -> n sentences, "a red sun above a blue cat"."""
    names = list(OBJECTS)
    shades = list(COLOURS)
    places = list(RELATIONS)
    sentences = []
    for two, theirs, relation in zip(objects, colours, relations):
        first = article(f"{shades[theirs[0]]} {names[two[0]]}")
        second = article(f"{shades[theirs[1]]} {names[two[1]]}")
        sentences.append(f"{first} {places[relation]} {second}")
    return sentences


def scenes(n):
    """Scenes of two objects in two colours -> normalised images, right captions, {what is swapped: wrong ones}."""
    world = World()
    drawn = world.scenes(world.rng(4), 2 * n, "related")
    # those of two colours, as no swap of colours would show otherwise
    differ = drawn["colour"][:, 0] != drawn["colour"][:, 1]
    kept = np.flatnonzero(differ)[:n]
    drawn = {key: value[kept] for key, value in drawn.items()}
    objects = drawn["object"][:, :2]  # (n, 2)
    colours = drawn["colour"][:, :2]
    relations = drawn["relation"]  # (n,)
    # the first object, or its colour, is another one
    another = objects.copy()
    another[:, 0] = (another[:, 0] + 1) % len(OBJECTS)
    recoloured = colours.copy()
    recoloured[:, 0] = (recoloured[:, 0] + 1) % len(COLOURS)
    # relations are left, right, above, below
    turned = (relations + 2) % 4
    opposite = relations ^ 1
    wrong = {
        "another object": captions(another, colours, relations),
        "another colour": captions(objects, recoloured, relations),
        "above for beside": captions(objects, colours, turned),
        "colours swapped": captions(objects, colours[:, ::-1], relations),
        "left for right, above for below": captions(objects, colours, opposite),
        "things swapped": captions(objects[:, ::-1], colours[:, ::-1], relations),
    }
    right = captions(objects, colours, relations)
    return normalize(world.draw(drawn)), right, wrong


# ---- Measured ------------------------------------------------------------------------------------


def measure(lab):
    """-> a row for each seed and kind of wrong caption, and for each true number of things: the share right."""
    n = max(50, round(1000 * lab.budget))
    images, right, wrong = scenes(n)
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        rows += measure_captions(model, tokenizer, seed, images, right, wrong)
        rows += measure_counts(lab, model, tokenizer, seed)
    return rows


def measure_captions(model, tokenizer, seed, images, right, wrong):
    """-> a row for each kind of wrong caption: how often the right one fits the image better."""
    features = zeroshot.encode_images(model, images)  # (n, E)

    def fit(texts):
        return (features * zeroshot.encode_texts(model, tokenizer, texts)).sum(dim=1)  # (n,)

    of_right = fit(right)
    rows = []
    for kind, texts in wrong.items():
        better = of_right > fit(texts)
        share = better.float().mean().item()
        rows.append({"limit": "caption", "of": kind, "seed": seed, "chance": 0.5, "right": share})
    return rows


def measure_counts(lab, model, tokenizer, seed):
    """-> a row for each number of things: how often the model tells it."""
    task = TASKS["counts"]
    images, labels = examples("counts", "test", lab.size("counts", "test"))
    weights = zeroshot.zero_shot_classifier(model, tokenizer, task.classes, task.templates)  # (E, N)
    told = (zeroshot.encode_images(model, images) @ weights).argmax(dim=1)  # (n,)
    rows = []
    for i, number in enumerate(task.classes):
        hits = told[labels == i] == i
        share = hits.float().mean().item()
        rows.append({"limit": "count", "of": number, "seed": seed, "chance": 1 / len(task.classes), "right": share})
    return rows


# ---- Drawn ---------------------------------------------------------------------------------------


def draw(rows):
    """Above: the right caption or a wrong one. Below: how often the number is told."""
    figure = Figure(figsize=(8.5, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    draw_limit(upper, rows, "caption", BLUE)
    upper.set_title("the right caption, and one in which something is wrong (paper: no numbers)", fontsize=10)
    lower.set_title("the number of things; the web's captions end at six (paper: counting is weak)", fontsize=10)
    draw_limit(lower, rows, "count", ORANGE)
    return figure


def draw_limit(axis, rows, limit, colour):
    """Bars of the means over seeds, a dot for each seed, and chance."""
    some = [row for row in rows if row["limit"] == limit]
    means = mean_over_seeds(some, "right", "of")
    names = list(means)
    shares = 100 * np.array(list(means.values()))
    axis.barh(range(len(names)), shares, color=colour)
    for row in some:
        axis.plot(100 * row["right"], names.index(row["of"]), "k.", markersize=5)
    axis.axvline(100 * some[0]["chance"], linestyle=":", color="black", label="chance")
    axis.set_yticks(range(len(names)), names, fontsize=9)
    axis.set_xlabel("right (%); dots: seeds", fontsize=9)
    axis.set_xlim(0, 101)
    axis.invert_yaxis()
    axis.legend(fontsize=9)
