"""What a trained CLIP is for: classifiers made from label text (Section 3.1), their accuracy, retrieval, image search.

    python zeroshot.py photo.png --labels "a cat" "a dog" "a house"     probabilities for each label
    python zeroshot.py *.png --labels cat dog --templates ensemble      eighty sentences for each label
    python zeroshot.py photo.png --labels "a cat" "a dog" --plot        draw the picture and its bars (Figure 21)
    python zeroshot.py photo.png --labels cat dog --model ViT-B/32      OpenAI's weights, downloaded once
    python zeroshot.py search DIR "a red sun"                           the pictures of a folder that fit best

Letters in shape comments: B images, N classes, K templates, E joint embedding, R resolution.
"""
import argparse
import glob
import json
import os
import re
import sys
import textwrap
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from torch import nn

from clip_minimal import MEAN, SHA256, STD, load, normalize, preprocess, write

PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
LISTINGS = ["captions.txt", "captions.csv", "captions.tsv", "captions.jsonl", "metadata.jsonl"]
INDEX = "clip-index.npz"  # in a folder of pictures: their features

# The label alone, the template of Section 3.1.4, and eighty of our own of the kinds it tells of, a word for each "*".
HOW = "|good |bad |sharp |blurry |bright |dark |grainy |cropped |close-up |small "
WHAT = "drawing|painting|sketch|cartoon|sculpture|mosaic|silhouette|pictogram|poster|rendering|toy model|pencil drawing"
TEMPLATES = {"label": ["{}"], "photo": ["a photo of a {}."], "ensemble": [
    sentence.replace("*", word) for sentence, words in {
        "a *photo of a {}.": HOW, "a *photo of the {}.": HOW,
        "a photo of * {}.": "one|two|several|many|a group of|some|my|this|a small|a large|a tiny|a huge|a new|an old|"
                            "the small|the large|a clean|a dirty|a pretty|an odd|a colourful|a plain",
        "a photo of a {} *.": "from above|from the side|from afar|in the distance|at night|in the sun|in the rain|"
                              "in the snow|indoors|outdoors|on a table|in the middle of the picture",
        "a * of a {}.": WHAT, "a * of the {}.": WHAT}.items() for word in words.split("|")]}

# ---- Files in: pictures, and the captions that people keep with them -------------------------------------------------


def open_image(path, head=False):
    """A picture file -> PIL image, or with `head` its kind and size alone; ValueError or FileNotFoundError of one line.
    Transparent places become white (`preprocess` alone, like OpenAI's code, shows the colour hidden there, mostly
    black), and of a ribbon longer than 100:1 the middle is kept (resized whole, it fills the memory)."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:  # of large pictures; huge ones raise
            if head:
                return image
            image.load()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a readable picture ({error})") from None
    short = min(image.size)
    if max(image.size) > 100 * short:
        image = ImageOps.crop(image, tuple(max(0, side // short - 100) // 2 * short for side in image.size))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image


@contextmanager
def reported(what="left out", tell=lambda line: print(line, file=sys.stderr), errors=(ValueError, OSError)):
    """Goes on after what can't be read or written in this block, with a line that tells why."""
    try:
        yield
    except errors as error:
        tell(f"{what}: {error}")


