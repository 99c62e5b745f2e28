"""Section 6: where in a wide scene is what a text names? Windows and patches, boxes and masks, against chance."""
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

import zeroshot
from clip_minimal import normalize
from common import BLUE, GREEN, GREY, ORANGE
from tasks import ATLAS, PALETTE, SCENES, gradient, jitter
from train_tiny import BACKGROUNDS, OBJECTS, World, article

HEIGHT, WIDTH = 96, 144  # of a scene, six times a training picture
SIDES, STRIDE = (24, 32, 48, 64), 8  # of the square windows, in pixels
MANY = [1, 3, 6]  # objects in a scene
NAMES = [article(name) for name in OBJECTS]


def scenes(many, n=100):
    """Wide scenes of so many objects, all different, each in one of six cells, on the training pictures' grounds ->
    levels (n, 3, 96, 144), which objects (n, many), masks (n, many, 96, 144) of 0 and 1."""
    rng = np.random.default_rng(many)
    objects = np.stack([rng.permutation(len(NAMES))[:many] for _ in range(n)])  # (n, many)
    cells = np.stack([rng.permutation(6)[:many] for _ in range(n)])  # (n, many)
    background, shows = rng.integers(len(BACKGROUNDS), size=n), World().shows  # (n,), (12, 8)
    colours = (rng.random((n, many, 12)) * shows.T[background][:, None]).argmax(axis=-1)  # (n, many), any that shows
    colours = jitter(rng, PALETTE[colours])  # (n, many, 3)
    upper, lower = np.array(list(BACKGROUNDS.values()))[background].transpose(1, 0, 2) / 255  # (n, 3) each
    images = F.interpolate(gradient(upper, lower), (HEIGHT, WIDTH), mode="bilinear")  # (n, 3, 96, 144)
    masks = torch.zeros(n, many, HEIGHT, WIDTH)
    for i, j in np.ndindex(n, many):
        side = int(rng.integers(22, 41))
        y, x = (48 * divmod(cells[i, j], 3)[axis] + rng.integers(49 - side) for axis in (0, 1))
        alpha = masks[i, j, y:y + side, x:x + side]  # (side, side)
        alpha[:] = F.interpolate(ATLAS[None, objects[i, j], None], (side, side), mode="bilinear")[0, 0]
        images[i] = torch.lerp(images[i], torch.tensor(colours[i, j]).float()[:, None, None], masks[i, j])
    return images.clamp(0, 1), torch.from_numpy(objects), (masks > 0.5).float()


def windows():
    """-> all square windows of a scene (w, 4): left, top, right, bottom in pixels, the last two outside."""
    return torch.tensor([[x, y, x + side, y + side] for side in SIDES for y in range(0, HEIGHT - side + 1, STRIDE)
                         for x in range(0, WIDTH - side + 1, STRIDE)])


def overlap(a, b):
    """Intersection over union of boxes (..., 4), whose shapes broadcast."""
    wide = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)  # (..., 2)
    area = [(box[..., 2:] - box[..., :2]).prod(dim=-1) for box in (a, b)]
    return wide.prod(dim=-1) / (area[0] + area[1] - wide.prod(dim=-1))


def boxes_of(masks):
    """Masks (..., H, W), none of them empty -> the smallest boxes (..., 4) around them."""
    ends = []
    for seen in (masks.amax(dim=-2), masks.amax(dim=-1)):  # (..., W), (..., H)
        ends += [seen.argmax(dim=-1), seen.shape[-1] - seen.flip(-1).argmax(dim=-1)]
    return torch.stack([ends[0], ends[2], ends[1], ends[3]], dim=-1)


def window_scores(model, images, weights):
    """Scenes (n, 3, 96, 144) and a classifier (E, N) -> how well each window fits each name (n, w, N)."""
    crops = [F.interpolate(images[:, :, y:b, x:r], (48, 48), mode="bilinear", antialias=True)
             for x, y, r, b in windows().tolist()]  # w of (n, 3, 48, 48)
    features = zeroshot.encode_images(model, normalize(torch.cat(crops)))  # (w n, E)
    return model.logit_scale.exp().item() * (features @ weights).unflatten(0, (len(crops), -1)).transpose(0, 1)


@torch.no_grad()
def patch_scores(model, images, weights):
    """As window_scores, of patches (n, h, w, N), in one pass: what the attention pool makes of each place alone."""
    places = model.visual.convolve(normalize(images)).permute(0, 2, 3, 1)  # (n, h, w, 32D)
    n, h, w, width = places.shape
    alone = places.reshape(n * h * w, width, 1, 1)  # pictures of one place
    features = model.visual.attnpool(alone).view(n, h, w, -1)  # (n, h, w, E)
    return model.logit_scale.exp() * F.normalize(features, dim=-1) @ weights  # (n, h, w, N)


def covered(values):
    """Values of windows (..., w) -> the mean, at each pixel, over the windows that it lies in (..., 96, 144)."""
    y, x, at = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH), windows().T[:, :, None, None]  # at (4, w, 1, 1)
    cover = ((x >= at[0]) & (y >= at[1]) & (x < at[2]) & (y < at[3])).float().flatten(1)  # (w, 96 144)
    return (values @ (cover / cover.sum(dim=0))).unflatten(-1, (HEIGHT, WIDTH))


def hottest(heat):
    """Heat maps (..., H, W) -> masks: what is hotter than half-way from the coldest place to the hottest."""
    return (heat >= (heat.amax((-2, -1), True) + heat.amin((-2, -1), True)) / 2).float()


