"""How splats look in the viewport and in renders: geometry nodes and a material that this module builds.

Each splat becomes a small hull of twenty faces around its ellipsoid, all of them one mesh, which a graphics card draws
at once. The material finds where the view ray passes the splat's centre closest, measured in standard deviations m, and
lets opacity * exp(-m^2 / 2) of its colour through: the densest point of the Gaussian along the ray. EEVEE dithers, so
splats need no sorting; Cycles follows every layer, up to its number of transparent bounces.

The names of attributes that geometry nodes hand to the material: place (on the hull, in standard deviations) and three
rows that take a direction of the object to standard deviations.
"""

from collections.abc import Iterator
from typing import Any

import bpy

from ..references import Reference

_VERSION = 1
_VERSION_KEY = "onestep3d_version"
GROUP_NAME, MATERIAL_NAME, MODIFIER_NAME = "OneStep3D Splats", "OneStep3D Splats", "OneStep3D Splats"
EXTENT, SHARE = "Extent", "Share in Viewport"
"""Inputs of the modifier."""

_GIVEN, _POINTS, _ROTATION, _SCALE = "given", "points", "rotation", "scale"
_INSTANCES, _WHOLE = "instances", "whole"
"""Names of nodes that later parts of the group link."""
_PLACE, _ROWS = "splat_place", ("splat_row_x", "splat_row_y", "splat_row_z")
_DEFAULT_EXTENT = 2.6
# The faces of an icosahedron of radius 1 are this far from its centre.
_ICOSAHEDRON_INRADIUS = 0.7946544723
_SMALLEST_SCALE = 1e-9
_HIGHEST_ALPHA = 0.99
_MOST_SHOWN = 300_000
"""Splats above which the viewport begins with a share of them."""


def prepare_display() -> Iterator[None]:
    """Make material and node group where the file has none of this version, in steps of milliseconds.

    A group that is undone before it is whole is made by `add_display`.
    """
    _material()
    yield
    if _found_group() is not None:
        return
    group = Reference.of(_new_group())
    yield
    for part in _PARTS:
        tree = group.found()
        if tree is None:
            return
        part(_Builder(tree))
        yield
    if (tree := group.found()) is not None:
        tree[_VERSION_KEY] = _VERSION
    yield


def add_display(thing: Any) -> None:
    """Let an object of splats be drawn as splats.

    Args:
        thing: of splats, without a display yet.
    """
    group = _group()
    modifier = thing.modifiers.new(MODIFIER_NAME, "NODES")
    modifier.node_group = group
    count = len(thing.data.vertices)
    if count > _MOST_SHOWN:
        set_share(thing, _MOST_SHOWN / count)
    thing.data.materials.append(_material())


def shown_share(thing: Any) -> float:
    """The share of an object's splats that the viewport shows, 0..1; renders show all.

    Args:
        thing: of splats.
    """
    found = share_property(thing)
    return 0.0 if found is None else float(found[0].path_resolve(found[1]))


def set_share(thing: Any, share: float) -> None:
    """Let the viewport show a share of the splats.

    Args:
        thing: of splats, with a display.
        share: 0..1.
    """
    found = share_property(thing)
    assert found is not None, "expected an object with a display"
    owner, path = found
    if path == "value":
        owner.value = share
    else:
        owner[path[2:-2]] = share


def share_property(thing: Any) -> tuple[Any, str] | None:
    """Where the share is kept, as panels draw it: the owner and the path from there; None without a display.

    Args:
        thing: of splats.
    """
    modifier = thing.modifiers.get(MODIFIER_NAME)
    if modifier is None or modifier.node_group is None:
        return None
    identifier = next(item.identifier for item in modifier.node_group.interface.items_tree if item.name == SHARE)
    if hasattr(modifier, "properties"):  # Blender 5.2 and later
        return getattr(modifier.properties.inputs, identifier), "value"
    return modifier, f'["{identifier}"]'


def _group() -> Any:
    """The node group, made when the file has none of this version."""
    if (found := _found_group()) is not None:
        return found
    group = _new_group()
    for part in _PARTS:
        part(_Builder(group))
    group[_VERSION_KEY] = _VERSION
    return group


