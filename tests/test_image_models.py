"""The models without text that the experiments compare with: what they see, what they minimise, how they answer."""
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import lab
import web
from clip_minimal import CONFIGS, normalize
from lab import Lab
from tasks import TASKS, examples
from train_tiny import OBJECTS, article


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A shape that takes no time."""
    monkeypatch.setitem(CONFIGS, "tiny-RN", replace(CONFIGS["tiny-RN"], vision_width=4))


@pytest.mark.parametrize("side, place, mirrored, saturation, change", [
    (1, 0.5, 1, 2 / 3, lambda x: x), (1, 0.5, 0, 2 / 3, lambda x: x.flip(-1)),
    (1, 0.2, 1, 0, lambda x: x.mean(1, keepdim=True).expand_as(x)),
    (0, 0, 1, 2 / 3, lambda x: F.interpolate(x[:, :, :24, :24], (48, 48), mode="bilinear"))],
    ids=["nothing", "mirrored", "grey", "the first quarter"])
def test_what_a_view_may_change(side, place, mirrored, saturation, change, monkeypatch):
    """One random number at a time leaves the others where they change nothing."""
    images = 0.2 + 0.6 * torch.rand(5, 3, 48, 48)
    images = F.avg_pool2d(images, 9, 1, 4)
    rand, numbers = torch.rand, iter([side, place, saturation, 0.5, 0.5])
    monkeypatch.setattr(torch, "rand", lambda *shape: 0 * rand(*shape) + next(numbers))
    monkeypatch.setattr(torch, "randint", lambda high, shape: torch.full(shape, mirrored))
    inside = slice(2, 46)  # at the edge of a square padding differs
    seen, expected = (x[:, :, inside, inside] for x in (lab.view(images), change(images)))
    assert torch.allclose(seen, expected, atol=1e-5)


def test_views_move_contrast_and_light_of_each_colour(monkeypatch):
    images = torch.full((1, 3, 48, 48), 0.5)
    contrast, light = torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.5, 1.0]]).view(2, 1, 3, 1, 1)
    rand, numbers = torch.rand, iter([1, 0.5, 2 / 3, contrast, light])
    monkeypatch.setattr(torch, "rand", lambda *shape: 0 * rand(*shape) + next(numbers))
    assert lab.view(images)[0, :, 20, 20].tolist() == pytest.approx([0.5 * 0.6 + 0.2, 0.5, 0.5 * 1.4 + 0.2])


@pytest.mark.parametrize("kind", ["supervised", "more kinds", "SimCLR"])
def test_what_each_kind_minimises(kind, monkeypatch):
    """A step's loss, written out: labels of the batch's pictures, or which of all views is of the same picture."""
    taken = {}
    monkeypatch.setattr(lab, "fit", lambda module, loss, steps, lr, text_lr, muon: taken.update(
        module=module, value=loss(0), steps=steps, settings=(lr, text_lr, muon)))
    monkeypatch.setattr(lab, "view", lambda images: images)
    monkeypatch.setattr(lab, "crop", lambda images: images)
    monkeypatch.setattr(lab, "shuffled_batches", lambda n, size: iter([torch.arange(24).flip(0)]))
    levels, labels = lab.draw_pool(kind, "train", 30)
    torch.manual_seed(0)
    model = lab.ImageModel(lab.OUTPUTS[kind])
    lab.train_images(model, kind, levels, labels, 7, batch_size=24)
    assert taken["steps"] == 7 and taken["settings"] == (5e-3, 1, True), "by Muon, the head as quickly"
    images, labels = normalize(levels.float() / 255)[:24].flip(0), labels[:24].flip(0)
    if kind == "SimCLR":
        z = F.normalize(taken["module"]["head"](model.visual(torch.cat([images, images]))), dim=1)
        logits = z @ z.T / 0.1
        others = ~torch.eye(48, dtype=bool)
        expected = torch.stack([logits[i][others[i]].logsumexp(0) - logits[i, (i + 24) % 48] for i in range(48)]).mean()
    else:
        expected = F.cross_entropy(model.visual(images), labels)
    assert taken["value"].item() == pytest.approx(expected.item(), rel=1e-3), "in training mode, same batch norm"


def test_the_pools_hold_what_they_say():
    """The task's pictures; or one thing each, in the usual style, all things as often, and others to be tested on."""
    images, labels = examples("objects", "train", 40)
    for kind in ("supervised", "SimCLR"):
        levels, numbers = lab.draw_pool(kind, "train", 40)
        assert torch.equal(numbers, labels) and levels.dtype == torch.uint8
        expected = torch.from_numpy(lab.zeroshot.levels(images)).permute(0, 3, 1, 2)
        assert (levels / 255 - expected).abs().max() < 0.6 / 255
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web.Web, "draw", lambda self, scenes: drawn.append(scenes) or torch.ones(len(scenes["kind"]), 1))
        levels, numbers = lab.draw_pool("more kinds", "train", 9500)
    assert len(levels) == 9500 and torch.equal(
        numbers, torch.from_numpy(np.concatenate([scenes["object"][:, 0] for scenes in drawn])))
    assert all((scenes["kind"] == 0).all() and (scenes["style"] == 0).all() for scenes in drawn)
    counts = numbers.bincount(minlength=len(web.NAMES))
    assert counts.min() > 3 and counts.max() < 50, "about 21 each"
    again, other = (lab.draw_pool("more kinds", split, 5) for split in ("train", "test"))
    assert torch.equal(again[0], lab.draw_pool("more kinds", "train", 5)[0]) and not torch.equal(again[0], other[0])


