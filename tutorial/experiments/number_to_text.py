"""From a number to text (Sections 1 and 2.1): the same encoder and images, told a class's number or a caption.

Whoever learns numbers from 0 to 99 can name those hundred things and nothing else; who learns captions makes a
classifier of any words. For what needs labels, both kinds of features get a linear probe.
"""
import math

import numpy as np
from matplotlib.figure import Figure

from common import BLUE, GREY, ORANGE, mean_over_seeds, scores_on_task
from lab import number_scores
from tasks import TASKS, examples

SOME = ["objects", "ten objects", "unseen objects", "weather", "chess pieces", "card suits", "arrows", "polygons",
        "scenery", "textures", "satellite", "flags", "colours", "counts", "relations", "two objects", "digits",
        "currencies"]  # from each group
WAYS = {"text, zero-shot": (BLUE, "*", 13), "text, probe": (BLUE, "o", 6), "number, as it is": (ORANGE, "D", 7),
        "number, probe": (ORANGE, "s", 6)}


def measure(lab):
    """-> a row for each task and seed: zero-shot and probe on CLIP's features, the outputs of the encoder that learned
    numbers, nan where a class is none of its hundred, and the probe on its features."""
    rows = []
    for seed in lab.seeds:
        model = lab.image_model(seed, "supervised")
        for name in (name for name in TASKS if name in SOME):
            images, labels = examples(name, "test", lab.size(name, "test"))
            outputs = number_scores(model, name, images)
            text, number = (scores_on_task(lab, seed, name, kind=kind) for kind in ("CLIP", "supervised"))
            values = (text["zero-shot"], text["probe"],
                      math.nan if outputs is None else TASKS[name].metric(outputs, labels), number["probe"])
            rows.append({"task": name, "group": TASKS[name].group, "seed": seed, "chance": TASKS[name].chance()}
                        | dict(zip(WAYS, values)))
    return rows


def draw(rows):
    """A line for each task: filled without any labels of it, hollow with all of them; a bar from seed to seed."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    axis, tasks = figure.subplots(), list(mean_over_seeds(rows, "chance"))
    for i, (way, (colour, marker, size)) in enumerate(WAYS.items()):
        for y, name in enumerate(tasks):
            values = [100 * row[way] for row in rows if row["task"] == name]
            at = y + 0.15 * (1.5 - i)
            axis.plot([min(values), max(values)], [at, at], color=colour, linewidth=1)
            axis.plot(np.mean(values), at, marker, color=colour, markersize=size, label=way if y == 0 else None,
                      markerfacecolor="white" if "probe" in way else colour)
    for y, (name, chance) in enumerate(mean_over_seeds(rows, "chance").items()):
        axis.plot([100 * chance] * 2, [y - 0.4, y + 0.4], ":", color=GREY, label=None if y else "chance")
    groups = {row["task"]: row["group"] for row in rows}
    axis.set_yticks(range(len(tasks)), [f"{name} ({groups[name]})" for name in tasks], fontsize=8)
    axis.invert_yaxis()
    said = sum(not math.isnan(value) for value in mean_over_seeds(rows, "number, as it is").values())
    axis.set(xlabel="the task's metric (%); bars: from the lowest to the highest seed", xlim=(0, 101), title=(
        f"without labels of a task: text answers {len(tasks)} of {len(tasks)}, numbers {said} of {len(tasks)}"))
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.4, -0.07), ncols=5)
    return figure
