"""Does a record hold what it says? Its files, and its cameras, silhouettes, depth and normals against each other.

What makes a record wrong is a contradiction within it: a camera turned the wrong way, depth in another unit, pictures
in another order than their cameras. It takes nothing but the record to find these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.records.capture_normalisation import bounding_sphere
from distill_core.records.multi_view_record import MultiViewRecord, RecordView
from distill_core.records.record_geometry import contradicted_depth, hull_points, seen_share, unexplained_share

State = Literal["ok", "note", "wrong", "absent"]

_GEOMETRY_VIEWS = 24
"""Views that are compared with each other, evenly spaced: their number counts twice."""
_COVERED = 0.5
_LARGEST_UNEXPLAINED = 0.02
_LARGEST_CONTRADICTED = 0.02
_LARGEST_DIFFERENCE = 0.03
"""Of alpha and depth: pixels at the outline, which depth's one ray and alpha's many may tell apart."""
_LARGEST_AVERTED = 0.01
_LEAST_THAT_SEE_THE_OBJECT = 0.9


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: what was looked at.
        state: "ok"; "note", worth knowing; "wrong"; or "absent", when the record has nothing to check.
        says: the figures.
    """

    check: str
    state: State
    says: str


@dataclass(frozen=True)
class CheckedRecord:
    """A record's findings, and what was learned of its object on the way.

    Attributes:
        findings: one a check, in the order of a table.
        centre: of the object, in world units.
        radius: of the object; None where the record does not tell.
        surface: points of the object's surface, or of its visual hull, for a plot; may be empty.
    """

    findings: list[Finding]
    centre: Float[np.ndarray, " 3"]
    radius: float | None
    surface: Float[np.ndarray, "points 3"]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.state != "wrong" for finding in self.findings)


def check_record(record: MultiViewRecord) -> CheckedRecord:
    """Read every view of a record once and check it.

    Args:
        record: one that could be opened; its views may be damaged.
    """
    views, files = _read_views(record)
    findings = [files, _sizes(views)]
    if not views:
        return CheckedRecord(findings, np.zeros(3), None, np.zeros((0, 3)))
    alpha = _alpha(views)
    findings.append(alpha)
    is_cut_out = any(view.rgba[3].min() < _COVERED for view in views)
    # Where something moves, views of one moment alone show the same shape.
    still = [view for view in views if view.time == views[0].time]
    compared = [
        still[index] for index in np.unique(np.linspace(0, len(still) - 1, _GEOMETRY_VIEWS).round().astype(int))
    ]
    centre, radius = _object_ball(record, compared, is_cut_out=is_cut_out)
    findings.append(_cameras([view.camera for view in views], centre, radius))
    hull = hull_points(compared, centre, radius) if is_cut_out and radius is not None else np.zeros((0, 3))
    findings.append(
        _silhouettes(compared, hull, radius) if is_cut_out else _absent("silhouettes", "nothing is cut out")
    )
    findings += [_depth_and_alpha(views, is_cut_out=is_cut_out), _depth(compared, radius), _normals(views)]
    return CheckedRecord(findings, centre, radius, _surface(compared, hull))


# --- one check each -----------------------------------------------------------------------------------------


def _read_views(record: MultiViewRecord) -> tuple[list[RecordView], Finding]:
    """The views that can be read, and what became of the others."""
    views, damaged = [], []
    for index in range(len(record)):
        try:
            views.append(record.read_view(index))
        except UserError as error:
            damaged.append(str(error))
    missing = list(record.metadata.get("missing_pictures", []))
    kinds = [kind for kind, there in (("depth", record.depth), ("normals", record.normals)) if there is not None]
    if damaged or missing:
        words = [f"{len(missing)} pictures are missing ({missing[0]} ...)"] if missing else []
        words += [f"{len(damaged)} of {len(record)} views cannot be read: {damaged[0]}"] if damaged else []
        return views, Finding("files", "wrong", "; ".join(words))
    return views, Finding("files", "ok", f"{len(record)} views, {' and '.join(kinds) or 'colours alone'}")


