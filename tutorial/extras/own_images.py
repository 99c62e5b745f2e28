"""Your own captioned pictures as training data: a folder in any of four layouts.

    python train_tiny.py --data DIR --out runs/mine          trains on the folder DIR
    python tutorial/extras/own_images.py DIR                 says first what is found in it
    python tutorial/extras/own_images.py DIR --captions-from-names

Of these layouts the first that a folder has is read, and with --captions-from-names the last:

    captions file    captions.txt, captions.csv or captions.tsv: lines image,caption, or with a tab for
                     the comma. An image may have several lines. Names are relative to the folder,
                     or to Images/ in it as in Flickr8k. A name with a comma in it needs the tab.
    JSON lines       captions.jsonl or metadata.jsonl: lines {"image": "a.jpg", "caption": "a dog"}.
                     "file_name" and "text" will do for the fields, and a list for the caption.
    side-car files   photo.txt beside photo.jpg, each line a caption.
    names            no captions, but telling names: birds/red_robin_02.png is "red robin, birds".

Text files must be UTF-8. What can't be used is left out, with a line that says so: an absent or
unreadable picture or one of more than 179 million pixels, an empty caption, a name that leads out of
the folder.

Letters in shape comments: n images, H height, W width, R resolution, E joint embedding.
"""
import argparse
import json
import os
import re
import shlex
import sys
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

from clip_minimal import CONFIGS, normalize
from zeroshot import PICTURES, encode_images, encode_texts, open_image, retrieval

LISTINGS = ["captions.txt", "captions.csv", "captions.tsv", "captions.jsonl", "metadata.jsonl"]

# ---- Captions: one function for each layout ------------------------------------------------------


def read_captions(root, from_names=False):
    """A folder -> ({image path: [caption, ...]}, [what was left out and why, ...]).

    With from_names, the names of files and folders are the captions. FileNotFoundError where there
    is no such folder, ValueError where the captions file is not UTF-8.
    """
    root = Path(root).resolve()
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    found = Found(root)
    layout, listing = find_layout(root, from_names)
    if layout == "captions file":
        read_captions_file(listing, found)
    elif layout == "JSON lines":
        read_json_lines(listing, found)
    elif layout == "side-car files":
        read_sidecar_files(found)
    else:
        read_names(found)
    return found.captions, found.left_out


def find_layout(root, from_names):
    """Which layout a folder has -> (its name, the path of its captions file or None)."""
    if from_names:
        return "names", None
    for name in LISTINGS:
        listing = root / name
        if listing.is_file() and listing.suffix == ".jsonl":
            return "JSON lines", listing
        if listing.is_file():
            return "captions file", listing
    return "side-car files", None


class Found:
    """What a folder holds: the captions of each image, and what was left out. Readers add to both."""

    def __init__(self, root):
        self.root = root
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
        path = find_image(self.root, name)
        if not is_inside(path, self.root):
            self.leave_out(where, f"{path} is outside the folder")
            return
        if path not in self.captions:
            try:
                check_picture(path)
            except (ValueError, OSError) as error:
                self.leave_out(where, f"no image: {error}")
                return
            self.captions[path] = []
        caption = caption.encode("utf-8", "replace").decode()  # half of a surrogate pair becomes "?"
        self.captions[path].append(caption.strip())


def read_captions_file(listing, found):
    """Lines of an image's name, a comma or a tab, and a caption, which may be in quotes."""
    for number, line in enumerate(read_lines(listing), 1):
        is_header = number == 1 and re.match(r"\s*image\s*[,\t]", line, re.IGNORECASE)
        if is_header or not line.strip():
            continue
        separator = ","
        if "\t" in line:
            separator = "\t"
        name, _, caption = line.partition(separator)
        # Flickr8k numbers the captions of an image: 1000268201_693b08cb0e.jpg#0
        name = re.sub(r"#\d+$", "", name.strip())
        # "a ""red"" dog" -> a "red" dog
        caption = caption.strip()
        if re.fullmatch('".*"', caption):
            caption = caption[1:-1].replace('""', '"')
        found.add(f"{listing}, line {number}", name, caption)


def read_json_lines(listing, found):
    """Lines of {"image" or "file_name": a name, "caption" or "text": a caption or a list of them}."""
    for number, line in enumerate(read_lines(listing), 1):
        if not line.strip():
            continue
        where = f"{listing}, line {number}"
        try:
            name, captions = parse_json_line(line)
        except (ValueError, RecursionError) as error:
            found.leave_out(where, error)
            continue
        for caption in captions:
            found.add(where, name, caption)


