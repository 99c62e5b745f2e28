"""Section 4: accuracy by class and by difficulty, beside people's (Table 2, Figure 16), and a quiz for them.

    python tutorial/experiments/quiz.py --quiz                  two minutes: 24 pictures, ten names
    python tutorial/experiments/quiz.py --answers FILE...       put the answers of several people together

The pictures are test images of the task "ten objects", some of them coarser still.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

sys.path.append(str(Path(__file__).resolve().parents[2]))
import zeroshot
from clip_minimal import normalize
from common import BLUE, GREY, ORANGE, interval
from tasks import TASKS, examples, pixelate
from tutorial.extras.pictures import save_figure

TASK, ROOT = TASKS["ten objects"], Path(__file__).resolve().parents[2]
SQUARES = [3, 6, 8]  # the sides, in pixels of 48, of the squares that a picture is made of; the task's own is 3
TABLE_2 = {"one person": "53.7 %", "majority": "57.0 %", "one person, of guesses": "69.7 %",
           "majority, of guesses": "63.9 %"}  # of 37 breeds of cats and dogs, zero-shot
ANSWERS = ROOT / "tutorial/results/quiz-answers.json"  # [{"picture": ..., "squares": ..., "answer": ...}, ...] each


def pictures(n, squares):
    """The first n test images of the task in squares of so many pixels -> normalised (n, 3, 48, 48), labels (n,)."""
    images, labels = examples("ten objects", "test")
    levels = torch.from_numpy(zeroshot.levels(images[:n])).permute(0, 3, 1, 2)  # (n, 3, 48, 48)
    return normalize(levels if squares == 3 else pixelate(levels, squares)), labels[:n]


def questions():
    """-> [(picture, squares), ...], 24, from coarse to fine: eight different pictures of each difficulty."""
    return [(8 * i + j, squares) for i, squares in enumerate(reversed(SQUARES)) for j in range(8)]


def sheet():
    """The pictures of the quiz, numbered, coarse ones first, and the names to choose from -> matplotlib figure."""
    shown = [zeroshot.levels(pictures(picture + 1, squares)[0][-1:])[0] for picture, squares in questions()]
    figure = zeroshot.draw_sheet(shown, [str(i) for i in range(1, len(shown) + 1)], columns=8)
    names = "    ".join(f"{letter}: {name}" for letter, name in zip("abcdefghij", TASK.classes))
    figure.text(0.5, 0.01, f"{names}    ?: no idea", ha="center", fontsize=9)
    return figure


def ask():
    """Ask for a letter for each picture, again where there is no such letter -> [{...}, ...], as in ANSWERS; the answer
    is the number of a class, None for a question mark."""
    print("  ".join(f"{letter}: {name}" for letter, name in zip("abcdefghij", TASK.classes)), " ?: no idea", sep="  ")
    given = []
    for i, (picture, squares) in enumerate(questions(), 1):
        while len(letter := input(f"picture {i}: ").strip().lower()) != 1 or letter not in "abcdefghij?":
            print("one of the letters a to j, or a question mark")
        given.append({"picture": picture, "squares": squares, "answer": None if letter == "?" else ord(letter) - 97})
    return given


def scores(people):
    """Lists of answers, one of each person -> {"one person", "majority", "one person, of guesses", "majority, of
    guesses": share right}, the columns of Table 2; of equally frequent answers the first by the alphabet."""
    labels, votes, single = examples("ten objects", "test")[1].tolist(), {}, []
    for person in people:
        for row in person:
            votes.setdefault((row["picture"], row["squares"]), []).append(row["answer"])
            single.append((row["answer"], labels[row["picture"]]))
    most = []
    for (picture, _), given in sorted(votes.items()):
        known = sorted(answer for answer in given if answer is not None)
        most.append((max(known, key=known.count) if known else None, labels[picture]))
    return {name + also: np.mean([answer == label for answer, label in pairs if not (also and answer is None)] or [0.0])
            for also in ("", ", of guesses") for name, pairs in (("one person", single), ("majority", most))}


def measure(lab):
    """-> a row for each who, the model or people if ANSWERS is there, seed or person, difficulty and class: the share
    right of so many pictures."""
    rows, n = [], max(40, round(TASK.size("test") * lab.budget))

    def add(who, seed, squares, right, labels):
        rows.extend({"who": who, "seed": seed, "squares": squares, "class": name, "chance": TASK.chance(),
                     "pictures": int((labels == i).sum()), "right": float(right[labels == i].mean())}
                    for i, name in enumerate(TASK.classes) if (labels == i).any())

    for seed in lab.seeds:
        model, tokenizer = lab.world_clip(seed)
        weights = zeroshot.zero_shot_classifier(model, tokenizer, TASK.classes, TASK.templates)
        for squares in SQUARES:
            images, labels = pictures(n, squares)
            said = (zeroshot.encode_images(model, images) @ weights).argmax(dim=-1)  # (n,)
            add("the model, zero-shot", seed, squares, (said == labels).numpy(), labels.numpy())
    truth = examples("ten objects", "test")[1].numpy()
    for person, given in enumerate(json.loads(ANSWERS.read_text()) if ANSWERS.exists() else []):
        for squares in SQUARES:
            some = [row for row in given if row["squares"] == squares]
            labels = truth[[row["picture"] for row in some]]
            add("people", person, squares, np.array([row["answer"] for row in some]) == labels, labels)
    return rows


def shares(rows, key, value):
    """Of the rows whose key has this value, the share right of each seed or person, in per cent."""
    each = {}
    for row in rows:
        if row[key] == value:
            each.setdefault(row["seed"], []).append((row["right"], row["pictures"]))
    return [100 * np.average(right, weights=pictures) for right, pictures in (zip(*pairs) for pairs in each.values())]


def draw(rows):
    """Left: by the size of the squares. Right: by class, the model's best at the top, as in Figure 16."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    model, people = ([row for row in rows if (row["who"] == "people") == human] for human in (False, True))
    order = sorted(TASK.classes, key=lambda name: np.mean(shares(model, "class", name)))
    ways = [(model, BLUE, "o", 0.1, f"the model, zero-shot, {len({row['seed'] for row in model})} seeds"),
            (people, ORANGE, "s", -0.1, f"{len({row['seed'] for row in people})} people")]
    for some, colour, marker, shift, label in ways if people else ways[:1]:
        for key, values in (("squares", SQUARES), ("class", order)):
            for at, value in enumerate(values):
                if parts := shares(some, key, value):
                    (low, high), mean = interval(np.mean, parts), np.mean(parts)
                    if key == "squares":
                        left.errorbar(at + shift, mean, [[mean - low], [high - mean]], fmt=marker, color=colour)
                    else:
                        right.errorbar(mean, at + shift, xerr=[[mean - low], [high - mean]], fmt=marker, color=colour)
        left.plot([], [], marker, color=colour, label=label)
    left.axhline(100 * TASK.chance(), linestyle=":", color=GREY, label="chance")
    right.axvline(100 * TASK.chance(), linestyle=":", color=GREY)
    left.set_xticks(range(len(SQUARES)), SQUARES)
    right.set_yticks(range(len(order)), order)
    left.set(xlabel="side of a picture's squares (of 48 pixels)", ylabel="right (%); bars: 95 % over seeds or people",
             xlim=(-0.5, len(SQUARES) - 0.5), ylim=(-2, 102),
             title="" if people else "no answers of people yet: quiz.py --quiz")
    right.set(xlabel="right (%), all sizes of squares", xlim=(-2, 102))
    left.legend(fontsize=8, loc="lower left")
    return figure


def main(argv=None):
    """The command line. Exit status 2 and one line for what can't be done."""
    parser = argparse.ArgumentParser(prog="quiz.py", description=__doc__.split("\n\n", 1)[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--quiz", action="store_true", help="draw the sheet, ask for each picture, write the answers")
    add("--answers", nargs="+", type=Path, metavar="FILE", help="files that --quiz has written, one of each person")
    add("--out", type=Path, default=Path("quiz.json"), metavar="JSON", help="of --quiz, the sheet beside it as .png "
        "(default: %(default)s)")
    args = parser.parse_args(argv)
    (args.out if args.quiz else ANSWERS).parent.mkdir(parents=True, exist_ok=True)
    if args.quiz == bool(args.answers):
        parser.error("either --quiz or --answers FILE...")
    if args.quiz:
        save_figure(sheet(), args.out.with_suffix(".png"), dpi=150)
        print(f"the pictures are in {args.out.with_suffix('.png')}")
        try:
            content = ask()
        except (EOFError, KeyboardInterrupt):  # Ctrl-D, Ctrl-C
            print("\nquiz.py: stopped before the last picture; nothing is written", file=sys.stderr)
            return 130
        people, path = [content], args.out
    else:
        try:
            people = [json.loads(path.read_text()) for path in args.answers]
            scores(people)
        except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
            print(f"quiz.py: not a file that --quiz has written: {error}", file=sys.stderr)
            return 2
        content, path = people, ANSWERS
    path.write_text(json.dumps(content))
    for name, value in scores(people).items():
        print(f"{name:24}{value:6.1%}   (Table 2: {TABLE_2[name]})")
    print(f"written into {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
