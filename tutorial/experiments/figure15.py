"""Figure 15: robustness of probes on 1 to 16 examples a class and on all of unshifted objects, and of zero-shot."""
import numpy as np
from matplotlib.figure import Figure

import zeroshot
from common import BLUE, GREEN, GREY, ORANGE, SHOTS, few, splits, zero_shot
from figure13 import OBJECTS, SHIFTS, logit_axes, object_probe
from tasks import TASKS, examples


def accuracies(lab, seed):
    """-> {classifier: {task: accuracy}} on objects and their shifts: "0" is zero-shot, "1" to "16" are probes on so
    many examples a class, with the strength that is best on the whole of validation, which favours them, and "all"."""
    def measure():
        model, tokenizer = lab.clip(seed)
        train, valid, _ = splits(lab, model, "objects")
        shots = [k for k in SHOTS if len(train[1]) >= k * len(OBJECTS.classes)]
        probes, values = {"all": object_probe(lab, model, seed)}, {}
        for k in shots:
            some = [part[few(train[1], k, seed)] for part in train]
            probes[str(k)] = zeroshot.logistic_regression(*some, zeroshot.linear_probe(*some, *valid)[2])
        for name in ["objects", *SHIFTS]:
            images, labels = examples(name, "test", lab.size(name, "test", 1))
            at = [OBJECTS.classes.index(label) for label in TASKS[name].classes]
            features = zeroshot.encode_penultimate(model, images).double()  # (B, D)
            values[name] = {k: zeroshot.accuracy(features @ W[:, at] + b[at], labels) for k, (W, b) in probes.items()}
            values[name]["0"] = zero_shot(model, tokenizer, name, images, labels)
        return {k: {name: value[k] for name, value in values.items()} for k in ("0", *map(str, shots), "all")}

    return lab.remember(["shots and shifts", seed], measure)


def measure(lab):
    """-> a row for each seed, number of examples a class, "0" zero-shot, and task: its accuracy."""
    return [{"examples": k, "task": name, "seed": seed, "chance": TASKS[name].chance(), "accuracy": value}
            for seed in lab.seeds for k, values in accuracies(lab, seed).items() for name, value in values.items()]


def effective_robustness(x, y, at, value):
    """Of a classifier that gets `at` on objects and `value` on a shift: how much more that is than what other ones, x
    on objects and y on the shift, let expect; theirs lie about a line where both axes are logits (Section 3.3)."""
    x, y, at = (np.log(part / (1 - part)) for part in (np.clip(part, 0.002, 0.998) for part in (x, y, at)))
    slope, height = np.polyfit(x, y, 1)
    return value - 1 / (1 + np.exp(-(slope * at + height)))


def draw(rows):
    """Left: the mean of the shifts against objects. Right: how far zero-shot lies above the probes' line on each."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    seeds, ks = sorted({row["seed"] for row in rows}), list(dict.fromkeys(row["examples"] for row in rows))
    value = {(row["seed"], row["examples"], row["task"]): row["accuracy"] for row in rows}
    tables = {name: np.array([[value[seed, k, name] for k in ks] for seed in seeds]) for name in ["objects", *SHIFTS]}
    tables["mean of the shifts"] = np.mean([tables[name] for name in SHIFTS], axis=0)  # (seeds, ks) each
    logit_axes(left)
    x, y = (np.clip(tables[name], 0.004, 0.996) for name in ("objects", "mean of the shifts"))
    left.plot(x[:, 1:], y[:, 1:], ".", color=BLUE, alpha=0.5)
    left.plot(x.mean(0)[1:], y.mean(0)[1:], "o-", color=BLUE, markersize=8, label="probes on k examples a class")
    for k, *point in zip(ks[1:], x.mean(0)[1:], y.mean(0)[1:]):
        left.annotate(k, point, xytext=(7, -9), textcoords="offset points", fontsize=9, color=BLUE)
    left.plot(x[:, 0], y[:, 0], "*", color=ORANGE, alpha=0.5)
    left.plot(x[:, 0].mean(), y[:, 0].mean(), "*", color=ORANGE, markersize=16, label="zero-shot")
    left.axhline(np.mean([row["chance"] for row in rows]), color=GREY, linestyle=":", label="chance")
    left.set(ylabel="mean of the shifts (%)", xlim=(0.02, 0.996), ylim=(0.004, 0.996),
             title=f"{len(seeds)} seeds, small dots")
    left.legend(fontsize=8, loc="upper left")
    tables.pop("objects")
    above = {name: [100 * effective_robustness(a[1:], b[1:], a[0], b[0]) for a, b in zip(x, table)]
             for name, table in tables.items()}
    names = sorted(above, key=lambda name: (name == "mean of the shifts", np.mean(above[name])))
    for i, name in enumerate(names):
        right.barh(i, np.mean(above[name]), color=GREEN if i == len(names) - 1 else BLUE)
        right.plot(above[name], [i] * len(seeds), "k.", markersize=5)
    right.axvline(0, color="black", linewidth=0.8)
    right.set_yticks(range(len(names)), names, fontsize=9)
    right.set(xlabel="zero-shot above the line through the probes (points)", title="effective robustness; dots: seeds")
    return figure
