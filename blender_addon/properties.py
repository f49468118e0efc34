"""What the person chooses in the panels, kept in the scene; and what is remembered of views that were made."""

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)


class ONESTEP3D_PG_settings(bpy.types.PropertyGroup):
    """Choices of the panels Generate views and Make splats."""

    source: EnumProperty(
        name="Picture",
        description="The picture of the object",
        items=(
            ("FILE", "File", "A picture on the disk"),
            ("IMAGE", "Image", "An image of this Blender file"),
            ("RENDER", "Render", "What the scene's active camera sees, rendered without view transform"),
        ),
    )
    picture_path: StringProperty(name="File", description="A picture of one object", subtype="FILE_PATH")
    image: PointerProperty(name="Image", description="An image of one object", type=bpy.types.Image)
    elevation: EnumProperty(
        name="Elevation",
        description="Height of the picture's camera above the object's horizon",
        items=(
            ("AUTO", "Automatic", "Estimated, which may be ten degrees off; of a render the camera's own"),
            ("GIVEN", "Given", "As it is known"),
        ),
    )
    elevation_degrees: FloatProperty(
        name="Degrees", description="0 is level with the object, 89 is from above", default=15.0, min=-89.0, max=89.0
    )
    field_of_view_degrees: FloatProperty(
        name="Field of view (°)",
        description="Vertical angle that the picture shows around the object: 40 for most photos, less for a long lens",
        default=40.0,
        min=5.0,
        max=100.0,
    )
    matting: EnumProperty(
        name="Cut-out",
        description="How the object is told from its background",
        items=(
            ("auto", "Automatic", "By alpha if there is any, else what fits the picture"),
            ("alpha", "Alpha", "What is transparent is background"),
            ("border", "Plain colour", "The colour along the border is background"),
            ("grabcut", "Cluttered", "Told from the object by its colours (GrabCut)"),
        ),
    )
    rig: EnumProperty(
        name="Cameras",
        description="From where the views are made",
        items=(
            ("AROUND", "All around", "Three rings that together see the object from all sides"),
            ("RING", "Ring", "One ring at a height of your choice, beginning at the picture's camera"),
            ("CAMERAS", "Selected cameras", "Cameras that are selected in the scene, the object in the unit ball"),
        ),
    )
    num_views: IntProperty(name="Views", description="Number of views", default=16, min=4, max=64)
    ring_elevation_degrees: FloatProperty(
        name="Height (°)", description="Of the ring above the horizon", default=15.0, min=-89.0, max=89.0
    )
    seed: IntProperty(name="Seed", description="The same seed gives the same views", default=0, min=0, max=2**31 - 1)
    steps: IntProperty(
        name="Steps", description="Of the sampler; the shipped checkpoint needs one", default=1, min=1, max=1000
    )
    # No poll tells which collections hold views: Blender 4.2's Python module crashes at its end wherever a property was
    # given a function, even after it was unregistered. A menu offers the right ones.
    views: PointerProperty(name="Views", description="Views that were made", type=bpy.types.Collection)
    splats_from: EnumProperty(
        name="From",
        description="What splats are made of",
        items=(
            ("PICTURE", "Picture", "The picture of Generate views; views are made on the way"),
            ("VIEWS", "Kept views", "Views that were made and not discarded"),
        ),
    )
    max_splats: IntProperty(
        name="Splats", description="At most so many", default=20_000, min=1_000, max=5_000_000, soft_max=200_000
    )
    iterations: IntProperty(
        name="Iterations", description="Steps of the fit, one view each", default=600, min=1, max=100_000
    )


class ONESTEP3D_PG_views(bpy.types.PropertyGroup):
    """Of a collection of views: what all of them share.

    Attributes:
        shared: the top level of their transforms.json, as JSON; "" for any other collection.
        folder: of the job that made them, with its inputs.
        picture: name of the picture.
        picture_settings: as the job had them, as JSON.
        sheet: contact sheet.
    """

    shared: StringProperty()
    folder: StringProperty(subtype="DIR_PATH")
    picture: StringProperty()
    picture_settings: StringProperty()
    steps: IntProperty(default=1)
    sheet: PointerProperty(type=bpy.types.Image)


class ONESTEP3D_PG_view(bpy.types.PropertyGroup):
    """Of a camera: the view that it shows.

    Attributes:
        frame: of transforms.json, as JSON; "" for any other camera.
        image: the picture.
        is_source: whether it is the picture that all views were made from.
        seed: of the view.
        discarded: whether it is left out of splats.
    """

    frame: StringProperty()
    image: PointerProperty(type=bpy.types.Image)
    is_source: BoolProperty()
    seed: IntProperty()
    discarded: BoolProperty(
        name="Discarded", description="Left out of splats and dimmed in the contact sheet; can be kept again"
    )


CLASSES = (ONESTEP3D_PG_settings, ONESTEP3D_PG_views, ONESTEP3D_PG_view)


def register() -> None:
    """Give scenes, collections and objects their properties."""
    bpy.types.Scene.onestep3d = PointerProperty(type=ONESTEP3D_PG_settings)
    bpy.types.Collection.onestep3d_views = PointerProperty(type=ONESTEP3D_PG_views)
    bpy.types.Object.onestep3d_view = PointerProperty(type=ONESTEP3D_PG_view)


def unregister() -> None:
    """Take the properties away; what files hold of them stays in the files."""
    del bpy.types.Object.onestep3d_view
    del bpy.types.Collection.onestep3d_views
    del bpy.types.Scene.onestep3d
