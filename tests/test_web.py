"""The web: its frequencies, that captions tell what is drawn, and that what is kept out for evaluation is kept out."""
import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.ft2font import FT2Font

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import tasks
import web
from clip_minimal import CLIP, CONFIGS, load
from tasks import TASKS
from train_tiny import BACKGROUNDS, COLOURS, FONT, OBJECTS, RELATIONS
from web import NAMES, Web

SEEN = []  # (font, text) of all that is rendered for the masks


@pytest.fixture(scope="module")
def stream():
    """The stream; what its masks are rendered from is noted in SEEN."""
    render = web.render

    def recorded(texts, font=FONT):
        SEEN.extend((Path(font).name, text) for text in texts)
        return render(texts, font=font)

    web.draw_masks.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "render", recorded)
        return Web()


@pytest.fixture(scope="module")
def drawn(stream):
    """Six thousand training scenes and their captions."""
    scenes = stream.scenes(stream.rng(0, 9), 6000)
    stream.mirror(scenes)
    return scenes, stream.captions(scenes, stream.rng(0, 10))


def shown(scenes):
    """Which sprites are drawn that are things in a colour of their own, (n, 6): none of textures and flags."""
    return (np.arange(web.SPRITES) < scenes["count"][:, None]) & (scenes["kind"] < web.TEXTURE)[:, None]


# ---- What is kept out ------------------------------------------------------------------------------------------------


def test_held_out_pairs_are_neither_drawn_nor_told(stream, drawn):
    scenes, captions = drawn
    pairs = scenes["object"][shown(scenes)], scenes["colour"][shown(scenes)]
    assert not stream.held_out[pairs].any()
    assert len(set(pairs[1])) == 12, "each colour is seen"
    # in words, where a name is not the beginning of another one's, nor that of two things
    alone = [i for i, name in enumerate(NAMES) if name not in web.HOMONYMS
             and sum(f" {name} " in f" {other} " for names in web.NAMES_OF for other in names) == 1]
    assert len(alone) > 300
    told = " | ".join(captions)
    for thing in alone:
        colour = list(COLOURS)[stream.held_out[thing].argmax()]
        assert not re.search(rf"\b{colour} {re.escape(NAMES[thing])}(?!\w)", told), NAMES[thing]
    # the same pairs as the tasks'
    for label in TASKS["held-out pairs"].classes:
        colour, name = label.split(" ", 2)[1:]
        assert stream.held_out[NAMES.index(name), list(COLOURS).index(colour)], label
    assert (stream.held_out.sum(axis=1) == 1).all()


def test_evaluation_shows_held_out_pairs_only(stream):
    scenes = stream.scenes(stream.rng(1), 2000, held_out=True)
    assert stream.held_out[scenes["object"][shown(scenes)], scenes["colour"][shown(scenes)]].all()
    frequency = np.bincount(scenes["object"][:, 0][scenes["kind"] == web.SINGLE], minlength=len(NAMES))
    assert frequency.max() < 12, "all things are as common"


def test_fonts_of_the_tasks_are_not_used(stream):
    """Neither by name nor in what is drawn: the tasks' "another font" draws no thing as this stream does."""
    assert len(SEEN) > 1000
    for font, _ in SEEN:
        assert not font.startswith(web.KEPT_OUT_FONTS), font
    for path in (tasks.MONO, tasks.SERIF):
        assert path.name.startswith(web.KEPT_OUT_FONTS)
    of_tasks = tasks.OTHERS[tasks.OTHER_AT]  # (83, 32, 32)
    for name, mask in zip(np.array(tasks.NAMES)[tasks.OTHER_AT], of_tasks):
        numbers = np.concatenate([stream.usual[NAMES.index(name)], stream.others[NAMES.index(name)]])
        own = stream.masks[numbers[numbers >= 0]]
        assert (own - mask).abs().mean((1, 2)).min() > 0.015, name


def test_the_control_style_is_none_of_the_styles(drawn):
    scenes, captions = drawn
    assert web.CONTROL in TASKS and web.CONTROL not in web.STYLES
    assert set(scenes["style"]) == set(range(len(web.STYLES)))
    assert not re.search(r"\b(occlu\w*|bar|bars|covered|hidden)\b", " ".join(captions))


