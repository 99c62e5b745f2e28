"""Your own captioned pictures as training data: a folder in any of five layouts.

    python train_tiny.py --data DIR --out runs/mine          trains on the folder DIR
    python tutorial/extras/own_images.py DIR                 says first what is found in it
    python tutorial/extras/own_images.py DIR --captions-from-names

Of these layouts the first that a folder has is read, and with --captions-from-names the last:

    captions file    captions.txt, captions.csv, captions.tsv, metadata.csv or metadata.tsv: a table with a
                     header, such as id,image,caption, or lines image,caption without one. Between
                     the cells are commas, tabs, semicolons or vertical bars, around them quotes or
                     none. An image may have several lines, or several columns of captions.
                     Or Flickr's Flickr8k.token.txt and results_20130124.token.
    JSON lines       captions.jsonl or metadata.jsonl: lines {"image": "a.jpg", "caption": "a dog"}.
                     "file_name" and "text" will do for the fields, and a list for the caption.
    JSON             captions.json: a list of such objects, or {"a.jpg": "a dog", ...}. Or COCO's
                     captions_train2017.json, captions_train2014.json, captions_val2017.json or
                     captions_val2014.json.
    side-car files   photo.txt, photo.jpg.txt or photo.caption beside photo.jpg, each line a caption.
    names            no captions, but telling names: birds/red_robin_02.png is "red robin, birds".

Captions files are looked for in the folder, and in train/, Flickr8k_text/ and annotations/ in it.
Names of images are relative to the captions file, to the folder, or to Images/, train2017/ and the
like in it, as downloaded. Text files must be UTF-8. What can't be used is left out, with a line that
says so: an absent or unreadable picture or one of more than 179 million pixels, an empty caption, a
name that leads out of the folder. A captions file that does not tell its columns is an error.

Letters in shape comments: n images, H height, W width, R resolution, E joint embedding.
"""
import argparse
import ast
import csv
import json
import os
import re
import shlex
import sys
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

if __name__ == "__main__":
    os.environ.pop("MPLBACKEND", None)  # which matplotlib would look at, and which may name what is absent
ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from clip_minimal import CONFIGS, MEAN, STD, normalize
from tutorial.extras.pictures import (OTHER_PICTURES, PICTURES, describe_other_pictures, find_files, made_here,
                                      open_image, print_anything)
from zeroshot import encode_images, encode_texts, retrieval

# Captions files in the order in which they are looked for, in any case of letters; where they may lie, and
# where the pictures that they name
LISTINGS = ["captions.txt", "captions.csv", "captions.tsv", "captions.jsonl", "captions.json",
            "metadata.csv", "metadata.tsv", "metadata.jsonl", "Flickr8k.token.txt", "results_20130124.token",
            "captions_train2017.json", "captions_train2014.json", "captions_val2017.json",
            "captions_val2014.json"]
LISTING_FOLDERS = ["", "train", "Flickr8k_text", "annotations"]
PICTURE_FOLDERS = ["", "Images", "images", "Flicker8k_Dataset", "Flickr8k_Dataset",
                   "Flickr8k_Dataset/Flicker8k_Dataset", "flickr30k-images", "flickr30k_images",
                   "train2017", "train2014", "val2017", "val2014"]
# What columns of tables and fields of JSON are called. Of several that there are, the first counts.
IMAGE_KEYS = ["image", "file_name", "filename", "filepath", "file_path", "image_name", "image_path",
              "image_file", "path", "file", "img"]
CAPTION_KEYS = ["caption", "captions", "text", "comment", "description", "title", "sentence", "sentences"]

# ---- Captions: one function for each layout ------------------------------------------------------


def read_captions(root, from_names=False):
    """A folder -> ({image path: [caption, ...]}, [what was left out and why, ...]).

    With from_names, the names of files and folders are the captions. FileNotFoundError where there
    is no such folder, ValueError where its captions file can't be read as one.
    """
    found = find_captions(root, from_names)
    return found.captions, found.left_out


