"""Chapter 9, probes: few examples a class (Figure 6), how many match zero-shot (Figure 7), Table 9's metrics.

All in numpy. n images, N classes.
"""
import math

import numpy as np


# Exercise 9.1
def few_shot(labels, shots, seed):
    """Labels (n,) from 0 to N - 1 in any order -> places (N shots,) of so many different examples of each class,
    drawn at random; the same for the same seed."""
    # solution
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.choice(np.flatnonzero(labels == c), shots, replace=False) for c in np.unique(labels)])
    # end


# Exercise 9.2
def examples_to_match(shots, values, target):
    """Growing numbers of examples a class, the probe's value at each, the value to match -> how many it takes.

    As in Figure 7 values are joined by lines over the logarithm of the number. shots[0] if that is enough already,
    math.inf if none is; otherwise on the line that leads to the first value that reaches the target."""
    # solution
    i = next((i for i, value in enumerate(values) if value >= target), None)
    if i is None:
        return math.inf
    if i == 0:
        return shots[0]
    way = (target - values[i - 1]) / (values[i] - values[i - 1])
    return shots[i - 1] * (shots[i] / shots[i - 1]) ** way
    # end


# Exercise 9.3
def mean_per_class(predicted, labels):
    """Predicted and true classes (n,) -> the mean, over the classes that occur in labels, of each one's accuracy."""
    # solution
    return float(np.mean([np.mean(predicted[labels == c] == c) for c in np.unique(labels)]))
    # end


# Exercise 9.4
def eleven_points(scores, relevant):
    """Scores (n,), all different, relevant (n,) of 0 and 1, at least one 1 -> VOC 2007's average precision (float).

    The mean over the recalls 0, 0.1, ..., 1 of the highest precision at that recall or a higher one."""
    # solution
    hits = np.cumsum(relevant[np.argsort(-scores)])  # (n,)
    precision = hits / np.arange(1, len(hits) + 1)
    return float(np.mean([precision[10 * hits >= r * hits[-1]].max() for r in range(11)]))
    # end


# Exercise 9.5
def standardise(train, test):
    """Features (n, D) and (m, D) -> both with the mean 0 and the standard deviation 1 that make the training set so.

    The probe's accuracy is suspicious: it changes with the other images in the test set."""
    # solution
    mean, std = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / std, (test - mean) / std
    # given
    # return (train - train.mean(axis=0)) / train.std(axis=0), (test - test.mean(axis=0)) / test.std(axis=0)
    # end
