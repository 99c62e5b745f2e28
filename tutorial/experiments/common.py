"""What the experiments share: trained models and measurements kept on disk, classifiers on tasks, intervals."""
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

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"  # Okabe and Ito's, told apart by all eyes
SHOTS = [1, 2, 4, 8, 16]
CLEAR = 1.25  # zero-shot of more than so many times chance counts as well above it


@dataclass
class Lab:
    """Where models and measurements are kept, and how much of the full work is done: budget from 0 to 1."""

    cache: Path
    budget: float = 1.0
    seeds: tuple = (0, 1, 2)

    def size(self, name, split, each=4):
        """How many images of a task are looked at: so many of each class and forty at least, if it has them."""
        full = TASKS[name].size(split)
        return min(full, max(round(full * self.budget), each * len(TASKS[name].classes), 40))

    def batch(self, full=256):
        """How many pairs a step has: all, and fewer at a budget below a fifth."""
        return max(2, round(full * min(1, 5 * self.budget)))

    def remember(self, key, measure):
        """What measure() returned, plain values, when it was first asked for with this key and budget."""
        digest = hashlib.sha256(json.dumps([self.budget, *key]).encode()).hexdigest()[:16]
        path = self.cache / f"{key[0]}-{digest}.json"
        if not path.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            value = measure()
            write(path, lambda file: file.write(json.dumps(value).encode()))
        return json.loads(path.read_text())

    def clip(self, seed):
        """The default model of train_tiny.py, trained unless it is there already -> (quick model, tokenizer).

        Quick by tutorial/extras/fast.py, for inference alone.
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
        """A module with the weights that train_function(module) gives it.

        It is trained when this key is first asked for; from then on its weights are read.
        """
        path = self.cache / f"{key}-{self.budget:g}.pt"
        if path.exists():
            module.load_state_dict(torch.load(path, weights_only=True))
        else:
            self.cache.mkdir(parents=True, exist_ok=True)
            train_function(module)
            write(path, lambda file: torch.save(module.state_dict(), file))
        return module.eval()

    def image_model(self, seed, kind, steps=None):
        """An image encoder trained without text, unless it is there already -> ImageModel, for inference alone.

        Trained on labels, 1,700 steps see CLIP's very images; SimCLR, which looks at each twice, gets 850.
        """
        if steps is None:
            steps = 850 if kind == "SimCLR" else 1700
        steps = max(2, round(steps * self.budget))
        torch.manual_seed(seed)
        model = ImageModel(OUTPUTS[kind]).to(memory_format=torch.channels_last)
        world = Shown(seed)
        take_turns(world, 1700 * self.budget)

        def train_function(model):
            train_images(model, kind, world, steps)

        return fold_batch_norms(self.trained(f"{kind}-{steps}-{seed}", model, train_function))


@cache
def make_tokenizer(seed):
    """That of train_tiny.py."""
    return Tokenizer.train(World(seed).texts(), CONFIGS["tiny-RN"].vocab_size)


def begin(seed, config, steps, kind=CLIP, data=None):
    """What a training starts with -> (data, a World unless given; the tokenizer; an untrained model of this kind and
    shape)."""
    data, tokenizer = data or World(seed), make_tokenizer(seed)
    take_turns(data, steps)
    torch.manual_seed(seed)
    model = kind(dataclasses.replace(config, vocab_size=len(tokenizer.vocab)))
    return data, tokenizer, model.to(memory_format=torch.channels_last)


def take_turns(world, steps):
    """Names alone in every third batch from the first one on, for 13 of 17 parts of the steps: what AdamW learns from."""
    world.names_alone_until = 0
    world.names_until = world.rivals_from = round(1300 * steps / 1700)


OUTPUTS = {"supervised": len(OBJECTS), "more classes": len(OBJECTS) * len(COLOURS), "SimCLR": 128}  # of image models


class ImageModel(nn.Module):
    """tiny-RN's image encoder alone, with so many outputs, under the names by which zeroshot.py knows a CLIP's."""

    def __init__(self, outputs):
        super().__init__()
        self.config = dataclasses.replace(CONFIGS["tiny-RN"], embed_dim=outputs)
        self.visual = ModifiedResNet(self.config)
        self.register_buffer("logit_scale", torch.tensor(0.0))

    def encode_image(self, images):
        return self.visual(images.to(memory_format=torch.channels_last))


def train_images(model, kind, world, steps, batch_size=256):
    """Train on the images of CLIP's batches. "supervised": which of the objects it is, as ResNet-50 on ImageNet; "more
    classes": which of 1,100 objects in a colour, as BiT-M on ImageNet-21k; "SimCLR": which of all views of a batch is
    of the same image (Chen et al. 2020), the features behind a head that is then left away."""
    head = nn.Sequential(nn.ReLU(), nn.Linear(128, 128)) if kind == "SimCLR" else nn.Identity()

    def loss(step):
        images, _ = world.batch(step, batch_size)
        if kind == "SimCLR":
            pixels = torch.from_numpy(zeroshot.levels(images)).permute(0, 3, 1, 2)  # (B, 3, R, R), from 0 to 1
            images = normalize(torch.cat([view(pixels), view(pixels)]))  # (2B, 3, R, R)
        outputs = head(model.encode_image(images))
        return nt_xent(outputs) if kind == "SimCLR" else F.cross_entropy(outputs, numbers(world.shown, kind))

    fit(nn.ModuleDict({"visual": model.visual, "head": head}), loss, steps, text_lr=1)


class Shown(World):
    """The world; `shown` is what the scenes of the last batch show."""

    def scenes(self, rng, n, kind=None, held_out=False, rivals=False):
        self.shown = super().scenes(rng, n, kind, held_out, rivals)
        return self.shown


def numbers(scenes, kind):
    """The class of each scene (n,): its object, or its object in its colour; -100, which cross-entropy leaves out, for
    the two objects of a related one."""
    obj, colour = scenes["object"][:, 0], scenes["colour"][:, 0]
    number = obj * len(COLOURS) + colour if kind == "more classes" else obj
    return torch.from_numpy(np.where(scenes["kind"] == RELATED, -100, number))


def view(images):
    """Levels (n, 3, R, R) -> the same, augmented as SimCLR's: a square of a quarter to all of the image, mirrored or
    not, its saturation from grey to half as much again, and of each colour another contrast and light."""
    n, one = len(images), (len(images), 1, 1, 1)
    side, mirrored = (0.25 + 0.75 * torch.rand(n)).sqrt(), 2 * torch.randint(2, (n,)) - 1  # (n,) each
    images = squares(images, side, 2 * torch.rand(n, 2) - 1, mirrored)
    images = torch.lerp(images.mean(dim=1, keepdim=True), images, 1.5 * torch.rand(one))
    return (images * (0.6 + 0.8 * torch.rand(n, 3, 1, 1)) + 0.4 * torch.rand(n, 3, 1, 1) - 0.2).clamp(0, 1)


def squares(images, side, place, mirrored=1):
    """Of each image (n, 3, R, R) a square, resized to R: its side (n,) as a share of the image's, its place (n, 2) from
    -1, at the left and the top, to 1; mirrored where (n,) is -1."""
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = side * mirrored, side, place * (1 - side[:, None])
    grid = F.affine_grid(theta, images.shape, align_corners=False)  # (n, R, R, 2)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def nt_xent(outputs, temperature=0.1):
    """SimCLR's loss of outputs (2B, E), rows i and B + i two views of one image -> scalar, in nats; a guess is
    ln(2B - 1): cross-entropy of "which of the others is the same image" over cosines / temperature."""
    z = F.normalize(outputs, dim=-1)
    similarities = (z @ z.T / temperature).fill_diagonal_(-math.inf)  # (2B, 2B), none with itself
    return F.cross_entropy(similarities, torch.arange(len(z)).roll(len(z) // 2))


def number_scores(model, name, images):
    """The outputs of a supervised ImageModel at the classes of a task, up to a factor for each image -> (B, N); None
    where a class is none of the objects."""
    objects = [article(label) for label in OBJECTS]
    if not set(TASKS[name].classes) <= set(objects):
        return None
    return zeroshot.encode_images(model, images)[:, [objects.index(label) for label in TASKS[name].classes]]


def fit(module, loss, steps, lr=4e-3, text_lr=TEXT_LR, every=100):
    """Minimise loss(step), a scalar, with the optimizer and the schedule of train_tiny.train: of parameters whose names
    do not begin with "visual." the rate is text_lr times lr."""
    optimizer, warmup = make_optimizer(module, lr, 0.1, text_lr, muon=False), min(50, steps // 10)
    module.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(step, steps, lr, warmup)
        optimizer.zero_grad()
        value = loss(step)
        value.backward()
        optimizer.step()
        if (step + 1) % every == 0:
            print(f"  step {step + 1:5d}/{steps}  loss {value.item():.3f}", flush=True)


def zero_shot(model, tokenizer, name, images, labels, templates=None, classes=None):
    """A task's metric for the classifier made of its class names and sentences, or of other ones (Section 3.1)."""
    features = zeroshot.encode_images(model, images)
    return zero_shot_on(model, tokenizer, name, features, labels, templates, classes)


