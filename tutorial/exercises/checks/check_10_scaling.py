"""Checks of chapter 10."""
import numpy as np

from compare import close, equal, expect


def check_10_1(student):
    # four patches of 12 numbers to width 2; five tokens, 12 x 4 x 5 and 2 x 25 x 2; projection
    right = 96 + 240 + 100 + 6
    close(student.vit_multiply_adds(4, 2, 2, 1, 3), right, {
        "two operations a multiply-add: here it counts as one": 2 * right,
        "the class token goes through the blocks too": 96 + 12 * 4 * 4 + 2 * 16 * 2 + 6,
        "scores and weighted values: each token with each, twice": right - 100,
        "scores and weighted values are two products": right - 50,
        "the MLP is missing": right - 8 * 4 * 5,
        "attention's four matrices are missing": right - 4 * 4 * 5,
        "the output projection of attention is missing": right - 4 * 5,
        "the patch embedding is missing": right - 96,
        "images have three channels": right - 64,
        "the projection is applied to the class token alone": right - 6 + 30,
        "the projection is missing": right - 6,
    }, "4 pixels, patches of 2, width 2, one block, embedding 3")
    close(student.vit_multiply_adds(224, 32, 768, 12, 512), 4_408_811_520, case="ViT-B/32")


def check_10_2(student):
    x = np.array([1.0, 2, 4, 8])
    y = 3 * x ** -0.5
    slope, intercept = np.polyfit(x, y, 1)
    close(student.power_law(x, y), (3.0, 0.5), {
        "y falls: with y = a x^-b, b is minus the slope": (3.0, -0.5),
        "b is the exponent of x: minus the slope": (3.0, 2.0),
        "a is exp of where the line begins": (float(np.log(3)), 0.5),
        "a first, then b": (0.5, 3.0),
        "the base of exp must be that of the logarithm": (3 ** (1 / np.log(10)), 0.5),
        "a line through the numbers themselves is no power law": (intercept, -slope),
    }, "y = 3 / sqrt(x)")
    y = np.array([3.0, 2.6, 1.2, 1.1])
    u = np.log(x)
    v = np.log(y)
    b = -((u - u.mean()) * (v - v.mean())).sum() / ((u - u.mean()) ** 2).sum()
    a = np.exp(v.mean() + b * u.mean())
    close(student.power_law(x, y), (float(a), b), {
        "least squares over all points, not the line through the first and the last":
            (3.0, float(np.log(3 / 1.1) / np.log(8))),
    }, "four points that are on no curve")


def check_10_3(student):
    got = student.predict_halving()
    known = {
        "that is the exponent b: halving takes 2^(1/b)": 0.1074,
        "error falls as a power, not as a line": 65.4,
        "44 times compute gives two thirds, not half": 43.6,
        "that is 1 / b: halving takes 2^(1/b)": 9.31,
        "halving is a factor of 2, not of e": 11053,
    }
    for message, value in known.items():
        expect(not equal(got, value, 0.02), message)
    close(got, 634.9, tolerance=0.1, tell=False)


def check_10_4(student):
    x = np.array([8.0, 1, 2, 4])
    y = np.array([1.1, 3, 2.6, 1.2])
    scales, labels, lines, alone = student.run("""
        axis = student.draw_scaling(x, y).axes[0]
        lines = [np.asarray(line.get_data(), float) for line in axis.lines]
        styles = [line.get_linestyle() in ("None", "", " ") for line in axis.lines]
        return [axis.get_xscale(), axis.get_yscale()], [axis.get_xlabel(), axis.get_ylabel()], lines, styles
        """, x=x, y=y)
    expect(scales == ["log", "log"], f"both axes must be logarithmic; they are {scales}")
    expect(all(labels), "label both axes")
    expect(len(lines) == 2, f"the points and one line were asked for; there are {len(lines)} lines")
    points, (line_x, line_y) = lines
    in_order = np.argsort(points[0])
    close(points[:, in_order], [[1, 2, 4, 8], [3, 2.6, 1.2, 1.1]], case="the points")
    expect(alone[0], "points are joined in no order: draw markers alone")
    expect(line_x.min() <= 1 and line_x.max() >= 8, "the line must cover all x")
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    straight = np.polyfit(x, y, 1)
    close(line_y, np.exp(intercept) * line_x ** slope, {
        "a line through the numbers is no power law": np.polyval(straight, line_x),
    }, "the line")
