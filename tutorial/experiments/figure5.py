"""Figure 5: zero-shot CLIP against a fully supervised linear classifier on a supervised ResNet's features.

The paper's zero-shot CLIP wins on 16 of 27 datasets, most of them of everyday objects. It loses on
specialised, complex or abstract ones, such as satellite images, tumours, counting and distances
(Section 3.1.5). The right panel shows where ours wins.
"""
import numpy as np
from matplotlib.figure import Figure

from common import BLUE, ORANGE, interval, mean_over_seeds, scores_on_task, zero_shot
from tasks import TASKS, examples


def measure(lab):
    """-> a row for each seed and each task with labels to train on.

    "zero-shot" is CLIP's result; "supervised" is that of logistic regression on the features of the same
    encoder, trained on the objects' numbers.
    """
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        for name, task in TASKS.items():
            if task.size("train") == 0:
                continue
            images, labels = examples(name, "test", lab.size(name, "test"))
            supervised = scores_on_task(lab, seed, name, kind="supervised")
            rows.append({
                "task": name,
                "group": task.group,
                "seed": seed,
                "chance": task.chance(),
                "zero-shot": zero_shot(model, tokenizer, name, images, labels),
                "supervised": supervised["probe"],
            })
    return rows


def draw(rows):
    """Left: points by which zero-shot is better, sorted. Right: their mean in each group of tasks."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
    rows = [row | {"points": 100 * (row["zero-shot"] - row["supervised"])} for row in rows]
    of_tasks = mean_over_seeds(rows, "points")
    of_groups = mean_over_seeds(rows, "points", "group")
    order_of_tasks = draw_bars(left, of_tasks, fontsize=8)
    order_of_groups = draw_bars(right, of_groups, fontsize=10)
    # dots: on the left each seed, on the right each task
    groups = {}
    for row in rows:
        groups[row["task"]] = row["group"]
        left.plot(row["points"], order_of_tasks.index(row["task"]), "k.", markersize=3)
    for name, value in of_tasks.items():
        right.plot(value, order_of_groups.index(groups[name]), "k.", markersize=5)
    # titles
    points = np.array([of_tasks[name] for name in order_of_tasks])
    wins = (points > 0).sum()
    low, high = interval(np.mean, points)
    left.set_title(
        f"zero-shot wins on {wins} of {len(points)} tasks (the paper's: 16 of 27);\n"
        f"mean {points.mean():+.1f} points, 95 % over tasks {low:+.1f} to {high:+.1f}", fontsize=10)
    seeds = len({row["seed"] for row in rows})
    right.set_title(f"mean of each group, dots: its tasks;\nleft, dots: {seeds} seeds", fontsize=10)
    return figure


def draw_bars(axis, values, fontsize):
    """Draw {name: points} as bars, blue where zero-shot wins -> the names in the bars' order, from below."""
    order = sorted(values, key=values.get)
    points = np.array([values[name] for name in order])
    heights = range(len(order))
    axis.barh(heights, points, color=np.where(points > 0, BLUE, ORANGE), zorder=2)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(heights, order, fontsize=fontsize)
    axis.set_ylim(-0.7, len(order) - 0.3)
    axis.set_xlabel("zero-shot CLIP minus probe on the supervised ResNet (points)")
    axis.grid(axis="x", alpha=0.3)
    return order
