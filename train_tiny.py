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
import platform
import signal
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

import zeroshot
from clip_minimal import (CLIP, CONFIGS, Tokenizer, contrastive_loss, crop_square, load, normalize, save, write)

FONT = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")

# ---- The pictogram world: scenes of coloured pictograms, each with a caption -----------------------------------------

OBJECTS = {  # 100 names and the characters of the font that show them
    "sun": "☀", "cloud": "☁", "umbrella": "☂", "snowman": "☃", "comet": "☄", "star": "★", "moon": "☾",
    "snowflake": "❄", "lightning bolt": "⚡", "starburst": "✺", "cat": "🐱", "mouse": "🐭", "cow": "🐮", "monkey": "🐵",
    "shamrock": "☘", "tulip": "⚘", "daisy": "✿", "ivy leaf": "❦", "happy face": "☺", "sad face": "☹", "angel": "😇",
    "devil": "😈", "sleeping face": "😴", "masked face": "😷", "crying face": "😭", "skull": "☠", "pointing hand": "☛",
    "victory hand": "✌", "writing hand": "✍", "house": "⌂", "keyboard": "⌨", "telephone": "☎", "teacup": "☕",
    "wheelchair": "♿", "die": "⚄", "flag": "⚑", "anchor": "⚓", "balance": "⚖", "alembic": "⚗", "gear": "⚙",
    "coffin": "⚰", "vase": "⚱", "pair of scissors": "✂", "film reel": "✇", "airplane": "✈", "envelope": "✉",
    "pencil": "✎", "fountain pen": "✒", "ship's wheel": "☸", "hot spring": "♨", "trident": "♆", "bow tie": "⧓",
    "chess king": "♚", "chess queen": "♛", "chess rook": "♜", "chess bishop": "♝", "chess knight": "♞",
    "chess pawn": "♟", "spade": "♠", "club": "♣", "heart": "♥", "diamond": "♦", "radiation sign": "☢",
    "biohazard sign": "☣", "warning sign": "⚠", "peace sign": "☮", "recycling sign": "♻", "female sign": "♀",
    "male sign": "♂", "infinity sign": "∞", "ankh": "☥", "yin yang": "☯", "crescent": "☪", "star of David": "✡",
    "Maltese cross": "✠", "cross": "✝", "fleur-de-lis": "⚜", "atom": "⚛", "check mark": "✔", "cross mark": "✘",
    "plus sign": "✚", "asterisk": "✱", "arrow": "➜", "question mark": "?", "exclamation mark": "!", "ampersand": "&",
    "dollar sign": "$", "percent sign": "%", "at sign": "@", "eighth note": "♪", "pair of notes": "♫",
    "sharp sign": "♯", "flat sign": "♭", "square": "■", "triangle": "▲", "circle": "●", "pentagon": "⬟",
    "parallelogram": "▰", "target": "◎", "grid": "▦",
}
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
KINDS = {"single": 6, "placed": 2, "counted": 3, "related": 2}  # of scenes, and how often each is drawn
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
    font, masks = ImageFont.truetype(str(font), 8 * size), []
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

    names_until = 1300  # until this step every third batch names its objects and says nothing else, see `batch`

    def __init__(self, seed=0, device="cpu", resolution=48):
        self.seed, self.device, self.resolution = seed, device, resolution
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

        weights = np.array(list(KINDS.values())) / sum(KINDS.values())
        kind = np.full(n, list(KINDS).index(kind)) if kind else rng.choice(4, n, p=weights)
        size, place, relation = rng.integers(3, size=n), rng.integers(9, size=n), rng.integers(4, size=n)
        count = np.choose(kind, [1, 1, rng.integers(1, 5, n), 2])
        obj = rng.integers(len(OBJECTS), size=(n, 4))
        obj[:, 1] = (obj[:, 0] + rng.integers(1, len(OBJECTS), n)) % len(OBJECTS)  # two related ones are different
        allowed = (self.held_out if held_out else ~self.held_out)[obj]  # (n, 4, 12)
        background = pick((allowed[:, :2] @ self.shows).all(1))  # on it both have a colour that shows
        colour = pick(allowed & self.shows.T[background][:, None])  # (n, 4)
        same = kind == 2
        obj[same], colour[same] = obj[same, :1], colour[same, :1]

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
                "count": count, "object": obj, "colour": colour, "centre": 24 + offset, "side": side,
                "shade": rng.normal(0, 0.02, (n, 4, 3))}

    def draw(self, scenes):
        """-> images (n, 3, R, R) from 0 to 1: first sprites of all scenes at once, then second ones, to the fourth."""
        R = self.resolution
        pixel, cell = (torch.arange(n, device=self.device) for n in (R, 32))
        upper, lower = self.backgrounds[torch.from_numpy(scenes["background"]).to(self.device)].unbind(1)  # (n, 3)
        down = torch.linspace(0, 1, R, device=self.device)[:, None]  # (R, 1)
        image = torch.lerp(upper[:, :, None, None], lower[:, :, None, None], down).repeat(1, 1, 1, R)  # (n, 3, R, R)
        for sprite in range(4):
            row = np.nonzero(scenes["count"] > sprite)[0]  # (s,) scenes that have it
            obj, colour = (torch.from_numpy(scenes[key][row, sprite]).to(self.device) for key in ("object", "colour"))
            centre, side, shade = (torch.from_numpy(scenes[key][row, sprite]).float().to(self.device)
                                   for key in ("centre", "side", "shade"))
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
                name = objects[lists["object"][i][j]]
                number, name = counted(count, name).split(" ", 1) if kind == 2 else ("", name)
                phrase = " ".join(filter(None, (number, size, colour, name)))
                return phrase if kind == 2 else article(phrase)

            caption = noun(0)
            if kind == 1:
                caption += " " + PLACES[lists["place"][i]]
            if kind == 3:
                caption += f" {list(RELATIONS)[lists['relation'][i]]} {noun(1)}"
            caption = ("a picture of ", "a drawing of ", "", "", "", "", "", "", "", "")[int(10 * chance[2])] + caption
            if chance[3] < mentions["background"]:
                where = backgrounds[lists["background"][i]]
                caption = f"{where}, {caption}" if chance[4] < 0.3 else f"{caption} {where}"
            captions.append(caption)
        return captions

    def batch(self, step, n):
        """Training pairs of one step -> normalised images (n, 3, R, R) on the device, n captions.

        The loss learns what tells the pairs of a batch apart, and no more. Where colours and backgrounds do, a hundred
        names come slowly; where names alone do, colours hardly come: so until `names_until` they take turns."""
        rng, names_only = self.rng(0, step), step < self.names_until and step % 3 == 0
        scenes = self.scenes(rng, n, "single" if names_only else None)
        return normalize(self.draw(scenes)), self.captions(scenes, rng, NAMES_ONLY if names_only else MENTIONS)

    def texts(self):
        """Captions for the tokenizer to learn from."""
        return self.captions(self.scenes(self.rng(2), 10_000), self.rng(2, 1))

    def examples(self, n):
        """Held-out pairs to look at -> normalised images (n, 3, R, R), n full captions, all different."""
        scenes = self.scenes(self.rng(1, 6), n, held_out=True)
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
        fits = torch.tensor([[a == b for b in captions] for a in captions])  # equal captions are both right
        texts = zeroshot.encode_texts(model, tokenizer, captions)
        return results | zeroshot.retrieval(features.cpu(), texts.cpu(), fits, ks=[1])


