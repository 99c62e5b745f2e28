"""Chapter 10, scaling: what an image costs (the axis of Figures 4, 9, 10), and how error falls with it."""
import math

import numpy as np
from matplotlib.figure import Figure


# Exercise 10.1: write, difficulty 3 of 5, about 25 minutes
# hints: python tutorial/grade.py 10.1 --hint 1, then 2, 3
def vit_multiply_adds(R, P, D, layers, E):
    """Multiply-adds of a vision transformer for one image (int).

    R pixels a side, patches of P, width D, joint embedding E. Count the patch embedding; in each
    block the four matrices of attention, scores and weighted values of all tokens with all, and the
    MLP of width 4 D; at the end the class token's projection. No biases, norms, softmax.
    """
    raise NotImplementedError("Exercise 10.1")


# Exercise 10.2: write, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 10.2 --hint 1, then 2, 3
def power_law(x, y):
    """Arrays (n,) of positive numbers -> a, b of y = a x^-b.

    By least squares of the logarithms, as the line of Figure 9.
    """
    raise NotImplementedError("Exercise 10.2")


# Exercise 10.3: predict, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 10.3 --hint 1, then 2, 3
def predict_halving():
    """By what factor must compute grow to halve the error, if the line of Figure 9 goes on?

    There the error falls from about 45 to 30 % with 44 times the compute, 6.1 to 265.9 GFLOPs. Think
    first; within 10 % (float).
    """
    raise NotImplementedError("Exercise 10.3")


# Exercise 10.4: draw, difficulty 2 of 5, about 15 minutes
# hints: python tutorial/grade.py 10.4 --hint 1, then 2, 3
def draw_scaling(x, y):
    """-> Figure, both axes logarithmic: the points, and the power law of 10.2.

    First a line of markers alone through the points, then the fitted power law as a line that covers
    all x. Label both axes.
    """
    raise NotImplementedError("Exercise 10.4")
