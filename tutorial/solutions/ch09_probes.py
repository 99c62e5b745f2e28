"""Chapter 9, probes: few examples (Figure 6), how many match zero-shot (Figure 7), metrics of Table 9.

All in numpy. n images, N classes, D width.
"""
import math

import numpy as np


# Exercise 9.1
def few_shot(labels, shots, seed):
    """Labels (n,) from 0 to N - 1 in any order -> places (N shots,) of some examples of each class.

    Of each class so many different ones as `shots` says are drawn at random; the same ones for the
    same seed.
    """
    # solution
    rng = np.random.default_rng(seed)
    drawn = []
    for c in np.unique(labels):
        places = np.flatnonzero(labels == c)
        drawn.append(rng.choice(places, shots, replace=False))
    return np.concatenate(drawn)
    # end


# Exercise 9.2
def examples_to_match(shots, values, target):
    """How many examples a class it takes until a probe's value is the target, for example zero-shot's.

    shots are growing numbers of examples, values the probe's value at each. As in Figure 7 values
    are joined by lines over the logarithm of the number. The result is shots[0] if that is enough
    already, math.inf if no number is, and otherwise it is on the line that leads to the first value
    that reaches the target.
    """
    # solution
    if max(values) < target:
        return math.inf
    i = 0
    while values[i] < target:
        i += 1
    if i == 0:
        return shots[0]
    way = (target - values[i - 1]) / (values[i] - values[i - 1])  # from 0 to 1
    return shots[i - 1] * (shots[i] / shots[i - 1]) ** way
    # end


# Exercise 9.3
def mean_per_class(predicted, labels):
    """Predicted and true classes (n,) -> the mean of the classes' accuracies (float).

    The classes are those that occur in labels.
    """
    # solution
    accuracies = []
    for c in np.unique(labels):
        of_class = predicted[labels == c]
        accuracies.append(np.mean(of_class == c))
    return float(np.mean(accuracies))
    # end


# Exercise 9.4
def eleven_points(scores, relevant):
    """VOC 2007's average precision (float).

    It is the mean over the recalls 0, 0.1, ..., 1 of the highest precision at that recall or a
    higher one. scores (n,) are all different, relevant (n,) is 0 or 1, at least once 1.
    """
    # solution
    order = np.argsort(-scores)
    hits = np.cumsum(relevant[order])  # (n,), relevant ones down to each place
    precision = hits / np.arange(1, len(hits) + 1)  # (n,)
    highest = []
    for tenths in range(11):
        reached = 10 * hits >= tenths * hits[-1]  # (n,), in whole numbers, which don't round
        highest.append(precision[reached].max())
    return float(np.mean(highest))
    # end


# Exercise 9.5
def standardise(train, test):
    """Features (n, D) and (m, D) -> both, scaled so that the training set has the mean 0, the deviation 1.

    The probe's accuracy is suspicious: it changes with the other images in the test set.
    """
    # solution
    mean = train.mean(axis=0)
    std = train.std(axis=0)
    return (train - mean) / std, (test - mean) / std
    # given
    # train = (train - train.mean(axis=0)) / train.std(axis=0)
    # test = (test - test.mean(axis=0)) / test.std(axis=0)
    # return train, test
    # end
