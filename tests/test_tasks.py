"""The evaluation datasets: a label says what its picture shows, checked by measuring pictures and by formulas."""
import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.ft2font import FT2Font

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import tasks
import train_tiny
from tasks import NAMES, PALETTE, SPLITS, TASKS, examples
from zeroshot import levels


def pictures(name, n=120, split="test"):
    """Pictures before their quality is made poor -> levels (n, 48, 48, 3) and labels as numpy arrays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "photograph", lambda rng, images: images)
        images, labels = examples(name, split, n)
    return levels(images), labels.numpy()


def drawn(images):
    """Where pictures (n, 48, 48, 3) differ from their ground, which goes from the first row's to the last's colour."""
    first, last = np.median(images[:, [0, -1]], axis=2).swapaxes(0, 1)  # (n, 3) each
    ground = first[:, None] + np.linspace(0, 1, 48)[:, None] * (last - first)[:, None]  # (n, 48, 3)
    return np.abs(images - ground[:, :, None]).sum(-1) > 0.15


def inner(cover):
    """Places all of whose neighbours are covered, or all covered ones where that leaves none."""
    less = cover.copy()
    for shift, axis in ((1, 1), (-1, 1), (1, 2), (-1, 2)):
        less &= np.roll(cover, shift, axis)
    return np.where(less.any((1, 2), keepdims=True), less, cover)


def middle(cover):
    """Centres of mass of covers (n, 48, 48) -> (n, 2), x and y."""
    at = np.arange(48) + 0.5
    return np.stack([(cover * at).sum((1, 2)), (cover * at[:, None]).sum((1, 2))], -1) / cover.sum((1, 2))[:, None]


# ---- All tasks -------------------------------------------------------------------------------------------------------


def test_there_are_enough_and_they_are_well_formed():
    assert len(TASKS) >= 32 and len({task.group for task in TASKS.values()}) >= 8
    assert {task.metric.__name__ for task in TASKS.values()} == {
        "accuracy", "mean_per_class", "mean_average_precision", "roc_auc"}, "Table 9 mixes four"
    for name, task in TASKS.items():
        assert len(set(task.classes)) == len(task.classes) >= 2, name
        assert len(set(task.templates)) == len(task.templates), name
        assert all(template.count("{}") == 1 for template in task.templates), name
        assert (task.size("train") == 0) == (task.group == "shifts") and task.size("test") >= 500, name
        if task.group != "shifts":
            assert task.size("train") >= 16 * len(task.classes), f"{name}: 16-shot probes need as many"


@pytest.mark.parametrize("name", TASKS)
def test_each_task_is_deterministic_and_its_splits_share_no_picture(name):
    N, shown = len(TASKS[name].classes), TASKS[name].shown
    splits = [examples(name, split, max(N, 40)) for split in SPLITS]
    for images, labels in splits:
        assert images.shape == (max(N, 40), 3, 48, 48) and images.dtype == torch.float32
        assert levels(images).std((1, 2, 3)).min() > 0.01, "an empty picture"
        if shown > 1:
            assert labels.shape == (len(images), N) and (labels.sum(dim=1) == shown).all() and labels.any(dim=0).all()
        else:
            assert labels.dtype == torch.long and torch.equal(labels.unique(), torch.arange(N)), "every class"
    again, same = examples(name, "test", max(N, 40))
    assert torch.equal(again, splits[2][0]) and torch.equal(same, splits[2][1])
    assert len({image.numpy().tobytes() for images, _ in splits for image in images}) == 3 * max(N, 40)


def test_every_character_is_in_its_font_and_unlike_all_others(monkeypatch):
    """All that is rendered while the tasks are made and drawn, against the fonts' own tables of characters."""
    seen, render = {}, train_tiny.render

    def recorded(glyphs, size=32, font=train_tiny.FONT):
        glyphs = list(glyphs)
        seen.setdefault(str(font), set()).update(glyphs)
        return render(glyphs, size, font)

    monkeypatch.setattr(train_tiny, "render", recorded)
    spec = importlib.util.spec_from_file_location("fresh_tasks", tasks.__file__)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    for name in fresh.TASKS:
        fresh.examples(name, "test", 20)
    assert sum(map(len, seen.values())) > 300
    for font, glyphs in seen.items():
        known = FT2Font(font).get_charmap()
        missing = {glyph for glyph in glyphs if not all(ord(c) in known for c in glyph)}
        if font.endswith("Mono-Bold.ttf"):
            missing -= {"\uffff", *train_tiny.OBJECTS.values()}  # "another font" leaves out what it lacks, see below
        assert not missing, f"{font} has no {missing}"
        masks = render(sorted(glyphs), font=font).flatten(1)
        distance = torch.cdist(masks, masks) + 99 * torch.eye(len(masks))
        if "Mono" not in font:
            i, j = divmod(distance.argmin().item(), len(masks))
            assert distance.min() > 1.5, f"{sorted(glyphs)[i]} looks like {sorted(glyphs)[j]}"


