"""What a trained CLIP is for: classifiers made from label text (Section 3.1), retrieval, few-shot probes, image search.

    python zeroshot.py photo.png --labels "a cat" "a dog" "a house"     probabilities for each label
    python zeroshot.py *.png --labels cat dog --templates ensemble      eighty sentences for each label
    python zeroshot.py photo.png --labels "a cat" "a dog" --plot        draw the picture and its bars (Figure 21)
    python zeroshot.py photo.png --labels cat dog --model ViT-B/32      OpenAI's weights, downloaded once
    python zeroshot.py search DIR "a red sun"                           the pictures of a folder that fit best

The model is the one that train_tiny.py leaves, unless --model names another. Retrieval and probes have no
command: train_tiny.py, the tutorial and its experiments call their functions.

Letters in shape comments: B images, M texts, N classes, K templates, D width, E joint embedding, R resolution.
"""
import argparse
import glob
import json
import math
import os
import sys
import textwrap
from pathlib import Path

if __name__ == "__main__":
    # figures are drawn into files: the backend that this variable names is not needed, and may not be installed
    os.environ.pop("MPLBACKEND", None)
    # what an Apple GPU (--device mps) lacks runs on the CPU, and PyTorch says so
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import ImageOps

from clip_minimal import MEAN, SHA256, STD, OtherLayout, load, normalize, preprocess, write
from tutorial.extras.pictures import (PICTURES, describe_other_pictures, figure_path, find_files, made_here, open_image,
                                      print_anything, save_figure)

# ---- A classifier from label text (Figure 1, steps 2 and 3; Section 3.1.2) -----------------------


@torch.no_grad()
def encode_images(model, images, batch_size=256):
    """Preprocessed images (B, 3, R, R) -> features (B, E) of unit length. The model must be in eval mode."""
    features = []
    for batch in images.split(batch_size):
        batch = batch.to(model.logit_scale.device)
        features.append(F.normalize(model.encode_image(batch).float(), dim=1))
    return torch.cat(features)


@torch.no_grad()
def encode_texts(model, tokenizer, texts, truncate=False, batch_size=256, progress=False):
    """M texts -> features (M, E) of unit length.

    A text that is longer than the model's context is a ValueError, or is cut with truncate=True.
    With progress=True a line on standard error tells how far the work has come.
    """
    features = [torch.zeros(0, model.config.embed_dim, device=model.logit_scale.device)]  # for M = 0
    for start in range(0, len(texts), batch_size):
        batch = texts[start:start + batch_size]
        tokens = tokenizer(batch, model.config.context_length, truncate, pad=False)
        tokens = tokens.to(model.logit_scale.device)
        features.append(F.normalize(model.encode_text(tokens).float(), dim=1))
        if progress:
            show_progress(start + len(batch), len(texts), "texts encoded")
    return torch.cat(features)


def zero_shot_classifier(model, tokenizer, classnames, templates=("{}",)):
    """The names of N classes -> the weights of a classifier (E, N), a column of unit length for each class.

    Each name is put into each of K templates, sentences with {} in them. The weights of a class are
    the mean of the unit features of its sentences, brought to unit length: the ensemble of Section 3.1.4.
    """
    if not classnames or not templates:
        raise ValueError("a classifier needs at least one label and one template")
    prompts = []
    for name in classnames:
        for template in templates:
            if "{}" not in template:
                raise ValueError(f"template {template!r} has no {{}} to put the label in")
            prompts.append(template.replace("{}", name))
    features = encode_texts(model, tokenizer, prompts, progress=len(prompts) > 4096)  # (N K, E)
    features = features.view(len(classnames), len(templates), -1)  # (N, K, E)
    means = features.mean(dim=1)  # (N, E)
    return F.normalize(means, dim=1).T  # (E, N)


@torch.no_grad()
def classify(model, image_features, weights):
    """Unit features (B, E) and the weights of a classifier (E, N) -> probabilities (B, N)."""
    logits = model.logit_scale.exp() * image_features @ weights  # scaled cosine similarities
    return logits.softmax(dim=1)


def accuracy(scores, labels):
    """The share of rows of scores (B, N) whose largest entry is at the position of the label (B,)."""
    return (scores.argmax(dim=1) == labels).float().mean().item()


