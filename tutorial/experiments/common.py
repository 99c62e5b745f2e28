"""What the experiments share: models and measurements on disk, classifiers on tasks, intervals.

Letters in shape comments: n images or scenes, B images in a batch, R resolution, N classes,
D features before the projection, E features after it.
"""
import dataclasses
import hashlib
import json
import math
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[2]))
import zeroshot
from clip_minimal import CLIP, CONFIGS, ModifiedResNet, Tokenizer, load, normalize, save, write
from tasks import TASKS, examples
from train_tiny import (COLOURS, OBJECTS, RELATED, TEXT_LR, World, article, learning_rate, make_optimizer,
                        train)
from tutorial.extras.fast import accelerate, fold_batch_norms

# Okabe and Ito's colours, which the colour-blind can tell apart, too
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
GREY = "#888888"
SHOTS = [1, 2, 4, 8, 16]  # examples of each class that a few-shot probe is fitted to
CLEAR = 1.25  # zero-shot of more than so many times chance counts as well above it

# ---- Models and measurements on disk -------------------------------------------------------------


@dataclass
class Lab:
    """Where models and measurements are kept, and how much of the full work is done: budget from 0 to 1."""

    cache: Path
    budget: float = 1.0
    seeds: tuple = (0, 1, 2)

    def size(self, name, split, each=4):
        """How many images of a task's split are looked at.

        They are the budget's share of the split, but at least forty and at least `each` of every class,
        if the split has so many.
        """
        full = TASKS[name].size(split)
        share = round(full * self.budget)
        least = max(40, each * len(TASKS[name].classes))
        return min(full, max(share, least))

    def batch(self, full=256):
        """How many pairs a step has: all, and fewer at a budget below a fifth."""
        share = min(1, 5 * self.budget)
        return max(2, round(full * share))

    def remember(self, key, measure):
        """Call measure() when a key is first asked for; from then on read what it returned.

        `key` is a list whose first item begins the name of the file; measure() returns what JSON can
        hold. Another budget is another measurement.
        """
        full_key = json.dumps([self.budget, *key])
        digest = hashlib.sha256(full_key.encode()).hexdigest()[:16]
        path = self.cache / f"{key[0]}-{digest}.json"
        if not path.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            text = json.dumps(measure())
            write(path, lambda file: file.write(text.encode()))
        return json.loads(path.read_text())

    def clip(self, seed):
        """The default model of train_tiny.py -> (quick model, tokenizer).

        It is trained when it is first asked for; from then on it is read. It is made quick by
        tutorial/extras/fast.py, for inference alone.
        """
        steps = max(2, round(1700 * self.budget))
        path = self.cache / f"clip-tiny-RN-{steps}-{seed}.pt"
        if not path.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            data, tokenizer, model = begin(seed, CONFIGS["tiny-RN"], steps)
            train(data, model, tokenizer, steps=steps, lr=4e-3, muon=False)
            save(path, model, tokenizer)
        model, tokenizer = load(path)
        return accelerate(model), tokenizer

    def trained(self, key, module, train_function):
        """A module with the weights that train_function(module) gives it, in eval mode.

        It is trained when this key is first asked for; from then on its weights are read.
        """
        path = self.cache / f"{key}-{self.budget:g}.pt"
        if path.exists():
            weights = torch.load(path, weights_only=True)
            module.load_state_dict(weights)
        else:
            self.cache.mkdir(parents=True, exist_ok=True)
            train_function(module)
            write(path, lambda file: torch.save(module.state_dict(), file))
        return module.eval()

    def image_model(self, seed, kind, steps=None):
        """An image encoder trained without text, of a kind in OUTPUTS -> ImageModel, for inference alone.

        It is trained when it is first asked for; from then on it is read. With labels it gets 1,700
        steps, in which it sees the very images that CLIP sees. SimCLR, which looks at each image twice,
        gets half of them.
        """
        if steps is None:
            steps = 1700
            if kind == "SimCLR":
                steps = 850
        steps = max(2, round(steps * self.budget))
        torch.manual_seed(seed)
        model = ImageModel(OUTPUTS[kind])
        model = model.to(memory_format=torch.channels_last)
        world = Shown(seed)
        take_turns(world, 1700 * self.budget)

        def train_function(model):
            train_images(model, kind, world, steps)

        model = self.trained(f"{kind}-{steps}-{seed}", model, train_function)
        return fold_batch_norms(model)


