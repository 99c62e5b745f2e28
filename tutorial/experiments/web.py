"""A web in miniature: 451 named things at Zipf's frequencies, in many styles, with captions that tell of everything.

    python tutorial/experiments/web.py                     train on it; results in runs/web
    python tutorial/experiments/web.py --show              a contact sheet: held-out pairs, full captions
    python tutorial/experiments/web.py --steps 1000 --seed 1 --out runs/web1

The pictogram world of train_tiny.py shows a hundred things alike often, in one style. On the web a few things are seen
all the time and most hardly ever; pictures are photos, drawings, prints, blurred and grey ones; and captions use one
word for several things and several words for one. The experiments train on this stream, which has all of that.

Kept out, so that there is something to be measured on: a twelfth of the pairs of thing and colour; two families of
fonts; a style, `CONTROL`; the grounds and the layouts of tasks.py; and every word of the tasks in `SILENT`.

Letters in shape comments: n scenes, s sprites, R resolution, G grounds, N things, M masks.
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
    os.environ.pop("MPLBACKEND", None)  # this program draws into files: what it names is not needed and may be absent
sys.path.append(str(Path(__file__).resolve().parents[2]))
import zeroshot
from clip_minimal import CLIP, CONFIGS, MEAN, STD, Tokenizer, normalize, save
from run import write_table
from tasks import TASKS, examples, polygon, shape
from train_tiny import (BEGINNINGS, COLOURS, COUNTED, EVALUATION, EVERY, FONT, OBJECTS, PLACED, PLACES, PLURALS,
                        RELATED, RELATIONS, SINGLE, SIZES, TEXTS, TRAINING, World, article, choose, draw_curves, join,
                        plural, render, train)
from tutorial.extras.pictures import figure_path, print_anything, save_figure
from tutorial.extras.runs import check_place, write_log

# ---- Things that are drawn with a formula: covers(x, y), x to the right and y down from -1 to 1 ------------------


def box(x, y, left, right, top, bottom):
    """A rectangle."""
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def oval(x, y, centre_x, centre_y, wide, high):
    """An ellipse with these two radii."""
    return ((x - centre_x) / wide) ** 2 + ((y - centre_y) / high) ** 2 < 1


def gem(x, y):
    """A cut diamond seen from the side: its facets are left out."""
    half = np.where(y < -0.2, 0.95 + 0.9 * (y + 0.2), 0.95 * (0.9 - y) / 1.1)
    facets = (abs(y + 0.2) < 0.05) | (abs(abs(x) - 0.4 * half / 0.95) < 0.05)
    return (y > -0.65) & (y < 0.9) & (abs(x) < half) & ~facets


def shovel(x, y):
    """A spade to dig with."""
    blade = (y > 0.1) & (abs(x) < 0.42) & (abs(x) < 1.3 * (0.95 - y))
    return box(x, y, -0.35, 0.35, -0.95, -0.78) | box(x, y, -0.09, 0.09, -0.9, 0.2) | blade


def cudgel(x, y):
    """A club to hit with, from the lower left to the upper right."""
    along = (x - y) / math.sqrt(2)
    across = (x + y) / math.sqrt(2)
    return (abs(along) < 1.05) & (abs(across) < 0.1 + 0.11 * (along + 1)) | oval(x, y, 0.62, -0.62, 0.33, 0.33)


def computer_mouse(x, y):
    """Two buttons, and a cable."""
    buttons = (abs(x) < 0.04) & (y < 0.1) | (abs(y - 0.1) < 0.04)
    cable = (abs(x - 0.15 * np.sin(8 * y)) < 0.07) & (y < -0.3)
    return oval(x, y, 0, 0.25, 0.5, 0.7) & ~buttons | cable


def note_paper(x, y):
    """A sheet with a corner cut off, and lines."""
    lines = (abs(x) < 0.45) & (abs((y + 0.2) % 0.35 - 0.17) < 0.05) & (y > -0.3) & (y < 0.75)
    return box(x, y, -0.65, 0.65, -0.9, 0.9) & (x - y < 1.15) & ~lines


def set_square(x, y):
    """A triangle to draw right angles with."""
    inner = (x > -0.55) & (y < 0.6) & (x - y < -0.4)
    return (x > -0.85) & (y < 0.9) & (x - y < 0.05) & ~inner


def bow(x, y):
    """A bow to shoot with, and its arrow."""
    wood = (abs(np.hypot(x + 0.4, y) - 0.95) < 0.09) & (x > -0.3)
    string = abs(abs(y) - 0.95 * (x + 0.85) / 0.55) < 0.08
    arrow = (abs(y) < 0.06) & (x > -0.8) & (x < 0.95) | (x > 0.6) & (x < 0.97) & (abs(y) < 0.9 * (0.97 - x))
    return wood | string & (x > -0.85) & (x < -0.3) | arrow


def fish(x, y):
    """It swims to the left."""
    tail = (x > 0.4) & (x < 0.95) & (abs(y) < 1.1 * (x - 0.35))
    return (oval(x, y, -0.2, 0, 0.72, 0.45) | tail) & ~oval(x, y, -0.6, -0.1, 0.08, 0.08)


def tree(x, y):
    """A fir."""
    crown = (y < 0.6) & (y > -0.95) & (abs(x) < 0.2 + 0.75 * ((y + 0.95) % 0.52))
    return crown | box(x, y, -0.12, 0.12, 0.5, 0.95)


def boat(x, y):
    """A hull and a sail."""
    hull = (y > 0.35) & (y < 0.8) & (abs(x) < 0.95 - 0.7 * (y - 0.35))
    return hull | box(x, y, -0.06, 0.04, -0.9, 0.4) | (x > 0.12) & (y < 0.25) & (x < 0.12 + 0.7 * (y + 0.9))


def ladder(x, y):
    """Two rails and five rungs."""
    rails = abs(abs(x) - 0.42) < 0.09
    rungs = (abs(x) < 0.42) & (abs(y % 0.4 - 0.2) < 0.07)
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


# ---- The tables ------------------------------------------------------------------------------------------------------

CARDS = {}  # name: character; the ace of spades is kept out, as the tasks show it
for number, suit in enumerate(["spades", "hearts", "diamonds", "clubs"]):
    for face, value in (("king", 14), ("queen", 13), ("jack", 11), ("ace", 1), *zip(
            ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], range(2, 11))):
        if (face, suit) != ("ace", "spades"):
            also = f"/{face}" if face in ("king", "queen", "jack") else ""
            CARDS[f"{face} of {suit}{also}"] = chr(0x1F0A0 + 16 * number + value)
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


# What kind of thing it is: names, and the characters or covers that show them. "/" stands between names for the same
# thing. Things at the beginning of this table, and at the beginning of their line, are common; see `ranked`.
THINGS = {
    "a sign of the weather": {
        "sun": "☀", "cloud": "☁", "moon": "☾", "snowflake": "❄", "umbrella": "☂", "lightning bolt": "⚡",
        "snowman": "☃", "comet": "☄", "thunderstorm": "☈", "hot spring": "♨"},
    "an animal": {"cat": "🐱", "mouse": "🐭", "cow": "🐮", "monkey": "🐵", "fish": [fish]},
    "a shape": {
        "star": "★", "circle/disc": "●", "square": "■", "triangle": "▲", "ring": "◯", "pentagon": "⬟", "hexagon": "⬢",
        "octagon": [polygon(8)], "parallelogram": "▰", "rectangle": "▬",
        "oval": [lambda x, y: oval(x, y, 0, 0, 0.95, 0.6)], "plane": "▱", "half circle": "◖", "lozenge": "⧫",
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
    "a sign of the zodiac": {f"sign of {name}": sign for name, sign in zip(
        ["Leo", "Aries", "Virgo", "Libra", "Scorpio", "Gemini", "Cancer", "Taurus", "Pisces", "Aquarius", "Capricorn",
         "Sagittarius"], "♌♈♍♎♏♊♋♉♓♒♑♐")},
    "a throw": {f"die showing {number}": sign for number, sign in zip(
        ["six", "one", "three", "five", "two", "four"], "⚅⚀⚂⚄⚁⚃")},
    "a card": CARDS,
    "a sign of mathematics": {
        "square root": "√", "integral": "∫", "sum sign": "∑", "not equal sign": "≠", "division sign": "÷",
        "less-than sign": "<", "greater-than sign": ">", "plus-minus sign": "±", "product sign": "∏", "empty set": "∅",
        "angle sign": "∠", "for all sign": "∀", "there exists sign": "∃", "element sign": "∈", "subset sign": "⊂",
        "intersection sign": "∩", "nabla": "∇", "therefore sign": "∴", "proportional sign": "∝",
        "tensor product sign": "⊗", "direct sum sign": "⊕", "perpendicular sign": "⊥", "contour integral": "∮"},
    "a sign of chemistry": {"benzene ring/ring": "⌬"},
    "a trigram": {f"trigram for {name}": sign for name, sign in zip(
        ["heaven", "fire", "thunder", "wind", "water", "mountain"], "☰☲☳☴☵☶")},
    "a Greek letter": alphabet("Greek", GREEK),
    "a Cyrillic letter": alphabet("Cyrillic", CYRILLIC),
    "a Hebrew letter": alphabet("Hebrew", HEBREW),
}
DEFINITE = {"a number", "a letter", "a written word", "a sign of the zodiac", "a card", "a trigram",
            "a Greek letter", "a Cyrillic letter", "a Hebrew letter"}  # "the letter A", but "a red letter A"
FLAGS = {  # 0 if their three stripes lie, 1 if they stand, and the colours
    "France": (1, "blue white red"), "Germany": (0, "black red yellow"), "Italy": (1, "green white red"),
    "Russia": (0, "white blue red"), "the Netherlands": (0, "red white blue"), "Ireland": (1, "green white orange"),
    "Belgium": (1, "black yellow red"), "Austria": (0, "red white red"), "Hungary": (0, "red white green"),
    "Romania": (1, "blue yellow red"), "Peru": (1, "red white red"), "Nigeria": (1, "green white green"),
    "Bulgaria": (0, "white green red"), "Lithuania": (0, "yellow green red"), "Bolivia": (0, "red yellow green"),
    "Guinea": (1, "red yellow green"), "Mali": (1, "green yellow red"), "Yemen": (0, "red white black"),
    "Estonia": (0, "blue black white"), "Gabon": (0, "green yellow blue"), "Armenia": (0, "red blue orange"),
    "Ivory Coast": (1, "orange white green"), "Sierra Leone": (0, "green white blue")}
TEXTURES = {  # covers(x, y), with x and y in periods; the commonest first
    "vertical stripes": lambda x, y: x % 1 < 0.4,
    "horizontal stripes": lambda x, y: y % 1 < 0.4,
    "dots": lambda x, y: np.hypot(x % 1 - 0.5, y % 1 - 0.5) < 0.25,
    "chequerboard": lambda x, y: (x % 1.6 < 0.8) ^ (y % 1.6 < 0.8),
    "waves": lambda x, y: (y + np.sin(2.5 * x) / 2.5) % 1 < 0.4,
    "bricks": lambda x, y: (y % 1 < 0.14) | ((x / 1.7 + (y % 2 < 1) / 2) % 1 < 0.08),
    "grid": lambda x, y: (x % 1 < 0.17) | (y % 1 < 0.17),
    "slanted stripes": lambda x, y: (x + y) % 1.4 < 0.5,
    "zigzags": lambda x, y: (y + abs(x % 1 - 0.5)) % 1 < 0.4,
    "rings": lambda x, y: np.hypot(x - 2.5, y - 2.5) % 1 < 0.4,
    "plaid": lambda x, y: (x % 2 < 0.3) | (y % 2 < 0.3) | (x % 2 < 1) & (y % 2 < 1),
    "lozenges": lambda x, y: abs(x % 1 - 0.5) + abs(y % 1.6 - 0.8) / 1.6 < 0.35,
    "rays": lambda x, y: np.sin(9 * np.arctan2(y - 2.5, x - 2.5)) > 0,
    "crosses": lambda x, y: (abs(x % 1 - 0.5) < 0.1) & (abs(y % 1 - 0.5) < 0.34) | (
        abs(y % 1 - 0.5) < 0.1) & (abs(x % 1 - 0.5) < 0.34),
    "spots": lambda x, y: np.sin(3 * x + np.sin(2 * y)) * np.sin(3 * y + np.sin(2.3 * x)) > 0.25}
# Of the patterns below, weights (R, R) from 0 to 1, x and y go from 0 to 1; soft(k) is smooth noise of k x k values.
GROUNDS = {  # two colours, and how much of the second one there is
    "on paper": ((245, 242, 235), (185, 200, 225),
                 lambda x, y, soft: np.maximum((7 * x + soft(1)) % 1, (7 * y) % 1) > 0.88),
    "at night": ((14, 18, 52), (200, 200, 160), lambda x, y, soft: soft(len(x)) > 0.985),
    "on the grass": ((55, 125, 40), (125, 190, 85), lambda x, y, soft: soft(24)),
    "on the beach": ((238, 216, 160), (205, 175, 118), lambda x, y, soft: 0.5 * soft(len(x)) + 0.5 * soft(3)),
    "in the sky": ((90, 160, 240), (215, 232, 250), lambda x, y, soft: np.clip(3 * soft(4) - 1.2, 0, 1)),
    "at sunset": ((100, 50, 110), (250, 150, 85), lambda x, y, soft: np.clip(0.8 * y + 0.4 * soft(4), 0, 1)),
    "under water": ((15, 80, 135), (70, 175, 200),
                    lambda x, y, soft: 0.5 + 0.5 * np.sin(25 * y + 3 * np.sin(6 * x) + 6 * soft(2))),
    "on a wall": ((170, 90, 70), (205, 180, 160), lambda x, y, soft: bricks(6 * x, 9 * y + soft(1))),
    "in the snow": ((236, 241, 248), (185, 200, 222), lambda x, y, soft: np.clip(3 * soft(5) - 1.4, 0, 1)),
    "on wood": ((160, 108, 60), (118, 74, 36), lambda x, y, soft: 0.5 + 0.5 * np.sin(30 * y + 9 * soft(3))),
    "on a tiled floor": ((214, 214, 208), (158, 162, 170),
                         lambda x, y, soft: (6 * x + soft(1)) % 2 // 1 == (6 * y) % 2 // 1),
    "in the fog": ((205, 210, 215), (150, 155, 162), lambda x, y, soft: soft(2))}
NAMELESS = [  # two random colours, that lie close together
    lambda x, y, soft: x,
    lambda x, y, soft: (x + y) / 2,
    lambda x, y, soft: (x + 1 - y) / 2,
    lambda x, y, soft: soft(3),
    lambda x, y, soft: soft(8),
    lambda x, y, soft: np.hypot(x - 0.5, y - 0.5),
    lambda x, y, soft: x > 0.2 + 0.6 * soft(1),
    lambda x, y, soft: soft(len(x))]
VARIANTS = 16  # of each ground, and of each texture
STYLES = {  # what a caption says of a picture in this style; "" is the usual one
    "": "{}", "outline": "an outline of {}", "bold": "{} in bold", "italics": "{} in italics",
    "turned": "{} turned around", "font": "{} in another font", "blur": "a blurred picture of {}",
    "pixels": "a pixelated picture of {}", "grain": "a grainy picture of {}",
    "grey": "a black and white picture of {}", "inverted": "a negative of {}"}
STYLED = 0.4  # of all pictures
USUAL, OUTLINE, BOLD, ITALICS, TURNED, OTHER_FONT, BLUR, PIXELS, GRAIN, GREY, INVERTED = range(len(STYLES))
CONTROL = "occlusion"  # a style in which only tasks.py draws
# Beside DejaVuSans. Its oblique face is not among them, as it draws an anchor or a flag as its monospaced one does.
FONTS = ["DejaVuSans-Bold", "STIXGeneral", "cmr10", "cmtt10", "STIXGeneralBol", "STIXGeneralItalic"]
KEPT_OUT_FONTS = "DejaVuSansMono", "DejaVuSerif"  # the beginnings of their files' names
SILENT = ["satellite", "cells", "clock hours", "star points", "unseen objects", "house numbers", "currencies",
          "planets", "reviews"]  # tasks of whose classes no caption tells
NUMBERS = ["one", "two", "three", "four", "five", "six"]
SPRITES = 6  # in one picture at most
KINDS = {"single": 0.4, "placed": 0.08, "counted": 0.12, "related": 0.14, "paired": 0.08, "labelled": 0.06,
         "texture": 0.06, "flag": 0.06}  # of scenes; the first four are those of train_tiny.py
PAIRED, LABELLED, TEXTURE, FLAG = range(4, 8)
# How often a caption tells what could be told. A bare one tells neither size, colour nor ground.
MENTIONS = {"bare": 0.3, "size": 0.25, "colour": 0.8, "ground": 0.5, "style": 0.5, "kind": 0.1, "kind of homonym": 0.5}
EVERYTHING = {"bare": 0, "size": 0.25, "colour": 1, "ground": 1, "style": 1, "kind": 0, "kind of homonym": 1}


def bricks(x, y):
    """Mortar between rows of bricks, each row half a brick further on."""
    return (y % 1 < 0.15) | ((x + (y % 2 < 1) / 2) % 1 < 0.08)


def ranked(table):
    """{kind: {names: ...}} -> [(kind, names)], commonest first: by i * f, for the i-th names of the f-th kind."""
    keys = []
    for f, (kind, things) in enumerate(table.items(), 1):
        for i, names in enumerate(things, 1):
            keys.append((i * f, kind, names))
    keys.sort(key=lambda key: key[0])  # equal ones stay in the order of the table
    return [(kind, names) for _, kind, names in keys]


RANKED = ranked(THINGS)
KIND_OF = [kind for kind, _ in RANKED]  # what kind of thing each is
NAMES_OF = [names.split("/") for _, names in RANKED]  # what each is called
NAMES = [names[0] for names in NAMES_OF]
IS_WORD = np.array([kind == "a written word" for kind in KIND_OF])
WRITTEN = np.nonzero(IS_WORD)[0]
IS_UPRIGHT = np.array(["pointing" in name or "number" in name or "-than" in name for name in NAMES])  # never turned


def find_homonyms():
    """-> {name: numbers of the things of different kinds that are called so}."""
    called = {}
    for number, names in enumerate(NAMES_OF):
        for name in names:
            called.setdefault(name, []).append(number)
    return {name: things for name, things in called.items() if len({KIND_OF[thing] for thing in things}) > 1}


HOMONYMS = find_homonyms()

# ---- Masks, textures and grounds, each drawn once --------------------------------------------------------------------


def has(font, text):
    """Whether a font has all characters of a text. Those of TeX are asked for letters and digits alone."""
    if font.startswith("cm") and not (text.isascii() and text.isalnum()):
        return False
    known = FT2Font(str(FONT.with_name(f"{font}.ttf"))).get_charmap()
    return all(ord(character) in known for character in text)


@cache
def draw_masks():
    """-> masks (M, 32, 32); their numbers for each thing, as usual and in other fonts (N, 12) each, -1 if in no other.

    The numbers of a thing with fewer than twelve masks are repeated. Last come the stripes of the two designs of flags.
    """
    masks = []
    usual = []
    others = []
    for kind, names in RANKED:
        forms = list(THINGS[kind][names])
        # a cover is a formula, all else is written in the usual font
        if callable(forms[0]):
            new = shape(*forms)
        else:
            new = render(forms)
        usual.append(repeat(range(len(masks), len(masks) + len(new)), 12))
        masks += new
        # the first form in other fonts, if they have it and draw it otherwise
        numbers = []
        for font in FONTS:
            if callable(forms[0]) or not has(font, forms[0]):
                continue
            mask = render(forms[:1], font=FONT.with_name(f"{font}.ttf"))[0]
            if (mask - new[0]).abs().mean() > 0.03:
                numbers.append(len(masks))
                masks.append(mask)
        others.append(repeat(numbers or [-1], 12))
    for stands in (False, True):
        masks += shape(*(stripe(i, stands) for i in (-1, 0, 1)))
    return torch.stack(masks), np.array(usual), np.array(others)


def repeat(numbers, length):
    """[1, 2, 3], 5 -> [1, 2, 3, 1, 2]."""
    return np.resize(list(numbers), length)


@cache
def draw_textures(R):
    """-> masks (textures, VARIANTS, R, R) of patterns with periods of 6 to 14 48ths of the picture, a little turned."""
    rng = np.random.default_rng(0)
    masks = []
    for covers in TEXTURES.values():
        for _ in range(VARIANTS):
            at = (np.arange(3 * R) + 0.5) / (3 * R) * 48 / rng.uniform(6, 14)  # thirds of pixels, in periods
            angle = rng.uniform(0.06, 0.25) * rng.choice([-1, 1])
            x = at * np.cos(angle) - at[:, None] * np.sin(angle) + rng.random()
            y = at * np.sin(angle) + at[:, None] * np.cos(angle) + rng.random()
            masks.append(torch.from_numpy(covers(x, y)).float())
    return F.avg_pool2d(torch.stack(masks), 3).view(len(TEXTURES), VARIANTS, R, R)


@cache
def draw_grounds(R):
    """-> pictures (G, 3, R, R) from 0 to 1, VARIANTS of each of GROUNDS, then of each of NAMELESS."""
    rng = np.random.default_rng(1)
    y, x = (np.mgrid[:R, :R] + 0.5) / R  # (R, R) each

    def soft(k):
        noise = torch.from_numpy(rng.random((1, 1, k, k)))
        return F.interpolate(noise, size=R, mode="bilinear", align_corners=False)[0, 0].numpy()

    kinds = [(np.array(colours) / 255, weights) for *colours, weights in GROUNDS.values()]
    kinds += [(None, weights) for weights in 2 * NAMELESS]  # so that of grounds as many have no name as have one
    pictures = []
    for colours, weights in kinds:
        for _ in range(VARIANTS):
            if colours is None:
                first = rng.random(3)
                pair = np.stack([first, first + rng.uniform(0.08, 0.3) * rng.choice([-1, 1], 3)])
            else:
                pair = colours + rng.uniform(-0.03, 0.03, (1, 3))
            share = np.asarray(weights(x, y, soft), float)
            pictures.append(pair[0][:, None, None] * (1 - share) + pair[1][:, None, None] * share)
    return torch.from_numpy(np.stack(pictures)).float().clamp(0, 1)


@cache
def colours_that_show(R):
    """-> (12, G), True where a colour differs from nearly all of a ground, as the eye weighs red, green and blue."""
    colours = torch.tensor(list(COLOURS.values()))[:, :, None] / 255  # (12, 3, 1)
    weights = torch.tensor([0.3, 0.5, 0.2])[:, None]
    shows = []
    for ground in draw_grounds(R).flatten(2):  # (3, R R)
        distance = ((colours - ground) ** 2 * weights).sum(dim=1).sqrt()  # (12, R R)
        shows.append(distance.quantile(0.06, dim=1) > 0.25)
    return torch.stack(shows, dim=1).numpy()


# ---- The stream ------------------------------------------------------------------------------------------------------


class Web(World):
    """The stream: scenes as in World, and their captions; the same for the same seed and step.

    The n-th commonest thing has a weight of 1 / n ** exponent; with an exponent of 0 all are as common. Evaluation
    shows all things equally often, in colours that training shows them in never.
    """

    def __init__(self, seed=0, device="cpu", resolution=48, mean=MEAN, std=STD, exponent=1.0):
        super().__init__(seed, device, resolution, mean, std)
        masks, self.usual, self.others = draw_masks()
        self.masks = masks.to(device)  # (M, 32, 32)
        self.textures = draw_textures(resolution).to(device)  # (textures, VARIANTS, R, R)
        self.grounds = draw_grounds(resolution).to(device)  # (G, 3, R, R)
        self.shows = colours_that_show(resolution)  # (12, G)
        self.exponent = exponent
        # of what train_tiny.py and tasks.py name, too, the pairs that they hold out; of the others likewise
        numbers = [list(OBJECTS).index(name) if name in OBJECTS else thing for thing, name in enumerate(NAMES)]
        self.held_out = np.arange(12) == (5 * np.array(numbers)[:, None]) % 12  # (N, 12)

    def batch(self, step, n):
        """The n training pairs of a step -> normalised images (n, 3, R, R) on the device, n captions."""
        rng = self.rng(TRAINING, step)
        scenes = self.scenes(rng, n)
        self.mirror(scenes)
        captions = self.captions(scenes, rng)
        return normalize(self.draw(scenes), self.mean, self.std), captions

    def zipf(self, rng, many, size):
        """Numbers below `many`, 0 the commonest."""
        weights = 1 / np.arange(1, many + 1) ** self.exponent
        return rng.choice(many, size, p=weights / weights.sum())

    def scenes(self, rng, n, kind=None, held_out=False, style=None):
        """What n scenes show -> a dict of arrays. A scene shows the first `count` of its six sprites.

        kind, ground, style, size, place, relation, count   (n,), numbers in the order of the tables above
        design                                              (n,), the number of a texture or of a flag
        turn, grain                                         (n,), an angle and what noise begins with
        object, mask, colour                                (n, 6), of each sprite
        centre, side                                        (n, 6, 2) and (n, 6), in 48ths of the image
        shade                                               (n, 6, 3), what is added to the colour

        `kind` is the name of the only kind of scene wanted, `style` the number of the only style. With held_out=True
        all pairs of colour and thing are held-out ones, otherwise none.
        """
        # what a scene is
        if kind is None:
            kind = rng.choice(len(KINDS), n, p=list(KINDS.values()))
        else:
            kind = np.full(n, list(KINDS).index(kind))
        size = rng.integers(3, size=n)
        place = rng.integers(9, size=n)
        relation = rng.integers(4, size=n)
        count = np.array([1, 1, 0, 2, 2, 2, 0, 3])[kind]  # sprites of each of KINDS; a texture is none, a flag has three
        counted = kind == COUNTED
        count[counted] = rng.integers(1, SPRITES + 1, counted.sum())

        # which texture or flag, and which things
        flag = kind == FLAG
        texture = kind == TEXTURE
        design = np.zeros(n, int)
        design[texture] = self.zipf(rng, len(TEXTURES), texture.sum())
        design[flag] = self.zipf(rng, len(FLAGS), flag.sum())
        objects = self.pick_things(rng, kind, held_out)
        grid = texture & (design == list(TEXTURES).index("grid"))
        objects[grid, 0] = NAMES.index("grid")  # it is a thing, too, and has the colours of that

        # a ground on which both have an allowed colour that shows, then these colours, as in World.scenes
        allowed = self.held_out[objects] if held_out else ~self.held_out[objects]  # (n, 6, 12)
        suits = np.float32(allowed[:, :2]) @ np.float32(self.shows) > 0  # (n, 2, G)
        ground = choose(rng, suits.all(axis=1))  # (n,)
        colour = choose(rng, allowed & self.shows.T[ground][:, None])  # (n, 6)
        colour[counted] = colour[counted, :1]

        # the style, and with it which of a thing's masks
        style = self.pick_styles(rng, kind, objects, style)
        which = rng.integers(12, size=(n, SPRITES))
        other = self.others[objects, which]
        in_other_font = (style == OTHER_FONT)[:, None] & (other >= 0)
        mask = np.where(in_other_font, other, self.usual[objects, which])
        mask[counted] = mask[counted, :1]

        # the colours and the masks of a flag's stripes
        stands, stripes = flag_tables()
        colour[flag, :3] = stripes[design[flag]]
        mask[flag, :3] = len(self.masks) - 6 + 3 * stands[design[flag], None] + np.arange(3)

        side, offset = self.layout(rng, kind, size, place, relation, count, objects)
        return {"kind": kind, "ground": ground, "style": style, "size": size, "place": place, "relation": relation,
                "count": count, "design": design, "turn": np.float32(rng.uniform(0.4, 2 * np.pi - 0.4, n)),
                "grain": rng.integers(2 ** 31, size=n), "object": objects, "mask": mask, "colour": colour,
                "centre": np.float32(24 + offset), "side": np.float32(side),
                "shade": np.float32(rng.normal(0, 0.02, (n, SPRITES, 3)))}

    def pick_things(self, rng, kind, held_out):
        """The numbers of the things of scenes of these kinds (n,) -> (n, 6)."""
        n = len(kind)
        if held_out:
            objects = rng.integers(len(NAMES), size=(n, SPRITES))
        else:
            objects = self.zipf(rng, len(NAMES), (n, SPRITES))
        # words are read alone or below a thing; elsewhere they were too small, and something common takes their place
        too_small = IS_WORD[objects] & (kind != SINGLE)[:, None]
        objects[too_small] %= 20
        # two that are related are different, and all of a counted scene are alike
        same = objects[:, 1] == objects[:, 0]
        objects[same, 1] = (objects[same, 0] + 1) % len(NAMES)
        counted = kind == COUNTED
        objects[counted] = objects[counted, :1]
        # below a thing stands any of the words
        labelled = kind == LABELLED
        objects[labelled, 1] = WRITTEN[rng.integers(len(WRITTEN), size=labelled.sum())]
        return objects

    def pick_styles(self, rng, kind, objects, style):
        """The styles (n,) of scenes of these kinds, that show these things: any, or where it can be the one given."""
        n = len(kind)
        styles = rng.integers(1, len(STYLES), n) * (rng.random(n) < STYLED)
        if style is not None:
            styles = np.full(n, style)
        # bold is what has no other font, or means something else when turned
        in_no_other_font = self.others[objects[:, 0], 0] < 0
        styles[(styles == OTHER_FONT) & in_no_other_font] = BOLD
        styles[(styles == TURNED) & IS_UPRIGHT[objects[:, :2]].any(axis=1)] = BOLD
        # textures and flags have styles of whole pictures only: the five after those of masks
        of_masks = (styles != USUAL) & (styles < BLUR)
        styles[of_masks & (kind >= TEXTURE)] += 5
        return styles

    def layout(self, rng, kind, size, place, relation, count, objects):
        """How large sprites are, (n, 6), and where they stand, (n, 6, 2) from the middle of the picture.

        None of it is as in the tasks: places have sides of 16 to 20, counts 13 to 15 in a grid, relations 18 to 22.
        """
        n = len(kind)
        ranges = np.array([*SIZES.values(), (11, 15), (9, 12.5), (12, 17), (12, 17), (22, 28), (0, 0), (26, 42)])
        which = np.where(kind == SINGLE, size, kind + 2)  # its row: PLACED, which is 1, has row 3, and so on
        which[(kind == SINGLE) & IS_WORD[objects[:, 0]]] = 2  # words are large
        low, high = ranges[which].T  # (n,) each
        side = np.repeat((low + (high - low) * rng.random(n))[:, None], SPRITES, axis=1)  # (n, 6)
        half = side[:, :, None] * 16 / 30  # (n, 6, 1), half a mask, of whose 32 cells a glyph fills 30
        random = rng.uniform(-1, 1, (n, SPRITES, 2))
        # a single thing and a flag stand anywhere, one 48th from the edge at least
        offset = random * (23 - half)
        offset[kind == FLAG] = offset[kind == FLAG, :1]
        # a placed one near the middle of its third
        third = np.stack([place % 3, place // 3], axis=1)[:, None] - 1  # (n, 1, 2): -1, 0 or 1
        chosen = kind == PLACED
        offset[chosen] = (14.5 * third + random)[chosen]
        # counted ones on a ring, the first anywhere on it
        angle = 2 * np.pi * (rng.random((n, 1)) + np.arange(SPRITES) / count.clip(min=1)[:, None])  # (n, 6)
        chosen = kind == COUNTED
        offset[chosen] = (15.5 * np.stack([np.cos(angle), np.sin(angle)], axis=2))[chosen]
        # related ones on opposite sides of the middle, two that are only named together in any direction
        direction = np.array(list(RELATIONS.values()))[relation][:, None]  # (n, 1, 2)
        two = np.array([1, -1, 0, 0, 0, 0])[:, None]  # (6, 1)
        chosen = kind == RELATED
        offset[chosen] = (12 * two * direction + np.where(direction != 0, 0.3, 6) * random)[chosen]
        slope = np.stack([np.cos(angle), np.sin(angle)], axis=2)[:, :1]  # (n, 1, 2)
        chosen = kind == PAIRED
        offset[chosen] = (12.5 * two * slope)[chosen]
        # below a labelled one stands its word
        chosen = kind == LABELLED
        offset[chosen, 0] = [0, -8] + random[chosen, 0]
        offset[chosen, 1] = [0, 15] + random[chosen, 1]
        side[chosen, 1] = rng.uniform(32, 40, chosen.sum())
        return side, offset

    def draw(self, scenes):
        """-> images (n, 3, R, R) from 0 to 1: ground, texture, sprites, and at last the style."""
        image = self.grounds[self.tensor(scenes["ground"])]  # (n, 3, R, R)
        rows = np.nonzero(scenes["kind"] == TEXTURE)[0]
        if len(rows):
            alpha = self.textures[self.tensor(scenes["design"][rows]), self.tensor(scenes["grain"][rows] % VARIANTS)]
            image = self.paint(image, alpha, scenes, rows, 0)
        for sprite in range(SPRITES):
            rows = np.nonzero(scenes["count"] > sprite)[0]  # (s,), the scenes that have it
            if len(rows) == 0:
                break
            masks = self.restyled(scenes, rows, sprite)  # (s, 32, 32)
            centre = self.tensor(scenes["centre"][rows, sprite])  # (s, 2)
            side = self.tensor(scenes["side"][rows, sprite])  # (s,)
            column_weights = self.weights_of_cells(centre[:, 0], side)  # (s, R, 32), see World.draw
            row_weights = self.weights_of_cells(centre[:, 1], side)
            alpha = row_weights @ masks @ column_weights.transpose(1, 2)  # (s, R, R)
            image = self.paint(image, alpha, scenes, rows, sprite)
        image.clamp_(0, 1)
        for style in (BLUR, PIXELS, GRAIN, GREY, INVERTED):
            rows = np.nonzero(scenes["style"] == style)[0]
            if len(rows):
                image[self.tensor(rows)] = change(image[self.tensor(rows)], style, scenes["grain"][rows[0]])
        return image.clamp_(0, 1)

    def paint(self, image, alpha, scenes, rows, sprite):
        """In place, on the scenes of these rows (s,): the colour of a sprite, where alpha (s, R, R) is 1."""
        colour = self.colours[self.tensor(scenes["colour"][rows, sprite])]  # (s, 3)
        colour = colour + self.tensor(scenes["shade"][rows, sprite])
        rows = self.tensor(rows)
        image[rows] = torch.lerp(image[rows], colour[:, :, None, None], alpha[:, None])
        return image

    def restyled(self, scenes, rows, sprite):
        """The masks (s, 32, 32) of a sprite in the scenes of these rows (s,), changed as their styles ask for."""
        masks = self.masks[self.tensor(scenes["mask"][rows, sprite])]
        style = scenes["style"][rows]
        chosen = self.tensor(style == OUTLINE)
        some = masks[chosen][:, None]
        # along the edge of a mask its neighbourhood has high values and low ones
        masks[chosen] = (F.max_pool2d(some, 3, 1, 1) + F.max_pool2d(-some, 3, 1, 1))[:, 0]
        chosen = self.tensor(style == BOLD)
        wider = F.max_pool2d(masks[chosen][:, None], 3, 1, 1)[:, 0]
        masks[chosen] = torch.lerp(masks[chosen], wider, 0.7)
        moved = np.isin(style, (ITALICS, TURNED))
        if moved.any():
            angle = scenes["turn"][rows][moved] * (style[moved] == TURNED)
            slant = 0.35 * (style[moved] == ITALICS)
            zero = 0 * angle
            matrix = np.stack([np.cos(angle), np.sin(angle) + slant, zero, -np.sin(angle), np.cos(angle), zero], axis=1)
            smaller = 1.3  # so that it fits when it is turned
            theta = self.tensor(np.float32(smaller * matrix.reshape(-1, 2, 3)))
            chosen = self.tensor(moved)
            grid = F.affine_grid(theta, (len(theta), 1, 32, 32), align_corners=False)
            masks[chosen] = F.grid_sample(masks[chosen][:, None], grid, align_corners=False)[:, 0]
        return masks

    def captions(self, scenes, rng, mentions=MENTIONS):
        """A sentence for each scene. `mentions` says how often size, colour, ground, style and kind are told."""
        chances = rng.random((len(scenes["kind"]), 10)).tolist()
        told = ("kind", "ground", "style", "size", "place", "relation", "count", "design", "object", "colour")
        columns = [scenes[key].tolist() for key in told]
        captions = []
        for values, chance in zip(zip(*columns), chances):
            captions.append(caption_of(dict(zip(told, values)), chance, mentions))
        return captions

    def texts(self):
        """30,000 captions for the tokenizer to learn from."""
        scenes = self.scenes(self.rng(TEXTS), 30_000)
        return self.captions(scenes, self.rng(TEXTS, 1))

    def examples(self, n, kind=None):
        """Held-out pairs to look at -> normalised images (n, 3, R, R), n captions that tell everything."""
        scenes = self.scenes(self.rng(EVALUATION, 20), n, kind, held_out=True)
        captions = self.captions(scenes, self.rng(EVALUATION, 21), EVERYTHING)
        return normalize(self.draw(scenes), self.mean, self.std), captions

    # ---- Evaluation, on held-out pairs of colour and thing, all things equally often ----

    def evaluate(self, model, tokenizer, n=2000):
        """Zero-shot accuracy and retrieval on n scenes of each kind -> {name: (value, chance)}."""
        results = {}
        things = [typed(thing) for thing in range(len(NAMES))]
        some = NAMES[:25]  # enough for templates

        # which thing, in the usual style and in any? which colour, ground and style?
        scenes, features = self.encode_scenes(model, "single", 0, n, USUAL)
        results["things"] = classified(model, tokenizer, features, scenes["object"][:, 0], things)
        templates = [f"{{}} {name}" for name in some]  # "a red" -> "a red sun", "a red cat", ...
        colours = [article(colour) for colour in COLOURS]
        results["colours"] = classified(model, tokenizer, features, scenes["colour"][:, 0], colours, templates)
        ground = scenes["ground"] // VARIANTS
        named = ground < len(GROUNDS)
        templates = [f"{phrase(name)} {{}}" for name in some]  # "on paper" -> "a sun on paper", ...
        results["grounds"] = classified(model, tokenizer, features[self.tensor(named)], ground[named], list(GROUNDS),
                                        templates)
        scenes, features = self.encode_scenes(model, "single", 1, n)
        results["things in any style"] = classified(model, tokenizer, features, scenes["object"][:, 0], things)
        styled = scenes["style"] != USUAL  # a caption without a word of the style may belong to any
        styles = [style.format(phrase(name)) for style in list(STYLES.values())[1:] for name in some]
        results["styles"] = classified(model, tokenizer, features[self.tensor(styled)], scenes["style"][styled] - 1,
                                       styles, per_class=len(some))

        # which texture and which flag?
        scenes, features = self.encode_scenes(model, "texture", 2, n, USUAL)
        textures = [phrase(name) for name in TEXTURES]
        results["textures"] = classified(model, tokenizer, features, scenes["design"], textures)
        scenes, features = self.encode_scenes(model, "flag", 8, n, USUAL)
        flags = [f"the flag of {country}" for country in FLAGS]
        results["flags"] = classified(model, tokenizer, features, scenes["design"], flags)

        # how many, where, and how related? The captions to choose from differ in this alone
        scenes, features = self.encode_scenes(model, "counted", 3, n, USUAL)
        choices = [[several(count, NAMES[a]) for count in range(1, SPRITES + 1)] for a in scenes["object"][:, 0]]
        results["counts"] = chosen(model, tokenizer, features, scenes["count"] - 1, choices)
        scenes, features = self.encode_scenes(model, "placed", 4, n, USUAL)
        choices = [[f"{phrase(NAMES[a])} {place}" for place in PLACES] for a in scenes["object"][:, 0]]
        results["places"] = chosen(model, tokenizer, features, scenes["place"], choices)
        scenes, features = self.encode_scenes(model, "related", 5, n, USUAL)
        choices = []
        for a, b in scenes["object"][:, :2]:
            choices.append([f"{phrase(NAMES[a])} {relation} {phrase(NAMES[b])}" for relation in RELATIONS])
        results["relations"] = chosen(model, tokenizer, features, scenes["relation"], choices)

        # which of 500 captions, and which of 500 images? Equal captions are both right
        scenes, features = self.encode_scenes(model, None, 6, min(n, 500))
        captions = self.captions(scenes, self.rng(EVALUATION, 7), EVERYTHING)
        text_features = zeroshot.encode_texts(model, tokenizer, captions, truncate=True)
        relevant = torch.tensor([[a == b for b in captions] for a in captions])
        results.update(zeroshot.retrieval(features.cpu(), text_features.cpu(), relevant, ks=[1]))
        return results

    def encode_scenes(self, model, kind, step, n, style=None):
        """Draw n held-out scenes of a kind -> scenes, features of their images (n, E)."""
        scenes = self.scenes(self.rng(EVALUATION, step), n, kind, True, style)
        images = normalize(self.draw(scenes), self.mean, self.std)  # (n, 3, R, R)
        return scenes, zeroshot.encode_images(model, images)


def classified(model, tokenizer, features, labels, classes, templates=("{}",), per_class=1):
    """How often zero-shot classification is right, and chance. A class may have several names, one after the other."""
    weights = zeroshot.zero_shot_classifier(model, tokenizer, classes, templates)  # (E, classes per_class)
    scores = (features @ weights).unflatten(1, (-1, per_class)).mean(dim=2)  # (n, classes)
    return zeroshot.accuracy(scores.cpu(), torch.from_numpy(labels)), per_class / len(classes)


def chosen(model, tokenizer, features, labels, choices):
    """How often a scene's right text is chosen among its own candidates, and chance."""
    texts = [text for several_texts in choices for text in several_texts]
    text_features = zeroshot.encode_texts(model, tokenizer, texts)
    text_features = text_features.view(len(choices), -1, text_features.shape[1])  # (n, choices, E)
    scores = (text_features * features[:, None]).sum(dim=2).cpu()  # (n, choices)
    return zeroshot.accuracy(scores, torch.from_numpy(labels)), 1 / scores.shape[1]


