"""The arithmetic of Figures 13 to 17, of the quiz and of detection, on answers known by hand or from slow versions."""
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import detection
import figure13
import figure15
import overlap
import quiz
import zeroshot
from clip_minimal import CLIP, CONFIGS, normalize
from lab import Lab
from tasks import TASKS, examples
from train_tiny import World

# ---- Shifts ----------------------------------------------------------------------------------------------------------


def test_effective_robustness_is_the_height_above_a_line_of_logits():
    """Logits on the shift are those on objects less 1: at even odds sigmoid(-1) is expected."""
    x = np.array([0.2, 0.4, 0.7, 0.9])
    y = 1 / (1 + np.exp(1) * (1 - x) / x)
    expected = 1 / (1 + math.e)
    assert figure15.effective_robustness(x, y, 0.5, expected) == pytest.approx(0)
    assert figure15.effective_robustness(x, y, 0.5, 0.6) == pytest.approx(0.6 - expected)


def test_tasks_of_some_of_the_objects():
    assert "another font" in figure13.SOME and "animals" in figure13.SOME and "card suits" in figure13.SOME
    assert not {"objects", "grey", "tools", "two objects", "typographic attack"} & set(figure13.SOME)
    assert len(figure13.SHIFTS) == 9


# ---- Overlap ---------------------------------------------------------------------------------------------------------


def test_tail_against_counting_by_hand():
    assert overlap.tail(2, 3, 0.5) == pytest.approx(4 / 8) and overlap.tail(3, 3, 0.1) == pytest.approx(0.001)
    assert overlap.tail(0, 5, 0.3) == 1 and overlap.tail(1, 5, 0) == 0 and overlap.tail(5, 5, 1) == 1
    for k in range(8):
        slow = sum(math.comb(7, i) * 0.3 ** i * 0.7 ** (7 - i) for i in range(k, 8))
        assert overlap.tail(k, 7, 0.3) == pytest.approx(slow)


def test_clopper_pearson_at_the_ends_and_from_its_definition():
    """None of n: the upper end is where (1 - p)^n is 2.5 %. Else both tails have 2.5 % at the ends."""
    assert overlap.clopper_pearson(0, 10) == (0, pytest.approx(1 - 0.025 ** 0.1))
    assert overlap.clopper_pearson(10, 10) == (pytest.approx(0.025 ** 0.1), 1)
    low, high = overlap.clopper_pearson(3, 20)
    assert overlap.tail(3, 20, low) == pytest.approx(0.025) and 1 - overlap.tail(4, 20, high) == pytest.approx(0.025)
    assert overlap.clopper_pearson(0, 0) == (0, 1)


def test_threshold_is_the_lowest_with_the_precision():
    """From the top: copy, copy, not, copy, not: precisions 1, 1, 2/3, 3/4, 3/5."""
    cosines, copied = np.array([0.5, 0.9, 0.6, 0.7, 0.8]), np.array([False, True, True, False, True])
    assert overlap.threshold(cosines, copied, 0.95) == 0.8
    assert overlap.threshold(cosines, copied, 0.75) == 0.6
    assert overlap.threshold(cosines, ~copied & (cosines < 0.6)) == math.inf


def test_what_is_searched_is_what_the_model_was_trained_on_and_copies_are_near():
    world, steps = World(3), [10, 11, 700]  # the last one has rivals
    trained = torch.cat([world.batch(step, 256)[0] for step in steps])
    seen = torch.cat([normalize(world.draw(overlap.training_scenes(world, step))) for step in steps])
    assert all((trained - image).flatten(1).abs().amax(dim=1).min() == 0 for image in [*seen[:10], *seen[-10:]])
    images, labels, copied = overlap.test_set(world, steps, 40, 0.3, np.random.default_rng(0))
    far = torch.tensor([(seen - image).square().mean((1, 2, 3)).min() for image in images])
    assert copied.sum() == 12 and far[copied].max() < 0.65 * far[~copied].median()
    assert {key: value.shape for key, value in labels.items()} == {
        "object": (40, 2), "colour": (40, 2), "background": (40, 1)}


