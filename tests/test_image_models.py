"""The models without text that the experiments compare with: what they see, what they minimise, how they answer."""
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import lab
from clip_minimal import CONFIGS
from lab import Lab
from tasks import TASKS
from train_tiny import OBJECTS, World, article


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


@pytest.mark.parametrize("kind", ["supervised", "more classes", "SimCLR"])
def test_what_each_kind_minimises(kind, monkeypatch):
    """The first step's loss, written out: labels of what is shown, or which of all views is of the same image."""
    taken = {}
    monkeypatch.setattr(lab, "fit", lambda module, loss, steps, text_lr: taken.update(
        module=module, value=loss(10), steps=steps, text_lr=text_lr))
    monkeypatch.setattr(lab, "view", lambda pixels: pixels)
    torch.manual_seed(0)
    model = lab.ImageModel(lab.OUTPUTS[kind])
    lab.train_images(model, kind, lab.Shown(3), 7, batch_size=24)
    assert taken["steps"] == 7 and taken["text_lr"] == 1, "the head learns as quickly"
    world = World(3)
    images, _ = world.batch(10, 24)
    scenes = world.scenes(world.rng(0, 10), 24)
    single = torch.from_numpy(scenes["kind"] != 3)
    obj, colour = (torch.from_numpy(scenes[key][:, 0]) for key in ("object", "colour"))
    if kind == "SimCLR":
        z = F.normalize(taken["module"]["head"](model.visual(torch.cat([images, images]))), dim=1)
        logits = z @ z.T / 0.1
        others = ~torch.eye(48, dtype=bool)
        expected = torch.stack([logits[i][others[i]].logsumexp(0) - logits[i, (i + 24) % 48] for i in range(48)]).mean()
    else:
        target = obj if kind == "supervised" else 12 * obj + colour
        expected = F.cross_entropy(model.visual(images)[single], target[single])
    assert taken["value"].item() == pytest.approx(expected.item(), rel=1e-3), "in training mode, same batch norm"


@pytest.mark.parametrize("kind, steps", [("supervised", 170), ("more classes", 170), ("SimCLR", 85)])
def test_lengths_and_shares_of_names_follow_the_budget(kind, steps, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(lab, "train_images", lambda _, kind, world, steps: calls.append((world.names_until, steps)))
    for _ in range(2):
        model = Lab(tmp_path, 0.1).image_model(5, kind)
        assert model.config.embed_dim == lab.OUTPUTS[kind] and not model.training
    assert calls == [(130, steps)], "once"


def test_a_model_of_numbers_answers_for_its_own_classes_alone(monkeypatch):
    monkeypatch.setattr(lab.zeroshot, "encode_images", lambda model, images: torch.arange(100.0).expand(2, -1))
    names = [article(name) for name in OBJECTS]
    assert lab.number_scores(None, "ten objects", None).tolist() == [
        [names.index(label) for label in TASKS["ten objects"].classes]] * 2
    assert lab.number_scores(None, "colours", None) is None