def _found_group() -> Any | None:
    for group in bpy.data.node_groups:
        if group.get(_VERSION_KEY) == _VERSION and group.bl_idname == "GeometryNodeTree":
            return group
    return None


def _new_group() -> Any:
    """The group with its sockets; it bears no version before its nodes are in it."""
    group = bpy.data.node_groups.new(GROUP_NAME, "GeometryNodeTree")
    group.is_modifier = True
    interface = group.interface
    interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    extent = interface.new_socket(EXTENT, in_out="INPUT", socket_type="NodeSocketFloat")
    extent.description = "Size of what is drawn of each splat, in standard deviations"
    extent.default_value, extent.min_value, extent.max_value = _DEFAULT_EXTENT, 0.1, 4.0
    share = interface.new_socket(SHARE, in_out="INPUT", socket_type="NodeSocketFloat")
    share.description = "Share of the splats that the viewport shows, where all are too many; renders show all"
    share.default_value, share.min_value, share.max_value, share.subtype = 1.0, 0.0, 1.0, "FACTOR"
    return group


# The parts of the group, one a step. Nothing is held between steps: each part names the nodes that the next ones link.


def _thin(build: "_Builder") -> None:
    given = build.node("NodeGroupInput", name=_GIVEN)
    shown = build.node("GeometryNodeSwitch", input_type="FLOAT")
    build.link(build.node("GeometryNodeIsViewport").outputs[0], shown, "Switch")
    build.value(shown, "False", 1.0)
    build.link(given.outputs[SHARE], shown, "True")
    kept = build.node("FunctionNodeRandomValue", data_type="BOOLEAN")
    build.link(shown.outputs["Output"], kept, "Probability")
    left_out = build.node("FunctionNodeBooleanMath", operation="NOT")
    build.link(_enabled(kept.outputs), left_out, 0)
    thinned = build.node("GeometryNodeDeleteGeometry", name=_POINTS, domain="POINT")
    build.link(given.outputs["Geometry"], thinned, "Geometry")
    build.link(left_out.outputs[0], thinned, "Selection")


def _size(build: "_Builder") -> None:
    build.named("quaternion", "QUATERNION", name=_ROTATION)
    _exponentials(build, build.named("log_scale", "FLOAT_VECTOR"))


def _place_rows(build: "_Builder") -> None:
    rotation, sizes = build.attribute_of(_ROTATION), build.node("ShaderNodeSeparateXYZ")
    points = build.made(_POINTS).outputs["Geometry"]
    build.link(build.made(_SCALE).outputs[0], sizes, 0)
    for axis, row in enumerate(_ROWS):
        along = build.node("FunctionNodeRotateVector")
        build.link(rotation, along, "Rotation")
        build.value(along, "Vector", tuple(float(axis == other) for other in range(3)))
        divided = build.node("ShaderNodeVectorMath", operation="DIVIDE")
        build.link(along.outputs[0], divided, 0)
        build.link(sizes.outputs[axis], divided, 1)
        points = build.stored(points, row, "FLOAT_VECTOR", divided.outputs[0], name=row)


def _place_hulls(build: "_Builder") -> None:
    hull = build.node("GeometryNodeMeshIcoSphere")
    build.value(hull, "Subdivisions", 1)
    radius = build.node("ShaderNodeMath", operation="DIVIDE")
    build.link(build.made(_GIVEN).outputs[EXTENT], radius, 0)
    build.value(radius, 1, _ICOSAHEDRON_INRADIUS)
    build.link(radius.outputs[0], hull, "Radius")
    placed = build.stored(
        hull.outputs["Mesh"], _PLACE, "FLOAT_VECTOR", build.node("GeometryNodeInputPosition").outputs[0]
    )
    instances = build.node("GeometryNodeInstanceOnPoints", name=_INSTANCES)
    build.link(build.made(_ROWS[-1]).outputs["Geometry"], instances, "Points")
    build.link(placed, instances, "Instance")
    build.link(build.attribute_of(_ROTATION), instances, "Rotation")
    build.link(build.made(_SCALE).outputs[0], instances, "Scale")


