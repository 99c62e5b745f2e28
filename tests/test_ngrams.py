"""Visual N-Grams: the dictionary, Jelinek and Mercer's smoothing and its probabilities on cases worked by hand."""
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import ngrams
from clip_minimal import CONFIGS
from ngrams import NO_BEGINNING, NONE, WEIGHT

TEXTS = ["a sun, a cat", "a red sun", "a red sun below a cat", "a sun"]
WORDS = {word for text in TEXTS for word in ngrams.split(text)}


@pytest.fixture
def model():
    """A small model with random outputs, and the dictionary of all n-grams of TEXTS."""
    torch.manual_seed(0)
    found = ngrams.dictionary(TEXTS, least=1)
    config = replace(CONFIGS["tiny-RN"], vision_width=4, embed_dim=16)
    return ngrams.VisualNGrams(config, found).eval(), found


def test_dictionary_by_hand():
    assert set(ngrams.dictionary(TEXTS, least=3)) == {("a",), ("sun",)}
    assert set(ngrams.dictionary(TEXTS, least=2)) == {
        ("a",), ("sun",), ("cat",), ("red",), ("a", "sun"), ("a", "cat"), ("a", "red"), ("red", "sun"),
        ("a", "red", "sun")}
    assert max(map(len, ngrams.dictionary(TEXTS, least=1))) == 5


def test_places_by_hand():
    found = {("a",): 0, ("sun",): 1, ("cat",): 2, ("a", "sun"): 3}
    rows = ngrams.places(["a sun", "a cat sun", "dog"], found).tolist()
    rest = [NO_BEGINNING] * 3
    assert rows[0] == [[0, NO_BEGINNING, *rest], [1, 3, *rest], [NO_BEGINNING] * 5]
    assert rows[1] == [[0, NO_BEGINNING, *rest], [2, NONE, *rest], [1, NO_BEGINNING, *rest]]
    assert rows[2] == [[NONE, NO_BEGINNING, *rest], [NO_BEGINNING] * 5, [NO_BEGINNING] * 5]


def test_smoothing_by_hand():
    seen = torch.tensor([[0.3, 0.5, 0.9, 0.1, 0.1], [0.3, 0.5, 0.9, 0.1, 0.1], [0.3, 0.5, 0.9, 0.1, 0.1]])
    table = torch.tensor([[7, 8, NO_BEGINNING, 3, 3], [7, NONE, 9, NO_BEGINNING, NO_BEGINNING], [NO_BEGINNING] * 5])
    table[0, 3:] = NO_BEGINNING
    one = WEIGHT * 0.5 + (1 - WEIGHT) * 0.3
    two = WEIGHT * 0.9 + (1 - WEIGHT) * (WEIGHT * 0 + (1 - WEIGHT) * 0.3)
    assert ngrams.smooth(seen, table).tolist() == pytest.approx([one, two, 1])


@torch.no_grad()
def test_probabilities_add_up_to_one(model):
    """By the dictionary behind each beginning, and smoothed behind any words, known together or not."""
    model, found = model
    images = torch.randn(3, 3, 48, 48)
    p = model.probabilities(images)  # (3, D)
    for beginning in {ngram[:-1] for ngram in found}:
        some = [row for ngram, row in found.items() if ngram[:-1] == beginning]
        assert p[:, some].sum(1).tolist() == pytest.approx([1, 1, 1], rel=1e-5)
    scores = model.visual(images) @ model.embedding.T
    some = [found["a", word] for word in ("sun", "cat", "red")]
    assert torch.allclose(p[:, some], scores[:, some].softmax(1), atol=1e-6)
    for before in ("", "a ", "a red ", "cat below ", "sun a cat a red "):
        last = [model(images, ngrams.places([before + word], found).expand(3, -1, -1))[:, -1] for word in sorted(WORDS)]
        assert sum(last).tolist() == pytest.approx([1, 1, 1], rel=1e-5), before


@torch.no_grad()
def test_a_class_is_as_likely_as_its_words_in_turn(model):
    model, found = model
    images = torch.randn(2, 3, 48, 48)
    scores = ngrams.classify(model, found, images, ["a sun", "a red sun", "cat", "a dog"])
    p = model.probabilities(images)
    a, sun, cat = p[:, found["a",]], p[:, found["sun",]], p[:, found["cat",]]
    a_sun = a * (WEIGHT * p[:, found["a", "sun"]] + (1 - WEIGHT) * sun)
    assert torch.allclose(scores[:, 0], a_sun.log(), atol=1e-5) and torch.allclose(scores[:, 2], cat.log(), atol=1e-5)
    assert (scores[:, 3] == -math.inf).all(), "no caption said dog"


def test_gradient_reaches_the_image_through_longer_and_shorter_beginnings(model):
    model, found = model
    images = torch.randn(2, 3, 48, 48, requires_grad=True)
    table = ngrams.places(["a red sun", "a cat"], found)
    model(images, table).log().sum().backward()
    assert images.grad.abs().sum(dim=(1, 2, 3)).min() > 0
    used = model.embedding.grad.abs().sum(1) > 0
    assert all(used[found[ngram]] for ngram in [("sun",), ("a", "red"), ("a", "cat")])


class Lab:
    """Trains anew each time; notes the key."""

    budget = 0.001
    seeds = (3,)
    device = "cpu"

    def batch(self):
        return 4

    def trained(self, key, module, train_function):
        self.key = key
        train_function(module)
        return module.eval()


def test_each_seed_sees_the_pairs_of_the_web_that_clip_sees(monkeypatch):
    """The batches of Web(seed), from the first step on, and the dictionary of its captions."""
    asked = []

    class Stream:
        """Stands in for Web: two captions, noise for pictures."""

        def __init__(self, seed, device):
            self.seed = seed

        def texts(self):
            return TEXTS * ngrams.LEAST

        def batch(self, step, n):
            asked.append((self.seed, step, n))
            return torch.randn(n, 3, 48, 48), (TEXTS * n)[:n]

    small = replace(CONFIGS["tiny-RN"], vision_width=4, embed_dim=16)
    monkeypatch.setitem(CONFIGS, "tiny-RN", small)
    monkeypatch.setattr(ngrams, "Web", Stream)
    lab = Lab()
    model, found = ngrams.ngram_model(lab, 3)
    assert asked == [(3, 0, 4), (3, 1, 4), (3, 2, 4)] and "3" in lab.key
    assert found == ngrams.dictionary(TEXTS, least=1)
    # what was learned is a finite number for each n-gram, and another one than at the start
    torch.manual_seed(3)
    untrained = ngrams.VisualNGrams(small, found)
    assert model.embedding.isfinite().all() and not torch.equal(model.embedding, untrained.embedding)


def test_training_makes_the_words_likelier():
    """Thirty steps on two pictures with a caption each: each caption is likelier than before, and than the other one."""
    torch.manual_seed(0)
    found = ngrams.dictionary(TEXTS, least=1)
    model = ngrams.VisualNGrams(replace(CONFIGS["tiny-RN"], vision_width=4, embed_dim=16), found)
    images = torch.randn(2, 3, 48, 48)
    captions = ["a red sun", "a cat"]

    class Stream:
        def batch(self, step, n):
            return images, captions

    before = ngrams.classify(model, found, images, captions).diagonal()
    ngrams.learn(model, Stream(), found, steps=30, batch_size=2)
    scores = ngrams.classify(model, found, images, captions)
    assert scores.argmax(dim=1).tolist() == [0, 1]
    assert (scores.diagonal() > before + 1).all()
