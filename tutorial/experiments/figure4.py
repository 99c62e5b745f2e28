"""Figure 4: what prompts gain over bare class names, on tasks whose names mean two things and on others.

The paper (Section 3.1.4, Figure 4) compares bare class names with sentences made for each task, averaged:
about 5 points more on 36 datasets. One reason is that a name alone may mean several things ("crane");
a sentence that says what kind of thing it is ("a type of pet") decides it.

Here each task is tried with bare names ("club"), with one sentence for all tasks ("a picture of a club"),
with a typed sentence ("a picture of a club, a card suit") and with an ensemble of all the task's sentences
over typed names. In the web's captions some names mean two things, see web.HOMONYMS.

A task asks for one of the two meanings only. The paper's example, ImageNet's two kinds of cranes, has both among
the classes. So there is a test besides in which each homonym is two classes.
"""
import re

import numpy as np
import torch
from matplotlib.figure import Figure

import zeroshot
from clip_minimal import normalize
from common import BLUE, GREEN, GREY, ORANGE, interval, mean_over_seeds, of_seeds, zero_shot_on
from lab import draw_pool
from tasks import PLAIN, TASKS, examples, photograph
from train_tiny import COLOURS, article
from web import CATEGORY_OF, HOMONYMS, NAMES

WAYS = ["bare names", "one sentence", "typed sentence", "ensemble"]
PAPER = 5  # points that the paper's ensembles gain over bare names
BOTH = "both meanings"  # the test in which each homonym is two classes
# What the web's homonyms mean in the tasks. The categories are those that the web's captions tell.
MEANT = {
    "star": "a shape", "square": "a shape", "mouse": "an animal", "cross": "a sign of faith",
    "arrow": "a sign of direction", "spade": "a card suit", "club": "a card suit", "diamond": "a card suit"}

# ---- What is said of a class ---------------------------------------------------------------------


def bare(label):
    """The article goes: "a club" -> "club". A whole caption, "a star above a cat", stays as it is."""
    if re.search(" an? ", label):
        return label
    return re.sub("^(an?|the) ", "", label)


def noun(label):
    """Article and colour go: "a red club" -> "club"."""
    first, _, rest = bare(label).partition(" ")
    if first in COLOURS:
        return rest
    return bare(label)


def typed(label):
    """The kind of thing comes: "a club" -> "a club, a card suit".

    What means one thing alone, a whole caption, and what has no article stay as they are.
    """
    is_a_thing = label != bare(label)
    if is_a_thing and noun(label) in MEANT:
        return f"{label}, {MEANT[noun(label)]}"
    return label


def wordings(name):
    """-> {way: (class names, templates)} of a task.

    The typed sentence is the first of the task's own that has more than the name, as "an arrow {}".
    """
    task = TASKS[name]
    with_types = [typed(label) for label in task.classes]
    sentences = [template for template in task.templates if template != "{}"]
    return {
        "bare names": ([bare(label) for label in task.classes], ["{}"]),
        "one sentence": (task.classes, ["a picture of {}"]),
        "typed sentence": (with_types, sentences[:1]),
        "ensemble": (with_types, task.templates),
    }


def has_homonyms(name):
    """Whether one of the task's classes, in a colour or not, is called by a homonym of the web's.

    The names of classes count, and no sentences around them.
    """
    names = {noun(label) for label in TASKS[name].classes}
    return not names.isdisjoint(HOMONYMS)


def two_meanings():
    """Each homonym of the web twice -> [(name, category, number of the thing), ...]: ("mouse", "an animal", 6), ...

    Of several things of a category it is the commonest.
    """
    found = []
    for name, things in HOMONYMS.items():
        of_category = {}
        for thing in things:
            of_category.setdefault(CATEGORY_OF[thing], thing)
        for category, thing in of_category.items():
            found.append((name, category, thing))
    return found


def wordings_of_both():
    """-> {way: (class names, templates)} of the test in which each homonym is two classes."""
    names = [name for name, _, _ in two_meanings()]
    with_types = [f"{article(name)}, {category}" for name, category, _ in two_meanings()]
    return {
        "bare names": (names, ["{}"]),
        "one sentence": ([article(name) for name in names], ["a picture of {}"]),
        "typed sentence": (with_types, ["a picture of {}"]),
        "ensemble": (with_types, PLAIN),
    }


# ---- Measured ------------------------------------------------------------------------------------


def measure(lab):
    """-> a row for each seed and task, and for both meanings: the metric for each way to name the classes."""
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        for name in TASKS:
            rows.append(measure_task(lab, seed, name, model, tokenizer))
        rows.append(measure_both(lab, seed, model, tokenizer))
    return rows


def measure_task(lab, seed, name, model, tokenizer):
    """-> the row of one task."""
    images, labels = examples(name, "test", lab.size(name, "test"))
    features = zeroshot.encode_images(model, images)
    chance = float(TASKS[name].chance())
    row = {"task": name, "seed": seed, "homonyms": int(has_homonyms(name)), "chance": chance}
    for way, (classes, templates) in wordings(name).items():
        row[way] = zero_shot_on(model, tokenizer, name, features, labels, templates, classes)
    return row


