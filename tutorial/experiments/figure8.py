"""Figure 8: zero-shot against the linear probe on the same features, over all tasks that have labels to train on."""
import numpy as np
from matplotlib.figure import Figure

from common import BLUE, CLEAR, GREY, interval, mean_over_seeds, scores_on_task
from tasks import TASKS


def measure(lab):
    """-> a row for each task and seed: zero-shot, probe, chance."""
    names = [name for name, task in TASKS.items() if task.size("train")]
    return [{"task": name, "seed": seed, "chance": TASKS[name].chance()} | scores_on_task(lab, seed, name)
            for seed in lab.seeds for name in names]


def correlation(x, y):
    """Pearson's r, nan where there is none."""
    with np.errstate(invalid="ignore"):
        return np.corrcoef(x, y)[0, 1] if len(x) > 1 else np.nan


def beside(names, x, y, wide=0.68, high=1.5):
    """Names of points in per cent -> for each whether to write it to the left, and whether below, so that it covers the
    fewest points and names before it. A letter takes so much of the plot, which ends at 104."""
    taken, sides = [(a - 0.5, a + 0.5, b - 0.5, b + 0.5) for a, b in zip(x, y)], []
    for name, a, b in zip(names, x, y):
        boxes, length = {}, wide * len(name)
        for left, below in ((False, False), (True, False), (False, True), (True, True)):
            start, foot = a - 0.6 - length if left else a + 0.6, b - high if below else b
            boxes[left, below] = start, start + length, foot, foot + high

        def covered(side):
            start, end, foot, top = boxes[side]
            return end > 104, sum(start < t[1] and t[0] < end and foot < t[3] and t[2] < top for t in taken)

        sides.append(min(boxes, key=covered))
        taken.append(boxes[sides[-1]])
    return sides


def draw(rows):
    """A point for each task, the mean of its seeds; where a probe is of no more use it lies on the dashed line."""
    zero, probe = (mean_over_seeds(rows, value) for value in ("zero-shot", "probe"))
    x, y = (100 * np.array(list(values.values())) for values in (probe, zero))
    figure = Figure(figsize=(8, 8), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 100], [0, 100], "k--", linewidth=1, label="zero-shot = probe")
    above = y > 100 * CLEAR * np.array(list(mean_over_seeds(rows, "chance").values()))
    axis.scatter(x, y, color=np.where(above, BLUE, GREY), s=24, zorder=3)
    axis.scatter([], [], color=BLUE, label=f"r = {correlation(x[above], y[above]):.2f} over these {above.sum()}")
    axis.scatter([], [], color=GREY, label="zero-shot not well above chance")
    for name, a, b, (left, below) in zip(probe, x, y, beside(probe, x, y)):
        axis.annotate(name, (a, b), xytext=(-4 if left else 4, -7 if below else 2), textcoords="offset points",
                      fontsize=7, ha="right" if left else "left")
    low, high = interval(correlation, x, y)
    axis.set(xlabel="linear probe on CLIP's features (%)", ylabel="zero-shot (%)", xlim=(-2, 104), ylim=(-2, 104),
             title=f"{len(x)} tasks: r = {correlation(x, y):.2f}, 95 % over tasks {low:.2f} to {high:.2f}; "
                   f"the paper's, on 27: 0.82")
    axis.legend(loc="upper left")
    return figure
