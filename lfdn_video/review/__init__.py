"""What a run did: figures, a comparison video, a report. Reads finished files, changes none."""