def zero_shot_on(model, tokenizer, name, features, labels, templates=None, classes=None):
    """The same of images that are encoded already."""
    task = TASKS[name]
    weights = zeroshot.zero_shot_classifier(model, tokenizer, classes or task.classes, templates or task.templates)
    return task.metric(features @ weights, labels)


def splits(lab, model, name, each=4):
    """Features before the projection and labels of a task's three splits -> [(features, labels), ...], of the first at
    least so many of each class."""
    sizes = {"train": lab.size(name, "train", each), **{key: lab.size(name, key) for key in ("validation", "test")}}
    loaded = [examples(name, split, n) for split, n in sizes.items()]
    return [(zeroshot.encode_penultimate(model, images), labels) for images, labels in loaded]


def few(labels, shots, seed):
    """Of each class as many examples as shots says -> their places (shots N,)."""
    order = torch.from_numpy(np.random.default_rng((shots, seed)).permutation(len(labels)))
    return torch.cat([order[labels[order] == i][:shots] for i in labels.unique()])


def scores_on_task(lab, seed, name, shots=(), kind="CLIP"):
    """-> {"zero-shot": value, "probe": value, "1": value, ...}: a task's metric on its test images, of the classifier
    from text, of the linear probe, and of probes on so many examples a class. The strength of the latter is the best on
    the whole of validation, which favours them; they are not refitted on it. Of another kind of model than CLIP, one of
    OUTPUTS, there is no classifier from text: nan."""
    def measure():
        model, tokenizer = lab.clip(seed) if kind == "CLIP" else (lab.image_model(seed, kind), None)
        task, (train, valid, test) = TASKS[name], splits(lab, model, name, max([4, *shots]))
        values = {"zero-shot": math.nan if tokenizer is None else zero_shot(
            model, tokenizer, name, *examples(name, "test", lab.size(name, "test")))}
        W, b, _ = zeroshot.linear_probe(*train, *valid, task.metric)
        values["probe"] = task.metric(test[0].double() @ W + b, test[1])
        for k in shots:
            some = [part[few(train[1], k, seed)] for part in train]
            strength = zeroshot.linear_probe(*some, *valid, task.metric)[2]
            W, b = zeroshot.logistic_regression(*some, strength)
            values[str(k)] = task.metric(test[0].double() @ W + b, test[1])
        return values

    return lab.remember(["scores", seed, name, list(shots)] + [kind] * (kind != "CLIP"), measure)