def _sizes(views: Sequence[RecordView]) -> Finding:
    if not views:
        return _absent("sizes", "no view can be read")
    sizes = sorted({(view.rgba.shape[2], view.rgba.shape[1]) for view in views})
    says = ", ".join(f"{width} x {height}" for width, height in sizes[:3]) + (", ..." if len(sizes) > 3 else "")
    for view in views:
        for kind, values in (("depth", view.depth), ("normals", view.normals)):
            if values is None:
                continue
            height, width = values.shape[-2:]
            # A smaller one is legal, a differently shaped one is of another picture.
            if abs(width * view.camera.height - height * view.camera.width) > max(
                view.camera.width, view.camera.height
            ):
                return Finding("sizes", "wrong", f"{view.name} is {says}, its {kind} {width} x {height}")
        if not (0 <= view.camera.cx <= view.camera.width and 0 <= view.camera.cy <= view.camera.height):
            says += f"; the principal point of {view.name} lies outside the picture"
            return Finding("sizes", "note", says)
    return Finding("sizes", "ok", says)


def _alpha(views: Sequence[RecordView]) -> Finding:
    shares = np.array([(view.rgba[3] > _COVERED).mean() for view in views])
    if shares.min() == 1:
        return Finding("alpha", "note", "every picture is opaque: nothing is cut out")
    if (shares == 0).any():
        empty = [view.name for view, share in zip(views, shares, strict=True) if share == 0]
        return Finding("alpha", "wrong", f"{len(empty)} of {len(views)} pictures show nothing ({empty[0]} ...)")
    cut = [view.name for view in views if _touches_the_edge(view.rgba[3] > _COVERED)]
    says = f"the object covers {shares.min():.0%} to {shares.max():.0%} of its pictures"
    if cut:
        return Finding("alpha", "note", f"{says}; {len(cut)} of {len(views)} cut it off ({cut[0]} ...)")
    return Finding("alpha", "ok", says)


def _cameras(cameras: Sequence[Camera], centre: np.ndarray, radius: float | None) -> Finding:
    share = seen_share(cameras, centre)
    distances = np.array([np.linalg.norm(camera.position - centre) for camera in cameras])
    unit = "world units" if radius is None else "radii"
    near, far = distances.min() / (radius or 1), distances.max() / (radius or 1)
    says = f"{share:.0%} have the object in front of them and in the picture, from {near:.2f} to {far:.2f} {unit} away"
    inside = 0 if radius is None else int((distances < radius).sum())
    if inside:
        return Finding("cameras", "wrong", f"{inside} of {len(cameras)} stand inside the object's ball; {says}")
    return Finding("cameras", "ok" if share >= _LEAST_THAT_SEE_THE_OBJECT else "wrong", says)


def _silhouettes(views: Sequence[RecordView], hull: np.ndarray, radius: float | None) -> Finding:
    if radius is None or len(views) < 3:
        return _absent("silhouettes", "fewer than three views to compare")
    shares = np.array([unexplained_share(view, hull, radius) for view in views])
    says = f"{shares.max():.1%} of a silhouette at most is not in the others' hull"
    return Finding("silhouettes", "ok" if shares.max() <= _LARGEST_UNEXPLAINED else "wrong", says)


def _depth_and_alpha(views: Sequence[RecordView], *, is_cut_out: bool) -> Finding:
    name = "depth and alpha"
    pairs = [
        (view.depth > 0, view.rgba[3] > _COVERED)
        for view in views
        if view.depth is not None and view.depth.shape == view.rgba.shape[1:]
    ]
    if not pairs or not is_cut_out:
        return _absent(name, "no depth of the pictures' size" if not pairs else "nothing is cut out")
    largest = max(float((deep != covered).sum() / max((deep | covered).sum(), 1)) for deep, covered in pairs)
    says = f"they differ in {largest:.1%} of an outline's pixels at most"
    return Finding(name, "ok" if largest <= _LARGEST_DIFFERENCE else "wrong", says)


