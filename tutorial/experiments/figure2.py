"""Figure 2: accuracy over pictures seen, for three objectives, with words in the captions that no picture shows.

In the paper (Section 2.3) a transformer that predicts the caption needs three times the pictures of a
classifier that predicts the caption's words in no order, and that one four times those of a
contrastive model with the same bag of words. The reason that it gives is that captions on the web vary,
and hold much that the picture doesn't tell; whoever predicts them exactly has to learn that, too.

Here all three objectives see the same pictures of the pictogram world, as many of them, and are
compared where they reach the same accuracy. The captions of the pictogram world hold nothing but what
is shown. So each objective is also trained with five and with ten words behind each caption that are
drawn at random from a list of things that no picture shows. The language model's scores are log p(text |
picture) - log p(text), with p(text) its mean over a hundred other pictures.
"""
import math
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from matplotlib.figure import Figure

from clip_minimal import CONFIGS, Tokenizer, normalize
from common import BLUE, GREY, ORANGE, examples_to_match
from lab import fit, take_turns
from objectives import BagOfWordsContrastive, BagOfWordsPrediction, LanguageModel
from train_tiny import EVALUATION, OBJECTS, World, article
from zeroshot import accuracy

# Class, learning rate of the image encoder, that of the rest as a share of it, colour, marker. Tried with
# another seed: shares of 0.2 and 1 for all, and half the rate for the language model.
OBJECTIVES = {
    "language model": (LanguageModel, 2e-3, 0.2, GREY, "s"),
    "bag of words prediction": (BagOfWordsPrediction, 4e-3, 1.0, ORANGE, "^"),
    "bag of words contrastive": (BagOfWordsContrastive, 4e-3, 1.0, BLUE, "o"),
}
PAPER = [3, 4]  # factors from each objective to the next
STEPS = 600  # of 256 pairs, for each of them
AMOUNTS = [0, 5, 10]  # how many words without a picture each caption gets
TARGET = 0.1  # the least accuracy that is compared: chance is 0.01
LOOKS = 10  # how often each training is measured

# things that no picture of the world shows
UNSEEN = """
    abbey acorn apron attic autumn bakery balcony banjo barrel basket beetle blanket border bottle bracelet bridge bucket
    butter cabin camera candle canoe canyon carpet castle cellar cherry chimney cinema circus coffee copper cotton cradle
    curtain dagger desert dinner doctor dragon drawer engine factory falcon farmer feather ferry forest garage garden
    ginger glacier guitar hammer harbour helmet hotel island jacket jungle kettle kitchen ladder lantern lemon library
    lizard magnet market meadow mirror monday museum needle ocean office orchard oven palace paddle pepper piano pillow
    pirate pocket potato puppet rabbit railway ribbon river rocket saddle salmon school shovel silver spider spoon summer
    tailor temple tiger tractor tunnel turtle valley village violin wagon wallet whisky window winter wizard
""".split()
ADDED = 6  # numbers the random numbers that draw them, see World.rng


class Wordy(World):
    """The pictogram world, with so many words behind each training caption that no picture shows."""

    def __init__(self, seed, amount, steps, device="cpu"):
        super().__init__(seed, device)
        self.amount = amount
        take_turns(self, steps)

    def batch(self, step, n):
        """As in World. The pictures are the same whatever the amount."""
        images, captions = super().batch(step, n)
        return images, add_words(captions, self.amount, self.rng(ADDED, step))


def add_words(captions, amount, rng):
    """Captions -> the same with so many of UNSEEN behind each, drawn at random."""
    longer = []
    for caption in captions:
        words = rng.choice(UNSEEN, amount)
        longer.append(" ".join([caption, *words]))
    return longer


@cache
def make_tokenizer(seed):
    """One tokenizer for all amounts, learned from captions with the most words."""
    world = World(seed)
    texts = add_words(world.texts(), max(AMOUNTS), world.rng(ADDED))
    return Tokenizer.train(texts, CONFIGS["tiny-RN"].vocab_size)


def begin(seed, objective, amount, steps, device="cpu"):
    """What a training starts with -> (world, tokenizer, untrained model)."""
    kind = OBJECTIVES[objective][0]
    tokenizer = make_tokenizer(seed)
    torch.manual_seed(seed)
    # with ten more words a caption can be too long for the usual 32 tokens
    config = replace(CONFIGS["tiny-RN"], vocab_size=len(tokenizer.vocab), context_length=64)
    model = kind(config).to(device, memory_format=torch.channels_last)
    return Wordy(seed, amount, steps, device), tokenizer, model


def curve(lab, seed, objective, amount):
    """Train one objective -> [[pictures seen, accuracy], ...].

    The accuracy is that on held-out pairs of colour and object. Each class is told by one sentence, "a sun".
    """
    _, lr, text_lr, _, _ = OBJECTIVES[objective]
    steps = max(8, round(STEPS * lab.budget))
    size = lab.batch()
    world, tokenizer, model = begin(seed, objective, amount, steps, lab.device)
    test = draw_test(world, max(20, round(300 * lab.budget)))
    texts = tokenizer([article(name) for name in OBJECTS], pad=False).to(lab.device)
    # later looks lie closer together, as the accuracy rises late
    looks = set(np.geomspace(steps / 30, steps, LOOKS).astype(int).clip(1))
    points = []

    def loss(step):
        if step in looks:
            points.append([step * size, look(model, texts, *test)])
        images, captions = world.batch(step, size)
        tokens = tokenizer(captions, 64, pad=False).to(lab.device)
        return model.loss(images, tokens)

    print(f"{objective}, {amount} words without a picture, seed {seed}", flush=True)
    fit(model, loss, steps, lr, text_lr)
    points.append([steps * size, look(model, texts, *test)])
    return points