def parse_json_line(line):
    """{"image": "a.jpg", "caption": "a dog"} -> ("a.jpg", ["a dog"]).

    What is absent is "". ValueError for what is no such line.
    """
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f'not {{"image": ..., "caption": ...}} but {type(row).__name__!r}')
    # either name of either field
    name = row.get("image", row.get("file_name"))
    if name is None:
        name = ""
    captions = row.get("caption", row.get("text", ""))
    # one caption or several
    if captions == []:
        captions = ""  # so that it is reported
    if isinstance(captions, str):
        captions = [captions]
    if not isinstance(captions, list):
        raise ValueError(f"a caption must be text or a list of texts, not {type(captions).__name__!r}")
    for caption in captions:
        if not isinstance(caption, str):
            raise ValueError(f"each caption must be text, not {type(caption).__name__!r}")
    return str(name), captions


def read_sidecar_files(found):
    """Beside photo.jpg there is photo.txt, each line a caption."""
    for path in find_pictures(found.root):
        sidecar = path.with_suffix(".txt")
        try:
            captions = read_lines(sidecar)
        except (ValueError, OSError) as error:
            found.leave_out(path, error)
            continue
        for caption in captions:
            found.add(sidecar, path, caption)


def read_names(found):
    """Names of files and folders are the captions."""
    for path in find_pictures(found.root):
        found.add(path, path, name_to_caption(path.relative_to(found.root)))


def name_to_caption(path):
    """birds/red_robin_02.png -> "red robin, birds": the words of each name, the file's first."""
    phrases = []
    for name in reversed(path.with_suffix("").parts):
        words = re.findall(r"[^\W\d_]+", name)  # runs of letters
        if words:
            phrases.append(" ".join(words))
    return ", ".join(phrases)


# ---- Files ---------------------------------------------------------------------------------------


def read_lines(path):
    """A text file -> its lines. ValueError where it is not UTF-8."""
    try:
        text = Path(path).read_text("utf-8-sig")  # without the mark that Windows puts at the beginning
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise ValueError(f"{path}: not UTF-8 ({reason}); save it as UTF-8") from None
    return text.removesuffix("\n").split("\n")


def find_pictures(root):
    """The paths of all picture files in a folder and in the folders in it, in the order of their names."""
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in PICTURES)


def find_image(root, name):
    """The path of the image that a captions file names, which may lie in Images/ as Flickr8k's do."""
    for path in (root / name, root / "Images" / name):
        if os.path.isfile(path):  # Path.is_file would raise an error for some names
            return path
    return root / name


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
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable picture ({error})") from None


# ---- Training data -------------------------------------------------------------------------------


class Folder:
    """The captioned images of a folder, with the methods of train_tiny.World.

    A tenth of the images, at most 500, is held out. The split is by image, so that no caption of a
    held-out image is ever trained on. Images are decoded when they are needed, and as many of them
    are kept as fit into memory (in bytes). With quiet, nothing is printed. FileNotFoundError where
    there is no such folder, ValueError where it holds fewer than 20 images.
    """

    def __init__(self, root, resolution, seed=0, device="cpu", from_names=False, memory=2e9, quiet=False):
        self.root = root
        self.resolution = resolution
        self.seed = seed
        self.device = device
        self.quiet = quiet
        self.memory_left = memory
        self.kept = {}  # index of an image -> its pixels
        self.unreadable = set()  # indices of images
        self.left_out = []  # what can't be used, a line each
        self.pool = ThreadPoolExecutor()  # Pillow lets other threads run while it decodes and resizes
        captions, problems = read_captions(root, from_names)
        self.paths = list(captions)
        self.captions = list(captions.values())
        # hold out a tenth, and of it what can be decoded
        order = np.random.default_rng(seed).permutation(len(self.paths))
        held_out = min(500, len(order) // 10)
        self.train = order[held_out:]
        self.pictures(order[:held_out])
        self.test = [i for i in order[:held_out] if i not in self.unreadable]
        if len(self.test) < 2:
            raise ValueError(self.too_few(held_out, problems))
        # say what there is
        for problem in problems:
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
        """How much there is, in a line."""
        return (f"{len(self.train)} images to train on with {len(self.texts())} captions,"
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
        return normalize(squares.permute(0, 3, 1, 2) / 255)  # (n, 3, R, R)

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
    layout, listing = find_layout(Path(root), from_names)
    if listing is not None:
        layout += f" {listing}"
    count = sum(len(choices) for choices in data.captions)
    print(f"layout: {layout}")
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
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # file names may not be UTF-8
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
