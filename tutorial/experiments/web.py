"""A web in miniature: 451 named things at Zipf's frequencies, in many styles, with captions that tell of everything.

    python tutorial/experiments/web.py                     train on it; results in runs/web
    python tutorial/experiments/web.py --show              a contact sheet: held-out pairs, full captions
    python tutorial/experiments/web.py --steps 1000 --seed 1 --out runs/web1
    python tutorial/experiments/web.py --resume            go on with a run that was stopped

The pictogram world of train_tiny.py shows a hundred things equally often, in one style. On the web a few
things are seen all the time and most hardly ever; pictures are photos, drawings, prints, blurred and grey
ones; and captions use one word for several things and several words for one. The experiments train on
this stream, which has all of that: a run of batches of 256 leaves its model also in runs/experiments, where
the experiments look for the one of its seed and steps.

Kept out, so that there is something to be measured on: a twelfth of the pairs of thing and colour; two
families of fonts; a style, `CONTROL`; the grounds and the layouts of tasks.py; and every word of the tasks
in `SILENT`.

Letters in shape comments: n scenes, s sprites, R resolution, G grounds, N things, M masks, E joint embedding.
"""
import argparse
import math
import os
import re
import sys
import time
import unicodedata
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.ft2font import FT2Font

if __name__ == "__main__":
    # figures are drawn into files: the backend that this variable names is not needed, and may not be installed
    os.environ.pop("MPLBACKEND", None)
sys.path.append(str(Path(__file__).resolve().parents[2]))
import zeroshot
from clip_minimal import CLIP, CONFIGS, MEAN, STD, Tokenizer, normalize, save
from common import OF_MODELS, code_key, write_table, zero_shot
from tasks import TASKS, examples, polygon, shape
from train_tiny import (BEGINNINGS, COLOURS, COUNTED, EVALUATION, EVERY, FONT, OBJECTS, PLACED, PLACES, PLURALS,
                        RELATED, RELATIONS, SINGLE, SIZES, TEXTS, TRAINING, World, article, caption_accuracy, choose,
                        class_accuracy, draw_curves, join, keep_state, plural, render, train)
from tutorial.extras.pictures import figure_path, print_anything, save_figure
from tutorial.extras.runs import check_place, restore, write_log

STEPS = 3000  # of a training
FOR_EXPERIMENTS = Path(__file__).resolve().parents[2] / "runs/experiments"

# ---- Kinds of scenes, styles, and what captions tell; the tables of things are below -------------

# kinds of scenes, and how often each is drawn; the first four are those of train_tiny.py
KINDS = {"single": 0.4, "placed": 0.08, "counted": 0.12, "related": 0.14,
         "paired": 0.08, "labelled": 0.06, "texture": 0.06, "flag": 0.06}
PAIRED, LABELLED, TEXTURE, FLAG = range(4, 8)  # their numbers
SPRITES = 6  # in one picture at most
FORMS = 12  # masks that are noted of each thing
VARIANTS = 16  # of each ground, and of each texture

# styles, and what a caption says of a picture in each; the usual one has no name
STYLES = {
    "": "{}", "outline": "an outline of {}", "bold": "{} in bold", "italics": "{} in italics",
    "turned": "{} turned around", "font": "{} in another font", "blur": "a blurred picture of {}",
    "pixels": "a pixelated picture of {}", "grain": "a grainy picture of {}",
    "grey": "a black and white picture of {}", "inverted": "a negative of {}"}
USUAL, OUTLINE, BOLD, ITALICS, TURNED, OTHER_FONT, BLUR, PIXELS, GRAIN, GREY, INVERTED = range(len(STYLES))
STYLED = 0.4  # of all pictures are in another style than the usual one
CONTROL = "occlusion"  # a style in which only tasks.py draws

# Fonts beside DejaVuSans. Its oblique face is not among them: it draws an anchor or a flag as its monospaced one does.
FONTS = ["DejaVuSans-Bold", "STIXGeneral", "cmr10", "cmtt10", "STIXGeneralBol", "STIXGeneralItalic"]
KEPT_OUT_FONTS = "DejaVuSansMono", "DejaVuSerif"  # the beginnings of their files' names

# how often a caption tells what could be told; a bare one tells neither size, colour nor ground
MENTIONS = {"bare": 0.3, "size": 0.25, "colour": 0.8, "ground": 0.5, "style": 0.5,
            "category": 0.1, "category of homonym": 0.5}
EVERYTHING = {"bare": 0, "size": 0.25, "colour": 1, "ground": 1, "style": 1,
              "category": 0, "category of homonym": 1}
SILENT = ["satellite", "cells", "clock hours", "star points", "unseen objects", "house numbers", "currencies",
          "planets", "reviews"]  # tasks of whose classes no caption tells

# ---- The stream ----------------------------------------------------------------------------------


