"""Figures 14 and 15: what the robustness of zero-shot becomes when CLIP is adapted to "objects", or to a shift's names.

The paper (Section 3.3) fits a probe to ImageNet: CLIP gains 9.2 points there, and loses a little under most
shifts (Figure 14). Class names of a data set's own gain where those of ImageNet do not fit, 5 points on
average. Figure 15 has probes between: few examples a class are more robust than all, and zero-shot is the
most robust.

Here "objects" is ImageNet, the probes are fitted to CLIP's features of 1 to 16 pictures a class and of all,
and effective robustness is measured from the line of figure13.py's supervised models. Shifts whose style
the web has seen are apart from occlusion, whose style it has not.
"""
import numpy as np
from matplotlib.figure import Figure

import zeroshot
from common import BLUE, GREEN, ORANGE, SHOTS, few, interval, splits
from figure13 import (CONTROL, OBJECTS, SEEN, SHIFTS, accuracy_among, clipped, draw_line, effective_robustness,
                      logit_axes, measure_supervised, numbers_of)
from tasks import TASKS, examples

SOME = []  # tasks of some of the hundred objects, "another font" among them
for name, task in TASKS.items():
    is_part = set(task.classes) < set(OBJECTS.classes)
    if is_part and task.shown == 1 and task.group != "writing":
        SOME.append(name)
CLASSIFIERS = ["zero-shot", *map(str, SHOTS), "all"]

# ---- Measured ------------------------------------------------------------------------------------


def measure(lab):
    """-> a row for each seed, task and classifier, with its accuracy there and on objects of the same classes.

    Classifiers are "zero-shot", probes on "1" to "16" examples a class and on "all", "zero-shot, all names",
    which chooses among the hundred objects whatever the task is, and figure13.py's supervised models, which
    have the sizes of their pools.
    """
    rows = []
    for seed in lab.seeds:
        rows += lab.remember(["shots and shifts", seed], lambda: measure_seed(lab, seed))
        for row in measure_supervised(lab, seed):
            row["model"] = f"pool of {row['model']}"
            rows.append(row)
    return rows


def measure_seed(lab, seed):
    """-> the rows of one seed's CLIP."""
    model, tokenizer = lab.clip(seed)
    probes = fit_probes(lab, model, seed)
    weights = zeroshot.zero_shot_classifier(model, tokenizer, OBJECTS.classes, OBJECTS.templates)  # (E, 100)
    on_objects, labels = all_scores(lab, "objects", model, weights, probes)
    rows = []
    for name in dict.fromkeys(["objects", *SHIFTS, *SOME]):
        on_task, task_labels = all_scores(lab, name, model, weights, probes)
        classes = numbers_of(name)
        true = classes[task_labels]
        row = {"shift": name, "seed": seed, "chance": 1 / len(classes)}
        for key, scores in on_task.items():
            at = accuracy_among(classes, on_objects[key], labels)
            value = accuracy_among(classes, scores, true)
            rows.append(row | {"model": key, "objects": at, "accuracy": value})
        # zero-shot once more, for a choice among the hundred objects
        at = zeroshot.accuracy(on_objects["zero-shot"], labels)
        value = zeroshot.accuracy(on_task["zero-shot"], true)
        rows.append(row | {"model": "zero-shot, all names", "objects": at, "accuracy": value})
    return rows


def fit_probes(lab, model, seed):
    """Probes on objects that are not shifted -> {"1": (weights (D, 100), bias (100,)), ..., "all": ...}.

    The strength of a few-shot probe's penalty is the best on the whole of validation, which favours it.
    """
    train, validation, _ = splits(lab, model, "objects")
    probes = {}
    for k in SHOTS:
        some = few(train[1], k, seed)
        if len(some) < k * len(OBJECTS.classes):
            continue  # at a small budget there are not so many
        features = train[0][some]
        labels = train[1][some]
        _, _, strength = zeroshot.linear_probe(features, labels, *validation)
        probes[str(k)] = zeroshot.logistic_regression(features, labels, strength)
    W, b, _ = zeroshot.linear_probe(*train, *validation)
    probes["all"] = W, b
    return probes


def all_scores(lab, name, model, weights, probes):
    """-> {classifier: its scores (n, 100) for all objects on a task's pictures}, labels (n,)."""
    images, labels = examples(name, "test", lab.size(name, "test", 1))
    scores = {"zero-shot": zeroshot.encode_images(model, images) @ weights}
    features = zeroshot.encode_penultimate(model, images).double()  # (n, D)
    for key, (W, b) in probes.items():
        scores[key] = features @ W + b
    return scores, labels


# ---- Tables of what was measured -----------------------------------------------------------------


def values_of(rows, model, shifts, column="accuracy"):
    """A classifier's values on these tasks -> (shifts, seeds)."""
    table = []
    for shift in shifts:
        table.append([row[column] for row in rows if row["model"] == model and row["shift"] == shift])
    return np.array(table)


def supervised_points(rows, shifts):
    """What the supervised models get on objects and under these shifts, on average -> x, y (pools x seeds,)."""
    x = []
    y = []
    for model in models(rows):
        if model.startswith("pool"):
            x.extend(values_of(rows, model, shifts, "objects").mean(axis=0))
            y.extend(values_of(rows, model, shifts).mean(axis=0))
    return np.array(x), np.array(y)


def models(rows):
    """The names of all models and classifiers, each once, in order of first appearance."""
    return list(dict.fromkeys(row["model"] for row in rows))


