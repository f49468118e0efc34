"""Settings of models to records as the worker takes them. No torch here."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from renderers.blender.settings import RenderSettings, RigSettings
from renderers.blender.up_axis import AUTO_TAKES, UpAxis


class RenderModelsSettings(BaseModel):
    """Models to posed pictures with depth and normals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    renderer: Literal["fast", "blender"] = Field(
        default="fast",
        description="fast shows base colours under one soft light, a second or two a model; blender shows every "
        "material, in minutes",
    )
    views: RigSettings = RigSettings()
    light: Literal["studio", "none"] = Field(
        default="studio", description="of the fast renderer: the light of the training views, or bare base colours"
    )
    render: RenderSettings = Field(default=RenderSettings(), description="of Blender")
    up_axis: Literal["auto", UpAxis] = Field(
        default="auto", description=f"which axis of .obj, .ply and .stl files points up; auto: {AUTO_TAKES}"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="the same seed gives the same cameras, lights and noise")
