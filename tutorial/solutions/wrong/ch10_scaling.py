"""Typical wrong answers to chapter 10; each docstring is what the grader must say."""


def multiply_adds(R, P, D, layers, E, class_token=1, pairs=2):
    """With so many class tokens, and so many products of all tokens with all."""
    patches = (R // P) ** 2
    tokens = patches + class_token
    block = 12 * D ** 2 * tokens + pairs * tokens ** 2 * D
    return patches * 3 * P ** 2 * D + layers * block + D * E


def vit_multiply_adds__twice(R, P, D, layers, E):
    """here it counts as one"""
    return 2 * multiply_adds(R, P, D, layers, E)


def vit_multiply_adds__no_class_token(R, P, D, layers, E):
    """class token goes through"""
    return multiply_adds(R, P, D, layers, E, class_token=0)


def vit_multiply_adds__matrices_only(R, P, D, layers, E):
    """each token with each, twice"""
    return multiply_adds(R, P, D, layers, E, pairs=0)


def power_law__sign(x, y):
    """minus the slope"""
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return float(np.exp(intercept)), float(slope)


def power_law__start(x, y):
    """exp of where the line begins"""
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return float(intercept), float(-slope)


def power_law__bases(x, y):
    """must be that of the logarithm"""
    slope, intercept = np.polyfit(np.log10(x), np.log10(y), 1)
    return float(np.exp(intercept)), float(-slope)


def power_law__ends(x, y):
    """not the line through the first and the last"""
    b = np.log(y[0] / y[-1]) / np.log(x[-1] / x[0])
    return float(y[0] * x[0] ** b), float(b)


def predict_halving__exponent():
    """that is the exponent"""
    return 0.107


def predict_halving__line():
    """not as a line"""
    return 43.6 * 1.5


def predict_halving__same():
    """two thirds, not half"""
    return 44


def drawn(x, y, a, b, style="o", plot="loglog"):
    axis = Figure().add_subplot()
    getattr(axis, plot)(x, y, style)
    ends = np.array([min(x), max(x)])
    getattr(axis, plot)(ends, a * ends ** -b)
    axis.set(xlabel="x", ylabel="y")
    return axis.figure


def draw_scaling__linear(x, y):
    """must be logarithmic"""
    return drawn(x, y, *power_law(x, y), plot="plot")


def draw_scaling__joined(x, y):
    """draw markers alone"""
    return drawn(x, y, *power_law(x, y), style="o-")


def draw_scaling__points_only(x, y):
    """the points and one line"""
    figure = drawn(x, y, *power_law(x, y))
    figure.axes[0].lines[1].remove()
    return figure
