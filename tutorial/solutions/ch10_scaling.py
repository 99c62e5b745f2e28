"""Chapter 10, scaling: what an image costs (the axis of Figures 4, 9, 10), and how error falls with it."""
import math

import numpy as np
from matplotlib.figure import Figure


# Exercise 10.1
def vit_multiply_adds(R, P, D, layers, E):
    """Multiply-adds of a vision transformer for one image (int).

    R pixels a side, patches of P, width D, joint embedding E. Count the patch embedding; in each
    block the four matrices of attention, scores and weighted values of all tokens with all, and the
    MLP of width 4 D; at the end the class token's projection. No biases, norms, softmax.
    """
    # solution
    patches = (R // P) ** 2
    tokens = patches + 1
    matrices = tokens * 12 * D ** 2  # 4 D² of attention, 8 D² of the MLP
    attention = 2 * tokens ** 2 * D  # scores, and weighted values
    return patches * 3 * P ** 2 * D + layers * (matrices + attention) + D * E
    # end


# Exercise 10.2
def power_law(x, y):
    """Arrays (n,) of positive numbers -> a, b of y = a x^-b.

    By least squares of the logarithms, as the line of Figure 9.
    """
    # solution
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(intercept)), float(-slope)
    # end


# Exercise 10.3
def predict_halving():
    """By what factor must compute grow to halve the error, if the line of Figure 9 goes on?

    There the error falls from about 45 to 30 % with 44 times the compute, 6.1 to 265.9 GFLOPs. Think
    first; within 10 % (float).
    """
    # solution
    b = math.log(45 / 30) / math.log(265.9 / 6.1)
    return 2 ** (1 / b)
    # end


# Exercise 10.4
def draw_scaling(x, y):
    """-> Figure, both axes logarithmic: the points, and the power law of 10.2.

    First a line of markers alone through the points, then the fitted power law as a line that covers
    all x. Label both axes.
    """
    # solution
    a, b = power_law(x, y)
    axis = Figure(figsize=(5, 4), layout="constrained").add_subplot()
    axis.loglog(x, y, "o")
    ends = np.array([min(x), max(x)])
    axis.loglog(ends, a * ends ** -b, label=f"{a:.2g} x^-{b:.2f}")
    axis.set(xlabel="multiply-adds for an image (1e9)", ylabel="error (%)")
    axis.legend()
    return axis.figure
    # end
