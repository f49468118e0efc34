"""Make splats, import and export them: objects that are drawn as Gaussian splats."""
