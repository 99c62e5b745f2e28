"""The four diagrams of README.md: pre-training, a classifier made of text, prediction, architecture.

    python tutorial/diagrams.py [DIR]         writes four PNG files into tutorial/figures, or into DIR

Nothing in them is measured: pictures and captions are the world's, shapes those of CONFIGS, directions in the circles
are chosen. Coordinates are inches, y grows downwards. Letters: B images, N names or pairs, K templates, E embedding.
"""
import sys
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "experiments")]
from clip_minimal import CONFIGS
from common import BLUE, GREEN, GREY, ORANGE
from train_tiny import BACKGROUNDS, OBJECTS, World
from tutorial.extras.pictures import save_figure
from zeroshot import levels

PALE, CAT = "#E6E6E6", list(OBJECTS).index("cat")
B, N, K, E = 32, len(OBJECTS), 1 + len(BACKGROUNDS), CONFIGS["tiny-RN"].embed_dim  # N, K as in World.evaluate
UNIT, ACROSS, DOWN = 0.0155, 1 / 760, 1 / 150  # inches: of a row or column; of a channel; of a pixel or token


def canvas(height):
    """-> an axis without lines that fills a figure eleven inches wide."""
    axis = Figure(figsize=(11, height)).add_axes((0, 0, 1, 1), frame_on=False)
    axis.set(xlim=(0, 11), ylim=(height, 0), xticks=[], yticks=[], autoscale_on=False)
    return axis


def say(axis, *texts, **style):
    """Each of (x, y, text), its middle there."""
    for x, y, text in texts:
        axis.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 11, **style})


def box(axis, x, y, width, height, colour=PALE, edge="none", line=1):
    """A rectangle with its upper left corner at (x, y)."""
    axis.fill(x + width * np.array([0, 1, 1, 0]), y + height * np.array([0, 0, 1, 1]), fc=colour, ec=edge, lw=line)


def matrix(axis, x, y, rows, columns, row=None, column=None):
    """A box drawn to scale; marked in it are a row, blue of images and orange of texts, and a column of texts."""
    box(axis, x, y, columns * UNIT, rows * UNIT, PALE, GREY)
    if row is not None:
        box(axis, x, y + row * UNIT, columns * UNIT, 2 * UNIT, BLUE if rows == B else ORANGE)
    if column is not None:
        box(axis, x + column * UNIT, y, 2 * UNIT, rows * UNIT, ORANGE)


def arrow(axis, start, end, colour="black", line=1):
    """From one point to another."""
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": line, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=style)


def encoder(axis, x, y, colour, name):
    """A trapezium with these corners, narrow where features come out, and a name in it."""
    axis.fill(x, y, color=colour)
    say(axis, (np.mean(x), np.mean(y), name), color="white", fontweight="bold")


def picture(axis, image, x, y, side):
    """Normalised (3, R, R) as a square with its upper left corner at (x, y)."""
    axis.imshow(levels(image[None])[0], extent=(x, x + side, y + side, y), aspect="auto")


def circle(axis, middle, *vectors, radius=1.15):
    """The unit circle, and vectors from its middle: each (x, y), its colour, the width of its line, its label."""
    angles = np.linspace(0, 2 * np.pi, 361)
    axis.plot(middle[0] + radius * np.cos(angles), middle[1] + radius * np.sin(angles), color=GREY, linewidth=1)
    for (x, y), colour, line, label in vectors:
        tip = np.add(middle, (radius * x, -radius * y))
        arrow(axis, middle, tip, colour, line)
        say(axis, (*(tip + (0.1 * x, -0.16 * y)), label), color=colour, ha="left" if x > 0.2 else "center")


