"""Figure 13: zero-shot CLIP and supervised models under shifts, and how far it is above their line.

The paper (Section 3.3, Figure 13) plots the accuracy under a shift of ImageNet against the accuracy on
ImageNet, for many models that were trained on ImageNet. On axes of logits they lie about a line. Zero-shot
CLIP lies above it: how far is its effective robustness.

Here "objects" is ImageNet, and its shifts are tasks of the same classes. The supervised models are trained
on pools of 500 to 4,000 labelled pictures of "objects". The web has seen pictures in the style of eight
shifts, and none in the style of the ninth, occlusion. Both accuracies are on the classes that the shift has.
"""
import numpy as np
import torch
from matplotlib.figure import Figure

import zeroshot
from common import BLUE, GREEN, GREY, ORANGE, POOL, interval
from tasks import TASKS, examples
from web import CONTROL

OBJECTS = TASKS["objects"]
SHIFTS = [name for name, task in TASKS.items() if task.group == "shifts"]
SEEN = [name for name in SHIFTS if name != CONTROL]  # shifts whose styles the web has
POOLS = [500, 700, 1000, POOL, 2000, 4000]  # labelled pictures that a supervised model is trained on
LIMITS = 0.005, 0.995  # shares that are drawn; beyond them logits grow without end
TICKS = [0.02, 0.1, 0.3, 0.7, 0.9, 0.98]
GAPS = {"ImageNetV2": 5.8, "ImageNet-R": 51.2, "ObjectNet": 39.7, "ImageNet Sketch": 35.0, "ImageNet-A": 74.4}

# ---- Measured ------------------------------------------------------------------------------------


def measure(lab):
    """-> a row for each seed, model and shift: its accuracy on the shift, and on objects of the same classes.

    "model" is "zero-shot", or the size of the pool of a supervised model.
    """
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        weights = zeroshot.zero_shot_classifier(model, tokenizer, OBJECTS.classes, OBJECTS.templates)  # (E, 100)
        rows += measure_model(lab, seed, "zero-shot", model, weights)
        rows += measure_supervised(lab, seed)
    return rows


def measure_supervised(lab, seed):
    """-> the rows of this seed's supervised models, one for each pool."""
    rows = []
    for pool in POOLS:
        model = lab.image_model(seed, "supervised", pool=pool)
        weights = torch.eye(len(OBJECTS.classes))  # its outputs are scores already
        rows += measure_model(lab, seed, str(pool), model, weights)
    return rows


def measure_model(lab, seed, name, model, weights):
    """-> a row for each shift; features @ weights (E, 100) are the model's scores for the hundred objects."""
    scores, labels = scores_on(lab, "objects", model, weights)
    rows = []
    for shift in SHIFTS:
        shifted_scores, shifted_labels = scores_on(lab, shift, model, weights)
        classes = numbers_of(shift)
        rows.append({
            "shift": shift,
            "seed": seed,
            "model": name,
            "chance": 1 / len(classes),
            "objects": accuracy_among(classes, scores, labels),
            "accuracy": accuracy_among(classes, shifted_scores, classes[shifted_labels]),
        })
    return rows


def scores_on(lab, name, model, weights):
    """What a model says of a task's pictures -> scores (n, 100) for all objects, labels (n,)."""
    images, labels = examples(name, "test", lab.size(name, "test", 1))
    features = zeroshot.encode_images(model, images)  # (n, E)
    return features @ weights, labels


def numbers_of(name):
    """The numbers among the hundred objects that a task's classes have -> (N,)."""
    numbers = [OBJECTS.classes.index(label) for label in TASKS[name].classes]
    return torch.tensor(numbers)


def accuracy_among(classes, scores, labels):
    """Accuracy on those pictures that show one of these classes (N,), for a choice among these alone.

    Scores are (n, 100), labels (n,), both of all hundred objects.
    """
    shows = labels[:, None] == classes  # (n, N)
    is_shown = shows.any(dim=1)  # (n,)
    right = shows[is_shown].int().argmax(dim=1)
    some_scores = scores[is_shown][:, classes]
    return zeroshot.accuracy(some_scores, right)


# ---- Computed ------------------------------------------------------------------------------------


def logit(share):
    """The log of the odds; shares near 0 and 1 are moved to 0.002 and 0.998."""
    share = np.clip(share, 0.002, 0.998)
    return np.log(share / (1 - share))


def line(x, y):
    """The line through points on axes of logits -> a function from an accuracy on objects to one on the shift."""
    slope, height = np.polyfit(logit(x), logit(y), 1)

    def expected(at):
        return 1 / (1 + np.exp(-slope * logit(at) - height))

    return expected


def effective_robustness(x, y, at, value):
    """How much better a classifier is under a shift than its accuracy on objects lets expect (Section 3.3).

    It gets `at` on objects and `value` on the shift. What is to be expected is told by other classifiers,
    which get x on objects and y on the shift: a line through them on axes of logits.
    """
    expected = line(x, y)
    return value - expected(at)


