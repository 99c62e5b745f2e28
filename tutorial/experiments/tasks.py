"""TASKS: fifty-three small evaluation datasets in the spirit of the paper's (Appendix A), drawn when asked for.

    python tutorial/experiments/tasks.py [PNG]      a contact sheet: each task, ten pictures of different classes

The task "objects" takes the place of ImageNet: a curated set, whose pictures are like those of train_tiny.py,
upright and in one style. Its shifts have one thing changed each, "ten objects" is coarse. Of all other tasks none
is what the tiny models are trained on: the ground is no place that has a name, the glyphs are others, or the label
is what no caption says. Their pictures are of any quality, see `photograph`.

Letters in shape comments: n images, N classes, s sprites. A picture has 48 x 48 pixels, a sprite's mask 32 x 32.
"""
import math
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).resolve().parents[2]))
from clip_minimal import normalize
from train_tiny import (BACKGROUNDS, COLOURS, FONT, OBJECTS, PLACES, RELATIONS, article, choose, colours_that_show,
                        render)
from zeroshot import accuracy, levels
from tutorial.extras.pictures import save_figure

# ---- What a task is ------------------------------------------------------------------------------

SPLITS = "train", "validation", "test"


@dataclass(frozen=True)
class Task:
    """A small dataset.

    draw(rng, labels) draws a picture for each label -> levels (n, 3, 48, 48) from 0 to 1. Labels are numbers of
    classes (n,), or (n, shown) where a picture shows several.
    """

    group: str
    classes: list  # N names as they stand in a sentence
    templates: list  # sentences with {} where the name goes
    draw: Callable
    metric: Callable = accuracy  # of scores (n, N) and labels
    shown: int = 1  # how many classes one picture shows
    splits: tuple = SPLITS  # a shift of another task is for testing alone, as ImageNet's are
    curated: bool = False  # whether all pictures are of the same quality, see `photograph`

    def size(self, split):
        """How many images a split has: to train on, twenty of each class, as few as the paper's smallest sets have."""
        if split not in self.splits:
            return 0
        each = {"train": 20, "validation": 10, "test": 10}[split]
        least = {"train": 40, "validation": 200, "test": 500}[split]
        return max(each * len(self.classes), least)

    def chance(self):
        """What the metric gives for a guess."""
        if self.metric is roc_auc:
            return 0.5
        if self.metric is mean_average_precision:
            return guessed_precision(self.size("test"), len(self.classes), self.shown)
        return 1 / len(self.classes)


def examples(name, split, n=None):
    """n pictures of a split, or all -> normalised images (n, 3, 48, 48), labels (n,).

    They are the same whenever they are asked for. Each class comes as often as the others, give or take one.
    Where a picture shows several classes the labels are (n, N), each 0 or 1.
    """
    task = TASKS[name]
    N = len(task.classes)
    if n is None:
        n = task.size(split)
    seed = crc32(f"{name}, {split}".encode())
    rng = np.random.default_rng(seed)
    # a class for each picture; if it shows several, the others are different numbers of steps further
    first = rng.permutation(n)[:, None] % N  # (n, 1)
    steps = shuffled(rng, np.arange(1, N), n)  # (n, N - 1)
    others = (first + steps[:, :task.shown - 1]) % N  # (n, shown - 1)
    classes = np.hstack([first, others])  # (n, shown)
    if task.shown == 1:
        classes = classes[:, 0]
    images = task.draw(rng, classes).float()
    if not task.curated:
        images = photograph(rng, images)
    images = normalize(images)
    # labels are numbers of classes, or 0 and 1 for each class
    labels = torch.from_numpy(classes)
    if task.shown > 1:
        labels = F.one_hot(labels, N).sum(dim=1)  # (n, N)
    return images, labels


def shuffled(rng, values, n):
    """Values (k,) in n random orders -> (n, k)."""
    return rng.permuted(np.tile(values, (n, 1)), axis=1)


# ---- How pictures are drawn ----------------------------------------------------------------------


def paint(rng, masks, colours=None, images=None, centre=None, side=(24, 40), turn=(-0.1, 0.1), varied=False):
    """Paint sprites on a ground: masks (n, s, 32, 32), from back to front -> levels (n, 3, 48, 48).

    What is not given is random. All sprites of a picture share what is random, and what has one row instead of s.

    colours   (n, s, 3) or (n, 1, 3)
    images    (n, 3, 48, 48), what to paint on
    centre    (n, s, 2) or (n, 1, 2), in pixels
    side      (n, s) or (n, 1), in pixels; or a range, from which it is random
    turn      the range of a random angle, in radians clockwise
    varied    whether the sprites have a random form, see `forms`
    """
    n, s = masks.shape[:2]
    # colours, ground, size, place and form, where they are not given
    if colours is None:
        colours = rng.random((n, 1, 3))
    if images is None:
        images = ground(rng, colours)
    if isinstance(side, tuple):
        side = rng.uniform(*side, (n, 1))
    if centre is None:
        room = (24 - side[:, :, None] / 2).clip(0)  # (n, 1, 1): so far from the middle nothing sticks out
        centre = 24 + room * rng.uniform(-1, 1, (n, 1, 2))
    angle = rng.uniform(*turn, n)
    form = np.eye(2)
    if varied:
        form = forms(rng, n)
    # one sprite after the other; where all share one row, j % 1 is 0
    for j in range(s):
        colour = colours[:, j % colours.shape[1]]  # (n, 3)
        at = centre[:, j % centre.shape[1]]  # (n, 2)
        wide = side[:, j % side.shape[1]]  # (n,)
        images = stamp(images, masks[:, j], colour, at, wide, angle, form)
    return images


