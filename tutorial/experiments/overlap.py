"""Section 5 and Figure 17: test images that were trained on, found by their nearest neighbour, and what they change."""
import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image

import zeroshot
from clip_minimal import CLIP, CONFIGS, contrastive_loss, normalize
from common import BLUE, GREEN, GREY, ORANGE
from lab import fit
from tasks import SCENES
from train_tiny import BACKGROUNDS, COLOURS, OBJECTS, RELATED, STEPS as STEPS_OF_CLIP, TRAINING, World, article
from tutorial.extras.fast import fold_batch_norms

SHARES = {"as the mean of the paper": 0.032, "as Birdsnap": 0.121, "as Country211": 0.215}  # of a test set, planted
LABELS = {"object": ([article(name) for name in OBJECTS], SCENES),
          "colour": ([article(name) for name in COLOURS], [f"{{}} {name}" for name in list(OBJECTS)[::4]]),
          "background": (list(BACKGROUNDS), [f"{article(name)} {{}}" for name in list(OBJECTS)[::4]])}
TEMPERATURE, STEPS = 0.07, 1000  # of the detector; the paper's saw 30 million images


def training_scenes(world, step, n=256):
    """What the scenes of two objects show among the n of a step of training, as World.batch draws them. Steps of names
    only have none."""
    drawn = world.scenes(world.rng(TRAINING, step), n, rivals=step >= world.rivals_from)
    world.mirror(drawn)
    return {key: values[drawn["kind"] == RELATED] for key, values in drawn.items()}


def changed(images, rng):
    """Levels (n, 3, 48, 48) -> near-duplicates: up to two pixels cut off each side, lighter or darker, and JPEG."""
    copies = []
    for image in images:
        left, top, right, bottom = rng.integers(3, size=4)
        cut = image[None, :, top:48 - bottom, left:48 - right]
        cut = F.interpolate(cut, (48, 48), mode="bilinear")[0] * rng.uniform(0.9, 1.1)  # (3, 48, 48)
        pixels, file = (255 * cut.clamp(0, 1)).byte().permute(1, 2, 0).numpy(), io.BytesIO()  # (48, 48, 3)
        Image.fromarray(pixels).save(file, "JPEG", quality=int(rng.integers(60, 96)))
        copies.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255)
    return torch.stack(copies)  # (n, 3, 48, 48)


def test_set(world, steps, n, share, rng):
    """Scenes of two objects, a share of them changed copies of what the steps of training showed -> normalised images
    (n, 3, 48, 48), {what is labelled: (n, 2), or (n, 1) of the ground}, which are copies (n,)."""
    drawn, copied = world.scenes(rng, n, "related"), rng.permutation(n) < round(share * n)
    for i in np.flatnonzero(copied):
        seen = training_scenes(world, int(rng.choice(steps)))
        j = rng.integers(len(seen["kind"]))
        for key, values in drawn.items():
            values[i] = seen[key][j]
    images = world.draw(drawn)
    images[copied] = changed(images[copied], rng) if copied.any() else images[copied]
    labels = {key: torch.from_numpy(drawn[key].reshape(n, -1)[:, :2]) for key in LABELS}
    return normalize(images), labels, copied


def detector(lab):
    """An image encoder that tells a picture's changed copy from other pictures, by InfoNCE with a fixed temperature, as
    the paper's. In a batch eight scenes each share colours and ground: objects, or places, must tell them apart."""
    torch.manual_seed(97)
    model, world = CLIP(CONFIGS["tiny-RN"]), World(seed=97)
    rng, scale = np.random.default_rng(0), torch.tensor(-math.log(TEMPERATURE))

    def loss(step):
        drawn, alike = world.scenes(world.rng(TRAINING, step), 128, "related"), np.arange(128) // 8 * 8
        shared = ("colour", "background", "object") if step % 2 else ("colour", "background", "centre", "side")
        images = world.draw(drawn | {key: drawn[key][alike] for key in shared})
        views = model.encode_image(normalize(torch.cat([images, changed(images, rng)]))).chunk(2)  # (128, E) twice
        return contrastive_loss(*views, scale)

    lab.trained("overlap-detector", model.visual, lambda visual: fit(model, loss, max(2, round(STEPS * lab.budget))))
    return fold_batch_norms(model.eval())


def nearest(detect, world, steps, images):
    """-> for each image the largest cosine of its features with those of scenes of two objects in steps
    of training (n,)."""
    features, best = zeroshot.encode_images(detect, images), torch.full((len(images),), -1.0)  # (n, E), (n,)
    for done, step in enumerate(steps, 1):
        seen = world.draw(training_scenes(world, step))
        best = torch.maximum(best, (features @ zeroshot.encode_images(detect, normalize(seen)).T).amax(dim=1))
        if done % 200 == 0:
            print(f"  searched {done:5d}/{len(steps)} steps", flush=True)
    return best.numpy()


