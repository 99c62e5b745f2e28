"""Section 5 and Figure 17: test pictures that were trained on, how many a detector finds, and what they change.

The paper looked for test images with a near-duplicate among the 400 million that CLIP was trained on. It
compared accuracy on those found (the overlap) with that on the others (clean) and on all. How many the search
missed, and what the model would have said without them, it could not know.

Here both are known. Two models are trained on the pictogram world. One has the batches of train_tiny.py's
default run, in which no picture comes twice. In the other's batches a twelfth of the pairs are
near-duplicates of test pictures, with captions. Each comes about thirty times, as each picture did in the 32
epochs of the paper. The test sets are scenes of two things. Copied is as large a part of them as the paper
found in its datasets on average, in Birdsnap, and in Country211, where it found most.

The detector is in the spirit of Appendix C: an image encoder that has learned to tell a picture's changed
copy from other pictures. It searches all of training for scenes of two things.

Letters in shape comments: n images, c copies among them, E joint embedding.
"""
import io
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image

import zeroshot
from clip_minimal import CLIP, CONFIGS, contrastive_loss, normalize
from common import BLUE, GREEN, GREY, ORANGE
from lab import fit, untrained
from tasks import SCENES
from train_tiny import BACKGROUNDS, COLOURS, EVALUATION, OBJECTS, RELATED, TRAINING, World, article, train
from train_tiny import STEPS as STEPS_OF_CLIP
from tutorial.extras.fast import accelerate, fold_batch_norms

# the parts of the test sets that are copied, and by which dataset of the paper
SHARES = {"the mean": 0.032, "Birdsnap": 0.121, "Country211": 0.215}
PAPER = {"Birdsnap": (12.1, 0.6), "Country211": (21.5, 0.2)}  # % overlap, points by which all is better than clean
CALIBRATION = 0.121  # the part that is copied of the set by which the detector's threshold is found
PART = 12  # one of so many pairs of a batch is a copy
STEPS = 1000  # of the detector; the paper's saw 30 million images
TEMPERATURE = 0.07  # of the detector, fixed as in Appendix C
SOME_OBJECTS = list(OBJECTS)[::4]

# ---- Test sets, and training with copies of their pictures ---------------------------------------


@dataclass
class TestSet:
    """Scenes of two things, some of which have a near-duplicate in training."""

    images: torch.Tensor  # (n, 3, 48, 48), normalised
    labels: dict  # what is labelled -> numbers of classes (n, 2), or (n, 1) of the background
    copied: np.ndarray  # (n,), whether there is a near-duplicate
    copies: torch.Tensor  # (c, 3, 48, 48), normalised
    captions: list  # c, of the copies


def make_test_set(world, number, n, share):
    """Draw n scenes of two things as training has them, and copies of a share of them -> TestSet.

    Another number is another set.
    """
    rng = world.rng(EVALUATION, 100 + number)
    scenes = world.scenes(rng, n, "related")
    images = world.draw(scenes)
    captions = world.captions(scenes, rng)
    # which are copied
    copied = rng.permutation(n) < round(share * n)
    copies = changed(images[copied], rng)
    captions = [captions[i] for i in np.flatnonzero(copied)]
    # an answer is right if it fits one of the two things
    objects = scenes["object"][:, :2]
    colours = scenes["colour"][:, :2]
    labels = {
        "object": objects,
        "colour": colours,
        "object in its colour": len(COLOURS) * objects + colours,
        "background": scenes["background"][:, None],
    }
    return TestSet(normalize(images), labels, copied, normalize(copies), captions)


def changed(images, rng):
    """Levels (n, 3, 48, 48) -> near-duplicates: up to two pixels cut off each side, lighter or darker, and JPEG."""
    copies = []
    for image in images.cpu():
        # cut, and stretched to the old size
        left, top, right, bottom = rng.integers(3, size=4)
        cut = image[None, :, top:48 - bottom, left:48 - right]
        cut = F.interpolate(cut, (48, 48), mode="bilinear")[0]  # (3, 48, 48)
        # lighter or darker
        cut = (cut * rng.uniform(0.9, 1.1)).clamp(0, 1)
        # there and back in JPEG
        pixels = (255 * cut).byte().permute(1, 2, 0).numpy()  # (48, 48, 3)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=int(rng.integers(60, 96)))
        copy = torch.from_numpy(np.array(Image.open(file)))  # (48, 48, 3)
        copies.append(copy.permute(2, 0, 1) / 255)
    return torch.stack(copies).to(images.device)


class Shown(World):
    """The world; `shown` is what the scenes of the last batch show."""

    def scenes(self, rng, n, kind=None, held_out=False, rivals=False):
        """As in World."""
        self.shown = super().scenes(rng, n, kind, held_out, rivals)
        return self.shown