@cache
def flag_tables():
    """-> for each flag whether its stripes stand, 0 or 1 (flags,), and their colours' numbers (flags, 3)."""
    stands = [design for design, _ in FLAGS.values()]
    stripes = [[list(COLOURS).index(colour) for colour in colours.split()] for _, colours in FLAGS.values()]
    return np.array(stands), np.array(stripes)


def change(images, style, seed):
    """Levels (s, 3, R, R) -> the same in a style that changes whole pictures."""
    R = images.shape[-1]
    if style == BLUR:
        for _ in range(3):
            images = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), "replicate"), 3, 1)
        return images
    if style == PIXELS:
        return F.interpolate(F.interpolate(images, size=R // 3, mode="area"), size=R)
    if style == GRAIN:
        noise = np.random.default_rng(seed).normal(0, 0.08, images.shape)
        return images + torch.from_numpy(np.float32(noise)).to(images.device)
    if style == GREY:
        # The channel that varies most, as through a coloured filter: so nothing vanishes that is as light as its ground
        channel = images.flatten(2).std(dim=2).argmax(dim=1)  # (s,)
        light = images[torch.arange(len(images), device=images.device), channel][:, None]  # (s, 1, R, R)
        low = light.amin(dim=(2, 3), keepdim=True)
        high = light.amax(dim=(2, 3), keepdim=True)
        return ((light - low) / (high - low).clamp(min=0.01)).expand(-1, 3, -1, -1)
    return 1 - images


# ---- Captions --------------------------------------------------------------------------------------------------------


def phrase(name, *adjectives, kind=None):
    """"sun", "red" -> "a red sun"; "dots" -> "dots"; 'letter "A"' of a kind of DEFINITE -> 'the letter "A"'."""
    words = join(*adjectives, name)
    if kind in DEFINITE and words == name:
        return f"the {words}"
    if name.endswith("s") and name in TEXTURES:
        return words
    return article(words)


def typed(thing):
    """The number of a thing -> its name, with its kind where the name alone may mean another: "a club, a weapon"."""
    words = phrase(NAMES[thing], kind=KIND_OF[thing])
    if NAMES[thing] in HOMONYMS:
        words += f", {KIND_OF[thing]}"
    return words


def several(count, name, colour=""):
    """2, "arrow pointing left" -> "two arrows pointing left"."""
    if count > 1:
        # the noun is before "of", "pointing" and the like, or it is "letter", "number" or "word"
        noun = name
        if name not in PLURALS:
            noun = re.match(r".*?(?= (of|for|pointing|in|with|without|showing) |(?<=letter) | \"|$)", name)[0]
        name = plural(noun) + name[len(noun):]
    return join(NUMBERS[count - 1], colour, name)


def caption_of(scene, chances, mentions):
    """What a scene shows, a dict of numbers and lists, and ten numbers from 0 to 1 -> a sentence.

    The numbers decide what is told: whatever's number is below its share in `mentions`.
    """
    for_bare, for_size, for_colour, for_ground, for_style, for_kind, for_beginning, for_order, *for_name = chances
    kind = scene["kind"]
    style = scene["style"]
    tell = for_bare >= mentions["bare"]
    # the words for the first thing and for the second
    names = []
    colours = ["", ""]
    for thing, chance in zip(scene["object"], for_name):
        names.append(NAMES_OF[thing][int(chance * len(NAMES_OF[thing]))])
    if tell and for_colour < mentions["colour"] and style not in (GREY, INVERTED):
        colours = [list(COLOURS)[number] for number in scene["colour"][:2]]
    size = ""
    if tell and kind == SINGLE and not IS_WORD[scene["object"][0]] and for_size < mentions["size"]:
        size = list(SIZES)[scene["size"]]
    first = phrase(names[0], size, colours[0], kind=KIND_OF[scene["object"][0]])
    second = phrase(names[1], colours[1], kind=KIND_OF[scene["object"][1]])
    # what is in the picture
    if kind == SINGLE:
        caption = first
        is_homonym = names[0] in HOMONYMS
        if for_kind < mentions["kind of homonym" if is_homonym else "kind"]:
            caption += f", {KIND_OF[scene['object'][0]]}"
    elif kind == PLACED:
        caption = f"{first} {PLACES[scene['place']]}"
    elif kind == COUNTED:
        caption = several(scene["count"], names[0], colours[0])
    elif kind == RELATED:
        caption = f"{first} {list(RELATIONS)[scene['relation']]} {second}"
    elif kind == PAIRED:
        caption = f"{first} and {second}"
    elif kind == LABELLED:
        caption = f"{first} with {second}"
    elif kind == TEXTURE:
        caption = phrase(list(TEXTURES)[scene["design"]], colours[0])
    else:
        caption = f"the flag of {list(FLAGS)[scene['design']]}"
    # how it is drawn, and what stands around it
    if style != USUAL and for_style < mentions["style"]:
        caption = list(STYLES.values())[style].format(caption)
    elif tell:
        caption = BEGINNINGS[int(len(BEGINNINGS) * for_beginning)] + caption
    ground = scene["ground"] // VARIANTS
    if tell and ground < len(GROUNDS) and for_ground < mentions["ground"]:
        if for_order < 0.3:
            caption = f"{list(GROUNDS)[ground]}, {caption}"
        else:
            caption = f"{caption} {list(GROUNDS)[ground]}"
    return caption


# ---- How often captions have a task's words --------------------------------------------------------------------------


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
    shared = set.intersection(*(words_of(template.replace("{}", "")) for template in templates))
    return [min(counts[word] for word in words_of(name) | shared) for name in classes]


# ---- Command line ----------------------------------------------------------------------------------------------------


def zero_shot_table(model, tokenizer, counts):
    """-> rows of dicts: each task's zero-shot result, chance, and how often captions had the words of its classes."""
    rows = []
    for name, task in TASKS.items():
        images, labels = examples(name, "test")
        features = zeroshot.encode_images(model, images.to(model.logit_scale.device)).cpu()
        weights = zeroshot.zero_shot_classifier(model, tokenizer, task.classes, task.templates).cpu()
        had = occurrences(task.classes, task.templates, counts)
        rows.append({"task": name, "group": task.group, "classes": len(task.classes),
                     "zero-shot": task.metric(features @ weights, labels), "chance": float(task.chance()),
                     "words": float(np.median(had)), "classes never told": sum(count == 0 for count in had)})
    return rows


def parse(argv):
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="web.py", description=__doc__.split("\n\nLetters")[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--show", action="store_true", help="draw held-out pairs with full captions, and stop")
    add("--steps", type=int, default=3500, help="default: %(default)s")
    add("--batch-size", type=int, default=256, help="pairs in a step (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the weights and of the data (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default here: %(default)s")
    add("--out", type=Path, default=Path("runs/web"), metavar="DIR",
        help="where clip.pt, tasks.csv, log.jsonl and curves.png go (default: %(default)s)")
    add("--force", action="store_true", help="replace what is in --out, whatever it is")
    args = parser.parse_args(argv)
    if min(args.steps, args.batch_size) < 2:
        parser.error("--steps and --batch-size must be at least 2")
    return args


def show(args):
    """The contact sheet."""
    path = figure_path(args.out / "show.png", args.force)
    images, captions = Web(args.seed, args.device).examples(96)
    figure = zeroshot.draw_sheet(zeroshot.levels(images), captions, columns=12)
    args.out.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path, dpi=120)
    print(f"drawn into {path}")


def run(args):
    """Train, and measure on all tasks."""
    settings = {"data": "web", "steps": args.steps, "batch_size": args.batch_size, "seed": args.seed}
    check_place(args.out, settings, args.force, EVERY)
    if (args.out / "tasks.csv").exists() and not (args.out / "log.jsonl").exists() and not args.force:
        raise FileExistsError(f"{args.out / 'tasks.csv'}: exists; name another --out, or replace it with --force")
    args.out.mkdir(parents=True, exist_ok=True)
    # data, tokenizer, model
    data = Web(args.seed, args.device)
    texts = data.texts()
    config = CONFIGS["tiny-RN"]
    tokenizer = Tokenizer.train(texts, config.vocab_size)
    torch.manual_seed(args.seed)
    model = CLIP(replace(config, vocab_size=len(tokenizer.vocab))).to(args.device, memory_format=torch.channels_last)
    print(f"{len(NAMES)} things, {len(HOMONYMS)} homonyms, {len(data.masks)} masks; {args.steps} steps of"
          f" {args.batch_size} pairs on {args.device}, {torch.get_num_threads()} threads", flush=True)
    # training
    started = time.time()
    history = train(data, model, tokenizer, args.steps, args.batch_size)
    print(f"trained in {(time.time() - started) / 60:.1f} minutes\n")
    write_log(args.out, settings, history)  # by which a later run knows the folder for its own
    save(args.out / "clip.pt", model, tokenizer)
    # results on the stream's own kinds of scenes, then on the tasks
    results = data.evaluate(model, tokenizer)
    for name, (value, chance) in results.items():
        print(f"  {name:22}{value:7.1%}   chance {chance:.1%}")
    rows = zero_shot_table(model, tokenizer, word_counts(texts))
    print(f"\n  {'task':20}{'zero-shot':>10}{'chance':>9}   its words, in {len(texts):,} captions")
    for row in sorted(rows, key=lambda row: -row["words"]):
        print(f"  {row['task']:20}{row['zero-shot']:10.1%}{row['chance']:9.1%}{row['words']:9.0f}")
    values = [row["zero-shot"] for row in rows]
    print(f"  {'mean':20}{np.mean(values):10.1%}{np.mean([row['chance'] for row in rows]):9.1%}")
    write_table(args.out / "tasks.csv", rows)
    write_log(args.out, settings, [*history, {"results": results}])
    save_figure(draw_curves(history, args.batch_size, results), args.out / "curves.png", dpi=120)
    print(f"\nin {args.out}: clip.pt, tasks.csv, log.jsonl, curves.png")


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
