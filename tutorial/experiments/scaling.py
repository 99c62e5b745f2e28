"""Figures 9 and 10: zero-shot error and linear probes over the operations of eight image encoders.

In the paper the zero-shot error of five ResNets, averaged over 39 evaluations, falls with the operations
of the image encoder as a line between logarithmic axes, over a factor of 44, while single evaluations
are much noisier (Figure 9). By the 27 datasets of its Table 11 the slope is -0.075. Figure 10 has linear
probes on twelve and on 27 datasets, and finds vision transformers about three times as efficient.

Here the models of sizes.py are trained on the web and tried on the tasks. The tasks are grouped by how
often the captions told the words of their classes: words that no caption has can't be learned, whatever
the size, so their share of the error stays. ResNets are also trained on a web in which all things are
equally frequent, so that there are no rarer words for the larger ones to learn (three of them, to save
time). Besides, the things that each model names are counted by how common they are on the web.
"""
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

import zeroshot
from common import BLUE, GREEN, GREY, ORANGE, splits, zero_shot
from figure5 import things_named
from sizes import MODELS, RATES, SEARCH_STEPS, STEPS, clip, megaflops, resnet, some_models, some_tasks
from tasks import TASKS, examples
from web import NAMES

# Figure 10 has an average over twelve datasets of other people's choice. These twelve tasks are of all
# groups but relations that have labels to train on, and have at most 26 classes, to save time.
PROBED = ["ten objects", "counts", "tools", "chess pieces", "dice faces", "faces", "clock hours", "scenery",
          "textures", "colours", "places", "letters"]
EXPONENTS = {"web": 1.0, "equal frequencies": 0.0}  # of the two webs
CONTROLS = ["RN-2", "RN-8", "RN-16"]  # what is trained on the second, too
OFTEN = 100  # of 30,000 captions; see `told`
LEARNED = 0.3  # a model that names fewer of the hundred objects has not converged, and is drawn hollow
PAPER = -0.075  # the slope of a line through the five ResNets' mean error in Table 11

# the two kinds of models, by whether they are ResNets: name, colour and marker
LOOKS = {True: ("ResNets", BLUE, "o"), False: ("vision transformers", ORANGE, "s")}
GROUPS = {"often": GREEN, "seldom": ORANGE, "never": GREY}  # how often captions told a task's words
THINGS = "things"  # stands in the place of such a group in rows that are of things, not of a task
# the web's things by their ranks, first and last of each group; the commonest thing has rank 1; and a colour
RANKS = {(1, 10): "#440154", (11, 30): "#3b528b", (31, 100): "#21918c", (101, 200): "#5ec962", (201, 451): "#fde725"}

# ---- Measuring -----------------------------------------------------------------------------------


def measure_model(lab, seed, name, exponent):
    """-> {task: its zero-shot metric}, {task: the metric of a linear probe} of one model."""
    def measure():
        model, tokenizer = clip(lab, seed, name, exponent)
        answers = {}
        probes = {}
        for task in some_tasks(lab):
            images, labels = examples(task, "test", lab.size(task, "test"))
            answers[task] = float(zero_shot(model, tokenizer, task, images, labels))
            if task in PROBED and exponent == 1:
                probes[task] = probe(lab, model, task)
        return answers, probes

    key = ["values over sizes", STEPS, RATES, SEARCH_STEPS, PROBED, seed, repr(MODELS[name]), exponent]
    return lab.remember(key, measure)


def probe(lab, model, task):
    """The metric of a linear probe on the model's features."""
    train, validation, (features, labels) = splits(lab, model, task)
    metric = TASKS[task].metric
    W, b, _ = zeroshot.linear_probe(*train, *validation, metric)
    return float(metric(features.double() @ W + b, labels))


def measure_things(lab, seed, name, exponent):
    """-> {(first, last): the share of pictures of things with these ranks to which the model gives their names}."""
    key = ["things over sizes", STEPS, RATES, SEARCH_STEPS, seed, repr(MODELS[name]), exponent]
    named = lab.remember(key, lambda: things_named(lab, *clip(lab, seed, name, exponent)))
    return {(first, last): float(np.mean(named[first - 1:last])) for first, last in RANKS}


def told(lab, task):
    """How often the captions told the words of a task's classes: "often", "seldom" or "never".

    What counts is the median over the classes: "never" means that more than half of them were not told at all.
    """
    median = np.median(lab.occurrences(task))
    if median >= OFTEN:
        return "often"
    if median > 0:
        return "seldom"
    return "never"