def test_nearest_finds_an_exact_copy(monkeypatch):
    monkeypatch.setattr(zeroshot, "encode_images", lambda model, x: torch.nn.functional.normalize(x.flatten(1), dim=-1))
    world = World(3)
    images = normalize(world.draw(overlap.training_scenes(world, 4)))[:2]
    cosines = overlap.nearest(None, world, [1, 4], torch.cat([images, images.flip(3)]))
    assert cosines[:2] == pytest.approx(1, abs=1e-5) and cosines[2:].max() < 0.9999


# ---- Detection -------------------------------------------------------------------------------------------------------


def test_overlap_of_boxes_by_hand():
    a, b = torch.tensor([0, 0, 2, 2]), torch.tensor([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 2, 1]])
    assert torch.allclose(detection.overlap(a, b), torch.tensor([1 / 7, 1, 0, 1 / 2]))


def test_boxes_and_masks_turn_into_each_other():
    boxes = torch.tensor([[[3, 5, 10, 20], [0, 0, 144, 96]]])
    masks = detection.filled(boxes)
    assert masks.sum((-2, -1)).tolist() == [[7 * 15, 144 * 96]]
    assert torch.equal(detection.boxes_of(masks), boxes)


def test_scenes_show_each_object_inside_its_mask():
    images, objects, masks = (part[:5] for part in detection.scenes(3))
    assert images.shape == (5, 3, 96, 144) and objects.shape == (5, 3) and masks.shape == (5, 3, 96, 144)
    assert all(len(set(row)) == 3 for row in objects.tolist()) and masks.sum(dim=1).max() == 1, "none covers another"
    boxes = detection.boxes_of(masks)
    sides = boxes[..., 2:] - boxes[..., :2]
    assert 15 <= sides.amax(dim=-1).min() and sides.max() <= 40
    ground = images.median(dim=3, keepdim=True).values  # a row of the ground has one colour
    assert ((images - ground).abs().amax(dim=1) > 0.2)[masks[:, 0] > 0].float().mean() > 0.9


def test_a_value_is_spread_over_its_window_alone():
    at = detection.windows()
    values = torch.zeros(len(at))
    values[200] = 1
    heat, inside = detection.covered(values), detection.filled(at[200])
    assert (heat[inside == 0] == 0).all() and (heat[inside == 1] > 0).all()
    assert torch.allclose(detection.covered(torch.ones(len(at))), torch.ones(96, 144))


@torch.no_grad()
def test_scores_of_patches_are_those_of_each_place_alone():
    """Against a loop over the places; and a picture of one place has the scores of the whole picture."""
    torch.manual_seed(0)
    model = CLIP(replace(CONFIGS["tiny-RN"], vision_width=4, embed_dim=16)).eval()
    weights = torch.randn(16, 7)
    images = torch.rand(2, 3, 96, 144)
    scores = detection.patch_scores(model, images, weights)
    assert scores.shape == (2, 3, 4, 7)
    places = model.visual.convolve(normalize(images))  # (2, 128, 3, 4)
    for i, y, x in np.ndindex(2, 3, 4):
        feature = model.visual.attnpool(places[i:i + 1, :, y:y + 1, x:x + 1])[0]  # (16,)
        expected = model.logit_scale.exp() * feature / feature.norm() @ weights  # (7,)
        assert torch.allclose(scores[i, y, x], expected, atol=1e-4)
    small = torch.rand(2, 3, 48, 48)
    whole = model.logit_scale.exp() * zeroshot.encode_images(model, normalize(small)) @ weights  # (2, 7)
    assert torch.allclose(detection.patch_scores(model, small, weights)[:, 0, 0], whole, atol=1e-4)


def test_hottest_is_above_half_way():
    assert detection.hottest(torch.tensor([[0., 1.], [2., 4.]])).tolist() == [[0, 0], [1, 1]]