def test_grounds_are_none_of_the_tasks(stream):
    """The tasks' grounds depend on the height alone; none of these does, and none is one of train_tiny.py's."""
    grounds = stream.grounds
    assert grounds.std(dim=3).mean((1, 2)).min() > 0.004
    down = torch.linspace(0, 1, 48)[:, None]
    for upper, lower in torch.tensor(list(BACKGROUNDS.values())) / 255:
        flat = torch.lerp(upper[:, None, None], lower[:, None, None], down)  # (3, 48, 1)
        assert (grounds - flat).abs().mean((1, 2, 3)).min() > 0.01


def test_layouts_are_none_of_the_tasks(drawn):
    """Sizes and places in 48ths of the picture, as tasks.py has them in pixels."""
    scenes, _ = drawn
    kind, side, centre = scenes["kind"], scenes["side"], scenes["centre"]
    assert side[kind == web.PLACED].max() < 16, "places: 16 to 20"
    assert side[kind == web.COUNTED].max() < 13, "counts: 13 to 15"
    assert side[kind == web.RELATED].max() < 18, "relations and binding: 18 to 22"
    assert side[kind == web.PAIRED].max() < 21, "two objects: 21 to 24"
    labelled = centre[kind == web.LABELLED]
    assert (labelled[:, 1, 1] - labelled[:, 0, 1]).min() > 15, "titles lie across the middle of a thing"


def test_captions_tell_nothing_of_the_silent_tasks(stream):
    counts = web.word_counts(stream.texts())
    assert len(web.SILENT) >= 8
    for name in web.SILENT:
        assert not any(web.occurrences(TASKS[name].classes, TASKS[name].templates, counts)), name
        if name not in ("clock hours", "star points"):  # whose names are mere numbers
            assert not any(web.occurrences(TASKS[name].classes, ["{}"], counts)), name
    for name in ("objects", "animals", "colours", "places", "relations", "zodiac", "letters", "flags", "textures"):
        assert all(web.occurrences(TASKS[name].classes, TASKS[name].templates, counts)), f"{name} are told of"


# ---- What there is ---------------------------------------------------------------------------------------------------


def test_things_have_their_characters(stream):
    assert len(NAMES) >= 400 and set(OBJECTS) <= set(NAMES)
    known = {}
    for font, text in SEEN:
        if font not in known:
            known[font] = FT2Font(str(FONT.with_name(font))).get_charmap()
        assert all(ord(character) in known[font] for character in text), f"{font} has no {text}"
    # no two look alike, other than a die and its faces
    first = torch.stack([stream.masks[numbers[0]] for numbers in stream.usual]).flatten(1)
    distance = torch.cdist(first, first) + 99 * torch.eye(len(first))
    distance[NAMES.index("die")] = 99
    distance[:, NAMES.index("die")] = 99
    i, j = divmod(distance.argmin().item(), len(first))
    assert distance.min() > 1.5, f"{NAMES[i]} looks like {NAMES[j]}"


@pytest.mark.parametrize("exponent", [1, 0])
def test_frequencies(stream, exponent):
    """Pearson's statistic of 100,000 draws against 1 / n ** exponent is within five standard deviations of its mean."""
    stream.exponent = exponent
    things = stream.zipf(np.random.default_rng(0), len(NAMES), 100_000)
    stream.exponent = 1.0
    weights = np.array([1 / n ** exponent for n in range(1, len(NAMES) + 1)])
    expected = 100_000 * weights / weights.sum()
    statistic = ((np.bincount(things, minlength=len(NAMES)) - expected) ** 2 / expected).sum()
    freedom = len(NAMES) - 1
    assert abs(statistic - freedom) < 5 * np.sqrt(2 * freedom)


def test_scenes_have_these_frequencies(stream):
    """The commonest twenty, in single scenes, each within five standard deviations."""
    things = stream.scenes(stream.rng(0, 11), 8000, "single")["object"][:, 0]
    weights = 1 / np.arange(1, len(NAMES) + 1)
    for n in range(20):
        p = weights[n] / weights.sum()
        assert abs((things == n).mean() - p) < 5 * np.sqrt(p * (1 - p) / 8000), NAMES[n]