def test_batches_go_through_the_pool_again_and_again():
    torch.manual_seed(0)
    order = lab.shuffled_batches(10, 3)
    first, second = (torch.cat([next(order) for _ in range(3)]) for _ in range(2))
    for epoch in (first, second):
        assert len(epoch.unique()) == 9
    assert not torch.equal(first, second)
    assert len(next(lab.shuffled_batches(5, 256))) == 5, "of a small pool all"


def test_crops_move_pictures_and_turn_none():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 12, 12).expand(300, 3, 12, 12)
    seen = set()
    for crop in lab.crop(images, 2):
        moves = [(x, y) for x in range(-2, 3) for y in range(-2, 3)
                 if torch.equal(crop[:, 2:10, 2:10], images[0][:, 2 + y:10 + y, 2 + x:10 + x])]
        assert len(moves) == 1
        seen.add(moves[0])
    assert len(seen) == 25


@pytest.mark.parametrize("kind, pool, many", [("supervised", None, 300), ("more kinds", None, 3000),
                                              ("SimCLR", None, 300), ("supervised", 5000, 500)])
def test_lengths_and_pools_follow_the_budget(kind, pool, many, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(lab, "POOLS", {"supervised": 3000, "more kinds": 30000, "SimCLR": 3000})
    monkeypatch.setattr(lab, "draw_pool", lambda kind, split, n: (torch.zeros(n), torch.full((n,), split == "train")))
    monkeypatch.setattr(lab, "train_images", lambda model, kind, levels, labels, steps: calls.append(
        (len(levels), labels.all().item(), steps)))
    for _ in range(2):
        model = Lab(tmp_path, 0.1).image_model(5, kind, pool)
        assert model.config.embed_dim == lab.OUTPUTS[kind] and not model.training
    assert calls == [(many, True, 40 if kind == "supervised" else 80)], "once"


def test_own_accuracy_of_a_model_that_is_always_right(tmp_path, monkeypatch):
    monkeypatch.setattr(Lab, "image_model", lambda self, seed, kind: None)
    monkeypatch.setattr(lab, "draw_pool", lambda kind, split, n: (torch.zeros(n, 3, 1, 1), torch.arange(n) % 4))
    monkeypatch.setattr(lab.zeroshot, "encode_images", lambda model, images: torch.eye(4)[torch.arange(len(images)) % 4])
    assert Lab(tmp_path, 0.1).own_accuracy(0, "more kinds") == 1
    assert math.isnan(Lab(tmp_path, 0.1).own_accuracy(0, "SimCLR"))


def test_a_model_of_numbers_answers_for_its_own_classes_alone(monkeypatch):
    monkeypatch.setattr(lab.zeroshot, "encode_images", lambda model, images: torch.arange(100.0).expand(2, -1))
    names = [article(name) for name in OBJECTS]
    assert lab.number_scores(None, "ten objects", None).tolist() == [
        [names.index(label) for label in TASKS["ten objects"].classes]] * 2
    assert lab.number_scores(None, "colours", None) is None
