"""Runs inside Blender: materials without what bends normals or mirrors, for the passes of geometry and base colour."""

# pyright: reportMissingImports=false

from typing import Any

import bpy

# Cycles bends the normals of what mirrors until no ray is thrown below the surface.
_MIRRORING_INPUTS = ("Metallic", "Specular IOR Level", "Transmission Weight", "Coat Weight", "Sheen Weight")


def flatten_materials() -> None:
    """Take out bumps, normal maps, displacement and whatever mirrors; let what only shines throw its colour back."""
    trees = [material.node_tree for material in bpy.data.materials if material.node_tree]
    for tree in trees:
        _unshine(tree)
    for tree in [*trees, *bpy.data.node_groups]:
        for node in tree.nodes:
            if node.type in ("BUMP", "NORMAL_MAP"):
                _unlink(tree, node.outputs["Normal"])
            elif node.type == "BSDF_PRINCIPLED":
                for name in _MIRRORING_INPUTS:
                    _unlink(tree, node.inputs[name])
                    node.inputs[name].default_value = 0
            elif node.type == "OUTPUT_MATERIAL":
                _unlink(tree, node.inputs["Displacement"])


def _unshine(tree: Any) -> None:
    """Materials that are shown without light (glTF's unlit ones) shine in their base colour and throw nothing back."""
    if any(node.type.startswith("BSDF_") and node.type != "BSDF_TRANSPARENT" for node in tree.nodes):
        return
    if any(node.type == "GROUP" for node in tree.nodes):  # it may hold the material's own surface
        return
    for node in [node for node in tree.nodes if node.type in ("EMISSION", "BACKGROUND")]:
        diffuse = tree.nodes.new("ShaderNodeBsdfDiffuse")
        diffuse.inputs["Color"].default_value = node.inputs["Color"].default_value
        for link in list(node.inputs["Color"].links):
            tree.links.new(link.from_socket, diffuse.inputs["Color"])
        for link in list(node.outputs[0].links):
            tree.links.new(diffuse.outputs["BSDF"], link.to_socket)


def _unlink(tree: Any, socket: Any) -> None:
    for link in list(socket.links):
        tree.links.remove(link)