def many_templates():
    """Eighty sentences of our own, like those described in Section 3.1.4: in each, a word takes the place of the *."""
    words_for = {
        "a *photo of a {}.": ["", "good ", "bad ", "sharp ", "blurry ", "bright ", "dark ", "grainy ",
                              "cropped ", "close-up ", "small "],
        "a *photo of the {}.": ["", "good ", "bad ", "sharp ", "blurry ", "bright ", "dark ", "grainy ",
                                "cropped ", "close-up ", "small "],
        "a photo of * {}.": ["one", "two", "several", "many", "a group of", "some", "my", "this", "a small",
                             "a large", "a tiny", "a huge", "a new", "an old", "the small", "the large",
                             "a clean", "a dirty", "a pretty", "an odd", "a colourful", "a plain"],
        "a photo of a {} *.": ["from above", "from the side", "from afar", "in the distance", "at night",
                               "in the sun", "in the rain", "in the snow", "indoors", "outdoors",
                               "on a table", "in the middle of the picture"],
        "a * of a {}.": ["drawing", "painting", "sketch", "cartoon", "sculpture", "mosaic", "silhouette",
                         "pictogram", "poster", "rendering", "toy model", "pencil drawing"],
        "a * of the {}.": ["drawing", "painting", "sketch", "cartoon", "sculpture", "mosaic", "silhouette",
                           "pictogram", "poster", "rendering", "toy model", "pencil drawing"],
    }
    templates = []
    for sentence, words in words_for.items():
        for word in words:
            templates.append(sentence.replace("*", word))
    return templates


TEMPLATES = {
    "label": ["{}"],
    "photo": ["a photo of a {}."],  # Section 3.1.4
    "ensemble": many_templates(),
}

# ---- Retrieval (Table 13) ------------------------------------------------------------------------


def retrieval(image_features, text_features, relevant, ks=(1, 5, 10)):
    """Recall at k in both directions, beside chance -> {"image to text R@1": (recall, chance), ...}.

    Unit features of B images (B, E) and of M texts (M, E); relevant (B, M) is True where the two
    belong together. A k is left out unless more than k items are searched.
    """
    scores = image_features @ text_features.T  # (B, M)
    results = {}
    for k in ks:
        if k < scores.shape[1]:
            results[f"image to text R@{k}"] = recall_at(k, scores, relevant)
    for k in ks:
        if k < scores.shape[0]:
            results[f"text to image R@{k}"] = recall_at(k, scores.T, relevant.T)
    return results


def recall_at(k, scores, relevant):
    """The share of rows with a relevant item among their k best scores, and chance: the same for k random items."""
    best = scores.topk(k, dim=1).indices  # (rows, k)
    hit = relevant.gather(1, best).any(dim=1)  # (rows,)
    # Chance: k items are drawn at random, one after the other, and `miss` is the probability that all are wrong.
    # As long as they are, the items left hold all relevant ones, and the next is wrong with probability
    # 1 - relevant / left. Once only relevant ones are left, this factor is 0, and `miss` stays 0 whatever the
    # later factors are.
    how_many = relevant.sum(dim=1)  # (rows,)
    miss = torch.ones(len(scores), device=scores.device)
    for drawn in range(k):
        left = scores.shape[1] - drawn
        miss = miss * (1 - how_many / left)
    return hit.float().mean().item(), 1 - miss.mean().item()


# ---- Linear probes: a classifier from labelled images, from a few or from many (Appendix A) ------


@torch.no_grad()
def encode_penultimate(model, images, batch_size=256):
    """Preprocessed images (B, 3, R, R) -> features before the projection (B, D), I_f of Figure 3, not normalised.

    Appendix A probes these: for a ViT, the output of its last LayerNorm; for a ResNet it says "the
    penultimate layer", which here is the attention pool without its last linear layer.
    """
    features = []
    for batch in images.split(batch_size):
        # what encode_image does before it calls the encoder
        weight = model.visual.conv1.weight
        batch = batch.to(weight.device, weight.dtype, memory_format=torch.channels_last)
        features.append(model.visual.penultimate(batch).float())
    return torch.cat(features)


