"""TASKS: fifty-three small evaluation datasets in the spirit of the paper's (Appendix A), drawn when asked for.

    python tutorial/experiments/tasks.py [PNG]      a contact sheet: each task, ten pictures of different classes

"objects" is the curated data set: its pictures are like those of train_tiny.py, upright and in one style. Of all others
none is what the tiny models are trained on: grounds are no place that has a name, glyphs are others, or the label is
what no caption says. Letters in shape comments: n images, N classes, s sprites; a picture has 48 x 48 pixels.
"""
import math
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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

SPLITS = "train", "validation", "test"


def mean_per_class(scores, labels):
    """The mean of the accuracies on each class that occurs, so that all count the same (Table 9)."""
    return sum(accuracy(scores[labels == i], i) for i in labels.unique()) / len(labels.unique())


def mean_average_precision(scores, labels):
    """11-point mAP (Table 9, VOC 2007), labels (B, N) of 0 and 1, each class at least once: the mean, over classes and
    the recalls 0, 0.1 ... 1, of the highest precision at that recall or above. Equal scores are found together."""
    scores, order = scores.sort(dim=0, descending=True)  # (B, N) each
    hits, last = labels.gather(0, order).cumsum(dim=0), scores.diff(dim=0, append=0 * scores[:1] - math.inf) != 0
    reached = 10 * hits >= torch.arange(11, device=hits.device)[:, None, None] * hits[-1]  # (11, B, N)
    return (reached * last * hits / torch.ones_like(hits).cumsum(dim=0)).amax(dim=1).mean().item()


def roc_auc(scores, labels):
    """Of two classes (B, 2): how often an image of class 1 is told from one of class 0 (Table 9); a tie counts half."""
    margin = (scores[:, 1] - scores[:, 0]).double()
    return (1 + (margin[labels == 1, None] - margin[labels == 0]).sign().mean().item()) / 2


@dataclass(frozen=True)
class Task:
    """A small dataset. draw(rng, labels) -> levels (n, 3, 48, 48) from 0 to 1, labels (n,), or (n, shown)."""

    group: str
    classes: list  # N names as they stand in a sentence
    templates: list  # sentences with {} where the name goes
    draw: Callable
    metric: Callable = accuracy  # of scores (n, N) and labels
    shown: int = 1  # how many classes one picture shows
    splits: tuple = SPLITS  # a shift of another task is for testing alone, as ImageNet's are

    def size(self, split):
        """How many images a split has: to train on, twenty of each class and four hundred at least."""
        each, least = {"train": (20, 400), "validation": (10, 200), "test": (10, 500)}[split]
        return max(each * len(self.classes), least) if split in self.splits else 0

    def chance(self):
        """What a guess gets. A mean precision of 11 points is above the share of images that show a class: guessed."""
        if self.metric is mean_average_precision:
            n, N, rng = self.size("test"), len(self.classes), np.random.default_rng(0)
            labels = torch.from_numpy(rng.permuted(np.tile(np.arange(N) < self.shown, (n, 1)), axis=1)).long()  # (n, N)
            return np.mean([self.metric(torch.from_numpy(rng.random((n, N))), labels) for _ in range(20)])
        return 0.5 if self.metric is roc_auc else 1 / len(self.classes)


def examples(name, split, n=None):
    """-> normalised images (n, 3, 48, 48), labels (n,), or (n, N) of 0 and 1 where a picture shows several classes; the
    same whenever they are asked for. Each class comes as often as the others, give or take one."""
    task, rng = TASKS[name], np.random.default_rng(crc32(f"{name}, {split}".encode()))
    n, N = n or task.size(split), len(task.classes)
    labels = rng.permutation(n)[:, None] % N  # (n, 1)
    others = rng.permuted(np.tile(np.arange(1, N), (n, 1)), axis=1)[:, :task.shown - 1]
    labels = np.hstack([labels, (labels + others) % N])  # (n, shown), all different
    images = normalize(task.draw(rng, labels if task.shown > 1 else labels[:, 0]).float())
    labels = torch.from_numpy(labels)
    return images, F.one_hot(labels, N).sum(dim=1) if task.shown > 1 else labels[:, 0]


# ---- Sprites: masks (.., 32, 32), 1 where there is something ---------------------------------------------------------

SERIF, MONO = FONT.with_name("DejaVuSerif-Bold.ttf"), FONT.with_name("DejaVuSansMono-Bold.ttf")
NAMES = list(OBJECTS)
ATLAS = render(OBJECTS.values())  # (100, 32, 32)
STRANGERS = {  # classes of objects that no training caption names
    "caduceus": "☤", "hammer and pick": "⚒", "pair of crossed swords": "⚔", "hammer and sickle": "☭", "khanda": "☬",
    "shogi piece": "☗", "draughts king": "⛃", "domino": "🁓", "playing card": "🂡", "looped square": "⌘",
    "section sign": "§", "paragraph sign": "¶", "copyright sign": "©", "euro sign": "€", "hash sign": "#",
    "florette": "❁"}