def test_another_font_has_what_it_draws_and_draws_it_otherwise():
    known = FT2Font(str(tasks.MONO)).get_charmap()
    assert len(tasks.OTHER_AT) > 75
    for i in tasks.OTHER_AT:
        assert ord(train_tiny.OBJECTS[NAMES[i]]) in known, NAMES[i]
        assert (tasks.OTHERS[i] - tasks.ATLAS[i]).abs().max() > 0.3, NAMES[i]


def test_names_of_objects_without_captions_are_in_no_caption():
    world = train_tiny.World()
    captions = " ".join(caption for step in range(20) for caption in world.batch(step, 200)[1])
    assert not any(name in captions for name in tasks.STRANGERS)
    assert not set(tasks.STRANGERS.values()) & set(train_tiny.OBJECTS.values())


@pytest.mark.parametrize("name", ["ten objects", "animals", "binding", "two objects"])
def test_chance_is_what_random_scores_get(name):
    task, rng = TASKS[name], np.random.default_rng(0)
    labels = examples(name, "test", 600)[1]
    scores = [task.metric(torch.from_numpy(rng.random((600, len(task.classes)))), labels) for _ in range(20)]
    assert np.mean(scores) == pytest.approx(task.chance(), abs=0.01)


# ---- Masks by formulas -----------------------------------------------------------------------------------------------


def area(covers):
    """How much of the square from -1 to 1 is covered; each mask is a mean over its cells."""
    return 4 * tasks.shape(covers).mean().item()


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_areas_of_polygons_and_stars(n):
    assert area(tasks.polygon(n)) == pytest.approx(n / 2 * math.sin(2 * math.pi / n) * 0.95 ** 2, abs=0.01)
    assert area(tasks.pointed(n, 0.4)) == pytest.approx(n * 0.4 * math.sin(math.pi / n) * 0.95 ** 2, abs=0.01)


def test_moons_are_lit_as_far_as_they_say():
    lit = 4 * tasks.moons(-0.5, 0, 0.5, 1).mean((1, 2)).numpy().reshape(4, 2)
    for share, pair in zip((0.25, 0.5, 0.75, 1), lit):
        assert pair == pytest.approx([share * math.pi * 0.93 ** 2] * 2, abs=0.01)
    left, right = tasks.moons(-0.5)
    assert left[:, 16:].sum() == right[:, :16].sum() == 0, "a crescent keeps to its side"


def test_hands_of_clocks():
    """Without the rim and the hand at twelve, what is left is the hour's hand: it points to the hour."""
    x = (np.arange(32) + 0.5) / 16 - 1
    rest = tasks.shape(tasks.clock(12))[0]
    for hour in range(1, 12):
        hand = (tasks.shape(tasks.clock(hour))[0] - rest).clamp(min=0).numpy()
        angle = math.atan2((hand * x).sum(), -(hand * x[:, None]).sum())
        assert abs((angle * 6 / math.pi - hour + 6) % 12 - 6) < 0.5, hour


