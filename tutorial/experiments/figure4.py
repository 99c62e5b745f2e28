"""Figure 4: bare class names, one sentence for all tasks, each task's own sentences averaged."""
import re

import numpy as np
from matplotlib.figure import Figure

from common import BLUE, GREY, ORANGE, interval, mean_over_seeds, zero_shot
from tasks import TASKS, examples

WAYS = {"bare names": ["{}"], "one sentence": ["a picture of {}"], "ensemble": None}


def measure(lab):
    """-> a row for each task and seed: its metric for each way to say a class."""
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        for name, task in TASKS.items():
            test = examples(name, "test", lab.size(name, "test"))
            bare = [re.sub("^(an?|the) ", "", label) for label in task.classes]
            rows.append({"task": name, "seed": seed, "chance": task.chance()} | {
                way: zero_shot(model, tokenizer, name, *test, templates, bare if way == "bare names" else None)
                for way, templates in WAYS.items()})
    return rows


def draw(rows):
    """The mean over all tasks for each seed, and for each task what the ensemble gains over bare names."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.6])
    seeds, chance = sorted({row["seed"] for row in rows}), np.mean([row["chance"] for row in rows])
    means = np.array([[np.mean([row[way] for row in rows if row["seed"] == seed]) for way in WAYS] for seed in seeds])
    left.bar(range(3), means.mean(0), color=[GREY, BLUE, ORANGE])
    for row in means:
        left.plot(range(3), row, "ko-", markersize=4, linewidth=0.8)
    left.axhline(chance, linestyle=":", color="black")
    left.text(-0.4, chance, "chance", va="bottom", color="white")
    for i, value in enumerate(means.mean(0)):
        left.text(i, value / 2, f"{value:.1%}", ha="center", va="center", color="white", fontweight="bold")
    left.set_xticks(range(3), WAYS)
    left.set(ylabel=f"mean of {len(TASKS)} tasks, each by its metric", title=f"zero-shot; dots: {len(seeds)} seeds")
    bare, ensemble = (mean_over_seeds(rows, way) for way in ("bare names", "ensemble"))
    gains = {name: 100 * (ensemble[name] - bare[name]) for name in bare}
    order = sorted(gains, key=gains.get)
    right.barh(range(len(order)), [gains[name] for name in order],
               color=[ORANGE if gains[name] > 0 else GREY for name in order])
    right.set_yticks(range(len(order)), order, fontsize=7)
    low, high = interval(np.mean, list(gains.values()))
    right.set(xlabel="points gained by the ensemble over bare names", ylim=(-1, len(order)),
              title=f"mean {np.mean(list(gains.values())):+.1f} points, 95 % over tasks {low:+.1f} to {high:+.1f}")
    right.axvline(0, color="black", linewidth=0.8)
    return figure