def measure(lab):
    """-> a row for each model, web, seed and task: zero-shot, and the probe if there is one.

    Behind those of the tasks is a row for each group of RANKS: the share of pictures of these things that get
    their names, among all things. Rank 1 is the commonest thing of the web.
    """
    groups = {task: told(lab, task) for task in some_tasks(lab)}
    rows = []
    for name in some_models(lab):
        for web, exponent in EXPONENTS.items():
            if exponent == 0 and name not in CONTROLS:
                continue
            for seed in lab.seeds:
                start = {"model": name, "MFLOPs": megaflops(MODELS[name]), "web": web, "seed": seed}
                answers, probes = measure_model(lab, seed, name, exponent)
                for task, value in answers.items():
                    rows.append({
                        **start,
                        "task": task,
                        "told": groups[task],
                        "chance": float(TASKS[task].chance()),
                        "zero-shot": value,
                        "probe": probes.get(task, ""),
                    })
                for (first, last), share in measure_things(lab, seed, name, exponent).items():
                    rows.append({
                        **start,
                        "task": f"things {first} to {last}",
                        "told": THINGS,
                        "chance": 1 / len(NAMES),
                        "zero-shot": share,
                        "probe": "",
                    })
    return rows


# ---- Arithmetic ----------------------------------------------------------------------------------


def table(rows, way, kind, web="web", group=None):
    """One column of the rows, `way`, for ResNets (kind=True) or for the others, in per cent.

    -> million operations (models,), values (models, seeds, tasks). Tasks that have no value are left
    out, and so are those of other groups if one is given.
    """
    found = {}
    for row in rows:
        fits = resnet(row["model"]) == kind and row["web"] == web and group in (None, row["told"])
        if fits and row[way] != "":
            of_model = found.setdefault(row["MFLOPs"], {})
            of_model.setdefault(row["seed"], []).append(100 * row[way])
    arrays = [list(of_model.values()) for of_model in found.values()]
    return np.array(list(found)), np.array(arrays)


def slope(x, errors):
    """The exponent of a power law: the slope of a line through logarithms.

    x are operations (models,), errors (models, seeds, tasks). -0.1 is an error a fifth less for ten
    times the operations.
    """
    means = errors.mean(axis=(1, 2))  # (models,)
    steepness, _ = np.polyfit(np.log(x), np.log(means), 1)
    return steepness


def resampled(statistic, values, draws=2000):
    """The middle 95 % of a statistic of values (models, seeds, tasks) -> (low, high).

    Each draw picks as many seeds and as many tasks as there are, with repetition, the same of all models.
    """
    rng = np.random.default_rng(0)
    _, seeds, tasks = values.shape
    results = []
    for _ in range(draws):
        some_seeds = rng.integers(seeds, size=seeds)
        drawn_tasks = rng.integers(tasks, size=tasks)
        drawn = values[:, some_seeds][:, :, drawn_tasks]  # (models, seeds, tasks)
        results.append(statistic(drawn))
    return np.percentile(results, [2.5, 97.5], axis=0)


def guessing_error(rows):
    """The mean error over all tasks, in per cent, if those whose words are never told were guessed, all others right.

    The error bends towards something like it as models grow. It is no bound: of words that were never
    told some parts were, and a class can be found by ruling out the others.
    """
    errors = {}
    for row in rows:
        errors[row["task"]] = 0.0
        if row["told"] == "never":
            errors[row["task"]] = 100 * (1 - row["chance"])
    return np.mean(list(errors.values()))


def converged(rows, megaflops):
    """Whether the model with so many operations has learned the names of the objects, on average over seeds."""
    named = []
    for row in rows:
        if row["MFLOPs"] == megaflops and row["web"] == "web" and row["task"] == "objects":
            named.append(row["zero-shot"])
    return not named or np.mean(named) >= LEARNED


# ---- The figure ----------------------------------------------------------------------------------


def draw(rows):
    """Above: Figure 9, and its error by groups of tasks. Then the control, and Figure 10. Below: single things."""
    tasks = [row for row in rows if row["told"] != THINGS]
    things = [row for row in rows if row["told"] == THINGS]
    figure = Figure(figsize=(8.5, 12), layout="constrained")
    axes = figure.subplots(3, 2)
    draw_errors(axes[0, 0], tasks)
    draw_groups(axes[0, 1], tasks)
    draw_control(axes[1, 0], tasks)
    draw_probes(axes[1, 1], tasks)
    draw_things(axes[2, 0], things, "web", "ResNets on the web:\nthings of these ranks, the commonest first")
    draw_things(axes[2, 1], things, "equal frequencies", "ResNets on the web of equal frequencies:\nthe same things")
    for axis in axes.flat:
        columns = 3 if axis in axes[2] else 1
        axis.set(xscale="log", xlim=(0.25, 65), xlabel="million operations per image")
        axis.title.set_fontsize(10)
        axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=columns)
    for axis in axes.flat[:3]:
        axis.set_ylabel("zero-shot error (%)")
    return figure


def draw_models(axis, rows, x, values, look):
    """A dot for each seed; the mean over seeds and tasks with its interval, hollow if names are not learned."""
    label, colour, marker = look
    means = values.mean(axis=(1, 2))  # (models,)
    low, high = resampled(lambda drawn: drawn.mean(axis=(1, 2)), values)
    for i, of_model in enumerate(values):
        fill = colour
        if not converged(rows, x[i]):
            fill = "white"
        axis.plot([x[i]] * len(of_model), of_model.mean(axis=1), ".", color=colour, markersize=4)
        bar = [[means[i] - low[i]], [high[i] - means[i]]]
        axis.errorbar(x[i], means[i], bar, fmt=marker, color=colour, markerfacecolor=fill, capsize=3,
                      elinewidth=0.8)
    axis.plot([], [], marker, color=colour, label=label)