STRANGE = render(STRANGERS.values())  # (16, 32, 32)
TEN = ["cat", "cow", "house", "airplane", "telephone", "umbrella", "anchor", "star", "heart", "skull"]
TEN_AT, TWENTY_AT = np.array([NAMES.index(name) for name in TEN]), np.arange(2, 100, 5)


def shape(*covers):
    """covers(x, y), each true where there is something, x to the right and y down from -1 to 1 -> (covers, 32, 32)."""
    x = (np.arange(256) + 0.5) / 128 - 1
    masks = np.stack([np.broadcast_to(cover(x, x[:, None]), (256, 256)) for cover in covers])  # (covers, 256, 256)
    return F.avg_pool2d(torch.from_numpy(masks).float()[:, None], 8)[:, 0]  # (covers, 32, 32)


def polygon(n):
    """For `shape`: n even sides, a corner at the top."""
    return lambda x, y: np.hypot(x, y) * np.cos((np.arctan2(x, -y) + 2 * np.pi) % (2 * np.pi / n) - np.pi / n) < (
        0.95 * np.cos(np.pi / n))


def pointed(n, inner):
    """For `shape`: a star of n points, its notches at the radius inner of 1."""
    def covers(x, y):
        turn = abs((np.arctan2(x, -y) + np.pi / n) % (2 * np.pi / n) - np.pi / n)  # 0 at a point, pi / n at a notch
        notch = inner * np.array([np.sin(np.pi / n), np.cos(np.pi / n)])  # the edge goes there from (0, 1)
        return np.hypot(x, y) * (np.sin(turn) * (1 - notch[1]) + np.cos(turn) * notch[0]) < 0.95 * notch[0]

    return covers


def clock(hour):
    """For `shape`: a clock's face on the hour."""
    def hand(x, y, angle, length, width):
        along, across = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
        return (along > 0) & (along < length) & (abs(across) < width)

    return lambda x, y: (abs(np.hypot(x, y) - 0.9) < 0.07) | hand(x, y, 0, 0.75, 0.05) | hand(
        x, y, hour * np.pi / 6, 0.5, 0.09)


def moons(*lit):
    """Lit from the right or from the left, to so far beyond the middle: -1 nothing, 1 all -> (2 lit, 32, 32)."""
    return shape(*(lambda x, y, far=far, side=side: (np.hypot(x, y) < 0.93) & (
        side * x > -far * np.sqrt((0.93 ** 2 - y * y).clip(0))) for far in lit for side in (-1, 1)))


DISC = shape(lambda x, y: np.hypot(x, y) < 0.9)[0]  # (32, 32)

# ---- Pictures --------------------------------------------------------------------------------------------------------

PALETTE = np.array(list(COLOURS.values())) / 255  # (12, 3)
EDGE_COLOURS = np.array(list(BACKGROUNDS.values())) / 255  # (8, 2, 3), of the grounds of train_tiny.py
SHOWS = colours_that_show()  # (12, 8)


def jitter(rng, colours):
    """Colours, each a little lighter or darker."""
    return colours + rng.normal(0, 0.02, colours.shape)


def contrast(rng, others):
    """For each row of others (n, k, 3), levels, a random colour (n, 3) that shows on all of them, as the eye weighs."""
    tries = rng.random((len(others), 60, 3))
    distance = ((tries[:, :, None] - others[:, None]) ** 2 @ [0.3, 0.5, 0.2]).min(-1) ** 0.5  # (n, 60)
    return tries[np.arange(len(others)), (distance > 0.3).argmax(1)]  # the first that is far enough


def gradient(upper, lower):
    """The colours (n, 3) of the upper and of the lower edge -> levels (n, 3, 48, 48)."""
    upper, lower = (torch.from_numpy(edge).float()[:, :, None, None] for edge in (upper, lower))  # (n, 3, 1, 1) each
    return torch.lerp(upper, lower, torch.linspace(0, 1, 48)[:, None]).expand(-1, -1, -1, 48).clamp(0, 1)


def ground(rng, colours):
    """A ground on which colours (n, s, 3) show -> levels (n, 3, 48, 48)."""
    middle = contrast(rng, colours)  # (n, 3)
    return gradient(*(middle + rng.uniform(-0.08, 0.08, (2, len(middle), 1))))