def read_text(path):
    """A file -> its lines; ValueError where it is not UTF-8."""
    try:
        return Path(path).read_text("utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


def read_captions(root, from_names=False):
    """A folder -> ({image path: [caption, ...]}, [what was left out and why]), by the first of these layouts it has.
    FileNotFoundError where there is no such folder, ValueError where the captions file is not UTF-8.

    from_names       no captions but telling names: birds/red_robin_02.png is "red robin, birds"
    captions file    captions.txt, .csv or .tsv of lines image,caption or image<tab>caption, several lines an image,
                     names relative to the folder or to Images/ in it (Flickr8k); one with a comma needs the tab
    JSON lines       captions.jsonl or metadata.jsonl of {"image" or "file_name": ..., "caption" or "text": one or more}
    side-car files   photo.txt beside photo.jpg, each line a caption"""
    root, captions, problems = Path(root).resolve(), {}, []
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    listing = next((root / name for name in LISTINGS if (root / name).is_file()), None)

    def add(where, name, texts):
        path = next((root / d / name for d in ("", "Images") if os.path.isfile(root / d / name)), root / name)
        for text in texts:
            if not text.strip():
                problems.append(f"{where}: empty caption")
            elif not Path(os.path.abspath(path)).is_relative_to(root):
                problems.append(f"{where}: {path} is outside the folder")
            else:
                with reported(f"{where}: no image", problems.append):
                    if path not in captions:
                        open_image(path, head=True)
                    captions.setdefault(path, []).append(text.encode("utf-8", "replace").decode().strip())

    if listing and not from_names:
        for number, line in enumerate(read_text(listing), 1):
            where = f"{listing}, line {number}"
            if not line.strip() or number == 1 and re.match(r"\s*image\s*[,\t]", line, re.IGNORECASE):
                continue  # blank, or the header
            if listing.suffix == ".jsonl":
                with reported(where, problems.append, (ValueError, TypeError, RecursionError)):
                    row = {"file_name": "", "text": ""} | json.loads(line)
                    name, texts = row.get("image", row["file_name"]), row.get("caption", row["text"])
                    add(where, str(name), [texts] if isinstance(texts, str) else [text + "" for text in texts])
            else:
                name, _, text = map(str.strip, line.partition("\t" if "\t" in line else ","))
                text = text[1:-1].replace('""', '"') if re.fullmatch('".*"', text) else text
                add(where, re.sub(r"#\d+$", "", name), [text])  # 1000268201_693b08cb0e.jpg#0, as Flickr8k numbers them
    else:
        for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in PICTURES):
            words = [" ".join(re.findall(r"[^\W\d_]+", part)) for part in path.relative_to(root).with_suffix("").parts]
            where = path if from_names else path.with_suffix(".txt")
            with reported(path, problems.append):
                add(where, path, [", ".join(filter(None, reversed(words)))] if from_names else read_text(where))
    return captions, problems


