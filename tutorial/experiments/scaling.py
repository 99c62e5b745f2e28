"""Figures 9 and 10: zero-shot error and linear probes over the operations of eight image encoders."""
import numpy as np
from matplotlib.figure import Figure

import zeroshot
from common import BLUE, GREY, ORANGE, interval, splits, zero_shot
from sizes import MODELS, STEPS, clip, megaflops, resnet, some_models, some_tasks
from tasks import TASKS, examples

# Figure 10 has an average over twelve datasets of other people's choice. These twelve tasks are of all
# groups that have labels to train on, and have at most 26 classes, to save time.
PROBED = ["ten objects", "counts", "tools", "chess pieces", "dice faces", "faces", "clock hours", "scenery",
          "textures", "colours", "places", "letters"]


# the two kinds of models, by whether they are ResNets: name, colour and marker
LOOKS = {True: ("ResNets", BLUE, "o"), False: ("vision transformers", ORANGE, "s")}


def probes(lab, seed, name):
    """-> {task: the metric of a linear probe on this model's features}."""
    def measure():
        model, _ = clip(lab, seed, name)
        values = {}
        for task in some_tasks(lab):
            if task not in PROBED:
                continue
            train, valid, test = splits(lab, model, task)
            features, labels = test
            metric = TASKS[task].metric
            W, b, _ = zeroshot.linear_probe(*train, *valid, metric)
            values[task] = metric(features.double() @ W + b, labels)
        return values

    return lab.remember(["probes over sizes", STEPS, seed, name], measure)


def zero_shots(lab, seed, name):
    """-> {task: this model's zero-shot metric, with the task's own sentences}."""
    def measure():
        model, tokenizer = clip(lab, seed, name)
        values = {}
        for task in some_tasks(lab):
            images, labels = examples(task, "test", lab.size(task, "test"))
            values[task] = zero_shot(model, tokenizer, task, images, labels)
        return values

    return lab.remember(["sizes", STEPS, seed, name], measure)


def measure(lab):
    """-> a row for each model and task: zero-shot with the task's own sentences, the probe if there is one."""
    rows = []
    seed = lab.seeds[0]
    for name in some_models(lab):
        probed = probes(lab, seed, name)
        for task, value in zero_shots(lab, seed, name).items():
            rows.append({
                "model": name,
                "MFLOPs": megaflops(MODELS[name]),
                "task": task,
                "seed": seed,
                "chance": float(TASKS[task].chance()),
                "zero-shot": value,
                "probe": probed.get(task, ""),
            })
    return rows


def slope(x, errors):
    """The exponent of a power law: the slope of a line through logarithms.

    x are operations (models,), errors (models, tasks). -0.1 is an error a fifth less for ten times the
    operations.
    """
    means = [np.mean(error) for error in errors]
    steepness, _ = np.polyfit(np.log(x), np.log(means), 1)
    return steepness


def table(rows, way, kind):
    """One column of the rows, `way`, for ResNets (kind=True) or for the others, in per cent.

    -> million operations (models,), values (models, tasks); tasks that have no value are left out.
    """
    values = {}
    for row in rows:
        if resnet(row["model"]) == kind and row[way] != "":
            values.setdefault(row["MFLOPs"], []).append(100 * row[way])
    return np.array(list(values)), np.array(list(values.values()))


def draw(rows):
    """Left, as Figure 9: error over operations, and a line through the ResNets. Right, as Figure 10: probes."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axis, way in ((left, "zero-shot"), (right, "probe")):
        draw_models(axis, rows, way, kind=True)
        draw_models(axis, rows, way, kind=False)
    draw_line(left, rows)
    draw_chance(left, rows, "zero-shot")
    draw_chance(right, rows, "probe")
    # axes
    for axis in (left, right):
        axis.set(xscale="log", xlabel="million operations per image (a multiply-add is two)")
        axis.margins(x=0.2)  # for the last name
    left.set(yscale="log", ylabel="zero-shot error (%)", ylim=(None, 100))
    left.yaxis.set_major_formatter("{x:.0f}")
    left.yaxis.set_minor_formatter("{x:.0f}")
    right.set(ylabel="linear probe (%)", ylim=(0, 100))
    left.legend(fontsize=8, loc="upper right")
    right.legend(fontsize=8, loc="upper left")
    return figure


def draw_models(axis, rows, way, kind):
    """Draw the models of a kind: a point for the mean over tasks, with a bar and the model's name.

    Zero-shot is drawn as an error; probes are joined by a line.
    """
    label, colour, marker = LOOKS[kind]
    x, values = table(rows, way, kind)
    line = "-"
    if way == "zero-shot":
        values = 100 - values
        line = "none"
    mean = values.mean(axis=1)  # (models,)
    intervals = np.array([interval(np.mean, of_model) for of_model in values])  # (models, 2)
    bars = abs(intervals.T - mean)  # (2, models), how long below and above
    axis.errorbar(x, mean, bars, fmt=marker, linestyle=line, color=colour, capsize=3, elinewidth=0.8,
                  label=label)
    # names, by turns to the right and to the left
    names = dict.fromkeys(row["model"] for row in rows if resnet(row["model"]) == kind)
    for i, (name, a, b) in enumerate(zip(names, x, mean)):
        offset = (5, 3)
        alignment = "left"
        if i % 2 == 1:
            offset = (-5, -9)
            alignment = "right"
        axis.annotate(name, (a, b), xytext=offset, textcoords="offset points", fontsize=7, ha=alignment)


def draw_line(axis, rows):
    """Draw the power law that the ResNets' mean error follows, a line between logarithmic axes."""
    x, accuracy = table(rows, "zero-shot", True)
    errors = 100 - accuracy  # (models, tasks)
    steepness = slope(x, errors)
    low, high = interval(lambda *resampled: slope(x, resampled), *errors)
    # the line goes through the means of the logarithms
    log_x = np.log(x)
    log_error = np.log(100 - accuracy.mean(axis=1))
    line = np.exp(log_error.mean() + steepness * (log_x - log_x.mean()))
    label = f"slope {steepness:.3f} (95 % over tasks {low:.3f} to {high:.3f})"
    axis.plot(x, line, "--", color=BLUE, linewidth=1, label=label)


def draw_chance(axis, rows, way):
    """Draw what a guess gets, as an error for zero-shot; the title tells the number of tasks."""
    some = [row for row in rows if row[way] != ""]
    tasks = len({row["task"] for row in some})
    level = 100 * np.mean([row["chance"] for row in some])
    if way == "zero-shot":
        level = 100 - level
    axis.axhline(level, color=GREY, linestyle=":", label="chance")
    axis.set_title(f"mean of {tasks} tasks, one seed; bars: 95 % over tasks")
