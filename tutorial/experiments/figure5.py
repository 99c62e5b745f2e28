"""Figure 5: zero-shot CLIP against a fully supervised linear classifier on a supervised ResNet's features.

The paper's zero-shot CLIP wins on 16 of 27 datasets, many of them general ones. It loses on specialised,
complex or abstract ones, such as satellite images, tumours, counting and distances (Section 3.1.5). Ours
has learned from the miniature web, its rival from the labels of the miniature ImageNet. On the right the
gap is compared with how often the web's captions had a task's words. Tasks differ in much else, so below
that the web's things are compared one by one.
"""
import numpy as np
import torch
from matplotlib.figure import Figure

import web
import zeroshot
from clip_minimal import normalize
from common import BLUE, ORANGE, interval, mean_over_seeds, of_seeds, scores_on_task
from figure8 import correlation
from lab import draw_pool
from tasks import TASKS

THING = "one thing"  # the group of rows that are no tasks
ALIKE = ["a card", "a written word"]  # categories of many things that look alike; most of them are rare


def measure(lab):
    """-> a row for each seed and each task with labels to train on, and for each thing of the web.

    "zero-shot" is CLIP's result; "supervised" is that of a probe on an encoder of the same shape, which was
    trained to tell which of the hundred objects it sees. "words" is the median over the classes of how many
    captions had the rarest word of the class. For a thing, zero-shot is how many of its pictures are named,
    among all things; "rank" is its place in web.NAMES, where the commonest is first.
    """
    rows = []
    for seed in lab.seeds:
        for name, task in TASKS.items():
            if task.size("train") == 0:
                continue
            rows.append({
                "task": name,
                "group": task.group,
                "seed": seed,
                "chance": task.chance(),
                "zero-shot": scores_on_task(lab, seed, name)["zero-shot"],
                "supervised": scores_on_task(lab, seed, name, kind="supervised")["probe"],
                "words": float(np.median(lab.occurrences(name))),
                "rank": "",
            })
        named = lab.remember(["things named", seed], lambda: things_named(lab, *lab.clip(seed)))
        for thing, share in enumerate(named):
            rows.append({
                "task": web.typed(thing),
                "group": THING,
                "seed": seed,
                "chance": 1 / len(web.NAMES),
                "zero-shot": share,
                "supervised": "",
                "words": "",
                "rank": thing + 1,
            })
    return rows


def things_named(lab, model, tokenizer):
    """For each thing of the web, the share of its pictures to which the model gives its name -> a list.

    All pictures are sharp and in the usual style. A thing of which there is none counts as not named.
    """
    n = max(1, round(10 * lab.budget)) * len(web.NAMES)
    pictures, things = draw_pool("more kinds", "test", n)
    names = [web.typed(thing) for thing in range(len(web.NAMES))]
    weights = zeroshot.zero_shot_classifier(model, tokenizer, names)
    features = zeroshot.encode_images(model, normalize(pictures / 255))
    is_named = ((features @ weights).argmax(dim=1) == things).double()
    times_named = torch.bincount(things, is_named, len(web.NAMES))
    times_shown = torch.bincount(things, minlength=len(web.NAMES))
    return (times_named / times_shown.clamp(min=1)).tolist()


def ranks(values):
    """The ranks of numbers, from 0 for the smallest; equal ones share the mean of theirs. [5, 3, 5] -> [1.5, 0, 1.5]"""
    values = np.asarray(values)
    smaller = (values < values[:, None]).sum(axis=1)
    equal = (values == values[:, None]).sum(axis=1)  # itself among them
    return smaller + (equal - 1) / 2


def rank_correlation(x, y):
    """Spearman's: Pearson's correlation of the ranks."""
    return correlation(ranks(x), ranks(y))


def draw(rows):
    """Left: points by which zero-shot is better, sorted. Right: the same by how often captions had the words; single things."""
    gaps = []
    things = []
    for row in rows:
        if row["group"] == THING:
            things.append(row)
        else:
            points = 100 * (row["zero-shot"] - row["supervised"])
            gaps.append(row | {"points": points})
    figure = Figure(figsize=(8.5, 9), layout="constrained")
    axes = figure.subplot_mosaic([["bars", "words"], ["bars", "things"]], width_ratios=[1.5, 1])
    draw_bars(axes["bars"], gaps)
    draw_words(axes["words"], gaps)
    draw_things(axes["things"], things)
    return figure


