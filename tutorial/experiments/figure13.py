"""Figures 13 and 14: distribution shifts, zero-shot against a linear probe fitted to the unshifted object task."""
import numpy as np
import torch
from matplotlib.figure import Figure

import zeroshot
from common import BLUE, GREY, ORANGE, mean_over_seeds, splits, zero_shot
from tasks import TASKS, examples


def measure(lab):
    """-> a row for each shift and seed, "objects" being no shift. The probe sees labels of unshifted images alone; of
    its classes those count that the shifted task has."""
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)

        def probe():
            train, valid, _ = splits(lab, model, "objects")
            return [part.tolist() for part in zeroshot.linear_probe(*train, *valid)[:2]]

        W, b = (torch.tensor(part).double() for part in lab.remember(["object probe", seed], probe))
        for name in ["objects", *(name for name, task in TASKS.items() if task.group == "shifts")]:
            images, labels = examples(name, "test", lab.size(name, "test"))
            at = [TASKS["objects"].classes.index(label) for label in TASKS[name].classes]
            scores = zeroshot.encode_penultimate(model, images).double() @ W[:, at] + b[at]
            rows.append({"task": name, "seed": seed, "zero-shot": zero_shot(model, tokenizer, name, images, labels),
                         "probe": TASKS[name].metric(scores, labels)})
    return rows


def draw(rows):
    """Left: each shift against no shift. Right: what is left of the unshifted accuracy."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    left.plot([0, 100], [0, 100], "k--", linewidth=1, label="nothing lost")
    for i, (way, colour, marker) in enumerate((("zero-shot", ORANGE, "*"), ("probe", BLUE, "o"))):
        values = mean_over_seeds(rows, way)
        unshifted, shifted = 100 * values.pop("objects"), 100 * np.array(list(values.values()))
        left.plot([unshifted] * len(shifted), shifted, marker, color=colour, alpha=0.6)
        mean = shifted.mean()
        left.plot(unshifted, mean, marker, color=colour, markersize=13, label=f"{way}, mean of shifts {mean:.0f} %")
        right.barh(np.arange(len(values)) + 0.4 * i - 0.2, shifted / unshifted, 0.38, color=colour, label=way)
        right.set_yticks(range(len(values)), values)
    left.axhline(1, color=GREY, linestyle=":", label="chance")
    left.set(xlabel="accuracy on objects (%)", ylabel="accuracy on a shift (%)", xlim=(40, 100), ylim=(0, 100))
    seeds = len({row["seed"] for row in rows})
    right.set(xlabel="share of the accuracy on objects that is left", title=f"{seeds} seeds")
    left.legend(fontsize=8, loc="lower right")
    right.legend(fontsize=8)
    return figure
