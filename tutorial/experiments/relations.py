"""Relations mended: what teaches a CLIP the order of things, and what it costs.

Section 6 lists what CLIP is weak at. Yuksekgonul et al. (2023) added the order of words: published models
tell "the horse is eating the grass" from "the grass is eating the horse" hardly better than a guess does. The
loss asks only for what tells the pairs of a batch apart, and in a batch drawn at random the set of words
does that.

Ours are trained on the pictogram world as train_tiny.py's default run is, but for two things: whether a
batch holds mirrored scenes (World.mirror), and the number of the text encoder's layers. NegCLIP is
Yuksekgonul et al.'s remedy: no mirrored scenes, but for each caption of two things the same with these two
exchanged, as one more wrong text for each image. (Theirs also has images that are hard to tell apart.) "No
picture" chooses among captions by how often training captions put a thing before or behind a relation.

All are measured on held-out pairs: relations, as World.evaluate has them, is one of four captions. Of
these, two differ from the picture in direction already. The order of things is one of two captions, the
right one and the one with its two things exchanged.

Letters in shape comments: n images, m swapped captions, E joint embedding.
"""
import copy
import dataclasses
import math

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from clip_minimal import CONFIGS
from common import BLUE, GREEN, GREY, ORANGE
from lab import untrained
from train_tiny import (EVALUATION, MENTIONS, OBJECTS, RELATED, RELATIONS, STEPS, TEXTS, World, article,
                        caption_accuracy, train, training_step)
from tutorial.extras.fast import accelerate

ORDER = "order of things"
BLIND = "no picture"
HELD_OUT = 3  # evaluation's related scenes, see World.evaluate

# ---- What is in the batch ------------------------------------------------------------------------


class Plain(World):
    """The world without mirrored scenes in its batches."""

    def mirror(self, scenes):
        """Leave the scenes as they are."""


class Swapped(Plain):
    """The same; behind a batch's n captions come m swapped ones, one for each of its scenes of two things."""

    def batch(self, step, n):
        """The n training pairs of a step -> normalised images (n, 3, R, R), n + m captions."""
        images, captions = super().batch(step, n)
        return images, captions + self.swapped

    def captions(self, scenes, rng, mentions=MENTIONS):
        """As in World; `swapped` are then those of the scenes of two things, with the things exchanged."""
        same_numbers = copy.deepcopy(rng)
        captions = super().captions(scenes, rng, mentions)
        swapped = super().captions(swap(scenes), same_numbers, mentions)
        self.swapped = []
        for i in np.flatnonzero(scenes["kind"] == RELATED):
            self.swapped.append(swapped[i])
        return captions


def swap(scenes):
    """Scenes -> the same, the first two objects of each exchanged, with their colours."""
    swapped = dict(scenes)
    for key in ("object", "colour"):
        swapped[key] = scenes[key][:, [1, 0, 2, 3]]
    return swapped


# ---- Training ------------------------------------------------------------------------------------


def negclip_loss(image_features, text_features, logit_scale):
    """The contrastive loss, with m wrong texts more for each image to choose among -> scalar, in nats.

    Image features (n, E) and text features (n + m, E). Row i of both belongs to pair i. The m texts
    behind them belong to no image, so that they do not choose one.
    """
    n = len(image_features)
    I_e = F.normalize(image_features, dim=1)  # (n, E)
    T_e = F.normalize(text_features, dim=1)  # (n + m, E)
    logits = I_e @ T_e.T * logit_scale.exp()  # (n, n + m)
    labels = torch.arange(n, device=logits.device)
    loss_i = F.cross_entropy(logits, labels)  # each image chooses among all texts
    loss_t = F.cross_entropy(logits[:, :n].T, labels)  # each caption chooses among all images
    return (loss_i + loss_t) / 2


def negclip_step(model, optimizer, images, tokens, bfloat16=False):
    """As training_step, for a batch of Swapped: images (n, 3, R, R), tokens (n + m, T) -> the loss."""
    image_features = model.encode_image(images)  # (n, E)
    text_features = model.encode_text(tokens)  # (n + m, E)
    loss = negclip_loss(image_features, text_features, model.logit_scale)
    # one step down the gradient
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.logit_scale.data.clamp_(max=math.log(100))
    return loss.detach()