def test_windows_that_know_the_object_find_it(monkeypatch):
    """A model that is sure of an object where a window holds all of it, the surer the smaller the window."""
    images, objects, masks = (part[:4] for part in detection.scenes(3))

    def scores(model, images, weights):
        at = detection.windows()
        there = torch.zeros(4, len(at), 100)
        for i, j in np.ndindex(4, 3):
            whole = detection.filled(at) * masks[i, j] == masks[i, j]
            there[i, whole.all(-1).all(-1), objects[i, j]] = 1000
        return there - (at[:, 2] - at[:, 0])[None, :, None] * (there > 0)

    monkeypatch.setattr(detection, "window_scores", scores)
    monkeypatch.setattr(detection, "patch_scores", lambda *_: torch.rand(4, 3, 4, 100))
    monkeypatch.setattr(zeroshot, "encode_images", lambda model, x: torch.zeros(len(x), 100))
    boxes, areas, fit = detection.answers(None, torch.eye(100), images, objects)["windows"]
    inside = detection.filled(boxes) * masks == masks
    assert inside.all(), "the box holds the object"
    assert (fit.topk(3).indices.sort().values == objects.sort().values).all()


# ---- Quiz ------------------------------------------------------------------------------------------------------------


def person(answers):
    return [{"picture": i, "squares": s, "answer": a} for (i, s), a in zip(quiz.questions(), answers)]


def test_scores_by_hand():
    """Three people: one always right, one who never knows, one always wrong."""
    labels = examples("ten objects", "test")[1]
    truth = [labels[i].item() for i, _ in quiz.questions()]
    wrong = [(label + 1) % 10 for label in truth]
    people = [person(truth), person([None] * 24), person(wrong)]
    values = quiz.scores(people)
    assert values["one person"] == pytest.approx(1 / 3) and values["one person, of guesses"] == pytest.approx(1 / 2)
    assert quiz.scores([*people, person(truth)])["majority"] == 1
    assert quiz.scores([person([None] * 24)]) == dict.fromkeys(quiz.TABLE_2, 0)


def test_a_quiz_that_is_left_early_writes_nothing(tmp_path, monkeypatch, capsys):
    def end_of_input(_):
        raise EOFError

    monkeypatch.setattr("builtins.input", end_of_input)
    assert quiz.main(["--quiz", "--out", str(tmp_path / "quiz.json")]) == 130
    assert not (tmp_path / "quiz.json").exists()
    assert capsys.readouterr().err.count("\n") == 2


def test_questions_are_different_pictures_and_pixelated():
    assert len({picture for picture, _ in quiz.questions()}) == 24
    fine, labels = quiz.pictures(24, 3)
    assert torch.equal(labels, examples("ten objects", "test")[1][:24])
    for squares in quiz.SQUARES:
        images = quiz.pictures(24, squares)[0]
        blocks = images.unfold(2, squares, squares).unfold(3, squares, squares)  # (24, 3, h, w, squares, squares)
        assert (blocks.amax((-2, -1)) - blocks.amin((-2, -1))).max() < 1e-4
    assert len(TASKS["ten objects"].classes) == 10, "letters a to j"


def test_the_quiz_is_taken_and_merged_and_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quiz, "ANSWERS", tmp_path / "results/answers.json")
    given = iter(["x", "", "A", *"bcdefghij?abcdefghij?ab"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(given))
    assert quiz.main(["--quiz", "--out", str(tmp_path / "mine.json")]) == 0
    assert (tmp_path / "mine.png").stat().st_size > 10_000
    answers = json.loads((tmp_path / "mine.json").read_text())
    assert [row["answer"] for row in answers] == [*range(10), None, *range(10), None, 0, 1]
    assert not quiz.ANSWERS.exists()
    assert quiz.main(["--answers", str(tmp_path / "mine.json"), str(tmp_path / "mine.json")]) == 0
    rows = [row for row in quiz.measure(Lab(tmp_path, 0.02, ())) if row["who"] == "people"]
    assert {row["seed"] for row in rows} == {0, 1} and sum(row["pictures"] for row in rows) == 48
    share = sum(row["right"] * row["pictures"] for row in rows) / 48
    assert share == pytest.approx(quiz.scores([answers])["one person"])
    for bad in ("mine.png", "none.json"):
        assert quiz.main(["--answers", str(tmp_path / bad)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
