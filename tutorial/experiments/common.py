"""What the experiments share: colours, keys of the code, classifiers on tasks, intervals, tables.

Letters in shape comments: n images, N classes, E features.
"""
import ast
import csv
import hashlib
import math
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(ROOT))
import zeroshot
from tasks import TASKS, examples

# Okabe and Ito's colours, which the colour-blind can tell apart, too
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
GREY = "#888888"
SHOTS = [1, 2, 4, 8, 16]  # examples of each class that a few-shot probe is fitted to
POOL = 1400  # labelled pictures that CLIP's rival is trained on: with so many it equals zero-shot CLIP on "objects"
CLEAR = 1.25  # zero-shot of more than so many times chance counts as well above it

# the code that models are made by, and the code that measurements are made by
OF_MODELS = (ROOT / "clip_minimal.py", ROOT / "train_tiny.py", HERE / "web.py", HERE / "lab.py")
OF_POOLS = (HERE / "tasks.py",)
OF_MEASUREMENTS = (*OF_MODELS, ROOT / "zeroshot.py", HERE / "tasks.py", HERE / "common.py")

# ---- Keys that change with the code --------------------------------------------------------------


@cache
def code_key(paths):
    """Sixteen letters and digits that change when code in these files changes, and not when only its sentences do."""
    trees = [without_sentences(path.read_text(encoding="utf-8")) for path in paths]
    digest = hashlib.sha256("\n".join(trees).encode())
    return digest.hexdigest()[:16]


