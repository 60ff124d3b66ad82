"""What models of the zoo are worth: data to calibrate on, other data to be judged on, a number.

>>> from dsc.models.evaluation import evaluation
>>> lines = evaluation("text-lines")
>>> lines.metric(run)            # run: feeds by input name -> outputs in the model's order
"""

from __future__ import annotations

import difflib

from dsc.errors import UsageError
from dsc.models.evaluation.evaluation import Evaluation, Feeds, Run
from dsc.models.evaluation.fashion import FASHION_MNIST
from dsc.models.evaluation.lines import TEXT_LINES
from dsc.models.evaluation.photos import IMAGENET_PHOTOS
from dsc.models.evaluation.reuters import REUTERS_R8

__all__ = ["EVALUATIONS", "Evaluation", "Feeds", "Run", "evaluation"]

EVALUATIONS = {known.name: known for known in (FASHION_MNIST, REUTERS_R8, TEXT_LINES, IMAGENET_PHOTOS)}
"""By name."""


def evaluation(name: str) -> Evaluation:
    """The evaluation of that name. Raises UsageError, with the nearest names, where there is none."""
    if name not in EVALUATIONS:
        near = difflib.get_close_matches(name, EVALUATIONS) or list(EVALUATIONS)
        raise UsageError(f"the zoo has no data set {name!r}; is it {' or '.join(near)}?")
    return EVALUATIONS[name]