def test_ranks_by_hand():
    table = {"first": "abcde", "second": "fgh"}
    assert [name for _, name in web.ranked(table)] == list("abfcdgeh"), "1, 2, 2, 3, 4, 4, 5 and 6"


def test_homonyms(drawn):
    scenes, captions = drawn
    assert len(web.HOMONYMS) >= 8
    assert {"club", "mouse", "king", "note", "cross", "diamond", "star"} <= set(web.HOMONYMS)
    told = []
    for caption in np.array(captions)[scenes["kind"] == web.SINGLE]:
        found = re.search(r"\b(star|mouse|arrow)\b(?!\"| pointing| of)(, (a shape|a character|an animal|"
                          "an everyday thing|a sign of direction|a weapon))?", caption)
        if found:
            told.append(found[2] is not None)
    assert 0.35 < np.mean(told) < 0.65, "half of the captions tell which is meant"
    clubs = [i for i, name in enumerate(NAMES) if name == "club"]
    assert [web.typed(i) for i in clubs] == ["a club, a card suit", "a club, a weapon"]
    assert web.typed(NAMES.index("cow")) == "a cow"


def test_styles_are_in_four_of_ten_pictures_and_told_half_of_the_time(drawn):
    scenes, captions = drawn
    styled = scenes["style"] != web.USUAL
    assert abs(styled.mean() - 0.4) < 5 * np.sqrt(0.24 / len(styled))
    sentences = [style.replace("{}", ".*") for style in list(web.STYLES.values())[1:]]
    told = np.array([re.search("|".join(sentences), caption) is not None for caption in captions])
    assert not told[~styled].any() and abs(told[styled].mean() - 0.5) < 0.05


def test_mirrored_scenes_are_rivals(stream, monkeypatch):
    """Most related scenes of a batch are there twice, with their things in each other's place."""
    batches = []
    monkeypatch.setattr(stream, "draw", lambda scenes: batches.append(scenes) or torch.zeros(1, 3, 1, 1))
    stream.batch(0, 4000)
    scenes = batches[0]
    related = scenes["kind"] == web.RELATED
    pairs = {}
    for i in np.nonzero(related)[0]:
        pairs.setdefault((*scenes["mask"][i, :2], *scenes["colour"][i, :2], scenes["ground"][i]), set()).add(
            scenes["relation"][i])
    mirrored = [relations for relations in pairs.values() if len(relations) > 1]
    assert len(mirrored) > 0.9 * related.sum() / 2
    assert all(relation ^ 1 in relations for relations in mirrored for relation in relations)


@pytest.mark.parametrize("held_out", [False, True])
def test_colours_show_on_their_grounds(stream, held_out):
    """There is always a ground that suits both things; flags may lie on any."""
    scenes = stream.scenes(stream.rng(0, 14), 3000, held_out=held_out)
    not_flag = scenes["kind"] != web.FLAG
    sprites = np.arange(web.SPRITES) < scenes["count"].clip(min=1)[:, None]  # a texture has the first one's colour
    shows = stream.shows[scenes["colour"], scenes["ground"][:, None]]
    assert shows[sprites & not_flag[:, None]].all()


# ---- Captions and pictures -------------------------------------------------------------------------------------------


def scene(kind, things, colours=(), **others):
    """A scene as caption_of takes it: things and colours by name, no name for its ground."""
    return {"kind": list(web.KINDS).index(kind), "ground": len(web.GROUNDS) * web.VARIANTS, "style": web.USUAL,
            "size": 1, "place": 0, "relation": 0, "count": 1, "design": 0,
            "object": [NAMES.index(name) for name in things],
            "colour": [list(COLOURS).index(colour) for colour in colours], **others}