def columns(rows, shift):
    """Accuracies on objects and on a shift -> x, y of all supervised models; x, y of zero-shot, by seed."""
    supervised = []
    zero_shot = []
    for row in rows:
        if row["shift"] != shift:
            continue
        point = row["objects"], row["accuracy"]
        if row["model"] == "zero-shot":
            zero_shot.append(point)
        else:
            supervised.append(point)
    x, y = np.transpose(supervised)
    at, values = np.transpose(zero_shot)
    return x, y, at, values


def robustness(rows, shifts):
    """Points that zero-shot is above the supervised models' line -> (shifts, seeds)."""
    table = []
    for shift in shifts:
        x, y, at, values = columns(rows, shift)
        table.append(100 * effective_robustness(x, y, at, values))
    return np.array(table)


# ---- Drawn ---------------------------------------------------------------------------------------


def draw(rows):
    """A small panel for each shift with its pictures above it; below, how far zero-shot is above each line."""
    figure = Figure(figsize=(8.5, 13), layout="constrained")
    heights = [0.42, 2, 0.42, 2, 0.42, 2, 2.6]  # pictures and panel by turns, at last the bars
    grid = figure.add_gridspec(7, 3, height_ratios=heights)
    for i, shift in enumerate([*SEEN, CONTROL]):
        row = i // 3
        column = i % 3
        draw_pictures(figure.add_subplot(grid[2 * row, column]), shift)
        axis = figure.add_subplot(grid[2 * row + 1, column])
        draw_shift(axis, rows, shift)
        if column == 0:
            axis.set_ylabel("under the shift (%)", fontsize=9)
        if row == 2:
            axis.set_xlabel("on objects (%)", fontsize=9)
        if i == 0:
            axis.legend(fontsize=9, loc="upper left", handlelength=1, borderpad=0.2)
    draw_robustness(figure.add_subplot(grid[6, :]), rows)
    return figure


def draw_pictures(axis, shift):
    """Six pictures of a shift in a row, under its name."""
    images, _ = examples(shift, "test", 100)
    pictures = zeroshot.levels(images[:6])  # (6, 48, 48, 3)
    gap = np.ones((48, 3, 3), np.float32)
    parts = []
    for picture in pictures:
        parts += [picture, gap]
    axis.imshow(np.hstack(parts), interpolation="nearest")
    axis.axis("off")
    title = shift
    if shift == CONTROL:
        title += " (not in the web)"
    axis.set_title(title, fontsize=10)


def draw_shift(axis, rows, shift):
    """Supervised models and their line, and zero-shot for each seed."""
    x, y, at, values = columns(rows, shift)
    logit_axes(axis)
    axis.plot(clipped(x), clipped(y), ".", color=BLUE, alpha=0.6, label="supervised")
    draw_line(axis, x, y)
    axis.plot(clipped(at), clipped(values), "*", color=ORANGE, markersize=10, label="zero-shot")


def draw_line(axis, x, y):
    """The line through points on axes of logits."""
    along = np.linspace(*LIMITS, 200)
    expected = line(x, y)
    axis.plot(along, clipped(expected(along)), color=BLUE, linewidth=1)


def clipped(shares):
    """Shares, those beyond the limits moved to them."""
    return np.clip(shares, *LIMITS)


def logit_axes(axis):
    """Axes on which equal steps are equal steps of the log of the odds, as in Figure 13; shares as per cent."""
    axis.plot(LIMITS, LIMITS, "--", color=GREY, linewidth=0.8)  # where a shift costs nothing
    axis.set(xscale="logit", yscale="logit", xlim=LIMITS, ylim=LIMITS)
    labels = [f"{100 * tick:.0f}" for tick in TICKS]
    for side in (axis.xaxis, axis.yaxis):
        side.set_ticks(TICKS, labels, fontsize=9)
        side.set_ticks([], minor=True)


def draw_robustness(axis, rows):
    """Bars of the points above the line, dots for seeds; the mean of the shifts that the web has seen, and the paper's."""
    seen = robustness(rows, SEEN)  # (shifts, seeds)
    control = robustness(rows, [CONTROL])
    paper = np.array(list(GAPS.values()))[:, None]
    # each bar's name and values, from the top
    bars = [("mean of the paper's five", paper, GREY), ("mean of the eight seen", seen, GREEN)]
    for shift, values in zip(SEEN, seen):
        bars.append((shift, values[None], BLUE))
    bars.append((f"{CONTROL}, not seen", control, ORANGE))
    for i, (_, values, colour) in enumerate(bars):
        axis.barh(i, values.mean(), color=colour)
        axis.plot(values.mean(axis=0), [i] * values.shape[1], "k.", markersize=4)
    low, high = interval(np.mean, seen)
    axis.plot([low, high], [1, 1], "k", linewidth=1.5)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(bars)), [name for name, _, _ in bars], fontsize=9)
    axis.invert_yaxis()
    axis.set_title(f"Effective robustness of zero-shot: {seen.mean():+.1f} points, 95 % over shifts and seeds "
                   f"{low:+.1f} to {high:+.1f};\n{CONTROL} {control.mean():+.1f}", fontsize=10)
    axis.set_xlabel("points above the line of supervised models; dots: seeds\n"
                    "paper: points above a supervised ResNet-101 of equal accuracy on ImageNet", fontsize=9)
