"""Abstract and Section 3.1.3: zero-shot CLIP and the same encoder trained on all labels, as the paper's ResNet-50.

The paper's zero-shot accuracy on ImageNet, 76.2 %, is that of a ResNet-50 trained on its 1.28 million labels, and it
loses less under distribution shift (Figure 13). Ours has seen the images and their captions, but no label of the task.
"""
import numpy as np
from matplotlib.figure import Figure

import zeroshot
from common import BLUE, GREY, ORANGE, zero_shot
from lab import number_scores
from tasks import TASKS, examples

STEPS = [27, 106, 425, 1700]  # of 256 images, each training with a schedule of its own


def measure(lab):
    """-> a row for each test, model and seed. Supervised: the softmax over the objects, at several numbers of labelled
    images; CLIP: as many images as the longest, no labels."""
    tests = ["objects", "held-out pairs", *(name for name, task in TASKS.items() if task.group == "shifts")]
    rows = []

    def add(name, seed, model, images, value):
        rows.append({"test": name, "seed": seed, "chance": TASKS[name].chance(), "model": model, "images": images,
                     "accuracy": value})

    for seed in lab.seeds:
        clip, tokenizer = lab.clip(seed)
        supervised = {steps: lab.image_model(seed, "supervised", steps) for steps in STEPS}
        for name in tests:
            test, labels = examples(name, "test", lab.size(name, "test"))
            add(name, seed, "CLIP, zero-shot", 256 * STEPS[-1], zero_shot(clip, tokenizer, name, test, labels))
            for steps, model in supervised.items():
                scores = number_scores(model, name, test)
                if scores is None:  # held-out pairs, one for each object, in the same order
                    scores = zeroshot.encode_images(model, test)
                add(name, seed, "supervised", 256 * steps, TASKS[name].metric(scores, labels))
    return rows


def means(rows, model, tests):
    """{images: the mean accuracy on these tests for each seed}, in per cent, of a model."""
    some, seeds = [row for row in rows if row["model"] == model], sorted({row["seed"] for row in rows})
    return {n: np.array([100 * np.mean([row["accuracy"] for row in some if row["images"] == n and row["seed"] == seed
                                        and row["test"] in tests]) for seed in seeds])
            for n in sorted({row["images"] for row in some})}


def draw(rows):
    """Left: accuracy by labelled images. Right: the same models, on the shifts against no shift."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    shifts = {row["test"] for row in rows} - {"objects", "held-out pairs"}
    for tests, colour, marker, label in ((["objects"], BLUE, "o", "objects"), (["held-out pairs"], GREY, "^", (
            "held-out pairs")), (shifts, ORANGE, "s", f"mean of {len(shifts)} shifts")):
        values = means(rows, "supervised", tests)
        curve = np.array(list(values.values()))  # (lengths, seeds)
        left.plot(list(values), curve.mean(1), f"{marker}-", color=colour, label=f"supervised, {label}")
        left.fill_between(list(values), curve.min(1), curve.max(1), color=colour, alpha=0.2)
        (images, zero), = means(rows, "CLIP, zero-shot", tests).items()
        left.axhline(zero.mean(), color=colour, linestyle="--", linewidth=1)
        left.plot(images, zero.mean(), "*", color=colour, markersize=14, label=f"zero-shot CLIP, {label}")
    left.axhline(100 * rows[0]["chance"], color="black", linestyle=":", label="chance")
    left.set(xscale="log", xlabel="images seen in training; supervised: each with its label", ylabel="accuracy (%)",
             ylim=(0, 101), title=f"means of {len({row['seed'] for row in rows})} seeds, bands from lowest to highest")
    left.legend(fontsize=7)
    for model, colour, marker, size in ("supervised", BLUE, "o", 6), ("CLIP, zero-shot", ORANGE, "*", 15):
        x, y = (np.array(list(means(rows, model, tests).values())) for tests in (["objects"], shifts))
        right.plot(x.mean(1), y.mean(1), f"{marker}-", color=colour, markersize=size, label=model)
        right.plot(x, y, marker, color=colour, alpha=0.35, markersize=size / 2)
    right.plot([0, 100], [0, 100], "k--", linewidth=1, label="nothing lost")
    right.set(xlabel="accuracy on objects (%)", ylabel=f"mean accuracy on {len(shifts)} shifts (%)", xlim=(0, 101),
              ylim=(0, 101), title="each dot: a number of images; faint: single seeds")
    right.legend(fontsize=8)
    return figure