def test_captions_by_hand():
    """With chances of 0.9 a caption has no beginning, and the first of several names is said where they are 0."""
    everything = {key: 1 for key in web.MENTIONS} | {"bare": 0, "category": 0}
    nothing = {key: 0 for key in web.MENTIONS}
    on_paper = {"ground": list(web.GROUNDS).index("on paper") * web.VARIANTS}
    two = ["red", "orange"]
    expected = [
        (scene("single", ["cow", "cat"], two, size=2, **on_paper), "a large red cow on paper", "a cow"),
        (scene("single", ["arrow", "cat"], two), "a red arrow, a sign of direction", "an arrow"),
        (scene("single", ['letter "E"', "cat"], ["orange", "red"]), 'an orange letter "E"', 'the letter "E"'),
        (scene("single", ["king of hearts", "cat"], two), "a red king of hearts", "the king of hearts"),
        (scene("single", ["umbrella", "cat"], two, style=web.OUTLINE), "an outline of a red umbrella", "an umbrella"),
        (scene("single", ["umbrella", "cat"], two, style=web.GREY), "a black and white picture of an umbrella",
         "an umbrella"),
        (scene("placed", ["octagon", "cat"], two, place=2), "a red octagon in the top right corner",
         "an octagon in the top right corner"),
        (scene("counted", ["arrow pointing left"] * 2, two, count=3), "three red arrows pointing left",
         "three arrows pointing left"),
        (scene("counted", ["star of David"] * 2, two, count=2, style=web.BOLD), "two red stars of David in bold",
         "two stars of David"),
        (scene("counted", ["Greek letter psi"] * 2, two, count=2), "two red Greek letters psi",
         "two Greek letters psi"),
        (scene("counted", ['number "7"'] * 2, two, count=6), 'six red numbers "7"', 'six numbers "7"'),
        (scene("related", ["sun", "anchor"], two, relation=2), "a red sun above an orange anchor",
         "a sun above an anchor"),
        (scene("paired", ["sun", "anchor"], two), "a red sun and an orange anchor", "a sun and an anchor"),
        (scene("labelled", ["sun", 'word "cat"'], two), 'a red sun with an orange word "cat"',
         'a sun with the word "cat"'),
        (scene("texture", ["sun", "cat"], two, design=list(web.TEXTURES).index("dots")), "red dots", "dots"),
        (scene("texture", ["sun", "cat"], two, design=list(web.TEXTURES).index("grid")), "a red grid", "a grid"),
        (scene("flag", ["sun", "cat"], two, design=list(web.FLAGS).index("Peru"), style=web.BLUR),
         "a blurred picture of the flag of Peru", "the flag of Peru"),
    ]
    for what, full, bare in expected:
        assert web.caption_of(what, 8 * [0.9] + [0, 0], everything) == full
        assert web.caption_of(what, 8 * [0.9] + [0, 0], nothing) == bare
    phone = scene("single", ["telephone", "cat"], two)
    assert web.caption_of(phone, 8 * [0.9] + [0.6, 0], nothing) == "a phone", "another name for the same"


def test_same_seed_and_step_same_batch(stream):
    images, captions = stream.batch(3, 24)
    stream.batch(4, 24)
    again, same = Web().batch(3, 24)
    assert images.shape == (24, 3, 48, 48) and images.dtype == torch.float32
    assert torch.equal(images, again) and captions == same
    other = Web(seed=1).batch(3, 24)
    assert not torch.equal(images, other[0]) and captions != other[1]


def test_a_scene_drawn_pixel_by_pixel(stream):
    """Two things on their ground, each pixel by bilinear interpolation in the mask and a mean of two colours."""
    scenes = stream.scenes(stream.rng(0, 12), 1, "related", style=web.USUAL)
    image = stream.draw(scenes)[0].numpy()
    expected = stream.grounds[scenes["ground"][0]].numpy().copy()
    for sprite in range(2):
        mask = np.pad(stream.masks[scenes["mask"][0, sprite]].numpy(), 1)  # zeros around it
        colour = np.array(list(COLOURS.values()))[scenes["colour"][0, sprite]] / 255 + scenes["shade"][0, sprite]
        left, top = scenes["centre"][0, sprite] - scenes["side"][0, sprite] * 16 / 30
        cell = scenes["side"][0, sprite] / 30
        for i in range(48):
            for j in range(48):
                x, y = (j + 0.5 - left) / cell + 0.5, (i + 0.5 - top) / cell + 0.5  # in cells of the padded mask
                if not (0 <= x < 33 and 0 <= y < 33):
                    continue
                a, b = int(x), int(y)
                corners = mask[b:b + 2, a:a + 2]
                alpha = np.array([1 - y + b, y - b]) @ corners @ np.array([1 - x + a, x - a])
                expected[:, i, j] += alpha * (colour - expected[:, i, j])
    assert np.abs(image - expected.clip(0, 1)).max() < 1e-4


