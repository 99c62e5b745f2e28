"""Figure 5: zero-shot CLIP against a fully supervised linear classifier on a supervised ResNet's features.

The paper's wins on 16 of 27 datasets: on most everyday objects; it loses on specialised, complex or abstract ones, such
as satellite images, tumours, counting and distances (Section 3.1.5). The right panel shows where ours does.
"""
import numpy as np
from matplotlib.figure import Figure

from common import BLUE, ORANGE, interval, mean_over_seeds, scores_on_task, zero_shot
from tasks import TASKS, examples


def measure(lab):
    """-> a row for each task with labels to train on, and seed: zero-shot, and the logistic regression on what the same
    encoder has learned from the objects' numbers."""
    names = [name for name, task in TASKS.items() if task.size("train")]
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        for name in names:
            test = examples(name, "test", lab.size(name, "test"))
            rows.append({"task": name, "group": TASKS[name].group, "seed": seed, "chance": TASKS[name].chance(),
                         "zero-shot": zero_shot(model, tokenizer, name, *test),
                         "supervised": scores_on_task(lab, seed, name, kind="supervised")["probe"]})
    return rows


def draw(rows):
    """Left: points by which zero-shot is better, sorted. Right: their mean in each group of tasks."""
    rows = [row | {"points": 100 * (row["zero-shot"] - row["supervised"])} for row in rows]
    figure = Figure(figsize=(11, 9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
    for axis, by, size in (left, "task", 8), (right, "group", 10):
        values = mean_over_seeds(rows, "points", by)
        order = sorted(values, key=values.get)
        points = np.array([values[name] for name in order])
        axis.barh(range(len(order)), points, color=np.where(points > 0, BLUE, ORANGE), zorder=2)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(range(len(order)), order, fontsize=size)
        axis.set(xlabel="zero-shot CLIP minus probe on the supervised ResNet (points)", ylim=(-0.7, len(order) - 0.3))
        axis.grid(axis="x", alpha=0.3)
        if by == "task":
            for row in rows:
                axis.plot(row["points"], order.index(row["task"]), "k.", markersize=3)
            low, high = interval(np.mean, points)
            axis.set_title(f"zero-shot wins on {(points > 0).sum()} of {len(points)} tasks (the paper's: 16 of 27);\n"
                           f"mean {points.mean():+.1f} points, 95 % over tasks {low:+.1f} to {high:+.1f}", fontsize=10)
    tasks, seeds = list(mean_over_seeds(rows, "points").items()), len({row["seed"] for row in rows})
    of = {row["task"]: row["group"] for row in rows}
    for name, value in tasks:
        right.plot(value, order.index(of[name]), "k.", markersize=5)
    right.set_title(f"mean of each group, dots: its tasks;\nleft, dots: {seeds} seeds", fontsize=10)
    return figure
