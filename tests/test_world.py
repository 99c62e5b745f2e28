"""The pictogram world: what a caption says is what its image shows, and held-out pairs stay out."""
import re

import numpy as np
import pytest
import torch

from train_tiny import (BACKGROUNDS, COLOURS, COUNTED, COUNTS, EVERYTHING, KINDS, MENTIONS, OBJECTS, PLACES, RELATED,
                        RELATIONS, SIZES, World, article, counted, render)

NAMES = {name: i for i, name in enumerate(OBJECTS)} | {counted(2, name)[4:]: i for i, name in enumerate(OBJECTS)}
NOUN = re.compile(rf"\b(?:({'|'.join(COLOURS)}) )?({'|'.join(sorted(NAMES, key=len, reverse=True))})\b")


@pytest.fixture(scope="module")
def world():
    return World()


def nouns(caption):
    """The (colour or None, object) numbers that a caption names, read with a parser of its own."""
    return [(list(COLOURS).index(c) if c else None, NAMES[name]) for c, name in NOUN.findall(caption)]


def shown(scenes):
    """Which of a scene's four sprites are drawn, (n, 4)."""
    return np.arange(4) < scenes["count"][:, None]


def grounds(scenes):
    """The scenes without their sprites, (n, 3, 48, 48)."""
    upper, lower = torch.tensor(list(BACKGROUNDS.values()))[scenes["background"]].unbind(1)
    down = torch.arange(48)[:, None] / 47
    return ((upper[:, :, None, None] * (1 - down) + lower[:, :, None, None] * down) / 255).expand(-1, -1, 48, 48)


def test_size_of_the_world(world):
    assert len(OBJECTS) >= 96 and len(set(OBJECTS.values())) == len(OBJECTS) and len(COLOURS) == 12
    assert world.held_out.sum() == len(OBJECTS) * 12 / 12, "a twelfth of the pairs"
    assert (world.held_out.sum(1) == 1).all() and (world.held_out.sum(0) >= 8).all(), "spread over objects and colours"


def test_every_glyph_is_in_the_font_and_unlike_every_other():
    masks = render(OBJECTS.values()).flatten(1)
    missing = render("\uffff").flatten()
    distance = torch.cdist(masks, torch.cat([masks, missing[None]]))
    assert distance[~torch.eye(*distance.shape, dtype=bool)].min() > 2


def test_same_seed_and_step_same_batch_whatever_came_before(world):
    images, captions = world.batch(3, 32)
    world.batch(4, 32)
    again, same = World().batch(3, 32)
    assert torch.equal(images, again) and captions == same
    for other in (World(seed=1).batch(3, 32), world.batch(4, 32)):
        assert not torch.equal(images, other[0]) and captions != other[1]


def test_held_out_pairs_are_neither_drawn_nor_named_in_training(world):
    objects, colours, named = set(), set(), set()
    for step in range(60):
        rng = world.rng(0, step)
        scenes = world.scenes(rng, 256)
        mask = shown(scenes)
        assert not world.held_out[scenes["object"], scenes["colour"]][mask].any()
        objects |= set(scenes["object"][mask])
        colours |= set(scenes["colour"][mask])
        for caption in world.captions(scenes, rng):
            for colour, name in nouns(caption):
                assert colour is None or not world.held_out[name, colour], caption
                named.add(name)
    assert objects == named == set(range(len(OBJECTS))) and colours == set(range(12)), "each is trained on"
    for caption in world.texts():
        assert not any(world.held_out[name, colour] for colour, name in nouns(caption) if colour is not None), caption


