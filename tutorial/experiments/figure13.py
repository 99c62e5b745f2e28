"""Figures 13 and 14: distribution shifts, zero-shot against a probe fitted to unshifted objects, and class names."""
import numpy as np
import torch
from matplotlib.figure import Figure

import zeroshot
from common import BLUE, GREEN, GREY, ORANGE, interval, mean_over_seeds, splits, zero_shot
from tasks import TASKS, examples

OBJECTS = TASKS["objects"]
SHIFTS = [name for name, task in TASKS.items() if task.group == "shifts"]
SOME = [name for name, task in TASKS.items() if set(task.classes) < set(OBJECTS.classes) and task.shown == 1
        and task.group != "writing"]  # tasks of some of the hundred objects, "another font" among them
TICKS = [0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99]


def object_probe(lab, model, seed):
    """The probe on labels of unshifted objects, features before the projection -> weights (D, 100), bias (100,)."""
    def measure():
        train, valid, _ = splits(lab, model, "objects")
        return [part.tolist() for part in zeroshot.linear_probe(*train, *valid)[:2]]

    return [torch.tensor(part).double() for part in lab.remember(["object probe", seed], measure)]


def measure(lab):
    """-> a row for each task and seed: "objects", which is no shift, its shifts, and tasks of some of its classes.
    Zero-shot and the probe choose among the task's own classes; "all names" is zero-shot among the hundred, as is the
    static classifier of Figure 14."""
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        W, b = object_probe(lab, model, seed)
        weights = zeroshot.zero_shot_classifier(model, tokenizer, OBJECTS.classes, OBJECTS.templates)  # (E, 100)
        for name in dict.fromkeys(["objects", *SHIFTS, *SOME]):
            task, (images, labels) = TASKS[name], examples(name, "test", lab.size(name, "test", 1))
            at = torch.tensor([OBJECTS.classes.index(label) for label in task.classes])  # (N,)
            scores = zeroshot.encode_penultimate(model, images).double() @ W[:, at] + b[at]  # (B, N)
            rows.append({"task": name, "seed": seed, "chance": 1 / len(at),
                         "zero-shot": zero_shot(model, tokenizer, name, images, labels),
                         "all names": task.metric(zeroshot.encode_images(model, images) @ weights, at[labels]),
                         "probe": task.metric(scores, labels)})
    return rows


def logit_axes(axis):
    """Axes on which equal steps are equal steps of the log of the odds, as in Figure 13; shares as per cent."""
    axis.plot([0.002, 0.998], [0.002, 0.998], "k--", linewidth=1, label="nothing lost")
    axis.set(xscale="logit", yscale="logit", xlabel="accuracy on objects (%)")
    for side in (axis.xaxis, axis.yaxis):
        side.set_ticks(TICKS, [f"{100 * tick:.0f}" for tick in TICKS], fontsize=8)
        side.set_ticks([], minor=True)


def differences(axis, rows, names, first, second, others, title):
    """Bars of the points that the first way is ahead of the second on each task, dots for seeds, the best on top."""
    gains = {name: [100 * (row[first] - row[second]) for row in rows if row["task"] == name] for name in names}
    names = sorted(names, key=lambda name: np.mean(gains[name]))
    for y, name in enumerate(names):
        mean = np.mean(gains[name])
        axis.barh(y, mean, color=GREEN if name == "objects" else BLUE if mean > 0 else ORANGE)
        axis.plot(gains[name], [y] * len(gains[name]), "k.", markersize=4)
    low, high = interval(np.mean, [np.mean(gains[name]) for name in names if name != "objects"])
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_xlabel(f"{title}\nmean 95 % over {others} {low:+.1f} to {high:+.1f}; dots: seeds", fontsize=9)


def draw(rows):
    """Left: the mean of the shifts against no shift. Then what the probe is ahead by, and what own class names give."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.1, 1, 1])
    logit_axes(left)
    seeds, chance = sorted({row["seed"] for row in rows}), np.mean([r["chance"] for r in rows if r["task"] in SHIFTS])
    for way, colour, marker in (("zero-shot", ORANGE, "*"), ("probe", BLUE, "o")):
        points = []
        for seed in seeds:
            values = {row["task"]: row[way] for row in rows if row["seed"] == seed}
            points.append((values["objects"], np.mean([values[name] for name in SHIFTS])))
        x, y = np.clip(points, 0.005, 0.995).T
        left.plot(x, y, marker, color=colour, alpha=0.5)
        label = f"{way}: {y.mean():.0%} from {x.mean():.0%}"
        left.plot(x.mean(), y.mean(), marker, color=colour, markersize=13, label=label)
        for name, value in mean_over_seeds(rows, way).items():
            if name in SHIFTS:
                left.plot(x.mean(), np.clip(value, 0.005, 0.995), "_", color=colour, alpha=0.6)
    left.axhline(chance, color=GREY, linestyle=":", label="chance")
    left.set(ylabel="mean of the shifts (%); dashes: each", xlim=(0.3, 0.995), ylim=(0.006, 0.995),
             title=f"Figure 13, {len(seeds)} seeds")
    left.legend(fontsize=8, loc="upper left")
    differences(middle, rows, ["objects", *SHIFTS], "probe", "zero-shot", "shifts", "points of probe over zero-shot")
    differences(right, rows, SOME, "zero-shot", "all names", "tasks", "points gained by own class names")
    middle.set_title("Figure 14: adapt to objects")
    right.set_title("Figure 14: adapt to class shift")
    return figure