def pretraining():
    """Figure 1 (1): the pairs of a batch, two encoders, the matrix of similarities, what rows and columns ask."""
    images, captions = World().batch(step=1, n=40)
    some = [16, 8, 35, 27, 15, 25]
    n, left, top, wide, high = len(some), 3.3, 2.4, 1.25, 0.8
    axis, right, bottom = canvas(8), left + n * wide, top + n * high
    encoder(axis, (left, right, right - 0.4, left + 0.4), (0.95, 0.95, 1.5, 1.5), ORANGE, "text encoder")
    encoder(axis, (1.15, 2.2, 2.2, 1.15), (top, top + 0.4, bottom - 0.4, bottom), BLUE, "image\nencoder")
    for i, k in enumerate(some):
        x, y = left + (i + 0.5) * wide, top + (i + 0.5) * high
        say(axis, (x, 0.5, textwrap.fill(captions[k], 14)))
        picture(axis, images[k], 0.25, y - 0.36, 0.72)
        box(axis, x - 0.17, 1.7, 0.34, 0.6, ORANGE)
        box(axis, left - 0.8, y - 0.17, 0.6, 0.34, BLUE)
        say(axis, (x, 2.0, f"$T_{i + 1}$"), (left - 0.5, y, f"$I_{i + 1}$"), fontsize=14, color="white")
        for j in range(n):
            box(axis, left + j * wide, y - high / 2, wide, high, GREEN if i == j else PALE, "white", 2)
            say(axis, (left + (j + 0.5) * wide, y, rf"$I_{i + 1} \cdot T_{j + 1}$"), fontsize=14,
                color="white" if i == j else "black")
    box(axis, left, top + 2 * high, n * wide, high, "none", BLUE, 3)
    box(axis, left + 4 * wide, top, wide, n * high, "none", ORANGE, 3)
    say(axis, (left, bottom + 0.25, "row 3: which caption belongs to image 3?"), color=BLUE, ha="left")
    say(axis, (right, bottom + 0.25, "column 5: which image belongs to caption 5?"), color=ORANGE, ha="right")
    say(axis, (left, bottom + 0.6, "loss: the mean of both questions' cross-entropies over all pairs; green is right"),
        (0.25, 0.55, f"N pairs of a batch: {n} here,\n256 in train_tiny.py,\n32,768 in the paper"),
        (0.25, 1.95, f"features of unit length:\n$I_e$ and $T_e$ (N, E), E = {E}"),
        (0.25, bottom + 0.43, "logits (N, N):\n$\\exp(t)\\, I_e T_e^{\\,\\mathsf{T}}$"), ha="left")
    return axis.figure


def classifier():
    """Figure 1 (2): N names in K templates, features (N, K, E), their mean over K as columns of (E, N)."""
    axis, templates = canvas(6.1), ("{}", "{} on paper", "{} at night")
    for x, template in zip((0.7, 2.0, 3.5), templates):
        say(axis, (x, 0.6, template), color=GREY, family="monospace")
        for y, name, colour in ((1.15, "a cat", ORANGE), (1.65, "a mouse", GREY), (2.15, "a cow", GREY)):
            say(axis, (x, y, template.replace("{}", name)), bbox={"boxstyle": "round", "fc": "white", "ec": colour})
    encoder(axis, (4.85, 5.8, 5.8, 4.85), (0.65, 1.05, 2.25, 2.65), ORANGE, "text\nencoder")
    for start, end in ((4.55, 4.8), (5.85, 6.15), (8.8, 9.1)):
        arrow(axis, (start, 1.65), (end, 1.65))
    for k in reversed(range(K)):
        matrix(axis, 6.25 + 0.06 * k, 1.1 - 0.06 * k, N, E, row=CAT)
    matrix(axis, 9.2, 0.65, E, N, column=CAT)
    some = np.array([[np.cos(a), np.sin(a)] for a in np.radians([-10, 20, 95])])  # (3, 2)
    mean, length = some.mean(axis=0), np.linalg.norm(some.mean(axis=0))
    grey = [(vector, GREY, 1.5, template.replace("{}", "a cat")) for vector, template in zip(some, templates)]
    circle(axis, (1.6, 4.75), *grey, (mean / length, ORANGE, 2.5, ""), (mean, "black", 2.5, ""))
    say(axis, (4.35, 1.65, "…"), (2.0, 2.55, "⋮"), (2.1, 3.0, f"prompts: N = {N} names, K = {K} templates"),
        (7.2, 3.0, f"features (N, K, E) = ({N}, {K}, {E})"), (9.85, 3.0, f"weights (E, N) = ({E}, {N})"))
    say(axis, (4.2, 4.0, f"Grey: the features of a name's {K} sentences, each of unit length."),
        (4.2, 4.4, f"Black: their mean, which is shorter (of these three: {length:.2f})."),
        (4.2, 4.8, "Orange: the mean brought to unit length, a column of the weights."),
        (4.2, 5.4, "The circle has E = 2 and K = 3; its directions are chosen. Above is to scale."), ha="left")
    return axis.figure


