"""Every error that qsweep raises on purpose, in one tree.

::

    QsweepError
    ├── InputError               what a user handed in cannot be used
    │   ├── FrameFileError       a frame file is missing, truncated, of another kind, …
    │   ├── CheckpointError      a frame encoder's file, metadata, tensor names or shapes
    │   │   └── OfficialFileError  a file of Cool-Chic's own encoder that cannot be used
    │   ├── MismatchError        frame and frame encoder are fine, but not for each other
    │   └── BitstreamError       a bitstream that is truncated, altered or none at all
    ├── InfeasibleModuleError    no pair of quantization steps of a module can be used
    ├── ConfigError              a key of the configuration, or of the command line
    ├── ResultsError             the output folder: another job's, damaged, not writable
    │   ├── ClaimError           another driver is at work there
    │   ├── DamagedError         a file in it that was read and cannot be parsed
    │   └── OutageError          its storage cannot be reached at present
    ├── ClusterError             a Ray cluster that cannot be reached, started or used
    └── ReplicaError             replicas that were lost, too many or too often

A message says the rule that was broken, what was found and where (file, key, frame, module).
"""

__all__ = [
    "BitstreamError",
    "CheckpointError",
    "ClaimError",
    "ClusterError",
    "ConfigError",
    "DamagedError",
    "FrameFileError",
    "InfeasibleModuleError",
    "InputError",
    "MismatchError",
    "OfficialFileError",
    "OutageError",
    "QsweepError",
    "ReplicaError",
    "ResultsError",
]


class QsweepError(Exception):
    """Base of every error that qsweep raises on purpose.

    Attributes:
        started: whether work had begun when it was raised. Until then a command ends with status 2, else with 1.
    """

    started = False


class InputError(QsweepError):
    """A frame or a frame encoder that cannot be used."""


class FrameFileError(InputError):
    """A frame file that is missing, empty, truncated or of an unsupported kind."""


class FrameIndexError(FrameFileError):
    """A file does not hold the frame that is meant, or holds several and none was chosen."""


class CheckpointError(InputError):
    """A frame encoder's file whose format, metadata, tensor names, shapes or values are wrong."""


class OfficialFileError(CheckpointError):
    """A file of Cool-Chic's own encoder that is damaged, may do harm, or holds what is not supported.

    Attributes:
        reason: what is wrong, and where in the file.
        file: its name; empty until it is known.
    """

    def __init__(self, reason: str, file: str = "") -> None:
        super().__init__(reason, file)
        self.reason = reason
        self.file = file

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}" if self.file else self.reason


class MismatchError(InputError):
    """A frame and a frame encoder that do not belong together."""


class BitstreamError(InputError):
    """A bitstream that is truncated, altered, or none at all; or that asks for more than its reader allows."""


class InfeasibleModuleError(QsweepError):
    """A module none of whose pairs of quantization steps gives a finite loss without overflow."""


class SearchError(QsweepError):
    """A search that ended, or that asks for nothing more, without a choice for every network."""


class ConfigError(QsweepError):
    """A configuration file or a command line that cannot be accepted."""


class ResultsError(QsweepError):
    """An output folder that cannot be written, or that holds something else."""


class ClaimError(ResultsError):
    """An output folder that another driver is at work in."""


class DamagedError(ResultsError):
    """A file of the results that could be read, but is cut off, garbled or not of this program."""


class OutageError(ResultsError):
    """A storage that could not be reached for as long as was waited for it."""


class ClusterError(QsweepError):
    """A Ray cluster that cannot be reached or started, has no room for a replica, or other code on its nodes."""


class ReplicaError(QsweepError):
    """Replicas that were lost, one after the other or always with the same frame."""
