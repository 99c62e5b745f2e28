"""Re-ranking, CLIP's part in DALL-E: of many random scenes the one that fits a caption best."""
import numpy as np
import torch
from matplotlib.figure import Figure

import zeroshot
from clip_minimal import normalize
from common import BLUE, GREEN, ORANGE, mean_over_seeds
from train_tiny import EVERYTHING, World

MANY = [1, 8, 64, 512]
SHOWN = ["a red heart", "a blue umbrella at night", "a yellow star", "a green chess knight", "a snowman on the beach"]


def candidates():
    """512 random scenes of one object each, of a world with a seed of its own -> it, the scenes, normalised images."""
    world = World(seed=99)
    scenes = world.scenes(world.rng(4), MANY[-1], "single")
    return world, scenes, normalize(world.draw(scenes))


def measure(lab):
    """-> a row for each number of candidates and seed: how often the best shows what the caption of another scene says.
    Chance is what one candidate gets."""
    rows, (world, scenes, images) = [], candidates()
    n = max(20, round(500 * lab.budget))
    wanted = world.scenes(world.rng(5), n, "single")
    texts = world.captions(wanted, world.rng(6), EVERYTHING)
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        fit = zeroshot.encode_texts(model, tokenizer, texts) @ zeroshot.encode_images(model, images).T  # (n, 512)
        for many in MANY:
            order = np.random.default_rng(seed).permuted(np.tile(np.arange(MANY[-1]), (n, 1)), axis=1)[:, :many]
            best = order[np.arange(n), fit.gather(1, torch.from_numpy(order)).argmax(dim=-1).numpy()]  # (n,)
            same = {key: np.array(scenes[key].reshape(512, -1)[best, 0] == wanted[key].reshape(n, -1)[:, 0])
                    for key in ("object", "colour", "background")}
            rows.append({"candidates": many, "seed": seed} | {key: hit.mean().item() for key, hit in same.items()})
    model, tokenizer = lab.clip(lab.seeds[0])
    fit = zeroshot.encode_texts(model, tokenizer, SHOWN) @ zeroshot.encode_images(model, images).T
    best = " ".join(map(str, fit.topk(6).indices.flatten().tolist()))  # the figure's: six scenes for each of SHOWN
    return [row | {"best": best if row is rows[0] else ""} for row in rows]


def draw(rows):
    """Left: the six best of 512 for some captions. Right: how often the best shows what was asked for."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    best = np.array(rows[0]["best"].split(), int).reshape(len(SHOWN), -1)
    pictures = zeroshot.levels(candidates()[2])[best]  # (captions, 6, 48, 48, 3)
    pictures = np.pad(pictures, ((0, 0), (0, 0), (0, 3), (0, 3), (0, 0)), constant_values=1)
    left.imshow(np.vstack([np.hstack(list(row)) for row in pictures]), interpolation="nearest")
    left.set_yticks(51 * np.arange(len(SHOWN)) + 24, SHOWN)
    left.set(xticks=[], title=f"the six best of {MANY[-1]}")
    left.tick_params(length=0)
    left.spines[:].set_visible(False)
    for key, colour, marker in (("object", BLUE, "o"), ("colour", ORANGE, "s"), ("background", GREEN, "^")):
        values = mean_over_seeds(rows, key, "candidates")
        right.plot(range(len(MANY)), [100 * value for value in values.values()], f"{marker}-", color=colour, label=key)
    right.set_xticks(range(len(MANY)), MANY)
    right.set(xlabel="random scenes to choose from (one: chance)", ylabel="the best one shows what was asked for (%)",
              ylim=(0, 101))
    right.legend()
    return figure
