"""From a number to text (Sections 1 and 2.1): the same encoder, taught a class's number or a caption.

Whoever learns numbers from 0 to 99 can name those hundred things and nothing else. Who learns captions makes a
classifier of any words. In the paper both are equally good on the labelled task: zero-shot CLIP and the
ResNet-50 trained on ImageNet's labels name 76.2 % of its pictures.

Here the task "objects" stands for ImageNet, and the encoder that learns numbers gets a fixed pool of its labelled
pictures, as large as it takes to be CLIP's equal there (matches.py has the curve). CLIP learns from the
captions of the web. Beside these answers, which need no label of a task, stand linear probes on the features
of both, which need all of them.
"""
import math

import numpy as np
from matplotlib.figure import Figure

from common import BLUE, GREY, ORANGE, mean_over_seeds, scores_on_task
from lab import number_scores
from tasks import TASKS, examples

LABELLED = "objects"  # the task whose labels the encoder of numbers has learned
PAPER = 76.2  # per cent of ImageNet, both ways
SOME = [LABELLED, "ten objects", "unseen objects", "weather", "chess pieces", "card suits", "arrows", "polygons",
        "scenery", "textures", "satellite", "flags", "colours", "counts", "relations", "two objects", "digits",
        "currencies"]  # from each group
# ways to answer; colour, marker, its size and whether it is filled
WAYS = {"text, zero-shot": (BLUE, "*", 11, BLUE), "text, probe": (BLUE, "o", 6, "white"),
        "number, as it is": (ORANGE, "D", 6, ORANGE), "number, probe": (ORANGE, "s", 6, "white")}


def measure(lab):
    """-> a row for each seed and task, with its metric for each way; nan where a class is no number of the hundred."""
    rows = []
    for seed in lab.seeds:
        numbers = lab.image_model(seed, "supervised")
        for name, task in TASKS.items():
            if name not in SOME:
                continue
            of_text = scores_on_task(lab, seed, name, kind="CLIP")
            of_number = scores_on_task(lab, seed, name, kind="supervised")
            rows.append({"task": name, "group": task.group, "seed": seed, "chance": task.chance(),
                         "text, zero-shot": of_text["zero-shot"], "text, probe": of_text["probe"],
                         "number, as it is": answer(lab, numbers, name), "number, probe": of_number["probe"]})
    return rows


def answer(lab, model, name):
    """A task's metric for the model's own numbers; nan if they do not name its classes."""
    images, labels = examples(name, "test", lab.size(name, "test"))
    scores = number_scores(model, name, images)
    if scores is None:
        return math.nan
    return TASKS[name].metric(scores, labels)


def draw(rows):
    """A line for each task: filled markers need no label of it, hollow ones all; dots are seeds."""
    figure = Figure(figsize=(8.5, 8.5), layout="constrained")
    axis = figure.subplots()
    chances = mean_over_seeds(rows, "chance")
    for height, (name, chance) in enumerate(chances.items()):
        of_task = [row for row in rows if row["task"] == name]
        draw_task(axis, of_task, height)
        axis.plot([100 * chance] * 2, [height - 0.4, height + 0.4], ":", color="black")
        if name == LABELLED:
            axis.plot([PAPER] * 2, [height - 0.45, height + 0.45], "-", color=GREY, linewidth=2)
    # what the lines and markers are
    for way, (colour, marker, size, filling) in WAYS.items():
        axis.plot([], [], marker, color=colour, markersize=size, markerfacecolor=filling, label=way)
    axis.plot([], [], "-", color=GREY, linewidth=2, label="the paper on ImageNet: 76.2 % both")
    axis.plot([], [], ":", color="black", label="chance")
    figure.legend(fontsize=9, loc="outside lower center", ncols=3)
    # axes
    groups = {row["task"]: row["group"] for row in rows}
    ticks = [f"{name} ({groups[name]})" for name in chances]
    axis.set_yticks(range(len(ticks)), ticks, fontsize=9)
    axis.invert_yaxis()
    axis.set_xlim(0, 101)
    axis.set_xlabel("the task's metric (%); markers: means, dots: seeds", fontsize=9)
    axis.set_title(in_words(rows), fontsize=10)
    axis.grid(axis="y", alpha=0.3)
    return figure


def draw_task(axis, rows, height):
    """The four ways on one task, one below the other, around this height."""
    for i, (way, (colour, marker, size, filling)) in enumerate(WAYS.items()):
        at = height + 0.15 * (i - 1.5)
        values = [100 * row[way] for row in rows]
        axis.plot([min(values), max(values)], [at, at], color=colour, linewidth=1)
        axis.plot(np.mean(values), at, marker, color=colour, markersize=size, markerfacecolor=filling)
        axis.plot(values, [at] * len(values), ".", color="black", markersize=3)


def in_words(rows):
    """How many tasks each way answers without their labels, and how good both are on the labelled task."""
    numbers = mean_over_seeds(rows, "number, as it is")
    text = mean_over_seeds(rows, "text, zero-shot")
    answered = [name for name, value in numbers.items() if not math.isnan(value)]
    line = f"without labels of a task: text answers {len(text)} of {len(text)}, numbers {len(answered)}"
    if LABELLED in text:
        line += f"\n{LABELLED}: text {100 * text[LABELLED]:.1f} %, numbers {100 * numbers[LABELLED]:.1f} %"
    return line