def _realize(build: "_Builder") -> None:
    whole = build.node("GeometryNodeRealizeInstances", name=_WHOLE)
    build.link(_slim(build, build.made(_INSTANCES).outputs["Instances"]), whole, "Geometry")


def _dress(build: "_Builder") -> None:
    # Solid view shows the active colour attribute, of which joining takes the name over and realizing does not.
    joined = build.node("GeometryNodeJoinGeometry")
    build.link(build.made(_WHOLE).outputs[0], joined, "Geometry")
    first = _first_point(build, build.made(_GIVEN).outputs["Geometry"])
    build.link(_slim(build, first), joined, "Geometry")
    dressed = build.node("GeometryNodeSetMaterial")
    build.link(joined.outputs[0], dressed, "Geometry")
    build.value(dressed, "Material", _material())
    build.link(dressed.outputs[0], build.node("NodeGroupOutput"), "Geometry")


_PARTS = (_thin, _size, _place_rows, _place_hulls, _realize, _dress)


def _slim(build: "_Builder", geometry: Any) -> Any:
    """Without what the material does not read, which would be copied to each of a hull's twelve corners."""
    for pattern in ("sh_*", "quaternion", "log_scale", "opacity_logit"):
        geometry = build.without(geometry, pattern)
    return geometry


def _first_point(build: "_Builder", geometry: Any) -> Any:
    others = build.node("FunctionNodeCompare", data_type="INT", operation="GREATER_THAN")
    build.link(build.node("GeometryNodeInputIndex").outputs[0], others, "A")
    first = build.node("GeometryNodeDeleteGeometry", domain="POINT")
    build.link(geometry, first, "Geometry")
    build.link(others.outputs[0], first, "Selection")
    return first.outputs["Geometry"]


def _exponentials(build: "_Builder", vector: Any) -> None:
    """The exponential of each part of a vector, never quite 0, as the node of the scale."""
    parts, joined = build.node("ShaderNodeSeparateXYZ"), build.node("ShaderNodeCombineXYZ", name=_SCALE)
    build.link(vector, parts, 0)
    for axis in range(3):
        exponential = build.node("ShaderNodeMath", operation="EXPONENT")
        build.link(parts.outputs[axis], exponential, 0)
        bounded = build.node("ShaderNodeMath", operation="MAXIMUM")
        build.link(exponential.outputs[0], bounded, 0)
        build.value(bounded, 1, _SMALLEST_SCALE)
        build.link(bounded.outputs[0], joined, axis)


def _material() -> Any:
    """The material of splats, made when the file has none of this version."""
    for material in bpy.data.materials:
        if material.get(_VERSION_KEY) == _VERSION:
            return material
    material = bpy.data.materials.new(MATERIAL_NAME)
    material[_VERSION_KEY] = _VERSION
    material.use_nodes = True
    material.surface_render_method = "DITHERED"
    material.use_backface_culling = True
    material.use_transparent_shadow = True
    material.node_tree.nodes.clear()
    _fill_material(_Builder(material.node_tree))
    return material