# what is trained: the data, the step of training, the layers of the text encoder
VARIANTS = {
    "plain, one layer": (Plain, training_step, 1),
    "plain": (Plain, training_step, 2),
    "mirrored, one layer": (World, training_step, 1),
    "mirrored": (World, training_step, 2),
    "NegCLIP": (Swapped, negclip_step, 2),
}
DEFAULT = "mirrored"  # what train_tiny.py trains


def trained_model(lab, name, seed):
    """The model of a variant -> (world, quick model, tokenizer). It is trained when it is first asked for."""
    kind, step_function, layers = VARIANTS[name]
    steps = max(2, round(STEPS["tiny-RN"] * lab.budget))
    world = kind(seed, lab.device, steps=steps)
    if name == DEFAULT:
        return world, *lab.world_clip(seed)
    config = dataclasses.replace(CONFIGS["tiny-RN"], transformer_layers=layers)
    tokenizer, model = untrained(seed, config)

    def train_function(model):
        train(world, model, tokenizer, steps, lab.batch(), step_function=step_function)

    model = lab.trained(f"relations-{name}-{seed}", model, train_function)
    return world, accelerate(model), tokenizer


# ---- Measurement ---------------------------------------------------------------------------------


def measure(lab):
    """-> a row for each variant, seed and measure: its value, and chance."""
    rows = []
    for seed in lab.seeds:
        for name in [BLIND, *VARIANTS]:
            results = lab.remember(["relations", name, seed], lambda: results_of(lab, name, seed))
            for key, (value, chance) in results.items():
                rows.append({"variant": name, "seed": seed, "measure": key, "value": value, "chance": chance})
    return rows


def results_of(lab, name, seed):
    """What a variant reaches on held-out pairs -> {measure: (value, chance)}."""
    n = max(50, round(2000 * lab.budget))
    if name == BLIND:
        return blind_results(World(seed), n)
    world, model, tokenizer = trained_model(lab, name, seed)
    results = world.evaluate(model, tokenizer, n)
    results[ORDER] = order_accuracy(world, model, tokenizer, n)
    return results


def order_accuracy(world, model, tokenizer, n):
    """How often the right caption is chosen, and not the one with its two things exchanged -> (value, chance)."""
    scenes, features = world.encode_scenes(model, "related", HELD_OUT, n)
    right = captions_of(scenes)
    wrong = captions_of(swap(scenes))
    # The right one is the second of every other two. If it were always the first, a model to which both are
    # the same would be right, as the first of equal scores is taken.
    labels = np.arange(n) % 2
    choices = []
    for i in range(n):
        if labels[i] == 0:
            choices.append([right[i], wrong[i]])
        else:
            choices.append([wrong[i], right[i]])
    return caption_accuracy(model, tokenizer, features, labels, choices)


def captions_of(scenes):
    """Scenes of two objects -> "a sun to the left of a star", ..."""
    names = [article(name) for name in OBJECTS]
    relations = list(RELATIONS)
    captions = []
    for (a, b), relation in zip(scenes["object"][:, :2], scenes["relation"]):
        captions.append(f"{names[a]} {relations[relation]} {names[b]}")
    return captions


# ---- What captions alone tell --------------------------------------------------------------------


def blind_results(world, n, n_training=50_000):
    """What is reached by choosing the more plausible caption, without a look at the picture."""
    seen = world.scenes(world.rng(TEXTS, 2), n_training, "related")
    scenes = world.scenes(world.rng(EVALUATION, HELD_OUT), n, "related", held_out=True)
    relation = scenes["relation"]
    right_order = plausibility(seen, scenes)  # (n, 4)
    other_order = plausibility(seen, swap(scenes))  # (n, 4)
    # which of four relations?
    four = (right_order.argmax(axis=1) == relation).mean()
    # which order of things? Where both are as plausible, a guess is right half of the time
    rows = np.arange(n)
    difference = right_order[rows, relation] - other_order[rows, relation]  # (n,)
    two = (np.sign(difference) + 1).mean() / 2
    return {"relations": (four.item(), 1 / 4), ORDER: (two.item(), 1 / 2)}


