"""Re-ranking, CLIP's part in DALL-E: of many pictures the one that fits a caption best, and the best there is.

DALL-E (Ramesh et al. 2021) draws 512 pictures for a caption, and a model of the kind of CLIP puts them in order.
It can choose only what is there. Here the pictures are random scenes of one object each, none drawn for the
caption. For each number of candidates stand side by side how often the first picture shows what was asked for
in the order in which they came, how often after re-ranking, and how often any of the candidates does: no
order can do better than that.

Letters in shape comments: n captions, m candidates.
"""
import numpy as np
from matplotlib.figure import Figure

import zeroshot
from clip_minimal import normalize
from common import BLUE, GREY, ORANGE
from train_tiny import EVERYTHING, World

MANY = [1, 8, 64, 512]  # candidates
SHOWN = ["a red heart", "a blue umbrella at night", "a yellow star", "a green chess knight", "a snowman on the beach"]
BEST = 6  # pictures that the figure shows for each of SHOWN
ASKED = ["object", "colour", "background"]  # what a caption asks for
WAYS = {"best possible": (GREY, "^--"), "re-ranked": (BLUE, "o-"), "as they came": (ORANGE, "s:")}


def candidates():
    """512 random scenes of one object each, of a world with a seed of its own -> it, the scenes, normalised images."""
    world = World(seed=99)
    scenes = world.scenes(world.rng(4), MANY[-1], "single")
    return world, scenes, normalize(world.draw(scenes))


def what_is_right(scenes, wanted):
    """For n wanted scenes, which of all candidates show what was asked for -> {"object": bools (n, 512), ...}.

    "all three" asks for object, colour and background at once.
    """
    right = {}
    for key in ASKED:
        # of a scene's objects, or their colours, the first one is all it shows
        there = scenes[key].reshape(len(scenes["kind"]), -1)[:, 0]  # (512,)
        asked = wanted[key].reshape(len(wanted["kind"]), -1)[:, 0]  # (n,)
        right[key] = asked[:, None] == there
    right["all three"] = right["object"] & right["colour"] & right["background"]
    return right


def shares(right, fit, order):
    """How often each way ends at a right picture -> {way: share}.

    right  (n, all)  whether a picture shows what a caption asks for
    fit    (n, all)  how well it fits the caption
    order  (n, m)    the numbers of the candidates for each caption, as they came
    """
    right = np.take_along_axis(right, order, axis=1)  # (n, m)
    fit = np.take_along_axis(fit, order, axis=1)
    first = fit.argmax(axis=1)[:, None]  # (n, 1)
    re_ranked = np.take_along_axis(right, first, axis=1)
    return {"best possible": right.any(axis=1).mean(),
            "re-ranked": re_ranked.mean(),
            "as they came": right[:, 0].mean()}


def measure(lab):
    """-> a row for each seed, number of candidates and thing asked for, with the share of captions for each way."""
    world, scenes, images = candidates()
    n = max(20, round(500 * lab.budget))
    wanted = world.scenes(world.rng(5), n, "single")
    texts = world.captions(wanted, world.rng(6), EVERYTHING)
    right = what_is_right(scenes, wanted)
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        fit = how_well(model, tokenizer, texts, images).numpy()  # (n, 512)
        # for each caption an order of its own
        rng = np.random.default_rng(seed)
        order = rng.permuted(np.tile(np.arange(MANY[-1]), (n, 1)), axis=1)  # (n, 512)
        for many in MANY:
            for asked, is_right in right.items():
                row = {"candidates": many, "asked": asked, "seed": seed, "best": ""}
                row.update(shares(is_right, fit, order[:, :many]))
                rows.append(row)
    # what the figure shows: the numbers of the best scenes for each of SHOWN
    model, tokenizer = lab.clip(lab.seeds[0])
    best = how_well(model, tokenizer, SHOWN, images).topk(BEST).indices
    rows[0]["best"] = " ".join(map(str, best.flatten().tolist()))
    return rows


def how_well(model, tokenizer, texts, images):
    """How well each picture fits each text -> cosines (texts, images)."""
    text_features = zeroshot.encode_texts(model, tokenizer, texts)
    image_features = zeroshot.encode_images(model, images)
    return text_features @ image_features.T


def draw(rows):
    """Above: the six best of 512 for some captions. Below: how often the first picture shows what was asked for."""
    figure = Figure(figsize=(8.5, 8), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.3, 1])
    draw_best(upper.subplots(), rows)
    axes = lower.subplots(1, 4, sharey=True)
    for axis, asked in zip(axes, [*ASKED, "all three"]):
        draw_shares(axis, rows, asked)
        axis.set_title(asked, fontsize=10)
    axes[0].set_ylabel("shows what was asked for (%)", fontsize=9)
    lower.supxlabel("candidates; line: mean, dots: seeds. DALL-E chooses from 512.", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    lower.legend(handles, labels, fontsize=9, loc="outside upper center", ncols=3)
    return figure


def draw_best(axis, rows):
    """A row of pictures for each of SHOWN, the best one first."""
    best = np.array(rows[0]["best"].split(), int).reshape(len(SHOWN), BEST)
    pictures = zeroshot.levels(candidates()[2])[best]  # (captions, 6, 48, 48, 3)
    # a white edge to the right of each picture and below it
    edge = (0, 3)
    pictures = np.pad(pictures, ((0, 0), (0, 0), edge, edge, (0, 0)), constant_values=1)
    lines = [np.hstack(list(line)) for line in pictures]
    axis.imshow(np.vstack(lines), interpolation="nearest")
    axis.set_yticks(51 * np.arange(len(SHOWN)) + 24, SHOWN, fontsize=10)
    axis.set_xticks([])
    axis.set_title(f"the {BEST} best of {MANY[-1]}, the best one on the left", fontsize=10)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def draw_shares(axis, rows, asked):
    """A line for each way, through the means of the seeds; each dot is a seed."""
    at = range(len(MANY))
    for way, (colour, style) in WAYS.items():
        values = []
        for many in MANY:
            of_many = [100 * row[way] for row in rows if row["candidates"] == many and row["asked"] == asked]
            values.append(of_many)
        values = np.array(values)  # (4, seeds)
        axis.plot(at, values.mean(axis=1), style, color=colour, markersize=5, label=way)
        axis.plot(at, values, ".", color=colour, markersize=3)
    axis.set_xticks(at, MANY, fontsize=9)
    axis.tick_params(labelsize=9)
    axis.set_ylim(-3, 103)