class Repeating(Shown):
    """The world, but each batch ends with copies of test pictures and their captions, which take turns."""

    def __init__(self, seed, steps, copies, captions, device="cpu"):
        super().__init__(seed, device, steps=steps)
        self.copies = copies  # (c, 3, 48, 48), normalised
        self.copied_captions = captions  # c

    def batch(self, step, n):
        """The n training pairs of a step -> normalised images (n, 3, 48, 48), n captions."""
        images, captions = super().batch(step, n)
        places = max(1, n // PART)
        for i in range(places):
            copy = (step * places + i) % len(self.copies)
            images[n - places + i] = self.copies[copy]
            captions[n - places + i] = self.copied_captions[copy]
        self.shown["kind"][n - places:] = RELATED
        return images, captions


def repeating_clip(lab, seed, world):
    """A model like lab.world_clip's, trained on a Repeating world -> (quick model, tokenizer)."""
    tokenizer, model = untrained(seed, CONFIGS["tiny-RN"])

    def train_function(model):
        train(world, model, tokenizer, steps_of_clip(lab), lab.batch())

    model = lab.trained(f"overlap-repeating-{seed}", model, train_function)
    return accelerate(model), tokenizer


def steps_of_clip(lab):
    """How many steps a model is trained for."""
    return max(2, round(STEPS_OF_CLIP["tiny-RN"] * lab.budget))


# ---- The search ----------------------------------------------------------------------------------


def detector(lab):
    """An image encoder that has learned, by InfoNCE at a fixed temperature, to know a picture's changed copy.

    It chooses among 128 copies. Eight scenes each are alike in their colours and background, and in every
    other batch in their objects, else in their places. So all of these have to be looked at.
    """
    torch.manual_seed(97)
    model = CLIP(CONFIGS["tiny-RN"])
    world = World(seed=97, device=lab.device)
    rng = np.random.default_rng(0)
    scale = torch.tensor(-math.log(TEMPERATURE))

    def loss(step):
        scenes = look_alikes(world, step)
        images = world.draw(scenes)
        copies = changed(images, rng)
        both = torch.cat([images, copies])  # (256, 3, 48, 48), for batch norms one batch
        features = model.encode_image(normalize(both))  # (256, E)
        return contrastive_loss(features[:128], features[128:], scale)

    def train_function(visual):
        fit(visual, loss, max(2, round(STEPS * lab.budget)))

    lab.trained("overlap-detector", model.visual, train_function)
    return fold_batch_norms(model.eval())


def look_alikes(world, step, n=128):
    """n scenes of two things; of eight that stand side by side, each has what is listed below from the first."""
    scenes = world.scenes(world.rng(TRAINING, step), n, "related")
    first = np.arange(n) // 8 * 8
    shared = ["colour", "background", "centre", "side"]
    if step % 2 == 1:
        shared = ["colour", "background", "object"]
    for key in shared:
        scenes[key] = scenes[key][first]
    return scenes


def pictures_of_two_things(world, step, n):
    """What of the n training pictures of a step shows two things; `world` is a Shown -> normalised (m, 3, 48, 48)."""
    images, _ = world.batch(step, n)
    related = torch.from_numpy(world.shown["kind"] == RELATED)
    return images[related]


def nearest(detect, world, steps, batch_size, images):
    """Search the steps of training -> for each image (n, 3, 48, 48) the largest cosine with what was found (n,)."""
    features = zeroshot.encode_images(detect, images)  # (n, E)
    best = torch.full((len(images),), -1.0)
    for step in range(steps):
        seen = pictures_of_two_things(world, step, batch_size)
        if len(seen) > 0:
            cosines = features @ zeroshot.encode_images(detect, seen).T  # (n, m)
            best = torch.maximum(best, cosines.amax(dim=1))
        if (step + 1) % 100 == 0:
            print(f"  searched {step + 1:5d}/{steps} steps", flush=True)
    return best.numpy()


def threshold(cosines, copied, precision=0.95):
    """The lowest cosine at and above which so large a share are copies; infinite if there is none."""
    order = np.argsort(-cosines)
    found = np.arange(1, len(order) + 1)
    right = np.cumsum(copied[order])
    good = np.flatnonzero(right >= precision * found)
    if len(good) == 0:
        return math.inf
    return cosines[order[good[-1]]]


# ---- Is it more than chance? ---------------------------------------------------------------------


def tail(k, n, p):
    """The chance of k successes or more in n trials, each a success with probability p."""
    if k <= 0:
        return 1.0
    if p in (0, 1):
        return float(p)
    total = 0.0
    for i in range(k, n + 1):
        # by logarithms, as the number of ways may be too large for a float
        ways = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        total += math.exp(ways + i * math.log(p) + (n - i) * math.log1p(-p))
    return total


def clopper_pearson(k, n, level=0.95):
    """The exact interval of a share, k of n, at the level -> (low, high).

    At the lower end k or more are just likely enough, at the upper end k or fewer.
    """
    low = 0.0
    high = 1.0
    if k > 0:
        low = where_tail_is((1 - level) / 2, k, n)
    if k < n:
        high = where_tail_is((1 + level) / 2, k + 1, n)
    return low, high


def where_tail_is(goal, k, n):
    """The probability p at which k or more of n have the chance `goal`, found by halving."""
    low = 0.0
    high = 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if tail(k, n, middle) < goal:
            low = middle
        else:
            high = middle
    return low


# ---- Measurement ---------------------------------------------------------------------------------


def classes_of(label):
    """What is labelled -> its class names and templates."""
    if label == "object":
        return [article(name) for name in OBJECTS], SCENES
    if label == "colour":
        return [article(name) for name in COLOURS], [f"{{}} {name}" for name in SOME_OBJECTS]
    if label == "background":
        return list(BACKGROUNDS), [f"{article(name)} {{}}" for name in SOME_OBJECTS]
    names = []
    for thing in OBJECTS:
        for colour in COLOURS:
            names.append(article(f"{colour} {thing}"))
    return names, ["{}"]


def measure(lab):
    """-> a row for each seed, training, test set and label; see `compare`."""
    rows = []
    detect = detector(lab)
    n = max(50, round(1000 * lab.budget))
    for seed in lab.seeds:
        # the first set is for the threshold
        shares = [CALIBRATION, *SHARES.values()]
        sets = [make_test_set(World(seed), i, n, share) for i, share in enumerate(shares)]
        copies = torch.cat([part.copies for part in sets])
        captions = [caption for part in sets for caption in part.captions]
        world = Repeating(seed, steps_of_clip(lab), copies, captions, lab.device)
        # what the search finds
        found = lab.remember(["overlap-search", seed], lambda: search(lab, detect, world, sets))
        # what both models say
        models = {"repeats": repeating_clip(lab, seed, world), "clean": lab.world_clip(seed)}
        for training, (model, tokenizer) in models.items():
            for name, part, of_part in zip(SHARES, sets[1:], found):
                row = {"training": training, "test set": name, "seed": seed}
                for results in compare(model, tokenizer, part, np.array(of_part)):
                    rows.append(row | results)
    return rows


def search(lab, detect, world, sets):
    """Which pictures of the test sets have a near-duplicate in training, as the detector has it -> a list for each.

    The first set is left out: it is known where it has copies, and by it the threshold is chosen.
    """
    images = torch.cat([part.images for part in sets])
    cosines = nearest(detect, world, steps_of_clip(lab), lab.batch(), images)
    cosines = np.split(cosines, len(sets))
    limit = threshold(cosines[0], sets[0].copied)
    return [(of_set >= limit).tolist() for of_set in cosines[1:]]


def compare(model, tokenizer, part, found):
    """Accuracy on the parts of a test set -> a dict for each label.

    planted, found, precision, recall   the search: shares of the set, and how good it was
    copied                              accuracy on all pictures that were copied, found or not
    all, clean, overlap                 accuracy on all pictures, on those not found and on those found
    low, high                           the 99.5 % interval of Clopper and Pearson for the overlap, as the paper's
    p                                   the chance of as many right, were the overlap as the clean ones are
    """
    features = zeroshot.encode_images(model, part.images)
    k = (found & part.copied).sum()
    row = {"planted": part.copied.mean(), "found": found.mean(), "precision": k / max(1, found.sum()),
           "recall": k / part.copied.sum()}
    rows = []
    for label, truth in part.labels.items():
        names, templates = classes_of(label)
        weights = zeroshot.zero_shot_classifier(model, tokenizer, names, templates)
        answers = (features @ weights).argmax(dim=1).numpy()  # (n,)
        right = (answers[:, None] == truth).any(axis=1)  # (n,)
        accuracies = accuracies_of(right, found)
        chance = truth.shape[1] / len(names)
        rows.append({"label": label, "chance": chance, **row, "copied": right[part.copied].mean(), **accuracies})
    return rows


def accuracies_of(right, found):
    """Which answers are right (n,), which pictures were found (n,) -> accuracies, interval and p, see `compare`."""
    k = int(right[found].sum())
    many = int(found.sum())
    clean = right[~found].mean()
    low, high = clopper_pearson(k, many, level=0.995)
    overlap = k / many if many > 0 else math.nan
    return {"all": right.mean(), "clean": clean, "overlap": overlap, "low": low, "high": high,
            "p": tail(k, many, clean)}


# ---- Figure --------------------------------------------------------------------------------------

STYLES = {"object": (BLUE, "o"), "colour": (ORANGE, "s"), "object in its colour": (GREEN, "^"),
          "background": ("#CC79A7", "v")}


def draw(rows):
    """Above: what the search found, and what the copies really changed. Below: the paper's Figure 17."""
    figure = Figure(figsize=(8.5, 8.2), layout="constrained")
    (search_axis, truth_axis), (left, right) = figure.subplots(2, 2)
    draw_search(search_axis, rows)
    draw_truth(truth_axis, rows)
    draw_overlap(left, rows)
    draw_all(right, rows)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    return figure


def draw_search(axis, rows):
    """How much was found of what was planted."""
    axis.plot([0, 25], [0, 25], "k--", linewidth=1, label="all, and no more")
    for row in rows:
        axis.plot(100 * row["planted"], 100 * row["found"], "o", color=GREY)
    precision = np.mean([row["precision"] for row in rows])
    recall = np.mean([row["recall"] for row in rows])
    axis.set_title(f"the search: precision {precision:.0%}, recall {recall:.0%}", fontsize=10)
    axis.set(xlabel="copied into training (% of a test set)", ylabel="found (%)", xlim=(-1, 26), ylim=(-1, 26))
    axis.legend(fontsize=9)


def draw_truth(axis, rows):
    """By how much training on copies of them made pictures easier: the same pictures for both models."""
    clean = {}
    for row in rows:
        if row["training"] == "clean":
            clean[row["test set"], row["label"], row["seed"]] = row["copied"]
    names = list(SHARES)
    for place, (label, (colour, marker)) in enumerate(STYLES.items()):
        for row in rows:
            if row["training"] == "repeats" and row["label"] == label:
                gain = row["copied"] - clean[row["test set"], label, row["seed"]]
                x = names.index(row["test set"]) + 0.15 * (place - 1.5)
                axis.plot(x, 100 * gain, marker, color=colour)
    axis.axhline(0, color=GREY, linestyle=":")
    labels = [f"{name}\n{share:.1%}" for name, share in SHARES.items()]
    axis.set_xticks(range(len(names)), labels)
    axis.set_title("what it really gains to have seen copies", fontsize=10)
    axis.set_ylabel("accuracy on what was copied (points)")


def draw_overlap(axis, rows):
    """Figure 17, left: the overlap against the clean. Hollow: the model that saw no copies."""
    for place, (label, (colour, marker)) in enumerate(STYLES.items()):
        significant = 0
        some = [row for row in rows if row["label"] == label and row["found"] > 0]
        for row in some:
            x = 100 * row["found"] + 0.25 * (place - 1.5)  # side by side
            gain = 100 * (row["overlap"] - row["clean"])
            if row["training"] == "clean":
                axis.plot(x, gain, marker, color=colour, fillstyle="none", markersize=5)
                continue
            below = 100 * (row["overlap"] - row["low"])
            above = 100 * (row["high"] - row["overlap"])
            axis.errorbar(x, gain, [[below], [above]], fmt=marker, color=colour, capsize=2, linewidth=0.8)
            significant += row["p"] < 0.05
        with_copies = len(some) // 2
        axis.plot([], [], marker, color=colour, label=f"{label} (p < 0.05: {significant} of {with_copies})")
    axis.axhline(0, color=GREY, linestyle=":")
    axis.set_title("Figure 17, left (bars: 99.5 %)", fontsize=10)
    axis.set(xlabel="found to overlap (% of a test set)", ylabel="accuracy on overlap minus clean (points)")
    axis.set_xlim(-1, 26)


def draw_all(axis, rows):
    """Figure 17, right: all pictures against the clean ones, and two of the paper's points."""
    for row in rows:
        colour, marker = STYLES[row["label"]]
        style = "full" if row["training"] == "repeats" else "none"
        gain = 100 * (row["all"] - row["clean"])
        axis.plot(100 * row["found"], gain, marker, color=colour, fillstyle=style, markersize=5)
    for name, (x, gain) in PAPER.items():
        axis.plot(x, gain, "k*", markersize=9)
        axis.annotate(f"the paper's\n{name}", (x, gain), xytext=(5, 7), textcoords="offset points", ha="right",
                      fontsize=9)
    axis.axhline(0, color=GREY, linestyle=":")
    axis.set_title("Figure 17, right (hollow: no copies seen)", fontsize=10)
    axis.set(xlabel="found to overlap (% of a test set)", ylabel="accuracy on all minus clean (points)")
    axis.set_xlim(-1, 26)
