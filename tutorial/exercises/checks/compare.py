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


def plain(x):
    """Tensors become arrays, tuples lists."""
    if isinstance(x, torch.Tensor):
        return x.detach().numpy()
    return [plain(value) for value in x] if isinstance(x, (list, tuple)) else x


def numbers(x):
    """-> an array of float64, or None for what is not made of numbers."""
    try:
        no = x is None or isinstance(x, (str, bytes, dict))
        return None if no else np.asarray(plain(x)).astype(float, casting="safe")
    except (TypeError, ValueError):
        return None


def equal(a, b, tolerance=1e-5):
    """Numbers within the tolerance, absolute or relative, of the same shape; all else the same."""
    x, y = numbers(a), numbers(b)
    if x is None or y is None:
        return x is y and plain(a) == plain(b)
    return x.shape == y.shape and np.allclose(x, y, rtol=tolerance, atol=tolerance)


def short(x):
    """A value in few words."""
    if isinstance(x, (torch.Tensor, np.ndarray)):
        x = plain(x).tolist() if x.dtype in (bool, torch.bool) else numbers(x).round(4).tolist()
    text = f"{x:.5g}" if isinstance(x, float) else repr(x)
    return text if len(text) < 110 else text[:107] + "..."


def close(got, expected, known=(), case="", tolerance=1e-5, tell=True):
    """Raise Wrong unless got equals expected. known, {message: value}: what typical mistakes give instead. Where the
    answer was to be predicted, tell is False."""
    case = f"{case}: " if case else ""
    if equal(got, expected, tolerance):
        return
    for message, value in dict(known).items():
        if equal(got, value, tolerance):
            raise Wrong(message)
    x, y = numbers(got), numbers(expected)
    if y is not None and x is None:
        raise Wrong(f"{case}expected numbers, got {short(got)}")
    if y is not None and x.shape != y.shape:
        raise Wrong(f"{case}the shape is {x.shape}, expected {y.shape}")
    if y is not None and np.isfinite(y).all() and not np.isfinite(x).all():
        raise Wrong(f"{case}there are infinite or undefined numbers in the result")
    if y is not None and y.size > 8:  # many numbers: the first that differs
        at = tuple(np.argwhere(~np.isclose(x, y, rtol=tolerance, atol=tolerance))[0].tolist())
        raise Wrong(f"{case}at {list(at)} expected {y[at]:.5g}, got {x[at]:.5g}")
    raise Wrong(f"{case}expected {short(expected)}, got {short(got)}" if tell else f"{case}{short(got)} is not right")
