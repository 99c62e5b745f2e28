"""The four diagrams of tutorial/README.md: python tutorial/diagrams.py draws them into tutorial/figures.

Nothing in them is measured: matrices show where right pairs stand, bars what a softmax is. Pictures and captions are the
world's; the architecture's boxes are to scale.
"""
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "experiments")]
from clip_minimal import CONFIGS
from common import BLUE, GREEN, GREY, ORANGE
from train_tiny import EVERYTHING, World

N = 5


def canvas(width, height):
    """-> a figure and its one axis, whose units are hundredths of an inch, (0, 0) at the bottom left."""
    figure = Figure(figsize=(width / 100, height / 100))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, height))
    axis.axis("off")
    return figure, axis


def box(axis, x, y, width, height, text="", colour=GREY, size=10, **options):
    """A rectangle with a text in its middle."""
    axis.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor="black", linewidth=0.8, **options))
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=size)


def arrow(axis, start, end):
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1.2})


def picture(axis, image, x, y, side):
    axis.imshow(image, extent=(x, x + side, y, y + side), interpolation="nearest", zorder=2)
    axis.set(xlim=axis.figure.get_size_inches()[0] * np.array([0, 100]),
             ylim=axis.figure.get_size_inches()[1] * np.array([0, 100]), aspect="auto")


def pairs():
    """-> five pictures of the world as levels, and their captions."""
    world = World(0)
    scenes = world.scenes(world.rng(1, 40), N, "single", held_out=True)
    return world.draw(scenes).permute(0, 2, 3, 1).numpy(), world.captions(scenes, world.rng(1, 41), EVERYTHING)


def training():
    """Figure 1 (1): two encoders and the matrix of all pairs, whose diagonal is right."""
    figure, axis = canvas(1000, 560)
    images, captions = pairs()
    for i, (image, caption) in enumerate(zip(images, captions)):
        x, y = 480 + 90 * i, 300 - 66 * i
        axis.text(20, 520 - 24 * i, caption, fontsize=9, va="center")
        picture(axis, image, 20, y - 15, 58)
        box(axis, x, 400, 80, 32, f"T{i + 1}", "#f0b48c")
        box(axis, 370, y, 80, 32, f"I{i + 1}", "#8cc3e6")
        for j in range(N):
            box(axis, 480 + 90 * j, y, 80, 32, f"I{i + 1}·T{j + 1}", "#8fd0bd" if i == j else "white", 9)
    box(axis, 345, 410, 105, 112, "text\nencoder", "#f0b48c", 12)
    box(axis, 130, 36, 120, 300, "image\nencoder", "#8cc3e6", 12)
    arrow(axis, (310, 470), (343, 470))
    arrow(axis, (450, 416), (478, 416))
    arrow(axis, (82, 180), (128, 180))
    arrow(axis, (250, 180), (366, 180))
    axis.text(705, 470, "each column: which image is mine?", ha="center", fontsize=11)
    axis.text(705, 8, "each row: which caption is mine?   green: the right answers", ha="center", fontsize=11)
    return figure


def classifier():
    """Figure 1 (2): names in sentences, features, their mean: a column for each class."""
    figure, axis = canvas(1000, 400)
    names, templates = ["a cat", "a heart", "an umbrella"], ["{}", "a picture of {}", "{} on the beach"]
    axis.text(20, 375, "names in templates", fontsize=11)
    axis.text(575, 375, "features (K N, E)", fontsize=11, ha="center")
    axis.text(862, 375, "weights (E, N)", fontsize=11, ha="center")
    box(axis, 290, 40, 140, 300, "text\nencoder", "#f0b48c", 12)
    arrow(axis, (235, 190), (286, 190))
    arrow(axis, (430, 190), (476, 190))
    for i, (name, colour) in enumerate(zip(names, (BLUE, ORANGE, GREEN))):
        for k, template in enumerate(templates):
            y = 330 - 110 * i - 30 * k
            axis.text(20, y, template.replace("{}", name), fontsize=11, va="center", color=colour)
            box(axis, 480, y - 10, 190, 20, "", colour, alpha=0.35)
        arrow(axis, (674, 300 - 110 * i), (755, 300 - 110 * i))
        box(axis, 762 + 80 * i, 70, 44, 270, "", colour, alpha=0.9)
        axis.text(784 + 80 * i, 57, name, ha="center", fontsize=10)
    axis.text(575, 18, "of unit length", ha="center", fontsize=10)
    axis.text(862, 12, "means of the classes' sentences,\nof unit length again", ha="center", fontsize=10)
    return figure


