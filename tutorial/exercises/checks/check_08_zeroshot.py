"""Checks of chapter 8."""
import math

import numpy as np
import torch

from check_06_loss import unit
from compare import Wrong, close


def check_8_1(student):
    right = ["a cat.", "the cat, a pet", "cat", "a dog.", "the dog, a pet", "dog"]
    close(student.prompts(["cat", "dog"], ["a {}.", "the {}, a pet", "{}"]), right, {
        "all of the first class come first":
            ["a cat.", "a dog.", "the cat, a pet", "the dog, a pet", "cat", "dog"],
        "one list of texts, not a list of lists": [right[:3], right[3:]],
    }, "two names, three templates")
    try:
        got = student.prompts(["{x}"], ["{0} {} {}"])
    except Wrong as wrong:
        raise Wrong(f"only {{}} is a place, other braces are text: replace it ({wrong})") from None
    close(got, ["{0} {x} {x}"], {"every {} is replaced": ["{0} {x} {}"]}, 'the name "{x}" in "{0} {} {}"')


def features(*shape):
    """With lengths that differ much, so that it matters when they are brought to 1."""
    rng = np.random.default_rng(3)
    directions = rng.normal(size=shape)
    return directions * np.exp(rng.normal(size=(*shape[:-1], 1)))


def check_8_2(student):
    x = features(3, 4, 5)
    means = unit(x, 2).mean(1)  # (3, 5)
    close(student.classifier_weights(torch.from_numpy(x)), unit(means).T, {
        "unit length first, then the mean: long features would count more": unit(x.mean(1)).T,
        "the mean of unit vectors is shorter than 1: bring it to unit length again": means.T,
        "the shape is (E, N): transpose": unit(means),
        "the mean is over the templates, the second axis": unit(unit(x, 2).mean(0)).T,
        "neither before nor behind the mean is the length 1": x.mean(1).T,
        "unit length is along E, the last axis": unit(unit(x, 1).mean(1)).T,
    }, "three classes, four templates")


def softmax(x, axis=1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def check_8_3(student):
    x = features(2, 5)
    weights = unit(features(5, 3), 0)
    cosines = unit(x) @ weights
    for t in (1.3, math.log(100)):
        scale = math.exp(t)
        got = student.classify(torch.from_numpy(x), torch.from_numpy(weights), torch.tensor(t))
        close(got, softmax(scale * cosines), {
            "bring the images' features to unit length": softmax(scale * x @ weights),
            "the scale was applied as a log: exponentiate it first": softmax(t * cosines),
            "the scale is missing": softmax(cosines),
            "the scale multiplies": softmax(cosines / scale),
            "the softmax goes over the classes, the last axis": softmax(scale * cosines, axis=0),
            "these are logits: the softmax is missing": scale * cosines,
        }, f"scale {scale:.1f}")


def check_8_4(student):
    scores = torch.tensor([[9.0, 5, 1, 0], [0, 1, 5, 9], [1, 9, 5, 0], [9, 0, 1, 5]])
    labels = torch.tensor([0, 2, 0, 3])
    close(student.top_k_accuracy(scores, labels, 1), 0.25, {
        "a share is wanted, not a number": 1.0,
        "a share is wanted, not percent": 25.0,
        "the largest scores are wanted, not the smallest": 0.0,
        "for k = 1 one score counts: k + 1 were taken": 0.75,
    }, "k = 1")
    close(student.top_k_accuracy(scores, labels, 2), 0.75, {
        "a share is wanted, not a number": 3.0,
        "k is ignored": 0.25,
        "the k-th best alone was looked at": 0.5,
        "each row counts once: do not divide by k": 0.375,
    }, "k = 2")
    close(student.top_k_accuracy(scores, labels, 4), 1.0, case="k = N")


def check_8_5(student):
    scores = torch.tensor([[9.0, 8, 1, 0, 2], [0, 1, 5, 9, 3], [7, 1, 6, 2, 3]])
    relevant = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 0, 0, 1], [0, 0, 1, 1, 1]]).bool()
    which_share = "for each query count whether any is there, not which share"
    close(student.recall_at_k(scores, relevant, 1), 1 / 3, {
        which_share: (1 / 2 + 0 + 0) / 3,
    }, "k = 1")
    close(student.recall_at_k(scores, relevant, 2), 2 / 3, {
        which_share: (1 + 0 + 1 / 3) / 3,
        "that is precision: whether any of the k best is relevant counts": (1 + 0 + 1 / 2) / 3,
        "queries are rows, items columns": 3 / 5,
        "at least one, not all of the k best": 1 / 3,
    }, "k = 2")
    close(student.recall_at_k(scores, relevant, 3), 1.0, {
        which_share: (1 + 1 / 2 + 2 / 3) / 3,
        "only the diagonal was looked at: see `relevant`": 2 / 3,
    }, "k = 3")


def check_8_6(student):
    close(student.chance_recall(5, 2, 2), 0.7, {
        "the k best are different items: without replacement": 1 - 0.6 ** 2,
        "chances do not add up: at least one is 1 - none": 0.8,
        "that is the chance of none": 0.3,
        "all of the k best need not be relevant: one is enough": 0.1,
        "that is the share of relevant items": 0.4,
    }, "5 items, 2 relevant, k = 2")
    miss = math.prod((4995 - i) / (5000 - i) for i in range(10))
    close(student.chance_recall(5000, 5, 10), 1 - miss, case="COCO's size")
    close(student.chance_recall(4, 3, 2), 1.0, {
        "chances do not add up: at least one is 1 - none": 1.5,
    }, "more than can be missed")


def check_8_7(student):
    x = unit(features(2, 5))
    texts = unit(features(3, 4, 5), 2)
    scale = math.exp(2)
    means = texts.mean(1)  # (3, 5)
    logits = scale * np.einsum("be,nke->bnk", x, texts)  # (2, 3, 4)
    probabilities = softmax(logits)  # over the classes, for each template
    log_scale = torch.tensor(2.0, dtype=torch.double)
    got = student.ensemble_logits(torch.from_numpy(x), torch.from_numpy(texts), log_scale)
    right = scale * x @ unit(means).T
    close(got, right, {
        "the mean of logits has no unit length: a class whose templates disagree gets a shorter vector":
            scale * x @ means.T,
        "the best template of each class is another ensemble": logits.max(2),
        "probabilities are not what Section 3.1.4 averages": probabilities.mean(2),
        "the scale was applied as a log: exponentiate it first": 2 * x @ unit(means).T,
        "logits are wanted, before any softmax": softmax(right),
    }, "three classes, four templates")
