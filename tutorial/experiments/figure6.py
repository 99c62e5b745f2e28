"""Figure 6: linear probes on 1, 2, 4, 8 and 16 examples a class, against zero-shot, on CLIP's features."""
import numpy as np
from matplotlib.figure import Figure

from common import BLUE, GREY, ORANGE, SHOTS, interval, mean_over_seeds, scores_on_task
from tasks import TASKS


def measure(lab):
    """-> a row for each task and seed. Left out are tasks whose pictures show several classes, as VOC is in the paper's
    Figure 7, and those of a hundred classes, to save two thirds of the time."""
    names = [name for name, task in TASKS.items() if task.size("train") and task.shown == 1 and len(task.classes) <= 50]
    return [{"task": name, "seed": seed, "chance": TASKS[name].chance()} | scores_on_task(lab, seed, name, SHOTS)
            for seed in lab.seeds for name in names]


def draw(rows):
    """The mean over tasks at each number of examples, zero-shot as a star at none."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axis, at = figure.subplots(), range(1, len(SHOTS) + 1)
    values = np.array([list(mean_over_seeds(rows, str(k)).values()) for k in SHOTS])  # (shots, tasks)
    low, high = np.array([interval(np.mean, row) for row in values]).T
    axis.fill_between(at, 100 * low, 100 * high, color=BLUE, alpha=0.15, label="95 % over tasks")
    axis.plot(at, 100 * values.mean(1), "o-", color=BLUE, label="linear probe on CLIP's features")
    zero = 100 * np.mean(list(mean_over_seeds(rows, "zero-shot").values()))
    axis.plot(0, zero, "*", color=ORANGE, markersize=18, label="zero-shot")
    axis.axhline(zero, color=ORANGE, linewidth=0.8, linestyle="--")
    full = 100 * np.mean(list(mean_over_seeds(rows, "probe").values()))
    axis.axhline(full, color=BLUE, linewidth=0.8, linestyle="--", label="linear probe on all labels")
    axis.axhline(100 * np.mean([row["chance"] for row in rows]), color=GREY, linestyle=":", label="chance")
    axis.set_xticks(range(len(SHOTS) + 1), [0, *SHOTS])
    axis.set(xlabel="labelled training examples per class", ylabel="mean over tasks (%)", ylim=(0, 100),
             title=f"{values.shape[1]} tasks, {len({row['seed'] for row in rows})} seeds")
    axis.legend(loc="lower right", fontsize=8)
    return figure
