"""Section 6: where in a wide scene is what a text names? Windows, patches and heat maps, against chance.

CLIP gives a whole picture one feature. The paper does not measure whether it can say where things are; this
experiment does. A scene is six times as large as a training picture. It is cut into square windows, and each
window is compared with each name. The window that fits a name best is where the object is said to be. At
each pixel the mean fit of the windows that it lies in is a heat map. A second way takes one pass over the
scene, and what the attention pool makes of each place of the convolutions' output alone.

Beside the two ways stand the window that overlaps the object most (no choice of a window can be better), a
window in the middle of every scene, and one at random.

Letters in shape comments: n scenes, k objects in each, w windows, h rows of places, N names, E embedding.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

import zeroshot
from clip_minimal import normalize
from common import BLUE, GREEN, GREY, ORANGE
from tasks import ATLAS, EDGE_COLOURS, PALETTE, SCENES, SHOWS, gradient, jitter
from train_tiny import OBJECTS, article, choose

HEIGHT = 96  # of a scene, in pixels; a training picture has 48 x 48
WIDTH = 144
SIDES = (24, 32, 48, 64)  # of the square windows
STRIDE = 8  # from one window to the next
MANY = [1, 3, 6]  # objects in a scene
NAMES = [article(name) for name in OBJECTS]
SHOWN = {1: 1, 3: 2, 6: 1}  # how many scenes with so many objects the figure shows
CELL = 8  # pixels, each way, that share a value in the heat maps of the table

# ways to find an object, and how they are drawn
WAYS = {"windows": (BLUE, "o-"), "patches": (ORANGE, "s-"), "best possible window": (GREEN, "^--"),
        "middle of the scene": (GREY, "D:"), "random window": ("black", "x:")}
MEASURES = {"found": "box found\n(overlap of a half or more)",
            "pointed": "pointing game\n(middle of the box is in the object)",
            "mask": "overlap of masks\n(intersection over union)",
            "named": "names that fit best\nand are there"}

# ---- Scenes --------------------------------------------------------------------------------------


def scenes(many, n=100):
    """Wide scenes of so many objects -> levels (n, 3, 96, 144), which objects (n, k), masks (n, k, 96, 144) of 0 and 1.

    The objects of a scene are all different, and each stands in another one of six cells. The grounds are
    those of train_tiny.py.
    """
    rng = np.random.default_rng(many)
    objects = pick_different(rng, len(NAMES), many, n)  # (n, k)
    cells = pick_different(rng, 6, many, n)  # (n, k)
    ground = rng.integers(len(EDGE_COLOURS), size=n)
    # for each object any colour that shows on the ground
    showing = SHOWS.T[ground][:, None]  # (n, 1, 12)
    colour = choose(rng, showing.repeat(many, axis=1))  # (n, k)
    colour = torch.from_numpy(jitter(rng, PALETTE[colour])).float()  # (n, k, 3)
    # grounds, then one object after the other
    upper, lower = EDGE_COLOURS[ground].transpose(1, 0, 2)  # (n, 3) each
    images = F.interpolate(gradient(upper, lower), (HEIGHT, WIDTH), mode="bilinear")  # (n, 3, 96, 144)
    masks = torch.zeros(n, many, HEIGHT, WIDTH)
    for i in range(n):
        for j in range(many):
            alpha = masks[i, j]  # (96, 144), changed in place
            place(rng, alpha, objects[i, j], cells[i, j])
            images[i] = torch.lerp(images[i], colour[i, j, :, None, None], alpha)
    return images.clamp(0, 1), torch.from_numpy(objects), (masks > 0.5).float()


def pick_different(rng, choices, many, n):
    """n times so many different numbers below `choices` -> (n, many)."""
    rows = [rng.permutation(choices)[:many] for _ in range(n)]
    return np.stack(rows)


def place(rng, alpha, thing, cell):
    """Draw the mask of a thing into alpha (96, 144): anywhere in a cell of 48 x 48 pixels, 22 to 40 pixels large."""
    side = int(rng.integers(22, 41))
    row, column = divmod(int(cell), 3)
    top = 48 * row + int(rng.integers(49 - side))
    left = 48 * column + int(rng.integers(49 - side))
    mask = F.interpolate(ATLAS[thing][None, None], (side, side), mode="bilinear")  # (1, 1, side, side)
    alpha[top:top + side, left:left + side] = mask


# ---- Boxes: left, top, right, bottom in pixels, the last two outside ----------------------------


def windows():
    """All square windows of a scene -> boxes (w, 4)."""
    boxes = []
    for side in SIDES:
        for y in range(0, HEIGHT - side + 1, STRIDE):
            for x in range(0, WIDTH - side + 1, STRIDE):
                boxes.append([x, y, x + side, y + side])
    return torch.tensor(boxes)


def overlap(a, b):
    """Intersection over union of boxes (..., 4), whose shapes broadcast."""
    left_top = torch.maximum(a[..., :2], b[..., :2])  # (..., 2)
    right_bottom = torch.minimum(a[..., 2:], b[..., 2:])
    shared = area(left_top, right_bottom)
    either = area(a[..., :2], a[..., 2:]) + area(b[..., :2], b[..., 2:]) - shared
    return shared / either


def area(left_top, right_bottom):
    """The area between corners (..., 2); 0 if the second is not to the right of the first and below it."""
    sides = (right_bottom - left_top).clamp(min=0)
    return sides.prod(dim=-1)


def boxes_of(masks):
    """Masks (..., H, W), none of them empty -> the smallest boxes (..., 4) around them."""
    left, right = ends(masks.amax(dim=-2))  # of columns
    top, bottom = ends(masks.amax(dim=-1))  # of rows
    return torch.stack([left, top, right, bottom], dim=-1)


def ends(line):
    """Lines (..., L) of 0 and 1 -> where the first 1 is, and the place behind the last 1."""
    length = line.shape[-1]
    first = line.argmax(dim=-1)
    last = length - line.flip(-1).argmax(dim=-1)
    return first, last


def filled(boxes):
    """Boxes (..., 4) -> masks (..., 96, 144)."""
    left, top, right, bottom = boxes[..., None, None].unbind(dim=-3)  # (..., 1, 1) each
    x = torch.arange(WIDTH)
    y = torch.arange(HEIGHT)[:, None]
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    return inside.float()


def pointed(boxes, truth):
    """Is the middle of a box inside the true one? Both (..., 4) -> bools (...)."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2  # (..., 2)
    inside = (middle >= truth[..., :2]) & (middle < truth[..., 2:])  # (..., 2)
    return inside.all(dim=-1)