def stamp(images, masks, colours, centre, side, turn, form=np.eye(2)):
    """Lay masks (n, 32, 32) in colours (n, 3) on images (n, 3, 48, 48): centre (n, 2) and side (n,) in pixels, turned
    clockwise by turn (n,), in radians. A form (n, 2, 2) says which place of the mask is seen at a place of it."""
    cos, sin, (x, y) = np.cos(turn), np.sin(turn), (centre / 24 - 1).T
    along, down = np.array([[cos, sin, -cos * x - sin * y], [-sin, cos, sin * x - cos * y]])  # (3, n) each
    # from places in the image to the mask's
    rows = [form[..., i, 0] * along + form[..., i, 1] * down for i in (0, 1)]
    theta = torch.from_numpy(np.array(rows) * 48 / side).float().permute(2, 0, 1)  # (n, 2, 3)
    grid = F.affine_grid(theta, (len(masks), 1, 48, 48), align_corners=False)
    alpha = F.grid_sample(masks[:, None], grid, align_corners=False)  # (n, 1, 48, 48)
    return torch.lerp(images, torch.from_numpy(colours).float()[:, :, None, None], alpha)


def forms(rng, n):
    """For each of n sprites a form: up to a quarter narrower or lower, and slanted to either side -> (n, 2, 2)."""
    form = np.tile(np.eye(2), (n, 1, 1))
    form[np.arange(n), rng.integers(2, size=n)] *= rng.uniform(1, 1.33, (n, 1))
    form[:, 0, 1] = rng.uniform(-0.3, 0.3, n)
    return form


def paint(rng, masks, colours=None, images=None, centre=None, side=(24, 40), turn=(-0.1, 0.1), varied=False):
    """Masks (n, s, 32, 32), s sprites from back to front -> levels (n, 3, 48, 48). What is not given is random, and one
    for all sprites of a picture: colours (n, s, 3), images to paint on, centre (n, s, 2) in pixels. Of side, (n, s) in
    pixels, and turn, in radians clockwise, there may be a range instead. Varied sprites have each a form of its own."""
    n, s = masks.shape[:2]
    colours = rng.random((n, 1, 3)) if colours is None else colours
    images = ground(rng, colours) if images is None else images
    side = rng.uniform(*side, (n, 1)) if isinstance(side, tuple) else side
    centre = 24 + rng.uniform(-1, 1, (n, 1, 2)) * (24 - side[..., None] / 2).clip(0) if centre is None else centre
    turn = rng.uniform(*turn, n)
    form = forms(rng, n) if varied else np.eye(2)
    for j in range(s):
        colour, at, wide = (part[:, min(j, part.shape[1] - 1)] for part in (colours, centre, side))
        images = stamp(images, masks[:, j], colour, at, wide, turn, form)
    return images


def single(*kinds, varied=True, **options):
    """How to draw one sprite a picture, none quite like another one of its class unless the form is what it is about.
    A class has characters, or masks (variants, 32, 32), to choose from; options are paint's."""
    kinds = [render(kind) if isinstance(kind, str) else kind for kind in kinds]
    masks, many = torch.cat(kinds), np.array([len(kind) for kind in kinds])

    def draw(rng, labels):
        chosen = many.cumsum()[labels] - 1 - (rng.random(len(labels)) * many[labels]).astype(int)
        return paint(rng, masks[chosen][:, None], varied=varied, **options)

    return draw


def written(*texts, font=SERIF, **options):
    """How to draw one text a picture; a class has a list of them to choose from."""
    return single(*(render(text, font=font) for text in texts), **options)


def patterns(*kinds):
    """How to draw pictures full of a pattern, covers(x, y) with x and y in periods, in random colours, or in those, as
    levels to 255, that stand with it: (covers, of what is covered, of the rest)."""
    def draw(rng, labels):
        over, images = rng.random((len(labels), 3)), []
        under, at = contrast(rng, over[:, None]), (np.arange(144) + 0.5) / 3  # (144,), thirds of pixels
        for label, *colours in zip(labels, over, under):
            covers, *fixed = kinds[label]
            x, y = at / rng.uniform(7, 12) + rng.random((2, 1))  # (144,) each
            alpha = torch.tensor(np.broadcast_to(covers(x, y[:, None]), (144, 144))).float()  # (144, 144)
            a, b = torch.from_numpy(jitter(rng, np.array(fixed) / 255 if fixed else np.array(colours))).float()
            images.append(torch.lerp(b[:, None, None], a[:, None, None], F.avg_pool2d(alpha[None], 3)))  # (3, 48, 48)
        return torch.stack(images).clamp(0, 1)

    return draw


def flags(*designs):
    """How to draw flags of three stripes: 0 if they lie, 1 if they stand, and their three colours, names or levels."""
    stripes = torch.stack([  # (2, 3, 32, 32)
        shape(*(lambda x, y, i=i: (abs(y - 0.4 * i) < 0.2) & (abs(x) < 0.9) for i in (-1, 0, 1))),
        shape(*(lambda x, y, i=i: (abs(x - 0.6 * i) < 0.3) & (abs(y) < 0.6) for i in (-1, 0, 1)))])
    stand, colours = (np.array(part) for part in zip(*designs))

    def draw(rng, labels):
        return paint(rng, stripes[stand[labels]], jitter(rng, colours[labels] / 255), side=(30, 44))

    return draw