# ---- Your own pictures -----------------------------------------------------------------------------------------------


class Folder:
    """Captioned images of a folder, decoded once and kept in memory as bytes. A tenth of them, at most 500, is held
    out; the split is by image, so that no caption of a held-out image is ever trained on."""

    def __init__(self, root, resolution, seed=0, device="cpu", from_names=False):
        self.seed, self.device, self.resolution = seed, device, resolution
        captions, self.problems = zeroshot.read_captions(root, from_names)
        pixels, self.captions = [], []
        for i, (path, texts) in enumerate(captions.items(), 1):
            try:  # a little larger than the model sees: training crops at random (Section 2.4)
                pixels.append(np.array(crop_square(zeroshot.open_image(path), resolution * 7 // 6)))
                self.captions.append(texts)
            except (ValueError, OSError) as error:
                self.problems.append(str(error))
            if i % 100 == 0 or i == len(captions):
                print(f"\rread {i} of {len(captions)} images", end="\n" * (i == len(captions)), file=sys.stderr)
        if len(pixels) < 20:
            raise ValueError(f"{root}: {len(pixels)} images with captions, and at least 20 are needed; left out: "
                             + ("; ".join(self.problems[:3]) or "nothing") + "; --help tells the layouts")
        self.pixels = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()  # (N, 3, 7R/6, 7R/6), bytes
        order = np.random.default_rng(seed).permutation(len(pixels))
        self.test, self.train = np.split(order, [min(500, len(order) // 10)])
        for problem in self.problems:
            print(f"left out: {problem}", file=sys.stderr)
        print(f"{len(self.train)} images to train on with {len(self.texts())} captions, {len(self.test)} held out")

    def crop(self, index, rng=None):
        """Images -> normalised (n, 3, R, R): a random window of R x R pixels each, or the middle one without rng."""
        R, margin = self.resolution, self.pixels.shape[-1] - self.resolution
        size = len(index), 2
        corner = np.full(size, margin // 2) if rng is None else rng.integers(margin + 1, size=size)
        windows = [self.pixels[i, :, y:y + R, x:x + R] for i, (y, x) in zip(index, corner)]
        return normalize(torch.stack(windows).to(self.device) / 255)  # (n, 3, R, R)

    def batch(self, step, n):
        """As World.batch. Each epoch is a permutation; of an image's captions one is drawn each time."""
        epoch, place = divmod(step, max(1, len(self.train) // n))
        index = np.random.default_rng((self.seed, 0, epoch)).permutation(self.train)[place * n:][:n]
        rng = np.random.default_rng((self.seed, 1, step))
        return self.crop(index, rng), [rng.choice(self.captions[i]) for i in index]

    def texts(self):
        """Captions for the tokenizer to learn from."""
        return [caption for i in self.train for caption in self.captions[i]]

    def examples(self, n):
        """Held-out pairs to look at -> normalised images (n, 3, R, R), n captions."""
        return self.crop(self.test[:n]), [self.captions[i][0] for i in self.test[:n]]

    def evaluate(self, model, tokenizer, n=500):
        """Retrieval both ways among held-out images and all their captions -> {name: (value, chance)}."""
        index = self.test[:n]
        texts = sorted({caption for i in index for caption in self.captions[i]})
        fits = torch.tensor([[text in self.captions[i] for text in texts] for i in index])  # (n, texts)
        return zeroshot.retrieval(zeroshot.encode_images(model, self.crop(index)).cpu(),
                                  zeroshot.encode_texts(model, tokenizer, texts, truncate=True).cpu(), fits)


# ---- Training --------------------------------------------------------------------------------------------------------

TEXT_LR = 0.2  # the text encoder's learning rate as a share of the image encoder's, see make_optimizer


def make_optimizer(model, lr, weight_decay):
    """AdamW with decoupled decay on weights that are not gains, biases or the scale: on all of two axes or more
    (Section 2.5). The text encoder's rate is a fifth: at the full one it runs away from an image encoder that has
    nothing to tell it yet; in batches of names alone nothing was learned in 250 steps, at a tenth 44 % of 100 names."""
    groups = {}
    for name, parameter in model.named_parameters():
        decay = weight_decay if parameter.ndim >= 2 else 0.0
        factor = 1.0 if name.startswith("visual") or name == "logit_scale" else TEXT_LR
        groups.setdefault((decay, factor), []).append(parameter)
    return torch.optim.AdamW([{"params": parameters, "weight_decay": decay, "factor": factor}
                              for (decay, factor), parameters in groups.items()],
                             lr=lr, betas=(0.9, 0.98), eps=1e-6, fused=True)  # the ViTs' of Table 18


def learning_rate(step, steps, peak, warmup):
    """Linear warm-up, then half a cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def train(data, model, tokenizer, steps=2000, batch_size=256, lr=4e-3, weight_decay=0.1, warmup=50, bfloat16=False,
          every=50, state=None, keep=None, stop=()):
    """Train on data.batch(step, n), measure by data.evaluate -> history, a list of dicts, one for each `every` steps.

    keep(state) is called at each evaluation; the last state makes another run go on from there. A run ends early, with
    its state kept, once something is put into the list stop. ValueError for a batch of one."""
    device, context = model.logit_scale.device, model.config.context_length
    optimizer = make_optimizer(model, lr, weight_decay)
    first, history, losses = 0, [], []
    if state:
        first, history = state["step"], state["history"]
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    model.train()
    started = clock = time.time()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(step, steps, lr, warmup)
        images, captions = data.batch(step, batch_size)
        tokens = tokenizer(captions, context, truncate=True, pad=False).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            image_features = model.encode_image(images.contiguous(memory_format=torch.channels_last))
            text_features = model.encode_text(tokens)
        loss = contrastive_loss(image_features.float(), text_features.float(), model.logit_scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.logit_scale.data.clamp_(max=math.log(100))  # found necessary for stability (Section 2.5)

        losses.append(loss.detach())
        done, stopping = step + 1, bool(stop)
        if done % every == 0 or done == steps or stopping:
            now = time.time()
            row = {"step": done, "loss": torch.stack(losses).mean().item(), "scale": model.logit_scale.exp().item(),
                   "lr": learning_rate(step, steps, lr, warmup),
                   "images_per_second": len(losses) * len(images) / (now - clock)}
            left = round((now - started) / (done - first) * (steps - done))
            print(f"step {done:5d}/{steps}  loss {row['loss']:.3f} (a guess: {math.log(len(images)):.3f})  scale "
                  f"{row['scale']:5.1f}  lr {row['lr']:.1e}  {row['images_per_second']:5.0f} images/s  "
                  f"{left // 60}:{left % 60:02} left", flush=True)
            if done % (5 * every) == 0 or done == steps:
                model.eval()
                row["accuracy"] = {name: value for name, (value, _) in data.evaluate(model, tokenizer, 300).items()}
                model.train()
            history.append(row)
            if keep and ("accuracy" in row or stopping):
                keep(dict(step=done, history=history, model=model.state_dict(), optimizer=optimizer.state_dict()))
            losses, clock = [], time.time()
        if stopping:
            break
    model.eval()
    return history


def draw_curves(history, batch_size, results):
    """Loss, accuracy and scale against the number of steps -> matplotlib figure."""
    figure = Figure(figsize=(14, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    steps, measured = [row["step"] for row in history], [row for row in history if "accuracy" in row]
    left.plot(steps, [row["loss"] for row in history])
    left.axhline(math.log(batch_size), color="gray", linestyle=":", label=f"a guess: ln {batch_size}")
    left.set(xlabel="step", ylabel="contrastive loss (nats)", ylim=(0, None))
    for i, (name, (_, chance)) in enumerate(results.items()):
        middle.plot([row["step"] for row in measured], [row["accuracy"][name] for row in measured], "o-", markersize=3,
                    label=name, color=f"C{i}")
        middle.axhline(chance, linestyle=":", color=f"C{i}", linewidth=1)
    middle.set(xlabel="step", ylabel="on held-out pairs (dotted: chance)", ylim=(0, 1.02))
    right.plot(steps, [row["scale"] for row in history])
    right.set(xlabel="step", ylabel="scale of the logits, exp(logit_scale)", ylim=(0, None))
    left.legend()
    middle.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def demo(out, seed, device):
    """Freshly drawn held-out scenes against every "a <colour> <object>": prints and draws the five most probable."""
    model, tokenizer = load(out / "clip.pt", device)
    world = World(seed, device)
    rng = world.rng(3, int(time.time()))
    scenes = world.scenes(rng, 9, "single", held_out=True)
    images, captions = normalize(world.draw(scenes)), world.captions(scenes, rng, EVERYTHING)
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
    add("--steps", type=int, default=2000, help="default: %(default)s; batches of names end at 1300 whatever it is")
    add("--batch-size", type=int, default=256, help="pairs in a step (default: %(default)s)")
    add("--lr", type=float, default=4e-3, help="highest, of the image encoder (default: %(default)s; tiny-ViT: 2e-3)")
    add("--weight-decay", type=float, default=0.1, help="default: %(default)s")
    add("--warmup", type=int, default=50, metavar="STEPS", help="default: %(default)s")
    add("--seed", type=int, default=0, help="of the weights and of the data (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default here: %(default)s")
    add("--bfloat16", action="store_true", help="autocast; weights stay float32")
    add("--checkpointing", action="store_true", help="recompute activations: less memory, more time")
    args = parser.parse_args(argv)
    for name in ("steps", "batch_size"):
        if getattr(args, name) < 2:
            parser.error(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must be at least 2")
    if args.captions_from_names and not args.data:
        parser.error("--captions-from-names needs --data")
    return args


def main(argv=None):
    """The command line. Exit status 2 and one line for what can't be done."""
    args = parse(argv)
    try:
        return run(args)
    except (ValueError, OSError) as error:
        print(f"train_tiny.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def run(args):
    """What main does, errors let through."""
    out, state = Path(args.out), None
    zeroshot.check_device(args.device)
    if args.demo:
        demo(out, args.seed, args.device)
        return 0
    if args.resume:
        if not (out / "state.pt").exists():
            raise FileNotFoundError(f"{out / 'state.pt'}: no interrupted run to go on with")
        state = torch.load(out / "state.pt", map_location=args.device, weights_only=True)
        args = argparse.Namespace(**{**vars(args), **state["settings"]})
    out.mkdir(parents=True, exist_ok=True)
    config = CONFIGS[args.model]
    if args.data:
        data = Folder(args.data, config.image_resolution, args.seed, args.device, args.captions_from_names)
        args.batch_size = min(args.batch_size, len(data.train))
    else:
        data = World(args.seed, args.device, config.image_resolution)
    if args.show:
        images, captions = data.examples(48)
        zeroshot.draw_sheet(zeroshot.levels(images), captions).savefig(out / "show.png", dpi=120)
        print(f"drawn into {out / 'show.png'}")
        return 0

    torch.manual_seed(args.seed)
    tokenizer = Tokenizer(state["merges"]) if state else Tokenizer.train(data.texts(), config.vocab_size)
    config = dataclasses.replace(config, vocab_size=len(tokenizer.vocab))
    model = CLIP(config, args.checkpointing).to(args.device, memory_format=torch.channels_last)
    see, both = (sum(p.numel() for p in module.parameters()) / 1e6 for module in (model.visual, model))
    print(f"{args.model} on {args.device}, seed {args.seed}: {see:.2f}M parameters to see, {both - see:.2f}M to read, "
          f"vocabulary of {config.vocab_size}; Python {platform.python_version()}, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads", flush=True)
    settings = {name: value for name, value in vars(args).items() if name not in ("resume", "out", "device")}
    more = {"settings": settings, "merges": tokenizer.merges}
    stop, started = [], time.time()
    handler = signal.signal(signal.SIGINT, lambda *_: stop.append(True))  # Ctrl-C: finish the step, keep the run
    try:
        history = train(data, model, tokenizer, args.steps, args.batch_size, args.lr, args.weight_decay, args.warmup,
                        args.bfloat16, 50, state,
                        lambda x: write(out / "state.pt", lambda file: torch.save(x | more, file)), stop)
    finally:
        signal.signal(signal.SIGINT, handler)
    if history[-1]["step"] < args.steps:
        print(f"stopped after step {history[-1]['step']}; go on with: python train_tiny.py --resume --out {out}")
        return 130
    print(f"trained in {(time.time() - started) / 60:.1f} minutes" + " since it was resumed" * args.resume)
    finish(data, model, tokenizer, history, settings, out)
    return 0


def finish(data, model, tokenizer, history, settings, out):
    """The checkpoint, the table of results, the log and the pictures."""
    save(out / "clip.pt", model, tokenizer)
    results = data.evaluate(model, tokenizer)
    print("\non held-out pairs, never seen in training:")
    for name, (value, chance) in results.items():
        print(f"  {name:20}{value:7.1%}   chance {chance:.1%}")
    (out / "log.json").write_text(json.dumps({"settings": settings, "history": history, "results": results}, indent=1))
    draw_curves(history, settings["batch_size"], results).savefig(out / "curves.png", dpi=120)
    similarity = zeroshot.draw_similarity(model, tokenizer, *data.examples(12))
    similarity.savefig(out / "similarity.png", dpi=120, bbox_inches="tight")
    print(f"\nin {out}: clip.pt, log.json, curves.png, similarity.png; next: python " + (
        f"zeroshot.py IMAGE --labels TEXT ... --model {out / 'clip.pt'}" if settings["data"] else
        f"train_tiny.py --demo --out {out}"))


if __name__ == "__main__":
    sys.exit(main())
