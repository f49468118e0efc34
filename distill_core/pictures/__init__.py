"""Pictures: read and written safely, an object cut out of its background and framed as the training views are."""
