"""Section 6: counting further than captions do, and which of two captions, one with something swapped, is right."""
import numpy as np
from matplotlib.figure import Figure

import zeroshot
from clip_minimal import normalize
from common import BLUE, ORANGE, mean_over_seeds
from tasks import TASKS, examples
from train_tiny import COLOURS, OBJECTS, RELATIONS, World, article


def captions(objects, colours, relation):
    """Numbers of objects and colours (n, 2) and relations (n,) -> n sentences, "a red sun above a blue cat"."""
    names, shades, places = list(OBJECTS), list(COLOURS), list(RELATIONS)
    nouns = [[article(f"{shades[c]} {names[o]}") for o, c in zip(*row)] for row in zip(objects, colours)]
    return [f"{first} {places[k]} {second}" for (first, second), k in zip(nouns, relation)]


def scenes(n):
    """Scenes of two objects in two colours -> normalised images, right captions, {what is swapped: wrong ones}."""
    world = World()
    drawn = world.scenes(world.rng(4), 2 * n, "related")
    differ = np.flatnonzero(drawn["colour"][:, 0] != drawn["colour"][:, 1])[:n]  # else no swap of colours shows
    drawn = {key: value[differ] for key, value in drawn.items()}
    o, c, k = drawn["object"][:, :2], drawn["colour"][:, :2], drawn["relation"]
    return normalize(world.draw(drawn)), captions(o, c, k), {
        "another object": captions(np.stack([(o[:, 0] + 1) % len(OBJECTS), o[:, 1]], 1), c, k),
        "another colour": captions(o, np.stack([(c[:, 0] + 1) % 12, c[:, 1]], 1), k),
        "above for beside": captions(o, c, (k + 2) % 4),
        "colours swapped": captions(o, c[:, ::-1], k),
        "left for right, above for below": captions(o, c, k ^ 1),
        "things swapped": captions(o[:, ::-1], c[:, ::-1], k)}


def measure(lab):
    """-> a row for each kind of wrong caption, and for each true number of things, and each seed: the share right."""
    rows, (images, right, wrong) = [], scenes(max(50, round(1000 * lab.budget)))
    counts, (pictures, labels) = TASKS["counts"], examples("counts", "test", lab.size("counts", "test"))
    for seed in lab.seeds:
        model, tokenizer = lab.world_clip(seed)
        features = zeroshot.encode_images(model, images)
        fit = (features * zeroshot.encode_texts(model, tokenizer, right)).sum(dim=-1)
        for kind, texts in wrong.items():
            better = fit > (features * zeroshot.encode_texts(model, tokenizer, texts)).sum(dim=-1)
            rows.append({"limit": "caption", "of": kind, "seed": seed, "chance": 0.5,
                         "right": better.float().mean().item()})
        weights = zeroshot.zero_shot_classifier(model, tokenizer, counts.classes, counts.templates)
        hit = ((zeroshot.encode_images(model, pictures) @ weights).argmax(dim=-1) == labels).float()
        rows += [{"limit": "count", "of": name, "seed": seed, "chance": 1 / len(counts.classes),
                  "right": hit[labels == i].mean().item()} for i, name in enumerate(counts.classes)]
    return rows


def draw(rows):
    """Left: right caption or wrong. Right: how often the number is told; captions of training end at four."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axis, limit, colour, title in zip(figure.subplots(1, 2), ("caption", "count"), (BLUE, ORANGE), (
            "the right caption and one that is wrong", "the number of things; captions end at four")):
        some = [row for row in rows if row["limit"] == limit]
        values = mean_over_seeds(some, "right", "of")
        axis.barh(range(len(values)), [100 * value for value in values.values()], color=colour)
        for row in some:
            axis.plot(100 * row["right"], list(values).index(row["of"]), "k.", markersize=5)
        axis.axvline(100 * some[0]["chance"], linestyle=":", color="black", label="chance")
        axis.set_yticks(range(len(values)), values, fontsize=8)
        axis.set(xlabel="right (%); dots: seeds", xlim=(0, 101), title=title)
        axis.invert_yaxis()
        axis.legend(fontsize=8)
    return figure
