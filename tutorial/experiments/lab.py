"""What the experiments share: models and measurements on disk, and how the models are trained.

Letters in shape comments: n images or scenes, B images in a batch, R resolution, N classes,
D features before the projection, E features after it.
"""
import dataclasses
import hashlib
import json
import math
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[2]))
import web
import zeroshot
from clip_minimal import CLIP, CONFIGS, ModifiedResNet, Tokenizer, load, normalize, save, write
from common import OF_MEASUREMENTS, OF_MODELS, OF_POOLS, POOL, code_key
from tasks import SPLITS, TASKS, examples
from train_tiny import (OBJECTS, STEPS, TEXT_LR, World, article, keep_state, learning_rate,
                        make_optimizer, train)
from tutorial.extras.fast import accelerate, fold_batch_norms
from tutorial.extras.runs import has_states, restore

# ---- Models and measurements on disk -------------------------------------------------------------


@dataclass
class Lab:
    """Where models and measurements are kept, and how much of the full work is done: budget from 0 to 1.

    Models are trained on the device, and measured on the CPU.
    """

    cache: Path
    budget: float = 1.0
    seeds: tuple = (0, 1, 2)
    device: str = "cpu"

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
        hold. Another budget is another measurement, and so is one by changed code.
        """
        full_key = json.dumps([code_key(OF_MEASUREMENTS), self.budget, *key])
        digest = hashlib.sha256(full_key.encode()).hexdigest()[:16]
        path = self.cache / f"{key[0]}-{digest}.json"
        if not path.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            text = json.dumps(measure())
            write(path, lambda file: file.write(text.encode()))
        return json.loads(path.read_text())

    def clip(self, seed):
        """The default model of web.py, which has learned from the miniature web -> (quick model, tokenizer).

        It is trained when it is first asked for; from then on it is read. It is made quick by
        tutorial/extras/fast.py, for inference alone.
        """
        steps = max(2, round(web.STEPS * self.budget))
        path = web.model_path(self.cache, steps, seed)
        if not path.exists():
            data, _, tokenizer, model = web.begin(seed, self.device)
            train_and_keep(path, data, model, tokenizer, steps)
        model, tokenizer = load(path)
        return accelerate(model), tokenizer

    def world_clip(self, seed):
        """The same of train_tiny.py's default run, which has seen the pictogram world alone."""
        steps = max(2, round(STEPS["tiny-RN"] * self.budget))
        path = self.cache / f"clip-world-{steps}-{seed}-{code_key(OF_MODELS)}.pt"
        if not path.exists():
            data = World(seed, self.device, steps=steps)
            tokenizer, model = untrained(seed, CONFIGS["tiny-RN"])
            train_and_keep(path, data, model.to(self.device), tokenizer, steps)
        model, tokenizer = load(path)
        return accelerate(model), tokenizer

    def occurrences(self, name):
        """For each class of a task, in how many of the web's 30,000 captions the rarest of its words is -> a list."""
        task = TASKS[name]
        return web.occurrences(task.classes, task.templates, self.word_counts())

    def word_counts(self):
        """In how many of the web's 30,000 captions each word occurs -> Counter."""
        counts = self.remember(["words"], lambda: web.word_counts(web.Web(0).texts()))
        return Counter(counts)

    def trained(self, key, module, train_function):
        """A module with the weights that train_function(module) gives it on the device; on the CPU, in eval mode.

        It is trained when this key is first asked for; from then on its weights are read, until the code changes.
        """
        path = self.cache / f"{key}-{self.budget:g}-{code_key(OF_MODELS)}.pt"
        if path.exists():
            weights = torch.load(path, weights_only=True)
            module.load_state_dict(weights)
        else:
            self.cache.mkdir(parents=True, exist_ok=True)
            train_function(module.to(self.device))
            module.cpu()
            write(path, lambda file: torch.save(module.state_dict(), file))
        return module.eval()

    def image_model(self, seed, kind, pool=None):
        """An image encoder trained without text, of a kind in OUTPUTS -> ImageModel, for inference alone.

        It sees a fixed pool of so many pictures (POOLS[kind] unless another number is given) again and
        again; `seed` is that of its weights and of their order. It is trained when it is first asked for;
        from then on it is read.
        """
        if pool is None:
            pool = POOLS[kind]
        pool = max(100, round(pool * self.budget))
        steps = max(2, round(STEPS_OF_RIVAL[kind] * self.budget))
        torch.manual_seed(seed)
        model = ImageModel(OUTPUTS[kind])
        model = model.to(memory_format=torch.channels_last)

        def train_function(model):
            levels, labels = draw_pool(kind, "train", pool)
            train_images(model, kind, levels.to(self.device), labels.to(self.device), steps)

        key = f"{kind}-{pool}-{steps}-{seed}-{code_key(OF_POOLS)}"
        model = self.trained(key, model, train_function)
        return fold_batch_norms(model)

    def own_accuracy(self, seed, kind):
        """How often an ImageModel is right on new pictures like those of its pool; nan for a kind without labels."""
        if kind == "SimCLR":
            return math.nan

        def measure():
            n = max(100, round(2000 * self.budget))
            levels, labels = draw_pool(kind, "test", n)
            outputs = zeroshot.encode_images(self.image_model(seed, kind), normalize(levels / 255))
            return zeroshot.accuracy(outputs, labels)

        return self.remember(["own accuracy", kind, seed], measure)


