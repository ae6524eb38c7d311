"""Glossary: the paper's terms and the field's, each in a sentence that tooltips show where the term stands."""

import re
from functools import cache

GLOSSARY = {
    "CL": "clean labels, as they were given.",
    "RCL": "randomized clean labels. Single pixels lose or change their label by chance, wherever they lie. A network "
    "still learns the objects from them.",
    "PCL": "perturbed clean labels. Whole outlines are wrong: objects grow, shrink or get thinner. A network learns "
    "the wrong outlines.",
    "RL": "random labels, drawn without looking at the clean ones. There is nothing in them to learn.",
    "P_sample": "the probability that a pixel keeps its label; the others become unlabelled.",
    "P_flip": "the probability that a pixel's label is swapped with that of another class.",
    "P_generate": "the probability that a pixel is labelled foreground, whatever is there.",
    "meta-structure": "how densely each class is labelled around every place. Networks learn that density, not each "
    "label, and so they can see through noise that leaves it as it is.",
    "retained": "the share of the clean labels' meta-structure that is still in the noisy ones: 100 %: all of it.",
    "noise transition matrix": "for each true class (row), how often its pixels get each label (column).",
    "rank": "how many classes can still be told apart in noisy labels, counted from the noise transition matrix.",
    "Theorem 2": "of the paper: noise that leaves all classes distinguishable leaves the meta-structure, so a network "
    "learns from it what it learns from clean labels.",
    "Lemma 2": "of the paper: as many classes stay distinguishable as the noise transition matrix has rank.",
    "bandwidth": "how far around a place labels are counted for its density.",
    "pseudo-label": "what the network is trained on in place of labels by hand, made from its own masks.",
    "EMS": "extraction of the meta-structure. The pseudo-labels are drawn from the density of a mask, not copied from "
    "it, so that the network does not learn the mask's errors pixel by pixel.",
    "candidate mask": "the mask that one threshold gives; each round the candidate with the best score is taken.",
    "candidate score": "how well the mask of one threshold fits the image; the highest wins.",
    "DMI": "a score of how much two label images tell of each other, hardly changed by noise.",
    "Dice": "overlap of two masks: 1 is the same, 0 nothing in common.",
    "IoU": "overlap of two masks by their union: 1 is the same, 0 nothing in common; lower than Dice.",
    "mIoU": "the mean of the classes' IoU.",
    "AUC": "how well the probability ranks objects above background: 1 is always, 0.5 is by chance.",
}
"""Of each term what follows "is" or "are"; abbreviations are found in capitals alone."""


@cache
def _pattern() -> re.Pattern[str]:
    longest_first = sorted(GLOSSARY, key=len, reverse=True)
    terms = "|".join(re.escape(word) if _fixed(word) else f"(?i:{re.escape(word)})" for word in longest_first)
    return re.compile(rf"(?<![\w-])({terms})s?(?![\w])")


def _fixed(word: str) -> bool:
    return any(letter.isupper() for letter in word)


def terms_in(*texts: str) -> list[str]:
    """Return the terms of the glossary in these texts, in the order they come."""
    found = (match[1] for text in texts for match in _pattern().finditer(text))
    return list(dict.fromkeys(word if word in GLOSSARY else word.lower() for word in found))


def explain_terms(*texts: str) -> str:
    """Return a paragraph of rich text for each term in these texts; empty where there is none."""
    return "".join(f"<p><b>{word}</b>: {GLOSSARY[word]}</p>" for word in terms_in(*texts))
