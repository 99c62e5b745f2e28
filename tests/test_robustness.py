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
import common
import detection
import figure13
import figure15
import overlap
import quiz
import zeroshot
from clip_minimal import CLIP, CONFIGS, normalize
from lab import Lab
from tasks import TASKS, examples
from train_tiny import RELATIONS, World

# ---- Shifts ----------------------------------------------------------------------------------------------------------


def test_effective_robustness_is_the_height_above_a_line_of_logits():
    """Logits on the shift are those on objects less 1: at even odds sigmoid(-1) is expected."""
    x = np.array([0.2, 0.4, 0.7, 0.9])
    y = 1 / (1 + np.exp(1) * (1 - x) / x)
    expected = 1 / (1 + math.e)
    assert figure15.effective_robustness(x, y, 0.5, expected) == pytest.approx(0)
    assert figure15.effective_robustness(x, y, 0.5, 0.6) == pytest.approx(0.6 - expected)


def test_tasks_of_some_of_the_objects():
    assert "another font" in figure15.SOME and "animals" in figure15.SOME and "card suits" in figure15.SOME
    assert not {"objects", "grey", "tools", "two objects", "typographic attack"} & set(figure15.SOME)
    assert len(figure13.SHIFTS) == 9 and set(figure13.SHIFTS) - set(figure13.SEEN) == {"occlusion"}


def test_accuracy_among_some_classes_leaves_out_other_pictures_and_other_answers():
    """Of classes 3 and 1 alone: the picture of class 0 doesn't count, and the score of class 2 is not looked at."""
    scores = torch.tensor([[9., 0, 0, 0], [0, 1, 9, 2], [0, 1, 9, 2], [0, 3, 9, 2]])
    labels = torch.tensor([0, 3, 1, 1])
    assert figure13.accuracy_among(torch.tensor([3, 1]), scores, labels) == pytest.approx(2 / 3)
    assert figure13.accuracy_among(torch.arange(4), scores, labels) == 1 / 4


def test_interval_over_tasks_and_seeds_sees_either_differ():
    """A table that differs by task alone and one that differs by seed alone have intervals; a constant has none."""
    steps = np.arange(6.)
    by_task = np.tile(steps[:, None], (1, 6))
    for table in (by_task, by_task.T):
        low, high = common.interval(np.mean, table)
        assert 0.5 < low < 1.7 and 3.3 < high < 4.5, "2.5 plus or minus 1.37"
    assert common.interval(np.mean, np.full((4, 3), 7)) == (7, 7)


def shifted_rows(ahead):
    """Supervised models whose logits under a shift are less by 1; zero-shot's are more than that by `ahead` of the shift."""
    rows = []
    for shift in figure13.SHIFTS:
        for seed in (0, 1):
            models = {str(pool): i + seed / 2 - 2 for i, pool in enumerate(figure13.POOLS)} | {"zero-shot": 0}
            for model, logit in models.items():
                height = ahead[shift] if model == "zero-shot" else 0
                rows.append({"shift": shift, "seed": seed, "model": model, "objects": 1 / (1 + math.exp(-logit)),
                             "accuracy": 1 / (1 + math.exp(-logit + 1 - height))})
    return rows


def test_figure_13_measures_from_the_line_of_each_shift():
    """At even odds 26.9 % are expected: with a logit more by 1, on the seen shifts, zero-shot gets 50 %."""
    ahead = dict.fromkeys(figure13.SEEN, 1) | {"occlusion": 0}
    rows = shifted_rows(ahead)
    assert figure13.robustness(rows, figure13.SEEN) == pytest.approx(np.full((8, 2), 50 - 100 / (1 + math.e)))
    assert figure13.robustness(rows, ["occlusion"]) == pytest.approx(np.zeros((1, 2)), abs=1e-9)
    *_, bars = figure13.draw(rows).axes
    assert "+23.1 points" in bars.get_title() and "occlusion +0.0" in bars.get_title().replace("-0.0", "+0.0")


def test_figure_15_measures_from_the_same_line():
    """A probe that gets as many points more than zero-shot on objects as under the shift is not as far above the line."""
    rows = shifted_rows(dict.fromkeys(figure13.SHIFTS, 1))
    for row in list(rows):
        if row["model"] == "zero-shot":
            rows.append(row | {"model": "all", "objects": 0.9, "accuracy": row["accuracy"] + 0.1})
        else:
            row["model"] = "pool of " + row["model"]
    expected = 1 / (1 + math.e / 9)  # the odds of 0.9 are 9
    assert figure15.robustness(rows, "zero-shot", ["grey"]) == pytest.approx(np.full((1, 2), 50 - 100 / (1 + math.e)))
    assert figure15.robustness(rows, "all", ["grey"]) == pytest.approx(np.full((1, 2), 60 - 100 * expected))
    assert figure15.gains(rows, "all", "zero-shot", ["grey", "blur"]) == pytest.approx(np.full((2, 2), 10))


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


