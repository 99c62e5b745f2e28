"""Figure 8: zero-shot against the linear probe on the same features, on all tasks with labels to train on."""
import numpy as np
from matplotlib.figure import Figure

from common import BLUE, CLEAR, GREY, interval, mean_over_seeds, of_seeds, scores_on_task
from tasks import TASKS


def measure(lab):
    """-> a row for each seed and task: zero-shot, probe, chance."""
    rows = []
    for seed in lab.seeds:
        for name, task in TASKS.items():
            if task.size("train"):
                row = {"task": name, "seed": seed, "chance": task.chance()}
                rows.append(row | scores_on_task(lab, seed, name))
    return rows


def correlation(x, y):
    """Pearson's r, nan where there is none."""
    if len(x) < 2:
        return np.nan
    with np.errstate(invalid="ignore"):
        return np.corrcoef(x, y)[0, 1]


def beside(names, x, y, wide=0.9, high=2.0):
    """Find a place beside its point for each name -> [(left, below), ...], each True or False.

    x and y are in per cent. A name covers as few points, and names before it, as can be. A letter is
    `wide` across and `high`, in units of the plot.
    """
    taken = []  # boxes (start, end, foot, top) of points, then of names, too
    for a, b in zip(x, y):
        taken.append((a - 0.5, a + 0.5, b - 0.5, b + 0.5))
    sides = []
    for name, a, b in zip(names, x, y):
        length = wide * len(name)
        # the four places where it can stand, those that are preferred first
        boxes = {}
        for left, below in ((False, False), (True, False), (False, True), (True, True)):
            start = a - 0.6 - length if left else a + 0.6
            foot = b - high if below else b
            boxes[left, below] = (start, start + length, foot, foot + high)
        side = min(boxes, key=lambda side: covered(boxes[side], taken))
        sides.append(side)
        taken.append(boxes[side])
    return sides


def covered(box, taken):
    """What speaks against a box -> does it leave the plot, which ends at 104? How many boxes does it cover?"""
    start, end, foot, top = box
    count = 0
    for other_start, other_end, other_foot, other_top in taken:
        across = start < other_end and other_start < end
        up = foot < other_top and other_foot < top
        if across and up:
            count += 1
    return end > 104, count


def draw(rows):
    """A point for each task, the mean of its seeds; dots for the seeds. On the dashed line a probe is no better than zero-shot."""
    probe = mean_over_seeds(rows, "probe")
    zero = mean_over_seeds(rows, "zero-shot")
    chance = mean_over_seeds(rows, "chance")
    x = 100 * np.array(list(probe.values()))
    y = 100 * np.array(list(zero.values()))
    above = y > 100 * CLEAR * np.array(list(chance.values()))
    figure = Figure(figsize=(8.5, 8.5), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 100], [0, 100], "k--", linewidth=1, label="zero-shot = probe")
    # small dots for the seeds
    for row in rows:
        axis.plot(100 * row["probe"], 100 * row["zero-shot"], ".", color=GREY, markersize=3, alpha=0.6)
    # points, two empty plots for their lines in the legend, names
    axis.scatter(x, y, color=np.where(above, BLUE, GREY), s=24, zorder=3)
    r_above = correlation(x[above], y[above])
    axis.scatter([], [], color=BLUE, label=f"r = {r_above:.2f} over these {above.sum()}")
    axis.scatter([], [], color=GREY, label="zero-shot not well above chance")
    for name, a, b, (left, below) in zip(probe, x, y, beside(probe, x, y)):
        across = -4 if left else 4
        up = -7 if below else 2
        alignment = "right" if left else "left"
        axis.annotate(name, (a, b), xytext=(across, up), textcoords="offset points", fontsize=9, ha=alignment)
    # title and axes
    r = correlation(x, y)
    low, high = interval(correlation, of_seeds(rows, "probe"), of_seeds(rows, "zero-shot"))
    axis.set_title(f"{len(x)} tasks: r = {r:.2f}, 95 % over tasks and seeds {low:.2f} to {high:.2f};"
                   f" the paper's, on 27: 0.82")
    axis.set(xlabel="linear probe on CLIP's features (%)", ylabel="zero-shot (%)")
    axis.set(xlim=(-2, 104), ylim=(-2, 104))
    axis.title.set_fontsize(10)
    axis.legend(loc="upper left", fontsize=9)
    return figure