def find_captions(root, from_names=False):
    """A folder -> Found, which has the captions, what was left out, and the layout that was read."""
    if str(root) == "":
        raise FileNotFoundError('the folder is "", which names none')
    if not os.path.isdir(root):
        raise FileNotFoundError(f"{root}: no such folder")
    found = Found(root)
    if from_names:
        found.layout = "names"
        read_names(found)
        return found
    find_listing(found)
    if found.listing is None:
        found.layout = "side-car files"
        read_sidecar_files(found)
    elif found.listing.suffix.lower() == ".jsonl":
        found.layout = f"JSON lines {found.listing}"
        read_json_lines(found)
    elif found.listing.suffix.lower() == ".json":
        found.layout = f"JSON {found.listing}"
        read_json(found)
    else:
        found.layout = f"captions file {found.listing}"
        read_table(found)
    return found


def find_listing(found):
    """Look for captions files: the first is read, others are passed over, and notes are left out."""
    for folder in LISTING_FOLDERS:
        files = {}
        if (found.root / folder).is_dir():
            files = {path.name.lower(): path for path in sorted((found.root / folder).iterdir())}
        for name in LISTINGS:
            path = files.get(name.lower())
            if path is None or not path.is_file():
                continue
            if is_note(path, found):
                found.leave_out(path, "no captions file: few of its lines name a picture")
            elif found.listing is None:
                found.listing = path
                found.folders.insert(0, path.parent)
            else:
                found.passed_over.append(path)


class Found:
    """What a folder holds: the captions of each image, and what was left out. Readers add to both."""

    def __init__(self, root):
        self.given = os.path.abspath(root)  # which may be a link
        self.root = Path(root).resolve()
        self.layout = None  # in words
        self.listing = None  # the captions file that is read
        self.passed_over = []  # captions files that are not
        self.folders = [self.root / name for name in PICTURE_FOLDERS if (self.root / name).is_dir()]
        self.composed = None  # the paths of all files, by their names with composed letters
        self.captions = {}  # image path -> [caption, ...]
        self.left_out = []  # a line for each thing that can't be used

    def leave_out(self, where, why):
        """Note what can't be used: the file or the line of a file, and the reason."""
        line = f"{where}: {why}"
        self.left_out.append(line.replace("\n", " "))

    def add(self, where, name, caption):
        """Note one caption of the image of that name, or that it can't be used."""
        if not caption.strip():
            self.leave_out(where, "empty caption")
            return
        if not name:
            self.leave_out(where, "no image: its name is not given")
            return
        try:
            path = self.find_image(str(name))
            if not is_inside(path, self.root):
                self.leave_out(where, f"{path} is outside the folder")
                return
            if path not in self.captions:
                check_picture(path)
                self.captions[path] = []
        except (ValueError, OSError) as error:
            self.leave_out(where, f"no image: {error}")
            return
        caption = caption.encode("utf-8", "replace").decode()  # half of a surrogate pair becomes "?"
        caption = " ".join(caption.split())  # one line
        self.captions[path].append(caption)

    def find_image(self, name):
        """The path of the image that a captions file names, however its system writes names.

        Names may have backslashes, they may be absolute, and an é may be one character in the name and
        two on the disk, or the reverse. An image that is not found has its path in the folder.
        """
        if os.path.isabs(name) and is_inside(name, self.given):
            name = os.path.relpath(name, self.given)
        elif os.path.isabs(name) and is_inside(os.path.realpath(name), self.root):
            name = os.path.relpath(os.path.realpath(name), self.root)
        for spelling in (name, name.replace("\\", "/")):
            path = self.find_exactly(spelling)
            if path is not None:
                return path
        if self.composed is None:
            self.composed = {compose(path): path for path in find_files(self.root)}
        for folder in self.folders:
            path = compose(os.path.abspath(folder / spelling))
            if path in self.composed:
                return self.composed[path]
        return self.root / name

    def find_exactly(self, name):
        """The path of the file of that name, beside the captions file or in PICTURE_FOLDERS; or None."""
        for folder in self.folders:
            if os.path.isfile(folder / name):  # Path.is_file would raise an error for some names
                return Path(os.path.abspath(folder / name))
        return None


def compose(text):
    """Text or a path -> text in which an e and the accent on it are one character, é."""
    return unicodedata.normalize("NFC", str(text))


# ---- Tables: captions.txt, .csv, .tsv ------------------------------------------------------------


