"""Training and evaluating LFDN.

recipe       options of a run, presets, learning rate
train        the training loop
steps        steps on crops that are made on the CPU; one is `CropSteps.run_step`
resident     steps on images that are all on the device
graph        a step as a CUDA graph
fused        the optimizer of such a step
padded       the forward pass with channels padded to multiples of 8
revive       new weights for channels that never fire
losses       training losses
optim        Muon, an optimizer
degradation  synthetic rain or blur on the crops of a batch
validation   the score on the validation split
checkpoint   the files of a run folder
distributed  several processes under torchrun
evaluate     PSNR and SSIM on test sets
"""
