"""Figures 9 and 10: zero-shot error and linear probes against the operations of the image encoder, on eight models."""
import numpy as np
from matplotlib.figure import Figure

import zeroshot
from common import BLUE, GREY, ORANGE, interval, splits
from figure4 import over_sizes
from sizes import STEPS, clip, resnet, some_models, some_tasks
from tasks import TASKS

# Figure 10 has an average over twelve datasets of other people's choice; these twelve are of all groups that have
# labels to train on, and have at most 26 classes, to save time.
PROBED = ["ten objects", "counts", "tools", "chess pieces", "dice faces", "faces", "clock hours", "scenery",
          "textures", "colours", "places", "letters"]


def probes(lab, seed, name):
    """-> {task: the metric of a linear probe on this model's features}."""
    def measure():
        (model, _), values = clip(lab, seed, name), {}
        for task in (task for task in some_tasks(lab) if task in PROBED):
            train, valid, (features, labels) = splits(lab, model, task)
            W, b, _ = zeroshot.linear_probe(*train, *valid, TASKS[task].metric)
            values[task] = TASKS[task].metric(features.double() @ W + b, labels)
        return values

    return lab.remember(["probes over sizes", STEPS, seed, name], measure)


def measure(lab):
    """-> a row for each model and task: zero-shot with the task's own sentences, and the probe where there is one."""
    values = {name: probes(lab, lab.seeds[0], name) for name in some_models(lab)}
    return [{key: row[key] for key in ("model", "MFLOPs", "task", "seed", "chance")} | {
        "zero-shot": row["ensemble"], "probe": values[row["model"]].get(row["task"], "")} for row in over_sizes(lab)]


def slope(x, errors):
    """Of a line through the logarithms: -0.1 is an error a fifth less for each factor of ten."""
    return np.polyfit(np.log(x), np.log([np.mean(error) for error in errors]), 1)[0]


def table(rows, way, kind):
    """Rows -> MFLOPs (models,), the way's values (models, tasks) in %, of ResNets or of the others."""
    values = {}
    for row in rows:
        if resnet(row["model"]) == kind and row[way] != "":
            values.setdefault(row["MFLOPs"], []).append(100 * row[way])
    return np.array(list(values)), np.array(list(values.values()))


def draw(rows):
    """Left, as Figure 9, error over operations, and a line through the ResNets; right, as Figure 10, probes."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for kind, name, colour, marker in ((True, "ResNets", BLUE, "o"), (False, "vision transformers", ORANGE, "s")):
        for axis, way in ((left, "zero-shot"), (right, "probe")):
            x, y = table(rows, way, kind)
            y = 100 - y if axis is left else y  # (models, tasks)
            bars = abs(np.array([interval(np.mean, row) for row in y]).T - y.mean(1))  # (2, models)
            axis.errorbar(x, y.mean(1), bars, fmt=marker, color=colour, capsize=3, elinewidth=0.8, label=name,
                          linestyle="-" if axis is right else "none")
            names = dict.fromkeys(row["model"] for row in rows if resnet(row["model"]) == kind)
            for i, (at, model) in enumerate(zip(zip(x, y.mean(1)), names)):  # by turns to the right and to the left
                axis.annotate(model, at, xytext=(-5, -9) if i % 2 else (5, 3), textcoords="offset points", fontsize=7,
                              ha="right" if i % 2 else "left")
    x, accuracy = table(rows, "zero-shot", True)
    steep, (low, high) = slope(x, 100 - accuracy), interval(lambda *e: slope(x, e), *(100 - accuracy))
    middle = np.exp(np.log(100 - accuracy.mean(1)).mean() + steep * (np.log(x) - np.log(x).mean()))
    left.plot(x, middle, "--", color=BLUE, linewidth=1,
              label=f"slope {steep:.3f} (95 % over tasks {low:.3f} to {high:.3f})")
    for axis, way in ((left, "zero-shot"), (right, "probe")):
        some = [row for row in rows if row[way] != ""]
        chance, tasks = 100 * np.mean([row["chance"] for row in some]), len({row["task"] for row in some})
        axis.axhline(100 - chance if axis is left else chance, color=GREY, linestyle=":", label="chance")
        axis.set(xscale="log", xlabel="million operations per image (a multiply-add is two)",
                 title=f"mean of {tasks} tasks, one seed; bars: 95 % over tasks")
        axis.margins(x=0.2)  # for the last name
        axis.legend(fontsize=8, loc="upper right" if axis is left else "upper left")
    left.set(yscale="log", ylabel="zero-shot error (%)", ylim=(None, 100))
    left.yaxis.set_major_formatter("{x:.0f}")
    left.yaxis.set_minor_formatter("{x:.0f}")
    right.set(ylabel="linear probe (%)", ylim=(0, 100))
    return figure
