"""Data sets: from image files to training crops and test pairs.

images       one image: reading it from a file, half of one, a pack or a video; writing it
samples      a data set as a list of clean images and their degraded counterparts
layouts      published data sets, from the folders in which they are distributed
crops        from samples to the batch of every training step
pack         a data set in one file
pairs        a folder of pairs, degraded as in training
calibration  images to calibrate the 8-bit form with
"""