def stamp(images, masks, colours, centre, side, turn, form=np.eye(2)):
    """Lay masks (n, 32, 32) in colours (n, 3) on images (n, 3, 48, 48) -> images (n, 3, 48, 48).

    Centre (n, 2) and side (n,) are in pixels; the masks are turned clockwise by turn (n,), in radians. A form,
    matrices (n, 2, 2) or one (2, 2), leads from a place of the sprite to that of the mask which is seen there.
    """
    # affine_grid wants matrices (2, 3) that lead from a place of the image to one of the mask, both from -1 to 1
    x, y = (centre / 24 - 1).T  # (n,) each
    cos = np.cos(turn)
    sin = np.sin(turn)
    # where a place is, as seen from the centre of the turned sprite: how far along, how far down
    along = np.stack([cos, sin, -cos * x - sin * y])  # (3, n)
    down = np.stack([-sin, cos, sin * x - cos * y])  # (3, n)
    # through the form; and the image is 48 / side times as large as the sprite
    first = form[..., 0, 0] * along + form[..., 0, 1] * down
    second = form[..., 1, 0] * along + form[..., 1, 1] * down
    theta = np.stack([first, second]) * 48 / side  # (2, 3, n)
    theta = torch.from_numpy(theta).float().permute(2, 0, 1)  # (n, 2, 3)
    # how much of the sprite each pixel sees
    grid = F.affine_grid(theta, (len(masks), 1, 48, 48), align_corners=False)  # (n, 48, 48, 2)
    alpha = F.grid_sample(masks[:, None], grid, align_corners=False)  # (n, 1, 48, 48)
    colours = torch.from_numpy(colours).float()[:, :, None, None]  # (n, 3, 1, 1)
    return torch.lerp(images, colours, alpha)


def forms(rng, n):
    """Random forms (n, 2, 2) of sprites: up to a quarter narrower or lower, and slanted to either side."""
    form = np.tile(np.eye(2), (n, 1, 1))  # as it leads from sprite to mask, larger numbers make smaller sprites
    axis = rng.integers(2, size=n)  # 0 narrower, 1 lower
    factor = rng.uniform(1, 1.33, (n, 1))
    form[np.arange(n), axis] *= factor
    form[:, 0, 1] = rng.uniform(-0.3, 0.3, n)
    return form


def ground(rng, colours):
    """A ground on which colours (n, s, 3) show -> levels (n, 3, 48, 48)."""
    n = len(colours)
    middle = contrast(rng, colours)  # (n, 3)
    lighter = rng.uniform(-0.08, 0.08, (2, n, 1))  # or darker
    upper, lower = middle + lighter  # (n, 3) each
    return gradient(upper, lower)


def gradient(upper, lower):
    """The colours (n, 3) of the upper and of the lower edge -> levels (n, 3, 48, 48)."""
    upper = torch.from_numpy(upper).float()[:, :, None, None]  # (n, 3, 1, 1)
    lower = torch.from_numpy(lower).float()[:, :, None, None]
    down = torch.linspace(0, 1, 48)[:, None]  # (48, 1)
    column = torch.lerp(upper, lower, down)  # (n, 3, 48, 1)
    return column.expand(-1, -1, -1, 48).clamp(0, 1)


def contrast(rng, others):
    """Others (n, k, 3) -> random colours (n, 3), each unlike the k others of its row, as the eye weighs."""
    n = len(others)
    tries = rng.random((n, 60, 3))
    squares = (tries[:, :, None] - others[:, None]) ** 2  # (n, 60, k, 3)
    distance = (squares @ [0.3, 0.5, 0.2]).min(axis=-1) ** 0.5  # (n, 60), to the nearest
    first = (distance > 0.3).argmax(axis=1)  # (n,), the first that is far enough
    return tries[np.arange(n), first]


def vary(rng, pixels, most):
    """Numbers of pixels, each changed by up to so many."""
    return pixels + rng.uniform(-most, most, pixels.shape)


def jitter(rng, colours):
    """Colours, each a little lighter or darker in red, green and blue."""
    return colours + rng.normal(0, 0.02, colours.shape)


def photograph(rng, images):
    """Levels (n, 3, 48, 48) -> the same, four of five in poor quality: grainy, out of focus, coarse or pale.

    Most datasets of the paper hold photographs of any quality. How poor they are here was chosen so that
    tasks are about as hard for probes on the supervised rival's features as in the paper: the mean of all
    is 66 % (with sharp pictures it was 78), that of a ResNet-50 over 27 datasets 69.9 % (Table 10).
    """
    n = len(images)
    quality = rng.integers(5, size=n)
    photographs = images.clone()
    # the fifth quality is the picture's own
    for i, worsen in enumerate([grainy, out_of_focus, coarse, pale]):
        some = torch.from_numpy(quality == i)
        photographs[some] = worsen(rng, images[some])
    return photographs.clamp(0, 1)


def grainy(rng, images, amount=0.1):
    """A random number added to each level."""
    return images + torch.from_numpy(rng.normal(0, amount, images.shape)).float()


def out_of_focus(rng, images):
    """Each pixel becomes the mean of the five by five around it."""
    padded = F.pad(images, (2, 2, 2, 2), "replicate")
    return F.avg_pool2d(padded, 5, 1)


def coarse(rng, images):
    """Squares of three by three pixels."""
    return pixelate(images, 3)


def pixelate(images, size):
    """Levels (n, 3, 48, 48) -> the same in squares of size x size pixels."""
    means = F.avg_pool2d(images, size)
    return F.interpolate(means, scale_factor=size)  # (n, 3, 48, 48)


def pale(rng, images):
    """Levels closer together, from dark ones to light ones."""
    n = len(images)
    range_of_levels = torch.from_numpy(rng.uniform(0.4, 0.8, (n, 1, 1, 1))).float()
    darkest = torch.from_numpy(rng.uniform(0, 0.3, (n, 1, 1, 1))).float()
    return darkest + range_of_levels * images


# ---- What is drawn: masks (.., 32, 32), 1 where there is something, and colours ------------------

SERIF = FONT.with_name("DejaVuSerif-Bold.ttf")
MONO = FONT.with_name("DejaVuSansMono-Bold.ttf")
NAMES = list(OBJECTS)
ATLAS = render(OBJECTS.values())  # (100, 32, 32)
STRANGERS = {  # classes of objects that no training caption names
    "caduceus": "☤", "hammer and pick": "⚒", "pair of crossed swords": "⚔", "hammer and sickle": "☭",
    "khanda": "☬", "shogi piece": "☗", "draughts king": "⛃", "domino": "🁓", "playing card": "🂡",
    "looped square": "⌘", "section sign": "§", "paragraph sign": "¶", "copyright sign": "©",
    "euro sign": "€", "hash sign": "#", "florette": "❁"}
STRANGE = render(STRANGERS.values())  # (16, 32, 32)
TEN = ["cat", "cow", "house", "airplane", "telephone", "umbrella", "anchor", "star", "heart", "skull"]
TEN_AT = np.array([NAMES.index(name) for name in TEN])  # (10,), their numbers among the hundred
TWENTY_AT = np.arange(2, 100, 5)  # (20,), those of twenty of them
# colours
PALETTE = np.array(list(COLOURS.values())) / 255  # (12, 3)
EDGE_COLOURS = np.array(list(BACKGROUNDS.values())) / 255  # (8, 2, 3), upper and lower, of grounds with a name
SHOWS = colours_that_show()  # (12, 8), which colours show on which of these grounds

