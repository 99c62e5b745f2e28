"""Chapter 9, probes: few examples a class (Figure 6), how many match zero-shot (Figure 7), Table 9's metrics.

All in numpy. n images, N classes.
"""
import math

import numpy as np


# Exercise 9.1: write, difficulty 2 of 5, about 10 minutes; hints: python tutorial/grade.py 9.1 --hint 1, then 2, 3
def few_shot(labels, shots, seed):
    """Labels (n,) from 0 to N - 1 in any order -> places (N shots,) of so many different examples of each class,
    drawn at random; the same for the same seed."""
    raise NotImplementedError("Exercise 9.1")


# Exercise 9.2: write, difficulty 3 of 5, about 20 minutes; hints: python tutorial/grade.py 9.2 --hint 1, then 2, 3
def examples_to_match(shots, values, target):
    """Growing numbers of examples a class, the probe's value at each, the value to match -> how many it takes.

    As in Figure 7 values are joined by lines over the logarithm of the number. shots[0] if that is enough already,
    math.inf if none is; otherwise on the line that leads to the first value that reaches the target."""
    raise NotImplementedError("Exercise 9.2")


# Exercise 9.3: write, difficulty 2 of 5, about 10 minutes; hints: python tutorial/grade.py 9.3 --hint 1, then 2, 3
def mean_per_class(predicted, labels):
    """Predicted and true classes (n,) -> the mean, over the classes that occur in labels, of each one's accuracy."""
    raise NotImplementedError("Exercise 9.3")


# Exercise 9.4: write, difficulty 4 of 5, about 30 minutes; hints: python tutorial/grade.py 9.4 --hint 1, then 2, 3
def eleven_points(scores, relevant):
    """Scores (n,), all different, relevant (n,) of 0 and 1, at least one 1 -> VOC 2007's average precision (float).

    The mean over the recalls 0, 0.1, ..., 1 of the highest precision at that recall or a higher one."""
    raise NotImplementedError("Exercise 9.4")


# Exercise 9.5: bug, difficulty 1 of 5, about 5 minutes; hints: python tutorial/grade.py 9.5 --hint 1, then 2, 3
def standardise(train, test):
    """Features (n, D) and (m, D) -> both with the mean 0 and the standard deviation 1 that make the training set so.

    The probe's accuracy is suspicious: it changes with the other images in the test set."""
    return (train - train.mean(axis=0)) / train.std(axis=0), (test - test.mean(axis=0)) / test.std(axis=0)
