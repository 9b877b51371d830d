"""Errors a user can act on: each names the file or value and the remedy."""


class WSSSError(ValueError):
    """Base of the errors below; tools print it as one line."""


class DataError(WSSSError):
    """An image, mask, tag list or split is missing, corrupt or contradictory."""


class ConfigError(WSSSError):
    """A config asks for something that does not exist or does not fit."""


class CheckpointError(WSSSError):
    """A checkpoint is unreadable or belongs to another model."""


class ArtefactError(WSSSError):
    """A stored artefact (seed record, label, manifest) is torn, stale or foreign."""


class TrainingError(WSSSError):
    """A training cannot go on: its loss or its weights are not finite."""


class ProcessError(WSSSError):
    """A process that works for another one was killed."""


class DependencyError(WSSSError, ImportError):
    """An installed package has the wrong version, or an optional one is absent."""