def test_stamp_places_scales_and_turns_clockwise():
    """The upper half of a square turned by a quarter is its right half."""
    mask, black = torch.zeros(1, 32, 32), torch.zeros(1, 3, 48, 48)
    mask[:, :16] = 1
    for turn, x, y in ((0, 20, 23), (np.pi / 2, 25, 28), (np.pi, 20, 33)):
        place = np.array([[20., 28.]]), np.array([20.]), np.array([turn])
        image = tasks.stamp(black, mask, np.ones((1, 3)), *place)[0, 0]
        assert image.sum() == pytest.approx(20 * 10, rel=0.02)
        assert middle(image[None].numpy())[0] == pytest.approx([x, y], abs=0.1)


def test_forms_of_stamps():
    """A square of 20 pixels: half as wide; or its upper half moved to the right, its lower half to the left."""
    mask, black = torch.ones(1, 32, 32), torch.zeros(1, 3, 48, 48)
    place = np.array([[20., 28.]]), np.array([20.]), np.array([0.])
    image = tasks.stamp(black, mask, np.ones((1, 3)), *place, np.array([[[2., 0], [0, 1]]]))[0, 0]
    assert image.sum() == pytest.approx(20 * 10, rel=0.02)
    assert middle(image[None].numpy())[0] == pytest.approx([20, 28], abs=0.1)
    image = tasks.stamp(black, mask, np.ones((1, 3)), *place, np.array([[[1, 0.3], [0, 1]]]))[0, 0].numpy()
    assert image.sum() == pytest.approx(20 * 20, rel=0.02)
    upper = np.where(np.arange(48)[:, None] < 28, image, 0)
    assert middle(np.stack([upper, image - upper]))[:, 0] == pytest.approx([20 + 0.3 * 5, 20 - 0.3 * 5], abs=0.2)


def test_sprites_of_single_tasks_vary():
    """Forms are narrower or lower by up to a quarter, and slanted; no two are alike."""
    form = tasks.forms(np.random.default_rng(0), 500)
    assert len(np.unique(form.round(9), axis=0)) == 500
    assert np.linalg.det(form).min() >= 1 and np.linalg.det(form).max() < 1.34
    assert (abs(form[:, 0, 1]) < 0.45).all() and form[:, 0, 1].min() < -0.2 and form[:, 0, 1].max() > 0.2
    draw = tasks.single("♔", colours=np.ones((2, 1, 3)), images=torch.zeros(2, 3, 48, 48), side=(30, 30), turn=(0, 0),
                        centre=np.full((2, 1, 2), 24))
    first, second = draw(np.random.default_rng(1), np.zeros(2, int))
    assert (first - second).abs().amax() > 0.3, "the same glyph in the same place, in another form"


def test_objects_are_the_curated_set():
    """Each picture lies on one of the eight grounds of train_tiny.py, and shows up on it."""
    images = levels(examples("objects", "test", 200)[0])
    edges = np.array(list(train_tiny.BACKGROUNDS.values())) / 255  # (8, 2, 3)
    corners = images[:, [0, 47]][:, :, [0, 47]].mean(axis=2)  # (200, 2, 3), the upper and the lower edge's colour
    distance = np.abs(corners[:, None] - edges).max((2, 3))  # (200, 8)
    assert np.mean(distance.min(axis=1) < 0.02) > 0.9 and set(distance.argmin(axis=1)) == set(range(8))
    ground = edges[distance.argmin(axis=1)]
    ground = ground[:, :1] + np.linspace(0, 1, 48)[:, None] * (ground[:, 1:] - ground[:, :1])  # (200, 48, 3)
    shows = np.abs(images - ground[:, :, None]).sum(-1).max((1, 2))
    assert shows.min() > 0.25


