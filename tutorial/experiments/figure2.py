"""Figure 2: zero-shot accuracy against images processed, for four objectives from predicting captions to CLIP's."""
import numpy as np
import torch
from matplotlib.figure import Figure

from clip_minimal import CONFIGS, normalize
from common import BLUE, GREEN, GREY, ORANGE, begin, examples_to_match, fit
from objectives import BagOfWordsContrastive, BagOfWordsPrediction, Contrastive, LanguageModel
from train_tiny import OBJECTS, article
from zeroshot import accuracy

# objective: its class, the share of the image encoder's learning rate that the rest has, colour, marker
OBJECTIVES = {"language model": (LanguageModel, 0.2, GREY, "s"),
              "bag of words prediction": (BagOfWordsPrediction, 1.0, ORANGE, "^"),
              "bag of words contrastive": (BagOfWordsContrastive, 1.0, GREEN, "D"),
              "CLIP": (Contrastive, 0.2, BLUE, "o")}


def curve(lab, seed, objective):
    """Train on the pairs of train_tiny.py -> [[images processed, accuracy], ...]: held-out pairs of colour and object,
    each class told by one sentence, "a sun". At a budget below a tenth batches are smaller too."""
    steps, size = max(8, round(600 * lab.budget)), round(256 * min(1, 10 * lab.budget))
    kind, text_lr, _, _ = OBJECTIVES[objective]
    config = CONFIGS["tiny-RN"]
    world, tokenizer, model = begin(seed, config, steps, kind)
    scenes = world.scenes(world.rng(1), max(50, round(500 * lab.budget)), "single", held_out=True)
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
    fit(model, loss, steps, text_lr=text_lr)
    look(steps)
    return points


def measure(lab):
    """-> a row for each objective, seed and look at it."""
    return [{"objective": name, "seed": seed, "images": images, "accuracy": value, "chance": 1 / len(OBJECTS)}
            for seed in lab.seeds for name in OBJECTIVES
            for images, value in lab.remember(["figure2", name, seed], lambda: curve(lab, seed, name))]


def factor(slow, fast):
    """Two curves, (images (n,), accuracies (n,)) each -> how many times the images of the fast one the slow one needs
    for the accuracy at which the worse of them ends; on lines over the logarithm of the images, as in Figure 7."""
    target = min(slow[1][-1], fast[1][-1])
    return examples_to_match(*slow, target) / examples_to_match(*fast, target)


def draw(rows):
    """Left: each seed thin, the mean thick. Right: the factors in efficiency between one objective and the next."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    seeds, curves = sorted({row["seed"] for row in rows}), {}
    for name, (_, _, colour, marker) in OBJECTIVES.items():
        for seed in seeds:
            some = [row for row in rows if (row["objective"], row["seed"]) == (name, seed)]
            curves[name, seed] = [row["images"] for row in some], [row["accuracy"] for row in some]
            left.plot(curves[name, seed][0], 100 * np.array(curves[name, seed][1]), color=colour, linewidth=0.5)
        mean = 100 * np.mean([curves[name, seed][1] for seed in seeds], axis=0)
        left.plot(curves[name, seeds[0]][0], mean, marker + "-", color=colour, markersize=5, label=name)
    left.axhline(100 * rows[0]["chance"], linestyle=":", color="black", label="chance")
    left.set_xscale("log")
    left.set(xlabel="images processed", ylabel="zero-shot accuracy on 100 objects (%)", ylim=(0, 101),
             title=f"thin: {len(seeds)} seeds; thick: their mean")
    left.legend(fontsize=8, loc="upper left")
    names, labels = list(OBJECTIVES), []
    for i, (slow, fast, paper) in enumerate(zip(names, names[1:], (3, 4, None))):
        factors = [factor(curves[slow, seed], curves[fast, seed]) for seed in seeds]
        right.plot(factors, [i] * len(seeds), "o", color=BLUE, label="here, a seed" if i == 0 else None)
        labels.append(f"{slow} →\n{fast}\n{np.median(factors):.1f}x")
        if paper:
            right.plot(paper, i, "*", color=ORANGE, markersize=12, label="the paper, on ImageNet" if i == 0 else None)
    right.axvline(1, color=GREY, linewidth=0.8)
    right.set_xscale("log")
    right.set_yticks(range(3), labels, fontsize=8)
    right.set_xticks([0.25, 0.5, 1, 2, 4, 8, 16], ["1/4", "1/2", 1, 2, 4, 8, 16])
    right.minorticks_off()
    right.set(xlabel="times fewer images to the same accuracy", ylim=(2.5, -0.5), title="gain; beside it the median")
    right.legend(fontsize=8)
    return figure
