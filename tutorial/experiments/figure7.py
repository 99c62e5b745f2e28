"""Figure 7: how many labelled examples a class match zero-shot.

The paper reads from the curves of few-shot probes on CLIP's features how many examples of each class reach
zero-shot's result (Section 3.1.5): a median of 5.4 and a mean of 20.8. Ours does the same on its tasks.
"""
import math

import numpy as np
from matplotlib.figure import Figure

import figure6
from common import BLUE, CLEAR, SHOTS, examples_to_match, interval, mean_over_seeds
from tasks import TASKS


def measure(lab):
    """-> a row for each task: examples a class, from Figure 6's values, means of the seeds, and the probe's on all."""
    rows = figure6.measure(lab, ["CLIP"])
    curves = {value: mean_over_seeds(rows, value) for value in ("zero-shot", *map(str, SHOTS), "probe")}
    table = []
    for name in curves["probe"]:
        shots = [*SHOTS, (lab.size(name, "train", SHOTS[-1]) + lab.size(name, "validation")) / len(TASKS[name].classes)]
        zero, *values = (curve[name] for curve in curves.values())
        table.append({"task": name, "chance": TASKS[name].chance(), "zero-shot": zero,
                      "examples per class": examples_to_match(shots, values, zero)})
    return sorted(table, key=lambda row: row["examples per class"])


def draw(rows):
    """Sorted bars, mean and median over the tasks where zero-shot is better than chance."""
    rows = [row for row in rows if row["zero-shot"] > CLEAR * row["chance"]] or rows
    values = np.array([row["examples per class"] for row in rows])
    figure = Figure(figsize=(8, 0.26 * len(rows) + 1.6), layout="constrained")
    axis, finite = figure.subplots(), values[np.isfinite(values)]
    end = 2 * max([*finite, SHOTS[-1]])
    axis.barh(range(len(rows)), values.clip(max=end), color=BLUE)
    for i, value in enumerate(values):
        text = f"{value:.1f}"
        if value < 1:
            text = "< 1"
        if not math.isfinite(value):
            text = "never"
        axis.text(min(value, end) * 1.03, i, text, va="center", fontsize=9)
    axis.set_yticks(range(len(rows)), [row["task"] for row in rows], fontsize=9)
    axis.set_ylim(-0.7, len(rows) - 0.3)
    low, high = interval(np.median, values)
    axis.set_xlim(0.4, 1.5 * values.clip(max=end).max())
    axis.set(xscale="log", xlabel="labelled examples per class to match zero-shot", title=(
        f"{len(rows)} tasks with zero-shot well above chance: median {np.median(values):.1f} (95 % {low:.1f} to "
        f"{high:.1f}),\nmean of the {len(finite)} that are matched {finite.mean():.1f}; the paper's 5.4 and 20.8"))
    axis.title.set_fontsize(9)
    return figure
