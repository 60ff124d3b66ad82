"""What dsc says when it cannot do what was asked: one message, one exit code."""

from __future__ import annotations


class DscError(Exception):
    """Base of all errors dsc raises on purpose. The message says what was found, where, and what to do."""

    exit_code = 1


class UsageError(DscError):
    """The request is wrong: a bad option, a file that is not there, an input of the wrong shape."""

    exit_code = 2


class UnsupportedModelError(DscError):
    """The model cannot be compiled: it is broken, or uses what dsc does not support."""

    exit_code = 3


class BudgetError(DscError):
    """A budget named by the user (size, latency, accuracy) was missed."""

    exit_code = 4


class VerificationError(DscError):
    """Results differ from the reference, or a pass left IR that does not verify."""

    exit_code = 5


class ArtifactError(UsageError):
    """A model.dsc file is damaged, was changed, or was made for another machine or version."""
