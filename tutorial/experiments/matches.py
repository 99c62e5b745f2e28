"""Abstract and Section 3.1.3: how many labelled pictures is zero-shot CLIP worth on the labelled task itself?

The paper's zero-shot CLIP names 76.2 % of ImageNet, as many as a ResNet-50 that was trained on all of its 1.28
million labelled pictures, and under distribution shift it loses less (Figure 13). ImageNet has no more
labels than that, so the curve of learning from labels ends there.

Here the task "objects" stands for ImageNet. The same image encoder as CLIP's is trained on pools of its labelled
pictures. A pool is fixed: its pictures are seen again and again, and the largest is all that there is. CLIP
has seen captioned pictures of the web, and no label of the task. Where the curve of the labels crosses CLIP's
accuracy, joined by lines over the logarithm of the pictures, is what zero-shot is worth. On the right the
same models stand under the shifts of the task.
"""
import math

import numpy as np
from matplotlib.figure import Figure

from common import BLUE, GREY, ORANGE, examples_to_match, zero_shot
from figure13 import POOLS
from lab import number_scores
from tasks import TASKS, examples
from web import STEPS

BATCH = 256  # captioned pictures in each step
CAPTIONS = 30_000  # those among which lab.occurrences counts
TASK = "objects"
PAPER = 76.2  # per cent, of zero-shot CLIP and of the ResNet-50 with 1.28 million labels, both on ImageNet


def tests():
    """The task itself, and its shifts."""
    shifts = [name for name, task in TASKS.items() if task.group == "shifts"]
    return [TASK, *shifts]


def measure(lab):
    """-> a row for each seed, model and test. `pictures` are those of the pool, or the captioned ones that CLIP saw.

    `named` are those of the captioned pictures whose caption names one of the objects, estimated from how
    often the words occur; of a pool it is all pictures.
    """
    rows = []
    for seed in lab.seeds:
        # zero-shot CLIP
        model, tokenizer = lab.clip(seed)
        pictures = BATCH * max(2, round(STEPS * lab.budget))
        share = sum(lab.occurrences(TASK)) / CAPTIONS
        about = {"seed": seed, "model": "CLIP, zero-shot", "pictures": pictures, "named": round(share * pictures)}
        for name in tests():
            images, labels = examples(name, "test", lab.size(name, "test"))
            rows.append(about | {"test": name, "accuracy": zero_shot(model, tokenizer, name, images, labels)})
        # the same image encoder with labels
        for pool in POOLS:
            model = lab.image_model(seed, "supervised", pool=pool)
            about = {"seed": seed, "model": "supervised", "pictures": pool, "named": pool}
            for name in tests():
                images, labels = examples(name, "test", lab.size(name, "test"))
                scores = number_scores(model, name, images)
                rows.append(about | {"test": name, "accuracy": TASKS[name].metric(scores, labels)})
    return rows


# ---- Arithmetic ----------------------------------------------------------------------------------


def per_cent(rows, model, on, pictures=None):
    """Of a model, its mean accuracy on some tests for each seed, in per cent -> (seeds,); with one pool or all."""
    of_seeds = {}
    for row in rows:
        is_wanted = row["model"] == model and row["test"] in on
        if is_wanted and pictures in (None, row["pictures"]):
            of_seeds.setdefault(row["seed"], []).append(100 * row["accuracy"])
    return np.array([np.mean(values) for values in of_seeds.values()])


def pools_of(rows):
    """The sizes of the pools, from the smallest."""
    return sorted({row["pictures"] for row in rows if row["model"] == "supervised"})


def curve(rows, on):
    """The supervised models' accuracies on some tests -> (pools, seeds), in per cent."""
    return np.array([per_cent(rows, "supervised", on, pool) for pool in pools_of(rows)])


def crossings(rows):
    """For each seed, how many labelled pictures it takes to reach CLIP's accuracy; infinite if the pool does not do."""
    found = []
    zero = per_cent(rows, "CLIP, zero-shot", [TASK])  # (seeds,)
    for values, target in zip(curve(rows, [TASK]).T, zero):
        found.append(examples_to_match(pools_of(rows), list(values), target))
    return found