class Web(World):
    """The stream: scenes as in World, and their captions; the same for the same seed and step.

    The n-th commonest thing has a weight of 1 / n ** exponent; with an exponent of 0 all are as common.
    Evaluation shows all things equally often, in colours that training shows them in never.
    """

    def __init__(self, seed=0, device="cpu", resolution=48, mean=MEAN, std=STD, exponent=1.0):
        super().__init__(seed, device, resolution, mean, std)
        self.exponent = exponent
        # what scenes are composed of
        masks, self.usual, self.others = draw_masks()  # two (N, FORMS), the numbers of a thing's masks
        self.masks = masks.to(device)  # (M, 32, 32)
        self.textures = draw_textures(resolution).to(device)  # (textures, VARIANTS, R, R)
        self.grounds = draw_grounds(resolution).to(device)  # (G, 3, R, R)
        self.shows = find_colours_that_show(resolution)  # (12, G)
        # of each thing one colour is held out; if train_tiny.py has the thing, too, the same one as there
        numbers = np.arange(len(NAMES))
        for thing, name in enumerate(NAMES):
            if name in OBJECTS:
                numbers[thing] = list(OBJECTS).index(name)
        colour = 5 * numbers % 12
        self.held_out = np.arange(12) == colour[:, None]  # (N, 12)

    def batch(self, step, n):
        """The n training pairs of a step -> normalised images (n, 3, R, R) on the device, n captions."""
        rng = self.rng(TRAINING, step)
        scenes = self.scenes(rng, n)
        self.mirror(scenes)
        captions = self.captions(scenes, rng)
        return normalize(self.draw(scenes), self.mean, self.std), captions

    def texts(self):
        """30,000 captions for the tokenizer to learn from."""
        scenes = self.scenes(self.rng(TEXTS), 30_000)
        return self.captions(scenes, self.rng(TEXTS, 1))

    def examples(self, n, kind=None):
        """Held-out pairs to look at -> normalised images (n, 3, R, R), n captions that tell everything."""
        scenes = self.scenes(self.rng(EVALUATION, 20), n, kind, held_out=True)
        captions = self.captions(scenes, self.rng(EVALUATION, 21), EVERYTHING)
        return normalize(self.draw(scenes), self.mean, self.std), captions

    def captions(self, scenes, rng, mentions=MENTIONS):
        """A sentence for each scene; `mentions` says how often colours, grounds and so on are told."""
        n = len(scenes["kind"])
        chances = rng.random((n, 10)).tolist()
        lists = {key: array.tolist() for key, array in scenes.items()}
        captions = []
        for i in range(n):
            scene = {key: values[i] for key, values in lists.items()}
            captions.append(caption_of(scene, chances[i], mentions))
        return captions

    # ---- What scenes show ----

    def scenes(self, rng, n, kind=None, held_out=False, style=None):
        """What n scenes show -> a dict of arrays. A scene shows the first `count` of its six sprites.

        kind, ground, style, size, place, relation, count   (n,), numbers in the order of the tables
        design                                              (n,), the number of a texture or of a flag
        turn, grain                                         (n,), an angle and what noise begins with
        object, mask, colour                                (n, 6), of each sprite
        centre, side                                        (n, 6, 2) and (n, 6), in 48ths of the image
        shade                                               (n, 6, 3), what is added to the colour

        `kind` is the name of the only kind of scene wanted, `style` the number of the only style. With
        held_out=True all pairs of colour and thing are held-out ones, otherwise none.
        """
        # what a scene is
        if kind is None:
            kind = rng.choice(len(KINDS), n, p=list(KINDS.values()))
        else:
            kind = np.full(n, list(KINDS).index(kind))
        size = rng.integers(3, size=n)
        place = rng.integers(9, size=n)
        relation = rng.integers(4, size=n)
        count = pick_counts(rng, kind)
        # what it shows
        design = self.pick_designs(rng, kind)
        objects = self.pick_things(rng, kind, design, held_out)
        ground, colour = self.pick_colours(rng, kind, objects, held_out)
        style = self.pick_styles(rng, kind, objects, style)
        mask = self.pick_masks(rng, kind, objects, style)
        # a flag's sprites are no things but its three stripes; the last six masks are those of both designs
        flag = kind == FLAG
        stands, stripes = flag_tables()
        colour[flag, :3] = stripes[design[flag]]
        first_stripe = len(self.masks) - 6 + 3 * stands[design[flag]]
        mask[flag, :3] = first_stripe[:, None] + np.arange(3)
        # how large, and where
        side = pick_sides(rng, kind, size, objects)
        offset = pick_offsets(rng, kind, place, relation, count, side)
        labelled = kind == LABELLED
        side[labelled, 1] = rng.uniform(32, 40, labelled.sum())  # the word below the thing
        # what differs between pictures of the same
        turn = rng.uniform(0.4, 2 * np.pi - 0.4, n)
        grain = rng.integers(2 ** 31, size=n)
        shade = rng.normal(0, 0.02, (n, SPRITES, 3))
        return {"kind": kind, "ground": ground, "style": style, "size": size, "place": place, "relation": relation,
                "count": count, "design": design, "turn": np.float32(turn), "grain": grain, "object": objects,
                "mask": mask, "colour": colour, "centre": np.float32(24 + offset), "side": np.float32(side),
                "shade": np.float32(shade)}

    def zipf(self, rng, many, size):
        """Random numbers below `many`, 0 the commonest, in an array of this size."""
        weights = 1 / np.arange(1, many + 1) ** self.exponent
        return rng.choice(many, size, p=weights / weights.sum())

    def pick_designs(self, rng, kind):
        """Which texture or flag scenes of these kinds (n,) show -> (n,), 0 where it is neither."""
        design = np.zeros(len(kind), int)
        texture = kind == TEXTURE
        design[texture] = self.zipf(rng, len(TEXTURES), texture.sum())
        flag = kind == FLAG
        design[flag] = self.zipf(rng, len(FLAGS), flag.sum())
        return design

    def pick_things(self, rng, kind, design, held_out):
        """The numbers of the things of scenes of these kinds and designs (n,) -> (n, 6)."""
        n = len(kind)
        if held_out:
            objects = rng.integers(len(NAMES), size=(n, SPRITES))
        else:
            objects = self.zipf(rng, len(NAMES), (n, SPRITES))
        # words are shown alone or below a thing; elsewhere they would be too small to read, and one of the
        # twenty commonest things takes their place
        too_small = IS_WORD[objects] & (kind != SINGLE)[:, None]
        objects[too_small] %= 20
        # two that are related are different, and all of a counted scene are alike
        same = objects[:, 1] == objects[:, 0]
        objects[same, 1] = (objects[same, 0] + 1) % len(NAMES)
        counted = kind == COUNTED
        objects[counted] = objects[counted, :1]
        # below a thing stands any of the words
        labelled = kind == LABELLED
        which = rng.integers(len(WRITTEN), size=labelled.sum())
        objects[labelled, 1] = WRITTEN[which]
        # "grid" is a thing and a texture: the texture, too, gets the colours of the thing
        grid = (kind == TEXTURE) & (design == list(TEXTURES).index("grid"))
        objects[grid, 0] = NAMES.index("grid")
        return objects

    def pick_colours(self, rng, kind, objects, held_out):
        """Grounds (n,) and colours (n, 6) for things (n, 6), so that on its ground each of the first two shows.

        With held_out=True the colours are those that are held out of training, otherwise the others.
        """
        allowed = ~self.held_out[objects]  # (n, 6, 12)
        if held_out:
            allowed = self.held_out[objects]
        # on each ground, how many of a thing's allowed colours show? (Floats, as their product is quicker.)
        how_many = np.float32(allowed[:, :2]) @ np.float32(self.shows)  # (n, 2, G)
        suits_both = (how_many > 0).all(axis=1)  # (n, G)
        ground = choose(rng, suits_both)  # (n,)
        # for each thing one of those colours
        showing = self.shows.T[ground][:, None]  # (n, 1, 12)
        colour = choose(rng, allowed & showing)  # (n, 6)
        counted = kind == COUNTED
        colour[counted] = colour[counted, :1]
        return ground, colour

    def pick_styles(self, rng, kind, objects, style):
        """Styles (n,) for scenes of these kinds (n,) and things (n, 6): any, or the given one where it can be."""
        n = len(kind)
        styles = rng.integers(1, len(STYLES), n)
        is_styled = rng.random(n) < STYLED
        styles[~is_styled] = USUAL
        if style is not None:
            styles = np.full(n, style)
        # bold is what has no other font, or means something else when turned
        in_no_other_font = self.others[objects[:, 0], 0] < 0
        styles[(styles == OTHER_FONT) & in_no_other_font] = BOLD
        upright = IS_UPRIGHT[objects[:, :2]].any(axis=1)
        styles[(styles == TURNED) & upright] = BOLD
        # textures and flags have no style of masks: they get that of whole pictures which is five later
        of_masks = (styles != USUAL) & (styles < BLUR)
        styles[of_masks & (kind >= TEXTURE)] += 5
        return styles

    def pick_masks(self, rng, kind, objects, style):
        """For things (n, 6) the number of one of their masks (n, 6), in another font if that is the style."""
        which = rng.integers(FORMS, size=objects.shape)
        usual = self.usual[objects, which]
        other = self.others[objects, which]
        in_other_font = (style == OTHER_FONT)[:, None] & (other >= 0)
        mask = np.where(in_other_font, other, usual)
        counted = kind == COUNTED
        mask[counted] = mask[counted, :1]
        return mask

    # ---- How they are drawn ----

    def draw(self, scenes):
        """-> images (n, 3, R, R) from 0 to 1: ground, texture, one sprite after the other, and at last the style."""
        image = self.grounds[self.tensor(scenes["ground"])]  # (n, 3, R, R)
        self.draw_texture(image, scenes)
        for sprite in range(SPRITES):
            self.draw_sprite(image, scenes, sprite)
        image.clamp_(0, 1)
        # styles of whole pictures
        for style in (BLUR, PIXELS, GRAIN, GREY, INVERTED):
            rows = np.nonzero(scenes["style"] == style)[0]  # (s,)
            if len(rows) == 0:
                continue
            seed = scenes["grain"][rows[0]]
            chosen = self.tensor(rows)
            image[chosen] = change(image[chosen], style, seed)
        return image.clamp_(0, 1)

    def draw_texture(self, image, scenes):
        """In place: the textures of those scenes that have one."""
        rows = np.nonzero(scenes["kind"] == TEXTURE)[0]  # (s,)
        if len(rows) == 0:
            return
        design = self.tensor(scenes["design"][rows])
        variant = self.tensor(scenes["grain"][rows] % VARIANTS)
        alpha = self.textures[design, variant]  # (s, R, R)
        self.paint(image, alpha, scenes, rows, 0)  # in the colour of the first sprite

    def draw_sprite(self, image, scenes, sprite):
        """In place: the sprite of this number, from 0 to 5, of those scenes that have so many."""
        rows = np.nonzero(scenes["count"] > sprite)[0]  # (s,)
        if len(rows) == 0:
            return
        masks = self.restyled(scenes, rows, sprite)  # (s, 32, 32)
        alpha = self.scale(masks, scenes, rows, sprite)
        self.paint(image, alpha, scenes, rows, sprite)

    def restyled(self, scenes, rows, sprite):
        """The masks (s, 32, 32) of a sprite in the scenes of these rows (s,), changed as their styles ask for."""
        masks = self.masks[self.tensor(scenes["mask"][rows, sprite])]
        style = scenes["style"][rows]  # (s,)
        # outlines: dilated minus eroded masks, which differ along edges
        chosen = self.tensor(style == OUTLINE)
        some = masks[chosen]
        eroded = -dilate(-some)
        masks[chosen] = dilate(some) - eroded
        # bold: not quite dilated
        chosen = self.tensor(style == BOLD)
        some = masks[chosen]
        masks[chosen] = torch.lerp(some, dilate(some), 0.7)
        # turned or slanted
        moved = (style == ITALICS) | (style == TURNED)
        if moved.any():
            angle = scenes["turn"][rows] * (style == TURNED)
            slant = 0.35 * (style == ITALICS)
            chosen = self.tensor(moved)
            masks[chosen] = turned(masks[chosen], angle[moved], slant[moved])
        return masks

    # ---- Evaluation, on held-out pairs of colour and thing, all things equally often ----

    def evaluate(self, model, tokenizer, n=2000):
        """Zero-shot accuracy and retrieval on n scenes of each kind -> {name: (value, chance)}."""
        results = {}
        results.update(self.evaluate_singles(model, tokenizer, n))
        results.update(self.evaluate_designs(model, tokenizer, n))
        results.update(self.evaluate_choices(model, tokenizer, n))
        # which of 500 captions, and which of 500 images? Equal captions are both right
        scenes, features = self.encode_scenes(model, None, 6, min(n, 500))
        captions = self.captions(scenes, self.rng(EVALUATION, 7), EVERYTHING)
        text_features = zeroshot.encode_texts(model, tokenizer, captions, truncate=True)
        relevant = torch.tensor([[a == b for b in captions] for a in captions])
        results.update(zeroshot.retrieval(features.cpu(), text_features.cpu(), relevant, ks=[1]))
        return results

    def evaluate_singles(self, model, tokenizer, n):
        """Which thing is it, which colour has it, what is around it, and in which style is it?"""
        results = {}
        things = [typed(thing) for thing in range(len(NAMES))]
        some_names = NAMES[:25]  # enough for templates

        # in the usual style
        scenes, features = self.encode_scenes(model, "single", 0, n, USUAL)
        labels = scenes["object"][:, 0]
        results["things"] = class_accuracy(model, tokenizer, features, labels, things)
        labels = scenes["colour"][:, 0]
        colours = [article(colour) for colour in COLOURS]
        templates = [f"{{}} {name}" for name in some_names]  # "a red" -> "a red sun", "a red cat", ...
        results["colours"] = class_accuracy(model, tokenizer, features, labels, colours, templates)
        # grounds that have a name
        ground = scenes["ground"] // VARIANTS
        named = ground < len(GROUNDS)
        labels = ground[named]
        templates = [f"{phrase(name)} {{}}" for name in some_names]  # "on paper" -> "a sun on paper", ...
        some_features = features[self.tensor(named)]
        results["grounds"] = class_accuracy(model, tokenizer, some_features, labels, list(GROUNDS), templates)

        # in any style
        scenes, features = self.encode_scenes(model, "single", 1, n)
        labels = scenes["object"][:, 0]
        results["things in any style"] = class_accuracy(model, tokenizer, features, labels, things)
        # in a style that is not usual: a caption without a word of the style may belong to any
        styled = scenes["style"] != USUAL
        labels = scenes["style"][styled] - 1
        sentences = []
        for style in list(STYLES.values())[1:]:
            sentences += [style.format(phrase(name)) for name in some_names]
        weights = zeroshot.zero_shot_classifier(model, tokenizer, sentences)  # (E, sentences)
        scores = features[self.tensor(styled)] @ weights
        scores = scores.unflatten(1, (-1, len(some_names))).mean(dim=2)  # a style's score is the mean of its sentences'
        accuracy = zeroshot.accuracy(scores.cpu(), torch.from_numpy(labels))
        results["styles"] = accuracy, len(some_names) / len(sentences)
        return results

    def evaluate_designs(self, model, tokenizer, n):
        """Which texture is it, or which flag?"""
        results = {}
        scenes, features = self.encode_scenes(model, "texture", 2, n, USUAL)
        textures = [phrase(name) for name in TEXTURES]
        results["textures"] = class_accuracy(model, tokenizer, features, scenes["design"], textures)
        scenes, features = self.encode_scenes(model, "flag", 8, n, USUAL)
        flags = [f"the flag of {country}" for country in FLAGS]
        results["flags"] = class_accuracy(model, tokenizer, features, scenes["design"], flags)
        return results

    def evaluate_choices(self, model, tokenizer, n):
        """How many are there, where, and how related? The captions to choose from differ in this alone."""
        results = {}
        scenes, features = self.encode_scenes(model, "counted", 3, n, USUAL)
        choices = []
        for thing in scenes["object"][:, 0]:
            name = NAMES[thing]
            choices.append([several(count, name) for count in range(1, SPRITES + 1)])
        results["counts"] = caption_accuracy(model, tokenizer, features, scenes["count"] - 1, choices)

        scenes, features = self.encode_scenes(model, "placed", 4, n, USUAL)
        choices = []
        for thing in scenes["object"][:, 0]:
            words = phrase(NAMES[thing])
            choices.append([f"{words} {place}" for place in PLACES])
        results["places"] = caption_accuracy(model, tokenizer, features, scenes["place"], choices)

        scenes, features = self.encode_scenes(model, "related", 5, n, USUAL)
        choices = []
        for thing, other in scenes["object"][:, :2]:
            first = phrase(NAMES[thing])
            second = phrase(NAMES[other])
            choices.append([f"{first} {relation} {second}" for relation in RELATIONS])
        results["relations"] = caption_accuracy(model, tokenizer, features, scenes["relation"], choices)
        return results

    def encode_scenes(self, model, kind, step, n, style=None):
        """Draw n held-out scenes of a kind -> scenes, features of their images (n, E)."""
        scenes = self.scenes(self.rng(EVALUATION, step), n, kind, True, style)
        images = normalize(self.draw(scenes), self.mean, self.std)  # (n, 3, R, R)
        return scenes, zeroshot.encode_images(model, images)


