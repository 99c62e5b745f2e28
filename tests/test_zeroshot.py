"""Classifiers from text, their numbers, and the command line that people call."""
import json
import math
import os
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

import zeroshot
from clip_minimal import CLIP, CLIPConfig, Tokenizer, normalize, save

TEXTS = ["a red cat", "a blue dog", "a green house on a hill", "a picture of a dog"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return CLIP(CLIPConfig(16, 32, 1, 64, 16, 64, 1, 24, len(tokens().vocab))).eval()


def tokens():
    return Tokenizer.train(TEXTS, 540)


@pytest.fixture(scope="module")
def checkpoint(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "clip.pt"
    save(path, model, tokens())
    return str(path)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(40, 50, 3), dtype=np.uint8)).save(path)
    return str(path)


def unit(vector):
    return vector / vector.norm()


# ---- Functions -------------------------------------------------------------------------------------------------------


def test_classifier_is_the_mean_of_unit_features_over_templates(model):
    """Section 3.1.4 one text at a time: normalise, mean over templates, normalise again; a column for each class."""
    classes, templates = ["cat", "dog", "house {}"], ["a {}", "a picture of a {}", "{}"]
    weights = zeroshot.zero_shot_classifier(model, tokens(), classes, templates)
    assert weights.shape == (16, 3)
    for name, column in zip(classes, weights.T):
        features = [unit(model.encode_text(tokens()(template.replace("{}", name, 1), 24))[0]) for template in templates]
        assert torch.allclose(column, unit(sum(features)), atol=1e-5)


def test_template_without_a_place_for_the_label_is_refused(model):
    with pytest.raises(ValueError, match="'a photo' has no {}"):
        zeroshot.zero_shot_classifier(model, tokens(), ["cat"], ["a photo"])


def test_classify_by_hand(model):
    """Cosines 0.6 and 0.8 at a scale of 10: probabilities 1 / (1 + e^2) and the rest."""
    features, weights = torch.tensor([[0.6, 0.8]]), torch.eye(2)
    scale = model.logit_scale.detach().clone()
    model.logit_scale.data.fill_(math.log(10))
    probabilities = zeroshot.classify(model, features, weights)
    model.logit_scale.data.copy_(scale)
    assert torch.allclose(probabilities, torch.tensor([[1 / (1 + math.e ** 2), 1 / (1 + math.e ** -2)]]))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_features_do_not_depend_on_batches_or_padding(model, batch_size):
    """Each text alone and padded to the context, each image alone, against batches cut at their longest text."""
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    texts = zeroshot.encode_texts(model, tokens(), TEXTS, batch_size=batch_size)
    pixels = zeroshot.encode_images(model, images, batch_size=batch_size)
    for text, feature in zip(TEXTS, texts):
        assert torch.allclose(feature, unit(model.encode_text(tokens()(text, 24))[0]), atol=1e-5)
    for image, feature in zip(images, pixels):
        assert torch.allclose(feature, unit(model.encode_image(image[None])[0]), atol=1e-5)
    assert not texts.requires_grad and not pixels.requires_grad


def test_long_text_is_refused_or_cut(model):
    with pytest.raises(ValueError, match="longer than the context of 24"):
        zeroshot.encode_texts(model, tokens(), ["a cat " * 30])
    assert torch.isfinite(zeroshot.encode_texts(model, tokens(), ["a cat " * 30], truncate=True)).all()


def test_accuracy_by_hand():
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert zeroshot.accuracy(scores, torch.tensor([1, 0, 0, 0])) == 0.75


def test_retrieval_by_hand():
    """Three images, four texts; the first image has two. Ranks are read off the cosines written here."""
    images = torch.eye(3)
    cosines = torch.tensor([[0.9, 0.2, 0.5, 0.1], [0.3, 0.1, 0.4, 0.9], [0.3, 0.7, 0.6, 0.2]])
    fits = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).bool()
    results = zeroshot.retrieval(images, cosines.T, fits, ks=[1, 2, 3])
    assert {name: round(value, 6) for name, (value, _) in results.items()} == {
        "image to text R@1": round(1 / 3, 6),  # image 0 finds text 0; 1 finds 3 before 2; 2 finds 1, 2, 0 before 3
        "image to text R@2": round(2 / 3, 6), "image to text R@3": round(2 / 3, 6),
        "text to image R@1": round(1 / 4, 6),  # text 0 finds image 0; 1 finds 2 before 0; 2 finds 2, 0; 3 finds 1, 2
        "text to image R@2": round(3 / 4, 6)}


def test_retrieval_chance_is_the_share_of_lucky_draws():
    """Against every way of drawing k of the items."""
    fits = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [1, 1, 0, 1, 1]]).bool()
    results = zeroshot.retrieval(torch.randn(3, 4), torch.randn(5, 4), fits, ks=[1, 2, 3])
    for k in (1, 2, 3):
        draws = [any(row[i] for i in draw) for row in fits.tolist() for draw in combinations(range(5), k)]
        assert results[f"image to text R@{k}"][1] == pytest.approx(np.mean(draws))


