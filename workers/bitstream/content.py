"""What is in a file, of either version."""

from typing import NamedTuple

from workers.bitstream.latent_coder import CodedLatents
from workers.bitstream.networks import QuantizedNetworks


class Bitstream(NamedTuple):
    """What is in a file.

    Attributes:
        networks: architecture and parameters.
        latents: as they are coded.
        samples_crc: CRC-32 of the decoded samples.
    """

    networks: QuantizedNetworks
    latents: CodedLatents
    samples_crc: int


class FileParts(NamedTuple):
    """What a file is made of.

    Attributes:
        content: all of it, but for magic and version.
        n_networks: bytes of the parameters.
        n_latents: bytes of the latents.
    """

    content: bytes
    n_networks: int
    n_latents: int