def _depth(views: Sequence[RecordView], radius: float | None) -> Finding:
    with_depth = [view for view in views if view.depth is not None and (view.depth > 0).any()]
    if len(with_depth) < 2:
        return _absent("depth between views", "fewer than two views with depth")
    contradicted, confirmed = contradicted_depth(with_depth, radius)
    says = f"{contradicted:.2%} of the points float before what another view sees, {confirmed:.0%} are on its surface"
    return Finding("depth between views", "ok" if contradicted <= _LARGEST_CONTRADICTED else "wrong", says)


def _normals(views: Sequence[RecordView]) -> Finding:
    averted, counted = 0, 0
    for view in views:
        if view.normals is None:
            continue
        height, width = view.normals.shape[1:]
        camera = view.camera.resized(width, height)
        rows, columns = np.nonzero(np.abs(view.normals).sum(axis=0))
        rays = camera.unproject(np.stack([columns, rows], -1) + 0.5, np.ones(len(rows))) - camera.position
        cosine = np.einsum(
            "nd,dn->n", rays / np.linalg.norm(rays, axis=1, keepdims=True), view.normals[:, rows, columns]
        )
        averted += int((cosine > 0.05).sum())  # eight bits a channel turn a normal by up to 0.4 degrees
        counted += len(rows)
    if not counted:
        return _absent("normals", "none in the record")
    says = f"{averted / counted:.2%} point away from their camera"
    return Finding("normals", "ok" if averted <= _LARGEST_AVERTED * counted else "wrong", says)


def _absent(check: str, says: str) -> Finding:
    return Finding(check, "absent", says)


# --- the object ---------------------------------------------------------------------------------------------


def _object_ball(
    record: MultiViewRecord, views: Sequence[RecordView], *, is_cut_out: bool
) -> tuple[np.ndarray, float | None]:
    """Where the object is: in the unit ball if the record says so, else in the ball of its silhouettes."""
    normalisation = record.metadata.get("normalisation")
    kind = normalisation.get("kind") if isinstance(normalisation, dict) else None
    if kind not in (None, "none"):
        return np.zeros(3), 1.0
    cameras = [view.camera for view in views]
    try:
        if is_cut_out:
            centre, radius = bounding_sphere(cameras, [view.rgba[3] for view in views])
            return centre, radius
    except UserError:  # one silhouette, or all from one place: then there is only where the cameras look
        pass
    return _looked_at(cameras), None


def _looked_at(cameras: Sequence[Camera]) -> np.ndarray:
    """The point nearest to all optical axes; for parallel ones, one in front of the first camera."""
    across = np.stack([np.eye(3) - np.outer(camera.forward, camera.forward) for camera in cameras])
    starts = np.stack([camera.position for camera in cameras])
    if np.linalg.cond(across.sum(axis=0)) > 1e8:
        return cameras[0].position + cameras[0].forward
    return np.linalg.solve(across.sum(axis=0), np.einsum("nij,nj->i", across, starts))


def _surface(views: Sequence[RecordView], hull: np.ndarray) -> np.ndarray:
    """Points to draw: of the depth where there is some, else of the hull."""
    points = []
    for view in views:
        if view.depth is not None:
            rows, columns = np.nonzero(view.depth)
            step = max(1, len(rows) // 400)
            rows, columns = rows[::step], columns[::step]
            camera = view.camera.resized(view.depth.shape[1], view.depth.shape[0])
            points.append(camera.unproject(np.stack([columns, rows], -1) + 0.5, view.depth[rows, columns]))
    return np.concatenate(points) if points else hull


def _touches_the_edge(mask: np.ndarray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