def test_photographs_of_each_quality():
    """A fifth each: sharp; with noise of a tenth; means of five by five; of three by three pixels; levels closer together."""
    torch.manual_seed(0)
    images = (0.3 + 0.4 * torch.rand(1, 3, 48, 48)).expand(1000, -1, -1, -1)
    image = images[0].numpy()
    photographs = tasks.photograph(np.random.default_rng(0), images).numpy()
    noise = (photographs - image).std((1, 2, 3))
    fields = image.reshape(3, 16, 3, 16, 3).mean((2, 4))
    squares = fields.repeat(3, axis=1).repeat(3, axis=2)
    blurred = np.mean([image[:, 8 + y:38 + y, 8 + x:38 + x] for x in range(5) for y in range(5)], axis=0)
    centred, pales = image - image.mean(), photographs - photographs.mean((1, 2, 3), keepdims=True)
    slope = (pales * centred).mean((1, 2, 3)) / centred.var()  # how much closer together levels are
    rest = np.abs(pales - slope[:, None, None, None] * centred).max((1, 2, 3))
    kinds = {
        "sharp": noise == 0,
        "grainy": np.abs(noise - 0.1) < 0.005,
        "out of focus": np.abs(photographs[:, :, 10:40, 10:40] - blurred).max((1, 2, 3)) < 1e-5,
        "coarse": np.abs(photographs - squares).max((1, 2, 3)) < 1e-5,
        "pale": (rest < 1e-5) & (slope < 0.81) & (slope > 0.39),
    }
    assert (np.sum(list(kinds.values()), axis=0) == 1).all()
    for kind, are in kinds.items():
        assert 150 < are.sum() < 250, kind
    darkest = photographs[kinds["pale"]].min((1, 2, 3)) - 0.3 * slope[kinds["pale"]]
    assert darkest.min() > -0.01 and darkest.max() < 0.31 and np.ptp(darkest) > 0.25
    assert photographs.min() >= 0 and photographs.max() <= 1


def test_all_but_the_curated_set_and_what_is_made_of_it_are_photographs(monkeypatch):
    changed = []
    monkeypatch.setattr(tasks, "photograph", lambda rng, images: changed.append(len(images)) or images)
    for name, task in TASKS.items():
        changed.clear()
        examples(name, "test", len(task.classes))
        assert (changed == []) == (name in ("objects", "ten objects") or task.group == "shifts"), name


def test_a_class_shows_all_of_its_masks_and_no_other():
    """Masks of levels 0.1, 0.2 of class 0 and 0.5, 0.6, 0.7 of class 1, white on black: the level tells which it is."""
    kinds = [torch.full((1, 32, 32), level) for level in (0.1, 0.2, 0.5, 0.6, 0.7)]
    draw = tasks.single(torch.cat(kinds[:2]), torch.cat(kinds[2:]), colours=np.ones((200, 1, 3)),
                        images=torch.zeros(200, 3, 48, 48))
    labels = np.arange(200) % 2
    shown = [round(level, 2) for level in draw(np.random.default_rng(0), labels).amax((1, 2, 3)).tolist()]
    assert set(zip(labels.tolist(), shown)) == {(0, 0.1), (0, 0.2), (1, 0.5), (1, 0.6), (1, 0.7)}


# ---- Labels by measuring pictures ------------------------------------------------------------------------------------