def test_evaluation_shows_held_out_pairs_only_and_all_of_them(world):
    scenes = world.scenes(world.rng(1), 4000, held_out=True)
    pairs = set(zip(scenes["object"][shown(scenes)], scenes["colour"][shown(scenes)]))
    assert pairs == set(zip(*np.nonzero(world.held_out)))


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_captions_say_what_the_scene_is(world, kind, held_out):
    scenes = world.scenes(world.rng(5), 400, kind, held_out)
    for full in (False, True):
        for i, caption in enumerate(world.captions(scenes, world.rng(6), EVERYTHING if full else MENTIONS)):
            told = nouns(caption)
            assert [name for _, name in told] == scenes["object"][i, :len(told)].tolist(), caption
            assert len(told) == (2 if kind == "related" else 1)
            for j, (colour, _) in enumerate(told):
                assert colour == scenes["colour"][i, j] or (colour is None and not full), caption
            for words, value in ((BACKGROUNDS, "background"), (PLACES, "place"), (RELATIONS, "relation")):
                said = {k for k, word in enumerate(words) if re.search(rf"(^|[ ,]){word}($|[ ,])", caption)}
                wanted = {"background": full, "place": kind == "placed", "relation": kind == "related"}[value]
                assert said == {scenes[value][i]} or (not said and not wanted), caption
            assert [k for k, word in enumerate(COUNTS, 1) if re.search(rf"\b{word} ", caption)] == (
                [scenes["count"][i]] if kind == "counted" else []), caption
            size = re.search("small|large", caption)
            assert size is None or (kind == "single" and size[0] == list(SIZES)[scenes["size"][i]]), caption
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|  ", caption), caption


