"""Train a tiny CLIP from scratch in minutes, on pictograms that are drawn as it goes or on your own captioned images.

    python train_tiny.py                      train on the pictogram world; results in runs/tiny
    python train_tiny.py --show               a contact sheet of the world: held-out images, full captions
    python train_tiny.py --demo               the trained model on freshly drawn scenes
    python train_tiny.py --resume             go on after Ctrl-C
    python train_tiny.py --data DIR --out runs/mine              your own images with captions
    python train_tiny.py --data DIR --out runs/mine --captions-from-names     ... or only telling file names

Letters in shape comments: B batch, n images or scenes, R resolution, E joint embedding.
"""
import argparse
import dataclasses
import json
import math
import os
import sys
import time
import zipfile
import zlib
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

import zeroshot
from clip_minimal import (CLIP, CONFIGS, CLIPConfig, Tokenizer, contrastive_loss, load, normalize, save, write)

FONT = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")

# ---- The pictogram world: scenes of coloured pictograms, each with a caption -----------------------------------------

OBJECTS = dict(entry.strip().rsplit(maxsplit=1) for entry in """
    sun ☀, cloud ☁, umbrella ☂, snowman ☃, comet ☄, star ★, moon ☾, snowflake ❄, lightning bolt ⚡, starburst ✺, cat 🐱,
    mouse 🐭, cow 🐮, monkey 🐵, shamrock ☘, tulip ⚘, daisy ✿, ivy leaf ❦, happy face ☺, sad face ☹, angel 😇, devil 😈,
    sleeping face 😴, masked face 😷, crying face 😭, skull ☠, pointing hand ☛, victory hand ✌, writing hand ✍, house ⌂,
    keyboard ⌨, telephone ☎, teacup ☕, wheelchair ♿, die ⚄, flag ⚑, anchor ⚓, balance ⚖, alembic ⚗, gear ⚙, coffin ⚰,
    vase ⚱, pair of scissors ✂, film reel ✇, airplane ✈, envelope ✉, pencil ✎, fountain pen ✒, ship's wheel ☸,
    hot spring ♨, trident ♆, bow tie ⧓, chess king ♚, chess queen ♛, chess rook ♜, chess bishop ♝, chess knight ♞,
    chess pawn ♟, spade ♠, club ♣, heart ♥, diamond ♦, radiation sign ☢, biohazard sign ☣, warning sign ⚠,
    peace sign ☮, recycling sign ♻, female sign ♀, male sign ♂, infinity sign ∞, ankh ☥, yin yang ☯, crescent ☪,
    star of David ✡, Maltese cross ✠, cross ✝, fleur-de-lis ⚜, atom ⚛, check mark ✔, cross mark ✘, plus sign ✚,
    asterisk ✱, arrow ➜, question mark ?, exclamation mark !, ampersand &, dollar sign $, percent sign %, at sign @,
    eighth note ♪, pair of notes ♫, sharp sign ♯, flat sign ♭, square ■, triangle ▲, circle ●, pentagon ⬟,
    parallelogram ▰, target ◎, grid ▦""".split(","))  # 100 names and the characters of the font that show them
PLURALS = {"snowman": "snowmen", "mouse": "mice", "daisy": "daisies", "die": "dice", "ivy leaf": "ivy leaves",
           "fleur-de-lis": "fleurs-de-lis", "star of David": "stars of David",
           "pair of scissors": "pairs of scissors", "pair of notes": "pairs of notes"}
COLOURS = {"red": (225, 30, 40), "orange": (250, 140, 20), "yellow": (250, 225, 40), "green": (40, 165, 60),
           "teal": (20, 165, 165), "blue": (40, 80, 225), "purple": (130, 45, 175), "pink": (250, 130, 190),
           "brown": (120, 70, 30), "black": (15, 15, 20), "gray": (130, 130, 135), "white": (250, 250, 250)}
BACKGROUNDS = {  # the colours of the upper and of the lower edge
    "on paper": ((245, 242, 235), (228, 222, 210)), "at night": ((15, 20, 55), (40, 45, 95)),
    "on the grass": ((120, 190, 90), (70, 140, 50)), "on the beach": ((240, 220, 165), (215, 185, 125)),
    "in the sky": ((95, 170, 240), (190, 225, 250)), "at sunset": ((105, 55, 110), (245, 150, 90)),
    "under water": ((60, 175, 200), (15, 75, 130)), "on a wall": ((185, 110, 90), (150, 80, 65))}