def read_table(found):
    """Rows of a table: a header says which columns hold the image's name and its captions."""
    lines = read_lines(found.listing)
    delimiter = find_delimiter(lines)
    rows = read_rows(lines, delimiter)
    if not rows:
        return
    # which column holds what? without a header it is two columns
    number, first = rows[0]
    where = f"{found.listing}, line {number + 1}"
    if any(is_image(cell, found) for cell in first):
        check_width(where, [cells for _, cells in rows])
        image = 0
        captions = [1]
        width = 2
    else:
        image, captions = known_columns(where, first)
        width = len(first)
        rows = rows[1:]
    # the captions of each row
    for number, cells in rows:
        where = f"{found.listing}, line {number + 1}"
        surplus = any(cells[width:])
        one_line = "\n" not in "".join(cells)
        if surplus and one_line and captions[-1] == width - 1:
            # commas in a caption in the last column
            cells = cells[:width - 1] + lines[number].split(delimiter, width - 1)[width - 1:]
        elif surplus:
            found.leave_out(where, f"{len(cells)} columns, and the header has {width}")
            continue
        cells = [cell.strip() for cell in cells] + [""] * width
        # Flickr8k numbers the captions of an image: 1000268201_693b08cb0e.jpg#0
        name = re.sub(r"#\d+$", "", cells[image])
        texts = []
        for column in captions:
            texts += split_captions(cells[column])
        for caption in texts or [""]:
            found.add(where, name, caption)


def find_delimiter(lines):
    """What is between the cells of a table by its first line: a tab, comma, semicolon or vertical bar."""
    first = next((line for line in lines if line.strip()), "")
    splits = {delimiter: split_line(first, delimiter) for delimiter in "\t,;|" if delimiter in first}
    for delimiter, cells in splits.items():
        if names_picture(cells[0]):
            return delimiter
    for delimiter, cells in splits.items():
        if any(tidy_key(cell) in IMAGE_KEYS + CAPTION_KEYS for cell in cells):
            return delimiter
    return max("\t,;|", key=first.count)


def split_line(line, delimiter):
    """'"a.jpg", a dog' -> ["a.jpg", "a dog"], without a thought about commas in quotes."""
    return [cell.strip(' "') for cell in line.split(delimiter)]


def read_rows(lines, delimiter):
    """The lines of a table -> [(the number of the line that a row begins in, its cells), ...], without blank rows."""
    rows = []
    number = 0
    while number < len(lines):
        cells, used = read_row(lines, number, delimiter)
        if "".join(cells).strip():
            rows.append((number, cells))
        number += used
    return rows