def _fill_material(build: "_Builder") -> None:
    geometry = build.node("ShaderNodeNewGeometry")
    ray = build.node("ShaderNodeVectorTransform", vector_type="VECTOR", convert_from="WORLD", convert_to="OBJECT")
    build.link(geometry.outputs["Incoming"], ray, 0)
    direction = build.node("ShaderNodeCombineXYZ")
    for axis, row in enumerate(_ROWS):
        build.link(build.dot(ray.outputs[0], build.attribute(row, "Vector")), direction, axis)
    place = build.attribute(_PLACE, "Vector")
    along = build.dot(place, direction.outputs[0])
    covered = build.math(
        "DIVIDE", build.math("MULTIPLY", along, along), build.dot(direction.outputs[0], direction.outputs[0])
    )
    squared_deviations = build.math("MAXIMUM", build.math("SUBTRACT", build.dot(place, place), covered), 0.0)
    density = build.math("EXPONENT", build.math("MULTIPLY", squared_deviations, -0.5))
    alpha = build.math(
        "MINIMUM", build.math("MULTIPLY", density, build.attribute("splat_colour", "Alpha")), _HIGHEST_ALPHA
    )
    front = build.math("SUBTRACT", 1.0, geometry.outputs["Backfacing"])
    light = build.node("ShaderNodeEmission")
    build.link(build.attribute("splat_colour", "Color"), light, "Color")
    mixed = build.node("ShaderNodeMixShader")
    build.link(build.math("MULTIPLY", alpha, front), mixed, 0)
    build.link(build.node("ShaderNodeBsdfTransparent").outputs[0], mixed, 1)
    build.link(light.outputs[0], mixed, 2)
    build.link(mixed.outputs[0], build.node("ShaderNodeOutputMaterial"), "Surface")


def _enabled(sockets: Any) -> Any:
    """The one socket that a node shows for its data type."""
    return next(socket for socket in sockets if socket.enabled)


class _Builder:
    """Adds nodes to a tree, from left to right.

    Args:
        tree: geometry or shader nodes.
    """

    def __init__(self, tree: Any) -> None:
        self._tree = tree

    def node(self, kind: str, **properties: Any) -> Any:
        made = self._tree.nodes.new(kind)
        made.location = (180 * (len(self._tree.nodes) % 12), -220 * (len(self._tree.nodes) // 12))
        for name, value in properties.items():
            setattr(made, name, value)
        return made

    def link(self, output: Any, node: Any, socket: int | str) -> None:
        self._tree.links.new(output, self._input(node, socket))

    def value(self, node: Any, socket: int | str, value: Any) -> None:
        self._input(node, socket).default_value = value

    def made(self, name: str) -> Any:
        """A node that was named when it was made."""
        return self._tree.nodes[name]

    def named(self, attribute: str, kind: str, **properties: Any) -> Any:
        node = self.node("GeometryNodeInputNamedAttribute", data_type=kind, **properties)
        self.value(node, "Name", attribute)
        return self.attribute_of(node.name)

    def attribute_of(self, name: str) -> Any:
        """What a named attribute's node gives."""
        return next(socket for socket in self.made(name).outputs if socket.enabled and socket.name == "Attribute")

    def stored(self, geometry: Any, attribute: str, kind: str, value: Any, **properties: Any) -> Any:
        made = self.node("GeometryNodeStoreNamedAttribute", data_type=kind, domain="POINT", **properties)
        self.link(geometry, made, "Geometry")
        self.value(made, "Name", attribute)
        self.link(value, made, "Value")
        return made.outputs["Geometry"]

    def without(self, geometry: Any, pattern: str) -> Any:
        made = self.node("GeometryNodeRemoveAttribute")
        if hasattr(made, "pattern_mode"):
            made.pattern_mode = "WILDCARD"
        else:  # a socket in later versions
            self.value(made, "Pattern Mode", "Wildcard")
        self.link(geometry, made, "Geometry")
        self.value(made, "Name", pattern)
        return made.outputs["Geometry"]

    def attribute(self, name: str, output: str) -> Any:
        made = self.node("ShaderNodeAttribute", attribute_name=name)
        return made.outputs[output]

    def dot(self, one: Any, other: Any) -> Any:
        made = self.node("ShaderNodeVectorMath", operation="DOT_PRODUCT")
        self.link(one, made, 0)
        self.link(other, made, 1)
        return made.outputs["Value"]

    def math(self, operation: str, one: Any, other: Any = None) -> Any:
        made = self.node("ShaderNodeMath", operation=operation)
        for place, operand in enumerate((one, other)):
            if isinstance(operand, float):
                self.value(made, place, operand)
            elif operand is not None:
                self.link(operand, made, place)
        return made.outputs[0]

    @staticmethod
    def _input(node: Any, socket: int | str) -> Any:
        if isinstance(socket, int):
            return node.inputs[socket]
        return next(found for found in node.inputs if found.name == socket and found.enabled)