def filled(boxes):
    """Boxes (..., 4) -> masks (..., 96, 144)."""
    y, x, at = torch.arange(HEIGHT)[:, None], torch.arange(WIDTH), boxes.unbind(dim=-1)
    left, top, right, bottom = (side[..., None, None] for side in at)
    return ((x >= left) & (y >= top) & (x < right) & (y < bottom)).float()


def answers(model, weights, images, objects):
    """-> {way: (boxes (n, many, 4), masks (n, many, 96, 144), for each name how well it fits the scene (n, N))}."""
    n, many = objects.shape

    def of_objects(p):  # (n, places, N) -> (n, many, places)
        return p.gather(2, objects[:, None].expand(-1, p.shape[1], -1)).transpose(1, 2)

    p = torch.cat([window_scores(model, part, weights) for part in images.split(10)]).softmax(dim=-1)  # (n, w, N)
    fit = of_objects(p)  # (n, many, w)
    found = {"windows": (windows()[fit.argmax(dim=-1)], hottest(covered(fit)), p.amax(dim=1))}
    p = patch_scores(model, images, weights).softmax(dim=-1)  # (n, h, w, N)
    heat = of_objects(p.flatten(1, 2)).unflatten(2, p.shape[1:3])  # (n, many, h, w)
    masks = hottest(F.interpolate(heat, (HEIGHT, WIDTH), mode="bilinear"))
    found["patches"] = boxes_of(masks), masks, p.amax(dim=(1, 2))
    small = F.interpolate(images, (48, 48), mode="bilinear", antialias=True)
    whole = zeroshot.encode_images(model, normalize(small)) @ weights  # (n, N)
    centre = torch.tensor([WIDTH // 2 - 24, HEIGHT // 2 - 24, WIDTH // 2 + 24, HEIGHT // 2 + 24]).expand(n, many, 4)
    found["centre box, whole picture"] = centre, filled(centre), whole
    rng = torch.Generator().manual_seed(0)
    chance = windows()[torch.randint(len(windows()), (n, many), generator=rng)]
    found["chance: random window, names"] = chance, filled(chance), torch.rand(whole.shape, generator=rng)
    return found


def measure(lab):
    """-> a row for each number of objects, way and seed: the share of objects whose box is found, at an intersection
    over union of half at least; the mean of that of boxes and of masks; of the names that fit the scene best, as many
    as there are objects, the share that is there."""
    n, rows = max(4, round(100 * lab.budget)), []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        weights = zeroshot.zero_shot_classifier(model, tokenizer, NAMES, SCENES)
        for many in MANY:
            images, objects, masks = (part[:n] for part in scenes(many))
            for way, (boxes, areas, fit) in answers(model, weights, images, objects).items():
                iou = overlap(boxes, boxes_of(masks))  # (n, many)
                shared, either = (part.sum((-2, -1)) for part in (areas * masks, torch.maximum(areas, masks)))
                named = (fit.topk(many).indices[:, :, None] == objects[:, None]).any(dim=-1).float()  # (n, many)
                first = way == "windows" and seed == lab.seeds[0]  # the figure's: left, top, right, bottom of each box
                rows.append({"way": way, "objects": many, "seed": seed, "found": (iou >= 0.5).float().mean().item(),
                             "box": iou.mean().item(), "mask": (shared / either).mean().item(),
                             "named": named.mean().item(),
                             "boxes": " ".join(map(str, boxes[0].flatten().tolist())) if first else ""})
    return rows


def draw(rows):
    """Above: scenes and the best window for each object. Below: how well each way does, by the number of objects."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 3, height_ratios=[1, 1.3])
    for axis, many in zip(axes[0], MANY):
        images, objects, _ = scenes(many)
        axis.imshow(images[0].permute(1, 2, 0).numpy(), interpolation="nearest")
        boxes = next(row["boxes"] for row in rows if row["boxes"] and row["objects"] == many)
        for name, (x, y, right, bottom) in zip(objects[0].tolist(), np.array(boxes.split(), int).reshape(-1, 4)):
            axis.plot([x, right, right, x, x], [y, y, bottom, bottom, y], color="white", linewidth=2.5)
            axis.plot([x, right, right, x, x], [y, y, bottom, bottom, y], color="black", linewidth=1)
            axis.text(x + 1, y + 1, NAMES[name], va="top", fontsize=7, bbox={"facecolor": "white", "pad": 1})
        axis.set(xlim=(-0.5, WIDTH - 0.5), ylim=(HEIGHT - 0.5, -0.5), xticks=[], yticks=[])
    styles = (BLUE, "o-"), (ORANGE, "s-"), (GREEN, "^--"), (GREY, "x:")
    ways = dict(zip(dict.fromkeys(row["way"] for row in rows), styles))
    for axis, (key, title) in zip(axes[1], (("found", "objects whose box is found\n(overlap of a half or more, %)"),
                                            ("mask", "overlap of masks\n(intersection over union, %)"),
                                            ("named", "names said first that are there (%)"))):
        for way, (colour, style) in ways.items():
            some = [row for row in rows if row["way"] == way]
            for row in some:
                axis.plot(MANY.index(row["objects"]), 100 * row[key], style[0], color=colour, markersize=3, alpha=0.5)
            means = [100 * np.mean([row[key] for row in some if row["objects"] == many]) for many in MANY]
            axis.plot(range(len(MANY)), means, style, color=colour, label=way)
        axis.set_xticks(range(len(MANY)), MANY)
        axis.set(xlabel="objects in the scene; small: seeds", ylabel=title)
        axis.set_ylim(0)
    axes[1, 2].legend(fontsize=8, loc="center")
    return figure