# ---- How to draw the pictures of a task, given what its classes look like ------------------------


def single(*kinds, varied=True, **options):
    """How to draw one sprite a picture. Options are paint's.

    Each class has characters, or masks (variants, 32, 32), to choose from. Sprites vary in form, so that none is
    quite like another one of its class, unless the form is what the task is about.
    """
    variants = []
    for kind in kinds:
        if isinstance(kind, str):
            kind = render(kind)
        variants.append(kind)
    many = np.array([len(kind) for kind in variants])  # (N,)
    end = many.cumsum()  # (N,)
    masks = torch.cat(variants)  # those of class i end before number end[i]

    def draw(rng, labels):
        from_end = rng.random(len(labels)) * many[labels]
        chosen = end[labels] - 1 - from_end.astype(int)  # (n,)
        return paint(rng, masks[chosen][:, None], varied=varied, **options)

    return draw


def written(*texts, font=SERIF, **options):
    """How to draw one text a picture. Each class has a list of texts to choose from, or one character."""
    kinds = [render(kind, font=font) for kind in texts]
    return single(*kinds, **options)


def patterns(covers, colours=None):
    """How to draw pictures full of a pattern: covers(x, y) of each class, with x and y in periods.

    Each class may have two colours, up to 255: of what is covered and of the rest. Without, they are random.
    """
    def draw(rng, labels):
        # random colours, unless the class has its own
        over = rng.random((len(labels), 3))
        under = contrast(rng, over[:, None])  # (n, 3)
        pairs = np.stack([over, under], axis=1)  # (n, 2, 3)
        if colours is not None:
            pairs = np.array(colours)[labels] / 255
        # one picture after the other
        images = []
        for label, pair in zip(labels, pairs):
            images.append(pattern(rng, covers[label], pair))
        return torch.stack(images).clamp(0, 1)

    return draw


def pattern(rng, covers, colours):
    """A picture full of a pattern in two colours (2, 3), of what is covered and of the rest -> (3, 48, 48)."""
    # a period has 7 to 12 pixels, and the pattern begins anywhere in it
    at = (np.arange(144) + 0.5) / 3  # (144,), thirds of pixels
    period = rng.uniform(7, 12)
    x, y = at / period + rng.random((2, 1))  # (144,) each
    y = y[:, None]
    covered = np.broadcast_to(covers(x, y), (144, 144))
    # a pixel sees the mean of nine places
    alpha = F.avg_pool2d(torch.tensor(covered)[None].float(), 3)  # (1, 48, 48)
    colours = torch.from_numpy(jitter(rng, colours)).float()
    over, under = colours[:, :, None, None]  # (3, 1, 1) each
    return torch.lerp(under, over, alpha)


def flags(designs):
    """How to draw flags of three stripes. A design tells whether they stand, and three colours, up to 255."""
    stripes = torch.stack([  # (2, 3, 32, 32)
        shape(stripe(-1, False), stripe(0, False), stripe(1, False)),
        shape(stripe(-1, True), stripe(0, True), stripe(1, True))])
    stands = np.array([stand for stand, *_ in designs])  # (N,)
    colours = np.array([three for _, *three in designs]) / 255  # (N, 3, 3)

    def draw(rng, labels):
        masks = stripes[stands[labels]]  # (n, 3, 32, 32)
        return paint(rng, masks, jitter(rng, colours[labels]), side=(30, 44))

    return draw


# ---- How to draw the pictures of single tasks ----------------------------------------------------


def objects(rng, labels, atlas=ATLAS, **options):
    """The object task: any colour that has a name, on one of the grounds of train_tiny.py on which it shows."""
    colour = rng.integers(12, size=len(labels))
    edges = EDGE_COLOURS[choose(rng, SHOWS[colour])]  # (n, 2, 3)
    colours = jitter(rng, PALETTE[colour][:, None])  # (n, 1, 3)
    images = gradient(edges[:, 0], edges[:, 1])
    return paint(rng, atlas[labels][:, None], colours, images, **options)


def ten_objects(rng, labels):
    """Ten of the objects, in squares of three by three pixels."""
    return coarse(rng, objects(rng, TEN_AT[labels]))


def held_out(rng, labels):
    """Each object in the colour in which no training picture shows it."""
    colours = PALETTE[5 * labels % 12][:, None]  # (n, 1, 3)
    return paint(rng, ATLAS[labels][:, None], jitter(rng, colours))


def stranger(rng, n):
    """Any object without a name -> masks (n, 1, 32, 32)."""
    return STRANGE[rng.integers(len(STRANGE), size=(n, 1))]


def hazards(rng, labels):
    """Black on a yellow square."""
    n = len(labels)
    square = shape(box(0.9, 0.9)).expand(n, -1, -1)  # (n, 32, 32)
    signs = render("⚠☢☣☠⚡")[labels]  # (n, 32, 32)
    yellow_and_black = np.array([[1, 0.8, 0], [0.05, 0.05, 0.05]])
    colours = jitter(rng, np.tile(yellow_and_black, (n, 1, 1)))  # (n, 2, 3)
    centre = vary(rng, np.full((n, 1, 2), 24), 4)
    side = rng.uniform(18, 24, (n, 1)) * [1.6, 1]  # (n, 2)
    masks = torch.stack([square, signs], dim=1)  # (n, 2, 32, 32)
    return paint(rng, masks, colours, centre=centre, side=side)


def scenery(rng, labels):
    """The training pictures' grounds with nothing on them, lighter or darker, and grainy."""
    n = len(labels)
    lighter = rng.uniform(-0.06, 0.06, (n, 1, 3))  # or darker
    edges = EDGE_COLOURS[labels] + lighter  # (n, 2, 3)
    images = gradient(edges[:, 0], edges[:, 1])
    grain = rng.normal(0, 0.03, (n, 1, 48, 48))
    return (images + torch.from_numpy(grain)).clamp(0, 1)


def daylight(rng, labels):
    """Anything under a bright sky, label 0, or in the dark."""
    n = len(labels)
    brightness = np.where(labels, 0.25, 1)[:, None]  # (n, 1)
    sky = rng.uniform(0.6, 0.95, (n, 3)) * brightness
    colours = contrast(rng, sky[:, None])[:, None]  # (n, 1, 3)
    return paint(rng, stranger(rng, n), colours, gradient(sky, 0.8 * sky))


