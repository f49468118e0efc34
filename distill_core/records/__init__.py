"""Records: folders and shards of posed pictures, and the layouts of other programs."""