def test_places_and_sizes():
    images, labels = pictures("places")
    column, row = (middle(drawn(images)) // 16).T
    assert np.mean(column + 3 * row == labels) > 0.97
    images, labels = pictures("sizes")
    wide = np.maximum(drawn(images).any(1).sum(1), drawn(images).any(2).sum(1))
    assert np.mean(np.digitize(wide, [18.5, 30]) == labels) > 0.97


def test_counts(monkeypatch):
    """Small discs instead of what has several parts; patches are counted by filling them one by one."""
    monkeypatch.setattr(tasks, "STRANGE", tasks.shape(lambda x, y: np.hypot(x, y) < 0.6))
    images, labels = pictures("counts", 40)
    for cover, label in zip(drawn(images), labels):
        patches, cover = 0, cover.copy()
        while cover.any():
            patches, todo = patches + 1, [tuple(np.argwhere(cover)[0])]
            while todo:
                y, x = todo.pop()
                if 0 <= y < 48 and 0 <= x < 48 and cover[y, x]:
                    cover[y, x] = False
                    todo += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        assert patches == label + 1


def test_colours():
    for name, split in (("colours", "test"), ("held-out pairs", "test")):
        images, labels = pictures(name, 200)
        expected = labels if name == "colours" else train_tiny.World().held_out.argmax(1)[labels]
        pixel = np.stack([np.median(image[cover], axis=0) for image, cover in zip(images, inner(drawn(images)))])
        nearest = np.abs(pixel[:, None] - PALETTE).sum(-1).argmin(1)
        assert np.mean(nearest == expected) > 0.9, name


def test_traffic_lights_and_cells_and_daylight():
    images, labels = pictures("traffic lights")
    lit = PALETTE[[list(train_tiny.COLOURS).index(name) for name in TASKS["traffic lights"].classes]]  # (3, 3)
    near = (np.abs(images[:, :, :, None] - lit).sum(-1) < 0.25).any(-1) & drawn(images)
    where = np.digitize(middle(near)[:, 1], [18, 30])
    assert np.mean(where == labels) > 0.95, "red above, green below"
    images, labels = pictures("cells")
    assert np.mean((images[:, 22:26, 22:26].mean((1, 2, 3)) < 0.45) == labels) > 0.95
    images, labels = pictures("daylight")
    assert np.mean((np.median(images, axis=(1, 2)).mean(-1) < 0.4) == labels) == 1


def test_relations_and_binding():
    """A circle is larger than a star; red is more red than blue."""
    images, labels = pictures("relations")
    cover = drawn(images)
    left, upper = cover[:, :, :24].sum((1, 2)), cover[:, :24].sum((1, 2))
    right, lower = cover[:, :, 24:].sum((1, 2)), cover[:, 24:].sum((1, 2))
    beside = abs(left - right) > abs(upper - lower)
    got = np.where(beside, np.where(left < right, 0, 1), np.where(upper < lower, 2, 3))
    assert np.mean(got == labels) > 0.95
    images, labels = pictures("binding")
    redness = (images[..., 0] - images[..., 2]) * drawn(images)
    assert np.mean((redness[:, :, :24].sum((1, 2)) < redness[:, :, 24:].sum((1, 2))) == labels) == 1


def test_stripes_and_shifts():
    images, labels = pictures("textures")
    along, down = images.std(2).mean((1, 2)), images.std(1).mean((1, 2))
    assert (along[labels == 0] < 0.02).all() and (down[labels == 1] < 0.02).all()
    assert (down[labels == 0] > 0.05).all() and (along[labels == 1] > 0.05).all()
    grey, coarse = pictures("grey")[0], pictures("low resolution")[0]
    assert np.ptp(grey, axis=-1).max() < 1e-5
    assert np.ptp(coarse.reshape(-1, 12, 4, 12, 4, 3), axis=(2, 4)).max() < 1e-5


def test_a_wrong_word_is_never_the_right_one(monkeypatch):
    told = []
    monkeypatch.setattr(tasks, "titled", lambda rng, shown, titles: told.append((shown, titles)))
    rng, labels = np.random.default_rng(0), np.arange(1000) % 10
    tasks.attacked(rng, labels)
    shown, titles = told[0]
    assert (shown == labels).all() and (titles != shown).all() and len(set(zip(shown, titles))) == 90
    tasks.agreeing(rng, labels % 2)
    shown, titles = told[1]
    assert ((titles == shown) == labels % 2).all() and set(titles) == set(shown) == set(range(10))


def test_contact_sheet_shows_each_task():
    axes = tasks.sheet().axes
    assert sorted(axis.get_title(loc="left").split(" (")[0] for axis in axes if axis.images) == sorted(TASKS)