def cells(rng, labels):
    """Purple cells on pink tissue; where the label is 1 a dark one lies in the middle, else at the rim."""
    n = len(labels)
    # nine cells, each in any direction from the middle; the last one is the dark one
    angle = rng.uniform(0, 2 * np.pi, (n, 9))
    far = rng.uniform(9, 22, (n, 9))
    far[:, 8] = np.where(labels, 1, 19)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)  # (n, 9, 2)
    centre = 24 + far[:, :, None] * direction
    # colours
    colours = np.tile([0.62, 0.4, 0.68], (n, 9, 1))
    colours[:, 8] = [0.3, 0.12, 0.42]
    colours = jitter(rng, colours)
    tissue = jitter(rng, np.tile([0.93, 0.76, 0.86], (n, 1)))  # (n, 3)
    images = gradient(tissue, tissue)
    side = rng.uniform(6, 9, (n, 9))
    masks = DISC.expand(n, 9, -1, -1)  # (n, 9, 32, 32)
    return paint(rng, masks, colours, images, centre, side)


def coloured(rng, labels):
    """Anything in one of the twelve colours."""
    masks = stranger(rng, len(labels))
    return paint(rng, masks, jitter(rng, PALETTE[labels][:, None]))


def lamps(rng, labels):
    """A traffic light whose red, yellow or green lamp is lit."""
    n = len(labels)
    # a case and three lamps
    case = shape(box(0.42, 0.95))[0]
    light = torch.stack([case, DISC, DISC, DISC])
    masks = light.expand(n, -1, -1, -1)  # (n, 4, 32, 32)
    side = np.tile([42, 11, 11, 11], (n, 1))
    # all is dark but the lamp that is lit
    colours = np.full((n, 4, 3), 0.25)
    colours[:, 0] = 0.08
    lit = levels_of("red", "yellow", "green")  # (3, 3)
    colours[np.arange(n), labels + 1] = lit[labels]
    colours = jitter(rng, colours)
    # case and lamps are moved together, to the left or right above all
    moved = rng.uniform(-1, 1, (n, 1, 2)) * [8, 2]
    offset = np.array([(0, 0), (0, -12), (0, 0), (0, 12)])
    centre = 24 + moved + offset  # (n, 4, 2)
    images = ground(rng, colours)
    return paint(rng, masks, colours, images, centre, side, turn=(0, 0))


def levels_of(*names):
    """Names of colours -> levels (names, 3) from 0 to 1."""
    return np.array([COLOURS[name] for name in names]) / 255


def sizes(rng, labels):
    """Anything, a third, a half or four fifths as wide as the picture."""
    wide = np.array([15, 25, 40])[labels]
    side = vary(rng, wide[:, None], 2)  # (n, 1)
    return paint(rng, stranger(rng, len(labels)), side=side)


def places(rng, labels):
    """Anything in one of nine places."""
    n = len(labels)
    middle = in_grid(labels[:, None], columns=3, apart=14, first=10)  # (n, 1, 2)
    centre = vary(rng, middle, 2)
    return paint(rng, stranger(rng, n), centre=centre, side=(16, 20))


def counts(rng, labels):
    """One to eight of the same thing, in as many of nine places."""
    n = len(labels)
    cell = shuffled(rng, np.arange(9), n)[:, :8]
    middle = in_grid(cell, columns=3, apart=15, first=9)  # (n, 8, 2)
    centre = vary(rng, middle, 1)
    # eight copies, of which those that are too many are empty
    there = torch.from_numpy(np.arange(8) <= labels[:, None])  # (n, 8)
    masks = stranger(rng, n) * there[:, :, None, None]  # (n, 8, 32, 32)
    return paint(rng, masks, centre=centre, side=(13, 15))


def in_grid(cell, columns, apart, first):
    """Numbers of cells (..), counted from the top left -> their middles (.., 2), in pixels.

    Two cells side by side are so many pixels apart; the first one is so many from the left and from the top.
    """
    column = cell % columns
    row = cell // columns
    return np.stack([column, row], axis=-1) * apart + first


def beside(rng, labels, colours=None):
    """A star to the left of, to the right of, above or below a circle."""
    n = len(labels)
    star_and_circle = ATLAS[[NAMES.index("star"), NAMES.index("circle")]]  # (2, 32, 32)
    masks = star_and_circle.expand(n, -1, -1, -1)  # (n, 2, 32, 32)
    # on opposite sides of the middle
    directions = np.array(list(RELATIONS.values()))  # (4, 2)
    to_star = 12 * directions[labels]  # (n, 2)
    offset = np.stack([to_star, -to_star], axis=1)  # (n, 2, 2)
    centre = vary(rng, 24 + offset, 2)
    return paint(rng, masks, colours, centre=centre, side=(18, 22))


def bound(rng, labels):
    """A star to the left of a circle: red and blue where the label is 0, else blue and red."""
    either = np.stack([levels_of("red", "blue"), levels_of("blue", "red")])  # (2, 2, 3)
    to_the_left = np.zeros_like(labels)
    return beside(rng, to_the_left, jitter(rng, either[labels]))


def together(rng, labels):
    """Two of twenty objects, labels (n, 2), each in one of the corners."""
    n = len(labels)
    corner = shuffled(rng, np.arange(4), n)[:, :2]
    middle = in_grid(corner, columns=2, apart=23, first=12.5)  # (n, 2, 2)
    centre = vary(rng, middle, 1)
    return paint(rng, ATLAS[TWENTY_AT[labels]], centre=centre, side=(21, 24))


def titled(rng, labels, titles):
    """One of ten objects, and across it, in a colour that shows, the name of one."""
    n = len(labels)
    below = rng.random((n, 1, 3))
    above = contrast(rng, below)[:, None]  # (n, 1, 3)
    colours = np.hstack([below, above])  # (n, 2, 3)
    words = render(TEN, font=SERIF)[titles]  # (n, 32, 32)
    masks = torch.stack([ATLAS[TEN_AT[labels]], words], dim=1)  # (n, 2, 32, 32)
    side = rng.uniform([30, 44], [38, 48], (n, 2))
    return paint(rng, masks, colours, centre=np.full((n, 1, 2), 24), side=side)


def another(rng, labels):
    """For each of ten labels another one."""
    return (labels + rng.integers(1, 10, len(labels))) % 10