# ---- How many sprites, how large, and where ---------------------------------------------------------


def pick_counts(rng, kind):
    """How many sprites scenes of these kinds (n,) show -> (n,)."""
    of_kind = np.array([1, 1, 0, 2, 2, 2, 0, 3])  # a texture has none, a flag three
    count = of_kind[kind]
    counted = kind == COUNTED
    count[counted] = rng.integers(1, SPRITES + 1, counted.sum())
    return count


def pick_sides(rng, kind, size, objects):
    """How large the sprites of scenes are, in 48ths of the image -> (n, 6), all of a scene alike.

    None has a size that the tasks have: 16 to 20 for places, 13 to 15 for counts, 18 to 22 for relations.
    """
    ranges = np.array([
        *SIZES.values(),  # of a single thing: small, medium-sized and large
        (11, 15),  # placed
        (9, 12.5),  # counted
        (12, 17),  # related
        (12, 17),  # paired
        (22, 28),  # labelled
        (0, 0),  # a texture, which has no sprite
        (26, 42),  # a flag
    ])
    row = kind + 2  # PLACED, which is 1, has row 3, and so on
    single = kind == SINGLE
    row[single] = size[single]
    row[single & IS_WORD[objects[:, 0]]] = 2  # words are large
    low, high = ranges[row].T  # (n,) each
    side = low + (high - low) * rng.random(len(kind))  # (n,)
    return np.repeat(side[:, None], SPRITES, axis=1)