def measure_both(lab, seed, model, tokenizer):
    """-> the row of the test in which each homonym is two classes; pictures are of any quality, as most tasks'."""
    pictures, things = draw_pool("more kinds", "test", max(1, round(20 * lab.budget)) * len(NAMES))
    classes = torch.tensor([thing for _, _, thing in two_meanings()])
    is_class = things[:, None] == classes  # (n, N)
    shown = is_class.any(dim=1)
    labels = is_class[shown].int().argmax(dim=1)
    images = photograph(np.random.default_rng(0), pictures[shown] / 255)
    features = zeroshot.encode_images(model, normalize(images))
    row = {"task": BOTH, "seed": seed, "homonyms": 1, "chance": 1 / len(classes)}
    for way, (names, templates) in wordings_of_both().items():
        # with bare names both classes of a homonym have equal weights, so that about half can be right
        weights = zeroshot.zero_shot_classifier(model, tokenizer, names, templates)
        row[way] = zeroshot.accuracy(features @ weights, labels)
    return row


def gains(rows, way):
    """Points that a way gains over bare names -> (tasks, seeds), tasks in the order of the rows."""
    return 100 * (of_seeds(rows, way) - of_seeds(rows, "bare names"))


# ---- Drawn ---------------------------------------------------------------------------------------


def draw(rows):
    """Left: means over tasks, gains with and without homonyms, both meanings. Right: what each task gains."""
    of_tasks = [row for row in rows if row["task"] != BOTH]
    of_both = [row for row in rows if row["task"] == BOTH]
    figure = Figure(figsize=(8.5, 10), layout="constrained")
    axes = figure.subplot_mosaic([["means", "tasks"], ["groups", "tasks"], ["both", "tasks"]])
    draw_means(axes["means"], of_tasks)
    axes["means"].set_title(f"mean of {len({row['task'] for row in of_tasks})} tasks")
    draw_groups(axes["groups"], of_tasks)
    draw_means(axes["both"], of_both)
    axes["both"].set_title(f"{len(HOMONYMS)} homonyms, both meanings to choose from")
    draw_tasks(axes["tasks"], of_tasks)
    for axis in axes.values():
        axis.title.set_fontsize(10)
    return figure


def draw_means(axis, rows):
    """The mean over tasks for each way, a dot for each seed."""
    for i, way in enumerate(WAYS):
        values = mean_over_seeds(rows, way, by="seed").values()  # a seed's mean over tasks
        values = 100 * np.array(list(values))
        axis.bar(i, values.mean(), color=GREY)
        axis.plot([i] * len(values), values, "k.", markersize=5)
        axis.text(i, values.mean() / 2, f"{values.mean():.1f}", ha="center", color="white", fontsize=10)
    chance = 100 * np.mean([row["chance"] for row in rows])
    axis.axhline(chance, linestyle=":", color="black", label="chance")
    axis.set_xticks(range(len(WAYS)), [way.replace(" ", "\n") for way in WAYS], fontsize=9)
    axis.set_ylabel("zero-shot (%); dots: seeds", fontsize=9)
    axis.legend(fontsize=9)


def draw_groups(axis, rows):
    """What each way gains over bare names: on all tasks, on those with homonyms, and on those without."""
    groups = {
        "all": (rows, GREY),
        "with homonyms": ([row for row in rows if row["homonyms"]], ORANGE),
        "without": ([row for row in rows if not row["homonyms"]], BLUE),
    }
    for i, (label, (some, colour)) in enumerate(groups.items()):
        if not some:
            continue
        for j, way in enumerate(WAYS[1:]):
            table = gains(some, way)  # (tasks, seeds)
            at = j + 0.26 * (i - 1)
            # one entry in the legend for each group
            group = f"{label}: {len(table)} tasks" if j == 0 else None
            axis.bar(at, table.mean(), 0.24, color=colour, label=group)
            axis.vlines(at, *interval(np.mean, table), color="black", linewidth=1)
            axis.plot([at] * table.shape[1], table.mean(axis=0), "k.", markersize=4)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.axhline(PAPER, linestyle="--", color=GREEN, label=f"paper, ensembles: about {PAPER}")
    axis.set_xticks(range(len(WAYS) - 1), [way.replace(" ", "\n") for way in WAYS[1:]], fontsize=9)
    axis.set_ylabel("points over bare names", fontsize=9)
    axis.set_title("95 % over tasks and seeds; dots: seeds")
    axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.2))


def draw_tasks(axis, rows):
    """What the ensemble gains on each task, the most on top, a dot for each seed."""
    table = gains(rows, "ensemble")
    homonyms = mean_over_seeds(rows, "homonyms")  # 1 for tasks that have some
    names = list(homonyms)
    order = table.mean(axis=1).argsort()
    for y, i in enumerate(order):
        colour = BLUE
        if homonyms[names[i]]:
            colour = ORANGE
        axis.barh(y, table[i].mean(), color=colour)
        axis.plot(table[i], [y] * len(table[i]), "k.", markersize=3)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.axvline(PAPER, linestyle="--", color=GREEN)
    axis.set_yticks(range(len(names)), [names[i] for i in order], fontsize=9)
    axis.set(ylim=(-1, len(names)), title="the ensemble on each task")
    axis.set_xlabel("points over bare names; dots: seeds", fontsize=9)
