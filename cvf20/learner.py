"""The contract's import path: `from cvf20.learner import Learner, train, validate, evaluate_model`."""

from cvf20.training.learner import Learner
from cvf20.training.loop import evaluate_model, train, validate

__all__ = ["Learner", "evaluate_model", "train", "validate"]
