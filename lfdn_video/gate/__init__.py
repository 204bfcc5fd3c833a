"""The dry gate: which segments of a video need no restoration, and which frames are left to do."""