def test_styles_change_pictures_as_they_say(stream):
    scenes = stream.scenes(stream.rng(0, 13), 30, "single", style=web.USUAL)
    usual = stream.draw(scenes)

    def drawn_in(style):
        return stream.draw({**scenes, "style": np.full(30, style)})

    assert torch.allclose(drawn_in(web.INVERTED), 1 - usual, atol=1e-6)
    pixels = drawn_in(web.PIXELS).unflatten(3, (16, 3)).unflatten(2, (16, 3))  # (30, 3, 16, 3, 16, 3)
    blocks = usual.unflatten(3, (16, 3)).unflatten(2, (16, 3))
    assert torch.allclose(pixels, blocks.mean((3, 5), keepdim=True), atol=1e-5)
    grey = drawn_in(web.GREY)
    assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(grey[:, 0], grey[:, 2])
    assert (grey.amax((1, 2, 3)) - grey.amin((1, 2, 3)) > 0.5).all()
    # blurred three times by three pixels: weights of seven pixels in each direction
    weights = torch.tensor([1, 3, 6, 7, 6, 3, 1]) / 27
    inside = torch.nn.functional.conv2d(usual.flatten(0, 1)[:, None], (weights[:, None] * weights)[None, None])
    assert torch.allclose(drawn_in(web.BLUR)[:, :, 3:-3, 3:-3], inside[:, 0].unflatten(0, (30, 3)), atol=1e-5)
    middle = (usual > 0.3) & (usual < 0.7)
    assert (drawn_in(web.GRAIN) - usual)[middle].std() == pytest.approx(0.08, rel=0.05)
    # what is changed on the masks: the middle of a square, its edge, and its width
    for key in ("object", "mask"):
        scenes[key] = np.zeros_like(scenes[key]) + NAMES.index("square")
    scenes["mask"][:] = stream.usual[NAMES.index("square"), 0]
    area = {style: stream.restyled({**scenes, "style": np.full(30, style)}, np.arange(30), 0).sum((1, 2)).mean().item()
            for style in (web.USUAL, web.OUTLINE, web.BOLD, web.ITALICS, web.TURNED)}
    assert area[web.OUTLINE] < 0.35 * area[web.USUAL] < area[web.BOLD] * 0.35
    for style in (web.ITALICS, web.TURNED):
        assert area[style] == pytest.approx(area[web.USUAL] / 1.3 ** 2, rel=0.02)


# ---- Words, and the program ------------------------------------------------------------------------------------------


def test_word_counts_against_a_slow_count(drawn):
    captions = drawn[1][:500]
    counts = web.word_counts(captions)
    for word in ("sun", "of", "a", "the", "Leo", "cat", "E", "7", "clock"):
        slow = 0
        for caption in captions:
            words = "".join(c if c.isalnum() or c in "'-_" else " " for c in caption).split()
            slow += word in words
        assert counts[word] == slow, word


def test_occurrences_by_hand():
    counts = web.word_counts(["one sun", "a red sun", "a red star above a sun", 'the word "red"'])
    assert web.occurrences(["a red sun", "a star", "a moon"], ["{}"], counts) == [2, 1, 0], "of the rarest word"
    assert web.occurrences(["one"], ["{}", "{} thing"], counts) == [1]
    assert web.occurrences(["one"], ["{} o'clock", "a clock showing {} o'clock"], counts) == [0]


def test_evaluation_of_a_model_that_knows_nothing(stream):
    """Every result is a share, with the chance of a guess."""
    tokenizer = web.Tokenizer.train(["a sun", "a red star"], 600)
    torch.manual_seed(0)
    small = web.replace(CONFIGS["tiny-RN"], vision_width=4, embed_dim=64, transformer_width=64, transformer_layers=1)
    model = CLIP(web.replace(small, vocab_size=len(tokenizer.vocab), context_length=77)).eval()
    results = stream.evaluate(model, tokenizer, 20)
    chances = {"things": 1 / len(NAMES), "colours": 1 / 12, "grounds": 1 / len(web.GROUNDS),
               "styles": 1 / 10, "flags": 1 / len(web.FLAGS), "textures": 1 / len(web.TEXTURES),
               "counts": 1 / 6, "places": 1 / 9, "relations": 1 / len(RELATIONS)}
    assert all(0 <= value <= 1 for value, _ in results.values())
    for name, chance in chances.items():
        assert results[name][1] == pytest.approx(chance), name


