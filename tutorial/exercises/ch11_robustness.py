"""Chapter 11, robustness to natural distribution shift (Section 3.3, Figures 13 and 14)."""
import numpy as np


# Exercise 11.1: write, difficulty 3 of 5, about 25 minutes
# hints: python tutorial/grade.py 11.1 --hint 1, then 2, 3
def effective_robustness(source, shifted, model_source, model_shifted):
    """How far a model's accuracy under a shift is above what usual models with its accuracy have (float).

    source and shifted (n,) are accuracies of usual models without and with the shift, from 0 to 1,
    model_source and model_shifted those of the model. Usual models lie on a line if both axes are
    logits, ln(p / (1 - p)); it is fitted by least squares.
    """
    raise NotImplementedError("Exercise 11.1")


# Exercise 11.2: predict, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 11.2 --hint 1, then 2, 3
def predict_fewer_errors():
    """How many times fewer errors does CLIP make on ImageNet-A than a ResNet-101?

    Figure 13: on ImageNet-A the ResNet-101 is right for 2.7 %, zero-shot CLIP for 77.1 %, both for
    76.2 % on ImageNet. Think first; to 0.05 (float).
    """
    raise NotImplementedError("Exercise 11.2")
