"""Figure 2: zero-shot accuracy against images processed, for four objectives from predicting captions to CLIP's."""
import math

import numpy as np
import torch
from matplotlib.figure import Figure

from clip_minimal import CONFIGS, normalize
from common import BLUE, GREEN, GREY, ORANGE, examples_to_match
from lab import begin, fit
from objectives import BagOfWordsContrastive, BagOfWordsPrediction, Contrastive, LanguageModel
from train_tiny import EVALUATION, OBJECTS, article
from zeroshot import accuracy

# Class, steps, learning rate of the image encoder, that of the rest as a share of it, colour, marker. Slower ones have
# more steps. Tried with another seed: shares of 0.2 and 1 for all, and half the rate for the language model.
OBJECTIVES = {"language model": (LanguageModel, 800, 2e-3, 0.2, GREY, "s"),
              "bag of words prediction": (BagOfWordsPrediction, 500, 4e-3, 1.0, ORANGE, "^"),
              "bag of words contrastive": (BagOfWordsContrastive, 500, 4e-3, 1.0, GREEN, "D"),
              "CLIP": (Contrastive, 800, 4e-3, 0.2, BLUE, "o")}
PAPER = 3, 4, None  # factors from each to the next; the paper shows no text encoder other than CLIP's bag of words
TARGET = 0.1  # the least accuracy that is compared: chance is 0.01


def curve(lab, seed, objective):
    """Train on the pairs of train_tiny.py -> [[images processed, accuracy], ...]: held-out pairs of colour and object,
    each class told by one sentence, "a sun"."""
    kind, steps, lr, text_lr, _, _ = OBJECTIVES[objective]
    steps, size = max(8, round(steps * lab.budget)), lab.batch()
    config = CONFIGS["tiny-RN"]
    world, tokenizer, model = begin(seed, config, steps, kind)
    scenes = world.scenes(world.rng(EVALUATION), max(20, round(500 * lab.budget)), "single", held_out=True)
    images, labels = normalize(world.draw(scenes)), torch.from_numpy(scenes["object"][:, 0])
    texts = tokenizer([article(name) for name in OBJECTS], config.context_length, pad=False)
    points, looks = [], set(np.geomspace(steps / 30, steps, 8).astype(int).clip(1))

    @torch.no_grad()
    def look(step):
        model.eval()
        points.append([step * size, accuracy(model.scores(images, texts), labels)])
        model.train()

    def loss(step):
        if step in looks:
            look(step)
        images, captions = world.batch(step, size)
        return model.loss(images, tokenizer(captions, config.context_length, pad=False))

    print(f"{objective}, seed {seed}", flush=True)
    fit(model, loss, steps, lr, text_lr)
    look(steps)
    return points


def measure(lab):
    """-> a row for each objective, seed and look at it."""
    return [{"objective": name, "seed": seed, "images": images, "accuracy": value, "chance": 1 / len(OBJECTS)}
            for seed in lab.seeds for name in OBJECTIVES
            for images, value in lab.remember(["figure2", name, seed], lambda: curve(lab, seed, name))]


def factor(slow, fast):
    """Two curves, (images (n,), accuracies (n,)) each -> how many times the images of the fast one the slow one needs
    for the accuracy at which the worse of them ends, or for TARGET if that is more, on lines over the logarithm of the
    images; and whether it is only known to be more, as the slow one never gets there. nan if the fast one doesn't."""
    target = max(TARGET, min(slow[1][-1], fast[1][-1]))
    needed, base = examples_to_match(*slow, target), examples_to_match(*fast, target)
    if math.isinf(base):
        return math.nan, False
    return min(needed, slow[0][-1]) / base, math.isinf(needed)


def draw(rows):
    """Left: each seed thin, the mean thick. Right: the factors in efficiency between one objective and the next."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    seeds, curves = sorted({row["seed"] for row in rows}), {}
    for name, (_, _, _, _, colour, marker) in OBJECTIVES.items():
        for seed in seeds:
            some = [row for row in rows if (row["objective"], row["seed"]) == (name, seed)]
            curves[name, seed] = [row["images"] for row in some], [row["accuracy"] for row in some]
            left.plot(curves[name, seed][0], 100 * np.array(curves[name, seed][1]), color=colour, linewidth=0.5)
        mean = 100 * np.mean([curves[name, seed][1] for seed in seeds], axis=0)
        left.plot(curves[name, seeds[0]][0], mean, marker + "-", color=colour, markersize=5, label=name)
    left.axhline(100 * rows[0]["chance"], linestyle=":", color="black", label="chance")
    left.set_xscale("log")
    left.set(xlabel="images processed", ylabel="zero-shot accuracy on 100 objects (%)", ylim=(0, 65),
             title=f"{len(seeds)} seeds (thin) and their mean")
    left.legend(fontsize=8, loc="upper left")
    names, labels = list(OBJECTIVES), []
    for i, (slow, fast, paper) in enumerate(zip(names, names[1:], PAPER)):
        factors = [factor(curves[slow, seed], curves[fast, seed]) for seed in seeds]
        for value, more in factors:
            right.plot(value, i, ">" if more else "o", color=BLUE)
        median = np.median([value for value, _ in factors])
        told = f"{'at least ' * any(more for _, more in factors)}{median:.1f}x" if median > 0 else "not reached"
        labels.append(f"{slow} to\n{fast}:\n{told}")
        if paper:
            right.plot(paper, i, "*", color=ORANGE, markersize=12)
    for marker, colour, label in (("o", BLUE, "a seed"), (">", BLUE, "a seed, at least"), ("*", ORANGE, "the paper")):
        right.plot([], [], marker, color=colour, label=label)
    right.axvline(1, color=GREY, linewidth=0.8)
    right.set_xscale("log")
    right.set_yticks(range(3), labels, fontsize=8)
    right.set_xticks([0.25, 0.5, 1, 2, 4, 8, 16], ["1/4", "1/2", 1, 2, 4, 8, 16])
    right.minorticks_off()
    right.set(xlabel="images that the first needs, as a multiple of the second's", ylim=(2.5, -0.5),
              title="to the same accuracy; beside it: median")
    right.legend(fontsize=8)
    return figure