def attacked(rng, labels):
    """The typographic attack: an object under another one's name."""
    return titled(rng, labels, another(rng, labels))


def agreeing(rng, labels):
    """An object under its own name where the label is 1, else under another one's."""
    shown = rng.integers(10, size=len(labels))
    titles = np.where(labels, shown, another(rng, shown))
    return titled(rng, shown, titles)


# ---- Shifts of the object task -------------------------------------------------------------------


def outlined(rng, labels):
    """Outlines: dilated minus eroded masks, which differ along edges."""
    dilated = F.max_pool2d(ATLAS, 3, 1, 1)  # in each cell the largest of the three by three around it
    eroded = -F.max_pool2d(-ATLAS, 3, 1, 1)  # the smallest
    return objects(rng, labels, dilated - eroded)


def rotated(rng, labels):
    """Turned clockwise by 22 to 45 degrees."""
    return objects(rng, labels, turn=(np.pi / 8, np.pi / 4))


def in_another_font(rng, labels):
    """Those objects that another font has, and draws otherwise."""
    return objects(rng, OTHER_AT[labels], OTHERS)


def differ(masks, others):
    """Which of the masks (100, 32, 32) differ from others, (100, 32, 32) or (1, 32, 32) -> (100,)."""
    return (masks - others).abs().mean((1, 2)) > 0.02


OTHERS = render(OBJECTS.values(), font=MONO)  # (100, 32, 32)
MISSING = render("\uffff", font=MONO)  # (1, 32, 32), what a font draws that lacks a character
ARE_OTHERS = differ(OTHERS, ATLAS) & differ(OTHERS, MISSING)  # (100,)
OTHER_AT = ARE_OTHERS.nonzero().flatten().numpy()  # (83,), numbers of objects


def shifted(change):
    """How to draw the object task with something done to the whole picture: change(rng, levels) -> levels."""
    def draw(rng, labels):
        images = change(rng, objects(rng, labels))
        return images.clamp(0, 1)

    return draw


def low_resolution(rng, images):
    """Squares of four by four pixels."""
    return pixelate(images, 4)


def noisy(rng, images):
    """Less grain than in a photograph."""
    return grainy(rng, images, 0.06)


def grey(rng, images):
    """Grey, from 0.3 to 0.7 in each picture, so that nothing vanishes that is nearly as light as its ground."""
    light = images.mean(dim=1, keepdim=True)  # (n, 1, 48, 48)
    low = light.amin((2, 3), keepdim=True)  # (n, 1, 1, 1)
    high = light.amax((2, 3), keepdim=True)
    light = 0.3 + 0.4 * (light - low) / (high - low)
    return light.expand(-1, 3, -1, -1)  # (n, 3, 48, 48)


def inverted(rng, images):
    """Dark where it was light."""
    return 1 - images


def occluded(rng, images):
    """A bar of any colour across the middle, in any direction."""
    n = len(images)
    bars = shape(box(1, 0.06)).expand(n, 1, -1, -1)  # (n, 1, 32, 32)
    centre = np.full((n, 1, 2), 24)
    return paint(rng, bars, images=images, centre=centre, side=(90, 90), turn=(0, np.pi))


# ---- Metrics (Table 9) ---------------------------------------------------------------------------


def mean_per_class(scores, labels):
    """The mean of the accuracies on each class that occurs, so that all count the same."""
    accuracies = [accuracy(scores[labels == i], i) for i in labels.unique()]
    return sum(accuracies) / len(accuracies)


def mean_average_precision(scores, labels):
    """11-point mAP (VOC 2007): scores (n, N) and labels (n, N) of 0 and 1, each class at least once.

    It is the mean, over classes and the recalls 0, 0.1 ... 1, of the highest precision at that recall or
    above. Equal scores are found together.
    """
    # going down the ranking of a class: how many images were looked at, and how many of them show it?
    scores, order = scores.sort(dim=0, descending=True)  # (n, N) each
    hits = labels.gather(0, order).cumsum(dim=0)  # (n, N)
    looked_at = torch.ones_like(hits).cumsum(dim=0)  # (n, N)
    # of equal scores only the last place counts; behind the last image of all there is a lower score
    lower = torch.full_like(scores[:1], -math.inf)
    is_last = scores.diff(dim=0, append=lower) != 0  # (n, N)
    precision = is_last * hits / looked_at  # (n, N)
    # where is a recall of 0, 0.1 ... 1 reached?
    tenths = torch.arange(11, device=hits.device)[:, None, None]  # (11, 1, 1)
    is_reached = 10 * hits >= tenths * hits[-1]  # (11, n, N)
    highest = (is_reached * precision).amax(dim=1)  # (11, N)
    return highest.mean().item()


def guessed_precision(n, N, shown):
    """The mean of 20 mAPs of random scores. It is above the share of images that show a class."""
    rng = np.random.default_rng(0)
    labels = shuffled(rng, np.arange(N) < shown, n)  # (n, N)
    labels = torch.from_numpy(labels).long()
    guesses = []
    for _ in range(20):
        scores = torch.from_numpy(rng.random((n, N)))
        guesses.append(mean_average_precision(scores, labels))
    return np.mean(guesses)


def roc_auc(scores, labels):
    """Of two classes (n, 2): how often an image of class 1 is told from one of class 0; a tie counts half."""
    margin = (scores[:, 1] - scores[:, 0]).double()  # (n,)
    # every image of class 1 against every image of class 0: 1 if told, 0 if tied, -1 if taken for each other
    difference = margin[labels == 1, None] - margin[labels == 0]
    return (1 + difference.sign().mean().item()) / 2


# ---- Formulas: covers(x, y), true where there is something, x to the right and y down ------------

# functions without x and y return such formulas; shape and moons return masks


def shape(*covers):
    """Masks drawn with formulas, in which x and y go from -1 to 1 -> (covers, 32, 32)."""
    x = (np.arange(256) + 0.5) / 128 - 1
    y = x[:, None]
    # 256 x 256 places, of which 8 x 8 make a cell of the mask
    masks = [np.broadcast_to(cover(x, y), (256, 256)) for cover in covers]
    masks = torch.from_numpy(np.stack(masks)).float()  # (covers, 256, 256)
    return F.avg_pool2d(masks[:, None], 8)[:, 0]


def disc(x, y):
    """A round sprite."""
    return np.hypot(x, y) < 0.9