def test_the_program_trains_and_replaces_nothing(tmp_path, monkeypatch, capsys, stream):
    monkeypatch.setattr(web, "TASKS", {name: TASKS[name] for name in ("card suits", "cells")})
    monkeypatch.setattr(Web, "evaluate", lambda self, model, tokenizer, n=0: {"things": (0.5, 0.1)})
    monkeypatch.setattr(Web, "texts", lambda self: 50 * ["a red sun", "a spade", "a heart", "a diamond", "a club"])
    monkeypatch.setattr(web, "CONFIGS", {"tiny-RN": web.replace(CONFIGS["tiny-RN"], vision_width=4, context_length=77)})
    argv = ["--steps", "2", "--batch-size", "8", "--device", "cpu", "--out", str(tmp_path)]
    assert web.main(argv) == 0
    with open(tmp_path / "tasks.csv", encoding="utf-8") as file:
        rows = {row["task"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["card suits", "cells"]
    assert float(rows["card suits"]["words"]) == 50 and float(rows["cells"]["words"]) == 0
    assert 0 <= float(rows["cells"]["zero-shot"]) <= 1 and float(rows["card suits"]["chance"]) == 0.25
    assert load(tmp_path / "clip.pt")[0].config.vision_width == 4
    # a run with other settings, and a table of the user's own, stay as they are
    before = (tmp_path / "clip.pt").read_bytes()
    assert web.main([*argv, "--seed", "1"]) == 2 and "--force" in capsys.readouterr().err
    own = tmp_path / "own"
    own.mkdir()
    (own / "tasks.csv").write_text("mine")
    assert web.main([*argv[:-1], str(own)]) == 2
    assert (tmp_path / "clip.pt").read_bytes() == before and (own / "tasks.csv").read_text() == "mine"


def test_a_stopped_run_goes_on_and_leaves_its_model_to_the_experiments(tmp_path, monkeypatch, capsys):
    """What is stopped after the first state ends, by --resume, with the weights of a run that was not stopped."""
    monkeypatch.setattr(web, "TASKS", {})
    monkeypatch.setattr(web, "zero_shot_table", lambda *arguments: [{"task": "none"}])
    monkeypatch.setattr(web, "print_tasks", lambda *arguments: None)
    monkeypatch.setattr(web, "FOR_EXPERIMENTS", tmp_path / "kept")
    monkeypatch.setattr(Web, "evaluate", lambda self, model, tokenizer, n=0: {"things": (0.5, 0.1)})
    monkeypatch.setattr(Web, "texts", lambda self: 50 * ["a red sun", "a spade"])
    monkeypatch.setattr(Web, "batch", lambda self, step, n: (
        torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(step)), ["a red sun", "a spade"]))
    monkeypatch.setattr(web, "CONFIGS", {"tiny-RN": web.replace(CONFIGS["tiny-RN"], vision_width=4, context_length=77)})
    whole = web.train

    def stopped(*arguments, state, keep):
        def keep_and_stop(latest):
            keep(latest)
            raise KeyboardInterrupt
        whole(*arguments, every=2, state=state, keep=keep_and_stop)

    def argv(name, *more):
        return ["--steps", "4", "--device", "cpu", "--out", str(tmp_path / name), *more]

    monkeypatch.setattr(web, "train", lambda *arguments, **options: whole(*arguments, every=2, **options))
    assert web.main(argv("a")) == 0
    monkeypatch.setattr(web, "train", stopped)
    assert web.main(argv("b")) == 130
    monkeypatch.setattr(web, "train", whole)
    assert web.main(argv("b", "--resume", "--seed", "1")) == 2 and "'seed': 0" in capsys.readouterr().err
    assert web.main(argv("b", "--resume")) == 0
    kept = web.model_path(tmp_path / "kept", 4, 0)
    weights = [load(path)[0].state_dict() for path in (tmp_path / "a/clip.pt", tmp_path / "b/clip.pt", kept)]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]) and torch.equal(value, weights[2][name]), name


def test_show_draws_a_contact_sheet(tmp_path, stream):
    assert web.main(["--show", "--device", "cpu", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "show.png").stat().st_size > 100_000