def draw_test(world, n):
    """n held-out pictures -> images, their labels, and other images of all kinds, fewer, for log p(text)."""
    scenes = world.scenes(world.rng(EVALUATION), n, "single", held_out=True)
    images = normalize(world.draw(scenes))
    labels = world.tensor(scenes["object"][:, 0])
    others = world.scenes(world.rng(EVALUATION, 1), min(n, 100))
    return images, labels, normalize(world.draw(others))


@torch.no_grad()
def look(model, texts, images, labels, other_images):
    """The accuracy of a model that is being trained."""
    model.eval()
    if isinstance(model, LanguageModel):
        scores = model.corrected_scores(images, texts, other_images)
    else:
        scores = model.scores(images, texts)
    model.train()
    return accuracy(scores, labels)


def measure(lab):
    """-> a row for each objective, amount of words, seed and look."""
    rows = []
    for seed in lab.seeds:
        for amount in AMOUNTS:
            for name in OBJECTIVES:
                key = ["figure2", STEPS, name, amount, seed]
                points = lab.remember(key, lambda: curve(lab, seed, name, amount))
                for images, value in points:
                    rows.append({
                        "objective": name,
                        "words without a picture": amount,
                        "seed": seed,
                        "images": images,
                        "accuracy": value,
                        "chance": 1 / len(OBJECTS),
                    })
    return rows


# ---- Factors and the figure ----------------------------------------------------------------------


def factor(slow, fast):
    """How many times the pictures of the fast curve the slow one needs -> (factor, whether it is only known to be more).

    A curve is (pictures seen (n,), accuracies (n,)), joined by lines over the logarithm of the pictures.
    They are compared at the accuracy at which the worse of them ends, or at TARGET if that is more. The
    slow one may never get there; then the factor is known to be more than if it did in the next step. It
    is nan if the fast one doesn't.
    """
    target = max(TARGET, min(slow[1][-1], fast[1][-1]))
    needed = examples_to_match(*slow, target)
    base = examples_to_match(*fast, target)
    if math.isinf(base):
        return math.nan, False
    if math.isinf(needed):
        return slow[0][-1] / base, True
    return needed / base, False


def curve_of(rows, objective, amount, seed):
    """-> (pictures seen, accuracies) of one training."""
    some = []
    for row in rows:
        if (row["objective"], row["words without a picture"], row["seed"]) == (objective, amount, seed):
            some.append(row)
    return [row["images"] for row in some], [row["accuracy"] for row in some]


def draw(rows):
    """Above: the curves, a panel for each amount of words. Below: the factors from one objective to the next."""
    figure = Figure(figsize=(8.5, 7.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1)
    panels = upper.subplots(1, len(AMOUNTS), sharey=True)
    for axis, amount in zip(panels, AMOUNTS):
        draw_curves(axis, rows, amount)
    panels[0].set_ylabel("objects named rightly (%)")
    upper.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    draw_factors(lower.subplots(), rows)
    return figure


def draw_curves(axis, rows, amount):
    """Each seed is thin, the mean over them thick."""
    seeds = sorted({row["seed"] for row in rows})
    for name, (_, _, _, colour, marker) in OBJECTIVES.items():
        of_seeds = []
        for seed in seeds:
            images, values = curve_of(rows, name, amount, seed)
            of_seeds.append(100 * np.array(values))
            axis.plot(images, of_seeds[-1], color=colour, linewidth=0.5)
        mean = np.mean(of_seeds, axis=0)
        axis.plot(images, mean, marker + "-", color=colour, markersize=5, label=name)
    axis.axhline(100 * rows[0]["chance"], linestyle=":", color="black", label="chance")
    axis.set(xscale="log", xlabel="pictures seen", title=f"{amount} words without a picture")
    axis.title.set_fontsize(10)


def draw_factors(axis, rows):
    """A line of points for each step between objectives and each amount: a dot for each seed, and their median told."""
    seeds = sorted({row["seed"] for row in rows})
    names = list(OBJECTIVES)
    labels = []
    for i, paper in enumerate(PAPER):
        slow = names[i]
        fast = names[i + 1]
        for amount in AMOUNTS:
            y = len(labels)
            factors = []
            for seed in seeds:
                slow_curve = curve_of(rows, slow, amount, seed)
                fast_curve = curve_of(rows, fast, amount, seed)
                factors.append(factor(slow_curve, fast_curve))
            for value, more in factors:
                axis.plot(value, y, ">" if more else "o", color=BLUE)
            axis.plot(paper, y, "*", color=ORANGE, markersize=12)
            labels.append(f"{slow} to\n{fast}, {amount}: {told(factors)}")
    for marker, colour, label in [("o", BLUE, "a seed"), (">", BLUE, "a seed, at least"), ("*", ORANGE, "the paper")]:
        axis.plot([], [], marker, color=colour, linestyle="none", label=label)
    axis.axvline(1, color=GREY, linewidth=0.8)
    axis.set_xscale("log")
    axis.set_yticks(range(len(labels)), labels, fontsize=9)
    axis.set_xticks([0.5, 1, 2, 4, 8, 16], ["1/2", 1, 2, 4, 8, 16])
    axis.minorticks_off()
    axis.set(xlabel="pictures that the first needs, as a multiple of the second's", xlim=(0.4, 20),
             ylim=(len(labels) - 0.5, -0.5),
             title="factors to the same accuracy; beside: words without a picture, and the median")
    axis.title.set_fontsize(10)
    axis.legend(fontsize=9)


def told(factors):
    """Factors as factor() gives them -> their median in words."""
    values = [value for value, _ in factors]
    median = np.median(values)  # nan if one of them is
    if math.isnan(median):
        return "not reached"
    if any(more for _, more in factors):
        return f"at least {median:.1f}"
    return f"{median:.1f}"