@cache
def make_tokenizer(seed):
    """The tokenizer that train_tiny.py learns with this seed."""
    texts = World(seed).texts()
    return Tokenizer.train(texts, CONFIGS["tiny-RN"].vocab_size)


def begin(seed, config, steps, kind=CLIP, data=None):
    """What a training of so many steps starts with -> (data, tokenizer, untrained model).

    The model is of class `kind` and of the shape in `config`. The data are a World, unless others are given.
    """
    if data is None:
        data = World(seed)
    tokenizer = make_tokenizer(seed)
    take_turns(data, steps)
    torch.manual_seed(seed)
    config = dataclasses.replace(config, vocab_size=len(tokenizer.vocab))
    model = kind(config)
    return data, tokenizer, model.to(memory_format=torch.channels_last)


def take_turns(world, steps):
    """Names alone in every third batch from the first one on, for 13 of 17 parts of the steps: what AdamW learns from."""
    world.names_alone_until = 0
    world.names_until = world.rivals_from = round(1300 * steps / 1700)


# ---- Image encoders trained without text ---------------------------------------------------------

# kinds of them, and how many outputs each has
OUTPUTS = {
    "supervised": len(OBJECTS),  # a class for each object
    "more classes": len(OBJECTS) * len(COLOURS),  # a class for each object in each colour
    "SimCLR": 128,  # features
}


class ImageModel(nn.Module):
    """The image encoder of tiny-RN alone, with so many outputs.

    Its parts have the names that a CLIP's have, so that the functions of zeroshot.py take it.
    """

    def __init__(self, outputs):
        super().__init__()
        self.config = dataclasses.replace(CONFIGS["tiny-RN"], embed_dim=outputs)
        self.visual = ModifiedResNet(self.config)
        self.register_buffer("logit_scale", torch.tensor(0.0))  # by which zeroshot.py knows the device

    def encode_image(self, images):
        """Images (B, 3, R, R) -> outputs (B, E)."""
        images = images.to(memory_format=torch.channels_last)
        return self.visual(images)


def train_images(model, kind, world, steps, batch_size=256):
    """Train an ImageModel on the images of CLIP's batches; `world` is a Shown.

    "supervised" learns which of the 100 objects an image shows, as a ResNet-50 on ImageNet does.
    "more classes" learns which of 1,100 pairs of object and colour it is, as BiT-M does on ImageNet-21k.
    (It has 1,200 outputs; a hundred pairs are held out.) "SimCLR" learns which of all views in a batch is
    of the same image (Chen et al. 2020). Its loss is taken behind a head, which is not kept.
    """
    head = nn.Identity()
    if kind == "SimCLR":
        head = nn.Sequential(nn.ReLU(), nn.Linear(128, 128))

    def loss(step):
        images, _ = world.batch(step, batch_size)  # (B, 3, R, R)
        if kind == "SimCLR":
            # two views of each image
            pixels = torch.from_numpy(zeroshot.levels(images))  # (B, R, R, 3), from 0 to 1
            pixels = pixels.permute(0, 3, 1, 2)  # (B, 3, R, R)
            views = torch.cat([view(pixels), view(pixels)])  # (2B, 3, R, R)
            outputs = model.encode_image(normalize(views))  # (2B, 128)
            return nt_xent(head(outputs))
        outputs = model.encode_image(images)  # (B, classes)
        labels = numbers(world.shown, kind)  # (B,)
        return F.cross_entropy(outputs, labels)

    modules = nn.ModuleDict({"visual": model.visual, "head": head})
    fit(modules, loss, steps, text_lr=1)


class Shown(World):
    """The world; `shown` is what the scenes of the last batch show."""

    def scenes(self, rng, n, kind=None, held_out=False, rivals=False):
        """As in World."""
        self.shown = super().scenes(rng, n, kind, held_out, rivals)
        return self.shown


def numbers(scenes, kind):
    """The class of each scene -> (n,): its object, or with "more classes" its object in its colour.

    Scenes of two related objects have no class. Theirs is -100, which cross-entropy leaves out.
    """
    number = scenes["object"][:, 0]
    if kind == "more classes":
        number = number * len(COLOURS) + scenes["colour"][:, 0]
    number = np.where(scenes["kind"] == RELATED, -100, number)
    return torch.from_numpy(number)


