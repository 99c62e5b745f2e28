"""Checks of chapter 11."""
import numpy as np

from compare import close


def logit(p):
    return np.log(p / (1 - p))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def check_11_1(student):
    source = np.array([0.5, 0.6, 0.7, 0.85])
    on_a_line = sigmoid(0.8 * logit(source) - 1)
    for shifted in (on_a_line, np.array([0.25, 0.42, 0.4, 0.63])):
        line = np.polyfit(logit(source), logit(shifted), 1)
        expected = np.polyval(line, logit(0.75))
        among_accuracies = np.polyfit(source, shifted, 1)
        turned = np.polyfit(logit(shifted), logit(source), 1)
        right = 0.6 - sigmoid(expected)
        close(student.effective_robustness(source, shifted, 0.75, 0.6), right, {
            "the sign: the model's accuracy minus what is expected": -right,
            "the line is among logits, not among accuracies": 0.6 - np.polyval(among_accuracies, 0.75),
            "a difference of accuracies, not of logits": logit(0.6) - expected,
            "that is the difference from the accuracy without shift": 0.6 - 0.75,
            "the line says what the shifted accuracy is: x is the source":
                0.6 - sigmoid(np.polyval(turned, logit(0.75))),
            "subtract what the line says, not what usual models reach on average": 0.6 - shifted.mean(),
        }, "four usual models")


def check_11_2(student):
    close(student.predict_fewer_errors(), 97.3 / 22.9, {
        "that is how many times more often it is right; compare the errors": 77.1 / 2.7,
        "a factor is wanted, not a difference": 74.4,
        "the other way round": 22.9 / 97.3,
        "that is how much of the errors has gone; the factor is wanted": 1 - 22.9 / 97.3,
    }, tolerance=0.012, tell=False)