DISC = shape(disc)[0]  # (32, 32)


def box(wide, high):
    """A rectangle, so wide and so high to either side of the middle."""
    def covers(x, y):
        return (abs(x) < wide) & (abs(y) < high)

    return covers


def polygon(n):
    """A polygon of n equal sides, a corner at the top."""
    half = np.pi / n  # the angle from a corner to the middle of a side

    def covers(x, y):
        clockwise = np.arctan2(x, -y) + 2 * np.pi  # from the top
        turn = clockwise % (2 * np.pi / n) - half  # 0 at the middle of a side
        towards_side = np.hypot(x, y) * np.cos(turn)
        return towards_side < 0.95 * np.cos(half)

    return covers


def pointed(n, inner):
    """A star of n points, one of them at the top; its notches are `inner` times as far from the middle."""
    half = np.pi / n  # the angle from a point to a notch
    # the edge goes from a point at (0, 1) to this notch
    notch_x = inner * np.sin(half)
    notch_y = inner * np.cos(half)

    def covers(x, y):
        clockwise = np.arctan2(x, -y) + half
        turn = abs(clockwise % (2 * np.pi / n) - half)  # 0 at a point
        across_edge = np.sin(turn) * (1 - notch_y) + np.cos(turn) * notch_x
        return np.hypot(x, y) * across_edge < 0.95 * notch_x

    return covers


def hand(x, y, angle, length, width):
    """A hand from the middle at an angle from the top."""
    along = x * np.sin(angle) - y * np.cos(angle)
    across = x * np.cos(angle) + y * np.sin(angle)
    return (along > 0) & (along < length) & (abs(across) < width)


def clock(hour):
    """A clock's face on the hour."""
    def covers(x, y):
        rim = abs(np.hypot(x, y) - 0.9) < 0.07
        minutes = hand(x, y, 0, 0.75, 0.05)
        hours = hand(x, y, hour * np.pi / 6, 0.5, 0.09)
        return rim | minutes | hours

    return covers


def moon(far, side):
    """A moon lit from the right, if side is 1, or the left, -1, to so far beyond the middle."""
    def covers(x, y):
        half = np.sqrt((0.93 ** 2 - y * y).clip(0))  # of the moon's width at this height
        lit = side * x > -far * half
        return (np.hypot(x, y) < 0.93) & lit

    return covers


def moons(*lit):
    """Moons lit to so far beyond the middle, -1 nothing, 1 all, from either side -> masks (2 lit, 32, 32)."""
    covers = []
    for far in lit:
        covers += [moon(far, -1), moon(far, 1)]
    return shape(*covers)


def stripe(i, stands):
    """The i-th of three stripes of a flag, -1, 0 or 1; they lie or stand."""
    def covers(x, y):
        if stands:
            return (abs(x - 0.6 * i) < 0.3) & (abs(y) < 0.6)
        return (abs(y - 0.4 * i) < 0.2) & (abs(x) < 0.9)

    return covers


def bricks(x, y):
    """What is between rows of bricks, and between the bricks of a row."""
    moved = x / 2 + (y % 2 < 1) / 2  # every second row by half a brick
    return (y % 1 < 0.2) | (moved % 1 < 0.1)


