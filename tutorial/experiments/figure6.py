"""Figure 6: zero-shot against linear probes on 1, 2, 4, 8 and 16 examples a class, on CLIP's features and on others'.

The paper's zero-shot matches a 4-shot probe on the same features, and nearly the best 16-shot probe on those of others.
Ours are tiny-RN's image encoder trained on the same images without text: for ResNet-50 and BiT-M on numbers of classes,
a hundred and 1,100, for SimCLRv2 on no labels.
"""
import numpy as np
from matplotlib.figure import Figure

from common import BLUE, GREEN, GREY, ORANGE, OUTPUTS, SHOTS, interval, mean_over_seeds, scores_on_task
from tasks import TASKS

LOOKS = {"CLIP": (BLUE, "o", "CLIP"), "supervised": (ORANGE, "s", "supervised, 100 classes"),
         "more classes": (GREEN, "^", "supervised, 1,100 classes"), "SimCLR": ("black", "D", "SimCLR")}


def measure(lab, models=("CLIP", *OUTPUTS)):
    """-> a row for each model, task and seed; of the two models that no other experiment needs, one seed. Left out are
    tasks whose pictures show several classes, as VOC is in the paper's Figure 7, and those of fifty classes and more,
    to save time."""
    names = [name for name, task in TASKS.items() if task.size("train") and task.shown == 1 and len(task.classes) < 50]
    seeds = {"CLIP": lab.seeds, "supervised": lab.seeds}
    return [{"model": model, "task": name, "seed": seed, "chance": TASKS[name].chance()}
            | scores_on_task(lab, seed, name, SHOTS, model)
            for model in models for seed in seeds.get(model, lab.seeds[:1]) for name in names]


def draw(rows):
    """The mean over tasks at each number of examples, zero-shot as a star at none."""
    figure = Figure(figsize=(8, 5.4), layout="constrained")
    axis, at, of = figure.subplots(), np.arange(1, len(SHOTS) + 1), {}
    for model in dict.fromkeys(row["model"] for row in rows):
        of[model], (colour, marker, label) = [row for row in rows if row["model"] == model], LOOKS[model]
        values = np.array([list(mean_over_seeds(of[model], str(k)).values()) for k in SHOTS])  # (shots, tasks)
        low, high = 100 * np.array([interval(np.mean, row) for row in values]).T  # (shots,) each
        mean, shift = 100 * values.mean(1), 0.06 * (len(of) - 1)
        seeds = len({row["seed"] for row in of[model]})
        axis.errorbar(at + shift, mean, (mean - low, high - mean), fmt=f"{marker}-", color=colour, elinewidth=0.8,
                      label=f"probe on features of {label} ({seeds} seed{'s' * (seeds > 1)})")
        full = 100 * np.mean(list(mean_over_seeds(of[model], "probe").values()))
        axis.plot(len(SHOTS) + 1 + shift, full, marker, color=colour, markerfacecolor="white")
    zero = 100 * np.mean(list(mean_over_seeds(of["CLIP"], "zero-shot").values()))
    axis.plot(0, zero, "*", color=BLUE, markersize=18, label="zero-shot CLIP")
    axis.axhline(zero, color=BLUE, linewidth=0.8, linestyle="--")
    axis.axhline(100 * np.mean([row["chance"] for row in rows]), color=GREY, linestyle=":", label="chance")
    axis.set_xticks(range(len(SHOTS) + 2), [0, *SHOTS, "all"])
    axis.set(xlabel="labelled training examples per class", ylabel="mean over tasks (%)", ylim=(0, 100), title=(
        f"{values.shape[1]} tasks; bars: 95 % over tasks"))
    axis.legend(loc="lower right", fontsize=8)
    return figure
