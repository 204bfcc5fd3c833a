"""How well the dry gate tells rain from dry footage: labelled bursts and error rates."""