# ---- Command line ----------------------------------------------------------------------------------------------------


def test_probabilities_are_printed_in_order(model, checkpoint, picture, capsys):
    assert zeroshot.main([picture, "--labels", "a cat", "a dog", "a house", "--weights", checkpoint]) == 0
    name, *lines = capsys.readouterr().out.splitlines()
    assert name == picture
    weights = zeroshot.zero_shot_classifier(model, tokens(), ["a cat", "a dog", "a house"])
    pixels = zeroshot.preprocess(zeroshot.open_image(picture), 32)[None]
    expected = zeroshot.classify(model, zeroshot.encode_images(model, pixels), weights)[0]
    order = expected.argsort(descending=True)
    assert lines == [f"  {expected[i]:6.1%}  {['a cat', 'a dog', 'a house'][i]}" for i in order]


def test_json_is_for_machines(checkpoint, picture, tmp_path, capsys):
    templates = tmp_path / "templates.txt"
    templates.write_text("a {}\n\na picture of a {}\n")
    argv = [picture, picture, "--labels", "cat", "dog", "--weights", checkpoint, "--templates", str(templates)]
    assert zeroshot.main([*argv, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first == second and first["image"] == picture and list(first["probabilities"]) == ["cat", "dog"]
    assert sum(first["probabilities"].values()) == pytest.approx(1)


def test_plot_draws_a_picture(checkpoint, picture, tmp_path, capsys):
    out = tmp_path / "plot.png"
    argv = [*[picture] * 4, "--labels", "a $cat_", "a dog", "--weights", checkpoint, "--plot", str(out)]
    assert zeroshot.main(argv) == 0 and str(out) in capsys.readouterr().err
    assert np.asarray(Image.open(out).convert("L")).std() > 10


@pytest.mark.parametrize("mode, suffix", [("1", "png"), ("L", "png"), ("LA", "png"), ("P", "gif"), ("RGB", "jpg"),
                                          ("RGBA", "png"), ("CMYK", "jpg"), ("I;16", "png"), ("F", "tif"),
                                          ("RGB", "webp"), ("RGB", "bmp"), ("L", "pgm")])
def test_any_picture_gets_an_answer(checkpoint, tmp_path, capsys, mode, suffix):
    for size in ((1, 1), (3, 500), (640, 9)):
        path = tmp_path / f"picture.{suffix}"
        Image.new(mode, size).save(path)
        assert zeroshot.main([str(path), "--labels", "a cat", "a dog", "--weights", checkpoint]) == 0
        assert "%" in capsys.readouterr().out


def test_bad_pictures_are_reported_and_the_others_classified(checkpoint, picture, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    argv = [str(tmp_path / "gone.png"), picture, str(tmp_path / "text.png"), "--labels", "cat", "--weights", checkpoint]
    assert zeroshot.main(argv) == 2
    out, err = capsys.readouterr()
    assert out.startswith(picture) and len(err.splitlines()) == 2
    assert "gone.png: no such file" in err and "text.png: not a readable picture" in err


@pytest.mark.parametrize("argv, message", [
    (["--weights", "gone.pt"], "gone.pt: no such checkpoint; `python train_tiny.py` makes one"),
    (["--templates", "gone.txt"], "gone.txt"),
    (["--templates", os.devnull], "at least one label and one template"),
    (["--device", "warp"], "device 'warp'"),
    (["--device", "meta:warp"], "device 'meta:warp'"),
])
def test_one_line_says_what_is_wrong(checkpoint, picture, capsys, argv, message):
    assert zeroshot.main([picture, "--labels", "cat", "--weights", checkpoint, *argv]) == 2
    assert message in capsys.readouterr().err.removesuffix("\n").splitlines()[-1]


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as exit:
        zeroshot.main(["--help"])
    assert exit.value.code == 0 and capsys.readouterr().out.count("python zeroshot.py ") == 3


def test_figures_show_what_they_are_given(model):
    """The sheet holds the pictures; the similarity figure holds the cosines, true pairs on its diagonal."""
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    levels = zeroshot.levels(images)
    sheet = zeroshot.draw_sheet(levels, TEXTS)
    assert [axis.get_title() for axis in sheet.axes] == TEXTS
    assert all(np.allclose(axis.images[0].get_array(), level) for axis, level in zip(sheet.axes, levels))
    figure = zeroshot.draw_similarity(model, tokens(), images, TEXTS)
    cosines = zeroshot.encode_texts(model, tokens(), TEXTS) @ zeroshot.encode_images(model, images).T
    assert np.allclose(figure.axes[0].images[0].get_array(), cosines.numpy(), atol=1e-6)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == TEXTS


def test_levels_undo_normalize():
    pixels = torch.rand(2, 3, 5, 5)
    assert np.allclose(zeroshot.levels(normalize(pixels)), pixels.permute(0, 2, 3, 1), atol=1e-6)