# ---- Pictures of single tasks ----------------------------------------------------------------------------------------


def objects(rng, labels, atlas=ATLAS, **options):
    """The object task: any colour that has a name, on one of the grounds of train_tiny.py on which it shows."""
    colour = rng.integers(12, size=len(labels))
    upper, lower = EDGE_COLOURS[choose(rng, SHOWS[colour])].swapaxes(0, 1)  # (n, 3) each
    return paint(rng, atlas[labels][:, None], jitter(rng, PALETTE[colour][:, None]), gradient(upper, lower), **options)


def held_out(rng, labels):
    """Each object in the colour in which no training picture shows it."""
    return paint(rng, ATLAS[labels][:, None], jitter(rng, PALETTE[5 * labels % 12][:, None]))


def shifted(change):
    """The object task with something done to the whole picture: change(rng, levels) -> levels."""
    return lambda rng, labels: change(rng, objects(rng, labels)).clamp(0, 1)


def pixelate(images, size):
    """Levels (n, 3, 48, 48) -> the same in squares of size x size pixels."""
    return F.interpolate(F.avg_pool2d(images, size), scale_factor=size)  # (n, 3, 48, 48)


def grey(rng, images):
    """Levels of grey, from 0.3 to 0.7 in each picture, so that nothing vanishes whose colour alone is different."""
    light = images.mean(dim=1, keepdim=True)  # (n, 1, 48, 48)
    low, high = light.amin((2, 3), True), light.amax((2, 3), True)  # (n, 1, 1, 1) each
    return (0.3 + 0.4 * (light - low) / (high - low)).expand(-1, 3, -1, -1)  # (n, 3, 48, 48)


def occlude(rng, images):
    """A bar of any colour across the middle, in any direction."""
    bars = shape(lambda x, y: abs(y) < 0.06).expand(len(images), 1, -1, -1)  # (n, 1, 32, 32)
    return paint(rng, bars, None, images, np.full((len(images), 1, 2), 24), (90, 90), (0, np.pi))


def stranger(rng, n):
    """Any object without a name -> masks (n, 1, 32, 32)."""
    return STRANGE[rng.integers(len(STRANGE), size=(n, 1))]


def hazards(rng, labels):
    """Black on a yellow square."""
    square = shape(lambda x, y: (abs(x) < 0.9) & (abs(y) < 0.9)).expand(len(labels), -1, -1)  # (n, 32, 32)
    colours = jitter(rng, np.tile([[1, 0.8, 0], [0.05, 0.05, 0.05]], (len(labels), 1, 1)))  # (n, 2, 3)
    centre, side = 24 + rng.uniform(-4, 4, (len(labels), 1, 2)), rng.uniform(18, 24, (len(labels), 1)) * [1.6, 1]
    return paint(rng, torch.stack([square, render("⚠☢☣☠⚡")[labels]], 1), colours, None, centre, side)


def scenery(rng, labels):
    """The training pictures' grounds with nothing on them, lighter or darker, and grainy."""
    edges = np.array(list(BACKGROUNDS.values()))[labels].transpose(1, 0, 2) / 255 + rng.uniform(
        -0.06, 0.06, (1, len(labels), 3))  # (2, n, 3)
    grain = torch.from_numpy(rng.normal(0, 0.03, (len(labels), 1, 48, 48)))
    return (gradient(*edges) + grain).clamp(0, 1)


def daylight(rng, labels):
    """Anything under a bright sky, label 0, or in the dark."""
    sky = rng.uniform(0.6, 0.95, (len(labels), 3)) * np.where(labels, 0.25, 1)[:, None]  # (n, 3)
    colours = contrast(rng, sky[:, None])[:, None]  # (n, 1, 3)
    return paint(rng, stranger(rng, len(labels)), colours, gradient(sky, 0.8 * sky))


def cells(rng, labels):
    """Purple cells on pink tissue; where the label is 1 a dark one lies in the middle, else at the rim."""
    n, last = len(labels), np.arange(9) == 8
    angle, far = rng.uniform(0, 2 * np.pi, (n, 9)), rng.uniform(9, 22, (n, 9))
    far = np.where(last, np.where(labels, 1, 19)[:, None], far)  # (n, 9)
    centre = 24 + far[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)  # (n, 9, 2)
    colours = jitter(rng, np.where(last[:, None], [0.3, 0.12, 0.42], [0.62, 0.4, 0.68]) + np.zeros((n, 9, 3)))
    tissue = jitter(rng, np.tile([0.93, 0.76, 0.86], (n, 1)))  # (n, 3)
    return paint(rng, DISC.expand(n, 9, -1, -1), colours, gradient(tissue, tissue), centre, rng.uniform(6, 9, (n, 9)))