def fields(x, y):
    """Rectangles, of which about half are covered."""
    columns = np.sin(7 * (0.6 * x // 1))
    rows = np.sin(5 * (0.9 * y // 1))
    return columns + rows > 0


def trees(x, y):
    """Treetops: discs in rows."""
    down = 1.6 * y
    right = 1.6 * x + (down % 2 < 1) / 2  # every second row is moved by half a disc
    return np.hypot(right % 1 - 0.5, down % 1 - 0.5) < 0.42


# ---- The tasks -----------------------------------------------------------------------------------


def with_articles(names):
    """"cat", "ankh" -> ["a cat", "an ankh"]."""
    return [article(name) for name in names]


def in_held_out_colours():
    """-> ["a red sun", ...]: each object with the colour in which no training picture shows it."""
    colours = list(COLOURS)
    classes = []
    for i, name in enumerate(NAMES):
        colour = colours[5 * i % 12]
        classes.append(article(f"{colour} {name}"))
    return classes


def sprite_task(group, table, templates, metric=accuracy, **options):
    """A task with one sprite a picture. The table has its classes, and which characters or masks show each."""
    draw = single(*table.values(), **options)
    return Task(group, list(table), templates, draw, metric)


def shift(draw):
    """A shift of the object task, which has its classes, as ImageNet Sketch has ImageNet's (Section 3.3)."""
    return Task("shifts", with_articles(NAMES), SCENES, draw, splits=("test",), curated=True)


# templates
PLAIN = ["{}", "a picture of {}", "a drawing of {}"]
SCENES = PLAIN + ["{} " + where for where in BACKGROUNDS]
OF_TEN = ["a {} " + name for name in TEN]
TEN_ARE = [article(name) + " {}" for name in TEN]
SIGN_OF = ["{}", "the sign of {}"]
# classes
NUMBERS = ["one", "two", "three", "four", "five", "six",
           "seven", "eight", "nine", "ten", "eleven", "twelve"]
LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
HOUSES = [str(number) for number in range(10, 60)]
TWENTY = [NAMES[i] for i in TWENTY_AT]
CLOCKS = {}  # what shows one o'clock, two o'clock, ...
for hour in range(1, 13):
    CLOCKS[NUMBERS[hour - 1]] = shape(clock(hour))
STARS = {}  # of four to eight points, each with notches of three depths
for points in range(4, 9):
    variants = [pointed(points, inner) for inner in (0.35, 0.45, 0.55)]
    STARS[NUMBERS[points - 1]] = shape(*variants)
# ranges of random angles, in radians
SLANTED = (-0.3, 0.3)
ANY_WAY = (-np.pi, np.pi)
# patterns: formulas in which x and y are counted in periods
TEXTURES = {
    "horizontal stripes": lambda x, y: y % 1 < 0.5,
    "vertical stripes": lambda x, y: x % 1 < 0.5,
    "slanted stripes": lambda x, y: (x + y) % 1.4 < 0.7,
    "a chequerboard": lambda x, y: (x % 1 < 0.5) ^ (y % 1 < 0.5),
    "dots": lambda x, y: np.hypot(x % 1 - 0.5, y % 1 - 0.5) < 0.32,
    "a grid": lambda x, y: (x % 1 < 0.25) | (y % 1 < 0.25),
    "waves": lambda x, y: (y + np.sin(np.pi * x) / 3) % 1 < 0.5,
    "bricks": bricks}
FROM_ABOVE = {
    "fields": fields,
    "a forest": trees,
    "a river": lambda x, y: abs(y - 3 - np.sin(0.9 * x)) < 0.6,
    "a town": lambda x, y: (x % 1 < 0.3) | (y % 1.4 < 0.3),
    "the sea": lambda x, y: (y + np.sin(3 * x) / 6) % 1 < 0.12,
    "a desert": lambda x, y: (x + y / 3 + np.sin(2 * y) / 4) % 2 < 0.8}
COLOURS_FROM_ABOVE = [  # in the same order: of what is covered, of the rest
    ((190, 180, 90), (110, 150, 70)),
    ((35, 85, 40), (20, 50, 25)),
    ((60, 110, 160), (120, 155, 90)),
    ((110, 110, 115), (190, 160, 145)),
    ((90, 150, 190), (25, 75, 130)),
    ((225, 195, 140), (205, 170, 115))]
FLAGS = {  # whether stripes stand, 1, or lie, 0; colours from the left or from the top
    "France": (1, (0, 35, 150), (250, 250, 250), (235, 40, 55)),
    "Italy": (1, (0, 145, 70), (250, 250, 250), (205, 45, 55)),
    "Belgium": (1, (15, 15, 15), (255, 215, 60), (240, 50, 65)),
    "Ireland": (1, (20, 155, 100), (250, 250, 250), (255, 135, 60)),
    "Germany": (0, (10, 10, 10), (220, 10, 10), (255, 205, 0)),
    "Austria": (0, (235, 40, 55), (250, 250, 250), (235, 40, 55)),
    "Russia": (0, (250, 250, 250), (0, 60, 165), (215, 40, 30)),
    "Hungary": (0, (205, 40, 60), (250, 250, 250), (70, 110, 80))}

TASKS = {
    "objects": Task("objects", with_articles(NAMES), SCENES, objects, curated=True),
    "ten objects": Task("objects", with_articles(TEN), SCENES, ten_objects, curated=True),
    "held-out pairs": Task("objects", in_held_out_colours(), SCENES, held_out, mean_per_class),
    "unseen objects": Task(
        "objects", with_articles(STRANGERS), SCENES,
        single(*STRANGERS.values()), mean_per_class),
    "animals": sprite_task("objects", {
        "a cat": "🐱😺😸😻😼", "a mouse": "🐭", "a cow": "🐮", "a monkey": "🐵",
    }, SCENES, mean_per_class),
    "tools": sprite_task("objects", {
        "a pair of scissors": "✁✃✄", "a pencil": "✏✐", "a fountain pen": "✑", "a balance": "⚖",
        "an alembic": "⚗", "a gear": "⚙", "an anchor": "⚓", "a hammer and pick": "⚒",
    }, ["{}", "{}, a tool"], mean_per_class),
    "weather": sprite_task("objects", {
        "a sun": "☼☉", "a cloud": "☁", "an umbrella": "☔", "a snowflake": "❅❆",
        "a lightning bolt": "☇☈", "a comet": "☄",
    }, ["{}", "the weather: {}"], mean_per_class, turn=SLANTED),
    "religious signs": sprite_task("objects", {
        "a cross": "✝✞✟", "a crescent": "☪", "a star of David": "✡", "a wheel of dharma": "☸",
        "a yin yang": "☯", "a khanda": "☬", "an Orthodox cross": "☦", "an ankh": "☥",
    }, ["{}", "{}, a sign of faith"]),
    "hazard signs": Task(
        "objects",
        ["a warning sign", "a radiation sign", "a biohazard sign", "a skull", "a lightning bolt"],
        ["{}", "{}, a sign of danger"], hazards),

    "chess pieces": sprite_task("fine-grained", {
        "a chess king": "♔", "a chess queen": "♕", "a chess rook": "♖",
        "a chess bishop": "♗", "a chess knight": "♘", "a chess pawn": "♙",
    }, SCENES, mean_per_class),
    "card suits": sprite_task("fine-grained", {
        "a spade": "♤", "a heart": "♡", "a diamond": "♢", "a club": "♧",
    }, SCENES),
    "dice faces": sprite_task("fine-grained", {
        "one": "⚀", "two": "⚁", "three": "⚂", "four": "⚃", "five": "⚄", "six": "⚅",
    }, ["a die showing {}", "{}"]),
    "arrows": sprite_task("fine-grained", {
        "left": "←⇐⇦⬅↞", "up": "↑⇑⇧⬆↟", "right": "→⇒⇨➡↠", "down": "↓⇓⇩⬇↡",
        "to the top left": "↖⇖⬁⬉", "to the top right": "↗⇗⬀⬈",
        "to the bottom right": "↘⇘⬂⬊", "to the bottom left": "↙⇙⬃⬋",
    }, ["an arrow {}", "an arrow pointing {}"]),
    "hands": sprite_task("fine-grained", {
        "a hand pointing to the left": "☚☜", "a hand pointing to the right": "☛☞",
        "a hand pointing up": "☝", "a hand pointing down": "☟",
        "a victory hand": "✌", "a writing hand": "✍",
    }, PLAIN),
    "faces": sprite_task("fine-grained", {
        "happy": "☻😀😃😄", "sad": "😞😟😔", "angry": "😠😡", "surprised": "😮😯😲",
        "sleeping": "😪", "crying": "😢😿", "masked": "😷",
    }, ["a {} face", "a picture of a {} face"], mean_per_class),
    "clock hours": sprite_task(
        "fine-grained", CLOCKS, ["{} o'clock", "a clock showing {} o'clock"], mean_per_class,
        side=(30, 42), turn=(0, 0)),
    "moon phases": sprite_task("fine-grained", {
        "a crescent moon": moons(-0.7, -0.5, -0.3), "a half moon": moons(0),
        "a gibbous moon": moons(0.3, 0.5, 0.7), "a full moon": moons(1),
    }, SCENES, varied=False, turn=SLANTED),
    "zodiac": sprite_task("fine-grained", {
        "Aries": "♈", "Taurus": "♉", "Gemini": "♊", "Cancer": "♋", "Leo": "♌", "Virgo": "♍",
        "Libra": "♎", "Scorpio": "♏", "Sagittarius": "♐", "Capricorn": "♑", "Aquarius": "♒",
        "Pisces": "♓",
    }, SIGN_OF, mean_per_class),
    "planets": sprite_task("fine-grained", {
        "Mercury": "☿", "Venus": "♀", "Earth": "♁", "Mars": "♂",
        "Jupiter": "♃", "Saturn": "♄", "Uranus": "♅", "Neptune": "♆",
    }, SIGN_OF, mean_per_class),
    "music": sprite_task("fine-grained", {
        "a quarter note": "♩", "an eighth note": "♪", "a pair of notes": "♫",
        "a group of four notes": "♬", "a flat sign": "♭", "a natural sign": "♮", "a sharp sign": "♯",
    }, SCENES, turn=SLANTED),
    "star points": sprite_task("fine-grained", STARS, ["a star with {} points"], turn=ANY_WAY),
    "polygons": sprite_task("fine-grained", {
        "a triangle": shape(polygon(3)), "a square": shape(polygon(4)), "a pentagon": shape(polygon(5)),
        "a hexagon": shape(polygon(6)), "an octagon": shape(polygon(8)), "a circle": shape(polygon(99)),
    }, SCENES, varied=False, turn=ANY_WAY),

    "scenery": Task("scenes", list(BACKGROUNDS), ["{}", *TEN_ARE], scenery),
    "daylight": Task("scenes", ["in the sky", "at night"], ["{}", *TEN_ARE], daylight, roc_auc),
    "textures": Task("textures", list(TEXTURES), PLAIN, patterns(list(TEXTURES.values()))),
    "satellite": Task(
        "textures", list(FROM_ABOVE), ["a satellite photo of {}", "{} from above"],
        patterns(list(FROM_ABOVE.values()), COLOURS_FROM_ABOVE)),
    "flags": Task("textures", list(FLAGS), ["the flag of {}", "a flag of {}"], flags(FLAGS.values())),
    "cells": Task(
        "textures", ["without a dark cell in the middle", "with a dark cell in the middle"],
        ["tissue {}"], cells, roc_auc),

    "colours": Task("attributes", list(COLOURS), OF_TEN, coloured),
    "traffic lights": Task(
        "attributes", ["red", "yellow", "green"], ["a {} circle", "a {} traffic light"], lamps),
    "sizes": Task("attributes", ["small", "medium-sized", "large"], OF_TEN, sizes),
    "places": Task("attributes", PLACES, TEN_ARE, places),
    "counts": Task(
        "attributes", NUMBERS[:8], ["{} stars", "{} hearts", "{} anchors", "{} things"], counts),
    "relations": Task(
        "relations", list(RELATIONS), ["a star {} a circle", "a picture of a star {} a circle"], beside),
    "binding": Task(
        "relations",
        ["a red star to the left of a blue circle", "a blue star to the left of a red circle"],
        PLAIN, bound, roc_auc),
    "two objects": Task(
        "relations", with_articles(TWENTY), SCENES, together, mean_average_precision, shown=2),

    "digits": Task("writing", list("0123456789"), ["{}", 'the number "{}"'], written(*"0123456789")),
    "letters": Task("writing", LETTERS, ["{}", 'the letter "{}"'], written(*LETTERS, font=MONO)),
    "house numbers": Task(
        "writing", HOUSES, ["{}", 'a house with the number "{}"'],
        written(*[[number] for number in HOUSES], side=(32, 46)), mean_per_class),
    "written words": Task(
        "writing", TEN, ["{}", 'the word "{}"'],
        written(*[[name] for name in TEN], side=(42, 48))),
    "currencies": Task(
        "writing", ["dollars", "euros", "pounds", "yen", "cents"], ["{}", "money in {}"],
        written(*"$€£¥¢")),
    "reviews": Task(
        "writing", ["bad", "good"], ["a {} review"],
        written(["awful", "poor", "dull", "boring", "weak", "bad"],
                ["superb", "great", "fine", "lovely", "strong", "good"], font=MONO, side=(42, 48))),
    "typographic attack": Task("writing", with_articles(TEN), SCENES, attacked),
    "memes": Task("writing", ["wrong", "right"], ["a picture with the {} word"], agreeing, roc_auc),

    "outlines": shift(outlined),
    "low resolution": shift(shifted(low_resolution)),
    "noise": shift(shifted(noisy)),
    "blur": shift(shifted(out_of_focus)),
    "rotation": shift(rotated),
    "grey": shift(shifted(grey)),
    "inverted colours": shift(shifted(inverted)),
    "occlusion": shift(shifted(occluded)),
    "another font": Task(
        "shifts", with_articles(NAMES[i] for i in OTHER_AT), SCENES, in_another_font, splits=("test",),
        curated=True),
}

# ---- The contact sheet ---------------------------------------------------------------------------


def sheet():
    """A strip of ten pictures for each task, of different classes if there are so many -> matplotlib figure."""
    rows = math.ceil(len(TASKS) / 2)
    figure = Figure(figsize=(11.2, 0.78 * rows), layout="constrained")
    axes = figure.subplots(rows, 2).T.flatten()  # (2 rows,), down the left column first
    for axis in axes:
        axis.axis("off")  # the last one may stay empty
    for axis, (name, task) in zip(axes, TASKS.items()):
        strip, classes = draw_strip(name, task)
        title = f"{name} ({len(task.classes)}): " + ", ".join(classes)
        title = textwrap.shorten(title, 105)
        axis.imshow(strip, interpolation="nearest")
        axis.set_title(title, loc="left", fontsize=6, pad=2, parse_math=False)
    return figure


def draw_strip(name, task):
    """Ten test images of a task side by side -> levels (48, 510, 3), the names of their classes, each once."""
    # ten of fifty or more, in the order of the classes
    images, labels = examples(name, "test", max(50, len(task.classes)))
    order = torch.arange(len(labels))
    if task.shown == 1:
        order = labels.argsort(stable=True)
    at = torch.linspace(0, len(order) - 1, 10).long()
    ten = order[at]
    # side by side, three white pixels to the right of each
    gap = np.ones((48, 3, 3), np.float32)
    parts = []
    for picture in levels(images[ten]):
        parts += [picture, gap]
    strip = np.hstack(parts)
    # what they show
    if task.shown > 1:
        return strip, task.classes
    names = [task.classes[i] for i in labels[ten]]
    return strip, list(dict.fromkeys(names))


if __name__ == "__main__":
    path = "tasks.png"
    if len(sys.argv) > 1:
        path = sys.argv[1]
    save_figure(sheet(), Path(path), dpi=110)