def made_up_sets(world):
    return [overlap.make_test_set(world, number, 40, 0.3) for number in (0, 1)]


def test_copies_are_near_their_pictures_and_each_has_its_caption():
    world = World(3)
    first, second = made_up_sets(world)
    assert first.copied.sum() == len(first.copies) == len(first.captions) == 12
    originals = first.images[torch.from_numpy(first.copied)]
    distance = (first.copies[:, None] - originals).square().mean((2, 3, 4))  # (12, 12)
    assert torch.equal(distance.argmin(dim=1), torch.arange(12)) and distance.diagonal().min() > 0
    assert not torch.equal(first.images, second.images), "another number is another set"
    shapes = {label: truth.shape for label, truth in first.labels.items()}
    assert shapes == {"object": (40, 2), "colour": (40, 2), "object in its colour": (40, 2), "background": (40, 1)}
    names, _ = overlap.classes_of("object in its colour")
    for caption, row in zip(first.captions, np.flatnonzero(first.copied)):
        for number in first.labels["object in its colour"][row]:
            without_colour = names[number].split(" ", 2)[2]
            assert names[number] in caption or without_colour in caption


def test_a_batch_ends_with_copies_which_take_turns():
    """24 pairs have two places for copies; five copies take turns. All else is the world's."""
    copies, names = torch.arange(5.).view(5, 1, 1, 1).expand(5, 3, 48, 48), list("abcde")
    world = overlap.Repeating(3, 100, copies, names)
    plain = World(3, steps=100)
    for step, expected in ((0, [0, 1]), (1, [2, 3]), (2, [4, 0])):
        images, captions = world.batch(step, 24)
        assert images[-2:, 0, 0, 0].tolist() == expected and captions[-2:] == [names[i] for i in expected]
        plain_images, plain_captions = plain.batch(step, 24)
        assert torch.equal(images[:-2], plain_images[:-2]) and captions[:-2] == plain_captions[:-2]


def test_search_sees_what_training_shows_of_two_things():
    """Step 0 has names alone, and of two things the copies only; late steps have rivals, and the search sees them."""
    copies = torch.zeros(1, 3, 48, 48)
    world = overlap.Repeating(3, 100, copies, ["a"])
    assert torch.equal(overlap.pictures_of_two_things(world, 0, 24), copies.repeat(2, 1, 1, 1))
    for step in (4, 95):
        seen = overlap.pictures_of_two_things(world, step, 64)
        images, captions = World(3, steps=100).batch(step, 64)
        related = [any(f" {words} " in caption for words in RELATIONS) for caption in captions[:59]]
        assert torch.equal(seen[:-5], images[:59][torch.tensor(related)]) and sum(related) > 1
        assert (seen[-5:] == 0).all()


def test_nearest_finds_an_exact_copy(monkeypatch):
    monkeypatch.setattr(zeroshot, "encode_images", lambda model, x: torch.nn.functional.normalize(x.flatten(1), dim=-1))
    world = World(3)
    images = normalize(world.draw(world.scenes(world.rng(7), 4, "related")))
    repeating = overlap.Repeating(3, 10, images[:2], ["a", "b"])
    cosines = overlap.nearest(None, repeating, 2, 24, images)
    assert cosines[:2] == pytest.approx(1, abs=1e-5) and cosines[2:].max() < 0.9999