SIZES = {"small": (15, 19), "": (22, 28), "large": (32, 42)}  # in pixels of 48; the middle one goes without saying
COUNTS = ["one", "two", "three", "four"]
PLACES = ["in the top left corner", "at the top", "in the top right corner", "on the left", "in the middle",
          "on the right", "in the bottom left corner", "at the bottom", "in the bottom right corner"]
RELATIONS = {"to the left of": (-1, 0), "to the right of": (1, 0), "above": (0, -1), "below": (0, 1)}
KINDS = {"single": 6 / 13, "placed": 2 / 13, "counted": 3 / 13, "related": 2 / 13}  # of scenes, and how often drawn
MENTIONS = {"size": 0.25, "colour": 0.9, "background": 0.45}  # how often a caption names what could be named
EVERYTHING, NAMES_ONLY = {"size": 0.25, "colour": 1, "background": 1}, {"size": 0, "colour": 0, "background": 0}


def article(phrase):
    """"umbrella" -> "an umbrella"."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def counted(count, name):
    """2, "cross" -> "two crosses"."""
    plural = PLURALS.get(name) or name + ("es" if name.endswith(("s", "x", "ch")) else "s")
    return f"{COUNTS[count - 1]} {name if count == 1 else plural}"


def render(glyphs, size=32, font=FONT):
    """Characters -> masks (n, size, size) from 0 to 1, each glyph as large as fits, a little bolder than printed."""
    font, masks = ImageFont.truetype(open(font, "rb"), 8 * size), []
    for glyph in glyphs:
        left, top, right, bottom = font.getbbox(glyph, stroke_width=4)
        side = max(right - left, bottom - top)
        mask = Image.new("L", (side, side))
        corner = (side - right - left) / 2, (side - bottom - top) / 2
        ImageDraw.Draw(mask).text(corner, glyph, fill=255, font=font, stroke_width=4)
        masks.append(np.asarray(mask.resize((size - 2, size - 2), Image.Resampling.BOX)))
    return F.pad(torch.from_numpy(np.stack(masks)) / 255, (1, 1, 1, 1))  # (n, size, size)


class World:
    """Scenes of one to four pictograms and their captions, drawn on the device; the same for the same (seed, step).

    A twelfth of the colour x object pairs, one colour for each object, is held out: no training image shows it and no
    training caption says it. Zero-shot accuracy is measured on them alone."""

    def __init__(self, seed=0, device="cpu", resolution=48):
        self.seed, self.device, self.resolution = seed, device, resolution
        self.names_until = 1300  # until this step every third batch names objects and says nothing else, see `batch`
        self.masks = render(OBJECTS.values()).to(device)  # (objects, 32, 32)
        self.colours = torch.tensor(list(COLOURS.values()), device=device) / 255  # (12, 3)
        self.backgrounds = torch.tensor(list(BACKGROUNDS.values()), device=device) / 255  # (8, 2, 3)
        objects = np.arange(len(OBJECTS))
        self.held_out = np.arange(12) == (5 * objects[:, None]) % 12  # (objects, 12)
        # A colour shows on a background whose whole gradient is far from it, weighted as the eye does.
        edges = np.array(list(BACKGROUNDS.values()), float)[:, :, None]  # (8, 2, 1, 3)
        gradient = edges[:, 0] + (edges[:, 1] - edges[:, 0]) * np.linspace(0, 1, 5)[:, None]  # (8, 5, 3)
        difference = np.array(list(COLOURS.values()))[:, None, None] - gradient  # (12, 8, 5, 3)
        self.shows = ((difference ** 2 @ [0.3, 0.5, 0.2]) ** 0.5).min(-1) > 65  # (12, 8)

    def rng(self, split, step=0):
        """Random numbers for one step of a split: 0 training, 1 evaluation, 2 the tokenizer's texts, 3 the demo."""
        return np.random.default_rng((self.seed, split, step))

    def scenes(self, rng, n, kind=None, held_out=False):
        """What n scenes show, as arrays: kind, background, size, place, relation, count (n,), object, colour (n, 4),
        shade (n, 4, 3), and where, in 48ths of the image: centre (n, 4, 2), side (n, 4). A scene draws `count` of its
        four sprites. Kinds, places and all the rest are numbered in the order of the tables above."""
        def pick(possible):  # one of the True entries of each row: the largest of random numbers that stand there
            return (rng.random(possible.shape) * possible).argmax(-1)

        kind = np.full(n, list(KINDS).index(kind)) if kind else rng.choice(4, n, p=list(KINDS.values()))
        size, place, relation = rng.integers(3, size=n), rng.integers(9, size=n), rng.integers(4, size=n)
        count = np.choose(kind, [1, 1, rng.integers(1, 5, n), 2])
        obj = rng.integers(len(OBJECTS), size=(n, 4))
        obj[:, 1] = (obj[:, 0] + rng.integers(1, len(OBJECTS), n)) % len(OBJECTS)  # two related ones are different
        allowed = (self.held_out if held_out else ~self.held_out)[obj]  # (n, 4, 12)
        background = pick((allowed[:, :2] @ self.shows).all(1))  # on it both have a colour that shows
        colour = pick(allowed & self.shows.T[background][:, None])  # (n, 4)
        obj[kind == 2], colour[kind == 2] = obj[kind == 2, :1], colour[kind == 2, :1]  # counted ones are alike

        # A single object has one of three sizes; placed, counted and related ones have one each.
        low, high = np.array([*SIZES.values(), (13, 16), (15, 21), (16, 20)]).T[:, np.where(kind == 0, size, kind + 2)]
        side = np.repeat((low + (high - low) * rng.random(n))[:, None], 4, 1)  # (n, 4)
        u, half = rng.uniform(-1, 1, (n, 4, 2)), side[:, :, None] * 16 / 30  # (n, 4, 2), (n, 4, 1), soft edge included
        third = np.stack([place % 3, place // 3], -1)[:, None] - 1  # (n, 1, 2)
        quarter = rng.random((n, 4)).argsort(-1)  # (n, 4), a permutation in each scene
        quarter = np.stack([quarter % 2, quarter // 2], -1) - 0.5  # (n, 4, 2)
        ahead = np.array(list(RELATIONS.values()))[relation][:, None] * [[1], [-1], [0], [0]]  # (n, 4, 2)
        offset = np.choose(kind[:, None, None], [u * (23 - half), 14 * third + u / 2, 24 * quarter + u * (11 - half),
                                                 12 * ahead + u * np.where(ahead[:, :1], 0.3, 6)])  # (n, 4, 2)
        return {"kind": kind, "background": background, "size": size, "place": place, "relation": relation,
                "count": count, "object": obj, "colour": colour, "centre": np.float32(24 + offset),
                "side": np.float32(side), "shade": np.float32(rng.normal(0, 0.02, (n, 4, 3)))}

    def draw(self, scenes):
        """-> images (n, 3, R, R) from 0 to 1: first sprites of all scenes at once, then second ones, to the fourth."""
        R = self.resolution
        pixel, cell = (torch.arange(n, device=self.device) for n in (R, 32))
        upper, lower = self.backgrounds[torch.from_numpy(scenes["background"]).to(self.device)].unbind(1)  # (n, 3)
        down = torch.linspace(0, 1, R, device=self.device)[:, None]  # (R, 1)
        image = torch.lerp(upper[:, :, None, None], lower[:, :, None, None], down).repeat(1, 1, 1, R)  # (n, 3, R, R)
        for sprite in range(4):
            row = np.nonzero(scenes["count"] > sprite)[0]  # (s,) scenes that have it
            obj, colour, centre, side, shade = (torch.from_numpy(scenes[key][row, sprite]).to(self.device)
                                                for key in ("object", "colour", "centre", "side", "shade"))
            row = torch.from_numpy(row).to(self.device)
            # Where in the mask, 30 of whose 32 cells hold the glyph, each pixel lies; then bilinear interpolation,
            # which is a matrix product for each axis: a pixel weighs the two cells next to it.
            place = ((pixel[:, None] + 0.5) * 48 / R - centre[:, None]) * (30 / side)[:, None, None] + 15.5  # (s, R, 2)
            across, along = (1 - (place[..., None] - cell).abs()).clamp(min=0).unbind(2)  # (s, R, 32) each
            alpha = along @ self.masks[obj] @ across.transpose(1, 2)  # (s, R, R)
            paint = (self.colours[colour] + shade)[:, :, None, None]  # (s, 3, 1, 1)
            image[row] = torch.lerp(image[row], paint, alpha[:, None])
        return image.clamp_(0, 1)

    def captions(self, scenes, rng, mentions=MENTIONS):
        """A sentence for each scene, from a small grammar."""
        lists = {key: value.tolist() for key, value in scenes.items()}
        objects, colours, backgrounds = list(OBJECTS), list(COLOURS), list(BACKGROUNDS)
        captions = []
        for i, chance in enumerate(rng.random((len(scenes["kind"]), 5)).tolist()):
            kind, count = lists["kind"][i], lists["count"][i]

            def noun(j):
                size = list(SIZES)[lists["size"][i]] if kind == 0 and chance[0] < mentions["size"] else ""
                colour = colours[lists["colour"][i][j]] if chance[1] < mentions["colour"] else ""
                number, name = counted(count if kind == 2 else 1, objects[lists["object"][i][j]]).split(" ", 1)
                phrase = " ".join(filter(None, (size, colour, name)))
                return f"{number} {phrase}" if kind == 2 else article(phrase)

            more = "", " " + PLACES[lists["place"][i]], "", f" {list(RELATIONS)[lists['relation'][i]]} {noun(1)}"
            start = ("a picture of ", "a drawing of ", "", "", "", "", "", "", "", "")[int(10 * chance[2])]
            caption = start + noun(0) + more[kind]
            if chance[3] < mentions["background"]:
                where = backgrounds[lists["background"][i]]
                caption = f"{where}, {caption}" if chance[4] < 0.3 else f"{caption} {where}"
            captions.append(caption)
        return captions

    def batch(self, step, n, share=slice(None)):
        """Those of the n training pairs of a step that are in `share` -> normalised images (b, 3, R, R) on the device,
        b captions.

        The loss learns what tells the pairs of a batch apart, and no more. Where colours and backgrounds do, a hundred
        names come slowly; where names alone do, colours hardly come: so until `names_until` they take turns."""
        rng, names_only = self.rng(0, step), step < self.names_until and step % 3 == 0
        scenes = self.scenes(rng, n, "single" if names_only else None)
        captions = self.captions(scenes, rng, NAMES_ONLY if names_only else MENTIONS)
        return normalize(self.draw({key: value[share] for key, value in scenes.items()})), captions[share]

    def texts(self):
        """Captions for the tokenizer to learn from."""
        return self.captions(self.scenes(self.rng(2), 10_000), self.rng(2, 1))

    def examples(self, n, kind=None):
        """Held-out pairs to look at -> normalised images (n, 3, R, R), n full captions."""
        scenes = self.scenes(self.rng(1, 6), n, kind, held_out=True)
        return normalize(self.draw(scenes)), self.captions(scenes, self.rng(1, 7), EVERYTHING)

    def evaluate(self, model, tokenizer, n=2000):
        """Zero-shot accuracy and retrieval on held-out colour x object pairs -> {name: (value, chance)}."""
        def draw(kind, step, n=n):
            scenes = self.scenes(self.rng(1, step), n, kind, held_out=True)
            return scenes, zeroshot.encode_images(model, normalize(self.draw(scenes)))

        results, (scenes, features) = {}, draw("single", 0)
        names, some = [article(name) for name in OBJECTS], list(OBJECTS)[::4]
        for name, label, classnames, templates in (
                ("objects", "object", names, ["{}", *(f"{{}} {where}" for where in BACKGROUNDS)]),
                ("colours", "colour", [article(name) for name in COLOURS], [f"{{}} {name}" for name in some]),
                ("backgrounds", "background", list(BACKGROUNDS), [f"{article(name)} {{}}" for name in some])):
            weights = zeroshot.zero_shot_classifier(model, tokenizer, classnames, templates)
            labels = torch.from_numpy(scenes[label].reshape(n, -1)[:, 0])  # (n,)
            results[name] = zeroshot.accuracy((features @ weights).cpu(), labels), 1 / len(classnames)
        for split, (name, kind, label, choices) in enumerate((  # which of the choices, where the objects are told
            ("counts", "counted", "count", lambda a, b: [counted(k, list(OBJECTS)[a]) for k in (1, 2, 3, 4)]),
            ("places", "placed", "place", lambda a, b: [f"{names[a]} {place}" for place in PLACES]),
            ("relations", "related", "relation", lambda a, b: [f"{names[a]} {r} {names[b]}" for r in RELATIONS])), 1):
            scenes, features = draw(kind, split)
            texts = [text for a, b in scenes["object"][:, :2] for text in choices(a, b)]
            texts = zeroshot.encode_texts(model, tokenizer, texts).unflatten(0, (n, -1))  # (n, choices, E)
            labels = torch.from_numpy(scenes[label]) - int(label == "count")  # (n,)
            results[name] = zeroshot.accuracy((texts * features[:, None]).sum(-1).cpu(), labels), 1 / texts.shape[1]
        scenes, features = draw(None, 4, min(n, 500))
        captions = self.captions(scenes, self.rng(1, 5), EVERYTHING)
        texts = zeroshot.encode_texts(model, tokenizer, captions)
        fits = torch.tensor([[a == b for b in captions] for a in captions])  # equal captions are both right
        return results | zeroshot.retrieval(features.cpu(), texts.cpu(), fits, ks=[1])


# ---- Training --------------------------------------------------------------------------------------------------------

TEXT_LR = 0.2  # the text encoder's learning rate as a share of the image encoder's, see make_optimizer


def make_optimizer(model, lr, weight_decay, text_lr=TEXT_LR):
    """AdamW with decoupled decay on weights that are not gains, biases or the scale: on all of two axes or more
    (Section 2.5). The text encoder's rate is a fifth: at the full one it runs away from an image encoder that has
    nothing to tell it yet; in batches of names alone nothing was learned in 250 steps, at a tenth 44 % of 100 names."""
    groups = {}
    for name, parameter in model.named_parameters():
        decay = weight_decay if parameter.ndim >= 2 else 0.0
        factor = 1.0 if name.startswith("visual") or name == "logit_scale" else text_lr
        if parameter.requires_grad:
            groups.setdefault((decay, factor), []).append(parameter)
    return torch.optim.AdamW([{"params": parameters, "weight_decay": decay, "factor": factor}
                              for (decay, factor), parameters in groups.items()],
                             lr=lr, betas=(0.9, 0.98), eps=1e-6, fused=True)  # the ViTs' of Table 18


def learning_rate(step, steps, peak, warmup):
    """Linear warm-up, then half a cosine to zero."""
    cosine = math.cos(math.pi * (step - warmup) / max(1, steps - warmup))
    return peak * ((step + 1) / warmup if step < warmup else (1 + cosine) / 2)


def processes():
    """-> (number of this process, how many there are): one, unless torchrun has started more."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def total(x):
    """A tensor, in place -> its sum over all processes."""
    if dist.is_initialized():
        dist.all_reduce(x)
    return x


class Towers(torch.nn.Module):
    """Both encoders and the scale in one forward, as DistributedDataParallel asks for; in mixed precision if told."""

    def __init__(self, model, precision):
        super().__init__()
        self.model, self.dtype = model, getattr(torch, precision, torch.float32)  # there is no torch.tf32

    def forward(self, images, tokens):
        images, scale = images.contiguous(memory_format=torch.channels_last), self.model.logit_scale
        with torch.autocast(images.device.type, self.dtype, enabled=self.dtype != torch.float32):
            I_f, T_f = self.model.encode_image(images), self.model.encode_text(tokens)
        return I_f.to(scale.dtype), T_f.to(scale.dtype), scale


def backward(towers, images, tokens, micro_batch, scaler):
    """Gradients of the loss of the whole batch, of which this process has b pairs -> its share of the loss.

    A pair's loss depends on all other pairs, so a batch can't be gone through piece by piece as for a classifier. But
    it depends on them by their features alone: all are computed first, without a graph; the loss gives the gradient of
    each; then each piece of micro_batch pairs is run again to pass its own on (Gao et al. 2021). Of the similarities a
    process computes the rows and columns of its pairs (Section 2.5). Batch norm sees a piece, not the whole batch."""
    (rank, world), b = processes(), len(images)
    pieces, mine = list(zip(images.split(micro_batch), tokens.split(micro_batch))), slice(rank * b, (rank + 1) * b)
    with torch.set_grad_enabled(len(pieces) == 1):  # a batch in one piece is run once
        outputs = [towers(*piece) for piece in pieces]
    *features, scales = zip(*outputs)
    features = [F.pad(torch.cat(x).detach(), (0, 0, rank * b, (world - 1 - rank) * b)) for x in features]
    I_f, T_f = (total(x).requires_grad_() for x in features)  # (B, E) twice, those of all processes
    scale = scales[0].detach().requires_grad_()
    loss = contrastive_loss(I_f, T_f, scale, mine)
    scaler.scale(loss).backward()
    shares = zip(*(total(x.grad)[mine].split(micro_batch) for x in (I_f, T_f)))  # the losses of all depend on each
    for i, (piece, share) in enumerate(zip(pieces, shares), 1):
        towers.require_backward_grad_sync = i == len(pieces)  # DistributedDataParallel averages once, at the last
        pairs = zip(towers(*piece) if len(pieces) > 1 else outputs[0], (*share, scale.grad / len(pieces)))
        torch.autograd.backward(*zip(*(pair for pair in pairs if pair[0].requires_grad)))  # the others are frozen
    return loss.detach()


def train(data, model, tokenizer, steps=1700, batch_size=256, lr=4e-3, weight_decay=0.1, warmup=50, text_lr=TEXT_LR,
          precision="float32", micro_batch=None, compiled=False, every=50, state=None, keep=None):
    """Train on data.batch(step, n), measure by data.evaluate -> history, a list of dicts, one for each `every` steps.

    keep(state) is called for each: another run goes on from there, to the same end, as batches depend on the seed and
    the step alone. ValueError for a batch of one, and where nothing was finite in `every` steps."""
    (rank, world), device = processes(), model.logit_scale.device
    optimizer = make_optimizer(model, lr, weight_decay, text_lr)
    scaler = torch.amp.GradScaler(device.type, 65536.0 if precision == "float16" else 1.0)
    parts, first, history, losses = {"model": model, "optimizer": optimizer, "scaler": scaler}, 0, [], []
    if state:
        first, history = state["step"], state["history"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
    towers = Towers(model, precision)
    if world > 1:
        synchronised = torch.nn.SyncBatchNorm.convert_sync_batchnorm
        towers = torch.nn.parallel.DistributedDataParallel(synchronised(towers) if device.type == "cuda" else towers)
    for encoder in (model.visual, model.transformer) if compiled else ():
        encoder.compile(dynamic=encoder is model.transformer or None)  # texts are as wide as the longest of their batch
    share = slice(rank * batch_size // world, (rank + 1) * batch_size // world)  # of each batch, for this process
    started = clock = time.time()
    for step in range(first, steps):
        if not losses:
            averages = {name: x.clone() for name, x in model.named_buffers()}  # of batch norm
        model.train().visual.train(model.visual.conv1.weight.requires_grad)  # those of a frozen encoder stay
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(step, steps, lr, warmup)
        images, captions = data.batch(step, batch_size, share)
        tokens = tokenizer(captions, model.config.context_length, truncate=True, pad=False).to(device)
        optimizer.zero_grad()
        losses.append(backward(towers, images, tokens, micro_batch or batch_size, scaler))
        scaler.step(optimizer)  # not where a gradient is infinite or no number
        scaler.update(None if precision == "float16" else 1.0)
        model.logit_scale.data.clamp_(max=math.log(100))  # found necessary for stability (Section 2.5)

        done = step + 1
        if done % every == 0 or done == steps:
            losses, now = total(torch.stack(losses)) / world, time.time()  # (every,)
            loss, skipped = losses[losses.isfinite()].mean(), done - int(optimizer.state[model.logit_scale]["step"])
            if skipped == len(losses) + sum(row["skipped"] for row in history[-1:]):
                raise ValueError(f"nothing finite in steps {done - len(losses) + 1} to {done}; try a lower --lr")
            for name, x in model.named_buffers():
                x.copy_(torch.where(x.isfinite(), x, averages[name]))  # where a skipped step has spoilt them
            row = {"step": done, "loss": loss.item(), "scale": model.logit_scale.exp().item(), "skipped": skipped,
                   "lr": learning_rate(step, steps, lr, warmup),
                   "images_per_second": len(losses) * batch_size / (now - clock)}
            left = round((now - started) / (done - first) * (steps - done))
            print(f"step {done:5d}/{steps}  loss {row['loss']:.3f} (a guess: {math.log(batch_size):.3f})  scale "
                  f"{row['scale']:5.1f}  lr {row['lr']:.1e}  {row['images_per_second']:5.0f} images/s  {left // 60}:"
                  f"{left % 60:02} left" + f"  {skipped} steps skipped" * (skipped > 0), flush=True)
            if done % (5 * every) == 0 or done == steps:
                model.eval()
                row["accuracy"] = {name: value for name, (value, _) in data.evaluate(model, tokenizer, 300).items()}
            history.append(row)
            if keep:
                keep({"step": done, "history": history} | {name: part.state_dict() for name, part in parts.items()})
            losses, clock = [], time.time()
    model.eval()
    return history


def demo(out, device):
    """Freshly drawn held-out scenes against every "a <colour> <object>": prints and draws the five most probable."""
    model, tokenizer = load(out / "clip.pt", device)
    images, captions = World(int(time.time()), device, model.config.image_resolution).examples(9, "single")
    labels = [article(f"{colour} {name}") for colour in COLOURS for name in OBJECTS]
    weights = zeroshot.zero_shot_classifier(model, tokenizer, labels)
    probabilities = zeroshot.classify(model, zeroshot.encode_images(model, images), weights).cpu()
    print(f"{len(labels)} labels; no pair of colour and object below was ever seen in training")
    for caption, row in zip(captions, probabilities):
        print(f"  {caption:45} ->  {row.max():5.1%} {labels[row.argmax()]}")
    figure = zeroshot.draw_probabilities(zeroshot.levels(images), captions, labels, probabilities)
    figure.savefig(out / "demo.png", dpi=150)
    print(f"drawn into {out / 'demo.png'}")


# ---- Command line ----------------------------------------------------------------------------------------------------


def parse(argv):
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="train_tiny.py", description=__doc__.split("\n\nLetters")[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--show", action="store_true", help="draw held-out images with full captions, and stop")
    add("--demo", action="store_true", help="show the trained model on freshly drawn scenes, and stop")
    add("--resume", action="store_true", help="go on with the interrupted run in --out; its settings hold")
    add("--data", metavar="DIR", help="train on the captioned images of this folder instead of the pictogram world")
    add("--captions-from-names", action="store_true", help="with --data: file and folder names are the captions")
    add("--out", default="runs/tiny", metavar="DIR", help="where results go (default: %(default)s)")
    add("--model", default="tiny-RN", choices=CONFIGS, help="from scratch (default: %(default)s)")
    add("--init", metavar="CKPT", help="or from the weights of a published model (ViT-B/32, ...) or of a file")
    add("--freeze", choices=["image", "text"], help="with --init: leave this encoder as it is")
    add("--steps", type=int, default=1700, help="default: %(default)s; batches of names end at 1300 whatever it is")
    add("--batch-size", type=int, default=256, help="pairs in a step, of all processes (default: %(default)s)")
    add("--micro-batch", type=int, metavar="N", help="run the encoders on N pairs at a time: less memory, more time")
    add("--lr", type=float, help="highest, of the image encoder (default: 4e-3, with --init 1e-5; tiny-ViT: 2e-3)")
    add("--weight-decay", type=float, default=0.1, help="default: %(default)s")
    add("--warmup", type=int, default=50, metavar="STEPS", help="default: %(default)s")
    add("--seed", type=int, default=0, help="of the weights and of the data (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default here: %(default)s")
    add("--precision", choices=["float32", "tf32", "bfloat16", "float16"], default="float32", help="of the encoders")
    add("--checkpointing", action="store_true", help="recompute activations: less memory, more time")
    add("--compile", action="store_true", help="let torch.compile write kernels: a slow start, then faster on a GPU")
    args = parser.parse_args(argv)
    args.lr, args.text_lr = args.lr or (1e-5 if args.init else 4e-3), 1.0 if args.init else TEXT_LR
    if min(args.steps, args.batch_size, args.micro_batch or 2) < 2:
        parser.error("--steps, --batch-size and --micro-batch must be at least 2")
    if args.captions_from_names and not args.data or args.freeze and not args.init:
        parser.error("--captions-from-names needs --data, and --freeze needs --init")
    return args


def main(argv=None):
    """The command line. Exit status 2 and one line for what can't be done."""
    args = parse(argv)
    try:
        zeroshot.check_device(args.device)
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:  # started by torchrun
            if args.device == "cuda":
                args.device = f"cuda:{os.environ['LOCAL_RANK']}"
                torch.cuda.set_device(args.device)
            dist.init_process_group()
            sys.stdout = open(os.devnull, "w") if dist.get_rank() else sys.stdout  # the first process speaks
        run(args)
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "peer" not in str(error):  # which tells of a process that has ended
            if not isinstance(error := error.__context__, OSError):  # a full disk, which torch.save calls otherwise
                raise
        print(f"train_tiny.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nstopped; go on with: python train_tiny.py --resume --out {args.out}", file=sys.stderr)
        return 130
    return 0


def restore(out, device):
    """The last state of an interrupted run; where that is damaged, the one before it."""
    states = {}
    for path in out.glob("state.?.pt"):
        try:
            if damaged := zipfile.ZipFile(path).testzip():  # checksums, at which torch.load does not look
                raise ValueError(f"{damaged} has changed")
            state = torch.load(path, map_location=device, weights_only=True)
            states[state["step"]] = state
        except Exception as error:  # whatever a damaged file makes its readers raise
            print(f"{path} is damaged ({' '.join(str(error).split())[:99]}); trying the other one", file=sys.stderr)
    if not states:
        raise FileNotFoundError(f"{out}: no interrupted run to go on with")
    return states[max(states)]


def run(args):
    """What main does, errors let through."""
    out, config, state, weights, (rank, world) = Path(args.out), CONFIGS[args.model], None, None, processes()
    if args.demo:
        return demo(out, args.device)
    if args.resume:
        state = restore(out, args.device)
        args = argparse.Namespace(**vars(args) | state["settings"])
        config, tokenizer = CLIPConfig(**state["config"]), Tokenizer(state["merges"])
    elif args.init:
        source, tokenizer = load(args.init)
        config, weights = source.config, source.state_dict()
    if args.data:
        data = zeroshot.Folder(args.data, config.image_resolution, args.seed, args.device, args.captions_from_names,
                               memory=2e9 / world)
        args.batch_size = min(args.batch_size, len(data.train))
    else:
        data = World(args.seed, args.device, config.image_resolution)
    args.batch_size = max(1, args.batch_size // world) * world  # an equal share for each process
    out.mkdir(parents=True, exist_ok=True)
    if args.show:
        images, captions = data.examples(48)
        zeroshot.draw_sheet(zeroshot.levels(images), captions).savefig(out / "show.png", dpi=120)
        return print(f"drawn into {out / 'show.png'}")

    texts = data.texts()
    key = f"{len(texts)} captions with checksum {zlib.crc32(repr(texts).encode()):08x}"
    if state and state["data"] != key:
        raise ValueError(f"the data have changed since the run began: {key}, and there were {state['data']}")
    if not state and not args.init:
        tokenizer = Tokenizer.train(texts, config.vocab_size)
        config = dataclasses.replace(config, vocab_size=len(tokenizer.vocab))
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high" if args.precision == "tf32" else "highest")
    model = CLIP(config, args.checkpointing)
    model.load_state_dict(weights or model.state_dict())
    model.to(args.device, memory_format=torch.channels_last)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name == "logit_scale" or args.freeze != ("image" if "visual." in name else "text"))
    see, both = (sum(p.numel() for p in module.parameters()) / 1e6 for module in (model.visual, model))
    print(f"{args.init or args.model} on {args.device}, seed {args.seed}: {see:.2f}M parameters to see, "
          f"{both - see:.2f}M to read, {args.freeze or 'no'} encoder frozen; vocabulary {config.vocab_size}, longest "
          f"caption {max(len(tokenizer.encode(text)) for text in texts) + 2} tokens, batches of {args.batch_size}; "
          f"torch {torch.__version__}, {world} x {torch.get_num_threads()} threads", flush=True)
    settings = {name: value for name, value in vars(args).items() if name not in ("resume", "out", "device")}
    more = dict(settings=settings, merges=tokenizer.merges, config=dataclasses.asdict(config), data=key)
    log, started = out / "log.jsonl", time.time()
    for old in () if rank else [*out.glob("*.pt.*.tmp"), *(() if state else out.glob("state.?.pt"))]:
        old.unlink()

    def keep(state):  # two files take turns, so that whatever happens to the last state there is one before it
        write(out / f"state.{len(state['history']) % 2}.pt", lambda file: torch.save(state | more, file))
        log.write_text("".join(json.dumps(row) + "\n" for row in (settings, *state["history"])))

    history = train(data, model, tokenizer, args.steps, args.batch_size, args.lr, args.weight_decay, args.warmup,
                    args.text_lr, args.precision, args.micro_batch, args.compile, 50, state, None if rank else keep)
    if rank:
        return
    print(f"trained in {(time.time() - started) / 60:.1f} minutes{' since it was resumed' if args.resume else ''}\n\n"
          "on held-out pairs, never seen in training:")
    save(out / "clip.pt", model, tokenizer)
    results = data.evaluate(model, tokenizer)
    for name, (value, chance) in results.items():
        print(f"  {name:20}{value:7.1%}   chance {chance:.1%}")
    log.write_text("".join(json.dumps(row) + "\n" for row in (settings, *history, {"results": results})))
    zeroshot.draw_curves(history, args.batch_size, results).savefig(out / "curves.png", dpi=120)
    similarity = zeroshot.draw_similarity(model, tokenizer, *data.examples(12))
    similarity.savefig(out / "similarity.png", dpi=120, bbox_inches="tight")
    use = f"zeroshot.py IMAGE --labels TEXT --model {out}/clip.pt" if args.data else f"train_tiny.py --demo --out {out}"
    print(f"\nin {out}: clip.pt, log.jsonl, curves.png, similarity.png; next: python {use}")


if __name__ == "__main__":
    sys.exit(main())
