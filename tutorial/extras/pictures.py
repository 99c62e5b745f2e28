"""People's picture files: found, opened, and never written over.

A folder of someone's pictures holds more than pictures: hidden thumbnails, links in circles, formats that
Pillow does not open. The pictures are turned, transparent, damaged, 16 bits deep. And what is drawn must not
take the place of any of them. Nothing of that is CLIP, so it is here.

    find_files     the files of a folder; those whose names end as in PICTURES are pictures
    open_image     a file -> an upright picture on white with 8 bits a level, as zeroshot.py and --data see it
    save_figure    writes a figure that `made_here` knows again, into the file that `figure_path` allows

Letters in shape comments: H height, W width.
"""
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from clip_minimal import write

# How the names of pictures end: of those that Pillow opens (some formats it only knows by name), and of others
PICTURES = {ending for ending, name in Image.registered_extensions().items() if name in Image.OPEN}
PICTURES -= {".bufr", ".emf", ".eps", ".grib", ".h5", ".hdf", ".iim", ".mpeg", ".mpg", ".ps", ".wmf"}
OTHER_PICTURES = {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".eps", ".exr", ".hdr", ".heic", ".heif", ".jxl", ".nef",
                  ".orf", ".pef", ".raf", ".rw2", ".svg", ".svgz", ".wmf", ".xcf"} - PICTURES
HIDDEN = {"@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN"}  # what file servers, macOS and Windows put into folders
MARK = "CLIP from scratch"  # in each picture file that this project draws: the key of a text in a PNG ...
SOFTWARE = 0x131  # ... and what other formats have under this number in their EXIF data, the program's name
WITH_EXIF = ("jpg", "jpeg", "webp", "avif", "tif", "tiff")

# ---- Found ---------------------------------------------------------------------------------------


def find_files(folder):
    """The files in a folder and its subfolders in the order of their names, without hidden ones and thumbnails.

    Folders that are links are followed, but none is entered twice, and none that holds this folder.
    """
    files = []
    entered = {str(parent) for parent in Path(folder).resolve().parents}
    waiting = [str(folder)]  # links come after all that is no link
    while waiting:
        for place, folders, names in os.walk(waiting.pop(0)):
            real_place = os.path.realpath(place)
            if real_place in entered:
                folders.clear()  # so that os.walk goes no deeper
                continue
            entered.add(real_place)
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            # os.walk itself follows no links
            for name in folders:
                path = os.path.join(place, name)
                if os.path.islink(path):
                    waiting.append(path)
            for name in names:
                path = Path(place, name)
                if not is_hidden(name) and path.is_file():
                    files.append(path)
    return sorted(files)


def is_hidden(name):
    """Whether a file or folder of this name is no one's picture: .thumbnails, ._photo.jpg, @eaDir, __MACOSX."""
    return name.startswith(".") or name in HIDDEN


def describe_other_pictures(files):
    """How many pictures Pillow can't open -> "2 pictures that Pillow can't open (.heic, .svg)", or "" for none."""
    endings = [path.suffix.lower() for path in files]
    others = [ending for ending in endings if ending in OTHER_PICTURES]
    if not others:
        return ""
    kinds = ", ".join(sorted(set(others)))
    return f"{len(others)} pictures that Pillow can't open ({kinds})"


