"""One frame encoder out of an official file, and the parts that all releases have in common."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from workers.candidates import KINDS, Counts, QStepPair
from workers.codec.formats.fields import Fields
from workers.codec.formats.stored import StoredTensor
from workers.errors import OfficialFileError

_MAX_COUNT = 64


@dataclass(frozen=True)
class CoolChicState:
    """Parameters of one cool-chic.

    Attributes:
        full_precision: what a sweep starts from: latents and networks; ``None`` if the file holds them quantized
            alone.
        current: as the file holds them: quantized, if there are steps.
        q_steps: of the networks that are quantized, by module.
        expgol_cnts: likewise.
    """

    full_precision: Mapping[str, StoredTensor] | None
    current: Mapping[str, StoredTensor]
    q_steps: Mapping[str, QStepPair]
    expgol_cnts: Mapping[str, Counts]


@dataclass(frozen=True)
class OfficialFrame:
    """One frame encoder out of an official file.

    Attributes:
        metadata: of a checkpoint of this project; without ``lmbda`` where the file holds none.
        states: per cool-chic, with the prefix of its tensors in such a checkpoint.
    """

    metadata: dict[str, str]
    states: Mapping[str, CoolChicState]

    def tensors(self) -> dict[str, Tensor]:
        """Parameters in full precision, named as in a checkpoint of this project.

        Raises:
            OfficialFileError: the file does not hold them.
        """
        tensors: dict[str, Tensor] = {}
        for prefix, state in self.states.items():
            if state.full_precision is None:
                raise OfficialFileError(
                    "it is quantized already, and the full-precision parameters are not in the file: there is "
                    "nothing to sweep (Cool-Chic 4 leaves them out where an encode had more than one training loop)"
                )
            tensors |= {prefix + name: stored.read() for name, stored in state.full_precision.items()}
        return tensors

    def current_tensors(self) -> dict[str, Tensor]:
        """Parameters as the file holds them, quantized if there are steps, named likewise."""
        return {
            prefix + name: stored.read()
            for prefix, state in self.states.items()
            for name, stored in state.current.items()
        }

    def quantization(self) -> dict[str, str]:
        """Steps and counts, as in the metadata of a checkpoint of this project."""
        metadata: dict[str, str] = {}
        for prefix, state in self.states.items():
            for module, pair in state.q_steps.items():
                counts = state.expgol_cnts.get(module)
                for kind in KINDS:
                    metadata[f"q_step.{prefix}{module}.{kind}"] = repr(getattr(pair, kind))
                    metadata[f"expgol_cnt.{prefix}{module}.{kind}"] = repr(getattr(counts, kind, 0))
        return metadata


def read_state(file: Fields, now: str, name: str) -> CoolChicState:
    """Parameters of one cool-chic.

    Args:
        file: that holds them.
        now: key of the parameters as they are.
        name: what the other keys begin with.

    Raises:
        OfficialFileError: the parameters in full precision are not those of the quantized ones.
    """
    steps, counts = {}, {}
    if f"{name}_nn_q_step" in file:
        of_modules = file.fields(f"{name}_nn_q_step")
        for module in of_modules:
            pair = _pair(of_modules.fields(module))
            if pair is not None:
                steps[module] = pair
    if f"{name}_nn_expgol_cnt" in file:
        of_modules = file.fields(f"{name}_nn_expgol_cnt")
        for module in steps:
            fields = of_modules.fields(module)
            counts[module] = Counts(*(_count(fields, kind) for kind in KINDS))
    current = file.tensors(now)
    if f"{name}_full_precision_param" in file:
        full_precision = file.tensors(f"{name}_full_precision_param")
        _check_alike(full_precision, current, name)
        return CoolChicState(full_precision, current, steps, counts)
    return CoolChicState(None if steps else current, current, steps, counts)


def _check_alike(
    full_precision: Mapping[str, StoredTensor], current: Mapping[str, StoredTensor], name: str
) -> None:
    """Refuse parameters that are not the quantized ones of those in full precision."""
    for key in sorted(full_precision.keys() | current.keys()):
        shapes = [state[key].shape if key in state else None for state in (full_precision, current)]
        if shapes[0] != shapes[1]:
            found = [shape if shape is None else list(shape) for shape in shapes]
            raise OfficialFileError(
                f"{name}: the parameters in full precision are not those of the quantized ones: {key[:80]!r} has "
                f"shape {found[0]} among the former and {found[1]} among the latter"
            )


def _pair(steps: Fields) -> QStepPair | None:
    """Steps of one network; ``None`` if it is not quantized."""
    there = [kind in steps for kind in KINDS]
    if not any(there):
        return None
    values = []
    for kind in KINDS:
        tensor = steps.tensor(kind)
        value = tensor.read().item() if tensor.shape == () else 0.0
        if not 0 < value < float("inf"):
            raise OfficialFileError(f"{steps.where}: {kind!r} is a positive number in a tensor without dimensions")
        values.append(value)
    return QStepPair(*values)


def _count(counts: Fields, kind: str) -> int:
    count = counts.item(kind, int)
    if not 0 <= count < _MAX_COUNT:
        raise OfficialFileError(f"{counts.where}: {kind!r} is 0 to {_MAX_COUNT - 1}; found {count}")
    return count
