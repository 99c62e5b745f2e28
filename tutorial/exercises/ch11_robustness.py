"""Chapter 11, robustness to natural distribution shift (Section 3.3, Figures 13 and 14)."""
import numpy as np


# Exercise 11.1: write, difficulty 3 of 5, about 25 minutes; hints: python tutorial/grade.py 11.1 --hint 1, then 2, 3
def effective_robustness(source, shifted, model_source, model_shifted):
    """Accuracies (n,) from 0 to 1 of usual models without and with a shift, those of one model -> float.

    Usual models lie on a line if both axes are logits, ln(p / (1 - p)). Effective robustness is how far the model's
    accuracy under the shift is above what the line, fitted by least squares, says for its accuracy without."""
    raise NotImplementedError("Exercise 11.1")


# Exercise 11.2: predict, difficulty 1 of 5, about 5 minutes; hints: python tutorial/grade.py 11.2 --hint 1, then 2, 3
def predict_fewer_errors():
    """Figure 13: on ImageNet-A a ResNet-101 is right for 2.7 %, zero-shot CLIP for 77.1 %, both for 76.2 % on ImageNet.

    How many times fewer errors does CLIP make on ImageNet-A? Think first; to 0.05."""
    raise NotImplementedError("Exercise 11.2")
