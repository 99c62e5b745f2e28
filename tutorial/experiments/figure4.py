"""Figure 4: bare class names, one sentence for all tasks, each task's own sentences averaged, over model sizes."""
import re

import numpy as np
from matplotlib.figure import Figure

import sizes
import zeroshot
from clip_minimal import CONFIGS
from common import BLUE, GREY, ORANGE, interval, mean_over_seeds, zero_shot_on
from tasks import TASKS, examples

WAYS = {"bare names": ["{}"], "one sentence": ["a picture of {}"], "ensemble": None}
LOOKS = dict(zip(WAYS, ((GREY, "o"), (BLUE, "s"), (ORANGE, "^"))))


def by_way(lab, name, config, seed, model, tokenizer, tasks):
    """-> a row for each of the tasks: its metric for each way to say a class."""
    rows = []
    for key in tasks:
        task, (images, labels) = TASKS[key], examples(key, "test", lab.size(key, "test"))
        features = zeroshot.encode_images(model, images)
        bare = [re.sub("^(an?|the) ", "", label) for label in task.classes]
        row = {"model": name, "MFLOPs": sizes.megaflops(config), "task": key, "seed": seed,
               "chance": float(task.chance())}
        for way, templates in WAYS.items():
            names = bare if way == "bare names" else task.classes
            row[way] = zero_shot_on(model, tokenizer, key, features, labels, templates, names)
        rows.append(row)
    return rows


def over_sizes(lab):
    """-> a row for each model of sizes.py and each task, of the first seed."""
    def of(name):
        model, tokenizer = sizes.clip(lab, seed, name)
        return by_way(lab, name, sizes.MODELS[name], seed, model, tokenizer, sizes.some_tasks(lab))

    seed = lab.seeds[0]
    return [row for name in sizes.some_models(lab)
            for row in lab.remember(["sizes", sizes.STEPS, seed, name], lambda: of(name))]


def measure(lab):
    """-> a row for each task and seed of train_tiny.py's model, then those of the models of other sizes."""
    name = "tiny-RN"
    return [row for seed in lab.seeds for row in by_way(lab, name, CONFIGS[name], seed, *lab.clip(seed), TASKS)
            ] + over_sizes(lab)


def draw_sizes(axis, rows):
    """The mean over tasks of each way against operations: lines for ResNets, hollow for vision transformers."""
    for way, (colour, marker) in LOOKS.items():
        for kind, style in ((True, {"linestyle": "-"}), (False, {"linestyle": ":", "mfc": "white"})):
            some = [row for row in rows if sizes.resnet(row["model"]) == kind]
            means = mean_over_seeds(some, way, "MFLOPs")
            axis.plot(means.keys(), [100 * value for value in means.values()], marker, color=colour,
                      label=way if kind else None, **style)
    resnets = [row for row in rows if sizes.resnet(row["model"])]
    bare, ensemble = (np.array([*mean_over_seeds(resnets, way).values()]) for way in ("bare names", "ensemble"))
    gains = 100 * (ensemble - bare)  # (tasks,)
    low, high = interval(np.mean, gains)
    axis.axhline(100 * np.mean([row["chance"] for row in rows]), linestyle=":", color="black", label="chance")
    axis.set(xscale="log", xlabel="million operations per image (a multiply-add is two)", ylabel="mean of tasks (%)",
             title=f"one seed; hollow: vision transformers\n"
                   f"ResNets: {gains.mean():+.1f} points, 95 % over tasks {low:+.1f} to {high:+.1f}")
    axis.title.set_fontsize(10)
    axis.legend(fontsize=8)


def draw(rows):
    """The mean over all tasks for each seed, and for each task what the ensemble gains over bare names; the same means
    for models of other sizes."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplot_mosaic([["ways", "gains"], ["sizes", "gains"]], width_ratios=[1, 1.3])
    left, right = axes["ways"], axes["gains"]
    draw_sizes(axes["sizes"], [row for row in rows if row["model"] in sizes.MODELS])
    rows = [row for row in rows if row["model"] not in sizes.MODELS]
    seeds, chance = sorted({row["seed"] for row in rows}), np.mean([row["chance"] for row in rows])
    means = np.array([[np.mean([row[way] for row in rows if row["seed"] == seed]) for way in WAYS] for seed in seeds])
    left.bar(range(3), means.mean(0), color=[colour for colour, _ in LOOKS.values()])
    for row in means:
        left.plot(range(3), row, "ko-", markersize=4, linewidth=0.8)
    left.axhline(chance, linestyle=":", color="black")
    left.text(-0.4, 0.97 * chance, "chance", va="top", color="white")
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