def plausibility(seen, scenes):
    """How plausible each relation is between the two objects of a scene -> logarithms (n, 4), up to a constant.

    In the scenes `seen`, the relation, its first object and its second object are counted: naive Bayes
    takes the two objects as independent, given the relation. Each count begins with 1.
    """
    counts = np.ones((2, len(RELATIONS), len(OBJECTS)))
    for place in (0, 1):
        np.add.at(counts[place], (seen["relation"], seen["object"][:, place]), 1)
    relations = counts[0].sum(axis=1, keepdims=True)  # (4, 1)
    logs = np.log(counts)
    first = logs[0][:, scenes["object"][:, 0]]  # (4, n)
    second = logs[1][:, scenes["object"][:, 1]]  # (4, n)
    return (first + second - np.log(relations)).T


# ---- Figure --------------------------------------------------------------------------------------

COLOURS_OF = dict(zip([BLIND, *VARIANTS], [GREY, BLUE, "#56B4E9", GREEN, ORANGE, "#CC79A7"]))


def draw(rows):
    """Above: relations and the order of things. Below: all else, to see what they cost. Dots are seeds."""
    figure = Figure(figsize=(8.5, 7.4), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[1, 1.1])
    order = ["relations", ORDER]
    others = []
    for row in rows:
        if row["measure"] not in order + others:
            others.append(row["measure"])
    draw_bars(above, rows, order, [BLIND, *VARIANTS])
    draw_dots(below, rows, others, list(VARIANTS))
    above.set(ylabel="right (%)", ylim=(0, 104))
    above.set_title("Which of four relations, which of two orders? (held-out pairs; dotted: chance)", fontsize=10)
    below.set(ylabel="right (%)")
    below.set_title("What it costs: all else that World.evaluate measures (lines: means)", fontsize=10)
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    return figure


def draw_bars(axis, rows, measures, variants):
    """A group of bars for each measure, means of seeds."""
    for group, measure in enumerate(measures):
        for i, variant in enumerate(variants):
            values = values_of(rows, variant, measure)
            x = group + 0.14 * (i - (len(variants) - 1) / 2)
            label = f"{variant} (default)" if variant == DEFAULT else variant
            # one entry in the legend for each variant
            if group > 0:
                label = None
            # the mean and the seeds
            mean = np.mean(values)
            axis.bar(x, mean, 0.12, color=COLOURS_OF[variant], label=label)
            axis.plot([x] * len(values), values, "k.", markersize=5)
            axis.annotate(f"{mean:.0f}", (x, 2), ha="center", color="white", fontsize=9)
        chance = chance_of(rows, measure)
        axis.plot([group - 0.45, group + 0.45], [chance, chance], "k:", linewidth=1)
    axis.set_xticks(range(len(measures)), measures, fontsize=10)


def draw_dots(axis, rows, measures, variants):
    """A group of dots for each measure, and a line at their mean for each variant."""
    for group, measure in enumerate(measures):
        for i, variant in enumerate(variants):
            values = values_of(rows, variant, measure)
            x = group + 0.16 * (i - (len(variants) - 1) / 2)
            axis.plot([x] * len(values), values, "o", color=COLOURS_OF[variant], markersize=4)
            axis.plot([x - 0.06, x + 0.06], [np.mean(values)] * 2, color=COLOURS_OF[variant])
    # "image to text R@1" in three lines
    labels = [measure.replace(" to ", "\nto ").replace(" R@", "\nR@") for measure in measures]
    axis.set_xticks(range(len(measures)), labels)


def values_of(rows, variant, measure):
    """The values of a variant's seeds, in per cent."""
    values = []
    for row in rows:
        if row["variant"] == variant and row["measure"] == measure:
            values.append(100 * row["value"])
    return values


def chance_of(rows, measure):
    """What a guess reaches, in per cent."""
    for row in rows:
        if row["measure"] == measure:
            return 100 * row["chance"]