def train_and_keep(path, data, model, tokenizer, steps):
    """Train with Muon, from where an interrupted training of the same model stopped, and save the model."""
    states = path.with_suffix("")  # a folder, until the model is whole
    states.mkdir(parents=True, exist_ok=True)
    state = None
    if has_states(states):
        state = restore(states, "cpu")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")  # as train_tiny.py does, for speed
    try:
        train(data, model, tokenizer, steps, state=state, keep=lambda latest: keep_state(states, latest))
    finally:
        torch.set_float32_matmul_precision(before)
    save(path, model, tokenizer)
    shutil.rmtree(states)


@cache
def make_tokenizer(seed):
    """The tokenizer that train_tiny.py learns with this seed."""
    texts = World(seed).texts()
    return Tokenizer.train(texts, CONFIGS["tiny-RN"].vocab_size)


def untrained(seed, config, kind=CLIP):
    """-> (train_tiny.py's tokenizer, a random model of class `kind` and of the shape in `config`)."""
    tokenizer = make_tokenizer(seed)
    torch.manual_seed(seed)
    config = dataclasses.replace(config, vocab_size=len(tokenizer.vocab))
    model = kind(config)
    return tokenizer, model.to(memory_format=torch.channels_last)


def begin(seed, config, steps, kind=CLIP, data=None):
    """What a training with AdamW of so many steps starts with -> (data, tokenizer, untrained model).

    Model and tokenizer are as `untrained` makes them. The data are a World, unless others are given.
    """
    if data is None:
        data = World(seed)
    take_turns(data, steps)
    return data, *untrained(seed, config, kind)


def take_turns(world, steps):
    """Names alone in every third batch from the first one on, for 13 of 17 parts of the steps: what AdamW learns from."""
    world.names_alone_until = 0
    world.names_until = world.rivals_from = round(1300 * steps / 1700)


# ---- Image encoders trained without text ---------------------------------------------------------

POOL_OF_WEB = 3  # its random numbers; the world's own are 0, 1 and 2
# kinds of encoders: how many outputs each has, how many pictures, and for how many steps it sees 256 of them
OUTPUTS = {
    "supervised": len(OBJECTS),  # a class for each object
    "more kinds": len(web.NAMES),  # a class for each thing of the web
    "SimCLR": 128,  # features
}
POOLS = {"supervised": POOL, "more kinds": 10 * POOL, "SimCLR": POOL}
STEPS_OF_RIVAL = {"supervised": 400, "more kinds": 800, "SimCLR": 800}