# ---- Heat maps -----------------------------------------------------------------------------------


def covered(values):
    """Values of windows (..., w) -> the mean, at each pixel, over the windows that it lies in (..., 96, 144)."""
    inside = filled(windows()).flatten(1)  # (w, 96 144)
    shares = inside / inside.sum(dim=0)
    return (values @ shares).unflatten(-1, (HEIGHT, WIDTH))


def hottest(heat):
    """Heat maps (..., H, W) -> masks: what is hotter than half-way from the coldest place to the hottest."""
    coldest = heat.amin(dim=(-2, -1), keepdim=True)
    hottest_place = heat.amax(dim=(-2, -1), keepdim=True)
    return (heat >= (coldest + hottest_place) / 2).float()


# ---- Ways to find an object ----------------------------------------------------------------------


def window_scores(model, images, weights):
    """Scenes (n, 3, 96, 144) and a classifier (E, N) -> how well each window fits each name (n, w, N)."""
    crops = []
    for left, top, right, bottom in windows().tolist():
        crop = images[:, :, top:bottom, left:right]
        crop = F.interpolate(crop, (48, 48), mode="bilinear", antialias=True)  # (n, 3, 48, 48)
        crops.append(crop)
    features = zeroshot.encode_images(model, normalize(torch.cat(crops)))  # (w n, E)
    scores = model.logit_scale.exp().item() * features @ weights  # (w n, N)
    return scores.unflatten(0, (len(crops), -1)).transpose(0, 1)


@torch.no_grad()
def patch_scores(model, images, weights):
    """As window_scores, of patches (n, h, w, N), in one pass: what the attention pool makes of each place alone."""
    places = model.visual.convolve(normalize(images)).permute(0, 2, 3, 1)  # (n, h, w, 32D)
    n, h, w, width = places.shape
    alone = places.reshape(n * h * w, width, 1, 1)  # pictures of one place
    features = model.visual.attnpool(alone).view(n, h, w, -1)  # (n, h, w, E)
    return model.logit_scale.exp() * F.normalize(features, dim=-1) @ weights  # (n, h, w, N)


def of_objects(values, objects):
    """Values for each place and name (n, places, N) -> those for the names of the objects (n, k): (n, k, places)."""
    index = objects[:, None].expand(-1, values.shape[1], -1)  # (n, places, k)
    return values.gather(2, index).transpose(1, 2)