def pick_offsets(rng, kind, place, relation, count, side):
    """Where the sprites of scenes stand -> (n, 6, 2), to the right and down from the middle, in 48ths of the image."""
    n = len(kind)
    random = rng.uniform(-1, 1, (n, SPRITES, 2))
    # a random direction, and others at equal angles from it, as many as there are sprites
    start = rng.random((n, 1))  # parts of a full turn
    further = np.arange(SPRITES) / count.clip(min=1)[:, None]  # (n, 6)
    angle = 2 * np.pi * (start + further)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=2)  # (n, 6, 2)

    # a single thing and a flag stand anywhere, one 48th from the edge at least
    half = side[:, :, None] * 16 / 30  # (n, 6, 1), half a mask, of whose 32 cells a glyph fills 30
    offset = random * (23 - half)
    flag = kind == FLAG
    offset[flag] = offset[flag, :1]
    # a placed one stands near the middle of its third, to the right and down
    third = np.stack([place % 3 - 1, place // 3 - 1], axis=1)  # (n, 2): -1, 0 or 1
    placed = kind == PLACED
    offset[placed] = (14.5 * third[:, None] + random)[placed]
    # counted ones stand on a ring
    counted = kind == COUNTED
    offset[counted] = 15.5 * around[counted]
    # related ones stand on opposite sides of the middle, and each is moved by up to 6 across that direction
    direction = np.array(list(RELATIONS.values()))[relation][:, None]  # (n, 1, 2)
    sign = np.array([1, -1, 0, 0, 0, 0])[:, None]  # (6, 1)
    spread = np.where(direction != 0, 0.3, 6)  # (n, 1, 2)
    related = kind == RELATED
    offset[related] = (12 * sign * direction + spread * random)[related]
    # and so do two that are only named together, in any direction
    paired = kind == PAIRED
    offset[paired] = 12.5 * sign * around[paired, :1]
    # below a labelled one stands its word
    labelled = kind == LABELLED
    offset[labelled, 0] = [0, -8] + random[labelled, 0]
    offset[labelled, 1] = [0, 15] + random[labelled, 1]
    return offset


# ---- Styles --------------------------------------------------------------------------------------


def dilate(masks):
    """Masks (s, 32, 32) -> in each cell the largest value of the three by three cells around it."""
    return F.max_pool2d(masks[:, None], 3, 1, 1)[:, 0]


def turned(masks, angle, slant):
    """Masks (s, 32, 32), each turned by an angle (s,), slanted by so much (s,), and made smaller, so that it fits."""
    # the matrix leads from a place in the new mask to the place in the old one that is seen there
    matrix = np.zeros((len(masks), 2, 3))
    matrix[:, 0, 0] = np.cos(angle)
    matrix[:, 0, 1] = np.sin(angle) + slant
    matrix[:, 1, 0] = -np.sin(angle)
    matrix[:, 1, 1] = np.cos(angle)
    matrix *= 1.3  # smaller
    theta = torch.from_numpy(np.float32(matrix)).to(masks.device)
    grid = F.affine_grid(theta, (len(masks), 1, 32, 32), align_corners=False)  # (s, 32, 32, 2)
    return F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0]


def change(images, style, seed):
    """Levels (s, 3, R, R) -> the same in one of the styles of whole pictures; the seed is for the grain."""
    if style == BLUR:
        # three times, each pixel becomes the mean of the nine around it
        for _ in range(3):
            padded = F.pad(images, (1, 1, 1, 1), "replicate")
            images = F.avg_pool2d(padded, 3, 1)
        return images
    if style == PIXELS:
        R = images.shape[-1]
        coarse = F.interpolate(images, size=R // 3, mode="area")  # (s, 3, R / 3, R / 3)
        return F.interpolate(coarse, size=R)
    if style == GRAIN:
        noise = np.random.default_rng(seed).normal(0, 0.08, images.shape)
        noise = torch.from_numpy(np.float32(noise))
        return images + noise.to(images.device)
    if style == GREY:
        return grey(images)
    return 1 - images


def grey(images):
    """Levels (s, 3, R, R) -> grey ones, from black to white.

    Each is one channel of its image, as if seen through a coloured filter: the one that varies most, so that
    nothing vanishes that is as light as its ground.
    """
    channel = images.flatten(2).std(dim=2).argmax(dim=1)  # (s,)
    rows = torch.arange(len(images), device=images.device)
    light = images[rows, channel][:, None]  # (s, 1, R, R)
    low = light.amin(dim=(2, 3), keepdim=True)  # (s, 1, 1, 1)
    high = light.amax(dim=(2, 3), keepdim=True)
    light = (light - low) / (high - low).clamp(min=0.01)
    return light.expand(-1, 3, -1, -1)


# ---- Captions ------------------------------------------------------------------------------------


def caption_of(scene, chances, mentions):
    """What a scene shows, a dict of numbers and lists, and ten numbers from 0 to 1 -> a sentence.

    The numbers decide what is told: a colour, for example, if `for_colour` is below mentions["colour"].
    """
    (for_bare, for_size, for_colour, for_ground, for_style, for_category,
     for_beginning, for_order, for_first_name, for_second_name) = chances
    kind = scene["kind"]
    style = scene["style"]
    first, second = scene["object"][:2]
    is_bare = for_bare < mentions["bare"]

    # the words for the first thing and for the second
    names = [entry(NAMES_OF[first], for_first_name), entry(NAMES_OF[second], for_second_name)]
    colours = ["", ""]
    has_its_colour = style not in (GREY, INVERTED)
    if not is_bare and has_its_colour and for_colour < mentions["colour"]:
        colours = [list(COLOURS)[number] for number in scene["colour"][:2]]
    size = ""
    has_size = kind == SINGLE and not IS_WORD[first]
    if not is_bare and has_size and for_size < mentions["size"]:
        size = list(SIZES)[scene["size"]]

    # what is in the picture: a thing, perhaps with its category, or something else
    caption = describe(scene, names, colours, size)
    share = mentions["category"]
    if names[0] in HOMONYMS:
        share = mentions["category of homonym"]
    if kind == SINGLE and for_category < share:
        caption += f", {CATEGORY_OF[first]}"

    # how it is drawn
    if style != USUAL and for_style < mentions["style"]:
        sentence = list(STYLES.values())[style]
        caption = sentence.format(caption)
    elif not is_bare:
        caption = entry(BEGINNINGS, for_beginning) + caption

    # what stands around it
    ground = scene["ground"] // VARIANTS
    has_name = ground < len(GROUNDS)
    if is_bare or not has_name or for_ground >= mentions["ground"]:
        return caption
    around = list(GROUNDS)[ground]
    if for_order < 0.3:
        return f"{around}, {caption}"
    return f"{caption} {around}"


def describe(scene, names, colours, size):
    """What a scene shows, in the words for its first and second thing: "a red sun above a white cat"."""
    kind = scene["kind"]
    first = phrase(names[0], size, colours[0], category=CATEGORY_OF[scene["object"][0]])
    second = phrase(names[1], colours[1], category=CATEGORY_OF[scene["object"][1]])
    if kind == SINGLE:
        return first
    if kind == PLACED:
        return f"{first} {PLACES[scene['place']]}"
    if kind == COUNTED:
        return several(scene["count"], names[0], colours[0])
    if kind == RELATED:
        return f"{first} {list(RELATIONS)[scene['relation']]} {second}"
    if kind == PAIRED:
        return f"{first} and {second}"
    if kind == LABELLED:
        return f"{first} with {second}"
    if kind == TEXTURE:
        return phrase(list(TEXTURES)[scene["design"]], colours[0])
    return f"the flag of {list(FLAGS)[scene['design']]}"


def entry(table, chance):
    """["sun", "moon"], 0.7 -> "moon": the entry that stands so far from the beginning of the table."""
    return table[int(chance * len(table))]


def phrase(name, *adjectives, category=None):
    """"sun", "red" -> "a red sun"; "dots" -> "dots"; 'letter "A"', if its category is DEFINITE -> 'the letter "A"'."""
    words = join(*adjectives, name)
    if category in DEFINITE and words == name:
        return f"the {words}"
    if name.endswith("s") and name in TEXTURES:
        return words
    return article(words)


def typed(thing):
    """The number of a thing -> its name, with its category if it is a homonym: "a club, a weapon"."""
    words = phrase(NAMES[thing], category=CATEGORY_OF[thing])
    if NAMES[thing] in HOMONYMS:
        words += f", {CATEGORY_OF[thing]}"
    return words


def several(count, name, colour=""):
    """2, "arrow pointing left" -> "two arrows pointing left"."""
    if count > 1:
        noun = noun_of(name)
        name = plural(noun) + name[len(noun):]
    return join(NUMBERS[count - 1], colour, name)


def noun_of(name):
    """What gets the ending of a plural: "arrow pointing left" -> "arrow", 'number "7"' -> "number"."""
    if name in PLURALS:
        return name
    words = name.split(" ")
    for i in range(1, len(words)):
        is_name_of_letter = words[i - 1] == "letter"  # as in "Greek letter psi"
        if words[i] in AFTER_NOUNS or words[i].startswith('"') or is_name_of_letter:
            return " ".join(words[:i])
    return name


# ---- Things that are drawn with a formula: covers(x, y), x to the right and y down from -1 to 1 --


def between(low, x, high):
    """True where x lies between the two."""
    return (low < x) & (x < high)


def box(x, y, left, right, top, bottom):
    """A rectangle."""
    return between(left, x, right) & between(top, y, bottom)


def oval(x, y, centre_x, centre_y, wide, high):
    """An ellipse with these two radii."""
    right = (x - centre_x) / wide
    down = (y - centre_y) / high
    return right ** 2 + down ** 2 < 1


def lying_oval(x, y):
    """An ellipse that is wider than high."""
    return oval(x, y, 0, 0, 0.95, 0.6)


def gem(x, y):
    """A cut diamond seen from the side: its facets are left out."""
    # half its width: from the top down to the girdle it grows, from there it shrinks to a point
    above = 0.95 + 0.9 * (y + 0.2)
    below = 0.95 * (0.9 - y) / 1.1
    half = np.where(y < -0.2, above, below)
    inside = between(-0.65, y, 0.9) & (abs(x) < half)
    girdle = abs(y + 0.2) < 0.05
    edge = 0.4 * half / 0.95
    edges = abs(abs(x) - edge) < 0.05
    return inside & ~girdle & ~edges


def shovel(x, y):
    """A spade to dig with."""
    handle = box(x, y, -0.35, 0.35, -0.95, -0.78)
    shaft = box(x, y, -0.09, 0.09, -0.9, 0.2)
    half = 1.3 * (0.95 - y)  # of the blade's width, near its tip
    blade = (y > 0.1) & (abs(x) < 0.42) & (abs(x) < half)
    return handle | shaft | blade


def cudgel(x, y):
    """A club to hit with, from the lower left to the upper right."""
    along = (x - y) / math.sqrt(2)
    across = (x + y) / math.sqrt(2)
    half = 0.1 + 0.11 * (along + 1)  # its width grows
    shaft = (abs(along) < 1.05) & (abs(across) < half)
    head = oval(x, y, 0.62, -0.62, 0.33, 0.33)
    return shaft | head


def computer_mouse(x, y):
    """Two buttons, and a cable."""
    body = oval(x, y, 0, 0.25, 0.5, 0.7)
    gap = (abs(x) < 0.04) & (y < 0.1)  # between the buttons
    edge = abs(y - 0.1) < 0.04  # below them
    middle = 0.15 * np.sin(8 * y)
    cable = (abs(x - middle) < 0.07) & (y < -0.3)
    return body & ~gap & ~edge | cable


def note_paper(x, y):
    """A sheet with a corner cut off, and lines."""
    sheet = box(x, y, -0.65, 0.65, -0.9, 0.9)
    corner = x - y > 1.15
    lines = abs((y + 0.2) % 0.35 - 0.17) < 0.05
    written = lines & box(x, y, -0.45, 0.45, -0.3, 0.75)
    return sheet & ~corner & ~written


def set_square(x, y):
    """A triangle to draw right angles with."""
    outer = (x > -0.85) & (y < 0.9) & (x - y < 0.05)
    inner = (x > -0.55) & (y < 0.6) & (x - y < -0.4)
    return outer & ~inner


def bow(x, y):
    """A bow to shoot with, and its arrow."""
    radius = np.hypot(x + 0.4, y)
    wood = (abs(radius - 0.95) < 0.09) & (x > -0.3)
    # the string is drawn: from the end of the arrow it goes up and down
    height = 0.95 * (x + 0.85) / 0.55
    string = between(-0.85, x, -0.3) & (abs(abs(y) - height) < 0.08)
    shaft = box(x, y, -0.8, 0.95, -0.06, 0.06)
    half = 0.9 * (0.97 - x)
    head = between(0.6, x, 0.97) & (abs(y) < half)
    return wood | string | shaft | head


def fish(x, y):
    """It swims to the left."""
    body = oval(x, y, -0.2, 0, 0.72, 0.45)
    half = 1.1 * (x - 0.35)
    tail = between(0.4, x, 0.95) & (abs(y) < half)
    eye = oval(x, y, -0.6, -0.1, 0.08, 0.08)
    return (body | tail) & ~eye


def tree(x, y):
    """A fir: three rows of branches, one above the other."""
    half = 0.2 + 0.75 * ((y + 0.95) % 0.52)
    crown = between(-0.95, y, 0.6) & (abs(x) < half)
    trunk = box(x, y, -0.12, 0.12, 0.5, 0.95)
    return crown | trunk


def boat(x, y):
    """A hull and a sail."""
    half = 0.95 - 0.7 * (y - 0.35)
    hull = between(0.35, y, 0.8) & (abs(x) < half)
    mast = box(x, y, -0.06, 0.04, -0.9, 0.4)
    edge = 0.12 + 0.7 * (y + 0.9)
    sail = between(0.12, x, edge) & (y < 0.25)
    return hull | mast | sail


def ladder(x, y):
    """Two rails and five rungs."""
    rails = abs(abs(x) - 0.42) < 0.09
    heights = abs(y % 0.4 - 0.2) < 0.07
    rungs = heights & (abs(x) < 0.42)
    return (rails | rungs) & (abs(y) < 0.95)


def stripe(i, stands):
    """The i-th of three stripes of a flag that waves, -1, 0 or 1: they lie or stand."""
    def covers(x, y):
        high = y + 0.09 * np.sin(3.5 * x)
        inside = (abs(x) < 0.93) & (abs(high) < 0.66)
        if stands:
            return inside & (abs(x - 0.62 * i) < 0.311)
        return inside & (abs(high - 0.44 * i) < 0.221)

    return covers


# ---- Tables of things ----------------------------------------------------------------------------

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
AFTER_NOUNS = {"of", "for", "pointing", "in", "with", "without", "showing"}  # as in "face in love"
WORDS = ("star cat sun heart dog house moon love cow cloud tree fish time sky skull rain snow wind king queen flower "
         "umbrella anchor airplane telephone day light music stop open exit help hello yes no left up down red blue "
         "green black white gold fire ice bird horse lion bear wolf apple bread milk salt tea coffee book door key "
         "hand face eye foot mouse club note card arrow circle square road city garden bridge boat train").split()
GREEK = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "xi", "pi",
         "rho", "sigma", "tau", "phi", "chi", "psi", "omega"]
HEBREW = ["alef", "bet", "gimel", "dalet", "he", "zayin", "het", "tet", "kaf", "lamed", "mem", "samekh", "ayin", "pe",
          "tsadi", "qof", "resh", "shin", "tav"]
CYRILLIC = ["de", "zhe", "i", "el", "ef", "tse", "che", "sha", "shcha", "yeru", "e", "yu", "ya"]


def alphabet(script, names):
    """Letters by their names in Unicode -> {"Greek letter alpha": "α", ...}."""
    form = "SMALL LETTER"
    if script == "Hebrew":
        form = "LETTER"
    letters = {}
    for name in names:
        in_unicode = f"{script} {form} {name}".upper().replace("LAMBDA", "LAMDA")
        letters[f"{script} letter {name}"] = unicodedata.lookup(in_unicode)
    return letters


def cards():
    """-> {"king of spades/king": "🂮", ...}. The ace of spades is kept out, as the tasks show it."""
    values = {"king": 14, "queen": 13, "jack": 11, "ace": 1}
    for value in range(2, 11):
        values[NUMBERS[value - 1]] = value
    characters = {}
    for number, suit in enumerate(["spades", "hearts", "diamonds", "clubs"]):
        for face, value in values.items():
            name = f"{face} of {suit}"
            if face in ("king", "queen", "jack"):
                name += f"/{face}"
            characters[name] = chr(0x1F0A0 + 16 * number + value)
    del characters["ace of spades"]
    return characters


# Categories, and of each the things: their names, and the characters that show them, or a list with a formula
# or a written word. "/" stands between names for the same thing. Categories at the beginning of this table,
# and things at the beginning of their category, are common; see `ranked`.
THINGS = {
    "a sign of the weather": {
        "sun": "☀", "cloud": "☁", "moon": "☾", "snowflake": "❄", "umbrella": "☂", "lightning bolt": "⚡",
        "snowman": "☃", "comet": "☄", "thunderstorm": "☈", "hot spring": "♨"},
    "an animal": {"cat": "🐱", "mouse": "🐭", "cow": "🐮", "monkey": "🐵", "fish": [fish]},
    "a shape": {
        "star": "★", "circle/disc": "●", "square": "■", "triangle": "▲", "ring": "◯", "pentagon": "⬟", "hexagon": "⬢",
        "octagon": [polygon(8)], "parallelogram": "▰", "rectangle": "▬",
        "oval": [lying_oval], "plane": "▱", "half circle": "◖", "lozenge": "⧫",
        "arrowhead": "➤", "target": "◎", "grid": "▦", "dotted circle": "◌", "starburst": "✺",
        "sparkle": "✦", "pinwheel": "✵"},
    "an everyday thing": {
        "house": "⌂", "telephone/phone": "☎✆", "airplane/plane": "✈", "teacup/cup of tea": "☕", "flag": "⚑",
        "envelope/letter": "✉", "keyboard": "⌨", "boat": [boat], "tree": [tree], "mouse": [computer_mouse],
        "note": [note_paper], "bow tie": "⧓", "vase": "⚱", "film reel": "✇", "ladder": [ladder], "coffin": "⚰",
        "diamond": [gem], "die": "⚀⚁⚂⚃⚄⚅"},
    "a face": {
        "happy face/smiling face": "☺", "sad face": "☹", "laughing face": "😂", "angry face": "😠", "crying face": "😭",
        "sleeping face": "😴", "surprised face": "😲", "winking face": "😉", "angel": "😇", "devil": "😈",
        "masked face": "😷", "face with sunglasses": "😎", "kissing face": "😗", "neutral face": "😐",
        "frightened face": "😱", "dizzy face": "😵", "face in love": "😍", "face with tongue out": "😛",
        "smirking face": "😏", "tired face": "😩", "blushing face": "😳", "confused face": "😕", "face without mouth": "😶",
        "laughing cat": "😹", "crying cat": "😿", "cat in love": "😻", "frightened cat": "🙀", "kissing cat": "😽"},
    "a card suit": {"heart": "♥", "spade": "♠", "club": "♣", "diamond": "♦"},
    "a sign of direction": {
        "arrow": "➜", "arrow pointing left": "←⬅", "arrow pointing right": "→➡", "arrow pointing up": "↑⬆",
        "arrow pointing down": "↓⬇", "arrow pointing to the top left": "↖⬉", "arrow pointing to the top right": "↗⬈",
        "arrow pointing to the bottom left": "↙⬋", "arrow pointing to the bottom right": "↘⬊",
        "double arrow": "↔⬌", "curved arrow": "↷", "round arrow": "↻", "wavy arrow": "↝", "dashed arrow": "⇢"},
    "a chess piece": {
        "chess king/king": "♚", "chess queen/queen": "♛", "chess knight/knight": "♞", "chess pawn/pawn": "♟",
        "chess rook/rook": "♜", "chess bishop/bishop": "♝"},
    "a number": {f'number "{digit}"': digit for digit in "1234567890"},
    "a letter": {f'letter "{letter}"': letter for letter in "ETAOINSHRDLCUMWFGYPBVKJXQZ"},
    "a written word": {f'word "{word}"': [word] for word in WORDS},
    "a hand": {
        "pointing hand": "☛", "hand pointing to the right": "☞", "hand pointing to the left": "☚☜",
        "hand pointing up": "☝", "hand pointing down": "☟", "victory hand": "✌", "writing hand": "✍"},
    "a tool": {
        "pair of scissors": "✂", "pencil": "✎", "anchor": "⚓", "gear/cogwheel": "⚙", "key": "⚷",
        "balance/pair of scales": "⚖", "fountain pen/pen": "✒", "spade": [shovel], "alembic": "⚗",
        "square": [set_square], "trident": "♆"},
    "a weapon": {"arrow": "➵➹", "club": [cudgel], "bow": [bow]},
    "a sign of music": {
        "eighth note/note": "♪", "quarter note": "♩", "pair of notes": "♫", "sharp sign/sharp": "♯",
        "flat sign/flat": "♭", "natural sign": "♮"},
    "a character": {
        "question mark": "?", "exclamation mark": "!", "plus sign": "✚", "check mark/tick": "✔✓",
        "cross mark/cross": "✘✗", "asterisk/star": "✱✲", "ampersand": "&", "at sign": "@",
        "percent sign": "%", "dollar sign": "$", "infinity sign": "∞", "semicolon": ";",
        "opening parenthesis": "(", "opening bracket": "[",
        "opening brace": "{", "slash": "/", "tilde": "~", "quotation mark": "❝", "trade mark sign": "™"},
    "a flower": {"daisy": "✿❀", "tulip": "⚘", "shamrock": "☘", "ivy leaf": "❦", "fleur-de-lis": "⚜"},
    "a sign of danger": {
        "skull": "☠", "warning sign": "⚠", "radiation sign": "☢", "biohazard sign": "☣", "dangerous bend sign": "☡"},
    "a sign of faith": {
        "cross": "✝", "star of David": "✡", "crescent": "☪", "yin yang": "☯", "ship's wheel/wheel of dharma": "☸",
        "ankh": "☥", "Maltese cross": "✠", "Orthodox cross": "☦", "cross of Jerusalem": "☩", "cross of Lorraine": "☨",
        "chi rho": "☧"},
    "a sign": {
        "peace sign": "☮", "recycling sign": "♻", "female sign": "♀", "male sign": "♂", "wheelchair": "♿", "atom": "⚛",
        "eject sign": "⏏", "marriage sign": "⚭"},
    "a key of a keyboard": {"return key/key": "⏎", "shift key/key": "⇧", "delete key/key": "⌫"},
    "a box": {"ticked box": "☑", "crossed box": "☒", "empty box": "☐"},
    "a sign of the zodiac": {
        "sign of Leo": "♌", "sign of Aries": "♈", "sign of Virgo": "♍", "sign of Libra": "♎", "sign of Scorpio": "♏",
        "sign of Gemini": "♊", "sign of Cancer": "♋", "sign of Taurus": "♉", "sign of Pisces": "♓",
        "sign of Aquarius": "♒", "sign of Capricorn": "♑", "sign of Sagittarius": "♐"},
    "a throw": {
        "die showing six": "⚅", "die showing one": "⚀", "die showing three": "⚂", "die showing five": "⚄",
        "die showing two": "⚁", "die showing four": "⚃"},
    "a card": cards(),
    "a sign of mathematics": {
        "square root": "√", "integral": "∫", "sum sign": "∑", "not equal sign": "≠", "division sign": "÷",
        "less-than sign": "<", "greater-than sign": ">", "plus-minus sign": "±", "product sign": "∏", "empty set": "∅",
        "angle sign": "∠", "for all sign": "∀", "there exists sign": "∃", "element sign": "∈", "subset sign": "⊂",
        "intersection sign": "∩", "nabla": "∇", "therefore sign": "∴", "proportional sign": "∝",
        "tensor product sign": "⊗", "direct sum sign": "⊕", "perpendicular sign": "⊥", "contour integral": "∮"},
    "a sign of chemistry": {"benzene ring/ring": "⌬"},
    "a trigram": {
        "trigram for heaven": "☰", "trigram for fire": "☲", "trigram for thunder": "☳", "trigram for wind": "☴",
        "trigram for water": "☵", "trigram for mountain": "☶"},
    "a Greek letter": alphabet("Greek", GREEK),
    "a Cyrillic letter": alphabet("Cyrillic", CYRILLIC),
    "a Hebrew letter": alphabet("Hebrew", HEBREW),
}
DEFINITE = {"a number", "a letter", "a written word", "a sign of the zodiac", "a card", "a trigram",
            "a Greek letter", "a Cyrillic letter", "a Hebrew letter"}  # "the letter A", but "a red letter A"


def ranked(table):
    """{category: {names: ...}} -> [(category, names)], commonest first.

    They are sorted by i * j, for the i-th names of the j-th category.
    """
    keys = []
    for j, (category, things) in enumerate(table.items(), 1):
        for i, names in enumerate(things, 1):
            keys.append((i * j, category, names))
    keys.sort(key=lambda key: key[0])  # equal ones stay in the order of the table
    return [(category, names) for _, category, names in keys]


RANKED = ranked(THINGS)
CATEGORY_OF = [category for category, _ in RANKED]
NAMES_OF = [names.split("/") for _, names in RANKED]  # what each is called
NAMES = [names[0] for names in NAMES_OF]
IS_WORD = np.array([category == "a written word" for category in CATEGORY_OF])
WRITTEN = np.nonzero(IS_WORD)[0]  # the numbers of those that are
# what is never turned, as it would be another thing then
IS_UPRIGHT = np.array(["pointing" in name or "number" in name or "-than" in name for name in NAMES])


def find_homonyms():
    """-> {name: numbers of the things of different categories that are called so}."""
    called = {}
    for thing, names in enumerate(NAMES_OF):
        for name in names:
            called.setdefault(name, []).append(thing)
    homonyms = {}
    for name, things in called.items():
        categories = {CATEGORY_OF[thing] for thing in things}
        if len(categories) > 1:
            homonyms[name] = things
    return homonyms


HOMONYMS = find_homonyms()

# ---- Flags, textures and grounds -----------------------------------------------------------------

FLAGS = {  # 0 if their three stripes lie, 1 if they stand, and the colours; the commonest first
    "France": (1, "blue white red"), "Germany": (0, "black red yellow"), "Italy": (1, "green white red"),
    "Russia": (0, "white blue red"), "the Netherlands": (0, "red white blue"), "Ireland": (1, "green white orange"),
    "Belgium": (1, "black yellow red"), "Austria": (0, "red white red"), "Hungary": (0, "red white green"),
    "Romania": (1, "blue yellow red"), "Peru": (1, "red white red"), "Nigeria": (1, "green white green"),
    "Bulgaria": (0, "white green red"), "Lithuania": (0, "yellow green red"), "Bolivia": (0, "red yellow green"),
    "Guinea": (1, "red yellow green"), "Mali": (1, "green yellow red"), "Yemen": (0, "red white black"),
    "Estonia": (0, "blue black white"), "Gabon": (0, "green yellow blue"), "Armenia": (0, "red blue orange"),
    "Ivory Coast": (1, "orange white green"), "Sierra Leone": (0, "green white blue")}


@cache
def flag_tables():
    """-> for each flag whether its stripes stand, 0 or 1 (flags,), and their colours' numbers (flags, 3)."""
    stands = []
    stripes = []
    for design, colours in FLAGS.values():
        stands.append(design)
        stripes.append([list(COLOURS).index(colour) for colour in colours.split()])
    return np.array(stands), np.array(stripes)


def bricks(x, y, mortar):
    """What is between rows of bricks, as wide as `mortar`, and between the bricks of a row."""
    # every second row is half a brick further on
    moved = x + (y % 2 < 1) / 2
    return (y % 1 < mortar) | (moved % 1 < 0.08)


def plaid(x, y):
    """Squares of every second column and row, with lines across."""
    squares = (x % 2 < 1) & (y % 2 < 1)
    return squares | (x % 2 < 0.3) | (y % 2 < 0.3)


def crosses(x, y):
    """Each is a bar that stands and one that lies."""
    right = abs(x % 1 - 0.5)
    down = abs(y % 1 - 0.5)
    standing = (right < 0.1) & (down < 0.34)
    lying = (down < 0.1) & (right < 0.34)
    return standing | lying


def spots(x, y):
    """Irregular ones, as of a cow."""
    columns = np.sin(3 * x + np.sin(2 * y))
    rows = np.sin(3 * y + np.sin(2.3 * x))
    return columns * rows > 0.25


TEXTURES = {  # covers(x, y), with x and y in periods; the commonest first
    "vertical stripes": lambda x, y: x % 1 < 0.4,
    "horizontal stripes": lambda x, y: y % 1 < 0.4,
    "dots": lambda x, y: np.hypot(x % 1 - 0.5, y % 1 - 0.5) < 0.25,
    "chequerboard": lambda x, y: (x % 1.6 < 0.8) ^ (y % 1.6 < 0.8),
    "waves": lambda x, y: (y + np.sin(2.5 * x) / 2.5) % 1 < 0.4,
    "bricks": lambda x, y: bricks(x / 1.7, y, 0.14),
    "grid": lambda x, y: (x % 1 < 0.17) | (y % 1 < 0.17),
    "slanted stripes": lambda x, y: (x + y) % 1.4 < 0.5,
    "zigzags": lambda x, y: (y + abs(x % 1 - 0.5)) % 1 < 0.4,
    "rings": lambda x, y: np.hypot(x - 2.5, y - 2.5) % 1 < 0.4,
    "plaid": plaid,
    "lozenges": lambda x, y: abs(x % 1 - 0.5) + abs(y % 1.6 - 0.8) / 1.6 < 0.35,
    "rays": lambda x, y: np.sin(9 * np.arctan2(y - 2.5, x - 2.5)) > 0,
    "crosses": crosses,
    "spots": spots}


def squared(x, y, soft):
    """The lines of squared paper."""
    standing = (7 * x + soft(1)) % 1
    lying = (7 * y) % 1
    return np.maximum(standing, lying) > 0.88


def tiles(x, y, soft):
    """Every second one of six by six."""
    column = (6 * x + soft(1)) % 2 < 1
    row = (6 * y) % 2 < 1
    return column == row


def ripples(x, y, soft):
    """Light from above on moving water."""
    phase = 25 * y + 3 * np.sin(6 * x) + 6 * soft(2)
    return 0.5 + 0.5 * np.sin(phase)


# Grounds: two colours, and a pattern that says how much of the second one there is, cut off at 0 and 1.
# x and y (R, R) go from 0 to 1; soft(k) is smooth noise (R, R) of k x k random values, see `draw_grounds`.
GROUNDS = {
    "on paper": ((245, 242, 235), (185, 200, 225), squared),
    "at night": ((14, 18, 52), (200, 200, 160), lambda x, y, soft: soft(len(x)) > 0.985),
    "on the grass": ((55, 125, 40), (125, 190, 85), lambda x, y, soft: soft(24)),
    "on the beach": ((238, 216, 160), (205, 175, 118), lambda x, y, soft: 0.5 * soft(len(x)) + 0.5 * soft(3)),
    "in the sky": ((90, 160, 240), (215, 232, 250), lambda x, y, soft: 3 * soft(4) - 1.2),
    "at sunset": ((100, 50, 110), (250, 150, 85), lambda x, y, soft: 0.8 * y + 0.4 * soft(4)),
    "under water": ((15, 80, 135), (70, 175, 200), ripples),
    "on a wall": ((170, 90, 70), (205, 180, 160), lambda x, y, soft: bricks(6 * x, 9 * y + soft(1), 0.15)),
    "in the snow": ((236, 241, 248), (185, 200, 222), lambda x, y, soft: 3 * soft(5) - 1.4),
    "on wood": ((160, 108, 60), (118, 74, 36), lambda x, y, soft: 0.5 + 0.5 * np.sin(30 * y + 9 * soft(3))),
    "on a tiled floor": ((214, 214, 208), (158, 162, 170), tiles),
    "in the fog": ((205, 210, 215), (150, 155, 162), lambda x, y, soft: soft(2))}
NAMELESS = [  # patterns likewise, of two random colours that lie close together
    lambda x, y, soft: x,
    lambda x, y, soft: (x + y) / 2,
    lambda x, y, soft: (x + 1 - y) / 2,
    lambda x, y, soft: soft(3),
    lambda x, y, soft: soft(8),
    lambda x, y, soft: np.hypot(x - 0.5, y - 0.5),
    lambda x, y, soft: x > 0.2 + 0.6 * soft(1),
    lambda x, y, soft: soft(len(x))]

# ---- Masks, textures and grounds, each drawn once ------------------------------------------------


@cache
def draw_masks():
    """-> masks (M, 32, 32); their numbers for each thing, as usual and in other fonts (N, FORMS) each.

    The numbers of a thing with fewer masks are repeated; they are -1 if no other font has the thing. The last six
    masks are the stripes of flags: three that lie, three that stand.
    """
    masks = []
    usual = []
    others = []
    for category, names in RANKED:
        characters = list(THINGS[category][names])
        # drawn with a formula, or written in the usual font and in others
        if callable(characters[0]):
            new = shape(*characters)
            in_others = []
        else:
            new = render(characters)
            in_others = write_in_other_fonts(characters[0], new[0])
        # their numbers, repeated: 7, 8, 9, 7, 8, 9, ...
        numbers = np.arange(len(masks), len(masks) + len(new))
        usual.append(np.resize(numbers, FORMS))
        masks += new
        numbers = np.arange(len(masks), len(masks) + len(in_others))
        if len(numbers) == 0:
            numbers = [-1]
        others.append(np.resize(numbers, FORMS))
        masks += in_others
    for stands in (False, True):
        masks += shape(stripe(-1, stands), stripe(0, stands), stripe(1, stands))
    return torch.stack(masks), np.array(usual), np.array(others)


def write_in_other_fonts(text, usual):
    """A text in other fonts -> masks (32, 32), a list of those that differ from the usual one."""
    masks = []
    for font in FONTS:
        if not has(font, text):
            continue
        mask = render([text], font=FONT.with_name(f"{font}.ttf"))[0]
        if (mask - usual).abs().mean() > 0.03:
            masks.append(mask)
    return masks


def has(font, text):
    """Whether a font has all characters of a text. Those of TeX are asked for letters and digits alone."""
    if font.startswith("cm") and not (text.isascii() and text.isalnum()):
        return False
    known = FT2Font(str(FONT.with_name(f"{font}.ttf"))).get_charmap()
    return all(ord(character) in known for character in text)


@cache
def draw_textures(R):
    """-> masks (textures, VARIANTS, R, R), a little turned, with periods of 6 to 14 48ths of the image."""
    rng = np.random.default_rng(0)
    across = (np.arange(3 * R) + 0.5) / (3 * R) * 48  # (3R,), thirds of pixels, in 48ths of the image
    masks = []
    for covers in TEXTURES.values():
        for _ in range(VARIANTS):
            at = across / rng.uniform(6, 14)  # in periods
            down = at[:, None]
            angle = rng.uniform(0.06, 0.25) * rng.choice([-1, 1])
            x = at * np.cos(angle) - down * np.sin(angle) + rng.random()  # (3R, 3R)
            y = at * np.sin(angle) + down * np.cos(angle) + rng.random()
            mask = torch.from_numpy(covers(x, y))
            masks.append(mask.float())
    masks = F.avg_pool2d(torch.stack(masks), 3)  # (textures VARIANTS, R, R)
    return masks.view(len(TEXTURES), VARIANTS, R, R)


@cache
def draw_grounds(R):
    """-> pictures (G, 3, R, R) from 0 to 1: VARIANTS of each of GROUNDS, then twice as many of each of NAMELESS."""
    rng = np.random.default_rng(1)
    y, x = (np.mgrid[:R, :R] + 0.5) / R  # (R, R) each

    def soft(k):
        """Smooth noise (R, R) from 0 to 1: k by k random values, and what lies between them."""
        noise = torch.from_numpy(rng.random((1, 1, k, k)))
        return F.interpolate(noise, size=R, mode="bilinear", align_corners=False)[0, 0].numpy()

    def mix(first, second, pattern):
        """Two colours (3,) in a pattern -> (3, R, R)."""
        share = np.clip(pattern(x, y, soft), 0.0, 1.0)  # (R, R), of the second colour
        first = first[:, None, None]  # (3, 1, 1)
        second = second[:, None, None]
        return first * (1 - share) + second * share

    pictures = []
    for *colours, pattern in GROUNDS.values():
        for _ in range(VARIANTS):
            lighter = rng.uniform(-0.03, 0.03, 3)  # or darker, both colours alike
            first, second = np.array(colours) / 255 + lighter
            pictures.append(mix(first, second, pattern))
    for pattern in NAMELESS + NAMELESS:  # so that a little more than half of all grounds have no name
        for _ in range(VARIANTS):
            first = rng.random(3)
            second = first + rng.uniform(0.08, 0.3) * rng.choice([-1, 1], 3)
            pictures.append(mix(first, second, pattern))
    return torch.from_numpy(np.stack(pictures)).float().clamp(0, 1)


@cache
def find_colours_that_show(R):
    """-> (12, G), True where a colour differs from nearly all of a ground, as the eye weighs red, green and blue."""
    colours = torch.tensor(list(COLOURS.values()))[:, :, None] / 255  # (12, 3, 1)
    weights = torch.tensor([0.3, 0.5, 0.2])[:, None]  # (3, 1)
    shows = []
    for ground in draw_grounds(R).flatten(2):  # (3, R R)
        squares = (colours - ground) ** 2  # (12, 3, R R)
        distance = (squares * weights).sum(dim=1).sqrt()  # (12, R R)
        shows.append(distance.quantile(0.06, dim=1) > 0.25)
    return torch.stack(shows, dim=1).numpy()


# ---- How often captions have a task's words ------------------------------------------------------


def words_of(text):
    """'the flag of "X"' -> {"the", "flag", "of", "X"}."""
    return set(re.findall(r"[\w'-]+", text))


def word_counts(captions):
    """-> Counter: in how many of the captions a word occurs."""
    counts = Counter()
    for caption in captions:
        counts.update(words_of(caption))
    return counts


def occurrences(classes, templates, counts):
    """How often the captions had what a task asks for -> for each class the count of its rarest word.

    A class's words are those of its name, and those that all of the task's sentences have: "one", of
    "{} o'clock" and "a clock showing {} o'clock", is "one" and "o'clock".
    """
    of_templates = [words_of(template.replace("{}", "")) for template in templates]
    shared = set.intersection(*of_templates)
    rarest = []
    for name in classes:
        words = words_of(name) | shared
        rarest.append(min(counts[word] for word in words))
    return rarest


# ---- What a training starts with, and where experiments look for its model -----------------------


def begin(seed, device="cpu"):
    """What a training starts with -> (data, the captions the tokenizer has learned from, tokenizer, untrained model)."""
    data = Web(seed, device)
    texts = data.texts()
    config = CONFIGS["tiny-RN"]
    tokenizer = Tokenizer.train(texts, config.vocab_size)
    torch.manual_seed(seed)
    model = CLIP(replace(config, vocab_size=len(tokenizer.vocab)))
    return data, texts, tokenizer, model.to(device, memory_format=torch.channels_last)


def model_path(folder, steps, seed):
    """Where the model of so many steps of 256 pairs is kept; elsewhere once the code has changed."""
    return folder / f"clip-web-{steps}-{seed}-{code_key(OF_MODELS)}.pt"


# ---- Command line --------------------------------------------------------------------------------


def run(args):
    """Train, or go on with it, and measure on all tasks."""
    settings = {"data": "web", "steps": args.steps, "batch_size": args.batch_size, "seed": args.seed}
    state = None
    if args.resume:
        state = restore(args.out, "cpu")  # `train` copies it to the model's device
        if state["settings"] != settings:
            raise ValueError(f"the run in {args.out} began with {state['settings']}; give the same options")
    else:
        check_place(args.out, settings, args.force, EVERY)
    table = args.out / "tasks.csv"
    made_here = (args.out / "log.jsonl").exists()
    if table.exists() and not made_here and not args.force:
        raise FileExistsError(f"{table}: exists; name another --out, or replace it with --force")
    args.out.mkdir(parents=True, exist_ok=True)

    # data, tokenizer, model
    data, texts, tokenizer, model = begin(args.seed, args.device)
    print(f"{len(NAMES)} things, {len(HOMONYMS)} homonyms, {len(data.masks)} masks; {args.steps} steps of"
          f" {args.batch_size} pairs on {args.device}, {torch.get_num_threads()} threads", flush=True)

    # training
    def keep(latest):
        keep_state(args.out, {**latest, "settings": settings})
        write_log(args.out, settings, latest["history"])  # by which a later run knows the folder for its own

    started = time.time()
    history = train(data, model, tokenizer, args.steps, args.batch_size, state=state, keep=keep)
    print(f"trained in {(time.time() - started) / 60:.1f} minutes\n")
    save(args.out / "clip.pt", model, tokenizer)
    if args.batch_size == 256:
        FOR_EXPERIMENTS.mkdir(parents=True, exist_ok=True)
        save(model_path(FOR_EXPERIMENTS, args.steps, args.seed), model, tokenizer)

    # results on the stream's own kinds of scenes, then on the tasks
    results = data.evaluate(model, tokenizer)
    for name, (value, chance) in results.items():
        print(f"  {name:22}{value:7.1%}   chance {chance:.1%}")
    rows = zero_shot_table(model, tokenizer, word_counts(texts))
    print_tasks(rows, len(texts))
    write_table(table, rows)
    write_log(args.out, settings, [*history, {"results": results}])
    save_figure(draw_curves(history, args.batch_size, results), args.out / "curves.png", dpi=120)
    print(f"\nin {args.out}: clip.pt, tasks.csv, log.jsonl, curves.png")


def zero_shot_table(model, tokenizer, counts):
    """-> rows of dicts: each task's result, chance, and how often captions had the words of its classes."""
    device = model.logit_scale.device
    rows = []
    for name, task in TASKS.items():
        images, labels = examples(name, "test")
        result = zero_shot(model, tokenizer, name, images, labels.to(device))
        had = occurrences(task.classes, task.templates, counts)
        rows.append({
            "task": name,
            "group": task.group,
            "classes": len(task.classes),
            "zero-shot": result,
            "chance": float(task.chance()),
            "words": float(np.median(had)),
            "classes never told": had.count(0),
        })
    return rows


def print_tasks(rows, n_captions):
    """The rows of zero_shot_table, those first whose words are the commonest in the captions, and their mean."""
    print(f"\n  {'task':20}{'zero-shot':>10}{'chance':>9}   its words, in {n_captions:,} captions")
    for row in sorted(rows, key=lambda row: row["words"], reverse=True):
        print(f"  {row['task']:20}{row['zero-shot']:10.1%}{row['chance']:9.1%}{row['words']:9.0f}")
    value = np.mean([row["zero-shot"] for row in rows])
    chance = np.mean([row["chance"] for row in rows])
    print(f"  {'mean':20}{value:10.1%}{chance:9.1%}")


def show(args):
    """The contact sheet."""
    path = figure_path(args.out / "show.png", args.force)
    images, captions = Web(args.seed, args.device).examples(96)
    figure = zeroshot.draw_sheet(zeroshot.levels(images), captions, columns=12)
    args.out.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path, dpi=120)
    print(f"drawn into {path}")


