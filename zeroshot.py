"""What a trained CLIP is for: classifiers made from label text (Section 3.1), their accuracy, retrieval.

    python zeroshot.py photo.png --labels "a cat" "a dog" "a house"     probabilities for each label
    python zeroshot.py *.png --labels cat dog --templates prompts.txt   prompt ensemble: a sentence with {} on each line
    python zeroshot.py photo.png --labels "a cat" "a dog" --plot        draw the picture and its bars (Figure 21)

Letters in shape comments: B images, N classes, E joint embedding, R resolution.
"""
import argparse
import glob
import json
import os
import re
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image

from clip_minimal import MEAN, STD, load, preprocess

CHECKPOINT = "runs/tiny/clip.pt"  # where train_tiny.py leaves its model
PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
LISTINGS = ["captions.txt", "captions.csv", "captions.tsv"]

# ---- Files in: pictures, and the captions that people keep with them -------------------------------------------------


def open_image(path):
    """A picture file -> PIL image, fully read; whatever is wrong with it becomes a one-line error that names it.

    Transparent places become white: `preprocess` alone, like OpenAI's code, shows the colour that lies hidden in them,
    black more often than not, so that black drawings vanish. Of a ribbon longer than 100:1 the middle is kept."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:  # of large pictures; huge ones raise
            image.load()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable picture ({error})") from None
    w, h = image.size
    if max(w, h) > 100 * min(w, h):  # the ends of a ribbon go: resized whole it would fill the memory, to be cropped
        x, y = ((side // min(w, h) - 100) // 2 * min(w, h) if side > min(w, h) else 0 for side in (w, h))
        image = image.crop((x, y, w - x, h - y))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image


def read_text(path):
    """A file -> its lines; ValueError where it is not UTF-8."""
    try:
        return Path(path).read_text("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


def read_captions(root, from_names=False):
    """A folder -> ({image path: [caption, ...]}, [what was left out and why]). The first layout found is taken:

    from_names       no captions but telling names: birds/red_robin_02.png is "red robin, birds"
    captions file    captions.txt, .csv or .tsv of lines image,caption or image<tab>caption, several lines an image,
                     names relative to the folder or to Images/ in it (Flickr8k); one with a comma needs the tab
    side-car files   photo.txt beside photo.jpg, each line a caption

    FileNotFoundError where there is no such folder, ValueError where the captions file is not UTF-8."""
    root, captions, problems = Path(root).resolve(), {}, []
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    images = sorted(path for path in root.rglob("*") if path.suffix.lower() in PICTURES)
    listing = next((root / name for name in LISTINGS if (root / name).is_file()), None)

    def add(path, caption, where):
        if not caption.strip():
            problems.append(f"{where}: empty caption")
        elif not Path(os.path.abspath(path)).is_relative_to(root):
            problems.append(f"{where}: {path} is outside the folder")
        elif not os.path.isfile(path):
            problems.append(f"{where}: no image {path}")
        else:
            captions.setdefault(path, []).append(caption.strip())

    if from_names:
        for path in images:
            words = (re.sub(r"[\W\d_]+", " ", part).strip() for part in path.relative_to(root).with_suffix("").parts)
            add(path, ", ".join(filter(None, reversed(list(words)))), path)
    elif listing:
        for number, line in enumerate(read_text(listing), 1):
            name, _, caption = line.partition("\t" if "\t" in line else ",")
            name = re.sub(r"#\d+$", "", name.strip())  # 1000268201_693b08cb0e.jpg#0, as Flickr8k numbers its captions
            if re.fullmatch(r'\s*".*"\s*', caption):
                caption = caption.strip()[1:-1].replace('""', '"')
            path = next((root / d / name for d in ("", "Images") if os.path.isfile(root / d / name)), root / name)
            if name and (number, name.lower()) != (1, "image"):  # a blank line, a header
                add(path, caption, f"{listing}, line {number}")
    else:
        for path in images:
            try:
                for line in read_text(path.with_suffix(".txt")):
                    add(path, line, path.with_suffix(".txt"))
            except (OSError, ValueError) as error:
                problems.append(str(error))
    return captions, problems


# ---- Classifiers from text, and how good they are --------------------------------------------------------------------


def check_device(name):
    """Raises ValueError for a device that PyTorch does not know or does not have here."""
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r}: {str(error).splitlines()[0]}") from None


@torch.no_grad()
def encode_texts(model, tokenizer, texts, truncate=False, batch_size=256):
    """One text or more -> unit features (len(texts), E). One longer than the context is a ValueError or is cut."""
    context, device = model.config.context_length, model.logit_scale.device
    parts = [texts[i:i + batch_size] for i in range(0, len(texts), batch_size)]
    tokens = (tokenizer(part, context, truncate, pad=False).to(device) for part in parts)
    return torch.cat([F.normalize(model.encode_text(part), dim=-1) for part in tokens])


@torch.no_grad()
def encode_images(model, images, batch_size=256):
    """Normalised pixels (B, 3, R, R) -> unit features (B, E). The model must be in eval mode, as `load` returns it."""
    device = model.logit_scale.device
    return torch.cat([F.normalize(model.encode_image(part.to(device)), dim=-1) for part in images.split(batch_size)])


def zero_shot_classifier(model, tokenizer, classnames, templates=("{}",)):
    """N class names and templates with {} in them -> weights (E, N), one unit vector for each class.

    The prompt ensemble of Section 3.1.4: over the templates, the mean of the unit features, brought to unit length."""
    if not classnames or not templates:
        raise ValueError("a classifier needs at least one label and one template")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"template {template!r} has no {{}} to put the label in")
    prompts = [template.replace("{}", name) for name in classnames for template in templates]
    features = encode_texts(model, tokenizer, prompts).unflatten(0, (len(classnames), -1))  # (N, templates, E)
    return F.normalize(features.mean(dim=1), dim=-1).T  # (E, N)


@torch.no_grad()
def classify(model, image_features, weights):
    """Unit features (B, E) and a classifier (E, N) -> probabilities (B, N): softmax of the scaled cosines."""
    return (model.logit_scale.exp() * image_features @ weights).softmax(dim=-1)


def accuracy(scores, labels):
    """The share of rows of scores (B, N) whose largest entry is at the label (B,)."""
    return (scores.argmax(dim=-1) == labels).float().mean().item()


def retrieval(image_features, text_features, relevant, ks=(1, 5, 10)):
    """Recall both ways (Table 13) -> {name: (value, chance)}: the share of queries with a relevant item among their k
    best. Unit features (images, E) and (texts, E); relevant (images, texts) is True where the text fits the image.
    A k that would leave nothing out is left out itself."""
    scores, results = image_features @ text_features.T, {}
    for way, s, fits in (("image to text", scores, relevant), ("text to image", scores.T, relevant.T)):
        order, items = s.argsort(dim=-1, descending=True), s.shape[1]
        for k in (k for k in ks if k < items):
            miss = torch.ones(len(s), device=s.device)  # the probability that k random items hold no relevant one
            for j in range(k):
                miss *= (1 - fits.sum(dim=-1) / (items - j)).clamp(min=0)
            hit = fits.gather(1, order[:, :k]).any(dim=-1)
            results[f"{way} R@{k}"] = hit.float().mean().item(), 1 - miss.mean().item()
    return results


# ---- Pictures for people: each function returns a matplotlib figure --------------------------------------------------


def levels(images):
    """Normalised (B, 3, R, R) -> (B, R, R, 3) from 0 to 1, as imshow takes it."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)  # (3, 1, 1)
    return (images.cpu() * std + mean).clamp(0, 1).permute(0, 2, 3, 1).numpy()  # (B, R, R, 3)


