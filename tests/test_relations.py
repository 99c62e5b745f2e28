"""The experiment "relations": swapped captions by hand, NegCLIP's loss against a slow version, what captions tell alone."""
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import relations
import zeroshot
from clip_minimal import contrastive_loss
from train_tiny import COLOURS, OBJECTS, RELATED, RELATIONS, SINGLE, TRAINING, World


def numbers(table, *names):
    return [list(table).index(name) for name in names]


def test_swapped_captions_of_given_scenes():
    """A scene of one thing has none. Of two things, the colours go with their things; what else is said stays."""
    world = relations.Swapped(steps=10)
    scenes = world.scenes(world.rng(TRAINING), 3, "related")
    scenes["kind"][1] = SINGLE
    scenes["object"][0, :2] = numbers(OBJECTS, "star", "umbrella")
    scenes["colour"][0, :2] = numbers(COLOURS, "orange", "blue")
    scenes["object"][2, :2] = numbers(OBJECTS, "cat", "sun")
    scenes["colour"][2, :2] = numbers(COLOURS, "red", "red")
    scenes["relation"][[0, 2]] = numbers(RELATIONS, "to the left of", "above")
    scenes["background"][:] = 0
    everything = {"size": 1, "colour": 1, "background": 1}
    captions = world.captions(scenes, np.random.default_rng(3), everything)
    plain = World().captions(scenes, np.random.default_rng(3), everything)
    assert captions == plain, "the captions themselves are the world's"
    assert "an orange star to the left of a blue umbrella" in captions[0]
    star = "an orange star to the left of a blue umbrella", "a blue umbrella to the left of an orange star"
    cat = "a red cat above a red sun", "a red sun above a red cat"
    assert world.swapped == [captions[0].replace(*star), captions[2].replace(*cat)]
    assert "paper" in world.swapped[0] and world.swapped[0] != captions[0]


def test_batches_differ_in_nothing_but_mirrored_scenes_and_swapped_captions():
    """Two of three batches have scenes of two things. Plain keeps them, the world makes half of them mirrored copies."""
    worlds = [kind(1, steps=100) for kind in (World, relations.Plain, relations.Swapped)]
    (mirrored, _), (images, captions), (same, more) = [world.batch(2, 64) for world in worlds]
    assert torch.equal(images, same) and more[:64] == captions
    kind = worlds[1].scenes(worlds[1].rng(TRAINING, 2), 64)["kind"]
    related = np.flatnonzero(kind == RELATED)
    differ = (mirrored != images).flatten(1).any(dim=1).nonzero()[:, 0].tolist()
    assert len(related) >= 4 and differ == related[len(related) // 2:][:len(related) // 2].tolist()
    assert len(more) == 64 + len(related)
    for i, swapped in zip(related, more[64:]):
        words, others = (sorted(text.split()) for text in (captions[i], swapped))
        assert words == others and captions[i] != swapped, "the same words in another order"


def test_negclip_loss_against_a_slow_version():
    torch.manual_seed(0)
    images, texts, scale = torch.randn(3, 8), torch.randn(5, 8), torch.tensor(1.2)
    cosines = [[torch.cosine_similarity(image, text, dim=0).item() for text in texts] for image in images]
    weights = [[math.exp(math.exp(1.2) * cosine) for cosine in row] for row in cosines]
    total = 0
    for i in range(3):
        total -= math.log(weights[i][i] / sum(weights[i]))  # among five texts
        total -= math.log(weights[i][i] / sum(weights[j][i] for j in range(3)))  # among three images
    assert relations.negclip_loss(images, texts, scale).item() == pytest.approx(total / 6)
    without = relations.negclip_loss(images, texts[:3], scale)
    assert without.item() == pytest.approx(contrastive_loss(images, texts[:3], scale).item())


def test_what_captions_tell_alone():
    """The world's tell nothing. If a sun stands always on the left, its relation and its order are known without a look."""
    for value, chance in relations.blind_results(World(2), 2000).values():
        assert value == pytest.approx(chance, abs=0.04)
    sun, star, cat = numbers(OBJECTS, "sun", "star", "cat")
    left, right = numbers(RELATIONS, "to the left of", "to the right of")
    seen = {"object": np.array([[sun, star], [cat, sun], [sun, cat]]), "relation": np.array([left, right, left])}
    scenes = {"object": np.array([[sun, star, 0, 0]]), "colour": np.zeros((1, 4), int)}
    right_order = relations.plausibility(seen, scenes)[0]
    assert right_order.argmax() == left
    assert right_order[left] == pytest.approx(math.log(3 * 2 / 102)), "counts of 2 and 1, and one more of each"
    assert right_order[left] > relations.plausibility(seen, relations.swap(scenes))[0, left]


def test_a_bag_of_words_is_right_in_half_of_the_orders(monkeypatch):
    """To a model that hears the set of words alone both captions are the same."""
    def bag(model, tokenizer, texts):
        return torch.tensor([[float(sum(map(ord, text))), 1.0] for text in texts])

    monkeypatch.setattr(zeroshot, "encode_texts", bag)
    monkeypatch.setattr(zeroshot, "encode_images", lambda model, images: torch.ones(len(images), 2))
    assert relations.order_accuracy(World(), None, None, 40) == (0.5, 0.5)