def test_accuracies_of_the_parts_by_hand():
    """Of ten pictures three are found, two of these right; of the other seven, four. p is that of 2 or more of 3."""
    found = np.arange(10) < 3
    right = np.array([True, True, False, True, True, True, True, False, False, False])
    values = overlap.accuracies_of(right, found)
    assert values["all"] == 0.6 and values["clean"] == 4 / 7 and values["overlap"] == 2 / 3
    q = 4 / 7
    assert values["p"] == pytest.approx(3 * q ** 2 * (1 - q) + q ** 3)
    low = values["low"]
    assert 3 * low ** 2 * (1 - low) + low ** 3 == pytest.approx(0.0025), "the interval is of 99.5 %"
    nothing = overlap.accuracies_of(right, found & False)
    assert nothing["clean"] == nothing["all"] == 0.6 and math.isnan(nothing["overlap"]) and nothing["p"] == 1


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
    found, heat = detection.answers(None, torch.eye(100), images, objects, detection.boxes_of(masks))
    boxes, _, fit = found["windows"]
    inside = detection.filled(boxes) * masks == masks
    assert inside.all(), "the box holds the object"
    assert (fit.topk(3).indices.sort().values == objects.sort().values).all()
    # the heat map is hotter inside of the object's box than outside, and the figure's has means over 8 x 8 pixels
    truth = detection.filled(detection.boxes_of(masks))  # (4, 3, 96, 144)
    within = (heat * truth).sum((-2, -1)) / truth.sum((-2, -1))
    without = (heat * (1 - truth)).sum((-2, -1)) / (1 - truth).sum((-2, -1))
    assert (within > 3 * without).all()
    small = detection.shrink(heat[:, 0])
    assert small.shape == (4, 12, 18) and (small.amax((1, 2)) == 100).all()
    for of_scene, cells in zip(heat[:, 0], small):
        means = cell_means(of_scene)
        assert (cells - 100 * means / means.max()).abs().max() < 0.51


def cell_means(heat):
    """The mean over each 8 x 8 pixels of a heat map (96, 144), from a view."""
    return heat.view(12, 8, 18, 8).mean(dim=(1, 3))


def test_no_window_overlaps_an_object_more_than_the_best_possible_one():
    """Against a loop over all windows; for a box that is a window it is that window."""
    at = detection.windows()
    truth = torch.stack([at[300], torch.tensor([3, 5, 41, 30]), torch.tensor([100, 50, 130, 90])])[:, None]  # (3, 1, 4)
    best = detection.best_possible(truth)
    assert best[0, 0].tolist() == at[300].tolist()
    for box, found in zip(truth[:, 0], best[:, 0]):
        values = [detection.overlap(box, window).item() for window in at]
        assert found.tolist() in at.tolist() and detection.overlap(box, found).item() == max(values)


def test_pointing_game_by_hand():
    truth = torch.tensor([10, 20, 30, 40])
    boxes = torch.tensor([[0, 0, 144, 96], [0, 20, 40, 40], [0, 20, 20, 41], [28, 38, 32, 41], [0, 20, 18, 40]])
    assert detection.pointed(boxes, truth).tolist() == [False, True, True, False, False]


def test_an_answer_is_judged_by_hand():
    """Two objects: one box is right, the other one beside it; of the two names said first one is there."""
    truth = torch.tensor([[[0, 0, 40, 40], [100, 50, 140, 90]]])
    boxes = torch.tensor([[[0, 0, 40, 40], [0, 50, 40, 90]]])
    fit = torch.tensor([[0.1, 0.9, 0.3, 0.0]])
    row = detection.judge(boxes, detection.filled(boxes), fit, truth, detection.filled(truth), torch.tensor([[1, 3]]))
    assert row == {"found": 0.5, "box": 0.5, "pointed": 0.5, "mask": 0.5, "named": 0.5}
    row = detection.judge(truth, detection.filled(truth), None, truth, detection.filled(truth), torch.tensor([[1, 3]]))
    assert row["found"] == row["mask"] == 1 and math.isnan(row["named"])


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


def test_an_answer_that_is_always_given_is_no_easy_class():
    """All is called by class 2: all hits and all false alarms. Of a person who is right or says nothing there are none."""
    labels = [0, 1, 2, 2, 3]
    hits, false_alarms = quiz.hits_and_false_alarms(quiz.rows_of("x", 0, 3, [2] * 5, labels))
    assert hits[:4].tolist() == false_alarms[:4].tolist() == [0, 0, 1, 0] and np.isnan(hits[4:]).all()
    rows = quiz.rows_of("x", 0, 3, [0, None, 2, 1, 3], labels)
    assert [row["right"] for row in rows] == [1, 0, 0.5, 1] and [row["pictures"] for row in rows] == [1, 1, 2, 1]
    counts = quiz.confusion(rows + rows)
    assert counts.sum() == 2 * 4 and counts[2, [1, 2]].tolist() == [2, 2]
    hits, false_alarms = quiz.hits_and_false_alarms(rows + rows)
    assert hits[:4].tolist() == [1, 0, 0.5, 1] and false_alarms[:4].tolist() == [0, 0.25, 0, 0]


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