def clip_classifiers(rows):
    """Those of CLASSIFIERS that were measured: at a small budget some probes have too few examples."""
    return [model for model in CLASSIFIERS if model in models(rows)]


def robustness(rows, model, shifts):
    """Points of a classifier above the line of supervised models -> (shifts, seeds)."""
    table = []
    for shift in shifts:
        x, y = supervised_points(rows, [shift])
        at = values_of(rows, model, [shift], "objects")[0]
        value = values_of(rows, model, [shift])[0]
        table.append(100 * effective_robustness(x, y, at, value))
    return np.array(table)


def gains(rows, better, worse, shifts):
    """Points of one classifier above another -> (shifts, seeds)."""
    return 100 * (values_of(rows, better, shifts) - values_of(rows, worse, shifts))


# ---- Drawn ---------------------------------------------------------------------------------------


def draw(rows):
    """Above, as Figure 15: probes and zero-shot under shifts. Below, as Figure 14: what adapting gains."""
    figure = Figure(figsize=(8.5, 11.5), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=[1.2, 0.8, 1])
    # accuracies
    seen = figure.add_subplot(grid[0, 0])
    draw_accuracies(seen, rows, SEEN)
    seen.set_title("mean of the shifts that the web has seen", fontsize=10)
    seen.legend(fontsize=9, loc="upper left")
    control = figure.add_subplot(grid[0, 1])
    draw_accuracies(control, rows, [CONTROL])
    control.set_title(f"{CONTROL}, which it has not seen", fontsize=10)
    # effective robustness
    draw_by_examples(figure.add_subplot(grid[1, :]), rows)
    # gains
    adapted = ["objects", *SEEN, CONTROL]
    left = figure.add_subplot(grid[2, 0])
    draw_gains(left, gains(rows, "all", "zero-shot", adapted), adapted)
    left.set_title("Figure 14: a probe on all of objects", fontsize=10)
    left.set_xlabel("points gained over zero-shot; dots: seeds\npaper: +9.2 on ImageNet, -4.7 to +5.8 under shifts",
                    fontsize=9)
    right = figure.add_subplot(grid[2, 1])
    draw_gains(right, gains(rows, "zero-shot", "zero-shot, all names", SOME), SOME)
    right.set_title("Figure 14: a task's own class names", fontsize=10)
    right.set_xlabel("points gained over a hundred names; dots: seeds\npaper: robustness +5 on average", fontsize=9)
    return figure


def draw_accuracies(axis, rows, shifts):
    """Supervised models and their line, probes by their number of examples, and zero-shot for each seed."""
    logit_axes(axis)
    axis.set_xlabel("on objects (%)", fontsize=9)
    axis.set_ylabel("under the shift (%); small: seeds", fontsize=9)
    x, y = supervised_points(rows, shifts)
    axis.plot(clipped(x), clipped(y), ".", color=BLUE, alpha=0.4, label="supervised")
    draw_line(axis, x, y)
    path = []
    for model in clip_classifiers(rows):
        at = clipped(values_of(rows, model, shifts, "objects").mean(axis=0))  # (seeds,)
        values = clipped(values_of(rows, model, shifts).mean(axis=0))
        if model == "zero-shot":
            axis.plot(at, values, "*", color=ORANGE, markersize=10, label="zero-shot")
            continue
        axis.plot(at, values, ".", color=GREEN, markersize=4, alpha=0.5)
        point = at.mean(), values.mean()
        path.append(point)
        axis.annotate(model, point, xytext=(4, -11), textcoords="offset points", fontsize=9, color=GREEN)
    axis.plot(*zip(*path), "o-", color=GREEN, label="probe, examples a class")


def draw_by_examples(axis, rows):
    """Effective robustness of zero-shot and of each probe, with intervals over shifts and seeds."""
    names = clip_classifiers(rows)
    for shifts, colour, label, move in ((SEEN, BLUE, "shifts the web has seen", -0.12),
                                        ([CONTROL], ORANGE, f"{CONTROL}, not seen", 0.12)):
        for i, model in enumerate(names):
            table = robustness(rows, model, shifts)
            by_seed = table.mean(axis=0)
            bars = axis.bar(i + move, by_seed.mean(), 0.22, color=colour)
            axis.plot([i + move] * len(by_seed), by_seed, "k.", markersize=4)
            axis.vlines(i + move, *interval(np.mean, table), color="black", linewidth=1)
        bars.set_label(label)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xticks(range(len(names)), names, fontsize=9)
    axis.set_xlabel("examples a class that a probe is fitted to", fontsize=9)
    axis.set_ylabel("points above the line", fontsize=9)
    axis.set_title("Effective robustness, 95 % over shifts and seeds; "
                   "paper: the more examples, the less", fontsize=10)
    axis.legend(fontsize=9, loc="upper left", bbox_to_anchor=(0.14, 1))


def draw_gains(axis, table, names):
    """Bars of points gained (tasks, seeds), the most on top, a dot for each seed; objects and the control marked."""
    order = table.mean(axis=1).argsort()
    for y, i in enumerate(order):
        colour = BLUE
        if names[i] == "objects":
            colour = GREEN
        if names[i] == CONTROL:
            colour = ORANGE
        axis.barh(y, table[i].mean(), color=colour)
        axis.plot(table[i], [y] * len(table[i]), "k.", markersize=4)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(names)), [names[i] for i in order], fontsize=9)
    axis.tick_params(axis="x", labelsize=9)