def coloured(rng, labels):
    """Anything in one of the twelve colours."""
    return paint(rng, stranger(rng, len(labels)), jitter(rng, PALETTE[labels][:, None]))


def lamps(rng, labels):
    """A traffic light whose red, yellow or green lamp is lit."""
    n, box = len(labels), shape(lambda x, y: (abs(x) < 0.42) & (abs(y) < 0.95))[0]  # (32, 32)
    lit = np.array([COLOURS[name] for name in ("red", "yellow", "green")]) / 255  # (3, 3)
    colours = np.where(np.arange(3)[:, None] == labels[:, None, None], lit, 0.25)  # (n, 3, 3)
    colours = jitter(rng, np.concatenate([np.full((n, 1, 3), 0.08), colours], 1))  # (n, 4, 3)
    centre = 24 + rng.uniform(-1, 1, (n, 1, 2)) * [8, 2] + [[0, 0], [0, -12], [0, 0], [0, 12]]  # (n, 4, 2)
    masks = torch.stack([box, DISC, DISC, DISC]).expand(n, -1, -1, -1)  # (n, 4, 32, 32)
    return paint(rng, masks, colours, ground(rng, colours), centre, np.tile([42, 11, 11, 11], (n, 1)), (0, 0))


def sizes(rng, labels):
    """Anything, a third, a half or four fifths as wide as the picture."""
    side = np.array([15, 25, 40])[labels][:, None] + rng.uniform(-2, 2, (len(labels), 1))
    return paint(rng, stranger(rng, len(labels)), side=side)