def logistic_regression(features, labels, strength):
    """Fit a linear classifier to features (B, D) -> weights (D, N), bias (N,), in float64.

    labels (B,) are classes from 0 to N - 1; or (B, N) of 0 and 1, if an image can have several. The
    fit minimises the sum of the cross-entropies + strength / 2 times the squared weights, by L-BFGS
    with at most 1,000 iterations (Appendix A). scikit-learn's C is 1 / strength.
    """
    x = features.double()
    if labels.ndim == 1:
        targets = F.one_hot(labels).double()  # (B, N)
        loss_of = F.cross_entropy
    else:
        targets = labels.double()
        loss_of = F.binary_cross_entropy_with_logits
    # Features are correlated and of different sizes: the loss is steep one way and flat another, and
    # L-BFGS would take a thousand small steps. So it works along the P = min(B, D) principal directions
    # of the features, each stretched so that the loss is about equally curved along all. Their mean is
    # subtracted, as otherwise each change of the weights would need a change of the bias to make up for
    # it. The minimum stays the same.
    mean = x.mean(dim=0)
    _, sizes, directions = torch.linalg.svd(x - mean, full_matrices=False)  # (P,), (P, D)
    # Where all N classes are equally likely, the loss of an image curves by about 1 / N in each score. All
    # images together give sizes² / N along a direction of the features, and the penalty adds strength.
    B = len(x)
    N = targets.shape[1]
    curvature = sizes ** 2 / N + strength  # (P,)
    # Along an axis that is stretched by s, the loss curves s² times as much: with s² = B / (N curvature) it
    # curves by B / N along every axis, so that the mean over the B images, taken below, curves by 1 / N.
    stretch = (B / (N * curvature)).sqrt()[:, None]  # (P, 1)
    axes = stretch * directions  # (P, D)
    z = (x - mean) @ axes.T  # (B, P)
    z_weights = z.new_zeros(z.shape[1], targets.shape[1], requires_grad=True)  # (P, N)
    bias = z.new_zeros(targets.shape[1], requires_grad=True)  # (N,)
    optimizer = torch.optim.LBFGS([z_weights, bias], max_iter=1000, max_eval=2000, tolerance_grad=3e-5,
                                  tolerance_change=0, history_size=10, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        errors = loss_of(z @ z_weights + bias, targets, reduction="sum")
        # the weights returned are directions.T @ (stretch * z_weights); directions are perpendicular and of
        # unit length, so the sum of the squares is that of stretch * z_weights
        penalty = strength / 2 * (stretch * z_weights).square().sum()
        mean_loss = (errors + penalty) / B  # has its minimum in the same place as the sum
        mean_loss.backward()
        return mean_loss

    optimizer.step(loss)  # makes all the iterations, and calls loss() as often as it needs
    weights = axes.T @ z_weights.detach()  # (D, N), for features as they were given
    bias = bias.detach() - mean @ weights  # (x - mean) W + b = x W + (b - mean W)
    return weights, bias


def linear_probe(features, labels, valid_features, valid_labels, metric=accuracy):
    """Search the strength of the penalty on validation data -> weights (D, N), bias (N,), strength.

    metric(scores (B, N), labels) says how good a classifier is; where images have several labels, give
    another one than accuracy.

    Appendix A: seven strengths from 1e-6 to 1e6, then between the best and its neighbours, in ever
    smaller steps, to an eighth of a decade. The last fit is to both splits.
    """
    scores = {}  # exponent of 10 -> how good the classifier is on the validation split

    def try_strength(exponent):
        if exponent not in scores and -6 <= exponent <= 6:
            weights, bias = logistic_regression(features, labels, 10 ** exponent)
            scores[exponent] = metric(valid_features.double() @ weights + bias, valid_labels)

    for exponent in (-6, -4, -2, 0, 2, 4, 6):
        try_strength(exponent)
    for step in (1, 1 / 2, 1 / 4, 1 / 8):
        best = best_exponent(scores)
        try_strength(best - step)
        try_strength(best + step)
    strength = 10 ** best_exponent(scores)
    both_features = torch.cat([features, valid_features])
    both_labels = torch.cat([labels, valid_labels])
    weights, bias = logistic_regression(both_features, both_labels, strength)
    return weights, bias, strength


def best_exponent(scores):
    """{exponent: score} -> the exponent of the best score; of equally good ones the strongest penalty."""
    return max(scores, key=lambda exponent: (scores[exponent], exponent))


# ---- Image search: the pictures of a folder that fit a text, or another picture ------------------

INDEX = "clip-index.npz"  # a file in the folder that keeps the features of its pictures


def search(model, tokenizer, folder, text=None, like=None, top=9, without=None):
    """The pictures of a folder that best fit a text, or a picture file -> [(path, cosine), ...], the best first."""
    if (text is None) == (like is None):  # neither, or both
        raise ValueError("search for a text or for what is like a picture, one of the two")
    if text is not None:
        query = encode_texts(model, tokenizer, [text])  # (1, E)
    else:
        pixels = read_picture(model, like)  # (3, R, R)
        query = encode_images(model, pixels[None])  # (1, E)
    paths, features = index(model, folder, without)
    cosines = features @ query[0].cpu()  # (B,)
    best = cosines.topk(min(top, len(paths)))
    return [(paths[i], cosine) for i, cosine in zip(best.indices.tolist(), best.values.tolist())]


def index(model, folder, without=None, batch_size=64):
    """A folder of pictures and its subfolders -> (their paths, unit features (B, E) on the CPU).

    The features are kept in INDEX in the folder, also when interrupted. Next time only what is new,
    has changed or was encoded by another model is encoded. `without` is a picture to leave out, the
    contact sheet that the search will draw.
    FileNotFoundError where there is no folder, ValueError where there are no pictures.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    key_of = find_pictures(folder, without)  # {path: key}
    # what is known of these pictures
    signature = signature_of(model)
    kept = read_index(folder, signature)
    known = {key: kept[key] for key in key_of.values() if key in kept}  # {key: features (E,)}
    # encode the others, except for the contact sheets of earlier searches and other figures
    new = [path for path, key in key_of.items() if key not in known and not made_here(path)]
    try:
        for path, features in zip(new, encode_files(model, new, batch_size)):
            known[key_of[path]] = features
    finally:
        if new and known:  # else the file is right as it is, or there is nothing to keep
            write_index(folder, signature, known)
    # Left out are figures, which were not encoded, and files that can't be read, whose features are NaN. The
    # index keeps the NaN, too, so that such a file is not read and reported again next time.
    paths = []
    rows = []
    for path, key in key_of.items():
        if key in known and np.isfinite(known[key]).all():
            paths.append(path)
            rows.append(known[key])
    if not paths:
        raise ValueError(f"{folder}: no pictures in this folder that can be read (whatever Pillow opens)")
    return paths, torch.from_numpy(np.stack(rows))  # (B, E)


def find_pictures(folder, without=None):
    """The pictures in a folder and its subfolders -> {path: key}.

    The key is a pair, the name in the folder, and a stamp of size and time of the last change: a picture
    that has changed has another key.
    """
    files = find_files(folder)
    problem = describe_other_pictures(files)
    if problem:
        print(f"left out: {problem}", file=sys.stderr)
    key_of = {}
    for path in files:
        if path.suffix.lower() not in PICTURES:
            continue
        # the names are compared first, as `resolve` reads the disk, which is slow
        if without is not None and path.name == without.name and path.resolve() == without.resolve():
            continue
        status = path.stat()
        stamp = f"{status.st_size} {status.st_mtime_ns}"
        key_of[path] = (str(path.relative_to(folder)), stamp)
    return key_of


def signature_of(model):
    """What a model makes of a black picture (1, E): it tells models apart, and how they want pictures normalised."""
    R = model.config.image_resolution
    # not a picture of the mean's colour, which normalising would turn into 0 whatever the deviation is
    black = torch.zeros(1, 3, R, R)
    pixels = normalize(black, model.config.image_mean, model.config.image_std)
    return encode_images(model, pixels).cpu().numpy()


def read_index(folder, signature):
    """What INDEX keeps -> {key: features (E,)}; nothing if another model made it."""
    try:
        with np.load(folder / INDEX) as old:
            if not np.allclose(old["signature"], signature, atol=1e-4):  # other devices round differently
                return {}
            keys = zip(old["names"].tolist(), old["stamps"].tolist())
            return dict(zip(keys, old["features"]))
    except Exception:  # there is none, it is damaged, or its features are of another width
        return {}


def write_index(folder, signature, known):
    """Keep {key: features} in INDEX; a folder that can't be written to is searched all the same."""
    names = [name for name, _ in known]
    stamps = [stamp for _, stamp in known]
    features = list(known.values())
    try:
        # whole or not at all, also when interrupted
        write(folder / INDEX, lambda file: np.savez(
            file, signature=signature, names=names, stamps=stamps, features=features))
    except OSError as error:
        print(f"index not kept: {error}", file=sys.stderr)


def encode_files(model, paths, batch_size=64):
    """Yield the unit features (E,) of each picture file, in numpy. One that can't be read is reported and has NaN."""
    R = model.config.image_resolution
    for start in range(0, len(paths), batch_size):
        batch = paths[start:start + batch_size]
        pixels = torch.full((len(batch), 3, R, R), torch.nan)  # NaN in one picture does not affect the others
        for i, path in enumerate(batch):
            try:
                pixels[i] = read_picture(model, path)
            except (ValueError, OSError) as error:
                print(f"left out: {error}", file=sys.stderr)
        features = encode_images(model, pixels).cpu().numpy()  # (B, E)
        # Progress is shown before `yield`, as nothing behind the last `yield` would run: `zip`, in `index`, ends
        # when it has no more paths, and asks for no more features.
        if len(paths) > batch_size:
            show_progress(start + len(batch), len(paths), "pictures encoded")
        yield from features


def read_picture(model, path):
    """A picture file -> pixels (3, R, R) as the model wants them. ValueError or OSError if it can't be read."""
    config = model.config
    return preprocess(open_image(path), config.image_resolution, config.image_mean, config.image_std)


def show_progress(done, total, what):
    """A line on standard error that the next one writes over: "2,048 of 5,000 texts encoded"."""
    end = "\n" if done == total else "\r"
    print(f"{done:,} of {total:,} {what}", end=end, file=sys.stderr, flush=True)


# ---- Figures -------------------------------------------------------------------------------------


def levels(images, mean=MEAN, std=STD):
    """Preprocessed images (B, 3, R, R) -> (B, R, R, 3) from 0 to 1, as matplotlib's imshow takes them."""
    images = images.cpu().permute(0, 2, 3, 1)  # (B, R, R, 3)
    images = images * torch.tensor(std) + torch.tensor(mean)
    return images.clamp(0, 1).numpy()


def draw_probabilities(pictures, titles, labels, probabilities, top=5):
    """Each picture beside the bars of its most probable labels, as in Figure 21 -> matplotlib figure."""
    columns = min(3, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    top = min(top, len(labels))
    figure = Figure(figsize=(5 * columns, 2.2 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 2 * columns, width_ratios=[1, 1.2] * columns)
    for k, (picture, title, row) in enumerate(zip(pictures, titles, probabilities)):
        axis = figure.add_subplot(grid[2 * k], frame_on=False, xticks=[], yticks=[])
        axis.imshow(picture)
        axis.set_title(title, fontsize=8, parse_math=False)
        axis = figure.add_subplot(grid[2 * k + 1], frame_on=False, xticks=[], yticks=[])
        best = row.argsort(descending=True)[:top].tolist()
        for y, i in enumerate(best):
            colour = "#BBBBBB"
            if y == 0:
                colour = "#E69F00"
            axis.barh(y, row[i].item(), color=colour)
            text = f"{labels[i]}  {row[i]:.1%}"
            axis.text(0.02, y, text, va="center", fontsize=9, parse_math=False)
        axis.set(xlim=(0, 1), ylim=(max(top, 3) - 0.5, -0.5))  # the best on top; room for three bars at least
    return figure


def draw_sheet(pictures, captions, columns=8):
    """A contact sheet: pictures (whatever imshow takes) above their captions -> matplotlib figure."""
    rows = math.ceil(len(captions) / columns)
    figure = Figure(figsize=(1.6 * columns, 2.05 * rows))
    for i, (picture, caption) in enumerate(zip(pictures, captions)):
        axis = figure.add_subplot(rows, columns, i + 1, frame_on=False, xticks=[], yticks=[])
        axis.imshow(picture, interpolation="nearest")
        text = textwrap.fill(caption, 25, max_lines=4)
        axis.set_title(text, fontsize=7, y=-0.04, va="top", pad=0, parse_math=False)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.3 / rows, wspace=0.06, hspace=0.38)
    return figure


# ---- Command line --------------------------------------------------------------------------------


def main(argv=None):
    """The command line. Exit status 2, and one line on standard error, if something is wrong with the input."""
    if argv is None:
        argv = sys.argv[1:]
    print_anything()  # names in any script, whatever the console can show
    try:
        if argv[:1] == ["search"]:
            return run_search(parse_search(argv[1:]))
        return run_labels(parse_labels(argv))
    except (ValueError, OSError) as error:
        print(f"zeroshot.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nzeroshot.py: interrupted; what was indexed or downloaded is kept", file=sys.stderr)
        return 130


def new_parser(name):
    """A parser with the options that both commands have."""
    parser = argparse.ArgumentParser(name, description=__doc__.split("\n\nLetters")[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", "--weights", default="runs/tiny/clip.pt", metavar="CKPT",
                        help="a checkpoint of any layout that tutorial/extras/convert.py reads, a Hugging Face folder,"
                             f" or one of {', '.join(SHA256)} (default: %(default)s)")
    parser.add_argument("--gelu", choices=["gelu", "quick_gelu"],
                        help="what the model was trained with (default: what its files say)")
    parser.add_argument("--fast", action="store_true",
                        help="the same numbers in less time, after a slower start (tutorial/extras/fast.py)")
    parser.add_argument("--device", default="cpu", help="where to compute (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--force", action="store_true",
                        help="with --plot: write over a file that is no figure of this project")
    return parser


def parse_labels(argv):
    """Options of `zeroshot.py IMAGE … --labels …`."""
    parser = new_parser("zeroshot.py")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture files")
    parser.add_argument("--labels", nargs="+", required=True, metavar="TEXT", help="what the picture may show")
    parser.add_argument("--templates", default="label", metavar="SET",
                        help=f"{', '.join(TEMPLATES)}, or a file with a sentence on each line, {{}} where the label"
                             " goes; features are averaged over them (default: %(default)s)")
    parser.add_argument("--plot", nargs="?", const="zeroshot.png", metavar="PNG",
                        help="draw the pictures with bars (default: %(const)s)")
    return parser.parse_args(argv)


def parse_search(argv):
    """Options of `zeroshot.py search DIR …`."""
    parser = new_parser("zeroshot.py search")
    parser.add_argument("folder", metavar="DIR",
                        help=f"where the pictures are; their features are kept there in {INDEX}")
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what to look for")
    parser.add_argument("--like", metavar="IMAGE", help="look for what is like this picture instead")
    parser.add_argument("--top", type=int, default=9, metavar="N", help="how many to show (default: %(default)s)")
    parser.add_argument("--plot", default="search.png", metavar="PNG",
                        help="draw a contact sheet of them (default: %(default)s)")
    return parser.parse_args(argv)


def run_labels(args):
    """Print the probabilities of the labels for each picture. Returns 2 if a picture could not be read."""
    plot = None
    if args.plot is not None:
        plot = figure_path(args.plot, args.force)
    labels = [as_text(label) for label in args.labels]
    labels = list(dict.fromkeys(labels))  # without repetitions
    if args.templates in TEMPLATES:
        templates = TEMPLATES[args.templates]
    else:
        templates = read_templates(args.templates)
    model, tokenizer = load_model(args.model, args.device, args.gelu, args.fast)
    weights = zero_shot_classifier(model, tokenizer, labels, templates)
    # the probabilities of all pictures
    paths = expand_stars(args.images)
    features = np.stack(list(encode_files(model, paths)))  # (B, E)
    features = torch.from_numpy(features).to(weights)
    probabilities = classify(model, features, weights).cpu()  # (B, N)
    # of one that can't be read they are NaN
    readable = probabilities.isfinite().all(dim=1)  # (B,)
    probabilities = probabilities[readable]
    answered = [path for path, ok in zip(paths, readable) if ok]
    if args.json:
        print_probabilities_as_json(answered, labels, probabilities)
    else:
        print_probabilities(answered, labels, probabilities)
    if plot is not None and answered:
        figure = draw_probabilities(thumbnails(answered), printable_names(answered), labels, probabilities)
        save_figure(figure, plot, dpi=150)
        print(f"drawn into {plot}", file=sys.stderr)
    if len(answered) < len(paths):
        return 2
    return 0


def print_probabilities(paths, labels, probabilities):
    """Under the name of each picture its labels, the most probable first."""
    for path, row in zip(paths, probabilities):
        print(path)
        for i in row.argsort(descending=True):
            print(f"  {row[i]:6.1%}  {labels[i]}")


def print_probabilities_as_json(paths, labels, probabilities):
    """A list with an object for each picture: {"image": path, "probabilities": {label: probability}}."""
    answers = []
    for path, row in zip(paths, probabilities):
        answers.append({"image": path, "probabilities": dict(zip(labels, row.tolist()))})
    print(json.dumps(answers, indent=1))


def run_search(args):
    """Print the pictures of a folder that fit best, and draw them. Unreadable ones are reported, but are no failure."""
    if args.top < 1:
        raise ValueError(f"--top {args.top}: at least one")
    if not args.folder:
        raise ValueError('DIR is "", the name of no folder')  # which would stand for the one it is run in
    if args.text == "":
        raise ValueError('TEXT is "", which says nothing to look for')
    plot = figure_path(args.plot, args.force)
    text = None
    if args.text is not None:
        text = as_text(args.text)
    model, tokenizer = load_model(args.model, args.device, args.gelu, args.fast)
    found = search(model, tokenizer, args.folder, text, args.like, args.top, without=plot)
    if args.json:
        answers = [{"image": str(path), "cosine": cosine} for path, cosine in found]
        print(json.dumps(answers, indent=1))
    else:
        for path, cosine in found:
            print(f"{cosine:6.3f}  {path}")
    # the contact sheet
    paths = [path for path, _ in found]
    captions = []
    for (_, cosine), name in zip(found, printable_names(paths)):
        captions.append(f"{cosine:.3f}  {name}")
    sheet = draw_sheet(thumbnails(paths), captions, columns=min(5, len(found)))
    save_figure(sheet, plot, dpi=150)
    print(f"drawn into {plot}", file=sys.stderr)
    return 0


def load_model(name_or_path, device="cpu", gelu=None, fast=False):
    """A published model or a checkpoint of any layout -> (model, tokenizer).

    gelu, "gelu" or "quick_gelu", overrules what the files say; fast=True accelerates the model.
    """
    check_device(device)
    by_convert = gelu is not None  # `load` can't be told the kind of GELU
    if not by_convert:
        try:
            model, tokenizer = load(name_or_path, device)
        except OtherLayout:
            by_convert = True
    if by_convert:
        from tutorial.extras.convert import load_other
        quick_gelu = {"gelu": False, "quick_gelu": True, None: None}[gelu]
        model, tokenizer = load_other(name_or_path, device, quick_gelu)
    if fast:
        from tutorial.extras.fast import accelerate
        model = accelerate(model)
    return model, tokenizer


def check_device(name):
    """ValueError for a device that PyTorch does not know or does not have here."""
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r}: {str(error).splitlines()[0]}") from None


def as_text(argument):
    """A label or query from the command line; a byte in it that is not UTF-8 becomes "?", which is said."""
    text = argument.encode("utf-8", "replace").decode()
    if text != argument:
        print(f"{ascii(argument)} is not UTF-8; it is read as {text!r}", file=sys.stderr)
    return text


def read_templates(path):
    """A file with a template on each line -> a list of them."""
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    return [line.strip() for line in lines if line.strip()]


def expand_stars(names):
    """Names with stars -> the files that match; on Windows the shell leaves that to the program."""
    paths = []
    for name in names:
        matches = sorted(glob.glob(name))
        if os.path.exists(name) or not matches:
            paths.append(name)  # a file whose name has a star or "[", or one that is missing, to be reported
        else:
            paths += matches
    return paths


def thumbnails(paths):
    """Picture files -> small RGB images."""
    images = []
    for path in paths:
        image = open_image(path).convert("RGB")
        images.append(ImageOps.contain(image, (400, 400)))
    return images


def printable_names(paths):
    """The last part of each path, with ? for what is not UTF-8."""
    names = [os.path.basename(path) for path in paths]
    return [name.encode("utf-8", "replace").decode() for name in names]


if __name__ == "__main__":
    sys.exit(main())
