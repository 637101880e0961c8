"""Frame encoders whose bitstream the decoder of their release does not show as they were measured."""

from workers.codec.encoder_parameter import EncoderParameter
from workers.codec.parameter import FrameEncoderParameter

_RIGHT_KERNELS = (4, 8)
_RIGHT_RESIDUAL = 3


def decoder_warnings(param: EncoderParameter) -> tuple[str, ...]:
    """What the official decoder is known to do wrong, a sentence each.

    Those of Cool-Chic 3.4.1 and 4.2.1 were tried; nothing is known of that of 5.0.1.
    """
    if not isinstance(param, FrameEncoderParameter):
        return ()
    tried, last = "the decoders of Cool-Chic 3.4.1 and 4.2.1", param.n_ft_per_res[-1]
    found = []
    if param.ups_k_size not in _RIGHT_KERNELS:
        kernels = " or ".join(map(str, _RIGHT_KERNELS))
        found.append(f"{tried} show another picture where ups_k_size is not {kernels}; found {param.ups_k_size}")
    wrong = [str(each) for each in param.layers_synthesis if each.residual and each.kernel_size != _RIGHT_RESIDUAL]
    if wrong:
        found.append(f"{tried} show another picture with the layer {', '.join(wrong)}")
    if param.release == "3.4.1" and last != 1:
        found.append(f"the decoder of Cool-Chic 3.4.1 shows another picture with {last} features in the last grid")
    if param.release == "4.2.1" and last > 1:
        found.append(f"Cool-Chic 4.2.1 cannot write a bitstream with {last} features in the last grid")
    if param.release == "4.2.1" and not param.n_ft_per_res[0]:
        found.append("the decoder of Cool-Chic 4.2.1 shows a smaller picture where the finest grids are empty")
    return tuple(found)