def draw_bars(axis, rows):
    """A bar for each task with its value, blue where zero-shot wins; a dot for each seed."""
    of_tasks = mean_over_seeds(rows, "points")
    order = sorted(of_tasks, key=of_tasks.get)
    points = np.array([of_tasks[name] for name in order])
    heights = range(len(order))
    axis.barh(heights, points, color=np.where(points > 0, BLUE, ORANGE), zorder=2)
    for row in rows:
        axis.plot(row["points"], order.index(row["task"]), "k.", markersize=3, zorder=3)
    # each value beyond the end of its bar and its dots
    for height, name in zip(heights, order):
        ends = [0, *[row["points"] for row in rows if row["task"] == name]]
        if of_tasks[name] > 0:
            axis.text(max(ends) + 1, height, f"{of_tasks[name]:+.1f}", va="center", fontsize=9)
        else:
            axis.text(min(ends) - 1, height, f"{of_tasks[name]:+.1f}", va="center", ha="right", fontsize=9)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(heights, order, fontsize=9)
    axis.set_ylim(-0.7, len(order) - 0.3)
    axis.margins(x=0.2)
    axis.set_xlabel("zero-shot CLIP minus probe on\nthe supervised ResNet (points); dots: seeds", fontsize=9)
    # how many it wins, and the mean
    wins = (points > 0).sum()
    low, high = interval(np.mean, of_seeds(rows, "points"))
    axis.set_title(f"zero-shot wins {wins} of {len(points)} tasks (paper: 16 of 27);\nmean {points.mean():+.1f} points,"
                   f" 95 % over tasks and seeds {low:+.1f} to {high:+.1f}", fontsize=9)


def draw_words(axis, rows):
    """A point for each task, the mean of its seeds; those whose words no caption had stand at the left end."""
    words = np.array(list(mean_over_seeds(rows, "words").values()))
    points = np.array(list(mean_over_seeds(rows, "points").values()))
    never = 0.3  # where zero is drawn on an axis of logarithms
    axis.plot(words.clip(min=never), points, "o", color=BLUE, markersize=5)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xscale("log")
    ticks = [never, 1, 10, 100, 1000, 10000]
    axis.set_xticks(ticks, ["never", *[f"{tick:,}" for tick in ticks[1:]]], fontsize=9, rotation=45)
    axis.set_xlabel("captions of 30,000 that had a task's words", fontsize=9)
    axis.set_ylabel("zero-shot minus supervised (points)", fontsize=9)
    r = rank_correlation(words, points)
    low, high = interval(rank_correlation, of_seeds(rows, "words"), of_seeds(rows, "points"))
    axis.set_title(f"rank correlation {r:.2f}\n(95 % {low:.2f} to {high:.2f})", fontsize=9)


def draw_things(axis, rows):
    """A point for each thing of the web, the mean of its seeds; lines at the means of nine equal parts."""
    ranks_of_things = np.array(list(mean_over_seeds(rows, "rank").values()))
    named = 100 * np.array(list(mean_over_seeds(rows, "zero-shot").values()))
    alike = np.array([web.CATEGORY_OF[int(rank) - 1] in ALIKE for rank in ranks_of_things])
    axis.plot(ranks_of_things[~alike], named[~alike], ".", color=BLUE, markersize=4, label="things")
    axis.plot(ranks_of_things[alike], named[alike], ".", color=ORANGE, markersize=4, label="cards and written words")
    for part in np.array_split(np.arange(len(named)), 9):
        axis.plot(ranks_of_things[part][[0, -1]], [named[part].mean()] * 2, color="black", linewidth=1.5)
    axis.set_ylim(-3, 103)
    axis.set_xlabel("things of the web, the commonest first\n(lines: means of fifty)", fontsize=9)
    axis.set_ylabel("pictures named by zero-shot (%)", fontsize=9)
    r = rank_correlation(-ranks_of_things, named)
    r_of_others = rank_correlation(-ranks_of_things[~alike], named[~alike])
    axis.set_title(f"rank correlation {r:.2f},\nwithout those that look alike {r_of_others:.2f}", fontsize=9)
    axis.legend(fontsize=9, loc="lower left")
