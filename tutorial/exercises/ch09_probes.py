"""Chapter 9, probes: few examples (Figure 6), how many match zero-shot (Figure 7), metrics of Table 9.

All in numpy. n images, N classes, D width.
"""
import math

import numpy as np


# Exercise 9.1: write, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 9.1 --hint 1, then 2, 3
def few_shot(labels, shots, seed):
    """Labels (n,) from 0 to N - 1 in any order -> places (N shots,) of some examples of each class.

    Of each class so many different ones as `shots` says are drawn at random; the same ones for the
    same seed.
    """
    raise NotImplementedError("Exercise 9.1")


# Exercise 9.2: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 9.2 --hint 1, then 2, 3
def examples_to_match(shots, values, target):
    """How many examples a class it takes until a probe's value is the target, for example zero-shot's.

    shots are growing numbers of examples, values the probe's value at each. As in Figure 7 values
    are joined by lines over the logarithm of the number. The result is shots[0] if that is enough
    already, math.inf if no number is, and otherwise it is on the line that leads to the first value
    that reaches the target.
    """
    raise NotImplementedError("Exercise 9.2")


# Exercise 9.3: write, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 9.3 --hint 1, then 2, 3
def mean_per_class(predicted, labels):
    """Predicted and true classes (n,) -> the mean of the classes' accuracies (float).

    The classes are those that occur in labels.
    """
    raise NotImplementedError("Exercise 9.3")


# Exercise 9.4: write, difficulty 4 of 5, about 30 minutes
# hints: python tutorial/grade.py 9.4 --hint 1, then 2, 3
def eleven_points(scores, relevant):
    """VOC 2007's average precision (float).

    It is the mean over the recalls 0, 0.1, ..., 1 of the highest precision at that recall or a
    higher one. scores (n,) are all different, relevant (n,) is 0 or 1, at least once 1.
    """
    raise NotImplementedError("Exercise 9.4")


# Exercise 9.5: bug, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 9.5 --hint 1, then 2, 3
def standardise(train, test):
    """Features (n, D) and (m, D) -> both, scaled so that the training set has the mean 0, the deviation 1.

    The probe's accuracy is suspicious: it changes with the other images in the test set.
    """
    train = (train - train.mean(axis=0)) / train.std(axis=0)
    test = (test - test.mean(axis=0)) / test.std(axis=0)
    return train, test
