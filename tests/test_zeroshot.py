"""Classifiers from text, their numbers, and the command line that people call."""
import json
import math
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import train_tiny
import zeroshot
from clip_minimal import CLIP, CLIPConfig, Tokenizer, load, normalize, save
from tutorial.extras import pictures
from tutorial.extras.convert import save_hugging_face

TEXTS = ["a red cat", "a blue dog", "a green house on a hill", "a picture of a dog"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return CLIP(CLIPConfig(16, 32, 1, 64, 16, 64, 1, 40, len(tokens().vocab))).eval()


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
        features = [unit(model.encode_text(tokens()(template.replace("{}", name, 1), 40))[0]) for template in templates]
        assert torch.allclose(column, unit(sum(features)), atol=1e-5)


def test_many_labels_are_encoded_in_batches_with_progress(model, capsys):
    """The weights of 5,000 labels are those of a few: they do not depend on the batch that a label falls into."""
    names = [f"cat {i}" for i in range(5000)]
    weights = zeroshot.zero_shot_classifier(model, tokens(), names)
    picked = [0, 4095, 4096, 4999]
    few = zeroshot.zero_shot_classifier(model, tokens(), [names[i] for i in picked])
    assert weights.shape == (16, 5000) and torch.allclose(weights[:, picked], few, atol=1e-5)
    assert capsys.readouterr().err.endswith("\r5,000 of 5,000 texts encoded\n")


def test_named_templates():
    """Section 3.1.4: one sentence, and an ensemble of eighty different ones with one place for the label each."""
    assert zeroshot.TEMPLATES["photo"] == ["a photo of a {}."]
    ensemble = zeroshot.TEMPLATES["ensemble"]
    assert len(ensemble) == len(set(ensemble)) == 80
    for template in ensemble:
        assert template.count("{}") == 1 and "  " not in template
        assert template.startswith("a ") and template.endswith(".")


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


@pytest.mark.parametrize("size", [1, 3, 20, 512])
def test_features_do_not_depend_on_batches_padding_or_common_beginnings(model, size):
    """Each text alone and padded to the context, each image alone, against batches of many; among the texts are equal
    ones, beginnings of others, and some that have the same token behind different ones."""
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    several = [*TEXTS, *TEXTS[:2], TEXTS[0] + " " + TEXTS[1], TEXTS[0] + " " + TEXTS[0], TEXTS[1][:3], ""]
    several += ["cat dog", "dog dog", "cat cat", "dog cat"]
    texts = zeroshot.encode_texts(model, tokens(), several, batch_size=size)
    pixels = zeroshot.encode_images(model, images, batch_size=size)
    for text, feature in zip(several, texts, strict=True):
        assert torch.allclose(feature, unit(model.encode_text(tokens()(text, 40))[0]), atol=1e-5)
    for image, feature in zip(images, pixels):
        assert torch.allclose(feature, unit(model.encode_image(image[None])[0]), atol=1e-5)
    assert not texts.requires_grad and not pixels.requires_grad


def test_long_text_is_refused_or_cut(model):
    with pytest.raises(ValueError, match="longer than the context of 40"):
        zeroshot.encode_texts(model, tokens(), ["a cat " * 30])
    assert torch.isfinite(zeroshot.encode_texts(model, tokens(), ["a cat " * 30], truncate=True)).all()


def test_no_texts_have_no_features(model):
    """As the tokenizer gives no rows for them."""
    features = zeroshot.encode_texts(model, tokens(), [])
    assert features.shape == (0, 16) and features.dtype == torch.float32


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
    assert zeroshot.main([picture, "--labels", "a cat", "a dog", "a house", "--model", checkpoint]) == 0
    name, *lines = capsys.readouterr().out.splitlines()
    assert name == picture
    weights = zeroshot.zero_shot_classifier(model, tokens(), ["a cat", "a dog", "a house"])
    pixels = zeroshot.preprocess(pictures.open_image(picture), 32)[None]
    expected = zeroshot.classify(model, zeroshot.encode_images(model, pixels), weights)[0]
    order = expected.argsort(descending=True)
    assert lines == [f"  {expected[i]:6.1%}  {['a cat', 'a dog', 'a house'][i]}" for i in order]


def test_json_is_for_machines(checkpoint, picture, tmp_path, capsys):
    templates = tmp_path / "templates.txt"
    templates.write_text("a {}\n\na picture of a {}\n")
    argv = [picture, picture, "--labels", "cat", "dog", "--model", checkpoint, "--templates", str(templates)]
    assert zeroshot.main([*argv, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["image"] == second["image"] == picture and list(first["probabilities"]) == ["cat", "dog"]
    assert second["probabilities"] == pytest.approx(first["probabilities"])
    assert sum(first["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("name", ["photo", "ensemble"])
def test_templates_by_name(model, checkpoint, picture, capsys, name):
    assert zeroshot.main([picture, "--labels", "cat", "dog", "--model", checkpoint, "--templates", name, "--json"]) == 0
    weights = zeroshot.zero_shot_classifier(model, tokens(), ["cat", "dog"], zeroshot.TEMPLATES[name])
    pixels = zeroshot.preprocess(pictures.open_image(picture), 32)[None]
    expected = zeroshot.classify(model, zeroshot.encode_images(model, pixels), weights)[0].tolist()
    got = json.loads(capsys.readouterr().out)[0]["probabilities"]
    assert list(got) == ["cat", "dog"] and list(got.values()) == pytest.approx(expected, abs=1e-5)


def test_plot_draws_a_picture(checkpoint, picture, tmp_path, capsys):
    out = tmp_path / "plot.png"
    argv = [*[picture] * 4, "--labels", "a $cat_", "a dog", "--model", checkpoint, "--plot", str(out)]
    assert zeroshot.main(argv) == 0 and str(out) in capsys.readouterr().err
    assert np.asarray(Image.open(out).convert("L")).std() > 10


@pytest.mark.parametrize("mode, suffix", [("1", "png"), ("L", "png"), ("LA", "png"), ("P", "gif"), ("RGB", "jpg"),
                                          ("RGBA", "png"), ("CMYK", "jpg"), ("I;16", "png"), ("F", "tif"),
                                          ("RGB", "webp"), ("RGB", "bmp"), ("L", "pgm")])
def test_any_picture_gets_an_answer(checkpoint, tmp_path, capsys, mode, suffix):
    for size in ((1, 1), (3, 500), (640, 9)):
        path = tmp_path / f"picture.{suffix}"
        Image.new(mode, size).save(path)
        assert zeroshot.main([str(path), "--labels", "a cat", "a dog", "--model", checkpoint]) == 0
        shares = [float(line.split("%")[0]) for line in capsys.readouterr().out.splitlines()[1:]]
        assert len(shares) == 2 and sum(shares) == pytest.approx(100, abs=0.2)


def test_a_name_with_brackets_is_a_name_and_a_repeated_label_one_label(checkpoint, tmp_path, capsys):
    for name, colour in (("photo1.png", "red"), ("photo[1].png", "blue")):
        Image.new("RGB", (40, 40), colour).save(tmp_path / name)
    argv = [str(tmp_path / "photo[1].png"), "--labels", "cat", "cat", "dog", "--model", checkpoint, "--json"]
    assert zeroshot.main(argv) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["image"] == argv[0] and sum(answer["probabilities"].values()) == pytest.approx(1)


def test_names_that_are_no_utf8_are_shown_all_the_same(checkpoint, tmp_path, capsys):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.png")
    Image.new("RGB", (40, 40)).save(path)
    sheet = str(tmp_path / "sheet.png")
    assert zeroshot.main([path, "--labels", "cat", "--model", checkpoint, "--plot", sheet]) == 0
    assert zeroshot.main(["search", str(tmp_path), "a cat", "--model", checkpoint, "--plot", sheet]) == 0


def test_a_label_that_is_no_utf8_is_read_with_a_question_mark(checkpoint, picture, folder, tmp_path, capsys):
    """As the tokenizer reads it; a line says so, and the plot is drawn."""
    label = os.fsdecode(b"caf\xe9")
    sheet = str(tmp_path / "sheet.png")
    said = "'caf\\udce9' is not UTF-8; it is read as 'caf?'\n"
    end = f"drawn into {sheet}\n"
    assert zeroshot.main([picture, "--labels", label, "--model", checkpoint, "--plot", sheet]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == "  100.0%  caf?" and err == said + end
    assert zeroshot.main(["search", str(folder), label, "--model", checkpoint, "--plot", sheet]) == 0
    assert capsys.readouterr().err == said + end


@pytest.mark.parametrize("encoding", [
    "ascii",
    pytest.param("cp1252", marks=pytest.mark.slow),
    pytest.param("cp932", marks=pytest.mark.slow),
])
def test_neither_console_nor_backend_matters(checkpoint, tmp_path, encoding):
    """The command as a process of its own: names beyond the console's letters, and MPLBACKEND naming nothing."""
    folder = tmp_path / "Łódź ễ"
    folder.mkdir()
    Image.new("RGB", (40, 40)).save(folder / "日本.png")
    environment = os.environ | {"PYTHONIOENCODING": encoding, "MPLBACKEND": "nonsense"}
    command = [sys.executable, zeroshot.__file__, str(folder / "日本.png"), "--labels", "ễ", "--model", checkpoint]
    result = subprocess.run([*command, "--plot", str(folder / "bars.png")], capture_output=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1].startswith(b"  100.0%  ") and (folder / "bars.png").exists()
    # a training says at its end where its results are; here at its beginning, that there is no state
    command = [sys.executable, train_tiny.__file__, "--resume", "--out", str(folder)]
    result = subprocess.run(command, capture_output=True, env=environment)
    assert result.returncode == 2 and result.stderr.endswith(b"no interrupted run to go on with" + os.linesep.encode())


@pytest.mark.parametrize("program", [zeroshot, train_tiny])
def test_an_apple_gpu_hands_to_the_cpu_what_it_lacks(program, monkeypatch):
    """PyTorch asks for the variable while it is imported; what a user has set stays."""
    source = Path(program.__file__).read_text(encoding="utf-8")
    assert source.index("PYTORCH_ENABLE_MPS_FALLBACK") < source.index("\nimport torch")
    monkeypatch.setattr(sys, "argv", [program.__file__, "--help"])
    monkeypatch.setenv("MPLBACKEND", "agg")  # the program takes it away
    for before, after in (("0", "0"), (None, "1")):
        monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "0")
        if before is None:
            monkeypatch.delenv("PYTORCH_ENABLE_MPS_FALLBACK")
        with pytest.raises(SystemExit):
            runpy.run_path(program.__file__, run_name="__main__")
        assert os.environ["PYTORCH_ENABLE_MPS_FALLBACK"] == after


def test_gelu_may_be_told(checkpoint, picture, capsys):
    answers = []
    for kind in ("quick_gelu", "gelu"):
        assert zeroshot.main([picture, "--labels", "cat", "dog", "--model", checkpoint, "--json", "--gelu", kind]) == 0
        answers.append(json.loads(capsys.readouterr().out)[0]["probabilities"]["cat"])
    assert zeroshot.main([picture, "--labels", "cat", "dog", "--model", checkpoint, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["probabilities"]["cat"] == pytest.approx(answers[0])
    assert abs(answers[0] - answers[1]) > 1e-5


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A checkpoint of a ResNet whose batch norms have averages and gains that are not the initial ones."""
    torch.manual_seed(0)
    model = CLIP(CLIPConfig(16, 64, (1, 2, 1, 1), 4, None, 64, 2, 40, len(tokens().vocab))).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    path = tmp_path_factory.mktemp("resnet") / "clip.pt"
    save(path, model, tokens())
    return str(path)


def probabilities(capsys, *argv):
    """What the command line answers with these arguments -> {label: probability} for each picture."""
    labels = ["--labels", "a cat", "a red cat", "a dog", "--json"]
    assert zeroshot.main([*argv, *labels]) == 0
    return [answer["probabilities"] for answer in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize("kind", ["checkpoint", "resnet"])
def test_fast_gives_the_same_probabilities(request, picture, folder, tmp_path, capsys, kind):
    argv = [picture, str(folder / "2.png"), "--model", request.getfixturevalue(kind), "--templates", "ensemble"]
    plain, fast = probabilities(capsys, *argv), probabilities(capsys, *argv, "--fast")
    assert len(fast) == 2
    for a, b in zip(plain, fast):
        assert list(a) == list(b) and list(b.values()) == pytest.approx(list(a.values()), abs=1e-5)


@pytest.mark.parametrize("kind", ["checkpoint", "resnet"])
def test_fast_search_finds_the_same_and_knows_the_index_of_the_plain_model(
        request, folder, tmp_path, monkeypatch, capsys, kind):
    argv = ["search", str(folder), "a red cat", "--model", request.getfixturevalue(kind), "--json",
            "--plot", str(tmp_path / "sheet.png")]
    assert zeroshot.main(argv) == 0
    plain = json.loads(capsys.readouterr().out)
    encoded, real = [], zeroshot.encode_files

    def watched(model, paths, n):
        encoded.extend(paths)
        return real(model, paths, n)

    monkeypatch.setattr(zeroshot, "encode_files", watched)
    assert zeroshot.main([*argv, "--fast"]) == 0
    fast = json.loads(capsys.readouterr().out)
    assert sorted(row["image"] for row in fast) == sorted(row["image"] for row in plain) and not encoded
    assert [row["cosine"] for row in fast] == pytest.approx([row["cosine"] for row in plain], abs=1e-5)


def test_fast_makes_another_kind_of_model(checkpoint, picture, monkeypatch, capsys):
    """And without --fast it is the plain one."""
    kinds, real = [], zeroshot.zero_shot_classifier
    monkeypatch.setattr(zeroshot, "zero_shot_classifier",
                        lambda model, *rest: kinds.append(type(model).__name__) or real(model, *rest))
    probabilities(capsys, picture, "--model", checkpoint)
    probabilities(capsys, picture, "--model", checkpoint, "--fast")
    assert kinds == ["CLIP", "FastCLIP"]


@pytest.fixture(scope="module")
def foreign(checkpoint, tmp_path_factory):
    """The checkpoint as a folder of Hugging Face."""
    folder = tmp_path_factory.mktemp("hugging face")
    save_hugging_face(folder, *load(checkpoint))
    return str(folder)


@pytest.mark.parametrize("file", ["", "model.safetensors"])
def test_a_checkpoint_of_another_layout_is_converted_on_the_way(checkpoint, foreign, picture, capsys, file):
    """A folder, or the file in it; --fast and --gelu work for it too."""
    other = os.path.join(foreign, file)
    assert probabilities(capsys, picture, "--model", other) == probabilities(capsys, picture, "--model", checkpoint)
    for option in (["--gelu", "gelu"], ["--fast"]):
        got = probabilities(capsys, picture, "--model", other, *option)
        (expected,) = probabilities(capsys, picture, "--model", checkpoint, *option)
        assert got == [pytest.approx(expected, abs=1e-5)]


def test_what_no_layout_fits_is_one_line(tmp_path, picture, capsys):
    """A folder without weights, a file of something else, and a safetensors file cut short."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no checkpoint\n")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    for name in ("empty", "notes.txt", "cut.safetensors"):
        for option in ([], ["--gelu", "gelu"]):
            argv = [picture, "--labels", "cat", "--model", str(tmp_path / name), *option]
            assert zeroshot.main(argv) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith("zeroshot.py: ") and name in line and "not a checkpoint of CLIP" in line


def test_many_pictures_are_encoded_in_batches_with_progress(checkpoint, picture, monkeypatch, capsys):
    """Of 130 pictures 64 at a time are in memory; one that can't be read does not move the others' answers."""
    sizes, real = [], zeroshot.encode_images
    monkeypatch.setattr(zeroshot, "encode_images", lambda model, x: sizes.append(len(x)) or real(model, x))
    argv = [*[picture] * 70, "gone.png", *[picture] * 59, "--labels", "cat", "dog", "--model", checkpoint, "--json"]
    assert zeroshot.main(argv) == 2
    out, err = capsys.readouterr()
    answers = json.loads(out)
    assert sizes == [64, 64, 2] and len(answers) == 129
    for answer in answers:
        assert answer["probabilities"] == pytest.approx(answers[0]["probabilities"], abs=1e-5)
    assert err.endswith("\r130 of 130 pictures encoded\n") and "gone.png: no such file" in err


def test_bad_pictures_are_reported_and_the_others_classified(checkpoint, picture, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    argv = [str(tmp_path / "gone.png"), picture, str(tmp_path / "text.png"), "--labels", "cat", "--model", checkpoint]
    assert zeroshot.main(argv) == 2
    out, err = capsys.readouterr()
    assert out.startswith(picture) and len(err.splitlines()) == 2
    assert "gone.png: no such file" in err and "text.png: not a readable picture" in err


@pytest.mark.parametrize("argv, message", [
    (["--model", "gone.pt"], "gone.pt: no such checkpoint; `python train_tiny.py` makes one"),
    (["--templates", "gone.txt"], "gone.txt"),
    (["--templates", os.devnull], "at least one label and one template"),
    (["--device", "warp"], "device 'warp'"),
    (["--device", "meta:warp"], "device 'meta:warp'"),
])
def test_one_line_says_what_is_wrong(checkpoint, picture, capsys, argv, message):
    assert zeroshot.main([picture, "--labels", "cat", "--model", checkpoint, *argv]) == 2
    assert message in capsys.readouterr().err.removesuffix("\n").splitlines()[-1]


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as exit:
        zeroshot.main(["--help"])
    assert exit.value.code == 0 and capsys.readouterr().out.count("python zeroshot.py ") == 5


# ---- Image search ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Nine pictures of one colour each, one of them in a folder of its own."""
    root = tmp_path / "pictures"
    (root / "more").mkdir(parents=True)
    for i in range(9):
        Image.new("RGB", (40, 40), (28 * i, 255 - 28 * i, 100)).save(root / ("more" if i == 8 else "") / f"{i}.png")
    return root


def features_of(model, paths):
    pixels = [zeroshot.preprocess(pictures.open_image(path), 32) for path in paths]
    return torch.stack([unit(model.encode_image(x[None])[0]) for x in pixels])


def count_encoded(monkeypatch):
    """A list that grows by the path of each picture that is opened."""
    opened, real = [], zeroshot.open_image
    monkeypatch.setattr(zeroshot, "open_image", lambda path: opened.append(Path(path).name) or real(path))
    return opened


def test_search_by_text_and_by_picture(model, folder):
    """Cosines and order of plain encoding; a picture is most like itself."""
    paths = sorted(folder.rglob("*.png"))
    cosines = features_of(model, paths) @ unit(model.encode_text(tokens()("a red cat", 40))[0])
    found = zeroshot.search(model, tokens(), folder, "a red cat", top=4)
    assert [path for path, _ in found] == [paths[i] for i in cosines.argsort(descending=True)[:4]]
    assert [score for _, score in found] == pytest.approx(cosines.sort(descending=True).values[:4].tolist(), abs=1e-5)
    for path in paths:
        assert zeroshot.search(model, tokens(), folder, like=path, top=1) == [(path, pytest.approx(1, abs=1e-5))]


def test_only_what_changed_is_encoded_again(model, folder, monkeypatch):
    opened = count_encoded(monkeypatch)
    zeroshot.index(model, folder)
    assert sorted(opened) == [f"{i}.png" for i in range(9)]
    opened.clear()
    first, features = zeroshot.index(model, folder)
    assert not opened and torch.allclose(features, features_of(model, first), atol=1e-5)
    opened.clear()
    Image.new("RGB", (40, 40), "white").save(folder / "3.png")
    Image.new("RGB", (40, 40), "black").save(folder / "new.png")
    (folder / "5.png").unlink()
    os.utime(folder / "7.png", ns=(0, 1))  # of equal size, written at another time
    paths, features = zeroshot.index(model, folder)
    assert sorted(opened) == ["3.png", "7.png", "new.png"] and folder / "5.png" not in paths and len(paths) == 9
    assert torch.allclose(features, features_of(model, paths), atol=1e-5)


def test_another_model_has_another_index(model, folder):
    zeroshot.index(model, folder)
    torch.manual_seed(1)
    other = CLIP(model.config).eval()
    paths, features = zeroshot.index(other, folder)
    assert torch.allclose(features, features_of(other, paths), atol=1e-5)


@pytest.mark.parametrize("levels", [{"image_mean": (0.5, 0.5, 0.5)}, {"image_std": (0.5, 0.5, 0.5)}])
def test_the_same_weights_with_other_levels_have_another_index(model, folder, levels):
    """Whoever corrects only the deviation of a checkpoint must not be answered from the features of before."""
    zeroshot.index(model, folder)
    other = CLIP(replace(model.config, **levels)).eval()
    other.load_state_dict(model.state_dict())
    paths, features = zeroshot.index(other, folder)
    pixels = torch.stack([zeroshot.read_picture(other, path) for path in paths])
    assert torch.allclose(features, zeroshot.encode_images(other, pixels), atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"no index", b"PK\x03\x04"])
def test_a_damaged_index_is_made_anew(model, folder, content):
    (folder / zeroshot.INDEX).write_bytes(content)
    paths, features = zeroshot.index(model, folder)
    assert torch.allclose(features, features_of(model, paths), atol=1e-5)
    assert np.load(folder / zeroshot.INDEX)["names"].tolist() == [str(path.relative_to(folder)) for path in paths]


def test_an_interruption_keeps_what_is_done(model, folder, monkeypatch):
    """Stopped at the ninth picture, batches of one: eight are in the index."""
    opened, real = count_encoded(monkeypatch), zeroshot.open_image

    def stop_at_the_ninth(path):
        if len(opened) == 8:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(zeroshot, "open_image", stop_at_the_ninth)
    with pytest.raises(KeyboardInterrupt):
        zeroshot.index(model, folder, batch_size=1)
    monkeypatch.setattr(zeroshot, "open_image", real)
    opened.clear()
    assert len(zeroshot.index(model, folder)[0]) == 9 and len(opened) == 1


def test_a_folder_that_cannot_be_written_is_searched_all_the_same(model, folder, monkeypatch, capsys):
    def refuse(path, save):
        raise PermissionError(f"{path}: no permission")

    monkeypatch.setattr(zeroshot, "write", refuse)
    assert len(zeroshot.index(model, folder)[0]) == 9 and "index not kept" in capsys.readouterr().err


def test_the_contact_sheet_is_not_searched(checkpoint, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for _ in range(2):
        assert zeroshot.main(["search", ".", "a cat", "--model", checkpoint, "--top", "20"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 9


def test_figures_of_this_project_are_not_searched(model, folder):
    """Whatever they are called and where they lie; a picture of the user's may have their names."""
    figure = zeroshot.draw_sheet([np.zeros((2, 2, 3))], ["a cat"])
    for name in ("search.png", "more/old.PNG"):
        pictures.save_figure(figure, folder / name)
    figure.savefig(folder / "zeroshot.png")
    paths, features = zeroshot.index(model, folder)
    assert sorted(path.name for path in paths) == [*[f"{i}.png" for i in range(9)], "zeroshot.png"]
    assert torch.allclose(features, features_of(model, paths), atol=1e-5)
    pictures.save_figure(figure, folder / "3.png")  # which is in the index
    assert len(zeroshot.index(model, folder)[0]) == 9


def test_what_cannot_be_read_is_left_out_and_said_once(model, folder, capsys):
    (folder / "4.png").write_text("no picture")
    (folder / "dangling.png").symlink_to(folder / "gone.png")
    (folder / "folder.png").mkdir()
    paths = zeroshot.index(model, folder)[0]
    assert folder / "4.png" not in paths and len(paths) == 8
    assert capsys.readouterr().err.count("left out") == 1
    assert zeroshot.index(model, folder)[0] == paths and "left out" not in capsys.readouterr().err


def test_search_on_the_command_line(checkpoint, folder, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    argv = ["search", str(folder), "a red cat", "--model", checkpoint, "--top", "3", "--plot", str(sheet)]
    assert zeroshot.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and np.asarray(Image.open(sheet).convert("L")).std() > 10
    assert zeroshot.main([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [f"{entry['cosine']:6.3f}  {entry['image']}" for entry in found] == lines
    argv = ["search", str(folder), "--like", str(folder / "2.png"), "--model", checkpoint, "--plot", str(sheet)]
    assert zeroshot.main(argv) == 0
    assert capsys.readouterr().out.splitlines()[0] == f" 1.000  {folder / '2.png'}"


@pytest.mark.parametrize("argv, message", [
    (["gone", "a cat"], "gone: no such folder"),
    (["."], "one of the two"),
    ([".", "a cat", "--like", "x.png"], "one of the two"),
    ([".", "--like", "gone.png"], "gone.png: no such file"),
    ([".", "a cat"], "no pictures in this folder"),
    ([".", "a cat", "--top", "0"], "--top 0: at least one"),
])
def test_one_line_says_why_a_search_fails(checkpoint, tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    assert zeroshot.main(["search", *argv, "--model", checkpoint]) == 2
    assert message in capsys.readouterr().err.removesuffix("\n").splitlines()[-1]


def test_the_progress_of_a_search_is_told_to_its_end(checkpoint, folder, tmp_path, capsys):
    """Of 65 pictures, one more than a batch has, the last line says that there are no more, and ends."""
    for i in range(9, 65):
        Image.new("RGB", (40, 40), (3 * i, 0, 100)).save(folder / f"{i}.png")
    sheet = str(tmp_path / "sheet.png")
    assert zeroshot.main(["search", str(folder), "a cat", "--model", checkpoint, "--plot", sheet]) == 0
    progress = "64 of 65 pictures encoded\r65 of 65 pictures encoded\n"
    assert capsys.readouterr().err == f"{progress}drawn into {sheet}\n"


def test_each_batch_is_reported_before_its_features_are_handed_out(model, folder, capsys):
    """So whoever takes as many as there are pictures, and asks for no more, has seen the last line."""
    paths = sorted(folder.rglob("*.png"))
    features = zeroshot.encode_files(model, paths, batch_size=8)
    for _ in paths:
        next(features)
    assert capsys.readouterr().err.endswith("\r9 of 9 pictures encoded\n")


def test_interrupted_command_says_so(checkpoint, folder, monkeypatch, capsys):
    monkeypatch.setattr(zeroshot, "index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert zeroshot.main(["search", str(folder), "a cat", "--model", checkpoint]) == 130
    assert "interrupted" in capsys.readouterr().err


# ---- Nothing of the user's is overwritten ----------------------------------------------------------------------------

TAKEN = "exists and is no figure of this project; name another file, or write over it with --force"


def user_file(path):
    """A picture of the user's -> its bytes."""
    Image.new("RGB", (40, 40), "teal").save(path)
    return path.read_bytes()


@pytest.mark.parametrize("command", ["labels", "search"])
@pytest.mark.parametrize("name", ["bars.png", "bars", "bars.pdf", "photo.png"])
def test_a_plot_overwrites_only_what_this_project_drew(checkpoint, folder, monkeypatch, capsys, command, name):
    """In one line, before the model is read; the name may be that of a picture among the inputs."""
    monkeypatch.chdir(folder)
    user_file(folder / "photo.png")
    argv = ["photo.png", "--labels", "cat", "--plot", name]
    if command == "search":
        argv = ["search", ".", "a cat", "--plot", name]
    written = folder / (name if "." in name else "bars.png")
    before = b"%PDF"
    if written.suffix == ".png":
        before = user_file(written)
    written.write_bytes(before)
    assert zeroshot.main([*argv, "--model", "gone.pt"]) == 2
    assert capsys.readouterr().err == f"zeroshot.py: {written.name}: {TAKEN}\n"
    assert written.read_bytes() == before
    # told to, it writes over it; and what it drew itself is no one else's
    assert zeroshot.main([*argv, "--model", checkpoint, "--force"]) == 0
    assert capsys.readouterr().err == f"drawn into {written.name}\n"
    assert written.read_bytes() != before
    again = 2 if written.suffix == ".pdf" else 0  # which has no mark
    assert zeroshot.main([*argv, "--model", checkpoint]) == again


def test_a_plot_without_an_ending_is_a_png_and_the_name_is_said(checkpoint, picture, tmp_path, capsys):
    argv = [picture, "--labels", "cat", "--model", checkpoint, "--plot", str(tmp_path / "bars")]
    assert zeroshot.main(argv) == 0
    assert capsys.readouterr().err == f"drawn into {tmp_path / 'bars.png'}\n"
    assert Image.open(tmp_path / "bars.png").info["CLIP from scratch"] == "a figure drawn by this project"
    assert not (tmp_path / "bars").exists()


@pytest.mark.parametrize("name", ["", ".", "folder"])
def test_a_plot_needs_the_name_of_a_file(checkpoint, picture, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for argv in ([picture, "--labels", "cat"], ["search", ".", "a cat"]):
        assert zeroshot.main([*argv, "--model", checkpoint, "--plot", name]) == 2
        message = f"zeroshot.py: {name!r} is not the name of a file to draw into, such as plot.png\n"
        assert capsys.readouterr().err == message


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"no picture"])
def test_what_cannot_be_read_is_no_figure_of_this_project(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    assert not pictures.made_here(tmp_path / "x.png")
    with pytest.raises(FileExistsError, match="is no figure"):
        pictures.figure_path(tmp_path / "x.png")


# ---- Pictures for people ---------------------------------------------------------------------------------------------


def test_figures_show_what_they_are_given(model):
    """The sheet holds the pictures; the similarity figure holds the cosines, true pairs on its diagonal."""
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    levels = zeroshot.levels(images)
    sheet = zeroshot.draw_sheet(levels, TEXTS)
    assert [axis.get_title() for axis in sheet.axes] == TEXTS
    assert all(np.allclose(axis.images[0].get_array(), level) for axis, level in zip(sheet.axes, levels))
    figure = train_tiny.draw_similarity(model, tokens(), images, TEXTS)
    cosines = zeroshot.encode_texts(model, tokens(), TEXTS) @ zeroshot.encode_images(model, images).T
    assert np.allclose(figure.axes[0].images[0].get_array(), cosines.numpy(), atol=1e-6)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == TEXTS


def test_levels_undo_normalize():
    pixels = torch.rand(2, 3, 5, 5)
    assert np.allclose(zeroshot.levels(normalize(pixels)), pixels.permute(0, 2, 3, 1), atol=1e-6)