def draw_pool(kind, split, n):
    """n labelled pictures for a kind of encoder, always the same -> levels (n, 3, R, R) from 0 to 255, labels (n,).

    They are of the task "objects", the miniature ImageNet. Those of "more kinds" show each one thing of
    the web, upright and in the usual style, all things equally often.
    """
    if kind != "more kinds":
        images, labels = examples("objects", split, n)
        levels = torch.from_numpy(zeroshot.levels(images))  # (n, R, R, 3), from 0 to 1
        return as_bytes(levels.permute(0, 3, 1, 2)), labels
    stream = web.Web(exponent=0)
    scenes = stream.scenes(stream.rng(POOL_OF_WEB, SPLITS.index(split)), n, "single", style=web.USUAL)
    # a thousand at a time, which saves memory
    parts = []
    for places in np.split(np.arange(n), range(1000, n, 1000)):
        some = {key: values[places] for key, values in scenes.items()}
        parts.append(as_bytes(stream.draw(some)))
    return torch.cat(parts), torch.from_numpy(scenes["object"][:, 0])


def as_bytes(levels):
    """Levels from 0 to 1 -> whole numbers from 0 to 255, in a quarter of the memory."""
    return (255 * levels).round().byte()


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


def train_images(model, kind, levels, labels, steps, batch_size=256):
    """Train an ImageModel on a pool of pictures, levels (n, 3, R, R) from 0 to 255 with labels (n,).

    "supervised" learns which of the 100 objects a picture shows, as a ResNet-50 on ImageNet does.
    "more kinds" learns which of 451 things it is, as BiT-M does on ImageNet-21k. "SimCLR" learns which of
    all views in a batch is of the same picture (Chen et al. 2020). Its loss is taken behind a head, which
    is not kept. The optimizer is that of CLIP.
    """
    head = nn.Identity()
    if kind == "SimCLR":
        head = nn.Sequential(nn.ReLU(), nn.Linear(128, 128)).to(levels.device)
    order = shuffled_batches(len(levels), batch_size)

    def loss(step):
        chosen = next(order)
        images = levels[chosen] / 255  # (B, 3, R, R), from 0 to 1
        if kind == "SimCLR":
            # two views of each picture, with random numbers from the same device
            with images.device:
                views = torch.cat([view(images), view(images)])  # (2B, 3, R, R)
            outputs = model.encode_image(normalize(views))  # (2B, 128)
            return nt_xent(head(outputs))
        outputs = model.encode_image(normalize(crop(images)))  # (B, classes)
        return F.cross_entropy(outputs, labels[chosen])

    modules = nn.ModuleDict({"visual": model.visual, "head": head})
    fit(modules, loss, steps, lr=5e-3, text_lr=1, muon=True)


def shuffled_batches(n, size):
    """Yield batches of the numbers below n without end: all in a random order, then in another one, and so on.

    What is too few for a batch at the end of an order is left out.
    """
    size = min(size, n)
    while True:
        order = torch.randperm(n)
        for start in range(0, n - size + 1, size):
            yield order[start:start + size]


def crop(images, most=4):
    """Images (n, 3, R, R), each moved by up to so many pixels across and down; its edge is repeated."""
    R = images.shape[-1]
    wider = F.pad(images, [most] * 4, mode="replicate")
    corners = torch.randint(2 * most + 1, (len(images), 2)).tolist()
    moved = []
    for image, (left, top) in zip(wider, corners):
        moved.append(image[:, top:top + R, left:left + R])
    return torch.stack(moved)


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
    theta = images.new_zeros(len(images), 2, 3)
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
    labels = torch.arange(len(z), device=z.device).roll(len(z) // 2)  # B, ..., 2B - 1, 0, ..., B - 1
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


def fit(module, loss, steps, lr=4e-3, text_lr=TEXT_LR, every=100, muon=False):
    """Minimise loss(step), a scalar, with AdamW or Muon and the schedule of train_tiny.train.

    Parameters whose names do not begin with "visual." learn at text_lr times lr.
    """
    optimizer = make_optimizer(module, lr, 0.1, text_lr, muon)
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