def by_windows(model, weights, images, objects):
    """-> boxes (n, k, 4), heat maps (n, k, 96, 144), how well each name fits the scene (n, N)."""
    scores = [window_scores(model, some, weights) for some in images.split(10)]
    p = torch.cat(scores).softmax(dim=-1)  # (n, w, N)
    fit = of_objects(p, objects)  # (n, k, w)
    best = fit.argmax(dim=-1)  # (n, k)
    return windows()[best], covered(fit), p.amax(dim=1)


def by_patches(model, weights, images, objects):
    """-> the same, with boxes around what is hottest."""
    p = patch_scores(model, images, weights).softmax(dim=-1)  # (n, h, w, N)
    coarse = of_objects(p.flatten(1, 2), objects).unflatten(2, p.shape[1:3])  # (n, k, h, w)
    heat = F.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")
    return boxes_of(hottest(heat)), heat, p.amax(dim=(1, 2))


def best_possible(truth):
    """True boxes (n, k, 4) -> of all windows those that overlap them most (n, k, 4)."""
    overlaps = overlap(truth[:, :, None], windows())  # (n, k, w)
    return windows()[overlaps.argmax(dim=-1)]


def middle_of_scene(truth):
    """A window of 48 x 48 pixels in the middle of the scene, for each of the true boxes (n, k, 4)."""
    left = WIDTH // 2 - 24
    top = HEIGHT // 2 - 24
    return torch.tensor([left, top, left + 48, top + 48]).expand(truth.shape)


def answers(model, weights, images, objects, truth):
    """-> ({way: (boxes (n, k, 4), masks (n, k, 96, 144), fit of each name (n, N) or None)}, the windows' heat maps).

    Whoever is told the true boxes has nothing to say about names.
    """
    found = {}
    # by the model
    boxes, heat, fit = by_windows(model, weights, images, objects)
    found["windows"] = boxes, hottest(heat), fit
    boxes, patch_heat, fit = by_patches(model, weights, images, objects)
    found["patches"] = boxes, hottest(patch_heat), fit
    # what no choice of a window can beat
    boxes = best_possible(truth)
    found["best possible window"] = boxes, filled(boxes), None
    # without looking where things are: the names are those of the whole scene, made small
    boxes = middle_of_scene(truth)
    small = F.interpolate(images, (48, 48), mode="bilinear", antialias=True)
    fit = zeroshot.encode_images(model, normalize(small)) @ weights  # (n, N)
    found["middle of the scene"] = boxes, filled(boxes), fit
    # by chance
    rng = torch.Generator().manual_seed(0)
    boxes = windows()[torch.randint(len(windows()), objects.shape, generator=rng)]
    found["random window"] = boxes, filled(boxes), torch.rand(fit.shape, generator=rng)
    return found, heat


# ---- Table and figure ----------------------------------------------------------------------------


def measure(lab):
    """-> a row for each seed, number of objects and way. The measures are those of MEASURES, as shares.

    The first seed's rows of windows also hold what the figure shows of the first scenes: for the first object
    of each the box that was found, and the heat map in per cent of its hottest cell.
    """
    n = max(4, round(100 * lab.budget))
    rows = []
    for seed in lab.seeds:
        model, tokenizer = lab.clip(seed)
        weights = zeroshot.zero_shot_classifier(model, tokenizer, NAMES, SCENES)
        for many in MANY:
            images, objects, masks = (part[:n] for part in scenes(many))
            truth = boxes_of(masks)  # (n, k, 4)
            found, heat = answers(model, weights, images, objects, truth)
            for way, (boxes, areas, fit) in found.items():
                row = {"way": way, "objects": many, "seed": seed, "boxes": "", "heat": ""}
                row.update(judge(boxes, areas, fit, truth, masks, objects))
                if way == "windows" and seed == lab.seeds[0]:
                    row["boxes"] = as_text(boxes[:SHOWN[many], 0])
                    row["heat"] = as_text(shrink(heat[:SHOWN[many], 0]))
                rows.append(row)
    return rows