def print_anything():
    """Let names be printed whatever the console can show: what it can't becomes "?"."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")


# ---- Opened --------------------------------------------------------------------------------------


def open_image(path):
    """A picture file -> PIL image; ValueError or FileNotFoundError, in one line, if it can't be read.

    Four things differ from OpenAI's code. A photo is turned as its camera says in the EXIF data, where
    that code leaves it on its side. More than 8 bits a level are scaled, where that code makes all of
    them white or black. Transparent places become white, where that code shows the colour hidden there,
    mostly black. And of a picture more than 100 times as long as it is wide only the middle is kept:
    resized whole, it would fill the memory. (`preprocess` does what OpenAI's does.)
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow warns of large pictures, and refuses huge ones
            with Image.open(path) as image:
                deep = ";16" in str(image.tile)  # two bytes a level, of which Pillow keeps one if there are colours
                image.load()
                turn(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable picture ({error})") from None
    # more than 8 bits a level
    if image.mode == "F" or image.mode.startswith("I"):
        image = scale_levels(image)
    elif deep:
        image = scale_upper_bytes(image)
    # the middle of a ribbon
    longest = 100 * min(image.size)
    if max(image.size) > longest:
        left = max(0, image.width - longest) // 2
        top = max(0, image.height - longest) // 2
        image = image.crop((left, top, image.width - left, image.height - top))
    # transparent places
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image


def turn(image):
    """Turn a PIL image in place as its EXIF data say."""
    image.getexif()  # Pillow reads it now, and would write it anew without the turn, which fails if it is damaged
    image.info.pop("exif", None)
    ImageOps.exif_transpose(image, in_place=True)


def scale_levels(image):
    """A grey PIL image with more than 8 bits a level -> one with 8 bits.

    Black is 0. White is the most that 8, 10, 12, ... bits hold, as few as the levels need (cameras put
    12 bits into 16); for fractions it is 1, or the largest. Where there are levels below 0, the lowest
    is black and the highest white.
    """
    levels = np.asarray(image)  # (H, W)
    # the tag for the format of the levels; 1, also where it is missing, means unsigned
    unsigned = image.format == "TIFF" and image.tag_v2.get(339, (1,)) == (1,)
    if unsigned and image.mode == "I":
        levels = levels.view(np.uint32)  # which Pillow took for signed ones
    # which level is black, and which is white?
    known = np.isfinite(levels)
    black = float(levels.min(where=known, initial=0))
    white = float(levels.max(where=known, initial=0))
    if black == 0 and image.mode == "F":
        white = max(white, 1)
    elif black == 0:
        bits = 8
        while white >= 2 ** bits:
            bits += 2
        white = 2 ** bits - 1
    # from 0 to 255
    levels = np.where(known, levels, black).astype(np.float32)
    levels = (levels - black) / (white - black) * 255
    return Image.fromarray(levels.round().astype(np.uint8))


def scale_upper_bytes(image):
    """A PIL image of the upper bytes of 16-bit levels -> from 0 to 255 where its colours have 12 bits in 16.

    These upper bytes are at most 15. Transparency may have all 16 bits beside such colours.
    """
    highest = [band.getextrema()[1] for band in image.split()]
    colours = [level for name, level in zip(image.getbands(), highest) if name != "A"]
    if max(colours) > 15:
        return image
    table = []  # what each of the 256 levels becomes, for one band after the other
    for level in highest:
        factor = 1
        if level <= 15:
            factor = 17
        table += [factor * i for i in range(256)]
    return image.point(table)


# ---- Never written over --------------------------------------------------------------------------


def figure_path(name, force=False):
    """The file that a figure is to be written into: the name, with .png where it has no ending.

    FileExistsError if there is such a file and it is no figure of this project, unless force is given;
    ValueError for the name of a folder.
    """
    path = Path(name)
    if not path.name or path.is_dir():
        raise ValueError(f"{name!r} is not the name of a file to draw into, such as plot.png")
    if not path.suffix:
        path = path.with_suffix(".png")
    if path.exists() and not force and not made_here(path):
        raise FileExistsError(f"{path}: exists and is no figure of this project; name another file,"
                              " or write over it with --force")
    return path


def save_figure(figure, path, **options):
    """Write a figure, with savefig's options, and the mark by which `made_here` knows it again."""
    layout = path.suffix[1:].lower()
    if layout == "png":
        options["metadata"] = {MARK: "a figure drawn by this project"}
    elif layout in WITH_EXIF:
        exif = Image.Exif()
        exif[SOFTWARE] = MARK
        options["pil_kwargs"] = {"exif": exif}
    write(path, lambda file: figure.savefig(file, format=layout, **options))


def made_here(path):
    """Whether a picture file is a figure that this project drew: one that has the mark."""
    if path.suffix[1:].lower() not in ("png", *WITH_EXIF):
        return False
    try:
        with warnings.catch_warnings(action="ignore"):
            with Image.open(path) as image:
                return MARK in image.info or image.getexif().get(SOFTWARE) == MARK
    except Exception:  # it can't be read, whatever Pillow says
        return False