class Folder:
    """Captioned images of a folder, decoded when they are needed; `memory` bytes of them are kept. A tenth, at most
    500, is held out; the split is by image, so that no caption of a held-out image is ever trained on."""

    def __init__(self, root, resolution, seed=0, device="cpu", from_names=False, memory=2e9):
        self.seed, self.device, self.resolution, self.memory, self.kept = seed, device, resolution, memory, {}
        self.pool = ThreadPoolExecutor()  # Pillow lets other threads run while it decodes and resizes
        captions, problems = read_captions(root, from_names)
        self.paths, self.captions = list(captions), list(captions.values())
        order = np.random.default_rng(seed).permutation(len(self.paths))
        test, self.train = np.split(order, [min(500, len(order) // 10)])
        self.test = [i for i, pixels in zip(test, self.pool.map(self.pixels, test)) if pixels is not None]
        if len(self.test) < 2:
            raise ValueError(f"{root}: {len(self.paths)} images with captions, and 20 are needed; README.md tells "
                             f"the layouts; left out: {'; '.join(problems[:3]) or 'nothing'}")
        sys.stderr.writelines(f"left out: {problem}\n" for problem in problems)
        print(f"{len(self.train)} images to train on with {len(self.texts())} captions, {len(self.test)} held out, "
              f"{len(problems) + len(test) - len(self.test)} left out")

    def pixels(self, i):
        """-> image i as bytes (H, W, 3), the shorter side 7R/6; None, and a line that says why, if it is unreadable."""
        if i in self.kept:
            return self.kept[i]
        pixels, short = None, 7 * self.resolution // 6
        with reported():
            pixels = np.asarray(ImageOps.cover(open_image(self.paths[i]).convert("RGB"), (short, short)))  # (H, W, 3)
            self.memory -= pixels.nbytes
        if self.memory > 0:
            self.kept[i] = pixels
        return pixels

    def crop(self, pictures, places):
        """Pictures (H, W, 3) -> normalised (n, 3, R, R): a square of each (Section 2.3), places (n, 2) from 0 to 1."""
        R, sides = self.resolution, np.array([pixels.shape[:2] for pixels in pictures])  # (n, 2)
        corners = (places * (sides - R + 1)).astype(int)  # (n, 2)
        squares = np.stack([pixels[y:y + R, x:x + R] for pixels, (y, x) in zip(pictures, corners)])  # (n, R, R, 3)
        return normalize(torch.from_numpy(squares).to(self.device).permute(0, 3, 1, 2) / 255)  # (n, 3, R, R)

    def batch(self, step, n, share=slice(None)):
        """As World.batch; an epoch is a permutation. Random squares and captions; other images for unreadable ones."""
        epoch, place = divmod(step, max(1, len(self.train) // n))
        index = np.random.default_rng((self.seed, 0, epoch)).permutation(self.train)[place * n:][:n][share]
        rng = np.random.default_rng((self.seed, 1, step))
        chance, pictures = rng.random((n, 3))[share], list(self.pool.map(self.pixels, index))
        while missing := [k for k, pixels in enumerate(pictures) if pixels is None]:
            index[missing] = rng.choice(self.train, len(missing))
            for k in missing:
                pictures[k] = self.pixels(index[k])
        captions = [self.captions[i][int(u * len(self.captions[i]))] for i, u in zip(index, chance[:, 2])]
        return self.crop(pictures, chance[:, :2]), captions

    def texts(self):
        """Captions for the tokenizer to learn from."""
        return [caption for i in self.train for caption in self.captions[i]]

    def examples(self, n):
        """Held-out pairs to look at -> normalised images (n, 3, R, R), n captions."""
        pictures, captions = zip(*((self.pixels(i), self.captions[i][0]) for i in self.test[:n]))
        return self.crop(pictures, np.full((len(pictures), 2), 0.5)), captions

    def evaluate(self, model, tokenizer, n=500):
        """Retrieval both ways among held-out images and all their captions -> {name: (value, chance)}."""
        kept, (images, _) = [self.captions[i] for i in self.test[:n]], self.examples(n)
        texts = sorted({caption for captions in kept for caption in captions})
        fits = torch.tensor([[text in captions for text in texts] for captions in kept])  # (n, texts)
        text_features = encode_texts(model, tokenizer, texts, truncate=True).cpu()  # (texts, E)
        return retrieval(encode_images(model, images).cpu(), text_features, fits)


# ---- Classifiers, from text or from labels, how good they are, and image search --------------------------------------


def check_device(name):
    """Raises ValueError for a device that PyTorch does not know or does not have here."""
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r}: {str(error).splitlines()[0]}") from None


def parts(items, size, what):
    """Yields a list in slices; if there are several, a line where errors go shows how far the work on them has come."""
    for done in range(size, len(items) + size, size):
        yield items[done - size:done]
        if len(items) > size:
            sys.stderr.write(f"\r{min(done, len(items)):,} of {len(items):,} {what}" + "\n" * (done >= len(items)))


def fuse(model):
    """Fold each BatchNorm2d into the convolution before it, in place: same features, less work; for inference alone."""
    for module in list(model.modules()):
        layers = list(module.named_children())
        for (name, conv), (after, norm) in zip(layers, layers[1:]):
            if isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, nn.utils.fuse_conv_bn_eval(conv, norm))
                setattr(module, after, nn.Identity())
    return model


@torch.no_grad()
def encode_texts(model, tokenizer, texts, truncate=False, size=512):
    """One text or more -> unit features (texts, E). One longer than the context is a ValueError or is cut. The mask is
    causal: what stands behind a token does not change its output, so a beginning is run once, however many texts share
    it. Some `size` nodes of the tree of beginnings are one row of tokens, each of which looks at its ancestors."""
    tokens = tokenizer(texts, model.config.context_length, truncate, pad=False)  # (texts, T)
    order = torch.tensor(sorted(range(len(tokens)), key=tokens.tolist().__getitem__))  # equal beginnings in succession
    tokens, device, features = tokens[order], model.logit_scale.device, []
    end = (tokens == model.eot_token).int().argmax(dim=-1, keepdim=True)  # (texts, 1)
    live = torch.arange(tokens.shape[1]) <= end  # (texts, T), False for padding
    new = ((tokens != tokens.roll(1, dims=0)).cumsum(dim=1) > 0) & live  # where it is no beginning of the text before
    sizes = (new.sum(dim=1).cumsum(dim=0) // size).unique_consecutive(return_counts=True)[1].tolist()
    for tokens, end, live, new in zip(*(x.split(sizes) for x in (tokens, end, live, new))):
        new[0] = live[0]
        i, j = new.nonzero(as_tuple=True)  # (n,) twice: the text of each node, and its place there
        node = torch.zeros_like(tokens).index_put((i, j), torch.arange(len(i))).cummax(dim=0).values
        mask = (node[i][:, j] == node[i, j]) & (j <= j[:, None])  # (n, n): is m the node at its place in n's text?
        x = model.token_embedding(tokens[i, j].to(device)) + model.positional_embedding[j]  # (n, D)
        x = model.transformer(x[None], node.gather(1, end).T.to(device), mask.to(device))[0]  # (texts, D)
        features.append(F.normalize((model.ln_final(x) @ model.text_projection).float(), dim=-1))  # (texts, E)
    return torch.cat(features)[order.argsort()]


@torch.no_grad()
def encode_images(model, images, batch_size=256):
    """Normalised pixels (B, 3, R, R) -> unit features (B, E). The model must be in eval mode, as `load` returns it."""
    to = {"device": model.logit_scale.device, "memory_format": torch.channels_last}  # what convolutions are quickest in
    return torch.cat([F.normalize(model.encode_image(x.to(**to)).float(), dim=-1) for x in images.split(batch_size)])


def zero_shot_classifier(model, tokenizer, classnames, templates=("{}",)):
    """N class names and K templates with {} in them -> weights (E, N), a unit vector for each class, by the ensemble of
    Section 3.1.4: over the templates, the mean of the unit features, brought to unit length."""
    if not classnames or not templates:
        raise ValueError("a classifier needs at least one label and one template")
    if bad := [template for template in templates if "{}" not in template]:
        raise ValueError(f"template {bad[0]!r} has no {{}} to put the label in")
    weights, step = [], max(1, 4096 // len(templates))  # so many classes at a time, or memory would grow with them
    for names in parts(classnames, step, "labels encoded"):
        prompts = [template.replace("{}", name) for name in names for template in templates]
        features = encode_texts(model, tokenizer, prompts).unflatten(0, (-1, len(templates)))  # (step, K, E)
        weights.append(F.normalize(features.mean(dim=1), dim=-1))  # (step, E)
    return torch.cat(weights).T  # (E, N)


@torch.no_grad()
def classify(model, image_features, weights):
    """Unit features (B, E) and a classifier (E, N) -> probabilities (B, N): softmax of the scaled cosines."""
    return (model.logit_scale.exp() * image_features @ weights).softmax(dim=-1)


def accuracy(scores, labels):
    """The share of rows of scores (B, N) whose largest entry is at the label (B,)."""
    return (scores.argmax(dim=-1) == labels).float().mean().item()


@torch.no_grad()
def encode_penultimate(model, images, batch_size=256):
    """Normalised pixels (B, 3, R, R) -> I_f of Figure 3 (B, D): the projection becomes the identity. Appendix A says so
    of ViTs; of ResNets "the penultimate layer", here likewise what enters the last matrix of the attention pool."""
    visual, resnet = model.visual, model.config.vision_patch_size is None
    eye = torch.eye(model.config.vision_width * (32 if resnet else 1)).to(model.logit_scale)  # (D, D)
    last = {"attnpool.c_proj.weight": eye, "attnpool.c_proj.bias": 0 * eye[0]} if resnet else {"proj": eye}
    return torch.cat([torch.func.functional_call(visual, last, x.to(eye)).float() for x in images.split(batch_size)])


def logistic_regression(features, labels, strength, start=None):
    """Features (B, D), labels (B,) or, many an image, 0 and 1 (B, N) -> weights (D, N), bias (N,): the least sum of
    cross-entropies + strength |weights|² / 2, by L-BFGS from `start`, such a pair; scikit-learn's C is 1 / strength."""
    x, y = features.double(), (F.one_hot(labels) if labels.ndim == 1 else labels).double()  # (B, D), (B, N)
    mean, loss_of = x.mean(dim=0), F.cross_entropy if labels.ndim == 1 else F.binary_cross_entropy_with_logits
    U, S, V = torch.linalg.svd(x - mean, full_matrices=False)  # (B, R), (R,), (R, D), R the smaller of B and D
    scale = (len(x) / (S ** 2 + y.shape[1] * strength)).sqrt()  # (R,): in Z, as below, all directions curve alike
    Z, b = (start[0].T @ V.T / scale, start[1] + mean @ start[0]) if start else (0 * y.T @ U, 0 * y[0])  # (N, R)

    def loss():
        sums = loss_of(U @ (S * scale * Z).T + b, y, reduction="sum") + strength * (scale * Z).square().sum() / 2
        Z.grad, b.grad = torch.autograd.grad(sums / len(x), (Z, b))
        return sums / len(x)
    parts = [Z.requires_grad_(), b.requires_grad_()]
    torch.optim.LBFGS(parts, 1, 1000, tolerance_grad=3e-5, history_size=10, line_search_fn="strong_wolfe").step(loss)
    return (W := (scale * Z.detach() @ V).T), b.detach() - mean @ W


def linear_probe(features, labels, valid_features, valid_labels, metric=accuracy):
    """Of strengths from 1e-6 to 1e6 the best on validation (Appendix A), refitted on both -> (D, N), (N,), strength."""
    fits, values, best = {}, {}, 0
    for step in (16, 8, 4, 2, 1):  # in eighths of a decade, by halving
        for i in range(-48, 49, 16) if step == 16 else {best - step, best + step} & {*range(-48, 49)}:
            W, b = fits[i] = logistic_regression(features, labels, 10 ** (i / 8), fits.get(i + step))
            values[i] = metric(valid_features.double() @ W + b, valid_labels)
        best = max(values, key=lambda i: (values[i], i))  # of equally good ones the strongest
    features, labels = torch.cat([features, valid_features]), torch.cat([labels, valid_labels])
    return *logistic_regression(features, labels, 10 ** (best / 8), fits[best]), 10 ** (best / 8)


def retrieval(image_features, text_features, relevant, ks=(1, 5, 10)):
    """Unit features (images, E), (texts, E), relevant (images, texts), True where they fit -> {name: (recall, chance)}
    both ways (Table 13): the share of queries with a relevant item among their k best, for a k that leaves some out."""
    scores, results = image_features @ text_features.T, {}
    for way, s, fits in (("image to text", scores, relevant), ("text to image", scores.T, relevant.T)):
        order, items = s.argsort(dim=-1, descending=True), s.shape[1]
        for k in (k for k in ks if k < items):
            hit = fits.gather(1, order[:, :k]).any(dim=-1)
            left = items - torch.arange(k, device=s.device)  # (k,), to draw from at each of k random draws
            miss = (1 - fits.sum(dim=-1, keepdim=True) / left).clamp(min=0).prod(dim=-1)  # none draws a relevant one
            results[f"{way} R@{k}"] = hit.float().mean().item(), 1 - miss.mean().item()
    return results


def encode_files(model, paths, batch_size=64):
    """Yields the unit features (E,) of each picture file, NaN for one that can't be read, with a line that says so."""
    R = model.config.image_resolution
    for batch in parts(paths, batch_size, "pictures encoded"):
        pixels = torch.full((len(batch), 3, R, R), torch.nan)
        for place, path in zip(pixels, batch):
            with reported():
                place[:] = preprocess(open_image(path), R)
        yield from encode_images(model, pixels).cpu().numpy()


def index(model, folder, without=Path(), batch_size=64):
    """A folder of pictures, with all folders in it -> (their paths, unit features (B, E) on the CPU). FileNotFoundError
    without a folder, ValueError without pictures. Features are kept in INDEX in it, also when interrupted; unless it is
    damaged only what is new, has changed or was encoded by another model is encoded. `without`, resolved, is not."""
    folder, R, known = Path(folder), model.config.image_resolution, {}
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    blank = encode_images(model, torch.zeros(1, 3, R, R)).cpu().numpy()  # (1, E), by which to know the model again
    with suppress(OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile), np.load(folder / INDEX) as old:
        if np.allclose(old["blank"], blank, atol=1e-4):
            known = dict(zip(zip(old["names"].tolist(), old["stamps"].tolist()), old["features"]))
    stats = {path: path.stat() for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURES
             and path.is_file() and (path.name != without.name or path.resolve() != without)}  # to resolve all is slow
    keys = [(str(path.relative_to(folder)), f"{stat.st_size} {stat.st_mtime_ns}") for path, stat in stats.items()]
    new = [key for key in keys if key not in known]
    try:
        known |= zip(new, encode_files(model, [folder / name for name, _ in new], batch_size))
    finally:
        kept = [(*key, known[key]) for key in keys if key in known]
        if new and kept:
            names, stamps, features = zip(*kept)
            with reported("index not kept"):  # a folder that can only be read is searched all the same
                write(folder / INDEX, lambda f: np.savez(f, blank=blank, names=names, stamps=stamps, features=features))
    readable = {path: known[key] for path, key in zip(stats, keys) if np.isfinite(known[key]).all()}
    if not readable:
        raise ValueError(f"{folder}: no pictures in this folder that can be read ({', '.join(sorted(PICTURES))})")
    return list(readable), torch.from_numpy(np.stack([*readable.values()]))  # (B, E)


def search(model, tokenizer, folder, text=None, like=None, top=9, without=Path()):
    """The pictures of a folder that best fit a text, or a picture file -> [(path, cosine), ...], the best first."""
    if (text is None) == (like is None):
        raise ValueError("search for a text or for what is like a picture, one of the two")
    query = (encode_texts(model, tokenizer, [text]) if like is None else
             encode_images(model, preprocess(open_image(like), model.config.image_resolution)[None]))  # (1, E)
    paths, features = index(model, folder, without)
    scores, order = (features @ query[0].cpu()).topk(min(top, len(paths)))
    return [(paths[i], score) for i, score in zip(order.tolist(), scores.tolist())]


# ---- Pictures for people: each function returns a matplotlib figure --------------------------------------------------


def levels(images):
    """Normalised (B, 3, R, R) -> (B, R, R, 3) from 0 to 1, as imshow takes it."""
    return (images.cpu().permute(0, 2, 3, 1) * torch.tensor(STD) + torch.tensor(MEAN)).clamp(0, 1).numpy()


def draw_sheet(pictures, captions, columns=8):
    """A contact sheet: pictures (anything that imshow takes) above their captions."""
    rows = -(-len(captions) // columns)
    figure = Figure(figsize=(1.6 * columns, 2.05 * rows))
    for i, (picture, text) in enumerate(zip(pictures, captions), 1):
        axis = figure.add_subplot(rows, columns, i, frame_on=False, xticks=[], yticks=[])
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(textwrap.fill(text, 25, max_lines=4), fontsize=7, y=-0.04, va="top", pad=0, parse_math=False)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.3 / rows, wspace=0.06, hspace=0.38)
    return figure


def draw_probabilities(pictures, titles, labels, probabilities, top=5):
    """Each picture beside the bars of its most probable labels, as in Figure 21."""
    columns, top = min(3, len(pictures)), min(top, len(labels))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(5 * columns, 2.2 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 2 * columns, width_ratios=[1, 1.2] * columns)
    for k, (picture, title, row) in enumerate(zip(pictures, titles, probabilities)):
        left, right = (figure.add_subplot(grid[2 * k + j], frame_on=False, xticks=[], yticks=[]) for j in (0, 1))
        left.imshow(picture)
        left.set_title(title, fontsize=8, parse_math=False)
        for y, i in enumerate(row.argsort(descending=True)[:top]):
            right.barh(y, row[i].item(), color="#BBBBBB" if y else "#E69F00")
            right.text(0.02, y, f"{labels[i]}  {row[i]:.1%}", va="center", fontsize=9, parse_math=False)
        right.set(xlim=(0, 1), ylim=(max(top, 3) - 0.5, -0.5))
    return figure


def draw_similarity(model, tokenizer, images, captions):
    """Cosine similarities of N captions with their N images: Figure 1 (1) as trained, true pairs on the diagonal."""
    cosines = (encode_texts(model, tokenizer, captions) @ encode_images(model, images).T).cpu().numpy()  # (N, N)
    n, middle = len(captions), (cosines.min() + cosines.max()) / 2
    axis = Figure(figsize=(0.62 * n + 3.2, 0.62 * n + 0.9)).add_subplot()
    axis.imshow(cosines, cmap="viridis", extent=(0, n, n, 0))
    for (i, j), cosine in np.ndenumerate(cosines):
        axis.text(j + 0.5, i + 0.5, f"{cosine:.2f}".replace("0.", "."), ha="center", va="center", fontsize=7,
                  color="white" if cosine < middle else "black")
    for j, image in enumerate(levels(images)):
        axis.imshow(image, extent=(j + 0.04, j + 0.96, -0.04, -0.96))
    axis.set(xlim=(0, n), ylim=(n, -1), xticks=[], yticks=np.arange(n) + 0.5)
    axis.set_yticklabels([textwrap.fill(text, 44, max_lines=2) for text in captions], fontsize=8, parse_math=False)
    return axis.figure


def draw_curves(history, batch_size, results):
    """A history of train_tiny.train: loss, accuracy beside its chance in results, and scale against the steps."""
    figure = Figure(figsize=(14, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    steps, at = [row["step"] for row in history], [row["step"] for row in history if "accuracy" in row]
    left.plot(steps, [row["loss"] for row in history])
    left.axhline(np.log(batch_size), color="gray", linestyle=":")
    left.set(xlabel="step", ylabel=f"loss in nats (dotted: a guess, ln {batch_size})", ylim=(0, None))
    for i, (name, (_, chance)) in enumerate(results.items()):
        middle.plot(at, [row["accuracy"][name] for row in history if "accuracy" in row], f"C{i}.-", label=name)
        middle.axhline(chance, linestyle=":", color=f"C{i}", linewidth=1)
    middle.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    middle.set(xlabel="step", ylabel="on held-out pairs (dotted: chance)", ylim=(0, 1.02))
    right.plot(steps, [row["scale"] for row in history])
    right.set(xlabel="step", ylabel="scale of the logits, exp(logit_scale)", ylim=(0, None))
    return figure


# ---- Command line ----------------------------------------------------------------------------------------------------


def main(argv=None):
    """The command line; `search` as its first word makes another. Exit status 2 and one line for what can't be done."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # file names that are no UTF-8
    argv = sys.argv[1:] if argv is None else argv
    searching = argv[:1] == ["search"]
    parser = argparse.ArgumentParser("zeroshot.py" + " search" * searching, description=__doc__.split("\n\nLetters")[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    if searching:
        add("folder", metavar="DIR", help=f"where the pictures are; their features are kept there in {INDEX}")
        add("text", nargs="?", metavar="TEXT", help="what to look for")
        add("--like", metavar="IMAGE", help="look for what is like this picture instead")
        add("--top", type=int, default=9, metavar="N", help="how many to show (default: %(default)s)")
        add("--plot", default="search.png", metavar="PNG", help="a contact sheet of them (default: %(default)s)")
    else:
        add("images", nargs="+", metavar="IMAGE", help="picture files")
        add("--labels", nargs="+", required=True, metavar="TEXT", help="what the picture may show")
        add("--templates", default="label", metavar="SET", help=f"{', '.join(TEMPLATES)}, or a file with a sentence "
            "on each line, {} where the label goes; features are averaged over them (default: %(default)s)")
        add("--plot", nargs="?", const="zeroshot.png", metavar="PNG", help="draw them with bars (default: %(const)s)")
    add("--model", "--weights", default="runs/tiny/clip.pt", metavar="CKPT",
        help=f"a checkpoint, a Hugging Face folder, or one of {', '.join(SHA256)} (default: %(default)s)")
    add("--gelu", choices=["gelu", "quick_gelu"], help="what the model was trained with (default: as its files tell)")
    add("--json", action="store_true", help="print JSON instead of text")
    add("--device", default="cpu", help="where to compute (default: %(default)s)")
    args = parser.parse_args(argv[searching:])
    try:
        check_device(args.device)
        model, tokenizer = load(args.model, args.device, args.gelu and args.gelu == "quick_gelu")
        answers, lines, draw, bad = (run_search if searching else run_labels)(args, fuse(model), tokenizer)
        sys.stdout.writelines([json.dumps(answers, indent=1), "\n"] if args.json else lines)
        if args.plot and answers:
            pictures = [ImageOps.contain(open_image(row["image"]).convert("RGB"), (400, 400)) for row in answers]
            draw(pictures).savefig(args.plot, dpi=150)
            print(f"drawn into {args.plot}", file=sys.stderr)
        return 2 if bad else 0
    except (ValueError, OSError) as error:
        print(f"zeroshot.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nzeroshot.py: interrupted; what was indexed or downloaded is kept", file=sys.stderr)
        return 130


def run_labels(args, model, tokenizer):
    """Probabilities of labels -> answers for JSON, lines of text, what draws them, how many pictures are unreadable."""
    labels = list(dict.fromkeys(args.labels))
    templates = TEMPLATES.get(args.templates) or [line for line in map(str.strip, read_text(args.templates)) if line]
    weights = zero_shot_classifier(model, tokenizer, labels, templates)
    paths = [path for name in args.images  # Windows leaves the * to us
             for path in ([name] if os.path.exists(name) else sorted(glob.glob(name)) or [name])]
    answers, lines, rows = [], [], []
    features = torch.from_numpy(np.stack([*encode_files(model, paths)])).to(weights)  # (B, E)
    for path, row in zip(paths, classify(model, features, weights).cpu()):
        if row.isfinite().all():
            rows.append(row)  # (N,)
            answers.append({"image": path, "probabilities": dict(zip(labels, row.tolist()))})
            lines += [f"{path}\n", *(f"  {p:6.1%}  {labels[i]}\n" for p, i in zip(*row.sort(descending=True)))]
    names = [os.path.basename(row["image"]).encode("utf-8", "replace").decode() for row in answers]
    return answers, lines, lambda pictures: draw_probabilities(pictures, names, labels, rows), len(paths) - len(answers)


def run_search(args, model, tokenizer):
    """The pictures of a folder that fit best -> answers for JSON, lines of text, what draws them, 0."""
    if args.top < 1:
        raise ValueError(f"--top {args.top}: at least one")
    found = search(model, tokenizer, args.folder, args.text, args.like, args.top, Path(args.plot).resolve())
    answers = [{"image": str(path), "cosine": score} for path, score in found]
    lines = [f"{score:6.3f}  {path}\n" for path, score in found]
    captions = [f"{score:.3f}  {path.name}".encode("utf-8", "replace").decode() for path, score in found]
    return answers, lines, lambda pictures: draw_sheet(pictures, captions, columns=min(5, len(found))), 0


if __name__ == "__main__":
    sys.exit(main())
