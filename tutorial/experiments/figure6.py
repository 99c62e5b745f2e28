"""Figure 6: zero-shot against linear probes on 1 to 16 examples a class, on CLIP's features and on others'.

The paper's zero-shot matches a 4-shot probe on the same features, and nearly the best 16-shot probe on
those of others (Section 3.1.5). Our others are tiny-RN's image encoder, trained without text on a fixed pool
of pictures: on the labels of a hundred objects as the paper's ResNet-50 on ImageNet, on those of 451 things
in ten times as many pictures as BiT-M on ImageNet-21k, and on no labels as SimCLRv2.
"""
import math

import numpy as np
from matplotlib.figure import Figure

from common import BLUE, GREEN, GREY, ORANGE, SHOTS, interval, mean_over_seeds, of_seeds, scores_on_task
from lab import OUTPUTS
from tasks import TASKS

LOOKS = {  # colour, marker and name of each model
    "CLIP": (BLUE, "o", "CLIP"),
    "supervised": (ORANGE, "s", "supervised, 100 objects"),
    "more kinds": (GREEN, "^", "supervised, 451 things"),
    "SimCLR": ("black", "D", "SimCLR"),
}


def measure(lab, models=("CLIP", *OUTPUTS)):
    """-> a row for each model, seed and task. "own accuracy" is that on new pictures like a pool's.

    Left out are tasks whose pictures show several classes, as VOC is in the paper's Figure 7, and, to
    save time, those of fifty classes and more.
    """
    names = []
    for name, task in TASKS.items():
        if task.size("train") and task.shown == 1 and len(task.classes) < 50:
            names.append(name)
    rows = []
    for model in models:
        for seed in lab.seeds:
            own = math.nan
            if model in OUTPUTS:
                own = lab.own_accuracy(seed, model)
            for name in names:
                chance = TASKS[name].chance()
                row = {"model": model, "task": name, "seed": seed, "chance": chance, "own accuracy": own}
                scores = scores_on_task(lab, seed, name, SHOTS, model)
                rows.append(row | scores)
    return rows


def draw(rows):
    """The mean over tasks at each number of examples, zero-shot as a star at none."""
    figure = Figure(figsize=(8.5, 5.6), layout="constrained")
    axis = figure.subplots()
    # the probes of each model
    models = list(dict.fromkeys(row["model"] for row in rows))
    for i, model in enumerate(models):
        of_model = [row for row in rows if row["model"] == model]
        draw_probes(axis, of_model, LOOKS[model], shift=0.06 * i)
    # zero-shot and chance
    of_clip = [row for row in rows if row["model"] == "CLIP"]
    zero = mean_over_tasks(of_clip, "zero-shot")
    axis.plot(0, zero, "*", color=BLUE, markersize=18, label="zero-shot CLIP")
    axis.axhline(zero, color=BLUE, linewidth=0.8, linestyle="--")
    chance = 100 * np.mean([row["chance"] for row in rows])
    axis.axhline(chance, color=GREY, linestyle=":", label="chance")
    # axes
    tasks = len({row["task"] for row in rows})
    axis.set_title(f"{tasks} tasks; bars: 95 % over tasks and seeds; dots: seeds", fontsize=10)
    axis.set_xticks(range(len(SHOTS) + 2), [0, *SHOTS, "all"])
    axis.set(xlabel="labelled training examples per class", ylabel="mean over tasks (%)", ylim=(0, 100))
    axis.legend(loc="lower right", fontsize=9)
    return figure


def draw_probes(axis, rows, look, shift):
    """Draw the probes of one model, each at its number of examples; the hollow marker is the one on all.

    They are moved to the right by `shift`, so that the bars of several models stand side by side.
    """
    colour, marker, label = look
    seeds = len({row["seed"] for row in rows})
    plural = "s" if seeds > 1 else ""
    # few examples
    values = np.array([of_seeds(rows, str(k)) for k in SHOTS])  # (shots, tasks, seeds)
    mean = 100 * values.mean(axis=(1, 2))  # (shots,)
    intervals = 100 * np.array([interval(np.mean, of_shots) for of_shots in values])  # (shots, 2)
    low, high = intervals.T
    at = np.arange(1, len(SHOTS) + 1) + shift
    # a dot for each seed
    axis.plot(at, 100 * values.mean(axis=1), ".", color=colour, markersize=3)
    bars = np.stack([mean - low, high - mean]).clip(min=0)  # below 0 by rounding, where all is alike
    axis.errorbar(at, mean, bars, fmt=f"{marker}-", color=colour, elinewidth=0.8,
                  label=f"probe on features of {label} ({seeds} seed{plural})")
    # all examples
    full = mean_over_tasks(rows, "probe")
    axis.plot(len(SHOTS) + 1 + shift, full, marker, color=colour, markerfacecolor="white")


def mean_over_tasks(rows, value):
    """The mean over seeds and tasks, in per cent."""
    of_tasks = mean_over_seeds(rows, value)
    return 100 * np.mean(list(of_tasks.values()))