def test_relations_and_places_are_where_the_caption_says(world):
    scenes = world.scenes(world.rng(7), 500, "related")
    step = scenes["centre"][:, 0] - scenes["centre"][:, 1]
    for name, sign in {"to the left of": -1, "to the right of": 1, "above": -1, "below": 1}.items():
        axis = 0 if name.startswith("to") else 1
        of = scenes["relation"] == list(RELATIONS).index(name)
        assert (sign * step[of, axis] > 15).all() and (abs(step[of, 1 - axis]) < 15).all(), name
    scenes = world.scenes(world.rng(8), 500, "placed")
    column, row = (scenes["centre"][:, 0] // 16).T
    for i, place in enumerate(PLACES):
        of = scenes["place"] == i
        assert (column[of] == (0 if "left" in place else 2 if "right" in place else 1)).all(), place
        assert (row[of] == (0 if "top" in place else 2 if "bottom" in place else 1)).all(), place


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_off_and_nothing_overlaps(world, kind):
    scenes = world.scenes(world.rng(9), 300, kind)
    images, empty = world.draw(scenes), grounds(scenes)
    changed = (images - empty).abs().amax(1) > 0.004
    border = torch.ones(48, 48, dtype=bool)
    border[1:-1, 1:-1] = False
    assert not changed[:, border].any()
    covered = 0
    for sprite in range(4):  # each sprite alone, moved to the front
        order = [sprite, *(j for j in range(4) if j != sprite)]
        alone = {key: value[:, order] if value.ndim > 1 else value for key, value in scenes.items()}
        alone["count"] = np.ones_like(scenes["count"])
        painted = (world.draw(alone) - empty).abs().amax(1) > 0.05
        covered = covered + (painted & torch.from_numpy(scenes["count"] > sprite)[:, None, None]).int()
    assert covered.max() == 1 and (covered.amax((1, 2)) == 1).all()


def test_objects_have_their_colour_and_stand_out(world):
    scenes = world.scenes(world.rng(10), 500, "single")
    scenes["object"][:] = list(OBJECTS).index("square")
    images, empty = world.draw(scenes), grounds(scenes)
    middle = scenes["centre"][:, 0].round().astype(int)
    for image, ground, (x, y), c in zip(images, empty, middle, scenes["colour"][:, 0]):
        paint = torch.tensor(list(COLOURS.values())[c]) / 255
        assert (image[:, y, x] - paint).abs().max() < 0.1
        assert (ground[:, y, x] - image[:, y, x]).norm() > 0.2


def test_draw_is_bilinear_sampling_of_the_masks(world):
    scenes = world.scenes(world.rng(11), 3, "related")
    fast = world.draw(scenes).numpy()
    masks = world.masks.numpy()
    for i in range(3):
        upper, lower = (np.array(edge) / 255 for edge in list(BACKGROUNDS.values())[scenes["background"][i]])
        slow = np.empty((3, 48, 48))
        for y in range(48):
            for x in range(48):
                level = upper + (lower - upper) * y / 47
                for j in range(2):
                    u, v = ((np.array([x, y]) + 0.5 - scenes["centre"][i, j]) * 30 / scenes["side"][i, j]) + 15.5
                    a, b = int(np.floor(u)), int(np.floor(v))
                    alpha = sum(masks[scenes["object"][i, j], q, p] * (1 - abs(u - p)) * (1 - abs(v - q))
                                for p in (a, a + 1) for q in (b, b + 1) if 0 <= p < 32 and 0 <= q < 32)
                    paint = np.array(list(COLOURS.values())[scenes["colour"][i, j]]) / 255 + scenes["shade"][i, j]
                    level = level + alpha * (paint - level)
                slow[:, y, x] = level
        assert abs(fast[i] - slow.clip(0, 1)).max() < 1e-4


def test_articles_and_plurals():
    assert [article(word) for word in ("umbrella", "red umbrella")] == ["an umbrella", "a red umbrella"]
    assert [counted(2, word) for word in ("star", "cross", "snowman", "pair of scissors", "teacup")] == [
        "two stars", "two crosses", "two snowmen", "two pairs of scissors", "two teacups"]
    assert counted(1, "cross") == "one cross" and counted(4, "die") == "four dice"
    unusual = {name: counted(3, name)[6:] for name in OBJECTS if counted(3, name) != f"three {name}s"}
    assert unusual == {"snowman": "snowmen", "mouse": "mice", "daisy": "daisies", "ivy leaf": "ivy leaves",
                       "die": "dice", "pair of scissors": "pairs of scissors", "pair of notes": "pairs of notes",
                       "star of David": "stars of David", "Maltese cross": "Maltese crosses", "cross": "crosses",
                       "fleur-de-lis": "fleurs-de-lis"}


def test_names_come_first_then_in_turns():
    """In all batches at first, then in every third one until three quarters of the steps are done."""
    words = re.compile(rf"\b({'|'.join([*COLOURS, *BACKGROUNDS, *PLACES, *COUNTS, *RELATIONS, 'small', 'large'])})\b")
    world = World(steps=100, shares=(0.1, 0.76, 0.76))
    names_alone = []
    for step in (0, 1, 8, 9, 10, 11, 12, 13, 74, 75, 76, 77, 78, 99):
        _, captions = world.batch(step, 64)
        if not any(map(words.search, captions)):
            names_alone.append(step)
    assert names_alone == [0, 1, 8, 9, 12, 75]


def test_half_of_the_relations_mirror_the_other_half():
    """Same two things, colours and background, each where the other one was; the rest is untouched."""
    world = World()
    rng = world.rng(0, 7)
    before = world.scenes(rng, 200)
    after = {key: array.copy() for key, array in before.items()}
    world.mirror(after)
    related = np.flatnonzero(before["kind"] == RELATED)
    half = len(related) // 2
    assert half > 10
    opposite = {"to the left of": "to the right of", "above": "below"}
    opposite.update({b: a for a, b in opposite.items()})
    names = list(RELATIONS)
    for original, copy in zip(related[:half], related[half:2 * half]):
        for key in ("object", "colour", "background", "size", "count", "side", "shade"):
            assert (after[key][copy] == before[key][original]).all(), key
        assert names[after["relation"][copy]] == opposite[names[before["relation"][original]]]
        assert (after["centre"][copy, :2] == before["centre"][original, [1, 0]]).all()
    others = np.setdiff1d(np.arange(200), related[half:2 * half])
    for key, array in before.items():
        assert (after[key][others] == array[others]).all(), key
    # the words say what the picture shows
    for i in related:
        (x, y), (u, v) = after["centre"][i, :2]
        seen = {"to the left of": x < u, "to the right of": x > u, "above": y < v, "below": y > v}
        assert seen[names[after["relation"][i]]], i


def test_training_batches_hold_mirrored_scenes():
    """Captions that differ in the relation alone stand in the same batch; among scenes as drawn none do."""
    world = World()
    opposites = [("to the left of", "to the right of"), ("above", "below")]

    def with_rival(captions):
        swapped = set()
        for caption in captions:
            for a, b in opposites:
                if a in caption or b in caption:
                    swapped.add(caption.replace(a, "#").replace(b, a).replace("#", b))
        return len(swapped.intersection(captions))

    world.names_until = 0
    world.names_alone_until = 0
    _, captions = world.batch(3, 256)
    assert with_rival(captions) >= 4
    assert with_rival(world.captions(world.scenes(world.rng(0, 3), 256), world.rng(0, 4))) == 0


def test_rivals_are_of_the_same_kind_and_objects_and_differ_in_the_rest():
    """Every other one has the colours too; places, counts and backgrounds are drawn anew, and colours show on them."""
    world = World()
    scenes = world.scenes(world.rng(0, 5), 401, rivals=True)
    first, second = slice(0, 200), slice(200, 400)
    assert (scenes["kind"][first] == scenes["kind"][second]).all()
    assert (scenes["object"][first, :2] == scenes["object"][second, :2]).all()
    same_colour = (scenes["colour"][first, 0] == scenes["colour"][second, 0])
    assert same_colour[::2].all() and same_colour[1::2].mean() < 0.3
    counted = scenes["kind"][first] == COUNTED
    assert counted.sum() > 20 and (scenes["count"][first] == scenes["count"][second])[counted].mean() < 0.5
    for key, least in (("background", 0.4), ("place", 0.3), ("relation", 0.5)):
        assert (scenes[key][first] == scenes[key][second]).mean() < least, key
    for i in range(401):
        for number in range(1 if scenes["kind"][i] != RELATED else 2):
            name, colour = scenes["object"][i, number], scenes["colour"][i, number]
            assert not world.held_out[name, colour] and world.shows[colour, scenes["background"][i]]
    # as drawn without rivals, hardly any two are alike
    scenes = world.scenes(world.rng(0, 5), 401)
    assert (scenes["object"][first, 0] == scenes["object"][second, 0]).sum() < 20


def test_training_batches_hold_rivals_from_a_step_on():
    """Half of the names of a batch occur twice then; captions drawn singly name more different things."""
    world = World(steps=300, shares=(0, 1, 1 / 3))

    def count_names(step):
        _, captions = world.batch(step, 256)
        return len({name for caption in captions for _, name in nouns(caption)[:1]})

    assert count_names(98) > 80 and count_names(298) < 80 and count_names(1000) < 80
    # batches of names alone, as every third one is, have none
    assert count_names(297) > 80
    # in the default run they begin when names end
    world = World()
    assert world.rivals_from == world.names_until == 537 and count_names(536) > 80 > count_names(537)


def test_examples_are_true_pairs_of_held_out_scenes(world):
    images, captions = world.examples(12)
    assert images.shape == (12, 3, 48, 48) and len(set(captions)) == 12
    assert all(world.held_out[name, colour] for caption in captions for colour, name in nouns(caption))


def test_examples_of_one_kind_say_nothing_of_the_others(world):
    """As --demo needs them, whose labels are "a <colour> <object>"."""
    others = re.compile(rf"\b({'|'.join([*PLACES, *COUNTS, *RELATIONS])})\b")
    _, captions = world.examples(60, "single")
    assert not any(map(others.search, captions)) and all(len(nouns(caption)) == 1 for caption in captions)