def in_words(needed, pools):
    """What zero-shot CLIP is worth, from the crossings of all seeds, in a line."""
    middle = float(np.median(needed))
    if math.isinf(middle):
        return f"all {pools[-1]:,} labels are not enough to reach zero-shot CLIP"
    if middle < pools[0]:
        return f"fewer than {pools[0]:,} labels reach zero-shot CLIP"
    seeds = ", ".join(f"{value:,.0f}" for value in needed)
    return f"zero-shot CLIP is worth {middle:,.0f} labels (median; seeds: {seeds})"


# ---- Figure --------------------------------------------------------------------------------------


def draw(rows):
    """Left: accuracy on the task by the number of labelled pictures. Right: under shift, by accuracy on the task."""
    figure = Figure(figsize=(8.5, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    draw_task(left, rows)
    draw_shifts(right, rows)
    needed = crossings(rows)
    figure.suptitle(in_words(needed, pools_of(rows)), fontsize=10)
    for axis in (left, right):
        axis.tick_params(labelsize=9)
        axis.set_ylim(0, 101)
    return figure


def draw_task(axis, rows):
    """The curve of the labels until it ends, CLIP's line, and the paper's."""
    pools = pools_of(rows)
    values = curve(rows, [TASK])  # (pools, seeds)
    zero = per_cent(rows, "CLIP, zero-shot", [TASK])  # (seeds,)
    clip = next(row for row in rows if row["model"] == "CLIP, zero-shot")
    # labels
    axis.plot(pools, values.mean(axis=1), "o-", color=BLUE, label="labels (mean; dots: seeds)")
    axis.plot(pools, values, "k.", markersize=4)
    axis.axvline(pools[-1], color=BLUE, linestyle=":", linewidth=1, label="here the labels end")
    # captions: what CLIP saw of anything, and of the objects
    axis.axhline(zero.mean(), color=ORANGE, linewidth=1.5)
    axis.plot(clip["pictures"], zero.mean(), "*", color=ORANGE, markersize=14, label="zero-shot CLIP, at all captions")
    axis.plot(clip["named"], zero.mean(), "*", color=ORANGE, markersize=12, markerfacecolor="white",
              label="... at those of the objects")
    axis.plot([clip["pictures"]] * len(zero), zero, "k.", markersize=4)
    # crossings
    needed = [value for value in crossings(rows) if math.isfinite(value)]
    axis.plot(needed, [zero.mean()] * len(needed), "kx", label="crossings of the seeds")
    # for comparison
    axis.axhline(PAPER, color=GREY, linestyle="--", linewidth=1, label="the paper: both 76.2 % (ImageNet)")
    axis.axhline(100 * TASKS[TASK].chance(), color="black", linestyle=":", label="chance")
    axis.set_xscale("log")
    axis.set_xlabel("pictures, labelled or captioned", fontsize=9)
    axis.set_ylabel("accuracy on the labelled task (%)", fontsize=9)
    axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, columnspacing=1)


def draw_shifts(axis, rows):
    """Each pool and CLIP at its accuracy on the task and its mean accuracy under the shifts."""
    shifts = tests()[1:]
    # supervised models
    x = curve(rows, [TASK])  # (pools, seeds)
    y = curve(rows, shifts)
    axis.plot(x.mean(axis=1), y.mean(axis=1), "o-", color=BLUE, label="labels, each pool")
    axis.plot(x, y, "k.", markersize=4)
    # CLIP
    x = per_cent(rows, "CLIP, zero-shot", [TASK])  # (seeds,)
    y = per_cent(rows, "CLIP, zero-shot", shifts)
    axis.plot(x.mean(), y.mean(), "*", color=ORANGE, markersize=14, label="zero-shot CLIP")
    axis.plot(x, y, "k.", markersize=4, label="seeds")
    # for comparison
    axis.plot([0, 100], [0, 100], "--", color="black", linewidth=1, label="nothing lost")
    axis.set_xlim(0, 101)
    axis.set_xlabel("accuracy on the labelled task (%)", fontsize=9)
    axis.set_ylabel(f"mean accuracy on {len(shifts)} shifts of it (%)", fontsize=9)
    axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14))