def without_sentences(source):
    """Python code -> its syntax tree, as a text, without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        can_have_one = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        if can_have_one and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


# ---- Classifiers on tasks ------------------------------------------------------------------------


def zero_shot(model, tokenizer, name, images, labels, templates=None, classes=None):
    """A task's metric for the classifier that is made from text (Section 3.1).

    The text is the task's own class names and sentences, unless others are given.
    """
    features = zeroshot.encode_images(model, images)
    return zero_shot_on(model, tokenizer, name, features, labels, templates, classes)


def zero_shot_on(model, tokenizer, name, features, labels, templates=None, classes=None):
    """The same for images that are encoded already, features (n, E) of unit length."""
    task = TASKS[name]
    classes = classes or task.classes
    templates = templates or task.templates
    weights = zeroshot.zero_shot_classifier(model, tokenizer, classes, templates)  # (E, N)
    return task.metric(features @ weights, labels)


def splits(lab, model, name, each=4):
    """A task's three splits, as a linear probe takes them -> [(features, labels), ...].

    The features are those before the projection. The training split has at least `each` images of
    every class.
    """
    sizes = {
        "train": lab.size(name, "train", each),
        "validation": lab.size(name, "validation"),
        "test": lab.size(name, "test"),
    }
    found = []
    for split, n in sizes.items():
        images, labels = examples(name, split, n)
        features = zeroshot.encode_penultimate(model, images)
        found.append((features, labels))
    return found


def few(labels, shots, seed):
    """So many examples of each class, drawn at random -> their places among labels (shots N,)."""
    rng = np.random.default_rng((shots, seed))
    order = torch.from_numpy(rng.permutation(len(labels)))
    chosen = []
    for label in labels.unique():
        of_class = order[labels[order] == label]
        chosen.append(of_class[:shots])
    return torch.cat(chosen)


def scores_on_task(lab, seed, name, shots=(), kind="CLIP"):
    """A task's metric on its test images -> {"zero-shot": value, "probe": value, "1": value, ...}.

    Measured are the classifier from text, the linear probe on all training images, and for each number
    in `shots` a probe on so many examples of each class. `kind` is "CLIP" or one of OUTPUTS; those have
    no classifier from text, and nan stands in its place.

    The strength of a few-shot probe's penalty is the best on the whole of validation, which favours
    these probes. They are not fitted to validation as well, as the linear probe is.
    """
    key = ["scores", seed, name, list(shots)]
    if kind != "CLIP":
        key.append(kind)
    return lab.remember(key, lambda: measure_scores(lab, seed, name, shots, kind))


def measure_scores(lab, seed, name, shots, kind):
    """What scores_on_task returns, measured now."""
    tokenizer = None
    if kind == "CLIP":
        model, tokenizer = lab.clip(seed)
    else:
        model = lab.image_model(seed, kind)
    metric = TASKS[name].metric
    each = max([4, *shots])
    train_split, validation, test = splits(lab, model, name, each)
    features, labels = test
    features = features.double()  # as the weights of a probe are
    values = {"zero-shot": math.nan}
    # the classifier from text
    if tokenizer is not None:
        test_images, test_labels = examples(name, "test", lab.size(name, "test"))
        values["zero-shot"] = zero_shot(model, tokenizer, name, test_images, test_labels)
    # the probe on all training images
    W, b, _ = zeroshot.linear_probe(*train_split, *validation, metric)
    values["probe"] = metric(features @ W + b, labels)
    # probes on a few of them
    for k in shots:
        chosen = few(train_split[1], k, seed)
        some = [part[chosen] for part in train_split]  # their features, their labels
        _, _, strength = zeroshot.linear_probe(*some, *validation, metric)
        W, b = zeroshot.logistic_regression(*some, strength)
        values[str(k)] = metric(features @ W + b, labels)
    return values


# ---- Arithmetic ----------------------------------------------------------------------------------


def examples_to_match(shots, values, target):
    """How many examples of each class a probe needs to reach the target, as in Figure 7.

    values[i] is what it reaches with shots[i] examples. The values are joined by lines over the
    logarithm of the shots. The first line is followed on below shots[0], but not below half of it, as
    a value that is no better than chance would lead it anywhere. Infinite if no value reaches the target.
    """
    reaching = [i for i, value in enumerate(values) if value >= target]
    if not reaching:
        return math.inf
    first = reaching[0]
    if first == 0 and values[1] <= values[0]:
        return shots[0]  # the first line leads nowhere below
    # the line that reaches the target; the first one if its start is there already
    end = max(first, 1)
    start = end - 1
    # how far along that line the target is: 0 at its start, 1 at its end
    way = (target - values[start]) / (values[end] - values[start])
    needed = shots[start] * (shots[end] / shots[start]) ** way
    return max(shots[0] / 2, needed)


def interval(statistic, *columns, draws=2000):
    """The middle 95 % of a statistic over resampled rows (the bootstrap) -> (low, high).

    statistic(*columns) is a number; the columns are alike long. Each draw picks as many rows as there
    are, with repetition, the same ones of all columns. Draws in which the statistic is nan are left out.
    A column (tasks, seeds), see `of_seeds`, stands for the means over the seeds; then each draw picks seeds
    with repetition, too, the same ones of all tasks.
    """
    rng = np.random.default_rng(0)
    rng_of_seeds = np.random.default_rng(1)
    columns = [np.asarray(column) for column in columns]
    n = len(columns[0])
    many = columns[0].shape[-1]  # seeds, if there are any
    values = []
    for rows in rng.integers(n, size=(draws, n)):
        resampled = []
        seeds = rng_of_seeds.integers(many, size=many)
        for column in columns:
            column = column[rows]
            if column.ndim == 2:
                column = column[:, seeds].mean(axis=1)
            resampled.append(column)
        values.append(statistic(*resampled))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return low, high


def of_seeds(rows, value):
    """Rows of dicts -> row[value] of each task, in order of first appearance, with each seed: (tasks, seeds)."""
    values = {}
    for row in rows:
        values.setdefault(row["task"], []).append(row[value])
    return np.array(list(values.values()))


def mean_over_seeds(rows, value, by="task"):
    """Rows of dicts -> {row[by]: mean of row[value] over the seeds}, in order of first appearance."""
    values = {}
    for row in rows:
        values.setdefault(row[by], []).append(row[value])
    return {key: np.mean(of_key) for key, of_key in values.items()}


# ---- Tables --------------------------------------------------------------------------------------


def write_table(path, rows):
    """Write rows, dicts with the same keys, to a CSV file. Floats get six digits."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        for row in rows:
            cells = dict(row)
            for key, value in row.items():
                if isinstance(value, float):
                    cells[key] = f"{value:.6g}"
            table.writerow(cells)
