"""Checks of chapter 9."""
import math

import numpy as np

from compare import close, expect


def check_9_1(student):
    labels = np.array([2, 0, 1, 1, 2, 0, 2, 1, 0, 2, 0])
    draws = student.run("""
        return [np.asarray(student.few_shot(labels, 2, seed)) for seed in range(30)]
        """, labels=labels)
    again = student.few_shot(labels, 2, 0)
    for places in draws:
        expect(places.shape == (6,) and places.dtype.kind == "i",
               "six places (whole numbers) were expected, two of each of three classes")
        expect(len(set(places.tolist())) == 6, "an example was drawn twice: draw without replacement")
        of_each = np.bincount(labels[places], minlength=3)
        expect((of_each == 2).all(), "not two of each class: labels are in any order")
    expect((np.sort(draws[0]) == np.sort(again)).all(), "the same seed must draw the same examples")
    different = {tuple(sorted(places.tolist())) for places in draws}
    expect(len(different) > 5, "another seed must draw other examples: these are always the same")
    drawn = set(np.concatenate(draws).tolist())
    expect(drawn == set(range(11)), "some examples are never drawn")


def check_9_2(student):
    shots = [1, 2, 4, 8, 16, 64]
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.7]
    half_way = 2 * 2 ** 0.5
    close(student.examples_to_match(shots, values, 0.25), half_way, {
        "the line is over the logarithm of the number": 3.0,
        "on the line between two, not the next of them": 4,
        "on the line between two, not the one before": 2,
        "this is the logarithm: exponentiate it": 1.5,
        "this is the natural logarithm: exponentiate it": math.log(half_way),
    }, "0.25, half-way from 2 to 4")
    close(student.examples_to_match(shots, values, 0.6), 32, {
        "the line is over the logarithm of the number": 40,
        "from 16 to 64 is not one doubling": 16 * 2 ** 0.5,
    }, "0.6")
    close(student.examples_to_match(shots, values, 0.05), 1, case="0.05, which one example reaches")
    close(student.examples_to_match(shots, values, 0.71), math.inf, {
        "no number in the table is enough: infinite": 64,
    }, "0.71")
    close(student.examples_to_match([1, 2, 4, 8], [0.1, 0.4, 0.2, 0.6], 0.4), 2, {
        "the first value that reaches it counts, where the curve falls again": 4 * 2 ** 0.5,
    }, "a curve that falls")


def check_9_3(student):
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 3, 3])
    predicted = np.array([0, 0, 0, 0, 0, 1, 0, 1, 0, 3])
    close(student.mean_per_class(predicted, labels), (5 / 6 + 1 / 2 + 1 / 2) / 3, {
        "that is the accuracy over all images: each class counts the same": 0.7,
        "that is precision: divide by how often a class is true, not predicted": (5 / 7 + 1 / 2 + 1) / 3,
        "a class that does not occur (2) must not count as 0": (5 / 6 + 1 / 2 + 1 / 2) / 4,
        "a share is wanted, not percent": (500 / 6 + 50 + 50) / 3,
    }, "classes 0, 1 and 3")
    close(student.mean_per_class(np.array([2, 1]), np.array([1, 1])), 0.5, {
        "only classes in labels count": 0.25,
    }, "a predicted class that does not occur")


def check_9_4(student):
    # in order of score: 1 0 1 0 0 1 0; precision 1 up to recall 1/3, 2/3 up to 2/3, 1/2 up to 1
    scores = np.array([0.1, 0.9, 0.5, 0.8, 0.3, 0.4, 0.7])
    relevant = np.array([0, 1, 0, 0, 1, 0, 1])
    mean_precision = "that is the mean precision at the relevant ones: eleven recalls were asked for"
    close(student.eleven_points(scores, relevant), (4 * 1 + 3 * 2 / 3 + 4 / 2) / 11, {
        mean_precision: (1 + 2 / 3 + 1 / 2) / 3,
        "ten points: recall 0 counts too": (3 * 1 + 3 * 2 / 3 + 4 / 2) / 10,
        "scores must be sorted from high to low": (4 / 2 + 7 * 3 / 7) / 11,
    }, "seven images, three relevant")
    # precisions 0, 1/2, 2/3, 3/4: the highest is at the end
    scores = np.array([4.0, 3, 2, 1])
    relevant = np.array([0, 1, 1, 1])
    close(student.eleven_points(scores, relevant), 0.75, {
        "the highest precision at that recall or above, not the first at it":
            (3 * 1 / 2 + 3 * 2 / 3 + 4 * 3 / 4) / 11,
        "at recall 0 the highest of all counts": 10 * 0.75 / 11,
        mean_precision: (1 / 2 + 2 / 3 + 3 / 4) / 3,
    }, "precision that grows")
    relevant = np.array([1] * 3 + [0] * 9 + [1] * 7)
    close(student.eleven_points(-np.arange(19.0), relevant), (4 + 7 * 10 / 19) / 11, {
        "recall 3/10 is not below 0.3: compare whole numbers, 10 hits >= r relevant": (3 + 8 * 10 / 19) / 11,
    }, "ten relevant, three of them first", 1e-6)


def check_9_5(student):
    rng = np.random.default_rng(0)
    train = rng.normal(3, 2, (50, 3))
    test = rng.normal(5, 4, (4, 3))
    both = np.concatenate([train, test])
    mean = train.mean(0)
    std = train.std(0)
    got = student.standardise(train, test)
    expect(len(got) == 2, "two arrays are wanted")
    close(got[0], (train - mean) / std, {
        "the test set must not decide how the training set is scaled": (train - both.mean(0)) / both.std(0),
        "each feature has a mean and a deviation of its own: axis=0": (train - train.mean()) / train.std(),
        "the standard deviation, not the variance": (train - mean) / std ** 2,
    }, "the training set")
    close(got[1], (test - mean) / std, {
        "the test set's own mean and deviation are not known when one image comes: use the training set's":
            (test - test.mean(0)) / test.std(0),
        "the training set's deviation too": (test - mean) / test.std(0),
        "the training set's mean too": (test - test.mean(0)) / std,
        "the test set was left as it is": test,
    }, "the test set")