def threshold(cosines, copied, precision=0.95):
    """The lowest cosine at and above which so large a share are copies; infinite if there is none."""
    order = np.argsort(-cosines)
    good = np.cumsum(copied[order]) >= precision * np.arange(1, len(order) + 1)
    return cosines[order[np.flatnonzero(good)[-1]]] if good.any() else math.inf


def tail(k, n, p):
    """The chance of k successes or more in n trials, each a success with probability p."""
    if k <= 0 or p in (0, 1):
        return float(k <= 0 or p)
    ways = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k, n + 1)]
    return sum(math.exp(way + i * math.log(p) + (n - i) * math.log1p(-p)) for i, way in enumerate(ways, k))


def clopper_pearson(k, n, level=0.95):
    """The exact interval of a share, k of n, at the level."""
    def solve(k, goal):  # the p at which k or more of n have the chance `goal`
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(k, n, middle) < goal else (low, middle)
        return low

    return solve(k, (1 - level) / 2) if k else 0.0, solve(k + 1, (1 + level) / 2) if k < n else 1.0


def measure(lab):
    """-> a row for each test set, what is labelled, and seed: what the search found against what was planted, accuracy
    on all images, on those not found (clean) and on those found (overlap), the 95 % interval of the latter and the
    chance p that as many were right if it were no easier than clean. The threshold is another set's, where 95 % of what
    it finds are copies."""
    rows, n = [], max(50, round(1000 * lab.budget))
    detect = detector(lab)
    for seed in lab.seeds:
        # the steps of lab.world_clip that had scenes of two objects
        many = max(2, round(STEPS_OF_CLIP["tiny-RN"] * lab.budget))
        world = World(seed, steps=many)
        steps = [step for step in range(world.names_alone_until, many) if step >= world.names_until or step % 3]
        sets = [test_set(world, steps, n, share, np.random.default_rng((seed, i)))
                for i, share in enumerate((0.121, *SHARES.values()))]
        images = torch.cat([images for images, _, _ in sets])
        cosines = np.split(np.array(lab.remember(["overlap", seed], lambda: nearest(
            detect, world, steps, images).tolist())), len(sets))
        limit = threshold(cosines[0], sets[0][2])
        model, tokenizer = lab.world_clip(seed)
        for name, (images, labels, copied), cosine in zip(SHARES, sets[1:], cosines[1:]):
            found, features = cosine >= limit, zeroshot.encode_images(model, images)
            for label, words in LABELS.items():
                weights = zeroshot.zero_shot_classifier(model, tokenizer, *words)
                right = ((features @ weights).argmax(dim=-1)[:, None] == labels[label]).any(dim=1).numpy()  # (n,)
                clean, k, many = right[~found].mean(), right[found].sum().item(), found.sum().item()
                low, high = clopper_pearson(k, many)
                rows.append({"test set": name, "label": label, "seed": seed, "planted": copied.mean(),
                             "chance": labels[label].shape[1] / len(words[0]), "found": found.mean(),
                             "precision": (found & copied).sum() / max(1, many), "recall": found[copied].mean(),
                             "all": right.mean(), "clean": clean, "overlap": k / max(1, many), "low": low, "high": high,
                             "p": tail(k, many, clean)})
    return rows


def draw(rows):
    """Left: found against planted. Then Figure 17: accuracy on the overlap, and on all, against that on the clean."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot([0, 25], [0, 25], "k--", linewidth=1, label="all and no more are found")
    left.plot(*([100 * row[key] for row in rows] for key in ("planted", "found")), "o", color=BLUE, alpha=0.6)
    for key in ("precision", "recall"):
        left.plot([], [], "none", label=f"{key} {np.mean([row[key] for row in rows]):.0%}")
    left.set(xlabel="copies planted (% of a test set)", ylabel="found (%)", title="the search")
    left.legend(fontsize=8, loc="upper left")
    for label, colour, marker in zip(LABELS, (BLUE, ORANGE, GREEN), "os^"):
        some = [row for row in rows if row["label"] == label and row["found"]]
        for row in some:
            x, clean = 100 * row["found"], row["clean"]
            gain, low, high, whole = (100 * (row[key] - clean) for key in ("overlap", "low", "high", "all"))
            middle.errorbar(x, gain, [[gain - low], [high - gain]], fmt=marker, color=colour, capsize=2, linewidth=0.8)
            right.plot(x, whole, marker, color=colour)
        easier = f"p < 0.05 in {sum(row['p'] < 0.05 for row in some)} of {len(some)}"
        middle.plot([], [], marker, color=colour, label=f"{label}: {easier}")
        right.plot([], [], marker, color=colour, label=label)
    for axis, what in ((middle, "overlap"), (right, "all")):
        axis.axhline(0, color=GREY, linestyle=":")
        axis.set(xlabel="found to overlap (% of a test set)", ylabel=f"accuracy on {what} minus clean (points)")
    middle.set_title(f"Figure 17 left; bars 95 %, {len({row['seed'] for row in rows})} seeds")
    right.set_title("Figure 17 right")
    middle.legend(fontsize=7)
    right.legend(fontsize=8)
    return figure