def draw_line(axis, x, errors, name, colour):
    """The power law that the mean error follows, a line between logarithmic axes; its slope is in the legend."""
    steepness = slope(x, errors)
    low, high = resampled(lambda drawn: slope(x, drawn), errors)
    label = f"{name}: slope {steepness:.3f}\n(95 % over seeds and tasks {low:.3f} to {high:.3f})"
    axis.plot(x, power_law(x, errors, steepness), "--", color=colour, linewidth=1, label=label)


def power_law(x, errors, steepness):
    """The line of this slope through the mean of the logarithms -> errors (models,)."""
    log_x = np.log(x)
    log_error = np.log(errors.mean(axis=(1, 2)))
    return np.exp(log_error.mean() + steepness * (log_x - log_x.mean()))


def draw_errors(axis, rows):
    """Figure 9: all models, and a line through the ResNets."""
    for kind, look in LOOKS.items():
        x, values = table(rows, "zero-shot", kind)
        if len(x) > 0:
            draw_models(axis, rows, x, 100 - values, look)
    x, values = table(rows, "zero-shot", True)
    errors = 100 - values
    draw_line(axis, x, errors, "ResNets", BLUE)
    axis.plot(x, power_law(x, errors, PAPER), ":", color="black", label=f"the paper's slope, {PAPER}")
    axis.axhline(guessing_error(rows), color=GREY, label="words never told guessed, no other error")
    tasks = values.shape[2]
    seeds = values.shape[1]
    title = f"Figure 9: mean of {tasks} tasks, {seeds} seeds (dots)\nhollow: names not learned; bars: 95 %"
    axis.set(yscale="log", title=title)
    plain_numbers(axis)


def draw_groups(axis, rows):
    """The ResNets' error on tasks whose words the captions tell often, seldom and never."""
    for group, colour in GROUPS.items():
        x, values = table(rows, "zero-shot", True, group=group)
        if len(x) == 0:
            continue
        errors = 100 - values
        name = f"{group} told ({values.shape[2]} tasks)"
        axis.plot(x, errors.mean(axis=2), ".", color=colour, markersize=4)
        axis.plot(x, errors.mean(axis=(1, 2)), "o", color=colour)
        draw_line(axis, x, errors, name, colour)
    axis.set(yscale="log", title="ResNets, by how often captions\ntell the words of a task")
    plain_numbers(axis)


def draw_control(axis, rows):
    """ResNets of CONTROLS on the web and on one with equal frequencies, on the tasks whose words are told."""
    told_rows = [row for row in rows if row["told"] != "never" and row["model"] in CONTROLS]
    for web, colour in zip(EXPONENTS, [BLUE, GREEN]):
        x, values = table(told_rows, "zero-shot", True, web)
        if len(x) == 0:
            continue
        errors = 100 - values
        axis.plot(x, errors.mean(axis=2), ".", color=colour, markersize=4)
        axis.plot(x, errors.mean(axis=(1, 2)), "o-", color=colour, linewidth=0.6)
        draw_line(axis, x, errors, web, colour)
    tasks = values.shape[2]
    axis.set(yscale="log", title=f"ResNets on the {tasks} tasks whose words are told:\nthe web and one of equal frequencies")
    axis.yaxis.set_major_locator(MultipleLocator(5))
    axis.minorticks_off()
    plain_numbers(axis)


def draw_probes(axis, rows):
    """Figure 10: linear probes."""
    tasks = 0
    for kind, look in LOOKS.items():
        x, values = table(rows, "probe", kind)
        if values.size > 0:
            draw_models(axis, rows, x, values, look)
            tasks = values.shape[2]
    chances = [row["chance"] for row in rows if row["probe"] != ""]
    if chances:
        axis.axhline(100 * np.mean(chances), color=GREY, linestyle=":", label="chance")
    axis.set(ylabel="linear probe (%)", ylim=(0, 100), title=f"Figure 10: mean of {tasks} tasks with labels")


def draw_things(axis, rows, web, title):
    """How many pictures of things get their names: a line for each group of RANKS, a dot for each seed."""
    for (first, last), colour in RANKS.items():
        some = [row for row in rows if row["task"] == f"things {first} to {last}"]
        x, values = table(some, "zero-shot", True, web)  # (models,), (models, seeds, 1)
        axis.plot(x, values[:, :, 0], ".", color=colour, markersize=4)
        axis.plot(x, values.mean(axis=(1, 2)), "o-", color=colour, label=f"{first} to {last}")
    axis.set(ylabel="things named (%)", ylim=(0, 100), title=title)


def plain_numbers(axis):
    """Write the numbers of a logarithmic axis as they are, not as powers of ten."""
    axis.yaxis.set_major_formatter("{x:.0f}")
    axis.yaxis.set_minor_formatter("{x:.0f}")