def examples_to_match(shots, values, target):
    """How many examples a class a probe needs to reach the target, as in Figure 7: values at shots are joined by lines
    over the logarithm of the shots, the first of which is followed on, to half of its shots at the least, as a value
    that is no better than chance would lead it anywhere; infinite if no value reaches the target."""
    i = next((i for i, value in enumerate(values) if value >= target), None)
    if i is None:
        return math.inf
    if i == 0 and values[1] <= values[0]:  # the line leads nowhere below
        return shots[0]
    i = max(i, 1)
    way = (target - values[i - 1]) / (values[i] - values[i - 1])
    return max(shots[0] / 2, shots[i - 1] * (shots[i] / shots[i - 1]) ** way)


def interval(statistic, *columns, draws=2000):
    """The middle 95 % of a statistic over resampled rows of columns (n,) -> (low, high)."""
    rng, columns = np.random.default_rng(0), [np.asarray(column) for column in columns]
    rows = rng.integers(len(columns[0]), size=(draws, len(columns[0])))
    return tuple(np.nanpercentile([statistic(*(column[row] for column in columns)) for row in rows], [2.5, 97.5]))


def mean_over_seeds(rows, value, by="task"):
    """Rows of dicts -> {row[by]: mean of row[value] over the seeds}, in order of first appearance."""
    keys = dict.fromkeys(row[by] for row in rows)
    return {key: np.mean([row[value] for row in rows if row[by] == key]) for key in keys}