def draw_sheet(pictures, captions, columns=8):
    """A contact sheet: pictures (anything that imshow takes) above their captions."""
    rows = -(-len(captions) // columns)
    figure = Figure(figsize=(1.6 * columns, 2.05 * rows))
    for i, (picture, caption) in enumerate(zip(pictures, captions), 1):
        axis = figure.add_subplot(rows, columns, i)
        axis.axis("off")
        axis.imshow(picture, interpolation="nearest")
        axis.set_title("\n".join(textwrap.wrap(caption, 25)[:4]), fontsize=7, y=-0.04, va="top", pad=0,
                       parse_math=False)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.3 / rows, wspace=0.06, hspace=0.38)
    return figure


def draw_probabilities(pictures, titles, labels, probabilities, top=5):
    """Each picture beside the bars of its most probable labels, as in Figure 21."""
    columns = min(3, len(pictures))
    rows, top = -(-len(pictures) // columns), min(top, len(labels))
    figure = Figure(figsize=(5 * columns, 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, 2 * columns, squeeze=False, gridspec_kw={"width_ratios": [1, 1.2] * columns})
    for axis in axes.flat:
        axis.axis("off")
    for i, (picture, title, row) in enumerate(zip(pictures, titles, probabilities)):
        left, right = axes.flat[2 * i:2 * i + 2]
        left.imshow(picture)
        left.set_title(title, fontsize=8, parse_math=False)
        values, order = row.topk(top)
        right.barh(range(top), values.tolist(), color=["#E69F00"] + ["#BBBBBB"] * (top - 1))
        for y, (value, j) in enumerate(zip(values.tolist(), order.tolist())):
            right.text(0.02, y, f"{labels[j]}  {value:.1%}", va="center", fontsize=9, parse_math=False)
        right.set(xlim=(0, 1), ylim=(max(top, 3) - 0.5, -0.5))
    return figure


def draw_similarity(model, tokenizer, images, captions):
    """Cosine similarities of N captions with their N images: Figure 1 (1) as trained, true pairs on the diagonal."""
    cosines = (encode_texts(model, tokenizer, captions) @ encode_images(model, images).T).cpu().numpy()  # (N, N)
    n, middle = len(captions), (cosines.min() + cosines.max()) / 2
    figure = Figure(figsize=(0.62 * n + 4.2, 0.62 * n + 0.9))
    axis = figure.add_subplot()
    shown = axis.imshow(cosines, cmap="viridis", extent=(0, n, n, 0))
    for (i, j), cosine in np.ndenumerate(cosines):
        axis.text(j + 0.5, i + 0.5, f"{cosine:.2f}".replace("0.", "."), ha="center", va="center", fontsize=7,
                  color="white" if cosine < middle else "black")
    for j, image in enumerate(levels(images)):
        axis.imshow(image, extent=(j + 0.04, j + 0.96, -0.04, -0.96))
    axis.set(xlim=(0, n), ylim=(n, -1), xticks=[])
    axis.set_yticks(np.arange(n) + 0.5, ["\n".join(textwrap.wrap(caption, 44)[:2]) for caption in captions], fontsize=8,
                    parse_math=False)
    axis.tick_params(length=0)
    figure.colorbar(shown, ax=axis, label="cosine similarity", shrink=0.8, pad=0.02)
    return figure


# ---- Command line ----------------------------------------------------------------------------------------------------


def main(argv=None):
    """The command line. Exit status 2 and one line for what can't be done."""
    parser = argparse.ArgumentParser(prog="zeroshot.py", description=__doc__.split("\n\nLetters")[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture files")
    parser.add_argument("--labels", nargs="+", required=True, metavar="TEXT", help="what the picture may show")
    parser.add_argument("--templates", metavar="FILE", help="a sentence on each line, with {} where the label goes; "
                        "their features are averaged (default: the label alone)")
    parser.add_argument("--weights", default=CHECKPOINT, metavar="CKPT", help="checkpoint (default: %(default)s)")
    parser.add_argument("--plot", nargs="?", const="zeroshot.png", metavar="PNG",
                        help="draw each picture with its bars into this file (default: zeroshot.png)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--device", default="cpu", help="where to compute (default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        return run(args)
    except (ValueError, OSError) as error:
        print(f"zeroshot.py: {error}", file=sys.stderr)
        return 2


def run(args):
    """What main does, errors let through. A bad picture is reported and the others are still classified."""
    check_device(args.device)
    templates = ["{}"]
    if args.templates:
        templates = [line.strip() for line in read_text(args.templates) if line.strip()]
    model, tokenizer = load(args.weights, args.device)
    weights = zero_shot_classifier(model, tokenizer, args.labels, templates)
    good, pictures, pixels, status = [], [], [], 0
    for path in (path for name in args.images for path in sorted(glob.glob(name)) or [name]):  # Windows leaves the *
        try:
            picture = open_image(path)
            pixels.append(preprocess(picture, model.config.image_resolution))
        except (ValueError, OSError) as error:
            print(f"zeroshot.py: {error}", file=sys.stderr)
            status = 2
            continue
        picture.thumbnail((400, 400))
        pictures.append(picture.convert("RGB"))
        good.append(path)
    if not good:
        return status
    probabilities = classify(model, encode_images(model, torch.stack(pixels)), weights).cpu()  # (B, N)
    if args.json:
        print(json.dumps([{"image": path, "probabilities": dict(zip(args.labels, row.tolist()))}
                          for path, row in zip(good, probabilities)], indent=1))
    else:
        for path, row in zip(good, probabilities):
            print(path)
            for value, i in zip(*row.sort(descending=True)):
                print(f"  {value:6.1%}  {args.labels[i]}")
    if args.plot:
        titles = [Path(path).name for path in good]
        draw_probabilities(pictures, titles, args.labels, probabilities).savefig(args.plot, dpi=150)
        print(f"drawn into {args.plot}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
