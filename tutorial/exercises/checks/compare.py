"""What the checks share: an answer is compared with the right one, then with what typical mistakes give."""
import numpy as np
import torch


class Wrong(Exception):
    """What a student is told, and the share of the points that the answer is worth all the same."""

    def __init__(self, message, share=0.0):
        super().__init__(message)
        self.share = share


def expect(condition, message):
    """Raise Wrong unless the condition holds."""
    if not condition:
        raise Wrong(message)


def close(got, expected, known=None, case="", tolerance=1e-5, tell=True):
    """Raise Wrong, with a sentence about what is wrong, unless got equals expected.

    known {message: value} says what typical mistakes give instead; case names the example. Where the
    answer was to be predicted, tell is False, so that the sentence does not hold it.
    """
    if equal(got, expected, tolerance):
        return
    if known is not None:
        for message, value in known.items():
            if equal(got, value, tolerance):
                raise Wrong(message)
    message = difference(got, expected, tolerance, tell)
    if case:
        message = f"{case}: {message}"
    raise Wrong(message)


def equal(a, b, tolerance=1e-5):
    """Whether two values are the same: numbers of one shape, within the tolerance (absolute or relative)."""
    x = numbers(a)
    y = numbers(b)
    if x is None and y is None:
        return plain(a) == plain(b)
    if x is None or y is None or x.shape != y.shape:
        return False
    return np.allclose(x, y, rtol=tolerance, atol=tolerance)


def difference(got, expected, tolerance, tell):
    """A sentence about two values that are not equal."""
    x = numbers(got)
    y = numbers(expected)
    if y is not None:
        if x is None:
            return f"expected numbers, got {short(got)}"
        if x.shape != y.shape:
            return f"the shape is {x.shape}, expected {y.shape}"
        if np.isfinite(y).all() and not np.isfinite(x).all():
            return "there are infinite or undefined numbers in the result"
        if y.size > 8:  # many numbers: the first that differs
            differs = ~np.isclose(x, y, rtol=tolerance, atol=tolerance)
            at = tuple(np.argwhere(differs)[0].tolist())
            return f"at {list(at)} expected {y[at]:.5g}, got {x[at]:.5g}"
    if not tell:
        return f"{short(got)} is not right"
    return f"expected {short(expected)}, got {short(got)}"


def numbers(x):
    """-> an array of float64, or None for what is not made of numbers."""
    if x is None or isinstance(x, (str, bytes, dict)):
        return None
    try:
        return np.asarray(plain(x)).astype(float, casting="safe")
    except (TypeError, ValueError):
        return None


def plain(x):
    """Tensors become arrays, tuples become lists, in lists too."""
    if isinstance(x, torch.Tensor):
        return x.detach().numpy()
    if isinstance(x, (list, tuple)):
        return [plain(value) for value in x]
    return x


def short(x):
    """A value in few words."""
    if isinstance(x, (torch.Tensor, np.ndarray)):
        if x.dtype in (bool, torch.bool):
            x = plain(x).tolist()
        else:
            x = numbers(x).round(4).tolist()
    text = repr(x)
    if isinstance(x, float):
        text = f"{x:.5g}"
    if len(text) >= 110:
        text = text[:107] + "..."
    return text