def prediction():
    """Figure 1 (3): one picture's feature times the weights, softmax."""
    figure, axis = canvas(1000, 300)
    picture(axis, pairs()[0][0], 20, 95, 110)
    box(axis, 175, 70, 120, 160, "image\nencoder", "#8cc3e6", 12)
    box(axis, 350, 135, 190, 30, "I, unit length (1, E)", "#8cc3e6")
    axis.text(553, 150, "×", fontsize=18, ha="center", va="center")
    for i, colour in enumerate((BLUE, ORANGE, GREEN)):
        box(axis, 575 + 45 * i, 55, 34, 190, "", colour, alpha=0.9)
        box(axis, 800, 190 - 50 * i, (34, 160, 20)[i], 30, "", colour, alpha=0.9)
        axis.text(795, 205 - 50 * i, f"class {i + 1}", ha="right", va="center", fontsize=10)
    axis.text(637, 262, "weights (E, N)", ha="center", fontsize=11)
    axis.text(860, 262, "softmax(exp(t) · cosines)", ha="center", fontsize=11)
    axis.text(880, 50, "the longest bar is the answer", ha="center", fontsize=10)
    arrow(axis, (134, 150), (172, 150))
    arrow(axis, (297, 150), (347, 150))
    arrow(axis, (705, 150), (740, 150))
    return figure


def stages(name):
    """-> [(what, tokens or sides of the picture, channels), ...] of a model's image encoder."""
    c = CONFIGS[name]
    R, D = c.image_resolution, c.vision_width
    if c.vision_patch_size:
        n = (R // c.vision_patch_size) ** 2
        return [(f"{n} patches\nof {c.vision_patch_size} x {c.vision_patch_size}", n, 3 * c.vision_patch_size ** 2),
                ("+ class token,\npositions", n + 1, D), (f"{c.vision_layers} blocks", n + 1, D),
                ("class token", 1, D), ("projection", 1, c.embed_dim)]
    rest = [(f"stage {i + 1}:\n{blocks} blocks", R // 2 ** (i + 2), 4 * D * 2 ** i)
            for i, blocks in enumerate(c.vision_layers)]
    return [("image", R, 3), ("stem", R // 4, D), *rest, ("attention\npooling", 1, c.embed_dim)]


def architecture():
    """Text transformer, vision transformer and ResNet: widths are channels, heights tokens, or sides for the ResNet."""
    figure, axis = canvas(1150, 620)
    c = CONFIGS["ViT-B/32"]
    T, D = c.context_length, c.transformer_width
    text = [("ids", T, 1), ("embedding,\npositions", T, D), (f"{c.transformer_layers} blocks,\ncausal", T, D),
            ("end token", 1, D), ("projection", 1, c.embed_dim)]
    rows = (("text encoder\n(ViT-B/32)", text, ORANGE, 1.6, 0.16), ("ViT-B/32", stages("ViT-B/32"), BLUE, 1.6, 0.06),
            ("RN50", stages("RN50"), GREEN, 0.55, 0.06))
    for (title, parts, colour, high, wide), middle in zip(rows, (520, 320, 110)):
        axis.text(15, middle, title, fontsize=12, va="center", fontweight="bold")
        x = 150
        for i, (what, tokens, channels) in enumerate(parts):
            height, width = max(4, high * tokens), max(4, wide * channels)
            box(axis, x, middle - height / 2, width, height, "", colour, alpha=0.6)
            axis.text(x + width / 2, middle + height / 2 + 6, what, ha="center", va="bottom", fontsize=9)
            size = f"{tokens} x {tokens} x {channels}" if title == "RN50" else f"{tokens} x {channels}"
            axis.text(x + width / 2, middle - height / 2 - 6, size, ha="center", va="top", fontsize=9)
            if i < len(parts) - 1:
                arrow(axis, (x + width + 10, middle), (x + width + 76, middle))
            x += width + 86
    return figure


DIAGRAMS = {"training": training, "classifier": classifier, "prediction": prediction, "architecture": architecture}


def main(folder=HERE / "figures"):
    for name, draw in DIAGRAMS.items():
        draw().savefig(Path(folder) / f"diagram_{name}.png", dpi=100)


if __name__ == "__main__":
    main()