def read_row(lines, number, delimiter):
    """The row that begins in a line, lines[number] -> (its cells, how many lines it takes).

    Cells may be in quotes as spreadsheets write them, with line ends and "" for " in them. What is not
    so is no quoting: a quotation mark that is not closed, or is closed before the cell ends. Tables
    with tabs mostly go without, so that "Hello" keeps its marks there, unless the first cell has some.
    """
    line = lines[number]
    as_it_is = line.split(delimiter)
    if '"' not in line:
        return as_it_is, 1
    rest = (lines[i] + "\n" for i in range(number, len(lines)))
    reader = csv.reader(rest, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        cells = next(reader)
    except csv.Error:
        return as_it_is, 1
    used = reader.line_num
    # another row within the quotes: they are no pair
    if any(names_picture(split_line(later, delimiter)[0]) for later in lines[number + 1:number + used]):
        return as_it_is, 1
    if delimiter == "\t" and used == 1 and not line.startswith('"') and '""' not in line:
        return as_it_is, 1
    return cells, used


def split_captions(cell):
    """A cell of a table -> its captions: none, one, or several as pandas writes them, ['a dog', 'two dogs']."""
    if cell.startswith(("['", '["')):
        try:
            captions = ast.literal_eval(cell)
            if all(isinstance(caption, str) for caption in captions):
                return captions
        except (ValueError, SyntaxError, TypeError):
            pass  # a caption that happens to begin so
    return [cell] if cell else []


def check_width(where, rows):
    """ValueError if the rows of a table without a header have more than a name and a caption with commas in it."""
    if min(len(cells) for cells in rows) < 3:
        return
    same = len(rows) > 1 and len({len(cells) for cells in rows}) == 1
    # a number beside each name or at each end, though some captions have commas
    second = all(cells[1].strip().isdigit() for cells in rows)
    last = all(cells[-1].strip().isdigit() for cells in rows)
    if same or second or last:
        raise ValueError(f"{where}: {len(rows[0])} columns without a header that says what they hold;"
                         " expected one such as image,caption,number")


def known_columns(where, keys):
    """Which column or field holds names, and which captions -> position, [position, ...].

    ValueError where that can't be told.
    """
    names = positions(keys, IMAGE_KEYS)
    captions = positions(keys, CAPTION_KEYS)
    if len(names) != 1 or not captions:
        there = ", ".join(key.strip() for key in keys)
        raise ValueError(f"{where}: it has {there[:200]}; expected one of {', '.join(IMAGE_KEYS)}"
                         f" for the picture's name, and one of {', '.join(CAPTION_KEYS)} for the caption")
    return names[0], captions


def positions(keys, known):
    """Where the first known key is: ["id", "caption_1", "caption_2"], CAPTION_KEYS -> [1, 2]."""
    keys = [tidy_key(key) for key in keys]
    for name in known:
        if name in keys:
            return [i for i, key in enumerate(keys) if key == name]
    return []


def tidy_key(key):
    """"File Name" -> "file_name", "caption_2" -> "caption"."""
    key = re.sub(r"[\s-]+", "_", key.strip().lower())
    return re.sub(r"_?\d+$", "", key)


def names_picture(cell):
    """Whether a cell of a table ends as names of pictures do, perhaps with Flickr8k's number."""
    name = re.sub(r"#\d+$", "", cell.strip())
    return os.path.splitext(name)[1].lower() in PICTURES | OTHER_PICTURES


def is_image(cell, found):
    """Whether a cell of a table is the name of an image, by its ending, or because there is such a file."""
    return names_picture(cell) or found.find_exactly(cell.strip()) is not None


def is_note(listing, found):
    """Whether a text file with the name of a captions file is none: most of its lines name no picture."""
    if listing.suffix.lower() != ".txt":
        return False
    rows = [re.split(r"[\t,;|]", line) for line in read_lines(listing) if line.strip()]
    rows = [[cell.strip(' "') for cell in row] for row in rows]
    if rows and positions(rows[0], IMAGE_KEYS) and positions(rows[0], CAPTION_KEYS):
        return False  # a header
    naming = [row for row in rows if any(is_image(cell, found) for cell in row)]
    return len(naming) <= len(rows) / 2


# ---- JSON: captions.json, metadata.jsonl ---------------------------------------------------------


def read_json_lines(found):
    """Lines of {"image" or "file_name": a name, "caption" or "text": a caption or a list of them}."""
    rows = []
    for number, line in enumerate(read_lines(found.listing), 1):
        if not line.strip():
            continue
        where = f"{found.listing}, line {number}"
        try:
            rows.append((where, json.loads(line)))
        except (ValueError, RecursionError) as error:
            found.leave_out(where, error)
    read_objects(rows, found)


def read_json(found):
    """A list of such objects, an object {name: caption or list of captions}, or COCO's captions."""
    try:
        data = json.loads("\n".join(read_lines(found.listing)))
        if isinstance(data, dict) and "images" in data and "annotations" in data:
            data = join_coco(data)
        elif isinstance(data, dict) and any(names_picture(name) for name in data):
            data = [{"image": name, "caption": captions} for name, captions in data.items()]
        elif isinstance(data, dict):
            data = [data]  # whose keys are looked at next
        if not isinstance(data, list):
            raise ValueError(f"it is {type(data).__name__!r} and no list")
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        expected = '{"image": ..., "caption": ...}'
        raise ValueError(f"{found.listing}: not a list of {expected} ({error})") from None
    rows = [(f"{found.listing}, entry {number}", row) for number, row in enumerate(data, 1)]
    read_objects(rows, found)


def join_coco(data):
    """COCO's {"images": [...], "annotations": [...]} -> [{"image": a name, "caption": a caption}, ...]."""
    names = {image["id"]: image["file_name"] for image in data["images"]}
    rows = []
    for annotation in data["annotations"]:
        name = names.get(annotation["image_id"])
        rows.append({"image": name, "caption": annotation["caption"]})
    return rows


def read_objects(rows, found):
    """Note the captions in pairs of where an object stands and the object."""
    # is any name of the fields known?
    fields = {key: None for _, row in rows if isinstance(row, dict) for key in row}
    if fields:
        known_columns(found.listing, list(fields))
    for where, row in rows:
        try:
            name, captions = parse_object(row)
        except ValueError as error:
            found.leave_out(where, error)
            continue
        for caption in captions:
            found.add(where, name, caption)


def parse_object(row):
    """{"image": "a.jpg", "caption": "a dog"} -> ("a.jpg", ["a dog"]).

    What is absent is "". ValueError for what is no such object.
    """
    if not isinstance(row, dict):
        raise ValueError(f'not {{"image": ..., "caption": ...}} but {type(row).__name__!r}')
    values = list(row.values())
    names = positions(row, IMAGE_KEYS)
    name = values[names[0]] if names else None
    # one caption or several, in one field or several
    captions = []
    for position in positions(row, CAPTION_KEYS):
        texts = values[position]
        if isinstance(texts, str):
            texts = [texts]
        if not isinstance(texts, list):
            raise ValueError(f"a caption must be text or a list of texts, not {type(texts).__name__!r}")
        captions += texts
    for caption in captions:
        if not isinstance(caption, str):
            raise ValueError(f"each caption must be text, not {type(caption).__name__!r}")
    if name is None:
        name = ""
    return str(name), captions or [""]  # so that it is reported


# ---- Side-car files and names --------------------------------------------------------------------


def read_sidecar_files(found):
    """Beside photo.jpg there is photo.txt, photo.jpg.txt or photo.caption, each line a caption."""
    for path in find_pictures(found):
        places = [path.with_suffix(".txt"), Path(f"{path}.txt"), path.with_suffix(".caption")]
        sidecars = [place for place in places if place.is_file()]
        if not sidecars:
            found.leave_out(path, f"no captions: there is no {places[0].name}")
            continue
        sidecar = sidecars[0]
        for other in sidecars[1:]:
            found.leave_out(other, f"{sidecar.name} is read instead")
        try:
            captions = read_lines(sidecar)
        except (ValueError, OSError) as error:
            found.leave_out(path, error)
            continue
        for caption in captions:
            found.add(sidecar, path, caption)


def read_names(found):
    """Names of files and folders are the captions."""
    for path in find_pictures(found):
        found.add(path, path, name_to_caption(path.relative_to(found.root)))


def name_to_caption(path):
    """birds/red_robin_02.png -> "red robin, birds": the words of each name, the file's first."""
    phrases = []
    for name in reversed(path.with_suffix("").parts):
        words = find_words(name)
        if words:
            phrases.append(" ".join(words))
    return ", ".join(phrases)


def find_words(name):
    """The runs of letters in a name, with their marks: accents, vowels of Hindi or Arabic, joiners."""
    text = ""
    for character in compose(name):
        kind = unicodedata.category(character)[0]
        if kind in "LM" or character in "\u200c\u200d":
            text += character
        else:
            text += " "
    return [word for word in text.split() if any(character.isalpha() for character in word)]


# ---- Files ---------------------------------------------------------------------------------------


def read_lines(path):
    """A text file -> its lines. ValueError where it is not UTF-8."""
    try:
        text = Path(path).read_text("utf-8-sig")  # without the mark that Windows puts at the beginning
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise ValueError(f"{path}: not UTF-8 ({reason}); save it as UTF-8") from None
    return text.removesuffix("\n").split("\n")


def find_pictures(found):
    """The paths of all picture files in the folder, in the order of their names. The others are counted."""
    files = find_files(found.root)
    problem = describe_other_pictures(files)
    if problem:
        found.left_out.append(problem)
    return [path for path in files if path.suffix.lower() in PICTURES]


def is_inside(path, root):
    """Whether a path lies in the folder root, once each ".." in it is followed."""
    return Path(os.path.abspath(path)).is_relative_to(root)


def check_picture(path):
    """Read the head of a picture file alone. One line of ValueError or FileNotFoundError if it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a picture is large; one that is huge is an error
            with Image.open(path):
                pass
        if made_here(path):
            raise ValueError("it is a figure of this project")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable picture ({error})") from None


# ---- Training data -------------------------------------------------------------------------------


class Folder:
    """The captioned images of a folder, with the methods of train_tiny.World.

    A tenth of the images, at most 500, is held out. The split is by image, so that no caption of a
    held-out image is ever trained on. Images are decoded when they are needed, and as many of them
    are kept as fit into memory (in bytes). With quiet, nothing is printed. Mean and deviation are what
    the model wants its pictures normalised with. FileNotFoundError where there is no such folder,
    ValueError where it holds fewer than 20 images.
    """

    def __init__(self, root, resolution, seed=0, device="cpu", from_names=False, memory=2e9, quiet=False,
                 mean=MEAN, std=STD):
        self.root = root
        self.resolution = resolution
        self.mean = mean
        self.std = std
        self.seed = seed
        self.device = device
        self.quiet = quiet
        self.memory_left = memory
        self.kept = {}  # index of an image -> its pixels
        self.unreadable = set()  # indices of images
        self.left_out = []  # what can't be used, a line each
        self.pool = ThreadPoolExecutor()  # Pillow lets other threads run while it decodes and resizes
        found = find_captions(root, from_names)
        self.layout = found.layout
        self.passed_over = found.passed_over
        self.paths = list(found.captions)
        self.captions = list(found.captions.values())
        # hold out a tenth, and of it what can be decoded
        order = np.random.default_rng(seed).permutation(len(self.paths))
        held_out = min(500, len(order) // 10)
        self.train = order[held_out:]
        self.pictures(order[:held_out])
        self.test = [i for i in order[:held_out] if i not in self.unreadable]
        if len(self.test) < 2:
            raise ValueError(self.too_few(held_out, found.left_out))
        # say what there is
        for problem in found.left_out:
            self.leave_out(problem)
        if not quiet:
            print(self.summary())

    def too_few(self, held_out, problems):
        """The error for a folder that is too small to train on."""
        reason = f"{len(self.paths)} images with captions, and 20 are needed"
        if held_out >= 2:
            reason = f"of {held_out} held-out images {len(self.test)} can be read, and 2 are needed"
        left_out = "; ".join([*self.left_out, *problems][:3])
        return (f"{self.root}: {reason}; `python tutorial/extras/own_images.py --help` tells the layouts;"
                f" left out: {left_out or 'nothing'}")

    def summary(self):
        """How much there is, in a line; before it another one if captions files are passed over."""
        line = ""
        if self.passed_over:
            names = ", ".join(path.name for path in self.passed_over)
            line = f"captions are those of {self.layout}, not of {names}\n"
        return (f"{line}{len(self.train)} images to train on with {len(self.texts())} captions,"
                f" {len(self.test)} held out, {len(self.left_out)} left out")

    def leave_out(self, problem):
        """Say in a line what can't be used."""
        self.left_out.append(problem)
        if not self.quiet:
            sys.stderr.write(f"left out: {problem}\n")  # print would write twice, and threads might mix that

    def texts(self):
        """The captions to train on, for the tokenizer to learn from."""
        texts = []
        for i in self.train:
            texts += self.captions[i]
        return texts

    def batch(self, step, n, share=slice(None)):
        """n pairs for a training step -> normalised images (n, 3, R, R), n captions.

        They depend on the seed and the step alone. An epoch is a permutation of the images. Squares
        and captions are drawn at random, and another image for one that is unreadable. Of several
        processes, each decodes its share of the batch. ValueError where no image can be read, or
        where there are fewer than n.
        """
        if n > len(self.train):
            raise ValueError(f"{self.root}: {len(self.train)} images to train on are too few for batches"
                             f" of {n}")
        # the images of this step
        batches = len(self.train) // n  # in an epoch
        epoch = step // batches
        start = step % batches * n
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(self.train)
        indices = order[start:start + n][share]
        # two random numbers for the square of each, and one for its caption
        rng = np.random.default_rng((self.seed, 1, step))
        chance = rng.random((n, 3))[share]
        pictures = self.pictures(indices)
        self.replace_unreadable(indices, pictures, rng)
        captions = []
        for i, u in zip(indices, chance[:, 2]):
            choices = self.captions[i]
            captions.append(choices[int(u * len(choices))])
        return self.crop(pictures, chance[:, :2]), captions

    def replace_unreadable(self, indices, pictures, rng):
        """In place: draw other training images for those that are None, until all can be read."""
        missing = [k for k, pixels in enumerate(pictures) if pixels is None]
        while missing:
            if all(i in self.unreadable for i in self.train):
                raise ValueError(f"{self.root}: none of its {len(self.train)} images to train on can be read;"
                                 " are they still there?")
            indices[missing] = rng.choice(self.train, len(missing))
            for k in missing:
                pictures[k] = self.pixels(indices[k])
            missing = [k for k in missing if pictures[k] is None]

    def pictures(self, indices):
        """The pixels of some images, decoded by several threads -> list of (H, W, 3), or None."""
        return list(self.pool.map(self.pixels, indices))

    def pixels(self, i):
        """Image i as bytes (H, W, 3), the shorter side 7R/6.

        None if it is unreadable. The first time, a line says why.
        """
        if i in self.kept:
            return self.kept[i]
        if i in self.unreadable:
            return None
        side = 7 * self.resolution // 6
        try:
            image = open_image(self.paths[i]).convert("RGB")
            pixels = np.asarray(ImageOps.cover(image, (side, side)))  # (H, W, 3)
        except (ValueError, OSError) as error:
            self.unreadable.add(i)
            self.leave_out(str(error))
            return None
        self.memory_left -= pixels.nbytes
        if self.memory_left > 0:
            self.kept[i] = pixels
        return pixels

    def crop(self, pictures, places):
        """Cut a square out of each picture (Section 2.3) -> normalised (n, 3, R, R).

        Pictures (H, W, 3). Places (n, 2) from 0, all the way up or left, to 1, all the way down or right.
        """
        R = self.resolution
        squares = []
        for pixels, place in zip(pictures, places):
            room = np.array(pixels.shape[:2]) - R + 1  # (2,), the number of rows and columns to begin at
            top, left = (place * room).astype(int)
            squares.append(pixels[top:top + R, left:left + R])  # (R, R, 3)
        squares = torch.from_numpy(np.stack(squares)).to(self.device)  # (n, R, R, 3)
        return normalize(squares.permute(0, 3, 1, 2) / 255, self.mean, self.std)  # (n, 3, R, R)

    def examples(self, n):
        """n held-out pairs to look at, or as many as there are -> normalised (n, 3, R, R), n captions."""
        indices = self.test[:n]
        pictures = [self.pixels(i) for i in indices]
        captions = [self.captions[i][0] for i in indices]
        middle = np.full((len(pictures), 2), 0.5)  # (n, 2)
        return self.crop(pictures, middle), captions

    def evaluate(self, model, tokenizer, n=500):
        """Retrieval both ways among n held-out images and all their captions -> {name: (value, chance)}."""
        images, _ = self.examples(n)  # (n, 3, R, R)
        captions = [self.captions[i] for i in self.test[:n]]
        # each caption once, though several images may have it
        texts = sorted({text for choices in captions for text in choices})
        columns = {text: column for column, text in enumerate(texts)}
        relevant = torch.zeros(len(captions), len(texts), dtype=torch.bool)  # (n, texts)
        for row, choices in enumerate(captions):
            for text in choices:
                relevant[row, columns[text]] = True
        image_features = encode_images(model, images).cpu()  # (n, E)
        text_features = encode_texts(model, tokenizer, texts, truncate=True).cpu()  # (texts, E)
        return retrieval(image_features, text_features, relevant)


# ---- Command line --------------------------------------------------------------------------------


def describe(root, from_names):
    """Print what `train_tiny.py --data` will find in a folder."""
    data = Folder(root, CONFIGS["tiny-RN"].image_resolution, from_names=from_names, quiet=True)
    # which layout, and how much of everything
    count = sum(len(choices) for choices in data.captions)
    print(f"layout: {data.layout}")
    print(f"found: {len(data.paths)} images with {count} captions")
    print(data.summary())
    # a few pairs, to see that captions belong to their images
    print("\nfor example:")
    for i in data.train[:3]:
        name = os.path.relpath(data.paths[i], Path(root).resolve())
        print(f"  {name}: {' | '.join(data.captions[i][:5])}")
    if data.left_out:
        print(f"\nleft out ({len(data.left_out)}):")
    for problem in data.left_out[:10]:
        print(f"  {problem}")
    if len(data.left_out) > 10:
        print(f"  ... and {len(data.left_out) - 10} more")
    command = f"python train_tiny.py --data {shlex.quote(root)}"
    if from_names:
        command += " --captions-from-names"
    print(f"\nnext: {command}")


def main(argv=None):
    """The command line. Exit status 2 and one line where there is nothing to train on."""
    print_anything()
    parser = argparse.ArgumentParser(
        prog="own_images.py",
        description=__doc__.split("\n\nLetters")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", help="where the pictures are")
    parser.add_argument("--captions-from-names", action="store_true",
                        help="file and folder names are the captions")
    args = parser.parse_args(argv)
    try:
        describe(args.folder, args.captions_from_names)
    except (ValueError, OSError) as error:
        print(f"own_images.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