def prediction():
    """Figure 1 (3): features (B, E) times weights (E, N), softmax; below, one image and three names by hand."""
    axis, images = canvas(6.2), World().examples(48, "single")[0][[35, 31, 32, 8]]
    for k, image in enumerate(images):
        picture(axis, image, 0.25 + 0.62 * (k % 2), 0.95 + 0.62 * (k // 2), 0.58)
    encoder(axis, (1.8, 2.7, 2.7, 1.8), (0.65, 1.05, 2.05, 2.45), BLUE, "image\nencoder")
    matrix(axis, 3.05, 1.3, B, E, row=0)
    matrix(axis, 5.4, 0.56, E, N, column=CAT)
    matrix(axis, 9.2, 1.3, B, N, row=0, column=CAT)
    for start, end in ((1.53, 1.77), (2.73, 3.0), (7.05, 9.1)):
        arrow(axis, (start, 1.55), (end, 1.55))
    say(axis, (0.85, 2.85, f"{B} images\n(B, 3, 48, 48)"), (4.05, 2.85, f"features\n(B, E) = ({B}, {E})"),
        (5.22, 1.55, "×"), (6.2, 2.85, f"weights\n(E, N) = ({E}, {N})"), (8.05, 1.2, "cosines × exp(t),\nsoftmax of "
        "each row"), (9.95, 2.85, f"probabilities\n(B, N) = ({B}, {N})"))
    names, feature, scale = ("a cat", "a heart", "a star"), np.array([0.8, 0.6]), 10
    weights = np.array([[0.6, 1, 0], [0.8, 0, 1]])  # (E, N)
    cosines = feature @ weights  # (3,)
    powers = np.exp(scale * (cosines - cosines.max()))
    circle(axis, (1.5, 4.85), *zip(weights.T, [ORANGE] * 3, [2] * 3, names), (feature, BLUE, 2.5, ""))
    picture(axis, images[0], 2.52, 3.95, 0.42)
    say(axis, (4.9, 3.85, "cosine"), (6.05, 3.85, f"× exp(t) = {scale}"), (8.85, 3.85, "share"),
        (7.4, 3.85, "exp, the largest\ntaken away first"), color=GREY)
    for y, name, cosine, power in zip((4.35, 4.75, 5.15), names, cosines, powers):
        share = power / powers.sum()
        box(axis, 8.6, y - 0.13, 1.7 * share, 0.26, GREEN)
        say(axis, (3.95, y, name), color=ORANGE)
        say(axis, (4.9, y, f"{cosine:.2f}"), (6.05, y, f"{scale * cosine:.1f}"), (7.4, y, f"{power:.3f}"),
            (8.95 + 1.7 * share, y, f"{share:.1%}"))
    say(axis, (3.6, 5.7, "By hand, with E = 2; features and scale are chosen. Above is to scale."), ha="left")
    return axis.figure


def shapes(config):
    """A CLIPConfig -> shapes on the way through its text and its image encoder: maps (C, H, W), tokens (T, D), the token
    that is read (D,), the feature (E,). Of a ResNet the stem is followed by four layers, and what the attention pool
    looks at."""
    R, D, P, E, wide = (config.image_resolution, config.vision_width, config.vision_patch_size, config.embed_dim,
                        config.transformer_width)
    maps = [(D, R // 2, R // 2), *((4 * D * 2 ** i, R // 4 // 2 ** i, R // 4 // 2 ** i) for i in range(4))]
    image = [(D, R // P, R // P), ((R // P) ** 2 + 1, D), (D,)] if P else [*maps, ((R // 32) ** 2 + 1, 32 * D)]
    return [(config.context_length, wide), (wide,), (E,)], [(3, R, R), *image, (E,)]


def tensor(axis, x, y, shape, colour):
    """A map as a solid, tokens or a feature as a sheet, from x on, around y -> its right edge."""
    channels, high, deep = shape if len(shape) == 3 else (shape[-1], *shape[:-1], 1)[:2] + (0,)
    wide, high, right, up = channels * ACROSS, high * DOWN, 0.4 * deep * DOWN, 0.3 * deep * DOWN
    top = y - high / 2
    for alpha, corners in ((1, [(0, 0), (wide, 0), (wide, high), (0, high)]),
                           (0.5, [(0, 0), (right, -up), (wide + right, -up), (wide, 0)]),
                           (0.75, [(wide, 0), (wide + right, -up), (wide + right, high - up), (wide, high)])):
        axis.fill(*(np.array(corners) + (x, top)).T, color=colour, alpha=alpha, linewidth=0.8)
    if channels == 3:  # the picture, on the side that is seen
        place = Affine2D.from_values(right, -up, 0, high, x + wide, top) + axis.transData
        image = levels(World(resolution=deep).examples(48, "single")[0][35:36])[0]
        axis.imshow(image, extent=(0, 1, 1, 0), aspect="auto", transform=place, zorder=2)
    say(axis, (x + (wide + right) / 2, top + high + 0.16, str(shape)), fontsize=10)
    return x + wide + right


def chain(axis, x, y, colour, shapes, gaps, operations):
    """Tensors after one another, and before each the operation that makes it -> the right edge."""
    for shape, gap, operation in zip(shapes, gaps, operations):
        if operation:
            arrow(axis, (x + 0.05, y), (x + gap - 0.05, y))
            say(axis, (x + gap / 2, y - 0.06, operation), va="bottom", fontsize=10)
        x = tensor(axis, x + gap, y, shape, colour)
    return x


def architecture():
    """Section 2.4: ViT-B/32's text and image encoder and RN50's image encoder, tensors to scale."""
    axis, end = canvas(8), "LayerNorm,\nprojection"
    text, image = shapes(CONFIGS["ViT-B/32"])
    *maps, places, feature = shapes(CONFIGS["RN50"])[1]
    say(axis, (0.75, 1.05, "77 ids of\n“a yellow cat\nat night”"), fontsize=10)
    chain(axis, 1.2, 1.05, ORANGE, text, (1.5, 1.6, 1.4), ("embedding,\n+ positions", "12 blocks; the\nend token", end))
    chain(axis, 0.3, 3.15, BLUE, image, (0, 1.1, 1.4, 1.5, 1.3),
          ("", "32 × 32\npatches", "+ class token,\n+ positions", "12 blocks; the\nclass token", end))
    stages = [f"layer{i}\n{blocks} blocks" for i, blocks in enumerate(CONFIGS["RN50"].vision_layers, 1)]
    x = chain(axis, 0.3, 5.5, GREEN, maps, (0, *[0.7] * 5), ("", "stem", *stages)) - 2048 * ACROSS
    for y, shape, operation in ((6.55, places, "7 × 7 places and their mean, + positions"),
                                (7.55, feature, "attention, the mean as query; projection")):
        arrow(axis, (x + 0.3, y - 0.65), (x + 0.3, y - 0.22))
        say(axis, (x + 0.4, y - 0.42, operation), ha="left", fontsize=10)
        tensor(axis, x, y, shape, GREEN)
    for x, y, colour, title in ((0.3, 0.3, ORANGE, "text encoder, ViT-B/32"),
                                (1.5, 2.1, BLUE, "image encoder, ViT-B/32"), (1.5, 4.4, GREEN, "image encoder, RN50")):
        say(axis, (x, y, title), color=colour, ha="left", fontweight="bold")
    box(axis, 8.6, 0.6, 1000 * ACROSS, 0.03, "black")
    box(axis, 8.6, 0.9, 0.03, 100 * DOWN, "black")
    say(axis, (8.6, 0.4, "1,000 channels wide"), (8.75, 1.25, "100 pixels or tokens\nhigh (and deep)"), ha="left")
    return axis.figure


def main(folder=HERE / "figures"):
    """Draw all four into a folder."""
    for draw in (pretraining, classifier, prediction, architecture):
        save_figure(draw(), Path(folder, f"{draw.__name__}.png"), dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