def view(images):
    """Levels (n, 3, R, R) from 0 to 1 -> the same, each image augmented at random as SimCLR does it."""
    n = len(images)
    # a square of a quarter to all of the image's area, in any place, mirrored or not
    area = 0.25 + 0.75 * torch.rand(n)  # (n,)
    mirrored = 2 * torch.randint(2, (n,)) - 1  # (n,), 1 or -1
    place = 2 * torch.rand(n, 2) - 1  # (n, 2)
    images = squares(images, area.sqrt(), place, mirrored)
    # saturation from none to half as much again
    grey = images.mean(dim=1, keepdim=True)  # (n, 1, R, R)
    saturation = 1.5 * torch.rand(n, 1, 1, 1)
    images = torch.lerp(grey, images, saturation)
    # of red, green and blue each another contrast and another light
    contrast = 0.6 + 0.8 * torch.rand(n, 3, 1, 1)
    light = 0.4 * torch.rand(n, 3, 1, 1)
    images = images * contrast + light - 0.2
    return images.clamp(0, 1)


def squares(images, side, place, mirrored=1):
    """Of each image (n, 3, R, R) a square, resized to R -> (n, 3, R, R).

    Its side (n,) is a share of the image's. Its place (n, 2), across and down, is from -1 at the left or
    the top to 1 at the right or the bottom. Where mirrored (n,) is -1, left and right are exchanged.
    """
    # theta[i] maps places in the square to places in image i, both from -1 to 1
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = side * mirrored
    theta[:, 1, 1] = side
    theta[:, :, 2] = place * (1 - side[:, None])  # (n, 2), where the middle of the square is
    grid = F.affine_grid(theta, images.shape, align_corners=False)  # (n, R, R, 2)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def nt_xent(outputs, temperature=0.1):
    """SimCLR's loss of outputs (2B, E); rows i and B + i are of two views of one image -> scalar, in nats.

    For each view the question is which of the other views is of the same image. The loss is the
    cross-entropy of the answers, with cosines / temperature as scores; that of a guess is ln(2B - 1).
    """
    z = F.normalize(outputs, dim=-1)
    scores = z @ z.T / temperature  # (2B, 2B)
    scores.fill_diagonal_(-math.inf)  # a view is not compared with itself
    labels = torch.arange(len(z)).roll(len(z) // 2)  # B, ..., 2B - 1, 0, ..., B - 1
    return F.cross_entropy(scores, labels)


def number_scores(model, name, images):
    """What a "supervised" ImageModel says of images (n, 3, R, R) of a task -> scores (n, N).

    They are its outputs for the task's classes, up to a factor for each image; None if a class is none
    of the objects.
    """
    objects = [article(label) for label in OBJECTS]
    columns = []
    for label in TASKS[name].classes:
        if label not in objects:
            return None
        columns.append(objects.index(label))
    outputs = zeroshot.encode_images(model, images)  # (n, objects)
    return outputs[:, columns]


def fit(module, loss, steps, lr=4e-3, text_lr=TEXT_LR, every=100):
    """Minimise loss(step), a scalar, with AdamW and the schedule of train_tiny.train.

    Parameters whose names do not begin with "visual." learn at text_lr times lr.
    """
    optimizer = make_optimizer(module, lr, 0.1, text_lr, muon=False)
    warmup = min(50, steps // 10)
    module.train()
    for step in range(steps):
        # the learning rate of this step
        rate = learning_rate(step, steps, lr, warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        # one step down the gradient
        optimizer.zero_grad()
        value = loss(step)
        value.backward()
        optimizer.step()
        if (step + 1) % every == 0:
            print(f"  step {step + 1:5d}/{steps}  loss {value.item():.3f}", flush=True)


# ---- Classifiers on tasks ------------------------------------------------------------------------


def zero_shot(model, tokenizer, name, images, labels, templates=None, classes=None):
    """A task's metric for the classifier that is made from text (Section 3.1).

    The text is the task's own class names and sentences, unless others are given.
    """
    features = zeroshot.encode_images(model, images)
    return zero_shot_on(model, tokenizer, name, features, labels, templates, classes)


def zero_shot_on(model, tokenizer, name, features, labels, templates=None, classes=None):
    """The same for images that are encoded already, features (n, E) of unit length."""
    task = TASKS[name]
    classes = classes or task.classes
    templates = templates or task.templates
    weights = zeroshot.zero_shot_classifier(model, tokenizer, classes, templates)  # (E, N)
    return task.metric(features @ weights, labels)


def splits(lab, model, name, each=4):
    """A task's three splits, as a linear probe takes them -> [(features, labels), ...].

    The features are those before the projection. The training split has at least `each` images of
    every class.
    """
    sizes = {
        "train": lab.size(name, "train", each),
        "validation": lab.size(name, "validation"),
        "test": lab.size(name, "test"),
    }
    found = []
    for split, n in sizes.items():
        images, labels = examples(name, split, n)
        features = zeroshot.encode_penultimate(model, images)
        found.append((features, labels))
    return found


def few(labels, shots, seed):
    """So many examples of each class, drawn at random -> their places among labels (shots N,)."""
    rng = np.random.default_rng((shots, seed))
    order = torch.from_numpy(rng.permutation(len(labels)))
    chosen = []
    for label in labels.unique():
        of_class = order[labels[order] == label]
        chosen.append(of_class[:shots])
    return torch.cat(chosen)


def scores_on_task(lab, seed, name, shots=(), kind="CLIP"):
    """A task's metric on its test images -> {"zero-shot": value, "probe": value, "1": value, ...}.

    Measured are the classifier from text, the linear probe on all training images, and for each number
    in `shots` a probe on so many examples of each class. `kind` is "CLIP" or one of OUTPUTS; those have
    no classifier from text, and nan stands in its place.

    The strength of a few-shot probe's penalty is the best on the whole of validation, which favours
    these probes. They are not fitted to validation as well, as the linear probe is.
    """
    key = ["scores", seed, name, list(shots)]
    if kind != "CLIP":
        key.append(kind)
    return lab.remember(key, lambda: measure_scores(lab, seed, name, shots, kind))


def measure_scores(lab, seed, name, shots, kind):
    """What scores_on_task returns, measured now."""
    tokenizer = None
    if kind == "CLIP":
        model, tokenizer = lab.clip(seed)
    else:
        model = lab.image_model(seed, kind)
    metric = TASKS[name].metric
    each = max([4, *shots])
    train_split, validation, test = splits(lab, model, name, each)
    features, labels = test
    features = features.double()  # as the weights of a probe are
    values = {"zero-shot": math.nan}
    # the classifier from text
    if tokenizer is not None:
        test_images, test_labels = examples(name, "test", lab.size(name, "test"))
        values["zero-shot"] = zero_shot(model, tokenizer, name, test_images, test_labels)
    # the probe on all training images
    W, b, _ = zeroshot.linear_probe(*train_split, *validation, metric)
    values["probe"] = metric(features @ W + b, labels)
    # probes on a few of them
    for k in shots:
        chosen = few(train_split[1], k, seed)
        some = [part[chosen] for part in train_split]  # their features, their labels
        _, _, strength = zeroshot.linear_probe(*some, *validation, metric)
        W, b = zeroshot.logistic_regression(*some, strength)
        values[str(k)] = metric(features @ W + b, labels)
    return values


# ---- Arithmetic ----------------------------------------------------------------------------------


def examples_to_match(shots, values, target):
    """How many examples of each class a probe needs to reach the target, as in Figure 7.

    values[i] is what it reaches with shots[i] examples. The values are joined by lines over the
    logarithm of the shots. The first line is followed on below shots[0], but not below half of it, as
    a value that is no better than chance would lead it anywhere. Infinite if no value reaches the target.
    """
    reaching = [i for i, value in enumerate(values) if value >= target]
    if not reaching:
        return math.inf
    first = reaching[0]
    if first == 0 and values[1] <= values[0]:
        return shots[0]  # the first line leads nowhere below
    # the line that reaches the target; the first one if its start is there already
    end = max(first, 1)
    start = end - 1
    # how far along that line the target is: 0 at its start, 1 at its end
    way = (target - values[start]) / (values[end] - values[start])
    needed = shots[start] * (shots[end] / shots[start]) ** way
    return max(shots[0] / 2, needed)


def interval(statistic, *columns, draws=2000):
    """The middle 95 % of a statistic over resampled rows (the bootstrap) -> (low, high).

    statistic(*columns) is a number; the columns are alike long. Each draw picks as many rows as there
    are, with repetition, the same ones of all columns. Draws in which the statistic is nan are left out.
    """
    rng = np.random.default_rng(0)
    columns = [np.asarray(column) for column in columns]
    n = len(columns[0])
    values = []
    for rows in rng.integers(n, size=(draws, n)):
        resampled = [column[rows] for column in columns]
        values.append(statistic(*resampled))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return low, high


def mean_over_seeds(rows, value, by="task"):
    """Rows of dicts -> {row[by]: mean of row[value] over the seeds}, in order of first appearance."""
    values = {}
    for row in rows:
        values.setdefault(row[by], []).append(row[value])
    return {key: np.mean(of_key) for key, of_key in values.items()}
