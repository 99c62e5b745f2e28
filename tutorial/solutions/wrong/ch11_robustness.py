"""Typical wrong answers to chapter 11; each docstring is what the grader must say."""


def logit(p):
    return np.log(p / (1 - np.asarray(p)))


def effective_robustness__linear(source, shifted, model_source, model_shifted):
    """not among accuracies"""
    line = np.polyfit(source, shifted, 1)
    return float(model_shifted - np.polyval(line, model_source))


def effective_robustness__logits(source, shifted, model_source, model_shifted):
    """not of logits"""
    line = np.polyfit(logit(source), logit(shifted), 1)
    return float(logit(model_shifted) - np.polyval(line, logit(model_source)))


def effective_robustness__gap(source, shifted, model_source, model_shifted):
    """from the accuracy without shift"""
    return model_shifted - model_source


def effective_robustness__sign(source, shifted, model_source, model_shifted):
    """the sign"""
    line = np.polyfit(logit(source), logit(shifted), 1)
    expected = np.polyval(line, logit(model_source))
    return float(1 / (1 + np.exp(-expected)) - model_shifted)


def predict_fewer_errors__right():
    """compare the errors"""
    return 28.6


def predict_fewer_errors__difference():
    """not a difference"""
    return 74.4


def predict_fewer_errors__share():
    """how much of the errors"""
    return 0.765
