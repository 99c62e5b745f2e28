"""Chapter 11, robustness to natural distribution shift (Section 3.3, Figures 13 and 14)."""
import numpy as np


# Exercise 11.1
def effective_robustness(source, shifted, model_source, model_shifted):
    """Accuracies (n,) from 0 to 1 of usual models without and with a shift, those of one model -> float.

    Usual models lie on a line if both axes are logits, ln(p / (1 - p)). Effective robustness is how far the model's
    accuracy under the shift is above what the line, fitted by least squares, says for its accuracy without."""
    # solution
    def logit(p):
        return np.log(p / (1 - np.asarray(p)))

    slope, start = np.polyfit(logit(source), logit(shifted), 1)
    expected = 1 / (1 + np.exp(-(slope * logit(model_source) + start)))
    return float(model_shifted - expected)
    # end


# Exercise 11.2
def predict_fewer_errors():
    """Figure 13: on ImageNet-A a ResNet-101 is right for 2.7 %, zero-shot CLIP for 77.1 %, both for 76.2 % on ImageNet.

    How many times fewer errors does CLIP make on ImageNet-A? Think first; to 0.05."""
    # solution
    return (100 - 2.7) / (100 - 77.1)
    # end
