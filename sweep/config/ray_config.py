"""The key ``ray`` of a configuration: where a job runs, and how its work is cut up."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveInt, field_validator

from sweep.config.fit_config import STRICT

Auto = Literal["auto"]


class RayConfig(BaseModel):
    """Where a job runs, and how its work is cut up. Nothing here changes a choice.

    A fit does depend on ``cpus_per_replica``: sums of other numbers of threads differ in their last digits, and
    thousands of iterations make something of that.
    """

    model_config = STRICT
    address: str | None = Field(
        None, description="address of a Ray cluster; or null, for RAY_ADDRESS if set, else an embedded local Ray"
    )
    replicas: PositiveInt | Auto = Field(
        "auto", description="auto, for one per GPU or else one per CPU core; or an integer, 1 or more"
    )
    gpus_per_replica: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Auto = Field(
        "auto", description="auto, for 1 where the cluster has GPUs; or a number, 0 or more, a fraction below 1"
    )
    cpus_per_replica: PositiveInt | Auto = Field(
        "auto", description="auto, for 1 beside a GPU, else the replica's share; or an integer, 1 or more"
    )
    pairs_per_call: PositiveInt | Auto = Field("auto", description="auto; or an integer, 1 or more")
    tries: PositiveInt = Field(
        3, description="an integer, 1 or more: calls of a frame that may be lost before it is given up"
    )
    patience: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        60.0,
        description="a number above 0: seconds that a replica may give no sign of life before it is taken to hang; "
        "longer where such work, over a frame of that size on that device, took more than a tenth of this, "
        "and ten times as long, or more for large frames, where no such work has been done yet",
    )

    @field_validator("gpus_per_replica")
    @classmethod
    def _whole_above_one(cls, value: float | Auto) -> float | Auto:
        if isinstance(value, float) and not (value <= 1 or value.is_integer()):
            raise ValueError
        return value