def parse(argv):
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="web.py", description=__doc__.split("\n\nLetters")[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--show", action="store_true", help="draw held-out pairs with full captions, and stop")
    add("--steps", type=int, default=STEPS, help="default: %(default)s")
    add("--batch-size", type=int, default=256, help="pairs in a step (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the weights and of the data (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default here: %(default)s")
    add("--out", type=Path, default=Path("runs/web"), metavar="DIR",
        help="where clip.pt, tasks.csv, log.jsonl and curves.png go (default: %(default)s)")
    add("--force", action="store_true", help="replace what is in --out, whatever it is")
    add("--resume", action="store_true", help="go on with the run in --out; give the options that it began with")
    args = parser.parse_args(argv)
    if min(args.steps, args.batch_size) < 2:
        parser.error("--steps and --batch-size must be at least 2")
    return args


def main(argv=None):
    """The command line. Exit status 2, and one line on standard error, if something is wrong with the input."""
    print_anything()
    args = parse(argv)
    try:
        zeroshot.check_device(args.device)
        if args.device == "cpu":
            torch.set_float32_matmul_precision("medium")  # as train_tiny.run does, for speed
        if args.show:
            show(args)
        else:
            run(args)
    except (ValueError, OSError) as error:
        print(f"web.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    finally:
        torch.set_float32_matmul_precision("highest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
