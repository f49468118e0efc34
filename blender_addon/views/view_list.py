"""The views of a collection: cameras that know their picture, in the order they were made in."""

import bpy


def views_of(collection: bpy.types.Collection) -> list[bpy.types.Object]:
    """Return the cameras of a collection that show views, the source first.

    Args:
        collection: any.
    """
    cameras = [thing for thing in collection.objects if thing.type == "CAMERA" and thing.onestep3d_view.frame]
    return sorted(cameras, key=lambda camera: camera.name)


def kept_views(collection: bpy.types.Collection) -> list[bpy.types.Object]:
    """Return the cameras of the views that were not discarded.

    Args:
        collection: any.
    """
    return [camera for camera in views_of(collection) if not camera.onestep3d_view.discarded]


def view_collections() -> list[bpy.types.Collection]:
    """Return the collections of views in this file, by name."""
    return [collection for collection in bpy.data.collections if collection.onestep3d_views.shared]


def chosen_views(context: bpy.types.Context) -> bpy.types.Collection | None:
    """Return the collection of views that the scene's panels are about, None if there is none.

    Args:
        context: with a scene.
    """
    collection = context.scene.onestep3d.views
    return collection if collection is not None and collection.onestep3d_views.shared else None


def collection_of(camera: bpy.types.Object) -> bpy.types.Collection | None:
    """Return the collection of views that a camera belongs to, None if it belongs to none.

    Args:
        camera: any object.
    """
    return next((found for found in camera.users_collection if found.onestep3d_views.shared), None)