def judge(boxes, areas, fit, truth, masks, objects):
    """How good an answer is -> {measure: share}, by the true boxes (n, k, 4), masks (n, k, 96, 144) and objects (n, k)."""
    box_overlap = overlap(boxes, truth)  # (n, k)
    shared = (areas * masks).sum(dim=(-2, -1))
    either = torch.maximum(areas, masks).sum(dim=(-2, -1))
    named = math.nan
    if fit is not None:
        # of the names that fit best, as many as there are objects, the share that is there
        first = fit.topk(objects.shape[1]).indices  # (n, k)
        is_there = (first[:, :, None] == objects[:, None]).any(dim=-1)
        named = is_there.float().mean().item()
    return {"found": (box_overlap >= 0.5).float().mean().item(),
            "box": box_overlap.mean().item(),
            "pointed": pointed(boxes, truth).float().mean().item(),
            "mask": (shared / either).mean().item(),
            "named": named}


def shrink(heat):
    """Heat maps (s, 96, 144) -> (s, 12, 18), in per cent of the hottest cell of each, rounded."""
    cells = F.avg_pool2d(heat[:, None], CELL)[:, 0]
    hottest_cell = cells.amax(dim=(1, 2), keepdim=True)
    return (100 * cells / hottest_cell).round().int()


def as_text(numbers):
    """A tensor of integers -> its numbers in a row, with blanks between."""
    return " ".join(map(str, numbers.flatten().tolist()))


def as_numbers(text, *shape):
    """What as_text has written -> an array of this shape."""
    return np.array(text.split(), int).reshape(shape)


def draw(rows):
    """Above: scenes, where something was searched for, and heat maps. Below: how well each way does."""
    figure = Figure(figsize=(8.5, 9.2), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1, 1.9])
    draw_scenes(upper, rows)
    draw_measures(lower, rows)
    return figure


def draw_scenes(figure, rows):
    """A column for each scene: above the box that was found for its first object, below the heat map."""
    axes = figure.subplots(2, sum(SHOWN.values()))
    column = 0
    for many, shown in SHOWN.items():
        row = next(row for row in rows if row["objects"] == many and row["boxes"])
        boxes = as_numbers(row["boxes"], shown, 4)
        heat = as_numbers(row["heat"], shown, HEIGHT // CELL, WIDTH // CELL)
        images, objects, masks = scenes(many)
        truth = boxes_of(masks)  # (n, k, 4)
        for scene in range(shown):
            above, below = axes[:, column]
            above.set_title(NAMES[objects[scene, 0]], fontsize=9)
            above.imshow(images[scene].permute(1, 2, 0).numpy(), interpolation="nearest")
            below.imshow(heat[scene], extent=(0, WIDTH, HEIGHT, 0), cmap="magma", interpolation="bilinear")
            for axis in (above, below):
                outline(axis, truth[scene, 0].tolist(), "white", ":")
                outline(axis, boxes[scene].tolist(), BLUE, "-")
                axis.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0), xticks=[], yticks=[])
            column += 1
    axes[0, 0].set_ylabel("scene", fontsize=9)
    axes[1, 0].set_ylabel("heat map", fontsize=9)
    figure.supxlabel("blue: the window that fits the name best; dotted: where the object is", fontsize=9)


def outline(axis, box, colour, style):
    """Draw a box; a black line below it makes it show on any ground."""
    left, top, right, bottom = box
    x = [left, right, right, left, left]
    y = [top, top, bottom, bottom, top]
    axis.plot(x, y, "-", color="black", linewidth=3)
    axis.plot(x, y, style, color=colour, linewidth=1.6)


def draw_measures(figure, rows):
    """A plot for each measure: a line for each way, through the means of the seeds; each dot is a seed."""
    axes = figure.subplots(2, 2)
    for axis, (measure_name, title) in zip(axes.flat, MEASURES.items()):
        for way, (colour, style) in WAYS.items():
            values = by_many(rows, way, measure_name)  # (3, seeds)
            if np.isnan(values).any():
                continue
            axis.plot(range(len(MANY)), values.mean(axis=1), style, color=colour, markersize=5, label=way)
            axis.plot(range(len(MANY)), values, ".", color=colour, markersize=4)
        axis.set_xticks(range(len(MANY)), MANY, fontsize=9)
        axis.set_title(title, fontsize=9.5)
        axis.set_ylim(-3, 103)
        axis.tick_params(labelsize=9)
    for axis in axes[1]:
        axis.set_xlabel("objects in the scene", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("%", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=3,
                  title="line: mean; small dots: seeds. The paper has no figure for this.", title_fontsize=9)


def by_many(rows, way, measure_name):
    """What a way reaches, in per cent, for each number of objects and seed -> (3, seeds)."""
    values = []
    for many in MANY:
        of_many = [100 * row[measure_name] for row in rows if row["way"] == way and row["objects"] == many]
        values.append(of_many)
    return np.array(values)