def places(rng, labels):
    """Anything in one of nine places."""
    centre = np.stack([labels % 3, labels // 3], -1)[:, None] * 14 + 10 + rng.uniform(-2, 2, (len(labels), 1, 2))
    return paint(rng, stranger(rng, len(labels)), centre=centre, side=(16, 20))


def counts(rng, labels):
    """One to eight of the same thing, in as many of nine places."""
    n, cell = len(labels), rng.permuted(np.tile(np.arange(9), (len(labels), 1)), axis=1)[:, :8]  # (n, 8)
    there = torch.from_numpy(np.arange(8) <= labels[:, None])  # (n, 8)
    centre = np.stack([cell % 3, cell // 3], -1) * 15 + 9 + rng.uniform(-1, 1, (n, 8, 2))  # (n, 8, 2)
    return paint(rng, stranger(rng, n) * there[..., None, None], centre=centre, side=(13, 15))


def beside(rng, labels, colours=None):
    """A star to the left of, to the right of, above or below a circle."""
    n, step = len(labels), np.array(list(RELATIONS.values()))[labels]  # (n, 2)
    masks = ATLAS[[NAMES.index("star"), NAMES.index("circle")]].expand(n, -1, -1, -1)  # (n, 2, 32, 32)
    centre = 24 + np.stack([step, -step], 1) * 12 + rng.uniform(-2, 2, (n, 2, 2))  # (n, 2, 2)
    return paint(rng, masks, colours, centre=centre, side=(18, 22))


def bound(rng, labels):
    """A star to the left of a circle: it is red and the circle blue where the label is 0, else the other way round."""
    colours = np.array([COLOURS["red"], COLOURS["blue"]]) / 255  # (2, 3)
    return beside(rng, 0 * labels, jitter(rng, np.where(labels[:, None, None], colours[::-1], colours)))


def together(rng, labels):
    """Two of twenty objects, labels (n, 2), each in one of the corners."""
    n, corner = len(labels), rng.permuted(np.tile(np.arange(4), (len(labels), 1)), axis=1)[:, :2]  # (n, 2)
    centre = np.stack([corner % 2, corner // 2], -1) * 23 + 12.5 + rng.uniform(-1, 1, (n, 2, 2))  # (n, 2, 2)
    return paint(rng, ATLAS[TWENTY_AT[labels]], centre=centre, side=(21, 24))


def titled(rng, labels, titles):
    """One of ten objects, and across it, in a colour that shows, the name of one."""
    n, colours = len(labels), rng.random((len(labels), 1, 3))
    colours = np.hstack([colours, contrast(rng, colours)[:, None]])  # (n, 2, 3)
    masks = torch.stack([ATLAS[TEN_AT[labels]], render(TEN, font=SERIF)[titles]], 1)  # (n, 2, 32, 32)
    return paint(rng, masks, colours, None, np.full((n, 1, 2), 24), rng.uniform([30, 44], [38, 48], (n, 2)))


def another(rng, labels):
    """For each of ten labels another one."""
    return (labels + rng.integers(1, 10, len(labels))) % 10


def attacked(rng, labels):
    """The typographic attack: an object under another one's name."""
    return titled(rng, labels, another(rng, labels))


def agreeing(rng, labels):
    """An object under its own name where the label is 1, else under another one's."""
    shown = rng.integers(10, size=len(labels))
    return titled(rng, shown, np.where(labels, shown, another(rng, shown)))


# ---- The tasks -------------------------------------------------------------------------------------------------------


def a(*names):
    """Names with their article."""
    return [article(name) for name in names]


PLAIN = ["{}", "a picture of {}", "a drawing of {}"]
SCENES = [*PLAIN, *(f"{{}} {where}" for where in BACKGROUNDS)]
OF_TEN = [f"a {{}} {name}" for name in TEN]
TEN_ARE = [f"{name} {{}}" for name in a(*TEN)]
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
ANY_WAY, SLANTED = {"turn": (-np.pi, np.pi)}, {"turn": (-0.3, 0.3)}
LETTERS = [chr(i) for i in range(ord("A"), ord("Z") + 1)]
HOUSES = [str(i) for i in range(10, 60)]

TASKS = {
    "objects": Task("objects", a(*NAMES), SCENES, objects),
    "ten objects": Task("objects", a(*TEN), SCENES, lambda rng, i: pixelate(objects(rng, TEN_AT[i]), 3)),
    "held-out pairs": Task("objects", a(*(f"{list(COLOURS)[5 * i % 12]} {name}" for i, name in enumerate(NAMES))),
                           SCENES, held_out, mean_per_class),
    "unseen objects": Task("objects", a(*STRANGERS), SCENES, single(*STRANGERS.values()), mean_per_class),
    "animals": Task("objects", a("cat", "mouse", "cow", "monkey"), SCENES, single("🐱😺😸😻😼", *"🐭🐮🐵"), mean_per_class),
    "tools": Task("objects", a("pair of scissors", "pencil", "fountain pen", "balance", "alembic", "gear", "anchor",
                               "hammer and pick"), ["{}", "{}, a tool"],
                  single("✁✃✄", "✏✐", *"✑⚖⚗⚙⚓⚒"), mean_per_class),
    "weather": Task("objects", a("sun", "cloud", "umbrella", "snowflake", "lightning bolt", "comet"),
                    ["{}", "the weather: {}"], single("☼☉", "☁", "☔", "❅❆", "☇☈", "☄", **SLANTED), mean_per_class),
    "religious signs": Task("objects", a("cross", "crescent", "star of David", "wheel of dharma", "yin yang", "khanda",
                                         "Orthodox cross", "ankh"), ["{}", "{}, a sign of faith"],
                            single("✝✞✟", *"☪✡☸☯☬☦☥")),
    "hazard signs": Task("objects", a("warning sign", "radiation sign", "biohazard sign", "skull", "lightning bolt"),
                         ["{}", "{}, a sign of danger"], hazards),

    "chess pieces": Task("fine-grained", a(*(f"chess {name}" for name in "king queen rook bishop knight pawn".split())),
                         SCENES, single(*"♔♕♖♗♘♙"), mean_per_class),
    "card suits": Task("fine-grained", a("spade", "heart", "diamond", "club"), SCENES, single(*"♤♡♢♧")),
    "dice faces": Task("fine-grained", NUMBERS[:6], ["a die showing {}", "{}"], single(*"⚀⚁⚂⚃⚄⚅")),
    "arrows": Task("fine-grained", ["left", "up", "right", "down", "to the top left", "to the top right",
                                    "to the bottom right", "to the bottom left"],
                   ["an arrow {}", "an arrow pointing {}"],
                   single("←⇐⇦⬅↞", "↑⇑⇧⬆↟", "→⇒⇨➡↠", "↓⇓⇩⬇↡", "↖⇖⬁⬉", "↗⇗⬀⬈", "↘⇘⬂⬊", "↙⇙⬃⬋")),
    "hands": Task("fine-grained", ["a hand pointing to the left", "a hand pointing to the right", "a hand pointing up",
                                   "a hand pointing down", "a victory hand", "a writing hand"], PLAIN,
                  single("☚☜", "☛☞", *"☝☟✌✍")),
    "faces": Task("fine-grained", ["happy", "sad", "angry", "surprised", "sleeping", "crying", "masked"],
                  ["a {} face", "a picture of a {} face"],
                  single("☻😀😃😄", "😞😟😔", "😠😡", "😮😯😲", "😪", "😢😿", "😷"), mean_per_class),
    "clock hours": Task("fine-grained", NUMBERS, ["{} o'clock", "a clock showing {} o'clock"], single(
        *(shape(clock(hour)) for hour in range(1, 13)), side=(30, 42), turn=(0, 0)), mean_per_class),
    "moon phases": Task("fine-grained", a("crescent moon", "half moon", "gibbous moon", "full moon"), SCENES, single(
        moons(-0.7, -0.5, -0.3), moons(0), moons(0.3, 0.5, 0.7), moons(1), varied=False, **SLANTED)),
    "zodiac": Task("fine-grained", "Aries Taurus Gemini Cancer Leo Virgo Libra Scorpio Sagittarius Capricorn Aquarius "
                   "Pisces".split(), ["{}", "the sign of {}"], single(*"♈♉♊♋♌♍♎♏♐♑♒♓"), mean_per_class),
    "planets": Task("fine-grained", "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split(),
                    ["{}", "the sign of {}"], single(*"☿♀♁♂♃♄♅♆"), mean_per_class),
    "music": Task("fine-grained", a("quarter note", "eighth note", "pair of notes", "group of four notes", "flat sign",
                                    "natural sign", "sharp sign"), SCENES, single(*"♩♪♫♬♭♮♯", **SLANTED)),
    "star points": Task("fine-grained", NUMBERS[3:8], ["a star with {} points"], single(
        *(shape(*(pointed(n, inner) for inner in (0.35, 0.45, 0.55))) for n in range(4, 9)), **ANY_WAY)),
    "polygons": Task("fine-grained", a("triangle", "square", "pentagon", "hexagon", "octagon", "circle"), SCENES,
                     single(*(shape(polygon(n)) for n in (3, 4, 5, 6, 8, 99)), varied=False, **ANY_WAY)),

    "scenery": Task("scenes", list(BACKGROUNDS), ["{}", *TEN_ARE], scenery),
    "daylight": Task("scenes", ["in the sky", "at night"], ["{}", *TEN_ARE], daylight, roc_auc),
    "textures": Task("textures", ["horizontal stripes", "vertical stripes", "slanted stripes", "a chequerboard", "dots",
                                  "a grid", "waves", "bricks"], PLAIN, patterns(
        (lambda x, y: y % 1 < 0.5,), (lambda x, y: x % 1 < 0.5,), (lambda x, y: (x + y) % 1.4 < 0.7,),
        (lambda x, y: (x % 1 < 0.5) ^ (y % 1 < 0.5),), (lambda x, y: np.hypot(x % 1 - 0.5, y % 1 - 0.5) < 0.32,),
        (lambda x, y: (x % 1 < 0.25) | (y % 1 < 0.25),), (lambda x, y: (y + np.sin(np.pi * x) / 3) % 1 < 0.5,),
        (lambda x, y: (y % 1 < 0.2) | ((x / 2 + (y % 2 < 1) / 2) % 1 < 0.1),))),
    "satellite": Task("textures", ["fields", "a forest", "a river", "a town", "the sea", "a desert"],
                      ["a satellite photo of {}", "{} from above"], patterns(
        (lambda x, y: np.sin(7 * (0.6 * x // 1)) + np.sin(5 * (0.9 * y // 1)) > 0, (190, 180, 90), (110, 150, 70)),
        (lambda x, y: np.hypot((1.6 * x + (1.6 * y % 2 < 1) / 2) % 1 - 0.5, 1.6 * y % 1 - 0.5) < 0.42,
         (35, 85, 40), (20, 50, 25)),
        (lambda x, y: abs(y - 3 - np.sin(0.9 * x)) < 0.6, (60, 110, 160), (120, 155, 90)),
        (lambda x, y: (x % 1 < 0.3) | (y % 1.4 < 0.3), (110, 110, 115), (190, 160, 145)),
        (lambda x, y: (y + np.sin(3 * x) / 6) % 1 < 0.12, (90, 150, 190), (25, 75, 130)),
        (lambda x, y: (x + y / 3 + np.sin(2 * y) / 4) % 2 < 0.8, (225, 195, 140), (205, 170, 115)))),
    "flags": Task("textures", "France Italy Belgium Ireland Germany Austria Russia Hungary".split(),
                  ["the flag of {}", "a flag of {}"], flags(
        (1, [(0, 35, 150), (250, 250, 250), (235, 40, 55)]), (1, [(0, 145, 70), (250, 250, 250), (205, 45, 55)]),
        (1, [(15, 15, 15), (255, 215, 60), (240, 50, 65)]), (1, [(20, 155, 100), (250, 250, 250), (255, 135, 60)]),
        (0, [(10, 10, 10), (220, 10, 10), (255, 205, 0)]), (0, [(235, 40, 55), (250, 250, 250), (235, 40, 55)]),
        (0, [(250, 250, 250), (0, 60, 165), (215, 40, 30)]), (0, [(205, 40, 60), (250, 250, 250), (70, 110, 80)]))),
    "cells": Task("textures", ["without a dark cell in the middle", "with a dark cell in the middle"], ["tissue {}"],
                  cells, roc_auc),

    "colours": Task("attributes", list(COLOURS), OF_TEN, coloured),
    "traffic lights": Task("attributes", ["red", "yellow", "green"], ["a {} circle", "a {} traffic light"], lamps),
    "sizes": Task("attributes", ["small", "medium-sized", "large"], OF_TEN, sizes),
    "places": Task("attributes", PLACES, TEN_ARE, places),
    "counts": Task("attributes", NUMBERS[:8], ["{} stars", "{} hearts", "{} anchors", "{} things"], counts),
    "relations": Task("relations", list(RELATIONS), ["a star {} a circle", "a picture of a star {} a circle"], beside),
    "binding": Task("relations", ["a red star to the left of a blue circle", "a blue star to the left of a red circle"],
                    PLAIN, bound, roc_auc),
    "two objects": Task("relations", a(*(NAMES[i] for i in TWENTY_AT)), SCENES, together, mean_average_precision, 2),

    "digits": Task("writing", list("0123456789"), ["{}", 'the number "{}"'], written(*"0123456789")),
    "letters": Task("writing", LETTERS, ["{}", 'the letter "{}"'], written(*LETTERS, font=MONO)),
    "house numbers": Task("writing", HOUSES, ["{}", 'a house with the number "{}"'], written(
        *([number] for number in HOUSES), side=(32, 46)), mean_per_class),
    "written words": Task("writing", TEN, ["{}", 'the word "{}"'], written(*([name] for name in TEN), side=(42, 48))),
    "currencies": Task("writing", ["dollars", "euros", "pounds", "yen", "cents"], ["{}", "money in {}"],
                       written(*"$€£¥¢")),
    "reviews": Task("writing", ["bad", "good"], ["a {} review"], written(
        ["awful", "poor", "dull", "boring", "weak", "bad"], ["superb", "great", "fine", "lovely", "strong", "good"],
        font=MONO, side=(42, 48))),
    "typographic attack": Task("writing", a(*TEN), SCENES, attacked),
    "memes": Task("writing", ["wrong", "right"], ["a picture with the {} word"], agreeing, roc_auc),
}

# Distribution shifts of the object task, with its classes, as ImageNet Sketch has ImageNet's (Section 3.3).
EDGES = F.max_pool2d(ATLAS, 3, 1, 1) + F.max_pool2d(-ATLAS, 3, 1, 1)  # (100, 32, 32)
TASKS |= {name: Task("shifts", a(*NAMES), SCENES, draw, splits=("test",)) for name, draw in {
    "outlines": partial(objects, atlas=EDGES),
    "low resolution": shifted(lambda rng, images: pixelate(images, 4)),
    "noise": shifted(lambda rng, images: images + torch.from_numpy(rng.normal(0, 0.06, images.shape))),
    "blur": shifted(lambda rng, images: F.avg_pool2d(F.pad(images, (2, 2, 2, 2), "replicate"), 5, 1)),
    "rotation": partial(objects, turn=(np.pi / 8, np.pi / 4)),
    "grey": shifted(grey),
    "inverted colours": shifted(lambda rng, images: 1 - images),
    "occlusion": shifted(occlude),
}.items()}
OTHERS, TOFU = render(OBJECTS.values(), font=MONO), render("\uffff", font=MONO)  # what a font draws that lacks a glyph
differs = torch.stack([(OTHERS - atlas).abs().mean((1, 2)) for atlas in (ATLAS, TOFU)]).amin(0) > 0.02  # (100,)
OTHER_AT = differs.nonzero().flatten().numpy()  # (83,) objects that this font has, and draws otherwise
TASKS["another font"] = Task("shifts", a(*(NAMES[i] for i in OTHER_AT)), SCENES,
                             lambda rng, labels: objects(rng, OTHER_AT[labels], OTHERS), splits=("test",))


def sheet(columns=2, shown=10):
    """A strip of ten pictures for each task, of different classes where there are so many -> matplotlib figure."""
    rows = -(-len(TASKS) // columns)
    figure = Figure(figsize=(5.6 * columns, 0.78 * rows), layout="constrained")
    axes = figure.subplots(rows, columns).T.flatten()  # (rows columns,)
    for axis in axes:
        axis.axis("off")
    for axis, (name, task) in zip(axes, TASKS.items()):
        images, labels = examples(name, "test", max(50, len(task.classes)))
        order = labels.argsort(stable=True) if labels.ndim == 1 else torch.arange(len(labels))
        order = order[torch.linspace(0, len(order) - 1, shown).long()]
        strip = np.pad(levels(images[order]), ((0, 0), (0, 0), (0, 3), (0, 0)), constant_values=1)  # (10, 48, 51, 3)
        names = [task.classes[i] for i in labels[order].tolist()] if labels.ndim == 1 else task.classes
        title = f"{name} ({len(task.classes)}): {', '.join(dict.fromkeys(names))}"
        axis.imshow(np.hstack(strip), interpolation="nearest")
        axis.set_title(textwrap.shorten(title, 105), loc="left", fontsize=6, pad=2, parse_math=False)
    return figure


if __name__ == "__main__":
    save_figure(sheet(), Path(sys.argv[1] if len(sys.argv) > 1 else "tasks.png"), dpi=110)
